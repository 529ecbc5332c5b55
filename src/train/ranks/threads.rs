//! Copies and sums of many numbers by several threads: one does not fill the memory of a server.
//!
//! They are the threads of `rayon`, which an engine on the host computes with too. Of few threads
//! none may be free; then the work is done at once instead.

use rayon::prelude::*;

/// Numbers that a thread takes at once: 256 KiB, which stay in its cache.
const PART: usize = 1 << 16;

/// Threads from which on work is shared out.
const FEWEST_THREADS: usize = 4;

/// Copies numbers.
pub(super) fn copy(from: &[f32], to: &mut [f32]) {
    assert_eq!(from.len(), to.len());
    by_parts(to, |first, part| part.copy_from_slice(&from[first..][..part.len()]));
}

/// Adds up as many numbers of every rank, in the order of the ranks.
pub(super) fn sum_in_order(terms: &[&[f32]], sums: &mut [f32]) {
    let (first, others) = terms.split_first().expect("there is a rank");
    by_parts(sums, |begin, sums| {
        sums.copy_from_slice(&first[begin..][..sums.len()]);
        others.iter().for_each(|other| add(sums, &other[begin..]));
    });
}

/// Adds to sums, as many as there are of them.
pub(super) fn add(sums: &mut [f32], values: &[f32]) {
    for (sum, value) in sums.iter_mut().zip(values) {
        *sum += value;
    }
}

/// Has every part made, which begins at an index.
fn by_parts(all: &mut [f32], make: impl Fn(usize, &mut [f32]) + Sync) {
    let make = |(index, part): (usize, &mut [f32])| make(index * PART, part);
    match all.len() > PART && rayon::current_num_threads() >= FEWEST_THREADS {
        true => all.par_chunks_mut(PART).enumerate().for_each(make),
        false => all.chunks_mut(PART).enumerate().for_each(make),
    }
}
