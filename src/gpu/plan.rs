//! A Recording with everything resolved for one device.
//!
//! Pipelines, bind groups, offsets and workgroup counts are made once; a replay writes two
//! buffers and encodes one pass over a list of [`Launch`]es.

use super::ahead::{AheadSlot, Elements};
use super::buffers::{self, Span};
use super::context::Context;
use super::inputs::InputArena;
use super::launch::{self, Launch, SubmitRule};
use super::pipelines::{Pipeline, Pipelines, Request};
use super::store::{GpuArena, GpuStore};
use crate::engine::Inputs;
use crate::error::{Error, Result};
use crate::graph::{BufferId, Dispatch, Recording, Region};
use crate::kernels::{Element, Step};
use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// A Recording on a device.
pub struct GpuPlan {
    recording: Recording,
    buffers: PlanBuffers,
    launches: Vec<Launch>,
    /// The launches of each submission.
    submissions: Vec<Range<usize>>,
    /// The last submission of the next replay, where its outputs are read.
    pub(super) ahead: AheadSlot,
    /// Whether a replay has been begun of which submissions are still to come.
    is_under_way: AtomicBool,
}

/// What the regions of a plan lie in.
struct PlanBuffers {
    inputs: InputArena,
    arenas: Vec<GpuArena>,
    transients: Vec<(wgpu::Buffer, Element)>,
    step: wgpu::Buffer,
    params: wgpu::Buffer,
}

/// The parameters of all dispatches, equal ones once.
struct ParamsArena {
    bytes: Vec<u8>,
    /// Where the parameters of each dispatch start.
    offsets: Vec<u32>,
}

impl GpuPlan {
    /// Makes everything that replays of a recording need. They make submissions as the rule says.
    ///
    /// # Errors
    /// If it exceeds a limit, or the device has not the memory or refuses a shader.
    pub(super) async fn new(
        context: &Context,
        pipelines: &Pipelines,
        store: &GpuStore,
        recording: Recording,
        rule: SubmitRule,
    ) -> Result<Self> {
        recording.check();
        check_limits(context, &recording)?;
        let requests: Vec<Request<'_>> = recording.dispatches.iter().map(request).collect();
        let pipelines = pipelines.resolve(context, &requests).await?;
        let params = ParamsArena::new(context, &recording);
        let buffers = PlanBuffers::new(context, store, &recording, &params).await?;
        let launches = context.scoped(&recording.name, || {
            launches(context, &recording, &buffers, &pipelines, &params.offsets)
        });
        let launches = launches.await?;
        let submissions = launch::submissions(&recording, rule);
        let (ahead, is_under_way) = (AheadSlot::default(), AtomicBool::new(false));
        Ok(Self { recording, buffers, launches, submissions, ahead, is_under_way })
    }

    /// Uploads step and inputs and submits the dispatches.
    ///
    /// # Errors
    /// If the counts exceed the capacity, an input is missing or of the wrong size, or the device
    /// is lost.
    pub(super) fn replay(&self, context: &Context, step: &Step, inputs: &Inputs) -> Result<()> {
        let _under_way = self.begin()?;
        self.upload(context, step, inputs)?;
        context.scoped_now(&self.recording.name, || {
            for range in &self.submissions {
                let mut encoder = context.device.create_command_encoder(&Default::default());
                self.encode(range.clone(), &mut encoder);
                context.queue.submit([encoder.finish()]);
            }
        })
    }

    /// The same, each submission when it is its turn.
    ///
    /// # Errors
    /// As [`Self::replay`].
    pub(super) async fn replay_in_turns(
        &self,
        context: &Context,
        step: &Step,
        inputs: &Inputs,
    ) -> Result<()> {
        if !context.pace.is_beside_host() {
            return self.replay(context, step, inputs);
        }
        let _under_way = self.begin()?;
        self.upload(context, step, inputs)?;
        self.submit_in_turns(context, &self.submissions).await
    }

    /// Submits all but the last submission of a replay, each when it is its turn.
    ///
    /// # Errors
    /// If the device is lost.
    pub(super) async fn submit_but_last(&self, context: &Context) -> Result<()> {
        let (_, before) = self.submissions.split_last().expect("a replay submits something");
        self.submit_in_turns(context, before).await
    }

    async fn submit_in_turns(&self, context: &Context, ranges: &[Range<usize>]) -> Result<()> {
        for range in ranges {
            context.pace.turn().await;
            context.scoped_now(&self.recording.name, || {
                let mut encoder = context.device.create_command_encoder(&Default::default());
                self.encode(range.clone(), &mut encoder);
                context.queue.submit([encoder.finish()]);
            })?;
            context.pace.submitted(&context.queue);
        }
        Ok(())
    }

    /// Begins a replay, which ends when the result is dropped.
    ///
    /// # Errors
    /// [`Error::Device`] while another one is under way: its inputs would be overwritten.
    pub(super) fn begin(&self) -> Result<UnderWay<'_>> {
        match self.is_under_way.swap(true, Ordering::AcqRel) {
            false => Ok(UnderWay(&self.is_under_way)),
            true => {
                let problem = "a replay of this plan is under way, of which more is to come";
                Err(Error::device(self.recording.name.as_str(), problem)
                    .with_hint("await it, or drop it, before the plan is replayed again"))
            }
        }
    }

    /// Submits some launches, cut where they are always cut, and behind them what `last` encodes.
    ///
    /// # Errors
    /// If the device is lost.
    pub(super) fn submit(
        &self,
        context: &Context,
        launches: Range<usize>,
        last: impl FnOnce(&mut wgpu::CommandEncoder),
    ) -> Result<wgpu::SubmissionIndex> {
        let within =
            |range: &Range<usize>| range.start.max(launches.start)..range.end.min(launches.end);
        let mut pieces: Vec<_> =
            self.submissions.iter().map(within).filter(|piece| !piece.is_empty()).collect();
        let final_piece = pieces.pop();
        context.scoped_now(&self.recording.name, || {
            let encoder = || context.device.create_command_encoder(&Default::default());
            for piece in pieces {
                let mut encoder = encoder();
                self.encode(piece, &mut encoder);
                context.queue.submit([encoder.finish()]);
            }
            let mut encoder = encoder();
            if let Some(piece) = final_piece {
                self.encode(piece, &mut encoder);
            }
            last(&mut encoder);
            context.queue.submit([encoder.finish()])
        })
    }

    /// Encodes the launches of the last submission of a replay.
    pub(super) fn encode_last(&self, encoder: &mut wgpu::CommandEncoder) {
        let last = self.submissions.last().expect("a replay submits something");
        self.encode(last.clone(), encoder);
    }

    /// Encodes some launches, in a pass of their own.
    fn encode(&self, launches: Range<usize>, encoder: &mut wgpu::CommandEncoder) {
        let mut pass = encoder.begin_compute_pass(&Default::default());
        launch::encode(&self.launches[launches], &mut pass);
    }

    /// Uploads step and inputs.
    ///
    /// # Errors
    /// As [`Self::replay`].
    pub(super) fn upload(&self, context: &Context, step: &Step, inputs: &Inputs) -> Result<()> {
        self.check_counts(step)?;
        self.buffers.inputs.upload(context, step, inputs)?;
        buffers::write(context, &self.buffers.step, 0, bytemuck::bytes_of(step))
    }

    /// Its dispatches, ready to be encoded.
    pub(super) fn launches(&self) -> &[Launch] {
        &self.launches
    }

    /// What it was compiled from.
    pub fn recording(&self) -> &Recording {
        &self.recording
    }

    /// How many submissions a replay makes.
    pub fn submission_count(&self) -> usize {
        self.submissions.len()
    }

    /// Where an output lies: buffer, first element, and as many elements as this step counts.
    ///
    /// # Errors
    /// If there is no such output, or the counts exceed the capacity.
    pub(super) fn output(&self, name: &str, step: &Step) -> Result<(&wgpu::Buffer, usize, usize)> {
        self.check_counts(step)?;
        let output = self.recording.outputs.iter().find(|output| output.name == name);
        let output = output.ok_or_else(|| {
            Error::input(name, format!("{} has no such output", self.recording.name))
        })?;
        let length = step.length(output.rows) * output.cols;
        assert!(length <= output.region.length, "{name}: {length} of {}", output.region.length);
        let Span { buffer, element, offset, .. } = self.buffers.locate(&output.region);
        assert!(element != Element::F16, "{name}: outputs are not halves");
        Ok((buffer, offset, length))
    }

    /// Where these outputs lie.
    ///
    /// # Errors
    /// As [`Self::output`].
    pub(super) fn outputs(&self, step: &Step, names: &[&str]) -> Result<Vec<Elements>> {
        let regions = names.iter().map(|name| {
            let (buffer, first, count) = self.output(name, step)?;
            Ok((buffer.clone(), first, count))
        });
        regions.collect()
    }

    /// That a step does not exceed what the plan was compiled for.
    fn check_counts(&self, step: &Step) -> Result<()> {
        let (counts, capacity) = (&step.counts, &self.recording.capacity);
        if counts.fit(capacity) {
            return Ok(());
        }
        let problem = format!("counts {:?} exceed capacity {:?}", counts.0, capacity.0);
        Err(Error::input(self.recording.name.as_str(), problem))
    }
}

/// A replay of which submissions may still come.
pub(super) struct UnderWay<'p>(&'p AtomicBool);

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

impl PlanBuffers {
    async fn new(
        context: &Context,
        store: &GpuStore,
        recording: &Recording,
        params: &ParamsArena,
    ) -> Result<Self> {
        let inputs = InputArena::new(context, recording).await?;
        let name = format!("{} transients", recording.name);
        let mut transients = Vec::new();
        for (index, slot) in recording.transients.iter().enumerate() {
            let create = || match recording.counts == Some(BufferId::Transient(index)) {
                true => buffers::create_counts(context, &name, slot.length),
                false => buffers::create(context, &name, slot.element, slot.length),
            };
            transients.push(context.scoped(&name, create).await?);
        }
        let uniforms = || {
            let step = buffers::create_uniform(context, "step", size_of::<Step>() as u64);
            let bytes = &params.bytes;
            let arena = buffers::create_uniform(context, "params", bytes.len().max(16) as u64);
            context.queue.write_buffer(&arena, 0, bytes);
            (step, arena)
        };
        let (step, params) = context.scoped(&recording.name, uniforms).await?;
        let elements = recording.transients.iter().map(|slot| slot.element);
        let transients = transients.into_iter().zip(elements).collect();
        Ok(Self { inputs, arenas: store.arenas.clone(), transients, step, params })
    }

    fn locate(&self, region: &Region) -> Span<'_> {
        let (offset, count) = (region.offset, region.length);
        match region.buffer {
            BufferId::Input(index) => {
                let offset = self.inputs.offsets[index] + offset;
                Span { buffer: &self.inputs.buffer, element: Element::U32, offset, count }
            }
            BufferId::Arena(arena) => {
                let arena = &self.arenas[arena.0];
                let end = offset + count;
                assert!(end <= arena.length, "{region:?} of {}, {}", arena.name, arena.length);
                Span { buffer: &arena.buffer, element: arena.element, offset, count }
            }
            BufferId::Transient(slot) => {
                let (buffer, element) = &self.transients[slot];
                Span { buffer, element: *element, offset, count }
            }
        }
    }
}

impl ParamsArena {
    fn new(context: &Context, recording: &Recording) -> Self {
        let alignment = context.caps().limits.uniform_alignment_bytes as usize;
        let mut arena = Self { bytes: Vec::new(), offsets: Vec::new() };
        let mut known: HashMap<&[u8], u32> = HashMap::new();
        for dispatch in &recording.dispatches {
            let offset = *known.entry(&dispatch.params).or_insert_with(|| {
                let offset = arena.bytes.len();
                arena.bytes.extend_from_slice(&dispatch.params);
                arena.bytes.resize(arena.bytes.len().next_multiple_of(alignment), 0);
                u32::try_from(offset).expect("a plan has less than 4 GiB of parameters")
            });
            arena.offsets.push(offset);
        }
        arena
    }
}

/// That nothing of a recording exceeds the device at capacity.
fn check_limits(context: &Context, recording: &Recording) -> Result<()> {
    let limits = context.caps().limits;
    for slot in &recording.transients {
        let what = format!("a transient buffer of {}", recording.name);
        limits.check_buffer(&what, buffers::size_bytes(slot.element, slot.length))?;
    }
    for dispatch in &recording.dispatches {
        let place = format!("{} ({})", dispatch.label, dispatch.kernel.name);
        for (index, region) in dispatch.regions.iter().enumerate() {
            let binding = dispatch.kernel.bindings[index].name;
            let element = dispatch.kernel.element(index, dispatch.halves);
            let bytes = buffers::binding_bytes(element, region.length);
            limits.check_binding(&format!("{binding} of {place}"), bytes)?;
        }
        limits.check_groups(&place, dispatch.groups(&recording.capacity))?;
    }
    Ok(())
}

pub(super) fn request(dispatch: &Dispatch) -> Request<'_> {
    let Dispatch { kernel, variant, halves, params, .. } = dispatch;
    Request { kernel, variant: *variant, halves: *halves, params }
}

/// Bind groups and workgroup counts; dispatches of the same pipeline over the same regions share
/// a bind group.
fn launches(
    context: &Context,
    recording: &Recording,
    buffers: &PlanBuffers,
    pipelines: &[Arc<Pipeline>],
    params_offsets: &[u32],
) -> Vec<Launch> {
    type Key = (*const Pipeline, Vec<(BufferId, usize, usize)>);
    let mut known: HashMap<Key, wgpu::BindGroup> = HashMap::new();
    let all = recording.dispatches.iter().zip(pipelines).zip(params_offsets);
    let launches = all.map(|((dispatch, pipeline), &params_offset)| {
        let regions = dispatch.regions.iter();
        let regions = regions.map(|region| (region.buffer, region.offset, region.length));
        let key = (Arc::as_ptr(pipeline), regions.collect());
        let bind_group = known.entry(key).or_insert_with(|| {
            let storage = dispatch.regions.iter().map(|region| buffers.locate(region)).collect();
            let step = match recording.counts_of(dispatch) {
                Some(slot) => &buffers.transients[slot].0,
                None => &buffers.step,
            };
            let uniforms = [&buffers.params, step];
            launch::bind_group(context, pipeline, dispatch.params.len(), uniforms, storage)
        });
        Launch {
            pipeline: pipeline.compute.clone(),
            bind_group: bind_group.clone(),
            params_offset,
            groups: dispatch.groups(&recording.capacity),
        }
    });
    launches.collect()
}
