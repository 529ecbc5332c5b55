// The panel where a small BLT is trained from scratch.

import { announce, hideCard, showCard } from "./cards.js";
import { Chart } from "./chart.js";
import { fill, labelled, make, save } from "./dom.js";
import * as format from "./format.js";
import { session } from "./session.js";
import { LEAST, Source } from "./source.js";

const PRESETS = [["tiny", "tiny"], ["small", "small"]];

/** Key of the options, name, value to begin with, bounds, note. */
const NUMBERS = [
  ["steps", "Steps", 1000, { min: 1, max: 1_000_000, step: 1 }, "at most"],
  ["learningRate", "Learning rate", 0.003, { min: 0.000001, max: 1, step: "any" }, ""],
  ["batchBytes", "Bytes a step", 2048, { min: 256, max: 65536, step: 256 }, ""],
  ["sampleEvery", "Sample every", 100, { min: 1, max: 1_000_000, step: 1 }, "steps"],
  ["seed", "Seed", 1, { min: 0, max: 4294967295, step: 1 }, "the same seed, the same model"],
];

/** Samples that stay on the page. */
const MOST_SAMPLES = 40;

const isValid = (input) => input.validity.valid && input.value !== "";

export class TrainPanel {
  constructor(root, textOfCut) {
    this.training = null;
    this.isPaused = false;
    this.points = { loss: [], bpb: [], heldOut: [] };
    this.#build(root, textOfCut);
    for (const event of ["job", "device", "lost"]) session.on(event, () => this.#showButtons());
    this.#showButtons();
    document.addEventListener("visibilitychange", () => this.#showStatus());
  }

  #build(root, textOfCut) {
    this.source = new Source(textOfCut, () => this.#showButtons());
    this.start = make("button", { class: "primary", onclick: () => this.run() }, "Train");
    this.hold = make("button", { onclick: () => this.#toggle() }, "Pause");
    this.step = make("button", { onclick: () => this.training.step() }, "One step");
    this.end = make("button", { onclick: () => this.training.stop() }, "Stop");
    this.fetch = make("button", { onclick: () => this.#download() }, "Download the model");
    this.status = make("p", { class: "number" });
    this.detail = make("p", { class: "small soft number" });
    const charts = make("div", { class: "charts" });
    this.samples = make("ol", { class: "samples", "aria-label": "Samples" });
    fill(root,
      make("p", { class: "intro" }, "A BLT that begins with random numbers learns a text, here, " +
        "on your device. What it has learned is kept in this browser every so often, and can be " +
        "downloaded as a model directory that the program ", make("code", {}, "blt"), " opens."),
      make("div", { class: "split" }, this.source.root, this.#settings()),
      make("div", { class: "stack running" },
        make("p", { class: "actions" }, this.start, this.hold, this.step, this.end, this.fetch),
        make("div", {}, this.status, this.detail),
        charts,
        make("section", {}, make("h3", {}, "What it writes"), this.samples)));
    this.loss = new Chart(charts, { title: "Loss", unit: "nats a byte", across: "step" });
    this.bits = new Chart(charts, { title: "Bits per byte", unit: "bits", across: "step" });
  }

  #settings() {
    this.preset = make("select", {},
      ...PRESETS.map(([value, name]) => make("option", { value }, name)));
    this.inputs = NUMBERS.map(([key, name, value, bounds, note]) => {
      const input = make("input", { type: "number", ...bounds, value: String(value) });
      input.addEventListener("input", () => {
        input.setAttribute("aria-invalid", String(!isValid(input)));
        this.#showButtons();
      });
      return [key, input, labelled(name, input, note)];
    });
    return make("div", { class: "settings" },
      labelled("Shape", this.preset), ...this.inputs.map(([, , label]) => label));
  }

  #options() {
    const numbers = this.inputs.map(([key, input]) => [key, Number(input.value)]);
    return { preset: this.preset.value, saveEverySeconds: 20, ...Object.fromEntries(numbers) };
  }

  #showButtons() {
    const isRunning = session.job === "train" && this.training !== null;
    const areValid = this.inputs.every(([, input]) => isValid(input));
    this.start.disabled = !session.blt || session.job !== null || !areValid ||
      this.source.size < LEAST;
    for (const button of [this.hold, this.end]) button.disabled = !isRunning;
    this.step.disabled = !isRunning || !this.isPaused;
    this.fetch.disabled = this.training === null || this.points.loss.length === 0;
    this.hold.textContent = this.isPaused ? "Go on" : "Pause";
    this.#showStatus();
  }

  async run() {
    hideCard("train");
    this.points = { loss: [], bpb: [], heldOut: [] };
    this.isPaused = false;
    this.last = null;
    this.options = this.#options();
    fill(this.samples);
    fill(this.status, "Preparing the first step …");
    await session.run("train", async (blt) => {
      this.training = await blt.train(this.source.text, this.options, (step) => this.#hear(step));
      this.#showButtons();
      await this.training.done;
    }, () => this.run());
    this.isPaused = false;
    if (this.last) announce(`Training ended at step ${this.last.step}.`);
    this.#showButtons();
  }

  #toggle() {
    this.isPaused = !this.isPaused;
    if (this.isPaused) this.training.pause();
    else this.training.resume();
    this.#showButtons();
  }

  #hear(step) {
    this.last = step;
    this.points.loss.push([step.step, step.loss]);
    this.points.bpb.push([step.step, step.bpb]);
    if (step.heldOutBpb !== undefined && step.heldOutBpb !== null) {
      this.points.heldOut.push([step.step, step.heldOutBpb]);
    }
    this.loss.set([{ name: "", points: this.points.loss, isNoisy: true }]);
    this.bits.set([
      { name: "training", points: this.points.bpb, isNoisy: true },
      { name: "held out", points: this.points.heldOut },
    ]);
    if (step.sample) this.#addSample(step);
    this.#showStatus();
    if (this.points.loss.length === 1) this.#showButtons();
  }

  #addSample({ step, sample }) {
    this.samples.prepend(make("li", {},
      make("span", { class: "soft small number" }, `step ${format.count(step)}`),
      make("p", { class: "mono" }, sample)));
    while (this.samples.children.length > MOST_SAMPLES) this.samples.lastChild.remove();
  }

  #showStatus() {
    const { last } = this;
    if (!last) return;
    const isRunning = session.job === "train";
    const left = (this.options.steps - last.step) * last.stepMs;
    const state = !isRunning ? "ended" : this.isPaused ? "paused" : `${format.duration(left)} left`;
    fill(this.status, `Step ${format.count(last.step)} of ${format.count(this.options.steps)}, ` +
      `${state}`);
    const hidden = document.hidden ? ". In the background browsers give a page less time" : "";
    fill(this.detail, `${format.duration(last.stepMs)} a step, ` +
      `${format.rate(last.bytesPerSecond)}${hidden}`);
  }

  async #download() {
    try {
      const blob = await this.training.download();
      const kind = blob.type.includes("zip") ? "zip" : "tar";
      save(blob, `blt-step-${this.last.step}.${kind}`);
    } catch (error) {
      showCard("train", {
        title: "The model could not be packed",
        text: error.message,
        hint: error.hint,
        actions: [["Try again", () => this.#download()]],
      });
    }
  }
}
