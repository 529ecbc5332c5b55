/** The Byte Latent Transformer in a browser. Everything runs in a Worker; the page never stalls. */

export type Engine = "webgpu" | "cpu";

export interface Info {
  engine: Engine;
  /** Why it is not WebGPU, where it is not. */
  reason: string | null;
  /** What the browser says of its GPU; null where it has none or was not asked. */
  adapter: {
    vendor: string;
    architecture: string;
    device: string;
    description: string;
    /** Software, not a GPU. */
    fallback: boolean;
    features: string[];
    limits: Record<string, number>;
  } | null;
  /** The engine as it names itself. */
  name: string;
  /** What kernels may use beyond the core. */
  features: string[];
  /** Those of the adapter; empty for the CPU engine. */
  limits: Record<string, number>;
  /** Of this package. */
  version: string;
}

export interface Progress {
  stage: "download" | "cache" | "read" | "device";
  /** Bytes. */
  loaded: number;
  total: number | null;
}

export interface ModelInfo {
  /** Last part of its URL, or the folder it was chosen from. */
  name: string;
  /** `blt`, `blt_wgpu` or `blt_patcher` (a lone entropy model). */
  modelType: string;
  parameterCount: number;
  /** Of its files. */
  bytes: number;
  /** The type most weights are stored in: f32, f16, bf16, int8, q4. */
  dtype: string;
  patching: {
    /** `none` for a lone entropy model. */
    mode: string;
    threshold: number | null;
    thresholdAdd: number | null;
    patchSize: number | null;
    maxPatchLength: number | null;
  };
  hasEntropyModel: boolean;
  /** Keys that a byte sees in the local encoder; 0: all before it. */
  window: number;
  ngramSizes: number[];
  hashFunctionCount: number;
  tableRows: number;
  /** Most bytes that the model reads at once. */
  maxBytes: number;
  /** What should be said about the configuration, a sentence each. */
  warnings: string[];
  /** `config.json`. */
  config: object;
  /** Why the model could not be kept in the cache, where it could not: it works all the same. */
  cacheFailure: Failure | null;
}

/** What is left out, the model says. */
export interface PatchOptions {
  mode?: "entropy" | "monotonic" | "combined" | "space" | "static" | "byte" | "bpe";
  /** In nats. */
  threshold?: number;
  /** In nats; the second one of `combined`, which needs it. */
  thresholdAdd?: number;
  /** Bytes a patch, for `static`. */
  patchSize?: number;
  maxPatchLength?: number;
}

export interface Patches {
  /** The text; entry `i` of the arrays below is byte `i`. */
  bytes: Uint8Array;
  /** In nats, of the prediction of each byte before it is read; empty without an entropy model. */
  entropies: Float32Array;
  /** The same of the byte that would come next. */
  nextEntropy: number | undefined;
  /** Bytes with which patches begin; the last may be `bytes.length`: the next byte begins one. */
  starts: Uint32Array;
  averageLength: number;
  engineMs: number;
}

export interface Distribution {
  /** In nats, of the model's own prediction (that of `Patches` is the entropy model's). */
  entropy: number;
  /** Probability that the text ends here. */
  end: number;
  /** The 32 likeliest bytes, likeliest first. */
  top: { byte: number; probability: number }[];
}

export interface Ngram {
  size: number;
  /** Those of it that stand in the text, the byte itself last. */
  bytes: Uint8Array;
  /** The row of each hash function's table. */
  rows: number[];
}

/** Patches are numbered as in `Patches.starts`. Ranges are `[first, end)`. */
export interface Sight {
  /** Bytes whose states are pooled into the patch. */
  bytes: [number, number];
  /** Patches that it sees in the latent transformer, itself included. */
  patches: [number, number];
  /** Bytes that are predicted with what comes of it. */
  predicts: [number, number];
}

export interface GenerateOptions {
  /** Most bytes of the answer; 200. */
  maxBytes?: number;
  seed?: number;
  /** 0, the default, takes the likeliest byte. */
  temperature?: number;
  topK?: number;
  topP?: number;
  minP?: number;
  repetitionPenalty?: number;
  /** Strings before which the answer ends. */
  stop?: string[];
  allowSpecial?: boolean;
  /** Bytes that a GPU adds by itself before the page hears of them, 1 to 64; 0: as suits it. */
  bytesASubmission?: number;
}

export interface Piece {
  /** Whole characters. */
  text: string;
  bytes: Uint8Array;
  /** Of the entropy model's prediction of each byte, in nats; NaN where it makes none. */
  entropies: Float32Array;
  /** Whether a patch begins with each byte. */
  starts: boolean[];
}

export interface Generated {
  text: string;
  byteCount: number;
  end: "eos" | "count" | "stop" | "interrupted";
  firstByteMs: number;
  prefillBytesPerSecond: number;
  bytesPerSecond: number;
}

export interface TrainOptions {
  preset?: "tiny" | "small";
  /** Optimiser steps of the model; 300. */
  steps?: number;
  /** Those of its entropy model before; half as many unless told otherwise. */
  entropySteps?: number;
  learningRate?: number;
  /** Bytes that one step reads, about. */
  batchBytes?: number;
  /** Steps of the model between two texts that it writes; 50, 0: none. */
  sampleEvery?: number;
  /** Bytes of such a text; 120. */
  sampleBytes?: number;
  /** Steps of the model between two measurements of held-out text; 50, 0: none. */
  evaluateEvery?: number;
  seed?: number;
  /** How often what is trained is saved in the private file system; 60, 0: never. */
  saveEverySeconds?: number;
  /** Something was saved, or could not be. */
  onSaved?: (saved: SavedTraining & { failure: Failure | null }) => void;
  /** It was paused, by `pause` or `interrupt`. */
  onPaused?: (last: TrainStep | null) => void;
}

export interface TrainStep {
  /** The entropy model learns; the text is cut into patches by it (no step); the model learns. */
  phase: "entropy" | "cut" | "blt";
  /** Steps done, of both models, and how many there will be. */
  step: number;
  stepCount: number;
  /** Nats a target of this step. */
  loss: number;
  /** The same in bits. */
  bpb: number;
  gradientNorm: number;
  learningRate: number;
  bytesPerSecond: number;
  stepMs: number;
  /** Of the text's last tenth, which is not learnt; null where it was not measured. */
  heldOutBpb: number | null;
  sample: string | null;
  /** In nats, with `cut`. */
  threshold: number | null;
  /** With `cut`. */
  bytesPerPatch: number | null;
}

export interface SavedTraining {
  /** Of the training, for `downloadSaved`. */
  id: string;
  step: number;
  bytes: number;
  /** Since 1970. */
  seconds: number;
}

/** A training goes on between other calls, a step at a time. */
export class Training {
  /** Kept with the last step when all are done or it was stopped; rejects where it failed. */
  readonly done: Promise<TrainStep | null>;
  pause(): Promise<void>;
  resume(): Promise<void>;
  /** One step, while it is paused. */
  step(): Promise<void>;
  /** Ends it; what is trained can be downloaded until another begins. */
  stop(): Promise<void>;
  /** A tar archive of a model directory, which `blt` opens; `transformers` too behind `cut`. */
  download(): Promise<Blob>;
}

export interface BenchOptions {
  /** Fewer and shorter samples, and no kernel by itself. */
  quick?: boolean;
  parts?: ("peaks" | "gemm" | "kernels" | "model" | "memory" | "train" | "generate")[];
  /** What is measured next. */
  onBegan?: (what: string) => void;
}

/** A row of `blt bench --json`. */
export interface BenchRow {
  schema: number;
  kind: string;
  device: string;
  backend: string;
  driver: string;
  features: string[];
  commit: string;
  kernel: string;
  variant: string;
  shape: string;
  precision: string;
  samples_ms: number[];
  median_ms: number | null;
  rate: number | null;
  unit: string;
  flops?: number;
  bytes?: number;
  percent_of_peak: number | null;
  status: "ok" | "skipped" | "failed";
  reason: string;
}

export interface Failure {
  kind: ErrorKind;
  message: string;
  hint: string | null;
}

export type ErrorKind =
  | "unsupported" | "input" | "not-a-model" | "truncated" | "limit" | "out-of-memory"
  | "device-lost" | "quota" | "busy" | "interrupted" | "network" | "internal";

export class BltError extends Error {
  kind: ErrorKind;
  /** What to do about it. */
  hint: string | null;
}

/**
 * A device in a Worker, and the model on it. Calls are done one after the other; all of them reject
 * with a `BltError`. After `device-lost`, `out-of-memory` and `internal`, `open` another one.
 */
export class Blt {
  /** `auto`, the default: WebGPU, and the CPU engine where there is none or only in software. */
  static open(options?: { engine?: "auto" | Engine }): Promise<Blt>;
  info(): Promise<Info>;
  /**
   * Loads a model directory: from a URL, kept in the origin's private file system for the next
   * time, or from files that were chosen. The model before it is gone, even where this fails.
   */
  load(source: string | Iterable<File>, onProgress?: (progress: Progress) => void): Promise<ModelInfo>;
  cached(): Promise<{ url: string; bytes: number }[]>;
  clearCache(): Promise<void>;
  /** Entropies are kept: the same text by another rule costs next to nothing. At most 1 MiB. */
  patches(text: string | Uint8Array, options?: PatchOptions): Promise<Patches>;
  /** What the model expects as byte `at`, which may be the one behind the end. */
  distribution(text: string | Uint8Array, at: number): Promise<Distribution>;
  /** The n-grams that end with byte `at`; none where the model hashes nothing. */
  hashes(text: string | Uint8Array, at: number): Promise<Ngram[]>;
  attention(text: string | Uint8Array, patch: number, options?: PatchOptions): Promise<Sight>;
  generate(
    prompt: string | Uint8Array,
    options?: GenerateOptions,
    onText?: (piece: Piece) => void,
  ): Promise<Generated>;
  /** Begins to train; resolves when the first step is about to begin. */
  train(
    text: string | Uint8Array | File,
    options?: TrainOptions,
    onStep?: (step: TrainStep) => void,
  ): Promise<Training>;
  /** What was saved of the last training, in this tab or another one. */
  savedTraining(): Promise<SavedTraining | null>;
  /** The same as a tar archive of a model directory. */
  downloadSaved(id?: string): Promise<Blob | null>;
  bench(options?: BenchOptions, onRow?: (row: BenchRow) => void): Promise<BenchRow[]>;
  /** Stops the job that runs: it ends with what it has, or with the kind `interrupted`. A
   *  training that is at a step, or alone, is paused. */
  interrupt(): Promise<void>;
  /** Destroys the device, as a driver that is reset does: for tests. */
  loseDevice(): Promise<void>;
  /** Ends the Worker. */
  close(): void;
  onDeviceLost: ((reason: string) => void) | null;
}
