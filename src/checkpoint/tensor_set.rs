//! The tensors of a model, from one safetensors file or from shards.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;

use super::file_bytes::FileBytes;
use super::tensor_file::{TensorEntry, TensorFile};
use crate::error::{Error, Result};

/// The file of a model that is not sharded.
pub(super) const SINGLE_FILE: &str = "model.safetensors";

/// The list of a sharded model's tensors and the files they are in.
pub(super) const INDEX_FILE: &str = "model.safetensors.index.json";

/// Weights of the original release; the second also has the table of rotary angles.
pub(super) const TORCH_FILES: [&str; 2] = ["consolidated.pth", "consolidated_with_rope.pth"];

/// Tensors by name, in however many files.
#[derive(Debug)]
pub struct TensorSet {
    subject: String,
    files: Vec<TensorFile>,
    file_of: BTreeMap<String, usize>,
}

/// That the index lists a shard which is not there.
pub(super) fn missing_shard(subject: &str, name: &str) -> Error {
    Error::model(subject, format!("the shard {name} is missing"))
        .with_hint(format!("{INDEX_FILE} lists it: download it into the same directory"))
}

/// What an index file says that matters here.
#[derive(Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

impl TensorSet {
    /// Opens `model.safetensors` of a directory or, where that is missing, the shards that
    /// `model.safetensors.index.json` lists.
    pub fn open(directory: &Path) -> Result<Self> {
        let subject = directory.display().to_string();
        let (single, index) = (directory.join(SINGLE_FILE), directory.join(INDEX_FILE));
        if single.exists() {
            return Self::from_files(subject, vec![TensorFile::open(single)?]);
        }
        if !index.exists() {
            return Err(Error::model(
                subject,
                format!("there is neither {SINGLE_FILE} nor {INDEX_FILE}"),
            )
            .with_hint("a model directory has config.json and model.safetensors"));
        }
        let text = std::fs::read(&index).map_err(|problem| Error::io("read", &index, problem))?;
        Self::from_index(subject.clone(), &text, |name| {
            let path = directory.join(name);
            match path.exists() {
                true => FileBytes::open(&path),
                false => Err(missing_shard(&subject, name)),
            }
        })
    }

    /// Opens the weights of a directory in the original layout: `model.safetensors` or its shards,
    /// or a file of `torch.save`.
    pub fn open_release(directory: &Path) -> Result<Self> {
        let subject = directory.display().to_string();
        if directory.join(SINGLE_FILE).exists() || directory.join(INDEX_FILE).exists() {
            return Self::open(directory);
        }
        let found = TORCH_FILES.map(|name| directory.join(name)).into_iter().find(|it| it.exists());
        match found {
            Some(path) => Self::from_files(subject, vec![TensorFile::open_torch(path)?]),
            None => Err(Error::model(
                subject,
                format!("there is none of {SINGLE_FILE}, {INDEX_FILE} and {}", TORCH_FILES[0]),
            )
            .with_hint("download the weights into the same directory")),
        }
    }

    /// Reads shards that an index lists; `open` gives the bytes of a file by its name.
    pub fn from_index(
        subject: impl Into<String>,
        index: &[u8],
        mut open: impl FnMut(&str) -> Result<FileBytes>,
    ) -> Result<Self> {
        let subject = subject.into();
        let index: Index = serde_json::from_slice(index).map_err(|problem| {
            Error::model(format!("{subject}: {INDEX_FILE}"), format!("not an index: {problem}"))
        })?;
        let mut names: Vec<&String> = index.weight_map.values().collect();
        names.sort();
        names.dedup();
        let mut files = Vec::with_capacity(names.len());
        for name in names {
            // A name with a separator could point anywhere on the machine.
            let plain =
                !name.is_empty() && !name.contains(['/', '\\', ':']) && !name.starts_with('.');
            if !plain {
                return Err(Error::model(
                    format!("{subject}: {INDEX_FILE}"),
                    format!("a shard is a file beside it, got {name:?}"),
                ));
            }
            files.push(TensorFile::parse(format!("{subject}: {name}"), open(name)?)?);
        }
        let set = Self::from_files(subject, files)?;
        for (tensor, file) in &index.weight_map {
            let found = set.file_of.get(tensor).map(|index| set.files[*index].subject());
            if found != Some(format!("{}: {file}", set.subject).as_str()) {
                return Err(Error::model(
                    format!("{}: {tensor}", set.subject),
                    format!("{INDEX_FILE} says it is in {file}, but it is not"),
                ));
            }
        }
        Ok(set)
    }

    /// Puts files together; no two may hold a tensor of one name.
    pub fn from_files(subject: impl Into<String>, files: Vec<TensorFile>) -> Result<Self> {
        let subject = subject.into();
        let mut file_of = BTreeMap::new();
        for (index, file) in files.iter().enumerate() {
            for (name, _) in file.entries() {
                if let Some(first) = file_of.insert(name.to_owned(), index) {
                    return Err(Error::model(
                        format!("{subject}: {name}"),
                        format!(
                            "it is in two files, {} and {}",
                            files[first].subject(),
                            file.subject()
                        ),
                    ));
                }
            }
        }
        Ok(Self { subject, files, file_of })
    }

    /// What the set is called in errors.
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// See [`FileBytes::read_ahead`].
    pub(super) fn read_ahead(&self) {
        self.files.iter().for_each(TensorFile::read_ahead);
    }

    /// Names, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.file_of.keys().map(String::as_str)
    }

    /// Shape and type of a tensor.
    pub fn entry(&self, name: &str) -> Result<&TensorEntry> {
        self.file(name)?.entry(name)
    }

    /// The elements of a tensor as f32; see [`TensorFile::read`].
    pub fn read(&self, name: &str) -> Result<Cow<'_, [f32]>> {
        self.file(name)?.read(name)
    }

    /// Some elements of a tensor as f32; see [`TensorFile::read_into`].
    pub fn read_into(&self, name: &str, first_index: usize, out: &mut [f32]) -> Result<()> {
        self.file(name)?.read_into(name, first_index, out)
    }

    /// The bytes of a tensor as they are stored.
    pub fn bytes(&self, name: &str) -> Result<&[u8]> {
        self.file(name)?.bytes(name)
    }

    fn file(&self, name: &str) -> Result<&TensorFile> {
        match self.file_of.get(name) {
            Some(index) => Ok(&self.files[*index]),
            None => Err(Error::model(&self.subject, format!("there is no tensor {name}"))),
        }
    }
}
