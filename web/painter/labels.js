// Label sets: names and colours of parts. The checks and their sentences are those of pipelines/labels.py.

export const MAX_LABELS = 256;
export const MAX_NAME_LENGTH = 64;
export const MAX_SIDE = 4096;
const SHOWN_LENGTH = 40;
const INVISIBLE = /[\u0000-\u001f\u007f-\u009f\u2028-\u202e\u2066-\u2069\ufeff]|\p{Surrogate}/u;

/** What is wrong with a value from outside, as one sentence. */
export class LabelError extends Error {}

/** A value from outside as an error sentence shows it. */
export function shown(value) {
  if (value === null || value === undefined) return "nothing";
  if (typeof value === "boolean") return String(value);
  if (typeof value === "string") return `'${[...value].slice(0, SHOWN_LENGTH).map((c) => (INVISIBLE.test(c) ? "?" : c)).join("")}'`;
  if (typeof value === "number") return Number.isInteger(value) && Math.abs(value) < 1e15 ? String(value + 0) : "a number";
  return Array.isArray(value) ? "a list" : "an object";
}

/** round() as Python has it: a half goes to the even neighbour. */
function roundHalfEven(value) {
  const floor = Math.floor(value);
  return value - floor === 0.5 ? floor + (floor % 2) : Math.round(value);
}

function hsvToRgb(h, s, v) {
  const sector = Math.floor(h * 6), f = h * 6 - sector;
  const p = v * (1 - s), q = v * (1 - s * f), t = v * (1 - s * (1 - f));
  return [[v, t, p], [q, v, p], [p, v, t], [p, q, v], [t, p, v], [v, p, q]][sector % 6];
}

/** Distinct colours for `count` labels: black for the background, then hues a golden-ratio step apart. */
export function defaultPalette(count) {
  const colours = new Map([["0,0,0", [0, 0, 0]]]);
  for (let step = 0; colours.size < count; step++) {
    const value = [0.95, 0.7, 0.5][Math.floor(step / 2) % 3];
    const rgb = hsvToRgb((step * 0.618033988749895) % 1, 0.85 - 0.25 * (step % 2), value).map((x) => roundHalfEven(255 * x));
    if (!colours.has(String(rgb))) colours.set(String(rgb), rgb);
  }
  return [...colours.values()].slice(0, count);
}

function checkName(name, position) {
  const fine = typeof name === "string" && name.trim() && [...name].length <= MAX_NAME_LENGTH && !INVISIBLE.test(name);
  if (!fine) {
    throw new LabelError(`The name of label ${position} is one line of 1 to ${MAX_NAME_LENGTH} characters, got ${shown(name)}.`);
  }
}

function isColour(value) {
  return Array.isArray(value) && value.length === 3 && value.every((v) => Number.isInteger(v) && v >= 0 && v <= 255);
}

/** { names, colours } from plain JSON, with the default palette where it has no colours. Throws LabelError. */
export function readLabelSet(fields) {
  const { names } = fields;
  if (!Array.isArray(names)) throw new LabelError(`The names of a label set are a list, got ${shown(names)}.`);
  const colours = fields.colours ?? defaultPalette(Math.min(names.length, MAX_LABELS));
  if (!Array.isArray(colours)) {
    throw new LabelError(`The colours of a label set are a list of [r, g, b], got ${shown(colours)}.`);
  }
  if (names.length < 1 || names.length > MAX_LABELS) {
    throw new LabelError(`A label set has 1 to ${MAX_LABELS} labels, got ${names.length}.`);
  }
  if (colours.length !== names.length) {
    throw new LabelError(
      `A label set has one colour per name, got ${names.length} names and ${colours.length} colours.`);
  }
  names.forEach(checkName);
  const twice = names.find((name, i) => names.indexOf(name) < i);
  if (twice !== undefined) {
    throw new LabelError(`The names of a label set are distinct, got '${twice}' more than once.`);
  }
  if (names[0].toLowerCase() !== "background") {
    throw new LabelError(`Label 0 of a label set is 'background', got '${names[0]}'; list it first.`);
  }
  names.forEach((name, i) => {
    if (!isColour(colours[i])) {
      throw new LabelError(`The colour of label '${name}' is three integers from 0 to 255, got ${shown(colours[i])}.`);
    }
  });
  return { names: [...names], colours: colours.map((colour) => colour.map((v) => v + 0)) };
}

/** Whether two label sets name the same parts in the same order. */
export function sameNames(a, b) {
  return a.length === b.length && a.every((name, i) => name === b[i]);
}
