//! What a device computes at best, in one number.

use super::job::Clock;
use super::peaks::Peak;
use super::samples::median;
use super::timing::{Patience, Timing};
use super::verified::Verified;
use crate::device::Device;
use crate::error::Result;

/// Samples of each measure, and the seconds after which no further one is begun.
const PATIENCE: Patience = Patience { sample_count: 3, seconds: 0.3, enough_ms: f64::INFINITY };

/// Operations per second of multiply-adds at best: of f32, with `has_halves` also of f16, on matrix
/// units where there are any. It takes a second or two.
///
/// # Errors
/// If the device is lost, computes wrongly, or somebody wants to stop.
pub async fn peak_flops(device: &Device, clock: &Clock, has_halves: bool) -> Result<f64> {
    let halves = [Peak::FmaF16, Peak::MatrixF16].into_iter().filter(|_| has_halves);
    let mut verified = Verified::default();
    let mut best: f64 = 0.0;
    for peak in [Peak::FmaF32].into_iter().chain(halves) {
        if peak.missing(device).is_some() {
            continue;
        }
        let measure = peak.measure(device)?;
        verified.check(device, measure.kernel, measure.variant).await?;
        let timing = Timing::new(device, measure.isolated).await?;
        let samples = timing.samples(clock, PATIENCE).await?;
        // Billions of operations in milliseconds.
        best = best.max(measure.work * 1e12 / median(&samples).unwrap_or(f64::INFINITY));
    }
    Ok(best)
}
