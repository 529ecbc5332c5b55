// Rows into a cache: cache[to(row)] = columns x_offset.. of x[row], where to(row) is row % factor
// of the unit index[row / factor], and the same again `mirror` units behind. One row a workgroup;
// a row whose index is NOWHERE is left out.
#import shared/step
#import shared/wide

struct Params {
    rows: vec2<u32>,
    factor: u32,
    cols: u32,
    x_stride: u32,
    x_offset: u32,
    mirror: u32,
    reserved: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(2) var<storage, read> x: array<number>;            // [rows, x_stride]
@group(0) @binding(3) var<storage, read> index: array<u32>;           // [rows / factor]
@group(0) @binding(4) var<storage, read_write> cache: array<number>;  // [cache_rows, cols]

const WIDTH: u32 = 64u;
const NOWHERE: u32 = 0xFFFFFFFFu;

@compute @workgroup_size(WIDTH)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let row = group.x + group.y * groups.x;
    if (row >= length_of(params.rows)) {
        return;
    }
    let unit = index[row / params.factor];
    if (unit == NOWHERE) {
        return;
    }
    let cols = params.cols / LANES;
    let from_0 = (row * params.x_stride + params.x_offset) / LANES;
    let to_0 = (unit * params.factor + row % params.factor) * cols;
    let mirrored = params.mirror * params.factor * cols;
    for (var col = lane; col < cols; col += WIDTH) {
        let value = x[from_0 + col];
        cache[to_0 + col] = value;
        if (mirrored > 0u) {
            cache[to_0 + mirrored + col] = value;
        }
    }
}
