// Reductions over the WIDTH lanes of a workgroup, WIDTH a power of two that the importer defines.
// Every lane gets the result, and the order of the additions is fixed.

var<workgroup> lane_values: array<f32, WIDTH>;

fn sum_of_row(lane: u32, value: f32) -> f32 {
    lane_values[lane] = value;
    for (var half = WIDTH / 2u; half > 0u; half /= 2u) {
        workgroupBarrier();  // the upper half is complete before the lower half adds it
        if (lane < half) {
            lane_values[lane] += lane_values[lane + half];
        }
    }
    workgroupBarrier();  // the first lane holds the sum
    let sum = lane_values[0];
    workgroupBarrier();  // everybody has read it before the next reduction overwrites it
    return sum;
}

fn largest_of_row(lane: u32, value: f32) -> f32 {
    lane_values[lane] = value;
    for (var half = WIDTH / 2u; half > 0u; half /= 2u) {
        workgroupBarrier();  // the upper half is complete before the lower half compares with it
        if (lane < half) {
            lane_values[lane] = max(lane_values[lane], lane_values[lane + half]);
        }
    }
    workgroupBarrier();  // the first lane holds the largest
    let largest = lane_values[0];
    workgroupBarrier();  // everybody has read it before the next reduction overwrites it
    return largest;
}
