//! Whether a device generates what it should: texts of [`Streams`](super::Streams), with caches and
//! whatever kernels the device takes, against one full pass over each text on the same device.
//!
//! The model is small and fresh, with an entropy model, windows that the texts outgrow, documents
//! that end, and caches that have to grow. Logits may differ by
//! [`TOLERANCE`](super::agreement::TOLERANCE); patches are the same and entropies have the same
//! bits (spec §14.3). With several bytes a submission the device goes from one to the next by
//! itself, and has to arrive at the same.

use super::added::Added;
use super::agreement::Agreement;
use super::recompute::Recompute;
use super::sampling::{Sampler, SamplingOptions};
use super::self_check_texts::{Begin, begins, blt, entropy};
use super::streams::{StreamId, Streams};
use crate::blt::config::{ModelConfig, PatchingMode};
use crate::blt::{LoadedDirectory, LoadedModel};
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::eval::Patcher;
use crate::text::EOS_ID;

const SEED: u64 = 1;

/// How much is generated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CheckForm {
    /// Three texts of random bytes: 30 ids that are pushed and 40 that are chosen behind each.
    Short,
    /// 4,000 chosen ids behind each of ten prompts. At most one in a hundred of a rule of patching
    /// may be a tie.
    Long,
}

impl CheckForm {
    /// Ids that are chosen for each text.
    fn chosen_count(self) -> usize {
        match self {
            Self::Short => 40,
            Self::Long => 4000,
        }
    }

    /// Of so many ids, how many a device that takes four at a time has to add so. In the long form
    /// the windows of ten texts move, each every 256 ids with up to three single steps, for all
    /// texts.
    fn least_linked(self, id_count: usize) -> u64 {
        let single = match self {
            Self::Short => 0,
            Self::Long => id_count / 8,
        };
        (id_count - single) as u64
    }

    /// Of so many chosen ids, how many ties there may be. A short text says nothing of a share.
    fn most_ties(self, chosen_count: usize) -> usize {
        match self {
            Self::Short => chosen_count,
            Self::Long => chosen_count / 100,
        }
    }
}

/// A small model with its entropy model on a device.
pub struct SelfCheck<'e, E: Engine> {
    engine: &'e E,
    directory: LoadedDirectory<E>,
    form: CheckForm,
    begins: Vec<Begin>,
    /// An entropy that some are above and some below.
    threshold: f32,
}

/// The check of one rule of patching on its way: all texts are generated in one batch, then each is
/// compared.
pub struct RunningCheck<'s, E: Engine> {
    check: &'s SelfCheck<'s, E>,
    streams: Streams<'s, E>,
    /// With what was added to each.
    texts: Vec<(StreamId, Vec<Added>)>,
    reader: Recompute<'s, E>,
    agreement: Agreement,
    done_count: usize,
}

impl<'e, E: Engine> SelfCheck<'e, E> {
    /// The rules of patching that [`Self::begin`] takes: all that look at what is there.
    pub fn modes() -> impl Iterator<Item = PatchingMode> {
        PatchingMode::ALL.into_iter().filter(|&mode| mode != PatchingMode::Bpe)
    }

    /// Puts the model on a device.
    ///
    /// # Errors
    /// A device that fails.
    pub async fn new(engine: &'e E, form: CheckForm) -> Result<Self> {
        let begins = begins(form, SEED);
        let patcher = LoadedModel::create(engine, ModelConfig::Entropy(entropy()), false).await?;
        let model = LoadedModel::create(engine, ModelConfig::Blt(blt(form)), false).await?;
        patcher.initialise(engine, SEED)?;
        model.initialise(engine, SEED)?;
        let directory = LoadedDirectory { model, patcher: Some(patcher) };
        let Begin { prompt, pushed, .. } = begins.last().expect("there are texts");
        let mut patcher = Patcher::of(engine, &directory)?.expect("it is a BLT");
        let mut entropies = patcher.entropies(&[&prompt[..], pushed].concat()).await?;
        entropies.sort_by(f32::total_cmp);
        let threshold = entropies[entropies.len() * 2 / 3];
        Ok(Self { engine, directory, form, begins, threshold })
    }

    /// Begins to generate by this rule of patching, so many bytes a submission.
    ///
    /// # Errors
    /// A device that fails; [`Error::Input`] for a number of bytes that no device is asked for.
    pub async fn begin(
        &mut self,
        mode: PatchingMode,
        bytes_a_submission: usize,
    ) -> Result<RunningCheck<'_, E>> {
        self.cut_by(mode);
        let (engine, directory) = (self.engine, &self.directory);
        let streams = Streams::with_bytes_a_submission(engine, directory, 1, bytes_a_submission);
        let mut streams = streams.await?;
        streams.keep_logits(true);
        let mut texts = Vec::new();
        for Begin { prompt, pushed, .. } in &self.begins {
            let id = streams.open(prompt, sampler()?)?;
            streams.push(id, pushed)?;
            texts.push((id, Vec::new()));
        }
        let reader = Recompute::new(self.engine, &self.directory, sampler()?)?;
        let agreement = Agreement::new(mode, bytes_a_submission, sampler()?.options());
        Ok(RunningCheck { check: self, streams, texts, reader, agreement, done_count: 0 })
    }

    /// Generates by this rule of patching, so many bytes a submission, and compares.
    ///
    /// # Errors
    /// As [`Self::begin`] and [`RunningCheck::step`].
    pub async fn check(
        &mut self,
        mode: PatchingMode,
        bytes_a_submission: usize,
    ) -> Result<Agreement> {
        let mut running = self.begin(mode, bytes_a_submission).await?;
        loop {
            if let Some(agreement) = running.step().await? {
                return Ok(agreement);
            }
        }
    }

    fn cut_by(&mut self, mode: PatchingMode) {
        let ModelConfig::Blt(config) = &mut self.directory.model.config else {
            unreachable!("it was made a BLT")
        };
        config.patching.mode = mode;
        // Of rises zero is one that some are above and some below.
        let is_of_rises = mode == PatchingMode::Monotonic;
        config.patching.threshold = if is_of_rises { 0.0 } else { self.threshold.into() };
        config.patching.threshold_add = (mode == PatchingMode::Combined).then_some(0.0);
    }
}

impl<E: Engine> RunningCheck<'_, E> {
    /// Steps until it is done: one for each id that is added to all texts, one for each text that
    /// is compared.
    pub fn step_count(&self) -> usize {
        self.added_count() + self.texts.len()
    }

    /// Steps that were done.
    pub fn done_count(&self) -> usize {
        self.done_count
    }

    /// Adds an id to every text, or compares one of them; in the end it says how they agreed.
    ///
    /// # Errors
    /// The first place that differs, too many ties, or a device that fails.
    pub async fn step(&mut self) -> Result<Option<Agreement>> {
        match self.done_count.checked_sub(self.added_count()) {
            None => {
                let added = self.streams.step().await?;
                for ((_, all), (_, added)) in self.texts.iter_mut().zip(added) {
                    all.push(added?);
                }
            }
            Some(index) => self.compare(index).await?,
        }
        self.done_count += 1;
        if self.done_count < self.step_count() {
            return Ok(None);
        }
        let Agreement { ties, id_count, chosen_count, bytes_a_submission, .. } = &self.agreement;
        let linked = self.streams.linked_id_count();
        let least = self.check.form.least_linked(*id_count);
        if *bytes_a_submission > 1 && linked < least {
            let problem = format!(
                "the device added {linked} of {id_count} ids {bytes_a_submission} at a time, \
                 expected {least} or more"
            );
            return Err(self.differs(problem));
        }
        let most = self.check.form.most_ties(*chosen_count);
        if ties.len() > most {
            let problem = format!(
                "{} of {chosen_count} bytes were ties, expected at most {most}",
                ties.len()
            );
            return Err(self.differs(problem));
        }
        Ok(Some(self.agreement.clone()))
    }

    async fn compare(&mut self, index: usize) -> Result<()> {
        let Begin { name, prompt, .. } = &self.check.begins[index];
        let (id, added) = &self.texts[index];
        let ids = self.streams.ids(*id);
        let pass = self.reader.read(&ids[..ids.len() - 1]).await?;
        let compared = self.agreement.compare(name, prompt.len(), added, &pass);
        compared.map_err(|problem| self.differs(format!("{name}, {problem}")))
    }

    fn differs(&self, problem: String) -> Error {
        let (engine, mode) = (self.check.engine.name(), self.agreement.mode.name());
        Error::device(format!("{engine}, {mode} patching"), problem)
            .with_hint("do not generate on this device: its driver computes wrongly")
    }

    /// Ids that are added to each text.
    fn added_count(&self) -> usize {
        let pushed = self.check.begins.iter().map(|begin| begin.pushed.len()).max();
        pushed.unwrap_or(0) + self.check.form.chosen_count()
    }
}

/// The likeliest byte.
fn sampler() -> Result<Sampler> {
    let banned_ids = vec![EOS_ID];
    Sampler::new(SamplingOptions { banned_ids, ..SamplingOptions::default() }, SEED)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu::HostEngine;
    use pollster::block_on;

    /// The long form on the CPU engine, a few steps of it: every prompt is read, and texts are as
    /// long as the form says.
    #[test]
    fn the_long_form_has_ten_texts_of_4000_bytes() {
        let engine = HostEngine::<f32>::default();
        let mut check = block_on(SelfCheck::new(&engine, CheckForm::Long)).unwrap();
        let longest = check.begins.iter().map(|begin| begin.prompt.len()).max().unwrap();
        let mut running = block_on(check.begin(PatchingMode::Entropy, 1)).unwrap();
        assert_eq!(running.step_count(), 4000 + 10);
        let room = running.streams.positions().bytes;
        assert!(longest > 512 && longest + 4000 <= room, "{longest} and 4000 of {room}");
        for _ in 0..2 {
            assert_eq!(block_on(running.step()).unwrap(), None);
        }
        assert!(running.texts.iter().all(|(_, added)| added.len() == 2));
    }

    #[test]
    fn more_than_one_tie_in_a_hundred_is_too_many() {
        assert_eq!(CheckForm::Long.most_ties(40_000), 400);
        assert_eq!(CheckForm::Short.most_ties(120), 120);
    }
}
