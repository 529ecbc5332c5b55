//! Sums.

pub mod lanes;
pub mod sum;
pub mod sum_rows;
