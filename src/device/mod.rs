//! A device chosen at run time: the CPU engine or a GPU, behind one type. What runs on any device
//! goes through it; above it only the program, which opens devices, names the engines.

mod engine;
mod measure;
mod traits;

pub use engine::{Device, DevicePlan, DeviceStore};
pub use measure::DispatchTimes;
pub use traits::Identity;
