//! Gradients of all ranks added up, between the last micro-batch of an update and the update.
//!
//! Gradients are cut into buckets, the last parameters first, as a backward pass comes to them. A
//! bucket is read back when no dispatch of the last micro-batch is still to write in it, summed
//! over the ranks while the next ones are read, or made, and written when its sum is there. Which
//! buckets there are, and their order, follows from the layout and from what is frozen alone: ranks
//! with other plans exchange the same. Frozen parameters are neither summed nor written: nobody
//! steps them, and nobody clears what a backward pass may leave there. Gradients of a lazily
//! updated table are summed row by row, see
//! [`LazyRows::begin_exchange`](super::lazy_rows::LazyRows::begin_exchange).

use std::borrow::Cow;
use std::collections::VecDeque;

use super::groups::Pieces;
use super::ranks::{Coming, Ranks};
use super::update::AdamW;
use crate::blt::{GRADIENTS, LoadedModel, WEIGHTS};
use crate::engine::{EarlyRead, Engine};
use crate::error::Result;
use crate::graph::{ArenaId, ArenaWrite, StoreLayout};

/// Buckets that are summed at once.
const MOST_ON_THE_WAY: usize = 8;

/// Consecutive gradients of an arena: those between frozen ones, or a bucket of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bucket {
    arena: ArenaId,
    offset: usize,
    length: usize,
}

/// The gradients that an update reads, but for those of a lazily updated table, if there is one:
/// in the order of the arenas, each as long as it can be.
pub(super) fn stepped_gradients(
    layout: &StoreLayout,
    pieces: &Pieces,
    adamw: &AdamW,
    has_lazy_table: bool,
) -> Vec<Bucket> {
    let arenas = |class: &str| match has_lazy_table {
        true => layout.arenas_of(&format!("{class}.dense")),
        false => layout.arenas_of(class),
    };
    let mut found: Vec<Bucket> = Vec::new();
    for (weights, arena) in arenas(WEIGHTS).into_iter().zip(arenas(GRADIENTS)) {
        for piece in pieces.of_arena(layout, weights, adamw) {
            let is_next = |last: &&mut Bucket| {
                last.arena == arena && last.offset + last.length == piece.offset
            };
            match found.last_mut().filter(is_next) {
                _ if piece.rates.is_frozen => {}
                Some(last) => last.length += piece.length,
                None => found.push(Bucket { arena, offset: piece.offset, length: piece.length }),
            }
        }
    }
    found
}

/// Buckets of gradients on their way between device and ranks.
pub(super) struct Exchange<'r> {
    ranks: &'r Ranks,
    buckets: Vec<Bucket>,
    on_the_way: VecDeque<(Bucket, Coming<Vec<f32>>)>,
}

impl<'r> Exchange<'r> {
    /// Of these gradients.
    pub fn new(gradients: &[Bucket], ranks: &'r Ranks) -> Self {
        let most = ranks.bucket_elements();
        let cut = |whole: &Bucket| {
            let Bucket { arena, offset, length } = *whole;
            let begins = (0..length).step_by(most).rev();
            begins.map(move |begin| Bucket {
                arena,
                offset: offset + begin,
                length: most.min(length - begin),
            })
        };
        let buckets = gradients.iter().rev().flat_map(cut).collect();
        Self { ranks, buckets, on_the_way: VecDeque::new() }
    }

    /// The buckets as they are to be read on the way of a replay that writes this.
    pub fn reads(&self, writes: &[ArenaWrite]) -> Vec<EarlyRead> {
        let mut behind = 0;
        let read = |bucket: &Bucket| {
            let Bucket { arena, offset, length } = *bucket;
            let is_in = |write: &&ArenaWrite| {
                let ArenaWrite { elements, .. } = write;
                write.arena == arena && elements.start < offset + length && offset < elements.end
            };
            let last = writes.iter().filter(is_in).map(|write| write.dispatch + 1).max();
            behind = last.unwrap_or(0).max(behind);
            EarlyRead { behind, arena, offset, length }
        };
        self.buckets.iter().map(read).collect()
    }

    /// Begins to sum a bucket that was read.
    ///
    /// # Errors
    /// As [`Self::finish`].
    pub fn take<E: Engine>(
        &mut self,
        engine: &E,
        model: &LoadedModel<E>,
        index: usize,
        values: Cow<'_, [f32]>,
    ) -> Result<()> {
        let values = match values {
            Cow::Owned(values) => values,
            Cow::Borrowed(lent) => self.ranks.copied(lent),
        };
        self.on_the_way.push_back((self.buckets[index], self.ranks.begin_sum(values)));
        self.write_all_but(engine, model, MOST_ON_THE_WAY)
    }

    /// Writes the sums that are still to come.
    ///
    /// # Errors
    /// If the device is lost or a rank is gone.
    pub fn finish<E: Engine>(mut self, engine: &E, model: &LoadedModel<E>) -> Result<()> {
        self.write_all_but(engine, model, 0)
    }

    /// A bucket may be written while the replay goes on: nothing of it reads or writes it any more.
    fn write_all_but<E: Engine>(
        &mut self,
        engine: &E,
        model: &LoadedModel<E>,
        count: usize,
    ) -> Result<()> {
        while self.on_the_way.len() > count
            && let Some((Bucket { arena, offset, .. }, sums)) = self.on_the_way.pop_front()
        {
            let sums = sums.wait()?;
            engine.write(&model.store, arena, offset, &sums)?;
            self.ranks.take_back(sums);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blt::LoadedModel;
    use crate::blt::config::{EntropyConfig, ModelConfig, Semantics, TransformerConfig};
    use crate::cpu::HostEngine;
    use crate::train::ParameterGroup;
    use pollster::block_on;
    use std::collections::BTreeMap;
    use std::ops::Range;

    /// A model of several buckets.
    fn model(engine: &HostEngine<f32>) -> LoadedModel<HostEngine<f32>> {
        let transformer = TransformerConfig {
            hidden_size: 512,
            layer_count: 4,
            head_count: 2,
            kv_head_count: 2,
            head_dim: 256,
            intermediate_size: 1024,
            rms_norm_eps: 1e-5,
            rope_theta: 1e4,
            max_positions: 64,
            window: None,
        };
        let config =
            ModelConfig::Entropy(EntropyConfig { semantics: Semantics::Reference, transformer });
        block_on(LoadedModel::create(engine, config, true)).unwrap()
    }

    #[test]
    fn what_is_frozen_is_in_no_bucket() {
        let engine = HostEngine::<f32>::default();
        let (model, adamw) = (model(&engine), AdamW::default());
        let group = |tensors: &str, lr_scale, freeze| ParameterGroup {
            tensors: vec![tensors.to_owned()],
            lr_scale,
            weight_decay: None,
            freeze,
        };
        let groups = BTreeMap::from([
            ("first".to_owned(), group("*layers.1.*", 1.0, true)),
            ("second".to_owned(), group("*layers.2.*", 0.5, false)),
        ]);
        let pieces = Pieces::of_model(&model, &groups, &adamw).unwrap();
        let gradients = stepped_gradients(&model.layout, &pieces, &adamw, false);
        let ranks = Ranks::alone();
        let exchange = Exchange::new(&gradients, &ranks);
        let weights = model.layout.arenas_of(WEIGHTS);
        let in_buckets = |name: &str| {
            let place = model.layout.require(name).unwrap();
            let elements = place.shards.iter().map(|shard| {
                let index = weights.iter().position(|arena| *arena == shard.arena).unwrap();
                let arena = model.layout.arenas_of(GRADIENTS)[index];
                let (begin, end) = (shard.offset, shard.offset + shard.rows * place.row_length());
                let common = exchange.buckets.iter().filter(|bucket| bucket.arena == arena);
                let common = common.map(|bucket| {
                    let bucket_end = bucket.offset + bucket.length;
                    end.min(bucket_end).saturating_sub(begin.max(bucket.offset))
                });
                common.sum::<usize>()
            });
            (elements.sum::<usize>(), place.length())
        };
        for spec in &model.parameters {
            let (found, length) = in_buckets(&spec.name);
            let expected = if spec.name.contains("layers.1.") { 0 } else { length };
            assert_eq!(found, expected, "{}", spec.name);
        }
    }

    #[test]
    fn buckets_are_all_gradients_and_are_read_when_they_are_whole() {
        let engine = HostEngine::<f32>::default();
        let (model, adamw) = (model(&engine), AdamW::default());
        let ranks = Ranks::alone();
        let gradients = stepped_gradients(&model.layout, &Pieces::default(), &adamw, false);
        let exchange = Exchange::new(&gradients, &ranks);
        let total: usize = exchange.buckets.iter().map(|bucket| bucket.length).sum();
        let arenas = model.layout.arenas_of(GRADIENTS);
        let lengths = arenas.iter().map(|arena| model.layout.arenas()[arena.0].length);
        assert_eq!(total, lengths.sum::<usize>());
        assert!(exchange.buckets.len() >= 3, "{:?}", exchange.buckets);

        // Three writes to the last bucket but one, one to a part of the first, none to the others.
        let last = exchange.buckets.len() - 1;
        let [first, inner, end] = [0, last - 1, last].map(|index| exchange.buckets[index]);
        let write = |dispatch, bucket: Bucket, elements: Range<usize>| ArenaWrite {
            dispatch,
            arena: bucket.arena,
            elements: bucket.offset + elements.start..bucket.offset + elements.end,
        };
        let writes = [
            write(3, first, 7..9),
            write(11, inner, 0..1),
            write(5, inner, 1..2),
            write(8, inner, inner.length - 1..inner.length),
        ];
        let reads = exchange.reads(&writes);
        let behind: Vec<_> = reads.iter().map(|read| read.behind).collect();
        let mut expected = vec![4; reads.len()];
        expected[last - 1..].fill(12);
        assert_eq!(behind, expected);
        let EarlyRead { arena, offset, length, .. } = reads[last];
        assert_eq!(Bucket { arena, offset, length }, end);
    }
}
