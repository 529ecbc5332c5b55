// What a page has of the model: every call is a message to a Worker, where the WebAssembly lives.

/** What went wrong: `kind` for programs, `message` and `hint` for people. */
export class BltError extends Error {
  constructor({ kind = "internal", message = "unknown", hint = null } = {}) {
    super(message);
    this.name = "BltError";
    this.kind = kind;
    this.hint = hint;
  }
}

/** A training in the Worker, which goes on between other calls. */
export class Training {
  #call;

  /** Kept when all steps are done or it was stopped; rejects where it failed. */
  done;

  constructor(call, done) {
    this.#call = call;
    this.done = done;
  }

  pause() {
    return this.#call("trainingPause");
  }

  resume() {
    return this.#call("trainingResume");
  }

  /** One step, while it is paused. */
  step() {
    return this.#call("trainingStep");
  }

  /** Ends it; what is trained can still be downloaded until another begins. */
  async stop() {
    await this.#call("trainingStop");
  }

  /** What is trained so far: a tar archive of a model directory. */
  async download() {
    return asTar(await this.#call("trainingArchive"));
  }
}

const asTar = (bytes) => new Blob([bytes], { type: "application/x-tar" });

const encoder = new TextEncoder();
const bytesOf = (text) => (typeof text === "string" ? encoder.encode(text) : text);

export class Blt {
  #worker;
  #calls = new Map();
  #trainings = new Map();
  #nextId = 1;
  #end = null;

  /** Called when the device is lost, with the reason; the next call then fails: open again. */
  onDeviceLost = null;

  /** Begins a Worker and opens a device in it. */
  static async open({ engine = "auto" } = {}) {
    const blt = new Blt();
    try {
      await blt.#call("open", { engine });
    } catch (error) {
      blt.close();
      throw error;
    }
    return blt;
  }

  constructor() {
    this.#worker = new Worker(new URL("./worker.js", import.meta.url), { type: "module" });
    this.#worker.onmessage = ({ data }) => this.#hear(data);
    // A phone may end a tab that nobody sees.
    globalThis.document?.addEventListener("visibilitychange", this.#saveIfHidden);
    this.#worker.onerror = (event) => {
      event.preventDefault();
      const message = `the Worker ended: ${event.message || "its script could not be loaded"}`;
      this.#fail(new BltError({ message, hint: "open again" }));
    };
  }

  info() {
    return this.#call("info");
  }

  load(source, onProgress) {
    const where = typeof source === "string" ? new URL(source, document.baseURI).href : null;
    const files = where ? null : [...source];
    return this.#call("load", { url: where, files }, { progress: onProgress });
  }

  cached() {
    return this.#call("cached");
  }

  clearCache() {
    return this.#call("clearCache");
  }

  async patches(text, options = {}) {
    const bytes = bytesOf(text);
    return { bytes, ...(await this.#call("patches", { text: bytes, options })) };
  }

  distribution(text, at) {
    return this.#call("distribution", { text: bytesOf(text), at });
  }

  hashes(text, at) {
    return this.#call("hashes", { text: bytesOf(text), at });
  }

  attention(text, patch, options = {}) {
    return this.#call("attention", { text: bytesOf(text), patch, options });
  }

  generate(prompt, options = {}, onText = () => {}) {
    return this.#call("generate", { prompt: bytesOf(prompt), options }, { piece: onText });
  }

  /** Begins to train; resolves when the first step is about to begin. */
  async train(text, options = {}, onStep = () => {}) {
    const { saveEverySeconds = 60, onSaved, onPaused, ...rest } = options;
    const values = { text: bytesOf(text), options: rest, saveEverySeconds };
    const { key } = await this.#call("train", values, {}, (key) => {
      let settle;
      const done = new Promise((resolve, reject) => (settle = { resolve, reject }));
      // Who does not wait for the end need not hear how it was.
      done.catch(() => {});
      const listeners = { step: onStep, saved: onSaved, paused: onPaused };
      this.#trainings.set(key, { done, ...settle, listeners });
    });
    const call = (name) => this.#call(name, { key });
    return new Training(call, this.#trainings.get(key).done);
  }

  /** What was saved of the last training, `{ id, step, bytes, seconds }`, or null. */
  savedTraining() {
    return this.#call("savedTraining");
  }

  /** The same as a tar archive of a model directory, or null; of a training by its `id`. */
  async downloadSaved(id) {
    const bytes = await this.#call("savedArchive", { id });
    return bytes && asTar(bytes);
  }

  /** The rows of `blt bench`; `onRow` has each as it comes, `onBegan` what is measured next. */
  async bench({ onBegan, ...options } = {}, onRow = () => {}) {
    return this.#call("bench", { options }, { row: onRow, began: onBegan });
  }

  /** Stops the job that runs: it ends with what it has, or with the kind `interrupted`. */
  interrupt() {
    return this.#call("interrupt");
  }

  loseDevice() {
    return this.#call("loseDevice");
  }

  /** Calls of the Worker that are in no index.d.ts. */
  callForTests(name, values) {
    return this.#call(name, values);
  }

  #saveIfHidden = () => {
    if (!document.hidden) return;
    for (const key of this.#trainings.keys()) this.#call("trainingSave", { key }).catch(() => {});
  };

  /** Ends the Worker; calls that wait end with the kind `interrupted`. */
  close() {
    globalThis.document?.removeEventListener("visibilitychange", this.#saveIfHidden);
    this.#worker.terminate();
    this.#fail(new BltError({ kind: "interrupted", message: "it was closed", hint: "open again" }));
  }

  #call(name, values = {}, listeners = {}, begin = null) {
    if (this.#end) return Promise.reject(this.#end);
    const id = this.#nextId++;
    begin?.(id);
    return new Promise((resolve, reject) => {
      this.#calls.set(id, { resolve, reject, listeners });
      this.#worker.postMessage({ id, name, values });
    });
  }

  #hear({ id, event, value, error }) {
    if (event === "lost") {
      this.onDeviceLost?.(value);
      return;
    }
    const training = this.#trainings.get(id);
    if (event && training) {
      if (event === "ended") training.resolve(value);
      else if (event === "failed") training.reject(new BltError(value));
      else training.listeners[event]?.(value);
      return;
    }
    const call = this.#calls.get(id);
    if (!call) return;
    if (event) {
      call.listeners[event]?.(value);
      return;
    }
    this.#calls.delete(id);
    if (error) call.reject(new BltError(error));
    else call.resolve(value);
  }

  #fail(error) {
    this.#end ??= error;
    for (const { reject } of this.#calls.values()) reject(error);
    for (const { reject } of this.#trainings.values()) reject(error);
    this.#calls.clear();
  }
}
