//! Room in the caches of running streams: larger ones where streams need them, and no more for one
//! than one binding holds for all.

use super::place::Place;
use super::slot::{Progress, Slot};
use super::streams::Streams;
use crate::blt::CacheShape;
use crate::engine::Engine;
use crate::error::{Error, Result};

/// What a stream needs of the caches, with its number.
pub(super) type Need = (usize, CacheShape);

/// No cache is without rows.
const SMALLEST: CacheShape = CacheShape { streams: 1, patches: 1, states: 1, rewind: 0 };

impl<E: Engine> Streams<'_, E> {
    /// Makes room for these streams beside those that are held. Gives the ones that there is no
    /// room for, and why; of several, those that need the most.
    ///
    /// # Errors
    /// A device that fails.
    pub(super) async fn make_room(&mut self, needs: &[Need]) -> Result<Vec<(usize, Error)>> {
        let mut held = self.held();
        let all = needs.iter().fold(held, |sum, (_, need)| sum.max(need));
        match self.grow(all).await {
            Ok(()) => return Ok(Vec::new()),
            Err(error) if !error.is_shortage() => return Err(error),
            Err(error) if needs.len() == 1 => return Ok(vec![(needs[0].0, error)]),
            Err(_) => {}
        }
        let mut needs = needs.to_vec();
        needs.sort_by_key(|(stream, need)| (need.patches, need.states, *stream));
        let mut refused = Vec::new();
        for (stream, need) in needs {
            let with_it = held.max(&need);
            match self.grow(with_it).await {
                Ok(()) => held = with_it,
                Err(error) if error.is_shortage() => refused.push((stream, error)),
                Err(error) => return Err(error),
            }
        }
        Ok(refused)
    }

    /// What the caches hold and must keep.
    fn held(&self) -> CacheShape {
        let slots = self.slots.iter().enumerate();
        let held = slots.filter_map(|(stream, slot)| match slot {
            Some(Slot { progress: Progress::Seeded, place, .. }) => Some(CacheShape {
                streams: stream + 1,
                patches: place.patch_count,
                states: place.read - place.oldest_state(),
                rewind: 0,
            }),
            // The caches of the entropy model are full already.
            Some(Slot { progress: Progress::Cut(_), .. }) => {
                Some(CacheShape { streams: stream + 1, ..CacheShape::NONE })
            }
            _ => None,
        });
        held.fold(CacheShape::NONE, |sum, one| sum.max(&one))
    }

    async fn grow(&mut self, needed: CacheShape) -> Result<()> {
        let shape = self.caches.shape;
        if needed.fits(&shape) {
            return Ok(());
        }
        let larger = self.ample(CacheShape { rewind: shape.rewind, ..needed.max(&SMALLEST) })?;
        let place = |slot: &Option<Slot>| slot.as_ref().map(|slot| slot.place.clone());
        let kept = self.slots.iter().take(shape.streams.min(larger.streams));
        let places: Vec<Option<Place>> = kept.map(place).collect();
        let places: Vec<Option<&Place>> = places.iter().map(Option::as_ref).collect();
        self.caches = self.caches.grown(larger, &places).await?;
        // They hold the texts, and nothing that is ahead of them.
        self.slots.iter_mut().flatten().for_each(|slot| slot.ahead.clear());
        self.plans.clear();
        Ok(())
    }

    /// What the caches are made for where so much is needed: powers of two, and no less than now,
    /// as far as positions and bindings go.
    fn ample(&self, needed: CacheShape) -> Result<CacheShape> {
        let now = self.caches.shape;
        let round = |now: usize, needed: usize, most: usize| match needed <= now {
            true => now,
            false => needed.next_power_of_two().min(most).max(needed),
        };
        let patches = round(now.patches, needed.patches, self.positions.patches.unwrap_or(1));
        let states = round(now.states, needed.states, self.positions.bytes);
        let wanted = round(now.streams, needed.streams, usize::MAX);
        let fits = |shape: CacheShape| self.caches.check(&shape).is_ok();
        // Room that nobody needs any more goes first.
        let streams =
            if fits(CacheShape { streams: wanted, ..needed }) { wanted } else { needed.streams };
        let least = CacheShape { streams, ..needed };
        self.caches.check(&least)?;
        Ok(CacheShape {
            streams,
            rewind: now.rewind,
            patches: largest(needed.patches, patches, |patches| {
                fits(CacheShape { patches, ..least })
            }),
            states: largest(needed.states, states, |states| fits(CacheShape { states, ..least })),
        })
    }
}

impl Place {
    /// What a stream needs to read the next id, with which its patch closes or does not.
    pub fn need(&self, stream: usize, closes: bool) -> Need {
        let patches = self.patch_count + usize::from(closes);
        let states = self.read + 1 - self.oldest_state();
        (stream, CacheShape { streams: stream + 1, patches, states, rewind: 0 })
    }
}

/// The largest number of `least..=most` that fits, where the least does and every smaller one than
/// one that fits.
fn largest(least: usize, most: usize, fits: impl Fn(usize) -> bool) -> usize {
    let (mut low, mut high) = (least, most.max(least));
    while low < high {
        let middle = high - (high - low) / 2;
        match fits(middle) {
            true => low = middle,
            false => high = middle - 1,
        }
    }
    low
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_much_as_fits_is_taken() {
        for limit in 3..20 {
            assert_eq!(largest(3, 15, |count| count <= limit), limit.min(15));
        }
        assert_eq!(largest(7, 2, |_| true), 7);
    }
}
