//! Files of the original layout, read and written.

use serde_json::{Value, json};

use super::release_read::ReleaseTexts;
use super::tests::{config_a, released_1b};
use super::{ModelConfig, PatchingMode, Semantics};

/// `args` of the released 1B model (spec §18), with keys that say nothing.
fn args() -> Value {
    json!({
        "dim_global": 2048, "dim_local_encoder": 1024, "dim_local_decoder": 1024,
        "n_layers_global": 25, "n_layers_local_encoder": 1, "n_layers_local_decoder": 9,
        "n_heads_global": 16, "n_heads_local_encoder": 16, "n_heads_local_decoder": 16,
        "cross_attn_encoder": true, "cross_attn_decoder": true, "cross_attn_k": 2,
        "cross_attn_nheads": 16, "cross_attn_all_layers_encoder": false,
        "cross_attn_all_layers_decoder": true, "cross_attn_init_by_pooling": true,
        "downsampling_by_pooling": "max", "local_attention_window_len": 512,
        "encoder_hash_byte_group_size": [3, 4, 5, 6, 7, 8],
        "encoder_hash_byte_group_vocab": 500_002, "encoder_hash_byte_group_nb_functions": 1,
        "vocab_size": 260, "rope_theta": 500_000.0, "max_encoder_seq_length": 24_576.0,
        "max_seqlen": 4096, "patch_size": 4.5, "patching_mode": "entropy",
        "patching_threshold": 1.335_442_066_192_627, "multiple_of": 256, "norm_eps": 1e-5,
        "seed": 42, "recompute_attn": false, "ngram_vocab_sizes": {"2": 5}, "pm_size": 0,
        "some_new_key": [1, 2], "dim_token": null,
    })
}

fn config_of(args: &Value) -> String {
    json!({ "args": args }).to_string()
}

#[test]
fn the_released_arguments_give_the_released_model() {
    let entropy = json!({ "entropy_model": {
        "dim": 768, "n_layers": 14, "n_heads": 12, "max_seqlen": 8192, "vocab_size": 260,
        "ffn_dim_multiplier": 1.0, "attn_bias_type": "causal", "weight_tying": false,
    } });
    let (config, entropy) = (config_of(&args()), entropy.to_string());
    let texts =
        ReleaseTexts { config: Some(&config), params: None, entropy_params: Some(&entropy) };
    let parsed = texts.blt().unwrap();
    assert_eq!(parsed.config, ModelConfig::Blt(released_1b()));
    let about_keys = |words: &str| parsed.warnings.iter().any(|it| it.ends_with(words));
    assert!(about_keys("ignored: some_new_key"), "{:?}", parsed.warnings);
    assert!(about_keys("implementation: recompute_attn"), "{:?}", parsed.warnings);
}

#[test]
fn the_data_of_the_training_decides_how_text_is_cut() {
    let mut args = args();
    args["patching_threshold"] = Value::Null;
    let config = config_of(&args);
    let blt = |params: Option<&str>, entropy_params: Option<&str>| {
        let texts = ReleaseTexts { config: Some(&config), params, entropy_params };
        match texts.blt().unwrap().config {
            ModelConfig::Blt(config) => config.patching,
            ModelConfig::Entropy(_) => unreachable!("it is a BLT"),
        }
    };
    let of_entropy = r#"{"entropy_model": {}, "data": {"patcher_args":
        {"patching_mode": "byte", "threshold": 1.25}}}"#;
    let patching = blt(None, Some(of_entropy));
    assert_eq!((patching.mode, patching.threshold), (PatchingMode::Entropy, 1.25));
    let own = r#"{"data": {"patcher_args": {"threshold": 0.5, "monotonicity": true}}}"#;
    let patching = blt(Some(own), Some(of_entropy));
    assert_eq!((patching.mode, patching.threshold), (PatchingMode::Monotonic, 0.5));
}

#[test]
fn what_is_written_is_read_as_it_was() {
    let mut lean = config_a();
    lean.semantics = Semantics::Reference;
    for model in [ModelConfig::Blt(released_1b()), ModelConfig::Blt(lean)] {
        let files = model.to_release().unwrap();
        let texts = ReleaseTexts {
            config: files.config.as_deref(),
            params: None,
            entropy_params: files.entropy_params.as_deref(),
        };
        assert_eq!(texts.blt().unwrap().config, model);
        assert!(files.warnings.is_empty());
    }
    let entropy = ModelConfig::Entropy(released_1b().patcher.unwrap());
    let files = entropy.to_release().unwrap();
    let params = files.entropy_params.as_deref();
    let read = ReleaseTexts { params, ..ReleaseTexts::default() }.entropy().unwrap();
    assert_eq!(read.config, entropy);
}

#[test]
fn what_the_reference_has_no_words_for_is_refused() {
    let refused = |change: fn(&mut super::BltConfig)| {
        let mut config = released_1b();
        change(&mut config);
        ModelConfig::Blt(config).to_release().unwrap_err().to_string()
    };
    assert!(refused(|it| it.encoder.intermediate_size = 2730).contains("no multiple_of gives"));
    assert!(refused(|it| it.decoder.rope_theta = 1e4).contains("its local decoder"));
    assert!(refused(|it| it.global.head_dim = 64).contains("its latent transformer"));
    let mut narrow = released_1b();
    narrow.patcher.as_mut().unwrap().transformer.window = Some(64);
    let files = ModelConfig::Blt(narrow).to_release().unwrap();
    assert!(files.warnings[0].contains("a window of 512"), "{:?}", files.warnings);
}

#[test]
fn files_that_are_none_are_named() {
    let error = |texts: ReleaseTexts| texts.blt().unwrap_err().to_string();
    let of = |config| ReleaseTexts { config: Some(config), ..ReleaseTexts::default() };
    assert!(error(of("{")).starts_with("config.json: not JSON"));
    assert!(error(of("[]")).contains("expected an object"));
    assert!(error(of(r#"{"args": 3}"#)).starts_with("config.json: args"));
    assert!(error(of(r#"{"args": {"dim_global": "x"}}"#)).contains("expected usize"));
    assert!(error(of(r#"{"args": {"dropout": 0.5}}"#)).contains("model.dropout"));
    let params = ReleaseTexts { params: Some("{}"), ..ReleaseTexts::default() };
    assert!(error(params).starts_with("params.json: model"));
}
