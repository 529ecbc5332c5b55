//! Whether a device generates what it should: texts of [`Streams`](super::Streams), with caches and
//! whatever kernels the device takes, against one full pass over each text on the same device.
//!
//! The model is small and fresh, with an entropy model, windows that the texts outgrow, documents
//! that end, and caches that have to grow. Logits may differ by [`TOLERANCE`]; patches are the same
//! and entropies have the same bits (spec §14.3).

use super::added::Added;
use super::recompute::{FullPass, Recompute};
use super::sampling::{Sampler, SamplingOptions};
use super::streams::Streams;
use crate::blt::config::{
    BltConfig, CrossAttentionConfig, EntropyConfig, HashEmbeddingConfig, ModelConfig,
    PatchingConfig, PatchingMode, Pooling, Semantics, TransformerConfig,
};
use crate::blt::{LoadedDirectory, LoadedModel};
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::eval::Patcher;
use crate::random::Random;
use crate::text::{BOS_ID, BYTE_OFFSET, EOS_ID};

/// Largest difference of logits; where the two best lie that close, either id will do.
pub const TOLERANCE: f32 = 1e-4;

/// Ids of the prompts, which are read at once.
const PROMPTS: [usize; 3] = [1, 9, 75];
/// Ids behind each that are pushed, and then those that are chosen.
const PUSHED: usize = 30;
const CHOSEN: usize = 40;
/// What the random texts are for, in the streams of a seed.
const TEXT_STREAM: u64 = 0x73656c66;
const SEED: u64 = 1;

/// A small model with its entropy model on a device.
pub struct SelfCheck<'e, E: Engine> {
    engine: &'e E,
    directory: LoadedDirectory<E>,
    /// One for each of [`PROMPTS`], with what is pushed behind it.
    texts: Vec<Vec<u32>>,
    /// An entropy that some are above and some below.
    threshold: f32,
}

/// That texts of a rule of patching agreed, and how closely.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Agreement {
    pub mode: PatchingMode,
    /// Ids that were added to the texts.
    pub id_count: usize,
    /// Patches that started with one of them.
    pub patch_count: usize,
    /// Entropies that had the same bits.
    pub entropy_count: usize,
    /// Of logits.
    pub largest_difference: f32,
    /// Ids that were chosen where the pass would choose one that is as good.
    pub tie_count: usize,
}

impl<'e, E: Engine> SelfCheck<'e, E> {
    /// The rules of patching that [`Self::check`] takes: all that look at what is there.
    pub fn modes() -> impl Iterator<Item = PatchingMode> {
        PatchingMode::ALL.into_iter().filter(|&mode| mode != PatchingMode::Bpe)
    }

    /// Puts the model on a device.
    ///
    /// # Errors
    /// A device that fails.
    pub async fn new(engine: &'e E) -> Result<Self> {
        let mut random = Random::new(SEED, TEXT_STREAM);
        let text = |length: &usize| {
            let mut ids = vec![BOS_ID];
            ids.extend((1..length + PUSHED).map(|index| match index % 50 {
                // A document ends in the long prompt, and one behind each prompt.
                33 => EOS_ID,
                34 => BOS_ID,
                _ => BYTE_OFFSET + random.below(256) as u32,
            }));
            ids
        };
        let texts: Vec<_> = PROMPTS.iter().map(text).collect();
        let patcher = LoadedModel::create(engine, ModelConfig::Entropy(entropy()), false).await?;
        let model = LoadedModel::create(engine, ModelConfig::Blt(blt()), false).await?;
        patcher.initialise(engine, SEED)?;
        model.initialise(engine, SEED)?;
        let directory = LoadedDirectory { model, patcher: Some(patcher) };
        let last = texts.last().expect("there are prompts");
        let mut patcher = Patcher::of(engine, &directory)?.expect("it is a BLT");
        let mut entropies = patcher.entropies(last).await?;
        entropies.sort_by(f32::total_cmp);
        let threshold = entropies[entropies.len() * 2 / 3];
        Ok(Self { engine, directory, texts, threshold })
    }

    /// Generates by this rule of patching and compares.
    ///
    /// # Errors
    /// The first place that differs, or a device that fails.
    pub async fn check(&mut self, mode: PatchingMode) -> Result<Agreement> {
        self.cut_by(mode);
        let texts = self.generated().await?;
        let mut reader = Recompute::new(self.engine, &self.directory, sampler()?)?;
        let mut all = Agreement {
            mode,
            id_count: 0,
            patch_count: 0,
            entropy_count: 0,
            largest_difference: 0.0,
            tie_count: 0,
        };
        for ((ids, added), prompt_length) in texts.iter().zip(PROMPTS) {
            let pass = reader.read(&ids[..ids.len() - 1]).await?;
            all.compare(prompt_length, added, &pass).map_err(|problem| {
                let subject = format!("{}, {} patching", self.engine.name(), mode.name());
                Error::device(subject, problem)
                    .with_hint("do not generate on this device: its driver computes wrongly")
            })?;
        }
        Ok(all)
    }

    fn cut_by(&mut self, mode: PatchingMode) {
        let ModelConfig::Blt(config) = &mut self.directory.model.config else {
            unreachable!("it was made a BLT")
        };
        config.patching.mode = mode;
        // Of rises zero is one that some are above and some below.
        let is_of_rises = mode == PatchingMode::Monotonic;
        config.patching.threshold = if is_of_rises { 0.0 } else { self.threshold.into() };
        config.patching.threshold_add = (mode == PatchingMode::Combined).then_some(0.0);
    }

    /// All texts in one batch, to their ends, and what was added to each.
    async fn generated(&self) -> Result<Vec<(Vec<u32>, Vec<Added>)>> {
        let mut streams = Streams::new(self.engine, &self.directory, 1).await?;
        streams.keep_logits(true);
        let mut open = Vec::new();
        for (text, prompt_length) in self.texts.iter().zip(PROMPTS) {
            let id = streams.open(&text[..prompt_length], sampler()?)?;
            streams.push(id, &text[prompt_length..])?;
            open.push((id, Vec::new()));
        }
        for _ in 0..PUSHED + CHOSEN {
            for ((_, added), (_, step)) in open.iter_mut().zip(streams.step().await?) {
                added.push(step?);
            }
        }
        Ok(open.into_iter().map(|(id, added)| (streams.ids(id).to_vec(), added)).collect())
    }
}

impl Agreement {
    /// Compares what was added to a text from position `first` on with a pass over all of it but
    /// its last id. `Err`: where it differs.
    fn compare(&mut self, first: usize, added: &[Added], pass: &FullPass) -> Result<(), String> {
        let starts = pass.cut.starts();
        for (position, added) in (first..).zip(added) {
            let expected = pass.logits_at(position - 1);
            for (id, (&expected, &got)) in expected.iter().zip(&added.logits).enumerate() {
                let difference = (expected - got).abs();
                // What is no number differs too.
                if difference.is_nan() || difference > TOLERANCE {
                    return Err(format!(
                        "position {position}: a full pass gives id {id} the logit {expected}, \
                         caches {got}"
                    ));
                }
                self.largest_difference = self.largest_difference.max(difference);
            }
            let starts = starts.contains(&position);
            if added.starts_patch != starts {
                let says = |starts| if starts { "a patch starts" } else { "no patch starts" };
                return Err(format!(
                    "position {position}: by a full pass {}, by caches {}",
                    says(starts),
                    says(added.starts_patch)
                ));
            }
            self.patch_count += usize::from(starts);
            if let Some(entropy) = added.entropy {
                let expected = pass.cut.entropies[position - 1];
                if entropy.to_bits() != expected.to_bits() {
                    return Err(format!(
                        "position {position}: the entropy of a full pass is {expected:?}, that of \
                         caches {entropy:?}, and not a bit may differ"
                    ));
                }
                self.entropy_count += 1;
            }
            if !added.was_pushed {
                let bytes = &expected[BYTE_OFFSET as usize..];
                let best = bytes.iter().copied().fold(f32::MIN, f32::max);
                let own = expected[added.id as usize];
                if own < best - TOLERANCE {
                    return Err(format!(
                        "position {position}: id {} was chosen, of logit {own}, not {best}",
                        added.id
                    ));
                }
                self.tie_count += usize::from(own < best);
            }
            self.id_count += 1;
        }
        Ok(())
    }
}

/// The likeliest byte.
fn sampler() -> Result<Sampler> {
    let banned_ids = vec![EOS_ID];
    Sampler::new(SamplingOptions { banned_ids, ..SamplingOptions::default() }, SEED)
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
        max_positions: 512,
        window,
    }
}

fn entropy() -> EntropyConfig {
    EntropyConfig { transformer: stack(64, 2, Some(24)), semantics: Semantics::Reference }
}

fn blt() -> BltConfig {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::eval::Cut;
    use crate::text::VOCABULARY_SIZE;

    /// A pass over three ids, of which the likeliest next are 104 and 105, and what a step adds
    /// behind the second that agrees with it.
    fn agreeing() -> (FullPass, Added) {
        let width = VOCABULARY_SIZE as usize;
        let mut logits = vec![0.0; 3 * width];
        (logits[width + 104], logits[width + 105]) = (2.0, 2.0 - TOLERANCE / 2.0);
        let added = Added {
            id: 104,
            was_pushed: false,
            starts_patch: true,
            entropy: Some(0.5),
            logits: logits[width..2 * width].to_vec(),
        };
        let cut = Cut { entropies: vec![3.0, 0.5, 0.25], patch_lengths: vec![1, 1, 2] };
        (FullPass { logits, cut }, added)
    }

    fn compare(change: impl FnOnce(&mut FullPass, &mut Added)) -> Result<Agreement, String> {
        let (mut pass, mut added) = agreeing();
        change(&mut pass, &mut added);
        let mut all = Agreement {
            mode: PatchingMode::Entropy,
            id_count: 0,
            patch_count: 0,
            entropy_count: 0,
            largest_difference: 0.0,
            tie_count: 0,
        };
        all.compare(2, &[added], &pass).map(|()| all)
    }

    #[test]
    fn what_differs_is_said() {
        let same = compare(|_, _| {}).unwrap();
        assert_eq!((same.id_count, same.patch_count, same.entropy_count), (1, 1, 1));
        assert_eq!((same.largest_difference, same.tie_count), (0.0, 0));
        assert_eq!(compare(|_, added| added.id = 105).unwrap().tie_count, 1);
        let said = |change: fn(&mut FullPass, &mut Added)| compare(change).unwrap_err();
        assert!(said(|_, added| added.id = 106).contains("id 106 was chosen"));
        assert!(said(|_, added| added.logits[7] = 2.0 * TOLERANCE).contains("id 7"));
        assert!(said(|_, added| added.logits[7] = f32::NAN).contains("caches NaN"));
        assert!(said(|_, added| added.starts_patch = false).contains("no patch starts"));
        assert!(said(|pass, _| pass.cut.patch_lengths = vec![1, 3]).contains("no patch starts"));
        let next = |entropy: f32| f32::from_bits(entropy.to_bits() + 1);
        assert_eq!(next(0.5), 0.500_000_06);
        let last_bit = said(|_, added| added.entropy = Some(0.500_000_06));
        assert!(last_bit.contains("0.50000006"), "{last_bit}");
    }
}
