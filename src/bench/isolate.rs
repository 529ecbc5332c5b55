//! One dispatch of a Recording by itself, over buffers of its own, to be timed.
//!
//! Index tables are those of the batch, and indices that a kernel computes are computed first;
//! numbers are random. Several copies of the buffers take turns, so that no dispatch finds in a
//! cache what the one before it left.

use crate::blt::config::ModelConfig;
use crate::blt::{MOMENT2, TRAIN_STATE, hash_powers};
use crate::engine::{InputValues, Inputs};
use crate::error::{Error, Result};
use crate::graph::{BufferId, Dispatch, Input, Recording, Region, StoreLayout};
use crate::kernels::dense::{copy, fill};
use crate::kernels::optim::train_state;
use crate::kernels::{Access, Counts, Element, Extent, Halves, Kernel, Step};
use crate::random::Random;
use bytemuck::NoUninit;

/// A Recording whose last dispatches are the same one over several copies of its buffers.
pub(super) struct Isolated {
    pub recording: Recording,
    /// The first of the copies; those before it put contents into buffers.
    pub first: usize,
    pub step: Step,
    pub inputs: Inputs,
}

/// A step of a model: what a dispatch is taken from.
pub(super) struct Context<'a> {
    pub recording: &'a Recording,
    pub layout: &'a StoreLayout,
    pub model: Option<&'a ModelConfig>,
    pub step: Step,
    pub inputs: &'a Inputs,
}

/// Bytes that the copies have together, more than the caches of any device.
const ROTATED_BYTES: usize = 256 << 20;
/// Most copies: a dispatch that reads so little is not bound by memory.
const MOST_COPIES: usize = 256;
/// Random numbers that buffers are filled from.
const POOL_LENGTH: usize = 1 << 20;
const POOL_STREAM: u64 = 0x706f_6f6c;
const POOL: &str = "pool";

impl Context<'_> {
    /// The dispatch at an index, with as many copies of its buffers as it takes to leave caches
    /// behind.
    ///
    /// # Errors
    /// If it reads indices that nobody can make.
    pub fn isolate(&self, index: usize) -> Result<Isolated> {
        let dispatch = &self.recording.dispatches[index];
        let bytes: usize =
            spans(dispatch).iter().map(|span| span.length * span.element.bytes()).sum();
        self.copies(index, ROTATED_BYTES.div_ceil(bytes.max(1)).clamp(1, MOST_COPIES))
    }

    /// The dispatch at an index over one copy of its buffers.
    ///
    /// # Errors
    /// As [`Self::isolate`].
    pub fn isolate_once(&self, index: usize) -> Result<Isolated> {
        self.copies(index, 1)
    }

    fn copies(&self, index: usize, copy_count: usize) -> Result<Isolated> {
        let mut build = Build::new(self);
        let mut timed = Vec::new();
        for _ in 0..copy_count {
            timed.push(build.dispatch(index)?);
        }
        let first = build.recording.dispatches.len();
        build.recording.dispatches.extend(timed);
        build.recording.check();
        let Build { recording, inputs, .. } = build;
        Ok(Isolated { recording, first, step: self.step, inputs })
    }
}

/// What of one buffer a dispatch binds.
struct Span {
    buffer: BufferId,
    element: Element,
    /// First element, and how many until the last.
    offset: usize,
    length: usize,
    /// Its former contents matter.
    is_read: bool,
}

/// The buffers of a dispatch, each once.
fn spans(dispatch: &Dispatch) -> Vec<Span> {
    let mut spans: Vec<Span> = Vec::new();
    for (index, region) in dispatch.regions.iter().enumerate() {
        let element = dispatch.kernel.element(index, dispatch.halves);
        let is_read = dispatch.kernel.bindings[index].access != Access::Write;
        let end = region.offset + region.length;
        match spans.iter_mut().find(|span| span.buffer == region.buffer) {
            None => {
                let (buffer, offset, length) = (region.buffer, region.offset, region.length);
                spans.push(Span { buffer, element, offset, length, is_read });
            }
            Some(span) => {
                let first = span.offset.min(region.offset);
                span.length = (span.offset + span.length).max(end) - first;
                span.offset = first;
                span.is_read |= is_read;
            }
        }
    }
    spans
}

struct Build<'a> {
    from: &'a Context<'a>,
    recording: Recording,
    inputs: Inputs,
}

impl<'a> Build<'a> {
    fn new(from: &'a Context<'a>) -> Self {
        let mut build = Self {
            from,
            recording: Recording::new("isolated", from.recording.capacity),
            inputs: Inputs::default(),
        };
        let mut random = Random::new(0, POOL_STREAM);
        let pool = (0..POOL_LENGTH).map(|_| random.next_f32() * 2.0 - 1.0).collect();
        build.values(POOL, pool);
        build
    }

    /// The dispatch at `index` over buffers of its own, which are given contents.
    fn dispatch(&mut self, index: usize) -> Result<Dispatch> {
        let original = &self.from.recording.dispatches[index];
        let mut dispatch = original.clone();
        for span in spans(original) {
            let (buffer, offset) = self.buffer(index, &span)?;
            let regions = original.regions.iter().zip(&mut dispatch.regions);
            for (from, to) in regions.filter(|(from, _)| from.buffer == span.buffer) {
                *to = Region { buffer, offset: from.offset - span.offset + offset, ..*from };
            }
        }
        Ok(dispatch)
    }

    /// A buffer in the place of a span, and where in it the span begins.
    fn buffer(&mut self, index: usize, span: &Span) -> Result<(BufferId, usize)> {
        match (span.buffer, span.element) {
            (BufferId::Input(input), _) => Ok((self.input(input)?, span.offset)),
            (BufferId::Arena(_), Element::U32) => Ok((self.powers(span)?, span.offset)),
            (BufferId::Transient(_), Element::U32) if span.is_read => {
                Ok((self.computed(index, span)?, 0))
            }
            _ => {
                let region = self.recording.add_transient(span.element, span.length);
                if span.is_read {
                    self.fill(span, region);
                }
                Ok((region.buffer, 0))
            }
        }
    }

    /// An input of the step, as it is.
    fn input(&mut self, index: usize) -> Result<BufferId> {
        let input = &self.from.recording.inputs[index];
        let place = self.recording.inputs.iter().position(|known| known.name == input.name);
        if let Some(place) = place {
            return Ok(BufferId::Input(place));
        }
        let length = self.from.step.length(input.rows) * input.cols;
        match self.from.inputs.require(&input.name, length)?.clone() {
            InputValues::F(values) => self.inputs.set_f(&input.name, values),
            InputValues::U(values) => self.inputs.set_u(&input.name, values),
        }
        self.recording.inputs.push(input.clone());
        Ok(BufferId::Input(self.recording.inputs.len() - 1))
    }

    /// The one table of integers that the Store holds.
    fn powers(&mut self, span: &Span) -> Result<BufferId> {
        let words = self.from.model.and_then(hash_powers).unwrap_or_default();
        if words.len() < span.offset + span.length {
            let problem = "this buffer of integers cannot be made outside its model";
            return Err(Error::input(&self.from.recording.name, problem));
        }
        let name = "hash.powers";
        if let Some(place) = self.recording.inputs.iter().position(|known| known.name == name) {
            return Ok(BufferId::Input(place));
        }
        let rows = Extent::fixed(words.len());
        self.inputs.set_u(name, words);
        self.recording.inputs.push(Input {
            name: name.into(),
            element: Element::U32,
            rows,
            cols: 1,
        });
        Ok(BufferId::Input(self.recording.inputs.len() - 1))
    }

    /// Integers that a dispatch before computes: it is run first.
    fn computed(&mut self, index: usize, span: &Span) -> Result<BufferId> {
        let writes = |dispatch: &Dispatch| {
            let bindings = dispatch.kernel.bindings.iter().zip(&dispatch.regions);
            bindings.clone().any(|(binding, region)| {
                binding.access != Access::Read && region.buffer == span.buffer
            })
        };
        let before = &self.from.recording.dispatches[..index];
        let producer = before.iter().rposition(writes).ok_or_else(|| {
            let problem = "a dispatch reads integers that none before it has written";
            Error::input(&self.from.recording.name, problem)
        })?;
        let dispatch = self.dispatch(producer)?;
        let original = &before[producer];
        let binding = original.regions.iter().position(|region| region.buffer == span.buffer);
        let binding = binding.expect("it was found by this region");
        assert_eq!(original.regions[binding].offset, span.offset, "a tensor has one beginning");
        let buffer = dispatch.regions[binding].buffer;
        self.recording.dispatches.push(dispatch);
        Ok(buffer)
    }

    /// Numbers for a span.
    fn fill(&mut self, span: &Span, region: Region) {
        let arena = match span.buffer {
            BufferId::Arena(id) => Some(&self.from.layout.arenas()[id.0].name),
            _ => None,
        };
        let state = self.from.layout.get(TRAIN_STATE).map(|it| BufferId::Arena(it.shards[0].arena));
        if state == Some(span.buffer) {
            let source = self.values(TRAIN_STATE, steady_state(span.length));
            self.copy(source, region, 0);
        } else if arena.is_some_and(|name| name.starts_with(&format!("{MOMENT2}."))) {
            // Its square root is taken.
            self.call_fill(region);
        } else {
            let source = self.values(POOL, Vec::new());
            for offset in (0..region.length).step_by(POOL_LENGTH) {
                self.copy(source, region, offset);
            }
        }
    }

    /// An input of numbers; made at its first use.
    fn values(&mut self, name: &str, values: Vec<f32>) -> Region {
        let known = self.recording.inputs.iter().position(|known| known.name == name);
        let index = known.unwrap_or_else(|| {
            let rows = Extent::fixed(values.len());
            let input = Input { name: name.into(), element: Element::F32, rows, cols: 1 };
            self.recording.inputs.push(input);
            self.inputs.set_f(name, values);
            self.recording.inputs.len() - 1
        });
        let length = self.recording.inputs[index].rows.length(&Counts::default());
        Region { buffer: BufferId::Input(index), offset: 0, length }
    }

    /// Copies a source to a region from `offset` on.
    fn copy(&mut self, source: Region, region: Region, offset: usize) {
        let length = source.length.min(region.length - offset);
        let element = self.element(region);
        let halves = if element == Element::F16 { Halves::of(&[1]) } else { Halves::NONE };
        let params = copy::Params::new(Extent::fixed(1), length as u32);
        let regions = vec![
            Region { length, ..source },
            Region { offset: region.offset + offset, length, ..region },
        ];
        let call = call(&copy::KERNEL, 0, halves, &params, regions);
        self.recording.dispatches.push(call);
    }

    fn call_fill(&mut self, region: Region) {
        let params = fill::Params::new(Extent::fixed(1), region.length as u32, 0.5);
        let call = call(&fill::KERNEL, 0, Halves::NONE, &params, vec![region]);
        self.recording.dispatches.push(call);
    }

    fn element(&self, region: Region) -> Element {
        match region.buffer {
            BufferId::Transient(slot) => self.recording.transients[slot].element,
            _ => unreachable!("contents go to transient buffers"),
        }
    }
}

/// A dispatch of the benchmark's own.
pub(super) fn call(
    kernel: &'static Kernel,
    variant: usize,
    halves: Halves,
    params: &impl NoUninit,
    regions: Vec<Region>,
) -> Dispatch {
    Dispatch {
        kernel,
        variant,
        fixed_order: false,
        halves,
        params: bytemuck::bytes_of(params).to_vec(),
        regions,
        label: String::new(),
    }
}

/// The state of a training that goes on: nothing is skipped.
fn steady_state(length: usize) -> Vec<f32> {
    let mut state = vec![0.0; length];
    state[..train_state::LENGTH].copy_from_slice(&train_state::initial(1.0));
    state[train_state::GRADIENT_SCALE] = 1.0;
    state[train_state::APPLIED_STEPS] = 10.0;
    state[train_state::BETA1_POWER] = 0.35;
    state[train_state::BETA2_POWER] = 0.6;
    state
}
