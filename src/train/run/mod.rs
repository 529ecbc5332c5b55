//! The job behind `blt train`: a run from a configuration to checkpoints, that can be stopped at
//! any step and resumed with the same numbers.
//!
//! A [`Run`] is a state machine: every [`Run::step`] does one thing, an update of the weights, an
//! evaluation, or a checkpoint, and says which as an [`Event`].
//!
//! ```text
//! RUN/metrics.jsonl                     a line every logging.freq updates
//! RUN/samples.jsonl                     texts that the model wrote, every sample.every updates
//! RUN/tensorboard/                      the same for TensorBoard
//! RUN/checkpoints/latest                the name of the newest checkpoint
//! RUN/checkpoints/best                  the name of the one with the best score on held-out text
//! RUN/checkpoints/step-0000001000/      a model directory, and beside the model:
//!     config.toml                       the configuration, every default written out
//!     train_state.json                  step, place in the texts, words of the device, schedule
//!     optimizer-00001.safetensors ..    `<tensor>.moment1`, `<tensor>.moment2`
//!     plan.json                         what the run was compiled to, device and driver
//! ```

mod advice;
mod ahead;
mod best;
mod evaluation;
mod event_file;
mod figures;
mod interval;
mod job;
mod metrics_file;
mod models;
mod moments;
mod plan;
mod resume;
mod samples;
mod save;
mod sharing;
mod start;
mod state;

pub use evaluation::{HeldOut, HeldOutOptions};
pub use figures::MAX_SKIPPED_IN_A_ROW;
pub use job::{Event, Run};
pub use models::{RunModel, load_entropy_model, run_model};
pub use samples::{SampleLine, parse_samples};
pub use start::Start;
