//! Windows of documents that are scored together.

use super::patcher::EntropySource;
use crate::eval::bits_per_byte::{Window, next_window};

/// Windows, filled up to a number of positions; a single window may hold more.
pub(crate) struct Slice {
    context: usize,
    most: usize,
    held: usize,
    is_full: bool,
    /// Each with the index of its document.
    pub windows: Vec<(usize, Window)>,
}

impl Slice {
    /// None yet, of the size that is best scored together.
    pub fn of(entropies: &impl EntropySource) -> Self {
        let (context, most) = (entropies.context(), entropies.slice_positions());
        Self { context, most, held: 0, is_full: false, windows: Vec::new() }
    }

    /// Whether there is no room for another window.
    pub fn is_full(&self) -> bool {
        self.is_full || self.held >= self.most
    }

    /// Takes the room of positions that need no scoring.
    pub fn pass(&mut self, positions: usize) {
        self.held += positions;
    }

    /// Adds the windows of a document that score on from `scored`, as far as there is room; up to
    /// where it is scored with them.
    pub fn add(&mut self, index: usize, length: usize, mut scored: usize) -> usize {
        while let Some(window) = next_window(length, self.context, scored) {
            let positions = window.end - window.start;
            if self.held > 0 && self.held + positions > self.most {
                self.is_full = true;
                break;
            }
            self.held += positions;
            scored = window.end;
            self.windows.push((index, window));
        }
        scored
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slice() -> Slice {
        Slice { context: 8, most: 8, held: 0, is_full: false, windows: Vec::new() }
    }

    fn positions(slice: &Slice) -> usize {
        slice.windows.iter().map(|(_, window)| window.end - window.start).sum()
    }

    #[test]
    fn a_window_that_has_no_room_is_left_for_the_next_slice() {
        let mut first = slice();
        assert_eq!(first.add(0, 5, 0), 5);
        assert!(!first.is_full());
        assert_eq!(first.add(1, 7, 0), 0);
        assert!(first.is_full() && positions(&first) == 5);
        // The second window of a document sees half a context again: 4..12.
        let mut long = slice();
        assert_eq!(long.add(0, 20, 0), 8);
        assert!(long.is_full() && positions(&long) == 8);
        assert_eq!(slice().add(0, 20, 8), 12);
    }

    #[test]
    fn what_is_passed_takes_room() {
        let mut slice = slice();
        slice.pass(4);
        assert_eq!(slice.add(0, 5, 0), 0);
        assert!(slice.is_full() && slice.windows.is_empty());
    }
}
