// Propagation and export: begin, watch, stop.

const POLL = 250; // Milliseconds between two looks.
const $ = (id) => document.getElementById(id);

export class Work {
  constructor(page) {
    this.page = page;
    this.watching = false;
  }

  propagate() {
    this.page.player.follows = true;
    return this.begin((video) => video.propagate(this.merge()));
  }

  /** Which frames may change. */
  merge() {
    const { frame, store } = this.page;
    const marked = store.marked();
    const first = Math.max(0, ...marked.filter((each) => each < frame));
    const last = Math.min(...marked.filter((each) => each > frame), store.lastFrame);
    return {
      all: { frame },
      missing: { frame, missing: true },
      around: { frame, first, last },
    }[$('merge').value];
  }

  export() { return this.begin((video) => video.export()); }

  async begin(ask) {
    const { page } = this;
    if (!page.store || this.watching) return;
    page.player.pause();
    await page.store.saving;
    if ((await page.tried(ask(page.store.video))) !== null) await this.watch(0);
  }

  async stop() {
    if (this.watching) await this.page.tried(this.page.store.video.stop());
  }

  /** Show how far the work is until it ends. */
  async watch(seen) {
    const { page } = this;
    const { store } = page;
    this.watching = true;
    page.display.drawButtons();
    let job = { state: 'running' };
    while (job.state === 'running' && store === page.store) {
      const found = await page.tried(store.video.progress(seen));
      if (!found) break;
      job = found;
      seen = job.seen;
      this.draw(job);
      this.take(job);
      if (job.state === 'running') await new Promise((resolve) => setTimeout(resolve, POLL));
    }
    this.watching = false;
    this.draw(null);
    if (job.state === 'failed') page.display.say(job.message);
    if (store === page.store) await store.refresh().catch(() => {});
    page.display.drawButtons();
  }

  take(job) {
    const { page } = this;
    const changed = new Set();
    for (const change of job.changes) {
      if (change.folder) this.showExport(change);
      else {
        page.store.takeRecord(change);
        changed.add(change.frame);
      }
    }
    const latest = job.changes[job.changes.length - 1];
    if (latest && latest.frame !== undefined && page.player.follows) page.player.go(latest.frame, true);
    else if (changed.has(page.frame) && !page.tools.action) page.player.go(page.frame, true);
    page.display.drawAll();
  }

  showExport({ folder, name }) {
    const { store } = this.page;
    $('export-folder').textContent = folder;
    $('export-link').href = store.video.exportAddress(name);
    $('export-warning').hidden = store.state.stretches.every((stretch) => stretch.done);
    $('export-sheet').showModal();
  }

  draw(job) {
    $('progress').hidden = !job;
    if (!job) return;
    if (job.total) $('bar').value = job.done / job.total;
    else $('bar').removeAttribute('value');
    const left = job.seconds_left === null ? '' : `, ${duration(job.seconds_left)} left`;
    const what = job.task === 'export' ? 'Exporting' : 'Frame';
    $('left').textContent = job.total ? `${what} ${job.done} of ${job.total}${left}` : 'Starting …';
  }
}

function duration(seconds) {
  if (seconds < 1) return 'under 1 s';
  if (seconds < 100) return `${Math.round(seconds)} s`;
  return `${Math.round(seconds / 60)} min`;
}
