// A crosshair that the keyboard moves: what a click does at a place, without a pointer.

const HINTS = {
  point: 'Enter places a point',
  brush: 'Enter paints, Alt+Enter erases',
  eraser: 'Enter erases',
  polygon: 'Enter sets a corner, twice closes',
  box: 'Enter sets a corner, then the opposite one',
};

export class Crosshair {
  constructor(page) {
    this.page = page;
    this.at = null; // Where in the frame it is; null: it is not shown.
  }

  /** What is said while it is shown; undefined: nothing. */
  get hint() { return this.at && HINTS[this.page.tool] && `${HINTS[this.page.tool]} (x ${this.at.x}, y ${this.at.y})`; }

  /** Show it in the middle of what is seen, or move it; about 50 large steps cross the picture. */
  move(dx, dy, isLarge) {
    const { points, store, view } = this.page;
    const large = Math.max(10, Math.round(Math.max(store.width, store.height) / 50));
    const step = !this.at ? 0 : isLarge ? large : 1;
    const { x, y } = this.at || view.middle();
    this.show(points.clamped({ x: Math.round(x) + dx * step, y: Math.round(y) + dy * step }));
  }

  show(at) {
    const { page } = this;
    this.at = at;
    page.view.stage.focus({ preventScroll: true });
    page.view.reveal(at);
    page.tools.follow(at);
    page.display.hint();
    page.display.drawMarks();
  }

  /** Do what a click does. */
  press(erases = false) { if (this.at) this.page.tools.click(this.at, erases); }

  /** Hide it; return whether it was shown. */
  hide() {
    if (!this.at) return false;
    this.at = null;
    this.page.display.hint();
    this.page.display.drawMarks();
    return true;
  }
}
