//! Every kernel against its oracle on the device at hand: what the tests of a browser ask for.

use crate::surroundings::{Surroundings, go_on};
use crate::{Failure, Kind, Result};
use blt_wgpu::device::Device;
use blt_wgpu::kernels::{Case, Kernel, REGISTRY};
use serde::Serialize;

/// What became of a variant of a kernel.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Checked {
    /// `kernel.variant`.
    pub name: String,
    /// Cases that were run.
    pub case_count: usize,
    /// What disagreed, if something did.
    pub problem: Option<String>,
    /// What the device lacks, where it cannot run.
    pub lacks: Option<String>,
}

/// The names of all kernels, in the order of the registry.
pub fn kernel_names() -> Vec<&'static str> {
    REGISTRY.iter().map(|kernel| kernel.name).collect()
}

/// Runs every variant of a kernel that the device can run, on a few of its cases, of at most so
/// many elements: software in a browser takes half a second for each, and minutes for large ones.
/// The smallest runs in any case.
///
/// # Errors
/// A kernel that there is not; a device that is lost; a request to stop.
pub async fn check_kernel(
    device: &Device,
    name: &str,
    most_elements: usize,
    surroundings: &impl Surroundings,
) -> Result<Vec<Checked>> {
    let kernel = blt_wgpu::kernels::find(name)
        .ok_or_else(|| Failure::new(Kind::Input, format!("{name}: there is no such kernel")))?;
    let variant_count = match device {
        Device::Cpu(_) => 1,
        Device::Gpu(_) => kernel.variants.len(),
    };
    let mut all = Vec::new();
    for variant in 0..variant_count {
        let own = match device {
            Device::Cpu(_) => "cpu",
            Device::Gpu(_) => kernel.variants[variant].name,
        };
        let name = format!("{name}.{own}");
        let mut checked = Checked { name, case_count: 0, problem: None, lacks: None };
        let cases = cases(kernel, variant, most_elements);
        for case in cases {
            go_on(surroundings).await?;
            if let Device::Gpu(_) = device
                && let Some(lacks) = device.why_not(kernel.needs(variant, case.halves))
            {
                checked.lacks = Some(lacks);
                continue;
            }
            checked.case_count += 1;
            checked.problem = problem(device, kernel, variant, &case).await?;
            if checked.problem.is_some() {
                break;
            }
        }
        all.push(checked);
    }
    Ok(all)
}

/// Most cases of a variant.
const CASE_COUNT: usize = 8;

/// Cases that a variant takes, without those that are too large: the smallest, the largest, and
/// some between.
fn cases(kernel: &Kernel, variant: usize, most_elements: usize) -> Vec<Case> {
    let size = |case: &Case| case.buffers.iter().map(|buffer| buffer.len()).sum::<usize>();
    let takes = kernel.variants[variant].takes;
    let mut cases = (kernel.cases)();
    cases.retain(|case| takes(&case.params, case.halves));
    cases.sort_by_key(size);
    let count = cases.partition_point(|case| size(case) <= most_elements).max(1);
    cases.truncate(count);
    let chosen = count.min(CASE_COUNT);
    let at = |nth: usize| nth * (count - 1) / chosen.saturating_sub(1).max(1);
    let wanted: Vec<usize> = (0..chosen).map(at).collect();
    let mut index = 0..count;
    cases.retain(|_| index.next().is_some_and(|index| wanted.contains(&index)));
    cases
}

/// Why a case is not as its oracle says, if it is not.
async fn problem(
    device: &Device,
    kernel: &'static Kernel,
    variant: usize,
    case: &Case,
) -> Result<Option<String>> {
    let checked = match device {
        Device::Cpu(_) => case.check(kernel, &case.on_cpu(kernel)),
        Device::Gpu(engine) => match engine.run_case(kernel, variant, case).await {
            Ok(got) => case.check(kernel, &got),
            Err(error) if error.is_loss() => return Err(error.into()),
            Err(error) => Err(error.to_string()),
        },
    };
    Ok(checked.err())
}

#[cfg(test)]
mod tests {
    use super::*;
    use blt_wgpu::cpu::HostEngine;
    use blt_wgpu::platform::NativePlatform;

    #[test]
    fn every_variant_has_a_case_however_small() {
        for kernel in REGISTRY {
            for variant in 0..kernel.variants.len() {
                assert_eq!(cases(kernel, variant, 0).len(), 1, "{}", kernel.name);
                let all = cases(kernel, variant, usize::MAX).len();
                assert!((1..=CASE_COUNT).contains(&all), "{}: {all}", kernel.name);
            }
        }
    }

    #[test]
    fn the_engine_at_hand_is_checked() {
        let (device, platform) = (Device::Cpu(HostEngine::default()), NativePlatform::default());
        let check = check_kernel(&device, "rms_norm", 10_000, &platform);
        let checked = pollster::block_on(check).unwrap();
        assert_eq!((checked.len(), checked[0].name.as_str()), (1, "rms_norm.cpu"));
        assert!(checked[0].problem.is_none() && checked[0].case_count > 1);
    }
}
