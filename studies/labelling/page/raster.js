// Shapes in an array of class ids, row by row; `value` goes to every pixel of the shape.

// A round brush of `size` pixels, drawn from one point to another.
export function stampLine(ids, width, height, from, to, size, value) {
  const steps = Math.max(1, Math.ceil(Math.hypot(to.x - from.x, to.y - from.y)));
  for (let n = 0; n <= steps; n += 1) {
    const x = from.x + ((to.x - from.x) * n) / steps;
    const y = from.y + ((to.y - from.y) * n) / steps;
    stamp(ids, width, height, x, y, size / 2, value);
  }
}

function stamp(ids, width, height, x, y, radius, value) {
  const reach = Math.max(radius, 0.5);
  for (let row = Math.max(0, Math.floor(y - reach)); row <= Math.min(height - 1, Math.floor(y + reach)); row += 1) {
    for (let column = Math.max(0, Math.floor(x - reach)); column <= Math.min(width - 1, Math.floor(x + reach)); column += 1) {
      const inside = (column + 0.5 - x) ** 2 + (row + 0.5 - y) ** 2 <= reach ** 2;
      if (inside || (row === Math.floor(y) && column === Math.floor(x))) ids[row * width + column] = value;
    }
  }
}

// The inside of a polygon, by the even-odd rule at the middle of each pixel.
export function fillPolygon(ids, width, height, points, value) {
  for (let row = 0; row < height; row += 1) {
    const y = row + 0.5;
    const crossings = [];
    points.forEach((a, n) => {
      const b = points[(n + 1) % points.length];
      if ((a.y <= y) !== (b.y <= y)) crossings.push(a.x + ((y - a.y) / (b.y - a.y)) * (b.x - a.x));
    });
    crossings.sort((a, b) => a - b);
    for (let n = 0; n + 1 < crossings.length; n += 2) {
      const first = Math.max(0, Math.ceil(crossings[n] - 0.5));
      const last = Math.min(width - 1, Math.ceil(crossings[n + 1] - 0.5) - 1);
      if (first <= last) ids.fill(value, row * width + first, row * width + last + 1);
    }
  }
}

// Class ids as colours over the picture: the mask see-through, strokes opaque.
export function paint(target, ids, strokes, colours, opacity) {
  const pixels = target.data;
  for (let n = 0; n < ids.length; n += 1) {
    const stroke = strokes[n];
    const id = stroke >= 0 ? stroke : ids[n];
    const colour = colours[id];
    const at = n * 4;
    if (colour) {
      [pixels[at], pixels[at + 1], pixels[at + 2]] = colour;
      pixels[at + 3] = stroke >= 0 ? 255 : opacity;
    } else {
      pixels[at] = pixels[at + 1] = pixels[at + 2] = 224;
      pixels[at + 3] = stroke >= 0 ? 255 : 0;
    }
  }
}
