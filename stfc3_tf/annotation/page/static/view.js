// The stage: the frame, the mask over it, points, zoom. Positions are pixels of the frame, pixel
// centres at integers.

import { draw } from './mask.js';

const SVG = 'http://www.w3.org/2000/svg';
const MOST_ZOOM = 40;
const MOST_LETTERS = 24; // Of the name of a point in the picture.
const WIDEST = 9; // Pixels of a letter, about.

function rgb(colour) {
  const value = parseInt(colour.slice(1), 16);
  return [(value >> 16) & 255, (value >> 8) & 255, value & 255];
}

/** A colour as a word of ImageData, mixed with a share of white. */
function packed(colour, alpha, white = 0) {
  const [r, g, b] = rgb(colour).map((value) => Math.round(value + (255 - value) * white));
  return ((alpha << 24) | (b << 16) | (g << 8) | r) >>> 0;
}

function shortened(name) {
  const letters = [...name];
  return letters.length > MOST_LETTERS ? `${letters.slice(0, MOST_LETTERS - 1).join('')}…` : name;
}

function element(name, attributes, parent) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  parent.append(made);
  return made;
}

export class View {
  constructor(stage) {
    this.stage = stage;
    this.holder = stage.querySelector('#picture');
    this.frame = stage.querySelector('#frame');
    this.overlay = stage.querySelector('#overlay');
    this.marks = stage.querySelector('#marks');
    this.fitted = true;
    this.width = this.height = 1;
    this.aspect = 1;
    new ResizeObserver(() => { if (this.fitted) this.fit(); else this.place(); }).observe(stage);
  }

  setSize(width, height, aspect) {
    Object.assign(this, { width, height, aspect });
    for (const canvas of [this.frame, this.overlay]) {
      canvas.width = width;
      canvas.height = height;
    }
    this.pixels = new ImageData(width, height);
    this.words = new Uint32Array(this.pixels.data.buffer);
    this.mask = null;
    this.fit();
  }

  setColours(objects) {
    const tint = new Uint32Array(256).fill(0x80ffffff);
    const line = new Uint32Array(256).fill(0xffffffff);
    for (const { number, colour } of objects) {
      tint[number] = packed(colour, 95);
      line[number] = packed(colour, 255, 0.35);
    }
    this.colours = { tint, line };
  }

  /** Show a frame; null: it could not be read. */
  showPicture(bitmap) {
    const context = this.frame.getContext('2d');
    if (bitmap) context.drawImage(bitmap, 0, 0, this.width, this.height);
    else context.clearRect(0, 0, this.width, this.height);
  }

  /** Draw a mask, or the part of it within a box; null: none. */
  showMask(mask, box = null) {
    const context = this.overlay.getContext('2d');
    this.mask = mask;
    if (!mask) {
      context.clearRect(0, 0, this.width, this.height);
      return;
    }
    const reach = this.thickness();
    const part = box
      ? { x0: Math.max(0, box.x0 - reach), y0: Math.max(0, box.y0 - reach), x1: Math.min(this.width, box.x1 + reach), y1: Math.min(this.height, box.y1 + reach) }
      : { x0: 0, y0: 0, x1: this.width, y1: this.height };
    if (part.x1 <= part.x0 || part.y1 <= part.y0) return;
    if (!box) this.drawnThickness = reach;
    draw(mask, this.width, this.height, this.colours, this.words, part, reach);
    context.putImageData(this.pixels, 0, 0, part.x0, part.y0, part.x1 - part.x0, part.y1 - part.y0);
  }

  thickness() { return Math.max(1, Math.min(5, Math.round(2 / this.scale))); }

  fit() {
    const { clientWidth, clientHeight } = this.stage;
    const scale = Math.min((clientWidth - 16) / (this.width * this.aspect), (clientHeight - 16) / this.height);
    this.scale = Math.max(0.02, scale);
    this.x = (clientWidth - this.width * this.aspect * this.scale) / 2;
    this.y = (clientHeight - this.height * this.scale) / 2;
    this.fitted = true;
    this.place();
  }

  zoom(factor, at = { x: this.stage.clientWidth / 2, y: this.stage.clientHeight / 2 }) {
    const scale = Math.min(MOST_ZOOM, Math.max(0.05, this.scale * factor));
    this.x = at.x - ((at.x - this.x) * scale) / this.scale;
    this.y = at.y - ((at.y - this.y) * scale) / this.scale;
    this.scale = scale;
    this.fitted = false;
    this.place();
  }

  pan(dx, dy) {
    this.x += dx;
    this.y += dy;
    this.fitted = false;
    this.place();
  }

  place() {
    const across = this.scale * this.aspect;
    this.holder.style.transform = `translate(${this.x}px, ${this.y}px) scale(${across}, ${this.scale})`;
    this.holder.classList.toggle('near', this.scale >= 3);
    if (this.mask && this.drawnThickness !== this.thickness()) this.showMask(this.mask);
    if (this.redraw) this.redraw();
  }

  /** Where in the frame an event is. */
  position(event) {
    const box = this.stage.getBoundingClientRect();
    return this.inFrame(event.clientX - box.left, event.clientY - box.top);
  }

  /** Where in the frame the middle of the stage is. */
  middle() { return this.inFrame(this.stage.clientWidth / 2, this.stage.clientHeight / 2); }

  /** Where in the frame a position on the stage is. */
  inFrame(x, y) {
    return { x: (x - this.x) / (this.scale * this.aspect) - 0.5, y: (y - this.y) / this.scale - 0.5 };
  }

  /** Move the picture so far that a position in the frame is seen. */
  reveal({ x, y }) {
    const margin = 4;
    const missing = (at, length) => Math.max(0, margin - at) - Math.max(0, at - length + margin);
    const [across, down] = this.onStage([x, y]);
    const by = [missing(across, this.stage.clientWidth), missing(down, this.stage.clientHeight)];
    if (by[0] || by[1]) this.pan(...by);
  }

  /** Where on the stage a position in the frame is. */
  onStage([x, y]) {
    return [(x + 0.5) * this.scale * this.aspect + this.x, (y + 0.5) * this.scale + this.y];
  }

  /**
   * Draw points and what a tool shows.
   * points: [{number, name, colour, at, given, sure}]; before: [{number, colour, at, now}]; draft: corners of a polygon or box that is
   * being drawn; cursor: {at, radius} of the brush; crosshair: where that of the keyboard is.
   */
  showMarks({ points, before, selected, draft, cursor, crosshair }) {
    this.stageWidth = this.stage.clientWidth; // Read once: the browser lays the page out for it.
    this.marks.replaceChildren();
    for (const point of before) this.drawBefore(point);
    for (const point of points) if (point.at) this.drawPoint(point, point.number === selected);
    if (draft && draft.length) this.drawDraft(draft);
    if (cursor) this.drawCursor(cursor);
    if (crosshair) this.drawCrosshair(crosshair);
  }

  drawPoint(point, isSelected) {
    const [cx, cy] = this.onStage(point.at);
    const group = element('g', { 'data-point': point.number, opacity: point.sure < 0.2 ? 0.6 : 1 }, this.marks);
    const r = isSelected ? 8 : 6;
    const fill = point.given ? point.colour : 'none';
    element('circle', { cx, cy, r, fill: 'none', stroke: '#000c', 'stroke-width': 5 }, group);
    element('circle', { cx, cy, r, fill, 'fill-opacity': 0.55, stroke: point.colour, 'stroke-width': 2.2, 'stroke-dasharray': point.sure < 0.2 ? '3 3' : 'none' }, group);
    element('circle', { cx, cy, r: 1.4, fill: '#fff' }, group);
    if (isSelected) element('circle', { cx, cy, r: r + 4, fill: 'none', stroke: '#fff', 'stroke-width': 1.4 }, group);
    this.drawName(shortened(point.name), cx, cy - r, r + 5, group);
  }

  /** Write a name on the right of a place, or on the left where the stage ends. */
  drawName(name, x, y, gap, group) {
    const isLeft = x <= this.stageWidth && x + gap + WIDEST * name.length > this.stageWidth;
    const place = isLeft ? { x: x - gap, 'text-anchor': 'end' } : { x: x + gap };
    element('text', { ...place, y }, group).textContent = name;
  }

  /** A cross where a point was, and a line to where it is now. */
  drawBefore({ number, colour, at, now }) {
    const [x, y] = this.onStage(at);
    const group = element('g', { 'data-before': number, fill: 'none', 'stroke-linecap': 'round' }, this.marks);
    if (now) {
      const [x2, y2] = this.onStage(now);
      const line = { x1: x, y1: y, x2, y2 };
      element('line', { ...line, stroke: '#000c', 'stroke-width': 3.5 }, group);
      element('line', { ...line, stroke: colour, 'stroke-width': 1.5, 'stroke-dasharray': '2 5' }, group);
    }
    const cross = `M${x - 6} ${y - 6}l12 12m0 -12l-12 12`;
    element('path', { d: cross, stroke: '#000c', 'stroke-width': 5.5 }, group);
    element('path', { d: cross, stroke: colour, 'stroke-width': 2.4 }, group);
  }

  drawDraft(corners) {
    const points = corners.map((corner) => this.onStage([corner.x, corner.y]).join(',')).join(' ');
    element('polygon', { points, fill: '#fff2', stroke: '#000c', 'stroke-width': 4 }, this.marks);
    element('polygon', { points, fill: 'none', stroke: '#fff', 'stroke-width': 1.5, 'stroke-dasharray': '5 4' }, this.marks);
    for (const corner of corners) {
      const [cx, cy] = this.onStage([corner.x, corner.y]);
      element('circle', { cx, cy, r: 3.5, fill: '#fff', stroke: '#000c', 'stroke-width': 1.5 }, this.marks);
    }
  }

  drawCrosshair(at) {
    const [x, y] = this.onStage([at.x, at.y]);
    const group = element('g', { 'data-crosshair': '', fill: 'none' }, this.marks);
    const arms = `M${x - 26} ${y}h20m12 0h20M${x} ${y - 26}v20m0 12v20`;
    element('path', { d: arms, stroke: '#000c', 'stroke-width': 4.5 }, group);
    element('path', { d: arms, stroke: '#fff', 'stroke-width': 1.8 }, group);
    element('circle', { cx: x, cy: y, r: 1.6, fill: '#fff', stroke: '#000c', 'stroke-width': 1 }, group);
  }

  drawCursor({ at, radius }) {
    const [cx, cy] = this.onStage([at.x, at.y]);
    const size = { cx, cy, rx: radius * this.scale * this.aspect, ry: radius * this.scale, fill: 'none' };
    element('ellipse', { ...size, stroke: '#000c', 'stroke-width': 3.5 }, this.marks);
    element('ellipse', { ...size, stroke: '#fff', 'stroke-width': 1.4 }, this.marks);
  }
}
