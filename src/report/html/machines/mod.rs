//! A benchmark as one page: machines side by side, their peaks, a roofline, kernels, steps.

mod groups;
mod machine;
mod page;
mod roofline;
#[cfg(test)]
mod tests;

pub use page::render;
