//! The kernels of a training step of a shape: every kernel, variant and size that its plans use.

use super::cost::cost;
use super::isolate::{Context, Isolated};
use super::shape::BenchShape;
use super::work::work;
use crate::blt::{Batch, TableUpdates, WeightTypes, store_layout, training_graph};
use crate::device::Device;
use crate::engine::{Engine, Inputs};
use crate::error::Result;
use crate::graph::{CompileOptions, Dispatch, Precision, Recording, StoreLayout, compile_for};
use crate::kernels::{Cost, Counts, Halves, Step};
use crate::train::{AdamW, update_recording};

/// The plans of a training step as plain data, without a Store: nothing is on the device.
pub(super) struct KernelList {
    pub shape: BenchShape,
    pub precision: Precision,
    layout: StoreLayout,
    batch: Batch,
    /// `micro` and `update`.
    recordings: [Recording; 2],
    pub entries: Vec<Entry>,
}

/// A dispatch that stands for all that are alike.
pub(super) struct Entry {
    recording: usize,
    index: usize,
    /// Dispatches of a step that are alike.
    pub count: usize,
    /// Entries before it of the same sizes, whose parameters differ otherwise.
    twin_count: usize,
}

impl KernelList {
    /// The kernels of a shape whose name contains `wanted`, in the order of the step.
    ///
    /// # Errors
    /// If a tensor exceeds one binding of the device, or the rows are too long for the model.
    pub fn new(
        device: &Device,
        shape: &BenchShape,
        precision: Precision,
        wanted: &str,
    ) -> Result<Self> {
        let (config, batch) = (&shape.model.config, shape.batch(0)?);
        let layout = store_layout(
            config,
            Some(TableUpdates::Dense),
            precision,
            &WeightTypes::default(),
            device.max_binding_elements(),
        )?;
        let options = {
            let (abilities, tuned) = (device.abilities(), device.tuned());
            CompileOptions { abilities, precision, tuned, ..CompileOptions::BASE }
        };
        let graph = training_graph(config)?;
        let micro = compile_for(graph, "micro", &layout, batch.counts, &options)?;
        let recordings = [micro, update_recording(&layout, &AdamW::default(), &options.abilities)];
        let mut entries: Vec<Entry> = Vec::new();
        for (recording, of) in recordings.iter().enumerate() {
            for (index, dispatch) in of.dispatches.iter().enumerate() {
                if !dispatch.kernel.name.contains(wanted) {
                    continue;
                }
                let known = entries.iter_mut().find(|entry| {
                    alike(&recordings[entry.recording].dispatches[entry.index], dispatch)
                });
                match known {
                    Some(entry) => entry.count += 1,
                    None => entries.push(Entry { recording, index, count: 1, twin_count: 0 }),
                }
            }
        }
        let shape = shape.clone();
        let mut list = Self { shape, precision, layout, batch, recordings, entries };
        let names: Vec<_> = list.entries.iter().map(|entry| list.sizes(entry)).collect();
        for index in 0..names.len() {
            let twins = names[..index].iter().filter(|name| **name == names[index]);
            list.entries[index].twin_count = twins.count();
        }
        Ok(list)
    }

    /// Kernel, variant and sizes.
    fn sizes(&self, entry: &Entry) -> (String, String) {
        let dispatch = self.dispatch(entry);
        (dispatch.variant_name(), work(dispatch, &self.step(entry).counts))
    }

    /// The dispatch of an entry.
    pub fn dispatch(&self, entry: &Entry) -> &Dispatch {
        &self.recordings[entry.recording].dispatches[entry.index]
    }

    /// `s: 4104 x 1024 x 2816 nn, 8 a step`; the second of the same sizes has ` (2)` behind them.
    pub fn describe(&self, entry: &Entry) -> String {
        let (name, (_, sizes)) = (&self.shape.name, self.sizes(entry));
        let twin = match entry.twin_count {
            0 => String::new(),
            before => format!(" ({})", before + 1),
        };
        format!("{name}: {sizes}{twin}, {} a step", entry.count)
    }

    /// Its work with the rows that are there.
    pub fn cost(&self, entry: &Entry) -> Cost {
        let recording = &self.recordings[entry.recording];
        cost(self.dispatch(entry), recording, &self.step(entry), &self.batch.inputs)
    }

    /// Whether it multiplies f16.
    pub fn has_halves(&self, entry: &Entry) -> bool {
        self.dispatch(entry).halves != Halves::NONE
    }

    /// The dispatch by itself, over buffers that do not fit a cache.
    ///
    /// # Errors
    /// If it reads indices that nobody can make.
    pub fn isolate(&self, entry: &Entry) -> Result<Isolated> {
        self.isolate_variant(entry, self.dispatch(entry).variant)
    }

    /// The same by another variant.
    ///
    /// # Errors
    /// As [`Self::isolate`].
    pub fn isolate_variant(&self, entry: &Entry, variant: usize) -> Result<Isolated> {
        let nothing = Inputs::default();
        let mut recording = self.recordings[entry.recording].clone();
        recording.dispatches[entry.index].variant = variant;
        let context = Context {
            recording: &recording,
            layout: &self.layout,
            model: Some(&self.shape.model.config),
            step: self.step(entry),
            inputs: if entry.recording == 0 { &self.batch.inputs } else { &nothing },
        };
        context.isolate(entry.index)
    }

    fn step(&self, entry: &Entry) -> Step {
        match entry.recording {
            0 => {
                let loss_weight = (1.0 / self.batch.target_count) as f32;
                Step { loss_weight, ..Step::of(self.batch.counts) }
            }
            _ => Step { learning_rate: 1e-4, ..Step::of(Counts::default()) },
        }
    }
}

/// Whether two dispatches are the same call over other buffers.
fn alike(a: &Dispatch, b: &Dispatch) -> bool {
    let what = |it: &Dispatch| (it.kernel.name, it.variant, it.halves);
    let lengths = |it: &Dispatch| it.regions.iter().map(|it| it.length).collect::<Vec<_>>();
    what(a) == what(b) && a.params == b.params && lengths(a) == lengths(b)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu::HostEngine;

    fn list(wanted: &str) -> (Device, KernelList) {
        let text = include_str!("../../tests/support/tiny.toml");
        let shape = BenchShape::from_toml("tiny", text).unwrap();
        let device = Device::Cpu(HostEngine::default());
        let list = KernelList::new(&device, &shape, Precision::F32, wanted).unwrap();
        (device, list)
    }

    #[test]
    fn every_dispatch_of_a_step_is_in_one_entry() {
        let (_, list) = list("");
        let all: usize = list.recordings.iter().map(|it| it.dispatches.len()).sum();
        assert_eq!(list.entries.iter().map(|entry| entry.count).sum::<usize>(), all);
        assert!(list.entries.len() < all * 2 / 3, "{} of {all}", list.entries.len());
        let names = list.entries.iter();
        let name = |entry| (list.dispatch(entry).variant_name(), list.describe(entry));
        let names: std::collections::HashSet<_> = names.map(name).collect();
        assert_eq!(names.len(), list.entries.len(), "every row has a name of its own");
    }

    #[test]
    fn an_isolated_lookup_reads_the_indices_of_its_batch() {
        let (device, list) = list("hash_embedding");
        let [entry] = &list.entries[..] else { panic!("one lookup") };
        let isolated = list.isolate(entry).unwrap();
        let names: Vec<_> = isolated.recording.dispatches.iter().map(|it| it.kernel.name).collect();
        let lookup = names.iter().position(|name| *name == "hash_embedding").unwrap();
        assert!(names[..lookup].contains(&"hash_ids"), "{names:?}");
        assert!(names[isolated.first..].iter().all(|name| *name == "hash_embedding"));
        assert!(isolated.recording.dispatches.len() - isolated.first > 1, "copies take turns");
        // Ids that are out of range would end the CPU variant.
        let store = pollster::block_on(device.create_store(&StoreLayout::default())).unwrap();
        let plan = device.compile(&store, isolated.recording.clone());
        let plan = pollster::block_on(plan).unwrap();
        device.run(&plan, &isolated.step, &isolated.inputs).unwrap();
    }
}
