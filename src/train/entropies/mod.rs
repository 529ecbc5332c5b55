//! Entropies of texts, computed once and kept in Arrow files in the reference's layout (spec
//! §15.2).
//!
//! ```text
//! a thread: files -> documents -> windows -> tables     the job: replay -> rows -> shard -> marker
//! ```
//!
//! A text file becomes shards `NAME.shard_00.arrow`, each of about as many bytes of text as the
//! options say; where one begins follows from the texts alone. Shards are dealt out to ranks in
//! turn. A shard that is complete is not made again, unless its text has changed since: its marker
//! says of which text it was made. Of one that is made again, or was not complete, the rows that
//! are there are taken over where they are of the same documents.

mod job;
mod options;
mod reading;
mod record;
mod shard;

pub use job::{EntropyJob, EntropyProgress, EntropyStep};
pub use options::EntropyOptions;
pub use record::check_entropies;
pub use shard::{shard_name, source_name};
