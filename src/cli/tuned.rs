//! `--tuned`: variants of kernels that `blt tune` measured to be the fastest.

use super::terminal::Terminal;
use blt_wgpu::Error;
use blt_wgpu::bench::TunedFile;
use blt_wgpu::device::Device;
use std::fs;
use std::path::PathBuf;

/// The argument of commands that run models.
#[derive(clap::Args, Clone, Debug, Default)]
pub struct TunedArgument {
    /// Take the variants of kernels that `blt tune` measured to be the fastest
    ///
    /// A file that was made on another device, driver or program, or that is damaged, is not used,
    /// and that is said. Results may differ in their last bits from those without it.
    #[arg(long, value_name = "FILE")]
    pub tuned: Option<PathBuf>,
}

impl TunedArgument {
    /// The device, with the choices of the file if they are for it.
    ///
    /// # Errors
    /// If the file cannot be read at all: it was named, and is not there.
    pub fn apply(&self, device: Device, terminal: &Terminal) -> anyhow::Result<Device> {
        let Some(path) = &self.tuned else { return Ok(device) };
        let text = fs::read_to_string(path).map_err(|error| Error::io("read", path, error))?;
        match TunedFile::choices_for(&text, &path.display().to_string(), &device) {
            Ok((tuned, warnings)) => {
                warnings.iter().for_each(|warning| terminal.warn(warning));
                Ok(device.with_tuned(tuned))
            }
            Err(error) => {
                let hint = error.hint().map(|hint| format!("; {hint}")).unwrap_or_default();
                terminal.warn(&format!("tuned variants are not used: {error}{hint}"));
                Ok(device)
            }
        }
    }
}
