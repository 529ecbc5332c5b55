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
  cacheFailure: { kind: string; message: string; hint: string | null } | null;
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
  /** `auto`, the default: WebGPU, and the CPU engine where there is none. */
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
  /** Stops the job that runs: it ends with what it has, or with the kind `interrupted`. */
  interrupt(): Promise<void>;
  /** Destroys the device, as a driver that is reset does: for tests. */
  loseDevice(): Promise<void>;
  /** Ends the Worker. */
  close(): void;
  onDeviceLost: ((reason: string) => void) | null;
}
