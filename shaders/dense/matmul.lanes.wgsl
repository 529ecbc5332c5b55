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
const ROWS: u32 = 32u;

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
    let first_col = (group.x * WIDTH + subgroup * lane_count) * 4u;
    if (first_col >= n) {
        return;  // the whole subgroup
    }
    let col = first_col + lane;
    let col_0 = min(col, n - 1u);
    let col_1 = min(col + lane_count, n - 1u);
    let col_2 = min(col + 2u * lane_count, n - 1u);
    let col_3 = min(col + 3u * lane_count, n - 1u);
    let own_rows = vec4<u32>(row_0 + lane % 8u) + vec4<u32>(0u, 8u, 16u, 24u);
    let rows = min(own_rows, vec4<u32>(m - 1u));
    let batch = group.z / params.split_count;
    let piece = piece_of(group.z, k);
#ifdef TRANSPOSE_A
    var a_at = batch * m * k + piece.x * m + rows;
    let a_step = m;
#else
    var a_at = batch * m * k + piece.x + rows * k;
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
    var sum_16 = vec4<f32>();
    var sum_17 = vec4<f32>();
    var sum_18 = vec4<f32>();
    var sum_19 = vec4<f32>();
    var sum_20 = vec4<f32>();
    var sum_21 = vec4<f32>();
    var sum_22 = vec4<f32>();
    var sum_23 = vec4<f32>();
    var sum_24 = vec4<f32>();
    var sum_25 = vec4<f32>();
    var sum_26 = vec4<f32>();
    var sum_27 = vec4<f32>();
    var sum_28 = vec4<f32>();
    var sum_29 = vec4<f32>();
    var sum_30 = vec4<f32>();
    var sum_31 = vec4<f32>();
    for (var depth = piece.x; depth < piece.y; depth++) {
        let left = vec4<f32>(f32(a[a_at.x]), f32(a[a_at.y]), f32(a[a_at.z]), f32(a[a_at.w]));
        let right = vec4<f32>(f32(b[b_at.x]), f32(b[b_at.y]), f32(b[b_at.z]), f32(b[b_at.w]));
        sum_0 = fma(vec4<f32>(subgroupBroadcast(left.x, 0u)), right, sum_0);
        sum_1 = fma(vec4<f32>(subgroupBroadcast(left.x, 1u)), right, sum_1);
        sum_2 = fma(vec4<f32>(subgroupBroadcast(left.x, 2u)), right, sum_2);
        sum_3 = fma(vec4<f32>(subgroupBroadcast(left.x, 3u)), right, sum_3);
        sum_4 = fma(vec4<f32>(subgroupBroadcast(left.x, 4u)), right, sum_4);
        sum_5 = fma(vec4<f32>(subgroupBroadcast(left.x, 5u)), right, sum_5);
        sum_6 = fma(vec4<f32>(subgroupBroadcast(left.x, 6u)), right, sum_6);
        sum_7 = fma(vec4<f32>(subgroupBroadcast(left.x, 7u)), right, sum_7);
        sum_8 = fma(vec4<f32>(subgroupBroadcast(left.y, 0u)), right, sum_8);
        sum_9 = fma(vec4<f32>(subgroupBroadcast(left.y, 1u)), right, sum_9);
        sum_10 = fma(vec4<f32>(subgroupBroadcast(left.y, 2u)), right, sum_10);
        sum_11 = fma(vec4<f32>(subgroupBroadcast(left.y, 3u)), right, sum_11);
        sum_12 = fma(vec4<f32>(subgroupBroadcast(left.y, 4u)), right, sum_12);
        sum_13 = fma(vec4<f32>(subgroupBroadcast(left.y, 5u)), right, sum_13);
        sum_14 = fma(vec4<f32>(subgroupBroadcast(left.y, 6u)), right, sum_14);
        sum_15 = fma(vec4<f32>(subgroupBroadcast(left.y, 7u)), right, sum_15);
        sum_16 = fma(vec4<f32>(subgroupBroadcast(left.z, 0u)), right, sum_16);
        sum_17 = fma(vec4<f32>(subgroupBroadcast(left.z, 1u)), right, sum_17);
        sum_18 = fma(vec4<f32>(subgroupBroadcast(left.z, 2u)), right, sum_18);
        sum_19 = fma(vec4<f32>(subgroupBroadcast(left.z, 3u)), right, sum_19);
        sum_20 = fma(vec4<f32>(subgroupBroadcast(left.z, 4u)), right, sum_20);
        sum_21 = fma(vec4<f32>(subgroupBroadcast(left.z, 5u)), right, sum_21);
        sum_22 = fma(vec4<f32>(subgroupBroadcast(left.z, 6u)), right, sum_22);
        sum_23 = fma(vec4<f32>(subgroupBroadcast(left.z, 7u)), right, sum_23);
        sum_24 = fma(vec4<f32>(subgroupBroadcast(left.w, 0u)), right, sum_24);
        sum_25 = fma(vec4<f32>(subgroupBroadcast(left.w, 1u)), right, sum_25);
        sum_26 = fma(vec4<f32>(subgroupBroadcast(left.w, 2u)), right, sum_26);
        sum_27 = fma(vec4<f32>(subgroupBroadcast(left.w, 3u)), right, sum_27);
        sum_28 = fma(vec4<f32>(subgroupBroadcast(left.w, 4u)), right, sum_28);
        sum_29 = fma(vec4<f32>(subgroupBroadcast(left.w, 5u)), right, sum_29);
        sum_30 = fma(vec4<f32>(subgroupBroadcast(left.w, 6u)), right, sum_30);
        sum_31 = fma(vec4<f32>(subgroupBroadcast(left.w, 7u)), right, sum_31);
        a_at += vec4<u32>(a_step);
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
        store(row_0 + 16u, to, base, m, n, sum_16[i]);
        store(row_0 + 17u, to, base, m, n, sum_17[i]);
        store(row_0 + 18u, to, base, m, n, sum_18[i]);
        store(row_0 + 19u, to, base, m, n, sum_19[i]);
        store(row_0 + 20u, to, base, m, n, sum_20[i]);
        store(row_0 + 21u, to, base, m, n, sum_21[i]);
        store(row_0 + 22u, to, base, m, n, sum_22[i]);
        store(row_0 + 23u, to, base, m, n, sum_23[i]);
        store(row_0 + 24u, to, base, m, n, sum_24[i]);
        store(row_0 + 25u, to, base, m, n, sum_25[i]);
        store(row_0 + 26u, to, base, m, n, sum_26[i]);
        store(row_0 + 27u, to, base, m, n, sum_27[i]);
        store(row_0 + 28u, to, base, m, n, sum_28[i]);
        store(row_0 + 29u, to, base, m, n, sum_29[i]);
        store(row_0 + 30u, to, base, m, n, sum_30[i]);
        store(row_0 + 31u, to, base, m, n, sum_31[i]);
    }
}
