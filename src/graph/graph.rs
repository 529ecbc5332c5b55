//! A graph of ops on tensors, and the functions that add to it.
//!
//! Building checks shapes and says what differs; nothing runs. Layers in `nn/` are functions that
//! call these.

use super::op::{AttentionShape, Op, PoolKind};
use crate::error::{Error, Result};
use crate::kernels::{Element, Extent};

/// A tensor of a graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TensorId(pub(super) usize);

/// Where the elements of a tensor come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// Uploaded before each replay, under this name.
    Input(String),
    /// Read from the Store, under this name.
    Stored { name: String, trainable: bool },
    /// Added to a tensor of the Store, under this name: the gradient of a parameter.
    Accumulated(String),
    /// Computed by a node.
    Computed,
}

impl Source {
    /// Whether training changes it.
    pub fn trainable(&self) -> bool {
        matches!(self, Self::Stored { trainable: true, .. })
    }
}

/// Shape, type and source of a tensor.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    pub rows: Extent,
    pub cols: usize,
    pub element: Element,
    pub source: Source,
}

impl std::fmt::Display for Tensor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "[{}, {}]", self.rows, self.cols)
    }
}

/// Which part of a graph a node belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// The forward pass; in which of its blocks, see [`Graph::block`].
    Forward { block: Option<usize> },
    /// The backward pass, which may compute tensors of the forward pass again.
    Backward,
}

/// An op with its tensors.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    pub op: Op,
    pub inputs: Vec<TensorId>,
    pub outputs: Vec<TensorId>,
    /// Where in the model this is, for example `local_decoder.layers.2.self_attn`.
    pub label: String,
    pub phase: Phase,
    /// Whether it needs the kernels of one fixed order.
    pub fixed_order: bool,
}

/// How many rows a graph has, about: bytes or patches. Counts are known when it runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RowCount {
    /// Their tiles fill a GPU.
    #[default]
    Many,
    /// Some hundreds, whose tiles do not: a prompt.
    Some,
    /// A few, which take as long as reading the weights takes: a step of generation.
    Few,
}

/// Ops in an order in which they can run.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Graph {
    pub(super) tensors: Vec<Tensor>,
    pub(super) nodes: Vec<Node>,
    pub(super) outputs: Vec<(String, TensorId)>,
    pub(super) fixed_order: bool,
    pub(super) rows: RowCount,
    has_slots: bool,
    scope: Vec<String>,
    is_backward: bool,
    block: Option<usize>,
    block_count: usize,
}

impl Graph {
    /// The tensor behind an id.
    pub fn tensor(&self, id: TensorId) -> &Tensor {
        &self.tensors[id.0]
    }

    /// All nodes in order.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// Asks for the kernels of one fixed order for the nodes that follow: a row of a result does
    /// not depend on what is computed beside it, to the last bit. Such a graph has no gradients.
    pub fn fix_order(&mut self) {
        self.fixed_order = true;
    }

    /// Asks for kernels that suit so many rows.
    pub fn expect_rows(&mut self, rows: RowCount) {
        self.rows = rows;
    }

    /// Asks for gradients of hash tables in slots, one a touched row, instead of in rows of the
    /// table: for lazy updates.
    pub fn use_slots(&mut self) {
        self.has_slots = true;
    }

    /// Whether gradients of hash tables go into slots.
    pub fn has_slots(&self) -> bool {
        self.has_slots
    }

    /// Runs `build` with `name` appended to the labels of all nodes it adds.
    pub fn scoped<T>(&mut self, name: impl Into<String>, build: impl FnOnce(&mut Self) -> T) -> T {
        self.scope.push(name.into());
        let result = build(self);
        self.scope.pop();
        result
    }

    /// Runs `build`, whose nodes become one block: what [`Recompute::Blocks`](super::Recompute)
    /// computes a second time as a whole.
    pub fn block<T>(&mut self, build: impl FnOnce(&mut Self) -> T) -> T {
        let outer = self.block.replace(self.block_count);
        self.block_count += 1;
        let result = build(self);
        self.block = outer;
        result
    }

    /// Runs `build`, whose nodes belong to the backward pass.
    pub(super) fn backward<T>(&mut self, build: impl FnOnce(&mut Self) -> T) -> T {
        let outer = std::mem::replace(&mut self.is_backward, true);
        let result = build(self);
        self.is_backward = outer;
        result
    }

    /// Something the host uploads before each replay.
    pub fn input(&mut self, name: &str, rows: Extent, cols: usize, element: Element) -> TensorId {
        let source = Source::Input(name.to_owned());
        if let Some(known) = self.tensors.iter().position(|tensor| tensor.source == source) {
            let tensor = &self.tensors[known];
            assert!(
                (tensor.rows, tensor.cols, tensor.element) == (rows, cols, element),
                "input {name} is declared with two shapes"
            );
            return TensorId(known);
        }
        self.add_tensor(Tensor { rows, cols, element, source })
    }

    /// A parameter of the Store that training changes.
    pub fn parameter(&mut self, name: &str, rows: usize, cols: usize) -> TensorId {
        self.stored(name, rows, cols, Element::F32, true)
    }

    /// A tensor of the Store that has no gradient: a table, or the training state.
    pub fn constant(&mut self, name: &str, rows: usize, cols: usize, element: Element) -> TensorId {
        self.stored(name, rows, cols, element, false)
    }

    pub(super) fn stored(
        &mut self,
        name: &str,
        rows: usize,
        cols: usize,
        element: Element,
        trainable: bool,
    ) -> TensorId {
        let source = Source::Stored { name: name.to_owned(), trainable };
        if let Some(known) = self.tensors.iter().position(|tensor| tensor.source == source) {
            return TensorId(known);
        }
        self.add_tensor(Tensor { rows: Extent::fixed(rows), cols, element, source })
    }

    /// Names a tensor that the host wants to read after a replay.
    pub fn output(&mut self, name: &str, tensor: TensorId) {
        self.outputs.push((name.to_owned(), tensor));
    }

    /// `x Wᵀ`: x [rows, in], weight [out, in] -> [rows, out].
    ///
    /// # Errors
    /// If the inner dimensions differ.
    pub fn linear(&mut self, x: TensorId, weight: TensorId) -> Result<TensorId> {
        self.matmul(x, weight, false, true)
    }

    /// `op(a) op(b)`, see [`Op::Matmul`].
    ///
    /// # Errors
    /// If the inner dimensions differ.
    pub fn matmul(
        &mut self,
        a: TensorId,
        b: TensorId,
        transpose_a: bool,
        transpose_b: bool,
    ) -> Result<TensorId> {
        let (left, right) = (self.tensor(a).clone(), self.tensor(b).clone());
        let columns = |tensor: &Tensor| Extent::fixed(tensor.cols);
        let (rows, inner_left) = match transpose_a {
            true => (columns(&left), left.rows),
            false => (left.rows, columns(&left)),
        };
        let (inner_right, cols) = match transpose_b {
            true => (columns(&right), right.rows.constant()),
            false => (right.rows, Some(right.cols)),
        };
        let wrong = |what| Error::input("matmul", format!("{what}: {left} x {right}"));
        if inner_left != inner_right {
            return Err(wrong("inner dimensions differ"));
        }
        let cols = cols.ok_or_else(|| wrong("the width of the result must be constant"))?;
        let op = Op::Matmul { transpose_a, transpose_b, residual_scale: 0.0 };
        Ok(self.node(op, &[a, b], &[(rows, cols, Element::F32)])[0])
    }

    /// `alpha a + beta b`.
    ///
    /// # Errors
    /// If the shapes differ.
    pub fn add(&mut self, a: TensorId, alpha: f32, b: TensorId, beta: f32) -> Result<TensorId> {
        self.expect_same_shape("add", a, b)?;
        Ok(self.node(Op::Add { alpha, beta }, &[a, b], &[self.shape(a)])[0])
    }

    /// The same elements as [rows, cols].
    ///
    /// # Errors
    /// If the number of elements changes.
    pub fn reshape(&mut self, x: TensorId, cols: usize) -> Result<TensorId> {
        let tensor = self.tensor(x).clone();
        let rows = tensor.rows.times(tensor.cols).divided_by(cols);
        let rows = rows.ok_or_else(|| {
            Error::input("reshape", format!("{tensor} does not divide into rows of {cols}"))
        })?;
        if tensor.source != Source::Computed {
            return Err(Error::input("reshape", format!("{tensor} is not computed by the graph")));
        }
        Ok(self.node(Op::Reshape, &[x], &[(rows, cols, tensor.element)])[0])
    }

    /// RMSNorm of x [rows, cols] with gain `[cols]`.
    ///
    /// # Errors
    /// If the gain is not as wide as x.
    pub fn rms_norm(&mut self, x: TensorId, gain: TensorId, eps: f32) -> Result<TensorId> {
        let (rows, cols, _) = self.shape(x);
        self.expect_cols("rms_norm gain", gain, cols)?;
        let outputs = [(rows, cols, Element::F32), (rows, 1, Element::F32)];
        Ok(self.node(Op::RmsNorm { eps }, &[x, gain], &outputs)[0])
    }

    /// Rotary embedding of the first `rotated_cols` columns of x by `position` `[rows]`, with
    /// `table` [positions, head_dim] of cosines and sines.
    ///
    /// # Errors
    /// If the columns are no whole number of heads, or head_dim is odd.
    pub fn rope(
        &mut self,
        x: TensorId,
        position: TensorId,
        table: TensorId,
        rotated_cols: usize,
    ) -> Result<TensorId> {
        let head_dim = self.tensor(table).cols;
        let whole = rotated_cols.is_multiple_of(head_dim) && head_dim.is_multiple_of(2);
        if !whole || rotated_cols > self.tensor(x).cols {
            let problem =
                format!("{rotated_cols} columns of {} in pairs of {head_dim}", self.tensor(x));
            return Err(Error::input("rope", problem));
        }
        let op = Op::Rope { rotated_cols, head_dim, sign: 1.0 };
        Ok(self.node(op, &[x, position, table], &[self.shape(x)])[0])
    }

    /// Attention of the rows of q over ranges of rows of kv, see [`Op::Attention`].
    ///
    /// # Errors
    /// If the heads do not fit the columns.
    pub fn attention(
        &mut self,
        q: TensorId,
        kv: TensorId,
        key_range: TensorId,
        query_range: TensorId,
        shape: AttentionShape,
    ) -> Result<TensorId> {
        let queries = self.tensor(q).rows;
        let (width, kv_width) =
            (shape.head_count * shape.head_dim, shape.kv_head_count * shape.head_dim);
        let fits = shape.query_offset + width <= self.tensor(q).cols
            && shape.key_offset.max(shape.value_offset) + kv_width <= self.tensor(kv).cols
            && shape.head_count.is_multiple_of(shape.kv_head_count);
        if !fits {
            let problem = format!("{shape:?} over q {}, kv {}", self.tensor(q), self.tensor(kv));
            return Err(Error::input("attention", problem));
        }
        let outputs = [(queries, width, Element::F32), (queries, shape.head_count, Element::F32)];
        let inputs = [q, kv, key_range, query_range];
        Ok(self.node(Op::Attention(shape), &inputs, &outputs)[0])
    }

    /// `silu(gate) up` of gate_up [rows, 2 f] -> [rows, f].
    ///
    /// # Errors
    /// If the number of columns is odd.
    pub fn swiglu(&mut self, gate_up: TensorId) -> Result<TensorId> {
        let (rows, cols, element) = self.shape(gate_up);
        if !cols.is_multiple_of(2) {
            return Err(Error::input("swiglu", format!("[{rows}, {cols}] has an odd width")));
        }
        Ok(self.node(Op::Swiglu, &[gate_up], &[(rows, cols / 2, element)])[0])
    }

    /// Hashed n-gram ids [bytes, tables] of ids [bytes, 1].
    pub fn hash_ids(
        &mut self,
        ids: TensorId,
        row_start: TensorId,
        powers: TensorId,
        rows_per_table: usize,
    ) -> TensorId {
        let table_count = self.tensor(powers).rows.constant().expect("powers are stored");
        let rows = self.tensor(ids).rows;
        let op = Op::HashIds { table_count, rows_per_table };
        self.node(op, &[ids, row_start, powers], &[(rows, table_count, Element::U32)])[0]
    }

    /// Rows of `table` [260, cols] by ids [rows, 1]; `lists` are the touched rows, ranges and
    /// entries that its gradient needs.
    pub fn byte_embedding(
        &mut self,
        ids: TensorId,
        table: TensorId,
        lists: [TensorId; 3],
    ) -> TensorId {
        let (rows, cols) = (self.tensor(ids).rows, self.tensor(table).cols);
        let inputs = [ids, table, lists[0], lists[1], lists[2]];
        self.node(Op::ByteEmbedding, &inputs, &[(rows, cols, Element::F32)])[0]
    }

    /// x [bytes, cols] plus the rows of `table` that hash_ids [bytes, tables] name, in table order;
    /// `lists` as in [`Self::byte_embedding`].
    ///
    /// # Errors
    /// If the table is not as wide as x.
    pub fn hash_embedding(
        &mut self,
        x: TensorId,
        hash_ids: TensorId,
        table: TensorId,
        lists: [TensorId; 3],
    ) -> Result<TensorId> {
        let (rows, cols, element) = self.shape(x);
        self.expect_cols("hash_embedding table", table, cols)?;
        let table_count = self.tensor(hash_ids).cols;
        let table_rows = self.tensor(table).rows.constant().expect("tables are stored");
        let op = Op::HashEmbedding { table_count, rows_per_table: table_rows / table_count };
        let inputs = [x, hash_ids, table, lists[0], lists[1], lists[2]];
        Ok(self.node(op, &inputs, &[(rows, cols, element)])[0])
    }

    /// Rows of x by `index` [rows, 1]; `lists` are the rows of x that are used, with the rows of
    /// the result that use them.
    pub fn gather_rows(&mut self, x: TensorId, index: TensorId, lists: [TensorId; 3]) -> TensorId {
        let (rows, cols) = (self.tensor(index).rows, self.tensor(x).cols);
        let inputs = [x, index, lists[0], lists[1], lists[2]];
        self.node(Op::GatherRows, &inputs, &[(rows, cols, Element::F32)])[0]
    }

    /// Pools the bytes of every patch: x [bytes, cols], range [patches, 2] -> [patches,
    /// cols * kinds].
    pub fn patch_pool(&mut self, x: TensorId, range: TensorId, kinds: &[PoolKind]) -> TensorId {
        let (rows, cols) = (self.tensor(range).rows, self.tensor(x).cols * kinds.len());
        let op = Op::PatchPool { kinds: kinds.to_vec() };
        self.node(op, &[x, range], &[(rows, cols, Element::F32)])[0]
    }

    /// Weighted nats [rows, 1] of targets [rows, 1] under logits [rows, classes]; `train_state`
    /// holds the loss scale that its gradient is multiplied by.
    pub fn cross_entropy(
        &mut self,
        logits: TensorId,
        targets: TensorId,
        weights: TensorId,
        train_state: TensorId,
    ) -> TensorId {
        let rows = self.tensor(logits).rows;
        let inputs = [logits, targets, weights, train_state];
        self.node(Op::CrossEntropy, &inputs, &[(rows, 1, Element::F32)])[0]
    }

    /// Shannon entropy [rows, 1] in nats of the softmax of logits [rows, classes].
    pub fn entropy(&mut self, logits: TensorId) -> TensorId {
        let rows = self.tensor(logits).rows;
        self.node(Op::Entropy, &[logits], &[(rows, 1, Element::F32)])[0]
    }

    /// Adds the sum of x [rows, 1] to a tensor [1, 1] of the Store, where it adds up over replays.
    pub fn accumulate_sum(&mut self, x: TensorId, name: &str) {
        let sum = self.node(Op::Sum, &[x], &[(Extent::fixed(1), 1, Element::F32)])[0];
        self.tensors[sum.0].source = Source::Accumulated(name.to_owned());
    }

    /// Appends a node whose outputs are new computed tensors of these shapes.
    pub(super) fn node(
        &mut self,
        op: Op,
        inputs: &[TensorId],
        outputs: &[(Extent, usize, Element)],
    ) -> Vec<TensorId> {
        let outputs: Vec<_> = outputs
            .iter()
            .map(|&(rows, cols, element)| {
                self.add_tensor(Tensor { rows, cols, element, source: Source::Computed })
            })
            .collect();
        let label = self.scope.join(".");
        let phase = match self.is_backward {
            true => Phase::Backward,
            false => Phase::Forward { block: self.block },
        };
        let (inputs, made) = (inputs.to_vec(), outputs.clone());
        let fixed_order = self.fixed_order;
        self.nodes.push(Node { op, inputs, outputs: made, label, phase, fixed_order });
        outputs
    }

    pub(super) fn add_tensor(&mut self, tensor: Tensor) -> TensorId {
        self.tensors.push(tensor);
        TensorId(self.tensors.len() - 1)
    }

    pub(super) fn shape(&self, id: TensorId) -> (Extent, usize, Element) {
        let tensor = self.tensor(id);
        (tensor.rows, tensor.cols, tensor.element)
    }

    fn expect_same_shape(&self, subject: &str, a: TensorId, b: TensorId) -> Result<()> {
        if self.shape(a) == self.shape(b) {
            return Ok(());
        }
        let problem = format!("shapes differ: {} and {}", self.tensor(a), self.tensor(b));
        Err(Error::input(subject, problem))
    }

    fn expect_cols(&self, subject: &str, id: TensorId, cols: usize) -> Result<()> {
        if self.tensor(id).cols == cols {
            return Ok(());
        }
        Err(Error::input(subject, format!("expected width {cols}, got {}", self.tensor(id))))
    }
}
