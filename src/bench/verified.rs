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
            None => device.verify(kernel, variant).await.map_err(|error| error.to_string()),
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
