//! The program `blt`.

mod cli;

fn main() -> std::process::ExitCode {
    cli::main()
}
