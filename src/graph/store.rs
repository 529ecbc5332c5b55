//! The layout of a Store: named persistent tensors in a few large arenas.
//!
//! A Store outlives every plan. Its layout is plain data; an engine makes the buffers. Tensors lie
//! one after the other in arenas of at most one binding, each group of tensors starting at a
//! multiple of [`ALIGNMENT`] elements. Tensors of one group lie side by side, so that one matmul
//! reads q, k and v under their own names.

use crate::error::{Error, Result};
use crate::kernels::Element;
use crate::packed::WeightType;
use std::collections::BTreeMap;

/// Elements that the start of every group is a multiple of: 256 bytes of the smallest elements, the
/// offset alignment that core WebGPU guarantees.
pub const ALIGNMENT: usize = 128;

/// Index of an arena in its layout.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ArenaId(pub usize);

/// One persistent buffer.
#[derive(Clone, Debug, PartialEq)]
pub struct Arena {
    /// Class and number, for example `weights.0`.
    pub name: String,
    pub element: Element,
    /// Number of elements.
    pub length: usize,
}

/// Some rows of a tensor inside an arena.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shard {
    pub arena: ArenaId,
    /// First element in the arena.
    pub offset: usize,
    /// First row of the tensor that lies here.
    pub first_row: usize,
    pub rows: usize,
}

/// Where a named tensor [rows, cols] lies: one shard, or several for a table beyond one binding.
#[derive(Clone, Debug, PartialEq)]
pub struct Placement {
    pub rows: usize,
    pub cols: usize,
    /// How its numbers are packed; f32 for what is not, whatever its elements are.
    pub weights: WeightType,
    pub shards: Vec<Shard>,
}

impl Placement {
    /// Elements of its arena that a row takes.
    pub fn row_length(&self) -> usize {
        self.weights.row_length(self.cols)
    }

    /// Elements of its arena that it takes.
    pub fn length(&self) -> usize {
        self.rows * self.row_length()
    }
}

/// What a Store holds: arenas, and tensors by name.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StoreLayout {
    arenas: Vec<Arena>,
    tensors: BTreeMap<String, Placement>,
}

/// A tensor to be placed: name, rows, cols.
pub type NewTensor = (String, usize, usize);

impl StoreLayout {
    /// Places `groups` of tensors in arenas named `class.0`, `class.1`, .. of at most
    /// `max_elements` each. A group of one tensor too large for an arena is cut between rows.
    ///
    /// The group itself is a tensor too if it is given a name: all its rows, one below the other.
    ///
    /// # Errors
    /// [`Error::Limit`] if a group of several tensors, or one row, exceeds an arena.
    pub fn place(
        &mut self,
        class: &str,
        element: Element,
        groups: &[(Option<String>, Vec<NewTensor>)],
        max_elements: usize,
    ) -> Result<()> {
        self.place_as(class, (element, WeightType::F32), groups, max_elements)
    }

    /// The same for weights of a type: packed ones lie in arenas of integers.
    ///
    /// # Errors
    /// As [`Self::place`].
    pub fn place_weights(
        &mut self,
        class: &str,
        weights: WeightType,
        groups: &[(Option<String>, Vec<NewTensor>)],
        max_elements: usize,
    ) -> Result<()> {
        let element = if weights.is_packed() { Element::U32 } else { Element::F32 };
        self.place_as(class, (element, weights), groups, max_elements)
    }

    fn place_as(
        &mut self,
        class: &str,
        (element, weights): (Element, WeightType),
        groups: &[(Option<String>, Vec<NewTensor>)],
        max_elements: usize,
    ) -> Result<()> {
        let first = self.arenas.len();
        for (group, tensors) in groups {
            let cols = tensors.first().map_or(0, |tensor| tensor.2);
            let row_length = weights.row_length(cols);
            let length: usize =
                tensors.iter().map(|(_, rows, cols)| rows * weights.row_length(*cols)).sum();
            if length > max_elements {
                let [(name, rows, cols)] = tensors.as_slice() else {
                    return Err(too_large(&tensors[0].0, length, max_elements));
                };
                let table = (name.as_str(), *rows, *cols);
                self.place_in_shards(class, (element, weights), table, max_elements)?;
                continue;
            }
            let last = self.arenas.len().checked_sub(1).filter(|&last| last >= first);
            let fits = last.filter(|&last| self.arenas[last].length + length <= max_elements);
            let arena = fits.unwrap_or_else(|| self.add_arena(class, element, first));
            let start = self.arenas[arena].length;
            let mut offset = start;
            for (name, rows, cols) in tensors {
                let shard = Shard { arena: ArenaId(arena), offset, first_row: 0, rows: *rows };
                let (rows, cols, shards) = (*rows, *cols, vec![shard]);
                self.insert(name, Placement { rows, cols, weights, shards });
                offset += rows * weights.row_length(cols);
            }
            if let Some(group) = group {
                let rows = length / row_length.max(1);
                let shard = Shard { arena: ArenaId(arena), offset: start, first_row: 0, rows };
                self.insert(group, Placement { rows, cols, weights, shards: vec![shard] });
            }
            self.arenas[arena].length = offset.next_multiple_of(ALIGNMENT);
        }
        Ok(())
    }

    /// Arenas of another class with the same sizes as those of `like`, and the same tensors under
    /// `rename(name)`: gradients and moments beside weights.
    pub fn place_like(&mut self, class: &str, like: &str, rename: impl Fn(&str) -> String) {
        self.place_like_as(class, like, Element::F32, rename);
    }

    /// The same with elements of another type.
    pub fn place_like_as(
        &mut self,
        class: &str,
        like: &str,
        element: Element,
        rename: impl Fn(&str) -> String,
    ) {
        let prefix = format!("{like}.");
        let mut twins = BTreeMap::new();
        for index in 0..self.arenas.len() {
            let Some(number) = self.arenas[index].name.strip_prefix(&prefix) else { continue };
            let name = format!("{class}.{number}");
            let length = self.arenas[index].length;
            twins.insert(ArenaId(index), ArenaId(self.arenas.len()));
            self.arenas.push(Arena { name, element, length });
        }
        let copies: Vec<_> = self
            .tensors
            .iter()
            .filter(|(_, placement)| twins.contains_key(&placement.shards[0].arena))
            .map(|(name, placement)| {
                let mut placement = placement.clone();
                for shard in &mut placement.shards {
                    shard.arena = twins[&shard.arena];
                }
                (rename(name), placement)
            })
            .collect();
        for (name, placement) in copies {
            self.insert(&name, placement);
        }
    }

    /// Puts the arenas of another layout behind those of this one, its tensors and arenas under
    /// names that begin with `prefix`: the layout of a Store joined of both.
    pub fn append(&mut self, prefix: &str, other: &Self) {
        let first = self.arenas.len();
        let arenas = other.arenas.iter();
        self.arenas.extend(
            arenas.map(|arena| Arena { name: format!("{prefix}{}", arena.name), ..arena.clone() }),
        );
        for (name, placement) in &other.tensors {
            let mut placement = placement.clone();
            placement.shards.iter_mut().for_each(|shard| shard.arena.0 += first);
            self.insert(&format!("{prefix}{name}"), placement);
        }
    }

    /// All arenas, by id.
    pub fn arenas(&self) -> &[Arena] {
        &self.arenas
    }

    /// The arenas of a class, in order.
    pub fn arenas_of(&self, class: &str) -> Vec<ArenaId> {
        let prefix = format!("{class}.");
        let all = self.arenas.iter().enumerate();
        all.filter(|(_, arena)| arena.name.starts_with(&prefix)).map(|(i, _)| ArenaId(i)).collect()
    }

    /// Where a tensor lies.
    pub fn get(&self, name: &str) -> Option<&Placement> {
        self.tensors.get(name)
    }

    /// Where a tensor lies that must be there.
    ///
    /// # Errors
    /// [`Error::Model`] naming the tensor.
    pub fn require(&self, name: &str) -> Result<&Placement> {
        self.get(name).ok_or_else(|| Error::model(name, "the store holds no tensor of this name"))
    }

    /// All tensors by name, groups included.
    pub fn tensors(&self) -> impl Iterator<Item = (&str, &Placement)> {
        self.tensors.iter().map(|(name, placement)| (name.as_str(), placement))
    }

    /// Size of all arenas together.
    pub fn size_bytes(&self) -> usize {
        self.arenas.iter().map(|arena| arena.length * arena.element.bytes()).sum()
    }

    fn add_arena(&mut self, class: &str, element: Element, first: usize) -> usize {
        let name = format!("{class}.{}", self.arenas.len() - first);
        self.arenas.push(Arena { name, element, length: 0 });
        self.arenas.len() - 1
    }

    fn insert(&mut self, name: &str, placement: Placement) {
        let before = self.tensors.insert(name.to_owned(), placement);
        assert!(before.is_none(), "two tensors of the store are named {name}");
    }

    fn place_in_shards(
        &mut self,
        class: &str,
        (element, weights): (Element, WeightType),
        (name, rows, cols): (&str, usize, usize),
        max_elements: usize,
    ) -> Result<()> {
        let first = self.arenas_of(class).first().map_or(self.arenas.len(), |arena| arena.0);
        let row_length = weights.row_length(cols);
        let mut rows_per_shard = max_elements / row_length;
        if rows_per_shard == 0 {
            return Err(too_large(name, row_length, max_elements));
        }
        while rows_per_shard > 1 && !(rows_per_shard * row_length).is_multiple_of(ALIGNMENT) {
            rows_per_shard -= 1;
        }
        let mut shards = Vec::new();
        for first_row in (0..rows).step_by(rows_per_shard) {
            let arena = self.add_arena(class, element, first);
            let rows = rows_per_shard.min(rows - first_row);
            self.arenas[arena].length = (rows * row_length).next_multiple_of(ALIGNMENT);
            shards.push(Shard { arena: ArenaId(arena), offset: 0, first_row, rows });
        }
        self.insert(name, Placement { rows, cols, weights, shards });
        Ok(())
    }
}

fn too_large(name: &str, needed: usize, available: usize) -> Error {
    Error::Limit {
        limit: format!("elements of one storage binding, for {name}"),
        needed: needed as u64,
        available: available as u64,
        hint: "use a device with larger bindings, or a narrower model".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(max: usize) -> StoreLayout {
        let tensor = |name: &str, rows, cols| (name.to_owned(), rows, cols);
        let mut layout = StoreLayout::default();
        let groups = [
            (None, vec![tensor("norm", 1, 10)]),
            (Some("qkv".into()), vec![tensor("q", 8, 8), tensor("k", 4, 8), tensor("v", 4, 8)]),
            (None, vec![tensor("table", 100, 8)]),
        ];
        layout.place("weights", Element::F32, &groups, max).unwrap();
        layout.place_like("gradients", "weights", |name| format!("{name}.gradient"));
        layout
    }

    #[test]
    fn groups_are_aligned_and_side_by_side() {
        let layout = layout(10_000);
        let offset = |name: &str| layout.get(name).unwrap().shards[0].offset;
        assert_eq!([offset("norm"), offset("q"), offset("k"), offset("v")], [0, 128, 192, 224]);
        assert_eq!(layout.get("qkv").unwrap().rows, 16);
        assert_eq!(offset("qkv"), 128);
        assert_eq!(offset("table"), 256);
        assert_eq!(layout.arenas().len(), 2);
        assert_eq!(layout.get("table.gradient").unwrap().shards[0].arena, ArenaId(1));
    }

    #[test]
    fn a_large_table_is_cut_between_rows() {
        let layout = layout(256);
        let table = layout.get("table").unwrap();
        let rows: Vec<_> = table.shards.iter().map(|s| (s.first_row, s.rows)).collect();
        assert_eq!(rows, [(0, 32), (32, 32), (64, 32), (96, 4)]);
        assert!(layout.arenas().iter().all(|arena| arena.length <= 256));
        let gradient = layout.get("table.gradient").unwrap();
        assert_eq!(gradient.shards.len(), 4);
        assert_eq!(layout.arenas()[gradient.shards[3].arena.0].name, "gradients.4");
    }

    #[test]
    fn packed_weights_take_the_words_of_their_rows() {
        let tensor = |name: &str, rows, cols| (name.to_owned(), rows, cols);
        let mut layout = StoreLayout::default();
        let groups = [
            (Some("qk".into()), vec![tensor("q", 8, 70), tensor("k", 4, 70)]),
            (None, vec![tensor("table", 300, 32)]),
        ];
        layout.place_weights("weights", WeightType::Q4, &groups, 1024).unwrap();
        // Nine words of codes and two of scales; four words and one.
        let [qk, k] = ["qk", "k"].map(|name| layout.get(name).unwrap().clone());
        assert_eq!((qk.rows, qk.length(), k.shards[0].offset), (12, 12 * 11, 8 * 11));
        let table = layout.get("table").unwrap();
        let rows: Vec<_> = table.shards.iter().map(|shard| shard.rows).collect();
        assert_eq!((rows, table.row_length()), (vec![128, 128, 44], 5));
        assert!(layout.arenas().iter().all(|arena| arena.element == Element::U32));
    }

    #[test]
    fn a_group_beyond_the_limit_is_an_error() {
        let tensors = vec![("a".to_owned(), 2, 40), ("b".to_owned(), 2, 40)];
        let mut layout = StoreLayout::default();
        let error = layout.place("w", Element::F32, &[(Some("ab".into()), tensors)], 100);
        assert!(matches!(error, Err(Error::Limit { needed: 160, .. })));
    }
}
