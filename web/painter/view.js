// How a label map is shown: the picture, the labels over it, the tool's outline; zoom and pan.

import { brushRows } from "./geometry.js";

const SMALLEST = 0.05, LARGEST = 64;

/** Draws a model on a canvas. Everything is redrawn in the next animation frame, once. */
export class View {
  constructor(canvas) {
    this.canvas = canvas;
    this.map = document.createElement("canvas");
    Object.assign(this, { model: null, picture: null, opacity: 0.6, outline: false, before: false, scale: 1, x: 0, y: 0 });
    this.cursor = null; // { x, y, size, shape } in pixels of the map
    this.path = null; // { points, closed } of the line or polygon being drawn
    this.box = null; // { x0, y0, x1, y1 } of the chosen part
    this.frames = 0;
    this.waiting = false;
  }

  setModel(model) {
    this.model = model;
    this.map.width = model.width;
    this.map.height = model.height;
    this.pixels = this.map.getContext("2d").createImageData(model.width, model.height);
    this.words = new Uint32Array(this.pixels.data.buffer);
    this.colour();
    this.fit();
  }

  /** The colours have changed, or which labels are hidden. */
  colour() {
    const { colours, hidden } = this.model, word = new Uint32Array(1), bytes = new Uint8Array(word.buffer);
    this.table = Uint32Array.from({ length: 256 }, (_, id) => {
      const [r, g, b] = colours[id] ?? [255, 0, 255];
      bytes.set(hidden.has(id) ? [0, 0, 0, 0] : [r, g, b, 255]);
      return word[0];
    });
    this.refresh();
  }

  /** The labels inside a rectangle have changed; without one, anywhere. */
  refresh(rect = null) {
    const { width, height, ids } = this.model, shown = this.before && this.model.base ? this.model.base : ids;
    const margin = this.outline ? 1 : 0;
    const { x0, y0, x1, y1 } = rect ?? { x0: 0, y0: 0, x1: width - 1, y1: height - 1 };
    const left = Math.max(0, x0 - margin), top = Math.max(0, y0 - margin);
    const right = Math.min(width - 1, x1 + margin), bottom = Math.min(height - 1, y1 + margin);
    for (let y = top; y <= bottom; y++) {
      for (let i = y * width + left, end = y * width + right; i <= end; i++) this.words[i] = this.table[shown[i]];
      if (this.outline) this.keepEdges(shown, y, left, right);
    }
    this.map.getContext("2d").putImageData(this.pixels, 0, 0, left, top, right - left + 1, bottom - top + 1);
    this.draw();
  }

  keepEdges(ids, y, left, right) {
    const { width, height } = this.model;
    for (let x = left; x <= right; x++) {
      const i = y * width + x, id = ids[i];
      const edge = (x > 0 && ids[i - 1] !== id) || (x < width - 1 && ids[i + 1] !== id) ||
        (y > 0 && ids[i - width] !== id) || (y < height - 1 && ids[i + width] !== id);
      if (!edge) this.words[i] = 0;
    }
  }

  /** The canvas takes the size of its place on the page, in real pixels. */
  resize(width, height) {
    if (width < 1 || height < 1 || (this.canvas.width === width && this.canvas.height === height)) return;
    this.canvas.width = width;
    this.canvas.height = height;
    this.fit();
  }

  fit() {
    if (!this.model) return;
    const { width, height } = this.canvas;
    this.scale = Math.min(width / this.model.width, height / this.model.height) * 0.98;
    this.x = (width - this.model.width * this.scale) / 2;
    this.y = (height - this.model.height * this.scale) / 2;
    this.draw();
  }

  zoom(factor, cx, cy) {
    const scale = Math.min(LARGEST, Math.max(SMALLEST, this.scale * factor));
    this.x = cx - ((cx - this.x) / this.scale) * scale;
    this.y = cy - ((cy - this.y) / this.scale) * scale;
    this.scale = scale;
    this.draw();
  }

  pan(dx, dy) {
    this.x += dx;
    this.y += dy;
    this.draw();
  }

  /** Where an event happened on the canvas; the page may have scaled the element. */
  onCanvas(event) {
    const rect = this.canvas.getBoundingClientRect();
    return [((event.clientX - rect.left) / rect.width) * this.canvas.width,
      ((event.clientY - rect.top) / rect.height) * this.canvas.height];
  }

  /** Where it happened on the map, in pixels with fractions. */
  onMap(event) {
    const [cx, cy] = this.onCanvas(event);
    return [(cx - this.x) / this.scale, (cy - this.y) / this.scale];
  }

  draw() {
    if (this.waiting) return;
    this.waiting = true;
    requestAnimationFrame(() => {
      this.waiting = false;
      this.frames++;
      this.paint();
    });
  }

  paint() {
    const { canvas, model } = this, g = canvas.getContext("2d");
    g.setTransform(1, 0, 0, 1, 0, 0);
    g.clearRect(0, 0, canvas.width, canvas.height);
    if (!model) return;
    g.setTransform(this.scale, 0, 0, this.scale, this.x, this.y);
    g.imageSmoothingEnabled = false;
    if (this.picture) g.drawImage(this.picture, 0, 0, model.width, model.height);
    g.globalAlpha = this.picture ? this.opacity : 1;
    g.drawImage(this.map, 0, 0);
    g.globalAlpha = 1;
    this.marks(g);
  }

  marks(g) {
    const line = (draw) => {
      for (const [colour, width] of [["#000", 3], ["#fff", 1]]) {
        g.strokeStyle = colour;
        g.lineWidth = width / this.scale;
        g.beginPath();
        draw();
        g.stroke();
      }
    };
    if (this.cursor) {
      const { x, y, size, shape } = this.cursor, rows = brushRows(size, shape);
      const low = rows[0][0];
      line(() => (shape === "square" ? g.rect(x + low, y + low, size, size)
        : g.arc(x + low + size / 2, y + low + size / 2, size / 2, 0, 2 * Math.PI)));
    }
    if (this.path) line(() => this.path.forEach(([x, y], i) => (i ? g.lineTo(x, y) : g.moveTo(x, y))));
    if (this.box) line(() => g.rect(this.box.x0, this.box.y0, this.box.x1 - this.box.x0 + 1, this.box.y1 - this.box.y0 + 1));
  }
}
