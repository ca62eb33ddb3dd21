// The tools above the drawing area: which one is on, its size, how the mask is shown.

const TOOLS = [
  ['brush', 'Brush', 'b'], ['polygon', 'Polygon', 'p'], ['strokes', 'Strokes that fill', 's'], ['eraser', 'Eraser', 'e'],
];

export class MaskTools {
  constructor(onChange) {
    this.tool = 'strokes';
    this.size = 5;
    this.opacity = 45;
    this.hidden = false;
    this.onChange = onChange;
    this.box = document.getElementById('tools');
    this.buttons = new Map(TOOLS.map(([name, text, key]) => [name, this.button(text, key, () => this.choose(name))]));
    this.noData = this.button('No data', 'n', () => this.onNoData());
    this.slider('Size', 1, 60, 'size');
    this.slider('Mask', 0, 100, 'opacity');
    this.button('Undo', 'u', () => this.onUndo());
    this.button('Clear', '', () => this.onClear());
    this.button('\u2212', '-', () => this.onZoom(1 / 1.3), 'Zoom out');
    this.button('+', '+', () => this.onZoom(1.3), 'Zoom in');
    this.mark();
  }

  button(text, key, act, label) {
    const made = document.createElement('button');
    made.type = 'button';
    made.textContent = text;
    if (key) made.title = `Key ${key}`;
    if (label) made.setAttribute('aria-label', label);
    made.addEventListener('click', act);
    this.box.append(made);
    return made;
  }

  slider(text, least, most, field) {
    const label = document.createElement('label');
    const input = document.createElement('input');
    Object.assign(input, { type: 'range', min: least, max: most, value: this[field] });
    input.addEventListener('input', () => {
      this[field] = Number(input.value);
      this.onChange();
    });
    label.append(text, input);
    this.box.append(label);
    this[`${field}Input`] = input;
  }

  choose(tool) {
    this.tool = tool;
    this.mark();
    this.onChange();
  }

  resize(by) {
    this.size = Math.max(1, Math.min(60, Math.round(this.size * by + Math.sign(by - 1))));
    this.sizeInput.value = this.size;
  }

  mark(noData = false) {
    for (const [name, button] of this.buttons) button.setAttribute('aria-pressed', name === this.tool);
    this.noData.setAttribute('aria-pressed', noData);
  }
}
