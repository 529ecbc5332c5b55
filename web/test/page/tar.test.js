import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { filesOfTar } from "../../site/js/tar.js";

function archived(files) {
  const folder = mkdtempSync(join(tmpdir(), "blt-tar-"));
  try {
    mkdirSync(join(folder, "model"));
    for (const [name, bytes] of files) writeFileSync(join(folder, "model", name), bytes);
    const out = join(folder, "out.tar");
    execFileSync("tar", ["--format=ustar", "-cf", out, "-C", folder, "model"]);
    return new Uint8Array(readFileSync(out));
  } finally {
    rmSync(folder, { recursive: true });
  }
}

test("an archive that tar has made gives its files back", () => {
  const large = new Uint8Array(70_001).map((_, i) => i % 251);
  const archive = archived([["config.json", "{}"], ["empty", ""], ["model.safetensors", large]]);
  const files = new Map(filesOfTar(archive).map(({ name, bytes }) => [name, bytes]));
  assert.deepEqual([...files.keys()].sort(), ["config.json", "empty", "model.safetensors"]);
  assert.equal(new TextDecoder().decode(files.get("config.json")), "{}");
  assert.equal(files.get("empty").length, 0);
  assert.deepEqual(files.get("model.safetensors"), large);
});

test("an archive that is cut off says so", () => {
  const archive = archived([["a", new Uint8Array(5000)]]);
  assert.throws(() => filesOfTar(archive.subarray(0, 2048)), /cut off/);
  assert.deepEqual(filesOfTar(new Uint8Array(0)), []);
});
