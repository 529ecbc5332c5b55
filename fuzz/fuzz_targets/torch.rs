//! Fuzzing with the checks of `checks/torch.rs`.
#![no_main]

#[path = "../checks/torch.rs"]
mod torch;

libfuzzer_sys::fuzz_target!(|data: &[u8]| torch::check(data));
