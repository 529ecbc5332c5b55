//! The file of choices that a tuner made on a device. It is believed on that device only, with the
//! same driver, program and shaders.

use super::device_id::DeviceId;
use crate::device::Device;
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::kernels::{Tuned, find, fingerprint};
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

/// The only field that all versions have.
#[derive(Deserialize)]
struct Version {
    schema: u32,
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
    /// [`Error::Input`] if it is cut off, no such file, or of another version.
    pub fn parse(text: &str, name: &str) -> Result<Self> {
        let damaged = |error: serde_json::Error| {
            unusable(name, format!("it is damaged or no file of tuned choices: {error}"))
        };
        // The version first: another one may have other fields.
        let Version { schema } = serde_json::from_str(text).map_err(damaged)?;
        if schema != SCHEMA {
            let age = if schema > SCHEMA { "a later" } else { "an earlier" };
            let problem = format!("it is of {age} version of the program: schema {schema}, here");
            return Err(unusable(name, format!("{problem} {SCHEMA}")));
        }
        serde_json::from_str(text).map_err(damaged)
    }

    /// The choices in its text, if they were made on this device as it is now, and a warning for
    /// each that names no variant: those are not among the choices.
    ///
    /// # Errors
    /// As [`Self::parse`]; [`Error::Input`] saying what they were made on instead.
    pub fn choices_for(text: &str, name: &str, device: &Device) -> Result<(Tuned, Vec<String>)> {
        let (file, here) = (Self::parse(text, name)?, Self::of(device));
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
        let (mut choices, mut warnings) = (BTreeMap::new(), Vec::new());
        for (class, TunedChoice { variant, .. }) in file.choices {
            // A class begins with the name of its kernel.
            let kernel = class.split(' ').next().and_then(find);
            if kernel.is_some_and(|kernel| kernel.variant(&variant).is_some()) {
                choices.insert(class, variant);
            } else {
                warnings.push(format!("{name}: {class}: there is no variant {variant}"));
            }
        }
        Ok((Tuned::new(choices), warnings))
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
        let (taken, warnings) = TunedFile::choices_for(&text, "tuned.json", &device).unwrap();
        assert_eq!(taken.choices()["matmul 1 x 2 x 3 nt"], "lanes");
        assert!(warnings.is_empty(), "{warnings:?}");

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
        assert!(
            refused(|it| it.schema = 0).contains("an earlier version of the program: schema 0")
        );
    }

    #[test]
    fn a_file_of_a_later_version_says_so_whatever_fields_it_has() {
        let device = Device::Cpu(HostEngine::default());
        let text = r#"{"schema": 2, "machines": [{"device": "x"}]}"#;
        let error = TunedFile::choices_for(text, "tuned.json", &device).unwrap_err();
        let expected = "it is of a later version of the program: schema 2, here 1";
        assert_eq!(error.to_string(), format!("tuned.json: {expected}"));
    }

    #[test]
    fn a_choice_of_no_variant_is_warned_of_and_left_out() {
        let device = Device::Cpu(HostEngine::default());
        let mut file = TunedFile::of(&device);
        let choice = |variant: &str| TunedChoice { variant: variant.into(), median_ms: [].into() };
        file.choices.insert("matmul 1 x 2 x 3 nt".into(), choice("warp"));
        file.choices.insert("matmul 1 x 2 x 4 nt".into(), choice("lanes"));
        file.choices.insert("convolution 3".into(), choice("base"));
        let text = file.to_text().unwrap();
        let (taken, warnings) = TunedFile::choices_for(&text, "tuned.json", &device).unwrap();
        let classes: Vec<_> = taken.choices().into_keys().collect();
        assert_eq!(classes, ["matmul 1 x 2 x 4 nt"]);
        let expected = [
            "tuned.json: convolution 3: there is no variant base",
            "tuned.json: matmul 1 x 2 x 3 nt: there is no variant warp",
        ];
        assert_eq!(warnings, expected);
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
