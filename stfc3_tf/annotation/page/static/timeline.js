// The time line: small pictures, the curve of the lowest confidence, marks at labelled frames.

const TOP = 44; // Height of the small pictures.
const CURVE = 34;
const COLOURS = { ground: '#0b0e12', text: '#9ba6b4', curve: '#56b4e9', low: '#ff8f66', mark: '#f0e442', here: '#ffffff' };

export class Timeline {
  /** actions: go(frame), choose(frame, other frame): a range. */
  constructor(canvas, actions) {
    this.canvas = canvas;
    this.images = new Map();
    this.hover = null;
    this.drag = null; // What the pointer does with frames while it is down.
    new ResizeObserver(() => this.draw()).observe(canvas);
    canvas.addEventListener('pointerdown', (event) => {
      canvas.setPointerCapture(event.pointerId);
      const from = this.frameAt(event);
      this.drag = event.shiftKey ? (frame) => actions.choose(from, frame) : actions.go;
      this.drag(from);
    });
    canvas.addEventListener('pointermove', (event) => {
      this.hover = this.frameAt(event);
      if (this.drag) this.drag(this.hover);
      else this.draw();
    });
    for (const name of ['pointerup', 'pointercancel']) canvas.addEventListener(name, () => { this.drag = null; });
    canvas.addEventListener('pointerleave', () => { this.hover = null; this.draw(); });
  }

  frameAt(event) {
    if (!this.store) return 0;
    const box = this.canvas.getBoundingClientRect();
    const share = (event.clientX - box.left) / box.width;
    return Math.max(0, Math.min(this.store.lastFrame, Math.floor(share * this.store.count)));
  }

  /** The middle of a frame's place. */
  x(frame) { return ((frame + 0.5) / this.store.count) * this.width; }

  /** selected: {kind, number} whose own curve is drawn too; range: {first, last}; or null. */
  show(store, frame, selected, range) {
    if (store !== this.store) this.images.clear();
    Object.assign(this, { store, frame, selected, range });
    this.draw();
  }

  draw() {
    if (!this.store || this.asked) return;
    this.asked = requestAnimationFrame(() => {
      this.asked = 0;
      this.drawNow();
    });
  }

  drawNow() {
    const density = window.devicePixelRatio || 1;
    this.width = this.canvas.clientWidth;
    this.height = this.canvas.clientHeight;
    if (!this.width) return; // It is hidden.
    this.canvas.width = Math.round(this.width * density);
    this.canvas.height = Math.round(this.height * density);
    const context = this.canvas.getContext('2d');
    context.scale(density, density);
    context.fillStyle = COLOURS.ground;
    context.fillRect(0, 0, this.width, this.height);
    this.drawPictures(context);
    this.drawStretches(context);
    this.drawCurve(context);
    this.drawSelected(context);
    if (this.range) this.drawRange(context, this.range);
    this.drawMarks(context);
    this.drawPlace(context);
  }

  drawPictures(context) {
    const { store } = this;
    const across = Math.max(8, (TOP * store.width * store.state.pixel_aspect) / store.height);
    const numbers = store.state.small;
    if (!numbers.length) return;
    const count = Math.ceil(this.width / across);
    for (let k = 0; k < count; k += 1) {
      const wanted = (((k + 0.5) * across) / this.width) * store.count;
      const number = numbers.reduce((best, n) => (Math.abs(n - wanted) < Math.abs(best - wanted) ? n : best));
      const image = this.image(number);
      if (image.complete && image.naturalWidth) context.drawImage(image, k * across, 0, across - 1, TOP);
    }
  }

  image(number) {
    let image = this.images.get(number);
    if (!image) {
      image = new Image();
      image.onload = () => this.draw();
      image.onerror = () => this.images.delete(number);
      image.src = this.store.video.smallAddress(number);
      this.images.set(number, image);
    }
    return image;
  }

  /** Hatch what has to be propagated. */
  drawStretches(context) {
    if (this.store.state.encoder.state === 'loading') return;
    context.save();
    context.beginPath();
    for (const stretch of this.store.state.stretches) {
      if (stretch.done) continue;
      const from = (stretch.first / this.store.count) * this.width;
      const to = stretch.last === null ? this.width : ((stretch.last + 1) / this.store.count) * this.width;
      context.rect(from, TOP + 4, to - from, CURVE);
    }
    context.clip();
    context.strokeStyle = '#ffffff1c';
    context.lineWidth = 2;
    for (let x = -CURVE; x < this.width; x += 9) {
      context.beginPath();
      context.moveTo(x, TOP + 4 + CURVE);
      context.lineTo(x + CURVE, TOP + 4);
      context.stroke();
    }
    context.restore();
  }

  drawCurve(context) {
    const bottom = TOP + 4 + CURVE;
    const step = Math.max(1, Math.floor(this.store.count / this.width));
    for (let frame = 0; frame < this.store.count; frame += step) {
      const sure = lowest(step, (k) => this.store.confidence(frame + k));
      if (sure === null) continue;
      const from = (frame / this.store.count) * this.width;
      const across = Math.max(1, (step / this.store.count) * this.width);
      const up = Math.max(1, sure * (CURVE - 2));
      context.fillStyle = sure < 0.4 ? '#ff8f6640' : '#56b4e930';
      context.fillRect(from, bottom - up, across + 0.4, up);
      context.fillStyle = sure < 0.4 ? COLOURS.low : COLOURS.curve;
      context.fillRect(from, bottom - up - 1, across + 0.4, 2);
    }
  }

  /** The confidence of what is selected, in its colour. */
  drawSelected(context) {
    const { selected, store } = this;
    const thing = selected && store.things[selected.kind].find((each) => each.number === selected.number);
    if (!thing) return;
    const bottom = TOP + 4 + CURVE;
    const step = Math.max(1, Math.floor(store.count / this.width));
    context.beginPath();
    let joined = false;
    for (let frame = 0; frame < store.count; frame += step) {
      const sure = lowest(step, (k) => store.sureOf(selected, frame + k));
      if (sure === null) joined = false;
      else if (joined) context.lineTo(this.x(frame), bottom - 1 - sure * (CURVE - 2));
      else context.moveTo(this.x(frame), bottom - 1 - sure * (CURVE - 2));
      joined = sure !== null;
    }
    context.lineWidth = 1.6;
    context.strokeStyle = thing.colour;
    context.stroke();
  }

  /** Darken what lies outside of a range. */
  drawRange(context, { first, last }) {
    const from = (first / this.store.count) * this.width;
    const to = ((last + 1) / this.store.count) * this.width;
    context.fillStyle = '#0b0e12b8';
    context.fillRect(0, 0, from, TOP + CURVE + 6);
    context.fillRect(to, 0, this.width - to, TOP + CURVE + 6);
    context.fillStyle = COLOURS.mark;
    for (const [x, way] of [[from, 1], [to, -1]]) {
      context.fillRect(x - (way < 0 ? 2 : 0), 0, 2, TOP + CURVE + 6);
      for (const y of [0, TOP + CURVE + 4]) context.fillRect(Math.min(x, x + way * 7), y, 7, 2);
    }
  }

  drawMarks(context) {
    const top = TOP + CURVE + 8;
    for (const frame of this.store.marked()) {
      const x = this.x(frame);
      context.fillStyle = COLOURS.mark;
      context.beginPath();
      context.moveTo(x, top);
      context.lineTo(x + 5.5, top + 10);
      context.lineTo(x - 5.5, top + 10);
      context.fill();
    }
  }

  drawPlace(context) {
    const x = this.x(this.frame);
    context.fillStyle = '#000a';
    context.fillRect(x - 2.5, 0, 5, TOP + CURVE + 6);
    context.fillStyle = COLOURS.here;
    context.fillRect(x - 1, 0, 2, TOP + CURVE + 6);
    context.font = '12px system-ui, sans-serif';
    if (this.hover === null) return;
    const sure = this.store.confidence(this.hover);
    const seconds = this.store.secondsOf(this.hover);
    const text = `${this.store.numberOf(this.hover)} · ${seconds}${sure === null ? '' : ` · ${Math.round(sure * 100)} %`}`;
    const across = context.measureText(text).width + 12;
    const left = Math.max(2, Math.min(this.width - across - 2, this.x(this.hover) - across / 2));
    context.fillStyle = '#000d';
    context.fillRect(left, this.height - 18, across, 17);
    context.fillStyle = '#fff';
    context.fillText(text, left + 6, this.height - 5);
  }
}

/** The lowest of some confidences; null where none is known. */
function lowest(count, sure) {
  let found = null;
  for (let k = 0; k < count; k += 1) {
    const value = sure(k) ?? null;
    if (value !== null && (found === null || value < found)) found = value;
  }
  return found;
}
