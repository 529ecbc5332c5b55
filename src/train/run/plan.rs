//! `plan.json`: what a run was compiled to. Same plan, same device, same bits.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::blt::LoadedModel;
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::graph::{Dispatch, Recording};
use crate::kernels::{AXIS_COUNT, Axis, Counts};
use crate::train::{AdamW, update_recording};

/// The programs of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SavedPlan {
    /// Device they were compiled for.
    pub engine: String,
    /// Variants that were taken because they had been measured, by class of shapes.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tuned: BTreeMap<String, String>,
    pub programs: BTreeMap<String, SavedProgram>,
}

/// One of them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SavedProgram {
    /// Most elements of every axis.
    pub capacity: [u32; AXIS_COUNT],
    pub dispatch_count: usize,
    /// `kernel.variant`, each once.
    pub kernels: Vec<String>,
}

/// The programs for a model at a capacity.
///
/// # Errors
/// If the shapes of the configuration contradict each other.
pub async fn saved_plan<E: Engine>(
    engine: &E,
    model: &LoadedModel<E>,
    capacity: Counts,
    adamw: &AdamW,
) -> Result<SavedPlan> {
    let micro = model.compile(engine, model.training_graph(), "micro", capacity).await?;
    let update = update_recording(&model.layout, adamw);
    let programs = [micro, update].map(|recording| (recording.name.clone(), saved(&recording)));
    Ok(SavedPlan { engine: engine.name(), tuned: model.tuned.choices(), programs: programs.into() })
}

fn saved(recording: &Recording) -> SavedProgram {
    let names = recording.dispatches.iter().map(Dispatch::variant_name);
    let mut kernels: Vec<_> = names.collect();
    kernels.sort();
    kernels.dedup();
    let capacity = recording.capacity.0;
    SavedProgram { capacity, dispatch_count: recording.dispatches.len(), kernels }
}

impl SavedPlan {
    /// The capacity that the micro-batches of the run had needed.
    pub fn capacity(&self) -> Counts {
        self.programs.get("micro").map_or_else(Counts::default, |it| Counts(it.capacity))
    }

    /// That the capacity is one of micro-batches of at most `byte_count` bytes, because memory for
    /// it is taken at once. A byte has up to two patches, touches a row in each of `table_count`
    /// hash tables, and a bucket holds less than twice what it was made for.
    ///
    /// # Errors
    /// An axis that is longer than any micro-batch makes it.
    pub fn check_capacity(&self, byte_count: usize, table_count: usize) -> Result<()> {
        let most = byte_count.saturating_mul(4 * table_count.max(1));
        let capacity = self.capacity();
        match capacity.0.iter().find(|&&count| count as usize > most) {
            None if capacity.get(Axis::One) == 1 => Ok(()),
            _ => {
                let problem = format!(
                    "capacity {:?} is not that of micro-batches of {byte_count} bytes",
                    capacity.0
                );
                Err(Error::model("plan.json: micro", problem))
            }
        }
    }

    /// Whether `now`, the same programs compiled here, would give the same bits.
    ///
    /// # Errors
    /// The first program that uses other kernels, with what differs.
    pub fn check(&self, now: &Self) -> Result<()> {
        for (name, saved) in &self.programs {
            let Some(here) = now.programs.get(name) else { continue };
            let missing = saved.kernels.iter().find(|kernel| !here.kernels.contains(kernel));
            let added = here.kernels.iter().find(|kernel| !saved.kernels.contains(kernel));
            let problem = match (missing, added) {
                (Some(kernel), _) => format!("the run used {kernel}, which is not used here"),
                (None, Some(kernel)) => format!("{kernel} is used here and was not by the run"),
                (None, None) => continue,
            };
            return Err(Error::model(format!("plan.json: {name}"), problem).with_hint(
                "resume with the version of the program and the device that the run began with",
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(kernels: &[&str]) -> SavedPlan {
        let kernels = kernels.iter().map(|&name| name.to_owned()).collect();
        let program = SavedProgram { capacity: [1; AXIS_COUNT], dispatch_count: 3, kernels };
        let programs = [("micro".to_owned(), program)].into();
        SavedPlan { engine: "cpu".into(), tuned: BTreeMap::new(), programs }
    }

    #[test]
    fn a_capacity_beyond_every_batch_is_refused() {
        let mut saved = plan(&[]);
        saved.check_capacity(64, 0).unwrap();
        let message = |saved: &SavedPlan| saved.check_capacity(64, 3).unwrap_err().to_string();
        let capacity = |saved: &mut SavedPlan, capacity| {
            saved.programs.get_mut("micro").unwrap().capacity = capacity;
        };
        capacity(&mut saved, [1, 64, 64, 64, 768, 2, 64, 64]);
        saved.check_capacity(64, 3).unwrap();
        capacity(&mut saved, [1, 64, 64, 64, 769, 2, 64, 64]);
        assert!(message(&saved).contains("769"), "{}", message(&saved));
        capacity(&mut saved, [7, 64, 64, 64, 64, 2, 64, 64]);
        assert!(message(&saved).contains("micro-batches of 64 bytes"));
    }

    #[test]
    fn other_kernels_are_refused_by_name() {
        let saved = plan(&["matmul.base", "rms_norm.base"]);
        saved.check(&saved).unwrap();
        let message = |now: &[&str]| saved.check(&plan(now)).unwrap_err().to_string();
        assert!(message(&["matmul.base"]).contains("used rms_norm.base, which is not"));
        let more = message(&["matmul.base", "matmul.f16", "rms_norm.base"]);
        assert!(more.contains("matmul.f16 is used here"), "{more}");
        let text = serde_json::to_string(&saved).unwrap();
        assert_eq!(serde_json::from_str::<SavedPlan>(&text).unwrap(), saved);
    }
}
