//! One dispatch, ready to be encoded, and how a list of them is cut into submissions.

use super::buffers::Span;
use super::context::Context;
use super::pipelines::Pipeline;
use crate::graph::{Dispatch, Recording};
use crate::kernels::Step;
use std::ops::Range;

/// One dispatch, ready to be encoded.
pub(super) struct Launch {
    pub pipeline: wgpu::ComputePipeline,
    pub bind_group: wgpu::BindGroup,
    /// Where its parameters start in the arena of parameters.
    pub params_offset: u32,
    pub groups: [u32; 3],
}

/// Encodes launches in one pass. Those without workgroups are left out.
pub(super) fn encode(launches: &[Launch], pass: &mut wgpu::ComputePass<'_>) {
    let mut bound = None;
    for launch in launches {
        if launch.groups.contains(&0) {
            continue;
        }
        if bound != Some(&launch.pipeline) {
            pass.set_pipeline(&launch.pipeline);
            bound = Some(&launch.pipeline);
        }
        pass.set_bind_group(0, &launch.bind_group, &[launch.params_offset]);
        let [x, y, z] = launch.groups;
        pass.dispatch_workgroups(x, y, z);
    }
}

/// A bind group of `[params, step]` uniforms and of storage.
pub(super) fn bind_group(
    context: &Context,
    pipeline: &Pipeline,
    params_bytes: usize,
    uniforms: [&wgpu::Buffer; 2],
    storage: Vec<Span<'_>>,
) -> wgpu::BindGroup {
    let uniform = |buffer, bytes: usize| {
        let size = wgpu::BufferSize::new(bytes as u64);
        wgpu::BindingResource::Buffer(wgpu::BufferBinding { buffer, offset: 0, size })
    };
    let mut resources =
        vec![uniform(uniforms[0], params_bytes), uniform(uniforms[1], size_of::<Step>())];
    resources.extend(storage.into_iter().map(Span::bind));
    let entries = resources.into_iter().enumerate();
    let entries: Vec<_> = entries
        .map(|(binding, resource)| wgpu::BindGroupEntry { binding: binding as u32, resource })
        .collect();
    context.device.create_bind_group(&wgpu::BindGroupDescriptor {
        label: None,
        layout: &pipeline.layout,
        entries: &entries,
    })
}

/// Where a replay is cut into submissions; always at cut marks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct SubmitRule {
    /// A submission is over once its dispatches do so much work at capacity.
    pub most_flops: Option<u64>,
    /// The first submissions are short, so that the device works while the rest is encoded.
    pub begins_early: bool,
}

/// Dispatches before the second submission of a replay that begins early, and from there on how
/// many times as many before the next. A dispatch of a training step of `s` takes an H200 80 µs on
/// average and its host 5 to 9 to encode, so that the device does not run dry.
const EARLY_DISPATCHES: usize = 16;
const EARLY_GROWTH: usize = 4;

/// Work of a replay of which the first submission is short: less is done before more submissions
/// would pay.
const EARLY_FLOPS: u64 = 100_000_000_000;

/// The dispatches of each submission; with the default rule there is one.
pub(super) fn submissions(recording: &Recording, mut rule: SubmitRule) -> Vec<Range<usize>> {
    let flops = |dispatch: &Dispatch| dispatch.cost(&recording.capacity).flops;
    rule.begins_early &= recording.dispatches.iter().map(flops).sum::<u64>() > EARLY_FLOPS;
    let dispatches = recording.dispatches.iter().enumerate();
    let marks = dispatches.map(|(index, dispatch)| {
        (dispatch.cost(&recording.capacity).flops, recording.cuts.contains(&index))
    });
    let mut starts = submission_starts(marks, rule);
    starts.push(recording.dispatches.len());
    starts.windows(2).map(|ends| ends[0]..ends[1]).collect()
}

/// Where submissions start among dispatches of (flops, may be cut before).
fn submission_starts(
    dispatches: impl Iterator<Item = (u64, bool)>,
    rule: SubmitRule,
) -> Vec<usize> {
    let mut starts = vec![0];
    let (mut encoded_flops, mut early) = (0, EARLY_DISPATCHES);
    for (index, (flops, cut)) in dispatches.enumerate() {
        let is_full = rule.most_flops.is_some_and(|most| encoded_flops >= most);
        let is_early = rule.begins_early && index >= early;
        if cut && (is_full || is_early) && index > 0 {
            starts.push(index);
            encoded_flops = 0;
            if index >= early {
                early = index * EARLY_GROWTH;
            }
        }
        encoded_flops += flops;
    }
    starts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn submissions_start_only_at_cuts_and_only_when_asked() {
        let dispatches = [(5, true), (5, false), (5, true), (5, true), (5, false)];
        let starts = |most_flops| {
            let rule = SubmitRule { most_flops, begins_early: false };
            submission_starts(dispatches.into_iter(), rule)
        };
        assert_eq!(starts(None), [0]);
        assert_eq!(starts(Some(0)), [0, 2, 3]);
        assert_eq!(starts(Some(10)), [0, 2]);
        assert_eq!(starts(Some(11)), [0, 3]);
        assert_eq!(starts(Some(100)), [0]);
    }

    #[test]
    fn early_submissions_are_short_and_few() {
        let rule = SubmitRule { begins_early: true, ..SubmitRule::default() };
        let starts = |count| submission_starts((0..count).map(|_| (5, true)), rule);
        assert_eq!(starts(16), [0]);
        assert_eq!(starts(500), [0, 16, 64, 256]);
        let full = SubmitRule { most_flops: Some(50), ..rule };
        let starts = submission_starts((0..40).map(|_| (5, true)), full);
        assert_eq!(starts, [0, 10, 16, 26, 36], "a full submission delays no early one");
        let uncut = submission_starts((0..500).map(|index| (5, index == 400)), rule);
        assert_eq!(uncut, [0, 400]);
    }
}
