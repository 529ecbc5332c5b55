import assert from "node:assert/strict";
import { test } from "node:test";
import { latest } from "../../site/js/latest.js";

test("only the newest of what came meanwhile runs, one at a time", async () => {
  const seen = [];
  let running = 0;
  let release;
  const work = async (value) => {
    running += 1;
    assert.equal(running, 1);
    await new Promise((resolve) => (release = resolve));
    running -= 1;
    if (value === 3) throw new Error("three");
    return value;
  };
  const call = latest(work, (value, isStale) => seen.push([value, isStale]),
    (error) => seen.push([error.message, false]));
  const turn = async () => {
    release();
    await new Promise((resolve) => setTimeout(resolve));
  };
  call(1);
  call(2);
  call(3);
  await turn();
  await turn();
  call(4);
  await turn();
  assert.deepEqual(seen, [[1, true], ["three", false], [4, false]]);
});
