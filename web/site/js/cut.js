// The panel where a text is typed and cut.

import { clipped, edited, sharedPrefix } from "./bytes.js";
import { announce, hideCard, showCard } from "./cards.js";
import { cutsOf, keptCuts, lengthCounts, statistics } from "./cuts.js";
import { fill, guardPaste, make, picker, save } from "./dom.js";
import * as format from "./format.js";
import { imageOf } from "./image.js";
import { Inspector } from "./inspector.js";
import { latest, paused } from "./latest.js";
import { Picture } from "./picture.js";
import { Rule } from "./rule.js";
import { MODEL_URL, session } from "./session.js";

/** How much of a file or of pasted text stands in the field at once, in bytes. */
const WINDOW = 32_768;

/** Of a longer text the beginning is cut first, so that there is something to see. */
const BEGINNING = 4096;

const WAITING = {
  continue: "the model has written its text",
  measure: "measuring has ended",
};

/** Patches of this length and longer ones share a bar. */
const MOST_LENGTH = 16;

/** Said to those who listen, once typing has paused. */
const say = paused(announce, 1500);

const KEY = "Above each byte: how uncertain the entropy model was before it read it, from 0 to 4 " +
  "nats; dashed, the threshold. Below: the patches. A character of several bytes has as many bars.";

const NO_CUTS = {
  entropies: new Float32Array(0), starts: new Uint32Array(0), known: 0, nextEntropy: null,
};

export class CutPanel {
  /**
   * `state` is the page's; `onChange` hears that it or the text has changed. The
   * byte `cursor` is looked at first.
   */
  constructor(root, state, bytes, cursor, onChange) {
    this.state = state;
    this.onChange = onChange;
    this.bytes = bytes;
    this.cuts = NO_CUTS;
    this.pending = 0;
    this.file = null;
    this.cursor = cursor;
    this.#build(root);
    this.request = latest(
      (bytes, options) => this.#cut(bytes, options),
      (result) => this.#settled(result),
      (error) => this.#failed(error),
    );
    session.on("model", () => this.#modelChanged());
    session.on("device", () => this.#showCuts());
    // A job had the model for itself: what was typed meanwhile is cut now.
    session.on("job", () => session.job === null && this.#ask());
    this.inspector.look(cursor);
    this.setText(bytes);
  }

  #build(root) {
    const pictureRoot = make("div");
    const inspectorRoot = make("aside", { "aria-label": "The byte at the caret" });
    this.average = make("p", { class: "figure number" });
    this.summary = make("p", { class: "soft small number" });
    this.lengths = make("figure", { class: "lengths", hidden: true });
    this.rule = new Rule(this.state, () => {
      this.onChange();
      this.#showThreshold();
      this.#ask();
    });
    this.image = make("button", { class: "plain", onclick: () => this.#saveImage() },
      "Save as an image");
    this.fileLine = make("p", { class: "small links fileline" });
    fill(root,
      make("div", { class: "controls" },
        this.rule.modes,
        this.rule.block,
        make("div", { class: "outcome" }, this.average, this.summary, this.lengths)),
      make("div", { class: "split" },
        make("div", {}, pictureRoot, this.fileLine,
          make("p", { class: "small soft key" }, KEY)),
        inspectorRoot));
    this.picture = new Picture(pictureRoot, {
      label: "Text to cut",
      onEdit: (text) => this.#edit(text),
      onCursor: (at) => {
        this.cursor = at;
        this.inspector.look(at);
      },
      onHover: (at) => this.inspector.look(at < 0 ? this.cursor : at),
    });
    this.inspector = new Inspector(inspectorRoot, (marks) => this.picture.setMarks(marks));
    guardPaste(this.picture.field, WINDOW, (text) => this.#openLong(text));
    this.#listenForFiles(pictureRoot);
    this.#showFileLine();
  }

  /** Another text, all of it, and no part of a file. */
  replaceText(bytes) {
    this.file = null;
    this.setText(bytes);
    this.#showFileLine();
  }

  /** Another text, all of it. */
  setText(bytes) {
    const kept = sharedPrefix(this.bytes, bytes);
    this.bytes = bytes;
    this.cuts = keptCuts(this.cuts, kept);
    this.picture.setText(bytes);
    this.#showCuts();
    this.#ask();
  }

  #edit(text) {
    const bytes = edited(this.bytes, this.picture.shown, text);
    if (bytes.length > 2 * WINDOW) {
      return this.#openLong(text);
    }
    this.setText(bytes);
    this.onChange();
  }

  #ask() {
    if (session.model && session.job === null) {
      // Nobody waits for the cuts of a text that is another one by now.
      const isStale = this.pending > BEGINNING && this.cuts.known < this.bytes.length;
      if (isStale && !session.isTraining) session.blt.interrupt();
      this.request(this.bytes, this.rule.options());
    }
    if (session.job !== null) fill(this.summary, `This is cut when ${WAITING[session.job]}.`);
  }

  async #cut(bytes, options) {
    const { blt } = session;
    const isNew = this.cuts.known < bytes.length;
    this.pending = bytes.length;
    try {
      if (isNew && bytes.length > BEGINNING) {
        fill(this.average);
        fill(this.summary, `Cutting ${format.plural(bytes.length, "byte")} …`);
        this.lengths.hidden = true;
        this.inspector.forget();
        const head = clipped(bytes, BEGINNING);
        const cuts = cutsOf(await blt.patches(head, options), head.length);
        const kept = sharedPrefix(head, this.bytes);
        if (kept > this.cuts.known) this.#setCuts(keptCuts(cuts, kept));
      }
      return { bytes, options, result: await blt.patches(bytes, options) };
    } finally {
      this.pending = 0;
    }
  }

  #setCuts(cuts) {
    this.cuts = cuts;
    this.#showCuts();
  }

  #settled({ bytes, options, result }) {
    hideCard("cut");
    const kept = sharedPrefix(bytes, this.bytes);
    const cuts = cutsOf(result, bytes.length);
    const isWhole = kept === bytes.length && kept === this.bytes.length;
    this.ms = result.engineMs;
    this.#setCuts(isWhole ? cuts : keptCuts(cuts, kept));
    if (isWhole) this.inspector.setText(this.bytes, this.cuts, options);
  }

  #failed(error) {
    session.explain("cut", error, () => this.#ask());
  }

  #modelChanged() {
    this.pending = 0;
    this.cuts = NO_CUTS;
    this.rule.setModel(session.model);
    this.#showThreshold();
    this.#showCuts();
    this.inspector.setText(this.bytes, this.cuts, this.rule.options());
    this.#ask();
  }

  #showThreshold() {
    this.picture.setThreshold(this.rule.drawnThreshold());
  }

  #showCuts() {
    const { cuts } = this;
    this.picture.setCuts(cuts);
    this.rule.setEntropies(cuts.entropies);
    this.picture.setBare(!session.model);
    this.lengths.hidden = !session.model || cuts.known < this.bytes.length;
    this.image.hidden = cuts.known === 0 || cuts.known < this.bytes.length;
    if (!session.model) {
      fill(this.average);
      fill(this.summary, make("button", {
        class: "plain", disabled: !session.blt, onclick: () => session.load(MODEL_URL),
      }, "Load the model"), " to see where it cuts this text.");
      return;
    }
    if (cuts.known < this.bytes.length) return;
    const { count, average, longest } = statistics(cuts.starts, this.bytes.length);
    fill(this.average, make("strong", {}, average.toFixed(2)), " bytes a patch");
    const patches = format.plural(count, "patch", "patches");
    fill(this.summary, `${format.plural(this.bytes.length, "byte")} in ${patches}, the longest ` +
      `of ${format.plural(longest, "byte")}. Cut in ${format.duration(this.ms)}.`);
    showLengths(this.lengths, lengthCounts(cuts.starts, this.bytes.length, MOST_LENGTH));
    say(`${average.toFixed(2)} bytes a patch, ${patches}.`);
  }

  #openLong(text) {
    this.openFile(new File([text], "pasted text"));
    const { size } = this.file;
    showCard("cut", {
      title: "A long text",
      text: `The text has ${format.bytes(size)}; ${format.bytes(WINDOW)} of it are shown at once.`,
      hint: "The whole of it can be a training text.",
      isNote: true,
    });
  }

  #listenForFiles(target) {
    target.addEventListener("dragover", (event) => {
      if (!event.dataTransfer.types.includes("Files")) return;
      event.preventDefault();
      target.classList.add("dropping");
    });
    target.addEventListener("dragleave", () => target.classList.remove("dropping"));
    target.addEventListener("drop", (event) => {
      target.classList.remove("dropping");
      const file = event.dataTransfer.files[0];
      if (!file) return;
      event.preventDefault();
      this.openFile(file);
    });
  }

  /** Shows a file, window by window; bytes that are no UTF-8 are bytes like others. */
  openFile(file) {
    this.file = file;
    this.showWindow(0);
  }

  async showWindow(at) {
    const { file } = this;
    try {
      // A little more, to see whether the end is inside a character.
      const part = await file.slice(at, at + WINDOW + 4).arrayBuffer();
      if (this.file !== file) return;
      this.at = at;
      const bytes = clipped(new Uint8Array(part), WINDOW);
      this.end = at + bytes.length;
      this.setText(bytes);
      this.picture.root.scrollTop = 0;
    } catch (error) {
      showCard("cut", {
        title: "The file cannot be read",
        text: `${file.name}: ${error.message}`,
        actions: [["Try again", () => this.showWindow(at)]],
      });
    }
    this.#showFileLine();
    this.onChange();
  }

  async #saveImage() {
    const { average } = statistics(this.cuts.starts, this.bytes.length);
    const caption = `${average.toFixed(2)} bytes a patch, cut by ${this.rule.words()}. blt-wgpu`;
    const blob = await imageOf(this.picture.scene(), caption);
    if (blob) save(blob, "patches.png");
  }

  #showFileLine() {
    const open = picker("Open a file", {}, ([file]) => this.openFile(file));
    open.querySelector("button").className = "plain";
    const { file } = this;
    if (!file) {
      fill(this.fileLine, open, this.image);
      return;
    }
    const { invalidCount } = this.picture.shown;
    const step = (label, at) => make("button", {
      class: "plain", disabled: at === this.at || at >= file.size,
      onclick: () => this.showWindow(at),
    }, label);
    fill(this.fileLine,
      make("span", { class: "number" }, `${file.name}: bytes ${format.count(this.at)} to ` +
        `${format.count(this.end)} of ${format.count(file.size)}` +
        (invalidCount > 0 ? `, ${format.count(invalidCount)} of them no UTF-8` : "")),
      file.size > WINDOW ? step("Earlier", Math.max(0, this.at - WINDOW)) : null,
      file.size > WINDOW ? step("Later", this.end) : null,
      open, this.image);
  }
}

/** A bar for each length of patches. */
function showLengths(root, counts) {
  const most = Math.max(1, ...counts);
  const words = Array.from(counts, (count, i) => [i + 1, count]).filter(([, count]) => count > 0)
    .map(([length, count]) => `${count} of ${length}${length === MOST_LENGTH ? " or more" : ""}`);
  const bars = Array.from(counts, (count, i) => make("span", {
    title: `${format.plural(count, "patch", "patches")} of ${format.plural(i + 1, "byte")}` +
      (i + 1 === MOST_LENGTH ? " or more" : ""),
    style: `height:${count === 0 ? 0 : Math.max(4, (100 * count) / most).toFixed(0)}%`,
  }));
  fill(root,
    make("div", { role: "img", "aria-label": `Patches by bytes: ${words.join(", ")}` }, ...bars),
    make("figcaption", { class: "soft", "aria-hidden": "true" }, make("span", {}, "1"),
      make("span", {}, "patches by length in bytes"), make("span", {}, `${MOST_LENGTH}+`)));
}
