//! What moves words between the processes of a run.

use crate::error::Result;

/// Which of the processes of a run this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// From 0; the first writes what the run leaves.
    pub rank: usize,
    /// Processes of the run.
    pub count: usize,
    /// Among those on the same machine, from 0: chooses the GPU.
    pub local_rank: usize,
}

/// Moves words between the ranks of a run. All ranks do the same with it in the same order, and
/// know how much comes from whom.
pub trait Link {
    /// Which of them this is.
    fn place(&self) -> Place;

    /// Gives the first `counts[0]` of `words` to rank 0, those behind to rank 1, and so on; what it
    /// would give to itself stays where it is. `received` gets `lengths[i]` words from rank `i`, in
    /// the same order; `lengths` of this rank is 0.
    ///
    /// # Errors
    /// If a rank is gone.
    fn exchange(
        &mut self,
        words: &[u32],
        counts: &[usize],
        received: &mut [u32],
        lengths: &[usize],
    ) -> Result<()>;

    /// Gives all of `words` to every rank; `received` gets `lengths[i]` words from rank `i`, in the
    /// order of the ranks.
    ///
    /// # Errors
    /// If a rank is gone.
    fn share(&mut self, words: &[u32], received: &mut [u32], lengths: &[usize]) -> Result<()>;

    /// Ends the job in good order, once all ranks do so. A link that is only dropped leaves it to
    /// who started the processes to end the others.
    fn finish(self: Box<Self>);
}

/// All words of every rank, whatever their number.
///
/// # Errors
/// If a rank is gone.
pub fn gather(link: &mut dyn Link, words: &[u32]) -> Result<Vec<Vec<u32>>> {
    let count = link.place().count;
    let length = u32::try_from(words.len()).expect("words that are gathered fit memory");
    let mut lengths = vec![0; count];
    link.share(&[length], &mut lengths, &vec![1; count])?;
    let lengths: Vec<_> = lengths.iter().map(|&length| length as usize).collect();
    let mut all = vec![0; lengths.iter().sum()];
    link.share(words, &mut all, &lengths)?;
    let mut rest = &all[..];
    let split = |&length: &usize| {
        let (own, behind) = rest.split_at(length);
        rest = behind;
        own.to_vec()
    };
    Ok(lengths.iter().map(split).collect())
}
