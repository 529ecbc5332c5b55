//! Writing a safetensors file, one tensor after the other.
//!
//! The header comes first and names every tensor, so names, shapes and types are given at the
//! start; the elements follow in that order, in pieces of any size, and nothing is held in memory.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::{Path, PathBuf};

use safetensors::tensor::Dtype;
use serde_json::{Map, Value, json};

use super::atomic::AtomicFile;
use super::elements::{ElementType, encode};
use crate::error::{Error, Result};

/// A tensor that a file will hold.
#[derive(Debug, Clone, PartialEq)]
pub struct NewEntry {
    pub name: String,
    pub shape: Vec<usize>,
    pub dtype: Dtype,
}

impl NewEntry {
    /// Elements.
    pub fn element_count(&self) -> u64 {
        self.shape.iter().map(|length| *length as u64).product()
    }

    /// Bytes in the file.
    pub fn byte_count(&self) -> u64 {
        self.element_count() * self.dtype.bitsize() as u64 / 8
    }
}

/// A safetensors file in the making.
#[derive(Debug)]
pub struct TensorWriter<W> {
    writer: W,
    path: PathBuf,
    /// In the order of the file.
    tensors: Vec<NewEntry>,
    /// The tensor that is being written.
    current: usize,
    /// Elements of it that have been.
    written_count: u64,
    bytes: Vec<u8>,
}

impl TensorWriter<AtomicFile> {
    /// Begins a file of f32 tensors at `path`, which appears there when [`Self::commit`] succeeds.
    pub fn create(path: impl AsRef<Path>, tensors: &[(String, Vec<usize>)]) -> Result<Self> {
        let path = path.as_ref();
        Self::new(AtomicFile::create(path)?, path, in_f32(tensors))
    }

    /// Puts the finished file in its place.
    ///
    /// # Panics
    ///
    /// If a tensor has not been written whole.
    pub fn commit(self) -> Result<()> {
        self.finish()?.commit()
    }
}

impl<W: Write> TensorWriter<W> {
    /// Writes the header; `path` names the file in errors.
    ///
    /// # Panics
    ///
    /// If a name comes twice.
    pub fn new(mut writer: W, path: impl AsRef<Path>, tensors: Vec<NewEntry>) -> Result<Self> {
        let path = path.as_ref().to_path_buf();
        let names: BTreeSet<_> = tensors.iter().map(|tensor| &tensor.name).collect();
        assert_eq!(names.len(), tensors.len(), "no two tensors of a file have one name");
        let header = header(&tensors);
        let length = (header.len() as u64).to_le_bytes();
        writer
            .write_all(&length)
            .and_then(|()| writer.write_all(&header))
            .map_err(|problem| Error::io("write", &path, problem))?;
        let bytes = Vec::new();
        let mut this = Self { writer, path, tensors, current: 0, written_count: 0, bytes };
        this.advance();
        Ok(this)
    }

    /// Appends elements to `name`, which must be the tensor whose turn it is and one of numbers.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] for the disk, [`Error::Model`] for an element that the type cannot hold.
    ///
    /// # Panics
    ///
    /// If it is another tensor's turn, or if the tensor ends before the elements do.
    pub fn push(&mut self, name: &str, elements: &[f32]) -> Result<()> {
        if elements.is_empty() {
            return Ok(());
        }
        let dtype = self.take_turn(name, elements.len() as u64);
        let kind = ElementType::of(dtype).expect("elements are pushed to tensors of numbers");
        if kind == ElementType::F32 && cfg!(target_endian = "little") {
            self.write(bytemuck::cast_slice(elements))?;
        } else {
            let mut bytes = std::mem::take(&mut self.bytes);
            encode(kind, elements, &mut bytes).map_err(|problem| {
                Error::model(format!("{}: {name}", self.path.display()), problem)
            })?;
            self.write(&bytes)?;
            self.bytes = bytes;
        }
        self.advance();
        Ok(())
    }

    /// Appends bytes to `name`, which must be the tensor whose turn it is and of type U8.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] for the disk.
    ///
    /// # Panics
    ///
    /// As [`Self::push`].
    pub fn push_bytes(&mut self, name: &str, bytes: &[u8]) -> Result<()> {
        if bytes.is_empty() {
            return Ok(());
        }
        let dtype = self.take_turn(name, bytes.len() as u64);
        assert_eq!(dtype, Dtype::U8, "bytes are pushed to tensors of bytes");
        self.write(bytes)?;
        self.advance();
        Ok(())
    }

    /// The file, complete and flushed.
    ///
    /// # Panics
    ///
    /// If a tensor has not been written whole.
    pub fn finish(mut self) -> Result<W> {
        if let Some(tensor) = self.tensors.get(self.current) {
            let count = tensor.element_count();
            panic!("{} has {} of its {count} elements", tensor.name, self.written_count);
        }
        self.writer.flush().map_err(|problem| Error::io("write", &self.path, problem))?;
        Ok(self.writer)
    }

    /// The type of the tensor whose turn it is, and so many more of its elements.
    fn take_turn(&mut self, name: &str, more: u64) -> Dtype {
        let turn = self.tensors.get(self.current);
        let Some(tensor) = turn else { panic!("{name} comes after the last tensor") };
        assert_eq!(name, tensor.name, "tensors are written in the order of the header");
        let count = tensor.element_count();
        self.written_count += more;
        assert!(self.written_count <= count, "{name} has {count} elements and no more");
        tensor.dtype
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.writer.write_all(bytes).map_err(|problem| Error::io("write", &self.path, problem))
    }

    /// Moves on past tensors that are complete.
    fn advance(&mut self) {
        let is_whole = |it: &NewEntry, count: u64| it.element_count() == count;
        while self.tensors.get(self.current).is_some_and(|it| is_whole(it, self.written_count)) {
            self.current += 1;
            self.written_count = 0;
        }
    }
}

/// `(name, shape)` tensors of f32.
pub(super) fn in_f32(tensors: &[(String, Vec<usize>)]) -> Vec<NewEntry> {
    let entry = |(name, shape): &(String, Vec<usize>)| NewEntry {
        name: name.clone(),
        shape: shape.clone(),
        dtype: Dtype::F32,
    };
    tensors.iter().map(entry).collect()
}

/// The JSON header, padded so that elements begin at a multiple of eight bytes.
fn header(tensors: &[NewEntry]) -> Vec<u8> {
    let mut map = Map::new();
    // `from_pretrained` refuses files that do not say who laid the tensors out.
    map.insert("__metadata__".into(), json!({ "format": "pt" }));
    let mut offset = 0;
    for tensor in tensors {
        let end = offset + tensor.byte_count();
        let (dtype, shape) = (tensor.dtype.to_string(), &tensor.shape);
        let entry = json!({ "dtype": dtype, "shape": shape, "data_offsets": [offset, end] });
        map.insert(tensor.name.clone(), entry);
        offset = end;
    }
    let mut header = Value::Object(map).to_string().into_bytes();
    header.resize(header.len().next_multiple_of(8), b' ');
    header
}
