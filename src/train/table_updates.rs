//! Whether hash tables are updated lazily, and how many rows an update may touch then.
//!
//! A dense update reads and writes weights, gradients and both moments of every row. A lazy one
//! does so for touched rows, which catch up first, and for the others, one part of
//! [`RECORD_COUNT`](crate::blt::RECORD_COUNT) of them an update, replays all that they have missed
//! in one pass: it computes as much, moves far less, and keeps gradients of touched rows only.
//! Where arithmetic is dear and memory near, on a CPU, dense is faster whatever is touched.

use serde::{Deserialize, Serialize};

use crate::blt::TableUpdates;
use crate::blt::config::HashEmbeddingConfig;

/// `optim.table_updates`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TableUpdateRule {
    /// Lazy on a GPU where an update touches at most one row in [`LEAST_ROWS_PER_TOUCHED`] and one
    /// binding holds what that needs.
    #[default]
    Auto,
    Dense,
    Lazy,
}

/// Rows of the table for one that may be touched, from which on lazy updates pay. A touched row
/// moves 24 bytes an element to catch up and 36 to be normed and stepped, a dense one 36; and the
/// touched rows of a large batch are fewer than its ids.
pub const LEAST_ROWS_PER_TOUCHED: usize = 2;

/// What the choice depends on besides the tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UpdateSituation {
    /// Whether processors are a GPU's.
    pub is_gpu: bool,
    /// Most elements of one binding.
    pub max_elements: usize,
    /// Bytes that the micro-batches of an update hold at most.
    pub byte_count: usize,
    /// Columns of a table.
    pub width: usize,
}

impl TableUpdateRule {
    /// The names of the values.
    pub const NAMES: [(&'static str, Self); 3] =
        [("auto", Self::Auto), ("dense", Self::Dense), ("lazy", Self::Lazy)];

    /// How these tables are updated there. Tables that are lazy by name may not fit, which is an
    /// error where they are laid out.
    pub fn choose(self, hash: &HashEmbeddingConfig, situation: &UpdateSituation) -> TableUpdates {
        let UpdateSituation { is_gpu, max_elements, byte_count, width } = *situation;
        let row_count = hash.row_count();
        let slot_count = byte_count.saturating_mul(hash.table_count()).min(row_count);
        let pays = is_gpu && slot_count <= row_count / LEAST_ROWS_PER_TOUCHED;
        // Gradients of the slots, and what step each row is up to, lie in one binding each.
        let fits = slot_count.saturating_mul(width).max(row_count) <= max_elements;
        match self {
            _ if slot_count == 0 => TableUpdates::Dense,
            Self::Auto if !(pays && fits) => TableUpdates::Dense,
            Self::Dense => TableUpdates::Dense,
            Self::Auto | Self::Lazy => TableUpdates::Lazy { slot_count },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lazy_is_chosen_where_few_rows_are_touched() {
        let hash = HashEmbeddingConfig {
            group_sizes: vec![3, 4, 5],
            function_count: 1,
            rows_per_table: 1000,
        };
        let situation = |is_gpu, byte_count| UpdateSituation {
            is_gpu,
            max_elements: 6000,
            byte_count,
            width: 4,
        };
        let choose =
            |rule: TableUpdateRule, is_gpu, bytes| rule.choose(&hash, &situation(is_gpu, bytes));
        let lazy = |slot_count| TableUpdates::Lazy { slot_count };
        let [auto, dense, always] = TableUpdateRule::NAMES.map(|(_, rule)| rule);
        assert_eq!(choose(auto, true, 500), lazy(1500));
        assert_eq!(choose(auto, true, 501), TableUpdates::Dense);
        assert_eq!(choose(auto, false, 5), TableUpdates::Dense);
        assert_eq!(choose(dense, true, 5), TableUpdates::Dense);
        assert_eq!(choose(always, false, 700), lazy(2100));
        assert_eq!(choose(always, false, usize::MAX), lazy(3000));
        let none = HashEmbeddingConfig { group_sizes: vec![], ..hash.clone() };
        assert_eq!(always.choose(&none, &situation(true, 5)), TableUpdates::Dense);
        // 1500 slots of 4 columns are 6000 elements.
        let tight = UpdateSituation { max_elements: 5999, ..situation(true, 500) };
        assert_eq!(auto.choose(&hash, &tight), TableUpdates::Dense);
        assert_eq!(always.choose(&hash, &tight), lazy(1500), "asked for: an error says what fits");
        let many_rows = UpdateSituation { max_elements: 2999, ..situation(true, 5) };
        assert_eq!(auto.choose(&hash, &many_rows), TableUpdates::Dense);
    }
}
