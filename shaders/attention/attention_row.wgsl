// out = softmax(scale q k^T) v where every query sees one contiguous range of keys, and the bits of
// a row depend on that range alone: not on other rows, nor on where it lies.
// A workgroup owns QUERIES queries of one head, components of a vec4, and walks the union of their
// ranges, WIDTH keys at a time, a key a lane. What a row does not see weighs exactly zero, so each
// sum takes the row's own keys in their order. A weight 2^t is split into 2^fraction and a power of
// two; the maximum enters the power alone. So rescaling is exact, and where in the walk a maximum
// is found changes no bit.
#import shared/attention

@group(0) @binding(2) var<storage, read> q: array<f32>;          // [queries, query_stride]
@group(0) @binding(3) var<storage, read> kv: array<f32>;         // [keys, kv_stride]
@group(0) @binding(4) var<storage, read> key_range: array<u32>;  // [entries, 2]
@group(0) @binding(5) var<storage, read_write> out: array<f32>;  // [queries, cols]

const CHUNK: u32 = 32u;  // columns of the keys that lie in workgroup memory at a time
const PITCH: u32 = WIDTH + 1u;  // odd, so that columns start in different banks
const PARTS: u32 = 8u;  // lanes that look for the largest exponent
const LOG2_E: f32 = 1.4426950408889634;
const NO_SCORE: i32 = -1048576;

var<workgroup> q_tile: array<vec4<f32>, HEAD_DIM>;     // [HEAD_DIM, rows], times scale / ln 2
var<workgroup> k_tile: array<f32, CHUNK * PITCH>;      // [CHUNK, keys]
var<workgroup> weights: array<vec4<f32>, WIDTH>;       // [keys, rows]
var<workgroup> exponents: array<vec4<i32>, WIDTH>;     // [keys, rows], powers of two in weights
var<workgroup> largest: array<vec4<i32>, PARTS>;       // of a part of the keys

// Keys that a row sees; none for a row that is not there.
fn range_of(row_0: u32, offset: u32, count: u32) -> vec2<u32> {
    let row = row_0 + offset;
    if (offset >= QUERIES || row >= count) {
        return vec2<u32>();
    }
    let entry = row / params.query_factor * 2u;
    return vec2<u32>(key_range[entry], key_range[entry + 1u]) * params.key_factor;
}

// The smallest range that holds both; an empty one holds nothing.
fn united(a: vec2<u32>, b: vec2<u32>) -> vec2<u32> {
    if (a.x >= a.y) {
        return b;
    }
    if (b.x >= b.y) {
        return a;
    }
    return vec2<u32>(min(a.x, b.x), max(a.y, b.y));
}

fn q_at(row_0: u32, offset: u32, count: u32, col: u32) -> f32 {
    if (offset >= QUERIES || row_0 + offset >= count) {
        return 0.0;
    }
    return q[(row_0 + offset) * params.query_stride + col];
}

// 2^exponent, zero below the smallest normal number; what nobody sees may ask for more than one.
fn power_of_two(exponent: vec4<i32>) -> vec4<f32> {
    let biased = clamp(exponent, vec4<i32>(-127), vec4<i32>(0)) + vec4<i32>(127);
    return bitcast<vec4<f32>>(vec4<u32>(biased) << vec4<u32>(23u));
}

fn store(row_0: u32, offset: u32, count: u32, head: u32, col: u32, value: f32) {
    if (offset < QUERIES && row_0 + offset < count) {
        out[((row_0 + offset) * params.head_count + head) * HEAD_DIM + col] = value;
    }
}

fn store_col(row_0: u32, count: u32, head: u32, col: u32, values: vec4<f32>) {
    if (col >= HEAD_DIM) {
        return;
    }
    store(row_0, 0u, count, head, col, values.x);
    store(row_0, 1u, count, head, col, values.y);
    store(row_0, 2u, count, head, col, values.z);
    store(row_0, 3u, count, head, col, values.w);
}

@compute @workgroup_size(WIDTH)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let index = group.x + group.y * groups.x;
    let count = length_of(params.queries);
    let head = index % params.head_count;
    let row_0 = index / params.head_count * QUERIES;
    if (row_0 >= count) {
        return;
    }
    let kv_head = head / (params.head_count / params.kv_head_count);
    let q_offset = params.query_offset + head * HEAD_DIM;
    let k_offset = params.key_offset + kv_head * HEAD_DIM;
    let v_offset = params.value_offset + kv_head * HEAD_DIM;

    let range_0 = range_of(row_0, 0u, count);
    let range_1 = range_of(row_0, 1u, count);
    let range_2 = range_of(row_0, 2u, count);
    let range_3 = range_of(row_0, 3u, count);
    let low = vec4<u32>(range_0.x, range_1.x, range_2.x, range_3.x);
    let high = vec4<u32>(range_0.y, range_1.y, range_2.y, range_3.y);
    let walk = united(united(range_0, range_1), united(range_2, range_3));

    let factor = params.scale * LOG2_E;
    for (var col = lane; col < HEAD_DIM; col += WIDTH) {
        let at = q_offset + col;
        q_tile[col] = factor * vec4<f32>(
            q_at(row_0, 0u, count, at), q_at(row_0, 1u, count, at),
            q_at(row_0, 2u, count, at), q_at(row_0, 3u, count, at));
    }

    // A lane sums up to two columns of the values; those beyond the head compute along.
    let col_0 = min(lane, HEAD_DIM - 1u);
    let col_1 = min(lane + WIDTH, HEAD_DIM - 1u);
    var sum_0 = vec4<f32>();
    var sum_1 = vec4<f32>();
    var total = vec4<f32>();
    var former = vec4<i32>(NO_SCORE);
    for (var key_0 = walk.x; key_0 < walk.y; key_0 += WIDTH) {
        let key_count = min(WIDTH, walk.y - key_0);
        var score = vec4<f32>();
        for (var first = 0u; first < HEAD_DIM; first += CHUNK) {
            let cols = min(CHUNK, HEAD_DIM - first);
            workgroupBarrier();  // nobody reads the former keys or weights, and q is there
            for (var i = lane; i < WIDTH * CHUNK; i += WIDTH) {
                let key = i / CHUNK;
                let col = i % CHUNK;
                var value = 0.0;
                if (key < key_count && col < cols) {
                    value = kv[(key_0 + key) * params.kv_stride + k_offset + first + col];
                }
                k_tile[col * PITCH + key] = value;
            }
            workgroupBarrier();  // the keys are there
            for (var col = 0u; col < cols; col++) {
                let term = vec4<f32>(k_tile[col * PITCH + lane]);
                score = fma(q_tile[first + col], term, score);
            }
        }
        let key = vec4<u32>(key_0 + lane);
        let seen = (key >= low) & (key < high);
        let whole = floor(score);
        let exponent = vec4<i32>(whole);
        exponents[lane] = select(vec4<i32>(NO_SCORE), exponent, seen);
        workgroupBarrier();  // the exponents of all keys are there
        if (lane < PARTS) {
            var most = exponents[lane];
            for (var i = lane + PARTS; i < WIDTH; i += PARTS) {
                most = max(most, exponents[i]);
            }
            largest[lane] = most;
        }
        workgroupBarrier();  // the largest of each part are there
        var now = former;
        for (var i = 0u; i < PARTS; i++) {
            now = max(now, largest[i]);
        }
        let weight = exp2(score - whole) * power_of_two(exponent - now);
        weights[lane] = select(vec4<f32>(), weight, seen);
        let correction = power_of_two(former - now);
        former = now;
        sum_0 *= correction;
        sum_1 *= correction;
        total *= correction;
        workgroupBarrier();  // the weights are there
        for (var i = 0u; i < key_count; i++) {
            let at = (key_0 + i) * params.kv_stride + v_offset;
            let weight_of_key = weights[i];
            total += weight_of_key;
            sum_0 = fma(weight_of_key, vec4<f32>(kv[at + col_0]), sum_0);
            if (HEAD_DIM > WIDTH) {
                sum_1 = fma(weight_of_key, vec4<f32>(kv[at + col_1]), sum_1);
            }
        }
    }

    // A row without keys has a total of zero and sums of zero.
    let inverse = 1.0 / max(total, vec4<f32>(1e-30));
    store_col(row_0, count, head, lane, sum_0 * inverse);
    store_col(row_0, count, head, lane + WIDTH, sum_1 * inverse);
}
