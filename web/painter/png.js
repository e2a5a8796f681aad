// Label maps as indexed PNG files, as pipelines/label_png.py writes and reads them.

import { LabelError, MAX_SIDE, readLabelSet, sameNames } from "./labels.js";

const SIGNATURE = [137, 80, 78, 71, 13, 10, 26, 10];
const TEXT_KEY = "atelier.labels";
const CRC = Uint32Array.from({ length: 256 }, (_, n) => {
  for (let k = 0; k < 8; k++) n = n & 1 ? 0xedb88320 ^ (n >>> 1) : n >>> 1;
  return n >>> 0;
});

function crc32(bytes) {
  let c = 0xffffffff;
  for (const byte of bytes) c = CRC[(c ^ byte) & 255] ^ (c >>> 8);
  return ~c >>> 0;
}

function chunk(type, body) {
  const out = new Uint8Array(12 + body.length), view = new DataView(out.buffer);
  view.setUint32(0, body.length);
  out.set(new TextEncoder().encode(type), 4);
  out.set(body, 8);
  view.setUint32(8 + body.length, crc32(out.subarray(4, 8 + body.length)));
  return out;
}

async function through(bytes, stream) {
  return new Uint8Array(await new Response(new Blob([bytes]).stream().pipeThrough(stream)).arrayBuffer());
}

/** An indexed PNG: the pixel is the label, the palette its colour, the label set a text chunk. */
export async function encodePng({ width, height, names, colours, ids }) {
  const header = new Uint8Array(13), view = new DataView(header.buffer);
  view.setUint32(0, width);
  view.setUint32(4, height);
  header.set([8, 3, 0, 0, 0], 8);
  const rows = new Uint8Array(height * (width + 1));
  for (let y = 0; y < height; y++) rows.set(ids.subarray(y * width, (y + 1) * width), y * (width + 1) + 1);
  const text = new TextEncoder().encode(`${TEXT_KEY}\0\0\0\0\0${JSON.stringify({ names, colours })}`);
  return new Blob([Uint8Array.from(SIGNATURE), chunk("IHDR", header), chunk("PLTE", Uint8Array.from(colours.flat())),
    chunk("iTXt", text), chunk("IDAT", await through(rows, new CompressionStream("deflate"))), chunk("IEND", new Uint8Array(0))],
  { type: "image/png" });
}

/**
 * The labels in a PNG's bytes: { width, height, ids }. Indexed files are read by index when their palette, or the label set
 * they carry, is that of `labels`; others by exact colour. Throws LabelError.
 */
export async function decodePng(bytes, labels) {
  const { header, palette, transparent, text, data } = chunks(bytes);
  const carried = text === null ? null : readLabelSet(text);
  if (carried && !sameNames(carried.names, labels.names)) {
    throw new LabelError(`The picture names the parts ${carried.names.slice(0, 4).join(", ")}; this map has ` +
      `${labels.names.slice(0, 4).join(", ")}.`);
  }
  let raw;
  try {
    raw = await through(data, new DecompressionStream("deflate"));
  } catch {
    throw new LabelError("The picture is damaged.");
  }
  const pixels = unfiltered(raw, header);
  const own = labels.colours.flat();
  if (header.colour === 3 && (carried || own.every((v, i) => palette[i] === v))) {
    const wrong = pixels.findIndex((id) => id >= labels.names.length);
    if (wrong >= 0) {
      throw new LabelError(`The picture has a pixel of no label at x ${wrong % header.width}, y ` +
        `${Math.floor(wrong / header.width)} with index ${pixels[wrong]}; the ${labels.names.length} labels are 0 to ` +
        `${labels.names.length - 1}.`);
    }
    return { width: header.width, height: header.height, ids: pixels };
  }
  return { width: header.width, height: header.height, ids: byColour(pixels, header, palette, transparent, labels) };
}

function chunks(bytes) {
  if (!SIGNATURE.every((v, i) => bytes[i] === v)) throw new LabelError("The file is no PNG picture.");
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength), parts = [];
  let header = null, palette = new Uint8Array(0), transparent = false, text = null;
  for (let at = 8; at + 12 <= bytes.length; ) {
    const length = view.getUint32(at), type = String.fromCharCode(...bytes.subarray(at + 4, at + 8));
    const body = bytes.subarray(at + 8, at + 8 + length);
    if (type === "IHDR" && length === 13) {
      header = { width: view.getUint32(at + 8), height: view.getUint32(at + 12), depth: body[8], colour: body[9], laced: body[12] };
    } else if (type === "PLTE") palette = body;
    else if (type === "tRNS") transparent = true;
    else if (type === "IDAT") parts.push(body);
    else if (type === "iTXt") text = carriedText(body) ?? text;
    at += 12 + length;
  }
  const { width = 0, height = 0, depth, colour, laced } = header ?? {};
  if (!width || !height || Math.max(width, height) > MAX_SIDE) {
    throw new LabelError(`The picture is ${width} x ${height} pixels, from 1 to ${MAX_SIDE} a side are read.`);
  }
  if (laced || ![2, 3, 6].includes(colour) || (colour === 3 ? ![1, 2, 4, 8].includes(depth) : depth !== 8)) {
    throw new LabelError("The picture is no indexed or 8-bit RGB PNG without interlacing; save it as one.");
  }
  return { header, palette, transparent, text, data: new Blob(parts) };
}

function carriedText(body) {
  const end = body.indexOf(0);
  if (new TextDecoder().decode(body.subarray(0, end)) !== TEXT_KEY || body[end + 1]) return null;
  const language = body.indexOf(0, end + 3), translated = body.indexOf(0, language + 1);
  try {
    return JSON.parse(new TextDecoder().decode(body.subarray(translated + 1)));
  } catch {
    throw new LabelError(`The picture carries a damaged label set in '${TEXT_KEY}'.`);
  }
}

/** PNG's five filters undone; samples smaller than a byte spread out. One byte per index, or three or four per pixel. */
function unfiltered(raw, { width, height, depth, colour }) {
  const samples = { 2: 3, 3: 1, 6: 4 }[colour], step = Math.max(1, (samples * depth) >> 3), stride = Math.ceil((width * samples * depth) / 8);
  if (raw.length !== height * (stride + 1)) throw new LabelError("The picture is damaged.");
  const out = new Uint8Array(height * stride);
  for (let y = 0; y < height; y++) {
    const filter = raw[y * (stride + 1)], to = y * stride;
    for (let x = 0; x < stride; x++) {
      const a = x >= step ? out[to + x - step] : 0, b = y ? out[to + x - stride] : 0, c = x >= step && y ? out[to + x - stride - step] : 0;
      const p = a + b - c, pa = Math.abs(p - a), pb = Math.abs(p - b), pc = Math.abs(p - c);
      const paeth = pa <= pb && pa <= pc ? a : pb <= pc ? b : c;
      out[to + x] = raw[y * (stride + 1) + 1 + x] + [0, a, b, (a + b) >> 1, paeth][filter];
    }
  }
  if (depth === 8) return out;
  const spread = new Uint8Array(width * height), per = 8 / depth;
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      spread[y * width + x] = (out[y * stride + Math.floor(x / per)] >> (8 - depth * ((x % per) + 1))) & ((1 << depth) - 1);
    }
  }
  return spread;
}

function byColour(pixels, { width, height, colour }, palette, transparent, labels) {
  const step = { 2: 3, 3: 1, 6: 4 }[colour], known = new Map(), ids = new Uint8Array(width * height);
  labels.colours.forEach(([r, g, b], id) => known.has((r << 16) | (g << 8) | b) || known.set((r << 16) | (g << 8) | b, id));
  let unmatched = 0, first = 0;
  for (let i = 0; i < ids.length; i++) {
    const [from, at] = colour === 3 ? [palette, pixels[i] * 3] : [pixels, i * step];
    const id = known.get((from[at] << 16) | (from[at + 1] << 8) | from[at + 2]);
    if (id === undefined || (colour === 6 && pixels[i * 4 + 3] !== 255)) first = unmatched++ ? first : i;
    else ids[i] = id;
  }
  if (unmatched) {
    throw new LabelError(`The picture has ${unmatched} pixels whose colour no label has, the first at x ${first % width}, y ` +
      `${Math.floor(first / width)}${transparent || colour === 6 ? "; transparent ones count" : ""}.`);
  }
  return ids;
}
