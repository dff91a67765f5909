// What the page knows of a video: its state, what was given and propagated, pictures, masks.

import { answered, Video } from './api.js';
import { only, shown } from './mask.js';
import { greyPng } from './png.js';

const MOST_BYTES = 1 << 28; // Of pictures that are kept, and as many of masks.

/** How many of so many bytes each are kept. */
function fitting(bytes) { return Math.max(10, Math.min(40, Math.floor(MOST_BYTES / bytes))); }

/** Whether two places of a point, or null, are the same up to rounding. */
function isSame(one, other) { return one && other ? Math.hypot(one[0] - other[0], one[1] - other[1]) < 0.02 : one === other; }

/** Values by frame; those used longest ago are dropped. */
class Cache {
  constructor(most, drop = () => {}) {
    this.most = most;
    this.drop = drop;
    this.values = new Map();
  }

  get(frame) {
    const value = this.values.get(frame);
    if (value !== undefined) {
      this.values.delete(frame);
      this.values.set(frame, value);
    }
    return value;
  }

  set(frame, value) {
    this.values.delete(frame);
    this.values.set(frame, value);
    while (this.values.size > this.most) this.delete(this.values.keys().next().value);
  }

  delete(frame) {
    const value = this.values.get(frame);
    this.values.delete(frame);
    if (value !== undefined) this.drop(value);
  }
}

export class Store {
  static unsaved = 0; // Changes of all videos that are on their way.

  /**
   * state: as the server sends it; seen: what looks on: changed() after any change, say(message),
   * replaced() where another window's changes came in, or the server did not take those of this one.
   */
  constructor(state, seen) {
    this.video = new Video(state.id);
    this.seen = seen;
    this.width = state.width;
    this.height = state.height;
    this.mostMasks = fitting(state.width * state.height);
    this.pictures = new Cache(fitting(4 * state.width * state.height), (promise) => promise.then((bitmap) => bitmap.close(), () => {}));
    this.maskCache = new Cache(this.mostMasks);
    this.maskChanges = new Map();
    this.forgotten = 0;
    this.records = { masks: new Map(), points: new Map() };
    this.sureCache = new Map();
    this.saving = Promise.resolve();
    this.waiting = 0;
    this.edits = 0;
    this.asked = this.taken = 0;
    this.refused = false; // Whether a change of this window was not taken.
    this.times = null; // Of all frames in seconds, where they are not those of the rate.
    this.known = state.version;
    this.state = state;
    this.takeLabels(state);
  }

  takeLabels(state) {
    this.sureCache.clear();
    this.known = state.version;
    this.things = state.things;
    this.masks = new Map(Object.entries(state.masks).map(([frame, objects]) => [Number(frame), objects]));
    this.points = new Map(Object.entries(state.points).map(([frame, points]) => [Number(frame), points]));
  }

  async refresh() {
    this.asked += 1;
    const { asked, edits } = this;
    const isFree = !this.waiting;
    const state = await this.video.state();
    if (asked < this.taken) return; // A later answer came first.
    this.taken = asked;
    this.state = state;
    // What is given here meanwhile is newer.
    if (isFree && edits === this.edits) this.catchUp(state);
    this.seen.changed();
  }

  /** Take the labels that the server has; they may be other ones than those shown here. */
  catchUp(state) {
    const isOther = this.refused || state.version !== this.known;
    this.refused = false;
    this.takeLabels(state);
    if (!isOther) return;
    this.forgetMasks();
    this.seen.replaced();
  }

  async loadResults() {
    const found = await this.video.results();
    this.job = this.state.job;
    this.sureCache.clear();
    for (const kind of ['masks', 'points']) {
      this.records[kind] = new Map(found[kind].map((record) => [record.frame, record]));
    }
  }

  /** Ask for the times of the frames once they are known, if they differ from those of the rate. */
  async loadTimes() {
    if (!this.state.uneven || this.times) return;
    this.times = await this.video.times();
    this.seen.changed();
  }

  /** When a frame is shown, in seconds. */
  timeOf(frame) { return this.times ? this.times[frame] : frame / this.state.frame_rate; }

  /** The time of a frame as people read it; about right until all times are known. */
  secondsOf(frame) {
    const isSure = this.state.frames !== null && (this.times || !this.state.uneven);
    return `${isSure ? '' : '≈ '}${this.timeOf(frame).toFixed(2)} s`;
  }

  /** Frames per second as people read them. */
  get rate() {
    if (!this.times) return `${Number(this.state.frame_rate.toFixed(2))} per second`;
    return `about ${Number((this.lastFrame / this.timeOf(this.lastFrame)).toFixed(2))} per second`;
  }

  /** Whether work that this window did not watch may have changed results. */
  get missesWork() { return (this.state.job || {}).number !== (this.job || {}).number; }

  get isWorking() { return (this.state.job || {}).state === 'running'; }

  /** A number that changes with the mask of a frame. */
  version(frame) { return this.forgotten + (this.maskChanges.get(frame) || 0); }

  maskChanged(frame) {
    this.maskChanges.set(frame, (this.maskChanges.get(frame) || 0) + 1);
    this.maskCache.delete(frame);
    this.sureCache.delete(frame);
  }

  forgetMasks() {
    this.forgotten += 1;
    this.maskCache.values.clear();
  }

  /** The frames of the video, as far as they are counted. */
  get count() { return this.state.frames ?? Math.max(1, this.state.seen); }
  get lastFrame() { return Math.max(0, this.count - 1); }

  /** The number by which people know a frame: that in the name of a picture. */
  numberOf(frame) { return this.state.numbers ? this.state.numbers[frame] : frame; }

  /** The frame with a number, or the nearest one after it. */
  frameOf(number) {
    const { numbers } = this.state;
    const found = numbers ? numbers.findIndex((each) => each >= number) : Math.round(number);
    return found < 0 && numbers ? this.lastFrame : Math.max(0, Math.min(this.lastFrame, found));
  }

  /** Take a result that the server reports. */
  takeRecord(change) {
    const records = this.records[change.kind];
    if (change.kind === 'points') {
      const before = records.get(change.frame);
      const merged = (key) => ({ ...(before ? before[key] : {}), ...change[key] });
      const found = { points: merged('points'), before: merged('before'), confidence: merged('confidence') };
      records.set(change.frame, { ...change, ...found });
    } else {
      records.set(change.frame, change);
      this.maskChanged(change.frame);
    }
    this.sureCache.delete(change.frame);
  }

  picture(frame) {
    let found = this.pictures.get(frame);
    if (!found) {
      found = this.video.frame(frame);
      found.catch(() => this.pictures.delete(frame));
      this.pictures.set(frame, found);
    }
    return found;
  }

  hasMask(frame) { return this.masks.has(frame) || this.records.masks.has(frame); }

  /** The mask of a frame, given or propagated; null if there is none. */
  async mask(frame) {
    if (!this.hasMask(frame)) return null;
    const found = this.maskCache.get(frame);
    if (found) return found;
    const version = this.version(frame);
    await this.saving; // The server may not have the newest yet.
    const mask = await this.video.mask(frame).catch((error) => {
      if (error.status === 404) return null;
      throw error;
    });
    if (version !== this.version(frame)) return this.mask(frame); // It changed meanwhile.
    if (mask) this.maskCache.set(frame, mask);
    return mask;
  }

  /** The mask that was propagated to a frame before; null if there is none. */
  async maskBefore(frame) {
    if (!this.records.masks.has(frame)) return null;
    await this.saving; // The server may not have the newest mark yet, from which this one differs.
    return this.video.maskBefore(frame);
  }

  /** Point -> {at: [x, y] or null, given, sure} in a frame. */
  pointsOf(frame) {
    const found = new Map();
    const record = this.records.points.get(frame);
    const given = this.points.get(frame) || {};
    for (const { number } of this.things.points) {
      if (number in given) found.set(number, { at: given[number], given: true, sure: 1 });
      else if (record && number in record.confidence) {
        found.set(number, { at: record.points[number], given: false, sure: record.confidence[number] });
      }
    }
    return found;
  }

  /** Point -> where it was propagated to before it was marked here, or before that last changed. */
  pointsBefore(frame) {
    const record = this.records.points.get(frame);
    const found = new Map();
    if (!record) return found;
    for (const [number, { at }] of this.pointsOf(frame)) {
      const other = [record.points[number], record.before[number]].find((each) => each !== undefined && !isSame(each, at));
      if (other) found.set(number, other);
    }
    return found;
  }

  /** Object -> confidence in a frame. */
  objectsOf(frame) {
    const record = this.records.masks.get(frame);
    const sure = new Map();
    if (record) for (const [number, value] of Object.entries(record.confidence)) sure.set(Number(number), value);
    for (const number of this.masks.get(frame) || []) sure.set(number, 1);
    return sure;
  }

  /** The confidence of an object or a point in a frame; undefined where it is not known. */
  sureOf({ kind, number }, frame) {
    const given = kind === 'objects' ? (this.masks.get(frame) || []).includes(number) : number in (this.points.get(frame) || {});
    if (given) return 1;
    const record = this.records[kind === 'objects' ? 'masks' : 'points'].get(frame);
    return record ? record.confidence[number] : undefined;
  }

  /** The lowest confidence in a frame; null where nothing is known. */
  confidence(frame) {
    let found = this.sureCache.get(frame);
    if (found === undefined) this.sureCache.set(frame, found = this.lowest(frame));
    return found;
  }

  lowest(frame) {
    const given = this.masks.get(frame) || [];
    const { confidence } = this.records.masks.get(frame) || { confidence: {} };
    const values = given.length ? [1] : [];
    for (const number in confidence) if (!given.includes(Number(number))) values.push(confidence[number]);
    for (const point of this.pointsOf(frame).values()) values.push(point.sure);
    return values.length ? Math.min(...values) : null;
  }

  isMarked(frame) { return this.masks.has(frame) || this.points.has(frame); }

  /** Marked frames after the end of the video: files of an older or a longer one. */
  beyond() { return this.state.frames === null ? [] : this.marked().filter((frame) => frame > this.lastFrame); }

  removeBeyond() {
    for (const frame of this.beyond()) {
      if (this.masks.has(frame)) this.setMask(frame, null, []);
      if (this.points.has(frame)) this.setPoints(frame, {});
    }
  }

  marked() { return [...new Set([...this.masks.keys(), ...this.points.keys()])].sort((a, b) => a - b); }

  isPropagated(frame) { return this.records.masks.has(frame) || this.records.points.has(frame); }

  /** Objects that were propagated to a frame. */
  propagated(frame) { return Object.keys((this.records.masks.get(frame) || { confidence: {} }).confidence).map(Number); }

  /** Whether the mask of a frame shows all that was marked in it, and nothing that was propagated. */
  isWholeMask(frame) {
    const about = this.masks.get(frame);
    return Boolean(about) && this.propagated(frame).every((number) => about.includes(number));
  }

  /** Keep a mask and the objects that it is about; none: remove it. */
  setMask(frame, mask, about) {
    this.maskChanged(frame);
    if (about.length) {
      const given = only(mask, about);
      const objects = [...new Set([...about, ...shown(given)])].sort((a, b) => a - b);
      this.masks.set(frame, objects);
      // Otherwise the server lays it over what was propagated.
      if (this.isWholeMask(frame)) this.maskCache.set(frame, mask);
      this.save(async (known) => this.video.putMask(known, frame, await greyPng(given, this.width, this.height), objects));
    } else {
      this.masks.delete(frame);
      this.save((known) => this.video.deleteMask(known, frame));
    }
  }

  setPoints(frame, points) {
    if (Object.keys(points).length) this.points.set(frame, points);
    else this.points.delete(frame);
    this.sureCache.delete(frame);
    this.save((known) => this.video.putPoints(known, frame, points));
  }

  /** Keep the lists; the promise is for when they are kept. */
  setThings(things) {
    this.things = things;
    this.sureCache.clear();
    return this.save((known) => this.video.putThings(known, things));
  }

  /** Send changes one after the other; the page does not wait for them. */
  save(send) {
    Store.unsaved += 1;
    this.waiting += 1;
    this.edits += 1;
    this.seen.changed();
    this.saving = this.saving.then(() => this.send(send)).then(async () => {
      Store.unsaved -= 1;
      this.waiting -= 1;
      if (!this.waiting) await this.refresh().catch(() => {});
    });
    return this.saving;
  }

  /** Send a change, again and again while the server does not answer. */
  async send(send) {
    const kept = await answered(() => send(this.known), this.seen.say);
    if (kept) this.known = kept.version;
    else this.refused = true;
  }
}
