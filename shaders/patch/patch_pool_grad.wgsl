// dx of patch_pool: a mean gives each byte of the patch an equal share of dpooled; a maximum or
// minimum gives it to the bytes that equal pooled, in equal shares. A byte belongs to one patch at
// most, so an invocation owns one column of one patch and no sum is shared. With a residual scale
// so many times a residual is added.
// One workgroup takes 64 columns, or vectors of columns, of one patch.
#import shared/step
#import shared/wide

struct Params {
    patches: vec2<u32>,
    cols: u32,
    kind: u32,
    out_stride: u32,
    out_offset: u32,
    accumulate: u32,
    residual_scale: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(2) var<storage, read> x: array<number>;         // [bytes, cols]
@group(0) @binding(3) var<storage, read> pooled: array<number>;    // [patches, out_stride]
@group(0) @binding(4) var<storage, read> dpooled: array<number>;   // [patches, out_stride]
@group(0) @binding(5) var<storage, read> range: array<u32>;        // [patches, 2]
@group(0) @binding(6) var<storage, read> residual: array<number>;  // [bytes, cols]
@group(0) @binding(7) var<storage, read_write> dx: array<number>;  // [bytes, cols]

const WIDTH: u32 = 64u;
const MEAN: u32 = 1u;

@compute @workgroup_size(WIDTH)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let cols = params.cols / LANES;
    let block_count = (cols + WIDTH - 1u) / WIDTH;
    let index = group.x + group.y * groups.x;
    let patch_index = index / block_count;
    let col = index % block_count * WIDTH + lane;
    if (patch_index >= length_of(params.patches) || col >= cols) {
        return;
    }
    let low = range[2u * patch_index];
    let high = range[2u * patch_index + 1u];
    let at = (patch_index * params.out_stride + params.out_offset) / LANES + col;
    let kept = pooled[at];
    let all = params.kind == MEAN;
    var share_count = number();
    if (all) {
        share_count = number(f32(high - min(low, high)));
    } else {
        for (var byte = low; byte < high; byte++) {
            share_count += select(number(), number(1.0), x[byte * cols + col] == kept);
        }
    }
    // At least one byte equals pooled, unless the patch is empty and nothing is written.
    let share = dpooled[at] / max(share_count, number(1.0));
    for (var byte = low; byte < high; byte++) {
        let place = byte * cols + col;
        var sum = number();
        if (params.accumulate != 0u) {
            sum = dx[place];
        }
        if (params.residual_scale != 0.0) {
            sum += params.residual_scale * residual[place];
        }
        if (all) {
            sum += share;
        } else {
            sum += select(number(), share, x[place] == kept);
        }
        dx[place] = sum;
    }
}
