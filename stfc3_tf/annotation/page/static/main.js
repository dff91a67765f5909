// The page: its state, and its parts put together.

import * as api from './api.js';
import { Chooser } from './chooser.js';
import { Crosshair } from './crosshair.js';
import { Display } from './display.js';
import { Edits } from './edits.js';
import { History } from './history.js';
import { keys } from './keys.js';
import { Merge } from './merge.js';
import { Panel } from './panel.js';
import { Player } from './player.js';
import { Points } from './points.js';
import { Store } from './store.js';
import { Things } from './things.js';
import { Timeline } from './timeline.js';
import { Tools } from './tools.js';
import { View } from './view.js';
import { Work } from './work.js';

const $ = (id) => document.getElementById(id);

class Page {
  constructor() {
    this.store = null;
    this.frame = 0;
    this.tool = 'brush';
    this.radius = 16;
    this.selected = null;
    this.view = new View($('stage'));
    this.view.redraw = () => this.display.drawMarks();
    this.display = new Display(this);
    this.player = new Player(this);
    this.things = new Things(this);
    this.edits = new Edits(this);
    this.points = new Points(this);
    this.crosshair = new Crosshair(this);
    this.tools = new Tools(this);
    this.work = new Work(this);
    this.merge = new Merge(this);
    this.timeline = new Timeline($('timeline'), {
      go: (frame) => this.player.go(frame),
      choose: (one, other) => this.merge.between(one, other),
    });
    this.panel = new Panel({
      select: (kind, number) => this.things.select(kind, number),
      change: (kind, number, what) => this.things.change(kind, number, what),
      remove: (kind, number) => this.things.remove(kind, number),
    });
    this.chooser = new Chooser((name) => this.open(name), () => this.tried(api.videos()));
    this.listen();
    this.setTool('brush');
    this.beginHistory();
  }

  async start() {
    const wanted = named(location.hash.slice(1));
    const found = await this.tried(api.videos());
    if (!found) return;
    this.chooser.take(found);
    const { names } = found;
    // Not all videos that may be opened are listed.
    if (wanted && (await this.open(wanted) || names.includes(wanted))) return;
    if (names.length === 1) await this.open(names[0]);
    else this.chooser.show();
  }

  /** Open a video; of several that are opened at once, the last. Return false if it is refused. */
  async open(name) {
    const opening = {};
    this.opening = opening;
    this.player.pause();
    if (!this.store) $('message').hidden = true;
    const state = await this.tried(api.open(name));
    if (this.opening !== opening) return true;
    if (!state) return false;
    const store = new Store(state, {
      changed: () => { if (store === this.store) this.display.drawAll(); },
      say: (message) => this.display.say(message),
      replaced: () => { if (store === this.store) this.showOther(); },
    });
    await this.tried(store.loadResults());
    if (this.opening !== opening) return true;
    history.replaceState(null, '', `#${encodeURIComponent(name)}`);
    await this.show(store);
    return true;
  }

  /** Show a video whose labels are known. */
  async show(store) {
    const { state, things } = store;
    this.tools.cancel();
    this.crosshair.hide();
    this.store = store;
    this.player.forget();
    this.panel.forget();
    this.work.draw(null);
    this.merge.forget();
    this.beginHistory();
    this.frame = store.marked()[0] ?? 0;
    this.view.setSize(state.width, state.height, state.pixel_aspect);
    this.setRadius(Math.max(3, Math.round(Math.min(state.width, state.height) / 24)));
    this.selected = null;
    const first = things.objects[0] || things.points[0];
    if (first) this.things.select(things.objects.length ? 'objects' : 'points', first.number);
    this.setTool(this.tool);
    this.display.drawAll();
    if (store.isWorking) this.work.watch(store, state.job.seen);
    this.settle(store);
    await this.player.go(this.frame);
  }

  /** Show labels that are not those that this window gave. */
  showOther() {
    const { things } = this.store;
    const { selected } = this;
    if (selected && !things[selected.kind].some((each) => each.number === selected.number)) this.selected = null;
    this.beginHistory();
    this.player.go(this.frame, true);
  }

  /** Look at the state now and then until frames are counted and the encoder is loaded. */
  async settle(store) {
    while (store.state.frames === null || store.state.encoder.state === 'loading') {
      await api.pause(500);
      if (store !== this.store) return;
      await store.refresh().catch(() => {});
      if (store !== this.store) return;
      await store.loadTimes().catch(() => {});
    }
    await this.tried(store.loadTimes());
    if (store.state.trouble) this.display.say(`The video ends early: ${store.state.trouble}`);
    if (store.state.encoder.state === 'failed') this.display.say(store.state.encoder.message);
  }

  /** Look at what other windows did meanwhile. */
  async comeBack() {
    const { store } = this;
    if (!store || store.waiting || this.work.watching) return;
    await store.refresh().catch(() => {});
    if (store !== this.store || this.work.watching || !store.missesWork) return;
    await this.tried(store.loadResults());
    if (store !== this.store || this.work.watching) return;
    store.forgetMasks();
    if (store.isWorking) this.work.watch(store, store.state.job.seen);
    if (!this.tools.isBusy) this.player.go(this.frame, true);
  }

  beginHistory() {
    this.history = new History(() => this.display.drawButtons(), this.store ? this.store.mostMasks : 1);
    this.display.drawButtons();
  }

  async tried(promise) {
    try {
      return await promise;
    } catch (error) {
      this.display.say(error.message);
      return null;
    }
  }

  setTool(tool) {
    this.tools.leave();
    this.tool = tool;
    for (const button of document.querySelectorAll('[data-tool]')) {
      button.setAttribute('aria-pressed', String(button.dataset.tool === tool));
    }
    $('stage').style.cursor = { hand: 'grab', brush: 'none', eraser: 'none' }[tool] || 'crosshair';
    this.display.hint();
    this.display.drawMarks();
  }

  setRadius(radius) {
    this.radius = Math.max(1, Math.min(100, radius));
    $('size').value = this.radius;
    $('size-shown').textContent = this.radius;
    this.display.drawMarks();
  }

  /** Show the frame of a change that was undone or done again, if there was one. */
  goTo(frame) {
    if (Number.isInteger(frame) && frame !== this.frame) this.player.go(frame);
  }

  goToTyped() {
    const field = $('number');
    if (!this.store) return;
    if (field.value !== '') this.player.go(this.store.frameOf(Number(field.value)));
    field.value = this.store.numberOf(this.frame);
  }

  help() {
    $('help-sheet').showModal();
    $('help-sheet').scrollTop = 0; // The button that has the focus is at its end.
  }

  listen() {
    const clicks = {
      open: () => this.chooser.show(),
      export: () => this.work.export(),
      help: () => this.help(),
      undo: () => this.undo(),
      redo: () => this.redo(),
      'add-object': () => this.things.add('objects'),
      'add-point': () => this.things.add('points'),
      absent: () => this.edits.markAbsent(),
      'remove-beyond': () => this.store.removeBeyond(),
      clear: () => this.edits.clearFrame(),
      first: () => this.player.go(0),
      back: () => this.player.go(this.frame - 1),
      play: () => this.player.toggle(),
      next: () => this.player.go(this.frame + 1),
      last: () => this.player.go(this.store ? this.store.lastFrame : 0),
      'marked-back': () => this.player.goMarked(-1),
      'marked-next': () => this.player.goMarked(1),
      least: () => this.player.goLeastSure(),
      propagate: () => this.work.propagate(),
      stop: () => this.work.stop(),
    };
    const withoutVideo = ['open', 'help'];
    for (const [id, act] of Object.entries(clicks)) {
      $(id).addEventListener('click', () => { if (this.store || withoutVideo.includes(id)) act(); });
    }
    for (const button of document.querySelectorAll('[data-tool]')) {
      button.addEventListener('click', () => this.setTool(button.dataset.tool));
    }
    $('size').addEventListener('input', () => this.setRadius(Number($('size').value)));
    $('shown').addEventListener('change', () => { if (this.store) { this.display.drawMask(); this.display.drawMarks(); } });
    $('number').addEventListener('change', () => this.goToTyped());
    $('number').addEventListener('keydown', (event) => { if (['Enter', 'Escape'].includes(event.key)) $('number').blur(); });
    $('message').addEventListener('click', () => { $('message').hidden = true; });
    document.addEventListener('keydown', (event) => keys(this, event));
    document.addEventListener('keyup', ({ key }) => { if (key && key.toLowerCase() === 'c') this.player.endCompare(); });
    // Space plays; only the keyboard presses the button that has the focus.
    document.addEventListener('click', (event) => {
      const pressed = event.target.closest('button');
      if (pressed && event.detail) pressed.blur();
    });
    // Keys go on to work after the mouse changed something.
    document.addEventListener('change', ({ target }) => { if (!target.matches('dialog *, :focus-visible')) target.blur(); });
    window.addEventListener('blur', () => this.player.endCompare());
    window.addEventListener('hashchange', () => {
      const wanted = named(location.hash.slice(1));
      if (wanted) this.open(wanted);
    });
    window.addEventListener('focus', () => this.comeBack());
    window.addEventListener('beforeunload', (event) => {
      if (Store.unsaved) event.preventDefault();
    });
  }

  undo() {
    if (this.tools.isBusy) this.tools.dropCorner();
    else this.goTo(this.history.undo());
  }

  redo() { if (!this.tools.isBusy) this.goTo(this.history.redo()); }
}

/** The name in an address; '' if somebody wrote one that cannot be read. */
function named(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return '';
  }
}

const page = new Page();
page.start();
