//! One file of tensors: a safetensors file, whose header says where each tensor lies, or a file of
//! `torch.save`.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;

use safetensors::SafeTensors;
use safetensors::tensor::Dtype;

use super::elements::{ElementType, decode};
use super::file_bytes::FileBytes;
use super::torch::state_dict;
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

/// A parsed file. Every offset in it has been checked against its length.
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
                format!(
                    "the file has {} bytes; it may be cut off, or something else: fetch it again",
                    bytes.len()
                ),
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

    /// Maps and parses a file of `torch.save`.
    pub fn open_torch(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        Self::parse_torch(path.display().to_string(), FileBytes::open(path)?)
    }

    /// Parses the bytes of a file of `torch.save`: a state dict, or one under the key `model`.
    ///
    /// # Errors
    ///
    /// [`Error::Model`] for a file that is no such zip, for a pickle that asks for anything but
    /// tensors, which it names, and for tensors that leave their storage.
    pub fn parse_torch(subject: impl Into<String>, bytes: impl Into<FileBytes>) -> Result<Self> {
        let (subject, bytes) = (subject.into(), bytes.into());
        let tensors = state_dict(&bytes).map_err(|problem| {
            let hint = "it must be a file of torch.save, as it is since torch 1.6, with the \
                        tensors of a model in it";
            Error::model(&subject, problem).with_hint(hint)
        })?;
        let entry = |tensor: super::torch::StoredTensor| TensorEntry {
            dtype: tensor.dtype,
            shape: tensor.shape,
            range: tensor.range,
        };
        let entries = tensors.into_iter().map(|(name, tensor)| (name, entry(tensor))).collect();
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
        let Some(kind) = ElementType::of(entry.dtype) else {
            return Err(Error::model(
                format!("{}: {name}", self.subject),
                format!("expected elements of type F32, F16 or BF16, got {}", entry.dtype),
            ));
        };
        let bytes = &self.bytes[entry.range.clone()];
        decode(kind, &bytes[kind.size() * first_index..], out);
        Ok(())
    }

    /// The bytes of a tensor as they are stored.
    ///
    /// # Errors
    ///
    /// [`Error::Model`] if there is no such tensor.
    pub fn bytes(&self, name: &str) -> Result<&[u8]> {
        Ok(&self.bytes[self.entry(name)?.range.clone()])
    }
}
