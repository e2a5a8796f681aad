// The painter's buttons and its list of labels. Text from outside is only ever set as textContent.

import { icon } from "./icons.js";

/** An element with properties, and children. */
export function element(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

function iconButton(name, title, properties) {
  return element("button", { type: "button", title, ariaLabel: title, ...properties }, icon(name));
}

const TOOLS = {
  brush: "Brush (B)", erase: "Erase to the map underneath (E)", line: "Line (L)",
  polygon: "Polygon (P): click the corners; Enter or the first corner closes it",
  fill: "Fill what hangs together (F); with Shift every pixel of the label", pick: "Pick the label under the cursor (I)",
  move: "Choose a part and move it (M); the buttons beside change its size",
};

/** The row of tools. actions: what the buttons do, by name. Returns { root, show(state) }. */
export function toolbar(actions) {
  const button = (name, title) => iconButton(name, title, { onclick: () => actions[name]() });
  const tools = Object.entries(TOOLS).map(([name, title]) => {
    const made = iconButton(name, title, { onclick: () => actions.tool(name) });
    made.dataset.tool = name;
    return made;
  });
  const slider = (name, title, min, max, step) => element("input", { type: "range", title, ariaLabel: title, min, max, step,
    oninput: (event) => actions[name](Number(event.target.value)) });
  const size = slider("size", "Size of the brush in pixels ([ and ])", 1, 128, 1);
  const shape = iconButton("round", "Round or square brush", { onclick: () => actions.shape() });
  const opacity = slider("opacity", "How much the labels cover the picture", 0, 1, 0.05);
  const outline = button("outline", "Outlines only");
  const before = iconButton("before", "Hold to see the map before the drawing (H)", { onpointerdown: () => actions.before(true),
    onpointerup: () => actions.before(false), onpointerleave: () => actions.before(false) });
  const part = element("span", { className: "part", hidden: true }, button("grow", "Enlarge the part"),
    button("shrink", "Shrink the part"), button("flipX", "Mirror the part left to right"), button("flipY", "Mirror the part top to bottom"));
  const root = element("div", { className: "bar" }, ...tools, shape, size, part, button("undo", "Undo (Ctrl+Z)"),
    button("redo", "Redo (Ctrl+Shift+Z)"), opacity, outline, before, button("fit", "Show all (0)"), button("clear", "Drop the drawing"),
    button("importPng", "Read an indexed PNG"), button("exportPng", "Save as indexed PNG"));
  let shown = "round";
  return {
    root,
    show(state) {
      for (const tool of tools) tool.classList.toggle("on", tool.dataset.tool === state.tool);
      if (shown !== state.shape) shape.replaceChildren(icon((shown = state.shape)));
      size.value = state.size;
      opacity.value = state.opacity;
      outline.classList.toggle("on", state.outline);
      part.hidden = state.tool !== "move";
    },
  };
}

/** The list of labels. actions: choose, hide, lock, each with an id. Returns { root, show(model, chosen) }. */
export function palette(actions) {
  const search = element("input", { type: "search", placeholder: "search", title: "Show labels whose name has this in it",
    oninput: () => filter() });
  const list = element("div", { className: "labels", role: "listbox" });
  let rows = [], names = null;

  function filter() {
    const wanted = search.value.trim().toLowerCase();
    for (const row of rows) row.root.hidden = !row.name.toLowerCase().includes(wanted);
  }

  function build(model) {
    names = model.names;
    rows = model.names.map((name, id) => {
      const swatch = element("span", { className: "swatch" });
      swatch.style.background = `rgb(${model.colours[id].join(",")})`;
      const eye = iconButton("eye", "Show or hide", { onclick: (event) => act(event, () => actions.hide(id)) });
      const lock = iconButton("open", "Lock: its pixels stay", { onclick: (event) => act(event, () => actions.lock(id)) });
      const text = element("span", { className: "name", textContent: name, title: name });
      const root = element("div", { className: "label", role: "option", onclick: () => actions.choose(id) }, swatch, text, eye, lock);
      return { root, eye, lock, name };
    });
    list.replaceChildren(...rows.map((row) => row.root));
    filter();
  }

  function act(event, action) {
    event.stopPropagation();
    action();
  }

  return {
    root: element("div", { className: "side" }, search, list),
    show(model, chosen) {
      if (names !== model.names) build(model);
      rows.forEach((row, id) => {
        row.root.classList.toggle("on", id === chosen);
        row.eye.replaceChildren(icon(model.hidden.has(id) ? "hidden" : "eye"));
        row.lock.replaceChildren(icon(model.locked.has(id) ? "lock" : "open"));
        row.lock.classList.toggle("set", model.locked.has(id));
      });
    },
  };
}

export const STYLE = `
.atelier-painter { display: flex; flex-direction: column; gap: 4px; width: 100%; height: 100%; min-height: 260px; box-sizing: border-box;
  font: 12px sans-serif; color: var(--input-text, #ddd); user-select: none; }
.atelier-painter .bar { display: flex; flex-wrap: wrap; gap: 2px; align-items: center; }
.atelier-painter svg { width: 16px; height: 16px; display: block; }
.atelier-painter button { display: inline-flex; align-items: center; justify-content: center; min-width: 24px; height: 24px; padding: 0 4px; border: 1px solid transparent; border-radius: 4px;
  background: var(--comfy-input-bg, #222); color: inherit; cursor: pointer; }
.atelier-painter button.on { border-color: var(--p-primary-color, #6cf); }
.atelier-painter input[type=range] { width: 64px; }
.atelier-painter .body { display: flex; flex: 1; gap: 4px; min-height: 0; }
.atelier-painter .stage { position: relative; flex: 1; min-width: 0; background: #111; border-radius: 4px; overflow: hidden; }
.atelier-painter canvas { position: absolute; inset: 0; width: 100%; height: 100%; touch-action: none; cursor: crosshair; }
.atelier-painter .keys { position: absolute; width: 1px; height: 1px; opacity: 0; border: 0; padding: 0; resize: none; }
.atelier-painter .side { display: flex; flex-direction: column; gap: 2px; width: 116px; min-height: 0; }
.atelier-painter .side > input { width: 100%; box-sizing: border-box; background: var(--comfy-input-bg, #222); color: inherit;
  border: 0; border-radius: 4px; padding: 3px 4px; }
.atelier-painter .labels { overflow-y: auto; flex: 1; min-height: 0; }
.atelier-painter .label { display: flex; align-items: center; gap: 3px; padding: 1px 2px; border-radius: 4px; cursor: pointer;
  border: 1px solid transparent; }
.atelier-painter .label[hidden], .atelier-painter .part[hidden] { display: none; }
.atelier-painter .label.on { border-color: var(--p-primary-color, #6cf); }
.atelier-painter .label button { min-width: 16px; width: 16px; height: 16px; padding: 0; background: none; opacity: 0.5; }
.atelier-painter .label button.set { opacity: 1; }
.atelier-painter .label svg { width: 12px; height: 12px; }
.atelier-painter .swatch { width: 11px; height: 11px; border-radius: 2px; flex: none; border: 1px solid #0008; }
.atelier-painter .name { flex: 1; overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
.atelier-painter .status { display: flex; justify-content: space-between; gap: 8px; min-height: 15px; opacity: 0.85; }
.atelier-painter .message { color: var(--error-text, #f96); }
`;
