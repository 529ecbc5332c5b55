// What this page is made of: what it downloads, what device it found, which model is there.

import { sentence } from "./cards.js";
import { fill, make, pairs, picker } from "./dom.js";
import * as format from "./format.js";
import { deviceName, MODEL_URL, session } from "./session.js";

/** From web/model/README.md. */
const SCORE = "On books that it has not read it needs 1.25 bits a byte; zstd -19 needs 2.28.";

const STAGES = {
  download: "downloading",
  cache: "reading what this browser keeps",
  read: "reading the weights",
  device: "onto the device",
};

/** Builds the three columns inside `root`. */
export function startFacts(root) {
  const device = make("div", { class: "fact", id: "fact-device" });
  const model = make("div", { class: "fact", id: "fact-model" });
  fill(root, device, model);
  showDevice(device);
  showModel(model);
  session.on("device", () => showDevice(device));
  session.on("device", () => showModel(model));
  session.on("model", () => showModel(model));
  session.on("progress", () => showProgress(model));
  // Another engine or model would take away what a job works with, or a training.
  const disable = (part, isDisabled) => {
    for (const button of part.querySelectorAll("button")) button.disabled = isDisabled;
  };
  session.on("job", () => {
    disable(device, session.job !== null || session.isTraining);
    disable(model, session.job !== null);
  });
}

function showDevice(root) {
  const { info } = session;
  if (!info) {
    const words = session.isOpening ? "Looking for a GPU …" : "No engine could be opened.";
    fill(root, make("h2", { class: "minor" }, "Your device"), make("p", { class: "soft" }, words));
    return;
  }
  const isGpu = info.engine === "webgpu";
  const change = isGpu ? ["Use the CPU engine", "cpu"] : ["Try the GPU again", "webgpu"];
  fill(root,
    make("h2", { class: "minor" }, "Your device"),
    make("p", { class: "value" }, deviceName()),
    make("p", { class: "soft small" }, isGpu ? gpuSentence(info) : cpuSentence(info)),
    details(info),
    make("p", { class: "small" },
      make("button", { class: "plain", onclick: () => session.reopen(change[1]) }, change[0])));
}

function gpuSentence(info) {
  const { adapter } = info;
  const kind = adapter?.fallback ? ", in software: the CPU engine may be faster" : "";
  const storage = format.bytes(info.limits.maxStorageBufferBindingSize ?? NaN);
  return `By WebGPU${kind}. At most ${storage} in one binding.`;
}

function cpuSentence(info) {
  if (session.engine === "cpu") return "As you chose. Everything works on the processor.";
  return `${sentence(info.reason)} Everything works on the processor.`;
}

function details(info) {
  const adapter = info.adapter ?? {};
  const named = ["vendor", "architecture", "device", "description"]
    .filter((key) => adapter[key]).map((key) => [key, adapter[key]]);
  const limits = Object.entries(info.limits ?? {})
    .map(([key, value]) => [words(key), format.count(value)]);
  return make("details", { class: "small" },
    make("summary", {}, "Features and limits"),
    make("dl", { class: "table" }, ...pairs(
      ["engine", info.engine],
      ...named,
      adapter.features ? ["its features", listed(adapter.features), "wide"] : null,
      ["used by kernels", listed(info.features), "wide"],
      ...limits,
      ["program", `blt-wgpu ${info.version}`])));
}

const listed = (features) => features.join(", ") || "none beyond the core";

/** "maxBufferSize" as words. */
function words(key) {
  return key.replace(/([A-Z])/g, " $1").toLowerCase().replaceAll("_", " ");
}

/** How many bytes the server would send for an address; NaN if it does not say. */
async function sizeOf(url) {
  try {
    const answer = await fetch(url, { method: "HEAD" });
    return (answer.ok && Number(answer.headers.get("content-length"))) || NaN;
  } catch {
    // Not known before it is downloaded, then.
    return NaN;
  }
}

let sizes = null;

/** Bytes of the small model and of the program: asked for once. */
function askSizes() {
  sizes ??= Promise.all([
    sizeOf(new URL("model.safetensors", MODEL_URL)),
    sizeOf(new URL("../pkg/blt_bg.wasm", import.meta.url)),
  ]);
  return sizes;
}

async function showModel(root) {
  if (session.progress) return showProgress(root);
  if (!session.model) return showChoice(root);
  const { model } = session;
  const { patching } = model;
  const rule = patching.threshold === null ? patching.mode
    : `${patching.mode}, ${format.number(patching.threshold)} nats`;
  fill(root,
    make("h2", { class: "minor" }, "The model"),
    make("p", { class: "value" },
      session.source === MODEL_URL ? "The small model" : session.name ?? model.name),
    make("p", { class: "soft small" },
      `${format.parameters(model.parameterCount)} parameters, ${format.bytes(model.bytes)} as ` +
      `${model.dtype}. Cut by ${rule}.` +
      (model.hasEntropyModel ? "" : " It has no entropy model of its own.")),
    session.source === MODEL_URL ? make("p", { class: "soft small" }, SCORE) : null,
    make("details", { class: "small" },
      make("summary", {}, "Configuration"),
      make("dl", { class: "table" }, ...pairs(
        ["type", model.modelType],
        ["window", format.plural(model.window, "byte")],
        ["n-grams", model.ngramSizes.length > 0 ? model.ngramSizes.join(", ") : "none"],
        ["hash functions", format.count(model.hashFunctionCount)],
        ["rows a table", format.count(model.tableRows)])),
      make("pre", {}, JSON.stringify(model.config, null, 2))),
    ...(model.warnings ?? []).map((words) => make("p", { class: "small" }, words)),
    make("p", { class: "small links" }, openDirectory("Open another"),
      session.source === MODEL_URL ? null
        : make("button", { class: "plain", onclick: loadSmall }, "Load the small one"),
      await keptLine(root)));
}

async function showChoice(root) {
  const [[bytes, program], kept] = await Promise.all([askSizes(), keptLine(root)]);
  if (session.progress || session.model) return;
  const label = `Load the model${Number.isFinite(bytes) ? `, ${format.bytes(bytes)}` : ""}`;
  fill(root,
    make("h2", { class: "minor" }, "The model"),
    make("p", {}, make("button", {
      class: "primary", id: "load", disabled: !session.blt, onclick: loadSmall,
    }, label)),
    make("p", { class: "soft small" }, "A small BLT with its entropy model, trained with this " +
      "program on English books and textbooks. This browser keeps it for the next visit." +
      (Number.isFinite(program) ? ` The page has loaded ${format.bytes(program)} by now.` : "")),
    make("p", { class: "small links" }, openDirectory("Open a model directory"), kept));
}

async function loadSmall() {
  await session.load(MODEL_URL);
  // The button is gone, and the focus with it: it goes where the model is of use.
  const isLost = document.activeElement === document.body;
  if (isLost) document.getElementById("panels").focus({ preventScroll: true });
}

function openDirectory(label) {
  const attributes = { webkitdirectory: true, multiple: true, "aria-label": "Model directory" };
  const button = picker(label, attributes, (files) => session.load(files));
  button.querySelector("button").className = "plain";
  return button;
}

/** What the browser keeps of models, with a button that clears it. */
async function keptLine(root) {
  const kept = session.blt ? await session.blt.cached().catch(() => []) : [];
  if (kept.length === 0) return null;
  const bytes = kept.reduce((sum, entry) => sum + entry.bytes, 0);
  const clear = async () => {
    await session.blt.clearCache();
    showModel(root);
  };
  return make("span", {}, `${format.bytes(bytes)} kept here `,
    make("button", { class: "plain", id: "clear", onclick: clear }, "Clear"));
}

function showProgress(root) {
  const { progress } = session;
  if (!progress) return;
  const stage = STAGES[progress.stage] ?? progress.stage;
  const isBytes = progress.stage === "download" || progress.stage === "cache";
  const of = progress.total ? ` of ${format.bytes(progress.total)}` : "";
  const known = root.querySelector("progress");
  const bar = known ?? make("progress", { "aria-label": "Loading the model" });
  if (progress.total) {
    bar.max = progress.total;
    bar.value = progress.loaded;
  } else {
    bar.removeAttribute("value");
  }
  const text = isBytes ? `${format.bytes(progress.loaded)}${of}` : "";
  if (known) {
    root.querySelector(".value").textContent = text || "…";
    root.querySelector(".stage").textContent = stage;
    return;
  }
  fill(root,
    make("h2", { class: "minor" }, "The model"),
    make("p", { class: "value number" }, text || "…"),
    bar,
    make("p", { class: "soft small stage" }, stage));
}

/** Whether this browser keeps the small model, so that it can be opened without a download. */
export async function isKept() {
  const kept = await session.blt.cached().catch(() => []);
  return kept.some((entry) => new URL(entry.url, document.baseURI).href === MODEL_URL);
}
