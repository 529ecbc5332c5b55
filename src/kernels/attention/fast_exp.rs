//! `exp` that compiles to vector instructions, and the dispatch that picks the widest there are.
//!
//! The relative error is below 2e-7 where the result is a normal f32. Arguments below -87.3 give
//! 1.2e-38 instead of less, arguments above 88 give e^88 instead of more: no infinity appears.

/// e^x, without a branch or a call, so that a loop over a slice vectorises.
#[inline(always)]
pub fn exp(x: f32) -> f32 {
    let x = if x > LARGEST { LARGEST } else { x };
    let x = if x < SMALLEST { SMALLEST } else { x };
    // Adding 1.5 * 2^23 leaves the nearest integer in the low bits of the sum.
    let shifted = x * std::f32::consts::LOG2_E + ROUND;
    let whole = shifted - ROUND;
    // ln 2 in two parts; the first has so few bits that its product with `whole` is exact.
    let rest = x - whole * LN_2_HIGH - whole * LN_2_LOW;
    // Taylor's series up to the seventh power: |rest| <= ln 2 / 2, the next term is below 6e-9.
    let mut sum = 1.0 / 5040.0;
    sum = sum * rest + 1.0 / 720.0;
    sum = sum * rest + 1.0 / 120.0;
    sum = sum * rest + 1.0 / 24.0;
    sum = sum * rest + 1.0 / 6.0;
    sum = sum * rest + 0.5;
    sum = sum * rest * rest + rest + 1.0;
    let exponent = shifted.to_bits().wrapping_sub(ROUND.to_bits()).wrapping_add(127);
    sum * f32::from_bits(exponent << 23)
}

/// Runs `work` compiled for the widest vectors of this machine.
///
/// Only what is inlined profits: `work` must be written `#[inline(always)] || ..` (under
/// `#[rustfmt::skip]`, since rustfmt drops that attribute), and so must be what it calls. Sums need
/// lanes of their own, since nothing is reordered.
#[inline(always)]
pub fn with_wide_vectors<T>(work: impl FnOnce() -> T) -> T {
    pulp::Arch::new().dispatch(work)
}

const LARGEST: f32 = 88.0;
const SMALLEST: f32 = -87.3;
const ROUND: f32 = 12_582_912.0;
const LN_2_HIGH: f32 = 355.0 / 512.0;
const LN_2_LOW: f32 = (std::f64::consts::LN_2 - 355.0 / 512.0) as f32;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_relative_error_is_below_its_bound() {
        let mut worst = 0.0_f64;
        for index in 0..2_000_000 {
            let x = -87.3 + index as f32 * (175.3 / 2_000_000.0);
            let expected = f64::from(x).exp();
            worst = worst.max((f64::from(exp(x)) / expected - 1.0).abs());
        }
        assert!(worst < 2e-7, "{worst}");
    }

    #[test]
    fn the_ends_stay_finite() {
        assert_eq!(exp(0.0), 1.0);
        assert_eq!(exp(f32::NEG_INFINITY), exp(SMALLEST));
        assert!(exp(-1e30) > 0.0 && exp(-1e30) < 1.3e-38);
        assert!(exp(1e30).is_finite() && exp(1e30) > 1e38);
    }

    #[test]
    fn wide_vectors_give_the_same_bits() {
        let x: Vec<f32> = (0..1003).map(|i| (i as f32 - 700.0) * 0.11).collect();
        let wide: Vec<f32> = with_wide_vectors(|| x.iter().map(|x| exp(*x)).collect());
        assert_eq!(wide, x.iter().map(|x| exp(*x)).collect::<Vec<_>>());
    }
}
