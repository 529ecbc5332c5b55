//! All tables of one batch, for each of the two models.

use super::bytes::check_window;
use super::segments::window_ranges;
use super::{ByteTables, CsrRows, Documents, PatchGather, PatchTables, Ranges, Row};
use crate::blt::hash::{HashConfig, hash_ids};
use crate::error::Result;

/// What the tables of a BLT batch depend on besides its rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableOptions {
    /// Whether documents of a row see each other.
    pub documents: Documents,
    /// Keys per query of the local encoder, the query included; `None`: all before.
    pub encoder_window: Option<u32>,
    /// The same of the local decoder.
    pub decoder_window: Option<u32>,
    /// Patches whose bytes a patch sees when pooling, `cross_attn_window_encoder`.
    pub pool_window: Option<u32>,
    /// Patches that a byte sees when unpooling, `cross_attn_window_decoder`.
    pub unpool_window: Option<u32>,
    /// The hashed n-gram embedding, if the model has one.
    pub hash: Option<HashConfig>,
    /// Byte states per patch vector, if the encoder concatenates instead of pooling.
    pub concat_patch_size: Option<u32>,
}

/// Every table of a BLT batch.
#[derive(Clone, Debug, PartialEq)]
pub struct BltTables {
    /// The byte axis, with the local encoder's self-attention.
    pub bytes: ByteTables,
    /// Self-attention of the local decoder where its window is another than the encoder's.
    pub decoder_ranges: Option<Ranges>,
    /// The patch axis, pooling and unpooling.
    pub patches: PatchTables,
    /// Bytes by id: the gradient of the byte embedding.
    pub byte_rows: CsrRows,
    /// Row of each hash table that each byte reads, `[bytes, tables]`; empty without tables.
    pub hash_ids: Vec<u32>,
    /// Bytes by row of the fused hash table: the gradient of the n-gram embedding.
    pub hash_rows: Option<CsrRows>,
    /// Slots of concatenated patch vectors.
    pub gather: Option<PatchGather>,
}

impl BltTables {
    /// Tables of `rows`.
    ///
    /// # Errors
    /// A row that fails its checks, named by its index, or an option over its limits.
    pub fn new(rows: &[Row], options: &TableOptions) -> Result<Self> {
        let TableOptions { documents, encoder_window, decoder_window, .. } = *options;
        check_window("decoder attention window", decoder_window)?;
        let bytes = ByteTables::new(rows, documents, encoder_window)?;
        let decoder_ranges = (decoder_window != encoder_window)
            .then(|| window_ranges(&bytes.segments, decoder_window));
        let patches =
            PatchTables::new(rows, &bytes, documents, options.pool_window, options.unpool_window)?;
        let byte_rows = CsrRows::new(&bytes.ids);
        let (hash_ids, hash_rows) = match &options.hash {
            None => (Vec::new(), None),
            Some(config) => {
                config.check()?;
                let ids = hash_rows_of(rows, config);
                let touched = CsrRows::of_hash_tables(&ids, config);
                (ids, Some(touched))
            }
        };
        let gather = match options.concat_patch_size {
            None => None,
            Some(size) => Some(PatchGather::new(&bytes, &patches, size)?),
        };
        Ok(Self { bytes, decoder_ranges, patches, byte_rows, hash_ids, hash_rows, gather })
    }
}

/// Every table of a batch of the entropy model; patch lengths of the rows are not looked at.
#[derive(Clone, Debug, PartialEq)]
pub struct EntropyTables {
    /// The byte axis with its self-attention.
    pub bytes: ByteTables,
    /// Bytes by id: the gradient of the byte embedding.
    pub byte_rows: CsrRows,
}

impl EntropyTables {
    /// Tables of `rows` with `window` keys per query, itself included.
    ///
    /// # Errors
    /// A row that fails [`Row::check_bytes`], named by its index, or a window of 0.
    pub fn new(rows: &[Row], documents: Documents, window: Option<u32>) -> Result<Self> {
        let bytes = ByteTables::new(rows, documents, window)?;
        let byte_rows = CsrRows::new(&bytes.ids);
        Ok(Self { bytes, byte_rows })
    }
}

/// n-gram windows end at the row's first byte, so each row is hashed alone.
fn hash_rows_of(rows: &[Row], config: &HashConfig) -> Vec<u32> {
    rows.iter().flat_map(|row| hash_ids(&row.ids, config)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows() -> Vec<Row> {
        let row = |ids: &[u32], lengths: &[u32]| Row {
            ids: ids.to_vec(),
            targets: ids.to_vec(),
            weights: vec![1.0; ids.len()],
            patch_lengths: lengths.to_vec(),
        };
        vec![row(&[1, 76, 109, 48, 2], &[1, 2, 3]), row(&[1, 70, 80], &[1, 1, 2])]
    }

    fn options() -> TableOptions {
        TableOptions {
            documents: Documents::Reference,
            encoder_window: Some(3),
            decoder_window: Some(3),
            pool_window: None,
            unpool_window: None,
            hash: Some(HashConfig {
                group_sizes: vec![3, 4],
                function_count: 1,
                rows_per_table: 53,
            }),
            concat_patch_size: None,
        }
    }

    #[test]
    fn parts_of_a_batch_fit_together() {
        let tables = BltTables::new(&rows(), &options()).unwrap();
        assert_eq!((tables.bytes.byte_count(), tables.patches.patch_count()), (8, 6));
        assert_eq!(tables.byte_rows.rows, [1, 2, 48, 70, 76, 80, 109]);
        assert_eq!(tables.byte_rows.entries[..2], [0, 5]);
        assert_eq!(tables.hash_ids.len(), 16);
        // Both rows begin with the same id, and no row sees the ids of the other.
        assert_eq!(tables.hash_ids[..2], tables.hash_ids[10..12]);
        assert_eq!(tables.hash_rows.unwrap().entries.len(), 16);
        assert_eq!((tables.decoder_ranges, tables.gather), (None, None));
    }

    #[test]
    fn what_the_model_has_decides_what_is_made() {
        let options = TableOptions {
            decoder_window: None,
            hash: None,
            concat_patch_size: Some(2),
            ..options()
        };
        let tables = BltTables::new(&rows(), &options).unwrap();
        let decoder = tables.decoder_ranges.unwrap();
        assert_eq!(decoder, window_ranges(&tables.bytes.segments, None));
        assert!(tables.hash_ids.is_empty() && tables.hash_rows.is_none());
        assert_eq!(tables.gather.unwrap().byte_index.len(), 12);
    }

    #[test]
    fn options_over_their_limits_are_errors() {
        let fails = |change: fn(&mut TableOptions)| {
            let mut options = options();
            change(&mut options);
            BltTables::new(&rows(), &options).unwrap_err().to_string()
        };
        assert!(fails(|o| o.decoder_window = Some(0)).starts_with("decoder attention window"));
        assert!(fails(|o| o.encoder_window = Some(0)).starts_with("attention window"));
        assert!(fails(|o| o.concat_patch_size = Some(0)).starts_with("patch size"));
        let rows_per_table = |o: &mut TableOptions| {
            o.hash.as_mut().unwrap().rows_per_table = 1 << 24;
        };
        assert!(fails(rows_per_table).starts_with("hash rows per table"));
    }

    #[test]
    fn the_entropy_model_needs_no_patches() {
        let rows: Vec<Row> =
            rows().into_iter().map(|row| Row { patch_lengths: vec![], ..row }).collect();
        let tables = EntropyTables::new(&rows, Documents::Ignored, Some(4)).unwrap();
        assert_eq!(tables.byte_rows, CsrRows::new(&tables.bytes.ids));
        assert!(BltTables::new(&rows, &options()).is_err());
    }
}
