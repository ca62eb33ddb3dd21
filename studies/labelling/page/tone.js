// Contrast and gamma of all pictures, by one filter; they change what is seen and nothing else.

const STEP = 1.15;

export class Tone {
  constructor() {
    this.filter = document.getElementById('tone');
    this.reset();
  }

  reset() {
    this.contrast = 1;
    this.gamma = 1;
    this.apply();
  }

  change(contrast, gamma) {
    const bounded = (value) => Math.min(8, Math.max(1 / 8, value));
    this.contrast = bounded(this.contrast * STEP ** contrast);
    this.gamma = bounded(this.gamma * STEP ** gamma);
    this.apply();
  }

  apply() {
    for (const part of this.filter.querySelectorAll('.gamma > *')) part.setAttribute('exponent', 1 / this.gamma);
    for (const part of this.filter.querySelectorAll('.contrast > *')) {
      part.setAttribute('slope', this.contrast);
      part.setAttribute('intercept', 0.5 - this.contrast / 2);
    }
  }
}
