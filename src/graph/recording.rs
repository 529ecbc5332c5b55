//! A Recording: dispatches over numbered buffers, as plain data.
//!
//! It can be printed, counted, compared, and run by every engine with the same meaning. Buffers are
//! inputs (uploaded before each replay), arenas of the Store, or transient slots that live only
//! during the replay and are shared by tensors whose lives do not overlap.

use super::store::ArenaId;
use crate::kernels::{Abilities, Access, Cost, Counts, Element, Extent, Halves, Kernel, Situation};
use std::fmt::Write;

/// A buffer that a dispatch may bind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum BufferId {
    /// An input, by its index in [`Recording::inputs`].
    Input(usize),
    /// An arena of the Store.
    Arena(ArenaId),
    /// A transient slot, by its index in [`Recording::transients`].
    Transient(usize),
}

/// Consecutive elements of a buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Region {
    pub buffer: BufferId,
    /// First element; it lies at a multiple of 256 bytes.
    pub offset: usize,
    /// Number of elements at capacity.
    pub length: usize,
}

/// Something the host hands in before each replay.
#[derive(Clone, Debug, PartialEq)]
pub struct Input {
    pub name: String,
    pub element: Element,
    pub rows: Extent,
    pub cols: usize,
}

/// A tensor that can be read after a replay.
#[derive(Clone, Debug, PartialEq)]
pub struct Output {
    pub name: String,
    pub rows: Extent,
    pub cols: usize,
    pub region: Region,
}

/// A buffer that lives only during the replay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transient {
    pub element: Element,
    /// Number of elements.
    pub length: usize,
}

/// One call of a kernel.
#[derive(Clone)]
pub struct Dispatch {
    pub kernel: &'static Kernel,
    /// Index of the variant in the kernel's list.
    pub variant: usize,
    /// Whether results feed patch boundaries, so that no other variant may stand in for this one.
    pub fixed_order: bool,
    /// Which bindings hold f16.
    pub halves: Halves,
    pub params: Vec<u8>,
    /// What is bound, in the order of the kernel's bindings.
    pub regions: Vec<Region>,
    /// What this is in the model, for example `global.layers.3.mlp`.
    pub label: String,
}

impl Dispatch {
    /// Workgroups at these capacities.
    pub fn groups(&self, capacity: &Counts) -> [u32; 3] {
        (self.kernel.variants[self.variant].groups)(&self.params, capacity)
    }

    /// Work under these counts.
    pub fn cost(&self, counts: &Counts) -> Cost {
        (self.kernel.cost)(&self.params, counts)
    }

    /// `kernel.variant`, with `.f16` behind it where a binding holds f16: what plans are compared
    /// by and tables show.
    pub fn variant_name(&self) -> String {
        let variant = self.kernel.variants[self.variant].name;
        let half = if self.halves == Halves::NONE { "" } else { ".f16" };
        format!("{}.{variant}{half}", self.kernel.name)
    }
}

/// Dispatches in order, the buffers they name, and the places where they may be cut in two.
#[derive(Clone)]
pub struct Recording {
    pub name: String,
    /// The counts it was compiled for; every replay's counts must fit.
    pub capacity: Counts,
    pub inputs: Vec<Input>,
    pub transients: Vec<Transient>,
    pub dispatches: Vec<Dispatch>,
    pub outputs: Vec<Output>,
    /// Indices of dispatches before which an engine may start a new submission.
    pub cuts: Vec<usize>,
    /// A transient slot of integers, 16 of them, that dispatches fill with the
    /// [`Step`](crate::kernels::Step) of those behind them: these, all but the ones that bind the
    /// slot, read theirs there, and not the one that the replay is started with.
    pub counts: Option<BufferId>,
}

impl Recording {
    /// A recording without commands.
    pub fn new(name: impl Into<String>, capacity: Counts) -> Self {
        Self {
            name: name.into(),
            capacity,
            inputs: Vec::new(),
            transients: Vec::new(),
            dispatches: Vec::new(),
            outputs: Vec::new(),
            cuts: Vec::new(),
            counts: None,
        }
    }

    /// Where a dispatch reads its [`Step`](crate::kernels::Step), if the device has made it.
    pub fn counts_of(&self, dispatch: &Dispatch) -> Option<usize> {
        let slot = self.counts.filter(|slot| dispatch.regions.iter().all(|it| it.buffer != *slot));
        match slot {
            Some(BufferId::Transient(slot)) => Some(slot),
            Some(_) => unreachable!("counts are transient"),
            None => None,
        }
    }

    /// Lets the rules choose the variant of every dispatch, where no graph was lowered for it.
    pub fn choose_variants(&mut self, abilities: &Abilities) {
        for Dispatch { kernel, variant, halves, params, .. } in &mut self.dispatches {
            *variant = kernel.choose(&Situation { params, halves: *halves, abilities });
        }
    }

    /// Appends a transient buffer and gives the region that is all of it.
    pub fn add_transient(&mut self, element: Element, length: usize) -> Region {
        self.transients.push(Transient { element, length });
        Region { buffer: BufferId::Transient(self.transients.len() - 1), offset: 0, length }
    }

    /// Work of one replay under these counts.
    pub fn cost(&self, counts: &Counts) -> Cost {
        self.dispatches.iter().map(|dispatch| dispatch.cost(counts)).fold(
            Cost::default(),
            |sum, cost| Cost {
                flops: sum.flops + cost.flops,
                read_bytes: sum.read_bytes + cost.read_bytes,
                written_bytes: sum.written_bytes + cost.written_bytes,
            },
        )
    }

    /// Memory of the transient buffers.
    pub fn transient_bytes(&self) -> usize {
        self.transients.iter().map(|slot| slot.length * slot.element.bytes()).sum()
    }

    /// Memory of the inputs.
    pub fn input_bytes(&self) -> usize {
        let bytes =
            |input: &Input| input.rows.length(&self.capacity) * input.cols * input.element.bytes();
        self.inputs.iter().map(bytes).sum()
    }

    /// Distinct pipelines a device compiles for it: kernel, variant and injected constants.
    pub fn pipeline_count(&self) -> usize {
        let mut keys: Vec<_> = self
            .dispatches
            .iter()
            .map(|d| (d.kernel.name, d.variant, d.halves, (d.kernel.constants)(&d.params)))
            .collect();
        keys.sort();
        keys.dedup();
        keys.len()
    }

    /// What a person wants to see: sizes, then every dispatch with its kernel, variant and work.
    pub fn explain(&self) -> String {
        let cost = self.cost(&self.capacity);
        let mut text = format!(
            "{}: {} dispatches, {} pipelines, {} transient buffers of {:.1} MiB, {:.3} GFLOP, \
             {:.1} MiB read, {:.1} MiB written\n",
            self.name,
            self.dispatches.len(),
            self.pipeline_count(),
            self.transients.len(),
            mib(self.transient_bytes() as u64),
            cost.flops as f64 / 1e9,
            mib(cost.read_bytes),
            mib(cost.written_bytes),
        );
        for (index, dispatch) in self.dispatches.iter().enumerate() {
            let cut = if self.cuts.contains(&index) { "|" } else { " " };
            let cost = dispatch.cost(&self.capacity);
            let variant = dispatch.variant_name();
            writeln!(
                text,
                "{cut}{index:4}  {variant:<28} {:<40} {:?} {:.3} GFLOP",
                dispatch.label,
                dispatch.groups(&self.capacity),
                cost.flops as f64 / 1e9,
            )
            .expect("writing to a string cannot fail");
        }
        text
    }

    /// Asserts what every engine relies on: one region a binding, inside its buffer where the
    /// recording knows it, and nothing bound for reading and writing at once.
    pub fn check(&self) {
        for dispatch in &self.dispatches {
            let label = &dispatch.label;
            let kernel = dispatch.kernel;
            assert_eq!(dispatch.regions.len(), kernel.bindings.len(), "{label}: bindings");
            assert_eq!(dispatch.params.len(), kernel.params_bytes, "{label}: params");
            let bindings = kernel.bindings.iter().zip(&dispatch.regions).enumerate();
            for (index, (binding, region)) in bindings {
                let element = kernel.element(index, dispatch.halves);
                let aligned = (region.offset * element.bytes()).is_multiple_of(256);
                assert!(aligned, "{label}: {} is unaligned", binding.name);
                if let BufferId::Transient(slot) = region.buffer {
                    let end = region.offset + region.length;
                    let slot = self.transients[slot];
                    assert!(end <= slot.length, "{label}: {}", binding.name);
                    assert_eq!(element, slot.element, "{label}: {}", binding.name);
                }
                let written = binding.access != Access::Read;
                assert!(
                    !(written && matches!(region.buffer, BufferId::Input(_))),
                    "{label}: {} writes an input",
                    binding.name
                );
                let others = kernel.bindings.iter().zip(&dispatch.regions);
                let shared = others.filter(|(_, other)| other.buffer == region.buffer).count();
                assert!(
                    !written || shared == 1,
                    "{label}: {} shares the buffer it writes with another binding",
                    binding.name
                );
            }
        }
    }
}

fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}
