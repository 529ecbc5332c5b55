// Rotates pairs of columns of each head by the angle of the row's position; columns from
// rotated_cols on are copied. One pair an invocation, or, where all rows are whole vectors of four,
// two vectors. sign 1 is the forward pass, -1 its gradient.
#import shared/step
#import shared/wide

struct Params {
    rows: vec2<u32>,
    cols: u32,
    rotated_cols: u32,
    head_dim: u32,
    sign: f32,
    reserved_0: u32,
    reserved_1: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(2) var<storage, read> x: array<x_type>;            // [rows, cols]
@group(0) @binding(3) var<storage, read> position: array<u32>;        // [rows]
@group(0) @binding(4) var<storage, read> table: array<number>;        // [positions, head_dim]
@group(0) @binding(5) var<storage, read_write> out: array<out_type>;  // [rows, cols]

const WIDTH: u32 = 64u;

#ifdef WIDE
// Two pairs of columns from vector `index` on, turned.
fn turned(index: u32) -> vec4<f32> {
    let vectors_a_row = params.cols / 4u;
    let row = index / vectors_a_row;
    let col = index % vectors_a_row * 4u;
    let value = vec4<f32>(x[index]);
    if (col >= params.rotated_cols) {
        return value;
    }
    let angles = table[(position[row] * params.head_dim + col % params.head_dim) / 4u];
    let cosine = angles.xz;
    let sine = params.sign * angles.yw;
    let left = value.xz * cosine - value.yw * sine;
    let right = value.xz * sine + value.yw * cosine;
    return vec4<f32>(left.x, right.x, left.y, right.y);
}
#endif

@compute @workgroup_size(WIDTH)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
#ifdef WIDE
    let index = (group.x + group.y * groups.x) * 2u * WIDTH + lane;
    let count = length_of(params.rows) * (params.cols / 4u);
    if (index >= count) {
        return;
    }
    let second = min(index + WIDTH, count - 1u);
    let value = turned(index);
    let value_of_second = turned(second);
    out[index] = out_type(value);
    if (index + WIDTH < count) {
        out[second] = out_type(value_of_second);
    }
#else
    let index = (group.x + group.y * groups.x) * WIDTH + lane;
    let pairs_a_row = (params.cols + 1u) / 2u;
    let row = index / pairs_a_row;
    if (row >= length_of(params.rows)) {
        return;
    }
    let col = index % pairs_a_row * 2u;
    let at = row * params.cols + col;
    if (col < params.rotated_cols) {
        let angle = position[row] * params.head_dim + col % params.head_dim;
        let cosine = table[angle];
        let sine = params.sign * table[angle + 1u];
        let left = f32(x[at]);
        let right = f32(x[at + 1u]);
        out[at] = out_type(left * cosine - right * sine);
        out[at + 1u] = out_type(left * sine + right * cosine);
        return;
    }
    out[at] = out_type(x[at]);
    if (col + 1u < params.cols) {
        out[at + 1u] = out_type(x[at + 1u]);
    }
#endif
}
