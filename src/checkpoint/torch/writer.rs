//! Writing `{"model": state dict}` as `torch.save` does, tensor by tensor.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::super::elements::{ElementType, encode};
use super::zip_writer::ZipWriter;
use crate::error::{Error, Result};

/// The folder inside the zip: the name of the file, as torch has it.
const FOLDER: &str = "consolidated";

/// A `.pth` file in the making.
#[derive(Debug)]
pub struct TorchWriter<W> {
    zip: ZipWriter<W>,
    path: PathBuf,
    kind: ElementType,
    /// `(name, elements)`, in the order of the file.
    tensors: Vec<(String, u64)>,
    current: usize,
    /// Elements of the current tensor that have been written.
    written_count: u64,
    bytes: Vec<u8>,
}

impl<W: Write> TorchWriter<W> {
    /// Begins a file of `(name, shape)` tensors, none of them empty; `path` names it in errors.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] for the disk.
    pub fn new(
        writer: W,
        path: impl AsRef<Path>,
        kind: ElementType,
        tensors: &[(String, Vec<usize>)],
    ) -> Result<Self> {
        let path = path.as_ref().to_path_buf();
        let mut zip = ZipWriter::new(writer);
        zip.add(&format!("{FOLDER}/data.pkl"), &pickle(kind, tensors))
            .and_then(|()| zip.add(&format!("{FOLDER}/byteorder"), b"little"))
            .map_err(|problem| Error::io("write", &path, problem))?;
        let count = |shape: &[usize]| shape.iter().map(|length| *length as u64).product();
        let tensors: Vec<_> =
            tensors.iter().map(|(name, shape)| (name.clone(), count(shape))).collect();
        assert!(tensors.iter().all(|(_, count)| *count > 0), "no tensor is empty");
        Ok(Self { zip, path, kind, tensors, current: 0, written_count: 0, bytes: Vec::new() })
    }

    /// Appends elements to `name`, which must be the tensor whose turn it is.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] for the disk, [`Error::Model`] for an element that the type cannot hold.
    ///
    /// # Panics
    ///
    /// If it is another tensor's turn, or if the tensor ends before the elements do.
    pub fn push(&mut self, name: &str, elements: &[f32]) -> Result<()> {
        let (expected, count) = &self.tensors[self.current];
        assert_eq!(name, expected, "tensors are written in the order of the file");
        let end = self.written_count + elements.len() as u64;
        assert!(end <= *count, "{name} has {count} elements and no more");
        let subject = || format!("{}: {name}", self.path.display());
        encode(self.kind, elements, &mut self.bytes)
            .map_err(|problem| Error::model(subject(), problem))?;
        let (begins, ends, count) = (self.written_count == 0, end == *count, *count);
        let mut write = || -> io::Result<()> {
            if begins {
                let entry = format!("{FOLDER}/data/{}", self.current);
                self.zip.begin(&entry, count * self.kind.size() as u64)?;
            }
            self.zip.push(&self.bytes)?;
            if ends { self.zip.end() } else { Ok(()) }
        };
        write().map_err(|problem| Error::io("write", &self.path, problem))?;
        self.written_count = end;
        if ends {
            self.current += 1;
            self.written_count = 0;
        }
        Ok(())
    }

    /// The file, complete and flushed.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] for the disk.
    ///
    /// # Panics
    ///
    /// If a tensor has not been written whole.
    pub fn finish(mut self) -> Result<W> {
        assert_eq!(self.current, self.tensors.len(), "every tensor is written whole");
        let version = format!("{FOLDER}/version");
        self.zip
            .add(&version, b"3\n")
            .and_then(|()| self.zip.finish())
            .map_err(|problem| Error::io("write", &self.path, problem))
    }
}

/// The program that makes the tensors: tensor i is all of the storage i.
fn pickle(kind: ElementType, tensors: &[(String, Vec<usize>)]) -> Vec<u8> {
    let mut out = vec![0x80, 2, b'}'];
    put_text(&mut out, "model");
    out.extend(b"ccollections\nOrderedDict\n)R(");
    for (index, (name, shape)) in tensors.iter().enumerate() {
        put_text(&mut out, name);
        out.extend(b"ctorch._utils\n_rebuild_tensor_v2\n((");
        put_text(&mut out, "storage");
        out.extend(format!("ctorch\n{}\n", kind.torch_storage()).into_bytes());
        put_text(&mut out, &index.to_string());
        put_text(&mut out, "cpu");
        let count: usize = shape.iter().product();
        put_number(&mut out, count);
        out.extend(b"tQ");
        put_number(&mut out, 0);
        out.push(b'(');
        shape.iter().for_each(|length| put_number(&mut out, *length));
        out.extend(b"t(");
        let stride = |dimension: usize| shape[dimension + 1..].iter().product();
        (0..shape.len()).for_each(|dimension| put_number(&mut out, stride(dimension)));
        // No gradient, no hooks.
        out.extend(b"t\x89ccollections\nOrderedDict\n)RtR");
    }
    out.extend(b"us.");
    out
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    out.push(b'X');
    out.extend((text.len() as u32).to_le_bytes());
    out.extend(text.as_bytes());
}

fn put_number(out: &mut Vec<u8>, number: usize) {
    match i32::try_from(number) {
        Ok(number) => {
            out.push(b'J');
            out.extend(number.to_le_bytes());
        }
        Err(_) => {
            out.extend([0x8a, 9]);
            out.extend((number as u64).to_le_bytes());
            out.push(0);
        }
    }
}
