// The Worker: a queue of jobs in front of the WebAssembly. Calls that wait for no device are
// answered at once.

import init, { Session } from "./blt.js";
import { cachedModels, clearModels } from "./cache.js";
import { failure, failureOf } from "./failure.js";
import { fetchModel, readFiles } from "./model_files.js";
import { probe } from "./probe.js";
import { savedArchive, savedTraining } from "./saved_training.js";
import { TrainingRun } from "./training_run.js";

let session = null;
let facts = null;
// The end of the queue, and what stops the job at its head.
let queue = Promise.resolve();
let running = null;
// Calls that wait for their turn, first come first; steps of a training are none.
let waiting = [];
let training = null;
// What the WebAssembly said last before it trapped: it can say nothing any more then.
let panic = null;
let dead = null;

globalThis.bltPanicked = (message) => (panic = message);

const atOnce = {
  async open({ engine }) {
    await init({ module_or_path: new URL("./blt_bg.wasm", import.meta.url) });
    facts = await openSession(engine);
    watchForLoss();
  },
  info: () => {
    const { name, features, limits, version } = session.info();
    const { engine, reason, adapter } = facts;
    return { engine, reason, adapter, name, features, version, limits: adapter?.limits ?? limits ?? {} };
  },
  cached: cachedModels,
  clearCache: clearModels,
  interrupt: () => {
    // A call that waits behind a step of a training is meant before the training is.
    const call = running && !running.isTraining ? running : waiting[0];
    if (call) return call.abort();
    training?.pause();
    running?.abort();
  },
  trainingPause: ({ key }) => ofTraining(key).pause(),
  trainingResume: ({ key }) => ofTraining(key).resume(),
  trainingSave: ({ key }) => ofTraining(key).saveSoon(),
  trainingStop: ({ key }) => ofTraining(key).stop(),
  savedTraining,
  savedArchive: ({ id }) => savedArchive(id),
  loseDevice: () => session.loseDevice(),
};

const jobs = {
  async load({ url, files }, say, signal) {
    const progress = (value) => say("progress", value);
    const found = url ? await fetchModel(url, progress, signal) : await readFiles(files, progress);
    signal.throwIfAborted();
    progress({ stage: "device", loaded: 0, total: null });
    const names = found.files.map(({ name }) => name);
    const contents = found.files.map(({ bytes }) => bytes);
    const info = await session.load(found.name, names, contents);
    return { ...info, cacheFailure: found.cacheFailure };
  },
  patches: ({ text, options }) => session.patches(text, JSON.stringify(options)),
  distribution: ({ text, at }) => session.distribution(text, at),
  hashes: async ({ text, at }) => {
    const ngrams = await session.hashes(text, at);
    return ngrams.map((ngram) => ({ ...ngram, bytes: Uint8Array.from(ngram.bytes) }));
  },
  attention: ({ text, patch, options }) => session.attention(text, patch, JSON.stringify(options)),
  generate: ({ prompt, options }, say) =>
    session.generate(prompt, JSON.stringify(options), (piece) => say("piece", piece)),
  async train({ text, options, saveEverySeconds }, say, _signal, key) {
    const bytes = text instanceof Blob ? new Uint8Array(await text.arrayBuffer()) : text;
    training?.stop();
    const handle = await session.train(bytes, JSON.stringify(options));
    training = new TrainingRun(key, handle, enqueue, say, saveEverySeconds);
    training.resume();
    return { key };
  },
  trainingStep: ({ key }) => ofTraining(key).stepOnce(),
  trainingArchive: ({ key }) => ofTraining(key).archive(),
  async bench({ options }, say) {
    const rows = [];
    await session.bench(JSON.stringify(options), ({ began, row }) => {
      if (row) rows.push(row);
      say(row ? "row" : "began", row ?? began);
    });
    return rows;
  },
  // Not in index.d.ts: for tests.
  kernelNames: () => session.kernelNames(),
  checkKernel: ({ name, mostElements }) => session.checkKernel(name, mostElements),
};

self.onmessage = async ({ data: { id, name, values } }) => {
  const say = (event, value) => self.postMessage({ id, event, value });
  const answer = (work) => work.then(
    (value) => self.postMessage({ id, value }),
    (error) => self.postMessage({ id, error: failureOf(error) }),
  );
  if (name in atOnce) {
    await answer((async () => atOnce[name](values))());
    return;
  }
  await answer(enqueue((signal) => jobs[name](values, say, signal, id)));
};

/** Runs a job behind those that wait. */
function enqueue(job, isTraining = false) {
  const abort = new AbortController();
  abort.isTraining = isTraining;
  if (!isTraining) waiting.push(abort);
  const work = queue.then(() => {
    waiting = waiting.filter((other) => other !== abort);
    abort.signal.throwIfAborted();
    return run(job, abort);
  });
  queue = work.catch(() => {});
  return work;
}

/** Runs one job, until it ends, is interrupted, or the WebAssembly traps. */
async function run(job, abort) {
  if (dead) throw dead;
  abort.signal.addEventListener("abort", () => session.interrupt());
  running = abort;
  const trapped = new Promise((_, reject) => (abort.trap = reject));
  try {
    return await Promise.race([job(abort.signal), trapped]);
  } finally {
    running = null;
  }
}

/** A trap in the middle of a job reaches nobody else: the job's promise is never kept. */
function trap(event, error) {
  event.preventDefault();
  const isOurs = panic !== null || error instanceof WebAssembly.RuntimeError;
  dead ??= isOurs ? trapFailure(error) : failureOf(error);
  running?.trap?.(dead);
}
self.addEventListener("error", (event) => trap(event, event.error));
self.addEventListener("unhandledrejection", (event) => trap(event, event.reason));

function trapFailure(error) {
  // Without a panic it is the allocator that gave up, or the stack that ended.
  if (panic === null) {
    return failure("out-of-memory", `the WebAssembly ended: ${error?.message ?? error}`,
      "open again, with a smaller model or text");
  }
  return failure("internal", `this is a fault of the program: ${panic}`, "open again");
}

function ofTraining(key) {
  if (training?.key === key) return training;
  throw failure("input", "another training has begun since", "download before you begin another");
}

async function openSession(engine) {
  const breathe = breather();
  if (engine === "cpu") {
    session = await Session.open("cpu", breathe);
    return { engine: "cpu", reason: "the CPU engine was asked for", adapter: null };
  }
  const { adapter, reason } = await probe();
  try {
    if (!adapter) throw failure("unsupported", reason, "use the CPU engine");
    if (engine === "auto" && adapter.fallback) {
      throw failure("unsupported", "the browser's GPU is software, slower than the CPU engine");
    }
    session = await Session.open("webgpu", breathe);
    return { engine: "webgpu", reason: null, adapter };
  } catch (error) {
    if (engine === "webgpu") throw error;
    session = await Session.open("cpu", breathe);
    return { engine: "cpu", reason: failureOf(error).message, adapter };
  }
}

/** A function whose promise is kept once the messages that have come were heard. */
function breather() {
  const { port1, port2 } = new MessageChannel();
  const waiting = [];
  port1.onmessage = () => waiting.shift()?.();
  return () => new Promise((resolve) => {
    waiting.push(resolve);
    port2.postMessage(null);
  });
}

function watchForLoss() {
  const timer = setInterval(() => {
    if (dead) return;
    const reason = session.lostReason();
    if (reason === undefined) return;
    clearInterval(timer);
    self.postMessage({ event: "lost", value: reason });
  }, 200);
}
