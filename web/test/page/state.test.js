import assert from "node:assert/strict";
import { test } from "node:test";
import { defaults, LONGEST_TEXT, read, write } from "../../site/js/state.js";

const encode = (text) => new TextEncoder().encode(text);

test("a link gives back what it was made of", () => {
  const state = {
    ...defaults(), tab: "continue", mode: "space", threshold: 1.875, seed: 7, temperature: 0,
    topK: 40, topP: 0.9, minP: 0.1, penalty: 1.1, stop: "\n\n& #", bytes: 64,
  };
  const text = encode("To be, or not to be — & more = ?\r\n#");
  const again = read(write(state, text));
  assert.deepEqual(again.state, state);
  assert.deepEqual(again.text, text);
});

test("bytes that are no UTF-8, and a byte order mark, survive", () => {
  for (const bytes of [Uint8Array.of(0xff, 0, 0x80), Uint8Array.of(0xef, 0xbb, 0xbf, 0x61)]) {
    assert.deepEqual(read(write(defaults(), bytes)).text, bytes);
  }
});

test("a page as it opens has no link, and an empty text is one", () => {
  assert.equal(write(defaults(), null), "");
  assert.deepEqual(read("").state, defaults());
  assert.equal(read("").text, null);
  assert.equal(read(write(defaults(), encode(""))).text.length, 0);
});

test("what a link must not say is left out", () => {
  const { state, text } = read(
    "#tab=nowhere&mode=bpe&seed=1.5&temperature=-1&topP=2&threshold=&raw=*&other=1",
  );
  assert.deepEqual(state, defaults());
  assert.equal(text, null);
  assert.equal(write(defaults(), new Uint8Array(LONGEST_TEXT + 1)), "");
});
