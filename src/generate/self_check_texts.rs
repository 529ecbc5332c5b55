//! What a check generates with: the small model, and the begins of its texts.

use super::self_check::CheckForm;
use crate::blt::config::{
    BltConfig, CrossAttentionConfig, EntropyConfig, HashEmbeddingConfig, PatchingConfig, Pooling,
    Semantics, TransformerConfig,
};
use crate::random::Random;
use crate::text::{BOS_ID, BYTE_OFFSET, EOS_ID, encode};

/// What the random texts are for, in the streams of a seed.
const TEXT_STREAM: u64 = 0x73656c66;
/// Positions of the entropy model, and of the model in the short form.
const POSITIONS: usize = 512;
/// Positions of the model in the long form.
const LONG_POSITIONS: usize = 6000;

/// The begin of a text.
#[derive(Clone, Debug)]
pub(super) struct Begin {
    pub name: &'static str,
    /// Read at once.
    pub prompt: Vec<u32>,
    /// Pushed behind it, one a step.
    pub pushed: Vec<u32>,
}

/// The begins of the texts of a form; the last prompt is one that patches fall into.
pub(super) fn begins(form: CheckForm, seed: u64) -> Vec<Begin> {
    match form {
        CheckForm::Short => short(seed),
        CheckForm::Long => long(),
    }
}

/// Random bytes in documents.
fn short(seed: u64) -> Vec<Begin> {
    let mut random = Random::new(seed, TEXT_STREAM);
    let begin = |(name, length): (&'static str, usize)| {
        let mut prompt = vec![BOS_ID];
        prompt.extend((1..length + 30).map(|index| match index % 50 {
            // A document ends in the long prompt, and one behind each prompt.
            33 => EOS_ID,
            34 => BOS_ID,
            _ => BYTE_OFFSET + random.below(256) as u32,
        }));
        let pushed = prompt.split_off(length);
        Begin { name, prompt, pushed }
    };
    [("empty", 1), ("short", 9), ("long", 75)].map(begin).into()
}

/// English, code, CJK, emoji, nothing, one byte, documents, no UTF-8, something again and again,
/// and a text longer than any window.
fn long() -> Vec<Begin> {
    let text = |text: &str| encode(text.as_bytes(), true, false);
    let documents = [encode(b"The first document.", true, true), text("The second goes on")];
    let sentence = "The quick brown fox jumps over the lazy dog, and the dog lets it. ";
    let prompts = [
        ("English", text("It is a truth universally acknowledged, that a single man")),
        ("code", text("fn main() {\n    let x: Vec<u32> = (0..9).map(|i| i * i).collect();\n")),
        ("CJK", text("吾輩は猫である。名前はまだ無い。")),
        ("emoji", text("🎉🎊 👩‍👩‍👧‍👦 🇪🇺 ")),
        ("empty", vec![BOS_ID]),
        ("one byte", text("x")),
        ("EOS inside", documents.concat()),
        ("no UTF-8", encode(b"\xff\xfe\x80abc\xe6\x97 \x00\x00", true, false)),
        ("repeats", text(&"ab".repeat(40))),
        ("long", text(&sentence.repeat(24))),
    ];
    let begin = |(name, prompt)| Begin { name, prompt, pushed: Vec::new() };
    prompts.map(begin).into()
}

fn stack(hidden_size: usize, layer_count: usize, window: Option<usize>) -> TransformerConfig {
    TransformerConfig {
        hidden_size,
        layer_count,
        head_count: hidden_size / 32,
        kv_head_count: hidden_size / 32,
        head_dim: 32,
        intermediate_size: 3 * hidden_size,
        rms_norm_eps: 1e-5,
        rope_theta: 10_000.0,
        max_positions: POSITIONS,
        window,
    }
}

/// The entropy model. Long texts outgrow its positions.
pub(super) fn entropy() -> EntropyConfig {
    EntropyConfig { transformer: stack(64, 2, Some(24)), semantics: Semantics::Reference }
}

/// The model.
pub(super) fn blt(form: CheckForm) -> BltConfig {
    let positions = match form {
        CheckForm::Short => POSITIONS,
        CheckForm::Long => LONG_POSITIONS,
    };
    let stack = |hidden_size, layer_count, window| TransformerConfig {
        max_positions: positions,
        ..stack(hidden_size, layer_count, window)
    };
    let cross = CrossAttentionConfig {
        head_count: 2,
        kv_head_count: 2,
        head_dim: 32,
        all_layers: false,
        window: None,
    };
    let mut config = BltConfig {
        semantics: Semantics::Reference,
        encoder: stack(64, 1, Some(16)),
        encoder_cross_attention: Some(cross.clone()),
        global: stack(128, 2, None),
        decoder: stack(64, 2, Some(16)),
        decoder_cross_attention: Some(CrossAttentionConfig { all_layers: true, ..cross }),
        cross_attention_k: 2,
        pooling: vec![Pooling::Max],
        hash: HashEmbeddingConfig {
            group_sizes: vec![3, 5, 8],
            function_count: 1,
            rows_per_table: 509,
        },
        patching: PatchingConfig { patch_size: 40, ..PatchingConfig::default() },
        patcher: None,
    };
    config.attach_patcher(entropy());
    config
}
