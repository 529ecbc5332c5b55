// dgate = dout * up * s * (1 + gate * (1 - s)), dup = dout * gate * s with s = sigmoid(gate) as in
// the base, eight neighbours to every load and store, for drivers that compute on the processor.
// Features are whole eights in f32.
#import shared/step
#import shared/sigmoid
#import shared/eights

struct Params {
    rows: vec2<u32>,
    features: u32,
    reserved: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(2) var<storage, read> gate_up: array<vec4<u64>>;         // [rows, 2f]
@group(0) @binding(3) var<storage, read> dout: array<vec4<u64>>;            // [rows, f]
@group(0) @binding(4) var<storage, read_write> dgate_up: array<vec4<u64>>;  // [rows, 2f]

const WIDTH: u32 = 8u;

fn of_gate(gate: vec4<f32>, s: vec4<f32>, up: vec4<f32>, upstream: vec4<f32>) -> vec4<f32> {
    return upstream * up * s * (1.0 + gate * (1.0 - s));
}

@compute @workgroup_size(WIDTH)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let features = params.features / 8u;
    let first = (group.x + group.y * groups.x) * CHUNK;
    let end = min(first + CHUNK, length_of(params.rows) * features);
    for (var at = first + lane; at < end; at += WIDTH) {
        // Row r of gate_up starts at 2 r features, which is r features further than row r of dout.
        let gate_at = at + at / features * features;
        let gate = eight_of(gate_up[gate_at]);
        let up = eight_of(gate_up[gate_at + features]);
        let upstream = eight_of(dout[at]);
        let s_lo = sigmoid(gate.lo);
        let s_hi = sigmoid(gate.hi);
        dgate_up[gate_at] = words_of_eight(Eight(
            of_gate(gate.lo, s_lo, up.lo, upstream.lo),
            of_gate(gate.hi, s_hi, up.hi, upstream.hi)));
        dgate_up[gate_at + features] = words_of_eight(Eight(
            upstream.lo * gate.lo * s_lo, upstream.hi * gate.hi * s_hi));
    }
}
