//! What is written into every row of a device, so that rows of several machines can lie together.

use super::row::{BenchRow, SCHEMA};
use crate::device::Device;
#[cfg(feature = "gpu")]
use crate::gpu::Caps;

/// Which device, through which driver, and what of it kernels may use.
#[derive(Clone, Debug, PartialEq)]
pub struct DeviceId {
    pub name: String,
    pub backend: String,
    pub driver: String,
    pub features: Vec<String>,
    /// Of the program.
    pub commit: String,
}

/// The commit the program was built from, where the build said so.
const COMMIT: &str = match option_env!("BLT_COMMIT") {
    Some(commit) => commit,
    None => "unknown",
};

impl DeviceId {
    /// That of a device; `host` is the processor's name, for the CPU engine.
    pub fn of(device: &Device, host: &str) -> Self {
        match device {
            Device::Cpu(_) => Self {
                name: host.to_owned(),
                backend: "cpu".into(),
                driver: format!("{} threads", rayon::current_num_threads()),
                features: Vec::new(),
                commit: COMMIT.into(),
            },
            #[cfg(feature = "gpu")]
            Device::Gpu(engine) => Self::of_caps(engine.context().caps()),
        }
    }

    #[cfg(feature = "gpu")]
    fn of_caps(caps: &Caps) -> Self {
        let mut features = Vec::new();
        if caps.f16 {
            features.push("f16".into());
        }
        if let Some(sizes) = caps.subgroups {
            features.push(format!("subgroups {}-{}", sizes.min, sizes.max));
        }
        for shape in &caps.cooperative_matrices {
            let (m, n, k) = (shape.m, shape.n, shape.k);
            features.push(format!("matrix {m}x{n}x{k} {}-{}", shape.operand, shape.result));
        }
        if caps.timestamps {
            features.push("timestamps".into());
        }
        Self {
            name: caps.name.clone(),
            backend: caps.backend.clone(),
            driver: caps.driver.clone(),
            features,
            commit: COMMIT.into(),
        }
    }

    /// A row of this device without a measurement.
    pub fn row(&self, kind: &str, kernel: &str, shape: &str, precision: &str) -> BenchRow {
        BenchRow {
            schema: SCHEMA,
            kind: kind.into(),
            device: self.name.clone(),
            backend: self.backend.clone(),
            driver: self.driver.clone(),
            features: self.features.clone(),
            commit: self.commit.clone(),
            kernel: kernel.into(),
            shape: shape.into(),
            precision: precision.into(),
            ..BenchRow::default()
        }
    }
}
