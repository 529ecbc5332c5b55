//! What a run holds of its ranks.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::link::{Link, Place, gather};
use super::sums::{RowSums, Scratch, sum, sum_rows};
use super::threads;
#[cfg(not(target_arch = "wasm32"))]
use crate::error::Error;
use crate::error::Result;
#[cfg(not(target_arch = "wasm32"))]
use crate::platform::{Keeper, Promise};

/// Gradients that are summed at once, unless it is said otherwise: 16 MiB.
const BUCKET_ELEMENTS: usize = 4 << 20;

/// Buckets whose room is kept; an engine that gives buckets away takes none back.
const MOST_SPARE: usize = 10;

/// The processes of a run, seen from one of them. What is asked of others goes on in a thread of
/// its own, in the order in which it was asked.
pub struct Ranks {
    place: Place,
    bucket_elements: usize,
    sent_words: Arc<AtomicU64>,
    /// Room of buckets that were summed, for the next: fresh memory costs as much as a copy.
    spare: Mutex<Vec<Vec<f32>>>,
    #[cfg(not(target_arch = "wasm32"))]
    link: Option<Keeper<Option<Joined>>>,
}

/// A link and the room that it needs.
#[cfg(not(target_arch = "wasm32"))]
struct Joined {
    link: Box<dyn Link>,
    scratch: Scratch,
}

/// A link, and how much is given to others through it.
#[cfg(not(target_arch = "wasm32"))]
struct Counted<L> {
    link: L,
    sent_words: Arc<AtomicU64>,
}

#[cfg(not(target_arch = "wasm32"))]
impl<L: Link> Link for Counted<L> {
    fn place(&self) -> Place {
        self.link.place()
    }

    fn exchange(
        &mut self,
        words: &[u32],
        counts: &[usize],
        received: &mut [u32],
        lengths: &[usize],
    ) -> Result<()> {
        let to_others = words.len() - counts[self.place().rank];
        self.sent_words.fetch_add(to_others as u64, Ordering::Relaxed);
        self.link.exchange(words, counts, received, lengths)
    }

    fn share(&mut self, words: &[u32], received: &mut [u32], lengths: &[usize]) -> Result<()> {
        let to_others = words.len() * (self.place().count - 1);
        self.sent_words.fetch_add(to_others as u64, Ordering::Relaxed);
        self.link.share(words, received, lengths)
    }

    fn finish(self: Box<Self>) {
        Box::new(self.link).finish();
    }
}

/// A result that may still be on its way.
pub enum Coming<T> {
    Here(T),
    #[cfg(not(target_arch = "wasm32"))]
    Later(Promise<Result<T>>),
}

impl<T> Coming<T> {
    /// The result, for which it waits.
    ///
    /// # Errors
    /// If a rank is gone.
    pub fn wait(self) -> Result<T> {
        match self {
            Self::Here(value) => Ok(value),
            #[cfg(not(target_arch = "wasm32"))]
            Self::Later(promise) => promise.wait(),
        }
    }
}

impl Ranks {
    /// A run of one process.
    pub fn alone() -> Self {
        Self {
            place: Place { rank: 0, count: 1, local_rank: 0 },
            bucket_elements: BUCKET_ELEMENTS,
            sent_words: Arc::default(),
            spare: Mutex::default(),
            #[cfg(not(target_arch = "wasm32"))]
            link: None,
        }
    }

    /// One of several, joined with the others by a link that is made, and stays, in a thread of
    /// its own.
    ///
    /// # Errors
    /// If it cannot be made, or the system has no thread to give.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn joined<L: Link + 'static>(
        make: impl FnOnce() -> Result<L> + Send + 'static,
    ) -> Result<Self> {
        let no_thread = |error: std::io::Error| Error::input("thread for ranks", error.to_string());
        let keeper = Keeper::new("ranks", || None).map_err(no_thread)?;
        let sent_words: Arc<AtomicU64> = Arc::default();
        let counter = Arc::clone(&sent_words);
        let begin = keeper.run(move |joined: &mut Option<Joined>| {
            let link = make()?;
            let place = link.place();
            let link = Box::new(Counted { link, sent_words: counter });
            *joined = Some(Joined { link, scratch: Scratch::default() });
            Ok(place)
        });
        let (place, bucket_elements) = (begin.wait()?, BUCKET_ELEMENTS);
        let spare = Mutex::default();
        Ok(Self { place, bucket_elements, sent_words, spare, link: Some(keeper) })
    }

    /// The same with buckets of so many gradients, of which each is summed at once; as many on
    /// every rank. No sum depends on it.
    pub fn with_bucket_elements(self, bucket_elements: usize) -> Self {
        assert!(bucket_elements > 0, "a bucket has elements");
        Self { bucket_elements, ..self }
    }

    /// Gradients of a bucket.
    pub fn bucket_elements(&self) -> usize {
        self.bucket_elements
    }

    /// Which of them this is.
    pub fn place(&self) -> Place {
        self.place
    }

    /// Whether there are no others.
    pub fn is_alone(&self) -> bool {
        self.place.count == 1
    }

    /// Whether this is the one that writes what the run leaves.
    pub fn is_first(&self) -> bool {
        self.place.rank == 0
    }

    /// Bytes that were given to others since the last call.
    pub fn take_sent_bytes(&self) -> u64 {
        4 * self.sent_words.swap(0, Ordering::Relaxed)
    }

    /// A copy of a bucket, in room that was given back.
    pub fn copied(&self, values: &[f32]) -> Vec<f32> {
        let mut copy = self.spare().pop().unwrap_or_default();
        copy.resize(values.len(), 0.0);
        threads::copy(values, &mut copy);
        copy
    }

    /// Takes the room of a bucket that nobody needs any more.
    pub fn take_back(&self, room: Vec<f32>) {
        let mut spare = self.spare();
        if spare.len() < MOST_SPARE {
            spare.push(room);
        }
    }

    fn spare(&self) -> MutexGuard<'_, Vec<Vec<f32>>> {
        self.spare.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins to replace `values`, as many on every rank, by their sums.
    pub fn begin_sum(&self, mut values: Vec<f32>) -> Coming<Vec<f32>> {
        self.begin(move |joined| {
            if let Some((link, scratch)) = joined {
                sum(link, &mut values, scratch)?;
            }
            Ok(values)
        })
    }

    /// Begins to sum rows, of which this rank has `rows`, increasing, with `values` [rows, cols].
    pub fn begin_sum_rows(&self, rows: Vec<u32>, values: Vec<f32>, cols: usize) -> Coming<RowSums> {
        self.begin(move |joined| match joined {
            Some((link, scratch)) => sum_rows(link, &rows, &values, cols, scratch),
            None => Ok(RowSums { rows, values }),
        })
    }

    /// The words of every rank, in the order of the ranks.
    ///
    /// # Errors
    /// If a rank is gone.
    pub fn gather(&self, words: Vec<u32>) -> Result<Vec<Vec<u32>>> {
        let gathered = self.begin(move |joined| match joined {
            Some((link, _)) => gather(link, &words),
            None => Ok(vec![words]),
        });
        gathered.wait()
    }

    /// The numbers of every rank, in the order of the ranks.
    ///
    /// # Errors
    /// If a rank is gone.
    pub fn gather_numbers(&self, numbers: &[f64]) -> Result<Vec<Vec<f64>>> {
        let halves = |number: &f64| [number.to_bits() as u32, (number.to_bits() >> 32) as u32];
        let all = self.gather(numbers.iter().flat_map(halves).collect())?;
        let number =
            |halves: &[u32]| f64::from_bits(u64::from(halves[0]) | u64::from(halves[1]) << 32);
        Ok(all.iter().map(|words| words.chunks_exact(2).map(number).collect()).collect())
    }

    /// Whether it is so on any rank. All wait for all.
    ///
    /// # Errors
    /// If a rank is gone.
    pub fn any(&self, here: bool) -> Result<bool> {
        if self.is_alone() {
            return Ok(here);
        }
        Ok(self.gather(vec![here.into()])?.concat().contains(&1))
    }

    /// Ends the job in good order, once all ranks do so. Without it who started them has to end
    /// the others.
    pub fn finish(&self) {
        #[cfg(not(target_arch = "wasm32"))]
        if let Some(keeper) = &self.link {
            let finish = |joined: Joined| joined.link.finish();
            keeper.run(move |joined| joined.take().into_iter().for_each(finish)).wait();
        }
    }

    /// Has something done with the link, if there is one.
    fn begin<T: Send + 'static>(
        &self,
        work: impl FnOnce(Option<(&mut dyn Link, &mut Scratch)>) -> Result<T> + Send + 'static,
    ) -> Coming<T> {
        #[cfg(not(target_arch = "wasm32"))]
        if let Some(keeper) = &self.link {
            return Coming::Later(keeper.run(move |joined| {
                let Joined { link, scratch } =
                    joined.as_mut().expect("nothing is asked at the end");
                work(Some((link.as_mut(), scratch)))
            }));
        }
        Coming::Here(work(None).expect("nothing is moved"))
    }
}
