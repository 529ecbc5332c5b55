//! What is written into every row of a device, so that rows of several machines can lie together.

use super::row::{BenchRow, SCHEMA};
use crate::device::{Device, Identity};

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
        let Identity { name, backend, driver, features } = device.identity();
        let name = name.unwrap_or_else(|| host.to_owned());
        Self { name, backend, driver, features, commit: COMMIT.into() }
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
