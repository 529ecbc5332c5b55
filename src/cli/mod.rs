//! The program `blt` around the library: arguments in, results on stdout, progress on stderr.
//!
//! Every command is a file with its arguments and a `run`. Commands parse early and act late; what
//! they do is done by jobs of the library, which never print. Exit codes: 0 done, 1 failed, 2
//! usage, 3 no usable device, 130 stopped by Ctrl-C; a training run that is stopped saves what it
//! has and is done.

mod bench;
mod calibrate;
mod convert;
mod demo;
mod device;
mod devices;
mod entropies;
mod escaped;
mod eval;
mod failure;
mod flops;
mod generate;
mod hub;
mod info;
mod init;
mod interrupt;
mod logits;
mod model;
mod numbers;
mod patch;
mod processor;
mod program;
mod progress;
mod ranks;
mod report;
mod statistics;
mod terminal;
mod train;
mod tune;
mod tuned;
mod weights;

pub use program::main;
