//! The likeliest id of every row of logits.

use crate::oracle::Real;

/// An id was chosen.
pub const CHOSEN: u32 = 0;
/// A logit is not finite.
pub const NOT_FINITE: u32 = 1;
/// No id may be chosen.
pub const ALL_BANNED: u32 = 2;

/// `ids[row]` = the id with the largest of `logits [rows, classes]` whose bit in `banned
/// [rows, ceil(classes / 32)]` is not set, the lowest of equal ones; `forced[row]` where that is an
/// id; 0 where `status[row]` is not [`CHOSEN`].
pub fn likeliest<R: Real>(
    logits: &[R],
    banned: &[u32],
    forced: &[u32],
    ids: &mut [u32],
    status: &mut [u32],
    rows: usize,
    classes: usize,
) {
    let words = classes.div_ceil(32);
    for row in 0..rows {
        let logits = &logits[row * classes..][..classes];
        let is_banned = |id: usize| banned[row * words + id / 32] >> (id % 32) & 1 == 1;
        let mut best = None;
        for id in 0..classes {
            if !is_banned(id) && best.is_none_or(|best: usize| logits[id] > logits[best]) {
                best = Some(id);
            }
        }
        (ids[row], status[row]) = if (forced[row] as usize) < classes {
            (forced[row], CHOSEN)
        } else if logits.iter().any(|logit| !logit.is_finite()) {
            (0, NOT_FINITE)
        } else {
            best.map_or((0, ALL_BANNED), |best| (best as u32, CHOSEN))
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lowest_of_equal_ids_that_may_be_chosen() {
        let row = [1.0, 5.0, 5.0];
        let nan = [1.0, f64::NAN, 5.0];
        let logits = [row, row, row, row, nan].concat();
        let (banned, forced) = ([0, 0b010, 0b111, 0b111, 0], [9, 9, 9, 2, 9]);
        let (mut ids, mut status) = ([7; 5], [7; 5]);
        likeliest(&logits, &banned, &forced, &mut ids, &mut status, 5, 3);
        assert_eq!(ids, [1, 2, 0, 2, 0]);
        assert_eq!(status, [CHOSEN, CHOSEN, ALL_BANNED, CHOSEN, NOT_FINITE]);
    }
}
