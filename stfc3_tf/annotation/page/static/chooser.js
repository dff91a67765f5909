// The sheet on which a video is chosen.

const $ = (id) => document.getElementById(id);

export class Chooser {
  /** open: called with the name of a video; look: returns all names, or null. */
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
    const names = await this.look();
    if (!names || names.join('\n') === this.names.join('\n')) return;
    this.names = names;
    this.list();
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
