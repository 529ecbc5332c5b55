//! `blt generate`: text from a model, as it comes.

use super::device::{DeviceArgument, warn_of_distrusted};
use super::numbers::Numbers;
use super::terminal::Terminal;
use super::tuned::TunedArgument;
use super::{interrupt, model};
use blt_wgpu::Error;
use blt_wgpu::generate::Generator;
use blt_wgpu::generate::sampling::{Sampler, SamplingOptions};
use blt_wgpu::text::{Utf8Stream, decode, encode};
use serde::Serialize;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Generate text from a prompt
///
/// Text streams to stdout in whole characters until the model ends it or N bytes have come. Without
/// --temperature the likeliest byte is taken.
#[derive(clap::Args)]
#[command(after_help = "Example: blt generate --model DIR --prompt \"To be, \" -n 200")]
#[command(group = clap::ArgGroup::new("start").required(true))]
pub struct Arguments {
    /// Model directory
    #[arg(long, value_name = "DIR")]
    model: PathBuf,
    /// Text to go on from; it is read behind the begin of a document
    #[arg(long, group = "start", allow_hyphen_values = true)]
    prompt: Option<String>,
    /// Ids to go on from, taken as they are
    #[arg(long, group = "start", value_name = "1,2,..", allow_hyphen_values = true)]
    prompt_ids: Option<Numbers>,
    /// Most ids to generate
    #[arg(short, value_name = "N")]
    n: usize,
    /// Divides the logits before an id is drawn; 0 takes the likeliest
    #[arg(long, default_value_t = 0.0, value_name = "T", allow_hyphen_values = true)]
    temperature: f32,
    /// Draw from the K likeliest ids only; 0 is off
    #[arg(long, default_value_t = 0, value_name = "K")]
    top_k: usize,
    /// Draw from the likeliest ids that together have this probability; 0 is off
    #[arg(long, default_value_t = 0.0, value_name = "P", allow_hyphen_values = true)]
    top_p: f32,
    /// Seed of the draws
    #[arg(long, default_value_t = 0, value_name = "S")]
    seed: u64,
    /// Let ids 0, 1 and 3 be generated, which are no bytes
    #[arg(long)]
    allow_special: bool,
    #[command(flatten)]
    tuned: TunedArgument,
    #[command(flatten)]
    device: DeviceArgument,
    /// Print one line of JSON: {"text": .., "ids": .., "bytes_per_s": .., "first_byte_ms": .., ..}
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Output {
    text: String,
    /// Generated ids only, the end of the text included when it came.
    ids: Vec<u32>,
    /// Ids after the first, per second.
    bytes_per_s: f64,
    /// Time to the logits of the first id, once the weights are there: compiling, checking faster
    /// kernels, reading the prompt.
    prefill_ms: f64,
    /// Time until the model's files and the device were open.
    device_ms: f64,
    /// Time it took to hand the weights to the device.
    weights_ms: f64,
    /// Time from the begin of the command to the logits of the first id.
    first_byte_ms: f64,
}

/// Runs the command.
pub fn run(arguments: &Arguments, terminal: &Terminal) -> anyhow::Result<()> {
    let start = Instant::now();
    let options = SamplingOptions {
        temperature: arguments.temperature,
        top_k: arguments.top_k,
        top_p: arguments.top_p,
        allow_special: arguments.allow_special,
        ..SamplingOptions::default()
    };
    let sampler = Sampler::new(options, arguments.seed)?;
    let prompt = match (&arguments.prompt, &arguments.prompt_ids) {
        (Some(text), _) => encode(text.as_bytes(), true, false),
        (None, Some(ids)) => ids.0.clone(),
        (None, None) => unreachable!("clap requires one of the two"),
    };
    // A disk reads while the driver wakes up.
    let directory = model::open(&arguments.model, terminal)?;
    directory.read_ahead();
    let device = arguments.tuned.apply(arguments.device.open(terminal)?, terminal)?;
    let opened = start.elapsed();
    let loaded = model::upload(&arguments.model, &directory, &device, false)?;
    drop(directory);
    let uploaded = start.elapsed();
    let mut generator = Generator::new(&device, &loaded, &prompt, sampler)?;
    generator.check_room(arguments.n)?;
    let begin = Instant::now();
    if arguments.n > 0 {
        pollster::block_on(generator.prefill())?;
    }
    let prefill = begin.elapsed();
    let first_byte = start.elapsed();
    let begin = Instant::now();
    let mut characters = Utf8Stream::new();
    while generator.generated().len() < arguments.n && !interrupt::is_requested() {
        let Some(id) = pollster::block_on(generator.step())? else { break };
        if !arguments.json {
            terminal.print_text(&characters.push_id(id))?;
        }
    }
    let decode_seconds = begin.elapsed().as_secs_f64();
    let ids = generator.generated().to_vec();
    let read_again = ids.len().saturating_sub(1) as f64;
    let bytes_per_s = if decode_seconds > 0.0 { read_again / decode_seconds } else { 0.0 };
    if arguments.json {
        let text = String::from_utf8_lossy(&decode(&ids)).into_owned();
        let ms = |duration: Duration| duration.as_secs_f64() * 1e3;
        terminal.print_json(&Output {
            text,
            ids,
            bytes_per_s,
            prefill_ms: ms(prefill),
            device_ms: ms(opened),
            weights_ms: ms(uploaded.saturating_sub(opened)),
            first_byte_ms: ms(first_byte),
        })?;
    } else {
        terminal.print_text(&format!("{}\n", characters.finish()))?;
        let end = if generator.has_ended() { ", the end of the text" } else { "" };
        terminal.note(&format!(
            "{} ids{end}, {bytes_per_s:.1} bytes/s; the first after {:.2} s: device {:.2}, \
             weights {:.2}, plans and prompt {:.2}",
            ids.len(),
            first_byte.as_secs_f64(),
            opened.as_secs_f64(),
            uploaded.saturating_sub(opened).as_secs_f64(),
            prefill.as_secs_f64(),
        ));
    }
    warn_of_distrusted(&device, &mut 0, terminal);
    if interrupt::is_requested() { Err(Error::Cancelled.into()) } else { Ok(()) }
}
