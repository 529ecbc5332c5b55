// Parameters of matvec and matvec_rope, what they multiply, and which rows of the weight make which
// features. Who imports this has ROWS, the rows of x that a workgroup takes, and COLS, those of the
// weight.
#import shared/step
#import shared/packed
#import shared/sigmoid

struct Params {
    rows: vec2<u32>,
    features: u32,
    depth: u32,
    eps: f32,
    residual_scale: f32,
    has_norm: u32,
    is_gated: u32,
    fixed_order: u32,
    rotated_cols: u32,  // of matvec_rope
    head_dim: u32,      // of matvec_rope
    kept_from: u32,     // of matvec_rope
    mirror: u32,        // of matvec_rope
    factor: u32,        // of matvec_rope
    weight_type: u32,
    reserved: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(2) var<storage, read> x: array<number>;       // [rows, depth]
@group(0) @binding(3) var<storage, read> weight: array<stored>;  // [(2) features, depth]
@group(0) @binding(4) var<storage, read> gain: array<number>;    // [depth]

fn stored_at(shard: u32, at: u32) -> stored {
    return weight[at];
}

// The columns of a row of the weight from k * LANES on.
fn weight_at(row: u32, k: u32) -> number {
    return number_at(0u, row, k, params.depth);
}

#ifdef GATED
// Features of a workgroup: half of the rows of the weight are gates.
const FEATURES: u32 = COLS / 2u;

fn weight_rows() -> u32 {
    return 2u * params.features;
}

// The row of the weight for the column `col` of a workgroup whose first feature is `first`.
fn weight_row(first: u32, col: u32) -> u32 {
    return select(first + col, params.features + first + col - FEATURES, col >= FEATURES);
}
#else
const FEATURES: u32 = COLS;

fn weight_rows() -> u32 {
    return params.features;
}

fn weight_row(first: u32, col: u32) -> u32 {
    return first + col;
}
#endif

// What a workgroup has made: [ROWS, COLS], ups behind gates.
var<workgroup> results: array<f32, ROWS * COLS>;
