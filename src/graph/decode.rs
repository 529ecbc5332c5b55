//! What graphs of generation do besides: keep rows for later passes, choose ids.

use super::graph::{Graph, TensorId};
use super::op::Op;
use crate::error::{Error, Result};
use crate::kernels::Element;

impl Graph {
    /// A tensor of the Store in which [`Self::cache_rows`] keeps rows for later passes.
    pub fn cache(&mut self, name: &str, rows: usize, cols: usize) -> TensorId {
        self.stored(name, rows, cols, Element::F32, false)
    }

    /// Writes columns of x from `x_offset` on, as many as `cache` has, into rows of a tensor of the
    /// Store: unit i, of `factor` rows of x, to the unit `index[i]`, and once more `mirror` units
    /// behind; `u32::MAX` is nowhere. Returns the cache with them, for who reads it after that.
    ///
    /// # Errors
    /// If x has not the columns, or the index not the rows.
    pub fn cache_rows(
        &mut self,
        x: TensorId,
        x_offset: usize,
        index: TensorId,
        factor: usize,
        cache: TensorId,
        mirror: usize,
    ) -> Result<TensorId> {
        let into = self.tensor(cache).clone();
        if x_offset + into.cols > self.tensor(x).cols
            || self.tensor(index).rows.times(factor) != self.tensor(x).rows
        {
            let (x, index) = (self.tensor(x), self.tensor(index));
            let problem = format!("{factor} x {index} rows of {x} from {x_offset} on into {into}");
            return Err(Error::input("cache_rows", problem));
        }
        let op = Op::CacheRows { cols: into.cols, x_offset, factor, mirror };
        let outputs = [(into.rows, into.cols, into.element)];
        let after = self.node(op, &[x, index, cache], &outputs)[0];
        self.tensors[after.0].source = into.source;
        Ok(after)
    }

    /// Ids and status [rows, 1], see [`Op::Choose`].
    pub fn choose(&mut self, logits: TensorId, choice: TensorId) -> [TensorId; 2] {
        let column = (self.tensor(logits).rows, 1, Element::U32);
        let outputs = self.node(Op::Choose, &[logits, choice], &[column; 2]);
        [outputs[0], outputs[1]]
    }
}
