// Rotates pairs of columns of each head by the angle of the row's position, as rope does, and puts
// the columns from x_offset on into the row index[row] of the cache as well, and once more `mirror`
// rows behind; NOWHERE is nowhere. One pair an invocation, or one vector of two pairs where all
// heads are whole vectors of four.
#import shared/step
#import shared/wide

struct Params {
    rows: vec2<u32>,
    cols: u32,
    rotated_cols: u32,
    head_dim: u32,
    x_offset: u32,
    mirror: u32,
    reserved: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(2) var<storage, read> x: array<number>;            // [rows, cols]
@group(0) @binding(3) var<storage, read> position: array<u32>;        // [rows]
@group(0) @binding(4) var<storage, read> table: array<number>;        // [positions, head_dim]
@group(0) @binding(5) var<storage, read> index: array<u32>;           // [rows]
@group(0) @binding(6) var<storage, read_write> out: array<number>;    // [rows, cols]
@group(0) @binding(7) var<storage, read_write> cache: array<number>;  // [.., cols - x_offset]

const WIDTH: u32 = 64u;
const NOWHERE: u32 = 0xFFFFFFFFu;

fn keep(row: u32, col: u32, value: number) {
    let unit = index[row];
    if (col < params.x_offset || unit == NOWHERE) {
        return;
    }
    let cols = params.cols - params.x_offset;
    let at = unit * cols + col - params.x_offset;
    cache[at / LANES] = value;
    if (params.mirror > 0u) {
        cache[(at + params.mirror * cols) / LANES] = value;
    }
}

@compute @workgroup_size(WIDTH)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let unit = (group.x + group.y * groups.x) * WIDTH + lane;
#ifdef WIDE
    let units_a_row = params.cols / 4u;
#else
    let units_a_row = (params.cols + 1u) / 2u;
#endif
    let row = unit / units_a_row;
    if (row >= length_of(params.rows)) {
        return;
    }
#ifdef WIDE
    let col = unit % units_a_row * 4u;
    var value = x[unit];
    if (col < params.rotated_cols) {
        let angles = table[(position[row] * params.head_dim + col % params.head_dim) / 4u];
        let left = value.xz * angles.xz - value.yw * angles.yw;
        let right = value.xz * angles.yw + value.yw * angles.xz;
        value = vec4<f32>(left.x, right.x, left.y, right.y);
    }
    out[unit] = value;
    keep(row, col, value);
#else
    let col = unit % units_a_row * 2u;
    let at = row * params.cols + col;
    var left = x[at];
    if (col < params.rotated_cols) {
        let angle = position[row] * params.head_dim + col % params.head_dim;
        let right = x[at + 1u];
        let turned = left * table[angle] - right * table[angle + 1u];
        let behind = left * table[angle + 1u] + right * table[angle];
        out[at] = turned;
        out[at + 1u] = behind;
        keep(row, col, turned);
        keep(row, col + 1u, behind);
        return;
    }
    out[at] = left;
    keep(row, col, left);
    if (col + 1u < params.cols) {
        left = x[at + 1u];
        out[at + 1u] = left;
        keep(row, col + 1u, left);
    }
#endif
}
