// Parameters of every variant of matmul, where its operands lie, and which part of the inner
// products a workgroup takes.
#import shared/step

struct Params {
    m: vec2<u32>,
    n: vec2<u32>,
    k: vec2<u32>,
    residual_scale: f32,
    accumulate: u32,
    transpose_a: u32,
    transpose_b: u32,
    batch_count: u32,
    fixed_order: u32,
    split_count: u32,
    rotated_cols: u32,  // of matmul_rope
    head_dim: u32,      // of matmul_rope
    keeps_sums: u32,    // of matmul_swiglu
    some_rows: u32,
    reserved_0: u32,
    reserved_1: u32,
    reserved_2: u32,
}

@group(0) @binding(0) var<uniform> params: Params;

// Workgroups of depth z take the piece z % split_count of the batch z / split_count: from the first
// term to the end.
fn piece_of(z: u32, k: u32) -> vec2<u32> {
    if (params.split_count == 1u) {
        return vec2<u32>(0u, k);
    }
    let depth = ((k + params.split_count - 1u) / params.split_count + 31u) / 32u * 32u;
    let first = min(z % params.split_count * depth, k);
    return vec2<u32>(first, min(first + depth, k));
}

// Lengths in this step: a product of [m, k] by [k, n].
struct Shape {
    m: u32,
    n: u32,
    k: u32,
}

fn shape_now() -> Shape {
    return Shape(length_of(params.m), length_of(params.n), length_of(params.k));
}

// A stored operand: rows x cols from element `base` on.
struct Stored {
    base: u32,
    rows: u32,
    cols: u32,
}

// Those of workgroups of depth z.
fn stored_a(z: u32, shape: Shape) -> Stored {
    let base = z / params.split_count * shape.m * shape.k;
#ifdef TRANSPOSE_A
    return Stored(base, shape.k, shape.m);
#else
    return Stored(base, shape.m, shape.k);
#endif
}

fn stored_b(z: u32, shape: Shape) -> Stored {
    let base = z / params.split_count * shape.k * shape.n;
#ifdef TRANSPOSE_B
    return Stored(base, shape.n, shape.k);
#else
    return Stored(base, shape.k, shape.n);
#endif
}
