import assert from "node:assert/strict";
import { test } from "node:test";
import {
  cutsOf, histogram, keptCuts, lengthCounts, patchAt, patchRange, rises, statistics,
} from "../../site/js/cuts.js";

const starts = Uint32Array.of(0, 1, 5, 6);

test("a byte finds its patch", () => {
  assert.deepEqual([0, 1, 4, 5, 6, 99].map((at) => patchAt(starts, at)), [0, 1, 1, 2, 3, 3]);
  assert.equal(patchAt(new Uint32Array(0), 3), -1);
});

test("patches reach from start to start", () => {
  assert.deepEqual(patchRange(starts, 1, 9), [1, 5]);
  assert.deepEqual(patchRange(starts, 3, 9), [6, 9]);
});

test("lengths are counted", () => {
  assert.deepEqual(statistics(starts, 9), { count: 4, average: 2.25, longest: 4 });
  assert.deepEqual(statistics(new Uint32Array(0), 0), { count: 0, average: 0, longest: 0 });
  assert.deepEqual([...lengthCounts(starts, 9, 3)], [2, 0, 2]);
});

test("a histogram counts every entropy once", () => {
  const bins = histogram(Float32Array.of(0, 0.9, 1, 3.99, 4, 9, NaN), 4, 4);
  assert.deepEqual([...bins], [2, 1, 0, 3]);
});

test("rises are what an entropy gains", () => {
  assert.deepEqual([...rises(Float32Array.of(3, 1, 1.5, 1.5, 4))], [0.5, 2.5]);
});

test("what is said of the byte to come is told apart from the text", () => {
  const entropies = Float32Array.of(1, 2, 3);
  const open = cutsOf({ entropies, nextEntropy: 4, starts: Uint32Array.of(0, 2, 3) }, 3);
  assert.deepEqual([...open.starts], [0, 2]);
  assert.deepEqual([...open.entropies], [1, 2, 3]);
  assert.equal(open.nextEntropy, 4);
  assert.equal(open.opensNext, true);
  const none = cutsOf({ entropies: new Float32Array(0), starts: Uint32Array.of(0) }, 3);
  assert.equal(none.nextEntropy, null);
  assert.equal(none.opensNext, false);
  assert.equal(none.known, 3);
});

test("cuts before the first changed byte stay", () => {
  const cuts = { entropies: Float32Array.of(1, 2, 3, 4, 5, 6, 7), starts, known: 7 };
  const kept = keptCuts(cuts, 5);
  assert.deepEqual([...kept.starts], [0, 1]);
  assert.deepEqual([...kept.entropies], [1, 2, 3, 4, 5]);
  assert.equal(keptCuts(kept, 6).known, 5);
});
