//! Every kernel against its oracle on the device at hand: what the tests of a browser ask for.

use crate::surroundings::{Surroundings, go_on};
use crate::{Failure, Kind, Result};
use blt_wgpu::device::Device;
use blt_wgpu::kernels::REGISTRY;
use serde::Serialize;

/// What became of a variant of a kernel.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Checked {
    /// `kernel.variant`.
    pub name: String,
    /// What disagreed, if something did.
    pub problem: Option<String>,
    /// What the device lacks, where it cannot run.
    pub lacks: Option<String>,
}

/// The names of all kernels, in the order of the registry.
pub fn kernel_names() -> Vec<&'static str> {
    REGISTRY.iter().map(|kernel| kernel.name).collect()
}

/// Runs every variant of a kernel that the device can run, on all of its cases.
///
/// # Errors
/// A kernel that there is not; a device that is lost; a request to stop.
pub async fn check_kernel(
    device: &Device,
    name: &str,
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
        go_on(surroundings).await?;
        let needs = kernel.variants[variant].needs;
        let (own, lacks) = match device {
            Device::Cpu(_) => ("cpu", None),
            Device::Gpu(_) => (kernel.variants[variant].name, device.why_not(needs)),
        };
        let problem = match lacks {
            Some(_) => None,
            None => match device.verify(kernel, variant).await {
                Err(error) if error.is_loss() => return Err(error.into()),
                checked => checked.err().map(|error| error.to_string()),
            },
        };
        all.push(Checked { name: format!("{name}.{own}"), problem, lacks });
    }
    Ok(all)
}
