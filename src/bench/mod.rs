//! The benchmark behind `blt bench`: what a device can do at best, what every kernel, a forward
//! pass, a training step and generation make of it, as rows that machines and people can compare.
//!
//! A [`Bench`] is a state machine over a list of [`Part`]s; every [`Bench::step`] gives the next
//! [`BenchRow`]. What cannot run is a row too, with the reason.

mod arithmetic;
mod compare;
mod cost;
mod device_id;
mod fresh;
mod gemm;
mod generating;
mod isolate;
mod job;
mod kernel_list;
mod markdown;
mod memory;
mod parts;
mod peaks;
mod profile;
mod profile_table;
mod roofline;
mod row;
mod samples;
mod shape;
mod stepping;
mod timing;
mod trace;
mod tuned_file;
mod tuner;
mod verified;
mod work;

pub use crate::blt::Memory;
pub use arithmetic::peak_flops;
pub use compare::{Change, Comparison, compare, comparison_table};
pub use device_id::DeviceId;
pub use job::{Bench, BenchOptions, Clock, Event, Part};
pub use markdown::{markdown, rate_text, short_number};
pub use memory::training_recordings;
pub use profile::{DispatchTime, Profile, ProfileLine};
pub use roofline::{Rate, Roofline};
pub use row::{BenchRow, SCHEMA, Status};
pub use samples::{Spread, median, spread};
pub use shape::{BenchShape, PRECISIONS, SHAPE_NAMES, precision_name};
pub use trace::chrome_trace;
pub use tuned_file::{TunedChoice, TunedFile};
pub use tuner::{Coverage, TuneEvent, Tuner};
