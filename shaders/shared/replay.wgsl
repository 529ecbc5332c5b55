// A row replays the steps that it has missed, each with a gradient of zero. Needs shared/adamw,
// params.cols and record_count, and the bindings records, weight, moment1 and moment2.

const WIDTH: u32 = 128u;

// Steps last + 1 to applied of a row of the shard, by the lanes of one workgroup.
fn replay(row: u32, last: u32, applied: u32, lane: u32) {
    let cols = params.cols / LANES;
    for (var at = row * cols + lane; at < (row + 1u) * cols; at += WIDTH) {
        var element = Element(weight[at], moment1[at], moment2[at]);
        var record = last % params.record_count;
        for (var missed = last; missed < applied; missed++) {
            record = select(record + 1u, 0u, record + 1u == params.record_count);
            let factors = records[record];
            element = adamw_step(element, number(), Factors(factors.x, factors.y, factors.z));
        }
        weight[at] = element.weight;
        moment1[at] = element.moment1;
        moment2[at] = element.moment2;
    }
}
