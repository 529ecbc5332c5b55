//! Keys of the reference implementation that are accepted and do nothing (spec §18): those that
//! do nothing there either, and those about processes, formats and hardware that are not ours.
//! Keys that would change what is computed are never in these lists.

/// Of the whole configuration.
pub const ROOT: &[&str] = &[
    "gc_collect_freq",
    "probe_freq",
    "distributed",
    "env",
    "profiling",
    "async_eval_gpus",
    "eval_on_gpus",
];

/// Of `[data]`: loading is always prefetched, the tokenizer is always bytes, rows are never padded,
/// and whether a unit is a byte or a patch follows from `train_entropy_model`.
pub const DATA: &[&str] = &[
    "load_async",
    "async_persist_type",
    "preprocess_dir",
    "entropy_model_name",
    "arrow_batch_size",
    "file_format",
    "pad_to_max_length",
    "add_patches",
    "tokenizer_args",
    "s3_profile",
];

/// Of `[data.patcher_args]`: the entropy model runs on the device of the run.
pub const PATCHER: &[&str] =
    &["realtime_patching", "patching_batch_size", "device", "patching_device"];

/// Of `[model]` and `[entropy_model]`, unless their parsers know them.
pub use crate::blt::config::KEYS_WITHOUT_EFFECT as MODEL;
