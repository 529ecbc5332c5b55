//! A run as one page, `report.html`, a benchmark of several machines as another, and training runs
//! over each other as a third, all complete in themselves.
//!
//! The charts are SVG written by hand and not by a plotting crate: their colours are the page's CSS
//! variables, so one picture serves a light and a dark page and a printer, and their labels are
//! HTML over a stretched drawing, so they keep their size on a phone. Nothing is loaded from
//! anywhere; the few lines of script only tell what is under the pointer.

mod axis;
mod bars;
mod card;
mod chart;
mod curves;
mod headline;
mod machines;
mod markup;
mod page;
mod patching;
mod runs;
mod samples;
mod strip;
#[cfg(test)]
mod tests;

pub use machines::render as render_machines;
pub use page::render;
pub use runs::render as render_runs;
