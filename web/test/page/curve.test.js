import assert from "node:assert/strict";
import { test } from "node:test";
import { extent, scale, smoothed, thinned, ticks } from "../../site/js/curve.js";

test("ticks are round and inside", () => {
  assert.deepEqual(ticks(0, 10, 5), [0, 2, 4, 6, 8, 10]);
  assert.deepEqual(ticks(1.3, 2.7, 3), [1.5, 2, 2.5]);
  assert.deepEqual(ticks(1.4, 8.7, 3), [2.5, 5, 7.5]);
  assert.deepEqual(ticks(-0.3, 0.3, 3), [-0.2, 0, 0.2]);
  assert.deepEqual(ticks(5, 5, 3), [5]);
});

test("an extent has a margin and leaves out what is no number", () => {
  assert.deepEqual(extent([1, NaN, 3, undefined], 0.5), [0, 4]);
  assert.deepEqual(extent([]), [0, 1]);
});

test("a thinned curve keeps its ends' order and its peaks", () => {
  const points = Array.from({ length: 10000 }, (_, x) => [x, x === 4321 ? 99 : Math.sin(x)]);
  const few = thinned(points, 200);
  assert.ok(few.length <= 402, String(few.length));
  assert.ok(few.some(([x, y]) => x === 4321 && y === 99));
  for (let i = 1; i < few.length; i++) assert.ok(few[i - 1][0] < few[i][0]);
  assert.equal(thinned(points.slice(0, 50), 200).length, 50);
});

test("smoothing begins where the curve does, and rests in its middle", () => {
  assert.deepEqual(smoothed([[0, 4]], 50), [[0, 4]]);
  const noisy = Array.from({ length: 1000 }, (_, i) => [i, i % 2 === 0 ? 1 : 3]);
  const [x, y] = smoothed(noisy, 50).at(-1);
  assert.equal(x, 999);
  assert.ok(Math.abs(y - 2) < 0.1, String(y));
});

test("a scale maps both ends", () => {
  const toPixels = scale([2, 4], [100, 0]);
  assert.deepEqual([2, 3, 4].map(toPixels), [100, 50, 0]);
});
