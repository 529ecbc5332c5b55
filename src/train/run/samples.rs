//! Texts that the model writes while it trains: `samples.jsonl`, one JSON object a text.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::job::{Event, Run};
use crate::blt::config::ModelConfig;
use crate::blt::{LoadedDirectory, LoadedModel};
use crate::checkpoint::atomic_write;
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::generate::sampling::{Sampler, SamplingOptions};
use crate::generate::{ModelSource, OnLimit, Stops, TextStream, patch_lengths};
use crate::platform::Platform;
use crate::text;
use crate::train::config::{RunConfig, SampleConfig};

/// A text, and how it came.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SampleLine {
    /// Updates behind it.
    pub global_step: u64,
    pub prompt: String,
    /// What was generated, as ids.
    pub ids: Vec<u32>,
    /// How the ids fall into patches; empty where a model has none.
    pub patch_lengths: Vec<u32>,
    /// The same as text; what is no UTF-8 is replaced.
    pub text: String,
    /// How it was drawn.
    pub settings: String,
}

/// Reads the text of a `samples.jsonl`. A last line that is torn is left out.
///
/// # Errors
/// `Input` with the number of another line that is no sample.
pub fn parse_samples(text: &str) -> Result<Vec<SampleLine>> {
    let mut lines = Vec::new();
    for (index, line) in text.split_inclusive('\n').enumerate() {
        match serde_json::from_str(line) {
            Ok(sample) => lines.push(sample),
            Err(_) if !line.ends_with('\n') => {}
            Err(error) => {
                let subject = format!("samples.jsonl line {}", index + 1);
                return Err(Error::input(subject, error.to_string()));
            }
        }
    }
    Ok(lines)
}

/// The file of a run.
#[derive(Clone, Debug)]
pub(super) struct SamplesFile {
    path: PathBuf,
    /// The update after which texts were last written.
    pub step: Option<u64>,
}

impl SamplesFile {
    /// The file of a run that begins, with nothing in it once something is written.
    pub fn new(config: &RunConfig) -> Self {
        Self { path: place(&config.dump_dir), step: None }
    }

    /// The file of a run that goes on behind update `step`, without what came after that, which
    /// `is_writer` takes out.
    ///
    /// # Errors
    /// If it cannot be written, or holds something else.
    pub fn resume(config: &RunConfig, step: u64, is_writer: bool) -> Result<Self> {
        let path = place(&config.dump_dir);
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(problem) if problem.kind() == std::io::ErrorKind::NotFound => {
                return Ok(Self { path, step: None });
            }
            Err(problem) => return Err(Error::io("read", &path, problem)),
        };
        let mut samples = parse_samples(&text)?;
        samples.retain(|sample| sample.global_step <= step);
        let last = samples.last().map(|sample| sample.global_step);
        let kept: String = samples.iter().map(SampleLine::to_line).collect();
        if is_writer {
            atomic_write(&path, |file| file.write_all(kept.as_bytes()))?;
        }
        Ok(Self { path, step: last })
    }

    /// Appends the texts of an update.
    fn append(&mut self, step: u64, samples: &[SampleLine]) -> Result<()> {
        let fail = |problem| Error::io("write", &self.path, problem);
        let mut options = OpenOptions::new();
        // What lies there before the first is another run's.
        let options = match self.step {
            Some(_) => options.append(true),
            None => options.write(true).truncate(true),
        };
        let mut file = options.create(true).open(&self.path).map_err(fail)?;
        let lines: String = samples.iter().map(SampleLine::to_line).collect();
        file.write_all(lines.as_bytes()).map_err(fail)?;
        self.step = Some(step);
        Ok(())
    }
}

fn place(dump_dir: &Path) -> PathBuf {
    dump_dir.join("samples.jsonl")
}

impl SampleLine {
    /// The line, with its newline.
    pub fn to_line(&self) -> String {
        let mut line = serde_json::to_string(self).expect("numbers and strings are JSON");
        line.push('\n');
        line
    }
}

impl<E: Engine, P: Platform> Run<'_, E, P> {
    pub(super) fn sample_is_due(&self, step: u64) -> bool {
        self.config.sample.is_due(step) && self.samples_file.step != Some(step)
    }

    /// Lets the model write its texts. No bit of the training depends on it.
    pub(super) async fn sample(&mut self) -> Result<Event> {
        let (engine, step) = (self.engine, self.step);
        if !self.ranks.is_first() {
            self.samples_file.step = Some(step);
            return Ok(Event::Sampled { step, samples: Vec::new() });
        }
        let shared = |model: &LoadedModel<E>| model.shared(engine);
        let scorer = self.batches.entropies().and_then(Option::as_ref);
        let directory = LoadedDirectory {
            model: shared(self.trainer.settled()?),
            patcher: scorer.map(|scorer| shared(&scorer.model)),
        };
        let config = &self.config.sample;
        let mut samples = Vec::new();
        for (index, prompt) in config.prompts.iter().enumerate() {
            let sampler = sampler(config, self.config.seed.wrapping_add(index as u64))?;
            let sample = written(engine, &directory, config, prompt, sampler, step).await?;
            samples.push(sample);
        }
        self.samples_file.append(step, &samples)?;
        let seconds = self.platform.unix_seconds();
        if let Some(events) = &mut self.event_file {
            for (index, sample) in samples.iter().enumerate() {
                let shown = format!("    {}{}", sample.prompt, sample.text).replace('\n', "\n    ");
                events.append_text(&format!("sample/{index}"), &shown, step, seconds)?;
            }
        }
        Ok(Event::Sampled { step, samples })
    }
}

fn sampler(config: &SampleConfig, seed: u64) -> Result<Sampler> {
    let options = SamplingOptions {
        temperature: config.temperature as f32,
        top_p: config.top_p as f32,
        ..SamplingOptions::default()
    };
    Sampler::new(options, seed)
}

async fn written<E: Engine>(
    engine: &E,
    directory: &LoadedDirectory<E>,
    config: &SampleConfig,
    prompt: &str,
    sampler: Sampler,
    step: u64,
) -> Result<SampleLine> {
    let settings = match config.temperature {
        0.0 => "greedy".to_owned(),
        temperature => {
            let (top_p, seed) = (config.top_p, sampler.seed());
            format!("temperature {temperature}, top-p {top_p}, seed {seed}")
        }
    };
    let stops = Stops { count: Some(config.bytes), strings: Vec::new() };
    let source = ModelSource::new(engine, directory, sampler).await?;
    let mut stream = TextStream::new(source, &stops, OnLimit::Slide)?;
    stream.push(prompt.as_bytes());
    while stream.step().await?.is_some() {}
    let events = stream.generated();
    let ids: Vec<u32> = events.iter().map(|event| event.id).collect();
    let has_patches = matches!(directory.model.config, ModelConfig::Blt(_));
    Ok(SampleLine {
        global_step: step,
        prompt: prompt.to_owned(),
        text: String::from_utf8_lossy(&text::decode(&ids)).into_owned(),
        patch_lengths: if has_patches { patch_lengths(events) } else { Vec::new() },
        ids,
        settings,
    })
}
