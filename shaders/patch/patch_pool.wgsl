// out[patch, out_offset + col] = max, mean or min of x over the bytes of the patch; a patch without
// bytes gets zeros. One workgroup takes 64 columns, or vectors of columns, of one patch, four bytes
// at a time.
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
@group(0) @binding(2) var<storage, read> x: array<number>;          // [bytes, cols]
@group(0) @binding(3) var<storage, read> range: array<u32>;         // [patches, 2]
@group(0) @binding(4) var<storage, read_write> out: array<number>;  // [patches, out_stride]

const WIDTH: u32 = 64u;
const MAX: u32 = 0u;
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
    var pooled = number();
    if (low < high) {
        pooled = x[low * cols + col];
    }
    let last = max(high, 1u) - 1u;
    for (var byte = low + 1u; byte < high; byte += 4u) {
        // Past the end the last byte again, which a sum leaves out.
        let v_0 = x[byte * cols + col];
        let v_1 = x[min(byte + 1u, last) * cols + col];
        let v_2 = x[min(byte + 2u, last) * cols + col];
        let v_3 = x[min(byte + 3u, last) * cols + col];
        if (params.kind == MAX) {
            pooled = max(max(max(max(pooled, v_0), v_1), v_2), v_3);
        } else if (params.kind == MEAN) {
            pooled += v_0;
            pooled += select(number(), v_1, byte + 1u < high);
            pooled += select(number(), v_2, byte + 2u < high);
            pooled += select(number(), v_3, byte + 3u < high);
        } else {
            pooled = min(min(min(min(pooled, v_0), v_1), v_2), v_3);
        }
    }
    if (params.kind == MEAN && low < high) {
        pooled /= f32(high - low);
    }
    out[(patch_index * params.out_stride + params.out_offset) / LANES + col] = pooled;
}
