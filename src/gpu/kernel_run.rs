//! One call of one kernel on a device, with guards behind its buffers: what tests, the self-check
//! of a variant and benchmarks run.

use super::buffers::{self, Span};
use super::context::Context;
use super::engine::GpuEngine;
use super::launch::{self, Launch};
use super::pipelines::{Pipeline, Request};
use crate::error::{Error, Result};
use crate::kernels::{Access, Case, Counts, Element, HostBuffer, Kernel, Variant};
use half::f16;

/// What lies behind every buffer of a case: a NaN as a number, far out of range as an index. An
/// element read from there spoils the result; one written there is seen.
const GUARD: u32 = 0x7FC0_BAD1;
/// The same in a buffer of f16.
const HALF_GUARD: u16 = 0x7EAD;

/// Number of guards behind a buffer, all of them bound; even, as halves are read back in pairs.
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
        let request = Request { kernel, variant, halves: case.halves, params: &case.params };
        let name = request.name();
        let groups = (kernel.variants[variant].groups)(&case.params, capacity);
        context.caps().limits.check_groups(&name, groups)?;
        let pipeline = self.pipelines.resolve(context, &[request]).await?.remove(0);
        let make = || {
            let storage = upload(context, kernel, case);
            dispatch(context, &pipeline, (kernel, case), &storage, groups);
            storage
        };
        let storage = context.scoped(&name, make).await?;
        let mut results = case.buffers.clone();
        let bindings = kernel.bindings.iter().zip(&mut results).zip(&storage);
        for (index, ((binding, result), buffer)) in bindings.enumerate() {
            if binding.access == Access::Read {
                continue;
            }
            let length = result.len();
            let half = kernel.element(index, case.halves) == Element::F16;
            let words =
                if half { (length + GUARD_COUNT).div_ceil(2) } else { length + GUARD_COUNT };
            let words: Vec<u32> = self.readback.read(context, buffer, 0, words).await?;
            let written = if half { take_halves(&words, result) } else { take(&words, result) };
            if let Some(at) = written {
                let problem = format!("wrote {}[{at}] of {length}, {}", binding.name, case.name);
                return Err(Error::device(name, problem));
            }
        }
        Ok(results)
    }

    /// That a variant agrees with its oracle on every case here, also with the workgroups of a
    /// larger capacity: to be asked before the variant is chosen on a device.
    ///
    /// # Errors
    /// [`Error::Device`] naming kernel, variant, case, index, expected and got.
    pub async fn verify(&self, kernel: &'static Kernel, variant: usize) -> Result<()> {
        let takes = kernel.variants[variant].takes;
        let mut cases = (kernel.cases)();
        cases.retain(|case| takes(&case.params, case.halves));
        assert!(!cases.is_empty(), "{}: no case is one for variant {variant}", kernel.name);
        self.verify_cases(kernel, variant, cases).await
    }

    /// The same on these cases.
    ///
    /// # Errors
    /// As [`Self::verify`].
    pub(super) async fn verify_cases(
        &self,
        kernel: &'static Kernel,
        variant: usize,
        cases: Vec<Case>,
    ) -> Result<()> {
        for case in cases {
            let needs = kernel.needs(variant, case.halves);
            if needs.f16 && !self.context.caps().f16 {
                continue; // no plan for this device has halves
            }
            let Variant { name, keeps_bits, .. } = kernel.variants[variant];
            let wrong = |problem| Error::device(format!("{}.{name}", kernel.name), problem);
            for capacity in [case.step.counts, larger(&case.step.counts)] {
                let got = self.run_case_at(kernel, variant, &case, &capacity).await?;
                case.check(kernel, &got).map_err(wrong)?;
                if keeps_bits && variant > 0 {
                    let base = self.run_case(kernel, 0, &case).await?;
                    if !same_bits(&got, &base) {
                        return Err(wrong(format!("other bits than the base, {}", case.name)));
                    }
                }
            }
        }
        Ok(())
    }
}

fn same_bits(a: &[HostBuffer<f32>], b: &[HostBuffer<f32>]) -> bool {
    a.iter().zip(b).all(|pair| match pair {
        (HostBuffer::F(a), HostBuffer::F(b)) => {
            a.iter().map(|it| it.to_bits()).eq(b.iter().map(|it| it.to_bits()))
        }
        (HostBuffer::U(a), HostBuffer::U(b)) => a == b,
        _ => false,
    })
}

/// Half as much again of every count that changes.
fn larger(counts: &Counts) -> Counts {
    let mut larger = *counts;
    for count in &mut larger.0[1..] {
        *count += count.div_ceil(2);
    }
    larger
}

/// Takes the contents of a buffer over; the first guard that was overwritten, if one was.
fn take(words: &[u32], result: &mut HostBuffer<f32>) -> Option<usize> {
    let length = result.len();
    let (contents, guards) = words.split_at(length);
    match result {
        HostBuffer::F(values) => values.copy_from_slice(bytemuck::cast_slice(contents)),
        HostBuffer::U(values) => values.copy_from_slice(contents),
    }
    guards.iter().position(|&guard| guard != GUARD).map(|at| length + at)
}

/// The same for a buffer of f16.
fn take_halves(words: &[u32], result: &mut HostBuffer<f32>) -> Option<usize> {
    let length = result.len();
    let HostBuffer::F(values) = result else { unreachable!("only numbers come as halves") };
    let halves: &[f16] = bytemuck::cast_slice(words);
    values.iter_mut().zip(halves).for_each(|(value, half)| *value = half.to_f32());
    let guards = &halves[length..length + GUARD_COUNT];
    guards.iter().position(|guard| guard.to_bits() != HALF_GUARD).map(|at| length + at)
}

/// The buffers of a case, each with its guards.
fn upload(context: &Context, kernel: &Kernel, case: &Case) -> Vec<wgpu::Buffer> {
    let buffers = case.buffers.iter().enumerate().map(|(index, contents)| {
        let element = kernel.element(index, case.halves);
        let count = contents.len() + GUARD_COUNT;
        let buffer = buffers::create(context, &case.name, element, count);
        let bytes = match (contents, element) {
            (HostBuffer::F(values), Element::F16) => {
                let mut halves: Vec<u16> =
                    values.iter().map(|&value| f16::from_f32(value).to_bits()).collect();
                halves.resize(count.next_multiple_of(2), HALF_GUARD);
                bytemuck::cast_slice(&halves).to_vec()
            }
            (HostBuffer::F(values), _) => guarded(bytemuck::cast_slice(values), count),
            (HostBuffer::U(values), _) => guarded(values, count),
        };
        context.queue.write_buffer(&buffer, 0, &bytes);
        buffer
    });
    buffers.collect()
}

fn guarded(words: &[u32], count: usize) -> Vec<u8> {
    let mut words = words.to_vec();
    words.resize(count, GUARD);
    bytemuck::cast_slice(&words).to_vec()
}

fn dispatch(
    context: &Context,
    pipeline: &Pipeline,
    (kernel, case): (&Kernel, &Case),
    storage: &[wgpu::Buffer],
    groups: [u32; 3],
) {
    let step = bytemuck::bytes_of(&case.step);
    let uniforms = [&case.params[..], step].map(|bytes| {
        let buffer = buffers::create_uniform(context, &case.name, bytes.len() as u64);
        context.queue.write_buffer(&buffer, 0, bytes);
        buffer
    });
    let storage = storage.iter().zip(&case.buffers).enumerate();
    let storage = storage.map(|(index, (buffer, contents))| {
        let element = kernel.element(index, case.halves);
        Span { buffer, element, offset: 0, count: contents.len() + GUARD_COUNT }
    });
    let storage = storage.collect();
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
