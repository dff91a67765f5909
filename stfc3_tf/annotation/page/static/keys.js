// The keyboard: every action has a key; the help sheet lists them.

const ONCE = ' nmhotlciu?'; // Keys that do nothing more when they are held.
const TOOLS = { p: 'point', b: 'brush', e: 'eraser', g: 'polygon', r: 'box', v: 'hand' };

/** Do what a key says, unless it is typed into a field or a sheet is open. */
export function keys(page, event) {
  const { target } = event;
  if (document.querySelector('dialog[open]')) return;
  // A field of a sheet that was just closed may still have the focus.
  const types = target.matches && target.matches('input:not([type="range"]):not([type="checkbox"]):not([type="color"]), select, textarea') && !target.closest('dialog');
  // Who writes a number or a name may go on to propagate at once.
  if (types && event.key === 'Enter' && (event.ctrlKey || event.metaKey)) target.blur();
  else if (types) return;
  if (event.repeat && (event.key === 'Enter' || ONCE.includes(event.key.toLowerCase()))) return;
  const act = chosen(page, event);
  if (!act) return;
  event.preventDefault();
  act();
}

function chosen(page, event) {
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  if (key === '?') return () => page.help();
  if (key === 'o' && !event.ctrlKey && !event.metaKey) return () => page.chooser.show();
  if (!page.store) return null;
  // With AltGr, some keyboards type [ and ].
  if (event.getModifierState('AltGraph')) return plain(page, key, event.shiftKey);
  if (event.ctrlKey || event.metaKey) return withControl(page, key, event.shiftKey);
  if (event.altKey) return withAlt(page, key, event.shiftKey);
  // Space and Enter press what has the focus.
  if ([' ', 'Enter'].includes(key) && event.target.matches('button, a, input[type="checkbox"], input[type="color"]')) return null;
  if (event.target.type === 'range' && key.startsWith('Arrow')) return null;
  return plain(page, key, event.shiftKey);
}

function withControl(page, key, shift) {
  return {
    z: () => (shift ? page.redo() : page.undo()),
    y: () => page.redo(),
    e: () => page.work.export(),
    Enter: () => page.work.propagate(),
    ArrowLeft: () => page.crosshair.move(-1, 0, shift),
    ArrowRight: () => page.crosshair.move(1, 0, shift),
    ArrowUp: () => page.crosshair.move(0, -1, shift),
    ArrowDown: () => page.crosshair.move(0, 1, shift),
  }[key];
}

function withAlt(page, key, shift) {
  const step = shift ? 10 : 1;
  return {
    ArrowLeft: () => page.points.nudge(-step, 0),
    ArrowRight: () => page.points.nudge(step, 0),
    ArrowUp: () => page.points.nudge(0, -step),
    ArrowDown: () => page.points.nudge(0, step),
    Enter: () => page.crosshair.press(true),
  }[key];
}

function plain(page, key, shift) {
  if (key in TOOLS) return () => page.setTool(TOOLS[key]);
  if (/^[1-9]$/.test(key)) return () => { if (page.things.find('objects', Number(key))) page.things.select('objects', Number(key)); };
  const step = shift ? 10 : 1;
  return {
    ' ': () => page.player.toggle(),
    ArrowLeft: () => page.player.go(page.frame - step),
    ArrowRight: () => page.player.go(page.frame + step),
    Home: () => page.player.go(0),
    End: () => page.player.go(page.store.lastFrame),
    ',': () => page.player.goMarked(-1),
    '.': () => page.player.goMarked(1),
    l: () => page.player.goLeastSure(),
    i: () => page.merge.from(page.frame),
    u: () => page.merge.until(page.frame),
    '[': () => page.setRadius(page.radius - Math.max(1, Math.round(page.radius / 6))),
    ']': () => page.setRadius(page.radius + Math.max(1, Math.round(page.radius / 6))),
    n: () => page.things.add('objects'),
    m: () => page.things.add('points'),
    F2: () => { if (page.selected) page.panel.rename(page.selected.kind, page.selected.number); },
    h: () => page.edits.markAbsent(),
    c: () => page.player.compare(),
    t: () => document.getElementById('shown').click(),
    Delete: () => (shift ? page.edits.clearFrame() : page.edits.removeMark()),
    Backspace: () => (shift ? page.edits.clearFrame() : page.edits.removeMark()),
    '+': () => page.view.zoom(1.25),
    '=': () => page.view.zoom(1.25),
    '-': () => page.view.zoom(0.8),
    0: () => page.view.fit(),
    j: () => page.things.step(1),
    k: () => page.things.step(-1),
    Enter: () => { if (page.crosshair.at) page.crosshair.press(); else page.tools.finish(); },
    Escape: () => { if (!page.tools.cancel() && !page.crosshair.hide() && !page.merge.leave()) page.work.stop(); },
  }[key];
}
