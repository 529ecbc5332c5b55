// The files of a model directory: from a URL, by way of the cache, or chosen by a person.

import { readModel, writeModel } from "./cache.js";
import { failure, failureOf } from "./failure.js";

const CONFIG = "config.json";
const WEIGHTS = "model.safetensors";
const INDEX = "model.safetensors.index.json";
// WebAssembly addresses 4 GiB, and weights lie there once as files and once as what is read.
const MOST_BYTES = 1.5 * 2 ** 30;

/** `{ name, files, cacheFailure }` of the directory at a URL. */
export async function fetchModel(url, progress, signal) {
  const base = url.endsWith("/") ? url : `${url}/`;
  const name = decodeURIComponent(new URL(base).pathname.split("/").at(-2) || base);
  progress({ stage: "cache", loaded: 0, total: null });
  const kept = await readModel(base);
  if (kept && (await isCurrent(base, kept, signal))) {
    const bytes = size(kept.files);
    progress({ stage: "cache", loaded: bytes, total: bytes });
    return { name, files: kept.files, cacheFailure: null };
  }
  const { files, validator } = await download(base, progress, signal);
  let cacheFailure = null;
  try {
    await writeModel(base, validator, files);
  } catch (error) {
    cacheFailure = failureOf(error);
  }
  return { name, files, cacheFailure };
}

/** `{ name, files }` of files that a person has chosen. */
export async function readFiles(all, progress) {
  const chosen = all.filter(isOfModel);
  const total = chosen.reduce((sum, file) => sum + file.size, 0);
  if (total > MOST_BYTES) {
    throw failure("limit",
      `the model has ${total} bytes, of which a tab holds ${MOST_BYTES} at most`,
      "take a smaller one, or one that `blt convert --dtype q4` has written; the program has no such limit");
  }
  const files = [];
  let loaded = 0;
  for (const file of chosen) {
    progress({ stage: "read", loaded, total });
    files.push({ name: file.name, bytes: new Uint8Array(await file.arrayBuffer()) });
    loaded += file.size;
  }
  progress({ stage: "read", loaded, total });
  const folder = all[0]?.webkitRelativePath?.split("/")[0];
  return { name: folder || "your files", files, cacheFailure: null };
}

/** Whether a file is one of a model: beside it may lie what a training needs to go on. */
function isOfModel({ name, webkitRelativePath = "" }) {
  const isBelow = webkitRelativePath.split("/").length > 2;
  const isWeights = name.endsWith(".safetensors") && !name.startsWith("optimizer");
  return !isBelow && (name === CONFIG || name === INDEX || isWeights);
}

/** Whether what is kept is still what is there; without a network it is good enough. */
async function isCurrent(base, { validator, files }, signal) {
  if (!validator) return true;
  const first = files.find(({ name }) => name.endsWith(".safetensors"))?.name ?? WEIGHTS;
  try {
    const head = await fetch(base + first, { method: "HEAD", signal });
    return !head.ok || validatorOf(head) === validator;
  } catch (error) {
    if (signal.aborted) throw error;
    return true;
  }
}

async function download(base, progress, signal) {
  const config = await get(base + CONFIG, signal);
  let weights = [await fetchOrNull(base + WEIGHTS, signal)];
  const files = [];
  if (!weights[0]) {
    const index = await get(base + INDEX, signal);
    const bytes = await index.arrayBuffer().then((buffer) => new Uint8Array(buffer));
    files.push({ name: INDEX, bytes });
    const map = JSON.parse(new TextDecoder().decode(bytes)).weight_map ?? {};
    const names = [...new Set(Object.values(map))];
    weights = await Promise.all(names.map((name) => get(base + name, signal)));
  }
  const lengths = weights.map((response) => Number(response.headers.get("Content-Length")) || null);
  const total = lengths.includes(null) ? null : lengths.reduce((sum, length) => sum + length, 0);
  let loaded = 0;
  const onChunk = (bytes) => progress({ stage: "download", loaded: (loaded += bytes), total });
  files.push({ name: CONFIG, bytes: new Uint8Array(await config.arrayBuffer()) });
  for (const [index, response] of weights.entries()) {
    const name = decodeURIComponent(new URL(response.url).pathname.split("/").pop());
    files.push({ name, bytes: await body(response, lengths[index], onChunk) });
  }
  return { files, validator: validatorOf(weights[0]) };
}

/** The body of a response, told of as it comes. */
async function body(response, length, onChunk) {
  const reader = response.body.getReader();
  const chunks = [];
  let loaded = 0;
  for (;;) {
    let part;
    try {
      part = await reader.read();
    } catch (error) {
      throw cutOff(response.url, error, loaded, length);
    }
    if (part.done) break;
    chunks.push(part.value);
    loaded += part.value.length;
    onChunk(part.value.length);
  }
  const bytes = new Uint8Array(loaded);
  let at = 0;
  for (const chunk of chunks) {
    bytes.set(chunk, at);
    at += chunk.length;
  }
  return bytes;
}

function cutOff(url, error, loaded, length) {
  if (error.name === "AbortError") return error;
  const of = length ? ` of ${length}` : "";
  return failure("network", `${url}: cut off after ${loaded}${of} bytes: ${error.message}`, "try again");
}

async function get(url, signal) {
  const response = await fetchOrNull(url, signal);
  if (!response) throw failure("not-a-model", `${url}: there is no such file`, "a model directory has config.json and model.safetensors");
  return response;
}

/** A response, or null where there is nothing. */
async function fetchOrNull(url, signal) {
  let response;
  try {
    response = await fetch(url, { signal });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw failure("network", `${url}: cannot be fetched: ${error.message}`, "look at the network, then try again");
  }
  if (response.status === 404) return null;
  if (!response.ok) throw failure("network", `${url}: the server answered ${response.status}`, "try again later");
  return response;
}

function validatorOf(response) {
  const { headers } = response;
  return headers.get("ETag") ?? headers.get("Last-Modified") ?? headers.get("Content-Length");
}

function size(files) {
  return files.reduce((sum, { bytes }) => sum + bytes.length, 0);
}
