// The mask of a tile: drawn by brush and polygon, or filled from strokes; each change is saved at once.

import { getResponse, pictureOf, postBytes } from './api.js';
import { MaskTools } from './mask_tools.js';
import { fillPolygon, paint, stampLine } from './raster.js';

const NO_DATA = 255;
const UNSET = -1;
const MOST_UNDONE = 40;

export class MaskView {
  constructor(survey, say) {
    this.survey = survey;
    this.say = say;
    this.stage = document.getElementById('stage');
    this.sheet = document.getElementById('sheet');
    this.base = document.getElementById('base');
    this.canvas = document.getElementById('canvas');
    this.context = this.canvas.getContext('2d');
    this.chosen = 0;
    this.waiting = Promise.resolve();
    this.pending = 0;
    this.points = [];
    this.tools = new MaskTools(() => this.draw());
    this.tools.onNoData = () => this.chooseClass(NO_DATA);
    this.tools.onUndo = () => this.undo();
    this.tools.onClear = () => this.clear();
    this.tools.onZoom = (by) => this.zoomBy(by);
    this.canvas.addEventListener('pointerdown', (event) => this.down(event));
    this.canvas.addEventListener('pointermove', (event) => this.move(event));
    this.canvas.addEventListener('pointerup', () => this.up());
    this.canvas.addEventListener('pointercancel', () => this.up());
    this.canvas.addEventListener('dblclick', () => this.closePolygon());
    this.stage.addEventListener('wheel', (event) => {
      event.preventDefault();
      this.zoomBy(event.deltaY < 0 ? 1.15 : 1 / 1.15, event);
    }, { passive: false });
    survey.addEventListener('tag', (event) => this.compare(event.detail));
    survey.addEventListener('loaded', () => { this.name = undefined; });
  }

  chooseClass(index) {
    if (index !== NO_DATA && !this.survey.classes[index]) return;
    this.chosen = index;
    if (this.tools.tool === 'eraser') this.tools.tool = 'brush';
    this.tools.mark(index === NO_DATA);
  }

  // Open the survey's current tile, unless it is open already.
  async open(again = false) {
    const { tile } = this.survey;
    if (!tile || (this.name === tile.name && !again)) return;
    const fresh = this.name !== tile.name;
    this.name = tile.name;
    this.setReady(false);
    document.getElementById('mask-name').textContent = [tile.name, tile.strip && `strip ${tile.strip}`, tile.split]
      .filter(Boolean).join(', ');
    try {
      // What was drawn on the tile before is saved under its own name first.
      await this.waiting;
      const query = `tile=${encodeURIComponent(tile.name)}`;
      const [picture, mask] = await Promise.all([getResponse(pictureOf(tile.name)), getResponse(`/api/mask?${query}`)]);
      const bitmap = await createImageBitmap(await picture.blob());
      const ids = new Uint8Array(await mask.arrayBuffer());
      if (this.name !== tile.name) return;
      this.width = Number(mask.headers.get('X-Width'));
      this.height = Number(mask.headers.get('X-Height'));
      this.tag = mask.headers.get('X-Tag');
      this.ids = ids;
      this.strokes = new Int16Array(ids.length).fill(UNSET);
      this.points = [];
      if (fresh) this.undone = [];
      this.show(bitmap, fresh);
      this.setReady(true);
      this.draw();
    } catch (refusal) {
      this.name = undefined;
      this.say(refusal.message, true);
    }
  }

  setReady(ready) {
    this.ready = ready;
    this.stage.dataset.ready = ready ? 'yes' : 'no';
  }

  show(bitmap, fit) {
    for (const canvas of [this.base, this.canvas]) {
      canvas.width = this.width;
      canvas.height = this.height;
    }
    this.base.getContext('2d').drawImage(bitmap, 0, 0);
    this.image = this.context.createImageData(this.width, this.height);
    if (fit || !this.zoom) {
      this.zoom = Math.min(this.stage.clientWidth / this.width, this.stage.clientHeight / this.height) * 0.98;
    }
    this.resize();
  }

  resize() {
    this.sheet.style.width = `${this.width * this.zoom}px`;
    this.sheet.style.height = `${this.height * this.zoom}px`;
  }

  zoomBy(by, at) {
    if (!this.ready) return;
    const frame = this.stage.getBoundingClientRect();
    const x = at ? at.clientX - frame.left : frame.width / 2;
    const y = at ? at.clientY - frame.top : frame.height / 2;
    const before = this.zoom;
    this.zoom = Math.max(0.1, Math.min(40, this.zoom * by));
    const ratio = this.zoom / before;
    this.resize();
    this.stage.scrollLeft = (this.stage.scrollLeft + x) * ratio - x;
    this.stage.scrollTop = (this.stage.scrollTop + y) * ratio - y;
  }

  draw() {
    if (!this.ready) return;
    const colours = this.survey.classes.map((row) => [1, 3, 5].map((at) => parseInt(row.colour.slice(at, at + 2), 16)));
    const opacity = this.tools.hidden ? 0 : Math.round(this.tools.opacity * 2.55);
    paint(this.image, this.ids, this.strokes, colours, opacity);
    this.context.putImageData(this.image, 0, 0);
    if (!this.points.length) return;
    this.context.beginPath();
    this.points.forEach(({ x, y }) => this.context.lineTo(x, y));
    this.context.lineWidth = Math.max(1, 2 / this.zoom);
    this.context.strokeStyle = '#ffffff';
    this.context.stroke();
    this.context.setLineDash([3, 3]);
    this.context.strokeStyle = '#000000';
    this.context.stroke();
    this.context.setLineDash([]);
  }

  at(event) {
    const frame = this.canvas.getBoundingClientRect();
    return {
      x: ((event.clientX - frame.left) / frame.width) * this.width,
      y: ((event.clientY - frame.top) / frame.height) * this.height,
    };
  }

  // The array that the tool draws in, and what it writes there.
  target() {
    const filling = this.tools.tool === 'strokes' || (this.tools.tool === 'eraser' && this.hasStrokes());
    if (this.tools.tool === 'eraser') return filling ? [this.strokes, UNSET] : [this.ids, NO_DATA];
    return [filling ? this.strokes : this.ids, this.chosen];
  }

  hasStrokes() { return this.strokes.some((value) => value !== UNSET); }

  down(event) {
    if (!this.ready || event.button !== 0) return;
    event.preventDefault();
    this.stage.focus({ preventScroll: true });
    const point = this.at(event);
    if (this.tools.tool === 'polygon') {
      // The second click of a double click closes the polygon and is no corner of its own.
      if (event.detail < 2) this.points.push(point);
      this.draw();
      return;
    }
    if (this.tools.tool === 'strokes' && !this.hasStrokes() && this.ids.some((id) => id !== NO_DATA)) {
      this.say('Strokes fill the whole tile; u brings the mask back.');
    }
    this.canvas.setPointerCapture(event.pointerId);
    this.remember();
    this.last = point;
    this.stamp(point);
  }

  move(event) {
    if (!this.last) return;
    const events = event.getCoalescedEvents?.() ?? [];
    for (const one of events.length ? events : [event]) this.stamp(this.at(one));
  }

  stamp(point) {
    const [array, value] = this.target();
    stampLine(array, this.width, this.height, this.last, point, this.tools.size, value);
    this.last = point;
    this.draw();
  }

  up() {
    if (!this.last) return;
    this.last = undefined;
    if (this.target()[0] === this.strokes) this.fill();
    else this.save();
  }

  closePolygon() {
    if (this.points.length > 2) {
      this.remember();
      fillPolygon(this.ids, this.width, this.height, this.points, this.chosen);
      this.save();
    }
    this.points = [];
    this.draw();
  }

  remember() {
    this.undone.push([this.ids.slice(), this.strokes.slice()]);
    this.undone.splice(0, this.undone.length - MOST_UNDONE);
  }

  undo() {
    if (!this.ready) return;
    if (this.points.length) this.points.pop();
    else if (this.undone.length) {
      [this.ids, this.strokes] = this.undone.pop();
      this.save();
    }
    this.draw();
  }

  clear() {
    if (!this.ready) return;
    this.remember();
    this.ids.fill(NO_DATA);
    this.strokes.fill(UNSET);
    this.save();
    this.draw();
  }

  // Let the server fill the tile from the strokes, and save what comes back.
  fill() {
    const { name, strokes } = this;
    this.queue(async () => {
      const filled = await postBytes(`/api/fill?tile=${encodeURIComponent(name)}`, strokes.slice());
      const ids = new Uint8Array(await filled.arrayBuffer());
      if (this.name === name && this.strokes === strokes) {
        this.ids = ids;
        this.draw();
      }
      await this.write(name, ids);
    });
  }

  save() {
    const { name } = this;
    const ids = this.ids.slice();
    this.queue(() => this.write(name, ids));
  }

  queue(work) {
    this.pending += 1;
    this.say('saving');
    this.waiting = this.waiting.then(work).catch((refusal) => this.refused(refusal)).finally(() => {
      this.pending -= 1;
    });
  }

  async write(name, ids) {
    const query = new URLSearchParams({ tile: name, tag: this.tag, generation: this.survey.generation });
    const answer = await (await postBytes(`/api/mask?${query}`, ids)).json();
    this.tag = answer.tag;
    this.survey.byName.get(name).masked = true;
    if (this.pending === 1) this.say('saved');
  }

  refused(refusal) {
    if (refusal.status === 409) {
      // The other page's mask is shown; what was drawn here is one undo away.
      this.remember();
      this.open(true);
      this.say(`${refusal.message} u brings yours back.`, true);
    } else this.say(refusal.message, true);
  }

  compare({ tile, tag }) {
    const busy = this.pending || this.last || this.points.length || !this.ready;
    if (!busy && tile === this.name && tag !== undefined && tag !== this.tag) this.open(true);
  }

  keys(redraw) {
    const choose = (tool) => () => {
      this.tools.choose(tool);
      redraw();
    };
    return {
      0: () => {}, Backspace: () => {}, a: () => {},
      b: choose('brush'), p: choose('polygon'), s: choose('strokes'), e: choose('eraser'),
      n: () => { this.chooseClass(NO_DATA); redraw(); },
      u: () => this.undo(),
      '[': () => this.tools.resize(1 / 1.25),
      ']': () => this.tools.resize(1.25),
      '+': () => this.zoomBy(1.3),
      '=': () => this.zoomBy(1.3),
      '-': () => this.zoomBy(1 / 1.3),
      h: () => { this.tools.hidden = !this.tools.hidden; this.draw(); },
      Enter: () => (this.points.length ? this.closePolygon() : this.survey.step(1)),
      Escape: () => { this.points = []; this.draw(); },
    };
  }
}
