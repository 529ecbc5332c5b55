//! `cargo bench` runs `blt bench kernels`; what follows `--` is handed on:
//! `cargo bench -- --config m --device vulkan`.

use std::process::{Command, ExitCode};

fn main() -> ExitCode {
    let mut arguments: Vec<String> = std::env::args().skip(1).collect();
    // cargo says that this is a benchmark. Without it this is a test run, which times nothing.
    let Some(place) = arguments.iter().position(|argument| argument == "--bench") else {
        return ExitCode::SUCCESS;
    };
    arguments.remove(place);
    let mut command = Command::new(env!("CARGO_BIN_EXE_blt"));
    match command.args(["bench", "kernels"]).args(arguments).status() {
        Ok(status) => ExitCode::from(status.code().map_or(1, |code| code.clamp(0, 255) as u8)),
        Err(error) => {
            eprintln!("error: cannot start blt: {error}");
            ExitCode::FAILURE
        }
    }
}
