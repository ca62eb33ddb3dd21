// All tiles that the filter shows, as thumbnails; only those in sight are in the document.

import { thumbnailOf } from './api.js';

const WIDTH = 124;
const HEIGHT = 154;
const ROWS_BEYOND = 2;

export class GridView {
  constructor(survey) {
    this.survey = survey;
    this.scroller = document.getElementById('scroller');
    this.cells = document.getElementById('cells');
    this.hint = document.getElementById('selection');
    this.selected = new Set();
    this.active = 0;
    this.anchor = 0;
    this.drawn = new Map();
    this.scroller.addEventListener('scroll', () => this.draw(), { passive: true });
    this.scroller.addEventListener('keydown', (event) => this.key(event));
    this.cells.addEventListener('click', (event) => this.click(event));
    new ResizeObserver(() => this.draw()).observe(this.scroller);
  }

  get list() { return this.survey.shownList; }
  get columns() { return Math.max(1, Math.floor(this.scroller.clientWidth / WIDTH)); }
  get chosen() { return [...this.selected].map((index) => this.survey.tiles[index]); }

  refresh() {
    for (const cell of this.drawn.values()) cell.remove();
    this.drawn.clear();
    const known = new Set(this.list);
    this.selected = new Set([...this.selected].filter((index) => known.has(index)));
    this.active = Math.max(0, Math.min(this.active, this.list.length - 1));
    this.draw();
  }

  draw() {
    if (this.scroller.closest('[hidden]')) return;
    const { columns } = this;
    const first = Math.max(0, Math.floor(this.scroller.scrollTop / HEIGHT) - ROWS_BEYOND) * columns;
    const rows = Math.ceil(this.scroller.clientHeight / HEIGHT) + 2 * ROWS_BEYOND + 1;
    const last = Math.min(this.list.length, first + rows * columns);
    this.cells.style.height = `${Math.ceil(this.list.length / columns) * HEIGHT}px`;
    for (const [place, cell] of this.drawn) {
      if (place < first || place >= last) {
        cell.remove();
        this.drawn.delete(place);
      }
    }
    for (let place = first; place < last; place += 1) {
      if (!this.drawn.has(place)) this.drawn.set(place, this.make(place));
      const cell = this.drawn.get(place);
      cell.style.left = `${(place % columns) * WIDTH}px`;
      cell.style.top = `${Math.floor(place / columns) * HEIGHT}px`;
      this.mark(place, cell);
    }
    this.scroller.setAttribute('aria-activedescendant', this.drawn.has(this.active) ? `cell-${this.active}` : '');
    this.hint.textContent = this.list.length
      ? `${this.selected.size} of ${this.list.length} tiles selected. A number key sets that class in all of them.`
      : 'No tile is of this kind.';
  }

  make(place) {
    const tile = this.survey.tiles[this.list[place]];
    const cell = document.createElement('div');
    cell.className = 'cell';
    cell.id = `cell-${place}`;
    cell.style.width = `${WIDTH}px`;
    cell.style.height = `${HEIGHT}px`;
    cell.dataset.place = place;
    cell.setAttribute('role', 'option');
    cell.setAttribute('aria-setsize', this.list.length);
    cell.setAttribute('aria-posinset', place + 1);
    const picture = document.createElement('img');
    picture.src = thumbnailOf(tile.name);
    picture.alt = '';
    const name = document.createElement('div');
    name.className = 'name';
    name.textContent = tile.name;
    const dots = document.createElement('div');
    dots.className = 'dots';
    cell.append(picture, name, dots);
    this.cells.append(cell);
    return cell;
  }

  mark(place, cell) {
    const index = this.list[place];
    const tile = this.survey.tiles[index];
    const shown = this.survey.classes.filter((_, number) => tile.shown[number] === '1');
    cell.setAttribute('aria-selected', this.selected.has(index));
    cell.classList.toggle('active', place === this.active);
    const words = tile.shown ? shown.map((row) => row.name).join(', ') || 'no class' : 'not labelled';
    cell.setAttribute('aria-label', `${tile.name}: ${words}`);
    if (cell.dataset.words === words) return;
    cell.dataset.words = words;
    const dots = shown.map((row) => {
      const dot = document.createElement('i');
      dot.style.background = row.colour;
      return dot;
    });
    if (tile.shown && !dots.length) {
      const none = document.createElement('i');
      none.className = 'none';
      none.textContent = 'no class';
      dots.push(none);
    }
    cell.lastChild.replaceChildren(...dots);
  }

  click(event) {
    const cell = event.target.closest('.cell');
    if (!cell) return;
    const place = Number(cell.dataset.place);
    if (event.shiftKey) this.selectRange(this.anchor, place);
    else {
      if (!event.ctrlKey && !event.metaKey) this.selected.clear();
      this.flip(place);
      this.anchor = place;
    }
    this.active = place;
    this.draw();
  }

  flip(place) {
    const index = this.list[place];
    if (!this.selected.delete(index)) this.selected.add(index);
  }

  selectRange(from, to) {
    for (let n = Math.min(from, to); n <= Math.max(from, to); n += 1) this.selected.add(this.list[n]);
  }

  key(event) {
    const page = Math.max(1, Math.floor(this.scroller.clientHeight / HEIGHT)) * this.columns;
    const steps = {
      ArrowLeft: -1, ArrowRight: 1, ArrowUp: -this.columns, ArrowDown: this.columns,
      PageUp: -page, PageDown: page, Home: -this.list.length, End: this.list.length,
    };
    if (event.key in steps) {
      const before = this.active;
      this.active = Math.max(0, Math.min(this.list.length - 1, this.active + steps[event.key]));
      if (event.shiftKey) this.selectRange(before, this.active);
      else this.anchor = this.active;
      this.reveal();
    } else if (event.key === ' ') this.flip(this.active);
    else if (event.key === 'a' && (event.ctrlKey || event.metaKey)) this.selectRange(0, this.list.length - 1);
    else if (event.key === 'Escape') this.selected.clear();
    else return;
    event.preventDefault();
    event.stopPropagation();
    this.draw();
  }

  reveal() {
    const top = Math.floor(this.active / this.columns) * HEIGHT;
    if (top < this.scroller.scrollTop) this.scroller.scrollTop = top;
    const below = top + HEIGHT - this.scroller.clientHeight;
    if (below > this.scroller.scrollTop) this.scroller.scrollTop = below;
  }
}
