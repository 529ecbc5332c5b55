//! AdamW with decoupled weight decay, as PyTorch has it (spec §16.1).
//!
//! weight, gradient, moment1 and moment2 are `[length]`; `train_state` `[16]` is what
//! `update_decision` has made of it. With g = gradient gradient_scale and rate = learning_rate
//! learning_rate_scale: `weight -= rate weight_decay weight`, `moment1 = beta1 moment1 + (1 -
//! beta1) g`, `moment2 = beta2 moment2 + (1 - beta2) g²`, `weight -= rate (moment1 / (1 -
//! beta1_power)) / (sqrt(moment2 / (1 - beta2_power)) + eps)`. If the state says skip, weight and
//! moments stay. The gradient is cleared either way.

use super::train_state::{BETA1_POWER, BETA2_POWER, FIELD_COUNT, GRADIENT_SCALE, SKIP, initial};
use crate::kernels::dense::elementwise::{CHUNK, STRIDING_COUNT, elementwise_groups};
use crate::kernels::eights::{are_eights, chunk_groups, lanes_eights};
use crate::kernels::{
    Binding, Call, Case, Cost, Counts, Element, Halves, Kernel, Step, Variant, lane_count, values,
    wide,
};
use crate::oracle;
use bytemuck::{Pod, Zeroable};
use pulp::{Arch, NullaryFnOnce};
use rayon::prelude::*;

/// The `Params` uniform of `optim/adamw.wgsl`.
#[derive(Clone, Copy, Debug, PartialEq, Pod, Zeroable)]
#[repr(C)]
pub struct Params {
    /// Elements of the arena.
    pub length: u32,
    pub beta1: f32,
    pub beta2: f32,
    pub eps: f32,
    /// Decays every weight, norms and embeddings included.
    pub weight_decay: f32,
    /// What the learning rate of the step is multiplied by here.
    pub learning_rate_scale: f32,
    pub reserved: [u32; 2],
}

const _: () = assert!(size_of::<Params>() == 32);

impl Params {
    fn rule(&self) -> Rule {
        Rule { beta1: self.beta1, beta2: self.beta2, eps: self.eps }
    }
}

pub static KERNEL: Kernel = Kernel {
    name: "adamw",
    params_bytes: size_of::<Params>(),
    bindings: &[
        Binding::read("train_state", Element::F32),
        Binding::update("weight", Element::F32),
        Binding::update("gradient", Element::F32),
        Binding::update("moment1", Element::F32),
        Binding::update("moment2", Element::F32),
    ],
    variants: &[
        Variant::base(include_str!("../../../shaders/optim/adamw.wgsl"), groups),
        lanes_eights(
            include_str!("../../../shaders/optim/adamw.lanes_eights.wgsl"),
            takes_eights,
            eights_groups,
        ),
    ],
    constants,
    cost,
    cpu,
    oracle,
    cases,
};

fn constants(params: &[u8]) -> Vec<(&'static str, u32)> {
    let params: Params = bytemuck::pod_read_unaligned(params);
    vec![wide(params.length)]
}

fn groups(params: &[u8], _counts: &Counts) -> [u32; 3] {
    let params: Params = bytemuck::pod_read_unaligned(params);
    elementwise_groups(params.length as usize / lane_count(params.length))
}

fn takes_eights(params: &[u8], _halves: Halves) -> bool {
    let params: Params = bytemuck::pod_read_unaligned(params);
    are_eights(&[params.length])
}

fn eights_groups(params: &[u8], _counts: &Counts) -> [u32; 3] {
    let params: Params = bytemuck::pod_read_unaligned(params);
    chunk_groups(params.length as usize)
}

fn cost(params: &[u8], _counts: &Counts) -> Cost {
    let params: Params = bytemuck::pod_read_unaligned(params);
    let length = u64::from(params.length);
    Cost {
        flops: 16 * length,
        read_bytes: 16 * length + 4 * FIELD_COUNT as u64,
        written_bytes: 16 * length,
    }
}

fn cpu(mut call: Call<'_, f32>) {
    let params: Params = call.params();
    let length = params.length as usize;
    let state = call.f(0);
    let [weight, gradient, moment1, moment2] = [1, 2, 3, 4].map(|i| &mut call.f_mut(i)[..length]);
    if state[SKIP] != 0.0 {
        gradient.par_chunks_mut(CHUNK).for_each(|gradient| gradient.fill(0.0));
        return;
    }
    let factors = Factors::of(&params, call.step.learning_rate, state);
    let (rule, scale) = (params.rule(), state[GRADIENT_SCALE]);
    let chunks = weight
        .par_chunks_mut(CHUNK)
        .zip(gradient.par_chunks_mut(CHUNK))
        .zip(moment1.par_chunks_mut(CHUNK))
        .zip(moment2.par_chunks_mut(CHUNK));
    chunks.for_each(|(((weight, gradient), moment1), moment2)| {
        let (rule, factors) = (&rule, &factors);
        Arch::new().dispatch(Chunk { rule, factors, scale, weight, gradient, moment1, moment2 });
    });
}

/// One chunk; a type and no closure, so that it is inlined where vectors are wide.
pub(in crate::kernels) struct Chunk<'a> {
    pub rule: &'a Rule,
    pub factors: &'a Factors,
    /// The gradient scale of the step.
    pub scale: f32,
    pub weight: &'a mut [f32],
    pub gradient: &'a mut [f32],
    pub moment1: &'a mut [f32],
    pub moment2: &'a mut [f32],
}

impl NullaryFnOnce for Chunk<'_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let moments = self.moment1.iter_mut().zip(self.moment2);
        for ((weight, gradient), (m, v)) in self.weight.iter_mut().zip(self.gradient).zip(moments) {
            self.rule.step(self.factors, *gradient * self.scale, weight, m, v);
            *gradient = 0.0;
        }
    }
}

/// What is the same for all steps.
#[derive(Clone, Copy)]
pub(in crate::kernels) struct Rule {
    pub beta1: f32,
    pub beta2: f32,
    pub eps: f32,
}

impl Rule {
    /// One step of one element with its unscaled and clipped gradient. Everything that steps on
    /// the CPU does it here, so that it has the same bits.
    #[inline(always)]
    pub fn step(&self, factors: &Factors, g: f32, weight: &mut f32, m: &mut f32, v: &mut f32) {
        let Self { beta1, beta2, eps } = *self;
        *m = beta1 * *m + (1.0 - beta1) * g;
        *v = beta2 * *v + (1.0 - beta2) * g * g;
        let root = v.sqrt() * factors.root_factor + eps;
        *weight = *weight * factors.kept - factors.rate * *m / root;
    }
}

/// What is the same for all elements of one step.
#[derive(Clone, Copy)]
pub(in crate::kernels) struct Factors {
    /// What is left of a weight after its decay.
    pub kept: f32,
    /// The learning rate over the bias correction of the first moment.
    pub rate: f32,
    /// One over the root of the bias correction of the second moment.
    pub root_factor: f32,
}

impl Factors {
    fn of(params: &Params, learning_rate: f32, state: &[f32]) -> Self {
        Self::new(learning_rate * params.learning_rate_scale, params.weight_decay, state)
    }

    /// Those of a step with this learning rate, from the state that was decided for it.
    pub fn new(rate: f32, weight_decay: f32, state: &[f32]) -> Self {
        Self {
            kept: 1.0 - rate * weight_decay,
            rate: rate / (1.0 - state[BETA1_POWER]),
            root_factor: 1.0 / (1.0 - state[BETA2_POWER]).sqrt(),
        }
    }
}

fn oracle(mut call: Call<'_, f64>) {
    let params: Params = call.params();
    let rate = call.step.learning_rate * params.learning_rate_scale;
    let rule = oracle::optim::AdamW {
        learning_rate: f64::from(rate),
        beta1: f64::from(params.beta1),
        beta2: f64::from(params.beta2),
        eps: f64::from(params.eps),
        weight_decay: f64::from(params.weight_decay),
    };
    let [w, g, m, v] = [1, 2, 3, 4].map(|i| &mut call.f_mut(i)[..params.length as usize]);
    oracle::optim::adamw(w, g, m, v, call.f(0), &rule);
}

fn cases() -> Vec<Case> {
    let case = |(length, skip): (usize, bool)| {
        let params = Params {
            length: length as u32,
            beta1: 0.9,
            beta2: 0.95,
            eps: 1e-4,
            weight_decay: 0.1,
            learning_rate_scale: 0.5,
            ..Params::zeroed()
        };
        let mut step = Step::of(Counts::default());
        step.learning_rate = 0.75;
        let mut state = initial(1.0);
        state[SKIP] = skip.into();
        state[GRADIENT_SCALE] = if skip { 0.0 } else { 0.625 };
        state[BETA1_POWER] = 0.729;
        state[BETA2_POWER] = 0.857;
        let mut gradient = values(length as u64, length + 3);
        if skip {
            gradient[0] = f32::NAN;
        }
        let moment2 = values(length as u64 + 3000, length + 3).iter().map(|v| v * v).collect();
        Case::new(format!("length {length}, skip {skip}"), &params, step)
            .f(state.to_vec())
            .f(values(length as u64 + 1000, length + 3))
            .f(gradient)
            .f(values(length as u64 + 2000, length + 3))
            .f(moment2)
    };
    let lengths = [1, 3, 67, 1031, 40_000, 4 * STRIDING_COUNT + 8];
    let mut shapes: Vec<(usize, bool)> = lengths.iter().map(|&length| (length, false)).collect();
    shapes.extend([(1, true), (1031, true), (4160, true), (STRIDING_COUNT + 77, false)]);
    shapes.into_iter().map(case).collect()
}
