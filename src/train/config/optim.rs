//! `[optim]`: AdamW and its schedule (spec §16.1, §16.2).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::section::Section;
use crate::error::{Error, Result};
use crate::train::schedule::{Schedule, ScheduleKind};
use crate::train::{ParameterGroup, TableUpdateRule};

/// The optimiser. Weight decay applies to every parameter, norms and embeddings included, unless a
/// group says otherwise.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OptimConfig {
    /// Peak learning rate; 3e-4. The paper has 4e-4 for all sizes.
    pub lr: f64,
    /// Part of `lr` by which parameters shrink at an update; 0.1.
    pub weight_decay: f64,
    /// Decay of the mean of gradients; 0.9.
    pub beta1: f64,
    /// Decay of the mean of squared gradients; 0.95.
    pub beta2: f64,
    /// Added to the root of the second moment; 1e-8.
    pub epsilon: f64,
    /// Longest gradient, in the 2-norm over all parameters; 1. 0 is no clipping.
    pub clip: f64,
    /// `cosine`, `linear`, `inv_sqrt`, `constant` or `wsd`; cosine.
    pub scheduler: ScheduleKind,
    /// Updates until the rate is at its peak; 2000.
    pub warmup: u64,
    /// The floor of the rate as a part of `lr`; 0.1. The paper has 0.
    pub lr_min_ratio: f64,
    /// Length of a cycle of `cosine` and `wsd` as a part of `steps`; 1.
    pub cycle_length: f64,
    /// Exponent of the progress inside the cosine; 1.
    pub cosine_theta: f64,
    /// The part of a `wsd` cycle that decays; 0.1.
    pub decay_fraction: f64,
    /// Exponent of `inv_sqrt`; 0.5.
    pub exp_factor: f64,
    /// `dense`, `lazy` or `auto`: whether hash tables are stepped as a whole, or rows that are
    /// not touched replay their steps later, with the same result; auto.
    pub table_updates: TableUpdateRule,
    /// Groups of parameters that are stepped in their own way, by a name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub groups: BTreeMap<String, ParameterGroup>,
}

impl Default for OptimConfig {
    fn default() -> Self {
        Self {
            lr: 3e-4,
            weight_decay: 0.1,
            beta1: 0.9,
            beta2: 0.95,
            epsilon: 1e-8,
            clip: 1.0,
            scheduler: ScheduleKind::Cosine,
            warmup: 2000,
            lr_min_ratio: 0.1,
            cycle_length: 1.0,
            cosine_theta: 1.0,
            decay_fraction: 0.1,
            exp_factor: 0.5,
            table_updates: TableUpdateRule::Auto,
            groups: BTreeMap::new(),
        }
    }
}

impl OptimConfig {
    /// The schedule over a run of so many updates.
    pub fn schedule(&self, step_count: u64) -> Schedule {
        Schedule {
            kind: self.scheduler,
            step_count,
            warmup_count: self.warmup,
            min_ratio: self.lr_min_ratio,
            cycle_length: self.cycle_length,
            cosine_theta: self.cosine_theta,
            decay_fraction: self.decay_fraction,
            exp_factor: self.exp_factor,
        }
    }

    pub(super) fn read(section: &mut Section<'_>) -> Result<Self> {
        let default = Self::default();
        Ok(Self {
            lr: section.number("lr", default.lr, 0.0..)?,
            weight_decay: section.number("weight_decay", default.weight_decay, 0.0..)?,
            beta1: section.number("beta1", default.beta1, 0.0..1.0)?,
            beta2: section.number("beta2", default.beta2, 0.0..1.0)?,
            epsilon: section.number("epsilon", default.epsilon, 0.0..)?,
            clip: section.number("clip", default.clip, 0.0..)?,
            scheduler: section
                .choice("scheduler", &ScheduleKind::NAMES)?
                .unwrap_or(default.scheduler),
            warmup: section.count("warmup", default.warmup, ..)?,
            lr_min_ratio: section.number("lr_min_ratio", default.lr_min_ratio, 0.0..=1.0)?,
            cycle_length: section.number("cycle_length", default.cycle_length, 0.0..)?,
            cosine_theta: section.number("cosine_theta", default.cosine_theta, 0.0..)?,
            decay_fraction: section.number("decay_fraction", default.decay_fraction, 0.0..=1.0)?,
            exp_factor: section.number("exp_factor", default.exp_factor, 0.0..)?,
            table_updates: section
                .choice("table_updates", &TableUpdateRule::NAMES)?
                .unwrap_or(default.table_updates),
            groups: section.within("groups", |groups| {
                let names = groups.keys().into_iter();
                names.map(|name| Ok((name.clone(), groups.within(&name, read_group)?))).collect()
            })?,
        })
    }
}

fn read_group(section: &mut Section<'_>) -> Result<ParameterGroup> {
    let group = ParameterGroup {
        tensors: section.strings("tensors")?,
        lr_scale: section.number("lr_scale", 1.0, 0.0..)?,
        weight_decay: section.optional_number("weight_decay", 0.0..)?,
        freeze: section.flag("freeze", false)?,
    };
    match group.tensors.is_empty() {
        true => Err(Error::config(section.dotted("tensors"), "expected at least one name")
            .with_hint("for example `tensors = [\"model.global_transformer.*\"]`")),
        false => Ok(group),
    }
}
