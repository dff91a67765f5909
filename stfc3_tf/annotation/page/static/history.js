// Undo and redo: changes as pairs of functions, with the frame in which they were made.

export class History {
  /** changed: called after every change; most: how many can be undone. */
  constructor(changed, most) {
    this.changed = changed;
    this.most = most;
    this.done = [];
    this.undone = [];
  }

  /** Do something that can be undone. */
  do(frame, forth, back) {
    this.done.push({ frame, forth, back });
    if (this.done.length > this.most) this.done.shift();
    this.undone = [];
    forth();
    this.changed();
  }

  /** Undo the last change; return its frame, or null. */
  undo() { return this.move(this.done, this.undone, 'back'); }

  redo() { return this.move(this.undone, this.done, 'forth'); }

  move(from, to, way) {
    const change = from.pop();
    if (!change) return null;
    change[way]();
    to.push(change);
    this.changed();
    return change.frame;
  }
}
