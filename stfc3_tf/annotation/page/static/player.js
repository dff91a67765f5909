// The frame that is shown: loading, playing, jumping, comparing.

export class Player {
  constructor(page) {
    this.page = page;
    this.playing = false;
    this.follows = false; // Whether the frames of a propagation are shown as they come.
    this.shownMask = null;
    this.shownFrame = 0;
  }

  /** Show a frame; of several that are asked for at once, the last. */
  async go(frame, follow = false) {
    const { page } = this;
    const { store } = page;
    if (!store) return;
    if (!follow) this.follows = false;
    page.tools.cancel();
    page.frame = Math.max(0, Math.min(store.lastFrame, Math.round(frame) || 0));
    this.wanted = page.frame;
    page.display.drawPlace();
    if (this.loading) {
      await this.loading;
      return;
    }
    this.loading = this.load(store);
    await this.loading;
    this.loading = null;
  }

  async load(store) {
    const { page } = this;
    while (store === page.store && this.wanted !== null) {
      const frame = this.wanted;
      const [picture, mask] = await Promise.all([
        store.picture(frame).catch((error) => { page.display.say(error.message); return null; }),
        store.mask(frame),
      ]);
      if (store !== page.store) return;
      if (picture) page.view.showPicture(picture);
      this.shownMask = mask;
      this.shownFrame = frame;
      page.display.drawMask();
      if (this.wanted === frame) this.wanted = null;
      page.display.drawPlace();
    }
  }

  /** Show what the mask was before the last propagation, as long as the key is held. */
  async compare() {
    const { page } = this;
    if (this.compares || this.loading) return;
    const { shownFrame } = this;
    this.compares = true;
    const before = await page.store.video.mask(shownFrame, true).catch(() => null);
    if (!this.compares || shownFrame !== this.shownFrame) return;
    if (before) page.view.showMask(before);
    page.display.hint(before ? 'Before the last propagation' : 'This mask was propagated only once');
  }

  endCompare() {
    const { page } = this;
    if (!this.compares) return;
    this.compares = false;
    page.display.hint();
    page.display.drawMask();
  }

  async play() {
    const { page } = this;
    if (!page.store || this.playing) return;
    this.playing = true;
    page.display.drawButtons();
    const { store } = page;
    if (page.frame >= store.lastFrame) await this.go(0);
    const begun = performance.now();
    const first = page.frame;
    while (this.playing && store === page.store && page.frame < store.lastFrame) {
      for (let k = 1; k <= 6; k += 1) if (page.frame + k <= store.lastFrame) store.picture(page.frame + k).catch(() => {});
      // Frames are left out where the machine is too slow.
      const due = first + Math.floor(((performance.now() - begun) / 1000) * store.state.frame_rate);
      const next = Math.min(store.lastFrame, Math.max(page.frame + 1, Math.min(due, page.frame + 3)));
      const wait = begun + ((next - first) / store.state.frame_rate) * 1000 - performance.now();
      if (wait > 0) await new Promise((resolve) => setTimeout(resolve, wait));
      if (this.playing) await this.go(next);
    }
    this.pause();
  }

  pause() {
    this.playing = false;
    this.page.display.drawButtons();
  }

  goMarked(way) {
    const { page } = this;
    const marked = page.store.marked().filter((frame) => (way > 0 ? frame > page.frame : frame < page.frame));
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
