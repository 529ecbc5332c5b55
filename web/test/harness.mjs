// A browser, pages in it, and a list of what held. Lines are those of libtest: xtask counts them.

import { chromium } from "playwright-core";

const SWIFTSHADER = ["--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader", "--enable-features=Vulkan"];
const NO_WEBGPU = ["--disable-features=WebGPU", "--disable-gpu"];

/** What Chromium says of each file that is not there, by itself. */
const OF_A_MISSING_FILE = /Failed to load resource/;

export class Suite {
  #passed = 0;
  #failed = 0;
  #only = process.argv[2] ?? "";

  /** Runs a test and says what became of it; `only` that of the command line. */
  async test(name, run) {
    if (!name.includes(this.#only)) return;
    const begin = performance.now();
    try {
      await run();
      this.#passed += 1;
      console.log(`test ${name} ... ok (${((performance.now() - begin) / 1000).toFixed(1)} s)`);
    } catch (error) {
      this.#failed += 1;
      console.log(`test ${name} ... FAILED\n    ${error.stack ?? error}`);
    }
  }

  /** Prints the sum; whether nothing failed. */
  end() {
    const verdict = this.#failed === 0 ? "ok" : "FAILED";
    console.log(`test result: ${verdict}. ${this.#passed} passed; ${this.#failed} failed; 0 ignored`);
    return this.#failed === 0;
  }
}

/** A browser with WebGPU in software, or without any. */
export async function launch(hasWebGpu) {
  const more = (process.env.BLT_CHROMIUM_ARGS ?? "").split(" ").filter(Boolean);
  return chromium.launch({
    executablePath: process.env.BLT_TEST_CHROMIUM,
    headless: true,
    // Containers have no user namespaces; the pages are our own.
    args: ["--no-sandbox", ...(hasWebGpu ? SWIFTSHADER : NO_WEBGPU), ...more],
  });
}

/** A page of the site that keeps what the console complains of in `complaints`. */
export async function open(context, path = "blank.html") {
  const page = await context.newPage();
  page.setDefaultTimeout(300_000);
  page.complaints = [];
  page.on("pageerror", (error) => page.complaints.push(`uncaught: ${error.message}`));
  page.on("console", (message) => {
    const isBad = message.type() === "error" || message.type() === "warning";
    if (isBad && !OF_A_MISSING_FILE.test(message.text())) page.complaints.push(message.text());
  });
  await page.goto(process.env.BLT_TEST_SITE + path);
  return page;
}

/** Opens a device in a page, as `blt` there. */
export async function openDevice(page, engine) {
  await page.evaluate(async (engine) => {
    const { Blt } = await import("/pkg/index.js");
    globalThis.blt?.close();
    globalThis.blt = await Blt.open({ engine });
    // What a promise rejects with, as plain data.
    globalThis.failureOf = (promise) => promise.then(
      (value) => ({ kind: "none", message: JSON.stringify(value) }),
      ({ kind, message, hint }) => ({ kind, message, hint }),
    );
  }, engine);
}

/** The same with the model that was trained natively. */
export async function openModel(page, engine) {
  await openDevice(page, engine);
  return page.evaluate(() => blt.load("/test-model/"));
}
