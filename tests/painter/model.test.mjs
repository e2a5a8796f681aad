// The painter's model: tools, undo, locks. Run by `node --test`, and with the suite.
import assert from "node:assert/strict";
import test from "node:test";
import { brushRows, fillPolygon, linePoints, nearestOther } from "../../web/painter/geometry.js";
import { LabelModel, UNDO_STEPS } from "../../web/painter/model.js";

const LABELS = { names: ["background", "a", "b", "c"], colours: [[0, 0, 0], [255, 0, 0], [0, 255, 0], [0, 0, 255]] };

const model = (rows, { blank = false } = {}) => {
  const ids = Uint8Array.from(rows.join(""), Number);
  return new LabelModel(rows[0].length, rows.length, LABELS, blank ? null : ids);
};
const rowsOf = (m) => Array.from({ length: m.height }, (_, y) => m.ids.slice(y * m.width, (y + 1) * m.width).join(""));

function checkCounts(m) {
  let changed = 0;
  m.ids.forEach((id, i) => {
    assert.equal(id, m.codes[i] ? m.codes[i] - 1 : m.baseId(i));
    changed += id !== m.baseId(i);
  });
  assert.equal(m.changed, changed);
}

test("round brushes are round, square ones square, both centred", () => {
  for (const size of [1, 2, 3, 4, 5, 9, 32, 75]) {
    const square = brushRows(size, "square").reduce((n, [, from, to]) => n + to - from + 1, 0);
    assert.equal(square, size * size);
    const rows = brushRows(size, "round");
    const area = rows.reduce((n, [, from, to]) => n + to - from + 1, 0);
    assert.ok(Math.abs(area - (Math.PI / 4) * size * size) <= 2 + size, `${size}: ${area}`);
    assert.deepEqual(rows.map(([, a, b]) => [a, b]), [...rows].reverse().map(([, a, b]) => [a, b]));
    assert.equal(Math.max(...rows.map(([, a, b]) => b - a + 1)), size);
  }
});

test("a line goes from end to end without gaps", () => {
  for (const [x, y] of [[7, 3], [-3, 8], [0, 0], [-5, -5], [9, 0]]) {
    const points = linePoints(0, 0, x, y);
    assert.deepEqual([points[0], points.at(-1)], [[0, 0], [x, y]]);
    points.slice(1).forEach(([px, py], i) => assert.ok(Math.max(Math.abs(px - points[i][0]), Math.abs(py - points[i][1])) === 1));
  }
});

test("a polygon covers the pixels whose centres lie inside", () => {
  const painted = [];
  fillPolygon([[1, 1], [5, 1], [5, 4], [1, 4]], 8, 8, (x, y) => painted.push(`${x},${y}`));
  assert.equal(painted.length, 12);
  assert.ok(painted.includes("1,1") && painted.includes("4,3") && !painted.includes("5,3"));
  let outside = 0;
  fillPolygon([[-9, -9], [99, -9], [99, 99], [-9, 99]], 8, 8, (x, y) => (outside += x < 0 || y < 0 || x > 7 || y > 7));
  assert.equal(outside, 0);
});

test("painting, counting, undo and redo", () => {
  const m = model(["0000", "0110", "0000"]);
  m.edit(() => m.stroke(0, 0, 3, 0, { size: 1, shape: "round" }, 2));
  assert.deepEqual(rowsOf(m), ["2222", "0110", "0000"]);
  assert.equal(m.changed, 4);
  m.edit(() => m.stroke(1, 0, 1, 0, { size: 1, shape: "round" }, 0));
  assert.equal(m.changed, 3);
  assert.deepEqual(m.editedLabels(), [0, 2]);
  assert.deepEqual(m.undo(), { x0: 1, y0: 0, x1: 1, y1: 0 });
  m.undo();
  assert.equal(m.undo(), null);
  assert.deepEqual(rowsOf(m), ["0000", "0110", "0000"]);
  m.redo();
  m.redo();
  assert.equal(m.redo(), null);
  assert.deepEqual(rowsOf(m), ["2022", "0110", "0000"]);
  m.edit(() => m.stroke(0, 0, 3, 0, { size: 1, shape: "round" }, null));
  assert.equal(m.changed, 0);
  checkCounts(m);
});

test("what changes nothing is no step of undo", () => {
  const m = model(["0110"], { blank: true });
  assert.equal(m.edit(() => m.stroke(0, 0, 3, 0, { size: 1, shape: "round" }, 0)), null);
  assert.equal(m.edit(() => {}), null);
  assert.equal(m.done.length, 0);
});

test("at least fifty steps of undo come back to the beginning", () => {
  const m = model(Array(16).fill("0".repeat(16)));
  let seed = 1;
  const random = (n) => (seed = (seed * 48271) % 2147483647) % n;
  for (let k = 0; k < UNDO_STEPS; k++) {
    m.edit(() => m.stroke(random(16), random(16), random(16), random(16), { size: 1 + random(4), shape: "square" }, random(4)));
    checkCounts(m);
  }
  const end = m.codes.slice();
  while (m.undo());
  assert.ok(UNDO_STEPS >= 50);
  assert.equal(m.changed, 0);
  while (m.redo());
  assert.deepEqual(m.codes, end);
});

test("fill: contiguous, or every pixel of the label", () => {
  const rows = ["1101", "0001", "1111"];
  const m = model(rows);
  m.edit(() => m.fill(0, 0, 3));
  assert.deepEqual(rowsOf(m), ["3301", "0001", "1111"]);
  m.undo();
  m.edit(() => m.fill(0, 0, 3, { contiguous: false }));
  assert.deepEqual(rowsOf(m), ["3303", "0003", "3333"]);
});

test("a locked label keeps its pixels, whatever the tool", () => {
  const m = model(["0110", "0110"]);
  m.locked.add(1);
  m.edit(() => m.stroke(0, 0, 3, 1, { size: 9, shape: "square" }, 2));
  assert.deepEqual(rowsOf(m), ["2112", "2112"]);
  m.edit(() => m.transform(m.part(1, 0), { dx: 1 }));
  m.edit(() => m.fill(1, 0, 3));
  assert.deepEqual(rowsOf(m), ["2112", "2112"]);
});

test("a part moves, grows and turns over; what it leaves takes the nearest other label", () => {
  const m = model(["00000", "01200", "00000"]);
  m.edit(() => m.transform(m.part(1, 1), { dx: 2 }));
  assert.deepEqual(rowsOf(m), ["00000", "00210", "00000"]);
  m.undo();
  m.edit(() => m.transform(m.part(1, 1), { scaleX: 3, scaleY: 3 }));
  assert.deepEqual(rowsOf(m), ["11100", "11100", "11100"]);
  m.undo();
  const shape = model(["1100", "1000", "0000"]);
  shape.edit(() => shape.transform(shape.part(0, 0), { flipX: true }));
  assert.deepEqual(rowsOf(shape), ["1100", "0100", "0000"]);
  shape.undo();
  shape.edit(() => shape.transform(shape.part(0, 0), { flipY: true, dx: 9 }));
  assert.deepEqual(rowsOf(shape), ["0000", "0000", "0000"]);
});

test("a transformation can be tried again from where it began", () => {
  const m = model(["0100"]);
  const part = m.part(1, 0);
  m.begin();
  for (const dx of [1, 2, -1]) {
    m.restart();
    m.transform(part, { dx });
  }
  m.commit();
  assert.deepEqual(rowsOf(m), ["1000"]);
  assert.equal(m.done.length, 1);
});

test("nearest other label, checked by search", () => {
  const width = 9, height = 7, ids = Uint8Array.from({ length: 63 }, (_, i) => (i * 31) % 4);
  const mask = Uint8Array.from(ids, (_, i) => Number(i % 9 > 2 && i % 9 < 7 && i > 9 && i < 50));
  const found = nearestOther(ids, mask, width, height);
  const distance = (i, j) => Math.abs((i % 9) - (j % 9)) + Math.abs(Math.floor(i / 9) - Math.floor(j / 9));
  mask.forEach((inside, i) => {
    if (!inside) return;
    const outside = [...ids.keys()].filter((j) => !mask[j]), least = Math.min(...outside.map((j) => distance(i, j)));
    assert.ok(outside.some((j) => distance(i, j) === least && ids[j] === found[i]));
  });
});

test("a drawing is laid on its base again", () => {
  const m = model(["0011", "0011"]);
  m.edit(() => m.stroke(0, 0, 1, 0, { size: 1, shape: "round" }, 2));
  const again = LabelModel.fromDrawing(m.drawing(), m.base, "");
  assert.deepEqual([again.ids, again.changed], [m.ids, 2]);
  const other = LabelModel.fromDrawing(m.drawing(), Uint8Array.from([3, 3, 3, 3, 3, 3, 3, 3]), "");
  assert.deepEqual(rowsOf(other), ["2233", "3333"]);
});

test("a pasted map paints only what differs from the base", () => {
  const m = model(["0011"]);
  m.edit(() => m.paste(Uint8Array.from([0, 2, 1, 1])));
  assert.deepEqual([...m.codes], [0, 3, 0, 0]);
  m.edit(() => m.clear());
  assert.equal(m.changed, 0);
});
