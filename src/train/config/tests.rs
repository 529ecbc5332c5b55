//! Tests of whole configurations, as text and as `--set`.

use std::path::PathBuf;

use proptest::prelude::*;

use super::*;
use crate::error::Result;
use crate::graph::Precision;
use crate::train::schedule::ScheduleKind;

const KEYS: ModelKeys<'_> = ModelKeys {
    model: &["dim_global", "n_layers_global", "rope_theta", "max_encoder_seq_length", "max_seqlen"],
    entropy_model: &["dim", "n_layers"],
};

fn read(text: &str, overrides: &[&str]) -> Result<(RunConfig, Vec<String>)> {
    RunConfig::from_toml(text, overrides, KEYS)
}

#[track_caller]
fn config(text: &str, overrides: &[&str]) -> RunConfig {
    read(text, overrides).unwrap().0
}

#[track_caller]
fn check_refused(text: &str, overrides: &[&str], expected: &str) {
    let message = read(text, overrides).unwrap_err().to_string();
    assert!(message.starts_with(expected), "{message}");
}

/// A configuration with something in every group.
const FULL: &str = r#"
name = "small"
steps = 5000
max_steps = 100
grad_acc_steps = 4
precision = "mixed"

[data]
sources = { "b.txt" = 1, "a.jsonl.zst" = 2.5 }
valid = ["v.txt"]
root_dir = "texts"
batch_size = 8
seq_len = 128
max_encoder_seq_length = 768
reference_packing = true

[data.patcher_args]
patching_mode = "entropy"
threshold = 1.5
threshold_add = 0
max_patch_length = 16
entropy_model_checkpoint_dir = "entropy"

[optim]
lr = 4e-4
scheduler = "wsd"
warmup = 500

[checkpoint]
dump = { every = 500, keep = 2 }
eval.keep = 0

[eval]
max_bytes = 100000

[model]
dim_global = 512
rope_theta = 500000.0

[entropy_model]
dim = 64
"#;

#[test]
fn defaults_are_those_of_the_reference() {
    let (config, warnings) = read("", &[]).unwrap();
    assert_eq!((config.seed, config.grad_acc_steps, config.steps), (42, 1, 1000));
    let data = &config.data;
    assert_eq!((data.batch_size, data.seq_len, data.max_encoder_seq_length), (2, 2048, 12_288));
    assert_eq!((data.seed, data.add_bos, data.add_eos, data.shuffle_buffer), (42, true, true, 64));
    let patcher = &data.patcher_args;
    assert_eq!(*patcher, PatcherConfig::default());
    assert_eq!(patcher.threshold as f32, 1.335_442_1_f32);
    assert_eq!(config.optim, OptimConfig::default());
    assert_eq!(
        (config.optim.lr, config.optim.warmup, config.optim.lr_min_ratio),
        (3e-4, 2000, 0.1)
    );
    assert_eq!(config.checkpoint, CheckpointConfig::default());
    assert_eq!(config.checkpoint_dir(), PathBuf::from("blt-run").join("checkpoints"));
    assert_eq!((config.last_step(), config.eval_every()), (1000, 1000));
    // The reference's defaults never get past their own warmup.
    let warning = config.schedule_warning().unwrap();
    assert!(warning.starts_with("optim.warmup is 2000 and steps 1000"));
    assert_eq!(warnings, [] as [String; 0]);
}

#[test]
fn every_group_is_read() {
    let (config, warnings) = read(FULL, &[]).unwrap();
    assert_eq!(warnings, [] as [String; 0]);
    config.check().unwrap();
    assert_eq!((config.last_step(), config.precision), (100, Precision::Mixed));
    let weights: Vec<_> =
        config.data.sources.iter().map(|s| (s.path.to_str().unwrap(), s.weight)).collect();
    assert_eq!(weights, [("a.jsonl.zst", 2.5), ("b.txt", 1.0)]);
    assert_eq!(config.data.resolve("v.txt".as_ref()), PathBuf::from("texts").join("v.txt"));
    assert_eq!(config.data.patcher_args.threshold_add, Some(0.0));
    assert_eq!(config.data.patcher_args.max_patch_length, Some(16));
    assert_eq!(config.optim.scheduler, ScheduleKind::Wsd);
    assert_eq!(config.schedule().step_count, 5000);
    assert_eq!(config.checkpoint.dump, SaveConfig { every: 500, keep: 2 });
    assert_eq!(config.checkpoint.eval, SaveConfig { every: 1000, keep: 0 });
    assert_eq!(config.model["dim_global"].as_integer(), Some(512));
    // The rows' lengths are the model's.
    assert_eq!(config.model["max_seqlen"].as_integer(), Some(128));
    assert_eq!(config.model["max_encoder_seq_length"].as_integer(), Some(768));
    assert!(!config.entropy_model.contains_key("max_seqlen"));
}

#[test]
fn resolved_configuration_reads_back_as_itself() {
    let bytes = "train_entropy_model = true\ndata.max_encoder_seq_length = 512";
    let odd_paths = r#"data.sources = ["C:\\a b\\c.txt", "d\"e\".txt", "ü.txt"]"#;
    for text in ["", FULL, bytes, odd_paths] {
        let first = config(text, &[]);
        let written = first.to_toml().unwrap();
        let (second, _) = read(&written, &[]).unwrap();
        assert_eq!(first, second, "{written}");
        assert_eq!(second.to_toml().unwrap(), written);
    }
}

#[test]
fn sources_in_every_form() {
    let sources = |toml: &str| {
        let config = config(&format!("data.sources = {toml}"), &[]);
        config.data.sources.iter().map(|s| (s.path.display().to_string(), s.weight)).collect()
    };
    let expected = |pairs: &[(&str, f64)]| -> Vec<(String, f64)> {
        pairs.iter().map(|&(path, weight)| (path.into(), weight)).collect()
    };
    let check = |toml: &str, pairs: &[(&str, f64)]| {
        let got: Vec<(String, f64)> = sources(toml);
        assert_eq!(got, expected(pairs));
    };
    check("'a.txt'", &[("a.txt", 1.0)]);
    check("['b.txt', 'a.txt']", &[("b.txt", 1.0), ("a.txt", 1.0)]);
    check(
        "[{ path = 'b', weight = 3 }, 'a', { path = 'c' }]",
        &[("b", 3.0), ("a", 1.0), ("c", 1.0)],
    );
    check("{ a = 0.5, b = 2 }", &[("a", 0.5), ("b", 2.0)]);
    for (toml, message) in [
        ("3", "data.sources: expected paths"),
        ("[3]", "data.sources[0]: expected a path or"),
        ("['a', { weight = 1 }]", "data.sources[1]: expected a path or { path, weight }, got no"),
        ("[{ path = 'a', wieght = 1 }]", "data.sources[0].wieght: unknown key"),
        ("[{ path = 'a', weight = 0 }]", "data.sources[0].weight: expected a weight above 0"),
        ("{ a.txt = 1 }", "data.sources.\"a\": expected a weight above 0 (a path with dots"),
        ("{ a = nan }", "data.sources.\"a\": expected a weight above 0"),
    ] {
        check_refused(&format!("data.sources = {toml}"), &[], message);
    }
}

#[test]
fn unknown_keys_are_refused_with_the_nearest() {
    for (text, expected) in [
        ("step = 1", "step: unknown key; the nearest known one is `steps`"),
        ("lr = 1", "lr: unknown key; the nearest known one is `optim.lr`"),
        ("[optm]\nlr = 1", "optm: unknown key; the nearest known one is `optim`"),
        (
            "[optim]\nlr_min_raito = 0.0",
            "optim.lr_min_raito: unknown key; the nearest known one is `optim.lr_min_ratio`",
        ),
        (
            "[data.patcher_args]\ntreshold = 1.0",
            "data.patcher_args.treshold: unknown key; the nearest known one is \
             `data.patcher_args.threshold`",
        ),
        (
            "[checkpoint.dump]\nevry = 1",
            "checkpoint.dump.evry: unknown key; the nearest known one is `checkpoint.dump.every`",
        ),
        (
            "[model]\ndim_globl = 1",
            "model.dim_globl: unknown key; the nearest known one is `model.dim_global`",
        ),
        (
            "[entropy_model]\ndims = 1",
            "entropy_model.dims: unknown key; the nearest known one is `entropy_model.dim`",
        ),
    ] {
        check_refused(text, &[], expected);
    }
    check_refused("", &["optim.beta=0.9"], "optim.beta: unknown key");
}

#[test]
fn wrong_values_say_what_was_expected_and_got() {
    for (text, expected) in [
        ("steps = '10'", "steps: expected a whole number, got the string \"10\""),
        ("steps = 1.5", "steps: expected a whole number, got 1.5"),
        ("steps = 0", "steps: expected a whole number from 1, got 0"),
        ("seed = -1", "seed: expected a whole number, got -1"),
        ("data = 3", "data: expected a table, got 3"),
        ("data.add_bos = 1", "data.add_bos: expected true or false, got 1"),
        ("data.valid = [1]", "data.valid: expected a path or a list of paths, got 1"),
        ("data.batch_size = 0", "data.batch_size: expected a whole number from 1, got 0"),
        ("optim.lr = [1]", "optim.lr: expected a number, got an array"),
        ("optim.lr = nan", "optim.lr: expected a finite number from 0, got NaN"),
        ("optim.beta1 = 1", "optim.beta1: expected a finite number from 0 below 1, got 1"),
        (
            "optim.scheduler = 'cosin'",
            "optim.scheduler: expected one of \"cosine\", \"linear\", \"inv_sqrt\", \"constant\", \
             \"wsd\", got the string \"cosin\"",
        ),
        ("checkpoint.dump.keep = -2", "checkpoint.dump.keep: expected a whole number from -1"),
        ("device = { a = 1 }", "device: expected a string, got a table"),
        ("precision = 'f16'", "precision: expected one of \"f32\", \"mixed\""),
        ("sample.temperature = 1e-6", "sample.temperature: expected 0, or 0.00001 to 100000, got "),
        ("sample.temperature = -1", "sample.temperature: expected 0, or 0.00001 to 100000, got -1"),
        ("a = [", "TOML: "),
    ] {
        check_refused(text, &[], expected);
    }
}

#[test]
fn keys_against_each_other_are_refused() {
    for (text, expected) in [
        (
            "[data.patcher_args]\nmonotonicity = true\nthreshold_add = 1",
            "data.patcher_args.threshold_add: contradicts monotonicity",
        ),
        (
            "[data.patcher_args]\npatching_mode = 'static'",
            "data.patcher_args.patch_size: expected a whole number with static patching, got 4.5",
        ),
        (
            "data.shuffle_buffer = 1\ndata.buffer_size = 2",
            "data.buffer_size: another name of shuffle_buffer",
        ),
        (
            "data.max_encoder_seq_length = 100\nmodel.max_encoder_seq_length = 99",
            "model.max_encoder_seq_length: expected 100 as in [data], got 99",
        ),
        (
            "train_entropy_model = true\ndata.patcher_args.patching_mode = 'space'",
            "data.patcher_args.patching_mode: expected \"byte\"",
        ),
        (
            "train_entropy_model = true\ndata.seq_len = 64\ndata.max_encoder_seq_length = 65",
            "data.max_encoder_seq_length: expected 64 as in data.seq_len, got 65",
        ),
        ("data.enable_byte_ngrams = true", "data.enable_byte_ngrams: expected false"),
    ] {
        check_refused(text, &[], expected);
    }
}

#[test]
fn entropy_training_counts_bytes() {
    for text in ["seq_len = 512", "max_encoder_seq_length = 512"] {
        let config = config(&format!("train_entropy_model = true\ndata.{text}"), &[]);
        assert_eq!((config.data.seq_len, config.data.max_encoder_seq_length), (512, 512));
        assert_eq!(config.data.patcher_args.patching_mode, PatchingMode::Byte);
        assert!(config.model.is_empty());
    }
}

#[test]
fn a_run_needs_sources_an_entropy_model_and_a_schedule() {
    let refusal = |overrides: &[&str]| {
        config("[optim]\nwarmup = 0", overrides).check().unwrap_err().to_string()
    };
    assert!(refusal(&[]).starts_with("data.sources: expected at least one path"));
    let sources = "data.sources=a.txt";
    assert!(refusal(&[sources]).starts_with("data.patcher_args.entropy_model_checkpoint_dir"));
    let space = "data.patcher_args.patching_mode=space";
    assert!(refusal(&[sources, space, "optim.scheduler=inv_sqrt"]).starts_with("optim.warmup"));
    config("", &[sources, space]).check().unwrap();
    config("", &[sources, "train_entropy_model=true"]).check().unwrap();
}

#[test]
fn ignored_keys_are_named_in_one_warning_and_gone_from_the_resolved_file() {
    let text = "gc_collect_freq = 5\nsteps = 5000\n[distributed]\ndp_shard = 2\n\
                [data]\nload_async = true\nenable_byte_ngrams = false\n\
                [data.patcher_args]\ndevice = 'cuda'\n\
                [model]\nrecompute_attn = true\nweight_tying = false\ninit_use_depth = 'x'\n";
    let (config, warnings) = read(text, &[]).unwrap();
    assert_eq!(
        warnings,
        ["keys without effect here: data.patcher_args.device, \
                           data.load_async, model.init_use_depth, model.recompute_attn, \
                           model.weight_tying, distributed, gc_collect_freq"]
    );
    let (again, warnings) = read(&config.to_toml().unwrap(), &[]).unwrap();
    assert_eq!((again, warnings), (config, Vec::new()));
    // A key that the model's parser knows is its own business.
    let keys = ModelKeys { model: &["weight_tying"], entropy_model: &[] };
    let none: [&str; 0] = [];
    let (config, _) = RunConfig::from_toml("model.weight_tying = true", &none, keys).unwrap();
    assert_eq!(config.model["weight_tying"].as_bool(), Some(true));
}

#[test]
fn the_models_patch_count_follows_the_data() {
    let (config, warnings) =
        read("data.seq_len = 64\nmodel.max_seqlen = 32\noptim.warmup = 1", &[]).unwrap();
    assert_eq!(config.model["max_seqlen"].as_integer(), Some(64));
    assert_eq!(warnings, ["model.max_seqlen 32 becomes data.seq_len, 64"]);
}

#[test]
fn overrides_beat_the_file_and_later_ones_earlier() {
    let config = config(
        FULL,
        &[
            "optim.lr=1e-3",
            "steps=7",
            "steps=8",
            "data.patcher_args.patching_mode=space",
            "data.sources=['x.txt']",
            "model.n_layers_global=3",
            "device=vulkan/llvmpipe (LLVM 15)",
            "checkpoint.dump={every = 9}",
        ],
    );
    assert_eq!((config.optim.lr, config.optim.warmup, config.steps), (1e-3, 500, 8));
    assert_eq!(config.data.patcher_args.patching_mode, PatchingMode::Space);
    assert_eq!(config.data.sources, [Source { path: "x.txt".into(), weight: 1.0 }]);
    assert_eq!(config.model["n_layers_global"].as_integer(), Some(3));
    assert_eq!(config.device, "vulkan/llvmpipe (LLVM 15)");
    assert_eq!(config.checkpoint.dump, SaveConfig { every: 9, keep: 3 });
    check_refused("", &["optim.lr=fast"], "optim.lr: expected a number, got the string \"fast\"");
}

proptest! {
    #[test]
    fn numbers_and_names_survive_the_file(
        lr in 0.0..1.0_f64,
        threshold in -1e9..1e9_f64,
        weight in 1e-12..1e12_f64,
        seed in 0..=i64::MAX as u64,
        max_steps in proptest::option::of(0..u64::from(u32::MAX)),
        name in any::<String>(),
    ) {
        let mut first = config(FULL, &[]);
        first.optim.lr = lr;
        first.data.patcher_args.threshold = threshold;
        first.data.sources[0] = Source { path: name.clone().into(), weight };
        first.seed = seed;
        first.max_steps = max_steps;
        first.name = name;
        let (second, _) = read(&first.to_toml().unwrap(), &[]).unwrap();
        prop_assert_eq!(first, second);
    }
}
