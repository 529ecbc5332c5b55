//! What a text begins with: the flags of `blt generate` for prompts.

use super::super::failure::Usage;
use super::super::numbers::Ids;
use blt_wgpu::Error;
use blt_wgpu::generate::{Source, TextStream};
use std::ffi::OsString;
use std::io::Read;
use std::path::{Path, PathBuf};

/// Flags for a prompt; it may be empty, and need not be UTF-8.
#[derive(clap::Args)]
#[group(multiple = false)]
pub struct PromptArguments {
    /// Text to go on from; it is read behind the begin of a document
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    prompt: Option<OsString>,
    /// The same from a file, byte for byte; `-` is stdin
    #[arg(long, value_name = "FILE", allow_hyphen_values = true)]
    prompt_file: Option<PathBuf>,
    /// Ids to go on from, taken as they are
    #[arg(long, value_name = "1,2,..", allow_hyphen_values = true)]
    prompt_ids: Option<Ids>,
}

/// What a text begins with.
pub enum Prompt {
    Bytes(Vec<u8>),
    Ids(Vec<u32>),
}

impl PromptArguments {
    /// The prompt, if one was given.
    ///
    /// # Errors
    /// A file that cannot be read, or stdin where that has lines of a conversation.
    pub fn read(&self, stdin_is_taken: bool) -> anyhow::Result<Option<Prompt>> {
        if let Some(ids) = &self.prompt_ids {
            if ids.0.is_empty() && !stdin_is_taken {
                let problem = "--prompt-ids: expected at least one id, got none";
                return Err(Usage::new(problem, "a text begins with id 1").into());
            }
            return Ok(Some(Prompt::Ids(ids.0.clone())));
        }
        if let Some(text) = &self.prompt {
            return Ok(Some(Prompt::Bytes(text.as_encoded_bytes().to_vec())));
        }
        let Some(path) = &self.prompt_file else { return Ok(None) };
        let mut bytes = Vec::new();
        if path != Path::new("-") {
            bytes = std::fs::read(path).map_err(|error| Error::io("read", path, error))?;
        } else if stdin_is_taken {
            let problem = "--prompt-file - and -i both read stdin";
            return Err(Usage::new(problem, "name a file, or leave one of them out").into());
        } else {
            let read = std::io::stdin().lock().read_to_end(&mut bytes);
            read.map_err(|error| Error::io("read", "stdin", error))?;
        }
        Ok(Some(Prompt::Bytes(bytes)))
    }
}

impl Prompt {
    /// Hands the prompt to a text.
    ///
    /// # Errors
    /// An id outside the vocabulary.
    pub fn push_to(&self, stream: &mut TextStream<impl Source>) -> blt_wgpu::Result<()> {
        match self {
            Self::Bytes(bytes) => stream.push(bytes),
            Self::Ids(ids) => stream.push_ids(ids)?,
        }
        Ok(())
    }
}
