//! The list of all kernels.

use super::{Kernel, dense, norm};

/// Every kernel there is, in the order of the families.
pub static REGISTRY: &[&Kernel] = &[&dense::matmul::KERNEL, &norm::rms_norm::KERNEL];

/// The kernel of this name.
pub fn find(name: &str) -> Option<&'static Kernel> {
    REGISTRY.iter().find(|kernel| kernel.name == name).copied()
}
