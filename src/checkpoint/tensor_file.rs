//! One safetensors file: a header that says where each tensor lies, and the tensors.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;

use half::{bf16, f16};
use safetensors::SafeTensors;
use safetensors::tensor::Dtype;

use super::file_bytes::FileBytes;
use crate::error::{Error, Result};

/// Where and what a tensor is.
#[derive(Debug, Clone, PartialEq)]
pub struct TensorEntry {
    /// Type of the stored elements.
    pub dtype: Dtype,
    /// Length of each dimension.
    pub shape: Vec<usize>,
    /// Its bytes in the file.
    range: Range<usize>,
}

impl TensorEntry {
    /// Elements.
    pub fn element_count(&self) -> usize {
        self.shape.iter().product()
    }
}

/// A parsed safetensors file. Every offset in it has been checked against its length.
#[derive(Debug)]
pub struct TensorFile {
    subject: String,
    bytes: FileBytes,
    entries: BTreeMap<String, TensorEntry>,
}

impl TensorFile {
    /// Maps and parses a file.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        Self::parse(path.display().to_string(), FileBytes::open(path)?)
    }

    /// Parses bytes; `subject` names them in errors.
    ///
    /// # Errors
    ///
    /// [`Error::Model`] for a header that is no header, for tensors that overlap, leave a gap or
    /// end elsewhere than the file, and for a size that does not follow from shape and type.
    pub fn parse(subject: impl Into<String>, bytes: impl Into<FileBytes>) -> Result<Self> {
        let (subject, bytes) = (subject.into(), bytes.into());
        let (header_bytes, metadata) = SafeTensors::read_metadata(&bytes).map_err(|problem| {
            Error::model(&subject, format!("not a whole safetensors file: {problem}")).with_hint(
                format!("the file has {} bytes; it may be cut off, or something else", bytes.len()),
            )
        })?;
        let start = 8 + header_bytes;
        let entry = |info: &safetensors::tensor::TensorInfo| TensorEntry {
            dtype: info.dtype,
            shape: info.shape.clone(),
            range: start + info.data_offsets.0..start + info.data_offsets.1,
        };
        let entries: BTreeMap<_, _> =
            metadata.tensors().into_iter().map(|(name, info)| (name, entry(info))).collect();
        let inside = |entry: &TensorEntry| entry.range.end <= bytes.len();
        assert!(entries.values().all(inside), "the parser has checked that offsets lie inside");
        Ok(Self { subject, bytes, entries })
    }

    /// The file's name in errors.
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// See [`FileBytes::read_ahead`].
    pub(super) fn read_ahead(&self) {
        self.bytes.read_ahead();
    }

    /// Names and entries, sorted by name.
    pub fn entries(&self) -> impl Iterator<Item = (&str, &TensorEntry)> {
        self.entries.iter().map(|(name, entry)| (name.as_str(), entry))
    }

    /// The entry of that name.
    ///
    /// # Errors
    ///
    /// [`Error::Model`] if there is none.
    pub fn entry(&self, name: &str) -> Result<&TensorEntry> {
        self.entries
            .get(name)
            .ok_or_else(|| Error::model(&self.subject, format!("there is no tensor {name}")))
    }

    /// The elements of a tensor as f32: borrowed where they are stored so, else converted.
    ///
    /// # Errors
    ///
    /// [`Error::Model`] if there is no such tensor, or none of f32, f16 or bf16.
    pub fn read(&self, name: &str) -> Result<Cow<'_, [f32]>> {
        let entry = self.entry(name)?;
        let bytes = &self.bytes[entry.range.clone()];
        if entry.dtype == Dtype::F32
            && cfg!(target_endian = "little")
            && let Ok(elements) = bytemuck::try_cast_slice(bytes)
        {
            return Ok(Cow::Borrowed(elements));
        }
        let mut elements = vec![0.0; entry.element_count()];
        self.read_into(name, 0, &mut elements)?;
        Ok(Cow::Owned(elements))
    }

    /// Writes the elements from `first_index` on, row-major, into `out`.
    ///
    /// # Errors
    ///
    /// As [`Self::read`], and if the range leaves the tensor.
    pub fn read_into(&self, name: &str, first_index: usize, out: &mut [f32]) -> Result<()> {
        let entry = self.entry(name)?;
        let inside =
            first_index.checked_add(out.len()).is_some_and(|it| it <= entry.element_count());
        if !inside {
            return Err(Error::model(
                format!("{}: {name}", self.subject),
                format!(
                    "{} elements from {first_index} on leave a tensor of {}",
                    out.len(),
                    entry.element_count()
                ),
            ));
        }
        let bytes = &self.bytes[entry.range.clone()];
        match entry.dtype {
            Dtype::F32 => decode(&bytes[4 * first_index..], out, f32::from_le_bytes),
            Dtype::F16 => {
                decode(&bytes[2 * first_index..], out, |it| f16::from_le_bytes(it).to_f32());
            }
            Dtype::BF16 => {
                decode(&bytes[2 * first_index..], out, |it| bf16::from_le_bytes(it).to_f32());
            }
            other => {
                return Err(Error::model(
                    format!("{}: {name}", self.subject),
                    format!("expected elements of type F32, F16 or BF16, got {other}"),
                ));
            }
        }
        Ok(())
    }
}

/// Decodes as many elements as `out` has.
fn decode<const SIZE: usize>(bytes: &[u8], out: &mut [f32], element: impl Fn([u8; SIZE]) -> f32) {
    let (chunks, _) = bytes.as_chunks::<SIZE>();
    for (value, chunk) in out.iter_mut().zip(chunks) {
        *value = element(*chunk);
    }
}
