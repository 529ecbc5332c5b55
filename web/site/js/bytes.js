// A text as bytes, and the string that a text field can show for it. The bytes are the document:
// what no string can hold, such as bytes that are no UTF-8, survives editing around it.

const encoder = new TextEncoder();

/** How many bytes the valid UTF-8 sequence at `at` has; 0 where there is none. */
export function sequenceLength(bytes, at) {
  const first = bytes[at];
  if (first < 0x80) return 1;
  const length = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
  if (first < 0xc2 || first > 0xf4 || at + length > bytes.length) return 0;
  // Overlong forms, surrogates and what is beyond U+10FFFF show in the second byte.
  const second = bytes[at + 1];
  const low = first === 0xe0 ? 0xa0 : first === 0xf0 ? 0x90 : 0x80;
  const high = first === 0xed ? 0x9f : first === 0xf4 ? 0x8f : 0xbf;
  if (second < low || second > high) return 0;
  for (let i = at + 2; i < at + length; i++) {
    if ((bytes[i] & 0xc0) !== 0x80) return 0;
  }
  return length;
}

function codePoint(bytes, at, length) {
  if (length === 1) return bytes[at];
  let point = bytes[at] & (0xff >> (length + 1));
  for (let i = 1; i < length; i++) point = (point << 6) | (bytes[at + i] & 0x3f);
  return point;
}

/**
 * The string that shows `bytes`, and for each of its code units the byte where it begins; one more
 * entry holds the number of bytes. A byte that is no UTF-8 shows as U+FFFD, a control character as
 * its picture (U+2400 and on): one byte each, so that no byte is invisible.
 */
export function shown(bytes) {
  const parts = [];
  const offsets = [];
  let invalidCount = 0;
  for (let at = 0; at < bytes.length; ) {
    const length = sequenceLength(bytes, at);
    let point = 0xfffd;
    if (length === 0) {
      invalidCount += 1;
    } else {
      point = codePoint(bytes, at, length);
      // A text field keeps line feeds and tabs, and would turn carriage returns into line feeds.
      if (point < 0x20 && point !== 0x0a && point !== 0x09) point += 0x2400;
      if (point === 0x7f) point = 0x2421;
    }
    parts.push(String.fromCodePoint(point));
    offsets.push(at);
    if (point > 0xffff) offsets.push(at);
    at += length || 1;
  }
  offsets.push(bytes.length);
  return { text: parts.join(""), offsets: Uint32Array.from(offsets), invalidCount };
}

const isLow = (unit) => unit >= 0xdc00 && unit <= 0xdfff;

/**
 * The document after an edit in a text field: `before` is what `shown` gave for `bytes`, `text`
 * what the field holds now. Only what lies between the common beginning and end is replaced.
 */
export function edited(bytes, before, text) {
  const old = before.text;
  const most = Math.min(old.length, text.length);
  let head = 0;
  while (head < most && old.charCodeAt(head) === text.charCodeAt(head)) head++;
  // Never between the halves of a surrogate pair.
  while (head > 0 && (isLow(old.charCodeAt(head)) || isLow(text.charCodeAt(head)))) head--;
  let tail = 0;
  const same = (count) =>
    old.charCodeAt(old.length - count) === text.charCodeAt(text.length - count);
  while (tail < most - head && same(tail + 1)) tail++;
  while (tail > 0 && isLow(old.charCodeAt(old.length - tail))) tail--;
  const inserted = encoder.encode(text.slice(head, text.length - tail));
  const start = before.offsets[head];
  const end = before.offsets[old.length - tail];
  const result = new Uint8Array(start + inserted.length + bytes.length - end);
  result.set(bytes.subarray(0, start));
  result.set(inserted, start);
  result.set(bytes.subarray(end), start + inserted.length);
  return result;
}

/** Cuts `bytes` to at most `most`, not inside a character. */
export function clipped(bytes, most) {
  if (bytes.length <= most) return bytes;
  let end = most;
  while (end > most - 4 && end > 0 && (bytes[end] & 0xc0) === 0x80) end--;
  return bytes.subarray(0, end);
}

const NAMES = { 9: "tab", 10: "line feed", 13: "carriage return", 32: "space", 127: "delete" };

/** What a person calls this byte: the character, a name, or what it is in UTF-8. */
export function byteName(byte) {
  if (NAMES[byte]) return NAMES[byte];
  if (byte < 0x20) return "control";
  if (byte < 0x7f) return String.fromCharCode(byte);
  return byte < 0xc0 ? "continues a character" : "begins a character";
}

/** Two hexadecimal digits. */
export function hex(byte) {
  return byte.toString(16).padStart(2, "0").toUpperCase();
}

/** A short string for bytes inside a sentence: spaces and line ends made visible. */
export function quoted(bytes) {
  return shown(bytes).text.replaceAll(" ", "␣").replaceAll("\n", "↵").replaceAll("\t", "⇥");
}

/** How many leading bytes two texts share. */
export function sharedPrefix(a, b) {
  const most = Math.min(a.length, b.length);
  let count = 0;
  while (count < most && a[count] === b[count]) count++;
  return count;
}
