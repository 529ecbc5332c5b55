// delta = rowsum(dout * out) per query and head: 8 lanes a head, 8 heads a workgroup.
#import shared/step
#import shared/wide

struct Params {
    queries: vec2<u32>,
    head_count: u32,
    head_dim: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(2) var<storage, read> out: array<out_type>;     // [queries, heads, head_dim]
@group(0) @binding(3) var<storage, read> dout: array<dout_type>;   // [queries, heads, head_dim]
@group(0) @binding(4) var<storage, read_write> delta: array<f32>;  // [queries, heads]

const HEAD_LANES: u32 = 8u;
const WIDTH: u32 = 64u;

var<workgroup> partial: array<f32, WIDTH>;

@compute @workgroup_size(WIDTH)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let head = (group.x + group.y * groups.x) * (WIDTH / HEAD_LANES) + lane / HEAD_LANES;
    let head_total = length_of(params.queries) * params.head_count;
    let cols = params.head_dim / LANES;
    var products = number();
    if (head < head_total) {
        let base = head * cols;
        for (var i = lane % HEAD_LANES; i < cols; i += HEAD_LANES) {
            products += number(out[base + i]) * number(dout[base + i]);
        }
    }
    var sum = total(products);
    partial[lane] = sum;
    workgroupBarrier();  // the eight sums of a head are there before its first lane adds them
    if (lane % HEAD_LANES != 0u || head >= head_total) {
        return;
    }
    for (var i = 1u; i < HEAD_LANES; i++) {
        sum += partial[lane + i];
    }
    delta[head] = sum;
}
