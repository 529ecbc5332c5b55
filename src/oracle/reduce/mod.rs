//! Sums.

pub mod sum;
pub mod sum_rows;

pub use sum::sum;
pub use sum_rows::sum_rows;
