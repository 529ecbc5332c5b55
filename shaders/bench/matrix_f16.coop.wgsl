// The same on the matrix unit: sixteen sums of four by four operands in registers, nothing but
// products in the loop. A workgroup computes four slots, as many at a time as it has subgroups.
#import shared/step

struct Params {
    slots: vec2<u32>,
    step_count: u32,
    reserved: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(2) var<storage, read> a: array<f32>;          // [4, 16, 16]
@group(0) @binding(3) var<storage, read> b: array<f32>;          // [4, 16, 16]
@group(0) @binding(4) var<storage, read_write> out: array<f32>;  // [slots, 16, 16]

const WIDTH: u32 = 128u;
const SLOTS: u32 = 4u;

var<workgroup> tiles: array<f16, 2048>;

@compute @workgroup_size(WIDTH)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) index: u32,
    @builtin(subgroup_id) subgroup: u32,
    @builtin(num_subgroups) subgroup_count: u32,
) {
    for (var at = index; at < 1024u; at += WIDTH) {
        tiles[at] = f16(a[at]);
        tiles[at + 1024u] = f16(b[at]);
    }
    // Every subgroup reads all tiles.
    workgroupBarrier();
    let a0 = coopLoadT<coop_mat16x16<f16, A>>(&tiles[0u], 16u);
    let a1 = coopLoadT<coop_mat16x16<f16, A>>(&tiles[256u], 16u);
    let a2 = coopLoadT<coop_mat16x16<f16, A>>(&tiles[512u], 16u);
    let a3 = coopLoadT<coop_mat16x16<f16, A>>(&tiles[768u], 16u);
    let b0 = coopLoadT<coop_mat16x16<f16, B>>(&tiles[1024u], 16u);
    let b1 = coopLoadT<coop_mat16x16<f16, B>>(&tiles[1280u], 16u);
    let b2 = coopLoadT<coop_mat16x16<f16, B>>(&tiles[1536u], 16u);
    let b3 = coopLoadT<coop_mat16x16<f16, B>>(&tiles[1792u], 16u);
    let first = (group.x + group.y * groups.x) * SLOTS;
    let end = min(first + SLOTS, length_of(params.slots));
    for (var slot = first + subgroup; slot < end; slot += subgroup_count) {
        var c00 = coop_mat16x16<f32, C>();
        var c01 = coop_mat16x16<f32, C>();
        var c02 = coop_mat16x16<f32, C>();
        var c03 = coop_mat16x16<f32, C>();
        var c10 = coop_mat16x16<f32, C>();
        var c11 = coop_mat16x16<f32, C>();
        var c12 = coop_mat16x16<f32, C>();
        var c13 = coop_mat16x16<f32, C>();
        var c20 = coop_mat16x16<f32, C>();
        var c21 = coop_mat16x16<f32, C>();
        var c22 = coop_mat16x16<f32, C>();
        var c23 = coop_mat16x16<f32, C>();
        var c30 = coop_mat16x16<f32, C>();
        var c31 = coop_mat16x16<f32, C>();
        var c32 = coop_mat16x16<f32, C>();
        var c33 = coop_mat16x16<f32, C>();
        for (var step = 0u; step < params.step_count; step++) {
            c00 = coopMultiplyAdd(a0, b0, c00);
            c01 = coopMultiplyAdd(a0, b1, c01);
            c02 = coopMultiplyAdd(a0, b2, c02);
            c03 = coopMultiplyAdd(a0, b3, c03);
            c10 = coopMultiplyAdd(a1, b0, c10);
            c11 = coopMultiplyAdd(a1, b1, c11);
            c12 = coopMultiplyAdd(a1, b2, c12);
            c13 = coopMultiplyAdd(a1, b3, c13);
            c20 = coopMultiplyAdd(a2, b0, c20);
            c21 = coopMultiplyAdd(a2, b1, c21);
            c22 = coopMultiplyAdd(a2, b2, c22);
            c23 = coopMultiplyAdd(a2, b3, c23);
            c30 = coopMultiplyAdd(a3, b0, c30);
            c31 = coopMultiplyAdd(a3, b1, c31);
            c32 = coopMultiplyAdd(a3, b2, c32);
            c33 = coopMultiplyAdd(a3, b3, c33);
        }
        let s0 = c00 + c01 + c02 + c03;
        let s1 = c10 + c11 + c12 + c13;
        let s2 = c20 + c21 + c22 + c23;
        let s3 = c30 + c31 + c32 + c33;
        let sum = s0 + s1 + s2 + s3;
        let place = slot * 256u;
        let stride = 16u;
        coopStoreT(sum, &out[place], stride);
    }
}
