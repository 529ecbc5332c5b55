//! What was added to a text, with caches, against one full pass over the text.

use super::added::Added;
use super::recompute::FullPass;
use super::sampling::SamplingOptions;
use crate::blt::config::PatchingMode;
use crate::text::VOCABULARY_SIZE;

/// Largest difference of logits; where the two best lie that close, either id will do.
pub const TOLERANCE: f32 = 1e-4;

/// That texts of a rule of patching agreed, and how closely.
#[derive(Clone, Debug, PartialEq)]
pub struct Agreement {
    pub mode: PatchingMode,
    /// Ids that the device added before the host heard of them.
    pub bytes_a_submission: usize,
    /// Ids that were added to the texts, and how many of them were chosen and not pushed.
    pub id_count: usize,
    pub chosen_count: usize,
    /// Patches that started with one of them.
    pub patch_count: usize,
    /// Entropies that had the same bits.
    pub entropy_count: usize,
    /// Of logits.
    pub largest_difference: f32,
    /// Where another byte would have done as well.
    pub ties: Vec<Tie>,
    /// By id, whether it may be chosen.
    allowed: Vec<bool>,
}

/// An id that was chosen where the full pass has another that is as good within 1e-4. The
/// text goes on behind what was chosen, and so does the pass.
#[derive(Clone, Debug, PartialEq)]
pub struct Tie {
    /// What the text began with, in a word or two.
    pub prompt: &'static str,
    /// In the text.
    pub position: usize,
    /// What was chosen, and the best of the others.
    pub ids: [u32; 2],
    /// How far the logits lie apart.
    pub distance: f32,
}

impl Agreement {
    /// Of no text yet. Texts are cut by this rule, in a model without patches by
    /// [`PatchingMode::Byte`], and of the ids that these options allow the likeliest are chosen.
    pub fn new(mode: PatchingMode, bytes_a_submission: usize, options: &SamplingOptions) -> Self {
        let mut allowed = vec![true; VOCABULARY_SIZE as usize];
        for id in options.banned() {
            allowed[id as usize] = false;
        }
        Self {
            allowed,
            mode,
            bytes_a_submission,
            id_count: 0,
            chosen_count: 0,
            patch_count: 0,
            entropy_count: 0,
            largest_difference: 0.0,
            ties: Vec::new(),
        }
    }

    /// Compares what was added to a text from position `first` on with a pass over all of it but
    /// its last id.
    ///
    /// # Errors
    /// The first place that differs, in words.
    pub fn compare(
        &mut self,
        prompt: &'static str,
        first: usize,
        added: &[Added],
        pass: &FullPass,
    ) -> Result<(), String> {
        let mut starts = pass.cut.starts().into_iter().peekable();
        for (position, added) in (first..).zip(added) {
            let expected = pass.logits_at(position - 1);
            let (wanted, kept) = (expected.len(), added.logits.len());
            if wanted != kept {
                return Err(format!(
                    "position {position}: a full pass gives {wanted} logits, caches {kept}"
                ));
            }
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
            while starts.next_if(|&start| start < position).is_some() {}
            let starts = starts.peek() == Some(&position);
            if added.starts_patch != starts {
                let says = |starts| if starts { "a patch starts" } else { "no patch starts" };
                return Err(format!(
                    "position {position}: by a full pass {}, by caches {}",
                    says(starts),
                    says(added.starts_patch)
                ));
            }
            self.patch_count += usize::from(starts);
            if added.entropy.is_some() != self.mode.needs_entropies() {
                let has = if added.entropy.is_some() { "an" } else { "no" };
                return Err(format!("position {position}: caches give {has} entropy"));
            }
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
                self.chosen_count += 1;
                self.ties.extend(self.tie(prompt, position, added.id, expected)?);
            }
            self.id_count += 1;
        }
        Ok(())
    }

    /// Whether the id that was chosen is the best by these logits, or as good.
    fn tie(
        &self,
        prompt: &'static str,
        position: usize,
        id: u32,
        expected: &[f32],
    ) -> Result<Option<Tie>, String> {
        if !self.allowed[id as usize] {
            return Err(format!("position {position}: id {id} was chosen, which is banned"));
        }
        let own = expected[id as usize];
        let others = (0..).zip(expected).zip(&self.allowed);
        let others = others.filter(|((other, _), allowed)| **allowed && *other != id);
        let best = others.map(|(other, _)| other).max_by(|a, b| a.1.total_cmp(b.1));
        let Some((other, &best)) = best else { return Ok(None) };
        if own < best - TOLERANCE {
            return Err(format!(
                "position {position}: id {id} was chosen, of logit {own}, not {other}, of {best}"
            ));
        }
        let distance = (own - best).abs();
        Ok((distance <= TOLERANCE).then_some(Tie { prompt, position, ids: [id, other], distance }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::eval::Cut;

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
        let mut all = Agreement::new(PatchingMode::Entropy, 1, &SamplingOptions::default());
        all.compare("x", 2, &[added], &pass).map(|()| all)
    }

    #[test]
    fn what_differs_is_said() {
        let same = compare(|_, _| {}).unwrap();
        assert_eq!((same.id_count, same.patch_count, same.entropy_count), (1, 1, 1));
        assert_eq!((same.largest_difference, same.chosen_count), (0.0, 1));
        let said = |change: fn(&mut FullPass, &mut Added)| compare(change).unwrap_err();
        assert!(said(|_, added| added.logits.truncate(259)).contains("260 logits, caches 259"));
        assert!(said(|_, added| added.logits.clear()).contains("260 logits, caches 0"));
        assert!(said(|_, added| added.id = 106).contains("id 106 was chosen"));
        assert!(said(|_, added| added.id = 1).contains("id 1 was chosen, which is banned"));
        let of_end = said(|pass, added| {
            pass.logits[VOCABULARY_SIZE as usize + 2] = 3.0;
            added.logits[2] = 3.0;
        });
        assert!(of_end.contains("not 2, of 3"), "{of_end}");
        assert!(said(|_, added| added.logits[7] = 2.0 * TOLERANCE).contains("id 7"));
        assert!(said(|_, added| added.logits[7] = f32::NAN).contains("caches NaN"));
        assert!(said(|_, added| added.starts_patch = false).contains("no patch starts"));
        assert!(said(|pass, _| pass.cut.patch_lengths = vec![1, 3]).contains("no patch starts"));
        assert!(said(|_, added| added.entropy = None).contains("caches give no entropy"));
        let next = |entropy: f32| f32::from_bits(entropy.to_bits() + 1);
        assert_eq!(next(0.5), 0.500_000_06);
        let last_bit = said(|_, added| added.entropy = Some(0.500_000_06));
        assert!(last_bit.contains("0.50000006"), "{last_bit}");
    }

    #[test]
    fn two_that_are_as_good_are_a_tie() {
        let ids = |change: fn(&mut FullPass, &mut Added)| {
            let ties = compare(change).unwrap().ties;
            ties.iter().map(|tie| (tie.prompt, tie.position, tie.ids)).collect::<Vec<_>>()
        };
        assert_eq!(ids(|_, _| {}), [("x", 2, [104, 105])]);
        assert_eq!(ids(|_, added| added.id = 105), [("x", 2, [105, 104])]);
        assert_eq!(ids(|_, added| added.was_pushed = true), []);
        let far = |pass: &mut FullPass, added: &mut Added| {
            pass.logits[VOCABULARY_SIZE as usize + 105] = 1.9;
            added.logits[105] = 1.9;
        };
        assert_eq!(ids(far), []);
    }
}
