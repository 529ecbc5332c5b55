//! Patching: where a row of ids is cut into patches. Paper §2, spec §3.
//!
//! ```text
//! ids       BOS | T h e ␠ | c a t EOS | (virtual)        N = 9
//! lengths    1  |    4    |     4     |     1            sum N + 1; N without the virtual token
//! ```
//!
//! A patch *starts* at a token that is hard to predict (or after a delimiter, or every so many
//! tokens): that token is the first of its patch, and the decision falls one position earlier.
//! [`Patching`] cuts a whole row at once, [`PatchCutter`] decides token by token while text is
//! being generated; both make the same cuts. [`calibrate_threshold`] finds the threshold for a
//! wanted mean length.

mod bytes_per_patch;
mod calibration;
mod cutter;
mod delimiter;
mod entropy;
mod lengths;
mod mode;
mod space;

pub use bytes_per_patch::{bytes_and_patches, bytes_per_patch};
pub use calibration::{Calibration, Calibrator, calibrate_threshold};
pub use cutter::PatchCutter;
pub use lengths::first_patch_of_one;
pub use mode::{DEFAULT_THRESHOLD, Patching, PatchingMode};

#[cfg(test)]
mod golden_test;
#[cfg(test)]
mod property_test;
