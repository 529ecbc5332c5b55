// What matvec_rope makes of its results: pairs of columns of each head are turned by the angle of
// the row's position, and the columns from kept_from on go into the cache as well, `factor` rows
// into the unit of so many that index[row / factor] says, and once more `mirror` units behind;
// NOWHERE is nowhere.
@group(0) @binding(5) var<storage, read> position: array<u32>;     // [rows]
@group(0) @binding(6) var<storage, read> table: array<f32>;        // [positions, head_dim]
@group(0) @binding(7) var<storage, read> index: array<u32>;        // [rows / factor]
@group(0) @binding(8) var<storage, read_write> out: array<f32>;    // [rows, features]
@group(0) @binding(9) var<storage, read_write> cache: array<f32>;  // [.., features - kept_from]

const NOWHERE: u32 = 0xFFFFFFFFu;
const PAIRS: u32 = FEATURES / 2u;

fn keep(row: u32, feature: u32, value: vec2<f32>) {
    let unit = index[row / params.factor];
    if (feature < params.kept_from || unit == NOWHERE) {
        return;
    }
    let cols = params.features - params.kept_from;
    let at = (unit * params.factor + row % params.factor) * cols + feature - params.kept_from;
    cache[at] = value.x;
    cache[at + 1u] = value.y;
    if (params.mirror > 0u) {
        let behind = at + params.mirror * params.factor * cols;
        cache[behind] = value.x;
        cache[behind + 1u] = value.y;
    }
}

fn finish(row_0: u32, rows: u32, col_0: u32, lane: u32) {
    let row = row_0 + lane / PAIRS;
    let feature = col_0 + lane % PAIRS * 2u;
    if (lane >= ROWS * PAIRS || row >= rows || feature >= params.features) {
        return;
    }
    let result = lane / PAIRS * COLS + lane % PAIRS * 2u;
    let left = results[result];
    let right = results[result + 1u];
    var value = vec2<f32>(left, right);
    if (feature < params.rotated_cols) {
        let angle = position[row] * params.head_dim + feature % params.head_dim;
        let cosine = table[angle];
        let sine = table[angle + 1u];
        value = vec2<f32>(left * cosine - right * sine, left * sine + right * cosine);
    }
    let at = row * params.features + feature;
    out[at] = value.x;
    out[at + 1u] = value.y;
    keep(row, feature, value);
}
