// The benchmark, and every kernel against its oracle.

import assert from "node:assert/strict";
import { openDevice } from "./harness.mjs";

/** Elements of the largest case of a kernel. */
const MOST_ELEMENTS = 6000;

export async function measuring(suite, name, engine, page) {
  await suite.test(`${name}: the benchmark has rows`, async () => {
    await openDevice(page, engine);
    // In software a training step of that shape takes a minute.
    const parts = engine === "cpu" ? ["peaks", "model", "generate"] : ["peaks"];
    const [rows, told] = await page.evaluate(async (parts) => {
      let told = 0;
      return [await blt.bench({ quick: true, parts }, () => (told += 1)), told];
    }, parts);
    assert.equal(rows.length, told);
    assert.deepEqual(rows.filter(({ status }) => status === "failed"), []);
    assert.ok(rows.some(({ kind, rate }) => kind === "peak" && rate > 0));
    for (const row of rows) assert.equal(row.backend, engine === "cpu" ? "cpu" : "webgpu");
  });

  await suite.test(`${name}: every kernel agrees with its oracle`, async () => {
    const checked = await page.evaluate(async (mostElements) => {
      const all = [];
      for (const name of await blt.callForTests("kernelNames")) {
        all.push(...(await blt.callForTests("checkKernel", { name, mostElements })));
      }
      return all;
    }, MOST_ELEMENTS);
    const wrong = checked.filter(({ problem }) => problem);
    assert.deepEqual(wrong, []);
    const ran = new Set(checked.filter(({ caseCount }) => caseCount > 0).map(({ name }) => name.split(".")[0]));
    const all = new Set(checked.map(({ name }) => name.split(".")[0]));
    const left = [...all].filter((kernel) => !ran.has(kernel));
    // Kernels of 16-bit floats, where there are none.
    assert.deepEqual(left, engine === "cpu" ? [] : left.filter((kernel) => /f16/.test(kernel)));
    assert.ok(ran.size >= 45, `${ran.size} kernels`);
    const cases = checked.reduce((sum, { caseCount }) => sum + caseCount, 0);
    console.log(`    ${ran.size} kernels, ${checked.length} variants, ${cases} cases`);
  });
}
