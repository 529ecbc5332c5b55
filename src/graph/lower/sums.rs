//! Gradients that come in pieces, and when the pieces are summed.
//!
//! Pieces of the gradients of parameters wait in one transient buffer, until it is full or there is
//! nothing left to do: then one dispatch an arena adds up all of them. What waits, and how long,
//! follows from shapes alone, so that a larger plan sums alike.

use super::Lower;
use crate::error::Result;
use crate::graph::graph::TensorId;
use crate::graph::recording::{BufferId, Region};
use crate::graph::store::ALIGNMENT;
use crate::kernels::Element;
use crate::kernels::reduce::sum_rows::{self, MOST_PARTS, Part};

/// Elements of pieces that wait at the same time, unless a single gradient has more: 128 MiB, what
/// every device binds, and where the largest arena is bound too 192 MiB.
const MOST_WAITING: [usize; 2] = [32 << 20, 48 << 20];

/// Pieces that nobody has summed yet.
#[derive(Default)]
pub(super) struct Waiting {
    /// The transient buffer they lie in.
    slot: Option<usize>,
    /// How much of it is taken.
    length: usize,
    /// The buffer that each sum goes to, in the order in which they came.
    parts: Vec<(BufferId, Part)>,
}

impl Lower<'_> {
    /// Room for `piece_count` pieces of a tensor, which the next dispatch writes. They are added to
    /// it later.
    pub(super) fn room_for_pieces(&mut self, out: TensorId, piece_count: usize) -> Result<Region> {
        let place = self.region(out)?;
        let length = piece_count * place.length;
        let is_like = |(buffer, other): &(BufferId, Part)| {
            let part = Part::new(piece_count, place.length, 0, place.offset);
            *buffer == place.buffer && part.overlaps(other)
        };
        let is_full = self.waiting.length + length > self.most_waiting()
            || self.waiting.parts.len() == MOST_PARTS
            || self.waiting.parts.iter().any(is_like);
        if is_full {
            self.sum_pieces();
        }
        let slot = match self.waiting.slot {
            Some(slot) => slot,
            None => {
                self.recording.add_transient(Element::F32, length);
                self.recording.transients.len() - 1
            }
        };
        let offset = self.waiting.length;
        let part = Part::new(piece_count, place.length, offset, place.offset);
        self.waiting.slot = Some(slot);
        self.waiting.length = (offset + length).next_multiple_of(ALIGNMENT);
        self.waiting.parts.push((place.buffer, part));
        let transient = &mut self.recording.transients[slot];
        transient.length = transient.length.max(self.waiting.length);
        Ok(Region { buffer: BufferId::Transient(slot), offset, length })
    }

    fn most_waiting(&self) -> usize {
        let arenas = self.layout.arenas().iter().filter(|arena| arena.element == Element::F32);
        let [least, most] = MOST_WAITING;
        arenas.map(|arena| arena.length).max().unwrap_or(0).clamp(least, most)
    }

    /// Adds up all pieces that wait.
    pub(super) fn sum_pieces(&mut self) {
        let parts = std::mem::take(&mut self.waiting.parts);
        let length = std::mem::take(&mut self.waiting.length);
        let Some(slot) = self.waiting.slot else { return };
        let pieces = Region { buffer: BufferId::Transient(slot), offset: 0, length };
        let label = std::mem::replace(&mut self.label, "gradients".into());
        let mut rest = parts;
        while let Some(&(buffer, _)) = rest.first() {
            let (of_buffer, others): (Vec<_>, Vec<_>) =
                rest.into_iter().partition(|(other, _)| *other == buffer);
            let table: Vec<Part> = of_buffer.into_iter().map(|(_, part)| part).collect();
            let params = sum_rows::Params::new(&table, true);
            let regions = vec![pieces, self.all_of(buffer)];
            self.dispatch_regions(&sum_rows::KERNEL, &params, regions);
            rest = others;
        }
        self.label = label;
    }

    /// A whole arena.
    fn all_of(&self, buffer: BufferId) -> Region {
        let BufferId::Arena(arena) = buffer else {
            unreachable!("gradients of parameters lie in the store")
        };
        Region { buffer, offset: 0, length: self.layout.arenas()[arena.0].length }
    }
}
