// The panel where a small BLT is trained from scratch.

import { announce, hideCard, showError } from "./cards.js";
import { Chart } from "./chart.js";
import { fill, labelled, make, save } from "./dom.js";
import * as format from "./format.js";
import { session } from "./session.js";
import { LEAST, Source } from "./source.js";
import { filesOfTar } from "./tar.js";

const PRESETS = [["tiny", "tiny, one layer each"], ["small", "small, as in blt demo"]];

/** Key of the options, name, first value, bounds, note. Without a value the shape decides. */
const NUMBERS = [
  ["entropySteps", "Steps, entropy model", 150, { min: 1, max: 1_000_000, step: 1 }, ""],
  ["steps", "Steps, BLT", 300, { min: 1, max: 1_000_000, step: 1 }, ""],
  ["learningRate", "Learning rate", "", { min: 0.000001, max: 0.999, step: "any" }, "as the shape"],
  ["batchBytes", "Bytes a step", "", { min: 64, max: 65536, step: 1 }, "as the shape"],
  ["sampleEvery", "Sample every", 50, { min: 0, max: 1_000_000, step: 1 }, "steps; 0: none"],
  ["evaluateEvery", "Measure every", 50, { min: 0, max: 1_000_000, step: 1 }, "steps; 0: never"],
  ["seed", "Seed", 1, { min: 0, max: 4294967295, step: 1 }, "the same seed, the same model"],
];

const PHASES = {
  entropy: "the entropy model learns",
  cut: "the text is cut",
  blt: "the BLT learns",
};

/** Samples that stay on the page. */
const MOST_SAMPLES = 40;

/** What was typed is a number within its bounds, or may be left out and was. */
const isValid = (input) =>
  input.validity.valid && (input.value !== "" || input.placeholder !== "") &&
  !input.validity.badInput;

export class TrainPanel {
  constructor(root, textOfCut) {
    this.training = null;
    this.isPaused = false;
    this.#forget();
    this.#build(root, textOfCut);
    for (const event of ["job", "device", "lost"]) session.on(event, () => this.#showButtons());
    session.on("device", () => {
      // What an engine trained goes with it, but for what was saved.
      this.training = null;
      this.#lookForSaved();
      this.#showButtons();
    });
    this.#showButtons();
    document.addEventListener("visibilitychange", () => this.#showStatus());
    addEventListener("beforeunload", (event) => {
      if (session.isTraining) event.preventDefault();
    });
  }

  #build(root, textOfCut) {
    this.source = new Source(textOfCut, () => this.#showButtons());
    this.start = make("button", { class: "primary", onclick: () => this.run() }, "Train");
    this.hold = make("button", { onclick: () => this.#toggle() }, "Pause");
    this.step = make("button", { onclick: () => this.training.step() }, "One step");
    this.end = make("button", { onclick: () => this.training.stop() }, "Stop");
    this.fetch = make("button", { onclick: () => this.#download() }, "Download the model");
    this.use = make("button", { onclick: () => this.#use() }, "Use it on this page");
    this.saved = make("p", { class: "small links number" });
    this.status = make("p", { class: "number" });
    this.detail = make("p", { class: "small soft number" });
    const charts = make("div", { class: "charts" });
    this.samples = make("ol", { class: "samples", "aria-label": "Samples" });
    fill(root,
      make("p", { class: "intro" }, "Two models begin with random numbers. First the entropy " +
        "model learns the text; then it cuts it into patches of 4.5 bytes on average; then the " +
        "BLT learns it, patch by patch. The last tenth of the text is held out, to measure what " +
        "was learned. The result is a model directory that ", make("code", {}, "blt"), " opens."),
      make("div", { class: "split" }, this.source.root, this.#settings()),
      make("div", { class: "stack running" },
        make("p", { class: "actions" }, this.start, this.hold, this.step, this.end, this.fetch,
          this.use),
        make("div", {}, this.status, this.detail, this.saved),
        charts,
        make("section", {}, make("h3", {}, "What it writes"), this.samples)));
    this.loss = new Chart(charts, { title: "Loss", unit: "nats a byte", across: "step" });
    this.bits = new Chart(charts, { title: "Bits per byte", unit: "bits", across: "step" });
  }

  #settings() {
    this.preset = make("select", {},
      ...PRESETS.map(([value, name]) => make("option", { value }, name)));
    this.inputs = NUMBERS.map(([key, name, value, bounds, note]) => {
      const input = make("input", {
        type: "number", ...bounds, value: String(value),
        placeholder: value === "" ? note : "",
      });
      input.addEventListener("input", () => {
        input.setAttribute("aria-invalid", String(!isValid(input)));
        this.#showButtons();
      });
      return [key, input, labelled(name, input, value === "" ? "" : note)];
    });
    return make("div", { class: "settings" },
      labelled("Shape", this.preset), ...this.inputs.map(([, , label]) => label));
  }

  #options() {
    const numbers = this.inputs.filter(([, input]) => input.value !== "")
      .map(([key, input]) => [key, Number(input.value)]);
    return { preset: this.preset.value, saveEverySeconds: 20, ...Object.fromEntries(numbers) };
  }

  #showButtons() {
    const { isTraining } = session;
    const areValid = this.inputs.every(([, input]) => isValid(input));
    this.start.disabled = !session.blt || isTraining || !areValid || this.source.size < LEAST;
    const isHeld = !isTraining || this.training === null;
    for (const button of [this.hold, this.end]) button.disabled = isHeld;
    this.step.disabled = isHeld || !this.isPaused;
    for (const button of [this.fetch, this.use]) {
      button.disabled = this.training === null || this.last === null || session.isLost;
    }
    this.hold.textContent = this.isPaused ? "Go on" : "Pause";
    this.#showStatus();
  }

  #forget() {
    this.points = { entropy: [], blt: [], heldOut: [] };
    this.marks = [];
    this.recentMs = [];
    this.last = null;
    this.isPaused = false;
  }

  async run() {
    hideCard("train");
    this.#forget();
    this.training = null;
    fill(this.samples);
    fill(this.status, "Preparing the first step …");
    fill(this.detail);
    session.setTraining(true);
    const options = {
      ...this.#options(),
      onSaved: (saved) => this.#showSaved(saved),
      onPaused: () => this.#setPaused(true),
    };
    try {
      this.training = await session.blt.train(
        this.source.text, options, (step) => this.#hear(step),
      );
      this.#showButtons();
      await this.training.done;
      announce(`Training ended at step ${this.last?.step ?? 0}.`);
    } catch (error) {
      session.explain("train", error, () => this.run());
      if (!this.last) fill(this.status, "It did not begin.");
    }
    this.isPaused = false;
    session.setTraining(false);
  }

  #setPaused(isPaused) {
    this.isPaused = isPaused;
    this.#showButtons();
  }

  #toggle() {
    if (!this.isPaused) return this.training.pause();
    this.#setPaused(false);
    return this.training.resume();
  }

  #hear(step) {
    const isFirst = this.last === null;
    this.last = step;
    this.recentMs = [...this.recentMs, step.stepMs].slice(-15);
    if (step.phase === "cut") {
      this.marks = [[step.step, `cut: ${step.bytesPerPatch.toFixed(2)} bytes a patch`]];
      this.threshold = step.threshold;
    } else {
      this.points[step.phase].push([step.step, step.loss]);
    }
    if (Number.isFinite(step.heldOutBpb)) this.points.heldOut.push([step.step, step.heldOutBpb]);
    if (step.sample) this.#addSample(step);
    this.#draw();
    this.#showStatus();
    if (isFirst) this.#showButtons();
  }

  #draw() {
    const { entropy, blt, heldOut } = this.points;
    const inBits = (points) => points.map(([step, nats]) => [step, nats / Math.LN2]);
    const noisy = (name, colour, points) => ({ name, colour, points, isNoisy: true });
    this.loss.set([
      noisy("BLT", "--accent", blt),
      noisy("entropy model", "--soft", entropy),
    ], this.marks);
    this.bits.set([
      noisy("BLT", "--accent", inBits(blt)),
      noisy("entropy model", "--soft", inBits(entropy)),
      { name: "BLT, held out", colour: "--ink", points: heldOut },
    ], this.marks);
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
    // The median, since some steps measure and write besides.
    const sorted = [...this.recentMs].sort((a, b) => a - b);
    const stepMs = sorted[sorted.length >> 1];
    const left = (last.stepCount - last.step) * stepMs;
    const state = !session.isTraining ? "ended" : this.isPaused ? "paused"
      : `${PHASES[last.phase]}, ${format.duration(left)} left at this pace`;
    fill(this.status,
      `Step ${format.count(last.step)} of ${format.count(last.stepCount)}: ${state}`);
    const hidden = document.hidden ? ". In the background browsers give a page less time" : "";
    const cut = this.marks.length > 0 ? `. Threshold ${this.threshold.toFixed(2)} nats` : "";
    fill(this.detail, `${format.duration(stepMs)} a step, ` +
      `${format.rate(last.bytesPerSecond)}${cut}${hidden}`);
  }

  /** What was saved last, in this tab or another. */
  async #lookForSaved() {
    const saved = await session.blt?.savedTraining().catch(() => null);
    if (saved) this.#showSaved(saved);
  }

  #showSaved({ id, step, bytes, seconds, failure = null }) {
    if (failure) {
      showError("saved", failure);
      return;
    }
    const time = new Date(seconds * 1000).toLocaleString([], {
      dateStyle: "medium", timeStyle: "short",
    });
    fill(this.saved,
      make("span", { class: "soft" }, `Saved in this browser: step ${format.count(step)}, ` +
        `${format.bytes(bytes)}, ${time}.`),
      make("button", {
        class: "plain",
        onclick: () => this.#handOver(() => session.blt.downloadSaved(id), `blt-step-${step}.tar`),
      }, "Download what was saved"));
  }

  #download() {
    return this.#handOver(() => this.training.download(), `blt-step-${this.last.step}.tar`);
  }

  async #handOver(pack, name) {
    const archive = await this.#packed(pack, () => this.#handOver(pack, name));
    if (archive) save(archive, name);
  }

  /** Opens what is trained as the model of this page, while the training may go on. */
  async #use() {
    const { step } = this.last;
    const archive = await this.#packed(() => this.training.download(), () => this.#use());
    if (!archive) return;
    const files = filesOfTar(new Uint8Array(await archive.arrayBuffer()));
    const chosen = files.map(({ name, bytes }) => new File([bytes], name));
    await session.load(chosen, `Trained here, step ${step}`);
  }

  async #packed(pack, retry) {
    try {
      return await pack();
    } catch (error) {
      session.explain("packed", error, retry);
      return null;
    }
  }
}
