// A text to train on: pasted, of a file, or the one of the first panel. Files are handed on as they
// are: 100 MB need not be in a text field to be read.

import { fill, guardPaste, labelled, make, picker } from "./dom.js";
import * as format from "./format.js";

/** What a text field takes without stopping the page, in characters. */
const MOST_PASTED = 1 << 20;

/** Fewer bytes than this cannot be learned from, and of more these are taken. */
export const LEAST = 1000;
const MOST = 32 << 20;

export class Source {
  /** `textOfCut` gives the text of the first panel; `onChange` hears of another text. */
  constructor(textOfCut, onChange) {
    this.onChange = onChange;
    this.file = null;
    this.field = make("textarea", { class: "corpus", rows: 7, spellcheck: false,
      placeholder: "Paste a text: a book, your notes, a log, source code" });
    this.field.addEventListener("input", () => this.#changed(null));
    guardPaste(this.field, MOST_PASTED, (text) => this.#changed(new File([text], "pasted text")));
    this.line = make("p", { class: "small soft number", "aria-live": "polite" });
    const open = picker("Open a file", {}, ([file]) => this.#changed(file));
    const take = make("button", {
      onclick: () => this.#changed(new File([textOfCut()], "the text of Cut")),
    }, "Take the text of Cut");
    this.root = make("div", { class: "stack" },
      labelled("Text to learn", this.field),
      make("p", { class: "actions" }, open, take),
      this.line);
    this.root.addEventListener("dragover", (event) => event.preventDefault());
    this.root.addEventListener("drop", (event) => {
      const [file] = event.dataTransfer.files;
      if (!file) return;
      event.preventDefault();
      this.#changed(file);
    });
    this.#show();
  }

  #changed(file) {
    this.file = file;
    if (file) this.field.value = "";
    this.#show();
    this.onChange();
  }

  /** The text, as a file or a string; of a very long one the beginning. */
  get text() {
    if (this.file === null) return this.field.value;
    return this.file.size > MOST ? new File([this.file.slice(0, MOST)], this.file.name) : this.file;
  }

  /** How many bytes it has. */
  get size() {
    return this.file?.size ?? new Blob([this.field.value]).size;
  }

  #show() {
    const { size } = this;
    if (size === 0) {
      fill(this.line, `At least ${format.bytes(LEAST)}; some hundred kB are better. A text that ` +
        "is read many times is learned by heart.");
      return;
    }
    const name = this.file ? `${this.file.name}, ` : "";
    const few = size < LEAST ? `: at least ${format.bytes(LEAST)} are needed` : "";
    const many = size > MOST ? `, of which the first ${format.bytes(MOST)} are learned` : "";
    fill(this.line, `${name}${format.bytes(size)}${few}${many}`);
  }
}
