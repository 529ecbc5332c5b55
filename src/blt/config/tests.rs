//! Tests of reading, writing, checking and translating configurations.

use super::*;

/// The released 1B model as `transformers` describes it: every default of version 5.23.
pub(crate) fn released_1b() -> BltConfig {
    let text = r#"{"model_type": "blt", "encoder_config": {"intermediate_size": 2816}}"#;
    match ModelConfig::from_json(text).unwrap().config {
        ModelConfig::Blt(config) => config,
        ModelConfig::Entropy(_) => unreachable!(),
    }
}

fn read(text: &str) -> Parsed<ModelConfig> {
    ModelConfig::from_json(text).unwrap()
}

fn read_blt(text: &str) -> (BltConfig, Vec<String>) {
    let parsed = read(text);
    match parsed.config {
        ModelConfig::Blt(config) => (config, parsed.warnings),
        ModelConfig::Entropy(_) => panic!("expected a BLT"),
    }
}

fn refusal(text: &str) -> String {
    ModelConfig::from_json(text).unwrap_err().to_string()
}

fn blt_keys(extra: &str) -> String {
    format!(r#"{{"model_type": "blt", {extra}}}"#)
}

fn from_toml(text: &str) -> crate::error::Result<Parsed<BltConfig>> {
    ReferenceModelKeys::from_table(toml::from_str(text).unwrap())?.0.into_config()
}

/// The tiny model of spec §25.6 in the reference's own keys.
const CONFIG_A: &str = r#"
    blt_semantics = "reference"
    dim_global = 32
    dim_local_encoder = 16
    dim_local_decoder = 16
    n_layers_global = 2
    n_layers_local_encoder = 1
    n_layers_local_decoder = 2
    n_heads_global = 2
    n_heads_local_encoder = 2
    n_heads_local_decoder = 2
    cross_attn_encoder = true
    cross_attn_decoder = true
    cross_attn_init_by_pooling = true
    cross_attn_all_layers_decoder = true
    cross_attn_k = 2
    cross_attn_nheads = 2
    downsampling_by_pooling = "max"
    encoder_hash_byte_group_size = "3,4,5"
    encoder_hash_byte_group_vocab = 53
    encoder_hash_byte_group_nb_functions = 1
    local_attention_window_len = 5
    multiple_of = 8
    rope_theta = 500000.0
"#;

pub(crate) fn config_a() -> BltConfig {
    from_toml(CONFIG_A).unwrap().config
}

#[test]
fn an_empty_file_is_the_released_model_with_the_ffn_of_transformers() {
    let (config, warnings) = read_blt(r#"{"model_type": "blt"}"#);
    assert_eq!(warnings, Vec::<String>::new());
    assert_eq!(config.encoder.intermediate_size, 2730);
    assert_eq!(config.decoder.intermediate_size, 2816);
    assert_eq!((config.global.hidden_size, config.global.layer_count), (2048, 25));
    assert_eq!(config.encoder.rope_theta, 500_000.0);
    assert_eq!(config.patcher.as_ref().unwrap().transformer.rope_theta, 10_000.0);
    assert_eq!(config.patcher.as_ref().unwrap().transformer.window, Some(512));
    assert_eq!((config.encoder.window, config.global.window), (Some(512), None));
    assert_eq!(config.hash.row_count(), 3_000_012);
    assert!(!config.global_has_projection());
    assert!(config.decoder_has_projection());
    assert_eq!(config.transformers_difference(), None);
}

#[test]
fn nulls_and_old_rope_keys_read_as_transformers_reads_them() {
    let (config, _) = read_blt(&blt_keys(
        r#""local_attention_window_len": null, "patch_in_forward": false,
           "encoder_config": {"rope_theta": 7.0, "rope_scaling": {"rope_type": "default"}},
           "decoder_config": {"intermediate_size": null, "num_key_value_heads": null,
                              "rope_parameters": {"rope_theta": 9.0, "rope_type": "default"}}"#,
    ));
    assert_eq!(config.encoder.window, None);
    assert_eq!(config.encoder.rope_theta, 7.0);
    assert_eq!(config.decoder.rope_theta, 9.0);
    assert_eq!(config.decoder.intermediate_size, 2730);
    assert_eq!(config.decoder.kv_head_count, 16);
    assert_eq!(config.patcher, None);
}

#[test]
fn written_configurations_read_back_equal() {
    let released = released_1b();
    let mut everything = config_a();
    everything.encoder.layer_count = 3;
    everything.encoder.kv_head_count = 1;
    everything.global.head_dim = 6;
    everything.encoder_cross_attention.as_mut().unwrap().window = Some(3);
    everything.encoder_cross_attention.as_mut().unwrap().all_layers = true;
    everything.decoder_cross_attention.as_mut().unwrap().kv_head_count = 1;
    everything.pooling = vec![Pooling::Min];
    everything.patching.mode = PatchingMode::Combined;
    everything.patching.threshold_add = Some(0.1);
    everything.patching.max_patch_length = Some(9);
    let entropy = released.patcher.clone().unwrap();
    everything.attach_patcher(entropy.clone());
    let mut no_cross = config_a();
    no_cross.semantics = Semantics::Transformers;
    no_cross.encoder_cross_attention = None;
    no_cross.decoder_cross_attention = None;
    no_cross.pooling = vec![];
    no_cross.hash = HashEmbeddingConfig::none();
    no_cross.patching.mode = PatchingMode::Static;
    let lone = EntropyConfig { semantics: Semantics::Reference, ..entropy };
    for (config, model_type) in [
        (ModelConfig::Blt(released), "blt"),
        (ModelConfig::Blt(everything), "blt_wgpu"),
        (ModelConfig::Blt(no_cross), "blt_wgpu"),
        (ModelConfig::Entropy(lone), "blt_patcher"),
    ] {
        config.validate().unwrap();
        let text = config.to_json();
        assert_eq!(config.model_type(WeightType::F32), model_type);
        assert!(text.contains(&format!("\"model_type\": \"{model_type}\"")), "{text}");
        let parsed = read(&text);
        assert_eq!(parsed.config, config);
        assert_eq!(parsed.warnings, Vec::<String>::new());
    }
}

#[test]
fn each_difference_from_transformers_is_named() {
    type Change = fn(&mut BltConfig);
    let cases: [(Change, &str); 10] = [
        (|config| config.semantics = Semantics::Reference, "document ends"),
        (|config| config.patching.mode = PatchingMode::Space, "patching mode \"space\""),
        (|config| config.patching.max_patch_length = Some(6), "max_patch_length"),
        (|config| config.encoder_cross_attention = None, "encoder has no cross-attention"),
        (|config| config.decoder_cross_attention = None, "decoder has no cross-attention"),
        (|config| config.pooling = vec![Pooling::Mean], "maximum"),
        (|config| config.decoder_cross_attention.as_mut().unwrap().window = Some(2), "window"),
        (|config| config.hash = HashEmbeddingConfig::none(), "n-gram"),
        (
            |config| config.encoder_cross_attention.as_mut().unwrap().head_count = 8,
            "encoder's cross-attention",
        ),
        (|config| config.global.head_dim = 64, "latent transformer"),
    ];
    for (change, words) in cases {
        let mut config = released_1b();
        change(&mut config);
        let difference = config.transformers_difference().expect(words);
        assert!(difference.contains(words), "{difference}");
    }
    let mut bytes = released_1b();
    bytes.patching.mode = PatchingMode::Byte;
    assert_eq!(bytes.transformers_difference(), None);
}

#[test]
fn reference_semantics_name_what_they_change_in_this_model() {
    let mut config = released_1b();
    config.semantics = Semantics::Reference;
    let one_crossing = config.transformers_difference().unwrap();
    assert!(!one_crossing.contains("pooled once"), "{one_crossing}");
    // The decoder of the released model is narrower than its patches, so both project.
    assert!(!one_crossing.contains("patch_embedding_projection"), "{one_crossing}");
    config.encoder_cross_attention.as_mut().unwrap().all_layers = true;
    config.encoder.layer_count = 3;
    config.decoder.hidden_size = config.global.hidden_size;
    let all = config.transformers_difference().unwrap();
    for words in ["document ends", "pooled once", "patch_embedding_projection"] {
        assert!(all.contains(words), "{all}");
    }
    config.semantics = Semantics::Transformers;
    assert!(config.encoder_pools_at_every_layer());
    assert_eq!(config.semantic_difference(), None);
}

#[test]
fn a_file_that_says_blt_means_what_transformers_means() {
    let (config, warnings) = read_blt(&blt_keys(r#""patching_mode": "space""#));
    assert_eq!(config.patching.mode, PatchingMode::Byte);
    assert!(warnings[0].contains("blt_wgpu"), "{warnings:?}");
    let (config, warnings) = read_blt(&blt_keys(r#""blt_semantics": "reference""#));
    assert_eq!(config.semantics, Semantics::Reference);
    assert_eq!(config.patcher.unwrap().semantics, Semantics::Reference);
    assert_eq!(warnings.len(), 1);
    for switch in [r#""monotonicity": true"#, r#""patching_threshold_add": 0.0"#] {
        let (config, warnings) = read_blt(&blt_keys(switch));
        assert_eq!((config.patching.mode, warnings.len()), (PatchingMode::Entropy, 1), "{switch}");
        assert!(warnings[0].contains("one threshold alone"), "{warnings:?}");
    }
    let (config, _) = read_blt(&blt_keys(r#""patch_size": null"#));
    assert_eq!(config.patching.mode, PatchingMode::Byte);
    let (config, _) = read_blt(&blt_keys(r#""encoder_hash_byte_group_size": []"#));
    assert_eq!(config.hash.group_sizes, [3, 4, 5, 6, 7, 8]);
}

#[test]
fn keys_of_others_are_ignored_and_dead_keys_get_one_warning() {
    let (_, warnings) = read_blt(&blt_keys(
        r#""transformers_version": "5.23.0", "norm_type": 1, "encoder_lm_loss": true,
           "max_length": 20, "recompute_x": 1, "global_config": {"pre_norm": true}"#,
    ));
    assert_eq!(warnings.len(), 1);
    let expected = "encoder_lm_loss, global_config.pre_norm, norm_type, recompute_x";
    assert!(warnings[0].ends_with(expected), "{warnings:?}");
}

#[test]
fn refusals_name_the_key_and_the_numbers() {
    let cases = [
        (r#""tie_word_embeddings": true"#, "config.json: tie_word_embeddings: not supported"),
        (r#""share_encoder_decoder_emb": true"#, "share_encoder_decoder_emb"),
        (r#""encoder_ngram_to_size_str": "2:3""#, "encoder_ngram_to_size_str: frequency"),
        (r#""quantization_config": {"bits": 8}"#, "quantization_config.quant_method: only"),
        (
            r#""quantization_config": {"quant_method": "blt_wgpu", "format": "q5"}"#,
            "expected int8 or q4, got \"q5\"",
        ),
        (
            r#""quantization_config": {"quant_method": "blt_wgpu", "block_size": 64}"#,
            "block_size: expected 32, got 64",
        ),
        (r#""vocab_size": 512"#, "config.json: vocab_size: expected 260, got 512"),
        (r#""blt_semantics": "other""#, "expected reference or transformers"),
        (r#""patching_mode": """#, "patching_mode: the mode \"\""),
        (r#""patching_mode": "bpe_patcher""#, "expected one of entropy"),
        (r#""patching_threshold": null"#, "top-k"),
        (r#""patch_size": 0"#, "patch_size: expected at least 1, got 0"),
        (r#""cross_attn_init_by_pooling": false"#, "without queries"),
        (r#""encoder_config": {"dropout": 0.1}"#, "config.json: encoder_config.dropout"),
        (r#""encoder_config": {"hidden_size": "x"}"#, "expected a whole number, got \"x\""),
        (r#""encoder_config": 3"#, "encoder_config: expected an object, got 3"),
        (r#""encoder_config": {"hidden_size": 1000}"#, "16 heads do not divide a width of 1000"),
        (r#""encoder_config": {"hidden_size": 0}"#, "hidden size must be at least 1"),
        (r#""encoder_config": {"num_attention_heads": 0}"#, "0 heads"),
        (r#""encoder_config": {"num_attention_heads": 0, "head_dim": 8}"#, "head count must be"),
        (r#""encoder_config": {"hidden_size": 18446744073709551615}"#, "do not divide"),
        (r#""decoder_config": {"hidden_size_global": 7}"#, "expected 2048, got 7"),
        (r#""decoder_config": {"cross_attn_k": 3}"#, "cross_attn_k: expected 2, got 3"),
        (r#""decoder_config": {"num_key_value_heads": 3}"#, "3 key and value heads do not"),
        (r#""decoder_config": {"hidden_size": 512}"#, "expected 1024, got 512"),
        (r#""decoder_config": {"hidden_act": "gelu"}"#, "expected \"silu\""),
        (r#""decoder_config": {"rms_norm_eps": -1.0}"#, "rms_norm_eps"),
        (r#""dropout": 0.1"#, "config.json: dropout: not supported"),
        (r#""use_rope": false"#, "config.json: use_rope: false"),
        (r#""encoder_config": {"sliding_window": 4}"#, "sliding_window: expected 512, got 4"),
        (r#""decoder_config": {"tie_word_embeddings": true}"#, "decoder_config.tie_word"),
        (r#""decoder_config": {"norm_eps": 0.1}"#, "expected 0.00001, as rms_norm_eps, got 0.1"),
        (r#""global_config": {"encoder_cross_output_size": 9}"#, "expected 2048, got 9"),
        (
            r#""global_config": {"rope_theta": 7, "rope_parameters": {"rope_theta": 8}}"#,
            "rope_parameters.rope_theta: expected 7, got 8",
        ),
        (r#""global_config": {"head_dim": 3}"#, "even head width, got 3"),
        (r#""global_config": {"rope_parameters": {"rope_type": "yarn"}}"#, "got \"yarn\""),
        (r#""encoder_hash_byte_group_vocab": 16777216"#, "at most 16777215, got 16777216"),
        (r#""encoder_hash_byte_group_size": [9]"#, "2 to 8 bytes long, got 9"),
        (r#""encoder_hash_byte_group_size": [3, 3]"#, "3 is named twice"),
        (r#""encoder_hash_byte_group_nb_functions": 12"#, "function count may be at most 11"),
        (r#""encoder_hash_byte_group_nb_functions": 0"#, "function count must be at least 1"),
        (r#""patcher_config": {"num_hidden_layers": 0}"#, "entropy model: layer count"),
        (r#""downsampling_by_pooling": "max_min""#, "exactly one of mean, min and max"),
    ];
    for (keys, words) in cases {
        let error = refusal(&blt_keys(keys));
        assert!(error.contains(words), "{keys} gave: {error}");
    }
    assert!(refusal("{").contains("not JSON"));
    assert!(refusal("[]").contains("expected an object at the top, got a list"));
    assert!(refusal("{}").contains("model_type: missing"));
    assert!(refusal(r#"{"model_type": "llama"}"#).contains("got \"llama\""));
}

#[test]
fn config_a_from_reference_keys() {
    let config = config_a();
    assert_eq!((config.encoder.intermediate_size, config.global.intermediate_size), (48, 88));
    assert_eq!(config.encoder.window, Some(5));
    assert_eq!(config.decoder_cross_attention.as_ref().unwrap().head_dim, 8);
    assert!(config.decoder_cross_attention.as_ref().unwrap().all_layers);
    assert!(!config.encoder_cross_attention.as_ref().unwrap().all_layers);
    assert_eq!(config.hash.group_sizes, [3, 4, 5]);
    assert_eq!(config.patching.mode, PatchingMode::Entropy);
}

#[test]
fn head_counts_of_cross_attention_are_its_own() {
    // The 400M row of the paper's Table 10: 768 wide, 10 cross heads of 76.
    let text = CONFIG_A
        .replace("= 16", "= 768")
        .replace("= 32", "= 1280")
        .replace("cross_attn_nheads = 2", "cross_attn_nheads = 10")
        .replace("n_heads_global = 2", "n_heads_global = 10")
        .replace(
            "coder = 2\n    n_heads_local_decoder = 2",
            "coder = 12\n    n_heads_local_decoder = 12",
        );
    let config = from_toml(&text).unwrap().config;
    let cross = config.encoder_cross_attention.as_ref().unwrap();
    assert_eq!((cross.head_dim, cross.query_size()), (76, 760));
    assert!(config.global_has_projection());
}

#[test]
fn reference_keys_are_checked() {
    let cases = [
        ("dropout = 0.1", "model.dropout"),
        ("share_encoder_decoder_emb = true", "model.share_encoder_decoder_emb"),
        ("encoder_enable_byte_ngrams = true", "frequency n-gram"),
        ("patching_mode = ''", "the mode \"\""),
        ("patching_mode = 'static'", "whole number of bytes, got 4.5"),
        ("use_rope = false", "model.use_rope"),
        ("dim_token = 32", "expected 16, got 32"),
        ("use_local_encoder_transformer = false", "expected 16, got 8"),
        ("attn_bias_type = 'causal'", "block_causal"),
        ("attn_bias_type = 'prefix'", "got \"prefix\""),
        ("monotonicity = true\npatching_threshold_add = 0.1", "exclude each other"),
        ("patching_mode = 'space'\npatching_threshold_add = 0.1", "belongs to mode \"combined\""),
        ("multiple_of = 256\nffn_dim_multiplier = -1.0", "no FFN width"),
        ("n_kv_heads_global = 3", "3 key and value heads do not divide 2"),
        ("vocab_size = 256", "260 ids"),
    ];
    for (extra, words) in cases {
        let text: String = CONFIG_A
            .lines()
            .filter(|line| {
                let key = line.split('=').next().unwrap().trim();
                key.is_empty()
                    || !extra.lines().any(|it| it.split('=').next().unwrap().trim() == key)
            })
            .chain(extra.lines())
            .map(|line| format!("{line}\n"))
            .collect();
        let error = from_toml(&text).expect_err(extra).to_string();
        assert!(error.contains(words), "{extra} gave: {error}");
    }
    let same_width = CONFIG_A.replace("dim_global = 32", "dim_global = 16");
    assert!(from_toml(&same_width).unwrap_err().to_string().contains("k must be 1, got 2"));
}

#[test]
fn unknown_reference_keys_are_refused_with_the_nearest() {
    let error = from_toml("dim_globl = 3").unwrap_err();
    assert_eq!(error.to_string(), "model.dim_globl: unknown key");
    assert_eq!(error.hint(), Some("did you mean `dim_global`?"));
    let error = from_toml("dim_global = 'wide'").unwrap_err().to_string();
    assert!(error.contains("dim_global") && error.contains("expected usize"), "{error}");
    let table = toml::from_str("recompute_attn = true\nnorm_type = 'x'\nseed = 3").unwrap();
    let (keys, warning) = ReferenceModelKeys::from_table(table).unwrap();
    assert_eq!(keys.seed, Some(3));
    assert!(warning.unwrap().ends_with("norm_type, recompute_attn"));
    let error = ReferenceEntropyKeys::from_table(toml::from_str("n_layer = 3").unwrap());
    assert_eq!(error.unwrap_err().hint(), Some("did you mean `n_layers`?"));
}

#[test]
fn the_entropy_table_defaults_to_the_released_entropy_model() {
    let keys = ReferenceEntropyKeys::from_table(toml::Table::new()).unwrap();
    let config = keys.into_config().unwrap().config;
    assert_eq!(Some(&config), released_1b().patcher.as_ref());
    let text = "dim = 24\nn_layers = 2\nn_heads = 2\nmultiple_of = 8\nsliding_window = 4\n\
                blt_semantics = 'reference'\nattn_bias_type = 'local_block_causal'";
    let keys = ReferenceEntropyKeys::from_table(toml::from_str(text).unwrap()).unwrap();
    let parsed = keys.into_config().unwrap();
    assert_eq!(parsed.warnings, Vec::<String>::new());
    assert_eq!(parsed.config.transformer.intermediate_size, 64);
}

#[test]
fn initialisation_factors() {
    assert_eq!(InitStdFactor::Disabled.value(64, 3, 8), 1.0);
    assert_eq!(InitStdFactor::GlobalDepth.value(64, 3, 7), 4.0);
    assert_eq!(InitStdFactor::CurrentDepth.value(64, 1, 7), 2.0);
    assert_eq!(InitStdFactor::DimRatio.value(8192, 1, 7), 2.0);
    let table = toml::from_str("init_std_factor = 'current_depth'\ninit_base_std = 0.02").unwrap();
    let options = ReferenceModelKeys::from_table(table).unwrap().0.init_options();
    assert_eq!(options.std_factor, InitStdFactor::CurrentDepth);
    assert_eq!(options.base_std, Some(0.02));
}
