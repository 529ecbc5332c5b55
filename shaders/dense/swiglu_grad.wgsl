// dgate = dout * up * s * (1 + gate * (1 - s)), dup = dout * gate * s with s = sigmoid(gate);
// a grid that strides over the elements of dout.
#import shared/step
#import shared/sigmoid

struct Params {
    rows: vec2<u32>,
    features: u32,
    reserved: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(2) var<storage, read> gate_up: array<gate_up_type>;          // [rows, 2f]
@group(0) @binding(3) var<storage, read> dout: array<dout_type>;                // [rows, f]
@group(0) @binding(4) var<storage, read_write> dgate_up: array<dgate_up_type>;  // [rows, 2f]

const WIDTH: u32 = 256u;

@compute @workgroup_size(WIDTH)
fn main(
    @builtin(global_invocation_id) id: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
) {
    let features = params.features / LANES;
    let count = length_of(params.rows) * features;
    for (var at = id.x; at < count; at += groups.x * WIDTH) {
        // Row r of gate_up starts at 2 r features, which is r features further than row r of dout.
        let gate_at = at + at / features * features;
        let gate = number(gate_up[gate_at]);
        let up = number(gate_up[gate_at + features]);
        let upstream = number(dout[at]);
        let s = sigmoid(gate);
        dgate_up[gate_at] = dgate_up_type(upstream * up * s * (1.0 + gate * (1.0 - s)));
        dgate_up[gate_at + features] = dgate_up_type(upstream * gate * s);
    }
}
