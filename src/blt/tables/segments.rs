//! Segments of a flat axis, and causal windows inside them.
//!
//! A segment is what attention never looks out of: a row, or one document of a row.

use super::row::Row;
use crate::text::EOS_ID;

/// Whether documents inside a row see each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Documents {
    /// A new segment after each EOS (spec §5.6); a patch that contains an EOS is the last of its
    /// segment (spec §5.7).
    Reference,
    /// One segment per row, as `transformers` computes (spec §22.4).
    Ignored,
}

/// Contiguous, non-empty segments that cover a flat axis.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segments {
    /// First index of each segment, then the length of the axis: `[segments + 1]`, increasing.
    offsets: Vec<u32>,
}

/// Which keys a query sees, and which queries see a key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ranges {
    /// `[queries, 2]`: keys `[low, high)` that the query sees.
    pub key_range: Vec<u32>,
    /// `[keys, 2]`: queries `[low, high)` that see the key.
    pub query_range: Vec<u32>,
}

impl Segments {
    /// Segments of the byte axis of `rows`.
    pub fn of_bytes(rows: &[Row], documents: Documents) -> Self {
        let rows = rows.iter().map(|row| row.ids.iter().map(|&id| id == EOS_ID));
        Self::from_closers(rows, documents)
    }

    /// Segments of the patch axis of `rows`; the virtual position of a row is no EOS.
    pub fn of_patches(rows: &[Row], documents: Documents) -> Self {
        let rows = rows.iter().map(|row| {
            let mut rest = row.ids.as_slice();
            row.patch_lengths.iter().map(move |&length| {
                let (own, after) = rest.split_at(rest.len().min(length as usize));
                rest = after;
                own.contains(&EOS_ID)
            })
        });
        Self::from_closers(rows, documents)
    }

    /// Length of the axis.
    pub fn axis_len(&self) -> usize {
        self.offsets[self.offsets.len() - 1] as usize
    }

    /// `(start, end)` of each segment, in order.
    pub fn iter(&self) -> impl Iterator<Item = (u32, u32)> + '_ {
        self.offsets.windows(2).map(|pair| (pair[0], pair[1]))
    }

    /// For each row the elements in order, `true` where a document ends with the element.
    fn from_closers<R: Iterator<Item = bool>>(
        rows: impl Iterator<Item = R>,
        documents: Documents,
    ) -> Self {
        let mut offsets = vec![0u32];
        let mut index = 0u32;
        for row in rows {
            for closes in row {
                index += 1;
                if closes && documents == Documents::Reference {
                    offsets.push(index);
                }
            }
            // An EOS at the very end of a row has opened the next segment already.
            if offsets[offsets.len() - 1] != index {
                offsets.push(index);
            }
        }
        Self { offsets }
    }
}

/// Causal attention inside segments: a query sees itself and what lies before it, at most
/// `window` elements in all; `None` sees the whole segment so far (spec §5.7).
///
/// # Panics
/// If the window is 0.
pub fn window_ranges(segments: &Segments, window: Option<u32>) -> Ranges {
    let window = window.unwrap_or(u32::MAX);
    assert!(window > 0, "attention window: expected at least 1, got 0");
    let count = segments.axis_len();
    let mut key_range = Vec::with_capacity(2 * count);
    let mut query_range = Vec::with_capacity(2 * count);
    for (start, end) in segments.iter() {
        for index in start..end {
            key_range.extend([start.max((index + 1).saturating_sub(window)), index + 1]);
            query_range.extend([index, end.min(index.saturating_add(window))]);
        }
    }
    Ranges { key_range, query_range }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows() -> Vec<Row> {
        let row = |ids: &[u32], lengths: &[u32]| Row {
            ids: ids.to_vec(),
            patch_lengths: lengths.to_vec(),
            ..Row::default()
        };
        vec![row(&[1, 9, 2, 1, 8, 2], &[1, 3, 2, 1]), row(&[2, 7, 7], &[1, 1, 2])]
    }

    fn bounds(segments: &Segments) -> Vec<(u32, u32)> {
        segments.iter().collect()
    }

    #[test]
    fn an_eos_belongs_to_the_document_it_closes() {
        let bytes = Segments::of_bytes(&rows(), Documents::Reference);
        assert_eq!(bounds(&bytes), [(0, 3), (3, 6), (6, 7), (7, 9)]);
        let bytes = Segments::of_bytes(&rows(), Documents::Ignored);
        assert_eq!(bounds(&bytes), [(0, 6), (6, 9)]);
    }

    #[test]
    fn a_patch_with_an_eos_belongs_wholly_to_the_old_document() {
        // Row 0 has patches [1], [9 2 1], [8 2], [virtual]; row 1 has [2], [7], [7 virtual].
        let patches = Segments::of_patches(&rows(), Documents::Reference);
        assert_eq!(bounds(&patches), [(0, 2), (2, 3), (3, 4), (4, 5), (5, 7)]);
        let patches = Segments::of_patches(&rows(), Documents::Ignored);
        assert_eq!(bounds(&patches), [(0, 4), (4, 7)]);
    }

    #[test]
    fn a_window_counts_the_query_itself() {
        let segments = Segments { offsets: vec![0, 4, 5] };
        let ranges = window_ranges(&segments, Some(2));
        assert_eq!(ranges.key_range, [0, 1, 0, 2, 1, 3, 2, 4, 4, 5]);
        assert_eq!(ranges.query_range, [0, 2, 1, 3, 2, 4, 3, 4, 4, 5]);
        let ranges = window_ranges(&segments, None);
        assert_eq!(ranges.key_range, [0, 1, 0, 2, 0, 3, 0, 4, 4, 5]);
        assert_eq!(ranges.query_range, [0, 4, 1, 4, 2, 4, 3, 4, 4, 5]);
        assert_eq!(window_ranges(&segments, Some(u32::MAX)), ranges);
    }

    #[test]
    #[should_panic(expected = "at least 1")]
    fn a_window_of_nothing_is_refused() {
        window_ranges(&Segments { offsets: vec![0, 1] }, Some(0));
    }
}
