//! One row of a batch, and the checks that everything from outside passes before it is used.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::text::{BOE_ID, VOCABULARY_SIZE};

/// `N` input ids with what is to be predicted after each, and how they fall into patches.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// Input ids, `[N]`, each below 260.
    pub ids: Vec<u32>,
    /// Id that follows each input, `[N]`, each below 260.
    pub targets: Vec<u32>,
    /// Weight of each target in the loss, `[N]`; 0 hides it.
    pub weights: Vec<f32>,
    /// Patch lengths, each at least 1, the first exactly 1, with sum `N + 1`: the last patch
    /// holds the virtual position `N` too (spec §3.1). Empty for the entropy model.
    pub patch_lengths: Vec<u32>,
}

impl Row {
    /// The row that reads all tokens but the last and predicts all but the first, every weight 1;
    /// patch lengths are those of the tokens, or empty.
    ///
    /// # Panics
    /// If there are no tokens.
    pub fn from_tokens(mut tokens: Vec<u32>, patch_lengths: Vec<u32>) -> Self {
        let targets = tokens[1..].to_vec();
        tokens.pop();
        let weights = vec![1.0; targets.len()];
        Self { ids: tokens, targets, weights, patch_lengths }
    }

    /// Pads to `byte_count` inputs with id 0 and weight 0, as the reference does; the padding
    /// joins the last patch.
    ///
    /// # Panics
    /// If the row is longer.
    pub fn pad_to(&mut self, byte_count: usize) {
        let added = byte_count.checked_sub(self.ids.len()).expect("the row is not longer");
        self.ids.resize(byte_count, BOE_ID);
        self.targets.resize(byte_count, BOE_ID);
        self.weights.resize(byte_count, 0.0);
        if let Some(last) = self.patch_lengths.last_mut() {
            *last += added as u32;
        }
    }

    /// Cuts to at most `byte_count` inputs; the patch that crosses the end is shortened, and
    /// those behind it vanish.
    pub fn cut_to(&mut self, byte_count: usize) {
        self.ids.truncate(byte_count);
        self.targets.truncate(byte_count);
        self.weights.truncate(byte_count);
        let mut left = byte_count as u32 + 1;
        self.patch_lengths.retain_mut(|length| {
            *length = left.min(*length);
            left -= *length;
            *length > 0
        });
    }

    /// Checks ids, targets and weights; `row_index` is for the message.
    ///
    /// # Errors
    /// No ids, three lengths that differ, an id or target from 260 on, or a weight that is
    /// negative or not finite.
    pub fn check_bytes(&self, row_index: usize) -> Result<()> {
        let fail = |problem: String| Err(Error::input(format!("row {row_index}"), problem));
        let count = self.ids.len();
        if count == 0 {
            return fail("expected at least 1 id, got none".into());
        }
        if self.targets.len() != count || self.weights.len() != count {
            return fail(format!(
                "expected as many targets and weights as ids, {count}, got {} and {}",
                self.targets.len(),
                self.weights.len()
            ));
        }
        for (what, values) in [("id", &self.ids), ("target", &self.targets)] {
            if let Some(at) = values.iter().position(|&id| id >= VOCABULARY_SIZE) {
                return fail(format!(
                    "{what} at {at}: expected one below {VOCABULARY_SIZE}, got {}",
                    values[at]
                ));
            }
        }
        if let Some(at) = self.weights.iter().position(|w| !(w.is_finite() && *w >= 0.0)) {
            let got = self.weights[at];
            return fail(format!("weight at {at}: expected finite and not negative, got {got}"));
        }
        Ok(())
    }

    /// Checks the patch lengths; `row_index` is for the message.
    ///
    /// # Errors
    /// No lengths, a first length that is not 1, a length of 0, or a sum other than `N + 1`.
    pub fn check_patches(&self, row_index: usize) -> Result<()> {
        let fail = |problem: String| Err(Error::input(format!("row {row_index}"), problem));
        match self.patch_lengths.first() {
            None => return fail("expected patch lengths, got none".into()),
            Some(1) => {}
            Some(first) => return fail(format!("first patch length: expected 1, got {first}")),
        }
        if let Some(at) = self.patch_lengths.iter().position(|&length| length == 0) {
            return fail(format!("patch length at {at}: expected at least 1, got 0"));
        }
        let sum: u64 = self.patch_lengths.iter().map(|&length| u64::from(length)).sum();
        let expected = self.ids.len() as u64 + 1;
        if sum != expected {
            return fail(format!("sum of patch lengths: expected ids + 1 = {expected}, got {sum}"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row() -> Row {
        Row {
            ids: vec![1, 70, 71, 72],
            targets: vec![70, 71, 72, 2],
            weights: vec![1.0; 4],
            patch_lengths: vec![1, 3, 1],
        }
    }

    fn check(change: impl Fn(&mut Row)) -> String {
        let mut row = row();
        change(&mut row);
        let result = row.check_bytes(7).and_then(|()| row.check_patches(7));
        result.expect_err("the row is wrong").to_string()
    }

    #[test]
    fn a_good_row_passes() {
        row().check_bytes(0).unwrap();
        row().check_patches(0).unwrap();
    }

    #[test]
    fn tokens_are_read_and_predicted() {
        let made = Row::from_tokens(vec![1, 70, 71, 72, 2], vec![1, 3, 1]);
        assert_eq!(made, row());
    }

    #[test]
    fn padding_joins_the_last_patch_and_does_not_count() {
        let mut padded = row();
        padded.pad_to(6);
        assert_eq!(
            (padded.ids[4..].to_vec(), padded.targets[4..].to_vec()),
            (vec![0; 2], vec![0; 2])
        );
        assert_eq!(padded.weights, [1.0, 1.0, 1.0, 1.0, 0.0, 0.0]);
        assert_eq!(padded.patch_lengths, [1, 3, 3]);
        padded.cut_to(4);
        assert_eq!(padded, row());
    }

    #[test]
    fn a_cut_shortens_one_patch_and_drops_those_behind() {
        let mut cut = row();
        cut.cut_to(2);
        assert_eq!((&cut.ids[..], &cut.targets[..]), (&[1, 70][..], &[70, 71][..]));
        assert_eq!((&cut.patch_lengths[..], cut.weights.len()), (&[1, 2][..], 2));
        cut.cut_to(9);
        assert_eq!(cut.patch_lengths, [1, 2]);
    }

    #[test]
    fn what_is_wrong_is_named() {
        assert_eq!(check(|r| *r = Row::default()), "row 7: expected at least 1 id, got none");
        assert_eq!(check(|r| r.ids[2] = 260), "row 7: id at 2: expected one below 260, got 260");
        assert!(check(|r| r.targets[3] = 300).contains("target at 3"));
        assert!(check(|r| r.targets.truncate(3)).contains("4, got 3 and 4"));
        assert!(check(|r| r.weights.push(1.0)).contains("4, got 4 and 5"));
        assert!(check(|r| r.weights[1] = f32::NAN).contains("weight at 1"));
        assert!(check(|r| r.weights[0] = -1.0).contains("weight at 0"));
        assert!(check(|r| r.patch_lengths.clear()).contains("got none"));
        assert!(check(|r| r.patch_lengths = vec![2, 3]).contains("expected 1, got 2"));
        assert!(check(|r| r.patch_lengths = vec![1, 0, 4]).contains("patch length at 1"));
        assert!(check(|r| r.patch_lengths = vec![1, 3]).contains("ids + 1 = 5, got 4"));
        assert!(check(|r| r.patch_lengths = vec![1, u32::MAX, 6]).contains("got 4294967302"));
    }
}
