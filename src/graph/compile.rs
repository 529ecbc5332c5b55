//! Compiling: the passes over a graph in their order, then its lowering to a Recording.

use super::epilogues::fuse_epilogues;
use super::few_rows::fuse_few_rows;
use super::frozen::drop_gradients;
use super::graph::Graph;
use super::host_embedding::take_embedding_from_host;
use super::lower::lower;
use super::mixed::{Precision, use_halves};
use super::packed::unpack_weights;
use super::passes::{fuse_casts, fuse_residuals, remove_dead_code};
use super::recompute::{Recompute, recompute};
use super::recording::Recording;
use super::store::StoreLayout;
use crate::error::Result;
use crate::kernels::{Abilities, Counts, Tuned};
use std::collections::BTreeSet;

/// What a graph is compiled for, besides its capacity.
#[derive(Clone, Debug)]
pub struct CompileOptions {
    /// Variants are chosen by it.
    pub abilities: Abilities,
    pub precision: Precision,
    /// What the backward pass computes again instead of reading it from memory.
    pub recompute: Recompute,
    /// Variants that were measured to be the fastest.
    pub tuned: Tuned,
    /// Parameters whose gradients nobody wants.
    pub frozen: BTreeSet<String>,
}

impl CompileOptions {
    /// Base variants in f32.
    pub const BASE: Self = Self {
        abilities: Abilities::CORE,
        precision: Precision::F32,
        recompute: Recompute::None,
        tuned: Tuned::NONE,
        frozen: BTreeSet::new(),
    };
}

/// Compiles a graph for base variants in f32, see [`compile_for`].
///
/// # Errors
/// If the layout lacks a tensor that the graph reads.
pub fn compile(
    graph: Graph,
    name: &str,
    layout: &StoreLayout,
    capacity: Counts,
) -> Result<Recording> {
    compile_for(graph, name, layout, capacity, &CompileOptions::BASE)
}

/// Compiles a graph: gradients of what is frozen, dead code, precision, fusion, recompute, layers
/// of few rows, epilogues, unpacking, lifetimes, dispatches with their variants.
///
/// # Errors
/// If the layout lacks a tensor that the graph reads.
pub fn compile_for(
    mut graph: Graph,
    name: &str,
    layout: &StoreLayout,
    capacity: Counts,
    options: &CompileOptions,
) -> Result<Recording> {
    take_embedding_from_host(&mut graph, layout);
    drop_gradients(&mut graph, &options.frozen);
    remove_dead_code(&mut graph);
    // What feeds a patch boundary is f32 in every precision.
    if options.precision == Precision::Mixed && !graph.fixed_order {
        use_halves(&mut graph, layout);
    }
    fuse_residuals(&mut graph);
    fuse_casts(&mut graph);
    recompute(&mut graph, options.recompute);
    fuse_few_rows(&mut graph);
    fuse_epilogues(&mut graph, &options.abilities);
    unpack_weights(&mut graph, layout);
    let mut recording = lower(&graph, name, layout, capacity, options)?;
    mark_cuts(&mut recording);
    recording.check();
    Ok(recording)
}

/// Work between two cut marks: a fifth of a millisecond on a GPU of 100 GFLOP/s, of which a frame
/// has time for some.
const CUT_FLOPS: u64 = 20_000_000;

fn mark_cuts(recording: &mut Recording) {
    let mut since_cut = 0;
    for (index, dispatch) in recording.dispatches.iter().enumerate() {
        let flops = dispatch.cost(&recording.capacity).flops;
        if since_cut + flops > CUT_FLOPS && since_cut > 0 {
            recording.cuts.push(index);
            since_cut = 0;
        }
        since_cut += flops;
    }
}
