//! Patching token by token, for generation. Spec §14.3, step 3.
//!
//! The decision about position i + 1 needs id i and its entropy and nothing later, so a text can be
//! cut while it is being made. Cut like this it has the boundaries of the whole row.

use super::mode::{Patching, PatchingMode};
use super::space;
use crate::error::Result;
use crate::text::{BOS_ID, BPE_ID};

/// The state of the decision along one document.
///
/// Its boundaries are those of [`Patching::patch_lengths`] with the virtual token, after
/// [`first_patch_of_one`](super::first_patch_of_one), with one difference: in the BPE-delimiter
/// mode a delimiter closes its patch at once, while the row form first wants to see an id behind
/// it. An entropy that is no number starts nothing: check what comes from a device.
#[derive(Debug, Clone)]
pub struct PatchCutter {
    patching: Patching,
    /// Ids taken so far.
    id_count: u64,
    /// Where the open patch started, the first id not being split off a static patch.
    start: u64,
    last_id: u32,
    last_entropy: f32,
}

impl PatchCutter {
    /// In front of the first id of a document.
    ///
    /// # Errors
    /// Settings that [`Patching::check`] refuses.
    pub fn new(patching: &Patching) -> Result<Self> {
        patching.check()?;
        Ok(Self { patching: *patching, id_count: 0, start: 0, last_id: BOS_ID, last_entropy: 0.0 })
    }

    /// Takes the next id and its entropy in nats, and says whether its patch closes with it, so
    /// that a new patch starts at the next position. Modes without entropies ignore theirs.
    pub fn push(&mut self, id: u32, entropy: f32) -> bool {
        let next = self.id_count + 1;
        let starts = self.starts_at(next, id, entropy) || self.is_full(next);
        if starts {
            self.start = next;
        }
        self.id_count = next;
        self.last_id = id;
        self.last_entropy = entropy;
        starts || next == 1
    }

    /// What the next decision follows from besides the next id and its entropy: ids so far, where
    /// the open patch starts, the last id and its entropy.
    pub fn state(&self) -> (u64, u64, u32, f32) {
        (self.id_count, self.start, self.last_id, self.last_entropy)
    }

    /// Back to the front of a document.
    pub fn reset(&mut self) {
        self.id_count = 0;
        self.start = 0;
    }

    /// Whether the mode's rule starts a patch at `next`, behind `id`.
    fn starts_at(&self, next: u64, id: u32, entropy: f32) -> bool {
        let rise = entropy - self.last_entropy;
        match (self.patching.mode, next) {
            (PatchingMode::Static { patch_size }, _) => next.is_multiple_of(u64::from(patch_size)),
            (_, 1) | (PatchingMode::Byte, _) => true,
            (PatchingMode::Space, _) => space::ends_patch(self.last_id, id),
            (PatchingMode::BpeDelimiter, _) => id == BPE_ID,
            (PatchingMode::Entropy { threshold }, _) => entropy > threshold,
            (PatchingMode::Monotonic { .. } | PatchingMode::Combined { .. }, 2) => true,
            (PatchingMode::Monotonic { threshold }, _) => rise > threshold,
            (PatchingMode::Combined { .. }, 3) => false,
            (PatchingMode::Combined { threshold, threshold_add }, _) => {
                rise > threshold_add && entropy > threshold
            }
        }
    }

    /// Whether the open patch has its greatest length when it reaches `next`.
    fn is_full(&self, next: u64) -> bool {
        self.patching.max_patch_length.is_some_and(|max| next - self.start >= u64::from(max))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_id_closes_its_patch() {
        for mode in [
            PatchingMode::Static { patch_size: 4 },
            PatchingMode::Space,
            PatchingMode::Entropy { threshold: 9.0 },
            PatchingMode::BpeDelimiter,
        ] {
            let mut cutter = PatchCutter::new(&Patching::new(mode)).unwrap();
            let closed: Vec<bool> = (0..8).map(|_| cutter.push(101, 0.0)).collect();
            let is_static = matches!(mode, PatchingMode::Static { .. });
            let expected = [true, false, false, is_static, false, false, false, is_static];
            assert_eq!(closed, expected, "{}", mode.name());
            cutter.reset();
            assert!(cutter.push(101, 0.0), "a new document starts like the first");
            assert!(!cutter.push(101, 0.0));
        }
    }

    #[test]
    fn a_delimiter_closes_its_patch_at_once() {
        let mut cutter = PatchCutter::new(&Patching::new(PatchingMode::BpeDelimiter)).unwrap();
        let closed: Vec<bool> =
            [1, 3, 76, 105, 3, 36].map(|id| cutter.push(id, 0.0)).into_iter().collect();
        assert_eq!(closed, [true, true, false, false, true, false]);
    }

    #[test]
    fn bad_settings_are_refused() {
        let patching = Patching::new(PatchingMode::Static { patch_size: 0 });
        assert!(PatchCutter::new(&patching).is_err());
    }
}
