// delta = rowsum(dout * out) per query and head: 8 lanes a head, 8 heads a workgroup.
#import shared/step

struct Params {
    queries: vec2<u32>,
    head_count: u32,
    head_dim: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(2) var<storage, read> out: array<out_type>;     // [queries, heads, head_dim]
@group(0) @binding(3) var<storage, read> dout: array<dout_type>;   // [queries, heads, head_dim]
@group(0) @binding(4) var<storage, read_write> delta: array<f32>;  // [queries, heads]

const LANES: u32 = 8u;
const WIDTH: u32 = 64u;

var<workgroup> partial: array<f32, WIDTH>;

@compute @workgroup_size(WIDTH)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let head = (group.x + group.y * groups.x) * (WIDTH / LANES) + lane / LANES;
    let head_total = length_of(params.queries) * params.head_count;
    var sum = 0.0;
    if (head < head_total) {
        let base = head * params.head_dim;
        for (var i = lane % LANES; i < params.head_dim; i += LANES) {
            sum += f32(out[base + i]) * f32(dout[base + i]);
        }
    }
    partial[lane] = sum;
    workgroupBarrier();  // the eight sums of a head are there before its first lane adds them
    if (lane % LANES != 0u || head >= head_total) {
        return;
    }
    for (var i = 1u; i < LANES; i++) {
        sum += partial[lane + i];
    }
    delta[head] = sum;
}
