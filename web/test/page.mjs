// The tests of the page, `page/` and `site/`, told to a suite: they are node's own, so that each
// runs by itself with `node --test`, too.

import { readdirSync } from "node:fs";
import { run } from "node:test";
import { fileURLToPath } from "node:url";

const here = fileURLToPath(new URL("./", import.meta.url));

const files = ["page", "site"].flatMap((folder) => readdirSync(here + folder)
  .filter((name) => name.endsWith(".test.js"))
  .map((name) => `${here}${folder}/${name}`));

/** Runs them one file after the other. */
export async function page(suite) {
  let count = 0;
  for await (const { type, data } of run({ files, concurrency: 1 })) {
    const isTold = type === "test:pass" || type === "test:fail";
    // A file is a test too, which says nothing that those in it do not say.
    if (!isTold || (type === "test:pass" && files.includes(data.name))) continue;
    count += 1;
    await suite.test(`page: ${data.name}`, () => {
      if (type === "test:fail") throw data.details.error.cause ?? data.details.error;
    });
  }
  await suite.test("page: its tests ran", () => {
    if (count < 50) throw new Error(`${count} of them`);
  });
}
