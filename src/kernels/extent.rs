//! How long an axis is: a constant, or a multiple of a count that is known only when a step runs.
//!
//! Plans are compiled for capacities; what is really there is a handful of counts in the [`Step`]
//! uniform. A kernel is handed [`Extent`]s and multiplies them out itself.
//!
//! [`Step`]: super::Step

use bytemuck::{Pod, Zeroable};

/// Number of slots for counts in the `Step` uniform.
pub const AXIS_COUNT: usize = 8;

/// An axis whose length changes from step to step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum Axis {
    /// Always one; multiples of it are constants.
    One = 0,
    /// Bytes of all rows of the batch, one after the other.
    Bytes = 1,
    /// Patches of all rows of the batch.
    Patches = 2,
    /// Rows of the byte embedding table that the batch touches.
    ByteRows = 3,
    /// Rows of the hash tables that the batch touches.
    HashRows = 4,
    /// Independent rows of the batch.
    Rows = 5,
    /// Patches that some byte of the decoder looks at.
    SeenPatches = 6,
    /// Bytes that are part of a concatenated patch vector.
    SeenBytes = 7,
}

impl Axis {
    const ALL: [(Self, &'static str); 8] = [
        (Self::One, "1"),
        (Self::Bytes, "bytes"),
        (Self::Patches, "patches"),
        (Self::ByteRows, "byte_rows"),
        (Self::HashRows, "hash_rows"),
        (Self::Rows, "rows"),
        (Self::SeenPatches, "seen_patches"),
        (Self::SeenBytes, "seen_bytes"),
    ];
}

/// `factor` times the count of an axis. Eight bytes, as kernels see it: `vec2<u32>`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Pod, Zeroable)]
#[repr(C)]
pub struct Extent {
    axis: u32,
    factor: u32,
}

impl Extent {
    /// A length that never changes.
    pub const fn fixed(length: usize) -> Self {
        Self { axis: Axis::One as u32, factor: length as u32 }
    }

    /// The count of `axis`.
    pub const fn of(axis: Axis) -> Self {
        Self { axis: axis as u32, factor: 1 }
    }

    /// This extent, `factor` times.
    pub const fn times(self, factor: usize) -> Self {
        Self { axis: self.axis, factor: self.factor * factor as u32 }
    }

    /// This extent divided by `divisor`, where that is a whole number for every count.
    pub fn divided_by(self, divisor: usize) -> Option<Self> {
        let divisor = divisor as u32;
        (divisor > 0 && self.factor.is_multiple_of(divisor))
            .then(|| Self { axis: self.axis, factor: self.factor / divisor })
    }

    /// The length under these counts.
    pub fn length(self, counts: &Counts) -> usize {
        counts.0[self.axis as usize] as usize * self.factor as usize
    }

    /// The length, if it never changes.
    pub fn constant(self) -> Option<usize> {
        (self.axis == Axis::One as u32).then_some(self.factor as usize)
    }
}

impl std::fmt::Display for Extent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.axis == Axis::One as u32 {
            return write!(f, "{}", self.factor);
        }
        let name = Axis::ALL.iter().find(|(axis, _)| *axis as u32 == self.axis);
        let name = name.map_or("?", |(_, name)| name);
        if self.factor == 1 { write!(f, "{name}") } else { write!(f, "{}{name}", self.factor) }
    }
}

/// A count for every axis: what a step really holds, or the capacity a plan is compiled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Pod, Zeroable)]
#[repr(C)]
pub struct Counts(pub [u32; AXIS_COUNT]);

impl Default for Counts {
    fn default() -> Self {
        let mut counts = [0; AXIS_COUNT];
        counts[Axis::One as usize] = 1;
        Self(counts)
    }
}

impl Counts {
    /// The same counts with one of them set.
    #[must_use]
    pub fn with(mut self, axis: Axis, count: usize) -> Self {
        assert!(axis != Axis::One, "the axis One always counts one");
        self.0[axis as usize] = u32::try_from(count).expect("counts fit 32 bits");
        self
    }

    /// The count of one axis.
    pub fn get(&self, axis: Axis) -> usize {
        self.0[axis as usize] as usize
    }

    /// Whether every count fits the same count of `capacity`.
    pub fn fit(&self, capacity: &Self) -> bool {
        self.0.iter().zip(&capacity.0).all(|(count, capacity)| count <= capacity)
    }

    /// The larger of the two counts of every axis.
    #[must_use]
    pub fn max(&self, other: &Self) -> Self {
        Self(std::array::from_fn(|axis| self.0[axis].max(other.0[axis])))
    }

    /// Every count rounded up to a bucket, 2^n or 1.5 x 2^n, so that few plans serve many sizes.
    #[must_use]
    pub fn bucketed(&self) -> Self {
        Self(self.0.map(bucket))
    }
}

/// The smallest 2^n or 1.5 x 2^n that is at least `count`; zero stays zero.
fn bucket(count: u32) -> u32 {
    if count <= 2 {
        return count;
    }
    let power = count.next_power_of_two();
    let three_quarters = power / 4 * 3;
    if count <= three_quarters { three_quarters } else { power }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_powers_and_their_midpoints() {
        let of = |counts: [u32; 6]| counts.map(bucket);
        assert_eq!(of([0, 1, 2, 3, 4, 5]), [0, 1, 2, 3, 4, 6]);
        assert_eq!(of([6, 7, 1000, 1024, 1025, 1537]), [6, 8, 1024, 1024, 1536, 2048]);
    }

    #[test]
    fn extents_multiply_counts() {
        let counts = Counts::default().with(Axis::Patches, 7);
        let extent = Extent::of(Axis::Patches).times(4);
        assert_eq!(extent.length(&counts), 28);
        assert_eq!(extent.divided_by(4), Some(Extent::of(Axis::Patches)));
        assert_eq!(extent.divided_by(3), None);
        assert_eq!(Extent::fixed(12).length(&counts), 12);
        assert_eq!(extent.to_string(), "4patches");
    }
}
