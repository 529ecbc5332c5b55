//! Groups of parameters with a learning rate or a weight decay of their own, or that are frozen.
//!
//! A group names tensors by patterns. Weights lie in a few arenas, each stepped by one dispatch;
//! with groups an arena is cut into pieces of equal settings, each stepped by its own. A frozen
//! piece is neither normed nor stepped, and its gradients are not made.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::update::AdamW;
use crate::blt::LoadedModel;
use crate::blt::parameters::{HASH_TABLE_NAME, ParameterSpec};
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::graph::{ArenaId, StoreLayout};

/// Elements that the start of a piece is a multiple of: 256 bytes of f32, the offset alignment that
/// core WebGPU guarantees.
const PIECE_ALIGNMENT: usize = 64;

/// One group of `[optim.groups]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ParameterGroup {
    /// Names of tensors; `*` stands for any characters.
    pub tensors: Vec<String>,
    /// What the learning rate is multiplied by; 1.
    pub lr_scale: f64,
    /// In place of `optim.weight_decay`; absent: that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weight_decay: Option<f64>,
    /// Neither stepped nor counted in the norm; false.
    pub freeze: bool,
}

/// How a parameter is stepped.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rates {
    /// What the learning rate is multiplied by.
    pub learning_rate_scale: f32,
    pub weight_decay: f32,
    pub is_frozen: bool,
}

impl Rates {
    /// Those of a parameter that is in no group.
    pub fn of(adamw: &AdamW) -> Self {
        Self { learning_rate_scale: 1.0, weight_decay: adamw.weight_decay, is_frozen: false }
    }
}

/// Consecutive elements of an arena of weights that are stepped alike.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Piece {
    pub offset: usize,
    pub length: usize,
    pub rates: Rates,
}

/// How every weight of a layout is stepped.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Pieces {
    /// Of arenas in which not everything is stepped in the usual way.
    arenas: BTreeMap<ArenaId, Vec<Piece>>,
}

impl Pieces {
    /// The pieces of a model that is to be trained.
    ///
    /// # Errors
    /// [`Error::Config`] for a pattern that matches no tensor, a tensor in two groups, tensors that
    /// cannot be told apart where they lie, or where everything is frozen.
    pub fn of_model<E: Engine>(
        model: &LoadedModel<E>,
        groups: &BTreeMap<String, ParameterGroup>,
        adamw: &AdamW,
    ) -> Result<Self> {
        Self::new(&model.layout, &model.parameters, groups, adamw)
    }

    fn new(
        layout: &StoreLayout,
        parameters: &[ParameterSpec],
        groups: &BTreeMap<String, ParameterGroup>,
        adamw: &AdamW,
    ) -> Result<Self> {
        check_patterns(parameters, groups)?;
        let mut shards: BTreeMap<ArenaId, Vec<(usize, &str, Rates)>> = BTreeMap::new();
        let mut all_frozen = true;
        for spec in parameters {
            let rates = rates(&spec.name, groups, adamw)?;
            all_frozen &= rates.is_frozen;
            for shard in &layout.require(&spec.name)?.shards {
                shards.entry(shard.arena).or_default().push((shard.offset, &spec.name, rates));
            }
        }
        if all_frozen {
            return Err(Error::config("optim.groups", "everything is frozen: nothing would train"));
        }
        let mut arenas = BTreeMap::new();
        for (arena, mut starts) in shards {
            starts.sort_by_key(|(offset, ..)| *offset);
            let end = layout.arenas()[arena.0].length;
            let pieces = pieces(&starts, end)?;
            if pieces.iter().any(|piece| piece.rates != Rates::of(adamw)) {
                arenas.insert(arena, pieces);
            }
        }
        Ok(Self { arenas })
    }

    /// The pieces of an arena of weights, from its begin to its end.
    pub fn of_arena(&self, layout: &StoreLayout, arena: ArenaId, adamw: &AdamW) -> Vec<Piece> {
        let length = layout.arenas()[arena.0].length;
        let whole = || vec![Piece { offset: 0, length, rates: Rates::of(adamw) }];
        self.arenas.get(&arena).cloned().unwrap_or_else(whole)
    }
}

/// Whether a group freezes the hash table, which then has nothing that could be updated lazily.
///
/// # Errors
/// If two groups name it.
pub fn table_is_frozen(groups: &BTreeMap<String, ParameterGroup>) -> Result<bool> {
    Ok(rates(HASH_TABLE_NAME, groups, &AdamW::default())?.is_frozen)
}

/// The parameters that groups of `[optim.groups]` freeze, and the names under which one matmul
/// reads several of them.
///
/// # Errors
/// If two groups name the same.
pub fn frozen_parameters(
    parameters: &[ParameterSpec],
    groups: &BTreeMap<String, ParameterGroup>,
) -> Result<BTreeSet<String>> {
    let (mut frozen, mut stepped) = (BTreeSet::new(), BTreeSet::new());
    for spec in parameters {
        let is_frozen = rates(&spec.name, groups, &AdamW::default())?.is_frozen;
        let names = if is_frozen { &mut frozen } else { &mut stepped };
        names.extend([Some(&spec.name), spec.group.as_ref()].into_iter().flatten().cloned());
    }
    // What one matmul reads has one gradient, which is wanted where that of any part of it is.
    Ok(&frozen - &stepped)
}

/// How a tensor is stepped.
fn rates(name: &str, groups: &BTreeMap<String, ParameterGroup>, adamw: &AdamW) -> Result<Rates> {
    let of = |group: &&ParameterGroup| group.tensors.iter().any(|pattern| matches(pattern, name));
    let mut found = groups.iter().filter(|(_, group)| of(group));
    let Some((first, group)) = found.next() else { return Ok(Rates::of(adamw)) };
    if let Some((second, _)) = found.next() {
        let problem = format!("{name} is in the group {first:?} too");
        return Err(Error::config(format!("optim.groups.{second}.tensors"), problem));
    }
    Ok(Rates {
        learning_rate_scale: group.lr_scale as f32,
        weight_decay: group.weight_decay.map_or(adamw.weight_decay, |decay| decay as f32),
        is_frozen: group.freeze,
    })
}

fn check_patterns(
    parameters: &[ParameterSpec],
    groups: &BTreeMap<String, ParameterGroup>,
) -> Result<()> {
    for (name, group) in groups {
        let is_idle =
            |pattern: &&String| !parameters.iter().any(|spec| matches(pattern, &spec.name));
        if let Some(pattern) = group.tensors.iter().find(is_idle) {
            let problem = format!("no tensor of the model is called {pattern:?}");
            return Err(Error::config(format!("optim.groups.{name}.tensors"), problem)
                .with_hint("`blt info` lists the tensors of a model; `*` stands for any part"));
        }
    }
    Ok(())
}

/// Neighbours of equal rates as one piece; each reaches to the start of the next.
fn pieces(starts: &[(usize, &str, Rates)], end: usize) -> Result<Vec<Piece>> {
    let mut pieces: Vec<Piece> = Vec::new();
    for &(offset, name, rates) in starts {
        match pieces.last_mut() {
            None => pieces.push(Piece { offset: 0, length: end, rates }),
            Some(last) if last.rates == rates => {}
            Some(_) if !offset.is_multiple_of(PIECE_ALIGNMENT) => {
                let problem = format!(
                    "{name} lies behind a tensor of another group, and not on a boundary of \
                     {PIECE_ALIGNMENT} numbers: put both in one group"
                );
                return Err(Error::config("optim.groups", problem));
            }
            Some(last) => {
                last.length = offset - last.offset;
                pieces.push(Piece { offset, length: end - offset, rates });
            }
        }
    }
    Ok(pieces)
}

/// Whether a name is what a pattern says.
fn matches(pattern: &str, name: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == name,
        Some((before, rest)) => name.strip_prefix(before).is_some_and(|name| {
            let mut starts = name.char_indices().map(|(at, _)| at).chain([name.len()]);
            starts.any(|at| matches(rest, &name[at..]))
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_is_any_part() {
        for (pattern, name, expected) in [
            ("a.b", "a.b", true),
            ("a.b", "a.bc", false),
            ("a.*", "a.b.c", true),
            ("*.weight", "a.b.weight", true),
            ("a.*.c", "a.b.c", true),
            ("a.*.c", "a.c", false),
            ("*norm*", "x.input_layernorm.weight", true),
            ("*", "", true),
        ] {
            assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
        }
    }

    fn rates(scale: f32) -> Rates {
        Rates { learning_rate_scale: scale, weight_decay: 0.1, is_frozen: false }
    }

    #[test]
    fn neighbours_of_a_kind_are_one_piece() {
        let starts = [(0, "a", rates(1.0)), (100, "b", rates(1.0)), (128, "c", rates(2.0))];
        let expected = [
            Piece { offset: 0, length: 128, rates: rates(1.0) },
            Piece { offset: 128, length: 128, rates: rates(2.0) },
        ];
        assert_eq!(pieces(&starts, 256).unwrap(), expected);
        let starts = [(0, "a", rates(1.0)), (100, "b", rates(2.0))];
        let error = pieces(&starts, 256).unwrap_err().to_string();
        assert!(error.contains("b lies behind") && error.contains("64 numbers"), "{error}");
    }
}
