//! Ranks that are threads of one process, joined by channels: for tests, and for programs that
//! drive several devices by themselves.

use std::sync::mpsc::{Receiver, Sender, channel};

use super::link::{Link, Place};
use crate::error::{Error, Result};

/// One of them.
pub struct ThreadLink {
    place: Place,
    to: Vec<Sender<Vec<u32>>>,
    from: Vec<Receiver<Vec<u32>>>,
}

impl ThreadLink {
    /// The links of so many ranks, each joined with all.
    pub fn joined(count: usize) -> Vec<Self> {
        let link = |rank| Self {
            place: Place { rank, count, local_rank: rank },
            to: Vec::with_capacity(count),
            from: Vec::with_capacity(count),
        };
        let mut links: Vec<_> = (0..count).map(link).collect();
        for giver in 0..count {
            for taker in 0..count {
                let (to, from) = channel();
                links[giver].to.push(to);
                links[taker].from.push(from);
            }
        }
        links
    }

    fn send(&self, rank: usize, words: &[u32]) -> Result<()> {
        self.to[rank].send(words.to_vec()).map_err(|_| gone(rank))
    }

    fn receive(&self, received: &mut [u32], lengths: &[usize]) -> Result<()> {
        let mut rest = received;
        for (rank, (from, &length)) in self.from.iter().zip(lengths).enumerate() {
            let words = from.recv().map_err(|_| gone(rank))?;
            if words.len() != length {
                let problem = format!("expected {length} words, got {}", words.len());
                return Err(Error::input(format!("rank {rank}"), problem));
            }
            let (part, behind) = rest.split_at_mut(length);
            part.copy_from_slice(&words);
            rest = behind;
        }
        Ok(())
    }
}

fn gone(rank: usize) -> Error {
    Error::input(format!("rank {rank}"), "it has left the run")
}

impl Link for ThreadLink {
    fn place(&self) -> Place {
        self.place
    }

    fn exchange(
        &mut self,
        words: &[u32],
        counts: &[usize],
        received: &mut [u32],
        lengths: &[usize],
    ) -> Result<()> {
        let mut rest = words;
        for (rank, &count) in counts.iter().enumerate() {
            let (part, behind) = rest.split_at(count);
            self.send(rank, if rank == self.place.rank { &[] } else { part })?;
            rest = behind;
        }
        self.receive(received, lengths)
    }

    fn share(&mut self, words: &[u32], received: &mut [u32], lengths: &[usize]) -> Result<()> {
        for rank in 0..self.place.count {
            self.send(rank, words)?;
        }
        self.receive(received, lengths)
    }

    fn finish(self: Box<Self>) {}
}

#[cfg(test)]
mod tests {
    use super::super::sums::{Scratch, sum, sum_rows};
    use super::*;

    /// What every rank makes of a link.
    fn on_all<T: Send>(count: usize, work: impl Fn(usize, &mut dyn Link) -> T + Sync) -> Vec<T> {
        std::thread::scope(|scope| {
            let links = ThreadLink::joined(count).into_iter().enumerate();
            let work = &work;
            let threads: Vec<_> =
                links.map(|(rank, mut link)| scope.spawn(move || work(rank, &mut link))).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        })
    }

    #[test]
    fn sums_are_added_in_the_order_of_ranks_and_are_the_same_everywhere() {
        // In f32 the order shows: 1e8 + 1 - 1e8 is 0, 1e8 - 1e8 + 1 is 1.
        let values = [1e8_f32, 1.0, -1e8, 0.25];
        for count in 1..=4 {
            for length in [0, 1, 2, 7] {
                let sums = on_all(count, |rank, link| {
                    let mut own: Vec<f32> =
                        (0..length).map(|at| values[rank] + at as f32).collect();
                    sum(link, &mut own, &mut Scratch::default()).unwrap();
                    own
                });
                let expected: Vec<f32> = (0..length)
                    .map(|at| values[..count].iter().map(|v| v + at as f32).sum())
                    .collect();
                assert!(sums.iter().all(|own| *own == expected), "{count} {length}: {sums:?}");
            }
        }
    }

    #[test]
    fn rows_meet_the_same_rows_of_other_ranks() {
        let rows: [&[u32]; 3] = [&[2, 5, 9], &[], &[0, 5, 9, 11]];
        let value = |rank: usize, row: u32| [row as f32 + 0.5, 100.0 * rank as f32];
        let sums = on_all(3, |rank, link| {
            let own: Vec<f32> = rows[rank].iter().flat_map(|&row| value(rank, row)).collect();
            sum_rows(link, rows[rank], &own, 2, &mut Scratch::default()).unwrap()
        });
        assert_eq!(sums[0].rows, [0, 2, 5, 9, 11]);
        let expected = [0.5, 200.0, 2.5, 0.0, 11.0, 200.0, 19.0, 200.0, 11.5, 200.0];
        assert_eq!(sums[0].values, expected);
        assert!(sums.iter().all(|it| *it == sums[0]));
    }

    #[test]
    fn a_rank_that_leaves_is_named() {
        let errors = on_all(3, |rank, link| match rank {
            1 => String::new(),
            _ => sum(link, &mut [1.0; 8], &mut Scratch::default()).unwrap_err().to_string(),
        });
        assert_eq!(errors[0], "rank 1: it has left the run");
        assert!(errors[2].contains("it has left the run"), "{errors:?}");
    }
}
