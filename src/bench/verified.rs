//! Variants are compared with their oracles on the device before they are timed.

use crate::device::Device;
use crate::error::{Error, Result};
use crate::kernels::Kernel;
use std::collections::HashMap;

/// What was found out about variants so far; each is asked once.
#[derive(Default)]
pub(super) struct Verified {
    known: HashMap<(&'static str, usize), Result<(), String>>,
}

impl Verified {
    /// That a variant agrees with its oracle here.
    ///
    /// # Errors
    /// [`Error::Device`] with the first case on which it does not.
    pub async fn check(
        &mut self,
        device: &Device,
        kernel: &'static Kernel,
        variant: usize,
    ) -> Result<()> {
        let key = (kernel.name, variant);
        let found = match self.known.get(&key) {
            Some(found) => found.clone(),
            None => verify(device, kernel, variant).await.map_err(|error| error.to_string()),
        };
        self.known.insert(key, found.clone());
        match found {
            Ok(()) => Ok(()),
            Err(problem) => {
                let name = format!("{}.{}", kernel.name, kernel.variants[variant].name);
                Err(Error::device(name, format!("not timed, as it computes wrongly: {problem}")))
            }
        }
    }
}

async fn verify(device: &Device, kernel: &'static Kernel, variant: usize) -> Result<()> {
    match device {
        Device::Cpu(_) => {
            for case in (kernel.cases)() {
                let checked = case.check(kernel, &case.on_cpu(kernel));
                checked.map_err(|problem| Error::device(kernel.name, problem))?;
            }
            let _ = variant;
            Ok(())
        }
        #[cfg(feature = "gpu")]
        Device::Gpu(engine) => engine.verify(kernel, variant).await,
    }
}
