//! Rows of a parameter packed into words, as they lie on a device.

use std::ops::Range;

use rayon::prelude::*;

use super::elements::ElementType;
use super::model_directory::{ModelDirectory, check_finite};
use super::source::Source;
use crate::error::{Error, Result};
use crate::packed::{WeightType, pack_rows, unpack_rows, words_are_finite};

impl ModelDirectory {
    /// The type in which a parameter is stored.
    ///
    /// # Errors
    ///
    /// [`Error::Model`] if there is no such parameter.
    pub fn weight_type(&self, name: &str) -> Result<WeightType> {
        if let Some(blocks) = self.blocks(name)? {
            return Ok(blocks.format.weights());
        }
        Ok(match self.element_type(name)? {
            Some(ElementType::F16) => WeightType::F16,
            Some(ElementType::Bf16) => WeightType::Bf16,
            Some(ElementType::F32) | None => WeightType::F32,
        })
    }

    /// Some rows of a parameter in a type, [`WeightType::row_length`] words a row into `out`: the
    /// bytes that are stored where they are of that type, else the nearest numbers. `numbers` is
    /// room for those, kept by the caller from piece to piece.
    ///
    /// # Errors
    ///
    /// As [`Self::read_rows`]; for a number that is too large for the type.
    pub fn read_words(
        &self,
        name: &str,
        rows: Range<usize>,
        weights: WeightType,
        out: &mut [u32],
        numbers: &mut Vec<f32>,
    ) -> Result<()> {
        let (parameter, source) = self.find(name)?;
        let (cols, row_length) = (parameter.cols, weights.row_length(parameter.cols));
        assert_eq!(out.len(), rows.len() * row_length, "whole rows are read");
        let stored = self.weight_type(name)?;
        let is_there = rows.end <= parameter.rows;
        // Two rows share no word where they have an even number of columns.
        let as_stored = stored == weights && is_there && cfg!(target_endian = "little");
        match source {
            Source::Blocks { .. } if as_stored => {
                let blocks = self.blocks(name)?.expect("the source is made of blocks");
                blocks.copy_rows(rows.clone(), out);
            }
            Source::Rows(pieces) if as_stored && weights.is_packed() && cols.is_multiple_of(2) => {
                let first = rows.start * cols;
                self.copy_pieces(pieces, first, bytemuck::cast_slice_mut(out))?;
            }
            _ => {
                numbers.resize(rows.len() * cols, 0.0);
                self.read_rows(name, rows, numbers)?;
                let pieces = out.par_chunks_mut(row_length).zip(numbers.par_chunks(cols));
                let packed = pieces.map(|(out, row)| pack_rows(weights, row, cols, out));
                let packed: std::result::Result<(), String> = packed.collect();
                let subject = || format!("{}: {name}", self.subject());
                return packed.map_err(|problem| Error::model(subject(), problem));
            }
        }
        self.check_words(name, rows.start, weights, cols, out)
    }

    /// Every element is a number, else an error that names the first that is none.
    fn check_words(
        &self,
        name: &str,
        first_row: usize,
        weights: WeightType,
        cols: usize,
        words: &[u32],
    ) -> Result<()> {
        let row_length = weights.row_length(cols);
        let is_finite = |row: &[u32]| words_are_finite(weights, cols, row);
        if words.par_chunks(row_length).all(is_finite) {
            return Ok(());
        }
        let row = words.chunks(row_length).position(|row| !is_finite(row)).unwrap_or(0);
        let mut numbers = vec![0.0; cols];
        unpack_rows(weights, &words[row * row_length..], cols, &mut numbers);
        check_finite(self.subject(), name, (first_row + row) * cols, &numbers)
    }
}
