// Parameters of attention and of both its gradients, whatever the variant.
#import shared/step

struct Params {
    queries: vec2<u32>,
    keys: vec2<u32>,
    head_count: u32,
    kv_head_count: u32,
    head_dim: u32,
    query_factor: u32,
    key_factor: u32,
    query_stride: u32,
    query_offset: u32,
    kv_stride: u32,
    key_offset: u32,
    value_offset: u32,
    scale: f32,
    keys_per_query: u32,
    few_keys: u32,
    zero: u32,  // always, which the compiler must not know
    reserved_0: u32,
    reserved_1: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
