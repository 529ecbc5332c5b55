//! How kernels that treat every element alike are spread over workgroups and over threads.
//!
//! On a GPU a grid of at most 4,096 workgroups strides over the elements: it keeps any
//! device busy, and no count of elements needs a second dimension. On the CPU every thread takes
//! chunks of [`CHUNK`] elements.

/// Invocations a workgroup; `WIDTH` in the shaders.
const WIDTH: usize = 256;

/// Workgroups beyond which the grid strides instead of growing.
const MOST_GROUPS: usize = 4096;

/// Elements a thread takes at a time: enough to pay for handing them out, few enough to stay in
/// its cache.
pub const CHUNK: usize = 1 << 14;

/// Elements from which on the grid strides; test cases go beyond.
pub const STRIDING_COUNT: usize = WIDTH * MOST_GROUPS;

/// The workgroups for `count` elements.
pub fn elementwise_groups(count: usize) -> [u32; 3] {
    [count.div_ceil(WIDTH).clamp(1, MOST_GROUPS) as u32, 1, 1]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_grid_grows_up_to_its_limit() {
        let groups = |count| elementwise_groups(count)[0];
        assert_eq!([0, 1, 256, 257].map(groups), [1, 1, 1, 2]);
        assert_eq!([STRIDING_COUNT - 256, STRIDING_COUNT + 1].map(groups), [4095, 4096]);
    }
}
