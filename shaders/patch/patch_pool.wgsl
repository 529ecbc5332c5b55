// out[patch, out_offset + col] = max, mean or min of x over the bytes of the patch; a patch without
// bytes gets zeros. One workgroup takes 64 columns of one patch.
#import shared/step

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
@group(0) @binding(2) var<storage, read> x: array<f32>;          // [bytes, cols]
@group(0) @binding(3) var<storage, read> range: array<u32>;      // [patches, 2]
@group(0) @binding(4) var<storage, read_write> out: array<f32>;  // [patches, out_stride]

const WIDTH: u32 = 64u;
const MAX: u32 = 0u;
const MEAN: u32 = 1u;

@compute @workgroup_size(WIDTH)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let block_count = (params.cols + WIDTH - 1u) / WIDTH;
    let index = group.x + group.y * groups.x;
    let patch_index = index / block_count;
    let col = index % block_count * WIDTH + lane;
    if (patch_index >= length_of(params.patches) || col >= params.cols) {
        return;
    }
    let low = range[2u * patch_index];
    let high = range[2u * patch_index + 1u];
    var pooled = 0.0;
    if (low < high) {
        pooled = x[low * params.cols + col];
    }
    for (var byte = low + 1u; byte < high; byte++) {
        let value = x[byte * params.cols + col];
        if (params.kind == MAX) {
            pooled = max(pooled, value);
        } else if (params.kind == MEAN) {
            pooled += value;
        } else {
            pooled = min(pooled, value);
        }
    }
    if (params.kind == MEAN && low < high) {
        pooled /= f32(high - low);
    }
    out[patch_index * params.out_stride + params.out_offset + col] = pooled;
}
