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

/// Moves words between the ranks of a run. All ranks do the same with it in the same order.
pub trait Link {
    /// Which of them this is.
    fn place(&self) -> Place;

    /// Gives `parts[i]` to rank `i`, itself among them, and returns what every rank gave to this
    /// one, `lengths[i]` words from rank `i`, one behind the other in the order of the ranks.
    ///
    /// # Errors
    /// If a rank is gone.
    fn exchange(&mut self, parts: &[&[u32]], lengths: &[usize]) -> Result<Vec<u32>>;

    /// Ends the job in good order, once all ranks do so. A link that is only dropped leaves it to
    /// who started the processes to end the others.
    fn finish(self: Box<Self>);
}

/// All words of every rank: `words` goes to all, whatever its length.
///
/// # Errors
/// If a rank is gone.
pub fn gather(link: &mut dyn Link, words: &[u32]) -> Result<Vec<Vec<u32>>> {
    let count = link.place().count;
    let length = [u32::try_from(words.len()).expect("words that are gathered fit memory")];
    let lengths = link.exchange(&vec![&length[..]; count], &vec![1; count])?;
    let lengths: Vec<_> = lengths.iter().map(|&length| length as usize).collect();
    let all = link.exchange(&vec![words; count], &lengths)?;
    let mut rest = &all[..];
    let split = |&length: &usize| {
        let (own, behind) = rest.split_at(length);
        rest = behind;
        own.to_vec()
    };
    Ok(lengths.iter().map(split).collect())
}
