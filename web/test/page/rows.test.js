import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { compared, machineOf, parseRows, spread, valueOf } from "../../site/js/rows.js";

const results = new URL("../../../benches/results/", import.meta.url);
const file = (name) => readFileSync(new URL(name, results), "utf8");

test("the results of this project are read, as lines and as a list", () => {
  const rows = parseRows(file("cpu-engine-2-cores.jsonl"));
  assert.ok(rows.length > 10);
  assert.equal(machineOf(rows[0]), "AMD EPYC, cpu");
  assert.deepEqual(parseRows(JSON.stringify(rows)), rows);
});

test("what is no result says which line is to blame", () => {
  assert.throws(() => parseRows('{"kernel":"a","status":"ok"}\nhello'), /line 2/);
  assert.throws(() => parseRows('[{"kernel":"a"}]'), /row 1/);
  assert.throws(() => parseRows("[null]"), /row 1/);
  assert.throws(() => parseRows(""), /no rows/);
});

test("the same measurement of two machines stands in one group", () => {
  const row = (kernel, rate, status = "ok") => ({
    kind: "peak", kernel, shape: "x", precision: "f32", rate, unit: "GB/s", status,
  });
  const groups = compared([
    ["a", [row("read", 50), row("write", 10)]],
    ["b", [row("read", 100), row("launch", 3, "skipped")]],
  ]);
  assert.deepEqual(groups.map((group) => group.name), ["read", "write", "launch"]);
  assert.deepEqual(groups[0].bars.map((bar) => [bar.source, bar.share]), [["a", 0.5], ["b", 1]]);
  assert.equal(groups[2].bars[0].value, null);
  const alone = compared([["a", [row("read", 50), row("write", 10)]]]);
  assert.deepEqual(alone.map((group) => group.bars[0].share), [1, 0.2]);
});

test("bf16 of a peer stands beside mixed", () => {
  const row = (precision) => ({
    kind: "train", kernel: "step", shape: "s", precision, rate: 1, unit: "bytes/s", status: "ok",
  });
  const groups = compared([["a", [row("mixed")]], ["b", [row("bf16"), row("bf16 compiled")]]]);
  assert.deepEqual(groups.map((group) => [group.shape, group.bars.length]),
    [["s, mixed", 2], ["s, mixed compiled", 1]]);
});

test("a row without a rate is its time", () => {
  assert.equal(valueOf({ status: "ok", rate: null, median_ms: 4 }), 4);
  assert.equal(valueOf({ status: "failed", rate: 3 }), null);
});

test("the spread is half the distance of the quartiles over the median", () => {
  assert.equal(spread([1, 2, 3, 4, 5]), 1 / 3);
  assert.equal(spread([1]), null);
});
