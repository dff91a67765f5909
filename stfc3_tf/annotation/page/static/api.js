// What the page asks its server for. Addresses are relative: the page's own holds the secret.

const RETRY = 2000; // Milliseconds until the server is asked again that did not answer.

/** The server says no; status: of its answer. */
export class Refused extends Error {
  constructor(message, status) {
    super(message);
    this.status = status;
  }
}

/** No answer came; a later try may succeed. */
export class Unreachable extends Error {}

export const pause = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

/** Ask again and again while the server does not answer; null: it refuses, or nobody waits any more. */
export async function answered(ask, say, isAwaited = () => true) {
  while (isAwaited()) {
    try {
      return await ask();
    } catch (error) {
      say(error.message);
      if (!(error instanceof Unreachable)) return null;
    }
    await pause(RETRY);
  }
  return null;
}

async function asked(path, options = {}) {
  let response;
  try {
    response = await fetch(path, options);
  } catch {
    throw new Unreachable('The server does not answer: is the command still running?');
  }
  if (!response.ok) {
    const found = await response.json().catch(() => ({}));
    throw new Refused(found.error || `The server answers with ${response.status}.`, response.status);
  }
  return response;
}

const json = async (path, options) => (await asked(path, options)).json();
const sent = (method, value) => ({ method, body: JSON.stringify(value) });

export const videos = () => json('videos');
export const open = (name) => json('open', sent('POST', { name }));

/** The requests about one video; known: the version that a change is based on. */
export class Video {
  constructor(id) { this.base = `v/${encodeURIComponent(id)}/`; }
  state() { return json(`${this.base}state`); }
  async times() { return new Float64Array((await this.bytes('times')).buffer); }
  results() { return json(`${this.base}results`); }
  progress(since) { return json(`${this.base}progress?since=${since}`); }
  putThings(known, things) { return json(`${this.base}things?known=${known}`, sent('PUT', things)); }
  putPoints(known, frame, points) { return json(`${this.base}points/${frame}?known=${known}`, sent('PUT', points)); }
  deleteMask(known, frame) { return json(`${this.base}masks/${frame}?known=${known}`, { method: 'DELETE' }); }
  propagate(merge) { return json(`${this.base}propagate`, sent('POST', merge)); }
  export(formats) { return json(`${this.base}export`, sent('POST', { formats })); }
  stop() { return json(`${this.base}stop`, { method: 'POST' }); }
  smallAddress(frame) { return `${this.base}small/${frame}`; }
  exportAddress(name) { return `${this.base}exports/${name}.zip`; }

  putMask(known, frame, png, objects) {
    const path = `${this.base}masks/${frame}?known=${known}&objects=${objects.join(',')}`;
    return json(path, { method: 'PUT', body: png });
  }

  async frame(number) {
    return createImageBitmap(await (await asked(`${this.base}frames/${number}`)).blob());
  }

  async mask(number) { return this.bytes(`masks/${number}`); }

  /** What was propagated to a frame before; null if that is not another mask. */
  async maskBefore(number) {
    const found = await this.bytes(`masks/${number}?before=1`);
    return found.length ? found : null;
  }

  async bytes(path) { return new Uint8Array(await (await asked(this.base + path)).arrayBuffer()); }
}
