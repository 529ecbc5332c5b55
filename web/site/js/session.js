// The one model and the one engine of this page. Panels hear of them by events:
// "device" (`info` is known), "progress", "model" (`model` came or went), "job" (`job` began or
// ended), "lost" (the device is gone).

import { Blt } from "../pkg/index.js";
import { hideCard, showCard, showError } from "./cards.js";

/** Where the small model lies, beside the page. */
export const MODEL_URL = new URL("../model/", import.meta.url).href;

/** How long after its first effect the loss of a device may be told. */
const LOSS_MS = 500;

/** After these an engine does nothing more: another one has to be opened. */
// What was chosen or fetched is none, or did not come: the model before is still there.
const NO_MODEL = ["not-a-model", "truncated", "input", "network"];
const FATAL = ["device-lost", "out-of-memory", "internal"];

class Session extends EventTarget {
  blt = null;
  info = null;
  model = null;
  progress = null;
  job = null;
  source = null;
  engine = "auto";
  isTraining = false;
  isOpening = true;
  isLost = false;

  on(event, action) {
    this.addEventListener(event, () => action());
  }

  #tell(event) {
    this.dispatchEvent(new Event(event));
  }

  /** Opens an engine: "auto", "webgpu" or "cpu". */
  async open(engine) {
    this.engine = engine;
    this.isOpening = true;
    this.isLost = false;
    try {
      this.blt = await Blt.open({ engine });
      this.blt.onDeviceLost = (why) => this.#lost(why);
      this.info = await this.blt.info();
      this.isOpening = false;
      hideCard("device");
      this.#tell("device");
      return true;
    } catch (error) {
      this.info = null;
      this.isOpening = false;
      this.#tell("device");
      showError("device", error, [
        ["Try again", () => this.reopen(engine)],
        ["Use the CPU engine", () => this.reopen("cpu")],
      ]);
      return false;
    }
  }

  /** Loads a model: the address of a directory, or its files; `name` is what it is called. */
  async load(source, name = null) {
    const before = [this.source, this.name, this.model];
    [this.source, this.name, this.model] = [source, name, null];
    this.progress = { stage: "download", loaded: 0, total: null };
    this.#tell("model");
    try {
      this.model = await this.blt.load(source, (progress) => {
        this.progress = progress;
        this.#tell("progress");
      });
      hideCard("model");
      this.#tellOfCache(this.model.cacheFailure);
    } catch (error) {
      // What is no model has not taken the place of the one that is there.
      if (NO_MODEL.includes(error.kind)) [this.source, this.name, this.model] = before;
      showError("model", error, this.remedies(error, () => this.load(source, name)));
    }
    this.progress = null;
    this.#tell("model");
    return this.model !== null;
  }

  /** A card for an error of a job. The loss of the device has one of its own. */
  async explain(job, error, retry) {
    // What a lost device breaks can be heard before the loss is.
    if (FATAL.includes(error.kind)) await new Promise((resolve) => setTimeout(resolve, LOSS_MS));
    if (error.kind !== "device-lost" && error.kind !== "interrupted" && !this.isLost) {
      showError(job, error, this.remedies(error, retry));
    }
  }

  /** What can be done about an error, as actions of a card. */
  remedies(error, retry) {
    const isFatal = FATAL.includes(error.kind);
    const again = async () => {
      if (isFatal && !(await this.reopen())) return;
      retry();
    };
    const isOfGpu = isFatal || error.kind === "limit";
    return [
      ["Try again", again],
      ...(isOfGpu && this.info?.engine === "webgpu"
        ? [["Use the CPU engine", () => this.reopen("cpu")]] : []),
    ];
  }

  /** A model that could not be kept works all the same, and is downloaded again next time. */
  #tellOfCache(failure) {
    if (!failure) return;
    showCard("model", {
      title: "The model is loaded, but not kept",
      text: `This browser could not keep it: ${failure.message}.`,
      hint: "The next visit downloads it again.",
      isNote: true,
    });
  }

  /** A new engine, and the model that was there. */
  async reopen(engine = this.engine) {
    this.blt?.close();
    this.blt = null;
    this.model = null;
    this.#tell("model");
    if (!(await this.open(engine))) return false;
    return this.source === null || this.load(this.source, this.name);
  }

  #lost(why) {
    this.isLost = true;
    this.model = null;
    this.#tell("lost");
    this.#tell("model");
    const error = {
      kind: "device-lost",
      message: `The browser took the GPU away: ${why || "it did not say why"}`,
      hint: "Text and settings are kept. What a training had saved can be downloaded in Train.",
    };
    showError("device", error, [
      ["Open it again", () => this.reopen()],
      ["Use the CPU engine", () => this.reopen("cpu")],
    ]);
  }

  /** A training is no job: it goes on between others, a step at a time. */
  setTraining(isTraining) {
    this.isTraining = isTraining;
    this.#tell("job");
  }

  /**
   * Runs a job that has the model for itself. Answers with what it gives, or with `null` after a
   * card has said what went wrong; `retry` is offered there.
   */
  async run(job, work, retry) {
    this.job = job;
    this.#tell("job");
    try {
      return await work(this.blt);
    } catch (error) {
      this.explain(job, error, retry);
      return null;
    } finally {
      this.job = null;
      this.#tell("job");
    }
  }
}

export const session = new Session();

/** What is computed on, as a person would call it. */
export function deviceName() {
  const { info } = session;
  if (info?.engine !== "webgpu") return "CPU engine in WebAssembly";
  const { vendor, architecture, device, description } = info.adapter ?? {};
  const parts = [vendor, architecture].filter(Boolean).join(" ");
  return description || device || parts || "a GPU without a name";
}
