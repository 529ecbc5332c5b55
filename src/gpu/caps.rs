//! What a device is and can do, as plain data: what `blt devices` shows and variants are chosen by.

use super::known_drivers::{believed_matrices, matrices_distrusted};
use super::limits::DeviceLimits;
use super::processors::processors;
use crate::kernels::{Abilities, Distrusted, Needs};
use serde::Serialize;

/// A device and its capabilities.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Caps {
    /// What the driver calls the adapter.
    pub name: String,
    /// `vulkan`, `metal`, `dx12` or `webgpu`.
    pub backend: String,
    pub kind: DeviceKind,
    /// Driver and its version.
    pub driver: String,
    /// PCI vendor and device numbers; zero where the platform hides them.
    pub vendor_id: u32,
    pub device_id: u32,
    pub limits: DeviceLimits,
    /// The type `f16` in shaders.
    pub f16: bool,
    /// The types `i64` and `u64` in shaders.
    pub int64: bool,
    /// Subgroup operations, with the sizes a subgroup may have.
    pub subgroups: Option<SubgroupSizes>,
    /// Matrix products the hardware does by itself; empty where shaders cannot reach them.
    pub cooperative_matrices: Vec<MatrixShape>,
    /// Why the driver was not asked for them, where it is known not to be right about them.
    pub matrices_distrusted: Option<&'static str>,
    /// Timestamps at the borders of a pass.
    pub timestamps: bool,
    /// Timestamps between the dispatches of a pass.
    pub timestamps_inside_passes: bool,
}

/// Whether there is hardware behind a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum DeviceKind {
    /// A card of its own.
    Discrete,
    /// A GPU that shares the memory of the processor.
    Integrated,
    /// A GPU behind a virtual machine.
    Virtual,
    /// A driver that computes on the processor.
    Software,
    /// The platform does not say: browsers.
    Unknown,
}

/// Smallest and largest size of a subgroup.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct SubgroupSizes {
    pub min: u32,
    pub max: u32,
}

/// A product of [m, k] by [k, n] that cooperative matrices do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct MatrixShape {
    pub m: u32,
    pub n: u32,
    pub k: u32,
    /// WGSL type of the operands.
    pub operand: &'static str,
    /// WGSL type of sum and result.
    pub result: &'static str,
}

impl Caps {
    /// What an adapter can do at best.
    pub(super) fn of_adapter(adapter: &wgpu::Adapter) -> Self {
        let matrices = believed_matrices(adapter);
        Self::new(&adapter.get_info(), adapter.features(), &adapter.limits(), &matrices)
    }

    /// What a device was created with. Without its adapter it has no matrix products: nothing says
    /// which of them are real.
    pub(super) fn of_device(device: &wgpu::Device, adapter: Option<&wgpu::Adapter>) -> Self {
        let matrices = adapter.map(believed_matrices).unwrap_or_default();
        Self::new(&device.adapter_info(), device.features(), &device.limits(), &matrices)
    }

    fn new(
        info: &wgpu::AdapterInfo,
        features: wgpu::Features,
        limits: &wgpu::Limits,
        matrices: &[wgpu::CooperativeMatrixProperties],
    ) -> Self {
        let subgroups = features
            .contains(wgpu::Features::SUBGROUP)
            .then_some(SubgroupSizes { min: info.subgroup_min_size, max: info.subgroup_max_size });
        // Kernels on them order the lanes of a subgroup by barriers.
        let matrices_need =
            wgpu::Features::EXPERIMENTAL_COOPERATIVE_MATRIX | wgpu::Features::SUBGROUP_BARRIER;
        let has_matrices = features.contains(matrices_need);
        let name = if info.name.is_empty() { "unnamed adapter" } else { info.name.as_str() };
        Self {
            name: name.to_owned(),
            backend: info.backend.to_str().to_owned(),
            kind: DeviceKind::of(info),
            driver: format!("{} {}", info.driver, info.driver_info).trim().to_owned(),
            vendor_id: info.vendor,
            device_id: info.device,
            limits: DeviceLimits::of(limits),
            f16: features.contains(wgpu::Features::SHADER_F16),
            int64: features.contains(wgpu::Features::SHADER_INT64),
            subgroups,
            cooperative_matrices: matrices
                .iter()
                .filter(|_| has_matrices)
                .map(MatrixShape::of)
                .collect(),
            matrices_distrusted: matrices_distrusted(info),
            timestamps: features.contains(wgpu::Features::TIMESTAMP_QUERY),
            timestamps_inside_passes: features
                .contains(wgpu::Features::TIMESTAMP_QUERY_INSIDE_PASSES),
        }
    }

    /// `backend/name`: what selectors are matched against and engines are called.
    pub fn id(&self) -> String {
        format!("{}/{}", self.backend, self.name)
    }

    /// Whether a variant that needs this runs here.
    pub fn satisfies(&self, needs: Needs) -> bool {
        self.missing(needs).is_none()
    }

    /// What variants of kernels are chosen by.
    pub fn abilities(&self) -> Abilities {
        Abilities {
            subgroups: self.subgroups.is_some(),
            subgroup_min: self.subgroup_min(),
            f16: self.f16,
            int64: self.int64,
            cooperative_matrix: self.has_matrices(),
            workgroup_bytes: self.limits.workgroup_bytes,
            workgroup_invocations: self.limits.workgroup_invocations,
            processors: processors(&self.name, self.kind),
            hardware: self.kind != DeviceKind::Software,
            software: self.kind == DeviceKind::Software,
            distrusted: Distrusted::default(),
        }
    }

    /// The first thing a variant needs that is not here, for an error or an explanation.
    pub fn missing(&self, needs: Needs) -> Option<String> {
        let DeviceLimits { workgroup_bytes, workgroup_invocations, .. } = self.limits;
        if needs.f16 && !self.f16 {
            return Some("16-bit floats in shaders".into());
        }
        if needs.int64 && !self.int64 {
            return Some("64-bit integers in shaders".into());
        }
        if needs.subgroups && self.subgroups.is_none() {
            return Some("subgroup operations".into());
        }
        if needs.subgroup_min > self.subgroup_min() {
            return Some(format!("subgroups of at least {}", needs.subgroup_min));
        }
        if needs.cooperative_matrix && !self.has_matrices() {
            return Some("cooperative matrices of 16 x 16 x 16, f16 to f32, by 32 lanes".into());
        }
        if needs.workgroup_bytes > workgroup_bytes {
            let needed = needs.workgroup_bytes;
            return Some(format!("{needed} bytes of workgroup memory, not {workgroup_bytes}"));
        }
        if needs.workgroup_invocations > workgroup_invocations {
            let needed = needs.workgroup_invocations;
            return Some(format!("{needed} invocations a workgroup, not {workgroup_invocations}"));
        }
        None
    }

    fn subgroup_min(&self) -> u32 {
        self.subgroups.map_or(0, |sizes| sizes.min)
    }

    /// Whether there are the cooperative matrices that kernels use.
    fn has_matrices(&self) -> bool {
        self.multiplies_f16(16) && self.subgroups == Some(SubgroupSizes { min: 32, max: 32 })
    }

    /// Whether there are cooperative matrices of this side with f16 operands and f32 sums.
    fn multiplies_f16(&self, side: u32) -> bool {
        let wanted = MatrixShape { m: side, n: side, k: side, operand: "f16", result: "f32" };
        self.cooperative_matrices.contains(&wanted)
    }
}

impl DeviceKind {
    fn of(info: &wgpu::AdapterInfo) -> Self {
        match info.device_type {
            wgpu::DeviceType::DiscreteGpu => Self::Discrete,
            wgpu::DeviceType::IntegratedGpu => Self::Integrated,
            wgpu::DeviceType::VirtualGpu => Self::Virtual,
            wgpu::DeviceType::Cpu => Self::Software,
            wgpu::DeviceType::Other => Self::Unknown,
        }
    }
}

impl MatrixShape {
    fn of(properties: &wgpu::CooperativeMatrixProperties) -> Self {
        let name = |scalar| match scalar {
            wgpu::CooperativeScalarType::F32 => "f32",
            wgpu::CooperativeScalarType::F16 => "f16",
            wgpu::CooperativeScalarType::I32 => "i32",
            wgpu::CooperativeScalarType::U32 => "u32",
        };
        Self {
            m: properties.m_size,
            n: properties.n_size,
            k: properties.k_size,
            operand: name(properties.ab_type),
            result: name(properties.cr_type),
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A device with core WebGPU and its default limits.
    pub fn core_device() -> Caps {
        Caps {
            name: "core".into(),
            backend: "webgpu".into(),
            kind: DeviceKind::Unknown,
            driver: String::new(),
            vendor_id: 0,
            device_id: 0,
            limits: DeviceLimits::of(&wgpu::Limits::defaults()),
            f16: false,
            int64: false,
            subgroups: None,
            cooperative_matrices: Vec::new(),
            matrices_distrusted: None,
            timestamps: false,
            timestamps_inside_passes: false,
        }
    }

    #[test]
    fn a_core_device_satisfies_base_variants_and_says_what_else_it_lacks() {
        let caps = core_device();
        assert!(caps.satisfies(Needs::NOTHING));
        let missing = |needs| caps.missing(needs).unwrap();
        assert!(missing(Needs { f16: true, ..Needs::NOTHING }).contains("16-bit"));
        assert!(missing(Needs { int64: true, ..Needs::NOTHING }).contains("64-bit integers"));
        let memory = missing(Needs { workgroup_bytes: 32_768, ..Needs::NOTHING });
        assert_eq!(memory, "32768 bytes of workgroup memory, not 16384");
        let threads = missing(Needs { workgroup_invocations: 512, ..Needs::NOTHING });
        assert_eq!(threads, "512 invocations a workgroup, not 256");
    }

    #[test]
    fn matrices_count_only_with_f32_sums() {
        let needs = Needs { cooperative_matrix: true, ..Needs::NOTHING };
        let mut caps = core_device();
        caps.subgroups = Some(SubgroupSizes { min: 32, max: 32 });
        let shape = |result| MatrixShape { m: 16, n: 16, k: 16, operand: "f16", result };
        caps.cooperative_matrices.push(shape("f16"));
        assert!(!caps.satisfies(needs));
        caps.cooperative_matrices.push(shape("f32"));
        assert!(caps.satisfies(needs));
        caps.subgroups = Some(SubgroupSizes { min: 32, max: 64 });
        assert!(!caps.satisfies(needs));
    }

    #[test]
    fn devices_are_listed_as_plain_data() {
        let mut caps = core_device();
        caps.kind = DeviceKind::Software;
        caps.subgroups = Some(SubgroupSizes { min: 8, max: 8 });
        let json = serde_json::to_value(&caps).unwrap();
        assert_eq!(json["kind"], "software");
        assert_eq!(json["subgroups"]["max"], 8);
        assert_eq!(json["limits"]["storage_binding_bytes"], 128 << 20);
    }
}
