// What a link to the page holds: tab, text, how it is cut, how it is continued. It stands behind
// the `#`, which browsers keep to themselves, so that no server reads a text that was typed here.

/** Longer texts stay out of links: browsers and mail programs cut long ones. */
export const LONGEST_TEXT = 2000;

export const TABS = ["cut", "continue", "train", "measure"];
export const MODES = ["entropy", "monotonic", "combined", "space", "static", "byte"];

const choice = (values) => ({
  read: (text) => (values.includes(text) ? text : null),
  write: (value) => value,
});

const numeric = (low, high, isInteger = false) => ({
  read: (text) => {
    const value = Number(text);
    const fits = text.trim() !== "" && value >= low && value <= high;
    return fits && (!isInteger || Number.isInteger(value)) ? value : null;
  },
  write: (value) => String(Number(value.toPrecision(7))),
});

const string = (most) => ({
  read: (text) => (text.length <= most ? text : null),
  write: (value) => value,
});

/** Every key: how it is read and written, and what it is if a link does not say. */
const KEYS = {
  tab: [choice(TABS), "cut"],
  mode: [choice(MODES), null],
  threshold: [numeric(-20, 20), null],
  thresholdAdd: [numeric(-20, 20), null],
  patchSize: [numeric(1, 512, true), null],
  engine: [choice(["auto", "webgpu", "cpu"]), "auto"],
  prompt: [string(2000), "It was "],
  bytes: [numeric(1, 4096, true), 400],
  seed: [numeric(0, 2 ** 32 - 1, true), 1],
  temperature: [numeric(0, 100000), 0.8],
  topK: [numeric(0, 260, true), 0],
  topP: [numeric(0, 1), 1],
  minP: [numeric(0, 1), 0.05],
  penalty: [numeric(0.001, 1000), 1],
  stop: [string(200), ""],
};

/** The state of a page that was opened without a link. `null`: as the model says. */
export function defaults() {
  return Object.fromEntries(Object.entries(KEYS).map(([key, [, value]]) => [key, value]));
}

const toBase64 = (bytes) =>
  btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(""))
    .replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");

const fromBase64 = (text) => {
  const binary = atob(text.replaceAll("-", "+").replaceAll("_", "/"));
  return Uint8Array.from(binary, (char) => char.charCodeAt(0));
};

/** What a link says: a whole state, and the text as bytes, `null` if it holds none. */
export function read(hash) {
  const state = defaults();
  const found = new URLSearchParams(hash.replace(/^#/, ""));
  for (const [key, [kind]] of Object.entries(KEYS)) {
    const value = found.has(key) ? kind.read(found.get(key)) : null;
    if (value !== null) state[key] = value;
  }
  let text = null;
  if (found.has("text")) text = new TextEncoder().encode(found.get("text"));
  try {
    if (found.has("raw")) text = fromBase64(found.get("raw"));
  } catch {
    // A damaged link opens with the text that the page has without one.
  }
  return { state, text: text && text.length <= LONGEST_TEXT ? text : null };
}

/** The link of a state: only what differs from the defaults. A text that is `null` is left out. */
export function write(state, text) {
  const parts = new URLSearchParams();
  for (const [key, [kind, value]] of Object.entries(KEYS)) {
    if (state[key] !== value && state[key] !== null) parts.set(key, kind.write(state[key]));
  }
  if (text && text.length <= LONGEST_TEXT) {
    try {
      parts.set("text", new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(text));
    } catch {
      parts.set("raw", toBase64(text));
    }
  }
  const written = parts.toString();
  return written ? `#${written}` : "";
}
