//! Reading a model directory.

use std::borrow::Cow;
use std::ops::Range;
use std::path::Path;

use rayon::prelude::*;

use super::file_bytes::FileBytes;
use super::model_writer::ModelWriter;
use super::tensor_file::TensorFile;
use super::tensor_set::{INDEX_FILE, TensorSet};
use crate::blt::config::ModelConfig;
use crate::blt::parameters::{ParameterSpec, model_parameters};
use crate::error::{Error, Result};

/// Names listed in an error before it says how many more there are.
const LISTED_NAME_COUNT: usize = 3;

/// A model on disk, or the same files in memory. Names and shapes of all tensors have been checked
/// against the configuration; elements are looked at when they are read.
#[derive(Debug)]
pub struct ModelDirectory {
    config: ModelConfig,
    warnings: Vec<String>,
    parameters: Vec<ParameterSpec>,
    tensors: TensorSet,
}

impl ModelDirectory {
    /// Opens a directory.
    ///
    /// # Errors
    ///
    /// A missing or damaged file, a configuration that cannot be, a tensor that is missing, extra,
    /// wrongly shaped, or of a type other than f32, f16 and bf16.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let subject = path.display().to_string();
        if !path.is_dir() {
            let problem = if path.exists() {
                "this is not a directory"
            } else {
                "there is no such directory"
            };
            return Err(Error::model(subject, problem)
                .with_hint("a model directory has config.json and model.safetensors"));
        }
        let config_path = path.join("config.json");
        if !config_path.exists() {
            return Err(Error::model(subject, "config.json is missing")
                .with_hint("a model directory has config.json and model.safetensors"));
        }
        let text = std::fs::read_to_string(&config_path)
            .map_err(|problem| Error::io("read", &config_path, problem))?;
        Self::checked(&text, || TensorSet::open(path))
    }

    /// The same from files in memory: the text of `config.json`, and either one safetensors file
    /// or shards and their index, each with its name.
    pub fn from_files(config: &str, files: Vec<(String, Vec<u8>)>) -> Result<Self> {
        Self::checked(config, || {
            let (indices, mut files): (Vec<_>, Vec<_>) =
                files.into_iter().partition(|(name, _)| name == INDEX_FILE);
            let subject = "model";
            let Some((_, index)) = indices.first() else {
                let parse = |(name, bytes): (String, Vec<u8>)| {
                    TensorFile::parse(format!("{subject}: {name}"), bytes)
                };
                let files = files.into_iter().map(parse).collect::<Result<_>>()?;
                return TensorSet::from_files(subject, files);
            };
            TensorSet::from_index(subject, index, |wanted| {
                match files.iter().position(|(name, _)| name == wanted) {
                    Some(at) => Ok(FileBytes::from(files.swap_remove(at).1)),
                    None => Err(Error::model(subject, format!("the shard {wanted} is missing"))),
                }
            })
        })
    }

    fn checked(config: &str, tensors: impl FnOnce() -> Result<TensorSet>) -> Result<Self> {
        let parsed = ModelConfig::from_json(config)?;
        let parameters = model_parameters(&parsed.config);
        let tensors = tensors()?;
        check_names(&parameters, &tensors)?;
        check_shapes(&parameters, &tensors)?;
        Ok(Self { config: parsed.config, warnings: parsed.warnings, parameters, tensors })
    }

    /// Writes a directory; `data` gives each parameter's elements when its turn comes.
    ///
    /// # Errors
    ///
    /// What `data` fails with, an element that is not finite, or a disk that refuses; the files
    /// that were there are then still there.
    pub fn write<'a>(
        path: impl AsRef<Path>,
        config: &ModelConfig,
        mut data: impl FnMut(&ParameterSpec) -> Result<Cow<'a, [f32]>>,
    ) -> Result<()> {
        let mut writer = ModelWriter::create(path, config)?;
        for parameter in model_parameters(config) {
            writer.push(&parameter.name, &data(&parameter)?)?;
        }
        writer.commit()
    }

    /// The configuration.
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// Tells the system that all tensors will be read soon, so that a disk begins before they are.
    pub fn read_ahead(&self) {
        self.tensors.read_ahead();
    }

    /// What should be said about the configuration.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// The parameters, in the order of [`model_parameters`].
    pub fn parameters(&self) -> &[ParameterSpec] {
        &self.parameters
    }

    /// The tensors, for their types.
    pub fn tensors(&self) -> &TensorSet {
        &self.tensors
    }

    /// The elements of a parameter as f32, row-major; borrowed from the file where it can be.
    ///
    /// # Errors
    ///
    /// [`Error::Model`] if there is no such parameter, or for the first element that is not finite.
    pub fn read(&self, name: &str) -> Result<Cow<'_, [f32]>> {
        let elements = self.tensors.read(name)?;
        check_finite(self.tensors.subject(), name, 0, &elements)?;
        Ok(elements)
    }

    /// The elements of some rows of a matrix into `out`, which has room for exactly those.
    ///
    /// # Errors
    ///
    /// As [`Self::read`], and for rows that the matrix does not have.
    pub fn read_rows(&self, name: &str, rows: Range<usize>, out: &mut [f32]) -> Result<()> {
        let subject = || format!("{}: {name}", self.tensors.subject());
        let Some(parameter) = self.parameters.iter().find(|it| it.name == name) else {
            return Err(Error::model(subject(), "there is no such tensor"));
        };
        if rows.start > rows.end || rows.end > parameter.rows {
            return Err(Error::model(
                subject(),
                format!("rows {rows:?} of {} do not exist", parameter.rows),
            ));
        }
        assert_eq!(out.len(), rows.len() * parameter.cols, "one number an element of the rows");
        let first_index = rows.start * parameter.cols;
        self.tensors.read_into(name, first_index, out)?;
        check_finite(self.tensors.subject(), name, first_index, out)
    }
}

/// Every parameter is there, and nothing else is.
fn check_names(parameters: &[ParameterSpec], tensors: &TensorSet) -> Result<()> {
    let expected: std::collections::BTreeSet<_> =
        parameters.iter().map(|parameter| parameter.name.as_str()).collect();
    let missing: Vec<_> = parameters
        .iter()
        .filter(|parameter| tensors.entry(&parameter.name).is_err())
        .map(|parameter| format!("{} {:?}", parameter.name, parameter.shape()))
        .collect();
    if !missing.is_empty() {
        return Err(Error::model(tensors.subject(), format!("missing: {}", listed(&missing)))
            .with_hint("config.json describes a larger model than the weights make up"));
    }
    let extra: Vec<_> =
        tensors.names().filter(|name| !expected.contains(name)).map(str::to_owned).collect();
    if !extra.is_empty() {
        return Err(Error::model(
            tensors.subject(),
            format!("tensors that config.json has no place for: {}", listed(&extra)),
        )
        .with_hint("config.json describes a smaller model than the weights make up"));
    }
    Ok(())
}

fn check_shapes(parameters: &[ParameterSpec], tensors: &TensorSet) -> Result<()> {
    use safetensors::tensor::Dtype;
    for parameter in parameters {
        let entry = tensors.entry(&parameter.name)?;
        let subject = || format!("{}: {}", tensors.subject(), parameter.name);
        if entry.shape != parameter.shape() {
            return Err(Error::model(
                subject(),
                format!("expected shape {:?}, got {:?}", parameter.shape(), entry.shape),
            ));
        }
        if !matches!(entry.dtype, Dtype::F32 | Dtype::F16 | Dtype::BF16) {
            return Err(Error::model(
                subject(),
                format!("expected elements of type F32, F16 or BF16, got {}", entry.dtype),
            ));
        }
    }
    Ok(())
}

/// Elements that are looked at together.
const FINITE_BLOCK: usize = 1 << 14;

/// Every element is a number; `first_index` is where `elements` begin in their tensor.
pub(super) fn check_finite(
    subject: &str,
    name: &str,
    first_index: usize,
    elements: &[f32],
) -> Result<()> {
    // Blocks without a branch inside, on all cores: weights are gigabytes, and nearly always right.
    let block_is_finite = |block: &[f32]| block.iter().fold(true, |all, it| all & it.is_finite());
    if elements.par_chunks(FINITE_BLOCK).all(block_is_finite) {
        return Ok(());
    }
    match elements.iter().position(|element| !element.is_finite()) {
        None => Ok(()),
        Some(index) => Err(Error::model(
            format!("{subject}: {name}"),
            format!(
                "expected finite numbers, got {} at element {}",
                elements[index],
                first_index + index
            ),
        )),
    }
}

/// The first few names, and how many more there are.
fn listed(names: &[String]) -> String {
    let shown = names[..names.len().min(LISTED_NAME_COUNT)].join(", ");
    match names.len().saturating_sub(LISTED_NAME_COUNT) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}
