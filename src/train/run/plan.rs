//! `plan.json`: what a run was compiled to. Same plan, same device, same bits.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::blt::{LoadedModel, TableUpdates};
use crate::engine::{Engine, EngineFingerprint};
use crate::error::{Error, Result};
use crate::graph::{Dispatch, Recompute, Recording};
use crate::kernels::{AXIS_COUNT, Axis, Counts, Hash};
use crate::train::{AdamW, update_recording};

/// The programs of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SavedPlan {
    /// What they were compiled for, and what else their bits depend on.
    pub engine: EngineFingerprint,
    /// How hash tables are updated.
    pub table_updates: TableUpdates,
    /// What the backward pass computes again.
    pub recompute: Recompute,
    /// Parameters that are frozen, whose gradients are not made.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub frozen: BTreeSet<String>,
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
    /// A hash of all dispatches in their order: variants, types, and parameters where no setting
    /// of the optimiser is among them.
    pub dispatches: String,
}

/// The programs for a model at a capacity.
///
/// # Errors
/// If the shapes of the configuration contradict each other.
pub async fn saved_plan<E: Engine>(
    engine: &E,
    model: &LoadedModel<E>,
    capacity: Counts,
    table_updates: TableUpdates,
    adamw: &AdamW,
) -> Result<SavedPlan> {
    let micro = model.compile(engine, model.training_graph(), "micro", capacity).await?;
    let update = update_recording(&model.layout, adamw, &engine.abilities());
    let programs = [(micro, true), (update, false)]
        .map(|(recording, fixed)| (recording.name.clone(), saved(&recording, fixed)));
    Ok(SavedPlan {
        engine: engine.fingerprint(),
        table_updates,
        recompute: model.recompute,
        frozen: model.frozen.clone(),
        tuned: model.tuned.choices(),
        programs: programs.into(),
    })
}

/// A program, whose parameters are `fixed` if a run that goes on has the same.
fn saved(recording: &Recording, fixed: bool) -> SavedProgram {
    let mut dispatches = Hash::default();
    for dispatch in &recording.dispatches {
        dispatches.add(dispatch.variant_name().as_bytes());
        if fixed {
            dispatches.add(&dispatch.params);
        }
    }
    let dispatches = dispatches.to_hex();
    let names = recording.dispatches.iter().map(Dispatch::variant_name);
    let mut kernels: Vec<_> = names.collect();
    kernels.sort();
    kernels.dedup();
    let capacity = recording.capacity.0;
    SavedProgram { capacity, dispatch_count: recording.dispatches.len(), kernels, dispatches }
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
    /// What differs: the device and what computes on it, how hash tables are updated, or the first
    /// program with other dispatches.
    pub fn check(&self, now: &Self) -> Result<()> {
        self.check_engine(&now.engine)?;
        self.check_updates(now.table_updates)?;
        for (name, saved) in &self.programs {
            let Some(here) = now.programs.get(name) else { continue };
            let missing = saved.kernels.iter().find(|kernel| !here.kernels.contains(kernel));
            let added = here.kernels.iter().find(|kernel| !saved.kernels.contains(kernel));
            let problem = match (missing, added) {
                (Some(kernel), _) => format!("the run used {kernel}, which is not used here"),
                (None, Some(kernel)) => format!("{kernel} is used here and was not by the run"),
                (None, None) if saved.dispatch_count != here.dispatch_count => {
                    let (then, now) = (saved.dispatch_count, here.dispatch_count);
                    format!("the run made {then} dispatches, here there are {now}")
                }
                (None, None) if saved.dispatches != here.dispatches => {
                    "the dispatches of the run differ from those here in order or parameters".into()
                }
                (None, None) => continue,
            };
            return Err(Error::model(format!("plan.json: {name}"), problem).with_hint(ELSEWHERE));
        }
        Ok(())
    }

    /// Whether plans give the same bits on this engine.
    ///
    /// # Errors
    /// What differs.
    pub fn check_engine(&self, now: &EngineFingerprint) -> Result<()> {
        match self.engine.difference(now) {
            None => Ok(()),
            Some(problem) => Err(Error::model("plan.json: engine", problem).with_hint(ELSEWHERE)),
        }
    }

    /// Whether hash tables are updated as they were.
    ///
    /// # Errors
    /// Both ways, by the name of the key that chooses.
    pub fn check_updates(&self, now: TableUpdates) -> Result<()> {
        if self.table_updates == now {
            return Ok(());
        }
        let said = |updates| match updates {
            TableUpdates::Dense => "dense".to_owned(),
            TableUpdates::Lazy { slot_count } => format!("lazy with {slot_count} slots"),
        };
        let (then, now) = (said(self.table_updates), said(now));
        let problem = format!("the updates of the run are {then}, here they would be {now}");
        let value = if self.table_updates == TableUpdates::Dense { "dense" } else { "lazy" };
        Err(Error::config("optim.table_updates", problem)
            .with_hint(format!("set optim.table_updates = \"{value}\"")))
    }
}

/// What to do where the bits would differ.
const ELSEWHERE: &str = "resume with the device, driver and version of the program that the run \
    began with, or add --elsewhere: the run then goes on with other numbers in the last bits";

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(kernels: &[&str]) -> SavedPlan {
        let kernels = kernels.iter().map(|&name| name.to_owned()).collect();
        let (capacity, dispatches) = ([1; AXIS_COUNT], "0".to_owned());
        let program = SavedProgram { capacity, dispatch_count: 3, kernels, dispatches };
        let programs = [("micro".to_owned(), program)].into();
        let [name, driver, kernels] = ["cpu", "x", "1"].map(str::to_owned);
        SavedPlan {
            engine: EngineFingerprint { name, driver, kernels },
            table_updates: TableUpdates::Dense,
            recompute: Recompute::None,
            frozen: BTreeSet::new(),
            tuned: BTreeMap::new(),
            programs,
        }
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

    #[test]
    fn whatever_changes_bits_is_refused_and_named() {
        let saved = plan(&["matmul.base"]);
        let refused = |change: fn(&mut SavedPlan)| {
            let mut now = saved.clone();
            change(&mut now);
            let error = saved.check(&now).unwrap_err();
            (error.to_string(), error.hint().unwrap().to_owned())
        };
        let (driver, hint) = refused(|plan| plan.engine.driver = "y".into());
        assert_eq!(driver, "plan.json: engine: the driver was x and is y");
        assert!(hint.contains("--elsewhere"), "{hint}");
        let (kernels, _) = refused(|plan| plan.engine.kernels = "2".into());
        assert!(kernels.contains("the set of kernels was 1 and is 2"), "{kernels}");
        let (name, _) = refused(|plan| plan.engine.name = "vulkan/x".into());
        assert!(name.contains("the device was cpu and is vulkan/x"), "{name}");
        let (count, _) = refused(|plan| plan.programs.get_mut("micro").unwrap().dispatch_count = 4);
        assert!(count.contains("made 3 dispatches, here there are 4"), "{count}");
        let (order, _) =
            refused(|plan| plan.programs.get_mut("micro").unwrap().dispatches = "1".into());
        assert!(order.contains("differ from those here in order or parameters"), "{order}");
        let (updates, hint) =
            refused(|plan| plan.table_updates = TableUpdates::Lazy { slot_count: 7 });
        let expected = "the updates of the run are dense, here they would be lazy with 7 slots";
        assert_eq!(updates, format!("optim.table_updates: {expected}"));
        assert_eq!(hint, "set optim.table_updates = \"dense\"");
    }
}
