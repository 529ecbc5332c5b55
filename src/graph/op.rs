//! The ops: what autodiff and fusion reason about. A kernel is what runs.

/// An operation on tensors. All tensors are matrices, [rows, cols], row-major.
#[derive(Clone, Debug, PartialEq)]
pub enum Op {
    /// `op(a) op(b) (+ residual_scale * residual)`; inputs a, b and, if the scale is not zero,
    /// residual. A linear layer y = x Wᵀ (weights stored [out, in]) is `transpose_b`.
    Matmul { transpose_a: bool, transpose_b: bool, residual_scale: f32 },
    /// [`Matmul`](Op::Matmul) of a linear layer and [`Rope`](Op::Rope) of what it makes; inputs a,
    /// b, position, table. Fusion makes it.
    MatmulRope { rotated_cols: usize, head_dim: usize },
    /// [`Matmul`](Op::Matmul) of a linear layer and [`Swiglu`](Op::Swiglu) of what it makes;
    /// inputs a, b; outputs out and, if something reads it, [gate | up]. Fusion makes it.
    MatmulSwiglu,
    /// [`Matmul`](Op::Matmul), neither operand transposed, and [`SwigluGrad`](Op::SwigluGrad) of
    /// the dout that it makes; inputs a, b, gate_up. Fusion makes it.
    MatmulSwigluGrad,
    /// [`Matmul`](Op::Matmul) of a linear layer for a few rows, with the norm in front of it, if
    /// there is one, and what follows: inputs x, weight, with a norm its gain, and, if the scale is
    /// not zero, residual; gated, [`Swiglu`](Op::Swiglu) of what it makes.
    Matvec { norm_eps: Option<f32>, is_gated: bool, residual_scale: f32 },
    /// [`Matvec`](Op::Matvec) and [`RopeCache`](Op::RopeCache) of what it makes, or, without
    /// rotated columns, [`CacheRows`](Op::CacheRows); inputs x, weight, with a norm its gain, with
    /// rotated columns position and table, then index and cache; outputs the rotated rows and the
    /// cache.
    MatvecRope {
        norm_eps: Option<f32>,
        rotated_cols: usize,
        head_dim: usize,
        x_offset: usize,
        factor: usize,
        mirror: usize,
    },
    /// `alpha a + beta b`, same shapes.
    Add { alpha: f32, beta: f32 },
    /// The same elements under another shape; nothing runs.
    Reshape,
    /// The same numbers in f16; [`Precision::Mixed`](super::Precision) makes these.
    Cast,
    /// The numbers of a packed weight of the Store, see [`crate::packed`]; compiling puts it in
    /// front of whoever does not read the weight as it lies.
    Unpack,
    /// RMSNorm over columns (spec §5.1); inputs x, gain; outputs out, inverse_rms [rows, 1].
    RmsNorm { eps: f32 },
    /// Inputs dout, x, gain, inverse_rms and, if the scale is not zero, a residual that is added;
    /// outputs dx, dgain [1, cols] with `with_gain`, and, if there is one more, dx again in f16.
    RmsNormGrad { residual_scale: f32, with_gain: bool },
    /// Rotary embedding of interleaved pairs (spec §5.4); inputs x, position, table; columns from
    /// `rotated_cols` on are copied; sign -1 turns back.
    Rope { rotated_cols: usize, head_dim: usize, sign: f32 },
    /// Attention of every query row over a contiguous range of key rows (spec §5.3, §6); inputs
    /// q, kv, key_range, query_range; outputs out, log_sum_exp [queries, heads].
    Attention(AttentionShape),
    /// Inputs q, kv, key_range, query_range, out, log_sum_exp, dout; outputs dq, dkv (one output
    /// if q and kv are the same tensor), delta [queries, heads].
    AttentionGrad(AttentionShape),
    /// `silu(gate) up` of [gate | up] (spec §5.5).
    Swiglu,
    /// Inputs gate_up, dout; output dgate_up.
    SwigluGrad,
    /// Hashed n-gram ids (spec §2.2); inputs ids, row_start, powers; output [bytes, tables].
    HashIds { table_count: usize, rows_per_table: usize },
    /// Rows of a byte table; inputs ids, table.
    ByteEmbedding,
    /// `x` plus the rows of the hash tables, in table order; inputs x, hash_ids, table.
    HashEmbedding { table_count: usize, rows_per_table: usize },
    /// Sum of the rows of dout by touched row; inputs rows, ranges, entries, dout; adds to the
    /// gradient of a table.
    ScatterAdd,
    /// Rows of x by index; inputs x, index, then the inverse lists rows, ranges, entries.
    GatherRows,
    /// `cols` columns of x from `x_offset` on into rows of a tensor of the Store, `factor` rows for
    /// each entry of `index` and once more `mirror` entries behind (spec §14.3); inputs x, index,
    /// cache; output the cache as it is then.
    CacheRows { cols: usize, x_offset: usize, factor: usize, mirror: usize },
    /// [`Rope`](Op::Rope) and [`CacheRows`](Op::CacheRows) of what it makes, whose last columns are
    /// kept; inputs x, position, table, index, cache; outputs the rotated rows and the cache.
    RopeCache { rotated_cols: usize, head_dim: usize, x_offset: usize, mirror: usize },
    /// Pooling of the bytes of every patch, each kind `cols` columns wide (spec §7); inputs x,
    /// byte range of every patch.
    PatchPool { kinds: Vec<PoolKind> },
    /// Inputs x, pooled, dpooled, range and, if the scale is not zero, a residual that is added;
    /// output dx.
    PatchPoolGrad { kinds: Vec<PoolKind>, residual_scale: f32 },
    /// Weighted nats of every row (spec §12); inputs logits, targets, weights; output [rows, 1].
    CrossEntropy,
    /// Inputs logits, targets, weights, train_state; output dlogits.
    CrossEntropyGrad,
    /// The id that follows every row of logits [rows, classes]: the likeliest, or one that is
    /// drawn; inputs logits, choice; outputs ids and status [rows, 1], see
    /// [`choose`](crate::kernels::decode::choose).
    Choose,
    /// Shannon entropy of the softmax of every row in nats (spec §3.3); output [rows, 1].
    Entropy,
    /// Sum over all elements of a column; output [1, 1].
    Sum,
}

impl Op {
    /// The name in plans and errors.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Matmul { .. } => "matmul",
            Self::MatmulRope { .. } => "matmul_rope",
            Self::Matvec { .. } => "matvec",
            Self::MatvecRope { .. } => "matvec_rope",
            Self::MatmulSwiglu => "matmul_swiglu",
            Self::MatmulSwigluGrad => "matmul_swiglu_grad",
            Self::Add { .. } => "add",
            Self::Reshape => "reshape",
            Self::Cast => "cast",
            Self::Unpack => "unpack",
            Self::RmsNorm { .. } => "rms_norm",
            Self::RmsNormGrad { .. } => "rms_norm_grad",
            Self::Rope { .. } => "rope",
            Self::Attention(_) => "attention",
            Self::AttentionGrad(_) => "attention_grad",
            Self::Swiglu => "swiglu",
            Self::SwigluGrad => "swiglu_grad",
            Self::HashIds { .. } => "hash_ids",
            Self::ByteEmbedding => "byte_embedding",
            Self::HashEmbedding { .. } => "hash_embedding",
            Self::ScatterAdd => "scatter_add",
            Self::GatherRows => "gather_rows",
            Self::CacheRows { .. } => "cache_rows",
            Self::RopeCache { .. } => "rope_cache",
            Self::PatchPool { .. } => "patch_pool",
            Self::PatchPoolGrad { .. } => "patch_pool_grad",
            Self::CrossEntropy => "cross_entropy",
            Self::CrossEntropyGrad => "cross_entropy_grad",
            Self::Choose => "choose",
            Self::Entropy => "entropy",
            Self::Sum => "sum",
        }
    }
}

/// How bytes become a patch vector, in the order in which the results lie side by side.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PoolKind {
    Max,
    Mean,
    Min,
}

/// Heads of an attention and where they lie in the columns of its inputs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AttentionShape {
    pub head_count: usize,
    /// Divides `head_count`; heads are grouped consecutively.
    pub kv_head_count: usize,
    pub head_dim: usize,
    /// Query rows for each entry of `key_range`.
    pub query_factor: usize,
    /// Key rows for each unit of `key_range` and each entry of `query_range`.
    pub key_factor: usize,
    /// First column of the queries in q.
    pub query_offset: usize,
    /// First column of the keys in kv.
    pub key_offset: usize,
    /// First column of the values in kv.
    pub value_offset: usize,
    /// Keys that a query sees; only estimates of the work read it.
    pub reach: Reach,
}

/// How many keys a query sees, about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// At most so many: a window. `None`: nobody knows, rows may have any length.
    Keys(Option<usize>),
    /// Those of so many entries, among which all keys are divided: bytes among patches.
    Shares(usize),
}

impl Reach {
    /// Whether it is a handful: the bytes of one patch, or the vectors of one.
    pub fn is_few(&self) -> bool {
        match *self {
            Self::Keys(count) => count.is_some_and(|count| count <= MOST_FEW_KEYS),
            Self::Shares(count) => count == 1,
        }
    }
}

/// Most keys that are a handful.
const MOST_FEW_KEYS: usize = 16;
