//! Slots for the gradients of touched rows: every row that an update touches has one.

use crate::error::{Error, Result};

/// Which row of a table has which slot in the update that is being added up.
#[derive(Clone, Debug)]
pub struct Slots {
    /// The slot of every row of the table, [`NO_SLOT`] where it was not touched.
    slot_of_row: Vec<u32>,
    /// The row of every slot dealt out.
    rows: Vec<u32>,
    slot_count: usize,
}

const NO_SLOT: u32 = u32::MAX;

impl Slots {
    /// All of `slot_count` slots are free, for rows of a table of `row_count`.
    pub fn new(row_count: usize, slot_count: usize) -> Self {
        Self { slot_of_row: vec![NO_SLOT; row_count], rows: Vec::new(), slot_count }
    }

    /// The slots of these rows, each of which is named once: the ones they have already, or the
    /// next ones.
    ///
    /// # Errors
    /// [`Error::Limit`] if there are not enough; then nothing has changed.
    pub fn deal(&mut self, rows: &[u32]) -> Result<Vec<u32>> {
        let is_new = |row: &&u32| self.slot_of_row[**row as usize] == NO_SLOT;
        let needed = self.rows.len() + rows.iter().filter(is_new).count();
        if needed > self.slot_count {
            return Err(Error::Limit {
                limit: "slots for touched rows of hash tables in one update".into(),
                needed: needed as u64,
                available: self.slot_count as u64,
                hint: "make room for more when the model is created, or use smaller batches".into(),
            });
        }
        let slot_of = |&row: &u32| {
            let slot = &mut self.slot_of_row[row as usize];
            if *slot == NO_SLOT {
                *slot = self.rows.len() as u32;
                self.rows.push(row);
            }
            *slot
        };
        Ok(rows.iter().map(slot_of).collect())
    }

    /// The touched rows, increasing.
    pub fn rows(&self) -> Vec<u32> {
        let mut rows = self.rows.clone();
        rows.sort_unstable();
        rows
    }

    /// The touched rows, increasing, and their slots. All slots are free again.
    pub fn take(&mut self) -> (Vec<u32>, Vec<u32>) {
        let mut rows = std::mem::take(&mut self.rows);
        rows.sort_unstable();
        let slot_of = |&row: &u32| std::mem::replace(&mut self.slot_of_row[row as usize], NO_SLOT);
        let slots = rows.iter().map(slot_of).collect();
        (rows, slots)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_keeps_its_slot_until_the_update() {
        let mut slots = Slots::new(10, 4);
        assert_eq!(slots.deal(&[2, 5]).unwrap(), [0, 1]);
        assert_eq!(slots.deal(&[1, 5, 9]).unwrap(), [2, 1, 3]);
        assert_eq!(slots.rows(), [1, 2, 5, 9]);
        assert_eq!(slots.take(), (vec![1, 2, 5, 9], vec![2, 0, 1, 3]));
        assert_eq!(slots.deal(&[9]).unwrap(), [0]);
        assert_eq!(slots.take(), (vec![9], vec![0]));
        assert_eq!(slots.take(), (vec![], vec![]));
    }

    #[test]
    fn too_many_rows_are_an_error_that_changes_nothing() {
        let mut slots = Slots::new(10, 3);
        slots.deal(&[2, 5]).unwrap();
        let error = slots.deal(&[1, 2, 3]).unwrap_err();
        assert!(matches!(error, Error::Limit { needed: 4, available: 3, .. }), "{error}");
        assert_eq!(slots.deal(&[2, 3]).unwrap(), [0, 2]);
    }
}
