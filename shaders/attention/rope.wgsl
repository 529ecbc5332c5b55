// Rotates pairs of columns of each head by the angle of the row's position, one pair an invocation;
// columns from rotated_cols on are copied. sign 1 is the forward pass, -1 its gradient.
#import shared/step

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
@group(0) @binding(2) var<storage, read> x: array<f32>;          // [rows, cols]
@group(0) @binding(3) var<storage, read> position: array<u32>;   // [rows]
@group(0) @binding(4) var<storage, read> table: array<f32>;      // [positions, head_dim / 2, 2]
@group(0) @binding(5) var<storage, read_write> out: array<f32>;  // [rows, cols]

const WIDTH: u32 = 64u;

@compute @workgroup_size(WIDTH)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let pair = (group.x + group.y * groups.x) * WIDTH + lane;
    let pairs_a_row = (params.cols + 1u) / 2u;
    let row = pair / pairs_a_row;
    if (row >= length_of(params.rows)) {
        return;
    }
    let col = pair % pairs_a_row * 2u;
    let at = row * params.cols + col;
    if (col < params.rotated_cols) {
        let angle = position[row] * params.head_dim + col % params.head_dim;
        let cosine = table[angle];
        let sine = params.sign * table[angle + 1u];
        let left = x[at];
        let right = x[at + 1u];
        out[at] = left * cosine - right * sine;
        out[at + 1u] = left * sine + right * cosine;
        return;
    }
    out[at] = x[at];
    if (col + 1u < params.cols) {
        out[at + 1u] = x[at + 1u];
    }
}
