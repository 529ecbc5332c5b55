//! From gradient norms to what the update does: skip, or step with which multiplier.
//!
//! Reads partial [partial_count, 2] of `grad_norm` and brings `train_state` `[16]` from the last
//! update to this one. Anything that is not finite: the update is left out, a dynamic loss scale is
//! halved. Otherwise `grad_norm = sqrt(Σ squares) / loss_scale` and `gradient_scale = min(1,
//! clip / (grad_norm + 1e-6)) / loss_scale`, and a dynamic scale doubles after `growth_interval`
//! good steps in a row.

use super::train_state::{APPLIED_STEPS, BETA1_POWER, BETA2_POWER, GOOD_STEPS, LENGTH, initial};
use super::train_state::{GRAD_NORM, GRADIENT_SCALE, LOSS_SCALE, SKIP, SKIPPED_STEPS};
use crate::kernels::{
    Binding, Call, Case, Cost, Counts, Element, Kernel, Step, Variant, no_constants, values,
};
use crate::oracle;
use bytemuck::{Pod, Zeroable};

/// The `Params` uniform of `optim/update_decision.wgsl`.
#[derive(Clone, Copy, Debug, PartialEq, Pod, Zeroable)]
#[repr(C)]
pub struct Params {
    pub partial_count: u32,
    /// The global norm that gradients are clipped to; 0 clips nothing.
    pub clip: f32,
    pub beta1: f32,
    pub beta2: f32,
    /// One: the loss scale moves.
    pub dynamic_loss_scale: u32,
    /// Good steps in a row after which a dynamic loss scale doubles.
    pub growth_interval: u32,
    pub min_loss_scale: f32,
    pub max_loss_scale: f32,
}

const _: () = assert!(size_of::<Params>() == 32);

pub static KERNEL: Kernel = Kernel {
    name: "update_decision",
    params_bytes: size_of::<Params>(),
    bindings: &[
        Binding::read("partial", Element::F32),
        Binding::update("train_state", Element::F32),
    ],
    variants: &[Variant::base(include_str!("../../../shaders/optim/update_decision.wgsl"), groups)],
    constants: no_constants,
    cost,
    cpu,
    oracle,
    cases,
};

fn groups(_params: &[u8], _counts: &Counts) -> [u32; 3] {
    [1, 1, 1]
}

fn cost(params: &[u8], _counts: &Counts) -> Cost {
    let params: Params = bytemuck::pod_read_unaligned(params);
    let count = u64::from(params.partial_count);
    let state_bytes = 4 * LENGTH as u64;
    Cost { flops: 2 * count, read_bytes: 8 * count + state_bytes, written_bytes: state_bytes }
}

fn cpu(mut call: Call<'_, f32>) {
    let params: Params = call.params();
    let (partial, state) = (call.f(0), call.f_mut(1));
    let (mut squares, mut flags) = (0.0_f32, 0.0);
    for group in partial[..2 * params.partial_count as usize].chunks_exact(2) {
        squares += group[0];
        flags += group[1];
    }
    if flags > 0.0 || !squares.is_finite() {
        state[SKIP] = 1.0;
        state[SKIPPED_STEPS] += 1.0;
        state[GOOD_STEPS] = 0.0;
        state[GRADIENT_SCALE] = 0.0;
        state[GRAD_NORM] = 0.0;
        if params.dynamic_loss_scale == 1 {
            state[LOSS_SCALE] = (state[LOSS_SCALE] * 0.5).max(params.min_loss_scale);
        }
        return;
    }
    state[SKIP] = 0.0;
    state[APPLIED_STEPS] += 1.0;
    state[BETA1_POWER] *= params.beta1;
    state[BETA2_POWER] *= params.beta2;
    let norm = squares.sqrt() / state[LOSS_SCALE];
    let clipped = if params.clip > 0.0 { (params.clip / (norm + 1e-6)).min(1.0) } else { 1.0 };
    state[GRAD_NORM] = norm;
    state[GRADIENT_SCALE] = clipped / state[LOSS_SCALE];
    state[GOOD_STEPS] += 1.0;
    if params.dynamic_loss_scale == 1 && state[GOOD_STEPS] >= params.growth_interval as f32 {
        state[LOSS_SCALE] = (state[LOSS_SCALE] * 2.0).min(params.max_loss_scale);
        state[GOOD_STEPS] = 0.0;
    }
}

fn oracle(mut call: Call<'_, f64>) {
    let params: Params = call.params();
    let rule = oracle::optim::UpdateRule {
        clip: f64::from(params.clip),
        beta1: f64::from(params.beta1),
        beta2: f64::from(params.beta2),
        dynamic: params.dynamic_loss_scale == 1,
        growth_interval: f64::from(params.growth_interval),
        min_loss_scale: f64::from(params.min_loss_scale),
        max_loss_scale: f64::from(params.max_loss_scale),
    };
    let partial = &call.f(0)[..2 * params.partial_count as usize];
    oracle::optim::update_decision(partial, &rule, call.f_mut(1));
}

/// One situation that the decision can meet.
struct Situation {
    name: &'static str,
    partial_count: usize,
    clip: f32,
    dynamic: bool,
    loss_scale: f32,
    good_steps: f32,
    /// Put into the partial sums: where, and what.
    fault: Option<(usize, f32)>,
}

const PLAIN: Situation = Situation {
    name: "one group",
    partial_count: 1,
    clip: 1.0,
    dynamic: false,
    loss_scale: 1.0,
    good_steps: 2.0,
    fault: None,
};

fn situations() -> Vec<Situation> {
    let dynamic = || Situation { dynamic: true, partial_count: 67, loss_scale: 2.0, ..PLAIN };
    vec![
        PLAIN,
        Situation { name: "no clip", clip: 0.0, partial_count: 257, ..PLAIN },
        Situation { name: "clip unreached", clip: 1e4, partial_count: 1031, ..PLAIN },
        Situation { name: "scale stays", ..dynamic() },
        Situation { name: "scale grows", good_steps: 3.0, ..dynamic() },
        Situation { name: "scale at its ceiling", good_steps: 3.0, loss_scale: 8.0, ..dynamic() },
        Situation { name: "flag", fault: Some((2 * 66 + 1, 1.0)), ..dynamic() },
        Situation { name: "sum overflows", fault: Some((0, f32::INFINITY)), ..dynamic() },
        Situation {
            name: "scale at its floor",
            loss_scale: 0.75,
            fault: Some((1, 1.0)),
            ..dynamic()
        },
        Situation { name: "flag, fixed scale", fault: Some((1, 1.0)), ..PLAIN },
    ]
}

fn cases() -> Vec<Case> {
    let case = |situation: Situation| {
        let params = Params {
            partial_count: situation.partial_count as u32,
            clip: situation.clip,
            beta1: 0.9,
            beta2: 0.95,
            dynamic_loss_scale: situation.dynamic.into(),
            growth_interval: 4,
            min_loss_scale: 0.5,
            max_loss_scale: 8.0,
        };
        let squares = values(situation.partial_count as u64, situation.partial_count);
        let mut partial: Vec<f32> = squares.iter().flat_map(|value| [value * value, 0.0]).collect();
        if let Some((index, value)) = situation.fault {
            partial[index] = value;
        }
        // A flag beyond the groups must not be looked at.
        partial.extend([1.0, 1.0]);
        let mut state = initial(situation.loss_scale);
        state[GOOD_STEPS] = situation.good_steps;
        state[APPLIED_STEPS] = 5.0;
        state[SKIPPED_STEPS] = 1.0;
        state[BETA1_POWER] = 0.5;
        state[BETA2_POWER] = 0.75;
        state[LENGTH - 1] = 7.0;
        Case::new(situation.name, &params, Step::of(Counts::default()))
            .f(partial)
            .f(state.to_vec())
            .tolerance(2e-6)
    };
    situations().into_iter().map(case).collect()
}
