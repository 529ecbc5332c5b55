//! Ranks that are processes started by `mpirun`.

use std::mem::ManuallyDrop;

use mpi::Threading;
use mpi::datatype::{Partition, PartitionMut};
use mpi::environment::Universe;
use mpi::topology::SimpleCommunicator;
use mpi::traits::{Communicator, CommunicatorCollectives};

use super::link::{Link, Place};
use super::threads;
use crate::error::{Error, Result};

/// This process among those of an MPI job. MPI itself ends all of them when one is gone.
pub struct MpiLink {
    place: Place,
    world: SimpleCommunicator,
    /// Dropping it waits for all ranks, which a rank that has failed must not do.
    universe: ManuallyDrop<Universe>,
}

impl MpiLink {
    /// Initialises MPI; from then on all is to be done in this thread.
    ///
    /// # Errors
    /// If MPI was initialised before, or cannot have other threads beside its own.
    pub fn new() -> Result<Self> {
        let begun = mpi::initialize_with_threading(Threading::Funneled);
        let (universe, threading) =
            begun.ok_or_else(|| Error::input("MPI", "it was initialised before"))?;
        if threading < Threading::Funneled {
            let problem = "this MPI allows no threads beside its own";
            return Err(Error::input("MPI", problem).with_hint("use Open MPI or MPICH"));
        }
        let world = universe.world();
        let local = world.split_shared(world.rank());
        let index = |number: i32| usize::try_from(number).expect("MPI counts from 0");
        let place = Place {
            rank: index(world.rank()),
            count: index(world.size()),
            local_rank: index(local.rank()),
        };
        Ok(Self { place, world, universe: ManuallyDrop::new(universe) })
    }
}

impl Link for MpiLink {
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
        assert_eq!(lengths[self.place.rank], 0, "a rank gives nothing to itself");
        let (mut counts, starts) = mpi_counts(counts)?;
        counts[self.place.rank] = 0;
        let send = Partition::new(words, counts, starts);
        let (counts, starts) = mpi_counts(lengths)?;
        let mut receive = PartitionMut::new(received, counts, starts);
        self.world.all_to_all_varcount_into(&send, &mut receive);
        Ok(())
    }

    fn share(&mut self, words: &[u32], received: &mut [u32], lengths: &[usize]) -> Result<()> {
        let (mut counts, starts) = mpi_counts(lengths)?;
        let rank = self.place.rank;
        assert_eq!(words.len(), lengths[rank], "a rank knows how much it gives");
        // MPI would copy what a rank has itself with one thread.
        let own: usize = lengths[..rank].iter().sum();
        let here = &mut received[own..][..words.len()];
        threads::copy(bytemuck::cast_slice(words), bytemuck::cast_slice_mut(here));
        counts[rank] = 0;
        let (to_others, _) = mpi_counts(&[words.len()])?;
        let to_all: Vec<i32> =
            (0..lengths.len()).map(|other| if other == rank { 0 } else { to_others[0] }).collect();
        let send = Partition::new(words, to_all, vec![0; lengths.len()]);
        let mut receive = PartitionMut::new(received, counts, starts);
        self.world.all_to_all_varcount_into(&send, &mut receive);
        Ok(())
    }

    fn finish(self: Box<Self>) {
        let Self { universe, .. } = *self;
        drop(ManuallyDrop::into_inner(universe));
    }
}

/// Lengths and starts as MPI takes them.
fn mpi_counts(lengths: &[usize]) -> Result<(Vec<i32>, Vec<i32>)> {
    let (mut counts, mut starts, mut at) = (Vec::new(), Vec::new(), 0);
    let count = |number: usize| {
        i32::try_from(number).map_err(|_| Error::Limit {
            limit: "words of one MPI message".into(),
            needed: number as u64,
            available: i32::MAX as u64,
            hint: "use fewer ranks or smaller batches".into(),
        })
    };
    for &length in lengths {
        counts.push(count(length)?);
        starts.push(count(at)?);
        at += length;
    }
    Ok((counts, starts))
}
