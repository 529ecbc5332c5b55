// The rules of the house, for the files of the page.

import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { test } from "node:test";

const site = fileURLToPath(new URL("../../site/", import.meta.url));
const files = readdirSync(site, { recursive: true })
  .filter((name) => /\.(js|css|html)$/.test(name))
  .map((name) => ({ name, text: readFileSync(join(site, name), "utf8") }));

test("files and lines are short", () => {
  assert.ok(files.length > 20);
  for (const { name, text } of files) {
    const lines = text.split("\n");
    assert.ok(lines.length <= 500, `${name}: ${lines.length} lines`);
    lines.forEach((line, i) => assert.ok([...line].length <= 100, `${name}:${i + 1}`));
  }
});

test("a file begins by saying what it is", () => {
  for (const { name, text } of files) {
    const begin = { js: "// ", css: "/* ", html: "<!doctype html>" }[name.split(".").pop()];
    assert.ok(text.startsWith(begin), name);
  }
});

test("nothing is fetched from elsewhere", () => {
  for (const { name, text } of files) {
    const links = text.match(/https?:\/\/[^"'\s)]+/g) ?? [];
    const others = links.filter((link) => link !== "https://arxiv.org/abs/2412.09871");
    assert.deepEqual(others, [], name);
  }
});

test("every module that is imported is there", () => {
  const names = new Set(files.map(({ name }) => name.replaceAll("\\", "/")));
  for (const { name, text } of files.filter((file) => file.name.endsWith(".js"))) {
    for (const [, from] of text.matchAll(/from "(\.[^"]+)"/g)) {
      // The package lies beside the site once that is built.
      const target = from === "../pkg/index.js" ? null : `js/${from.slice(2)}`;
      if (target) assert.ok(names.has(target), `${name}: ${from}`);
    }
  }
});
