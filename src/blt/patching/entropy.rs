//! The three rules over entropies. Spec §3.4 to §3.6.
//!
//! `entropies[i]` is the uncertainty about token i + 1, so that token `start` is hard to predict
//! where `entropies[start - 1]` is high. All compare in f32 and strictly, and are asked about
//! `start` from 2 on; `entropies[0]` decides nothing by itself.

/// Global threshold.
pub(super) fn starts_above(entropies: &[f32], start: usize, threshold: f32) -> bool {
    entropies[start - 1] > threshold
}

/// Approximate monotonicity: a rise by more than the threshold. The first rise that could be asked
/// about, at 2, is taken for one.
pub(super) fn starts_at_rise(entropies: &[f32], start: usize, threshold: f32) -> bool {
    start == 2 || rise(entropies, start) > threshold
}

/// Global threshold and rise in one. Position 2 always starts; position 3 never does, since the
/// reference excludes the place right after a first forced start, and only that.
pub(super) fn starts_above_at_rise(
    entropies: &[f32],
    start: usize,
    threshold: f32,
    threshold_add: f32,
) -> bool {
    match start {
        2 => true,
        3 => false,
        _ => rise(entropies, start) > threshold_add && entropies[start - 1] > threshold,
    }
}

/// How much harder to predict `start` is than the token before it.
pub(super) fn rise(entropies: &[f32], start: usize) -> f32 {
    entropies[start - 1] - entropies[start - 2]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn starts(id_count: usize, rule: impl Fn(usize) -> bool) -> Vec<usize> {
        (2..=id_count).filter(|&start| rule(start)).collect()
    }

    #[test]
    fn the_threshold_itself_starts_nothing() {
        let entropies = [9.0, 1.5, 1.5_f32.next_up(), 1.5_f32.next_down()];
        assert_eq!(starts(4, |start| starts_above(&entropies, start, 1.5)), [3]);
    }

    #[test]
    fn a_rise_is_measured_from_the_token_before() {
        let entropies = [0.0, 3.0, 3.0, 3.5, 4.25, 1.0, 1.5];
        assert_eq!(starts(7, |start| starts_at_rise(&entropies, start, 0.5)), [2, 5]);
        assert_eq!(starts(7, |start| starts_at_rise(&entropies, start, -3.0)), [2, 3, 4, 5, 7]);
    }

    #[test]
    fn combined_starts_at_two_and_never_at_three() {
        let entropies = [0.0, 0.0, 5.0, 6.0, 6.0, 0.0, 1.0, 3.0];
        let rule = |start| starts_above_at_rise(&entropies, start, 2.0, 0.5);
        assert_eq!(starts(8, rule), [2, 4, 8]);
    }
}
