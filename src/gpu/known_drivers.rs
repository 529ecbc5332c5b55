//! Drivers whose cooperative matrices are known not to be what they report.
//!
//! Every variant is compared with its oracle on the device before it is chosen
//! ([`trust`](super::trust)). That cannot save a program from a driver that crashes when it is
//! asked, nor from one that computes right and far slower than without: those stand here, with
//! where it was seen. Nothing was measured on these devices for this program.

/// A driver, and what is wrong with its cooperative matrices.
struct Known {
    vendor_id: u32,
    /// Whether an adapter of the vendor is meant.
    is_meant: fn(&wgpu::AdapterInfo) -> bool,
    reason: &'static str,
}

const AMD: u32 = 0x1002;
const INTEL: u32 = 0x8086;

const KNOWN: [Known; 3] = [
    Known {
        vendor_id: AMD,
        is_meant: |info| is_of_amd(info) && info.device_type == wgpu::DeviceType::IntegratedGpu,
        reason: "AMD's own driver crashes when integrated GPUs are asked for their shapes \
                 (llama.cpp#22750, AMDVLK#422)",
    },
    Known {
        vendor_id: AMD,
        is_meant: |info| is_of_amd(info) && !has_amd_matrix_units(&info.name),
        reason: "AMD's own driver reports them for GPUs without matrix units (llama.cpp#11074)",
    },
    Known {
        vendor_id: INTEL,
        is_meant: |_| true,
        reason: "Intel's drivers emulate them, read other tiles than were asked for or crash \
                 (llama.cpp#10597, #24005; mesa#15932)",
    },
];

/// Why nobody asks an adapter for cooperative matrices, if nobody should.
pub(super) fn matrices_distrusted(info: &wgpu::AdapterInfo) -> Option<&'static str> {
    let meant = |known: &&Known| known.vendor_id == info.vendor && (known.is_meant)(info);
    KNOWN.iter().find(meant).map(|known| known.reason)
}

/// Shapes that an adapter reports and is believed.
pub(super) fn believed_matrices(adapter: &wgpu::Adapter) -> Vec<wgpu::CooperativeMatrixProperties> {
    match matrices_distrusted(&adapter.get_info()) {
        Some(_) => Vec::new(),
        None => adapter.cooperative_matrix_properties(),
    }
}

/// Whether the driver is AMD's, proprietary or AMDVLK, and not Mesa's.
fn is_of_amd(info: &wgpu::AdapterInfo) -> bool {
    let driver = format!("{} {}", info.driver, info.driver_info).to_lowercase();
    info.backend == wgpu::Backend::Vulkan && !driver.contains("radv") && !driver.contains("mesa")
}

/// Whether a name is that of RDNA 3 or later.
fn has_amd_matrix_units(name: &str) -> bool {
    ["RX 7", "RX 9", "PRO W7", "PRO R9", "PRO W9"].iter().any(|series| name.contains(series))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn distrusts(vendor: u32, name: &str, driver: &str, kind: wgpu::DeviceType) -> bool {
        let info = wgpu::AdapterInfo {
            name: name.into(),
            vendor,
            driver: driver.into(),
            ..wgpu::AdapterInfo::new(kind, wgpu::Backend::Vulkan)
        };
        matrices_distrusted(&info).is_some()
    }

    #[test]
    fn drivers_that_are_known_are_not_asked_and_others_are() {
        use wgpu::DeviceType::{DiscreteGpu, IntegratedGpu};
        let (own, mesa) = ("AMD proprietary driver", "radv");
        assert!(distrusts(AMD, "AMD Radeon(TM) 860M", own, IntegratedGpu));
        assert!(distrusts(AMD, "AMD Radeon RX 6800 XT", own, DiscreteGpu));
        assert!(distrusts(INTEL, "Intel(R) Arc(TM) A770 Graphics", "Intel", DiscreteGpu));
        assert!(!distrusts(AMD, "AMD Radeon RX 7900 XTX", own, DiscreteGpu));
        assert!(!distrusts(AMD, "AMD Radeon 860M (RADV GFX1152)", mesa, IntegratedGpu));
        assert!(!distrusts(0x10de, "NVIDIA H200", "NVIDIA", DiscreteGpu));
    }
}
