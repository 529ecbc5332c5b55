//! Variants that were measured to be the fastest: a table that stands before the rules.
//!
//! A choice is kept for a kernel and a class of shapes. A class says what the parameters say, and
//! no counts, so that a larger plan of the same model takes the same variants. Graphs of fixed
//! order do not ask.

use super::{Extent, Halves, Kernel, Situation, attention, dense, loss, norm};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;

/// Names of variants by [`shape_class`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tuned(Option<Arc<BTreeMap<String, String>>>);

impl Tuned {
    /// Nothing was measured: rules choose.
    pub const NONE: Self = Self(None);

    /// These choices.
    pub fn new(choices: BTreeMap<String, String>) -> Self {
        Self((!choices.is_empty()).then(|| Arc::new(choices)))
    }

    /// All choices.
    pub fn choices(&self) -> BTreeMap<String, String> {
        self.0.as_deref().cloned().unwrap_or_default()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// The variant to run: the one chosen for the class, if there is one that runs here, else
    /// what the rules say.
    pub fn choose(&self, kernel: &Kernel, situation: &Situation<'_>) -> usize {
        let chosen = self.0.as_deref().and_then(|choices| {
            let class = shape_class(kernel, situation.params, situation.halves)?;
            kernel.variant(choices.get(&class)?)
        });
        let chosen = chosen.filter(|&variant| kernel.runs(variant, situation));
        chosen.unwrap_or_else(|| kernel.choose(situation))
    }
}

/// What calls of a kernel have in common that may differ in the fastest variant, for example
/// `matmul bytes x 512 x 1408 nt f16 0 1 3`. `None` for kernels without a choice, or whose only
/// choice is between a GPU and a driver that computes on the processor.
pub fn shape_class(kernel: &Kernel, params: &[u8], halves: Halves) -> Option<String> {
    if kernel.variants.len() < 2 {
        return None;
    }
    let mut class = format!("{} ", kernel.name);
    class += &match kernel.name {
        "matmul" | "matmul_rope" | "matmul_swiglu" | "matmul_swiglu_grad" => {
            matmul_class(&bytemuck::pod_read_unaligned(params))
        }
        "matvec" | "matvec_rope" => {
            let params: dense::matvec::Params = bytemuck::pod_read_unaligned(params);
            let gated = if params.is_gated == 1 { " gated" } else { "" };
            format!("{} x {} x {}{gated}", params.rows, params.features, params.depth)
        }
        "attention" | "attention_query_grad" | "attention_key_grad" => {
            attention_class(&bytemuck::pod_read_unaligned(params))
        }
        "rms_norm" => {
            let params: norm::rms_norm::Params = bytemuck::pod_read_unaligned(params);
            row_class(params.rows, params.cols)
        }
        "rms_norm_grad" => {
            let params: norm::rms_norm_grad::Params = bytemuck::pod_read_unaligned(params);
            row_class(params.rows, params.cols)
        }
        "cross_entropy" | "cross_entropy_grad" => {
            let params: loss::cross_entropy::Params = bytemuck::pod_read_unaligned(params);
            row_class(params.rows, params.classes)
        }
        _ => return None,
    };
    let halves: Vec<_> = (0..kernel.bindings.len()).filter(|&it| halves.contains(it)).collect();
    if !halves.is_empty() {
        class += " f16";
        for binding in halves {
            write!(class, " {binding}").expect("writing to a string cannot fail");
        }
    }
    Some(class)
}

fn matmul_class(params: &dense::matmul::Params) -> String {
    let dense::matmul::Params { m, n, k, .. } = params;
    let letter = |transposed| if transposed == 1 { 't' } else { 'n' };
    let (a, b) = (letter(params.transpose_a), letter(params.transpose_b));
    let mut class = format!("{m} x {n} x {k} {a}{b}");
    if params.residual_scale != 0.0 {
        class += " residual";
    }
    if params.accumulate == 1 {
        class += " added";
    }
    if params.split_count > 1 {
        class += " split";
    }
    if params.some_rows == 1 {
        class += " some rows";
    }
    class
}

fn row_class(rows: Extent, cols: u32) -> String {
    format!("{rows} x {cols}")
}

fn attention_class(params: &attention::attention::Params) -> String {
    let (queries, keys): (Extent, Extent) = (params.queries, params.keys);
    let heads = (params.head_count, params.kv_head_count, params.head_dim);
    let few = if params.few_keys == 1 { ", few" } else { "" };
    format!("{queries} over {keys}, {} of {} heads of {}{few}", heads.0, heads.1, heads.2)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::{Abilities, Axis, REGISTRY};

    fn params(k: usize) -> Vec<u8> {
        let (m, n) = (Extent::of(Axis::Bytes), Extent::fixed(512));
        let params = dense::matmul::Params::new(m, n, Extent::fixed(k), false, true);
        bytemuck::bytes_of(&params).to_vec()
    }

    #[test]
    fn a_choice_holds_for_its_class_where_the_variant_runs() {
        let (kernel, wide, narrow) = (&dense::matmul::KERNEL, params(1408), params(64));
        let class = shape_class(kernel, &wide, Halves::of(&[0, 1])).unwrap();
        assert_eq!(class, "matmul bytes x 512 x 1408 nt f16 0 1");
        let class = shape_class(kernel, &wide, Halves::NONE).unwrap();
        let tuned = Tuned::new([(class, "lanes".to_owned())].into());
        let able = Abilities { subgroups: true, subgroup_min: 8, ..Abilities::CORE };
        let choose = |tuned: &Tuned, params: &[u8], abilities: &Abilities| {
            tuned.choose(kernel, &Situation { params, halves: Halves::NONE, abilities })
        };
        let lanes = kernel.variant("lanes").unwrap();
        assert_eq!(choose(&tuned, &wide, &able), lanes);
        assert_eq!(choose(&tuned, &narrow, &able), 0, "another class");
        assert_eq!(choose(&Tuned::NONE, &wide, &able), 0, "no rule takes it there");
        assert_eq!(choose(&tuned, &wide, &Abilities::CORE), 0, "the device cannot run it");
        let mut distrusting = able;
        distrusting.distrusted.add(kernel, lanes);
        assert_eq!(choose(&tuned, &wide, &distrusting), 0, "it was wrong there");
    }

    #[test]
    fn every_kernel_of_a_model_that_has_a_choice_has_classes() {
        for kernel in REGISTRY.iter().filter(|kernel| kernel.variants.len() > 1) {
            // Those of the benchmark, what runs in fixed order alone, and where all but the base is
            // for drivers that compute on the processor, which is known without measuring.
            let of_processor = kernel.variants[1..].iter().all(|it| it.name == "lanes_eights");
            let names = ["fma_f16", "matrix_f16", "attention_row"];
            let without = names.contains(&kernel.name) || of_processor;
            let case = (kernel.cases)().remove(0);
            let class = shape_class(kernel, &case.params, case.halves);
            assert_eq!(class.is_none(), without, "{}", kernel.name);
        }
    }
}
