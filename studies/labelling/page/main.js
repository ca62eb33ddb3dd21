// Puts the views together: header, keys, and which view is open.

import { ClassPanel } from './class_panel.js';
import { GridView } from './grid_view.js';
import { MaskView } from './mask_view.js';
import { Survey } from './survey.js';
import { TileView } from './tile_view.js';
import { Tone } from './tone.js';

const KEYS = {
  tile: [['1-9', 'a class on or off'], ['0', 'no class'], ['Enter', 'next tile without labels'], ['\u2190 \u2192', 'tile before, after'],
    ['u', 'undo'], ['Backspace', 'not labelled'], ['a s', 'contrast'], ['d f', 'gamma'], ['x', 'both back'], ['g m', 'grid, mask']],
  grid: [['arrows', 'move'], ['Space', 'select'], ['Shift arrows', 'select more'], ['Ctrl a', 'select all'], ['Esc', 'select none'],
    ['1-9', 'a class on or off'], ['0', 'no class'], ['u', 'undo'], ['Enter', 'open the tile'], ['t m', 'tile, mask']],
  mask: [['1-9', 'class to draw'], ['n', 'no data'], ['b p', 'brush, polygon'], ['s', 'strokes that fill'], ['e', 'eraser'],
    ['[ ]', 'size'], ['Enter', 'close polygon, next tile'], ['Esc', 'drop polygon'], ['u', 'undo'], ['+ -', 'zoom'],
    ['h', 'hide the mask'], ['d f', 'gamma'], ['t g', 'tile, grid']],
};

// A token in the address would stay in the history.
if (location.search) history.replaceState(null, '', '/');

const find = (id) => document.getElementById(id);
const survey = new Survey();
const tone = new Tone();
const tileView = new TileView(survey);
const gridView = new GridView(survey);
const maskView = new MaskView(survey, say);
const panel = new ClassPanel(survey, (index) => chooseClass(index));
let view = 'tile';

function chosenTiles() {
  return view === 'grid' ? gridView.chosen : [survey.tile].filter(Boolean);
}

function chooseClass(index) {
  if (view === 'mask') {
    maskView.chooseClass(index);
    draw();
    return;
  }
  if (!survey.classes[index]) return;
  if (!survey.classes[index].labelled) say(`${survey.classes[index].name} is the background: no label speaks of it.`);
  survey.toggle(chosenTiles(), index);
}

function say(sentence, wrong = false) {
  const status = find('status');
  status.textContent = sentence;
  status.classList.toggle('wrong', wrong);
}

function drawProgress() {
  const { labelled } = survey;
  const total = survey.tiles.length;
  find('bar').max = Math.max(1, total);
  find('bar').value = labelled;
  const left = survey.secondsLeft();
  const minutes = left === undefined || labelled === total ? '' : left < 90 ? `, ${Math.ceil(left)} s left`
    : `, about ${Math.round(left / 60)} min left`;
  find('progress').textContent = `${labelled} of ${total} labelled${minutes}`;
}

function drawFilter() {
  const splits = ['train', 'val', 'test'].filter((split) => survey.tiles.some((tile) => tile.split === split));
  const rows = [['all', 'all tiles'], ['blank', 'not labelled'], ['unmasked', 'without a mask'],
    ...splits.map((split) => [`split:${split}`, `${split} tiles`]),
    ...survey.classes.map((row, index) => [`class:${index}`, row.name]).filter((_, n) => survey.classes[n].labelled)];
  find('filter').replaceChildren(...rows.map(([value, text]) => new Option(text, value)));
  find('filter').value = survey.filter;
}

function draw() {
  if (view === 'tile') tileView.draw();
  if (view === 'grid') gridView.draw();
  if (view === 'mask') maskView.open();
  const tiles = view === 'mask' ? [] : chosenTiles();
  if (view === 'mask') panel.draw((index) => index === maskView.chosen);
  else panel.draw((index) => tiles.length > 0 && tiles.every((tile) => tile.shown[index] === '1'));
  drawProgress();
}

function show(name) {
  view = name;
  for (const section of document.querySelectorAll('main > section')) section.hidden = section.id !== name;
  for (const button of document.querySelectorAll('[data-view]')) {
    button.setAttribute('aria-current', button.dataset.view === name);
  }
  find('keys').replaceChildren(...KEYS[name].flatMap(([keys, what]) => {
    const term = document.createElement('dt');
    term.append(...keys.split(' ').map((text) => Object.assign(document.createElement('kbd'), { textContent: text })));
    const meaning = Object.assign(document.createElement('dd'), { textContent: what });
    return [term, meaning];
  }));
  if (name === 'grid') {
    gridView.refresh();
    find('scroller').focus();
  }
  draw();
}

// Class that a key means: the digits, with Shift from the tenth on; -1 if none.
function classOf(event) {
  const digit = /^(?:Digit|Numpad)([1-9])$/.exec(event.code)?.[1];
  return digit ? Number(digit) - 1 + (event.shiftKey ? 9 : 0) : -1;
}

function key(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || find('class-dialog').open) return;
  if (event.target.matches('input, select')) return;
  if (event.key === 'Enter' && event.target.matches('button')) return;
  const tiles = chosenTiles();
  const index = classOf(event);
  const actions = {
    0: () => survey.change(tiles.map((tile) => [tile, survey.blankRow()])),
    Backspace: () => survey.change(tiles.map((tile) => [tile, ''])),
    Enter: () => (view === 'grid' ? openActive() : survey.nextBlank()),
    ArrowRight: () => survey.step(1),
    ArrowLeft: () => survey.step(-1),
    u: () => survey.undo(),
    a: () => tone.change(-1, 0),
    s: () => tone.change(1, 0),
    d: () => tone.change(0, -1),
    f: () => tone.change(0, 1),
    x: () => tone.reset(),
    t: () => show('tile'),
    g: () => show('grid'),
    m: () => show('mask'),
    ...(view === 'mask' ? maskView.keys(draw) : {}),
  };
  if (index >= 0) chooseClass(index);
  else if (actions[event.key]) actions[event.key]();
  else return;
  event.preventDefault();
}

function openActive() {
  const index = survey.shownList[gridView.active];
  show('tile');
  survey.open(index);
}

survey.addEventListener('loaded', () => {
  find('survey').textContent = survey.name;
  document.title = `${survey.name} - labels`;
  drawFilter();
  gridView.refresh();
  draw();
  if (!survey.classes.length) say('There is no class yet: add the first one with "Change classes".', true);
});
survey.addEventListener('filtered', () => gridView.refresh());
survey.addEventListener('opened', draw);
survey.addEventListener('changed', draw);
survey.addEventListener('saving', () => say('saving'));
survey.addEventListener('saved', () => say('saved'));
survey.addEventListener('refused', (event) => say(event.detail.message, true));
let lost = false;
survey.addEventListener('refused', (event) => { lost = [0, 401].includes(event.detail.status); });
survey.addEventListener('reached', () => {
  if (lost) say('the server answers again');
  lost = false;
});
find('filter').addEventListener('change', (event) => {
  survey.applyFilter(event.target.value);
  if (survey.shownList.length && !survey.shownList.includes(survey.current)) survey.open(survey.shownList[0]);
  event.target.blur();
});
find('cells').addEventListener('click', draw);
find('scroller').addEventListener('keyup', draw);
for (const button of document.querySelectorAll('[data-view]')) {
  button.addEventListener('click', () => show(button.dataset.view));
}
document.addEventListener('keydown', key);

try {
  await survey.load();
  show('tile');
  document.documentElement.dataset.drawn = 'yes';
  setTimeout(() => survey.poll(), 500);
} catch (refusal) {
  say(refusal.message, true);
}
