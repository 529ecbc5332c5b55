//! Lowering of the gradients of norms.

use super::Lower;
use crate::error::Result;
use crate::graph::graph::Node;
use crate::kernels::norm;

impl Lower<'_> {
    /// The gradient of x in one dispatch, which leaves sums of chunks of rows for the gain's.
    pub(super) fn rms_norm_grad(
        &mut self,
        node: &Node,
        residual_scale: f32,
        with_gain: bool,
    ) -> Result<()> {
        let (inputs, outputs) = (&node.inputs, &node.outputs);
        let dx = outputs[0];
        let copy = outputs.get(1 + usize::from(with_gain)).copied();
        let (cols, chunk_count) = (self.cols(dx), self.chunk_count());
        let mut params = norm::rms_norm_grad::Params::new(self.rows(dx), cols, chunk_count);
        params.residual_scale = residual_scale;
        params.with_half = copy.is_some().into();
        params.with_gain = with_gain.into();
        let residual = inputs.get(4).copied().unwrap_or(inputs[0]);
        let mut tensors = vec![inputs[0], inputs[1], inputs[2], inputs[3], residual, dx];
        tensors.extend(copy);
        let mut regions = tensors.iter().map(|&id| self.region(id)).collect::<Result<Vec<_>>>()?;
        if copy.is_none() {
            regions.push(self.nothing(0));
        }
        regions.push(match with_gain {
            true => self.room_for_pieces(outputs[1], chunk_count as usize)?,
            false => self.nothing(1),
        });
        let halves = self.halves(&tensors);
        self.push(&norm::rms_norm_grad::KERNEL, &params, halves, regions);
        Ok(())
    }

    /// Chunks of rows of the gradient of a norm, a workgroup each. The rows do not enter, so that a
    /// larger plan sums alike.
    fn chunk_count(&self) -> u32 {
        let wanted = (CHUNKS_PER_PROCESSOR * self.options.abilities.processors).max(1);
        1 << wanted.ilog2()
    }
}

/// Workgroups of 64 that a processor takes at once.
const CHUNKS_PER_PROCESSOR: u32 = 8;
