// What is painted: one label per pixel over a base, with undo. No DOM here.

import { brushRows, fillPolygon, linePoints, nearestOther, partPixels } from "./geometry.js";

export const UNDO_STEPS = 100;

/**
 * A label map being painted.
 * ids: the label of every pixel, what is shown. codes: 0 where the base shows through, else label + 1.
 * Every change happens inside `edit`, or between `begin` and `commit`, and is one step of undo.
 */
export class LabelModel {
  /** base: Uint8Array of width * height labels, or null for a blank map of label 0. */
  constructor(width, height, { names, colours }, base = null, baseHash = "") {
    Object.assign(this, { width, height, names, colours, base, baseHash });
    this.codes = new Uint16Array(width * height).fill(base ? 0 : 1);
    this.ids = base ? Uint8Array.from(base) : new Uint8Array(width * height);
    this.locked = new Set();
    this.hidden = new Set();
    this.changed = 0;
    this.done = [];
    this.undone = [];
    this.open = null;
  }

  /** The map of a drawing (see codec.js) on its base, or on another of the same size. */
  static fromDrawing(drawing, base = null, baseHash = "") {
    const model = new LabelModel(drawing.width, drawing.height, drawing, base, baseHash);
    if (base) model.codes.set(drawing.codes);
    else model.codes = Uint16Array.from(drawing.codes, (code) => Math.max(code, 1));
    model.refresh();
    return model;
  }

  drawing() {
    const { width, height, names, colours, codes } = this;
    return { width, height, names, colours, codes, base: this.base ? this.baseHash : "" };
  }

  baseId(i) {
    return this.base ? this.base[i] : 0;
  }

  /** ids and the count of changed pixels, from the codes. */
  refresh() {
    this.changed = 0;
    for (let i = 0; i < this.codes.length; i++) {
      this.ids[i] = this.codes[i] ? this.codes[i] - 1 : this.baseId(i);
      this.changed += this.ids[i] !== this.baseId(i);
    }
  }

  /** The labels that differ from the base somewhere, before or after: what an edit is about. */
  editedLabels() {
    const found = new Set();
    for (let i = 0; i < this.ids.length; i++) {
      if (this.ids[i] !== this.baseId(i)) found.add(this.ids[i]).add(this.baseId(i));
    }
    return [...found].sort((a, b) => a - b);
  }

  /** Give a pixel a code; false for one whose label is locked, or that lies outside. */
  set(x, y, code) {
    if (x < 0 || y < 0 || x >= this.width || y >= this.height) return false;
    const i = y * this.width + x;
    if (this.locked.has(this.ids[i])) return false;
    if (this.codes[i] === code) return true;
    const base = this.baseId(i), before = this.ids[i], after = code ? code - 1 : base;
    this.codes[i] = code;
    this.ids[i] = after;
    this.changed += (after !== base) - (before !== base);
    const open = this.open;
    if (x < open.x0) open.x0 = x;
    if (x > open.x1) open.x1 = x;
    if (y < open.y0) open.y0 = y;
    if (y > open.y1) open.y1 = y;
    return true;
  }

  /** The code that paints a label; label null erases to the base. */
  code(label) {
    return label === null ? (this.base ? 0 : 1) : label + 1;
  }

  begin() {
    this.open = { x0: Infinity, y0: Infinity, x1: -1, y1: -1, before: this.codes.slice() };
  }

  /** The rectangle touched since `begin` (or the last call), for redrawing; null when there is none. */
  touched() {
    const { x0, y0, x1, y1 } = this.open;
    return x1 < 0 ? null : { x0, y0, x1, y1 };
  }

  /** Everything as it was at `begin`, which stays open. */
  restart() {
    this.codes.set(this.open.before);
    this.refresh();
  }

  /** End a step. Returns the rectangle that changed, or null; then it is no step of undo. */
  commit() {
    const open = this.open;
    this.open = null;
    const rect = open.x1 < 0 ? null : shrunk(open.before, this.codes, this.width, open);
    if (rect === null) return null;
    const before = packed(cut(open.before, this.width, rect)), after = packed(cut(this.codes, this.width, rect));
    this.done.push({ rect, before, after });
    if (this.done.length > UNDO_STEPS) this.done.shift();
    this.undone = [];
    return rect;
  }

  edit(change) {
    this.begin();
    change();
    return this.commit();
  }

  undo() {
    return this.replay(this.done, this.undone, "before");
  }

  redo() {
    return this.replay(this.undone, this.done, "after");
  }

  replay(from, to, which) {
    const step = from.pop();
    if (!step) return null;
    paste(this.codes, this.width, step.rect, step[which]);
    this.refresh();
    to.push(step);
    return step.rect;
  }

  // Tools. Each belongs between begin and commit.

  /** A stroke of the brush from one pixel to another. brush: { size in pixels, shape 'round' | 'square' }. */
  stroke(x0, y0, x1, y1, brush, label) {
    const rows = brushRows(brush.size, brush.shape), code = this.code(label);
    for (const [x, y] of linePoints(x0, y0, x1, y1)) {
      for (const [dy, from, to] of rows) for (let dx = from; dx <= to; dx++) this.set(x + dx, y + dy, code);
    }
  }

  polygon(points, label) {
    const code = this.code(label);
    fillPolygon(points, this.width, this.height, (x, y) => this.set(x, y, code));
  }

  /** The area of one label around a pixel, or every pixel of that label. */
  fill(x, y, label, { contiguous = true } = {}) {
    const { mask } = this.part(x, y, { contiguous }), code = this.code(label);
    mask.forEach((inside, i) => inside && this.set(i % this.width, Math.floor(i / this.width), code));
  }

  pick(x, y) {
    return this.ids[y * this.width + x];
  }

  /** The pixels of the label at (x, y): { label, mask Uint8Array, rect }. contiguous: only those that hang together. */
  part(x, y, { contiguous = true } = {}) {
    return partPixels(this.ids, this.width, this.height, x, y, contiguous);
  }

  /**
   * Move, scale and mirror a part about its centre. What it leaves takes the nearest other label, as Transform Label Region
   * has it; a locked label keeps its pixels.
   */
  transform(part, { dx = 0, dy = 0, scaleX = 1, scaleY = 1, flipX = false, flipY = false }) {
    const { width, height } = this, { mask, rect, label } = part;
    if (this.locked.has(label)) return;
    const others = nearestOther(this.ids, mask, width, height);
    mask.forEach((inside, i) => inside && this.set(i % width, Math.floor(i / width), others[i] + 1));
    const cx = (rect.x0 + rect.x1 + 1) / 2, cy = (rect.y0 + rect.y1 + 1) / 2;
    const halfX = ((rect.x1 + 1 - rect.x0) / 2) * scaleX, halfY = ((rect.y1 + 1 - rect.y0) / 2) * scaleY;
    for (let y = Math.floor(cy + dy - halfY); y < cy + dy + halfY; y++) {
      for (let x = Math.floor(cx + dx - halfX); x < cx + dx + halfX; x++) {
        const u = Math.floor(cx + ((x + 0.5 - cx - dx) / scaleX) * (flipX ? -1 : 1));
        const v = Math.floor(cy + ((y + 0.5 - cy - dy) / scaleY) * (flipY ? -1 : 1));
        if (u >= 0 && v >= 0 && u < width && v < height && mask[v * width + u]) this.set(x, y, label + 1);
      }
    }
  }

  /** Everything as it is in the base. */
  clear() {
    for (let i = 0; i < this.codes.length; i++) this.set(i % this.width, Math.floor(i / this.width), this.code(null));
  }

  /** Paint a whole map of labels; where it is as the base, the base shows through. */
  paste(ids) {
    for (let i = 0; i < ids.length; i++) {
      this.set(i % this.width, Math.floor(i / this.width), this.base && ids[i] === this.base[i] ? 0 : ids[i] + 1);
    }
  }
}

function shrunk(before, after, width, rect) {
  let x0 = Infinity, y0 = Infinity, x1 = -1, y1 = -1;
  for (let y = rect.y0; y <= rect.y1; y++) {
    for (let x = rect.x0; x <= rect.x1; x++) {
      if (before[y * width + x] === after[y * width + x]) continue;
      x0 = Math.min(x0, x);
      x1 = Math.max(x1, x);
      y0 = Math.min(y0, y);
      y1 = y;
    }
  }
  return x1 < 0 ? null : { x0, y0, x1, y1 };
}

function cut(codes, width, { x0, y0, x1, y1 }) {
  const size = x1 - x0 + 1, out = new Uint16Array(size * (y1 - y0 + 1));
  for (let y = y0; y <= y1; y++) out.set(codes.subarray(y * width + x0, y * width + x1 + 1), (y - y0) * size);
  return out;
}

/** Runs of equal codes, so that a hundred steps on a large map take little memory. */
function packed(codes) {
  const runs = [];
  for (let i = 0; i < codes.length; ) {
    let end = i + 1;
    while (end < codes.length && codes[end] === codes[i]) end++;
    runs.push(codes[i], end - i);
    i = end;
  }
  return Uint32Array.from(runs);
}

function paste(codes, width, { x0, y0, x1 }, runs) {
  const size = x1 - x0 + 1;
  let i = 0;
  for (let k = 0; k < runs.length; k += 2) {
    for (const end = i + runs[k + 1]; i < end; i++) codes[(y0 + Math.floor(i / size)) * width + x0 + (i % size)] = runs[k];
  }
}
