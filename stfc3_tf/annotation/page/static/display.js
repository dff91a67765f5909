// What the page shows beside the picture: texts, buttons, panel, time line; and marks over it.

import { shown } from './mask.js';

const $ = (id) => document.getElementById(id);
const HINTS = {
  point: 'Click to place a point, drag to move it',
  brush: 'Paint; Alt erases, [ and ] change the size',
  eraser: 'Erase; [ and ] change the size',
  polygon: 'Click the corners; Enter or a double click closes, Esc drops',
  box: 'Drag a box; Alt erases',
  hand: 'Drag to move the picture, the wheel zooms',
};

export class Display {
  constructor(page) { this.page = page; }

  drawMask(box = null) {
    const { page } = this;
    page.view.setColours(page.store.things.objects);
    page.view.showMask($('shown').checked ? page.player.shownMask : null, box);
  }

  say(message) {
    $('message').textContent = message;
    $('message').hidden = false;
    clearTimeout(this.saying);
    if (!this.page.store) return; // Nothing else is shown: it stays.
    this.saying = setTimeout(() => { $('message').hidden = true; }, 9000);
  }

  drawAll() {
    const { page } = this;
    if (!page.store) return;
    const { store } = page;
    $('name').textContent = store.state.name;
    const isCounted = store.state.frames !== null;
    const count = isCounted ? store.state.frames : store.state.seen;
    const counted = `${count} ${count === 1 ? 'frame' : 'frames'}${isCounted ? '' : ' so far'}`;
    $('facts').textContent = `${store.width} × ${store.height} · ${counted} · ${store.rate}`;
    $('encoder').textContent = { loading: 'The encoder is loading …', failed: 'The encoder is not there' }[store.state.encoder.state] || '';
    $('saved').textContent = store.waiting ? 'Saving …' : store.refused ? 'Not saved' : store.marked().length ? 'Saved' : '';
    this.drawBeyond();
    this.drawPlace();
  }

  drawBeyond() {
    const { store } = this.page;
    const beyond = store.beyond();
    $('beyond').hidden = !beyond.length;
    const frames = `${beyond.length > 1 ? 'Frames' : 'Frame'} ${beyond.join(', ')} ${beyond.length > 1 ? 'are' : 'is'}`;
    $('beyond-frames').textContent = `${frames} marked, but the video has only ${store.count} frames.`;
  }

  labelState() {
    const { store, frame } = this.page;
    if (store.isMarked(frame)) return 'Marked by you.';
    return store.records.masks.has(frame) || store.confidence(frame) !== null ? 'Propagated.' : 'Not marked, not propagated.';
  }

  drawPlace() {
    const { page } = this;
    const { store } = page;
    const [first, last, number] = [0, store.lastFrame, page.frame].map((frame) => store.numberOf(frame));
    Object.assign($('number'), { min: first, max: last });
    if ($('number') !== document.activeElement) $('number').value = number;
    $('of-last').textContent = `of ${last}`;
    $('seconds').textContent = `· ${store.secondsOf(page.frame)}`;
    const slider = $('timeline');
    for (const [name, value] of [['min', first], ['max', last], ['now', number]]) slider.setAttribute(`aria-value${name}`, value);
    $('label-state').textContent = this.labelState();
    slider.setAttribute('aria-valuetext', `frame ${number} ${$('of').textContent}: ${this.labelState()}`);
    page.panel.show(store.things, page.selected, this.sure());
    page.timeline.show(store, page.frame, page.selected, page.merge.range);
    this.drawMarks();
    this.drawButtons();
  }

  /** Objects and points -> number -> confidence in this frame; null for what was marked as not there. */
  sure() {
    const { frame, player, store } = this.page;
    const sure = { objects: store.objectsOf(frame), points: new Map() };
    for (const [number, point] of store.pointsOf(frame)) sure.points.set(number, point.at ? point.sure : null);
    const mask = player.shownFrame === frame && player.shownMask;
    const missing = (number) => mask && !this.shownIn(mask).has(number);
    for (const number of store.masks.get(frame) || []) if (missing(number)) sure.objects.set(number, null);
    return sure;
  }

  /** The objects that a mask shows; they are counted once, as a mask is large. */
  shownIn(mask) {
    if (this.counted !== mask) Object.assign(this, { counted: mask, numbers: new Set(shown(mask)) });
    return this.numbers;
  }

  drawMarks() {
    const { page } = this;
    if (!page.store) return;
    const brush = ['brush', 'eraser'].includes(page.tool) && (page.crosshair.at || page.tools.cursor);
    page.view.showMarks({
      points: page.points.shown(),
      before: page.player.compares ? page.points.before() : [],
      selected: page.selected && page.selected.kind === 'points' ? page.selected.number : null,
      draft: page.tools.draft,
      cursor: brush ? { at: brush, radius: page.radius } : null,
      crosshair: page.crosshair.at,
    });
  }

  drawButtons() {
    const { page } = this;
    const works = Boolean(page.work && page.work.watching);
    const marked = Boolean(page.store && page.store.marked().length);
    if (page.store) page.merge.draw();
    $('undo').disabled = !page.history || !page.history.done.length;
    $('redo').disabled = !page.history || !page.history.undone.length;
    $('propagate').disabled = works || !marked;
    $('export').disabled = works || !marked;
    $('stop').hidden = !works;
    $('clear').disabled = !page.store || !page.store.isMarked(page.frame);
    $('absent').disabled = !page.selected;
    const icon = page.player.playing ? 'pause' : 'play';
    $('play-icon').setAttribute('href', `static/icons.svg#${icon}`);
  }

  /** Show a hint; by default that of the crosshair, or of the tool. */
  hint(text = null) {
    const { page } = this;
    $('hint').textContent = text ?? page.crosshair.hint ?? (page.store ? HINTS[page.tool] : '');
  }
}
