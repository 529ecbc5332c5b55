//! What a `config.json` says and nobody read.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::key_names::nearest_key;
use super::reference_keys::{is_without_effect, without_effect_warning};

/// Keys that `transformers` and its conversion scripts write, at whatever level, and that mean
/// nothing for what is computed here: who wrote the file, the number type of the weights (which
/// say it themselves), caching and masking of other programs, labels of classifiers, and defaults
/// of generation, which is told what to do on the command line.
const FOREIGN: &[&str] = &[
    // Of 5.23, in the fixtures of tests/.
    "architectures",
    "bos_token_id",
    "dtype",
    "eos_token_id",
    "hidden_size_global",
    "initializer_range",
    "max_position_embeddings",
    "model_type",
    "pad_token_id",
    "patching_batch_size",
    "rope_parameters",
    "transformers_version",
    "use_cache",
    // Of every configuration there, where it is not the default.
    "_attn_implementation",
    "_attn_implementation_autoset",
    "_commit_hash",
    "_from_model_config",
    "_name_or_path",
    "add_cross_attention",
    "auto_map",
    "chunk_size_feed_forward",
    "cross_attention_hidden_size",
    "decoder_start_token_id",
    "finetuning_task",
    "id2label",
    "is_decoder",
    "is_encoder_decoder",
    "label2id",
    "num_labels",
    "output_attentions",
    "output_hidden_states",
    "prefix",
    "problem_type",
    "pruned_heads",
    "return_dict",
    "sep_token_id",
    "task_specific_params",
    "tf_legacy_loss",
    "tie_encoder_decoder",
    "tokenizer_class",
    "torch_dtype",
    "torchscript",
    "use_bfloat16",
    // Of generation, as versions before 5 wrote it here.
    "bad_words_ids",
    "begin_suppress_tokens",
    "diversity_penalty",
    "do_sample",
    "early_stopping",
    "encoder_no_repeat_ngram_size",
    "exponential_decay_length_penalty",
    "forced_bos_token_id",
    "forced_eos_token_id",
    "length_penalty",
    "max_length",
    "min_length",
    "no_repeat_ngram_size",
    "num_beam_groups",
    "num_beams",
    "num_return_sequences",
    "output_scores",
    "remove_invalid_values",
    "repetition_penalty",
    "return_dict_in_generate",
    "suppress_tokens",
    "temperature",
    "top_k",
    "top_p",
    "typical_p",
    // Of the conversion of the released models.
    "attn_bias_type",
    "attn_impl",
    "patching_device",
    "realtime_patching",
    "rope_scaling",
    "rope_theta",
];

/// Unknown keys that a warning names before it says how many more there are.
const NAMED_KEY_COUNT: usize = 6;

/// The keys that were asked for, by the path of their object.
type Asked = BTreeMap<String, BTreeSet<String>>;

/// At most two sentences: about keys that have no effect in the reference either, and about keys
/// that nobody knows, each with the nearest known one.
pub(super) fn unread_keys_warnings(file: &Value, asked: &Asked) -> Vec<String> {
    let mut unread = Unread::default();
    if let Value::Object(top) = file {
        unread.look("", top, asked);
    }
    without_effect_warning(&unread.without_effect)
        .into_iter()
        .chain(unknown_warning(&unread.unknown))
        .collect()
}

/// Full names of keys.
#[derive(Default)]
struct Unread {
    without_effect: Vec<String>,
    /// With the nearest known one.
    unknown: Vec<(String, Option<String>)>,
}

impl Unread {
    fn look(&mut self, path: &str, map: &Map<String, Value>, asked: &Asked) {
        let none = BTreeSet::new();
        let known = asked.get(path).unwrap_or(&none);
        for (key, value) in map {
            let full = format!("{path}{key}");
            let below = format!("{full}.");
            match value {
                Value::Object(map) if asked.contains_key(&below) => self.look(&below, map, asked),
                _ if known.contains(key) || FOREIGN.contains(&key.as_str()) => {}
                _ if is_without_effect(key) => self.without_effect.push(full),
                _ => self.unknown.push((full, nearest(path, key, asked))),
            }
        }
    }
}

/// The full name of the known key that may have been meant: a similar one of the same object, or
/// the same one of another.
fn nearest(path: &str, key: &str, asked: &Asked) -> Option<String> {
    let here: Vec<&str> = asked.get(path)?.iter().map(String::as_str).collect();
    if let Some(similar) = nearest_key(key, &here) {
        return Some(format!("{path}{similar}"));
    }
    let elsewhere = asked.iter().find(|(_, keys)| keys.contains(key));
    elsewhere.map(|(path, _)| format!("{path}{key}"))
}

fn unknown_warning(unknown: &[(String, Option<String>)]) -> Option<String> {
    if unknown.is_empty() {
        return None;
    }
    let mut named: Vec<String> = Vec::new();
    for (key, nearest) in unknown.iter().take(NAMED_KEY_COUNT) {
        named.push(match nearest {
            Some(nearest) => format!("{key} (the nearest known one is {nearest})"),
            None => key.clone(),
        });
    }
    let more = match unknown.len().saturating_sub(NAMED_KEY_COUNT) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    Some(format!("config.json has unknown keys, which are ignored: {}{more}", named.join(", ")))
}

#[cfg(test)]
mod tests {
    use crate::blt::config::ModelConfig;

    fn warnings(text: &str) -> Vec<String> {
        ModelConfig::from_json(text).unwrap().warnings
    }

    #[test]
    fn what_transformers_writes_is_passed_over() {
        let fixtures = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
        let mut file_count = 0;
        for entry in std::fs::read_dir(fixtures).unwrap() {
            let path = entry.unwrap().path().join("config.json");
            let text = std::fs::read_to_string(&path).ok();
            // One of them is in the original layout.
            if let Some(text) = text.filter(|text| text.contains("model_type")) {
                file_count += 1;
                // With this key its last row differs, which must be said.
                let differs = !text.contains("\"max_patch_length\": null");
                let warnings = warnings(&text);
                assert_eq!(warnings.len(), usize::from(differs), "{warnings:?} {}", path.display());
                assert!(warnings.iter().all(|it| it.contains("max_patch_length")), "{warnings:?}");
            }
        }
        assert_eq!(file_count, 9);
    }

    #[test]
    fn a_converted_release_is_passed_over() {
        // The keys that the conversion script of transformers 4.57 gives blt-1b.
        let text = r#"{"model_type": "blt", "realtime_patching": true, "patching_mode": "entropy",
            "patching_threshold_add": null, "patching_device": "cuda", "monotonicity": false,
            "pm_size": 0, "tie_word_embeddings": false, "torch_dtype": "bfloat16",
            "encoder_config": {"pm_size": 0, "norm_eps": 1e-05, "rope_theta": 500000.0,
                "rope_scaling": {"rope_type": "default"}, "_attn_implementation": "sdpa",
                "intermediate_size": 2816, "num_key_value_heads": null},
            "patcher_config": {"attn_impl": "xformers", "attn_bias_type": "local_block_causal",
                "norm_eps": 1e-05, "rope_theta": 10000.0}}"#;
        assert_eq!(warnings(text), Vec::<String>::new());
    }

    #[test]
    fn unknown_keys_at_every_level_are_named_with_the_nearest() {
        let text = r#"{"model_type": "blt", "pach_size": 3, "zzz": {"cross_attn_k": 1},
            "encoder_config": {"hiden_size": 8, "patch_size": 4},
            "patcher_config": {"rope_parameters": {"rope_thete": 7.0}}}"#;
        let expected = "config.json has unknown keys, which are ignored: \
            encoder_config.hiden_size (the nearest known one is encoder_config.hidden_size), \
            encoder_config.patch_size (the nearest known one is patch_size), \
            pach_size (the nearest known one is patch_size), \
            patcher_config.rope_parameters.rope_thete (the nearest known one is \
            patcher_config.rope_parameters.rope_theta), zzz";
        assert_eq!(warnings(text), [expected]);
        let lone = r#"{"model_type": "blt_patcher", "patch_size": 4, "norm_type": 1}"#;
        let warnings = warnings(lone);
        assert_eq!(warnings.len(), 2, "{warnings:?}");
        assert!(warnings[0].ends_with("implementation: norm_type"), "{warnings:?}");
        assert!(warnings[1].ends_with("ignored: patch_size"), "{warnings:?}");
    }

    #[test]
    fn many_unknown_keys_are_counted() {
        let keys: Vec<String> = (0..9).map(|index| format!(r#""{index}": 0"#)).collect();
        let text = format!(r#"{{"model_type": "blt", {}}}"#, keys.join(", "));
        assert!(warnings(&text)[0].ends_with("ignored: 0, 1, 2, 3, 4, 5 and 3 more"));
    }
}
