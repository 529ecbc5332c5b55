//! `blt tune`: which variants of kernels are the fastest on a device.

use super::bench::{precisions, shape};
use super::device::DeviceArgument;
use super::interrupt;
use super::progress::Watch;
use super::terminal::Terminal;
use blt_wgpu::Error;
use blt_wgpu::bench::{TuneEvent, Tuner};
use blt_wgpu::checkpoint::atomic_write;
use blt_wgpu::engine::Engine;
use blt_wgpu::platform::NativePlatform;
use std::path::PathBuf;

/// Find the fastest variants of kernels on a device, for --tuned of other commands
///
/// Every variant that the device can run is compared with its oracle, then timed at the shapes of
/// the model. Without it rules choose, by what the device has.
#[derive(clap::Args)]
#[command(after_help = "Example: blt tune --config s --precision mixed --out tuned.json\n\
    Example: blt train --config run.toml --tuned tuned.json")]
pub struct Arguments {
    /// Shapes: s, m, 1b, or the path of a configuration of `blt train`
    #[arg(long, value_name = "SHAPE", value_delimiter = ',', required = true)]
    config: Vec<String>,
    /// Number types: f32, mixed
    #[arg(
        long, value_name = "PRECISION", value_delimiter = ',', default_value = "f32",
        value_parser = ["f32", "mixed"]
    )]
    precision: Vec<String>,
    /// File that the choices are written to, when all are made or Ctrl-C is pressed
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Samples of every variant
    #[arg(
        long, value_name = "N", default_value_t = 10,
        value_parser = clap::value_parser!(u16).range(1..)
    )]
    reps: u16,
    #[command(flatten)]
    device: DeviceArgument,
}

/// Runs the command.
pub fn run(arguments: &Arguments, terminal: &Terminal) -> anyhow::Result<()> {
    let shapes = arguments.config.iter().map(|name| shape(name));
    let shapes = shapes.collect::<anyhow::Result<Vec<_>>>()?;
    // A place that cannot be written to should not cost the measurement.
    let directory = arguments.out.parent().filter(|it| !it.as_os_str().is_empty());
    if let Some(missing) = directory.filter(|it| !it.is_dir()) {
        let problem = std::io::Error::new(std::io::ErrorKind::NotFound, "no such directory");
        return Err(Error::io("write into", missing, problem).into());
    }
    let device = arguments.device.open(terminal)?;
    terminal.note(&format!("device: {}", device.name()));
    let platform = NativePlatform::new(interrupt::flag().clone());
    let precisions = precisions(&arguments.precision);
    let mut tuner = Tuner::new(&device, platform, &shapes, &precisions, arguments.reps.into())?;
    terminal.note(&tuner.coverage().to_string());
    let task_count = tuner.task_count();
    let watch = Watch::spinner(terminal, "tuning");
    let ended = loop {
        match pollster::block_on(tuner.step()) {
            Err(error) => break Err(error),
            Ok(TuneEvent::Finished) => break Ok(()),
            Ok(event) => show(&watch, event),
        }
    };
    watch.end();
    // What was measured before it was stopped, or the device was lost, is as good as the whole.
    let choices = &tuner.file().choices;
    if ended.is_ok() || !choices.is_empty() {
        let text = tuner.file().to_text()?;
        atomic_write(&arguments.out, |file| file.write_all(text.as_bytes()))?;
    }
    if let Err(error) = ended {
        let (count, out) = (choices.len(), arguments.out.display());
        if count > 0 {
            terminal.note(&format!("{count} of {task_count} classes are in {out}"));
        }
        return Err(error.into());
    }
    terminal.note(&format!("{} of {task_count} classes had a choice", choices.len()));
    terminal.print(&format!("{}\n", arguments.out.display()))
}

/// Says what a step of the tuner gave.
fn show(watch: &Watch, event: TuneEvent) {
    match event {
        TuneEvent::Began(class) => watch.name(&class),
        TuneEvent::Rejected(reason) => watch.note(&format!("left out: {reason}")),
        TuneEvent::Chosen { class, rule, choice } => {
            let times = choice.median_ms.iter();
            let times: Vec<_> = times.map(|(name, ms)| format!("{name} {ms:.4} ms")).collect();
            let instead = match choice.variant == rule {
                true => String::new(),
                false => format!(", not {rule}"),
            };
            let variant = &choice.variant;
            watch.note(&format!("{class}: {variant}{instead} ({})", times.join(", ")));
        }
        TuneEvent::Finished => {}
    }
}
