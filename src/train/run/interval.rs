//! Figures that add up from one line of metrics to the next.

use serde::{Deserialize, Serialize};

use crate::blt::Batch;
use crate::blt::patching::bytes_per_patch;
use crate::engine::InputValues;
use crate::kernels::Axis;

/// Patches of this length and of all longer ones are counted together.
const LONGEST_COUNTED: usize = 32;

/// Sums over the updates since the last line.
#[derive(Clone, Debug, Default)]
pub struct Interval {
    /// Nats that have been read back from the device.
    pub nats: f64,
    pub target_count: f64,
    pub byte_count: u64,
    /// Patches, or bytes where there are none.
    pub patch_count: u64,
    pub step_count: u64,
    /// Patches by their length in bytes, the last entry of that length and longer ones; empty
    /// where there are none.
    pub patch_lengths: Vec<u64>,
    /// Operations of the model, forward and backward.
    pub flops: u64,
    /// Seconds in updates and in reading data for them.
    pub seconds: f64,
    /// Seconds of those in reading data.
    pub data_seconds: f64,
    /// Seconds of those in exchanging gradients, where nothing else goes on.
    pub exchange_seconds: f64,
}

/// What a checkpoint keeps of it: not the times.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SavedInterval {
    /// Bits of the nats, which need not be finite.
    pub nats_bits: u64,
    pub target_count: f64,
    pub byte_count: u64,
    pub patch_count: u64,
    /// None in checkpoints of before they were counted.
    #[serde(default)]
    pub patch_lengths: Vec<u64>,
}

impl Interval {
    /// Counts a batch whose nats are still to come.
    pub fn add(&mut self, batch: &Batch) {
        self.target_count += batch.target_count;
        self.byte_count += batch.counts.get(Axis::Bytes) as u64;
        self.patch_count += patch_count(batch);
        if let Some(InputValues::U(ranges)) = batch.inputs.get("patch_byte_range") {
            self.patch_lengths.resize(LONGEST_COUNTED + 1, 0);
            for range in ranges.chunks_exact(2) {
                let length = range[1].saturating_sub(range[0]) as usize;
                self.patch_lengths[length.min(LONGEST_COUNTED)] += 1;
            }
        }
    }

    /// [`Self::patch_lengths`] up to the longest that came.
    pub fn counted_lengths(&self) -> Option<Vec<u64>> {
        let longest = self.patch_lengths.iter().rposition(|&count| count > 0)?;
        Some(self.patch_lengths[..=longest].to_vec())
    }

    /// Targets in a patch; `None` where the rows have no patches.
    pub fn bytes_per_patch(&self) -> Option<f64> {
        let patched = self.patch_count != self.byte_count;
        patched.then(|| bytes_per_patch(self.target_count as u64, self.patch_count))
    }

    /// What ranks count each for itself, as numbers: as many whatever was counted.
    pub fn numbers(&self) -> Vec<f64> {
        let counts = [self.byte_count, self.patch_count, self.flops];
        let mut numbers = vec![self.nats, self.target_count];
        numbers.extend(counts.map(|count| count as f64));
        let length = |at| self.patch_lengths.get(at).copied().unwrap_or(0) as f64;
        numbers.extend((0..=LONGEST_COUNTED).map(length));
        numbers
    }

    /// Takes the sums of such numbers.
    pub fn set_numbers(&mut self, numbers: &[f64]) {
        [self.nats, self.target_count] = [numbers[0], numbers[1]];
        let count = |number: &f64| *number as u64;
        self.byte_count = count(&numbers[2]);
        self.patch_count = count(&numbers[3]);
        self.flops = count(&numbers[4]);
        self.patch_lengths = numbers[5..].iter().map(count).collect();
        if self.patch_lengths.iter().all(|&count| count == 0) {
            self.patch_lengths.clear();
        }
    }

    /// What a checkpoint keeps.
    pub fn saved(&self) -> SavedInterval {
        SavedInterval {
            nats_bits: self.nats.to_bits(),
            target_count: self.target_count,
            byte_count: self.byte_count,
            patch_count: self.patch_count,
            patch_lengths: self.patch_lengths.clone(),
        }
    }

    /// What a checkpoint kept, with clocks at 0.
    pub fn restored(saved: &SavedInterval) -> Self {
        Self {
            nats: f64::from_bits(saved.nats_bits),
            target_count: saved.target_count,
            byte_count: saved.byte_count,
            patch_count: saved.patch_count,
            patch_lengths: saved.patch_lengths.clone(),
            ..Self::default()
        }
    }
}

/// Patches of a batch, or bytes where there are none.
pub fn patch_count(batch: &Batch) -> u64 {
    match batch.counts.get(Axis::Patches) {
        0 => batch.counts.get(Axis::Bytes) as u64,
        count => count as u64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn padding_is_in_no_patch() {
        let mut interval = Interval { byte_count: 100, patch_count: 20, ..Default::default() };
        interval.target_count = 90.0;
        assert_eq!(interval.bytes_per_patch(), Some(4.5));
        interval.patch_count = 100;
        assert_eq!(interval.bytes_per_patch(), None, "an entropy model has no patches");
    }

    #[test]
    fn numbers_are_all_that_is_counted() {
        let interval = Interval {
            nats: 1.5,
            target_count: 2.0,
            byte_count: 3,
            patch_count: 4,
            patch_lengths: (0..=LONGEST_COUNTED as u64).collect(),
            flops: 6,
            ..Default::default()
        };
        for interval in [Interval::default(), interval] {
            let mut taken = Interval::default();
            taken.set_numbers(&interval.numbers());
            assert_eq!(format!("{taken:?}"), format!("{interval:?}"));
            assert_eq!(interval.numbers().len(), Interval::default().numbers().len());
        }
    }

    #[test]
    fn sums_come_back_from_json_even_when_they_are_no_numbers() {
        for nats in [1.25, f64::NAN, f64::INFINITY] {
            let interval =
                Interval { nats, target_count: 3.0, step_count: 2, ..Default::default() };
            let text = serde_json::to_string(&interval.saved()).unwrap();
            let back = Interval::restored(&serde_json::from_str(&text).unwrap());
            assert_eq!(back.nats.to_bits(), nats.to_bits());
            assert_eq!((back.target_count, back.step_count), (3.0, 0));
        }
    }
}
