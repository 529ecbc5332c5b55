// ids[row] = the id that follows a row of logits: the one that is forced; else, at temperature 0,
// the likeliest that is not banned, the lowest of equal ones; else the one whose share of what
// top-k, top-p and min-p keep holds the row's uniform number. status[row] says what went wrong, and
// ids[row] is 0 then.
//
// A row of choice is: forced, top_k, the bits of temperature, repetition_penalty, top_p, min_p and
// uniform, a zero; a bit an id that is banned; a bit an id that was seen. One row a workgroup.
#import shared/step
#import shared/finite

struct Params {
    rows: vec2<u32>,
    classes: u32,
    reserved: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(2) var<storage, read> logits: array<f32>;        // [rows, classes]
@group(0) @binding(3) var<storage, read> choice: array<u32>;        // [rows, 8 + 2 * classes / 32]
@group(0) @binding(4) var<storage, read_write> ids: array<u32>;     // [rows]
@group(0) @binding(5) var<storage, read_write> status: array<u32>;  // [rows]

const WIDTH: u32 = 64u;
const RULE_WORDS: u32 = 8u;
const NONE: u32 = 0xFFFFFFFFu;
const CHOSEN: u32 = 0u;
const NOT_FINITE: u32 = 1u;
const ALL_BANNED: u32 = 2u;
const LOWEST: f32 = -3.4e38;
// Beyond it what follows might be infinite.
const LARGEST_LOGIT: f32 = 1e30;

var<workgroup> best_of_lane: array<f32, WIDTH>;
var<workgroup> id_of_lane: array<u32, WIDTH>;
var<workgroup> wrong_of_lane: array<u32, WIDTH>;
// After the penalty; those of banned ids are the lowest.
var<workgroup> adjusted: array<f32, CLASSES>;
// Shares of ids, not yet of a sum of 1; 0: it may not be chosen.
var<workgroup> weights: array<f32, CLASSES>;
var<workgroup> kept: array<f32, CLASSES>;
var<workgroup> sum_of_lane: array<f32, WIDTH>;
var<workgroup> last_of_lane: array<u32, WIDTH>;

fn finish(row: u32, id: u32, wrong: u32) {
    let forced = choice[row * (RULE_WORDS + 2u * ((params.classes + 31u) / 32u))];
    var state = select(CHOSEN, ALL_BANNED, id == NONE);
    state = select(state, NOT_FINITE, wrong == 1u);
    var chosen = id;
    if (forced < params.classes) {
        chosen = forced;
        state = CHOSEN;
    }
    ids[row] = select(0u, chosen, state == CHOSEN);
    status[row] = state;
}

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
    let classes = params.classes;
    let words = (classes + 31u) / 32u;
    let rule = row * (RULE_WORDS + 2u * words);
    let banned = rule + RULE_WORDS;
    let seen = banned + words;
    let temperature = bitcast<f32>(choice[rule + 2u]);
    let penalty = bitcast<f32>(choice[rule + 3u]);
    var best = 0.0;
    var best_id = NONE;
    var wrong = 0u;
    for (var id = lane; id < classes; id += WIDTH) {
        var logit = logits[row * classes + id];
        if (!is_finite(logit) || abs(logit) > LARGEST_LOGIT) {
            wrong = 1u;
        }
        let is_seen = ((choice[seen + id / 32u] >> (id % 32u)) & 1u) == 1u;
        if (is_seen && penalty != 1.0) {
            logit = select(logit * penalty, logit / penalty, logit > 0.0);
        }
        let is_banned = ((choice[banned + id / 32u] >> (id % 32u)) & 1u) == 1u;
        adjusted[id] = select(logit, LOWEST, is_banned);
        weights[id] = select(1.0, 0.0, is_banned);
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
    if (temperature == 0.0 || choice[rule] < classes) {
        if (lane == 0u) {
            finish(row, best_id, wrong);
        }
        return;
    }

    workgroupBarrier();  // lane 0 has the best of all before the others read it
    let largest = best_of_lane[0];
    let likeliest = min(id_of_lane[0], classes - 1u);
    for (var id = lane; id < classes; id += WIDTH) {
        if (weights[id] > 0.0) {
            // What lies beyond is 0 as well, and the quotient may be too large for a number.
            weights[id] = exp(max((adjusted[id] - largest) / temperature, -200.0));
        }
    }
    let top_k = choice[rule + 1u];
    if (top_k > 0u) {
        for (var id = lane; id < classes; id += WIDTH) {
            var likelier = 0u;
            for (var other = 0u; other < classes; other++) {
                likelier += select(0u, 1u, adjusted[other] > adjusted[id]);
            }
            if (likelier >= top_k) {
                weights[id] = 0.0;
            }
        }
    }
    workgroupBarrier();  // all weights are there before they are added up
    let top_p = bitcast<f32>(choice[rule + 4u]);
    let min_p = bitcast<f32>(choice[rule + 5u]);
    for (var id = lane; id < classes; id += WIDTH) {
        var weight = weights[id];
        if (top_p > 0.0) {
            var sum = 0.0;
            var before = 0.0;
            for (var other = 0u; other < classes; other++) {
                let share = weights[other];
                let is_before = adjusted[other] > adjusted[id]
                    || (adjusted[other] == adjusted[id] && other < id);
                sum += share;
                before += select(0.0, share, is_before);
            }
            if (before > top_p * sum) {
                weight = 0.0;
            }
        }
        // The likeliest is never dropped.
        if (weight < min_p * weights[likeliest]) {
            weight = 0.0;
        }
        kept[id] = weight;
    }

    workgroupBarrier();  // all that is kept is there before lanes add up the ids of their part
    let part = (classes + WIDTH - 1u) / WIDTH;
    let begin = min(lane * part, classes);
    let end = min(begin + part, classes);
    var part_sum = 0.0;
    for (var id = begin; id < end; id++) {
        part_sum += kept[id];
    }
    sum_of_lane[lane] = part_sum;
    workgroupBarrier();  // the sums of all parts are there before they are added up
    var total = 0.0;
    var below = 0.0;
    for (var other = 0u; other < WIDTH; other++) {
        below = select(below, total, other == lane);
        total += sum_of_lane[other];
    }
    let drawn = bitcast<f32>(choice[rule + 6u]) * total;
    var first = NONE;
    var last = NONE;
    for (var id = begin; id < end; id++) {
        if (kept[id] > 0.0) {
            below += kept[id];
            last = id;
            if (first == NONE && drawn < below) {
                first = id;
            }
        }
    }
    id_of_lane[lane] = first;
    last_of_lane[lane] = last;
    workgroupBarrier();  // lane 0 reads what all lanes have found
    if (lane > 0u) {
        return;
    }
    // Where rounding left the sum under what is drawn, the last possible id has the rest.
    var chosen = NONE;
    for (var other = WIDTH; other > 0u; other--) {
        if (id_of_lane[other - 1u] != NONE) {
            chosen = id_of_lane[other - 1u];
        } else if (chosen == NONE) {
            chosen = last_of_lane[other - 1u];
        }
    }
    finish(row, chosen, wrong);
}
