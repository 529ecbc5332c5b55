//! One call of one kernel on a device, with guards behind its buffers: what tests, the self-check
//! of a variant and benchmarks run.

use super::buffers;
use super::context::Context;
use super::engine::GpuEngine;
use super::launch::{self, Launch};
use super::pipelines::{Pipeline, Request};
use crate::error::{Error, Result};
use crate::kernels::{Access, Case, Counts, HostBuffer, Kernel};

/// What lies behind every buffer of a case: a NaN as a number, far out of range as an index. An
/// element read from there spoils the result; one written there is seen.
const GUARD: u32 = 0x7FC0_BAD1;

/// Number of guards behind a buffer, all of them bound.
const GUARD_COUNT: usize = 64;

impl GpuEngine {
    /// All bindings of a case after a variant of its kernel ran, workgroups counted for the
    /// counts of the case.
    ///
    /// # Errors
    /// If the device cannot run the variant, or the kernel wrote behind the end of a buffer.
    pub async fn run_case(
        &self,
        kernel: &'static Kernel,
        variant: usize,
        case: &Case,
    ) -> Result<Vec<HostBuffer<f32>>> {
        self.run_case_at(kernel, variant, case, &case.step.counts).await
    }

    /// The same with the workgroups of a larger capacity: those beyond the counts of the case must
    /// do nothing.
    ///
    /// # Errors
    /// As [`Self::run_case`].
    pub async fn run_case_at(
        &self,
        kernel: &'static Kernel,
        variant: usize,
        case: &Case,
        capacity: &Counts,
    ) -> Result<Vec<HostBuffer<f32>>> {
        assert!(case.step.counts.fit(capacity), "{}: {capacity:?}", case.name);
        let context = &self.context;
        let request = Request { kernel, variant, params: &case.params };
        let name = request.name();
        let groups = (kernel.variants[variant].groups)(&case.params, capacity);
        context.caps().limits.check_groups(&name, groups)?;
        let pipeline = self.pipelines.resolve(context, &[request]).await?.remove(0);
        let make = || {
            let storage = upload(context, case);
            dispatch(context, &pipeline, case, &storage, groups);
            storage
        };
        let storage = context.scoped(&name, make).await?;
        let mut results = case.buffers.clone();
        let bindings = kernel.bindings.iter().zip(&mut results).zip(&storage);
        for ((binding, result), buffer) in bindings {
            if binding.access == Access::Read {
                continue;
            }
            let length = result.len();
            let total = length + GUARD_COUNT;
            let words: Vec<u32> = self.readback.read(context, buffer, 0, total).await?;
            let (values, guards) = words.split_at(length);
            if let Some(at) = guards.iter().position(|&word| word != GUARD) {
                let at = length + at;
                let problem = format!("wrote {}[{at}] of {length}, {}", binding.name, case.name);
                return Err(Error::device(name, problem));
            }
            *result = match result {
                HostBuffer::F(_) => HostBuffer::F(bytemuck::cast_slice(values).to_vec()),
                HostBuffer::U(_) => HostBuffer::U(values.to_vec()),
            };
        }
        Ok(results)
    }

    /// That a variant agrees with its oracle on every case here, also with the workgroups of a
    /// larger capacity: to be asked before the variant is chosen on a device.
    ///
    /// # Errors
    /// [`Error::Device`] naming kernel, variant, case, index, expected and got.
    pub async fn verify(&self, kernel: &'static Kernel, variant: usize) -> Result<()> {
        for case in (kernel.cases)() {
            for capacity in [case.step.counts, larger(&case.step.counts)] {
                let got = self.run_case_at(kernel, variant, &case, &capacity).await?;
                let checked = case.check(kernel, &got);
                let name = kernel.variants[variant].name;
                checked
                    .map_err(|problem| Error::device(format!("{}.{name}", kernel.name), problem))?;
            }
        }
        Ok(())
    }
}

/// Half as much again of every count that changes.
fn larger(counts: &Counts) -> Counts {
    let mut larger = *counts;
    for count in &mut larger.0[1..] {
        *count += count.div_ceil(2);
    }
    larger
}

/// The buffers of a case, each with its guards.
fn upload(context: &Context, case: &Case) -> Vec<wgpu::Buffer> {
    let buffers = case.buffers.iter().map(|contents| {
        let buffer = buffers::create(context, &case.name, contents.len() + GUARD_COUNT);
        let mut words: Vec<u32> = match contents {
            HostBuffer::F(values) => bytemuck::cast_slice(values).to_vec(),
            HostBuffer::U(values) => values.clone(),
        };
        words.resize(contents.len() + GUARD_COUNT, GUARD);
        context.queue.write_buffer(&buffer, 0, bytemuck::cast_slice(&words));
        buffer
    });
    buffers.collect()
}

fn dispatch(
    context: &Context,
    pipeline: &Pipeline,
    case: &Case,
    storage: &[wgpu::Buffer],
    groups: [u32; 3],
) {
    let step = bytemuck::bytes_of(&case.step);
    let uniforms = [&case.params[..], step].map(|bytes| {
        let buffer = buffers::create_uniform(context, &case.name, bytes.len() as u64);
        context.queue.write_buffer(&buffer, 0, bytes);
        buffer
    });
    let lengths = case.buffers.iter().map(|contents| contents.len() + GUARD_COUNT);
    let storage = storage.iter().map(|buffer| (buffer, 0)).zip(lengths).collect();
    let uniforms = [&uniforms[0], &uniforms[1]];
    let launch = Launch {
        pipeline: pipeline.compute.clone(),
        bind_group: launch::bind_group(context, pipeline, case.params.len(), uniforms, storage),
        params_offset: 0,
        groups,
    };
    let mut encoder = context.device.create_command_encoder(&Default::default());
    launch::encode(&[launch], &mut encoder.begin_compute_pass(&Default::default()));
    context.queue.submit([encoder.finish()]);
}
