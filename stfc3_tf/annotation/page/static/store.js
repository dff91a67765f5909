// What the page knows of a video: its state, what was given and propagated, pictures, masks.

import { Refused, Video } from './api.js';
import { only, shown } from './mask.js';
import { greyPng } from './png.js';

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
  constructor(state, changed, failed) {
    this.video = new Video(state.id);
    this.changed = changed;
    this.failed = failed;
    this.pictures = new Cache(40, (promise) => promise.then((bitmap) => bitmap.close(), () => {}));
    this.maskCache = new Cache(40);
    this.records = { masks: new Map(), points: new Map() };
    this.saving = Promise.resolve();
    this.waiting = 0;
    this.take(state);
  }

  take(state) {
    this.state = state;
    this.width = state.width;
    this.height = state.height;
    if (this.waiting) return; // What is given here is newer.
    this.things = state.things;
    this.masks = new Map(Object.entries(state.masks).map(([frame, objects]) => [Number(frame), objects]));
    this.points = new Map(Object.entries(state.points).map(([frame, points]) => [Number(frame), points]));
  }

  async refresh() {
    this.take(await this.video.state());
    this.changed();
  }

  async loadResults() {
    const found = await this.video.results();
    for (const kind of ['masks', 'points']) {
      this.records[kind] = new Map(found[kind].map((record) => [record.frame, record]));
    }
  }

  /** The frames of the video, as far as they are counted. */
  get count() { return this.state.frames ?? Math.max(1, this.state.seen); }
  get lastFrame() { return Math.max(0, this.count - 1); }

  /** Take a result that the server reports. */
  takeRecord(change) {
    const records = this.records[change.kind];
    if (change.kind === 'points') {
      const before = records.get(change.frame);
      const merged = (key) => ({ ...(before ? before[key] : {}), ...change[key] });
      records.set(change.frame, { ...change, points: merged('points'), confidence: merged('confidence') });
    } else {
      records.set(change.frame, change);
      this.maskCache.delete(change.frame);
    }
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
    await this.saving; // The server may not have the newest yet.
    const mask = await this.video.mask(frame).catch(() => null);
    if (mask && this.hasMask(frame)) this.maskCache.set(frame, mask);
    return mask;
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
    const values = [...this.objectsOf(frame).values()];
    for (const point of this.pointsOf(frame).values()) values.push(point.sure);
    return values.length ? Math.min(...values) : null;
  }

  isMarked(frame) { return this.masks.has(frame) || this.points.has(frame); }

  marked() { return [...new Set([...this.masks.keys(), ...this.points.keys()])].sort((a, b) => a - b); }

  /** Keep a mask and the objects that it is about; none: remove it. */
  setMask(frame, mask, about) {
    if (about.length) {
      const given = only(mask, about);
      const objects = [...new Set([...about, ...shown(given)])].sort((a, b) => a - b);
      this.masks.set(frame, objects);
      this.maskCache.set(frame, mask);
      this.save(async () => this.video.putMask(frame, await greyPng(given, this.width, this.height), objects));
    } else {
      this.masks.delete(frame);
      this.maskCache.delete(frame);
      this.save(() => this.video.deleteMask(frame));
    }
  }

  setPoints(frame, points) {
    if (Object.keys(points).length) this.points.set(frame, points);
    else this.points.delete(frame);
    this.save(() => this.video.putPoints(frame, points));
  }

  setThings(things) {
    this.things = things;
    this.save(() => this.video.putThings(things));
  }

  /** Send changes one after the other; the page does not wait for them. */
  save(send) {
    this.waiting += 1;
    this.changed();
    this.saving = this.saving.then(send).catch((error) => {
      this.failed(error instanceof Refused ? error.message : String(error));
    }).then(async () => {
      this.waiting -= 1;
      if (!this.waiting) await this.refresh().catch(() => {});
    });
    return this.saving;
  }
}
