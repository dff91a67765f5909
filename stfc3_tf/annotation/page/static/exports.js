// The sheet on which an export is begun, and the one that says what was written.

const $ = (id) => document.getElementById(id);

export class Exports {
  /** begin: called with the names of the formats that were chosen. */
  constructor(begin) {
    const sheet = $('export-sheet');
    sheet.addEventListener('close', () => { if (sheet.returnValue === 'export') begin(this.chosen()); });
    $('export-cancel').addEventListener('click', () => sheet.close());
  }

  /** Ask for formats. What was chosen before stays chosen. */
  ask(store) {
    if (!this.boxes().length) $('formats').append(...store.state.formats.map(choice));
    const forPoints = new Set(store.state.formats.filter((each) => each.for_points).map((each) => each.name));
    for (const box of this.boxes()) box.disabled = forPoints.has(box.value) && !store.points.size;
    $('export-sheet').returnValue = '';
    $('export-sheet').showModal();
  }

  boxes() { return [...$('formats').querySelectorAll('input')]; }
  chosen() { return this.boxes().filter((box) => box.checked && !box.disabled).map((box) => box.value); }

  /** Say what was written. */
  tell(store, { folder, name, written }) {
    $('export-folder').textContent = folder;
    $('export-written').textContent = written.join(', ');
    $('export-link').href = store.video.exportAddress(name);
    $('export-warning').hidden = store.state.stretches.every((stretch) => stretch.done);
    $('exported-sheet').showModal();
  }
}

function choice({ name, chosen, for_points: isForPoints }) {
  const row = document.createElement('label');
  const box = Object.assign(document.createElement('input'), { type: 'checkbox', value: name, checked: chosen });
  row.append(box, isForPoints ? `${name} (points)` : name);
  return row;
}
