// The points of the frame: placed, dragged, nudged; each change can be undone.

const $ = (id) => document.getElementById(id);

export class Points {
  constructor(page) {
    this.page = page;
    this.moving = null; // The point that is being dragged: {number, at}.
  }

  shown() {
    const { page } = this;
    if (!page.store || !$('shown').checked) return [];
    const here = page.store.pointsOf(page.frame);
    return page.store.things.points.filter((each) => here.has(each.number)).map((thing) => {
      const point = { ...thing, ...here.get(thing.number) };
      return this.moving && this.moving.number === thing.number ? { ...point, at: this.moving.at, given: true, sure: 1 } : point;
    });
  }

  /** Where points were before, and where they are now: [{number, colour, at, now}]. */
  before() {
    const { page } = this;
    if (!page.store || !$('shown').checked) return [];
    const before = page.store.pointsBefore(page.frame);
    const here = page.store.pointsOf(page.frame);
    return page.store.things.points.filter(({ number }) => before.has(number))
      .map(({ number, colour }) => ({ number, colour, at: before.get(number), now: here.get(number).at }));
  }

  isInside({ x, y }) {
    const { width, height } = this.page.store;
    return x >= -0.5 && y >= -0.5 && x <= width - 0.5 && y <= height - 0.5;
  }

  clamped({ x, y }) {
    const { width, height } = this.page.store;
    return { x: Math.max(0, Math.min(width - 1, x)), y: Math.max(0, Math.min(height - 1, y)) };
  }

  /** Place the selected point, if it has no place in this frame, or a new one. */
  async place(at) {
    const { page } = this;
    if (!await page.edits.isReady()) return;
    const here = page.store.pointsOf(page.frame);
    const isFree = page.selected && page.selected.kind === 'points' && !(here.get(page.selected.number) || {}).at;
    const number = isFree ? page.selected.number : (page.things.add('points') || {}).number;
    if (number) this.set(number, at);
  }

  move(number, at) { this.moving = { number, at: [at.x, at.y] }; }

  drop(number, at) {
    this.moving = null;
    this.set(number, at);
  }

  set(number, at) {
    const { page } = this;
    const before = page.store.points.get(page.frame) || {};
    const place = at && [Math.round(at.x * 100) / 100, Math.round(at.y * 100) / 100];
    this.keep(page.frame, before, { ...before, [number]: place });
  }

  keep(frame, before, after) {
    const { page } = this;
    const keep = (points) => { page.store.setPoints(frame, points); page.display.drawAll(); };
    page.history.do(frame, () => keep(after), () => keep(before));
  }

  nudge(dx, dy) {
    const { page } = this;
    if (!page.selected || page.selected.kind !== 'points') return;
    const { at } = page.store.pointsOf(page.frame).get(page.selected.number) || {};
    if (at) this.set(page.selected.number, this.clamped({ x: at[0] + dx, y: at[1] + dy }));
  }
}
