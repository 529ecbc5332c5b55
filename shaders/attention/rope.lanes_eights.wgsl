// Rotates pairs of columns of each head by the angle of the row's position as the base does, four
// pairs with every load and store, for drivers that compute on the processor. Rows, what is rotated
// of them, and heads are whole eights in f32.
#import shared/step
#import shared/eights

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
@group(0) @binding(2) var<storage, read> x: array<vec4<u64>>;          // [rows, cols]
@group(0) @binding(3) var<storage, read> position: array<u32>;         // [rows]
@group(0) @binding(4) var<storage, read> table: array<vec4<u64>>;      // [positions, head_dim]
@group(0) @binding(5) var<storage, read_write> out: array<vec4<u64>>;  // [rows, cols]

const WIDTH: u32 = 8u;

// Two pairs, turned.
fn turned(value: vec4<f32>, angles: vec4<f32>) -> vec4<f32> {
    let cosine = angles.xz;
    let sine = params.sign * angles.yw;
    let left = value.xz * cosine - value.yw * sine;
    let right = value.xz * sine + value.yw * cosine;
    return vec4<f32>(left.x, right.x, left.y, right.y);
}

@compute @workgroup_size(WIDTH)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let eights_a_row = params.cols / 8u;
    let rotated = params.rotated_cols / 8u;
    let eights_a_head = params.head_dim / 8u;
    let first = (group.x + group.y * groups.x) * CHUNK;
    let end = min(first + CHUNK, length_of(params.rows) * eights_a_row);
    for (var at = first + lane; at < end; at += WIDTH) {
        let row = at / eights_a_row;
        let col = at - row * eights_a_row;
        let value = eight_of(x[at]);
        let angles = eight_of(table[position[row] * eights_a_head + col % eights_a_head]);
        let is_turned = vec4<bool>(col < rotated);
        out[at] = words_of_eight(Eight(
            select(value.lo, turned(value.lo, angles.lo), is_turned),
            select(value.hi, turned(value.hi, angles.hi), is_turned)));
    }
}
