//! Rows put together into batches.

use super::patcher::EntropySource;
use super::row_stream::RowStream;
use crate::blt::Batch;
use crate::blt::config::ModelConfig;
use crate::error::Result;
use crate::train::packing::pad_reference_batch;

/// Batches of a stream of rows.
pub struct BatchStream<S> {
    /// Where the rows come from; its state is the state of the batches.
    pub rows: RowStream<S>,
    model: ModelConfig,
    batch_rows: usize,
    /// Bytes that rows are cut to, where the reference's packing is followed.
    reference_row_bytes: Option<usize>,
}

impl<S: EntropySource> BatchStream<S> {
    /// Batches of `batch_rows` rows for a model. With `reference_row_bytes` rows are padded to the
    /// longest of their batch and cut to that many bytes, as in the reference (spec §15.5); they
    /// are not padded further (`pad_to_max_length`), which would change no loss.
    pub fn new(
        rows: RowStream<S>,
        model: ModelConfig,
        batch_rows: usize,
        reference_row_bytes: Option<usize>,
    ) -> Self {
        Self { rows, model, batch_rows, reference_row_bytes }
    }

    /// The next batch; a short one, then `None`, where the rows end.
    ///
    /// # Errors
    /// A text that cannot be read, rows longer than the model's positions, or a device that fails.
    pub async fn next_batch(&mut self) -> Result<Option<Batch>> {
        let mut rows = Vec::with_capacity(self.batch_rows);
        while rows.len() < self.batch_rows {
            let Some(row) = self.rows.next_row().await? else { break };
            rows.push(row);
        }
        if rows.is_empty() {
            return Ok(None);
        }
        if let Some(row_bytes) = self.reference_row_bytes {
            pad_reference_batch(&mut rows, self.batch_rows, row_bytes, false)?;
        }
        Batch::new(&self.model, &rows).map(Some)
    }
}
