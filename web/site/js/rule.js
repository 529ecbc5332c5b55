// The rule that cuts: its mode and numbers, as controls.

import { rises } from "./cuts.js";
import { fill, make } from "./dom.js";
import { Scale } from "./scale.js";
import { MODES } from "./state.js";

/** What each mode does, in the words of docs/model.md. */
const SENTENCES = {
  entropy: "A byte begins a patch if its entropy is above the threshold.",
  monotonic: "A byte begins a patch if its entropy is more than the threshold above that before.",
  combined: "Both: above the threshold, and risen by more than a second one.",
  space: "A patch begins behind the first of a run of spaces or punctuation. No model decides.",
  static: "Every patch has the same number of bytes. No model decides.",
  byte: "Every byte is a patch: what patches save is lost.",
};

const THRESHOLD_MODES = ["entropy", "monotonic", "combined"];

/** The threshold of a mode that the model was not made for, and that nobody has chosen, in nats. */
const USUAL = { entropy: 1.5, monotonic: 0.5, combined: 1.5 };

export class Rule {
  /** Reads and writes `mode`, `threshold`, `thresholdAdd` and `patchSize` of `state`. */
  constructor(state, onChange) {
    this.state = state;
    this.onChange = onChange;
    this.model = null;
    this.entropies = new Float32Array(0);
    this.modes = this.#makeModes();
    this.value = make("output", { class: "number" });
    this.reset = make("button", { class: "plain", onclick: () => this.#set("threshold", null) },
      "The model's");
    this.sentence = make("p", { class: "soft small" });
    this.add = this.#number("thresholdAdd", { min: -20, max: 20, step: 0.05 }, 0.2);
    this.size = this.#number("patchSize", { min: 1, max: 512, step: 1 }, 4);
    this.extra = make("p", { class: "small extra" });
    const scaleRoot = make("div");
    this.block = make("div", { class: "rule" },
      make("p", { class: "small heading" }, make("span", { class: "title" }, "Threshold "),
        this.value, this.reset),
      scaleRoot, this.sentence, this.extra);
    this.title = this.block.querySelector(".title");
    this.scale = new Scale(scaleRoot, (value) => this.#set("threshold", value));
    this.#show();
  }

  #makeModes() {
    this.radios = MODES.map((mode) => make("input", {
      type: "radio", name: "mode", value: mode, onchange: () => this.#set("mode", mode),
    }));
    return make("fieldset", { class: "modes" },
      make("legend", {}, "Cut by"),
      ...this.radios.map((radio) => make("label", {}, radio, make("span", {}, radio.value))));
  }

  #number(key, attributes, usual) {
    const input = make("input", { type: "number", ...attributes });
    input.addEventListener("input", () => {
      if (input.value !== "" && input.validity.valid) this.#set(key, Number(input.value));
    });
    return { input, usual };
  }

  #set(key, value) {
    this.state[key] = value;
    // A threshold of entropies says nothing about their rises.
    if (key === "mode") this.state.threshold = null;
    this.#show();
    this.onChange();
  }

  /** The model whose rule holds where nothing else was chosen; `null` without one. */
  setModel(model) {
    this.model = model;
    const hasEntropies = model?.hasEntropyModel ?? true;
    for (const radio of this.radios) {
      radio.disabled = !hasEntropies && THRESHOLD_MODES.includes(radio.value);
    }
    this.#show();
  }

  /** The entropies of the text, for the histogram. */
  setEntropies(entropies) {
    this.entropies = entropies;
    this.#showHistogram();
  }

  /** `monotonic` compares rises, so these are what its histogram shows. */
  #showHistogram() {
    this.scale.setValues(this.mode === "monotonic" ? rises(this.entropies) : this.entropies);
  }

  /** As chosen, else the model's; by spaces where nothing gives entropies. */
  get mode() {
    const ofModel = this.model?.patching.mode;
    const mode = this.state.mode ?? (MODES.includes(ofModel) ? ofModel : "entropy");
    const needsEntropies = THRESHOLD_MODES.includes(mode);
    return needsEntropies && this.model && !this.model.hasEntropyModel ? "space" : mode;
  }

  /** The threshold in nats: as chosen, else the model's if it cuts by this mode. */
  get threshold() {
    return this.state.threshold ?? this.modelThreshold ?? USUAL[this.mode] ?? null;
  }

  get modelThreshold() {
    const patching = this.model?.patching;
    return patching?.mode === this.mode ? patching.threshold : null;
  }

  /** What `patches` is asked with. */
  options() {
    const { mode } = this;
    const options = { mode };
    if (THRESHOLD_MODES.includes(mode)) options.threshold = this.threshold;
    if (mode === "combined") {
      options.thresholdAdd = this.state.thresholdAdd ?? this.model?.patching.thresholdAdd ??
        this.add.usual;
    }
    if (mode === "static") options.patchSize = this.state.patchSize ?? this.size.usual;
    return options;
  }

  /** The rule in a few words. */
  words() {
    const { mode, threshold, thresholdAdd, patchSize } = this.options();
    const words = [mode];
    if (threshold !== undefined) words.push(`threshold ${threshold.toFixed(2)} nats`);
    if (thresholdAdd !== undefined) words.push(`risen by ${thresholdAdd.toFixed(2)} nats`);
    if (patchSize !== undefined) words.push(`${patchSize} bytes`);
    return words.join(", ");
  }

  /** The threshold, if it is one of the entropy itself and can be drawn across the bars. */
  drawnThreshold() {
    return this.mode === "entropy" || this.mode === "combined" ? this.threshold : null;
  }

  #show() {
    const { mode } = this;
    for (const radio of this.radios) radio.checked = radio.value === mode;
    const hasThreshold = THRESHOLD_MODES.includes(mode);
    this.scale.setThreshold(hasThreshold ? this.threshold : null, this.modelThreshold);
    this.title.textContent = mode === "monotonic" ? "Threshold of the rise "
      : hasThreshold ? "Threshold " : "Entropy of the bytes";
    this.#showHistogram();
    this.value.textContent = hasThreshold ? `${this.threshold.toFixed(2)} nats` : "";
    this.reset.hidden = this.state.threshold === null || !hasThreshold;
    fill(this.sentence, SENTENCES[mode] ?? "");
    const options = this.options();
    if (mode === "combined") {
      this.#showNumber(this.add, options.thresholdAdd, "and risen by more than", "nats");
    } else if (mode === "static") {
      this.#showNumber(this.size, options.patchSize, "Length", "bytes");
    } else {
      fill(this.extra);
    }
  }

  #showNumber({ input }, value, label, unit) {
    if (document.activeElement !== input) input.value = String(value);
    fill(this.extra, make("label", {}, label, " ", input, ` ${unit}`));
  }
}
