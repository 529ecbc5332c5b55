//! A shape that is measured: a model, a batch, and random rows of it.

use crate::blt::Batch;
use crate::blt::config::{ModelConfig, ReferenceEntropyKeys, ReferenceModelKeys};
use crate::blt::tables::Row;
use crate::error::Result;
use crate::graph::Precision;
use crate::random::Random;
use crate::text::{BYTE_OFFSET, VOCABULARY_SIZE};
use crate::train::config::{ModelKeys, PatchingMode, RunConfig};
use crate::train::run::{RunModel, run_model};

/// The shapes that have a name.
pub const SHAPE_NAMES: [&str; 3] = ["s", "m", "1b"];

/// Bytes of a patch where the configuration does not cut statically.
const PATCH_BYTES: usize = 4;
/// What the random ids are for, in the streams of a seed.
const IDS_STREAM: u64 = 0x62_656e_6368;

/// A model and the batches it is measured on.
#[derive(Clone, Debug)]
pub struct BenchShape {
    pub name: String,
    /// The configuration of a training run that the shape is read from.
    pub run: RunConfig,
    pub model: RunModel,
}

impl BenchShape {
    /// One of [`SHAPE_NAMES`], or `None`.
    ///
    /// # Errors
    /// If its configuration is none: that would be a defect of the program.
    pub fn named(name: &str) -> Option<Result<Self>> {
        let text = match name {
            "s" => include_str!("../../benches/configs/s.toml"),
            "m" => include_str!("../../benches/configs/m.toml"),
            "1b" => include_str!("../../benches/configs/1b.toml"),
            _ => return None,
        };
        Some(Self::from_toml(name, text))
    }

    /// The shape of a configuration of `blt train`, called `name`.
    ///
    /// # Errors
    /// `Config` naming the key that is wrong.
    pub fn from_toml(name: &str, text: &str) -> Result<Self> {
        let keys = ModelKeys {
            model: ReferenceModelKeys::known_keys(),
            entropy_model: ReferenceEntropyKeys::known_keys(),
        };
        let (run, _) = RunConfig::from_toml(text, &[] as &[&str], keys)?;
        let model = run_model(&run)?;
        Ok(Self { name: name.to_owned(), run, model })
    }

    /// Bytes of one row.
    pub fn row_bytes(&self) -> usize {
        let data = &self.run.data;
        match self.model.config {
            ModelConfig::Entropy(_) => data.seq_len,
            ModelConfig::Blt(_) => {
                let patches = data.seq_len.saturating_sub(1).max(1);
                data.max_encoder_seq_length.min(patches * self.patch_bytes())
            }
        }
    }

    /// Bytes of one batch: what a step reads.
    pub fn batch_bytes(&self) -> usize {
        self.run.data.batch_size * self.row_bytes()
    }

    /// Bytes of a patch: those of a static rule, and 4 of another.
    pub fn patch_bytes(&self) -> usize {
        let patcher = &self.run.data.patcher_args;
        match patcher.patching_mode {
            PatchingMode::Static => patcher.patch_size as usize,
            _ => PATCH_BYTES,
        }
    }

    /// `3 x 512 bytes`: what the rows are, for people.
    pub fn describe(&self) -> String {
        format!("{}: {} x {} bytes", self.name, self.run.data.batch_size, self.row_bytes())
    }

    /// Batch number `index` of random bytes in static patches, the first of one byte. The same
    /// index gives the same batch, and every batch has the same counts up to touched rows.
    ///
    /// # Errors
    /// If the rows are too long for the model.
    pub fn batch(&self, index: u64) -> Result<Batch> {
        let row_bytes = self.row_bytes();
        let mut random = Random::new(index, IDS_STREAM);
        let lengths = match self.model.config {
            ModelConfig::Entropy(_) => Vec::new(),
            ModelConfig::Blt(_) => static_lengths(row_bytes + 1, self.patch_bytes()),
        };
        let byte_count = u64::from(VOCABULARY_SIZE - BYTE_OFFSET);
        let rows = (0..self.run.data.batch_size).map(|_| {
            let ids = (0..=row_bytes).map(|_| BYTE_OFFSET + random.below(byte_count) as u32);
            Row::from_tokens(ids.collect(), lengths.clone())
        });
        Batch::new(&self.model.config, &rows.collect::<Vec<_>>())
    }
}

/// The precisions that a step may be measured in, with their names.
pub const PRECISIONS: [(&str, Precision); 2] =
    [("f32", Precision::F32), ("mixed", Precision::Mixed)];

/// The name of a precision.
pub fn precision_name(precision: Precision) -> &'static str {
    match precision {
        Precision::F32 => "f32",
        Precision::Mixed => "mixed",
    }
}

/// 1, then `patch_bytes` each, the last one shorter; their sum is `total`.
fn static_lengths(total: usize, patch_bytes: usize) -> Vec<u32> {
    let (full, rest) = ((total - 1) / patch_bytes, (total - 1) % patch_bytes);
    let mut lengths = vec![1];
    lengths.extend(std::iter::repeat_n(patch_bytes as u32, full));
    lengths.extend((rest > 0).then_some(rest as u32));
    lengths
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::Axis;

    #[test]
    fn named_shapes_are_those_of_the_peer() {
        let expected = [("s", 279.5e6, 8 * 2048), ("m", 983.9e6, 8 * 4096), ("1b", 4.53e9, 8192)];
        for (name, parameters, bytes) in expected {
            let shape = BenchShape::named(name).unwrap().unwrap();
            let count: u64 = shape.model.parameters.iter().map(|it| it.element_count()).sum();
            assert!((count as f64 / parameters - 1.0).abs() < 1e-3, "{name}: {count}");
            assert_eq!(shape.batch_bytes(), bytes, "{name}");
        }
        assert!(BenchShape::named("xl").is_none());
    }

    #[test]
    fn batches_differ_and_have_the_same_counts() {
        let text = include_str!("../../benches/configs/s.toml").replace("= 2048 ", "= 62 ");
        let shape = BenchShape::from_toml("short", &text).unwrap();
        let [a, b] = [0, 1].map(|index| shape.batch(index).unwrap());
        assert_eq!(a.target_count, 8.0 * 62.0);
        // One byte, then 4 and 4 until 63 with the virtual position.
        assert_eq!(a.counts.get(Axis::Patches), 8 * 17);
        assert_eq!(a.counts.get(Axis::Patches), b.counts.get(Axis::Patches));
        let ids = |batch: &Batch| format!("{:?}", batch.inputs.require("ids", 8 * 62).unwrap());
        assert_ne!(ids(&a), ids(&b));
        assert_eq!(ids(&a), ids(&shape.batch(0).unwrap()));
        assert_eq!(static_lengths(63, 4).iter().sum::<u32>(), 63);
    }
}
