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

const encoder = new TextEncoder();
const bytesOf = (text) => (typeof text === "string" ? encoder.encode(text) : text);

export class Blt {
  #worker;
  #calls = new Map();
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

  /** Stops the job that runs: it ends with what it has, or with the kind `interrupted`. */
  interrupt() {
    return this.#call("interrupt");
  }

  loseDevice() {
    return this.#call("loseDevice");
  }

  /** Ends the Worker; calls that wait end with the kind `interrupted`. */
  close() {
    this.#worker.terminate();
    this.#fail(new BltError({ kind: "interrupted", message: "it was closed", hint: "open again" }));
  }

  #call(name, values = {}, listeners = {}) {
    if (this.#end) return Promise.reject(this.#end);
    const id = this.#nextId++;
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
    this.#calls.clear();
  }
}
