// The lists of objects and points: select, rename, colour, remove.

function button(name, label, parent) {
  const made = document.createElement('button');
  made.setAttribute('aria-label', label);
  made.title = label;
  made.innerHTML = `<svg><use href="static/icons.svg#${name}"></use></svg>`;
  parent.append(made);
  return made;
}

/** actions: select(kind, number), change(kind, number, what), remove(kind, number). */
export class Panel {
  constructor(actions) {
    this.actions = actions;
    this.lists = { objects: document.querySelector('#objects'), points: document.querySelector('#points') };
    this.rows = new Map();
  }

  show(things, selected, sure) {
    for (const kind of ['objects', 'points']) {
      const rows = things[kind].map((thing) => this.row(kind, thing, selected, sure[kind].get(thing.number)));
      const list = this.lists[kind];
      if (rows.length) {
        if (rows.length !== list.children.length || rows.some((row, k) => row !== list.children[k])) list.replaceChildren(...rows);
      } else {
        const hint = document.createElement('li');
        hint.className = 'empty';
        hint.textContent = kind === 'objects' ? 'Paint with the brush (B).' : 'Click with the point tool (P).';
        list.replaceChildren(hint);
      }
    }
  }

  row(kind, thing, selected, sure) {
    const key = `${kind} ${thing.number}`;
    const row = this.rows.get(key) || this.made(kind, thing.number, key);
    const isSelected = selected && selected.kind === kind && selected.number === thing.number;
    row.classList.toggle('selected', Boolean(isSelected));
    row.setAttribute('aria-current', isSelected ? 'true' : 'false');
    const [colour, name] = row.querySelectorAll('input');
    if (colour !== document.activeElement) colour.value = thing.colour;
    name.defaultValue = thing.name;
    if (name !== document.activeElement) name.value = thing.name;
    name.title = thing.name;
    name.setAttribute('aria-label', `Name of ${thing.name}`);
    colour.setAttribute('aria-label', `Colour of ${thing.name}`);
    row.querySelector('button').setAttribute('aria-label', `Remove ${thing.name} from the whole video`);
    const shown = row.querySelector('.sure');
    shown.textContent = sure === undefined ? '' : sure === null ? 'not here' : `${Math.round(sure * 100)} %`;
    shown.classList.toggle('low', Number.isFinite(sure) && sure < 0.4);
    return row;
  }

  made(kind, number, key) {
    const row = document.createElement('li');
    row.className = 'thing';
    row.dataset.kind = kind;
    row.dataset.number = number;
    const colour = document.createElement('input');
    colour.type = 'color';
    colour.addEventListener('change', () => this.actions.change(kind, number, { colour: colour.value }));
    const name = document.createElement('input');
    name.className = 'name';
    name.maxLength = 80;
    name.spellcheck = false;
    name.addEventListener('change', () => this.actions.change(kind, number, { name: name.value.trim() }));
    name.addEventListener('focus', () => this.actions.select(kind, number));
    name.addEventListener('blur', () => { name.value = name.defaultValue; }); // It may have been refused.
    name.addEventListener('keydown', (event) => {
      if (event.key === 'Escape') name.value = name.defaultValue;
      if (['Enter', 'Escape'].includes(event.key)) name.blur();
    });
    const sure = document.createElement('span');
    sure.className = 'sure';
    sure.title = 'Confidence in this frame';
    row.append(colour, name, sure);
    button('remove', 'Remove from the whole video', row).addEventListener('click', (event) => {
      event.stopPropagation();
      this.actions.remove(kind, number);
    });
    row.addEventListener('click', () => this.actions.select(kind, number));
    this.rows.set(key, row);
    return row;
  }

  rename(kind, number) {
    const row = this.rows.get(`${kind} ${number}`);
    if (row) row.querySelector('.name').select();
  }

  /** Scroll to what is selected. */
  reveal(kind, number) {
    const row = this.rows.get(`${kind} ${number}`);
    if (row) row.scrollIntoView({ block: 'nearest' });
  }

  forget() { this.rows.clear(); }
}
