// Pixels of shapes, aliased: a pixel belongs to a shape or not.

/** The rows of a brush of so many pixels across, relative to its centre: [dy, first dx, last dx]. */
export function brushRows(size, shape) {
  const low = -Math.floor((size - 1) / 2), rows = [];
  for (let k = 0; k < size; k++) {
    const dy = low + k;
    if (shape === "square") {
      rows.push([dy, low, low + size - 1]);
      continue;
    }
    const v = k + 0.5 - size / 2, half = Math.sqrt(Math.max((size / 2) ** 2 - v * v, 0));
    const from = Math.ceil(size / 2 - half - 0.5), to = Math.floor(size / 2 + half - 0.5);
    if (from <= to) rows.push([dy, low + from, low + to]);
  }
  return rows;
}

/** The pixels of a straight line, each once, from end to end (Bresenham). */
export function linePoints(x0, y0, x1, y1) {
  const points = [], dx = Math.abs(x1 - x0), dy = -Math.abs(y1 - y0);
  const sx = x0 < x1 ? 1 : -1, sy = y0 < y1 ? 1 : -1;
  for (let error = dx + dy; ; ) {
    points.push([x0, y0]);
    if (x0 === x1 && y0 === y1) return points;
    const twice = 2 * error;
    if (twice >= dy) {
      error += dy;
      x0 += sx;
    }
    if (twice <= dx) {
      error += dx;
      y0 += sy;
    }
  }
}

/** Call paint(x, y) for the pixels whose centre lies inside a polygon [[x, y], ...] (even-odd), in pixel coordinates. */
export function fillPolygon(points, width, height, paint) {
  const ys = points.map(([, y]) => y);
  const top = Math.max(0, Math.floor(Math.min(...ys))), bottom = Math.min(height - 1, Math.ceil(Math.max(...ys)));
  for (let y = top; y <= bottom; y++) {
    const centre = y + 0.5, crossings = [];
    points.forEach(([xa, ya], i) => {
      const [xb, yb] = points[(i + 1) % points.length];
      if (ya <= centre !== yb <= centre) crossings.push(xa + ((centre - ya) / (yb - ya)) * (xb - xa));
    });
    crossings.sort((a, b) => a - b);
    for (let k = 0; k + 1 < crossings.length; k += 2) {
      const from = Math.max(0, Math.ceil(crossings[k] - 0.5)), to = Math.min(width - 1, Math.ceil(crossings[k + 1] - 0.5) - 1);
      for (let x = from; x <= to; x++) paint(x, y);
    }
  }
}

/** The pixels that have the label of (x, y): { label, mask, rect }. */
export function partPixels(ids, width, height, x, y, contiguous) {
  const start = y * width + x, label = ids[start], mask = new Uint8Array(ids.length);
  if (contiguous) flood(ids, width, height, start, mask);
  else for (let i = 0; i < ids.length; i++) mask[i] = ids[i] === label;
  const rect = { x0: width, y0: height, x1: -1, y1: -1 };
  for (let i = 0; i < mask.length; i++) {
    if (!mask[i]) continue;
    const px = i % width, py = (i - px) / width;
    rect.x0 = Math.min(rect.x0, px);
    rect.x1 = Math.max(rect.x1, px);
    rect.y0 = Math.min(rect.y0, py);
    rect.y1 = py;
  }
  return { label, mask, rect };
}

function flood(ids, width, height, start, mask) {
  const label = ids[start], stack = [start];
  mask[start] = 1;
  const visit = (i) => {
    if (!mask[i] && ids[i] === label) {
      mask[i] = 1;
      stack.push(i);
    }
  };
  while (stack.length) {
    const i = stack.pop(), x = i % width;
    if (x > 0) visit(i - 1);
    if (x < width - 1) visit(i + 1);
    if (i >= width) visit(i - width);
    if (i + width < ids.length) visit(i + width);
  }
}

/** For the pixels of a mask, the label of the nearest pixel outside of it (steps along rows and columns); 0 if there is none. */
export function nearestOther(ids, mask, width, height) {
  const out = new Uint8Array(ids.length), seen = Uint8Array.from(mask, (m) => (m ? 0 : 1));
  let front = [];
  const around = (i) => {
    const x = i % width, list = [];
    if (x > 0) list.push(i - 1);
    if (x < width - 1) list.push(i + 1);
    if (i >= width) list.push(i - width);
    if (i + width < width * height) list.push(i + width);
    return list;
  };
  for (let i = 0; i < ids.length; i++) {
    if (!mask[i]) continue;
    for (const j of around(i)) {
      if (mask[j] || seen[j] === 2) continue;
      seen[j] = 2;
      out[j] = ids[j];
      front.push(j);
    }
  }
  while (front.length) {
    const next = [];
    for (const i of front) {
      for (const j of around(i)) {
        if (seen[j]) continue;
        seen[j] = 1;
        out[j] = out[i];
        next.push(j);
      }
    }
    front = next;
  }
  return out;
}
