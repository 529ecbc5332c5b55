//! Writing a safetensors file of f32 tensors, one after the other.
//!
//! The header comes first and names every tensor, so names and shapes are given at the start; the
//! elements follow in that order, in pieces of any size, and nothing is held in memory.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use super::atomic::AtomicFile;
use crate::error::{Error, Result};

/// A safetensors file in the making.
#[derive(Debug)]
pub struct TensorWriter<W> {
    writer: W,
    path: PathBuf,
    /// `(name, elements)`, in the order of the file.
    tensors: Vec<(String, u64)>,
    /// The tensor that is being written.
    current: usize,
    /// Elements of it that have been.
    written_count: u64,
}

impl TensorWriter<AtomicFile> {
    /// Begins a file at `path`, which appears there when [`Self::commit`] succeeds.
    pub fn create(path: impl AsRef<Path>, tensors: &[(String, Vec<usize>)]) -> Result<Self> {
        let path = path.as_ref();
        Self::new(AtomicFile::create(path)?, path, tensors)
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
    /// Writes the header for `(name, shape)` tensors; `path` names the file in errors.
    ///
    /// # Panics
    ///
    /// If a name comes twice.
    pub fn new(
        mut writer: W,
        path: impl AsRef<Path>,
        tensors: &[(String, Vec<usize>)],
    ) -> Result<Self> {
        let path = path.as_ref().to_path_buf();
        let names: BTreeSet<_> = tensors.iter().map(|(name, _)| name).collect();
        assert_eq!(names.len(), tensors.len(), "no two tensors of a file have one name");
        let header = header(tensors);
        let length = (header.len() as u64).to_le_bytes();
        writer
            .write_all(&length)
            .and_then(|()| writer.write_all(&header))
            .map_err(|problem| Error::io("write", &path, problem))?;
        let counts = tensors.iter().map(|(name, shape)| (name.clone(), element_count(shape)));
        let mut this =
            Self { writer, path, tensors: counts.collect(), current: 0, written_count: 0 };
        this.advance();
        Ok(this)
    }

    /// Appends elements to `name`, which must be the tensor whose turn it is.
    ///
    /// # Panics
    ///
    /// If it is another tensor's turn, or if the tensor ends before the elements do.
    pub fn push(&mut self, name: &str, elements: &[f32]) -> Result<()> {
        if elements.is_empty() {
            return Ok(());
        }
        let turn = self.tensors.get(self.current);
        let Some((expected, count)) = turn else { panic!("{name} comes after the last tensor") };
        assert_eq!(name, expected, "tensors are written in the order of the header");
        self.written_count += elements.len() as u64;
        assert!(self.written_count <= *count, "{name} has {count} elements and no more");
        let written = if cfg!(target_endian = "little") {
            self.writer.write_all(bytemuck::cast_slice(elements))
        } else {
            elements.iter().try_for_each(|element| self.writer.write_all(&element.to_le_bytes()))
        };
        written.map_err(|problem| Error::io("write", &self.path, problem))?;
        self.advance();
        Ok(())
    }

    /// The file, complete and flushed.
    ///
    /// # Panics
    ///
    /// If a tensor has not been written whole.
    pub fn finish(mut self) -> Result<W> {
        if let Some((name, count)) = self.tensors.get(self.current) {
            panic!("{name} has {} of its {count} elements", self.written_count);
        }
        self.writer.flush().map_err(|problem| Error::io("write", &self.path, problem))?;
        Ok(self.writer)
    }

    /// Moves on past tensors that are complete.
    fn advance(&mut self) {
        while self.tensors.get(self.current).is_some_and(|(_, count)| self.written_count == *count)
        {
            self.current += 1;
            self.written_count = 0;
        }
    }
}

fn element_count(shape: &[usize]) -> u64 {
    shape.iter().map(|length| *length as u64).product()
}

/// The JSON header, padded so that elements begin at a multiple of eight bytes.
fn header(tensors: &[(String, Vec<usize>)]) -> Vec<u8> {
    let mut map = Map::new();
    // `from_pretrained` refuses files that do not say who laid the tensors out.
    map.insert("__metadata__".into(), json!({ "format": "pt" }));
    let mut offset = 0;
    for (name, shape) in tensors {
        let end = offset + 4 * element_count(shape);
        let entry = json!({ "dtype": "F32", "shape": shape, "data_offsets": [offset, end] });
        map.insert(name.clone(), entry);
        offset = end;
    }
    let mut header = Value::Object(map).to_string().into_bytes();
    header.resize(header.len().next_multiple_of(8), b' ');
    header
}
