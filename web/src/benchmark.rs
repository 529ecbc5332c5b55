//! The rows of `blt bench` in a browser, at a shape that a browser has memory for.

use crate::surroundings::{Surroundings, go_on};
use crate::{Failure, Kind, Result};
use blt_wgpu::bench::{Bench, BenchOptions, BenchRow, BenchShape, Event, Part};
use blt_wgpu::blt::config::WeightType;
use blt_wgpu::device::Device;
use blt_wgpu::graph::{Precision, Recompute};
use blt_wgpu::platform::Platform;
use serde::Deserialize;

/// What is measured.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct BenchmarkOptions {
    /// Fewer and shorter samples, and no kernel by itself.
    pub quick: bool,
    /// Names of the parts of `blt bench`; all but `memory` where nothing is said.
    pub parts: Vec<String>,
}

/// What comes while it measures.
pub enum BenchmarkEvent {
    /// The next thing begins.
    Began(String),
    Row(Box<BenchRow>),
}

/// The shape that is measured: that of the demo's larger model, without an entropy model.
const SHAPE: &str = include_str!("benchmark.toml");
const SHAPE_NAME: &str = "web";

/// Measures until all is measured, or somebody asks to stop: what was measured is told by then.
/// `clock` is that of `surroundings`; kernels of the CPU engine read it.
///
/// # Errors
/// A part that there is not; [`Kind::Interrupted`].
pub async fn benchmark(
    device: &Device,
    options: &BenchmarkOptions,
    clock: impl Platform + Sync + 'static,
    surroundings: &impl Surroundings,
    mut tell: impl FnMut(BenchmarkEvent),
) -> Result<()> {
    let options = bench_options(options)?;
    let mut bench = Bench::new(device, clock, "this browser's CPU", options);
    loop {
        go_on(surroundings).await?;
        match bench.step().await? {
            Event::Began(what) => tell(BenchmarkEvent::Began(what)),
            Event::Row(row) => tell(BenchmarkEvent::Row(row)),
            Event::Profile(_) => {}
            Event::Finished => return Ok(()),
        }
    }
}

fn bench_options(options: &BenchmarkOptions) -> Result<BenchOptions> {
    let mut parts = Vec::new();
    for name in &options.parts {
        let part = Part::NAMES.iter().find(|(known, _)| known == name);
        let part = part.ok_or_else(|| {
            let names = Part::NAMES.map(|(name, _)| name).join(", ");
            Failure::new(Kind::Input, format!("parts: expected some of {names}, got {name:?}"))
        })?;
        parts.push(part.1);
    }
    if parts.is_empty() {
        let all = Part::NAMES.map(|(_, part)| part);
        let left_out = |part: &Part| {
            *part == Part::Memory || (options.quick && matches!(part, Part::Kernels | Part::Gemm))
        };
        parts = all.into_iter().filter(|part| !left_out(part)).collect();
    }
    Ok(BenchOptions {
        parts,
        shapes: vec![BenchShape::from_toml(SHAPE_NAME, SHAPE)?],
        precisions: vec![Precision::F32],
        weights: vec![WeightType::F32],
        recomputes: vec![Recompute::None],
        sample_count: if options.quick { 3 } else { 10 },
        seconds: if options.quick { 1.0 } else { 5.0 },
        kernel: String::new(),
        profile: false,
        soak_seconds: 0.0,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shape_is_one_and_parts_have_names() {
        let options = bench_options(&BenchmarkOptions { quick: true, parts: Vec::new() }).unwrap();
        assert!(options.parts.contains(&Part::Train) && !options.parts.contains(&Part::Kernels));
        let parts = vec!["speed".to_owned()];
        let failure = bench_options(&BenchmarkOptions { quick: false, parts }).unwrap_err();
        assert!(failure.message.contains("peaks, gemm"), "{failure}");
    }
}
