//! The program as scripts see it: arguments in, exit codes, stdout and files out. What does not say
//! otherwise runs on the CPU engine.
#![cfg(feature = "cli")]

mod bench;
mod config_json;
mod convert;
mod damaged;
mod data;
mod demo;
mod eval;
mod flops;
mod generate;
#[cfg(feature = "hub")]
mod hub;
#[cfg(all(feature = "hub", unix))]
mod hub_progress;
mod init;
mod interrupt;
mod logits;
mod manners;
mod patch;
mod program;
mod released;
mod submissions;
mod train;
mod tune;
mod weights;
mod written;
