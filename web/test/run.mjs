// `cargo xtask web-test`: the package in a browser, once on WebGPU in software, once without WebGPU.
// xtask gives what it needs in the environment; an argument is part of the names of tests.

import assert from "node:assert/strict";
import { faults } from "./faults.mjs";
import { Suite, launch, open } from "./harness.mjs";
import { looking } from "./looking.mjs";
import { measuring } from "./measuring.mjs";
import { page as pageTests } from "./page.mjs";
import { training } from "./training.mjs";

const suite = new Suite();
for (const engine of ["cpu", "webgpu"]) {
  const name = engine === "cpu" ? "CPU engine" : "WebGPU";
  const browser = await launch(engine === "webgpu");
  const context = await browser.newContext();
  const page = await open(context);
  await looking(suite, name, engine, page);
  await training(suite, name, engine, context, page);
  await faults(suite, name, engine, context, page);
  await measuring(suite, name, engine, page);
  await suite.test(`${name}: nothing is left in the console`, () => assert.deepEqual(page.complaints, []));
  await browser.close();
}
await pageTests(suite);
process.exit(suite.end() ? 0 : 1);
