//! The limits of a device that kernels and plans run into, and the errors that say so.

use crate::error::{Error, Result};
use serde::Serialize;

/// The limits that kernels and plans run into.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct DeviceLimits {
    /// What one storage binding holds.
    pub storage_binding_bytes: u64,
    /// What one buffer holds.
    pub buffer_bytes: u64,
    /// Memory that the invocations of a workgroup share.
    pub workgroup_bytes: u32,
    pub workgroup_invocations: u32,
    pub groups_per_dimension: u32,
    /// Storage buffers that one kernel binds.
    pub storage_binding_count: u32,
    pub uniform_alignment_bytes: u32,
    pub storage_alignment_bytes: u32,
}

impl DeviceLimits {
    pub(super) fn of(limits: &wgpu::Limits) -> Self {
        Self {
            storage_binding_bytes: limits.max_storage_buffer_binding_size,
            buffer_bytes: limits.max_buffer_size,
            workgroup_bytes: limits.max_compute_workgroup_storage_size,
            workgroup_invocations: limits.max_compute_invocations_per_workgroup,
            groups_per_dimension: limits.max_compute_workgroups_per_dimension,
            storage_binding_count: limits.max_storage_buffers_per_shader_stage,
            uniform_alignment_bytes: limits.min_uniform_buffer_offset_alignment,
            storage_alignment_bytes: limits.min_storage_buffer_offset_alignment,
        }
    }

    /// That a storage binding of this size can be made for `what`.
    ///
    /// # Errors
    /// [`Error::Limit`].
    pub fn check_binding(&self, what: &str, bytes: u64) -> Result<()> {
        let limit = format!("bytes of one storage binding, for {what}");
        check(limit, bytes, self.storage_binding_bytes, SMALLER)
    }

    /// That a buffer of this size can be made for `what`.
    ///
    /// # Errors
    /// [`Error::Limit`].
    pub fn check_buffer(&self, what: &str, bytes: u64) -> Result<()> {
        check(format!("bytes of one buffer, for {what}"), bytes, self.buffer_bytes, SMALLER)
    }

    /// That `what` can bind so many storage buffers.
    ///
    /// # Errors
    /// [`Error::Limit`].
    pub fn check_binding_count(&self, what: &str, count: usize) -> Result<()> {
        let limit = format!("storage buffers of one kernel, for {what}");
        check(limit, count as u64, self.storage_binding_count.into(), OTHER_DEVICE)
    }

    /// That `what` can be dispatched with so many workgroups along each dimension.
    ///
    /// # Errors
    /// [`Error::Limit`].
    pub fn check_groups(&self, what: &str, groups: [u32; 3]) -> Result<()> {
        let limit = format!("workgroups along one dimension, for {what}");
        let most = groups.into_iter().max().unwrap_or(0);
        check(limit, most.into(), self.groups_per_dimension.into(), SMALLER)
    }
}

const SMALLER: &str = "use a smaller batch, context or model, or a device with larger limits";
const OTHER_DEVICE: &str = "use a device with larger limits, or the CPU";

fn check(limit: String, needed: u64, available: u64, hint: &str) -> Result<()> {
    if needed <= available {
        return Ok(());
    }
    Err(Error::Limit { limit, needed, available, hint: hint.into() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_limits_are_those_that_base_variants_rely_on() {
        let limits = DeviceLimits::of(&wgpu::Limits::defaults());
        assert_eq!(limits.workgroup_bytes, 16 << 10);
        assert_eq!(limits.storage_binding_bytes, 128 << 20);
        assert_eq!((limits.storage_binding_count, limits.workgroup_invocations), (8, 256));
        assert_eq!(limits.storage_alignment_bytes, 256);
    }

    #[test]
    fn a_limit_that_is_exceeded_says_what_was_needed() {
        let limits = DeviceLimits::of(&wgpu::Limits::defaults());
        limits.check_groups("x", [65_535, 65_535, 1]).unwrap();
        limits.check_binding("x", 128 << 20).unwrap();
        let error = limits.check_binding("logits", (128 << 20) + 1).unwrap_err();
        let text = "bytes of one storage binding, for logits: \
                    134217729 needed, 134217728 available";
        assert_eq!(error.to_string(), text);
        assert!(error.hint().is_some_and(|hint| hint.contains("smaller batch")));
        assert!(limits.check_groups("x", [1, 65_536, 1]).is_err());
        assert!(limits.check_buffer("x", (256 << 20) + 1).is_err());
        assert!(limits.check_binding_count("x", 9).is_err());
    }
}
