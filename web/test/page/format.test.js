import assert from "node:assert/strict";
import { test } from "node:test";
import {
  bytes, count, duration, number, parameters, percent, plural, quantity, rate, unescaped,
} from "../../site/js/format.js";

test("numbers have their units", () => {
  assert.deepEqual([0, 1, 999, 1000, 11_800_000, 104_857_600, 999_999].map(bytes),
    ["0 bytes", "1 byte", "999 bytes", "1.0 kB", "11.8 MB", "105 MB", "1.0 MB"]);
  assert.deepEqual([0.05, 0.5, 4.25, 42.4, 999.4, 4250, 125000].map(duration),
    ["< 0.1 ms", "0.5 ms", "4.3 ms", "42 ms", "999 ms", "4.3 s", "2 min 5 s"]);
  assert.deepEqual([0, 0.0004, 0.012, 0.123, 1].map(percent),
    ["0.0 %", "< 0.1 %", "1.2 %", "12 %", "100 %"]);
  assert.equal(count(13412608), "13,412,608");
  assert.equal(rate(1530.4), "1,530 bytes/s");
  assert.deepEqual([quantity(57, "dispatches"), quantity(13_359_152, "bytes"), quantity(0.5, ""),
    quantity(50, "starts/s")], ["57 dispatches", "13.4 MB", "0.50", "20 ms"]);
  assert.deepEqual([812, 41.26, 4.433, 0.004].map(number), ["812", "41.3", "4.43", "0.0040"]);
  assert.deepEqual([13_412_608, 4_530_000_000, 9000].map(parameters),
    ["13.4 M", "4.53 B", "9,000"]);
  assert.equal(plural(1, "patch", "patches"), "1 patch");
});

test("what is no number is a dash", () => {
  assert.deepEqual([bytes, rate, duration, percent, number].map((it) => it(NaN)),
    ["–", "–", "–", "–", "–"]);
});

test("what cannot be typed is written with a backslash", () => {
  assert.equal(unescaped("a\\n\\t\\\\n\\x"), "a\n\t\\n\\x");
});
