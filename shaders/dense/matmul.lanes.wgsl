// out = op(a) op(b) + residual_scale * residual (+ out) without workgroup memory and barriers, for
// drivers that compute on the processor: there a barrier is dear and a subgroup is a vector.
// A subgroup of at least 8 lanes owns ROWS rows and 4 times as many columns as it has lanes: lanes
// bring the rows of op(a), which all take by broadcasts, and each keeps four columns of every row.
#import shared/matmul

@group(0) @binding(2) var<storage, read> a: array<a_type>;                // [batch, m, k]
@group(0) @binding(3) var<storage, read> b: array<b_type>;                // [batch, k, n]
@group(0) @binding(4) var<storage, read> residual: array<residual_type>;  // [batch, m, n]
@group(0) @binding(5) var<storage, read_write> out: array<out_type>;      // [batch, m, n]

const WIDTH: u32 = 32u;
const ROWS: u32 = 16u;

fn store(row: u32, col: u32, base: u32, m: u32, n: u32, value: f32) {
    if (row >= m || col >= n) {
        return;
    }
#ifdef SWIGLU_GRAD
    let gate_at = 2u * row * n + col;
    let up_at = gate_at + n;
    let grad = swiglu_grad(value, f32(residual[gate_at]), f32(residual[up_at]));
    out[gate_at] = out_type(grad.gate);
    out[up_at] = out_type(grad.up);
#else
    let at = base + row * n + col;
    var sum = value;
    if (params.residual_scale != 0.0) {
        sum += params.residual_scale * f32(residual[at]);
    }
    if (params.accumulate != 0u) {
        sum += f32(out[at]);
    }
    out[at] = out_type(sum);
#endif
}

@compute @workgroup_size(WIDTH)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(subgroup_id) subgroup: u32,
    @builtin(subgroup_invocation_id) lane: u32,
    @builtin(subgroup_size) subgroup_lanes: u32,
) {
    let m = length_of(params.m);
    let n = length_of(params.n);
    let k = length_of(params.k);
    // A workgroup takes ROWS rows and 128 columns, whatever the size of its subgroups.
    let row_0 = group.y * ROWS;
    if (row_0 >= m) {
        return;  // rows that a larger plan would have
    }
    // A subgroup larger than the workgroup has no more lanes than that.
    let lane_count = min(subgroup_lanes, WIDTH);
    let col = group.x * WIDTH * 4u + subgroup * lane_count * 4u + lane;
    let col_0 = min(col, n - 1u);
    let col_1 = min(col + lane_count, n - 1u);
    let col_2 = min(col + 2u * lane_count, n - 1u);
    let col_3 = min(col + 3u * lane_count, n - 1u);
    let row = min(row_0 + lane % 8u, m - 1u);
    let row_8 = min(row_0 + 8u + lane % 8u, m - 1u);
    let batch = group.z / params.split_count;
    let piece = piece_of(group.z, k);
#ifdef TRANSPOSE_A
    var a_at = batch * m * k + piece.x * m + vec2<u32>(row, row_8);
    let a_step = m;
#else
    var a_at = batch * m * k + piece.x + vec2<u32>(row, row_8) * k;
    let a_step = 1u;
#endif
#ifdef TRANSPOSE_B
    let b_step = 1u;
    let b_scale = k;
#else
    let b_step = n;
    let b_scale = 1u;
#endif
    let b_base = batch * k * n + piece.x * b_step;
    var b_at = vec4<u32>(b_base) + b_scale * vec4<u32>(col_0, col_1, col_2, col_3);
    var sum_0 = vec4<f32>();
    var sum_1 = vec4<f32>();
    var sum_2 = vec4<f32>();
    var sum_3 = vec4<f32>();
    var sum_4 = vec4<f32>();
    var sum_5 = vec4<f32>();
    var sum_6 = vec4<f32>();
    var sum_7 = vec4<f32>();
    var sum_8 = vec4<f32>();
    var sum_9 = vec4<f32>();
    var sum_10 = vec4<f32>();
    var sum_11 = vec4<f32>();
    var sum_12 = vec4<f32>();
    var sum_13 = vec4<f32>();
    var sum_14 = vec4<f32>();
    var sum_15 = vec4<f32>();
    for (var depth = piece.x; depth < piece.y; depth++) {
        let left = vec2<f32>(f32(a[a_at.x]), f32(a[a_at.y]));
        let right = vec4<f32>(f32(b[b_at.x]), f32(b[b_at.y]), f32(b[b_at.z]), f32(b[b_at.w]));
        sum_0 += subgroupBroadcast(left.x, 0u) * right;
        sum_1 += subgroupBroadcast(left.x, 1u) * right;
        sum_2 += subgroupBroadcast(left.x, 2u) * right;
        sum_3 += subgroupBroadcast(left.x, 3u) * right;
        sum_4 += subgroupBroadcast(left.x, 4u) * right;
        sum_5 += subgroupBroadcast(left.x, 5u) * right;
        sum_6 += subgroupBroadcast(left.x, 6u) * right;
        sum_7 += subgroupBroadcast(left.x, 7u) * right;
        sum_8 += subgroupBroadcast(left.y, 0u) * right;
        sum_9 += subgroupBroadcast(left.y, 1u) * right;
        sum_10 += subgroupBroadcast(left.y, 2u) * right;
        sum_11 += subgroupBroadcast(left.y, 3u) * right;
        sum_12 += subgroupBroadcast(left.y, 4u) * right;
        sum_13 += subgroupBroadcast(left.y, 5u) * right;
        sum_14 += subgroupBroadcast(left.y, 6u) * right;
        sum_15 += subgroupBroadcast(left.y, 7u) * right;
        a_at += vec2<u32>(a_step);
        b_at += vec4<u32>(b_step);
    }
    let base = group.z * m * n;
    for (var i = 0u; i < 4u; i++) {
        let to = col + i * lane_count;
        store(row_0, to, base, m, n, sum_0[i]);
        store(row_0 + 1u, to, base, m, n, sum_1[i]);
        store(row_0 + 2u, to, base, m, n, sum_2[i]);
        store(row_0 + 3u, to, base, m, n, sum_3[i]);
        store(row_0 + 4u, to, base, m, n, sum_4[i]);
        store(row_0 + 5u, to, base, m, n, sum_5[i]);
        store(row_0 + 6u, to, base, m, n, sum_6[i]);
        store(row_0 + 7u, to, base, m, n, sum_7[i]);
        store(row_0 + 8u, to, base, m, n, sum_8[i]);
        store(row_0 + 9u, to, base, m, n, sum_9[i]);
        store(row_0 + 10u, to, base, m, n, sum_10[i]);
        store(row_0 + 11u, to, base, m, n, sum_11[i]);
        store(row_0 + 12u, to, base, m, n, sum_12[i]);
        store(row_0 + 13u, to, base, m, n, sum_13[i]);
        store(row_0 + 14u, to, base, m, n, sum_14[i]);
        store(row_0 + 15u, to, base, m, n, sum_15[i]);
    }
}
