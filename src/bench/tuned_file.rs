//! The file of choices that a tuner made on a device. It is believed on that device only, with the
//! same driver, program and shaders.

use super::device_id::DeviceId;
use crate::device::Device;
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::kernels::Tuned;
use crate::kernels::fingerprint;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Version of the fields.
const SCHEMA: u32 = 1;

/// Choices, and what they were measured on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TunedFile {
    pub schema: u32,
    /// `backend/name`.
    pub device: String,
    pub driver: String,
    /// Version of the program.
    pub version: String,
    /// [`fingerprint`] of its shaders.
    pub shaders: String,
    /// Variants by class of shapes, see [`shape_class`](crate::kernels::shape_class).
    pub choices: BTreeMap<String, TunedChoice>,
}

/// One choice.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TunedChoice {
    pub variant: String,
    /// Median milliseconds of every variant that was right.
    pub median_ms: BTreeMap<String, f64>,
}

impl TunedFile {
    /// A file without choices for a device.
    pub fn of(device: &Device) -> Self {
        Self {
            schema: SCHEMA,
            device: device.name(),
            driver: DeviceId::of(device, "cpu").driver,
            version: env!("CARGO_PKG_VERSION").into(),
            shaders: fingerprint(),
            choices: BTreeMap::new(),
        }
    }

    /// Its text.
    ///
    /// # Errors
    /// [`Error::Input`] if a time is no number.
    pub fn to_text(&self) -> Result<String> {
        serde_json::to_string_pretty(self)
            .map(|text| text + "\n")
            .map_err(|error| Error::input("tuned choices", error.to_string()))
    }

    /// Reads its text, whatever it was measured on; `name` is what errors call it.
    ///
    /// # Errors
    /// [`Error::Input`] if it is cut off or no such file.
    pub fn parse(text: &str, name: &str) -> Result<Self> {
        serde_json::from_str(text).map_err(|error| {
            unusable(name, format!("it is damaged or no file of tuned choices: {error}"))
        })
    }

    /// The choices in its text, if they were made on this device as it is now.
    ///
    /// # Errors
    /// As [`Self::parse`]; [`Error::Input`] saying what they were made on instead.
    pub fn choices_for(text: &str, name: &str, device: &Device) -> Result<Tuned> {
        let (file, here) = (Self::parse(text, name)?, Self::of(device));
        if file.schema != here.schema {
            return Err(unusable(name, format!("schema {}, not {SCHEMA}", file.schema)));
        }
        for (what, then, now) in [
            ("device", &file.device, &here.device),
            ("driver", &file.driver, &here.driver),
            ("version of the program", &file.version, &here.version),
            ("set of shaders", &file.shaders, &here.shaders),
        ] {
            if then != now {
                return Err(unusable(name, format!("made for the {what} {then}, here is {now}")));
            }
        }
        let choices = file.choices.into_iter().map(|(class, choice)| (class, choice.variant));
        Ok(Tuned::new(choices.collect()))
    }
}

fn unusable(name: &str, problem: String) -> Error {
    Error::input(name, problem).with_hint("measure again with `blt tune`, or leave `--tuned` out")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu::HostEngine;

    #[test]
    fn only_choices_of_this_device_driver_program_and_shaders_are_taken() {
        let device = Device::Cpu(HostEngine::default());
        let mut file = TunedFile::of(&device);
        let choice = TunedChoice { variant: "lanes".into(), median_ms: [("x".into(), 0.1)].into() };
        file.choices.insert("matmul 1 x 2 x 3 nt".into(), choice);
        let text = file.to_text().unwrap();
        let taken = TunedFile::choices_for(&text, "tuned.json", &device).unwrap();
        assert_eq!(taken.choices()["matmul 1 x 2 x 3 nt"], "lanes");

        let refused = |change: fn(&mut TunedFile)| {
            let mut other = file.clone();
            change(&mut other);
            let text = other.to_text().unwrap();
            TunedFile::choices_for(&text, "tuned.json", &device).unwrap_err().to_string()
        };
        assert!(
            refused(|it| it.driver = "9.1".into()).contains("made for the driver 9.1, here is")
        );
        assert!(refused(|it| it.device = "vulkan/x".into()).contains("the device vulkan/x, here"));
        assert!(refused(|it| it.version = "0.0.1".into()).contains("program 0.0.1"));
        assert!(refused(|it| it.shaders = "00".into()).contains("set of shaders 00"));
        assert!(refused(|it| it.schema = 7).contains("schema 7, not 1"));
    }

    #[test]
    fn a_cut_off_file_is_refused_with_a_hint_at_every_length() {
        let device = Device::Cpu(HostEngine::default());
        let whole = TunedFile::of(&device).to_text().unwrap();
        for length in (0..whole.len() - 2).step_by(7) {
            let error =
                TunedFile::choices_for(&whole[..length], "tuned.json", &device).unwrap_err();
            assert!(error.to_string().contains("tuned.json: it is damaged"), "{length}: {error}");
            assert!(error.hint().unwrap().contains("blt tune"));
        }
    }
}
