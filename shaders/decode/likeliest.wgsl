// ids[row] = the id with the largest of the row's logits that is not banned, the lowest of equal
// ones; forced[row] where that is an id. status[row] says what went wrong, and ids[row] is 0 then.
// One row a workgroup.
#import shared/step
#import shared/finite

struct Params {
    rows: vec2<u32>,
    classes: u32,
    reserved: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(2) var<storage, read> logits: array<f32>;        // [rows, classes]
@group(0) @binding(3) var<storage, read> banned: array<u32>;        // [rows, classes / 32], bits
@group(0) @binding(4) var<storage, read> forced: array<u32>;        // [rows]
@group(0) @binding(5) var<storage, read_write> ids: array<u32>;     // [rows]
@group(0) @binding(6) var<storage, read_write> status: array<u32>;  // [rows]

const WIDTH: u32 = 64u;
const NONE: u32 = 0xFFFFFFFFu;
const CHOSEN: u32 = 0u;
const NOT_FINITE: u32 = 1u;
const ALL_BANNED: u32 = 2u;

var<workgroup> best_of_lane: array<f32, WIDTH>;
var<workgroup> id_of_lane: array<u32, WIDTH>;
var<workgroup> wrong_of_lane: array<u32, WIDTH>;

@compute @workgroup_size(WIDTH)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let row = group.x + group.y * groups.x;
    if (row >= length_of(params.rows)) {
        return;
    }
    let words = (params.classes + 31u) / 32u;
    var best = 0.0;
    var best_id = NONE;
    var wrong = 0u;
    for (var id = lane; id < params.classes; id += WIDTH) {
        let logit = logits[row * params.classes + id];
        if (!is_finite(logit)) {
            wrong = 1u;
        }
        let is_banned = ((banned[row * words + id / 32u] >> (id % 32u)) & 1u) == 1u;
        if (!is_banned && (best_id == NONE || logit > best)) {
            best = logit;
            best_id = id;
        }
    }
    best_of_lane[lane] = best;
    id_of_lane[lane] = best_id;
    wrong_of_lane[lane] = wrong;
    for (var half = WIDTH / 2u; half > 0u; half /= 2u) {
        workgroupBarrier();  // the upper half is complete before the lower half compares with it
        if (lane < half) {
            let value = best_of_lane[lane + half];
            let other = id_of_lane[lane + half];
            if (other != NONE
                && (best_id == NONE || value > best || (value == best && other < best_id))) {
                best = value;
                best_id = other;
            }
            wrong |= wrong_of_lane[lane + half];
            best_of_lane[lane] = best;
            id_of_lane[lane] = best_id;
            wrong_of_lane[lane] = wrong;
        }
    }
    if (lane > 0u) {
        return;
    }
    var state = select(CHOSEN, ALL_BANNED, best_id == NONE);
    state = select(state, NOT_FINITE, wrong == 1u);
    if (forced[row] < params.classes) {
        best_id = forced[row];
        state = CHOSEN;
    }
    ids[row] = select(0u, best_id, state == CHOSEN);
    status[row] = state;
}
