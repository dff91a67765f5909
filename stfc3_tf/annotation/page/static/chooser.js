// The sheet on which a video is chosen.

const $ = (id) => document.getElementById(id);

export class Chooser {
  /** open: called with the name of a video; look: returns what may be opened, or null. */
  constructor(open, look) {
    this.open = open;
    this.look = look;
    this.names = [];
    $('videos-filter').addEventListener('input', () => this.list());
  }

  async show() {
    $('videos-filter').value = '';
    this.list();
    $('videos-sheet').showModal();
    const found = await this.look();
    if (!found) return;
    const isSame = found.names.join('\n') === this.names.join('\n');
    this.take(found);
    if (!isSame) this.list();
  }

  /** Take the names of what may be opened, and say what is left out. */
  take({ names, more, outside }) {
    this.names = names;
    const notes = [];
    if (more) notes.push(`Not listed: ${counted(more, 'more video')}. Write a name after # in the address of this page, or give a folder below as --root.`);
    if (outside) notes.push(`Left out: ${counted(outside, 'link')} out of the folder. Give the folder that holds the videos as --root.`);
    $('videos-note').textContent = notes.join(' ');
    $('videos-note').hidden = !notes.length;
  }

  list() {
    const part = $('videos-filter').value.toLowerCase();
    const rows = this.names.filter((name) => name.toLowerCase().includes(part)).map((name) => this.row(name));
    if (!rows.length) {
      rows.push(Object.assign(document.createElement('li'), { textContent: 'No videos there.', className: 'empty' }));
    }
    $('videos').replaceChildren(...rows);
  }

  row(name) {
    const row = document.createElement('li');
    const choice = document.createElement('button');
    choice.textContent = name;
    choice.addEventListener('click', () => { $('videos-sheet').close(); this.open(name); });
    row.append(choice);
    return row;
  }
}

function counted(count, noun) { return `${count} ${noun}${count === 1 ? '' : 's'}`; }
