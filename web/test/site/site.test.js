// The page as a visitor has it, in Chromium: `node --test web/test/site/`, after `cargo xtask web`.

import assert from "node:assert/strict";
import { after, test } from "node:test";
import { cuts, leave, loadModel, visit } from "./visit.js";

after(leave);

const TEXT = "To be, or not to be, that is the question: Ångström.";
const BYTES = new TextEncoder().encode(TEXT).length;

test("typed text is cut as the package cuts it, in every mode, and is in the link", async () => {
  await visit("#engine=cpu", async (page) => {
    await loadModel(page);
    await page.fill("#panel-cut textarea", TEXT);
    for (const mode of ["monotonic", "space", "static", "byte", "entropy"]) {
      await page.check(`input[value="${mode}"]`);
      await page.waitForFunction((it) => location.hash.includes(`mode=${it}`), mode);
      const expected = await page.evaluate(async ([text, mode]) => {
        const { session } = await import("/js/session.js");
        const options = { mode };
        if (mode === "monotonic") options.threshold = 0.5;
        if (mode === "static") options.patchSize = 4;
        const { starts, bytes } = await session.blt.patches(text, options);
        return starts.filter((start) => start < bytes.length).length;
      }, [TEXT, mode]);
      await page.waitForTimeout(200);
      assert.equal(await cuts(page, BYTES), expected, mode);
    }
    const link = await page.evaluate(() => location.hash);
    await page.reload();
    assert.equal(await page.inputValue("#panel-cut textarea"), TEXT);
    assert.equal(await page.evaluate(() => location.hash), link);
    // The model was kept: nobody presses a button again.
    assert.ok((await cuts(page, BYTES)) > 1);
  });
});

test("field and mirror break lines alike, whatever is in them", async () => {
  const text = "Tab\there, 漢字かな, 😀👩‍👩‍👧, عربي, e\u0301. https://example.org/a/very/long/" +
    "path-with-hyphens?x=1&y=2\n\n   indented, trailing          \nend—dash, “quotes” …";
  for (const width of [390, 820, 1440]) {
    await visit("#engine=cpu", async (page) => {
      await loadModel(page);
      await page.fill("#panel-cut textarea", text.repeat(3));
      await page.waitForTimeout(500);
      const [field, mirror] = await page.evaluate(() => {
        const field = document.querySelector("#panel-cut textarea");
        const mirror = document.querySelector("#panel-cut .mirror");
        return [field.scrollHeight, mirror.scrollHeight];
      });
      assert.equal(field, mirror, `${width} pixels`);
    }, { width });
  }
});

test("bytes that are no UTF-8 are shown, edited around, and cut", async () => {
  await visit("#engine=cpu", async (page) => {
    await loadModel(page);
    const buffer = Buffer.from([0xff, 0x41, 0x0d, 0x0a, 0xe2, 0x82, 0x42]);
    await page.setInputFiles("#panel-cut .fileline input", {
      name: "odd.bin", mimeType: "application/octet-stream", buffer,
    });
    assert.ok((await cuts(page, 7)) >= 1);
    assert.match(await page.textContent(".fileline"), /bytes 0 to 7 of 7, 3 of them no UTF-8/);
    await page.focus("#panel-cut textarea");
    await page.keyboard.press("Control+End");
    await page.keyboard.type("C");
    assert.ok((await cuts(page, 8)) >= 1);
  });
});

test("a pasted text of 20 MB is shown in part, and the page goes on", async () => {
  await visit("#engine=cpu", async (page) => {
    await page.waitForSelector("#load:not(:disabled)");
    await page.focus("#panel-cut textarea");
    await page.evaluate(() => {
      const data = new DataTransfer();
      data.setData("text/plain", "The quick brown fox. ".repeat(1_000_000));
      const event = new ClipboardEvent("paste", {
        clipboardData: data, bubbles: true, cancelable: true,
      });
      document.activeElement.dispatchEvent(event);
    });
    await page.waitForSelector(".card.note");
    const line = page.locator(".fileline");
    await line.filter({ hasText: "bytes 0 to 32,768 of 21,000,000" }).waitFor();
    await page.click("text=Later");
    await line.filter({ hasText: "bytes 32,768 to 65,536" }).waitFor();
  });
});

test("the same seed writes the same text, and stop stops", async () => {
  await visit("#engine=cpu&tab=continue&prompt=The&bytes=60&seed=5", async (page) => {
    await loadModelElsewhere(page);
    const start = page.locator("#panel-continue button.primary");
    const written = async () => {
      await start.click();
      await page.locator("#panel-continue .links", { hasText: "written, then" }).waitFor();
      return page.textContent("#panel-continue .mirror");
    };
    const first = await written();
    assert.ok(first.startsWith("The") && first.length > 30, first);
    assert.equal(await written(), first);
    await page.fill("#panel-continue input[max='4096']", "4000");
    await start.click();
    await page.waitForTimeout(500);
    await page.click("#panel-continue button:has-text('Stop')");
    await page.locator("#panel-continue .links", { hasText: "stopped" }).waitFor();
  });
});

test("a model is trained, paused, stepped, and opened on the page", async () => {
  await visit("#engine=cpu&tab=train", async (page) => {
    await page.waitForSelector("#load:not(:disabled)");
    const text = "the cat sat on the mat and the dog sat on the log. ".repeat(200);
    await page.fill("textarea.corpus", text);
    const fields = page.locator("#panel-train input[type=number]");
    for (const [place, value] of [[0, 6], [1, 8], [4, 4], [5, 4]]) {
      await fields.nth(place).fill(String(value));
    }
    const status = page.locator("#panel-train .running");
    await page.click("#panel-train button.primary");
    await page.locator("#panel-train button:has-text('Pause'):not(:disabled)").click();
    await status.filter({ hasText: "paused" }).waitFor();
    const stepOf = async () =>
      Number(/Step (\d+) of 14/.exec(await status.textContent())?.[1] ?? 0);
    const before = await stepOf();
    await page.click("#panel-train button:has-text('One step')");
    await page.waitForFunction(
      (step) => document.querySelector("#panel-train").textContent.includes(`Step ${step} of 14`),
      before + 1,
    );
    await page.click("#panel-train button:has-text('Go on')");
    await status.filter({ hasText: "Step 14 of 14: ended" }).waitFor({ timeout: 60_000 });
    assert.ok((await page.locator(".samples li").count()) >= 1);
    const [download] = await Promise.all([
      page.waitForEvent("download"),
      page.click("#panel-train button:has-text('Download the model')"),
    ]);
    assert.equal(download.suggestedFilename(), "blt-step-14.tar");
    await page.click("#panel-train button:has-text('Use it on this page')");
    await page.locator("#fact-model", { hasText: "Trained here, step 14" }).waitFor();
  });
});

test("files that are no model say so in a card", async () => {
  await visit("#engine=cpu", async (page) => {
    await page.waitForSelector("#load:not(:disabled)");
    await page.evaluate(async () => {
      const { session } = await import("/js/session.js");
      await session.load([new File(["hello"], "notes.txt")]);
    });
    const card = page.locator(".card");
    await card.waitFor();
    assert.match(await card.textContent(), /config\.json/);
    await card.locator("button:has-text('Close')").click();
    assert.equal(await page.locator(".card").count(), 0);
  });
});

test("a lost device has one card, and is opened again", async () => {
  await visit("#engine=webgpu", async (page) => {
    await loadModel(page);
    await page.evaluate(async () => {
      const { session } = await import("/js/session.js");
      await session.blt.loseDevice();
    });
    await page.waitForSelector(".card");
    await page.waitForTimeout(1500);
    assert.equal(await page.locator(".card").count(), 1);
    assert.match(await page.textContent(".card"), /The GPU was lost/);
    await page.click("text=Use the CPU engine");
    await page.locator("#fact-device", { hasText: "CPU engine" }).waitFor();
    await page.locator("#fact-model", { hasText: "The small model" }).waitFor();
    assert.deepEqual(await page.locator(".card").allTextContents(), []);
  });
});

test("tabs are moved between by arrows, and are in the link", async () => {
  await visit("", async (page) => {
    await page.focus("#tab-cut");
    for (const name of ["continue", "train", "measure", "cut"]) {
      await page.keyboard.press("ArrowRight");
      assert.equal(await page.evaluate(() => document.activeElement.id), `tab-${name}`);
      assert.ok(await page.isVisible(`#panel-${name}`));
    }
    await page.keyboard.press("End");
    await page.waitForFunction(() => location.hash.includes("tab=measure"));
  });
});

test("the example of thirty lines cuts and writes", async () => {
  await visit("examples/plain.html", async (page) => {
    await page.locator("#go:not(:disabled)").waitFor({ timeout: 60_000 });
    await page.locator("#patches", { hasText: "bytes a patch" }).waitFor();
    const before = await page.inputValue("#text");
    await page.click("#go");
    await page.locator("#state", { hasText: "bytes/s" }).waitFor({ timeout: 60_000 });
    assert.ok((await page.inputValue("#text")).length > before.length + 100);
  });
});

/** Loads the small model where another panel than the first is open. */
async function loadModelElsewhere(page) {
  await page.click("#load");
  await page.locator("#panel-continue button.primary:not(:disabled)").waitFor({ timeout: 60_000 });
}
