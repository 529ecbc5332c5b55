//! Lowering of matrix products, and into how many pieces the long sums of weight gradients are cut.

use super::Lower;
use crate::error::Result;
use crate::graph::graph::{Node, RowCount};
use crate::graph::op::Op;
use crate::kernels::{Element, Extent, Halves, dense, reduce};

impl Lower<'_> {
    pub(super) fn matmul(&mut self, node: &Node) -> Result<()> {
        let Op::Matmul { transpose_a, transpose_b, residual_scale } = node.op else {
            unreachable!("the node is a matmul")
        };
        let (inputs, out) = (&node.inputs, node.outputs[0]);
        let (m, n) = (self.rows(out), Extent::fixed(self.cols(out) as usize));
        let k = match transpose_a {
            true => self.rows(inputs[0]),
            false => Extent::fixed(self.cols(inputs[0]) as usize),
        };
        let mut params = dense::matmul::Params::new(m, n, k, transpose_a, transpose_b);
        params.fixed_order = self.fixed_order.into();
        params.some_rows = self.has_some_rows().into();
        if residual_scale == 0.0 {
            params.split_count = self.piece_count([m, n, k], self.halves(inputs)) as u32;
        }
        if params.split_count == 1 {
            params.residual_scale = residual_scale;
            params.accumulate = self.accumulates(out).into();
            let residual = inputs.get(2).copied().unwrap_or(inputs[0]);
            let tensors = [inputs[0], inputs[1], residual, out];
            return self.dispatch(&dense::matmul::KERNEL, &params, &tensors);
        }
        let out_length = self.graph.tensor(out).cols * m.constant().expect("m is constant");
        let piece_count = params.split_count as usize;
        let is_gradient = self.accumulates(out);
        let pieces = match is_gradient {
            true => self.room_for_pieces(out, piece_count)?,
            false => self.scratch(piece_count * out_length),
        };
        let operands = [inputs[0], inputs[1], inputs[0]];
        let mut regions = operands.iter().map(|&id| self.region(id)).collect::<Result<Vec<_>>>()?;
        regions.push(pieces);
        self.push(&dense::matmul::KERNEL, &params, self.halves(&operands), regions);
        if !is_gradient {
            let part = reduce::sum_rows::Part::new(piece_count, out_length, 0, 0);
            let sum = reduce::sum_rows::Params::new(&[part], false);
            let regions = vec![pieces, self.region(out)?];
            self.dispatch_regions(&reduce::sum_rows::KERNEL, &sum, regions);
        }
        Ok(())
    }

    pub(super) fn matvec(
        &mut self,
        node: &Node,
        norm_eps: Option<f32>,
        is_gated: bool,
        residual_scale: f32,
    ) -> Result<()> {
        let (inputs, out) = (&node.inputs, node.outputs[0]);
        let (x, weight) = (inputs[0], inputs[1]);
        let mut rest = inputs[2..].iter().copied();
        let gain = if norm_eps.is_some() { rest.next() } else { None };
        let params = dense::matvec::Params {
            rows: self.rows(out),
            features: self.cols(out),
            depth: self.cols(x),
            eps: norm_eps.unwrap_or(0.0),
            residual_scale,
            has_norm: norm_eps.is_some().into(),
            is_gated: is_gated.into(),
            fixed_order: self.fixed_order.into(),
            weight_type: self.weights(weight).number(),
            ..bytemuck::Zeroable::zeroed()
        };
        let tensors = [x, weight, gain.unwrap_or(x), rest.next().unwrap_or(x), out];
        self.dispatch(&dense::matvec::KERNEL, &params, &tensors)
    }

    pub(super) fn matvec_rope(&mut self, node: &Node) -> Result<()> {
        let Op::MatvecRope { norm_eps, rotated_cols, head_dim, x_offset, factor, mirror } = node.op
        else {
            unreachable!("the node is a matvec_rope")
        };
        let (x, out) = (node.inputs[0], node.outputs[0]);
        let mut tensors = node.inputs.clone();
        if norm_eps.is_none() {
            tensors.insert(2, x);
        }
        if rotated_cols == 0 {
            // Nobody reads positions and table: an index and numbers are bound in their place.
            tensors.splice(3..3, [tensors[3], x]);
        }
        // The cache as it is afterwards lies where it lay before.
        tensors.insert(tensors.len() - 1, out);
        let params = dense::matvec::Params {
            rows: self.rows(out),
            features: self.cols(out),
            depth: self.cols(x),
            eps: norm_eps.unwrap_or(0.0),
            has_norm: norm_eps.is_some().into(),
            fixed_order: self.fixed_order.into(),
            rotated_cols: rotated_cols as u32,
            head_dim: head_dim as u32,
            kept_from: x_offset as u32,
            mirror: mirror as u32,
            factor: factor as u32,
            weight_type: self.weights(node.inputs[1]).number(),
            ..bytemuck::Zeroable::zeroed()
        };
        self.dispatch(&dense::matvec_rope::KERNEL, &params, &tensors)
    }

    pub(super) fn matmul_rope(
        &mut self,
        node: &Node,
        rotated_cols: usize,
        head_dim: usize,
    ) -> Result<()> {
        let [a, b, position, table] = node.inputs[..] else {
            unreachable!("a product with rope has four inputs")
        };
        let (out, depth) = (node.outputs[0], self.cols(a) as usize);
        let (cols, rotated, head) = (self.cols(out) as usize, rotated_cols as u32, head_dim as u32);
        let mut params = dense::matmul::Params::rope(self.rows(out), cols, depth, rotated, head);
        params.some_rows = self.has_some_rows().into();
        self.dispatch(&dense::matmul_rope::KERNEL, &params, &[a, b, position, table, out])
    }

    pub(super) fn matmul_swiglu(&mut self, node: &Node) -> Result<()> {
        let (a, b, out) = (node.inputs[0], node.inputs[1], node.outputs[0]);
        let (features, depth) = (self.cols(out) as usize, self.cols(a) as usize);
        let sums = node.outputs.get(1).copied();
        let keeps = sums.is_some();
        let mut params = dense::matmul::Params::swiglu(self.rows(out), features, depth, keeps);
        params.some_rows = self.has_some_rows().into();
        let gate_up = sums.map(|sums| self.region(sums)).transpose()?;
        let gate_up = gate_up.unwrap_or_else(|| self.nothing(0));
        let regions = vec![self.region(a)?, self.region(b)?, gate_up, self.region(out)?];
        // Where no sums are kept, what is bound in their place is f32.
        let tensors = [Some(a), Some(b), sums, Some(out)];
        let is_half = |&index: &usize| {
            tensors[index].is_some_and(|id| self.graph.tensor(id).element == Element::F16)
        };
        let halves = Halves::of(&(0..tensors.len()).filter(is_half).collect::<Vec<_>>());
        self.push(&dense::matmul_swiglu::KERNEL, &params, halves, regions);
        Ok(())
    }

    pub(super) fn matmul_swiglu_grad(&mut self, node: &Node) -> Result<()> {
        let [a, b, gate_up] = node.inputs[..] else {
            unreachable!("a product with the gradient of swiglu has three inputs")
        };
        let (features, depth) = (self.cols(b) as usize, self.cols(a) as usize);
        let params = dense::matmul::Params::swiglu_grad(self.rows(a), features, depth);
        let tensors = [a, b, gate_up, node.outputs[0]];
        self.dispatch(&dense::matmul_swiglu_grad::KERNEL, &params, &tensors)
    }

    fn has_some_rows(&self) -> bool {
        self.graph.rows == RowCount::Some
    }

    /// Pieces for the inner products of a weight gradient, whose few tiles would leave much of a
    /// GPU idle. Counts do not enter, so that a larger plan cuts alike.
    fn piece_count(&self, [m, n, k]: [Extent; 3], halves: Halves) -> usize {
        let (Some(m), Some(n), None) = (m.constant(), n.constant(), k.constant()) else { return 1 };
        let abilities = &self.options.abilities;
        if !abilities.hardware {
            return 1;
        }
        let on_matrix_units =
            abilities.cooperative_matrix && halves.contains(0) && halves.contains(1);
        let tiling = if on_matrix_units { &MATRIX_TILING } else { &VECTOR_TILING };
        tiling.piece_count(m, n, abilities.processors as usize)
    }
}

/// Most pieces of an inner product.
const MOST_PIECES: usize = 16;

/// How a product is spread over a GPU.
struct Tiling {
    /// Side of the tile of outputs that a workgroup makes.
    side: usize,
    /// Workgroups that run at the same time on a processor of the device.
    per_processor: usize,
    /// What it costs to write and add a piece of one tile, in times of a workgroup for a whole
    /// inner product of 4096.
    cost_of_sum: f64,
}

/// As measured on 132 multiprocessors.
const MATRIX_TILING: Tiling = Tiling { side: 128, per_processor: 2, cost_of_sum: 1.0 / 4096.0 };

const VECTOR_TILING: Tiling = Tiling { side: 64, per_processor: 6, cost_of_sum: 1.0 / 16384.0 };

impl Tiling {
    /// The number that takes least time: workgroups run in waves, the last of which may be almost
    /// empty.
    fn piece_count(&self, m: usize, n: usize, processors: usize) -> usize {
        let slots = (self.per_processor * processors).max(1);
        let tiles = m.div_ceil(self.side) * n.div_ceil(self.side);
        let time = |pieces: usize| {
            let waves = (tiles * pieces).div_ceil(slots) as f64;
            let sums = if pieces == 1 { 0.0 } else { self.cost_of_sum * (pieces * tiles) as f64 };
            waves / pieces as f64 + sums
        };
        // A few percent are not worth the memory of the pieces.
        let worth = |pieces: usize| if pieces == 1 { 0.95 * time(1) } else { time(pieces) };
        (1..=MOST_PIECES).min_by(|&a, &b| worth(a).total_cmp(&worth(b))).expect("not empty")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_fill_the_waves() {
        let pieces = |m, n| MATRIX_TILING.piece_count(m, n, 132);
        assert_eq!(pieces(512, 512), 16, "16 tiles");
        assert_eq!(pieces(1536, 1536), 3, "144 tiles: 432 fill most of two waves");
        assert_eq!(pieces(5632, 1024), 3, "352 tiles: four whole waves instead of two for 1.3");
        assert_eq!(pieces(8192, 1536), 1, "768 tiles fill three waves as they are");
        assert_eq!(VECTOR_TILING.piece_count(5632, 1024, 132), 1, "1408 tiles in two waves");
        assert_eq!(VECTOR_TILING.piece_count(1024, 1024, 132), 3, "256 tiles");
        let small = |m, n| MATRIX_TILING.piece_count(m, n, 12);
        assert_eq!(small(512, 512), 3, "16 tiles: 48 fill two waves of a small GPU");
        assert_eq!(small(1536, 1536), 1, "144 tiles fill six");
    }
}
