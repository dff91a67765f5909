// The list of objects and points: selected, added, renamed, removed.

export class Things {
  constructor(page) { this.page = page; }

  select(kind, number) {
    const { page } = this;
    page.selected = { kind, number };
    if (kind === 'points' && ['brush', 'eraser', 'polygon', 'box'].includes(page.tool)) page.setTool('point');
    if (kind === 'objects' && page.tool === 'point') page.setTool('brush');
    page.display.drawAll();
    page.panel.reveal(kind, number);
  }

  /** Select the next one in the lists, or with -1 the one before. */
  step(way) {
    const { selected, store } = this.page;
    const all = ['objects', 'points'].flatMap((kind) => store.things[kind].map(({ number }) => ({ kind, number })));
    if (!all.length) return;
    const at = all.findIndex(({ kind, number }) => selected && selected.kind === kind && selected.number === number);
    const { kind, number } = all[at < 0 ? 0 : (at + way + all.length) % all.length];
    this.select(kind, number);
  }

  find(kind, number) { return this.page.store.things[kind].find((each) => each.number === number); }

  add(kind) {
    const { page } = this;
    if (!page.store) return null;
    const taken = new Set(page.store.things[kind].map((each) => each.number));
    const names = new Set(page.store.things[kind].map((each) => each.name));
    let number = 1;
    while (taken.has(number)) number += 1;
    if (number > 255) {
      page.display.say('There are 255 already, and no more are possible.');
      return null;
    }
    let name = `${kind.slice(0, -1)} ${number}`;
    while (names.has(name)) name += "'";
    const colours = page.store.state.colours;
    // The first points are drawn over the first objects.
    const place = kind === 'points' ? number + 2 : number - 1;
    const thing = { number, name, colour: colours[place % colours.length] };
    const things = page.store.things;
    page.store.setThings({ ...things, [kind]: [...things[kind], thing] });
    this.select(kind, number);
    if (kind === 'objects' && page.tool === 'eraser') page.setTool('brush'); // There is nothing of it to erase yet.
    return thing;
  }

  change(kind, number, what) {
    const { page } = this;
    const things = page.store.things;
    const others = things[kind].filter((each) => each.number !== number);
    if ('name' in what && (!what.name || others.some((each) => each.name === what.name))) {
      page.display.say(what.name ? `Another one is called ${what.name} already.` : 'A name needs a letter at least.');
      page.display.drawAll();
      return;
    }
    const changed = things[kind].map((each) => (each.number === number ? { ...each, ...what } : each));
    page.store.setThings({ ...things, [kind]: changed });
    page.display.drawMask();
    page.display.drawAll();
  }

  async remove(kind, number) {
    const { page } = this;
    const { store } = page;
    const { name } = this.find(kind, number);
    if (!window.confirm(`Remove ${name} and all its marks from the whole video?`)) return;
    const { things } = store;
    page.selected = null;
    await store.setThings({ ...things, [kind]: things[kind].filter((each) => each.number !== number) });
    await page.tried(store.loadResults());
    store.forgetMasks();
    if (store !== page.store) return;
    page.beginHistory();
    await page.player.go(page.frame);
  }
}
