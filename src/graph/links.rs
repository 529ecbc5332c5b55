//! Steps of generation behind each other in one replay: a device goes on from one to the next by
//! itself (spec §14.3).
//!
//! The tables that a step has as inputs become regions of one transient buffer, the arena, and
//! [`next_step`] writes them there in front of every step, with the counts of the step. It runs
//! once more behind the last, so that results are complete. A step is compiled for patches that
//! close; where none does their counts are zero, and the kernels of patches, which ask for their
//! lengths as all do, leave at once. Dispatches of which the device says how many workgroups they
//! have would save the leaving, but cost a validating dispatch each, in browsers always.

use super::recording::{BufferId, Dispatch, Input, Output, Recording, Region};
use super::store::ALIGNMENT;
use crate::error::{Error, Result};
use crate::kernels::decode::next_step::{self, StepRules, layout};
use crate::kernels::dense::copy;
use crate::kernels::{Axis, Element, Extent, Halves, Kernel};
use bytemuck::NoUninit;

/// Words of a [`Step`](crate::kernels::Step).
const STEP_WORDS: usize = 16;

/// How steps are linked.
#[derive(Clone, Copy, Debug)]
pub struct Links {
    /// Steps of a replay.
    pub count: usize,
    /// Whether their logits can be read.
    pub keeps_logits: bool,
    /// What tables follow from; where they lie is set here.
    pub rules: StepRules,
    /// The powers of hashed n-grams in the Store, if there are any.
    pub powers: Option<Region>,
}

/// The Recording of so many steps, from that of one. Input `streams` [bytes, width]; outputs
/// `results` [count x bytes, 4], see [`layout::RESULT_WORDS`], and `logits.0`, `logits.1` and so
/// forth [bytes, 260] where they are kept.
///
/// # Errors
/// A step with an input that a device cannot make.
pub fn link_steps(step: Recording, links: &Links) -> Result<Recording> {
    let count = links.count;
    let mut linked = Recording::new(format!("{}, {count} steps", step.name), step.capacity);
    let mut rules = StepRules { tables: [layout::NO_TABLE; 24], ..links.rules };
    let mut length = 0;
    let mut place = |elements: usize| {
        let at = length;
        length += elements.next_multiple_of(ALIGNMENT);
        at
    };
    let mut offsets = Vec::with_capacity(step.inputs.len());
    for input in &step.inputs {
        let index = layout::TABLES.iter().position(|table| *table == input.name);
        let index = index.filter(|_| input.element == Element::U32).ok_or_else(|| {
            Error::input(input.name.as_str(), "no device makes this input of a step by itself")
        })?;
        let offset = place(input.rows.length(&step.capacity) * input.cols);
        rules.tables[index] = offset as u32;
        offsets.push(offset);
    }
    let streams = step.capacity.get(Axis::Bytes);
    let (width, result_length) = (rules.width(count), count * streams * layout::RESULT_WORDS);
    rules.state = place(streams * width) as u32;
    rules.results = place(result_length) as u32;

    let rows = Extent::of(Axis::Bytes);
    let name = "streams".to_owned();
    linked.inputs.push(Input { name, element: Element::U32, rows, cols: width });
    let start = Region { buffer: BufferId::Input(0), offset: 0, length: streams * width };
    linked.transients = step.transients;
    let arena = linked.add_transient(Element::U32, length);
    let counts = linked.add_transient(Element::U32, STEP_WORDS);
    linked.counts = Some(counts.buffer);
    let output = |name: &str| step.outputs.iter().find(|output| output.name == name);
    let of_step = |name: &str| output(name).expect("a step has this output").region;
    let logits = of_step("logits");
    let (ids, status) = (of_step("chosen"), of_step("status"));
    // Without an entropy model nobody reads the entropies.
    let entropies = output("entropies").map_or(logits, |output| output.region);
    let next = |link: usize| {
        let (link, link_count) = (link as u32, count as u32);
        let params = next_step::Params { rows, link, link_count, rules };
        let powers = links.powers.unwrap_or(start);
        let regions = vec![start, powers, ids, status, entropies, arena, counts];
        dispatch(&next_step::KERNEL, &params, regions, "next step")
    };
    let logit_cols = output("logits").map_or(0, |output| output.cols);
    for link in 0..count {
        linked.dispatches.push(next(link));
        linked.dispatches.extend(step.dispatches.iter().map(|dispatch| {
            let mut dispatch = dispatch.clone();
            for region in &mut dispatch.regions {
                if let BufferId::Input(index) = region.buffer {
                    region.buffer = arena.buffer;
                    region.offset += offsets[index];
                }
            }
            dispatch
        }));
        if links.keeps_logits {
            let kept = linked.add_transient(Element::F32, streams * logit_cols);
            let params = copy::Params::new(rows, logit_cols as u32);
            let regions = vec![logits, kept];
            linked.dispatches.push(dispatch(&copy::KERNEL, &params, regions, "logits"));
            let name = format!("logits.{link}");
            linked.outputs.push(Output { name, rows, cols: logit_cols, region: kept });
        }
    }
    linked.dispatches.push(next(count));
    let region = Region { offset: rules.results as usize, length: result_length, ..arena };
    let (rows, cols) = (rows.times(count), layout::RESULT_WORDS);
    linked.outputs.push(Output { name: "results".into(), rows, cols, region });
    Ok(linked)
}

fn dispatch(
    kernel: &'static Kernel,
    params: &impl NoUninit,
    regions: Vec<Region>,
    label: &str,
) -> Dispatch {
    Dispatch {
        kernel,
        variant: 0,
        fixed_order: false,
        halves: Halves::NONE,
        params: bytemuck::bytes_of(params).to_vec(),
        regions,
        label: label.to_owned(),
    }
}
