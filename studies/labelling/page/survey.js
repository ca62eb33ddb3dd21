// The survey as the page knows it: tiles, labels, changes and undo. Views listen to it.

import { getJson, post } from './api.js';

const POLL_MILLISECONDS = 1000;
const MOST_UNDONE = 500;

export class Survey extends EventTarget {
  constructor() {
    super();
    this.tiles = [];
    this.current = 0;
    this.undone = [];
    this.times = [];
    this.waiting = Promise.resolve();
    this.filter = 'all';
    this.shownList = [];
  }

  async load() {
    const open = this.tiles[this.current]?.name;
    const state = await getJson('/api/state');
    this.name = state.survey;
    this.classes = state.classes;
    this.generation = state.generation;
    this.changes = state.changes;
    this.tiles = state.tiles.map((name, index) => ({
      index, name, shown: state.shown[index], strip: state.strips[index], split: state.splits[index],
      masked: state.masked[index],
    }));
    this.byName = new Map(this.tiles.map((tile) => [tile.name, tile]));
    this.undone = [];
    this.current = this.byName.get(open)?.index ?? Math.max(0, this.tiles.findIndex((tile) => !tile.shown));
    this.applyFilter(this.filter);
    this.emit('loaded');
  }

  emit(kind, detail) { this.dispatchEvent(new CustomEvent(kind, { detail })); }

  get tile() { return this.tiles[this.current]; }
  get labelled() { return this.tiles.reduce((sum, tile) => sum + (tile.shown ? 1 : 0), 0); }

  applyFilter(filter) {
    this.filter = filter;
    const [kind, value] = [filter.split(':')[0], filter.slice(filter.indexOf(':') + 1)];
    const kept = {
      all: () => true,
      blank: (tile) => !tile.shown,
      class: (tile) => tile.shown[Number(value)] === '1',
      split: (tile) => tile.split === value,
      unmasked: (tile) => !tile.masked && (tile.split === 'val' || !value),
    }[kind];
    this.shownList = this.tiles.filter(kept).map((tile) => tile.index);
    this.emit('filtered');
  }

  open(index) {
    if (index === undefined || index < 0 || index >= this.tiles.length) return;
    this.current = index;
    this.emit('opened');
  }

  // Next or previous tile of what the filter shows, from the tile that is open.
  step(by) {
    const list = this.shownList;
    const at = list.findIndex((index) => index >= this.current);
    if (by > 0) this.open(list[at < 0 ? -1 : list[at] === this.current ? at + 1 : at]);
    else this.open(list[(at < 0 ? list.length : at) - 1]);
  }

  nextBlank() {
    const { length } = this.shownList;
    const start = this.shownList.findIndex((index) => index > this.current);
    for (let n = 0; n < length; n += 1) {
      const index = this.shownList[((start < 0 ? 0 : start) + n) % length];
      if (!this.tiles[index].shown && index !== this.current) return this.open(index);
    }
    return this.step(1);
  }

  blankRow() { return '0'.repeat(this.classes.length); }

  // Set a class of tiles: shown in all of them, or, if all show it already, in none.
  toggle(tiles, index) {
    if (!this.classes[index]?.labelled || !tiles.length) return Promise.resolve();
    const value = tiles.every((tile) => tile.shown[index] === '1') ? '0' : '1';
    return this.change(tiles.map((tile) => {
      const row = tile.shown || this.blankRow();
      return [tile, row.slice(0, index) + value + row.slice(index + 1)];
    }));
  }

  async change(pairs, { undoable = true } = {}) {
    const rows = pairs.filter(([tile, after]) => tile.shown !== after)
      .map(([tile, after]) => [tile.name, tile.shown, after]);
    if (!rows.length) return;
    if (undoable) {
      this.undone.push(rows);
      this.undone.splice(0, this.undone.length - MOST_UNDONE);
      this.times.push([performance.now(), rows.filter(([, before]) => !before).length]);
      this.times.splice(0, this.times.length - 40);
    }
    this.show(rows.map(([name, , after]) => [name, after]));
    // One after the other: the second change of a tile starts from what the first has made of it.
    this.waiting = this.waiting.then(() => this.send(rows));
    await this.waiting;
  }

  async send(rows) {
    this.emit('saving');
    try {
      await post('/api/labels', { changes: rows, generation: this.generation });
      this.emit('saved');
    } catch (refusal) {
      // What could not be written is not shown as if it were.
      this.show(rows.map(([name, before]) => [name, refusal.content?.current?.[name] ?? before]));
      this.undone = this.undone.filter((kept) => kept !== rows);
      if (refusal.status === 409 && !refusal.content.current) await this.load();
      this.emit('refused', refusal);
    }
  }

  show(rows) {
    const changed = [];
    for (const [name, shown] of rows) {
      const tile = this.byName.get(name);
      if (tile && tile.shown !== shown) {
        tile.shown = shown;
        changed.push(tile);
      }
    }
    if (changed.length) this.emit('changed', changed);
  }

  undo() {
    const rows = this.undone.pop();
    if (!rows) return;
    const tiles = rows.map(([name, before]) => [this.byName.get(name), before]).filter(([tile]) => tile);
    this.change(tiles, { undoable: false });
    if (tiles.length === 1) this.open(tiles[0][0].index);
  }

  // Seconds until all tiles are labelled, from the last changes; pauses of more than a minute do not count.
  secondsLeft() {
    let seconds = 0;
    let tiles = 0;
    for (let n = 1; n < this.times.length; n += 1) {
      const gap = (this.times[n][0] - this.times[n - 1][0]) / 1000;
      if (gap < 60) {
        seconds += gap;
        tiles += this.times[n][1];
      }
    }
    return tiles < 3 ? undefined : (seconds / tiles) * (this.tiles.length - this.labelled);
  }

  async poll() {
    try {
      await this.waiting;
      const tile = encodeURIComponent(this.tile?.name ?? '');
      const news = await getJson(`/api/changes?since=${this.changes}&tile=${tile}`);
      if (news.generation !== this.generation) await this.load();
      else {
        this.changes = news.changes;
        this.show(Object.entries(news.shown));
        this.emit('tag', { tile: this.tile?.name, tag: news.tag });
      }
      this.emit('reached');
    } catch (refusal) {
      this.emit('refused', refusal);
    }
    setTimeout(() => this.poll(), POLL_MILLISECONDS);
  }
}
