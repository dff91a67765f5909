// The page: puts the parts together.

import * as api from './api.js';
import { Chooser } from './chooser.js';
import { History } from './history.js';
import { keys } from './keys.js';
import { Panel } from './panel.js';
import { Store } from './store.js';
import { Timeline } from './timeline.js';
import { Tools } from './tools.js';
import { View } from './view.js';
import { Work } from './work.js';

const $ = (id) => document.getElementById(id);
const HINTS = {
  point: 'Click to place a point, drag to move it',
  brush: 'Paint; Alt erases, [ and ] change the size',
  eraser: 'Erase; [ and ] change the size',
  polygon: 'Click the corners; Enter or a double click closes, Esc drops',
  box: 'Drag a box; Alt erases',
  hand: 'Drag to move the picture, the wheel zooms',
};

class Page {
  constructor() {
    this.store = null;
    this.frame = 0;
    this.tool = 'brush';
    this.radius = 16;
    this.selected = null;
    this.moving = null; // The point that is being dragged: {number, at}.
    this.view = new View($('stage'));
    this.view.redraw = () => this.drawMarks();
    this.tools = new Tools(this);
    this.history = new History(() => this.drawButtons());
    this.timeline = new Timeline($('timeline'), (frame) => this.go(frame));
    this.panel = new Panel({
      select: (kind, number) => this.select(kind, number),
      change: (kind, number, what) => this.changeThing(kind, number, what),
      remove: (kind, number) => this.removeThing(kind, number),
    });
    this.chooser = new Chooser((name) => this.open(name));
    this.work = new Work(this);
    this.listen();
    this.setTool('brush');
    this.drawButtons();
  }

  // --- Opening -------------------------------------------------------------------------------

  async start() {
    const wanted = decodeURIComponent(location.hash.slice(1));
    const found = await this.tried(api.videos());
    if (!found) return;
    this.chooser.names = found;
    if (found.includes(wanted)) await this.open(wanted);
    else if (found.length === 1) await this.open(found[0]);
    else this.chooseVideo();
  }

  async open(name) {
    this.pause();
    const state = await this.tried(api.open(name));
    if (!state) return;
    history.replaceState(null, '', `#${encodeURIComponent(name)}`);
    this.panel.forget();
    this.history = new History(() => this.drawButtons());
    this.store = new Store(state, () => this.drawAll(), (message) => this.say(message));
    await this.tried(this.store.loadResults());
    this.view.setSize(state.width, state.height, state.pixel_aspect);
    this.setRadius(Math.max(3, Math.round(Math.min(state.width, state.height) / 24)));
    this.selected = null;
    const first = this.store.things.objects[0] || this.store.things.points[0];
    if (first) this.select(this.store.things.objects.length ? 'objects' : 'points', first.number);
    await this.go(this.store.marked()[0] ?? 0);
    this.setTool(this.tool);
    if (state.job && state.job.state === 'running') this.work.watch(state.job.seen);
    this.settle(this.store);
  }

  /** Look at the state now and then until frames are counted and the encoder is loaded. */
  async settle(store) {
    while (store === this.store && (store.state.frames === null || store.state.encoder.state === 'loading')) {
      await new Promise((resolve) => setTimeout(resolve, 500));
      if (store !== this.store) return;
      await store.refresh().catch(() => {});
    }
    if (store.state.trouble) this.say(`The video ends early: ${store.state.trouble}`);
    if (store.state.encoder.state === 'failed') this.say(store.state.encoder.message);
  }

  chooseVideo() { this.chooser.show(); }

  // --- Frames --------------------------------------------------------------------------------

  /** Show a frame; of several that are asked for at once, the last. */
  async go(frame, follow = false) {
    const { store } = this;
    if (!store) return;
    if (!follow) this.follows = false;
    this.tools.cancel();
    this.frame = Math.max(0, Math.min(store.lastFrame, Math.round(frame) || 0));
    this.wanted = this.frame;
    this.drawPlace();
    if (this.loading) {
      await this.loading;
      return;
    }
    this.loading = this.load(store);
    await this.loading;
    this.loading = null;
  }

  async load(store) {
    while (store === this.store && this.wanted !== null) {
      const frame = this.wanted;
      const [picture, mask] = await Promise.all([
        store.picture(frame).catch((error) => { this.say(error.message); return null; }),
        store.mask(frame),
      ]);
      if (store !== this.store) return;
      if (picture) this.view.showPicture(picture);
      this.shownMask = mask;
      this.shownFrame = frame;
      this.drawMask();
      if (this.wanted === frame) this.wanted = null;
      this.drawPlace();
    }
  }

  drawMask(box = null) {
    this.view.setColours(this.store.things.objects);
    this.view.showMask($('shown').checked ? this.shownMask : null, box);
  }

  /** Show what the mask was before the last propagation, as long as the key is held. */
  async compare() {
    if (this.compares || this.loading) return;
    const { store, shownFrame } = this;
    this.compares = true;
    const before = await store.video.mask(shownFrame, true).catch(() => null);
    if (!this.compares || shownFrame !== this.shownFrame) return;
    if (before) this.view.showMask(before);
    $('hint').textContent = before ? 'Before the last propagation' : 'This mask was propagated once only';
  }

  endCompare() {
    if (!this.compares) return;
    this.compares = false;
    $('hint').textContent = HINTS[this.tool];
    this.drawMask();
  }

  async play() {
    if (!this.store || this.playing) return;
    this.playing = true;
    this.drawButtons();
    const { store } = this;
    if (this.frame >= store.lastFrame) await this.go(0);
    const begun = performance.now();
    const first = this.frame;
    while (this.playing && store === this.store && this.frame < store.lastFrame) {
      for (let k = 1; k <= 6; k += 1) if (this.frame + k <= store.lastFrame) store.picture(this.frame + k).catch(() => {});
      // Frames are left out where the machine is too slow.
      const due = first + Math.floor(((performance.now() - begun) / 1000) * store.state.frame_rate);
      const next = Math.min(store.lastFrame, Math.max(this.frame + 1, Math.min(due, this.frame + 3)));
      const wait = begun + ((next - first) / store.state.frame_rate) * 1000 - performance.now();
      if (wait > 0) await new Promise((resolve) => setTimeout(resolve, wait));
      if (this.playing) await this.go(next);
    }
    this.pause();
  }

  pause() {
    this.playing = false;
    this.drawButtons();
  }

  goMarked(way) {
    const marked = this.store.marked().filter((frame) => (way > 0 ? frame > this.frame : frame < this.frame));
    if (marked.length) this.go(way > 0 ? marked[0] : marked[marked.length - 1]);
  }

  goLeastSure() {
    let least = null;
    for (let frame = 0; frame < this.store.count; frame += 1) {
      const sure = this.store.isMarked(frame) ? null : this.store.confidence(frame);
      if (sure !== null && (!least || sure < least.sure)) least = { frame, sure };
    }
    if (least) this.go(least.frame);
    else this.say('Propagate first: no frame has a confidence yet.');
  }

  // --- Objects and points --------------------------------------------------------------------

  select(kind, number) {
    this.selected = { kind, number };
    if (kind === 'points' && ['brush', 'eraser', 'polygon', 'box'].includes(this.tool)) this.setTool('point');
    if (kind === 'objects' && this.tool === 'point') this.setTool('brush');
    this.drawAll();
  }

  thing(kind, number) { return this.store.things[kind].find((each) => each.number === number); }

  addThing(kind) {
    if (!this.store) return null;
    const taken = new Set(this.store.things[kind].map((each) => each.number));
    const names = new Set(this.store.things[kind].map((each) => each.name));
    let number = 1;
    while (taken.has(number)) number += 1;
    if (number > 255) {
      this.say('There are 255 already, and no more are possible.');
      return null;
    }
    let name = `${kind.slice(0, -1)} ${number}`;
    while (names.has(name)) name += "'";
    const colours = this.store.state.colours;
    // The first points are drawn over the first objects.
    const place = kind === 'points' ? number + 2 : number - 1;
    const thing = { number, name, colour: colours[place % colours.length] };
    const things = this.store.things;
    this.store.setThings({ ...things, [kind]: [...things[kind], thing] });
    this.select(kind, number);
    return thing;
  }

  changeThing(kind, number, what) {
    const things = this.store.things;
    const others = things[kind].filter((each) => each.number !== number);
    if ('name' in what && (!what.name || others.some((each) => each.name === what.name))) {
      this.say(what.name ? `Another one is called ${what.name} already.` : 'A name needs a letter at least.');
      this.drawAll();
      return;
    }
    const changed = things[kind].map((each) => (each.number === number ? { ...each, ...what } : each));
    this.store.setThings({ ...things, [kind]: changed });
    this.drawMask();
    this.drawAll();
  }

  async removeThing(kind, number) {
    const { name } = this.thing(kind, number);
    if (!window.confirm(`Remove ${name} and all its marks from the whole video?`)) return;
    const things = this.store.things;
    this.selected = null;
    await this.store.setThings({ ...things, [kind]: things[kind].filter((each) => each.number !== number) });
    await this.tried(this.store.loadResults());
    this.store.maskCache.values.clear();
    this.history = new History(() => this.drawButtons());
    this.drawButtons();
    await this.go(this.frame);
  }

  // --- Masks ---------------------------------------------------------------------------------

  /** Begin to change the mask of this frame; return what to paint into, and with which number. */
  async beginPaint(erases) {
    const { store } = this;
    this.pause();
    if (this.loading) await this.loading;
    if (!this.selected || this.selected.kind !== 'objects') {
      const object = store.things.objects[0] || (erases ? null : this.addThing('objects'));
      if (!object) return null;
      this.select('objects', object.number);
    }
    const frame = this.shownFrame;
    const before = this.shownMask;
    const mask = before ? before.slice() : new Uint8Array(store.width * store.height);
    return { frame, before, mask, value: erases ? 0 : this.selected.number, object: this.selected.number };
  }

  painted(mask, box) {
    this.view.setColours(this.store.things.objects);
    if ($('shown').checked === false) $('shown').checked = true;
    this.view.showMask(mask, box);
  }

  dropPaint() { this.drawMask(); }

  endPaint(paint) {
    const { frame, before, mask } = paint;
    const about = this.store.masks.get(frame) || [];
    // Who corrects what was propagated confirms the rest of it.
    const propagated = this.store.records.masks.has(frame) ? this.store.things.objects.map((each) => each.number) : [];
    const erased = paint.value === 0 && about.length === 0 && !before ? [] : [paint.object];
    const after = [...new Set([...about, ...propagated, ...erased])];
    this.history.do(
      frame,
      () => this.setMask(frame, mask, after),
      () => this.setMask(frame, before, about),
    );
  }

  setMask(frame, mask, about) {
    this.store.setMask(frame, mask, about);
    if (frame === this.shownFrame) {
      this.shownMask = mask;
      this.drawMask();
      if (!about.length) this.go(frame); // What was propagated shows again.
    }
    this.drawAll();
  }

  /** Say that what is selected is not in this frame. */
  async markAbsent() {
    if (!this.selected) return;
    const { kind, number } = this.selected;
    if (kind === 'points') {
      this.setPoint(number, null);
      return;
    }
    const paint = await this.beginPaint(true);
    if (!paint) return;
    paint.mask.forEach((value, k) => { if (value === number) paint.mask[k] = 0; });
    const about = this.store.masks.get(paint.frame) || [];
    const after = [...new Set([...about, number])];
    this.history.do(
      paint.frame,
      () => this.setMask(paint.frame, paint.mask, after),
      () => this.setMask(paint.frame, paint.before, about),
    );
  }

  /** Remove the mark of what is selected in this frame. */
  async removeMark() {
    if (!this.selected) return;
    const { kind, number } = this.selected;
    const { frame } = this;
    if (kind === 'points') {
      const before = this.store.points.get(frame) || {};
      if (!(number in before)) return;
      const { [number]: _, ...after } = before;
      this.keepPoints(frame, before, after);
      return;
    }
    const about = this.store.masks.get(frame) || [];
    if (!about.includes(number)) return;
    const paint = await this.beginPaint(true);
    const mask = paint.before.map((value) => (value === number ? 0 : value));
    this.history.do(
      frame,
      () => this.setMask(frame, mask, about.filter((each) => each !== number)),
      () => this.setMask(frame, paint.before, about),
    );
  }

  /** Remove all that was marked in this frame. */
  clearFrame() {
    const { frame, store } = this;
    if (!store.isMarked(frame)) return;
    const about = store.masks.get(frame) || [];
    const points = store.points.get(frame) || {};
    const mask = this.shownMask;
    const keep = (somePoints, someAbout) => {
      if (Object.keys(points).length) store.setPoints(frame, somePoints);
      if (about.length) this.setMask(frame, mask, someAbout);
      this.drawAll();
    };
    this.history.do(frame, () => keep({}, []), () => keep(points, about));
  }

  // --- Points --------------------------------------------------------------------------------

  shownPoints() {
    if (!this.store || !$('shown').checked) return [];
    const here = this.store.pointsOf(this.frame);
    return this.store.things.points.filter((each) => here.has(each.number)).map((thing) => {
      const point = { ...thing, ...here.get(thing.number) };
      return this.moving && this.moving.number === thing.number ? { ...point, at: this.moving.at, given: true, sure: 1 } : point;
    });
  }

  isInside({ x, y }) { return x >= -0.5 && y >= -0.5 && x <= this.store.width - 0.5 && y <= this.store.height - 0.5; }

  clamped({ x, y }) {
    return { x: Math.max(0, Math.min(this.store.width - 1, x)), y: Math.max(0, Math.min(this.store.height - 1, y)) };
  }

  /** Place the selected point, if it has no place in this frame, or a new one. */
  placePoint(at) {
    this.pause();
    const here = this.store.pointsOf(this.frame);
    const isFree = this.selected && this.selected.kind === 'points' && !(here.get(this.selected.number) || {}).at;
    const number = isFree ? this.selected.number : (this.addThing('points') || {}).number;
    if (number) this.setPoint(number, at);
  }

  movePoint(number, at) { this.moving = { number, at: [at.x, at.y] }; }

  dropPoint(number, at) {
    this.moving = null;
    this.setPoint(number, at);
  }

  setPoint(number, at) {
    const before = this.store.points.get(this.frame) || {};
    const place = at && [Math.round(at.x * 100) / 100, Math.round(at.y * 100) / 100];
    this.keepPoints(this.frame, before, { ...before, [number]: place });
  }

  keepPoints(frame, before, after) {
    const keep = (points) => { this.store.setPoints(frame, points); this.drawAll(); };
    this.history.do(frame, () => keep(after), () => keep(before));
  }

  nudge(dx, dy) {
    if (!this.selected || this.selected.kind !== 'points') return;
    const { at } = this.store.pointsOf(this.frame).get(this.selected.number) || {};
    if (at) this.setPoint(this.selected.number, this.clamped({ x: at[0] + dx, y: at[1] + dy }));
  }

  // --- Work ----------------------------------------------------------------------------------

  propagate() { return this.work.propagate(); }
  export() { return this.work.export(); }
  stop() { return this.work.stop(); }

  // --- What is shown -------------------------------------------------------------------------

  async tried(promise) {
    try {
      return await promise;
    } catch (error) {
      this.say(error.message);
      return null;
    }
  }

  say(message) {
    $('message').textContent = message;
    $('message').hidden = false;
    clearTimeout(this.saying);
    this.saying = setTimeout(() => { $('message').hidden = true; }, 9000);
  }

  setTool(tool) {
    this.tools.cancel();
    this.tool = tool;
    for (const button of document.querySelectorAll('[data-tool]')) {
      button.setAttribute('aria-pressed', String(button.dataset.tool === tool));
    }
    $('stage').style.cursor = { hand: 'grab', brush: 'none', eraser: 'none' }[tool] || 'crosshair';
    $('hint').textContent = this.store ? HINTS[tool] : '';
    this.drawMarks();
  }

  setRadius(radius) {
    this.radius = Math.max(1, Math.min(100, radius));
    $('size').value = this.radius;
    $('size-shown').textContent = this.radius;
    this.drawMarks();
  }

  drawAll() {
    if (!this.store) return;
    const { store } = this;
    $('name').textContent = store.state.name;
    const counted = store.state.frames === null ? `${store.state.seen} frames so far` : `${store.state.frames} frames`;
    $('facts').textContent = `${store.width} × ${store.height} · ${counted} · ${Number(store.state.frame_rate.toFixed(2))} per second`;
    $('encoder').textContent = { loading: 'The encoder is loading …', failed: 'The encoder is not there' }[store.state.encoder.state] || '';
    $('saved').textContent = store.waiting ? 'Saving …' : store.marked().length ? 'Saved' : '';
    this.drawPlace();
  }

  labelState() {
    const { store, frame } = this;
    if (store.isMarked(frame)) return 'Marked by you.';
    return store.confidence(frame) === null ? 'Not marked, not propagated.' : 'Propagated.';
  }

  drawPlace() {
    const { store } = this;
    $('number').max = store.lastFrame;
    if ($('number') !== document.activeElement) $('number').value = this.frame;
    $('of').textContent = `of ${store.lastFrame} · ${(this.frame / store.state.frame_rate).toFixed(2)} s`;
    const slider = $('timeline');
    slider.setAttribute('aria-valuemax', store.lastFrame);
    slider.setAttribute('aria-valuenow', this.frame);
    $('label-state').textContent = this.labelState();
    const sure = { objects: store.objectsOf(this.frame), points: new Map() };
    for (const [number, point] of store.pointsOf(this.frame)) sure.points.set(number, point.sure);
    this.panel.show(store.things, this.selected, sure);
    this.timeline.show(store, this.frame, this.selected);
    this.drawMarks();
    this.drawButtons();
  }

  drawMarks() {
    if (!this.store) return;
    const paints = ['brush', 'eraser'].includes(this.tool) && this.tools.cursor;
    this.view.showMarks({
      points: this.shownPoints(),
      selected: this.selected && this.selected.kind === 'points' ? this.selected.number : null,
      draft: this.tools.draft,
      cursor: paints ? { at: this.tools.cursor, radius: this.radius } : null,
    });
  }

  drawButtons() {
    const works = Boolean(this.work && this.work.watching);
    const marked = Boolean(this.store && this.store.marked().length);
    $('undo').disabled = !this.history || !this.history.done.length;
    $('redo').disabled = !this.history || !this.history.undone.length;
    $('propagate').disabled = works || !marked;
    $('export').disabled = works || !marked;
    $('stop').hidden = !works;
    $('clear').disabled = !this.store || !this.store.isMarked(this.frame);
    $('absent').disabled = !this.selected;
    const icon = this.playing ? 'pause' : 'play';
    $('play-icon').setAttribute('href', `static/icons.svg#${icon}`);
  }

  // --- Hands ---------------------------------------------------------------------------------

  move(change) {
    if (!change && change !== 0) return;
    if (change !== this.frame) this.go(change);
  }

  listen() {
    const clicks = {
      open: () => this.chooseVideo(),
      export: () => this.export(),
      help: () => $('help-sheet').showModal(),
      undo: () => this.undo(),
      redo: () => this.redo(),
      'add-object': () => this.addThing('objects'),
      'add-point': () => this.addThing('points'),
      absent: () => this.markAbsent(),
      clear: () => this.clearFrame(),
      first: () => this.go(0),
      back: () => this.go(this.frame - 1),
      play: () => this.toggle(),
      next: () => this.go(this.frame + 1),
      last: () => this.go(this.store ? this.store.lastFrame : 0),
      'marked-back': () => this.goMarked(-1),
      'marked-next': () => this.goMarked(1),
      least: () => this.goLeastSure(),
      propagate: () => this.propagate(),
      stop: () => this.stop(),
    };
    const withoutVideo = ['open', 'help'];
    for (const [id, act] of Object.entries(clicks)) {
      $(id).addEventListener('click', () => { if (this.store || withoutVideo.includes(id)) act(); });
    }
    for (const button of document.querySelectorAll('[data-tool]')) {
      button.addEventListener('click', () => this.setTool(button.dataset.tool));
    }
    $('size').addEventListener('input', () => this.setRadius(Number($('size').value)));
    $('shown').addEventListener('change', () => { if (this.store) { this.drawMask(); this.drawMarks(); } });
    $('number').addEventListener('change', () => this.go(Number($('number').value)));
    $('message').addEventListener('click', () => { $('message').hidden = true; });
    document.addEventListener('keydown', (event) => keys(this, event));
    document.addEventListener('keyup', (event) => { if (event.key.toLowerCase() === 'c') this.endCompare(); });
    // Space plays; only the keyboard presses the button that has the focus.
    document.addEventListener('click', (event) => {
      const pressed = event.target.closest('button');
      if (pressed && event.detail) pressed.blur();
    });
    window.addEventListener('blur', () => this.endCompare());
    window.addEventListener('beforeunload', (event) => {
      if (this.store && this.store.waiting) event.preventDefault();
    });
  }

  toggle() { if (this.playing) this.pause(); else this.play(); }
  undo() { this.move(this.history.undo()); }
  redo() { this.move(this.history.redo()); }
}

const page = new Page();
page.start();
