//! What JavaScript sees: a [`Session`] in a Worker. Only conversions; the work is elsewhere.

mod browser;
mod panic;
mod session;
mod training;
mod values;
