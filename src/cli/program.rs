//! The command line as a whole.

use super::failure;
use super::interrupt;
use super::terminal::Terminal;
use super::{
    bench, calibrate, convert, demo, devices, entropies, eval, flops, generate, info, init, logits,
    patch, report, statistics, train, tune,
};
use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// Byte Latent Transformers on every GPU: train, measure and generate
///
/// Results go to stdout, progress to stderr; with --json a command prints exactly one line.
#[derive(Parser)]
#[command(name = "blt", version, max_term_width = 100, arg_required_else_help = true)]
#[command(after_help = "Start here: blt demo")]
struct Program {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Demo(demo::Arguments),
    Bench(bench::Arguments),
    Train(train::Arguments),
    Report(report::Arguments),
    Tune(tune::Arguments),
    Generate(generate::Arguments),
    Eval(eval::Arguments),
    Patch(patch::Arguments),
    Entropies(entropies::Arguments),
    Calibrate(calibrate::Arguments),
    Statistics(statistics::Arguments),
    Logits(logits::Arguments),
    Init(init::Arguments),
    Convert(convert::Arguments),
    Flops(flops::Arguments),
    Info(info::Arguments),
    Devices(devices::Arguments),
}

/// Parses the command line, runs the command, and reports what went wrong.
pub fn main() -> ExitCode {
    // Prints help or a usage error and exits with 0 or 2.
    let program = Program::parse();
    let terminal = Terminal::detect();
    let done = interrupt::install().and_then(|()| run(&program.command, &terminal));
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failure::report(&error, &terminal),
    }
}

fn run(command: &Command, terminal: &Terminal) -> anyhow::Result<()> {
    match command {
        Command::Demo(arguments) => demo::run(arguments, terminal),
        Command::Bench(arguments) => bench::run(arguments, terminal),
        Command::Train(arguments) => train::run(arguments, terminal),
        Command::Report(arguments) => report::run(arguments, terminal),
        Command::Tune(arguments) => tune::run(arguments, terminal),
        Command::Generate(arguments) => generate::run(arguments, terminal),
        Command::Eval(arguments) => eval::run(arguments, terminal),
        Command::Patch(arguments) => patch::run(arguments, terminal),
        Command::Entropies(arguments) => entropies::run(arguments, terminal),
        Command::Calibrate(arguments) => calibrate::run(arguments, terminal),
        Command::Statistics(arguments) => statistics::run(arguments, terminal),
        Command::Logits(arguments) => logits::run(arguments, terminal),
        Command::Init(arguments) => init::run(arguments, terminal),
        Command::Convert(arguments) => convert::run(arguments, terminal),
        Command::Flops(arguments) => flops::run(arguments, terminal),
        Command::Info(arguments) => info::run(arguments, terminal),
        Command::Devices(arguments) => devices::run(arguments, terminal),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent_and_every_command_has_an_example() {
        let mut program = Program::command();
        program.build();
        program.clone().debug_assert();
        for command in program.get_subcommands().filter(|it| it.get_name() != "help") {
            let after = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            let example = format!("Example: blt {}", command.get_name());
            assert!(after.contains(&example), "{}", command.get_name());
        }
    }
}
