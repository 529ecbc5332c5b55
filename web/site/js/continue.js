// The panel where the model goes on from a prompt, byte by byte.

import { announce, hideCard, showCard } from "./cards.js";
import { statistics } from "./cuts.js";
import { fill, guardPaste, labelled, make } from "./dom.js";
import * as format from "./format.js";
import { Picture } from "./picture.js";
import { session } from "./session.js";

/** Every number that decides about the text: its key in the state, its name, its bounds. */
const NUMBERS = [
  ["bytes", "Bytes to write", { min: 1, max: 4096, step: 1 }, "at most 4,096"],
  ["seed", "Seed", { min: 0, max: 4294967295, step: 1 }, "the same seed, the same text"],
  ["temperature", "Temperature", { min: 0, max: 100, step: 0.05 }, "0: always the likeliest byte"],
  ["minP", "Min-p", { min: 0, max: 1, step: 0.01 }, "share of the likeliest; 0: off"],
  ["topP", "Top-p", { min: 0, max: 1, step: 0.01 }, "1: off"],
  ["topK", "Top-k", { min: 0, max: 260, step: 1 }, "0: off"],
  ["penalty", "Repetition penalty", { min: 0.001, max: 1000, step: 0.01 }, "1: off"],
];

/** In characters; a model reads the last of a prompt that fits it. */
const LONGEST_PROMPT = 100_000;

const ENDS = {
  count: "as many bytes as were asked for",
  stop: "the stop text came",
  eos: "the model ended the text",
  interrupted: "stopped",
};

export class ContinuePanel {
  /** `state` is the page's; `onUse` hears a text that is to be looked at. */
  constructor(root, state, onChange, onUse) {
    this.state = state;
    this.onChange = onChange;
    this.onUse = onUse;
    this.#build(root);
    session.on("model", () => this.#showButtons());
    session.on("job", () => this.#showButtons());
    this.#showButtons();
  }

  #build(root) {
    this.prompt = make("textarea", { class: "prompt", rows: 3, value: this.state.prompt });
    this.prompt.addEventListener("input", () => this.#changed("prompt", this.prompt.value));
    guardPaste(this.prompt, LONGEST_PROMPT, (text) => showCard("continue", {
      title: "A long prompt",
      text: `The text has ${format.count(text.length)} characters, and a prompt at most ` +
        `${format.count(LONGEST_PROMPT)}. The field is as it was.`,
      isNote: true,
    }));
    this.prompt.addEventListener("keydown", (event) => {
      const isAsked = event.key === "Enter" && (event.ctrlKey || event.metaKey);
      if (isAsked && !this.start.disabled) this.run();
    });
    this.start = make("button", { class: "primary", onclick: () => this.run() }, "Continue");
    this.halt = make("button", { onclick: () => session.blt?.interrupt() }, "Stop");
    this.another = make("button", { onclick: () => this.#anotherSeed() }, "Another seed");
    this.use = make("button", {
      class: "plain", hidden: true, onclick: () => this.onUse(this.bytes),
    }, "Look at this text in Cut");
    this.figures = make("dl", { class: "figures number" });
    this.status = make("p", { class: "soft small number" }, "What the model writes stands here, " +
      "in the colours of its uncertainty.");
    const pictureRoot = make("div", {
      tabIndex: 0, role: "region", "aria-label": "What was written",
    });
    fill(root,
      make("div", { class: "split" },
        make("div", { class: "stack" },
          labelled("Prompt", this.prompt, "Ctrl and Enter: continue"),
          make("p", { class: "actions" }, this.start, this.halt, this.another),
          pictureRoot,
          make("p", { class: "small links" }, this.status, this.use)),
        make("div", { class: "stack" }, this.figures, this.#settings())));
    this.picture = new Picture(pictureRoot);
    this.#showFigures({});
  }

  #settings() {
    this.inputs = {};
    const fields = NUMBERS.map(([key, label, bounds, note]) => {
      const input = make("input", { type: "number", ...bounds, value: String(this.state[key]) });
      input.addEventListener("input", () => {
        const value = Number(input.value);
        const isInside = input.value !== "" && value >= bounds.min && value <= bounds.max;
        const fits = isInside && (bounds.step !== 1 || Number.isInteger(value));
        input.setAttribute("aria-invalid", String(!fits));
        if (fits) this.#changed(key, value);
      });
      this.inputs[key] = input;
      return labelled(label, input, note);
    });
    const stop = make("input", { type: "text", value: this.state.stop, maxLength: 200 });
    stop.addEventListener("input", () => this.#changed("stop", stop.value));
    return make("div", { class: "settings" }, ...fields,
      labelled("Stop before", stop, "a text; \\n is a line feed"));
  }

  #changed(key, value) {
    this.state[key] = value;
    this.onChange();
  }

  #anotherSeed() {
    const [seed] = crypto.getRandomValues(new Uint32Array(1));
    this.inputs.seed.value = String(seed);
    this.#changed("seed", seed);
    this.run();
  }

  #options() {
    const { state } = this;
    const options = {
      maxBytes: state.bytes, seed: state.seed, temperature: state.temperature,
    };
    if (state.topK > 0) options.topK = state.topK;
    if (state.topP < 1) options.topP = state.topP;
    if (state.minP > 0) options.minP = state.minP;
    if (state.penalty !== 1) options.repetitionPenalty = state.penalty;
    if (state.stop !== "") options.stop = [format.unescaped(state.stop)];
    return options;
  }

  #showButtons() {
    const isRunning = session.job === "continue";
    this.start.disabled = !session.model || session.job !== null;
    this.another.disabled = this.start.disabled;
    this.halt.disabled = !isRunning;
  }

  async run() {
    hideCard("continue");
    const prompt = new TextEncoder().encode(this.prompt.value);
    const written = new Written(prompt);
    this.use.hidden = true;
    fill(this.status, "Reading the prompt …");
    let frame = 0;
    const show = () => {
      frame = 0;
      this.#show(written);
    };
    const began = performance.now();
    const result = await session.run("continue", async (blt) => {
      written.begin(await blt.patches(prompt));
      show();
      return blt.generate(prompt, this.#options(), (piece) => {
        written.add(piece);
        const seconds = (performance.now() - began) / 1000;
        fill(this.status, `${format.plural(written.count - prompt.length, "byte")} in ` +
          `${format.duration(seconds * 1000)} …`);
        if (frame === 0) frame = requestAnimationFrame(show);
      });
    }, () => this.run());
    cancelAnimationFrame(frame);
    show();
    this.use.hidden = written.count === prompt.length;
    if (result) this.#ended(result, written);
    else fill(this.status, "It did not come to its end; what was written until then stays.");
  }

  #show(written) {
    this.bytes = written.bytes();
    this.picture.setText(this.bytes);
    this.picture.setCuts(written.cuts());
    this.picture.setThreshold(
      session.model?.patching.mode === "entropy" ? session.model.patching.threshold : null,
    );
    const { root } = this.picture;
    // Follows what is written, unless somebody has scrolled back to read.
    if (root.scrollHeight - root.scrollTop - root.clientHeight < 400) {
      root.scrollTop = root.scrollHeight;
    }
  }

  #ended(result, written) {
    this.#showFigures(result);
    const { average } = statistics(written.cuts().starts, written.count);
    const end = ENDS[result.end] ?? result.end;
    fill(this.status, `${format.plural(result.byteCount, "byte")} written, then: ${end}. ` +
      `${average.toFixed(2)} bytes a patch, prompt included.`);
    announce(`${format.plural(result.byteCount, "byte")} written: ${result.text}`);
  }

  #showFigures({ firstByteMs, prefillBytesPerSecond, bytesPerSecond }) {
    const figure = (term, value) => make("div", {}, make("dt", {}, term), make("dd", {}, value));
    fill(this.figures,
      figure("First byte after", format.duration(firstByteMs)),
      figure("Prompt read at", format.rate(prefillBytesPerSecond)),
      figure("Written at", format.rate(bytesPerSecond)));
  }
}

/** A text that grows: its bytes, their entropies, and where patches begin. */
class Written {
  constructor(prompt) {
    this.count = prompt.length;
    this.store = new Uint8Array(Math.max(1024, 2 * prompt.length));
    this.store.set(prompt);
    this.entropies = new Array(prompt.length).fill(NaN);
    this.starts = [];
    this.known = 0;
  }

  /** What is known of the prompt. */
  begin({ entropies, starts }) {
    entropies.subarray(0, this.count).forEach((nats, at) => (this.entropies[at] = nats));
    this.starts = Array.from(starts).filter((start) => start < this.count);
    this.known = this.count;
  }

  add(piece) {
    if (this.count + piece.bytes.length > this.store.length) {
      const larger = new Uint8Array(2 * (this.count + piece.bytes.length));
      larger.set(this.bytes());
      this.store = larger;
    }
    this.store.set(piece.bytes, this.count);
    for (let i = 0; i < piece.bytes.length; i++) {
      this.entropies.push(piece.entropies?.[i] ?? NaN);
      if (piece.starts[i] || this.count + i === 0) this.starts.push(this.count + i);
    }
    this.count += piece.bytes.length;
    this.known = this.count;
  }

  bytes() {
    return this.store.subarray(0, this.count);
  }

  cuts() {
    return {
      entropies: Float32Array.from(this.entropies),
      starts: Uint32Array.from(this.starts),
      known: this.known,
    };
  }
}
