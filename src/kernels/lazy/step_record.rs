//! Records of applied steps, from which rows that missed them replay them.
//!
//! `records[applied_steps mod record_count]` = (what is left of a weight after its decay, learning
//! rate over the bias correction of the first moment, one over the root of that of the second, 0);
//! records is [record_count, 4]. If `train_state` `[16]` says skip there is no step to record.

use crate::kernels::optim::adamw::Factors;
use crate::kernels::optim::train_state::{
    APPLIED_STEPS, BETA1_POWER, BETA2_POWER, FIELD_COUNT, SKIP, initial,
};
use crate::kernels::{
    Binding, Call, Case, Cost, Counts, Element, Kernel, Step, Variant, no_constants, values,
};
use crate::oracle;
use bytemuck::{Pod, Zeroable};

/// The `Params` uniform of `lazy/step_record.wgsl`.
#[derive(Clone, Copy, Debug, PartialEq, Pod, Zeroable)]
#[repr(C)]
pub struct Params {
    pub record_count: u32,
    pub weight_decay: f32,
    /// What the learning rate of the step is multiplied by here.
    pub learning_rate_scale: f32,
    pub reserved: u32,
}

const _: () = assert!(size_of::<Params>() == 16);

/// Numbers of a record.
pub const RECORD_LENGTH: usize = 4;

pub static KERNEL: Kernel = Kernel {
    name: "step_record",
    params_bytes: size_of::<Params>(),
    bindings: &[
        Binding::read("train_state", Element::F32),
        Binding::update("records", Element::F32),
    ],
    variants: &[Variant::base(include_str!("../../../shaders/lazy/step_record.wgsl"), groups)],
    constants: no_constants,
    cost,
    cpu,
    oracle,
    cases,
};

fn groups(_params: &[u8], _counts: &Counts) -> [u32; 3] {
    [1, 1, 1]
}

fn cost(_params: &[u8], _counts: &Counts) -> Cost {
    Cost { flops: 9, read_bytes: 4 * FIELD_COUNT as u64, written_bytes: 4 * RECORD_LENGTH as u64 }
}

fn cpu(mut call: Call<'_, f32>) {
    let params: Params = call.params();
    let (state, records) = (call.f(0), call.f_mut(1));
    if state[SKIP] != 0.0 {
        return;
    }
    let rate = call.step.learning_rate * params.learning_rate_scale;
    let Factors { kept, rate, root_factor } = Factors::new(rate, params.weight_decay, state);
    let at = state[APPLIED_STEPS] as usize % params.record_count as usize * RECORD_LENGTH;
    records[at..at + RECORD_LENGTH].copy_from_slice(&[kept, rate, root_factor, 0.0]);
}

fn oracle(mut call: Call<'_, f64>) {
    let params: Params = call.params();
    let rule = oracle::optim::AdamW {
        learning_rate: f64::from(call.step.learning_rate * params.learning_rate_scale),
        beta1: 0.0,
        beta2: 0.0,
        eps: 0.0,
        weight_decay: f64::from(params.weight_decay),
    };
    let records = &mut call.f_mut(1)[..params.record_count as usize * RECORD_LENGTH];
    oracle::lazy::step_record(call.f(0), records, &rule);
}

fn cases() -> Vec<Case> {
    let case = |(record_count, applied, skip): (usize, f32, bool)| {
        let params = Params {
            record_count: record_count as u32,
            weight_decay: 0.1,
            learning_rate_scale: 0.5,
            reserved: 0,
        };
        let mut step = Step::of(Counts::default());
        step.learning_rate = 0.75;
        let mut state = initial(1.0);
        state[SKIP] = skip.into();
        state[APPLIED_STEPS] = applied;
        state[BETA1_POWER] = 0.729;
        state[BETA2_POWER] = 0.857;
        Case::new(format!("{record_count} records, step {applied}, skip {skip}"), &params, step)
            .f(state.to_vec())
            .f(values(applied as u64, RECORD_LENGTH * record_count + 4))
    };
    [(1, 1.0, false), (64, 63.0, false), (64, 1000.0, false), (7, 20.0, true)].map(case).into()
}
