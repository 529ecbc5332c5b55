//! Writing a model directory, tensor by tensor.

use std::io::Write;
use std::path::{Path, PathBuf};

use super::atomic::AtomicFile;
use super::model_directory::check_finite;
use super::tensor_set::SINGLE_FILE;
use super::tensor_writer::TensorWriter;
use crate::blt::config::{ModelConfig, generation_json};
use crate::blt::parameters::model_parameters;
use crate::error::{Error, Result};

/// A model directory in the making.
///
/// All files are complete and synced before the first is renamed into its place, so a disk that
/// fills up, or a process that ends, leaves the old model. (Between the renames there are
/// instants in which old and new files stand side by side; a checkpoint is renamed as a whole.)
#[derive(Debug)]
pub struct ModelWriter {
    path: PathBuf,
    texts: Vec<AtomicFile>,
    weights: TensorWriter<AtomicFile>,
}

impl ModelWriter {
    /// Begins a model at `path`, a directory that is made if it is missing.
    pub fn create(path: impl AsRef<Path>, config: &ModelConfig) -> Result<Self> {
        let path = path.as_ref().to_path_buf();
        config.validate()?;
        std::fs::create_dir_all(&path).map_err(|problem| Error::io("create", &path, problem))?;
        let mut texts = Vec::new();
        let contents =
            [("config.json", config.to_json()), ("generation_config.json", generation_json())];
        for (name, text) in contents {
            let mut file = AtomicFile::create(path.join(name))?;
            file.write_all(text.as_bytes())
                .map_err(|problem| Error::io("write", file.path(), problem))?;
            texts.push(file);
        }
        let shapes: Vec<_> =
            model_parameters(config).into_iter().map(|it| (it.name.clone(), it.shape())).collect();
        let weights = TensorWriter::create(path.join(SINGLE_FILE), &shapes)?;
        Ok(Self { path, texts, weights })
    }

    /// Appends elements to a parameter; parameters come in the order of [`model_parameters`], each
    /// in as many pieces as one likes.
    ///
    /// # Errors
    ///
    /// [`Error::Model`] for an element that is not finite, [`Error::Io`] for the disk.
    ///
    /// # Panics
    ///
    /// If it is another parameter's turn.
    pub fn push(&mut self, name: &str, elements: &[f32]) -> Result<()> {
        check_finite(&self.path.display().to_string(), name, 0, elements)?;
        self.weights.push(name, elements)
    }

    /// Puts the finished model in its place.
    ///
    /// # Panics
    ///
    /// If a parameter has not been written whole.
    pub fn commit(mut self) -> Result<()> {
        let mut weights = self.weights.finish()?;
        weights.sync()?;
        for text in &mut self.texts {
            text.sync()?;
        }
        for text in self.texts {
            text.commit()?;
        }
        weights.commit()
    }
}
