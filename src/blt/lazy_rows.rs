//! Where a Store keeps what a lazily updated hash table needs.
//!
//! The table, its moments and its gradient have arenas of their own. The gradient is not as long
//! as the table: it has a slot for every row that one update may touch.

use super::loaded::{DENSE_WEIGHTS, GRADIENTS, MOMENT1, MOMENT2, WEIGHTS};
use super::parameters::ParameterSpec;
use crate::error::{Error, Result};
use crate::graph::{BufferId, Placement, Region, StoreLayout, gradient_name};
use crate::kernels::{Element, lazy::step_record::RECORD_LENGTH};
use serde::{Deserialize, Serialize};

/// How the hash tables of a model are updated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TableUpdates {
    /// Every row in every update.
    Dense,
    /// Rows that an update touches, at most `slot_count`; the others replay what they have missed
    /// when they are needed. The bits of the CPU engine are the same.
    Lazy { slot_count: usize },
}

/// Steps that are recorded, and parts of the table that are swept one after the other: no row
/// misses more.
pub const RECORD_COUNT: usize = 64;

/// The tensor [table rows, 1] of integers that says which applied step each row is up to.
pub const LAST_STEP: &str = "lazy_rows.last_step";
/// The tensor [[`RECORD_COUNT`], 4] of the latest applied steps.
const RECORDS: &str = "lazy_rows.records";

/// Hash tables, where they lie.
pub(super) const TABLES: &str = "tables";

/// Gradients, moments, and for a lazily updated table what it is up to.
///
/// # Errors
/// [`Error::Limit`] if the slots exceed one binding.
pub(super) fn place_training(
    layout: &mut StoreLayout,
    table: Option<&ParameterSpec>,
    updates: TableUpdates,
    max_elements: usize,
) -> Result<()> {
    match (updates, table) {
        (TableUpdates::Lazy { slot_count }, Some(table)) => {
            layout.place_like(&format!("{GRADIENTS}.dense"), DENSE_WEIGHTS, gradient_name);
            place_lazy(layout, table, slot_count.clamp(1, table.rows), max_elements)?;
        }
        _ => layout.place_like(GRADIENTS, WEIGHTS, gradient_name),
    }
    layout.place_like(MOMENT1, WEIGHTS, |name| format!("{name}.{MOMENT1}"));
    layout.place_like(MOMENT2, WEIGHTS, |name| format!("{name}.{MOMENT2}"));
    Ok(())
}

fn place_lazy(
    layout: &mut StoreLayout,
    table: &ParameterSpec,
    slot_count: usize,
    max_elements: usize,
) -> Result<()> {
    for (what, length) in [("slots", slot_count * table.cols), ("rows", table.rows)] {
        if length > max_elements {
            return Err(Error::Limit {
                limit: format!("elements of one storage binding, for {what} of {}", table.name),
                needed: length as u64,
                available: max_elements as u64,
                hint: "use smaller batches, or optim.table_updates = \"dense\"".into(),
            });
        }
    }
    let mut place = |class: &str, element, name: String, rows, cols| {
        layout.place(class, element, &[(None, vec![(name, rows, cols)])], max_elements)
    };
    let class = format!("{GRADIENTS}.{TABLES}");
    place(&class, Element::F32, gradient_name(&table.name), slot_count, table.cols)?;
    place("last_step", Element::U32, LAST_STEP.into(), table.rows, 1)?;
    place("records", Element::F32, RECORDS.into(), RECORD_COUNT, RECORD_LENGTH)
}

/// A lazily updated table in a Store.
#[derive(Clone, Debug)]
pub struct LazyTable {
    /// The table, its first and its second moments: cut into shards alike.
    pub weight: Placement,
    pub moment1: Placement,
    pub moment2: Placement,
    /// Gradients [slots, cols].
    pub gradient: Region,
    pub last_step: Region,
    pub records: Region,
}

impl LazyTable {
    /// The lazily updated table of a layout, if it has one.
    pub fn of(layout: &StoreLayout) -> Option<Self> {
        let last_step = whole(layout.get(LAST_STEP)?);
        let is_table = |name: &&str| {
            let arena = layout.get(name).map(|place| &layout.arenas()[place.shards[0].arena.0]);
            arena.is_some_and(|arena| arena.name.starts_with(&format!("{WEIGHTS}.{TABLES}.")))
        };
        let name = layout.tensors().map(|(name, _)| name).find(is_table)?;
        let place = |name: &str| layout.get(name).expect("what a lazy table needs lies beside it");
        let moment = |class: &str| place(&format!("{name}.{class}")).clone();
        Some(Self {
            weight: place(name).clone(),
            moment1: moment(MOMENT1),
            moment2: moment(MOMENT2),
            gradient: whole(place(&gradient_name(name))),
            last_step,
            records: whole(place(RECORDS)),
        })
    }

    /// Rows that one update may touch.
    pub fn slot_count(&self) -> usize {
        self.gradient.length / self.weight.cols
    }
}

/// All of a tensor that is not cut.
fn whole(place: &Placement) -> Region {
    let shard = place.shards[0];
    let length = place.length();
    Region { buffer: BufferId::Arena(shard.arena), offset: shard.offset, length }
}
