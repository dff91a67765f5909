// Pointer tools on the stage: points, brush, eraser, polygon, box, hand.

import { fillBox, fillPolygon, joined, stroke } from './mask.js';

const REACH = 14; // Pixels on the screen within which a point is caught.

/** Turns what the pointer does on the stage into edits of masks and points. */
export class Tools {
  constructor(page) {
    this.page = page;
    this.draft = [];
    this.cursor = null;
    const { stage } = page.view;
    stage.addEventListener('pointerdown', (event) => this.down(event));
    stage.addEventListener('pointermove', (event) => this.move(event));
    stage.addEventListener('pointerup', (event) => this.up(event));
    stage.addEventListener('pointercancel', () => this.cancel());
    stage.addEventListener('pointerleave', () => { this.cursor = null; page.display.drawMarks(); });
    stage.addEventListener('dblclick', () => this.finish());
    stage.addEventListener('wheel', (event) => {
      event.preventDefault();
      const box = stage.getBoundingClientRect();
      page.view.zoom(Math.exp(-event.deltaY / 500), { x: event.clientX - box.left, y: event.clientY - box.top });
    }, { passive: false });
  }

  async down(event) {
    const { page } = this;
    if (!page.store || event.button > 1 || !event.isPrimary) return;
    page.player.follows = false; // Who works on a frame stays at it.
    page.crosshair.hide();
    page.view.stage.setPointerCapture(event.pointerId);
    page.view.stage.focus({ preventScroll: true });
    const at = page.view.position(event);
    if (page.tool === 'hand' || event.button === 1) {
      this.action = { kind: 'pan', x: event.clientX, y: event.clientY };
    } else if (page.tool === 'point') {
      this.downPoint(at);
    } else if (page.tool === 'polygon') {
      this.draft.push(at);
      this.erases = event.altKey;
      page.display.drawMarks();
    } else {
      await this.downPaint(at, event.altKey || page.tool === 'eraser');
    }
  }

  /** Do at a place what a click does; a box has two corners, and a polygon ends at the last one. */
  click(at, erases) {
    const { page, action } = this;
    page.player.follows = false;
    const [last] = this.draft.slice(-1);
    if (page.tool === 'point') {
      this.downPoint(at);
      this.action = null;
    } else if (page.tool === 'polygon') {
      this.erases = erases;
      if (last && last.x === at.x && last.y === at.y) this.finish();
      else this.draft.push(at);
    } else if (page.tool === 'box' && action) {
      this.release(at);
    } else if (page.tool !== 'hand') {
      this.downPaint(at, erases || page.tool === 'eraser');
      if (page.tool === 'box') this.follow(at);
      else this.release(at);
    }
    page.display.drawMarks();
  }

  /** Draw the box that is being dragged. */
  follow(at) {
    if (!this.action || this.action.kind !== 'box') return;
    this.action.last = at;
    this.draft = corners(this.action.first, at);
  }

  downPoint(at) {
    const { page } = this;
    const [x, y] = page.view.onStage([at.x, at.y]);
    let nearest = null;
    for (const point of page.points.shown()) {
      if (!point.at) continue;
      const [px, py] = page.view.onStage(point.at);
      const distance = Math.hypot(px - x, py - y);
      if (distance < REACH && (!nearest || distance < nearest.distance)) nearest = { number: point.number, distance };
    }
    if (nearest) {
      page.things.select('points', nearest.number);
      this.action = { kind: 'drag', number: nearest.number, moved: false, from: at };
    } else if (page.points.isInside(at)) {
      page.points.place(at);
    }
  }

  async downPaint(at, erases) {
    const { page } = this;
    const action = { kind: page.tool === 'box' ? 'box' : 'stroke', last: at, first: at, waiting: [] };
    this.action = action;
    const paint = await page.edits.beginPaint(erases);
    if (!paint || (this.action !== action && !action.ended)) { // It was dropped meanwhile.
      if (this.action === action) this.action = null;
      if (!this.action && page.tool === 'box') this.draft = [];
      return;
    }
    action.paint = paint;
    if (action.kind === 'stroke') {
      this.strokeTo(action, at);
      for (const place of action.waiting) this.strokeTo(action, place);
    }
    if (action.ended) this.endPaint(action);
  }

  strokeTo(action, at) {
    const { store, radius } = this.page;
    const box = stroke(action.paint.mask, store.width, store.height, action.last, at, radius, action.paint.value);
    action.box = joined(action.box, box);
    action.last = at;
    this.page.edits.painted(action.paint.mask, box);
  }

  move(event) {
    const { page, action } = this;
    if (!page.store || !event.isPrimary) return;
    const at = page.view.position(event);
    this.cursor = at;
    if (!action || page.crosshair.at) { // What the keyboard began, the keyboard goes on with.
      page.display.drawMarks();
      return;
    }
    if (action.kind === 'pan') {
      page.view.pan(event.clientX - action.x, event.clientY - action.y);
      Object.assign(action, { x: event.clientX, y: event.clientY });
    } else if (action.kind === 'drag') {
      action.moved = action.moved || Math.hypot(at.x - action.from.x, at.y - action.from.y) * page.view.scale > 2;
      if (action.moved) page.points.move(action.number, page.points.clamped(at));
    } else if (action.kind === 'box') {
      this.follow(at);
    } else {
      const events = event.getCoalescedEvents ? event.getCoalescedEvents() : [];
      const places = events.length ? events.map((each) => page.view.position(each)) : [at];
      if (action.paint) for (const place of places) this.strokeTo(action, place);
      else action.waiting.push(...places);
    }
    page.display.drawMarks();
  }

  up(event) { if (this.action && event.isPrimary) this.release(this.page.view.position(event)); }

  /** End what was begun. */
  release(at) {
    const { page, action } = this;
    if (action.kind === 'drag' && action.moved) page.points.drop(action.number, page.points.clamped(at));
    if (action.kind === 'stroke' || action.kind === 'box') {
      action.ended = true;
      if (action.paint) this.endPaint(action);
    }
    this.action = null;
    page.display.drawMarks();
  }

  endPaint(action) {
    const { page } = this;
    const { mask, value } = action.paint;
    if (action.kind === 'box') {
      this.draft = [];
      action.box = fillBox(mask, page.store.width, page.store.height, action.first, action.last, value);
      page.edits.painted(mask, action.box);
    }
    page.edits.endPaint(action.paint, action.box);
  }

  /** Close the polygon and fill it. */
  async finish() {
    const corners = this.draft.filter((at, k, all) => !k || Math.hypot(at.x - all[k - 1].x, at.y - all[k - 1].y) > 0.5);
    const { page } = this;
    if (page.tool !== 'polygon' || corners.length < 3) return;
    const { frame, store } = page;
    this.draft = [];
    const paint = await page.edits.beginPaint(this.erases);
    if (!paint) {
      // Where only the mask could not be loaded, it can be closed again.
      const isHere = store === page.store && frame === page.frame && page.tool === 'polygon';
      if (page.player.failure && isHere && !this.draft.length) this.draft = corners;
      page.display.drawMarks();
      return;
    }
    const box = fillPolygon(paint.mask, store.width, store.height, corners, paint.value);
    page.edits.painted(paint.mask, box);
    page.edits.endPaint(paint, box);
    page.display.drawMarks();
  }

  /** Whether something is being drawn or dragged. */
  get isBusy() { return this.draft.length > 0 || Boolean(this.action); }

  /** Take back the last corner of a polygon. */
  dropCorner() {
    if (!this.action) this.draft.pop();
    this.page.display.drawMarks();
  }

  /** Drop what is being drawn; return whether anything was. */
  cancel() {
    const had = this.isBusy;
    this.draft = [];
    this.page.points.moving = null;
    if (this.action && this.action.paint) this.page.edits.dropPaint();
    this.action = null;
    this.page.display.drawMarks();
    return had;
  }

  /** Drop what is being drawn because something else is done, and say so where it was much work. */
  leave() {
    const isMissed = this.page.tool === 'polygon' && this.draft.length > 2;
    this.cancel();
    if (isMissed) this.page.display.say('The polygon was dropped, because it was not closed: Enter closes it.');
  }
}

function corners(from, to) {
  return [from, { x: to.x, y: from.y }, to, { x: from.x, y: to.y }];
}
