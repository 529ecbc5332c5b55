//! What a run looks like to a person: a page to share and a few lines for a terminal.
//!
//! Everything here is a pure function, data in and `String` out: nothing prints, opens a file or
//! asks for the time. [`RunReport`] is what a run knows about itself, [`html::render`] makes one
//! self-contained page of it, [`paint`] draws patches, curves and histograms in text, and [`live`]
//! does so while a text comes.

pub mod data;
mod figures;
mod glyph;
pub mod html;
pub mod live;
pub mod paint;
pub mod runs;
#[cfg(test)]
mod sample_run;

pub use data::RunReport;
pub use figures::{byte_count, duration, grouped, short_count};
