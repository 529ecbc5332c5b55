// partial[group] = (sum of squares, 1 if anything is not finite) over the elements of the group,
// one group a workgroup, of the gradient of a whole table, of which only touched rows lie in
// memory. Every lane adds what it adds in grad_norm, in the same order, and leaves out zeros.
#import shared/step
#import shared/finite

struct Params {
    touched: vec2<u32>,
    cols: u32,
    first_row: u32,
    row_count: u32,
    length: u32,
    group_elements: u32,
    group_count: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(2) var<storage, read> rows: array<u32>;           // [touched], increasing
@group(0) @binding(3) var<storage, read> slots: array<u32>;          // [touched]
@group(0) @binding(4) var<storage, read> gradient: array<f32>;       // [slots, cols]
@group(0) @binding(5) var<storage, read_write> partial: array<f32>;  // [group_count, 2]

const WIDTH: u32 = 256u;

var<workgroup> lanes: array<vec2<f32>, WIDTH>;  // squares, flag

// The first touched row that is not before `row`.
fn first_touched(row: u32) -> u32 {
    var low = 0u;
    var high = length_of(params.touched);
    while (low < high) {
        let middle = low + (high - low) / 2u;
        if (rows[middle] < row) {
            low = middle + 1u;
        } else {
            high = middle;
        }
    }
    return low;
}

@compute @workgroup_size(WIDTH)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let index = group.x + group.y * groups.x;
    if (index >= params.group_count) {
        return;
    }
    let cols = params.cols;
    let first = index * params.group_elements;
    let end = min(first + params.group_elements, params.row_count * cols);
    let end_row = params.first_row + (end + cols - 1u) / cols;
    var sums = vec2<f32>();
    if (first < end) {
        let touched = length_of(params.touched);
        var at = first_touched(params.first_row + first / cols);
        for (; at < touched && rows[at] < end_row; at++) {
            let row = (rows[at] - params.first_row) * cols;
            let begin = max(row, first);
            // The lane that takes an element is its place in the group modulo WIDTH.
            var element = begin + (lane + WIDTH - (begin - first) % WIDTH) % WIDTH;
            for (; element < min(row + cols, end); element += WIDTH) {
                let value = gradient[slots[at] * cols + element - row];
                if (is_finite(value)) {
                    sums.x += value * value;
                } else {
                    sums.y = 1.0;
                }
            }
        }
    }
    lanes[lane] = sums;
    for (var half = WIDTH / 2u; half > 0u; half /= 2u) {
        workgroupBarrier();  // the upper half is complete before the lower half adds it
        if (lane < half) {
            lanes[lane] += lanes[lane + half];
        }
    }
    // Lane 0 wrote the total itself.
    if (lane == 0u) {
        partial[2u * index] = lanes[0].x;
        partial[2u * index + 1u] = min(lanes[0].y, 1.0);
    }
}
