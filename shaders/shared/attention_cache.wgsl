// What attention over caches shares: a workgroup has a query and a head, every lane brings a vector
// to each of eight tiles of values, which are loaded while scores are computed. Who imports this
// has the bindings q, kv and key_range, and HEAD_DIM.
const GROUP_SIZE: u32 = 256u;
const CHUNK: u32 = 512u;          // keys whose weights lie in workgroup memory at a time
const COLS: u32 = HEAD_DIM / 4u;  // vectors of a head
const TILE: u32 = GROUP_SIZE / COLS;  // keys of a tile
const BATCH: u32 = 8u * TILE;     // keys whose values are loaded ahead

// What a lane brings to each of eight tiles.
struct Batch {
    v_0: vec4<f32>,
    v_1: vec4<f32>,
    v_2: vec4<f32>,
    v_3: vec4<f32>,
    v_4: vec4<f32>,
    v_5: vec4<f32>,
    v_6: vec4<f32>,
    v_7: vec4<f32>,
}

fn value_at(key: u32, end: u32, offset: u32) -> vec4<f32> {
    return vec4<f32>(kv[min(key, end - 1u) * (params.kv_stride / 4u) + offset]);
}

fn batch_at(key: u32, end: u32, offset: u32) -> Batch {
    return Batch(
        value_at(key, end, offset), value_at(key + TILE, end, offset),
        value_at(key + 2u * TILE, end, offset), value_at(key + 3u * TILE, end, offset),
        value_at(key + 4u * TILE, end, offset), value_at(key + 5u * TILE, end, offset),
        value_at(key + 6u * TILE, end, offset), value_at(key + 7u * TILE, end, offset));
}
