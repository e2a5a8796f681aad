// Answers one JSON request per line: how the painter's modules read and write what Python gives them.
import { createInterface } from "node:readline";
import { baseHash, decodeDrawing, encodeDrawing } from "../../web/painter/codec.js";
import { defaultPalette, shown } from "../../web/painter/labels.js";
import { LabelModel } from "../../web/painter/model.js";
import { decodePng, encodePng } from "../../web/painter/png.js";

const actions = {
  async decode({ text }) {
    const drawing = await decodeDrawing(text);
    return { ...drawing, codes: [...drawing.codes] };
  },
  encode: (drawing) => encodeDrawing({ ...drawing, codes: Uint16Array.from(drawing.codes) }),
  hash: ({ width, height, names, ids }) => baseHash(width, height, names, Uint8Array.from(ids)),
  palette: ({ count }) => defaultPalette(count),
  shown: ({ value }) => shown(value),
  async toPng({ ids, ...rest }) {
    const blob = await encodePng({ ...rest, ids: Uint8Array.from(ids) });
    return Buffer.from(await blob.arrayBuffer()).toString("base64");
  },
  async fromPng({ data, names, colours }) {
    const read = await decodePng(new Uint8Array(Buffer.from(data, "base64")), { names, colours });
    return { ...read, ids: [...read.ids] };
  },
  transform({ width, height, names, colours, ids, x, y, change }) {
    const model = new LabelModel(width, height, { names, colours }, Uint8Array.from(ids));
    model.edit(() => model.transform(model.part(x, y), change));
    return { ids: [...model.ids], changed: model.changed };
  },
};

for await (const line of createInterface({ input: process.stdin })) {
  const { action, ...request } = JSON.parse(line);
  let answer;
  try {
    answer = { result: await actions[action](request) };
  } catch (error) {
    answer = { error: error.message, kind: error.constructor.name };
  }
  process.stdout.write(`${JSON.stringify(answer)}\n`);
}
