//! The engine on the host, for any type of number.

use crate::engine::{
    EarlyRead, Engine, EngineFingerprint, InputValues, Inputs, StoreCopy, TakeRead,
};
use crate::error::{Error, Result};
use crate::graph::{ArenaId, BufferId, Dispatch, Recording, StoreLayout};
use crate::kernels::{
    Abilities, Access, Call, Counts, Element, HostBuffer, Kernel, MAX_BINDINGS, Slot, Step,
};
use half::f16;
use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard};

/// A type of number that the host engine runs on.
pub trait HostNumber: Copy + Default + Send + Sync + 'static {
    /// The name of the engine over this number.
    const ENGINE: &'static str;
    /// The function of a kernel over this number.
    fn function(kernel: &Kernel) -> fn(Call<'_, Self>);
    fn from_f32(value: f32) -> Self;
    fn to_f32(self) -> f32;
    /// The numbers of an input as the engine reads them: themselves, or converted into `room`.
    fn read<'a>(values: &'a [f32], room: &'a mut Vec<Self>) -> &'a [Self];
}

impl HostNumber for f32 {
    const ENGINE: &'static str = "cpu";
    fn function(kernel: &Kernel) -> fn(Call<'_, Self>) {
        kernel.cpu
    }
    fn from_f32(value: f32) -> Self {
        value
    }
    fn to_f32(self) -> f32 {
        self
    }
    fn read<'a>(values: &'a [f32], _room: &'a mut Vec<f32>) -> &'a [f32] {
        values
    }
}

impl HostNumber for f64 {
    const ENGINE: &'static str = "oracle";
    fn function(kernel: &Kernel) -> fn(Call<'_, Self>) {
        kernel.oracle
    }
    fn from_f32(value: f32) -> Self {
        value.into()
    }
    fn to_f32(self) -> f32 {
        self as f32
    }
    fn read<'a>(values: &'a [f32], room: &'a mut Vec<f64>) -> &'a [f64] {
        room.clear();
        room.extend(values.iter().map(|&value| f64::from(value)));
        room
    }
}

/// The CPU engine over `f32`, or the oracles over `f64`.
#[derive(Clone, Debug)]
pub struct HostEngine<R> {
    max_binding_elements: usize,
    number: PhantomData<R>,
}

/// An arena on the host. Joined Stores share it.
type HostArena<R> = Arc<Mutex<HostBuffer<R>>>;

/// Arenas on the host; a clone shares them.
#[derive(Clone)]
pub struct HostStore<R> {
    arenas: Vec<HostArena<R>>,
}

/// A Recording with its transient buffers.
pub struct HostPlan<R> {
    recording: Recording,
    arenas: Vec<HostArena<R>>,
    buffers: Mutex<PlanBuffers<R>>,
}

struct PlanBuffers<R> {
    /// Room for converted inputs, by their index; empty where none is needed.
    rooms: Vec<Vec<R>>,
    /// The inputs that are outputs too, by their index, as they were in the last replay.
    kept: BTreeMap<usize, Vec<f32>>,
    transients: Vec<HostBuffer<R>>,
}

/// What is only read during a replay.
#[derive(Clone, Copy)]
enum Reads<'a, R> {
    F(&'a [R]),
    U(&'a [u32]),
}

impl<R> Default for HostEngine<R> {
    fn default() -> Self {
        Self { max_binding_elements: MAX_BINDING_ELEMENTS, number: PhantomData }
    }
}

/// Raised by every change of what CPU variants compute, were it the last bit, because a run that
/// goes on must not change its numbers unseen. `tests/plan.rs` sees such changes.
pub const NUMERICS: u32 = 2;

/// Whether products multiply and add at once.
fn has_fma() -> bool {
    #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
    return std::is_x86_feature_detected!("avx2") && std::is_x86_feature_detected!("fma");
    #[cfg(not(any(target_arch = "x86", target_arch = "x86_64")))]
    return cfg!(target_arch = "aarch64");
}

/// Elements of an arena on the host: 2 GiB of f32, as large as on most GPUs.
const MAX_BINDING_ELEMENTS: usize = 1 << 29;

impl<R> HostEngine<R> {
    /// An engine whose arenas are no larger than this, so that sharding can be tested.
    pub fn with_max_binding_elements(elements: usize) -> Self {
        Self { max_binding_elements: elements, number: PhantomData }
    }
}

impl<R: HostNumber> Engine for HostEngine<R> {
    type Store = HostStore<R>;
    type Plan = HostPlan<R>;

    fn name(&self) -> String {
        R::ENGINE.to_owned()
    }

    fn fingerprint(&self) -> EngineFingerprint {
        // Other widths of vectors give the same order of sums; multiplying and adding at once
        // does not give the same bits.
        let fused = if has_fma() { "fused multiply-add" } else { "no fused multiply-add" };
        EngineFingerprint {
            name: self.name(),
            driver: fused.to_owned(),
            kernels: NUMERICS.to_string(),
        }
    }

    fn max_binding_elements(&self) -> usize {
        self.max_binding_elements
    }

    /// There is one variant on the host; numbers are rounded to f16 where a plan says so.
    fn abilities(&self) -> Abilities {
        Abilities { f16: true, ..Abilities::CORE }
    }

    async fn create_store(&self, layout: &StoreLayout) -> Result<HostStore<R>> {
        let arenas = layout.arenas().iter();
        let arenas = arenas.map(|arena| HostBuffer::zeros(arena.element, arena.length));
        Ok(HostStore { arenas: arenas.map(|arena| Arc::new(Mutex::new(arena))).collect() })
    }

    fn join(&self, stores: &[&HostStore<R>]) -> HostStore<R> {
        HostStore { arenas: stores.iter().flat_map(|store| store.arenas.clone()).collect() }
    }

    fn write(
        &self,
        store: &HostStore<R>,
        arena: ArenaId,
        offset: usize,
        values: &[f32],
    ) -> Result<()> {
        match &mut *lock(&store.arenas[arena.0]) {
            HostBuffer::F(numbers) => {
                let numbers = &mut numbers[offset..offset + values.len()];
                for (number, value) in numbers.iter_mut().zip(values) {
                    *number = R::from_f32(*value);
                }
            }
            HostBuffer::U(words) => {
                let words = &mut words[offset..offset + values.len()];
                for (word, value) in words.iter_mut().zip(values) {
                    *word = value.to_bits();
                }
            }
        }
        Ok(())
    }

    async fn read(
        &self,
        store: &HostStore<R>,
        arena: ArenaId,
        offset: usize,
        length: usize,
    ) -> Result<Vec<f32>> {
        Ok(to_f32(&lock(&store.arenas[arena.0]), offset, length))
    }

    fn copy(&self, from: &HostStore<R>, to: &HostStore<R>, copies: &[StoreCopy]) -> Result<()> {
        for StoreCopy { from: (source, first), to: (target, at), length } in copies {
            let (from, mut to) = (lock(&from.arenas[source.0]), lock(&to.arenas[target.0]));
            match (&*from, &mut *to) {
                (HostBuffer::F(from), HostBuffer::F(to)) => {
                    to[*at..at + length].copy_from_slice(&from[*first..first + length]);
                }
                (HostBuffer::U(from), HostBuffer::U(to)) => {
                    to[*at..at + length].copy_from_slice(&from[*first..first + length]);
                }
                _ => unreachable!("elements are copied to elements of their type"),
            }
        }
        Ok(())
    }

    async fn compile(&self, store: &HostStore<R>, recording: Recording) -> Result<HostPlan<R>> {
        recording.check();
        let transients = recording.transients.iter();
        let transients =
            transients.map(|slot| HostBuffer::zeros(slot.element, slot.length)).collect();
        let rooms = recording.inputs.iter().map(|_| Vec::new()).collect();
        let outputs = recording.outputs.iter().map(|output| output.region.buffer);
        let inputs = outputs.filter_map(|buffer| match buffer {
            BufferId::Input(index) => Some((index, Vec::new())),
            BufferId::Arena(_) | BufferId::Transient(_) => None,
        });
        let kept = inputs.collect();
        let buffers = Mutex::new(PlanBuffers { rooms, kept, transients });
        Ok(HostPlan { recording, arenas: store.arenas.clone(), buffers })
    }

    fn run(&self, plan: &HostPlan<R>, step: &Step, inputs: &Inputs) -> Result<()> {
        // Inside the pool: from outside, every parallel loop of every kernel would put this thread
        // to sleep and wake it again, which costs a quarter of a small training step.
        rayon::scope(|_| self.replay(plan, step, inputs, |_| {}))
    }

    async fn run_reading(
        &self,
        plan: &HostPlan<R>,
        store: &HostStore<R>,
        (step, inputs): (&Step, &Inputs),
        reads: &[EarlyRead],
        take: &mut TakeRead<'_>,
    ) -> Result<()> {
        let run = |range: Range<usize>| match range.is_empty() {
            true => Ok(()),
            false => rayon::scope(|_| self.run_range(plan, step, inputs, range, |_| {})),
        };
        let mut done = 0;
        for (index, read) in reads.iter().enumerate() {
            run(done..read.behind)?;
            done = read.behind.max(done);
            take(index, self.read(store, read.arena, read.offset, read.length).await?.into())?;
        }
        run(done..plan.recording.dispatches.len())
    }

    async fn output(&self, plan: &HostPlan<R>, name: &str, step: &Step) -> Result<Vec<f32>> {
        let output = find_output(&plan.recording, name)?;
        let length = step.length(output.rows) * output.cols;
        let offset = output.region.offset;
        Ok(match output.region.buffer {
            BufferId::Input(index) => {
                lock(&plan.buffers).kept[&index][offset..offset + length].to_vec()
            }
            BufferId::Arena(arena) => to_f32(&lock(&plan.arenas[arena.0]), offset, length),
            BufferId::Transient(slot) => {
                to_f32(&lock(&plan.buffers).transients[slot], offset, length)
            }
        })
    }
}

impl<R: HostNumber> HostEngine<R> {
    /// Replays a plan and calls `before` in front of every dispatch with its index, and behind the
    /// last with the index after it: for timing.
    ///
    /// # Errors
    /// As [`Engine::run`].
    pub fn replay(
        &self,
        plan: &HostPlan<R>,
        step: &Step,
        inputs: &Inputs,
        before: impl FnMut(usize),
    ) -> Result<()> {
        self.run_range(plan, step, inputs, 0..plan.recording.dispatches.len(), before)
    }

    /// Runs some dispatches of a plan, `before` as in [`Self::replay`].
    ///
    /// # Errors
    /// As [`Engine::run`].
    pub fn run_range(
        &self,
        plan: &HostPlan<R>,
        step: &Step,
        inputs: &Inputs,
        range: Range<usize>,
        mut before: impl FnMut(usize),
    ) -> Result<()> {
        let recording = &plan.recording;
        check_counts(recording, &step.counts)?;
        let mut buffers = lock(&plan.buffers);
        let PlanBuffers { rooms, kept, transients } = &mut *buffers;
        let mut read = Vec::with_capacity(recording.inputs.len());
        for ((index, input), room) in recording.inputs.iter().enumerate().zip(rooms) {
            let length = step.length(input.rows) * input.cols;
            let values = inputs.require(&input.name, length)?;
            if let Some(kept) = kept.get_mut(&index) {
                keep(values, kept);
            }
            read.push(match values {
                InputValues::F(values) => Reads::F(R::read(values, room)),
                InputValues::U(values) => Reads::U(values),
            });
        }
        let mut arenas: Vec<_> = plan.arenas.iter().map(|arena| lock(arena)).collect();
        let mut all = AllBuffers { inputs: &read, transients, arenas: &mut arenas };
        for index in range.clone() {
            before(index);
            let dispatch = &recording.dispatches[index];
            let counted = recording.counts_of(dispatch).map(|slot| all.step_in(slot));
            all.call(dispatch, counted.as_ref().unwrap_or(step));
            all.round_halves(dispatch);
        }
        before(range.end);
        Ok(())
    }
}

impl<R> HostPlan<R> {
    /// What the plan runs.
    pub fn recording(&self) -> &Recording {
        &self.recording
    }
}

/// The output of this name.
pub(crate) fn find_output<'a>(
    recording: &'a Recording,
    name: &str,
) -> Result<&'a crate::graph::Output> {
    let output = recording.outputs.iter().find(|output| output.name == name);
    output.ok_or_else(|| Error::input(name, format!("{} has no such output", recording.name)))
}

/// That a replay does not exceed what its plan was compiled for.
pub(crate) fn check_counts(recording: &Recording, counts: &Counts) -> Result<()> {
    if counts.fit(&recording.capacity) {
        return Ok(());
    }
    let problem = format!("counts {:?} exceed capacity {:?}", counts.0, recording.capacity.0);
    Err(Error::input(recording.name.as_str(), problem))
}

struct AllBuffers<'a, 'g, R> {
    inputs: &'a [Reads<'a, R>],
    transients: &'a mut [HostBuffer<R>],
    arenas: &'a mut [MutexGuard<'g, HostBuffer<R>>],
}

impl<R: HostNumber> AllBuffers<'_, '_, R> {
    /// Calls a kernel with the written buffers taken out of their places, so that they can be
    /// borrowed mutably beside the read ones.
    fn call(&mut self, dispatch: &Dispatch, step: &Step) {
        let Dispatch { kernel, params, regions, .. } = dispatch;
        let function = R::function(kernel);
        let bindings = kernel.bindings.iter().zip(regions);
        let mut taken = [const { None }; MAX_BINDINGS];
        for ((binding, region), place) in bindings.zip(&mut taken) {
            if binding.access != Access::Read {
                let buffer = self.buffer(region.buffer);
                *place = Some(std::mem::replace(buffer, HostBuffer::U(Vec::new())));
            }
        }
        let mut outputs = taken.iter_mut().flatten();
        let slots = kernel.bindings.iter().zip(regions).map(|(binding, region)| {
            let range = region.offset..region.offset + region.length;
            if binding.access == Access::Read {
                match self.get(region.buffer) {
                    Reads::F(values) => Slot::ReadF(clip(values, range)),
                    Reads::U(values) => Slot::ReadU(clip(values, range)),
                }
            } else {
                match outputs.next() {
                    Some(HostBuffer::F(values)) => Slot::WriteF(&mut values[range]),
                    Some(HostBuffer::U(values)) => Slot::WriteU(&mut values[range]),
                    None => unreachable!("one buffer was taken for every written binding"),
                }
            }
        });
        function(Call::new(params, step, kernel.bindings, slots));
        for (region, buffer) in regions.iter().zip(taken) {
            if let Some(buffer) = buffer {
                *self.buffer(region.buffer) = buffer;
            }
        }
    }

    /// The step whose counts a dispatch has left in a transient slot.
    fn step_in(&self, slot: usize) -> Step {
        let HostBuffer::U(words) = &self.transients[slot] else {
            unreachable!("counts are integers")
        };
        Step::of(Counts(std::array::from_fn(|axis| words[axis])))
    }

    /// Rounds what a dispatch wrote as f16, so that it means what it means on a GPU.
    fn round_halves(&mut self, dispatch: &Dispatch) {
        for (index, region) in dispatch.regions.iter().enumerate() {
            let written = dispatch.kernel.bindings[index].access != Access::Read;
            if !written || dispatch.kernel.element(index, dispatch.halves) != Element::F16 {
                continue;
            }
            let HostBuffer::F(values) = self.buffer(region.buffer) else {
                unreachable!("only numbers come as halves")
            };
            for value in &mut values[region.offset..region.offset + region.length] {
                *value = R::from_f32(f16::from_f32(value.to_f32()).to_f32());
            }
        }
    }

    fn buffer(&mut self, id: BufferId) -> &mut HostBuffer<R> {
        match id {
            BufferId::Input(index) => {
                unreachable!("input {index} is written: recordings are checked")
            }
            BufferId::Arena(arena) => &mut self.arenas[arena.0],
            BufferId::Transient(slot) => &mut self.transients[slot],
        }
    }

    fn get(&self, id: BufferId) -> Reads<'_, R> {
        let buffer = match id {
            BufferId::Input(index) => return self.inputs[index],
            BufferId::Arena(arena) => &self.arenas[arena.0],
            BufferId::Transient(slot) => &self.transients[slot],
        };
        match buffer {
            HostBuffer::F(values) => Reads::F(values),
            HostBuffer::U(values) => Reads::U(values),
        }
    }
}

/// Copies an input that can be read as an output afterwards.
fn keep(values: &InputValues, kept: &mut Vec<f32>) {
    kept.clear();
    match values {
        InputValues::F(values) => kept.extend_from_slice(values),
        InputValues::U(values) => kept.extend(values.iter().map(|&word| f32::from_bits(word))),
    }
}

/// The range, or what there is of it: inputs are as long as this step, not as the capacity.
fn clip<T>(values: &[T], range: std::ops::Range<usize>) -> &[T] {
    &values[range.start.min(values.len())..range.end.min(values.len())]
}

fn to_f32<R: HostNumber>(buffer: &HostBuffer<R>, offset: usize, length: usize) -> Vec<f32> {
    match buffer {
        HostBuffer::F(values) => {
            values[offset..offset + length].iter().map(|value| value.to_f32()).collect()
        }
        HostBuffer::U(values) => {
            values[offset..offset + length].iter().map(|&word| f32::from_bits(word)).collect()
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic while a buffer was taken out is a bug that has been reported already.
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
