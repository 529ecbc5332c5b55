//! Fuzzing with the checks of `checks/tensors.rs`.
#![no_main]

#[path = "../checks/tensors.rs"]
mod tensors;

libfuzzer_sys::fuzz_target!(|data: &[u8]| tensors::check(data));
