// What the model knows about one byte: what it expected there, which n-grams it reads, which patch
// holds it and what that patch attends to.

import { byteName, hex, quoted } from "./bytes.js";
import { patchAt, patchRange } from "./cuts.js";
import { fill, make } from "./dom.js";
import * as format from "./format.js";
import { latest } from "./latest.js";
import { session } from "./session.js";

const SHOWN = 8;

export class Inspector {
  /** `onMarks` hears what the picture is to mark: see `Picture.setMarks`. */
  constructor(root, onMarks) {
    this.root = root;
    this.onMarks = onMarks;
    this.root.classList.add("inspector");
    this.bytes = new Uint8Array(0);
    this.cuts = null;
    this.options = {};
    this.at = -1;
    this.request = latest(
      (at) => this.#ask(at),
      (found, isStale) => !isStale && found && this.#show(found),
      (error) => session.explain("inspect", error, () => this.look(this.at)),
    );
    this.#showNothing();
  }

  /** The text that is looked at, once it is cut. */
  setText(bytes, cuts, options) {
    this.bytes = bytes;
    this.cuts = cuts;
    this.options = options;
    this.look(Math.min(this.at, bytes.length));
  }

  /** Shows nothing until the text is set anew. */
  forget() {
    this.cuts = null;
    this.onMarks({});
    this.#showNothing();
  }

  /** Looks at byte `at`; the one behind the last is the one to come. -1: at none. */
  look(at) {
    this.at = at;
    const isKnown = at >= 0 && at <= this.bytes.length && this.cuts && session.model &&
      this.cuts.known === this.bytes.length;
    if (!isKnown) {
      this.onMarks({});
      if (at < 0 || !session.model) this.#showNothing();
      return;
    }
    this.onMarks({ at, patch: at < this.bytes.length ? patchAt(this.cuts.starts, at) : -1 });
    this.request(at);
  }

  async #ask(at) {
    const { bytes, cuts, options } = this;
    const { blt } = session;
    if (!blt || session.job) return null;
    const isInside = at < bytes.length;
    const patch = isInside ? patchAt(cuts.starts, at) : -1;
    const [distribution, hashes, attention] = await Promise.all([
      blt.distribution(bytes, at),
      isInside ? blt.hashes(bytes, at) : [],
      isInside && patch >= 0 ? blt.attention(bytes, patch, options).catch(noneOfInput) : null,
    ]);
    return { at, bytes, cuts, patch, distribution, hashes, attention };
  }

  #showNothing() {
    fill(this.root, make("p", { class: "soft small" }, session.model
      ? "Point at a byte, or put the caret before it, to see what the model expected there."
      : "What the model expects at each byte is shown here."));
  }

  #show(found) {
    const { at, bytes, cuts, patch, attention } = found;
    if (at !== this.at || bytes !== this.bytes) return;
    const isInside = at < bytes.length;
    this.onMarks({ at, patch, seen: attention?.patches });
    const nats = isInside ? cuts.entropies[at] : cuts.nextEntropy;
    fill(this.root,
      this.#heading(found),
      make("dl", { class: "pairs number" },
        ...pair("Entropy model", nats === undefined || nats === null ? "none" : inNats(nats)),
        ...pair("BLT", inNats(found.distribution.entropy))),
      expected(found),
      found.hashes.length > 0 ? ngrams(found.hashes) : null,
      attention ? sight(found) : null);
  }

  #heading({ at, bytes, cuts, patch }) {
    const before = quoted(bytes.subarray(Math.max(0, at - 12), at));
    if (at >= bytes.length) {
      return make("p", {}, make("span", { class: "mono before" }, before),
        make("span", { class: "mono that" }, "?"),
        make("span", { class: "soft small block" }, "The byte to come",
          cuts.opensNext ? ", which would begin a patch" : ""));
    }
    const begins = cuts.starts[patch] === at;
    return make("p", {}, make("span", { class: "mono before" }, before),
      make("span", { class: "mono that" }, quoted(bytes.subarray(at, at + 1))),
      make("span", { class: "soft small block" }, `Byte ${format.count(at)}, hexadecimal ` +
        `${hex(bytes[at])}, ${byteName(bytes[at])}${begins ? ". It begins a patch" : ""}.`));
  }
}

/** A model without patches, such as a lone entropy model, has nothing to say about them. */
function noneOfInput(error) {
  if (error.kind === "input") return null;
  throw error;
}

const inNats = (nats) => `${nats.toFixed(2)} nats, ${(nats / Math.LN2).toFixed(2)} bits`;

const pair = (term, description) => [make("dt", {}, term), make("dd", {}, description)];

/** The likeliest bytes as bars; the one that came is marked, wherever it stands. */
function expected({ distribution, bytes, at }) {
  const came = at < bytes.length ? bytes[at] : null;
  const rows = distribution.top.slice(0, SHOWN);
  const place = distribution.top.findIndex((entry) => entry.byte === came);
  if (place >= SHOWN) rows[SHOWN - 1] = distribution.top[place];
  const most = Math.max(...rows.map((row) => row.probability));
  return make("section", {},
    make("h3", {}, came === null ? "What it expects next" : "What it expected here"),
    make("table", { class: "expected number" },
      make("tbody", {}, ...rows.map(({ byte, probability }) =>
        make("tr", { class: byte === came ? "came" : "" },
          make("th", { class: "mono", scope: "row", title: byteName(byte) }, glyph(byte)),
          make("td", {}, make("span", {
            class: "bar", style: `width:${((100 * probability) / most).toFixed(1)}%`,
          })),
          make("td", {}, format.percent(probability)))))),
    came !== null && place < 0
      ? make("p", { class: "small soft" }, "What came is none of its likeliest bytes.") : null);
}

/** A byte as a character where it is one by itself, else in hexadecimal. */
function glyph(byte) {
  return byte < 0x80 ? quoted(Uint8Array.of(byte)) : hex(byte);
}

function ngrams(hashes) {
  const most = 4;
  return make("section", {},
    make("h3", {}, "N-grams it reads, and their rows in the hash tables"),
    make("table", { class: "ngrams number" },
      make("tbody", {}, ...hashes.map(({ size, bytes, rows }) => {
        const named = rows.slice(0, most).map(format.count).join(", ");
        return make("tr", {},
          make("th", { scope: "row" }, String(size)),
          make("td", { class: "mono" }, quoted(bytes)),
          make("td", {}, rows.length > most ? `${named}, …` : named));
      }))));
}

function sight({ attention, cuts, bytes, patch }) {
  const [from, to] = attention.bytes;
  const [first] = attention.patches;
  const [start, stop] = patchRange(cuts.starts, patch, bytes.length);
  const text = quoted(bytes.subarray(start, Math.min(stop, start + 24)));
  const before = patch - first;
  const sees = before === 0 ? "no patch before it"
    : `${format.plural(before, "patch", "patches")} before it`;
  return make("section", {},
    make("h3", {}, `Patch ${format.count(patch)}`),
    make("p", { class: "small" }, make("span", { class: "mono" }, text), ` pools ` +
      `${format.plural(to - from, "byte")}; the latent transformer lets it see itself and ${sees}` +
      `, from byte ${format.count(cuts.starts[first] ?? 0)} on: they are marked in the text. ` +
      `What comes of it helps to predict ${predicted(attention)}.`));
}

function predicted({ predicts: [from, to] }) {
  if (to <= from) return "nothing in this text";
  return to - from === 1 ? `byte ${format.count(from)}`
    : `bytes ${format.count(from)} to ${format.count(to - 1)}`;
}
