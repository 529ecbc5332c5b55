//! Sums over ranks, added in the order of the ranks: the same bits on all of them.
//!
//! Every rank adds up one part of the numbers and hands the sum to all. A rank sends and receives
//! about twice what is summed, however many ranks there are.

use std::ops::Range;

use super::link::{Link, gather};
use super::threads::{add, sum_in_order};
use crate::error::Result;

/// Most words that go through a link at once: 16 MiB.
const BUCKET_WORDS: usize = 4 << 20;

/// Room for words on their way, which is kept for the next time: fresh memory costs as much as a
/// copy.
#[derive(Debug, Default)]
pub struct Scratch {
    received: Vec<u32>,
    sums: Vec<f32>,
}

impl Scratch {
    fn received(&mut self, length: usize) -> &mut [u32] {
        if self.received.len() < length {
            self.received.resize(length, 0);
        }
        &mut self.received[..length]
    }
}

/// Replaces `values`, as many on every rank, by their sums over all ranks.
///
/// # Errors
/// If a rank is gone.
pub fn sum(link: &mut dyn Link, values: &mut [f32], scratch: &mut Scratch) -> Result<()> {
    for bucket in values.chunks_mut(BUCKET_WORDS) {
        sum_bucket(link, bucket, scratch)?;
    }
    Ok(())
}

fn sum_bucket(link: &mut dyn Link, values: &mut [f32], scratch: &mut Scratch) -> Result<()> {
    let (rank, count) = (link.place().rank, link.place().count);
    let segments = segments(values.len(), count);
    let counts: Vec<_> = segments.iter().map(ExactSizeIterator::len).collect();
    let own = counts[rank];
    let received = scratch.received(own * (count - 1));
    let lengths: Vec<_> = (0..count).map(|other| if other == rank { 0 } else { own }).collect();
    link.exchange(bytemuck::cast_slice(values), &counts, received, &lengths)?;
    let received: &[f32] = bytemuck::cast_slice(&scratch.received);
    let mut others = received.chunks_exact(own.max(1));
    let here = &values[segments[rank].clone()];
    let terms: Vec<_> = (0..count)
        .map(|other| if other == rank { Some(here) } else { others.next() })
        // Of nothing there are no parts.
        .map(|term| term.unwrap_or(&[]))
        .collect();
    scratch.sums.resize(own, 0.0);
    sum_in_order(&terms, &mut scratch.sums);
    link.share(bytemuck::cast_slice(&scratch.sums), bytemuck::cast_slice_mut(values), &counts)
}

/// Rows of which every rank has some, and their sums over the ranks that have them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RowSums {
    /// The rows that any rank has, increasing.
    pub rows: Vec<u32>,
    /// Their sums, [rows, cols].
    pub values: Vec<f32>,
}

/// Sums of rows, of which this rank has `rows`, increasing, with `values` [rows, cols].
///
/// # Errors
/// If a rank is gone.
pub fn sum_rows(
    link: &mut dyn Link,
    rows: &[u32],
    values: &[f32],
    cols: usize,
    scratch: &mut Scratch,
) -> Result<RowSums> {
    let (rank, count) = (link.place().rank, link.place().count);
    let rows_of = gather(link, rows)?;
    let mut union = rows_of.concat();
    union.sort_unstable();
    union.dedup();
    let words: &[u32] = bytemuck::cast_slice(values);
    let mut sums = vec![0.0; union.len() * cols];
    let bucket_rows = (BUCKET_WORDS / cols.max(1)).max(1);
    for (bucket, bucket_sums) in union.chunks(bucket_rows).zip(sums.chunks_mut(bucket_rows * cols))
    {
        let segments = segments(bucket.len(), count);
        // Which of the rows of a rank lie in a segment: they stand together.
        let within = |rows: &[u32], segment: &Range<usize>| match bucket.get(segment.clone()) {
            Some([first, .., last]) => span(rows, *first, *last),
            Some([only]) => span(rows, *only, *only),
            _ => 0..0,
        };
        let all = within(rows, &(0..bucket.len()));
        let part = |segment| within(rows, segment).len() * cols;
        let counts: Vec<_> = segments.iter().map(part).collect();
        let own = segments[rank].clone();
        let found: Vec<_> = rows_of.iter().map(|rows| within(rows, &own)).collect();
        let mut lengths: Vec<_> = found.iter().map(|found| found.len() * cols).collect();
        lengths[rank] = 0;
        let received = scratch.received(lengths.iter().sum());
        link.exchange(&words[all.start * cols..all.end * cols], &counts, received, &lengths)?;
        let mut rest: &[f32] = bytemuck::cast_slice(&scratch.received);
        scratch.sums.clear();
        scratch.sums.resize(own.len() * cols, 0.0);
        for (other, (rows, found)) in rows_of.iter().zip(found).enumerate() {
            let (theirs, behind) = match other == rank {
                true => (&values[found.start * cols..found.end * cols], rest),
                false => rest.split_at(found.len() * cols),
            };
            rest = behind;
            let mut at = own.start;
            for (row, theirs) in rows[found].iter().zip(theirs.chunks_exact(cols)) {
                while bucket[at] < *row {
                    at += 1;
                }
                add(&mut scratch.sums[(at - own.start) * cols..][..cols], theirs);
            }
        }
        let lengths: Vec<_> = segments.iter().map(|segment| segment.len() * cols).collect();
        let shared = bytemuck::cast_slice_mut(bucket_sums);
        link.share(bytemuck::cast_slice(&scratch.sums), shared, &lengths)?;
    }
    Ok(RowSums { rows: union, values: sums })
}

/// Where the numbers from `first` to `last` stand among increasing ones.
fn span(rows: &[u32], first: u32, last: u32) -> Range<usize> {
    rows.partition_point(|row| *row < first)..rows.partition_point(|row| *row <= last)
}

/// `length` cut into `count` parts that differ by one at most.
fn segments(length: usize, count: usize) -> Vec<Range<usize>> {
    (0..count).map(|index| length * index / count..length * (index + 1) / count).collect()
}
