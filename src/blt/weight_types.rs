//! In which types the weights of a model lie in its Store, and which of them do.

use super::config::{ModelConfig, WeightType};
use super::loaded::own_parameters;
use super::parameters::{ParameterSpec, Part};
use std::collections::BTreeMap;

/// The type of every parameter: f32 unless something else was said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WeightTypes {
    types: BTreeMap<String, WeightType>,
    leaves_tables: bool,
}

impl WeightTypes {
    /// Matrices in the types that `choose` gives, vectors in f32. Where those of a group differ,
    /// one matmul could not read them, and they are f32 as well.
    pub fn new(config: &ModelConfig, choose: impl Fn(&ParameterSpec) -> WeightType) -> Self {
        let parameters = own_parameters(config);
        let mut types = BTreeMap::new();
        for spec in parameters.iter().filter(|spec| !spec.one_dimensional) {
            let weights = choose(spec);
            let is_beside =
                |other: &&ParameterSpec| spec.group.is_some() && other.group == spec.group;
            if parameters.iter().filter(is_beside).all(|other| choose(other) == weights) {
                types.insert(spec.name.clone(), weights);
            }
        }
        Self { types, leaves_tables: false }
    }

    /// All matrices in one type; with blocks, those that may be in blocks, and the rest in f32.
    pub fn uniform(config: &ModelConfig, weights: WeightType) -> Self {
        Self::new(config, |spec| match weights.is_blocks() && !spec.may_be_blocks() {
            true => WeightType::F32,
            false => weights,
        })
    }

    /// The same without hash tables: they stay on the host.
    #[must_use]
    pub fn without_tables(self) -> Self {
        Self { leaves_tables: true, ..self }
    }

    /// Whether a parameter is in the Store.
    pub fn places(&self, spec: &ParameterSpec) -> bool {
        !(self.leaves_tables && spec.part == Part::Hash)
    }

    /// That of a parameter.
    pub fn get(&self, name: &str) -> WeightType {
        self.types.get(name).copied().unwrap_or(WeightType::F32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blt::config::tests::config_a;

    #[test]
    fn vectors_and_groups_that_differ_are_f32() {
        let config = ModelConfig::Blt(config_a());
        let types = WeightTypes::new(&config, |spec| match spec.name.contains("v_proj") {
            true => WeightType::F16,
            false => WeightType::Bf16,
        });
        let of = |name: &str| types.get(&format!("model.local_encoder.layers.0.{name}.weight"));
        assert_eq!(of("input_layernorm"), WeightType::F32);
        assert_eq!([of("self_attn.q_proj"), of("self_attn.v_proj")], [WeightType::F32; 2]);
        assert_eq!(of("mlp.gate_proj"), WeightType::Bf16);
        let blocks = WeightTypes::uniform(&config, WeightType::Q4);
        assert_eq!(blocks.get("lm_head.weight"), WeightType::F32);
        assert_eq!(blocks.get("model.local_encoder.layers.0.mlp.down_proj.weight"), WeightType::Q4);
    }
}
