// What goes wrong: every one a BltError of its kind, and what goes on afterwards.

import assert from "node:assert/strict";
import { open, openDevice, openModel } from "./harness.mjs";

export async function faults(suite, name, engine, context, page) {
  await suite.test(`${name}: what is no model is told apart`, async () => {
    await openDevice(page, engine);
    const kindOf = (url) => page.evaluate((url) => failureOf(blt.load(url)), url);
    const expected = { "/no-model/": "not-a-model", "/cut-model/": "truncated", "/nothing/": "not-a-model" };
    for (const [url, kind] of Object.entries(expected)) {
      const failure = await kindOf(url);
      assert.equal(failure.kind, kind, failure.message);
      assert.ok(failure.hint, failure.message);
    }
    const failure = await page.evaluate(() => failureOf(blt.patches("x")));
    assert.equal(failure.kind, "input");
    assert.match(failure.message, /no model is loaded/);
  });

  await suite.test(`${name}: a text too large and options that mean nothing are refused`, async () => {
    await openModel(page, engine);
    const failures = await page.evaluate(async () => [
      await failureOf(blt.patches(new Uint8Array(100 << 20))),
      await failureOf(blt.train(new Uint8Array(100 << 20))),
      await failureOf(blt.train("short")),
      await failureOf(blt.patches("x", { mode: "words" })),
      await failureOf(blt.generate("x", { temperature: -1 })),
      await failureOf(blt.generate("x", { warmth: 1 })),
    ]);
    const kinds = failures.map(({ kind }) => kind);
    assert.deepEqual(kinds, ["limit", "limit", "input", "input", "input", "input"], JSON.stringify(failures));
    const starts = await page.evaluate(async () => [...(await blt.patches(new Uint8Array([0xff, 0xc3, 0x20]))).starts]);
    assert.equal(starts[0], 0);
  });

  await suite.test(`${name}: jobs are interrupted in their middle`, async () => {
    const [generated, cut] = await page.evaluate(async () => {
      const soon = (ms) => setTimeout(() => blt.interrupt(), ms);
      const generating = blt.generate("x", { maxBytes: 1_000_000 });
      soon(500);
      const generated = await generating;
      const cutting = failureOf(blt.patches("word ".repeat(100_000)));
      soon(200);
      return [generated, await cutting];
    });
    assert.equal(generated.end, "interrupted");
    assert.equal(cut.kind, "interrupted");
  });

  await suite.test(`${name}: no room in the cache does not keep a model from working`, async () => {
    const session = await context.newCDPSession(page);
    const origin = new URL(process.env.BLT_TEST_SITE).origin;
    await page.evaluate(() => blt.clearCache());
    await session.send("Storage.overrideQuotaForOrigin", { origin, quotaSize: 100_000 });
    const info = await page.evaluate(() => blt.load("/test-model/"));
    await session.send("Storage.overrideQuotaForOrigin", { origin });
    assert.equal(info.cacheFailure?.kind, "quota", JSON.stringify(info.cacheFailure));
    assert.deepEqual(await page.evaluate(() => blt.cached()), []);
    assert.equal(await page.evaluate(async () => (await blt.patches("ab")).bytes.length), 2);
  });

  await suite.test(`${name}: two tabs load at once, and the cache keeps it`, async () => {
    const other = await open(context);
    await openDevice(other, "cpu");
    const load = (page) => page.evaluate(() => blt.load("/test-model/"));
    const infos = await Promise.all([load(page), load(other)]);
    assert.deepEqual(infos.map(({ cacheFailure }) => cacheFailure), [null, null]);
    const stages = await other.evaluate(async () => {
      const stages = new Set();
      await blt.load("/test-model/", ({ stage }) => stages.add(stage));
      return [...stages];
    });
    assert.deepEqual(stages, ["cache", "device"]);
    const [kept] = await other.evaluate(() => blt.cached());
    assert.match(kept.url, /\/test-model\/$/);
    assert.equal(kept.bytes, infos[0].bytes);
    assert.deepEqual(other.complaints, []);
    await other.close();
  });

  if (engine === "cpu") {
    await suite.test(`${name}: without a GPU it says why`, async () => {
      await openDevice(page, engine);
      const found = await page.evaluate(async () => {
        const { Blt } = await import("/pkg/index.js");
        const refused = await failureOf(Blt.open({ engine: "webgpu" }));
        const auto = await Blt.open();
        return [refused, await auto.info()];
      });
      assert.equal(found[0].kind, "unsupported");
      assert.deepEqual([found[1].engine, found[1].adapter], ["cpu", null]);
      assert.ok(found[1].reason.length > 10);
    });
    return;
  }

  await suite.test(`${name}: a lost device is told, and another one opened`, async () => {
    const found = await page.evaluate(async () => {
      const told = new Promise((resolve) => (blt.onDeviceLost = resolve));
      const generating = failureOf(blt.generate("x", { maxBytes: 1_000_000 }, () => blt.loseDevice()));
      const failure = await generating;
      return [failure, await told, await failureOf(blt.patches("other words"))];
    });
    assert.equal(found[0].kind, "device-lost", found[0].message);
    assert.match(found[1], /destroyed/i);
    assert.equal(found[2].kind, "device-lost");
    await openModel(page, engine);
    assert.equal(await page.evaluate(async () => (await blt.patches("ab")).bytes.length), 2);
  });
}
