//! The number an oracle computes in.

use std::fmt::Debug;
use std::iter::Sum;

use num_traits::{Float, NumAssign};

/// A floating-point number an oracle can be run in: `f32` or `f64`.
pub trait Real: Float + NumAssign + Sum + Default + Debug + Send + Sync + 'static {
    /// The number nearest to `value`.
    fn of(value: f64) -> Self;

    /// `value`, exactly.
    fn of_f32(value: f32) -> Self;

    /// This number, exactly.
    fn to_f64(self) -> f64;
}

impl Real for f32 {
    fn of(value: f64) -> Self {
        value as f32
    }

    fn of_f32(value: f32) -> Self {
        value
    }

    fn to_f64(self) -> f64 {
        f64::from(self)
    }
}

impl Real for f64 {
    fn of(value: f64) -> Self {
        value
    }

    fn of_f32(value: f32) -> Self {
        f64::from(value)
    }

    fn to_f64(self) -> f64 {
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn there_and_back<R: Real>(value: f64) -> f64 {
        R::of(value).to_f64()
    }

    #[test]
    fn conversions_keep_what_fits_and_round_what_does_not() {
        let third = 1.0 / 3.0;
        assert_eq!(there_and_back::<f64>(third), third);
        assert_eq!(there_and_back::<f32>(third), f64::from(third as f32));
        assert_ne!(there_and_back::<f32>(third), third);
        assert_eq!(f64::of_f32(0.1).to_f64(), f64::from(0.1_f32));
        assert_eq!(f32::of_f32(0.1), 0.1);
    }
}
