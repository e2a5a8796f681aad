// What ComfyUI's frontend loads: the label painter as a widget.

import { api } from "../../scripts/api.js";
import { app } from "../../scripts/app.js";
import { Painter } from "./painter/painter.js";

const WIDGET = "ATELIER_LABEL_PAINTER", NODE = "AtelierPaintLabelMap", HEIGHT = 380;

/** Tell the frontend that the workflow has changed, so that it is saved, undone, and run where it runs on change. */
function workflowChanged() {
  const tracker = app.extensionManager?.workflow?.activeWorkflow?.changeTracker;
  (tracker?.captureCanvasState ?? tracker?.checkState)?.call(tracker);
  app.graph?.setDirtyCanvas?.(true, true);
}

/** The blank map that the node's other widgets ask for. */
function blankOf(node) {
  const value = (name, otherwise) => node.widgets?.find((widget) => widget.name === name)?.value ?? otherwise;
  const names = String(value("labels", "background")).split(",").map((name) => name.trim()).filter(Boolean);
  const clean = [...new Set(names)].slice(0, 256);
  if (clean[0]?.toLowerCase() !== "background") clean.unshift("background");
  const side = (name) => Math.min(4096, Math.max(8, Math.round(Number(value(name, 512))) || 512));
  return { names: clean, width: side("width"), height: side("height") };
}

function painterWidget(node, name) {
  let widget = null;
  const painter = new Painter({
    blank: () => blankOf(node),
    onChange: () => {
      widget?.callback?.(painter.value);
      workflowChanged();
    },
  });
  widget = node.addDOMWidget(name, WIDGET, painter.root, {
    getValue: () => painter.value,
    setValue: (text) => painter.setValue(text),
    getMinHeight: () => HEIGHT,
    hideOnZoom: false,
    serialize: true,
  });
  widget.serializeValue = () => painter.settled();
  const removed = widget.onRemove;
  widget.onRemove = function (...parameters) {
    painter.destroy();
    return removed?.apply(this, parameters);
  };
  node.atelierPainter = painter;
  return { widget, minWidth: 420, minHeight: HEIGHT };
}

function loadPicture({ filename, subfolder, type }) {
  return new Promise((done) => {
    const picture = new Image();
    picture.onload = () => done(picture);
    picture.onerror = () => done(null);
    picture.src = api.apiURL(`/view?${new URLSearchParams({ filename, subfolder, type })}`);
  });
}

/** After a run: the map underneath, and the picture. */
async function executed(node, output) {
  const shown = output?.atelier_painter?.[0];
  if (shown) await node.atelierPainter?.setBase(shown, shown.image ? await loadPicture(shown.image) : null);
}

app.registerExtension({
  name: "LatentAtelier.LabelPainter",
  getCustomWidgets: () => ({ [WIDGET]: painterWidget }),
  nodeCreated(node) {
    if (node.comfyClass !== NODE) return;
    const before = node.onExecuted;
    node.onExecuted = function (output, ...rest) {
      executed(node, output);
      return before?.call(this, output, ...rest);
    };
    for (const widget of node.widgets ?? []) {
      if (!["labels", "width", "height"].includes(widget.name)) continue;
      const callback = widget.callback;
      widget.callback = function (...parameters) {
        node.atelierPainter?.blankChanged();
        return callback?.apply(this, parameters);
      };
    }
    node.setSize?.([Math.max(node.size[0], 460), Math.max(node.size[1], 640)]);
  },
});
