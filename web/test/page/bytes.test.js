import assert from "node:assert/strict";
import { test } from "node:test";
import { clipped, edited, sequenceLength, sharedPrefix, shown } from "../../site/js/bytes.js";

const encode = (text) => new TextEncoder().encode(text);

test("valid text shows as itself, with the byte of every code unit", () => {
  const { text, offsets, invalidCount } = shown(encode("aé€😀\n\t"));
  assert.equal(text, "aé€😀\n\t");
  assert.deepEqual([...offsets], [0, 1, 3, 6, 6, 10, 11, 12]);
  assert.equal(invalidCount, 0);
});

test("bytes that are no UTF-8 and control characters show one by one", () => {
  const bytes = Uint8Array.of(0x41, 0xff, 0xe2, 0x82, 0x0d, 0x00, 0x7f, 0xc0, 0x80);
  const { text, offsets, invalidCount } = shown(bytes);
  assert.equal(text, "A\ufffd\ufffd\ufffd\u240d\u2400\u2421\ufffd\ufffd");
  assert.deepEqual([...offsets], [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
  assert.equal(invalidCount, 5);
});

test("the browser's decoder takes the same sequences for valid", () => {
  const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
  for (let first = 0x80; first < 0x100; first++) {
    for (const rest of [[], [0x80], [0xbf], [0x9f, 0xbf], [0xa0, 0x80], [0x8f, 0x80, 0x80],
      [0x90, 0xbf, 0xbf], [0xbf, 0xbf, 0xbf]]) {
      const bytes = Uint8Array.of(first, ...rest);
      let isValid = true;
      try {
        decoder.decode(bytes);
      } catch {
        isValid = false;
      }
      assert.equal(sequenceLength(bytes, 0) === bytes.length, isValid, String(bytes));
    }
  }
});

test("an edit keeps the bytes around it, those that no string holds too", () => {
  const bytes = Uint8Array.of(0xff, 0x61, 0x62, 0x0d, 0x0a, 0xfe);
  const before = shown(bytes);
  const after = edited(bytes, before, before.text.replace("b", "x€"));
  assert.deepEqual([...after], [0xff, 0x61, 0x78, 0xe2, 0x82, 0xac, 0x0d, 0x0a, 0xfe]);
});

test("an edit never splits a surrogate pair", () => {
  const bytes = encode("a😀b");
  assert.deepEqual(edited(bytes, shown(bytes), "a😁b"), encode("a😁b"));
  assert.deepEqual(edited(bytes, shown(bytes), "ab"), encode("ab"));
  assert.deepEqual(edited(bytes, shown(bytes), "a😀😀b"), encode("a😀😀b"));
});

test("any edit of any text gives the new text", () => {
  const alphabet = ["a", "a", "b", "é", "€", "😀", "😁", "\n"];
  let seed = 1;
  const next = (below) => (seed = (seed * 48271) % 2147483647) % below;
  const word = () => Array.from({ length: next(6) }, () => alphabet[next(8)]).join("");
  for (let round = 0; round < 2000; round++) {
    const [head, old, fresh, tail] = [word(), word(), word(), word()];
    const bytes = encode(head + old + tail);
    assert.deepEqual(edited(bytes, shown(bytes), head + fresh + tail), encode(head + fresh + tail));
  }
});

test("clipping keeps whole characters", () => {
  assert.deepEqual(clipped(encode("ab€"), 4), encode("ab"));
  assert.deepEqual(clipped(encode("ab€"), 5), encode("ab€"));
});

test("texts share their beginning", () => {
  assert.equal(sharedPrefix(encode("abcd"), encode("abx")), 2);
  assert.equal(sharedPrefix(encode(""), encode("a")), 0);
});
