// Texts as the program sees them: patches, entropies, greedy text.

import assert from "node:assert/strict";
import { openModel } from "./harness.mjs";
import { blt } from "./native.mjs";

const TEXT = "First Citizen:\nBefore we proceed any further, hear me speak. Caf\u00e9, \u4f60\u597d!";

export async function looking(suite, name, engine, page) {
  await suite.test(`${name}: patches are those of blt patch`, async () => {
    const info = await openModel(page, engine);
    assert.equal(info.modelType, "blt");
    assert.ok(info.hasEntropyModel && info.parameterCount > 100_000);
    for (const options of [{}, { threshold: 4 }, { mode: "space" }]) {
      const flags = Object.entries(options).flatMap(([key, value]) => [`--${key}`, String(value)]);
      const native = JSON.parse(blt("patch", "--text", TEXT, "--json", ...flags));
      const found = await page.evaluate(async ([text, options]) => {
        const { bytes, entropies, starts } = await blt.patches(text, options);
        return { length: bytes.length, entropies: [...entropies], starts: [...starts] };
      }, [TEXT, options]);
      // Of ids, of which the first is BOS, an EOS behind the text.
      const starts = native.patch_lengths.reduce((all, length) => [...all, all.at(-1) + length], [0]);
      const ofBytes = starts.map((start) => start - 1).filter((start) => start >= 0 && start <= found.length);
      assert.deepEqual(found.starts, ofBytes);
      native.entropies.slice(0, found.length).forEach((entropy, index) => {
        assert.ok(Math.abs(entropy - found.entropies[index]) < 1e-3, `entropy of byte ${index}`);
      });
      assert.equal(found.entropies.length, found.length);
    }
  });

  await suite.test(`${name}: greedy text is that of blt generate`, async () => {
    const count = engine === "cpu" ? 100 : 20;
    const native = JSON.parse(blt("generate", "--prompt", TEXT, "-n", String(count), "--json"));
    const found = await page.evaluate(async ([text, maxBytes]) => {
      let streamed = "";
      const done = await blt.generate(text, { maxBytes }, (piece) => (streamed += piece.text));
      return { ...done, streamed };
    }, [TEXT, count]);
    assert.equal(found.text, native.text);
    assert.equal(found.streamed, native.text);
    assert.equal(found.byteCount, native.ids.length);
  });

  await suite.test(`${name}: a place of a text is looked at`, async () => {
    const [distribution, hashes, sight] = await page.evaluate(async (text) => [
      await blt.distribution(text, 5),
      await blt.hashes(text, 5),
      await blt.attention(text, 2),
    ], TEXT);
    const total = distribution.top.reduce((sum, { probability }) => sum + probability, 0);
    assert.ok(total > 0.1 && total <= 1 && distribution.entropy > 0);
    assert.deepEqual(hashes.map(({ size }) => size), [3, 4]);
    assert.deepEqual(Object.values(hashes[0].bytes), [...Buffer.from(TEXT.slice(3, 6))]);
    assert.equal(sight.patches[1], 3);
  });
}
