// A visit to the page in headless Chromium, which hears everything that goes wrong on the way.

import assert from "node:assert/strict";
import { chromium } from "playwright-core";
import { serveSite } from "./server.js";

// `cargo xtask web-test` names both; by themselves the tests serve the site and look where Debian
// has its browser.
const { BLT_TEST_SITE, BLT_TEST_CHROMIUM, BLT_CHROMIUM } = process.env;
const BROWSER = BLT_TEST_CHROMIUM ?? BLT_CHROMIUM ?? "/usr/bin/chromium";

/** WebGPU in software, so that every machine has it. */
const SOFTWARE_GPU = [
  "--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader", "--enable-features=Vulkan",
  "--use-vulkan=swiftshader",
];

let served = null;
let browser = null;

/** Ends what visits have begun. */
export async function leave() {
  await browser?.close();
  served?.server?.close();
}

/**
 * Opens the page with `hash` behind its address and hands it to `look`. Fails for an error on the
 * console, an exception that nobody caught, and a request to anybody but the server of the page.
 */
export async function visit(hash, look, { width = 1280 } = {}) {
  served ??= BLT_TEST_SITE ? { url: BLT_TEST_SITE } : await serveSite();
  browser ??= await chromium.launch({
    executablePath: BROWSER, args: ["--headless", "--no-sandbox", ...SOFTWARE_GPU],
  });
  const context = await browser.newContext({ viewport: { width, height: 900 } });
  const page = await context.newPage();
  const complaints = [];
  page.on("console", (message) => {
    if (["error", "warning"].includes(message.type())) complaints.push(message.text());
  });
  page.on("pageerror", (error) => complaints.push(error.stack));
  context.on("request", (request) => {
    const isOwn = request.url().startsWith(served.url) || request.url().startsWith("blob:");
    if (!isOwn) complaints.push(`asked ${request.url()}`);
  });
  try {
    await page.goto(served.url + hash);
    await look(page, context);
    assert.deepEqual(complaints, []);
  } finally {
    await context.close();
  }
}

/** Loads the small model, and waits until the text is cut by it. */
export async function loadModel(page) {
  await page.click("#load");
  await page.waitForSelector(".figure strong", { timeout: 120_000 });
}

/** What the page says of the cuts: bytes and patches, once it says so of `byteCount` bytes. */
export async function cuts(page, byteCount) {
  const begin = `${byteCount} byte`;
  const summary = page.locator(".outcome .small", { hasText: begin });
  await summary.waitFor({ timeout: 60_000 });
  const [, patches] = /in ([\d,]+) patch/.exec(await summary.textContent());
  return Number(patches.replaceAll(",", ""));
}
