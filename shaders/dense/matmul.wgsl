// out = op(a) op(b) + residual_scale * residual (+ out), one 64 x 64 tile a workgroup.
// TRANSPOSE_A: a is stored [k, m]; TRANSPOSE_B: b is stored [n, k].
// Each of 16 x 16 invocations owns 4 x 4 outputs; k advances in steps of 16, so every output is one
// sum in the order of k: what fixed_order asks of the CPU, this variant always does.
#import shared/matmul

@group(0) @binding(2) var<storage, read> a: array<a_type>;                // [batch, m, k]
@group(0) @binding(3) var<storage, read> b: array<b_type>;                // [batch, k, n]
@group(0) @binding(4) var<storage, read> residual: array<residual_type>;  // [batch, m, n]
@group(0) @binding(5) var<storage, read_write> out: array<out_type>;      // [batch, m, n]

const TILE: u32 = 64u;
const DEPTH: u32 = 16u;

var<workgroup> a_tile: array<vec4<f32>, 256>;  // [DEPTH, TILE / 4]
var<workgroup> b_tile: array<vec4<f32>, 256>;  // [DEPTH, TILE / 4]

fn a_at(row: u32, depth: u32, base: u32, m: u32, k: u32) -> f32 {
    if (row >= m || depth >= k) {
        return 0.0;
    }
#ifdef TRANSPOSE_A
    return f32(a[base + depth * m + row]);
#else
    return f32(a[base + row * k + depth]);
#endif
}

fn b_at(depth: u32, col: u32, base: u32, k: u32, n: u32) -> f32 {
    if (depth >= k || col >= n) {
        return 0.0;
    }
#ifdef TRANSPOSE_B
    return f32(b[base + col * k + depth]);
#else
    return f32(b[base + depth * n + col]);
#endif
}

fn store(row: u32, col: u32, base: u32, m: u32, n: u32, value: f32) {
    if (row >= m || col >= n) {
        return;
    }
    let at = base + row * n + col;
    var sum = value;
    if (params.residual_scale != 0.0) {
        sum += params.residual_scale * f32(residual[at]);
    }
    if (params.accumulate != 0u) {
        sum += f32(out[at]);
    }
    out[at] = out_type(sum);
}

fn store_row(row: u32, col: u32, base: u32, m: u32, n: u32, values: vec4<f32>) {
    store(row, col, base, m, n, values.x);
    store(row, col + 1u, base, m, n, values.y);
    store(row, col + 2u, base, m, n, values.z);
    store(row, col + 3u, base, m, n, values.w);
}

@compute @workgroup_size(16, 16)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_id) local: vec3<u32>,
    @builtin(local_invocation_index) index: u32,
) {
    let m = length_of(params.m);
    let n = length_of(params.n);
    let k = length_of(params.k);
    let row_0 = group.y * TILE;
    let col_0 = group.x * TILE;
    let batch = group.z / params.split_count;
    let piece = piece_of(group.z, k);
    let a_base = batch * m * k;
    let b_base = batch * k * n;
    var sum_0 = vec4<f32>();
    var sum_1 = vec4<f32>();
    var sum_2 = vec4<f32>();
    var sum_3 = vec4<f32>();

    // Each invocation brings four consecutive rows of op(a) and four columns of op(b).
    let load_depth = index / 16u;
    let load_at = (index % 16u) * 4u;
    for (var depth_0 = piece.x; depth_0 < piece.y; depth_0 += DEPTH) {
        let depth = depth_0 + load_depth;
        let row = row_0 + load_at;
        let col = col_0 + load_at;
        a_tile[index] = vec4<f32>(
            a_at(row, depth, a_base, m, k), a_at(row + 1u, depth, a_base, m, k),
            a_at(row + 2u, depth, a_base, m, k), a_at(row + 3u, depth, a_base, m, k));
        b_tile[index] = vec4<f32>(
            b_at(depth, col, b_base, k, n), b_at(depth, col + 1u, b_base, k, n),
            b_at(depth, col + 2u, b_base, k, n), b_at(depth, col + 3u, b_base, k, n));
        workgroupBarrier();  // the tiles are complete
        for (var d = 0u; d < DEPTH; d++) {
            let left = a_tile[d * 16u + local.y];
            let right = b_tile[d * 16u + local.x];
            sum_0 += left.x * right;
            sum_1 += left.y * right;
            sum_2 += left.z * right;
            sum_3 += left.w * right;
        }
        workgroupBarrier();  // everybody has read the tiles before they are overwritten
    }

    let row = row_0 + local.y * 4u;
    let col = col_0 + local.x * 4u;
    let base = group.z * m * n;
    store_row(row, col, base, m, n, sum_0);
    store_row(row + 1u, col, base, m, n, sum_1);
    store_row(row + 2u, col, base, m, n, sum_2);
    store_row(row + 3u, col, base, m, n, sum_3);
}
