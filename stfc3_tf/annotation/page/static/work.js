// Propagation and export: begin, watch, stop.

import { answered, pause } from './api.js';
import { Exports } from './exports.js';

const POLL = 250; // Milliseconds between two looks.
const $ = (id) => document.getElementById(id);

export class Work {
  constructor(page) {
    this.page = page;
    this.exports = new Exports((formats) => this.begin((video) => video.export(formats)));
    this.store = null; // The video on which work is done, as far as this window knows.
    this.isDropped = false; // Whether it was stopped.
    this.isStale = false; // Whether the mask that is shown changed while something was drawn.
  }

  get watching() { return this.store !== null && this.store === this.page.store; }

  async propagate() {
    if (this.lacksMarks()) return;
    await this.begin((video) => video.propagate(this.page.merge.asked()), true);
  }

  /** Ask for formats, and export then. */
  export() {
    const { player, store } = this.page;
    if (!store || this.watching || this.lacksMarks()) return;
    player.pause();
    this.exports.ask(store);
  }

  /** Say so if nothing is marked; return whether that is so. */
  lacksMarks() {
    const { display, store } = this.page;
    if (!store || store.marked().length) return false;
    display.say('Nothing is marked yet: mark an object or a point first.');
    return true;
  }

  async begin(ask, follows = false) {
    const { page } = this;
    const { store } = page;
    if (!store || this.watching) return;
    page.player.pause();
    this.store = store; // From here on nothing else begins.
    this.isDropped = false;
    page.display.drawButtons();
    await store.saving;
    if (this.isDropped) {
      this.end(store);
      return;
    }
    const begun = await page.tried(ask(store.video));
    if (this.isDropped) await this.stop();
    page.player.follows = follows && begun !== null && store === page.store;
    if (begun !== null) await this.watch(store, 0);
    else await this.join(store);
  }

  /** Watch what another window began, if anything. */
  async join(store) {
    await store.refresh().catch(() => {});
    if (store.isWorking) await this.watch(store, 0);
    else this.end(store);
  }

  async stop() {
    if (!this.watching) return;
    this.isDropped = true; // In case it has not begun.
    await this.page.tried(this.store.video.stop());
  }

  /** Show how far the work is until it ends. */
  async watch(store, seen) {
    const { page } = this;
    this.store = store;
    page.display.drawButtons();
    let job = null;
    try {
      job = await this.follow(store, seen);
    } finally {
      this.end(store);
    }
    if (store !== page.store) return;
    if (job && job.state === 'failed') page.display.say(job.message);
    await store.refresh().catch(() => {});
    page.display.drawButtons();
  }

  end(store) {
    if (this.store !== store) return;
    this.store = null;
    this.draw(null);
    this.page.display.drawButtons();
  }

  /** Take what changes; return how the work ended, or null if another video is shown. */
  async follow(store, seen) {
    const { page } = this;
    let from = seen;
    let number = seen ? store.state.job.number : null;
    while (store === page.store) {
      const job = await this.look(store, from);
      if (!job || store !== page.store) return null;
      const isOther = number !== null && job.number !== number;
      number = job.number;
      from = isOther ? 0 : job.seen;
      if (isOther) continue; // Another window began something else.
      store.job = job;
      this.draw(job);
      this.take(store, job);
      if (job.state !== 'running') return job;
      await pause(POLL);
    }
    return null;
  }

  /** Ask how far the work is. */
  look(store, seen) {
    const { page } = this;
    return answered(() => store.video.progress(seen), (message) => page.display.say(message), () => store === page.store);
  }

  take(store, job) {
    const { page } = this;
    for (const change of job.changes) {
      if (change.folder) this.exports.tell(store, change);
      else store.takeRecord(change);
      this.isStale = this.isStale || change.frame === page.frame;
    }
    // In marked frames nothing changes.
    const latest = job.changes.filter(({ frame }) => frame !== undefined && !store.isMarked(frame)).pop();
    if (latest && page.player.follows) this.show(latest.frame);
    // What is drawn stays until it is done.
    else if (this.isStale && !page.tools.isBusy) this.show(page.frame);
    page.display.drawAll();
  }

  show(frame) {
    this.isStale = false;
    this.page.player.go(frame, true);
  }

  draw(job) {
    $('progress').hidden = !job;
    if (!job) return;
    if (job.total) $('bar').value = job.done / job.total;
    else $('bar').removeAttribute('value');
    const left = job.seconds_left === null ? '' : `, ${duration(job.seconds_left)} left`;
    // Masks and points are steps of their own, so that there may be more than frames.
    const what = job.task === 'export' ? 'Exporting' : 'Step';
    $('left').textContent = job.total ? `${what} ${job.done} of ${job.total}${left}` : 'Starting …';
  }
}

function duration(seconds) {
  if (seconds < 1) return 'under 1 s';
  if (seconds < 100) return `${Math.round(seconds)} s`;
  return `${Math.round(seconds / 60)} min`;
}
