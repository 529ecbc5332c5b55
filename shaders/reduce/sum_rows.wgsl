// Sums over the rows of several matrices: out[out_offset + col] = sum of x[x_offset + row * cols +
// col] over the rows of a part (+ what out holds). split_count invocations share a column: each
// adds every split_count-th row, in order, then a tree over them.
#import shared/step
#import shared/wide

struct Part {
    rows: u32,
    cols: u32,
    x_offset: u32,
    out_offset: u32,
    split_count: u32,
    first_group: u32,
    reserved_0: u32,
    reserved_1: u32,
}

struct Params {
    part_count: u32,
    accumulate: u32,
    reserved_0: u32,
    reserved_1: u32,
    parts: array<Part, 32>,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(2) var<storage, read> x: array<number>;          // [elements of all parts]
@group(0) @binding(3) var<storage, read_write> out: array<number>;  // [elements of an arena]

const WIDTH: u32 = 256u;

var<workgroup> sums: array<number, WIDTH>;

@compute @workgroup_size(WIDTH)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let index = group.x + group.y * groups.x;
    var place = 0u;
    while (place + 1u < params.part_count && params.parts[place + 1u].first_group <= index) {
        place++;
    }
    let part = params.parts[place];
    let split_count = part.split_count;
    let width = WIDTH / split_count;  // columns of a workgroup
    let split = lane / width;
    let cols = part.cols / LANES;
    let col = (index - part.first_group) * width + lane % width;
    var sum = number();
    if (col < cols) {
        let first = part.x_offset / LANES + col;
        let stride = split_count * cols;
        var at = first + split * cols;
        var row = split;
        for (; row + 3u * split_count < part.rows; row += 4u * split_count) {
            // Four loads on their way at a time, added in their order.
            let x_0 = x[at];
            let x_1 = x[at + stride];
            let x_2 = x[at + 2u * stride];
            let x_3 = x[at + 3u * stride];
            sum = (((sum + x_0) + x_1) + x_2) + x_3;
            at += 4u * stride;
        }
        for (; row < part.rows; row += split_count) {
            sum += x[at];
            at += stride;
        }
    }
    if (split_count > 1u) {
        sums[lane] = sum;
        for (var half = split_count / 2u; half > 0u; half /= 2u) {
            workgroupBarrier();  // the upper half is complete before the lower half adds it
            if (split < half) {
                sums[lane] += sums[lane + half * width];
            }
        }
        sum = sums[lane];  // the first of a column wrote its total itself
    }
    if (split == 0u && col < cols) {
        let at = part.out_offset / LANES + col;
        if (params.accumulate != 0u) {
            sum += out[at];
        }
        out[at] = sum;
    }
}
