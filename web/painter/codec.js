// The text form of label drawings, byte for byte that of pipelines/label_text.py, which describes it.

import { LabelError, MAX_SIDE, readLabelSet, shown } from "./labels.js";

export const PREFIX = "atelier-labels:";
export const VERSION = "1";
export const MAX_TEXT_LENGTH = 2 ** 20;
const MAX_HEADER_BYTES = 2 ** 16;
const MAX_DEPTH = 8;
const BYTES_PER_PIXEL = 3;
const VARINT_BYTES = 4;
const DAMAGED = "The label text is damaged or cut off: what it packs is no whole zlib stream; copy the whole text.";
const NO_HEADER = "The header of the label text is no JSON object; the text is damaged.";
const SHA256 = /^[0-9a-f]{64}$/;

/**
 * A drawing: { width, height, names, colours, base, codes }.
 * codes: Uint16Array, row by row; n >= 1 paints label n - 1, 0 leaves the pixel as it is in the base.
 * base: the hash of the label map that was painted on, "" when there was none.
 */

/** The text of a drawing. Throws LabelError when it would be longer than the reader accepts. */
export async function encodeDrawing({ width, height, names, colours, base, codes }) {
  const header = new TextEncoder().encode(JSON.stringify({ w: width, h: height, names, colours, base }) + "\n");
  const text = `${PREFIX}${VERSION}:${toBase64(await deflate([header, packCodes(codes, width)]))}`;
  if (text.length > MAX_TEXT_LENGTH) {
    throw new LabelError(`The label map is too detailed for its text form: ${text.length} characters, at most ` +
      `${MAX_TEXT_LENGTH}; save it as a PNG instead.`);
  }
  return text;
}

/** The inverse. Any text that is not a drawing throws LabelError, with the sentence that Python has for it. */
export async function decodeDrawing(text) {
  const stream = new Inflated(unwrap(text));
  try {
    return await readDrawing(stream);
  } finally {
    stream.close();
  }
}

async function readDrawing(stream) {
  const head = await stream.atLeast(MAX_HEADER_BYTES);
  const end = head.subarray(0, MAX_HEADER_BYTES).indexOf(10);
  if (end < 0) {
    throw new LabelError(`The label text has no header within its first ${MAX_HEADER_BYTES} bytes; it is damaged.`);
  }
  const { width, height, names, colours, base } = readHeader(head.subarray(0, end));
  const limit = BYTES_PER_PIXEL * width * height + VARINT_BYTES;
  const pixels = (await stream.atLeast(end + 1 + limit + 1)).subarray(end + 1);
  if (pixels.length > limit) {
    throw new LabelError(`The label text holds more than its ${width} x ${height} pixels can take.`);
  }
  await stream.requireWhole();
  const codes = unpackCodes(pixels, width, height);
  const highest = codes.reduce((a, b) => Math.max(a, b), 0);
  if (highest > names.length) {
    throw new LabelError(`The label text names ${names.length} labels, ids 0 to ${names.length - 1}, but uses id ${highest - 1}.`);
  }
  if (!base && codes.includes(0)) {
    throw new LabelError("The label text leaves pixels to a base but names none; it is damaged.");
  }
  return { width, height, names, colours, base, codes: Uint16Array.from(codes) };
}

/** The hash that ties a drawing to the label map it was painted on, 64 hex digits. */
export async function baseHash(width, height, names, ids) {
  const head = new TextEncoder().encode(`${width}x${height}\n` + names.map((name) => `${name}\n`).join(""));
  const bytes = new Uint8Array(head.length + ids.length);
  bytes.set(head);
  bytes.set(ids, head.length);
  return [...new Uint8Array(await crypto.subtle.digest("SHA-256", bytes))].map((b) => b.toString(16).padStart(2, "0")).join("");
}

function unwrap(text) {
  if (text.length > MAX_TEXT_LENGTH && [...text].length > MAX_TEXT_LENGTH) {
    throw new LabelError(`The label text has ${[...text].length} characters, at most ${MAX_TEXT_LENGTH} are read.`);
  }
  if (!text.startsWith(PREFIX)) {
    throw new LabelError(`A label text begins with '${PREFIX}${VERSION}:', got ${shown([...text].slice(0, 24).join(""))}.`);
  }
  const rest = text.slice(PREFIX.length), colon = rest.indexOf(":");
  const version = colon < 0 ? rest : rest.slice(0, colon);
  if (colon < 0 || version !== VERSION) {
    throw new LabelError(`The label text has version ${shown([...version].slice(0, 16).join(""))}, this pack reads version ` +
      `'${VERSION}'; update the pack.`);
  }
  const body = rest.slice(colon + 1);
  if ([...body].length % 4 || !/^[A-Za-z0-9+/]*={0,2}$/.test(body)) {
    throw new LabelError("The label text is not valid base64 after its prefix; copy the whole text.");
  }
  return Uint8Array.from(atob(body), (c) => c.charCodeAt(0));
}

function toBase64(bytes) {
  const parts = [];
  for (let i = 0; i < bytes.length; i += 0x8000) parts.push(String.fromCharCode(...bytes.subarray(i, i + 0x8000)));
  return btoa(parts.join(""));
}

async function deflate(parts) {
  return new Uint8Array(await new Response(new Blob(parts).stream().pipeThrough(new CompressionStream("deflate"))).arrayBuffer());
}

/** A zlib stream, unpacked as far as it is asked for. */
class Inflated {
  constructor(data) {
    this.data = data;
    this.reader = new Blob([data]).stream().pipeThrough(new DecompressionStream("deflate")).getReader();
    this.out = new Uint8Array(0);
    this.ended = false;
  }

  /** At least so many bytes, or all there are. */
  async atLeast(count) {
    const chunks = [this.out];
    let length = this.out.length;
    while (length < count && !this.ended) {
      let step;
      try {
        step = await this.reader.read();
      } catch {
        throw new LabelError(DAMAGED);
      }
      if (step.done) this.ended = true;
      else {
        chunks.push(step.value);
        length += step.value.length;
      }
    }
    if (chunks.length > 1) {
      const joined = new Uint8Array(length);
      let at = 0;
      for (const chunk of chunks) {
        joined.set(chunk, at);
        at += chunk.length;
      }
      this.out = joined;
    }
    return this.out;
  }

  close() {
    this.reader.cancel().catch(() => {});
  }

  /** The checksum stands last. Some decompressors pass over what follows it; then they are content with a byte less, too. */
  async requireWhole() {
    let a = 1, b = 0;
    for (let i = 0; i < this.out.length; ) {
      for (const end = Math.min(i + 3800, this.out.length); i < end; i++) b += a += this.out[i];
      a %= 65521;
      b %= 65521;
    }
    const stored = this.data.length < 6 ? -1 : new DataView(this.data.buffer).getUint32(this.data.length - 4);
    const whole = this.ended && stored === b * 65536 + a && !(await isWhole(this.data.subarray(0, -1)));
    if (!whole) throw new LabelError(DAMAGED);
  }
}

async function isWhole(data) {
  const reader = new Blob([data]).stream().pipeThrough(new DecompressionStream("deflate")).getReader();
  try {
    while (!(await reader.read()).done);
    return true;
  } catch {
    return false;
  }
}

function depthOf(text) {
  let deepest = 0, depth = 0, quoted = false, escaped = false;
  for (const character of text) {
    if (quoted) [escaped, quoted] = [character === "\\" && !escaped, escaped || character !== '"'];
    else if (character === '"') quoted = true;
    else if (character === "[" || character === "{") deepest = Math.max(deepest, ++depth);
    else if (character === "]" || character === "}") depth--;
  }
  return deepest;
}

function readHeader(bytes) {
  let fields;
  try {
    const text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
    fields = depthOf(text) > MAX_DEPTH ? null : JSON.parse(text);
  } catch {
    throw new LabelError(NO_HEADER);
  }
  if (fields === null || typeof fields !== "object" || Array.isArray(fields)) throw new LabelError(NO_HEADER);
  const [width, height] = [side(fields.w, "width"), side(fields.h, "height")];
  let labels;
  try {
    labels = readLabelSet(fields);
  } catch (error) {
    throw new LabelError(`The labels in the label text are wrong: ${error.message}`);
  }
  const base = fields.base === undefined ? "" : fields.base;
  if (typeof base !== "string" || (base && !SHA256.test(base))) {
    throw new LabelError(`The base in the label text is a SHA-256 in hex or empty, got ${shown(base)}.`);
  }
  return { width, height, ...labels, base };
}

function side(value, what) {
  if (!Number.isInteger(value) || value < 1 || value > MAX_SIDE) {
    throw new LabelError(`The label text's ${what} is an integer from 1 to ${MAX_SIDE}, got ${shown(value)}.`);
  }
  return value;
}

function packCodes(codes, width) {
  const gaps = [], own = [];
  let last = -1;
  for (let i = 0; i < codes.length; i++) {
    if (codes[i] === expected(codes, i, width)) continue;
    gaps.push(i - last - 1);
    own.push(codes[i]);
    last = i;
  }
  const bytes = [];
  for (const value of [[own.length], gaps, own]) for (const v of value) pushVarint(bytes, v);
  return Uint8Array.from(bytes);
}

/** The code that a pixel has unless it says otherwise: the one above where that row changes, else the one to the left. */
function expected(codes, i, width) {
  const above = i < width ? 0 : codes[i - width];
  if (i % width === 0) return above;
  return above === (i < width ? 0 : codes[i - width - 1]) ? codes[i - 1] : above;
}

function pushVarint(bytes, value) {
  for (; value > 127; value >>= 7) bytes.push((value & 127) | 128);
  bytes.push(value);
}

function unpackCodes(data, width, height) {
  const values = readVarints(data);
  const count = values.length ? values[0] : -1;
  if (values.length !== 1 + 2 * count) {
    throw new LabelError("The label text does not hold as many pixels as it says; copy the whole text.");
  }
  const codes = new Uint32Array(width * height);
  let at = -1;
  for (let k = 0; k < count; k++) at += values[1 + k] + 1;
  if (at >= codes.length) throw new LabelError(`The label text paints outside its ${width} x ${height} pixels.`);
  at = -1;
  let k = 0, next = count ? values[1] : codes.length;
  for (let i = 0; i < codes.length; i++) {
    if (i === next) {
      codes[i] = values[1 + count + k++];
      next = k < count ? i + 1 + values[1 + k] : codes.length;
    } else codes[i] = expected(codes, i, width);
  }
  return codes;
}

function readVarints(data) {
  let count = 0;
  for (const byte of data) count += byte < 128;
  const values = new Uint32Array(count);
  let value = 0, bytes = 0, k = 0;
  for (const byte of data) {
    value += (byte & 127) * 2 ** (7 * bytes);
    if (++bytes > VARINT_BYTES) break;
    if (byte < 128) {
      values[k++] = value;
      value = bytes = 0;
    }
  }
  if (bytes) {
    throw new LabelError("The label text ends in the middle of a number, or has one that is too long; copy the whole text.");
  }
  return values;
}
