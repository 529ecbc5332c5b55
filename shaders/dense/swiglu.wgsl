// out = silu(gate) * up, a grid that strides over the outputs.
#import shared/step
#import shared/sigmoid

struct Params {
    rows: vec2<u32>,
    features: u32,
    reserved: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(2) var<storage, read> gate_up: array<gate_up_type>;  // [rows, 2 features]
@group(0) @binding(3) var<storage, read_write> out: array<out_type>;    // [rows, features]

const WIDTH: u32 = 256u;

@compute @workgroup_size(WIDTH)
fn main(
    @builtin(global_invocation_id) id: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
) {
    let features = params.features / LANES;
    let count = length_of(params.rows) * features;
    for (var at = id.x; at < count; at += groups.x * WIDTH) {
        // Row r of gate_up starts at 2 r features, which is r features further than row r of out.
        let gate_at = at + at / features * features;
        let gate = number(gate_up[gate_at]);
        out[at] = out_type(gate * sigmoid(gate) * number(gate_up[gate_at + features]));
    }
}
