//! Documents with their entropies in Arrow IPC files, in the reference's layout (spec §15.2): the
//! columns `sample_id` (utf8), `text` (utf8) and `entropies` (list of float16), none with nulls,
//! in record batches of 1,000 rows; an entropy for every byte and for the begin and end ids around
//! them. `FILE.complete` beside a file says that it was written to its end.

mod layout;
mod read;
#[cfg(test)]
mod tests;
mod write;

pub use layout::{BATCH_ROWS, END_IDS, complete_marker};
pub use read::ArrowRows;
pub use write::EntropyWriter;
