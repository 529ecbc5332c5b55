// The text as a picture: every byte in the colour of its entropy with a bar of that height above
// it, every patch underlined. The text itself is laid out by the browser, twice in the same way: in
// a field to type into, whose letters are transparent, and in a mirror that is coloured. Of a long
// text only what is on the screen is coloured and drawn.

import { shown } from "./bytes.js";
import { stepOf } from "./colour.js";
import { draw } from "./drawing.js";
import { Lines } from "./lines.js";
import { currentTheme, whenThemeChanges } from "./theme.js";

/** Texts up to here are coloured as a whole; of longer ones what is near the screen. */
const WHOLE = 6000;

const NOTHING = { entropies: new Float32Array(0), starts: new Uint32Array(0), known: 0 };

export class Picture {
  /**
   * Builds the picture inside `root`. With `label` it can be edited: `onEdit` hears what the field
   * holds, `onCursor` the byte of the caret. `onHover` hears the byte below the pointer, or -1.
   */
  constructor(root, { label = null, onEdit, onCursor, onHover = () => {} } = {}) {
    this.root = root;
    root.classList.add("picture");
    root.classList.toggle("reading", label === null);
    this.sheet = element("div", "sheet");
    this.canvas = element("canvas");
    this.mirror = element("div", "mirror");
    this.sheet.append(this.canvas, this.mirror);
    root.append(this.sheet);
    this.field = label === null ? null : this.#makeField(label, onEdit, onCursor);
    this.lines = new Lines(this.mirror);
    this.bytes = new Uint8Array(0);
    this.shown = shown(this.bytes);
    this.cuts = NOTHING;
    this.marks = {};
    this.threshold = null;
    this.painted = null;
    this.frame = 0;

    const surface = this.field ?? this.mirror;
    surface.addEventListener("pointermove", (event) => onHover(this.byteAt(event)));
    surface.addEventListener("pointerleave", () => onHover(-1));
    root.addEventListener("scroll", () => this.#schedule(), { passive: true });
    new ResizeObserver(() => this.#repaint()).observe(root);
    whenThemeChanges(() => this.#repaint());
    document.fonts?.ready.then(() => this.#repaint());
  }

  #makeField(label, onEdit, onCursor) {
    const field = element("textarea");
    field.setAttribute("aria-label", label);
    for (const name of ["autocomplete", "autocapitalize", "autocorrect"]) {
      field.setAttribute(name, "off");
    }
    field.spellcheck = false;
    this.mirror.setAttribute("aria-hidden", "true");
    this.sheet.append(field);
    field.addEventListener("input", () => onEdit(field.value));
    document.addEventListener("selectionchange", () => {
      if (document.activeElement === field) onCursor(this.cursor());
    });
    return field;
  }

  /** The byte behind the caret: the one that is to come next there. */
  cursor() {
    return this.shown.offsets[this.field.selectionEnd] ?? this.bytes.length;
  }

  /** Shows another text. The field keeps its caret if it holds that text already. */
  setText(bytes) {
    this.bytes = bytes;
    this.shown = shown(bytes);
    if (this.field && this.field.value !== this.shown.text) {
      const caret = this.field.selectionEnd;
      this.field.value = this.shown.text;
      const isFocused = document.activeElement === this.field;
      if (isFocused) this.field.setSelectionRange(caret, caret);
    }
    this.#repaint();
  }

  /** Entropies, none if there is no model for them, and starts of the first `known` bytes. */
  setCuts(cuts) {
    this.cuts = cuts;
    this.#repaint();
  }

  /** Whether there is nothing to draw, and lines can be close. */
  setBare(isBare) {
    this.root.classList.toggle("bare", isBare);
    this.#repaint();
  }

  /** `threshold` in nats, where the rule of the cuts has one to draw; else `null`. */
  setThreshold(threshold) {
    this.threshold = threshold;
    this.#schedule();
  }

  /** `at`: a byte; `patch`, `seen`: what belongs to it, see `drawing.js`. */
  setMarks(marks) {
    this.marks = marks;
    this.#schedule();
  }

  /** The byte below a pointer; -1 if there is none. */
  byteAt(event) {
    const box = this.sheet.getBoundingClientRect();
    return this.lines.byteAt(event.clientX - box.left, event.clientY - box.top, this.shown);
  }

  #repaint() {
    this.painted = null;
    this.#schedule();
  }

  #schedule() {
    if (this.frame === 0) this.frame = requestAnimationFrame(() => this.#render());
  }

  #render() {
    this.frame = 0;
    if (this.root.clientWidth === 0) return;
    const { scrollTop, clientHeight } = this.root;
    const isFar = this.painted &&
      (scrollTop < this.painted.top || scrollTop + clientHeight > this.painted.bottom);
    if (!this.painted || isFar) this.#paint(scrollTop, clientHeight);
    draw(this.canvas, { ...this.scene(), top: scrollTop, height: clientHeight });
  }

  /** All that a drawing of the picture needs to know. */
  scene() {
    return {
      lines: this.lines,
      bytes: this.bytes,
      text: this.shown.text,
      offsets: this.shown.offsets,
      cuts: this.cuts,
      marks: this.marks,
      threshold: this.threshold,
      theme: currentTheme(),
      width: this.sheet.clientWidth,
      sheetHeight: this.sheet.clientHeight,
      style: getComputedStyle(this.root),
    };
  }

  /** Colours the text near the screen, and measures where its lines and bytes are. */
  #paint(scrollTop, clientHeight) {
    const { text } = this.shown;
    const room = 1.5 * clientHeight;
    let from = 0;
    let to = text.length;
    this.painted = { top: -1, bottom: Infinity };
    if (text.length > WHOLE) {
      this.lines.show([[text, -1]]);
      this.painted = { top: scrollTop - room, bottom: scrollTop + clientHeight + room };
      from = this.lines.unitAtHeight(this.painted.top, text.length);
      to = this.lines.unitAtHeight(this.painted.bottom, text.length);
      if (from === 0) this.painted.top = -1;
      if (to === text.length) this.painted.bottom = Infinity;
    }
    const runs = this.#runs(from, to);
    this.lines.show([[text.slice(0, from), -1], ...runs, [text.slice(to), -1]]);
    this.lines.measure(from, to, text);
  }

  /** The text from unit `from` to `to`, in pieces of one colour: [text, step]. */
  #runs(from, to) {
    const { text, offsets } = this.shown;
    const { entropies, known } = this.cuts;
    const most = Math.min(known, entropies.length);
    const stepAt = (unit) => (offsets[unit] < most ? stepOf(entropies[offsets[unit]]) : -1);
    const runs = [];
    let start = from;
    for (let unit = from + 1; unit <= to; unit++) {
      const isSame = unit < to &&
        (offsets[unit] === offsets[unit - 1] || stepAt(unit) === stepAt(start));
      if (!isSame) {
        runs.push([text.slice(start, unit), stepAt(start)]);
        start = unit;
      }
    }
    return runs;
  }
}

function element(name, className = "") {
  const made = document.createElement(name);
  if (className) made.className = className;
  return made;
}
