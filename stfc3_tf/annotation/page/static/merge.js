// The frames that Propagate may change: all that is hatched, a part of it, or a range.

const $ = (id) => document.getElementById(id);

export class Merge {
  constructor(page) {
    this.page = page;
    this.forget();
    $('merge').addEventListener('change', () => this.changed());
    for (const id of ['range-first', 'range-last']) {
      $(id).addEventListener('change', () => this.typed());
      $(id).addEventListener('keydown', (event) => { if (['Enter', 'Escape'].includes(event.key)) $(id).blur(); });
    }
  }

  /** Begin without a range. */
  forget() {
    this.first = 0;
    this.last = null; // The last frame of the video, however many there are.
    if ($('merge').value === 'range') $('merge').value = 'all';
  }

  /** Choose all that is hatched instead of a range; return whether that could be done. */
  leave() {
    if (!this.range || this.page.work.watching) return false;
    this.forget();
    this.changed();
    return true;
  }

  /** The range, {first, last}; null if none is chosen. */
  get range() {
    if ($('merge').value !== 'range') return null;
    return { first: this.first, last: this.last ?? this.page.store.lastFrame };
  }

  /** Let the range begin at a frame. */
  from(frame) {
    const { last } = this;
    this.choose(frame, last !== null && last < frame ? null : last);
  }

  /** Let the range end with a frame. */
  until(frame) { this.choose(this.first > frame ? 0 : this.first, frame); }

  /** Choose the range between two frames, in any order. */
  between(one, other) { this.choose(Math.min(one, other), Math.max(one, other)); }

  choose(first, last) {
    Object.assign(this, { first, last });
    $('merge').value = 'range';
    this.changed();
  }

  typed() {
    const { store } = this.page;
    this.between(...['range-first', 'range-last'].map((id) => store.frameOf(Number($(id).value))));
  }

  changed() {
    const { page } = this;
    if (!page.store) return;
    page.display.hint(this.range ? 'I: from this frame, U: until this frame; or drag with Shift on the time line; Esc: no range' : null);
    page.display.drawPlace();
  }

  /** What the server is asked for. */
  asked() {
    const { frame, store } = this.page;
    const marked = store.marked();
    const first = Math.max(0, ...marked.filter((each) => each < frame));
    const last = Math.min(...marked.filter((each) => each > frame), store.lastFrame);
    return {
      all: { frame },
      missing: { frame, missing: true },
      around: { frame, first, last },
      range: { frame, first: this.first, last: this.last },
    }[$('merge').value];
  }

  draw() {
    const { range } = this;
    $('merge-label').hidden = this.page.work.watching;
    $('range').hidden = !range || this.page.work.watching;
    if (!range) return;
    for (const [id, frame] of [['range-first', range.first], ['range-last', range.last]]) {
      const { store } = this.page;
      Object.assign($(id), { min: store.numberOf(0), max: store.numberOf(store.lastFrame) });
      if ($(id) !== document.activeElement) $(id).value = store.numberOf(frame);
    }
  }
}
