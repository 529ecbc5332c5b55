//! What the three streams share: parameters, workgroups, sizes of cases.

use crate::kernels::{Axis, Counts, Extent, Step};
use bytemuck::{Pod, Zeroable};

/// The `Params` uniform of `bench/stream_*.wgsl`.
#[derive(Clone, Copy, Debug, PartialEq, Pod, Zeroable)]
#[repr(C)]
pub struct Params {
    /// Vectors of four elements.
    pub vectors: Extent,
    /// Workgroups of the grid that strides over them.
    pub group_count: u32,
    /// What a write writes.
    pub value: f32,
}

const _: () = assert!(size_of::<Params>() == 16);

/// Invocations a workgroup; `WIDTH` in the shaders.
pub const WIDTH: usize = 256;
/// Elements of a vector.
pub const LANES: usize = 4;
/// Elements a thread of the CPU variants takes at a time.
pub const CHUNK: usize = 1 << 16;

/// Workgroups beyond which more bring nothing, on any device.
pub const MOST_STREAM_GROUPS: usize = 16_384;

impl Params {
    /// A stream over so many vectors.
    pub fn new(vectors: Extent, vector_count: usize) -> Self {
        let groups = vector_count.div_ceil(WIDTH).clamp(1, MOST_STREAM_GROUPS);
        Self { vectors, group_count: groups as u32, value: 0.0 }
    }

    pub fn element_count(&self, counts: &Counts) -> usize {
        self.vectors.length(counts) * LANES
    }
}

/// The workgroups of a stream.
pub fn groups(params: &[u8], _counts: &Counts) -> [u32; 3] {
    let params: Params = bytemuck::pod_read_unaligned(params);
    [params.group_count, 1, 1]
}

/// Parameters, step and number of vectors of the cases: a grid larger and smaller than the vectors.
pub fn shapes() -> Vec<(Params, Step, usize)> {
    let shape = |(vectors, groups): (usize, u32)| {
        let mut params = Params::new(Extent::of(Axis::Bytes), vectors);
        params.group_count = groups;
        params.value = 2.5;
        (params, Step::of(Counts::default().with(Axis::Bytes, vectors)), vectors)
    };
    [(1, 1), (77, 2), (256, 1), (5003, 3), (70_001, 7)].into_iter().map(shape).collect()
}
