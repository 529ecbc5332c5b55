// out = silu(gate) * up as in the base, eight neighbours to every load and store, for drivers that
// compute on the processor. Features are whole eights in f32.
#import shared/step
#import shared/sigmoid
#import shared/eights

struct Params {
    rows: vec2<u32>,
    features: u32,
    reserved: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(2) var<storage, read> gate_up: array<vec4<u64>>;    // [rows, 2 features]
@group(0) @binding(3) var<storage, read_write> out: array<vec4<u64>>;  // [rows, features]

const WIDTH: u32 = 8u;

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
        // Row r of gate_up starts at 2 r features, which is r features further than row r of out.
        let gate_at = at + at / features * features;
        let gate = eight_of(gate_up[gate_at]);
        let up = eight_of(gate_up[gate_at + features]);
        out[at] = words_of_eight(Eight(
            gate.lo * sigmoid(gate.lo) * up.lo, gate.hi * sigmoid(gate.hi) * up.hi));
    }
}
