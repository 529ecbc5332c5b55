// flags[i] = 1 where byte i starts a patch. The first two bytes of a row always do; the entropy
// after byte i - 1, or the bytes before i, decide about the others. One invocation a byte.
#import shared/step

struct Params {
    bytes: vec2<u32>,
    mode: u32,
    threshold: f32,
    threshold_add: f32,
    reserved_0: u32,
    reserved_1: u32,
    reserved_2: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(2) var<storage, read> ids: array<u32>;          // [bytes]
@group(0) @binding(3) var<storage, read> entropies: array<f32>;    // [bytes], nats
@group(0) @binding(4) var<storage, read> position: array<u32>;     // [bytes], index in its row
@group(0) @binding(5) var<storage, read_write> flags: array<u32>;  // [bytes]

const WIDTH: u32 = 64u;
const GLOBAL: u32 = 0u;
const MONOTONIC: u32 = 1u;
const COMBINED: u32 = 2u;

// The first id that is a byte; those below are special.
const BYTE_OFFSET: u32 = 4u;

// Neither an ASCII letter or digit nor a continuation byte of UTF-8; special ids are space-like.
fn space_like(id: u32) -> bool {
    if (id < BYTE_OFFSET) {
        return true;
    }
    let byte = id - BYTE_OFFSET;
    return byte < 0x30u || (byte > 0x39u && byte < 0x41u) || (byte > 0x5Au && byte < 0x61u)
        || (byte > 0x7Au && byte < 0x80u) || byte >= 0xC0u;
}

// Whether a byte past the second of its row starts a patch.
fn starts(byte: u32, index_in_row: u32) -> bool {
    if (params.mode == GLOBAL) {
        return entropies[byte - 1u] > params.threshold;
    }
    if (params.mode == MONOTONIC) {
        let rise = entropies[byte - 1u] - entropies[byte - 2u];
        return index_in_row == 2u || rise > params.threshold;
    }
    if (params.mode == COMBINED) {
        let rise = entropies[byte - 1u] - entropies[byte - 2u];
        let high = entropies[byte - 1u] > params.threshold;
        return index_in_row == 2u || (index_in_row > 3u && rise > params.threshold_add && high);
    }
    let last = ids[byte - 1u];
    return last < BYTE_OFFSET || (space_like(last) && !space_like(ids[byte - 2u]));
}

@compute @workgroup_size(WIDTH)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let byte = (group.x + group.y * groups.x) * WIDTH + lane;
    if (byte >= length_of(params.bytes)) {
        return;
    }
    let index_in_row = position[byte];
    var flag = 1u;
    if (index_in_row >= 2u && !starts(byte, index_in_row)) {
        flag = 0u;
    }
    flags[byte] = flag;
}
