//! Counts of the released models, groups, and the golden order of spec §25.

use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::blt::config::tests::{config_a, released_1b};
use crate::blt::config::{HashEmbeddingConfig, Pooling, Semantics};

fn by_part(parameters: &[ParameterSpec]) -> BTreeMap<Part, u64> {
    let mut sums = BTreeMap::new();
    for parameter in parameters {
        *sums.entry(parameter.part).or_default() += parameter.element_count();
    }
    sums
}

fn default_parameters(config: &BltConfig) -> Vec<ParameterSpec> {
    config.validate().unwrap();
    blt_parameters(config, &InitOptions::default())
}

fn released_7b() -> BltConfig {
    let text = r#"{"model_type": "blt", "cross_attn_k": 4,
        "encoder_config": {"hidden_size": 1280, "num_attention_heads": 20,
            "intermediate_size": 3584, "cross_attn_k": 4, "hidden_size_global": 4096},
        "decoder_config": {"hidden_size": 1280, "num_attention_heads": 20,
            "num_hidden_layers": 6, "intermediate_size": 3584, "cross_attn_k": 4,
            "hidden_size_global": 4096},
        "global_config": {"hidden_size": 4096, "num_attention_heads": 32,
            "num_hidden_layers": 32, "intermediate_size": 11008}}"#;
    match ModelConfig::from_json(text).unwrap().config {
        ModelConfig::Blt(config) => config,
        ModelConfig::Entropy(_) => unreachable!(),
    }
}

#[test]
fn the_released_1b_model_has_its_tensors() {
    let parameters = default_parameters(&released_1b());
    assert_eq!(parameters.len(), 510);
    assert_eq!(parameters.iter().map(ParameterSpec::element_count).sum::<u64>(), 4_633_391_872);
    let expected = BTreeMap::from([
        (Part::Encoder, 19_406_848),
        (Part::Global, 1_284_608_000),
        (Part::Decoder, 157_586_432),
        (Part::Hash, 3_072_012_288),
        (Part::Patcher, 99_512_064),
        (Part::Head, 266_240),
    ]);
    assert_eq!(by_part(&parameters), expected);
}

#[test]
fn the_released_7b_model_has_its_tensors() {
    let parameters = default_parameters(&released_7b());
    assert_eq!(parameters.len(), 529);
    assert_eq!(parameters.iter().map(ParameterSpec::element_count).sum::<u64>(), 10_653_082_624);
    let expected = BTreeMap::from([
        (Part::Encoder, 33_761_280),
        (Part::Global, 6_497_239_040),
        (Part::Decoder, 182_222_080),
        (Part::Hash, 3_840_015_360),
        (Part::Patcher, 99_512_064),
        (Part::Head, 332_800),
    ]);
    assert_eq!(by_part(&parameters), expected);
}

#[test]
fn the_released_entropy_model_has_its_tensors() {
    let patcher = released_1b().patcher.unwrap();
    let parameters = entropy_parameters(&patcher, "", &InitOptions::default());
    assert_eq!(parameters.len(), 129);
    assert_eq!(parameters.iter().map(ParameterSpec::element_count).sum::<u64>(), 99_512_064);
    assert_eq!(parameters[0].name, "embed_tokens.weight");
    let inside = default_parameters(&released_1b());
    let inside: Vec<_> = inside.iter().filter(|it| it.part == Part::Patcher).collect();
    assert_eq!(inside.len(), parameters.len());
    for (inner, alone) in inside.iter().zip(&parameters) {
        assert_eq!(inner.name, format!("model.patcher.{}", alone.name));
        assert_eq!(inner.shape(), alone.shape());
    }
}

#[test]
fn names_are_unique_and_groups_are_neighbours_of_one_width() {
    let mut gqa = config_a();
    gqa.decoder.kv_head_count = 1;
    for config in [released_1b(), released_7b(), gqa] {
        let parameters = default_parameters(&config);
        let names: BTreeSet<_> = parameters.iter().map(|parameter| &parameter.name).collect();
        assert_eq!(names.len(), parameters.len());
        let mut seen = BTreeSet::new();
        for members in parameters.chunk_by(|left, right| left.group == right.group) {
            let Some(group) = &members[0].group else { continue };
            assert!(seen.insert(group.clone()), "{group} is torn apart");
            let suffixes: Vec<_> =
                members.iter().map(|it| it.name.rsplit('.').nth(1).unwrap()).collect();
            let expected = match group.rsplit('.').next().unwrap() {
                "qkv_proj" => vec!["q_proj", "k_proj", "v_proj"],
                "kv_proj" => vec!["k_proj", "v_proj"],
                "gate_up_proj" => vec!["gate_proj", "up_proj"],
                other => panic!("unknown group {other}"),
            };
            assert_eq!(suffixes, expected, "{group}");
            assert!(members.iter().all(|it| it.cols == members[0].cols && it.rows > 0));
        }
        assert!(seen.contains("model.local_decoder.cross_attn_layers.1.kv_proj"));
        assert!(seen.contains("model.global_transformer.layers.0.self_attn.qkv_proj"));
    }
}

#[test]
fn grouped_query_shapes() {
    let mut config = config_a();
    config.decoder.kv_head_count = 1;
    config.decoder_cross_attention.as_mut().unwrap().kv_head_count = 1;
    let parameters = default_parameters(&config);
    let shape = |name: &str| {
        let found = parameters.iter().find(|parameter| parameter.name == name);
        found.expect(name).shape()
    };
    assert_eq!(shape("model.local_decoder.layers.0.self_attn.q_proj.weight"), [16, 16]);
    assert_eq!(shape("model.local_decoder.layers.0.self_attn.v_proj.weight"), [8, 16]);
    assert_eq!(shape("model.local_decoder.cross_attn_layers.1.k_proj.weight"), [8, 16]);
    assert_eq!(shape("model.local_decoder.norm.weight"), [16]);
}

#[test]
fn a_model_without_cross_attention_has_no_trace_of_it() {
    let mut config = config_a();
    config.encoder_cross_attention = None;
    config.decoder_cross_attention = None;
    config.hash = HashEmbeddingConfig::none();
    config.pooling = vec![Pooling::Mean, Pooling::Max];
    let parameters = default_parameters(&config);
    let has = |text: &str| parameters.iter().any(|it| it.name.contains(text));
    assert!(!has("cross_attn") && !has("hash") && !has("local_encoder.patch_embedding"));
    // Two poolings of 16 make a patch vector of 32, which is what the latent transformer has.
    assert!(!has("token_embedding_projection"));
    let projection = parameters.iter().find(|it| it.name.contains("patch_embedding_projection"));
    assert_eq!(projection.unwrap().shape(), [16, 32]);
    config.pooling = vec![];
    let parameters = default_parameters(&config);
    let projection = parameters.iter().find(|it| it.name.contains("token_embedding_projection"));
    assert_eq!(projection.unwrap().shape(), [32, 64]);
}

#[test]
fn equal_widths_leave_the_decoder_projection_out_under_reference_semantics_only() {
    let mut config = config_a();
    config.global = config.decoder.clone();
    config.global.window = None;
    config.cross_attention_k = 1;
    let count = |config: &BltConfig| default_parameters(config).len();
    let without = count(&config);
    config.semantics = Semantics::Transformers;
    assert_eq!(count(&config), without + 1);
}

/// Spec §25.6 gives where each kind of tensor stands among the sorted reference names.
#[test]
fn config_a_sorts_as_the_golden_weights_do() {
    let parameters = default_parameters(&config_a());
    let layout = reference_layout(&parameters, 53);
    assert_eq!(layout.len(), 71);
    let name = |index: usize| layout[index].reference_name.as_str();
    assert_eq!(name(0), "encoder_hash_tok_embedding.0.weight");
    assert_eq!((layout[2].first_row, layout[2].rows, layout[2].cols), (106, 53, 16));
    assert_eq!(layout[2].name, HASH_TABLE_NAME);
    let block = ["attention.wk", "attention.wo", "attention.wq", "attention.wv", "attention_norm"];
    let ffn = ["feed_forward.w1", "feed_forward.w2", "feed_forward.w3", "ffn_norm"];
    for (offset, piece) in block.iter().chain(&ffn).enumerate() {
        assert_eq!(name(3 + offset), format!("global_transformer.layers.0.{piece}.weight"));
        assert_eq!(name(42 + offset), format!("local_decoder.layers.1.{piece}.weight"));
    }
    let cross = ["cross_attn_norm_kv", "cross_attn_norm_q", "wk", "wo", "wq", "wv"];
    for (offset, piece) in cross.iter().enumerate() {
        assert_eq!(name(27 + offset), format!("local_decoder.cross_attn_layers.1.{piece}.weight"));
    }
    assert_eq!(name(51), "local_decoder.norm.weight");
    assert_eq!(
        (name(52), layout[52].name.as_str()),
        ("local_decoder.output.weight", "lm_head.weight")
    );
    assert_eq!(name(53), "local_decoder.patch_embedding_projection.weight");
    assert_eq!(name(69), "local_encoder.patch_embedding_projection.weight");
    assert_eq!(name(70), "local_encoder.tok_embeddings.weight");
}

#[test]
fn names_translate_both_ways() {
    let parameters = default_parameters(&released_7b());
    for parameter in parameters.iter().filter(|it| it.part != Part::Patcher) {
        match reference_name(&parameter.name) {
            Some(reference) => {
                assert_eq!(hf_name(&reference), Some((parameter.name.clone(), None)));
            }
            None => assert_eq!(parameter.name, HASH_TABLE_NAME),
        }
    }
    let alone = entropy_parameters(&released_7b().patcher.unwrap(), "", &InitOptions::default());
    for parameter in &alone {
        let reference = reference_entropy_name(&parameter.name).unwrap();
        assert_eq!(hf_name(&reference), Some((parameter.name.clone(), None)));
        let inside = format!("{PATCHER_PREFIX}{}", parameter.name);
        assert_eq!(reference_entropy_name(&inside), Some(reference));
    }
    assert_eq!(
        hf_name("encoder_hash_tok_embedding.5.weight"),
        Some((HASH_TABLE_NAME.into(), Some(5)))
    );
    assert_eq!(reference_layout(&alone, 1).len(), 129);
    for wrong in ["", "layers.x.norm.weight", "model.elsewhere.layers.0.ffn_norm.weight", "rope"] {
        assert_eq!(reference_name(wrong), None, "{wrong}");
        assert_eq!(hf_name(wrong), None, "{wrong}");
    }
}

#[test]
fn standard_deviations_follow_the_table() {
    let std = |parameters: &[ParameterSpec], name: &str| match parameters
        .iter()
        .find(|it| it.name == name)
        .expect(name)
        .init
    {
        Init::TruncatedNormal { std } => std,
        Init::Ones => panic!("{name} starts at one"),
    };
    let config = released_7b();
    let plain = default_parameters(&config);
    let root = |value: f64| 1.0 / value.sqrt();
    assert_eq!(std(&plain, "model.local_encoder.embed_tokens.weight"), root(1280.0));
    assert_eq!(std(&plain, HASH_TABLE_NAME), root(1280.0));
    let name = "model.local_decoder.patch_embedding_projection.weight";
    assert_eq!(std(&plain, name), root(4096.0));
    let name = "model.global_transformer.token_embedding_projection.weight";
    assert_eq!(std(&plain, name), root(5120.0));
    let global = "model.global_transformer.layers.3.mlp.down_proj.weight";
    assert_eq!(std(&plain, global), root(11008.0));
    let options = InitOptions { base_std: Some(0.01), std_factor: InitStdFactor::CurrentDepth };
    let other = blt_parameters(&config, &options);
    assert_eq!(std(&other, global), 0.01);
    let down = "model.local_decoder.layers.1.mlp.down_proj.weight";
    assert_eq!(std(&other, down), root(3584.0) / 2.0);
    let cross = "model.local_decoder.cross_attn_layers.1.o_proj.weight";
    assert_eq!(std(&other, cross), root(1280.0) / 2.0);
    let patcher = "model.patcher.layers.1.mlp.down_proj.weight";
    assert_eq!(std(&other, patcher), root(2048.0));
    let norm = plain.iter().find(|it| it.name == "model.local_decoder.norm.weight").unwrap();
    assert_eq!((norm.init, norm.rows, norm.one_dimensional), (Init::Ones, 1, true));
}
