//! Training runs as one page: curves over each other, patches, and what the models wrote.

mod charts;
mod page;
mod run;
#[cfg(test)]
mod tests;

pub use page::render;
