//! Which variants of kernels a device may run: those that agree with their oracles on it.
//!
//! Base variants are believed. Any other is run on a few of its cases before the first plan that
//! uses it is compiled; if it disagrees it is not chosen again, and the reason is kept.

use super::engine::GpuEngine;
use super::pipelines::Request;
use super::plan::request;
use crate::error::Result;
use crate::graph::Recording;
use crate::kernels::{Case, Distrusted, Halves, Kernel};
use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Elements of the largest case that is run: more would delay the start.
const MOST_ELEMENTS: usize = 250_000;
/// Cases that are run for each pipeline.
const CASE_COUNT: usize = 2;

/// A variant as a pipeline has it: with types of its bindings and injected constants.
type Checked = (&'static str, usize, Halves, Vec<(&'static str, u32)>);

/// A variant that is to be checked, with the cases for it.
struct Unchecked {
    pipeline: Checked,
    kernel: &'static Kernel,
    cases: Vec<Case>,
}

/// What has been checked, and what came of it.
#[derive(Default)]
pub(super) struct Trust {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    checked: HashSet<Checked>,
    distrusted: Distrusted,
    reasons: Vec<String>,
}

impl Trust {
    /// Variants that disagreed.
    pub fn distrusted(&self) -> Distrusted {
        self.lock().distrusted
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it holds this lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl GpuEngine {
    /// Why variants are not used on this device, a sentence each.
    pub fn distrusted_variants(&self) -> Vec<String> {
        self.trust.lock().reasons.clone()
    }

    /// Checks the variants of a recording that were not checked before; whether all agree.
    ///
    /// # Errors
    /// If the device is lost.
    pub(super) async fn check_variants(&self, recording: &Recording) -> Result<bool> {
        let mut agree = true;
        let unchecked = self.with_cases(self.unchecked(recording)).await;
        if !unchecked.is_empty() {
            self.compile_at_once(recording, &unchecked).await;
        }
        for Unchecked { pipeline, kernel, cases } in unchecked {
            let variant = pipeline.1;
            let checked = self.verify_cases(kernel, variant, cases).await;
            self.context.check()?;
            let mut state = self.trust.lock();
            state.checked.insert(pipeline);
            if let Err(error) = checked {
                agree = false;
                state.distrusted.add(kernel, variant);
                state.reasons.push(error.to_string());
            }
        }
        Ok(agree)
    }

    /// The variants of a recording that were not checked before, each once.
    fn unchecked(&self, recording: &Recording) -> Vec<(Checked, &'static Kernel)> {
        let mut unchecked: Vec<(Checked, &'static Kernel)> = Vec::new();
        let state = self.trust.lock();
        for dispatch in &recording.dispatches {
            let (kernel, variant) = (dispatch.kernel, dispatch.variant);
            let constants = (kernel.constants)(&dispatch.params);
            let pipeline = (kernel.name, variant, dispatch.halves, constants);
            let known = unchecked.iter().any(|(other, _)| *other == pipeline);
            if variant != 0 && !known && !state.checked.contains(&pipeline) {
                unchecked.push((pipeline, kernel));
            }
        }
        unchecked
    }

    /// The same with their cases, which take the processor a good part of a second to make.
    async fn with_cases(&self, unchecked: Vec<(Checked, &'static Kernel)>) -> Vec<Unchecked> {
        #[cfg(not(target_arch = "wasm32"))]
        if self.context.pace.is_beside_host() && !unchecked.is_empty() {
            return crate::platform::elsewhere(move || with_cases(unchecked)).await;
        }
        with_cases(unchecked)
    }

    /// Compiles what the checks run and what the plan will run together, on all cores: one after
    /// the other they would take most of the time to a first result.
    async fn compile_at_once(&self, recording: &Recording, unchecked: &[Unchecked]) {
        let caps = self.context.caps();
        let of_cases = unchecked.iter().flat_map(|Unchecked { pipeline, kernel, cases }| {
            let variant = pipeline.1;
            let runs = move |case: &&Case| caps.satisfies(kernel.needs(variant, case.halves));
            cases.iter().filter(runs).map(move |case| Request {
                kernel,
                variant,
                halves: case.halves,
                params: &case.params,
            })
        });
        let requests: Vec<_> = of_cases.chain(recording.dispatches.iter().map(request)).collect();
        // A shader that is refused is refused again where it is checked, which then says so.
        let _ = self.pipelines.resolve(&self.context, &requests).await;
    }
}

/// Variants with a few cases each. All cases of a kernel are made once, for all of its variants.
fn with_cases(unchecked: Vec<(Checked, &'static Kernel)>) -> Vec<Unchecked> {
    let mut known: HashMap<&'static str, Vec<Case>> = HashMap::new();
    let with_cases = unchecked.into_iter().map(|(pipeline, kernel)| {
        let all = known.entry(kernel.name).or_insert_with(|| small_cases(kernel));
        let cases = some_cases(all, kernel, &pipeline);
        Unchecked { pipeline, kernel, cases }
    });
    with_cases.collect()
}

/// The cases of a kernel that are run for a start, the largest first.
fn small_cases(kernel: &Kernel) -> Vec<Case> {
    let size = |case: &Case| case.buffers.iter().map(|buffer| buffer.len()).sum::<usize>();
    let mut cases = (kernel.cases)();
    cases.retain(|case| size(case) <= MOST_ELEMENTS);
    cases.sort_by_key(|case| std::cmp::Reverse(size(case)));
    cases
}

/// A few of the cases that a variant takes: the first with these types and constants, or, where
/// there is none, of all that it takes.
fn some_cases(all: &[Case], kernel: &Kernel, pipeline: &Checked) -> Vec<Case> {
    let (_, variant, halves, constants) = pipeline;
    let takes = |case: &&Case| (kernel.variants[*variant].takes)(&case.params, case.halves);
    let alike = |case: &&Case| {
        takes(case) && case.halves == *halves && (kernel.constants)(&case.params) == *constants
    };
    let is_any_alike = all.iter().any(|case| alike(&case));
    let chosen = all.iter().filter(|case| if is_any_alike { alike(case) } else { takes(case) });
    chosen.take(CASE_COUNT).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::REGISTRY;

    #[test]
    fn every_variant_has_cases_to_be_checked_by() {
        for kernel in REGISTRY {
            for variant in 1..kernel.variants.len() {
                let pipeline = (kernel.name, variant, Halves::NONE, Vec::new());
                let count = some_cases(&small_cases(kernel), kernel, &pipeline).len();
                let name = kernel.variants[variant].name;
                assert!((1..=CASE_COUNT).contains(&count), "{}.{name}: {count}", kernel.name);
            }
        }
    }

    #[test]
    fn what_disagrees_is_not_chosen_again() {
        let matmul = crate::kernels::find("matmul").expect("it is registered");
        let mut distrusted = Distrusted::default();
        assert!(!distrusted.contains(matmul, 1));
        distrusted.add(matmul, 1);
        assert!(distrusted.contains(matmul, 1) && !distrusted.contains(matmul, 2));
        let add = crate::kernels::find("add").expect("it is registered");
        assert!(!distrusted.contains(add, 1));
    }
}
