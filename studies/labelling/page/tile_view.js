// One tile, large, with its neighbours of the strip at both sides.

import { pictureOf, thumbnailOf } from './api.js';

const BESIDE = 3;

export class TileView {
  constructor(survey) {
    this.survey = survey;
    this.strip = document.getElementById('strip');
    this.name = document.getElementById('tile-name');
    this.sides = [];
    for (const label of ['Tiles before', null, 'Tiles after']) {
      const box = document.createElement('div');
      box.className = label ? 'side' : 'middle';
      if (label) {
        box.setAttribute('role', 'group');
        box.setAttribute('aria-label', label);
      }
      this.strip.append(box);
      this.sides.push(box);
    }
    this.picture = document.createElement('img');
    this.sides[1].append(this.picture);
    this.ahead = [];
  }

  draw() {
    const { survey } = this;
    const { tile } = survey;
    if (!tile) return;
    const address = pictureOf(tile.name);
    if (!this.picture.src.endsWith(address)) this.picture.src = address;
    this.picture.alt = `Tile ${tile.name}`;
    const where = [tile.strip && `strip ${tile.strip}`, tile.split].filter(Boolean).join(', ');
    this.name.textContent = `${tile.name}${where ? ` (${where})` : ''}, ${tile.index + 1} of ${survey.tiles.length}`;
    const [before, after] = this.neighbours(tile);
    this.fill(this.sides[0], before);
    this.fill(this.sides[2], after);
    // The next tiles are loaded while a person looks at this one.
    this.ahead = survey.tiles.slice(tile.index + 1, tile.index + 4).map((next) => {
      const picture = new Image();
      picture.src = pictureOf(next.name);
      return picture;
    });
  }

  neighbours(tile) {
    const { tiles } = this.survey;
    const beside = (step) => {
      const found = [];
      for (let n = tile.index + step; n >= 0 && n < tiles.length && found.length < BESIDE; n += step) {
        if (tiles[n].strip === tile.strip) found.push(tiles[n]);
        else if (Math.abs(n - tile.index) > 500) break;
      }
      return found;
    };
    return [beside(-1).reverse(), beside(1)];
  }

  fill(box, tiles) {
    box.replaceChildren(...tiles.map((tile) => {
      const button = document.createElement('button');
      button.type = 'button';
      button.title = tile.name;
      const picture = document.createElement('img');
      picture.src = thumbnailOf(tile.name);
      picture.alt = '';
      const name = document.createElement('span');
      name.textContent = tile.name;
      button.append(picture, name);
      button.addEventListener('click', () => this.survey.open(tile.index));
      return button;
    }));
  }
}
