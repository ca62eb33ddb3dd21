// The classes: buttons that set them, and the dialog that adds, renames and merges them.

import { post } from './api.js';

export class ClassPanel {
  constructor(survey, choose) {
    this.survey = survey;
    this.box = document.getElementById('classes');
    this.choose = choose;
    this.dialog = document.getElementById('class-dialog');
    this.error = document.getElementById('class-error');
    const field = (id) => document.getElementById(id);
    this.which = field('which-class');
    this.into = field('into-class');
    field('edit-classes').addEventListener('click', () => this.openDialog());
    field('add-class').addEventListener('click', () => this.send({ what: 'add', name: field('new-class').value }));
    field('new-class').addEventListener('keydown', (event) => {
      if (event.key !== 'Enter') return;
      event.preventDefault();
      field('add-class').click();
    });
    field('rename-class').addEventListener('click', () => this.send({
      what: 'rename', index: Number(this.which.value), name: field('new-name').value,
    }));
    field('merge-class').addEventListener('click', () => this.send({
      what: 'merge', index: Number(this.which.value), into: Number(this.into.value),
    }));
  }

  // `pressed` tells of a class whether its button is down.
  draw(pressed) {
    if (this.box.children.length !== this.survey.classes.length || this.names !== this.key()) this.make();
    [...this.box.children].forEach((button, index) => button.setAttribute('aria-pressed', pressed(index)));
  }

  key() { return JSON.stringify(this.survey.classes); }

  make() {
    this.names = this.key();
    this.box.replaceChildren(...this.survey.classes.map((row, index) => {
      const button = document.createElement('button');
      button.type = 'button';
      const swatch = document.createElement('span');
      swatch.className = 'swatch';
      swatch.style.background = row.colour;
      const name = document.createElement('span');
      name.textContent = row.labelled ? row.name : `${row.name} (background)`;
      button.append(swatch, name);
      if (index < 18) {
        const key = document.createElement('kbd');
        key.textContent = index < 9 ? index + 1 : `Shift ${index - 8}`;
        button.append(key);
      }
      button.addEventListener('click', () => this.choose(index));
      return button;
    }));
  }

  openDialog() {
    this.error.textContent = '';
    this.options();
    this.dialog.showModal();
  }

  options() {
    for (const select of [this.which, this.into]) {
      select.replaceChildren(...this.survey.classes.map((row, index) => new Option(row.name, index)));
    }
    if (this.survey.classes.length > 1) this.into.value = '1';
  }

  async send(content) {
    const { survey } = this;
    try {
      await survey.waiting;
      await post('/api/classes', { ...content, generation: survey.generation });
      await survey.load();
      this.error.textContent = '';
      document.getElementById('new-class').value = '';
      document.getElementById('new-name').value = '';
    } catch (refusal) {
      if (refusal.status === 409) await survey.load();
      this.error.textContent = refusal.message;
    }
    this.options();
  }
}
