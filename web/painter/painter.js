// The painter as an element: model, view, controls, pointer and keys. It knows nothing of ComfyUI.

import { decodeDrawing, encodeDrawing } from "./codec.js";
import { element, palette, STYLE, toolbar } from "./controls.js";
import { defaultPalette, LabelError, sameNames } from "./labels.js";
import { LabelModel } from "./model.js";
import { decodePng, encodePng } from "./png.js";
import { View } from "./view.js";

const KEYS = { b: "brush", l: "line", p: "polygon", f: "fill", i: "pick", m: "move", e: "erase" };
const LARGEST_BRUSH = 512, GROWTH = 1.1;

export class Painter {
  /** blank(): { names, width, height } of the map where there is none underneath. onChange(): the value has changed. */
  constructor({ blank, onChange }) {
    Object.assign(this, { blank, onChange, base: null, drawing: null, text: "", pending: Promise.resolve() });
    this.state = { tool: "brush", size: 8, shape: "round", opacity: 0.6, outline: false, label: 1 };
    this.pointers = new Map();
    this.stroke = null;
    this.build();
    this.reset();
  }

  build() {
    this.bar = toolbar(this.actions());
    this.list = palette({ choose: (id) => this.choose(id), hide: (id) => this.toggle("hidden", id), lock: (id) => this.toggle("locked", id) });
    this.canvas = element("canvas");
    this.keys = element("textarea", { className: "keys", readOnly: true, ariaLabel: "Keys of the label painter" });
    this.count = element("span", { className: "count" });
    this.message = element("span", { className: "message" });
    const stage = element("div", { className: "stage" }, this.canvas, this.keys);
    stage.dataset.captureWheel = "true"; // Nodes 2.0 leaves the wheel to it while it has the focus
    this.root = element("div", { className: "atelier-painter" }, element("style", { textContent: STYLE }), this.bar.root,
      element("div", { className: "body" }, stage, this.list.root), element("div", { className: "status" }, this.count, this.message));
    this.view = new View(this.canvas);
    const fit = () => this.view.resize(Math.round(stage.clientWidth * devicePixelRatio), Math.round(stage.clientHeight * devicePixelRatio));
    this.watcher = new ResizeObserver(fit);
    this.watcher.observe(stage);
    const listen = (target, table) => Object.entries(table).forEach(([name, run]) => target.addEventListener(name, (event) => run.call(this, event)));
    listen(this.canvas, { pointerdown: this.down, pointermove: this.move, pointerup: this.up, pointercancel: this.up,
      pointerleave: this.leave, wheel: this.wheel, dblclick: this.closePolygon });
    listen(this.keys, { keydown: this.keyDown, keyup: this.keyUp, blur: () => this.actions().before(false) });
    for (const name of ["pointerdown", "pointermove", "pointerup", "wheel", "contextmenu", "dblclick", "mousedown"]) {
      this.root.addEventListener(name, (event) => event.stopPropagation());
    }
    this.canvas.addEventListener("contextmenu", (event) => event.preventDefault());
  }

  destroy() {
    this.watcher.disconnect();
  }

  // Value and base.

  /** What is saved; the drawing that it encodes may still be under way, see `settled`. */
  get value() {
    return this.text;
  }

  /** The value once everything that was painted is in it. */
  async settled() {
    await this.pending;
    return this.text;
  }

  /** A saved drawing. A text that is none is said, and kept until something is painted. */
  setValue(text) {
    this.text = text ?? "";
    this.pending = (async () => {
      try {
        this.drawing = this.text ? await decodeDrawing(this.text) : null;
        this.say("");
      } catch (error) {
        if (!(error instanceof LabelError)) throw error;
        this.drawing = null;
        this.say(error.message);
        return;
      }
      this.reset();
    })();
    return this.pending;
  }

  /** What is underneath: { drawing, hash, connected } as the node sends it, and a picture. */
  async setBase({ base, hash, connected }, picture) {
    await this.pending;
    const map = await decodeDrawing(base);
    const ids = Uint8Array.from(map.codes, (code) => code - 1);
    this.base = connected ? { ...map, ids, hash } : null;
    this.view.picture = picture;
    if (this.model && this.text) this.drawing = this.model.drawing();
    this.reset();
  }

  /** The model anew, from what is known: the base, and the drawing on it. */
  reset() {
    const { base, drawing } = this;
    const fits = base && drawing && base.width === drawing.width && base.height === drawing.height && sameNames(base.names, drawing.names);
    if (fits) {
      this.model = LabelModel.fromDrawing(drawing, base.ids, drawing.base || base.hash);
      if (drawing.base !== base.hash) this.say("The map underneath is another one than was painted on.");
    } else if (drawing && (drawing.base || !base)) {
      const unknown = drawing.base ? new Uint8Array(drawing.width * drawing.height) : null;
      this.model = LabelModel.fromDrawing(drawing, unknown, drawing.base);
      if (drawing.base) this.say(base ? "The drawing was made on a map of other size or parts." : "Run once to see the map underneath.");
    } else if (base) {
      this.model = new LabelModel(base.width, base.height, base, base.ids, base.hash);
    } else {
      const { names, width, height } = this.blank();
      this.model = new LabelModel(width, height, { names, colours: defaultPalette(names.length) });
    }
    this.view.setModel(this.model);
    this.show();
  }

  /** The settings of a blank map have changed; a drawing keeps its own. */
  blankChanged() {
    if (!this.base && !this.text) this.reset();
  }

  /** A step of painting has ended: show it, and bring it into the value. */
  committed(rect) {
    if (!rect) return;
    this.view.refresh(rect);
    this.show();
    this.say("");
    const model = this.model, painted = model.base ? model.codes.some(Boolean) : model.changed > 0;
    const run = async () => {
      const text = painted ? await encodeDrawing({ ...model.drawing(), codes: model.codes.slice() }) : "";
      if (this.model !== model) return;
      this.text = text;
      this.drawing = painted ? model.drawing() : null;
      this.onChange();
    };
    this.pending = this.pending.then(run).catch((error) => this.say(error.message));
  }

  // Controls.

  actions() {
    return {
      tool: (name) => this.setState({ tool: name }),
      size: (size) => this.setState({ size: Math.min(LARGEST_BRUSH, Math.max(1, Math.round(size))) }),
      shape: () => this.setState({ shape: this.state.shape === "round" ? "square" : "round" }),
      opacity: (opacity) => this.setState({ opacity }),
      outline: () => this.setState({ outline: !this.state.outline }),
      before: (before) => {
        if (this.view.before === before) return;
        this.view.before = before;
        this.view.refresh();
      },
      undo: () => this.committed(this.model.undo()),
      redo: () => this.committed(this.model.redo()),
      fit: () => this.view.fit(),
      clear: () => this.startAnew(),
      grow: () => this.changePart({ scaleX: GROWTH, scaleY: GROWTH }),
      shrink: () => this.changePart({ scaleX: 1 / GROWTH, scaleY: 1 / GROWTH }),
      flipX: () => this.changePart({ flipX: true }),
      flipY: () => this.changePart({ flipY: true }),
      exportPng: () => this.exportPng(),
      importPng: () => this.importPng(),
    };
  }

  setState(change) {
    Object.assign(this.state, change);
    if (change.tool) {
      this.view.path = this.view.box = this.part = null;
    }
    this.view.opacity = this.state.opacity;
    if ("outline" in change) {
      this.view.outline = this.state.outline;
      this.view.refresh();
    }
    if (this.view.cursor) Object.assign(this.view.cursor, this.brush());
    this.show();
    this.view.draw();
  }

  choose(id) {
    this.state.label = id;
    this.show();
  }

  toggle(which, id) {
    const set = this.model[which];
    if (!set.delete(id)) set.add(id);
    if (which === "hidden") this.view.colour();
    this.show();
  }

  show() {
    this.bar.show(this.state);
    this.list.show(this.model, this.chosen());
    this.count.textContent = `${this.model.changed.toLocaleString("en")} of ${this.model.ids.length.toLocaleString("en")} pixels changed`;
  }

  say(text) {
    this.message.textContent = text;
  }

  /** Drop the drawing. Where it no longer fits its map, the map as it is now; else it is a step of undo. */
  startAnew() {
    const { base, model } = this;
    if (base && model.baseHash !== base.hash) {
      this.drawing = null;
      this.text = "";
      this.reset();
      this.say("");
      this.onChange();
    } else this.committed(model.edit(() => model.clear()));
  }

  changePart(change) {
    if (!this.part) return this.say("Choose a part first: click on it.");
    const { model } = this, { x0, y0, x1, y1 } = this.part.rect, label = this.part.label;
    this.committed(model.edit(() => model.transform(this.part, change)));
    this.choosePart(Math.floor((x0 + x1) / 2), Math.floor((y0 + y1) / 2), label);
  }

  choosePart(x, y, label = null) {
    const part = this.model.part(Math.max(0, Math.min(this.model.width - 1, x)), Math.max(0, Math.min(this.model.height - 1, y)));
    this.part = label === null || part.label === label ? part : null;
    this.view.box = this.part?.rect ?? null;
    this.view.draw();
  }

  async exportPng() {
    const url = URL.createObjectURL(await encodePng(this.model));
    element("a", { href: url, download: "label_map.png" }).click();
    setTimeout(() => URL.revokeObjectURL(url), 1000);
  }

  importPng() {
    const input = element("input", { type: "file", accept: "image/png" });
    input.onchange = () => input.files[0] && this.readPng(input.files[0]);
    input.click();
  }

  async readPng(file) {
    const { model } = this;
    try {
      const read = await decodePng(new Uint8Array(await file.arrayBuffer()), model);
      if (read.width !== model.width || read.height !== model.height) {
        throw new LabelError(`The picture is ${read.width} x ${read.height} pixels, this map is ${model.width} x ${model.height}.`);
      }
      this.committed(model.edit(() => model.paste(read.ids)));
    } catch (error) {
      if (!(error instanceof LabelError)) throw error;
      this.say(error.message);
    }
  }

  // Pointer.

  brush() {
    const painting = ["brush", "erase", "line"].includes(this.state.tool);
    return { size: painting ? this.state.size : 1, shape: this.state.shape };
  }

  /** The label to paint with. */
  chosen() {
    return Math.min(this.state.label, this.model.names.length - 1);
  }

  /** The same, or null where the tool erases to the base. */
  label() {
    return this.state.tool === "erase" ? null : this.chosen();
  }

  at(event) {
    return this.view.onMap(event).map(Math.floor);
  }

  down(event) {
    this.keys.focus({ preventScroll: true });
    if (event.isTrusted) this.canvas.setPointerCapture(event.pointerId);
    event.preventDefault();
    this.pointers.set(event.pointerId, event);
    if (this.pointers.size === 2) return this.startPinch();
    if (event.button === 1 || event.button === 2 || this.spaceHeld) this.stroke = { pan: this.view.onCanvas(event) };
    else if (this.pointers.size === 1) this.press(event, this.at(event));
  }

  press(event, [x, y]) {
    const { model, state } = this, inside = x >= 0 && y >= 0 && x < model.width && y < model.height;
    if (state.tool === "polygon") return this.addCorner(event);
    if (state.tool === "brush" || state.tool === "erase") {
      model.begin();
      this.stroke = { last: [x, y] };
      model.stroke(x, y, x, y, this.brush(), this.label());
      this.view.refresh(model.touched());
    } else if (state.tool === "line") this.stroke = { line: [x, y] };
    else if (!inside) return;
    else if (state.tool === "fill") this.committed(model.edit(() => model.fill(x, y, this.chosen(), { contiguous: !event.shiftKey })));
    else if (state.tool === "pick") this.choose(model.pick(x, y));
    else if (state.tool === "move") {
      this.choosePart(x, y);
      model.begin();
      this.stroke = { part: this.part, from: [x, y] };
    }
  }

  move(event) {
    const [x, y] = this.at(event), { model, stroke, view } = this;
    if (this.pointers.has(event.pointerId)) this.pointers.set(event.pointerId, event);
    view.cursor = { x, y, ...this.brush() };
    if (stroke?.pinch) this.pinch();
    else if (stroke?.pan) {
      const [cx, cy] = view.onCanvas(event);
      view.pan(cx - stroke.pan[0], cy - stroke.pan[1]);
      stroke.pan = [cx, cy];
    } else if (stroke?.last) {
      const steps = event.getCoalescedEvents?.() ?? [];
      for (const step of steps.length ? steps : [event]) {
        const [px, py] = this.at(step);
        model.stroke(...stroke.last, px, py, this.brush(), this.label());
        stroke.last = [px, py];
      }
      const rect = model.touched();
      if (rect) view.refresh(rect);
      this.count.textContent = `${model.changed.toLocaleString("en")} of ${model.ids.length.toLocaleString("en")} pixels changed`;
    } else if (stroke?.line) view.path = [stroke.line, [x, y]].map(([a, b]) => [a + 0.5, b + 0.5]);
    else if (stroke?.part) {
      model.restart();
      model.transform(stroke.part, { dx: x - stroke.from[0], dy: y - stroke.from[1] });
      view.refresh();
    } else if (view.path && this.state.tool === "polygon") view.path = [...this.corners, view.onMap(event)];
    view.draw();
  }

  up(event) {
    this.pointers.delete(event.pointerId);
    const { stroke, model, view } = this;
    this.stroke = null;
    if (stroke?.last) this.committed(model.commit());
    else if (stroke?.line) {
      view.path = null;
      this.committed(model.edit(() => model.stroke(...stroke.line, ...this.at(event), this.brush(), this.chosen())));
      view.draw();
    } else if (stroke?.part) {
      const [x, y] = this.at(event), { rect, label } = stroke.part;
      this.committed(model.commit());
      this.choosePart(x, y, label);
      if (!this.part && rect) this.choosePart(...stroke.from, label);
    }
  }

  leave() {
    this.view.cursor = null;
    this.view.draw();
  }

  wheel(event) {
    event.preventDefault();
    this.view.zoom(Math.exp(-event.deltaY * 0.0015), ...this.view.onCanvas(event));
  }

  startPinch() {
    if (this.stroke?.last || this.stroke?.part) {
      this.model.restart();
      this.model.commit();
      this.view.refresh();
    }
    this.stroke = { pinch: this.span() };
  }

  /** Middle of the two fingers on the canvas, and how far apart they are. */
  span() {
    const [[ax, ay], [bx, by]] = [...this.pointers.values()].map((event) => this.view.onCanvas(event));
    return { x: (ax + bx) / 2, y: (ay + by) / 2, distance: Math.hypot(ax - bx, ay - by) || 1 };
  }

  pinch() {
    if (this.pointers.size < 2) return;
    const now = this.span(), last = this.stroke.pinch;
    this.view.pan(now.x - last.x, now.y - last.y);
    this.view.zoom(now.distance / last.distance, now.x, now.y);
    this.stroke.pinch = now;
  }

  addCorner(event) {
    const corner = this.view.onMap(event), first = this.corners?.[0];
    if (!this.view.path) this.corners = [corner];
    else if (Math.hypot(corner[0] - first[0], corner[1] - first[1]) * this.view.scale < 8 * devicePixelRatio) return this.closePolygon();
    else this.corners.push(corner);
    this.view.path = [...this.corners, corner];
    this.view.draw();
  }

  closePolygon() {
    if (this.state.tool !== "polygon" || !this.view.path) return;
    this.view.path = null;
    if (this.corners.length > 2) this.committed(this.model.edit(() => this.model.polygon(this.corners, this.chosen())));
    this.view.draw();
  }

  // Keys. A text area holds the focus, because ComfyUI leaves the keys of text areas alone.

  keyDown(event) {
    const key = event.key.toLowerCase(), actions = this.actions(), control = event.ctrlKey || event.metaKey;
    event.stopPropagation();
    if (control && (key === "z" || key === "y")) actions[key === "y" || event.shiftKey ? "redo" : "undo"]();
    else if (control || event.altKey) return;
    else if (KEYS[key]) actions.tool(KEYS[key]);
    else if (key === "[") actions.size(Math.min(this.state.size - 1, this.state.size / 1.2));
    else if (key === "]") actions.size(Math.max(this.state.size + 1, this.state.size * 1.2));
    else if (key === "h") actions.before(true);
    else if (key === "0") actions.fit();
    else if (key === " ") this.spaceHeld = true;
    else if (key === "enter") this.closePolygon();
    else if (key === "escape") this.setState({ tool: this.state.tool });
    else return;
    event.preventDefault();
  }

  keyUp(event) {
    if (event.key.toLowerCase() === "h") this.actions().before(false);
    if (event.key === " ") this.spaceHeld = false;
  }
}
