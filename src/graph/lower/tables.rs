//! Lowering of lookups in embedding tables and of their gradients, shard by shard.

use super::{Lower, shard_region};
use crate::error::Result;
use crate::graph::graph::{Node, Source};
use crate::graph::recording::Region;
use crate::kernels::{dense, embedding};

impl Lower<'_> {
    /// One dispatch for every five shards of the table, in table order.
    pub(super) fn hash_embedding(
        &mut self,
        node: &Node,
        tables: u32,
        rows_per_table: u32,
    ) -> Result<()> {
        let (x, hash_ids, table) = (node.inputs[0], node.inputs[1], node.inputs[2]);
        let out = node.outputs[0];
        let Source::Stored { name, .. } = &self.graph.tensor(table).source else {
            unreachable!("tables are stored")
        };
        let place = self.layout.require(name)?.clone();
        let rows_per_shard = place.shards[0].rows as u32;
        for (group, shards) in place.shards.chunks(SHARDS_PER_DISPATCH).enumerate() {
            let params = embedding::hash_embedding::Params {
                bytes: self.rows(out),
                cols: self.cols(out),
                table_count: tables,
                rows_per_table,
                shard_count: shards.len() as u32,
                rows_per_shard,
                first_shard: (group * SHARDS_PER_DISPATCH) as u32,
                weight_type: place.weights.number(),
                reserved: [0; 3],
            };
            let mut regions = vec![self.region(hash_ids)?];
            for index in 0..SHARDS_PER_DISPATCH {
                let shard = if index < shards.len() { index } else { 0 };
                regions.push(shard_region(&place, group * SHARDS_PER_DISPATCH + shard));
            }
            regions.extend([self.region(x)?, self.region(out)?]);
            self.dispatch_regions(&embedding::hash_embedding::KERNEL, &params, regions);
        }
        Ok(())
    }

    /// One dispatch a shard of the table; a computed output is cleared first.
    pub(super) fn scatter_add(&mut self, node: &Node) -> Result<()> {
        let out = node.outputs[0];
        let (touched, cols) = (self.rows(node.inputs[0]), self.cols(out));
        let mut inputs = Vec::new();
        for &input in &node.inputs {
            inputs.push(self.region(input)?);
        }
        let shards: Vec<(usize, usize, Region)> = match &self.graph.tensor(out).source {
            Source::Accumulated(name) => {
                let place = self.layout.require(name)?;
                let shards = place.shards.iter().enumerate();
                shards.map(|(i, s)| (s.first_row, s.rows, shard_region(place, i))).collect()
            }
            _ => {
                let params = dense::fill::Params::new(self.rows(out), cols, 0.0);
                self.dispatch(&dense::fill::KERNEL, &params, &[out])?;
                let rows = self.rows(out).length(&self.recording.capacity);
                vec![(0, rows, self.region(out)?)]
            }
        };
        for (first_row, row_count, region) in shards {
            let (first_row, row_count) = (first_row as u32, row_count as u32);
            let params = embedding::scatter_add::Params::new(touched, cols, first_row, row_count);
            let mut regions = inputs.clone();
            regions.push(region);
            self.dispatch_regions(&embedding::scatter_add::KERNEL, &params, regions);
        }
        Ok(())
    }
}

/// Row shards of a table that one dispatch binds.
const SHARDS_PER_DISPATCH: usize = 5;
