//! `blt statistics`: what is in a text, and how it falls into patches.

use super::device::DeviceArgument;
use super::entropies::{entropy_model, files_of};
use super::failure::Usage;
use super::interrupt;
use super::model;
use super::numbers::{at_least_one, counted};
use super::progress::Watch;
use super::terminal::Terminal;
use blt_wgpu::Error;
use blt_wgpu::blt::config::{ModelConfig, PatchingConfig, PatchingMode};
use blt_wgpu::blt::configured_patching;
use blt_wgpu::blt::patching::{self, Patching, bytes_and_patches, bytes_per_patch};
use blt_wgpu::eval::Patcher;
use blt_wgpu::platform::{NativePlatform, Platform};
use blt_wgpu::text::{Document, DocumentCounts, DocumentOptions, Documents, OnError, encode};
use serde::Serialize;
use std::path::PathBuf;

/// Count documents, bytes and patches of texts
///
/// Every document gets a begin and an end id and is cut on its own, as in training. Entropies are
/// those of .arrow files, or of a model.
#[derive(clap::Args)]
#[command(after_help = "Example: blt statistics texts/*.jsonl.zst --mode space")]
pub struct Arguments {
    /// Texts: .txt, .jsonl, either with .zst or .gz, or .arrow with entropies; directories and
    /// patterns of them
    #[arg(value_name = "SOURCE", required = true)]
    sources: Vec<PathBuf>,
    /// The rule by which patches begin; the model's if left out
    #[arg(long, value_parser = ["static", "space", "entropy", "monotonic", "combined", "byte",
        "bpe"])]
    mode: Option<String>,
    /// Bytes in a patch, for `static`
    #[arg(long, value_name = "K", value_parser = at_least_one)]
    size: Option<usize>,
    /// Threshold in nats, for modes that read entropies
    #[arg(long, value_name = "X", allow_hyphen_values = true)]
    threshold: Option<f64>,
    /// Threshold in nats of the rise of the entropy, for `combined`
    #[arg(long, value_name = "Y", allow_hyphen_values = true)]
    threshold_add: Option<f64>,
    /// Longest patch
    #[arg(long, value_name = "M", value_parser = at_least_one)]
    max_len: Option<usize>,
    /// Model by whose rule, and by whose entropies, texts are cut
    #[arg(long, value_name = "DIR")]
    model: Option<PathBuf>,
    #[command(flatten)]
    device: DeviceArgument,
    /// Print one line of JSON: {"documents": .., "bytes": .., "patches": .., "histogram": ..}
    #[arg(long)]
    json: bool,
}

/// Lengths that the histogram tells apart; longer ones are one class.
const LONGEST: usize = 32;

#[derive(Serialize)]
struct Output {
    files: usize,
    documents: u64,
    /// Bytes of text.
    bytes: u64,
    shortest_document: u64,
    longest_document: u64,
    /// Documents and lines that were left out, and documents that are odd.
    empty: u64,
    malformed: u64,
    binary: u64,
    not_utf8: u64,
    mode: &'static str,
    /// Thresholds in nats, of modes that have some.
    #[serde(skip_serializing_if = "Option::is_none")]
    threshold: Option<f32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    threshold_add: Option<f32>,
    /// Patches that hold an id; bytes and ends of documents over them.
    patches: u64,
    bytes_per_patch: f64,
    longest_patch: u32,
    /// Patches of length 1, 2, .. and, last, all that are longer.
    histogram: Vec<u64>,
    seconds: f64,
    bytes_per_second: f64,
}

/// Sums over documents.
#[derive(Default)]
struct Sums {
    shortest: Option<u64>,
    longest: u64,
    byte_count: u64,
    patch_count: u64,
    longest_patch: u32,
    histogram: Vec<u64>,
}

/// Runs the command.
pub fn run(arguments: &Arguments, terminal: &Terminal) -> anyhow::Result<()> {
    let files = files_of(&arguments.sources)?;
    let patching = arguments.patching(terminal)?;
    let options = DocumentOptions { on_error: OnError::Skip, ..Default::default() };
    let mut documents = Documents::open(&files, options)?;
    let needs_entropies = patching.mode.needs_entropies();
    let device = match needs_entropies && arguments.model.is_some() {
        true => Some(arguments.device.open(terminal)?),
        false => None,
    };
    let model = match (&device, &arguments.model) {
        (Some(device), Some(path)) => Some((device, entropy_model(path, device, terminal)?)),
        _ => None,
    };
    let mut patcher = match &model {
        Some((device, model)) => Some(Patcher::new(*device, patching, Some(model))?),
        None => None,
    };
    let platform = NativePlatform::new(interrupt::flag().clone());
    let (began, mut sums) = (platform.monotonic_seconds(), Sums::default());
    let watch = Watch::spinner(terminal, "reading");
    while let Some(document) = documents.next() {
        interrupt::check()?;
        let document = document?;
        for note in documents.take_notes() {
            watch.note(&format!("warning: {note}"));
        }
        let ids = encode(&document.text, true, true);
        let entropies = match (needs_entropies, &mut patcher) {
            (false, _) => Vec::new(),
            (true, _) if !document.entropies.is_empty() => {
                document.entropies.iter().map(|it| it.to_f32()).collect()
            }
            (true, Some(patcher)) => pollster::block_on(patcher.entropies(&ids))?,
            (true, None) => {
                let problem = format!("{} patching reads entropies", patching.mode.name());
                return Err(Error::input(format!("document {}", document.id), problem)
                    .with_hint("add --model DIR, or read .arrow files of `blt entropies`")
                    .into());
            }
        };
        sums.add(&document, &ids, &patching.patch_lengths(&ids, &entropies)?);
        let DocumentCounts { document_count, text_bytes, .. } = documents.counts();
        if document_count.is_multiple_of(64) {
            let documents = counted(document_count, "document");
            watch.say(&format!("{documents}, {}", counted(text_bytes, "byte")));
        }
    }
    watch.end();
    for note in documents.take_notes() {
        terminal.warn(&note);
    }
    let seconds = platform.monotonic_seconds() - began;
    let output = sums.output(files.len(), &documents.counts(), patching, seconds);
    if arguments.json {
        return terminal.print_json(&output);
    }
    terminal.print(&shown(&output))
}

impl Arguments {
    /// The settings of the flags, and where they are silent of the model.
    fn patching(&self, terminal: &Terminal) -> anyhow::Result<Patching> {
        let mut settings = match &self.model {
            None => PatchingConfig::default(),
            Some(path) => match model::open(path, terminal)?.config() {
                ModelConfig::Blt(config) => config.patching.clone(),
                ModelConfig::Entropy(_) => PatchingConfig::default(),
            },
        };
        // Neither a lone entropy model nor flags of a rule have a threshold of their own.
        let is_default = settings == PatchingConfig::default();
        match (&self.mode, &self.model) {
            (Some(name), _) => {
                settings.mode = PatchingMode::from_name(name).expect("clap lets only these pass");
            }
            (None, Some(_)) => {}
            (None, None) => {
                let hint = "add --mode space, or --model DIR for the model's own";
                return Err(Usage::new("neither --mode nor --model was given", hint).into());
            }
        }
        let is_silent = self.threshold.is_none() && is_default;
        settings.threshold = self.threshold.unwrap_or(settings.threshold);
        settings.threshold_add = self.threshold_add.or(settings.threshold_add);
        settings.patch_size = self.size.unwrap_or(settings.patch_size);
        settings.max_patch_length = self.max_len.or(settings.max_patch_length);
        let patching = configured_patching(&settings);
        patching.check()?;
        if is_silent && patching.mode.needs_entropies() {
            let threshold = settings.threshold as f32;
            terminal.warn(&format!(
                "the threshold is {threshold} nats, that of the released models, as neither \
                 --threshold nor a BLT's --model gives another"
            ));
        }
        Ok(Patching { include_next_token: false, ..patching })
    }
}

impl Sums {
    fn add(&mut self, document: &Document, ids: &[u32], patch_lengths: &[u32]) {
        let text_bytes = document.text.len() as u64;
        self.shortest = Some(self.shortest.map_or(text_bytes, |it| it.min(text_bytes)));
        self.longest = self.longest.max(text_bytes);
        let (byte_count, patch_count) = bytes_and_patches(ids.len(), patch_lengths);
        self.byte_count += byte_count;
        self.patch_count += patch_count;
        self.histogram.resize(LONGEST + 1, 0);
        for &length in patch_lengths {
            self.longest_patch = self.longest_patch.max(length);
            self.histogram[(length as usize).min(LONGEST + 1) - 1] += 1;
        }
    }

    fn output(
        self,
        files: usize,
        counts: &DocumentCounts,
        patching: Patching,
        seconds: f64,
    ) -> Output {
        Output {
            files,
            documents: counts.document_count,
            bytes: counts.text_bytes,
            shortest_document: self.shortest.unwrap_or(0),
            longest_document: self.longest,
            empty: counts.empty_count,
            malformed: counts.malformed_count,
            binary: counts.binary_count,
            not_utf8: counts.not_utf8_count,
            mode: patching.mode.name(),
            threshold: thresholds(patching.mode).0,
            threshold_add: thresholds(patching.mode).1,
            patches: self.patch_count,
            bytes_per_patch: bytes_per_patch(self.byte_count, self.patch_count),
            longest_patch: self.longest_patch,
            histogram: self.histogram,
            seconds,
            bytes_per_second: counts.text_bytes as f64 / seconds.max(1e-9),
        }
    }
}

/// The thresholds of a rule, where it has some.
fn thresholds(mode: patching::PatchingMode) -> (Option<f32>, Option<f32>) {
    match mode {
        patching::PatchingMode::Entropy { threshold }
        | patching::PatchingMode::Monotonic { threshold } => (Some(threshold), None),
        patching::PatchingMode::Combined { threshold, threshold_add } => {
            (Some(threshold), Some(threshold_add))
        }
        _ => (None, None),
    }
}

fn shown(output: &Output) -> String {
    let threshold = match (output.threshold, output.threshold_add) {
        (Some(threshold), Some(add)) => format!("threshold         {threshold}, rise {add}\n"),
        (Some(threshold), None) => format!("threshold         {threshold}\n"),
        (None, _) => String::new(),
    };
    let mut text = format!(
        "files             {}\ndocuments         {}, of {} to {} bytes\nbytes             {}\n\
         left out          {} empty, {} malformed\nodd               {} binary, {} no UTF-8\n\
         {threshold}patches ({})   {}\nbytes per patch   {:.3}\nlongest patch     {}\n\
         bytes a second    {:.0}\n\n",
        output.files,
        output.documents,
        output.shortest_document,
        output.longest_document,
        output.bytes,
        output.empty,
        output.malformed,
        output.binary,
        output.not_utf8,
        output.mode,
        output.patches,
        output.bytes_per_patch,
        output.longest_patch,
        output.bytes_per_second
    );
    let most = output.histogram.iter().copied().max().unwrap_or(0).max(1);
    let last = output.histogram.iter().rposition(|&count| count > 0).map_or(0, |at| at + 1);
    for (index, &count) in output.histogram[..last].iter().enumerate() {
        let length = if index == LONGEST { format!(">{LONGEST}") } else { (index + 1).to_string() };
        let bar = "#".repeat((count as f64 / most as f64 * 50.0).round() as usize);
        text += &format!("{length:>4}  {count:>10}  {bar}\n");
    }
    text
}
