// The keyboard: every action has a key; the help sheet lists them.

const TOOLS = { p: 'point', b: 'brush', e: 'eraser', g: 'polygon', r: 'box', v: 'hand' };

/** Do what a key says, unless it is typed into a field or a sheet is open. */
export function keys(page, event) {
  const { target } = event;
  const types = target.matches && target.matches('input:not([type="range"]):not([type="checkbox"]), select, textarea');
  if (document.querySelector('dialog[open]') || types) return;
  const act = chosen(page, event);
  if (!act) return;
  event.preventDefault();
  act();
}

function chosen(page, event) {
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  if (key === '?') return () => document.getElementById('help-sheet').showModal();
  if (key === 'o' && !event.ctrlKey && !event.metaKey) return () => page.chooseVideo();
  if (!page.store) return null;
  if (event.ctrlKey || event.metaKey) return withControl(page, key, event.shiftKey);
  if (event.altKey) return withAlt(page, key);
  // Space and Enter press the button that has the focus.
  if ([' ', 'Enter'].includes(key) && event.target.matches('button, a')) return null;
  if (event.target.type === 'range' && key.startsWith('Arrow')) return null;
  return plain(page, key, event.shiftKey);
}

function withControl(page, key, shift) {
  return {
    z: () => (shift ? page.redo() : page.undo()),
    y: () => page.redo(),
    e: () => page.export(),
    Enter: () => page.propagate(),
  }[key];
}

function withAlt(page, key) {
  return {
    ArrowLeft: () => page.nudge(-1, 0),
    ArrowRight: () => page.nudge(1, 0),
    ArrowUp: () => page.nudge(0, -1),
    ArrowDown: () => page.nudge(0, 1),
  }[key];
}

function plain(page, key, shift) {
  if (key in TOOLS) return () => page.setTool(TOOLS[key]);
  if (/^[1-9]$/.test(key)) return () => { if (page.thing('objects', Number(key))) page.select('objects', Number(key)); };
  const step = shift ? 10 : 1;
  return {
    ' ': () => page.toggle(),
    ArrowLeft: () => page.go(page.frame - step),
    ArrowRight: () => page.go(page.frame + step),
    Home: () => page.go(0),
    End: () => page.go(page.store.lastFrame),
    ',': () => page.goMarked(-1),
    '.': () => page.goMarked(1),
    l: () => page.goLeastSure(),
    '[': () => page.setRadius(page.radius - Math.max(1, Math.round(page.radius / 6))),
    ']': () => page.setRadius(page.radius + Math.max(1, Math.round(page.radius / 6))),
    n: () => page.addThing('objects'),
    m: () => page.addThing('points'),
    F2: () => { if (page.selected) page.panel.rename(page.selected.kind, page.selected.number); },
    h: () => page.markAbsent(),
    c: () => page.compare(),
    t: () => document.getElementById('shown').click(),
    Delete: () => (shift ? page.clearFrame() : page.removeMark()),
    Backspace: () => (shift ? page.clearFrame() : page.removeMark()),
    '+': () => page.view.zoom(1.25),
    '=': () => page.view.zoom(1.25),
    '-': () => page.view.zoom(0.8),
    0: () => page.view.fit(),
    Enter: () => page.tools.finish(),
    Escape: () => { if (!page.tools.cancel()) page.stop(); },
  }[key];
}
