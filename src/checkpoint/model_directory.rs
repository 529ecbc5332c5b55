//! Reading a model directory.

use std::borrow::Cow;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use rayon::prelude::*;

use super::blocks::{BlockFormat, BlockMatrix};
use super::elements::ElementType;
use super::file_bytes::FileBytes;
use super::model_writer::ModelWriter;
use super::release::{self, Release};
use super::source::{self, Piece, Source};
use super::tensor_file::TensorFile;
use super::tensor_set::{INDEX_FILE, TensorSet, missing_shard};
use crate::blt::config::ModelConfig;
use crate::blt::parameters::{ParameterSpec, model_parameters};
use crate::error::{Error, Result};

/// A model on disk, or the same files in memory. Names and shapes of all tensors have been checked
/// against the configuration; elements are looked at when they are read.
#[derive(Debug, Clone)]
pub struct ModelDirectory {
    config: ModelConfig,
    warnings: Vec<String>,
    parameters: Vec<ParameterSpec>,
    /// Where each parameter lies, in the same order.
    sources: Vec<Source>,
    /// A clone shares what is mapped.
    sets: Arc<[TensorSet]>,
}

impl ModelDirectory {
    /// Opens a directory, be it one of Hugging Face or in the original layout.
    ///
    /// # Errors
    ///
    /// A missing or damaged file, a configuration that cannot be, a tensor that is missing, extra,
    /// wrongly shaped, or of a type other than f32, f16 and bf16 or blocks of this program.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let subject = path.display().to_string();
        if !path.is_dir() {
            let problem = if path.exists() {
                "this is not a directory"
            } else {
                "there is no such directory"
            };
            return Err(Error::model(subject, problem).with_hint(WHAT_A_DIRECTORY_HAS));
        }
        let config_path = path.join("config.json");
        if !config_path.exists() && path.join(release::PARAMS_FILE).exists() {
            return release::open(path, None).map(Self::of_release);
        }
        if !config_path.exists() {
            let error = Error::model(subject, "config.json is missing");
            return Err(error.with_hint(WHAT_A_DIRECTORY_HAS));
        }
        let text = std::fs::read_to_string(&config_path)
            .map_err(|problem| Error::io("read", &config_path, problem))?;
        if release::is_release(&text) {
            return release::open(path, Some(&text)).map(Self::of_release);
        }
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
                    None => Err(missing_shard(subject, wanted)),
                }
            })
        })
    }

    fn checked(config: &str, tensors: impl FnOnce() -> Result<TensorSet>) -> Result<Self> {
        let parsed = ModelConfig::from_json(config)?;
        let parameters = model_parameters(&parsed.config);
        let tensors = tensors()?;
        let blocks = parsed.blocks.and_then(BlockFormat::of);
        let sources: Vec<_> =
            parameters.iter().map(|it| source::own_name(it, blocks, &tensors)).collect();
        let sets = vec![tensors];
        source::check(&sources, &sets, |_| false)?;
        let (config, warnings) = (parsed.config, parsed.warnings);
        Ok(Self { config, warnings, parameters, sources, sets: sets.into() })
    }

    fn of_release(release: Release) -> Self {
        let Release { parsed, parameters, sources, sets } = release;
        let (config, warnings) = (parsed.config, parsed.warnings);
        Self { config, warnings, parameters, sources, sets: sets.into() }
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
        self.sets.iter().for_each(TensorSet::read_ahead);
    }

    /// What should be said about the configuration.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// The parameters, in the order of [`model_parameters`].
    pub fn parameters(&self) -> &[ParameterSpec] {
        &self.parameters
    }

    /// The type in which a parameter is stored, f32 where its tensors differ; `None` for blocks.
    ///
    /// # Errors
    ///
    /// [`Error::Model`] if there is no such parameter.
    pub fn element_type(&self, name: &str) -> Result<Option<ElementType>> {
        let (_, source) = self.find(name)?;
        Ok(match source {
            Source::Rows(pieces) => {
                let types =
                    pieces.iter().map(|piece| Ok(self.set(piece).entry(&piece.name)?.dtype));
                let types: Vec<_> = types.collect::<Result<_>>()?;
                let is_one = types.iter().all(|kind| *kind == types[0]);
                if is_one { ElementType::of(types[0]) } else { Some(ElementType::F32) }
            }
            Source::Blocks { .. } => None,
        })
    }

    /// A parameter that is stored in blocks, as it lies there; `None` for every other.
    ///
    /// # Errors
    ///
    /// [`Error::Model`] if there is no such parameter.
    pub fn blocks(&self, name: &str) -> Result<Option<BlockMatrix<'_>>> {
        let (parameter, source) = self.find(name)?;
        self.blocks_of(parameter, source)
    }

    fn blocks_of(
        &self,
        parameter: &ParameterSpec,
        source: &Source,
    ) -> Result<Option<BlockMatrix<'_>>> {
        let Source::Blocks { format, codes, scales } = source else { return Ok(None) };
        Ok(Some(BlockMatrix {
            format: *format,
            rows: parameter.rows,
            cols: parameter.cols,
            codes: self.set(codes).bytes(&codes.name)?,
            scales: self.set(scales).bytes(&scales.name)?,
        }))
    }

    /// The elements of a parameter as f32, row-major; borrowed from the file where it can be.
    ///
    /// # Errors
    ///
    /// [`Error::Model`] if there is no such parameter, or for the first element that is not finite.
    pub fn read(&self, name: &str) -> Result<Cow<'_, [f32]>> {
        let (parameter, source) = self.find(name)?;
        if let Source::Rows(pieces) = source
            && let [piece] = &pieces[..]
        {
            let tensors = self.set(piece);
            let elements = tensors.read(&piece.name)?;
            check_finite(tensors.subject(), name, 0, &elements)?;
            return Ok(elements);
        }
        let mut elements = vec![0.0; parameter.rows * parameter.cols];
        self.read_rows(name, 0..parameter.rows, &mut elements)?;
        Ok(Cow::Owned(elements))
    }

    /// The elements of some rows of a matrix into `out`, which has room for exactly those.
    ///
    /// # Errors
    ///
    /// As [`Self::read`], and for rows that the matrix does not have.
    pub fn read_rows(&self, name: &str, rows: Range<usize>, out: &mut [f32]) -> Result<()> {
        self.read_rows_at(self.index_of(name)?, rows, out)
    }

    /// The same of the parameter with this index.
    pub(super) fn read_rows_at(
        &self,
        index: usize,
        rows: Range<usize>,
        out: &mut [f32],
    ) -> Result<()> {
        let (parameter, source) = (&self.parameters[index], &self.sources[index]);
        let name = &parameter.name;
        let subject = self.sets[0].subject();
        if rows.start > rows.end || rows.end > parameter.rows {
            return Err(Error::model(
                format!("{subject}: {name}"),
                format!("rows {rows:?} of {} do not exist", parameter.rows),
            ));
        }
        assert_eq!(out.len(), rows.len() * parameter.cols, "one number an element of the rows");
        let first_index = rows.start * parameter.cols;
        match source {
            Source::Rows(pieces) => self.read_pieces(pieces, first_index, out)?,
            Source::Blocks { .. } => {
                let blocks = self.blocks_of(parameter, source)?;
                let blocks = blocks.expect("the source is made of blocks");
                let width =
                    parameter.cols * rows.len().div_ceil(rayon::current_num_threads()).max(1);
                let pieces = out.par_chunks_mut(width.max(1)).enumerate();
                pieces.for_each(|(index, piece)| blocks.decode(first_index + index * width, piece));
            }
        }
        check_finite(subject, name, first_index, out)
    }

    /// Elements of tensors that follow each other.
    fn read_pieces(&self, pieces: &[Piece], first_index: usize, out: &mut [f32]) -> Result<()> {
        let mut rest = out;
        for (piece, range) in parts(pieces, first_index, rest.len()) {
            let (here, behind) = rest.split_at_mut(range.len());
            self.set(piece).read_into(&piece.name, range.start, here)?;
            rest = behind;
        }
        Ok(())
    }

    /// The same as they are stored, in elements of two bytes.
    pub(super) fn copy_pieces(
        &self,
        pieces: &[Piece],
        first_index: usize,
        out: &mut [[u8; 2]],
    ) -> Result<()> {
        let mut rest = out;
        for (piece, range) in parts(pieces, first_index, rest.len()) {
            let (here, behind) = rest.split_at_mut(range.len());
            let (elements, _) = self.set(piece).bytes(&piece.name)?.as_chunks::<2>();
            here.copy_from_slice(&elements[range]);
            rest = behind;
        }
        Ok(())
    }

    /// What the directory is called in errors.
    pub(super) fn subject(&self) -> &str {
        self.sets[0].subject()
    }

    fn set(&self, piece: &Piece) -> &TensorSet {
        &self.sets[piece.set]
    }

    pub(super) fn find(&self, name: &str) -> Result<(&ParameterSpec, &Source)> {
        let index = self.index_of(name)?;
        Ok((&self.parameters[index], &self.sources[index]))
    }

    /// Which of the parameters has this name.
    pub(super) fn index_of(&self, name: &str) -> Result<usize> {
        self.parameters.iter().position(|it| it.name == name).ok_or_else(|| {
            let subject = format!("{}: {name}", self.sets[0].subject());
            Error::model(subject, "there is no such tensor")
        })
    }
}

/// The parts of tensors that follow each other in which `length` elements lie from `first_index`
/// on: which elements of which tensor.
fn parts(
    pieces: &[Piece],
    first_index: usize,
    length: usize,
) -> impl Iterator<Item = (&Piece, Range<usize>)> {
    let mut begin = 0;
    pieces.iter().filter_map(move |piece| {
        let end = begin + piece.element_count();
        let (first, last) = (first_index.max(begin), (first_index + length).min(end));
        let range = (first < last).then(|| (piece, first - begin..last - begin));
        begin = end;
        range
    })
}

const WHAT_A_DIRECTORY_HAS: &str = "a model directory has config.json and model.safetensors";

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
