// The one model and the one engine of this page. Panels hear of them by events:
// "device" (`info` is known), "progress", "model" (`model` came or went), "job" (`job` began or
// ended), "lost" (the device is gone).

import { Blt } from "../pkg/index.js";
import { showCard, showError } from "./cards.js";

/** Where the small model lies, beside the page. */
export const MODEL_URL = new URL("../model/", import.meta.url).href;

class Session extends EventTarget {
  blt = null;
  info = null;
  model = null;
  progress = null;
  job = null;
  source = null;
  engine = "auto";
  isOpening = true;

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
    try {
      this.blt = await Blt.open({ engine });
      this.blt.onDeviceLost = (why) => this.#lost(why);
      this.info = await this.blt.info();
      this.isOpening = false;
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

  /** Loads a model: the address of a directory, or its files. */
  async load(source) {
    this.source = source;
    this.model = null;
    this.progress = { stage: "download", loaded: 0, total: null };
    this.#tell("model");
    try {
      this.model = await this.blt.load(source, (progress) => {
        this.progress = progress;
        this.#tell("progress");
      });
      this.#tellOfCache(this.model.cacheFailure);
    } catch (error) {
      const onCpu = this.info?.engine === "webgpu" &&
        ["limit", "out-of-memory", "device-lost"].includes(error.kind);
      showError("model", error, [
        ["Try again", () => this.load(source)],
        ...(onCpu ? [["Use the CPU engine", () => this.reopen("cpu")]] : []),
      ]);
    }
    this.progress = null;
    this.#tell("model");
    return this.model !== null;
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
    if (await this.open(engine) && this.source !== null) await this.load(this.source);
  }

  #lost(why) {
    this.model = null;
    this.#tell("lost");
    this.#tell("model");
    const error = {
      kind: "device-lost",
      message: `The browser took the GPU away: ${why || "it did not say why"}`,
      hint: "Text and settings are kept. Training goes on from what was saved last.",
    };
    showError("device", error, [
      ["Open it again", () => this.reopen()],
      ["Use the CPU engine", () => this.reopen("cpu")],
    ]);
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
      // The loss of the device has a card of its own.
      if (error.kind !== "device-lost") showError(job, error, retry ? [["Try again", retry]] : []);
      return null;
    } finally {
      this.job = null;
      this.#tell("job");
    }
  }
}

export const session = new Session();
