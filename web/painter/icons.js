// The painter's icons as strokes on a grid of 16 by 16: no font has to have them.

const PATHS = {
  brush: "M13 3 6 10M6 10c-2 0-2.500 2-4 3 2.500.6 5.200.2 5.500-1.500zM11 5l1.500 1.500",
  line: "M3 13 13 3M3 13h.01M13 3h.01",
  polygon: "M8 2 14 6.500 11.500 14h-7L2 6.500z",
  fill: "M7 3 13 9 8 14 2 9zM2 9h11M14.500 11v2",
  pick: "M10 2l4 4M12 4 5 11l-2 2 .5-2.500L10 4M8.500 3.500l4 4",
  move: "M8 2v12M2 8h12M8 2 6.500 3.500M8 2l1.500 1.500M8 14l-1.500-1.500M8 14l1.500-1.500M2 8l1.500-1.500M2 8l1.500 1.500M14 8l-1.500-1.500M14 8l-1.500 1.500",
  erase: "M6 13 2.500 9.500 9 3l4.500 4.500L8 13zM6 6.500l4 4M5 13h9",
  round: "M8 3a5 5 0 1 0 .01 0",
  square: "M3 3h10v10H3z",
  grow: "M8 3v10M3 8h10",
  shrink: "M3 8h10",
  flipX: "M8 2v12M6 4 2 12h4zM10 4l4 8h-4z",
  flipY: "M2 8h12M4 6l8-4v4zM4 10l8 4v-4z",
  undo: "M3 7h7a3 3 0 0 1 0 6H6M3 7l3-3M3 7l3 3",
  redo: "M13 7H6a3 3 0 0 0 0 6h4M13 7l-3-3M13 7l-3 3",
  outline: "M3 3h10v10H3zM3 8h4V3M13 10H9v3",
  before: "M8 3v10M8 3a5 5 0 1 0 .01 0M9 5h2.500M9 8h4M9 11h2.500",
  fit: "M2 6V2h4M10 2h4v4M14 10v4h-4M6 14H2v-4",
  clear: "M3 5h10M6 5V3h4v2M4.500 5l.7 8h5.600l.7-8",
  importPng: "M8 2v8M5 7l3 3 3-3M3 11v2h10v-2",
  exportPng: "M8 10V2M5 5l3-3 3 3M3 11v2h10v-2",
  eye: "M1.500 8C4 4 12 4 14.500 8 12 12 4 12 1.500 8M8 6.300a1.700 1.700 0 1 0 .01 0",
  hidden: "M1.500 8C4 4 12 4 14.500 8 12 12 4 12 1.500 8M3 13 13 3",
  lock: "M4 7h8v6H4zM5.500 7V5a2.500 2.500 0 0 1 5 0v2",
  open: "M4 7h8v6H4zM5.500 7V5a2.500 2.500 0 0 1 4.800-1",
};
const SVG = "http://www.w3.org/2000/svg";

/** The icon of that name, in the colour of the text around it. */
export function icon(name) {
  const svg = document.createElementNS(SVG, "svg"), path = document.createElementNS(SVG, "path");
  for (const [key, value] of Object.entries({ viewBox: "0 0 16 16", fill: "none", stroke: "currentColor", "stroke-width": 1.4,
    "stroke-linecap": "round", "stroke-linejoin": "round" })) svg.setAttribute(key, value);
  path.setAttribute("d", PATHS[name]);
  svg.append(path);
  return svg;
}
