//! `blt generate`: text from a model, as it comes.

mod choice;
mod conversation;
mod prompt;
mod show;

use super::device::{DeviceArgument, warn_of_distrusted};
use super::escaped::Escaped;
use super::failure::Usage;
use super::interrupt;
use super::model::{self, Purpose};
use super::terminal::Terminal;
use super::tuned::TunedArgument;
use super::weights::{Tables, WeightsArgument};
use blt_wgpu::Error;
use blt_wgpu::blt::config::ModelConfig;
use blt_wgpu::generate::{
    BYTES_A_SUBMISSION, ByteEvent, End, MOST_BYTES_A_SUBMISSION, ModelSource, OnLimit, Piece,
    Stops, TextStream, patch_lengths,
};
use choice::ChoiceArguments;
use prompt::PromptArguments;
use serde::Serialize;
use show::{Show, ShowArguments, summary};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Generate text from a prompt
///
/// Text streams to stdout in whole characters until the model ends it, N bytes have come, or a stop
/// string would come. Without --temperature the likeliest byte is taken.
#[derive(clap::Args)]
#[command(after_help = "Example: blt generate --model DIR --prompt \"To be, \" -n 200\n\
    Talk:    blt generate --model DIR -i --stop '\\n\\n' --temperature 0.8 --min-p 0.05")]
pub struct Arguments {
    /// Model directory, or the name of a model on the hub
    #[arg(long, value_name = "DIR")]
    model: PathBuf,
    #[command(flatten)]
    prompt: PromptArguments,
    /// Most ids to generate; with -i, in an answer, which has 400 unless told otherwise
    #[arg(short, value_name = "N", required_unless_present = "interactive")]
    n: Option<usize>,
    /// A prompt line by line: each is answered, and all of it is one text
    #[arg(short, long, conflicts_with = "json")]
    interactive: bool,
    /// End before this string; may be given several times, knows \n \t \r \\ \xNN
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    stop: Vec<Escaped>,
    /// What to do when the text has more bytes, or patches, than the model has positions: fail, or
    /// let the model read only the end of it; with -i it slides unless told otherwise
    #[arg(long, value_name = "HOW")]
    on_limit: Option<Limit>,
    /// Bytes that the device adds by itself before the program hears of them, 1 to 64; one all the
    /// same with --tables host, for a lone entropy model, with patches that end at BPE delimiters,
    /// near the end of the positions, where the window of the entropy model moves, and where the
    /// device has no room for several
    #[arg(long, value_name = "N", default_value_t = BYTES_A_SUBMISSION as u64)]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=MOST_BYTES_A_SUBMISSION as u64))]
    bytes_a_submission: u64,
    #[command(flatten)]
    weights: WeightsArgument,
    #[command(flatten)]
    tuned: TunedArgument,
    #[command(flatten)]
    device: DeviceArgument,
    /// Print one line of JSON: {"text": .., "ids": .., "bytes_per_s": .., "first_byte_ms": .., ..}
    #[arg(long, conflicts_with_all = ["show_patches", "show_entropy"])]
    json: bool,
    /// With --json: the probability, the entropies and the patch of every id too
    #[arg(long, requires = "json")]
    details: bool,
    #[command(flatten)]
    choice: ChoiceArguments,
    #[command(flatten)]
    show: ShowArguments,
}

/// Ids of an answer where no bound is given.
const ANSWER_IDS: usize = 400;

#[derive(Clone, Copy, clap::ValueEnum)]
enum Limit {
    Error,
    Slide,
}

#[derive(Serialize)]
struct Output {
    /// Without the stop string that ended it.
    text: String,
    /// Generated ids only, the end of the text or the stop string included when it came.
    ids: Vec<u32>,
    /// Why there are no more: `eos`, `count`, `stop`, `cancelled` or `error`.
    end: &'static str,
    /// What went wrong behind the last of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    /// Ids after the first, per second.
    bytes_per_s: f64,
    /// Time to the first id, once the weights are there: compiling, checking faster kernels,
    /// reading the prompt, choosing.
    prefill_ms: f64,
    /// Time until the model's files and the device were open.
    device_ms: f64,
    /// Time it took to hand the weights to the device.
    weights_ms: f64,
    /// Time from the begin of the command to the first id.
    first_byte_ms: f64,
    #[serde(flatten)]
    details: Option<Details>,
}

/// One number for each of the ids.
#[derive(Serialize)]
struct Details {
    /// Of the id, by the model alone.
    probabilities: Vec<Option<f32>>,
    /// Of the model's prediction, in nats.
    entropies: Vec<Option<f32>>,
    /// Of the entropy model's prediction, in nats; null where it decides about no patches.
    patch_entropies: Vec<Option<f32>>,
    /// How the ids fall into patches; the first may have begun in the prompt.
    patch_lengths: Vec<u32>,
}

/// Runs the command.
pub fn run(arguments: &Arguments, terminal: &Terminal) -> anyhow::Result<()> {
    let start = Instant::now();
    let sampler = arguments.choice.sampler()?;
    if let Some(warning) = arguments.choice.without_effect() {
        terminal.warn(&warning);
    }
    if arguments.stop.iter().any(|string| string.0.is_empty()) {
        let problem = "--stop: expected a string of at least one byte, got none";
        return Err(Usage::new(problem, "it would end every text at once").into());
    }
    let prompt = arguments.prompt.read(arguments.interactive)?;
    if prompt.is_none() && !arguments.interactive {
        let hint = "add --prompt TEXT, --prompt-file FILE or --prompt-ids 1,2,.., or talk with -i";
        return Err(Usage::new("there is no prompt", hint).into());
    }
    // A disk reads while the driver wakes up.
    let directory = model::open(&arguments.model, terminal)?;
    model::warn_of_bytes(&directory, terminal);
    if arguments.weights.tables == Tables::Device {
        directory.read_ahead();
    }
    let has_patches = matches!(directory.config(), ModelConfig::Blt(_));
    if arguments.show.show_patches && !has_patches {
        let problem = "the model is a lone entropy model, it reads no patches";
        return Err(Usage::new(format!("--show-patches: {problem}"), "use --show-entropy").into());
    }
    let device = arguments.tuned.apply(arguments.device.open(terminal)?, terminal)?;
    let opened = start.elapsed();
    let purpose = Purpose::Reading(arguments.weights.options());
    let loaded = model::upload(&arguments.model, &directory, &device, purpose)?;
    drop(directory);
    let uploaded = start.elapsed();
    let begin = Instant::now();
    let mut source = pollster::block_on(ModelSource::with_bytes_a_submission(
        &device,
        &loaded,
        sampler,
        arguments.bytes_a_submission as usize,
    ))?;
    source.keep_logits(arguments.shows_predictions(&loaded.model.config));
    let stops = arguments.stops();
    let mut stream = TextStream::new(source, &stops, arguments.on_limit())?;
    if let Some(prompt) = &prompt {
        prompt.push_to(&mut stream)?;
    }
    if arguments.interactive {
        let mut show = Show::new(&arguments.show, terminal);
        conversation::run(&mut stream, &mut show, has_patches, terminal)?;
        warn_of_distrusted(&device, &mut 0, terminal);
        return Ok(());
    }
    stream.check_room(stops.count.unwrap_or(0))?;
    if stops.count != Some(0) {
        pollster::block_on(stream.prefill())?;
    }
    // Until the first id is there, in which plans of steps are compiled too.
    let mut first = (begin.elapsed(), start.elapsed(), Instant::now());
    let mut text = String::new();
    let mut show = (!arguments.json).then(|| Show::new(&arguments.show, terminal));
    let mut take = |piece: Piece| match &mut show {
        Some(show) => show.piece(&piece),
        None => {
            text.push_str(&piece.text);
            Ok(())
        }
    };
    // What has come before an error is worth something.
    let (mut failed, mut has_first) = (None, false);
    while !interrupt::is_requested() {
        match pollster::block_on(stream.step()) {
            Ok(Some(piece)) => {
                if !has_first {
                    first = (begin.elapsed(), start.elapsed(), Instant::now());
                    has_first = true;
                }
                take(piece)?;
            }
            Ok(None) => break,
            Err(error) => {
                failed = Some(error);
                break;
            }
        }
    }
    take(stream.cancel())?;
    let (prefill, first_byte, since_first) = first;
    let seconds = since_first.elapsed().as_secs_f64();
    let events = stream.generated();
    let behind_first = events.len().saturating_sub(1) as f64;
    let bytes_per_s = if behind_first > 0.0 { behind_first / seconds } else { 0.0 };
    let ms = |duration: Duration| duration.as_secs_f64() * 1e3;
    if let Some(show) = &mut show {
        show.end()?;
        terminal.note(&format!(
            "{}, {bytes_per_s:.1} bytes/s; the first after {:.2} s: device {:.2}, weights {:.2}, \
             plans and prompt {:.2}",
            summary(events, stream.end(), has_patches),
            first_byte.as_secs_f64(),
            opened.as_secs_f64(),
            uploaded.saturating_sub(opened).as_secs_f64(),
            prefill.as_secs_f64(),
        ));
    } else {
        terminal.print_json(&Output {
            text,
            ids: events.iter().map(|event| event.id).collect(),
            end: match stream.end() {
                _ if failed.is_some() => "error",
                Some(End::EndOfText) => "eos",
                Some(End::String(_)) => "stop",
                Some(End::Count) => "count",
                Some(End::Cancelled) | None => "cancelled",
            },
            bytes_per_s,
            prefill_ms: ms(prefill),
            device_ms: ms(opened),
            weights_ms: ms(uploaded.saturating_sub(opened)),
            first_byte_ms: ms(first_byte),
            error: failed.as_ref().map(ToString::to_string),
            details: arguments.details.then(|| Details::of(events)),
        })?;
    }
    warn_of_distrusted(&device, &mut 0, terminal);
    if let Some(error) = failed {
        return Err(error.into());
    }
    if interrupt::is_requested() { Err(Error::Cancelled.into()) } else { Ok(()) }
}

impl Arguments {
    fn stops(&self) -> Stops {
        Stops {
            count: self.n.or(self.interactive.then_some(ANSWER_IDS)),
            strings: self.stop.iter().map(|string| string.0.clone()).collect(),
        }
    }

    /// Whether it shows what the model made of a byte, and not what the entropy model did.
    fn shows_predictions(&self, config: &ModelConfig) -> bool {
        let entropies_cut = match config {
            ModelConfig::Blt(blt) => blt.patching.mode.needs_entropies(),
            ModelConfig::Entropy(_) => false,
        };
        self.details || (self.show.show_entropy && !entropies_cut)
    }

    fn on_limit(&self) -> OnLimit {
        match self.on_limit {
            Some(Limit::Slide) => OnLimit::Slide,
            None if self.interactive => OnLimit::Slide,
            Some(Limit::Error) | None => OnLimit::Error,
        }
    }
}

impl Details {
    fn of(events: &[ByteEvent]) -> Self {
        Self {
            probabilities: events.iter().map(|event| event.probability).collect(),
            entropies: events.iter().map(|event| event.entropy).collect(),
            patch_entropies: events.iter().map(|event| event.patch_entropy).collect(),
            patch_lengths: patch_lengths(events),
        }
    }
}
