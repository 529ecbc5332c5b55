//! What is read ahead of the job: documents in groups, with the tables that score them.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::options::EntropyOptions;
use super::shard::{
    Before, TextState, all_complete_marker, is_complete, is_of, remove_shard, shard_name,
    source_name,
};
use crate::blt::config::ModelConfig;
use crate::error::Result;
use crate::eval::{PreparedScore, ScoreOptions};
use crate::text::arrow::complete_marker;
use crate::text::{ByteReader, Document, DocumentOptions, Documents, Files, TextSource, encode};
use crate::train::config::MAX_DOCUMENT_BYTES;

/// Most positions of which tables are made ahead; longer documents are scored window by window.
const MOST_AHEAD: usize = 1 << 20;

/// Most documents in a group, for those that are taken over are in no count of ids.
const MOST_DOCUMENTS: usize = 1 << 12;

/// One thing for the job to do.
pub(super) enum Item {
    /// Documents of the open shard.
    Group(Group),
    /// The next documents are of this shard.
    Begin(PathBuf, TextState),
    /// The open shard is whole.
    End,
    /// A file is read to its end: these are all of its shards, whoever makes them.
    EndOfFile { marker: PathBuf, shards: Vec<PathBuf>, text: TextState },
    /// What was odd in the texts.
    Notes(Vec<String>),
    /// The texts cannot be read on.
    Failed(crate::error::Error),
}

/// Some documents of which entropies are wanted, or known from before.
pub(super) struct Group {
    pub documents: Vec<GroupDocument>,
    /// What scores those that are not known; empty where it is to be made by the job.
    pub prepared: Vec<PreparedScore>,
}

pub(super) struct GroupDocument {
    pub id: String,
    pub text: String,
    pub ids: Vec<u32>,
    /// Entropies that an earlier process has left, or none.
    pub known: Vec<half::f16>,
}

/// Counts the bytes of files as they are read.
pub(super) struct CountedFiles(pub Arc<AtomicU64>);

impl TextSource for CountedFiles {
    fn open(&self, path: &std::path::Path) -> std::io::Result<ByteReader> {
        Ok(Box::new(Counted { file: Files.open(path)?, count: Arc::clone(&self.0) }))
    }

    fn open_file(&self, path: &std::path::Path) -> std::io::Result<std::fs::File> {
        let file = Files.open_file(path)?;
        // It is read here and there: counted at once.
        self.0.fetch_add(file.metadata()?.len(), Ordering::Relaxed);
        Ok(file)
    }

    fn check(&self, path: &std::path::Path) -> std::io::Result<()> {
        Files.check(path)
    }
}

struct Counted {
    file: ByteReader,
    count: Arc<AtomicU64>,
}

impl std::io::Read for Counted {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        let count = self.file.read(out)?;
        self.count.fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }
}

/// Reads all texts, as long as somebody wants what is found.
pub(super) struct Reader {
    pub files: Vec<PathBuf>,
    pub file_bytes: Vec<u64>,
    pub options: EntropyOptions,
    pub config: ModelConfig,
    pub score: ScoreOptions,
    pub bytes_read: Arc<AtomicU64>,
    /// Shards of ours that need not be made.
    pub known_shards: Arc<AtomicU64>,
}

/// Where the reader is in a file.
struct Position<'g> {
    give: &'g mut dyn FnMut(Item) -> bool,
    /// The shard that documents go to, and whether it is this process that makes it.
    shard_index: u64,
    is_ours: bool,
    text_bytes: u64,
    before: Option<Before>,
    group: Vec<GroupDocument>,
    group_ids: usize,
}

impl Reader {
    /// Hands everything to `give`, until that does not want any more.
    pub fn run(self, give: &mut dyn FnMut(Item) -> bool) {
        for index in 0..self.files.len() {
            match self.file(index, give) {
                Ok(true) => {}
                Ok(false) => return,
                Err(error) => {
                    give(Item::Failed(error));
                    return;
                }
            }
        }
    }

    fn file(&self, index: usize, give: &mut dyn FnMut(Item) -> bool) -> Result<bool> {
        let path = &self.files[index];
        let name = source_name(path);
        let out = &self.options.out;
        let text = TextState::of(path)?;
        let shard = |shard_index| out.join(shard_name(&name, shard_index));
        let is_turn = |shard_index: u64| {
            (index as u64 + shard_index) % self.options.rank_count == self.options.rank
        };
        let marker = all_complete_marker(out, &name);
        let shard_count_before = (0..).take_while(|&at| shard(at).exists()).count() as u64;
        if is_of(&marker, &text) && (0..shard_count_before).all(|at| is_complete(&shard(at), &text))
        {
            let ours = (0..shard_count_before).filter(|&at| is_turn(at)).count();
            self.known_shards.fetch_add(ours as u64, Ordering::Relaxed);
            self.bytes_read.fetch_add(self.file_bytes[index], Ordering::Relaxed);
            return Ok(true);
        }
        let is_stale =
            |at: u64| complete_marker(&shard(at)).exists() && !is_complete(&shard(at), &text);
        if (0..shard_count_before).any(is_stale) {
            let note = format!(
                "{}: it may have changed since its shards were made: they are made anew, from what \
                 is still the same in them",
                path.display()
            );
            if !give(Item::Notes(vec![note])) {
                return Ok(false);
            }
        }
        let options = DocumentOptions {
            on_error: self.options.on_error,
            most_bytes: MAX_DOCUMENT_BYTES,
            ..Default::default()
        };
        let source = Box::new(CountedFiles(Arc::clone(&self.bytes_read)));
        let mut documents = Documents::open_from(source, &[path], options)?;
        let mut at = Position {
            give,
            shard_index: 0,
            is_ours: false,
            text_bytes: 0,
            before: None,
            group: Vec::new(),
            group_ids: 0,
        };
        let mut is_begun = false;
        while let Some(document) = documents.next() {
            let document = document?;
            let notes = documents.take_notes();
            if !notes.is_empty() && !(at.give)(Item::Notes(notes)) {
                return Ok(false);
            }
            if !is_begun || at.text_bytes >= self.options.shard_bytes {
                if is_begun && !self.end_shard(&mut at)? {
                    return Ok(false);
                }
                at.shard_index += u64::from(is_begun);
                at.text_bytes = 0;
                is_begun = true;
                let path = shard(at.shard_index);
                let is_known = is_turn(at.shard_index) && is_complete(&path, &text);
                self.known_shards.fetch_add(u64::from(is_known), Ordering::Relaxed);
                at.is_ours = is_turn(at.shard_index) && !is_known;
                if at.is_ours {
                    at.before = Some(Before::find(&path)?);
                    if !(at.give)(Item::Begin(path, text)) {
                        return Ok(false);
                    }
                }
            }
            at.text_bytes += document.text.len() as u64;
            if at.is_ours && !self.push(&mut at, document)? {
                return Ok(false);
            }
        }
        if is_begun && !self.end_shard(&mut at)? {
            return Ok(false);
        }
        let shard_count = if is_begun { at.shard_index + 1 } else { 0 };
        let give = at.give;
        let notes = documents.take_notes();
        if !notes.is_empty() && !give(Item::Notes(notes)) {
            return Ok(false);
        }
        // The text had more once.
        for index in (shard_count..shard_count_before).filter(|&at| is_turn(at)) {
            remove_shard(&shard(index))?;
        }
        let shards = (0..shard_count).map(shard).collect();
        Ok(give(Item::EndOfFile { marker, shards, text }))
    }

    fn end_shard(&self, at: &mut Position<'_>) -> Result<bool> {
        if !at.is_ours {
            return Ok(true);
        }
        at.before = None;
        Ok(self.give_group(at)? && (at.give)(Item::End))
    }

    fn push(&self, at: &mut Position<'_>, document: Document) -> Result<bool> {
        let ids = encode(&document.text, true, true);
        let known = at.before.as_mut().and_then(|before| before.take(&document));
        let Ok(text) = String::from_utf8(document.text) else {
            // Its note says that its bytes are not UTF-8.
            let note = format!("{}: left out, for a column of text holds UTF-8", document.id);
            return Ok((at.give)(Item::Notes(vec![note])));
        };
        let known = known.unwrap_or_default();
        let wanted = if known.is_empty() { ids.len() } else { 0 };
        let is_full = at.group_ids > 0 && at.group_ids + wanted > self.score.batch_bytes
            || at.group.len() >= MOST_DOCUMENTS;
        if is_full && !self.give_group(at)? {
            return Ok(false);
        }
        at.group_ids += wanted;
        at.group.push(GroupDocument { id: document.id, text, ids, known });
        Ok(true)
    }

    fn give_group(&self, at: &mut Position<'_>) -> Result<bool> {
        let documents = std::mem::take(&mut at.group);
        let id_count = std::mem::take(&mut at.group_ids);
        if documents.is_empty() {
            return Ok(true);
        }
        let wanted = documents.iter().map(|it| match it.known.is_empty() {
            true => it.ids.as_slice(),
            false => &[],
        });
        let wanted: Vec<_> = wanted.collect();
        let prepared = match id_count <= MOST_AHEAD {
            true => PreparedScore::of(&self.config, &wanted, self.score)?,
            false => Vec::new(),
        };
        Ok((at.give)(Item::Group(Group { documents, prepared })))
    }
}
