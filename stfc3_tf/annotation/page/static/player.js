// The frame that is shown: loading, playing, jumping, comparing.

import { pause } from './api.js';

export class Player {
  constructor(page) {
    this.page = page;
    this.playing = null; // What tells this playing from an earlier one.
    this.follows = false; // Whether the frames of a propagation are shown as they come.
    this.shownMask = null;
    this.shownFrame = null; // Until the first one is shown.
    this.failure = null; // Why the mask of the frame that is shown could not be loaded.
    this.wanted = null;
  }

  /** Show a frame; of several that are asked for at once, the last. */
  async go(frame, follow = false) {
    const { page } = this;
    const { store } = page;
    if (!store) return;
    if (!follow) this.follows = false;
    page.tools.leave();
    page.frame = Math.max(0, Math.min(store.lastFrame, Math.round(frame) || 0));
    this.wanted = page.frame;
    page.display.drawPlace();
    this.loading = this.loading || this.load();
    await this.loading;
  }

  /** Show what is wanted, until nothing else is. */
  async load() {
    try {
      while (this.wanted !== null) await this.loadFrame(this.page.store, this.wanted);
    } finally {
      this.loading = null;
    }
  }

  async loadFrame(store, frame) {
    const { page } = this;
    const version = store.version(frame);
    let failure = null;
    const said = (error) => { page.display.say(error.message); return null; };
    const failed = (error) => { failure = error.message; return said(error); };
    const [picture, mask] = await Promise.all([store.picture(frame).catch(said), store.mask(frame).catch(failed)]);
    // What came is of another video, or older than what was painted meanwhile.
    if (store !== page.store || version !== store.version(frame)) return;
    page.view.showPicture(picture);
    this.shownMask = mask;
    this.failure = failure;
    this.shownFrame = frame;
    page.display.drawMask();
    if (this.wanted === frame) this.wanted = null;
    page.display.drawPlace();
    if (this.compares) this.showBefore();
  }

  /** Load the frame that is shown again. */
  async reload() {
    this.wanted = this.wanted ?? this.shownFrame;
    this.loading = this.loading || this.load();
    await this.loading;
  }

  /** Forget the video that was shown. */
  forget() {
    this.pause();
    this.follows = false;
    this.compares = false;
    this.wanted = null;
    this.shownMask = null;
    this.shownFrame = null;
    this.failure = null;
  }

  /** Show what was propagated before, as long as the key is held. */
  compare() {
    if (this.compares || this.shownFrame === null) return;
    this.compares = true;
    this.showBefore();
  }

  async showBefore() {
    const { page, shownFrame } = this;
    const { store } = page;
    const mask = await store.maskBefore(shownFrame).catch((error) => { page.display.say(error.message); });
    if (mask === undefined || shownFrame !== this.shownFrame || store !== page.store) return;
    const hasPoints = store.pointsBefore(shownFrame).size > 0;
    if (mask || hasPoints) {
      if (this.compares) this.drawBefore(mask, hasPoints);
      return;
    }
    page.display.hint();
    page.display.say(nothingBefore(store.isPropagated(shownFrame)));
  }

  drawBefore(mask, hasPoints) {
    const { page } = this;
    if (mask) page.view.showMask(mask);
    page.display.drawMarks();
    page.display.hint(`As propagated before${hasPoints ? '; a cross is where a point was' : ''}`);
  }

  endCompare() {
    const { page } = this;
    if (!this.compares) return;
    this.compares = false;
    page.display.hint();
    page.display.drawMask();
    page.display.drawMarks();
  }

  async play() {
    const { page } = this;
    if (!page.store || this.playing) return;
    const { store } = page;
    const run = {};
    const plays = () => this.playing === run && store === page.store;
    this.playing = run;
    page.display.drawButtons();
    if (page.frame >= store.lastFrame) await this.go(0);
    let begun = { frame: page.frame, time: performance.now() };
    let { frame } = page;
    while (plays() && page.frame < store.lastFrame) {
      // Who goes to another frame plays on from there.
      if (page.frame !== frame) begun = { frame: page.frame, time: performance.now() };
      ({ frame } = page);
      const next = this.nextOf(store, frame, begun);
      const wait = begun.time + (store.timeOf(next) - store.timeOf(begun.frame)) * 1000 - performance.now();
      if (wait > 0) await pause(wait);
      if (!plays() || page.frame !== frame) continue;
      frame = next;
      await this.go(next);
    }
    if (this.playing === run) this.pause();
  }

  /** The frame to play after one; frames are left out where the machine is too slow. */
  nextOf(store, frame, begun) {
    for (let k = 1; k <= 6; k += 1) if (frame + k <= store.lastFrame) store.picture(frame + k).catch(() => {});
    const now = store.timeOf(begun.frame) + (performance.now() - begun.time) / 1000;
    let next = frame + 1;
    while (next < Math.min(frame + 3, store.lastFrame) && store.timeOf(next + 1) <= now) next += 1;
    return next;
  }

  pause() {
    this.playing = null;
    this.page.display.drawButtons();
  }

  goMarked(way) {
    const { page } = this;
    const inside = page.store.marked().filter((frame) => frame <= page.store.lastFrame);
    const marked = inside.filter((frame) => (way > 0 ? frame > page.frame : frame < page.frame));
    if (marked.length) this.go(way > 0 ? marked[0] : marked[marked.length - 1]);
  }

  goLeastSure() {
    const { page } = this;
    let least = null;
    for (let frame = 0; frame < page.store.count; frame += 1) {
      const sure = page.store.isMarked(frame) ? null : page.store.confidence(frame);
      if (sure !== null && (!least || sure < least.sure)) least = { frame, sure };
    }
    if (least) this.go(least.frame);
    else page.display.say('Propagate first: no frame has a confidence yet.');
  }

  toggle() { if (this.playing) this.pause(); else this.play(); }
}

/** What is said to who compares where there is nothing earlier. */
function nothingBefore(isPropagated) {
  return `Nothing to compare with: nothing ${isPropagated ? 'else ' : ''}was propagated to this frame ${isPropagated ? 'before' : 'yet'}.`;
}
