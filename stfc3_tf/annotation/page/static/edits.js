// What a person changes in the masks of a frame, and marks that are removed; each can be undone.

const $ = (id) => document.getElementById(id);

function isSame(one, other) { return one.every((value, k) => value === other[k]); }

export class Edits {
  constructor(page) { this.page = page; }

  /** Wait until the frame is shown; return whether it can be changed then. */
  async isReady() {
    const { page } = this;
    const { store } = page;
    page.player.pause();
    page.player.follows = false;
    if (page.player.loading) await page.player.loading;
    return store === page.store && page.player.shownFrame !== null;
  }

  /** Wait until the mask of the frame is known, too: what is painted replaces it. */
  async canPaint() {
    const { page } = this;
    const { player, store } = page;
    if (!await this.isReady()) return false;
    if (player.failure) await player.reload();
    if (store !== page.store) return false;
    if (player.failure) page.display.say(`Nothing was changed, because the mask of this frame is not loaded. ${player.failure} Try again.`);
    return !player.failure;
  }

  /** Begin to change the mask of this frame; return what to paint into, and with which number. */
  async beginPaint(erases) {
    const { page } = this;
    if (!await this.canPaint()) return null;
    const { store } = page;
    if (!page.selected || page.selected.kind !== 'objects') {
      const object = store.things.objects[0] || (erases ? null : page.things.add('objects'));
      if (!object) return null;
      page.things.select('objects', object.number);
    }
    const frame = page.player.shownFrame;
    const before = page.player.shownMask;
    const mask = before ? before.slice() : new Uint8Array(store.width * store.height);
    return { frame, before, mask, value: erases ? 0 : page.selected.number, object: page.selected.number };
  }

  painted(mask, box) {
    const { page } = this;
    page.view.setColours(page.store.things.objects);
    if ($('shown').checked === false) $('shown').checked = true;
    page.view.showMask(mask, box);
  }

  dropPaint() { this.page.display.drawMask(); }

  /** Keep what was painted; box: the part that may have changed. */
  endPaint(paint, box) {
    const { page } = this;
    const { frame, before, mask } = paint;
    if (box.x1 <= box.x0 || box.y1 <= box.y0) { // All of it was outside the picture.
      this.dropPaint();
      return;
    }
    const about = page.store.masks.get(frame) || [];
    // Who corrects what was propagated confirms the rest of it.
    const propagated = page.store.propagated(frame);
    if (paint.value === 0 && (before ? isSame(mask, before) : !about.length)) return; // There was nothing to erase.
    const after = [...new Set([...about, ...propagated, paint.object])];
    page.history.do(
      frame,
      () => this.setMask(frame, mask, after),
      () => this.setMask(frame, before, about),
    );
  }

  setMask(frame, mask, about) {
    const { page } = this;
    page.store.setMask(frame, mask, about);
    if (frame === page.player.shownFrame) {
      page.player.shownMask = mask;
      page.player.failure = null;
      page.display.drawMask();
      if (!page.store.isWholeMask(frame)) page.player.go(frame); // What was propagated shows again.
    }
    page.display.drawAll();
  }

  /** Say that what is selected is not in this frame. */
  async markAbsent() {
    const { page } = this;
    if (!page.selected) return;
    const { kind, number } = page.selected;
    if (kind === 'points') {
      page.points.set(number, null);
      return;
    }
    const paint = await this.beginPaint(true);
    if (!paint) return;
    paint.mask.forEach((value, k) => { if (value === number) paint.mask[k] = 0; });
    const about = page.store.masks.get(paint.frame) || [];
    const after = [...new Set([...about, number])];
    page.history.do(
      paint.frame,
      () => this.setMask(paint.frame, paint.mask, after),
      () => this.setMask(paint.frame, paint.before, about),
    );
  }

  /** Remove the mark of what is selected in this frame. */
  async removeMark() {
    const { page } = this;
    if (!page.selected) return;
    const { kind, number } = page.selected;
    const { frame } = page;
    if (kind === 'points') {
      const before = page.store.points.get(frame) || {};
      if (!(number in before)) return;
      const { [number]: _, ...after } = before;
      page.points.keep(frame, before, after);
      return;
    }
    const about = page.store.masks.get(frame) || [];
    if (!about.includes(number)) return;
    const paint = await this.beginPaint(true);
    if (!paint || !paint.before || paint.frame !== frame) return;
    const mask = paint.before.map((value) => (value === number ? 0 : value));
    page.history.do(
      frame,
      () => this.setMask(frame, mask, about.filter((each) => each !== number)),
      () => this.setMask(frame, paint.before, about),
    );
  }

  /** Remove all that was marked in this frame. */
  async clearFrame() {
    const { page } = this;
    if (!await this.canPaint()) return;
    const { frame, store } = page;
    if (!store.isMarked(frame) || frame !== page.player.shownFrame) return;
    const about = store.masks.get(frame) || [];
    const points = store.points.get(frame) || {};
    const mask = page.player.shownMask;
    const keep = (somePoints, someAbout) => {
      if (Object.keys(points).length) store.setPoints(frame, somePoints);
      if (about.length) this.setMask(frame, mask, someAbout);
      page.display.drawAll();
    };
    page.history.do(frame, () => keep({}, []), () => keep(points, about));
  }
}
