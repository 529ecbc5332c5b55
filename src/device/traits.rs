//! What sort of device it is, and what it has.

use super::Device;
use crate::error::{Error, Result};
#[cfg(feature = "gpu")]
use crate::gpu::{Caps, DeviceKind};
use crate::kernels::{Kernel, Needs};

/// Which device, through which driver, and what of it kernels may use.
#[derive(Clone, Debug, PartialEq)]
pub struct Identity {
    /// `None` for the CPU engine, which does not know its processor.
    pub name: Option<String>,
    pub backend: String,
    pub driver: String,
    pub features: Vec<String>,
}

impl Device {
    /// What it is.
    pub fn identity(&self) -> Identity {
        match self {
            Self::Cpu(_) => Identity {
                name: None,
                backend: "cpu".into(),
                driver: format!("{} threads", rayon::current_num_threads()),
                features: Vec::new(),
            },
            #[cfg(feature = "gpu")]
            Self::Gpu(engine) => {
                let caps = engine.context().caps();
                Identity {
                    name: Some(caps.name.clone()),
                    backend: caps.backend.clone(),
                    driver: caps.driver.clone(),
                    features: features(caps),
                }
            }
        }
    }

    /// Whether kernels run on the processor: the CPU engine, or a driver in software.
    pub fn computes_on_processor(&self) -> bool {
        match self {
            Self::Cpu(_) => true,
            #[cfg(feature = "gpu")]
            Self::Gpu(engine) => engine.context().caps().kind == DeviceKind::Software,
        }
    }

    /// Why it does not run what needs this, if it does not.
    pub fn why_not(&self, needs: Needs) -> Option<String> {
        match self {
            Self::Cpu(_) => (needs != Needs::NOTHING)
                .then(|| "the CPU engine computes in f32, without a matrix unit".to_owned()),
            #[cfg(feature = "gpu")]
            Self::Gpu(engine) => {
                let missing = engine.context().caps().missing(needs);
                missing.map(|missing| format!("the device lacks {missing}"))
            }
        }
    }

    /// That a variant of a kernel, or the CPU engine's own, agrees with its oracle on all cases.
    ///
    /// # Errors
    /// The first case on which it does not.
    pub async fn verify(&self, kernel: &'static Kernel, variant: usize) -> Result<()> {
        match self {
            Self::Cpu(_) => {
                for case in (kernel.cases)() {
                    let checked = case.check(kernel, &case.on_cpu(kernel));
                    checked.map_err(|problem| Error::device(kernel.name, problem))?;
                }
                let _ = variant;
                Ok(())
            }
            #[cfg(feature = "gpu")]
            Self::Gpu(engine) => engine.verify(kernel, variant).await,
        }
    }
}

#[cfg(feature = "gpu")]
fn features(caps: &Caps) -> Vec<String> {
    let mut features = Vec::new();
    if caps.f16 {
        features.push("f16".into());
    }
    if caps.int64 {
        features.push("int64".into());
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
    features
}
