//! What an engine does: keep Stores, compile Recordings, replay them.
//!
//! Two engines implement it, `gpu/` and `cpu/`; jobs are written against the trait. Futures need
//! not be `Send`: an engine may live in a browser.

use crate::error::{Error, Result};
use crate::graph::{ArenaId, Placement, Recording, StoreLayout};
use crate::kernels::{Abilities, Step, Tuned};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;

/// Runs Recordings over Stores.
#[allow(async_fn_in_trait, reason = "engines are used directly, never across threads by the crate")]
pub trait Engine {
    /// Persistent buffers, laid out by a [`StoreLayout`].
    type Store;
    /// A Recording with everything resolved: nothing is created when it is replayed.
    type Plan;

    /// `cpu`, or `backend/adapter name`.
    fn name(&self) -> String;

    /// What else its bits depend on, besides the plan.
    fn fingerprint(&self) -> EngineFingerprint;

    /// Most elements that one binding holds, and so an arena.
    fn max_binding_elements(&self) -> usize;

    /// What variants of kernels are chosen by.
    fn abilities(&self) -> Abilities;

    /// Variants that were measured to be the fastest here. They never change while it lives.
    fn tuned(&self) -> Tuned {
        Tuned::NONE
    }

    /// Buffers full of zeros for every arena of the layout.
    ///
    /// # Errors
    /// If the device has not the memory.
    async fn create_store(&self, layout: &StoreLayout) -> Result<Self::Store>;

    /// A Store of the arenas of several, one after the other, which it shares with them: what a
    /// layout made by [`StoreLayout::append`] describes.
    fn join(&self, stores: &[&Self::Store]) -> Self::Store;

    /// Overwrites elements of an arena.
    ///
    /// # Errors
    /// If the device is lost.
    fn write(
        &self,
        store: &Self::Store,
        arena: ArenaId,
        offset: usize,
        values: &[f32],
    ) -> Result<()>;

    /// Elements of an arena.
    ///
    /// # Errors
    /// If the device is lost.
    async fn read(
        &self,
        store: &Self::Store,
        arena: ArenaId,
        offset: usize,
        length: usize,
    ) -> Result<Vec<f32>>;

    /// Copies elements from one Store into another, on the device: nothing passes the host, and
    /// what is replayed from now on sees them. The Stores have no arena in common.
    ///
    /// # Errors
    /// If the device is lost.
    fn copy(&self, from: &Self::Store, to: &Self::Store, copies: &[StoreCopy]) -> Result<()>;

    /// Whether every variant of a kernel in a Recording has agreed with its oracle here. Where one
    /// does not it is left out of [`Self::abilities`] from then on, and the answer is no.
    ///
    /// # Errors
    /// If the device is lost.
    async fn trusts(&self, _recording: &Recording) -> Result<bool> {
        Ok(true)
    }

    /// Resolves a Recording over the buffers of a Store.
    ///
    /// # Errors
    /// If the device has not the memory or refuses a shader.
    async fn compile(&self, store: &Self::Store, recording: Recording) -> Result<Self::Plan>;

    /// Replays a plan. Returns when the work is on its way, not when it is done.
    ///
    /// # Errors
    /// If an input is missing or of the wrong size, or the device is lost.
    fn run(&self, plan: &Self::Plan, step: &Step, inputs: &Inputs) -> Result<()>;

    /// The same in turns with a host that draws on the same queue: where an engine was told of one
    /// it is pending between submissions, and what the host submits comes in between. Dropped
    /// before it is done, it has done a part of the replay.
    ///
    /// # Errors
    /// As [`Self::run`]; if the plan is replayed anew in between.
    async fn run_in_turns(&self, plan: &Self::Plan, step: &Step, inputs: &Inputs) -> Result<()> {
        self.run(plan, step, inputs)
    }

    /// Replays a plan and reads ranges of the Store as they are behind some of its dispatches, in
    /// the order of `reads`, whose `behind` never falls. `take` has the number of each and its
    /// elements as soon as they are there, while what comes behind may still go on; they are lent
    /// where the engine has them in memory of its own.
    ///
    /// # Errors
    /// As [`Self::run`] and [`Self::read`], or what `take` says.
    async fn run_reading(
        &self,
        plan: &Self::Plan,
        store: &Self::Store,
        (step, inputs): (&Step, &Inputs),
        reads: &[EarlyRead],
        take: &mut TakeRead<'_>,
    ) -> Result<()> {
        self.run(plan, step, inputs)?;
        for (index, EarlyRead { arena, offset, length, .. }) in reads.iter().enumerate() {
            take(index, self.read(store, *arena, *offset, *length).await?.into())?;
        }
        Ok(())
    }

    /// Reads an output of the last replay of a plan, as long as the counts of `step` say.
    ///
    /// # Errors
    /// If there is no such output or the device is lost.
    async fn output(&self, plan: &Self::Plan, name: &str, step: &Step) -> Result<Vec<f32>>;

    /// Replays a plan and reads outputs of it, in one submission where that can be: what a step of
    /// generation waits for.
    ///
    /// # Errors
    /// As [`Self::run`] and [`Self::output`].
    async fn run_for(
        &self,
        plan: &Self::Plan,
        step: &Step,
        inputs: &Inputs,
        names: &[&str],
    ) -> Result<Vec<Vec<f32>>> {
        self.run(plan, step, inputs)?;
        let mut outputs = Vec::with_capacity(names.len());
        for name in names {
            outputs.push(self.output(plan, name, step).await?);
        }
        Ok(outputs)
    }

    /// The same without waiting, where the device works by itself: what is replayed behind it, of
    /// this plan too, does not change what the reading finds.
    ///
    /// # Errors
    /// As [`Self::run`] and [`Self::output`].
    async fn begin<'e>(
        &'e self,
        plan: &Self::Plan,
        step: &Step,
        inputs: &Inputs,
        names: &[&str],
    ) -> Result<Reading<'e>> {
        let outputs = self.run_for(plan, step, inputs, names).await?;
        Ok(Reading::new(std::future::ready(Ok(outputs))))
    }

    /// Overwrites a tensor of the Store, all shards of it.
    ///
    /// # Errors
    /// If the number of values is not that of the tensor, or the device is lost.
    fn write_tensor(&self, store: &Self::Store, place: &Placement, values: &[f32]) -> Result<()> {
        if values.len() != place.length() {
            let problem = format!("expected {} values, got {}", place.length(), values.len());
            return Err(Error::input("tensor", problem));
        }
        self.write_rows(store, place, 0, values)
    }

    /// Overwrites rows of a tensor from `first_row` on, in whichever shards they are. The values
    /// are elements of its arena, for packed weights the bits of words.
    ///
    /// # Errors
    /// If the values are no whole rows or more than there are, or the device is lost.
    fn write_rows(
        &self,
        store: &Self::Store,
        place: &Placement,
        first_row: usize,
        values: &[f32],
    ) -> Result<()> {
        let row_length = place.row_length();
        let rows = values.len() / row_length.max(1);
        let inside = first_row.checked_add(rows).is_some_and(|end| end <= place.rows);
        if rows * row_length != values.len() || !inside {
            let problem = format!(
                "{} values from row {first_row} on are no rows of a tensor of {} x {}",
                values.len(),
                place.rows,
                place.cols,
            );
            return Err(Error::input("tensor", problem));
        }
        for shard in &place.shards {
            let begin = first_row.max(shard.first_row);
            let end = (first_row + rows).min(shard.first_row + shard.rows);
            if begin < end {
                let offset = shard.offset + (begin - shard.first_row) * row_length;
                let values =
                    &values[(begin - first_row) * row_length..][..(end - begin) * row_length];
                self.write(store, shard.arena, offset, values)?;
            }
        }
        Ok(())
    }

    /// Reads rows of a tensor of the Store, from whichever shards they are in.
    ///
    /// # Errors
    /// If there are no such rows, or the device is lost.
    async fn read_rows(
        &self,
        store: &Self::Store,
        place: &Placement,
        rows: Range<usize>,
    ) -> Result<Vec<f32>> {
        if rows.end > place.rows {
            let problem = format!("it has no row {} of its {}", rows.end - 1, place.rows);
            return Err(Error::input("tensor", problem));
        }
        let row_length = place.row_length();
        let mut values = Vec::with_capacity(rows.len() * row_length);
        for shard in &place.shards {
            let begin = rows.start.max(shard.first_row);
            let end = rows.end.min(shard.first_row + shard.rows);
            if begin < end {
                let offset = shard.offset + (begin - shard.first_row) * row_length;
                let length = (end - begin) * row_length;
                values.extend(self.read(store, shard.arena, offset, length).await?);
            }
        }
        Ok(values)
    }

    /// Reads a tensor of the Store, all shards of it.
    ///
    /// # Errors
    /// If the device is lost.
    async fn read_tensor(&self, store: &Self::Store, place: &Placement) -> Result<Vec<f32>> {
        let mut values = Vec::with_capacity(place.length());
        for shard in &place.shards {
            let length = shard.rows * place.row_length();
            values.extend(self.read(store, shard.arena, shard.offset, length).await?);
        }
        Ok(values)
    }
}

/// Outputs of a replay that is on its way, in the order in which they were asked for.
pub struct Reading<'e>(Pin<Box<dyn Future<Output = Outputs> + 'e>>);

type Outputs = Result<Vec<Vec<f32>>>;

impl<'e> Reading<'e> {
    /// What this future waits for; the work does not wait for the future.
    pub fn new(outputs: impl Future<Output = Outputs> + 'e) -> Self {
        Self(Box::pin(outputs))
    }

    /// Waits for the outputs.
    ///
    /// # Errors
    /// If the device is lost.
    pub async fn finish(self) -> Result<Vec<Vec<f32>>> {
        self.0.await
    }
}

/// A range of the Store that is read on the way of a replay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EarlyRead {
    /// Dispatches that are done before.
    pub behind: usize,
    pub arena: ArenaId,
    /// First element.
    pub offset: usize,
    /// Number of elements.
    pub length: usize,
}

/// Takes the number of an early read and its elements.
pub type TakeRead<'t> = dyn FnMut(usize, Cow<'_, [f32]>) -> Result<()> + 't;

/// Consecutive elements that are copied from one Store into another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoreCopy {
    /// Arena and first element that are read.
    pub from: (ArenaId, usize),
    /// Arena and first element that are written.
    pub to: (ArenaId, usize),
    /// Number of elements.
    pub length: usize,
}

/// What the bits of a plan depend on besides the plan itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EngineFingerprint {
    /// [`Engine::name`].
    pub name: String,
    /// Driver and its version, or the instructions that the processor has.
    pub driver: String,
    /// A hash of all shaders, or the number of what the CPU engine computes.
    pub kernels: String,
}

impl EngineFingerprint {
    /// What differs between this one and another, if anything does: "this, not that".
    pub fn difference(&self, other: &Self) -> Option<String> {
        let parts = [
            ("the device", &self.name, &other.name),
            ("the driver", &self.driver, &other.driver),
            ("the set of kernels", &self.kernels, &other.kernels),
        ];
        let (what, this, that) = parts.into_iter().find(|(_, this, that)| this != that)?;
        Some(format!("{what} was {this} and is {that}"))
    }
}

/// What the host hands in before a replay, by name. A clone shares the contents.
#[derive(Clone, Debug, Default)]
pub struct Inputs {
    values: BTreeMap<String, Arc<InputValues>>,
}

/// Contents of one input.
#[derive(Clone, Debug)]
pub enum InputValues {
    F(Vec<f32>),
    U(Vec<u32>),
}

impl InputValues {
    /// Number of elements.
    pub fn len(&self) -> usize {
        match self {
            Self::F(values) => values.len(),
            Self::U(values) => values.len(),
        }
    }

    /// Whether there is no element.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Inputs {
    /// Sets an input of numbers.
    pub fn set_f(&mut self, name: &str, values: Vec<f32>) {
        self.values.insert(name.to_owned(), Arc::new(InputValues::F(values)));
    }

    /// Sets an input of integers.
    pub fn set_u(&mut self, name: &str, values: Vec<u32>) {
        self.values.insert(name.to_owned(), Arc::new(InputValues::U(values)));
    }

    /// The contents of an input, if it was set.
    pub fn get(&self, name: &str) -> Option<&InputValues> {
        self.values.get(name).map(AsRef::as_ref)
    }

    /// The contents of an input that must be there with this many elements.
    ///
    /// # Errors
    /// [`Error::Input`] naming the input.
    pub fn require(&self, name: &str, length: usize) -> Result<&InputValues> {
        let values = self.get(name);
        let values = values.ok_or_else(|| Error::input(name, "this input was not set"))?;
        if values.len() != length {
            let problem = format!("expected {length} elements, got {}", values.len());
            return Err(Error::input(name, problem));
        }
        Ok(values)
    }
}
