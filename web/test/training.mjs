// Training: the losses of the program, a download that it opens, a save that outlives the tab.

import assert from "node:assert/strict";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { open, openDevice } from "./harness.mjs";
import { bltOn, run } from "./native.mjs";

const OPTIONS = JSON.parse(process.env.BLT_TEST_OPTIONS);

export async function training(suite, name, engine, context, page) {
  await suite.test(`${name}: thirty steps have the losses of native ones`, async () => {
    await openDevice(page, engine);
    const native = JSON.parse(await readFile(process.env.BLT_TEST_LOSSES, "utf8"));
    const steps = await page.evaluate(async (options) => {
      const text = await (await fetch("/text.txt")).text();
      const steps = [];
      globalThis.training = await blt.train(text, options, (step) => steps.push(step));
      await training.pause();
      await training.step();
      await training.resume();
      await training.done;
      return steps;
    }, OPTIONS);
    const losses = steps.filter(({ phase }) => phase !== "cut").map(({ loss }) => loss);
    assert.equal(losses.length, 30);
    assert.equal(native.length, 30);
    losses.slice(0, 10).forEach((loss, index) => {
      assert.ok(Math.abs(loss - native[index]) < 1e-3, `step ${index + 1}: ${loss}, not ${native[index]}`);
    });
    for (const phase of ["entropy", "blt"]) {
      const own = steps.filter((step) => step.phase === phase);
      assert.ok(own.at(-1).loss < own[0].loss - 0.2, `${phase}: ${own[0].loss} to ${own.at(-1).loss}`);
    }
    assert.ok(steps.at(-1).heldOutBpb > 1 && steps.at(-1).heldOutBpb < 8);
  });

  await suite.test(`${name}: what was trained opens in blt, and here again`, async () => {
    const base64 = await page.evaluate(async () => {
      const bytes = new Uint8Array(await (await training.download()).arrayBuffer());
      let text = "";
      for (const byte of bytes) text += String.fromCharCode(byte);
      return btoa(text);
    });
    const folder = await mkdtemp(join(tmpdir(), "blt-web-"));
    try {
      await writeFile(join(folder, "model.tar"), Buffer.from(base64, "base64"));
      run("tar", ["-xf", join(folder, "model.tar"), "-C", folder]);
      const model = join(folder, "blt-model");
      const native = JSON.parse(bltOn(model, "generate", "--prompt", "KING:", "-n", "8", "--json"));
      const files = {};
      for (const file of ["config.json", "model.safetensors"]) {
        files[file] = (await readFile(join(model, file))).toString("base64");
      }
      const found = await page.evaluate(async (files) => {
        const bytes = (text) => Uint8Array.from(atob(text), (char) => char.charCodeAt(0));
        const chosen = Object.entries(files).map(([name, text]) => new File([bytes(text)], name));
        const { name } = await blt.load(chosen);
        return { name, ...(await blt.generate("KING:", { maxBytes: 8 })) };
      }, files);
      assert.equal(found.text, native.text);
      assert.equal(found.name, "your files");
    } finally {
      await rm(folder, { recursive: true });
    }
  });

  await suite.test(`${name}: a save is there in another tab`, async () => {
    const other = await open(context);
    await openDevice(other, "cpu");
    const [saved, size] = await other.evaluate(async () => {
      const saved = await blt.savedTraining();
      return [saved, (await blt.downloadSaved())?.size];
    });
    assert.equal(saved?.step, 30);
    assert.equal(size, saved.bytes);
    assert.deepEqual(other.complaints, []);
    await other.close();
  });
}
