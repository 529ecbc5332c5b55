//! Writing a model directory, parameter by parameter.

use std::io::Write;
use std::path::{Path, PathBuf};

use half::f16;

use super::atomic::AtomicFile;
use super::elements::ElementType;
use super::model_directory::check_finite;
use super::tensor_writer::TensorWriter;
use super::torch::TorchWriter;
use super::write_plan::{Output, WriteOptions, WritePlan};
use crate::blt::config::ModelConfig;
use crate::error::{Error, Result};

/// Scales that are written together.
const SCALE_PIECE: usize = 1 << 16;

/// A model directory in the making.
///
/// All files are complete and synced before the first is renamed into its place, so a disk that
/// fills up, or a process that ends, leaves the old model. (Between the renames there are
/// instants in which old and new files stand side by side; a checkpoint is renamed as a whole.)
#[derive(Debug)]
pub struct ModelWriter {
    path: PathBuf,
    texts: Vec<AtomicFile>,
    files: Vec<WeightFile>,
    /// Parameters, their elements and where they go.
    outputs: Vec<(String, u64, Output)>,
    current: usize,
    /// Elements of the current parameter that have been written.
    written: u64,
    /// Scales of the current parameter, which stand behind its codes.
    scales: Vec<f16>,
}

#[derive(Debug)]
enum WeightFile {
    Safetensors(TensorWriter<AtomicFile>),
    Torch(Box<TorchWriter<AtomicFile>>),
}

impl ModelWriter {
    /// Begins a model at `path`, a directory that is made if it is missing: one file, in f32.
    pub fn create(path: impl AsRef<Path>, config: &ModelConfig) -> Result<Self> {
        Self::create_with(path, config, &WriteOptions::default())
    }

    /// Begins a model in this layout and type.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] if the layout has no words for the model, [`Error::Io`] for the disk.
    pub fn create_with(
        path: impl AsRef<Path>,
        config: &ModelConfig,
        options: &WriteOptions,
    ) -> Result<Self> {
        let path = path.as_ref().to_path_buf();
        config.validate()?;
        let plan = WritePlan::new(config, options)?;
        let create = |path: &Path| {
            std::fs::create_dir_all(path).map_err(|problem| Error::io("create", path, problem))
        };
        create(&path)?;
        let begin = |name: &str| {
            let path = path.join(name);
            create(super::atomic::directory_of(&path))?;
            AtomicFile::create(path)
        };
        let mut texts = Vec::new();
        for (name, text) in plan.texts {
            let mut file = begin(&name)?;
            file.write_all(text.as_bytes())
                .map_err(|problem| Error::io("write", file.path(), problem))?;
            texts.push(file);
        }
        let mut files = Vec::new();
        for (name, entries) in plan.files {
            let file = begin(&name)?;
            let path = path.join(&name);
            if !name.ends_with(".pth") {
                files.push(WeightFile::Safetensors(TensorWriter::new(file, path, entries)?));
                continue;
            }
            let kind = entries.first().and_then(|entry| ElementType::of(entry.dtype));
            let kind = kind.expect("a model has tensors, and none in blocks in such a file");
            let shapes: Vec<_> = entries.into_iter().map(|it| (it.name, it.shape)).collect();
            let writer = TorchWriter::new(file, path, kind, &shapes)?;
            files.push(WeightFile::Torch(Box::new(writer)));
        }
        let outputs = plan.outputs;
        let (current, written, scales) = (0, 0, Vec::new());
        Ok(Self { path, texts, files, outputs, current, written, scales })
    }

    /// Appends elements to a parameter; parameters come in the order of
    /// [`model_parameters`](crate::blt::parameters::model_parameters), each in as many pieces of
    /// whole rows as one likes.
    ///
    /// # Errors
    ///
    /// [`Error::Model`] for an element that is not finite or too large for its type, [`Error::Io`]
    /// for the disk.
    ///
    /// # Panics
    ///
    /// If it is another parameter's turn.
    pub fn push(&mut self, name: &str, elements: &[f32]) -> Result<()> {
        let directory = self.path.display().to_string();
        check_finite(&directory, name, self.written as usize, elements)?;
        let turn = self.outputs.get(self.current);
        let Some((expected, count, output)) = turn else {
            panic!("{name} comes after the last parameter")
        };
        assert_eq!(name, expected, "parameters are written in their order");
        let end = self.written + elements.len() as u64;
        assert!(end <= *count, "{name} has {count} elements and no more");
        match output {
            Output::Rows(pieces) => {
                let (mut begin, mut rest, mut at) = (0, elements, self.written);
                for (file, tensor, count) in pieces {
                    let length = (begin + count).saturating_sub(at).min(rest.len() as u64);
                    let (here, behind) = rest.split_at(length as usize);
                    if !here.is_empty() {
                        self.files[*file].push(tensor, here)?;
                    }
                    (begin, rest, at) = (begin + count, behind, at + length);
                }
            }
            Output::Blocks { file, codes, scales, format, cols } => {
                let subject = || format!("{directory}: {name}");
                let encoded = format.encode(elements, *cols);
                let (bytes, factors) =
                    encoded.map_err(|problem| Error::model(subject(), problem))?;
                self.files[*file].push_bytes(codes, &bytes)?;
                self.scales.extend(factors.into_iter().map(f16::from_f32));
                if end == *count {
                    for piece in std::mem::take(&mut self.scales).chunks(SCALE_PIECE) {
                        let piece: Vec<_> = piece.iter().map(|scale| scale.to_f32()).collect();
                        self.files[*file].push(scales, &piece)?;
                    }
                }
            }
        }
        (self.current, self.written) =
            if end == *count { (self.current + 1, 0) } else { (self.current, end) };
        Ok(())
    }

    /// Puts the finished model in its place.
    ///
    /// # Panics
    ///
    /// If a parameter has not been written whole.
    pub fn commit(mut self) -> Result<()> {
        assert_eq!(self.current, self.outputs.len(), "every parameter is written whole");
        let mut files =
            self.files.into_iter().map(WeightFile::finish).collect::<Result<Vec<_>>>()?;
        for file in files.iter_mut().chain(&mut self.texts) {
            file.sync()?;
        }
        self.texts.into_iter().chain(files).try_for_each(AtomicFile::commit)
    }
}

impl WeightFile {
    fn push(&mut self, name: &str, elements: &[f32]) -> Result<()> {
        match self {
            Self::Safetensors(writer) => writer.push(name, elements),
            Self::Torch(writer) => writer.push(name, elements),
        }
    }

    fn push_bytes(&mut self, name: &str, bytes: &[u8]) -> Result<()> {
        match self {
            Self::Safetensors(writer) => writer.push_bytes(name, bytes),
            Self::Torch(_) => unreachable!("there are no blocks in files of torch"),
        }
    }

    fn finish(self) -> Result<AtomicFile> {
        match self {
            Self::Safetensors(writer) => writer.finish(),
            Self::Torch(writer) => writer.finish(),
        }
    }
}
