//! The tuner: of the variants that a device can run, those that agree with their oracles are timed
//! at the shapes of a model, and the fastest is kept.

use super::job::Clock;
use super::kernel_list::KernelList;
use super::samples::median;
use super::shape::{BenchShape, precision_name};
use super::timing::{Patience, Timing};
use super::tuned_file::{TunedChoice, TunedFile};
use super::verified::Verified;
use crate::device::Device;
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::graph::Precision;
use crate::kernels::{Kernel, Situation, shape_class};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fmt;
use std::rc::Rc;

/// A variant takes the place of the one that the rules choose if it is so much faster: less is
/// noise, and the next measurement would choose otherwise.
const WORTH_CHANGING: f64 = 0.97;

/// A variant that takes so many times as long as the fastest so far is not timed any further.
const CLEARLY_SLOW: f64 = 3.0;

/// What a step of the tuner gave.
#[derive(Clone, Debug)]
pub enum TuneEvent {
    /// The next class of shapes begins.
    Began(String),
    /// A variant is out: it disagreed with its oracle, did not run, or could not be timed.
    Rejected(String),
    /// A choice, with the name of the variant that the rules would take.
    Chosen { class: String, rule: String, choice: TunedChoice },
    /// All classes are done.
    Finished,
}

/// Calls of one class that stand for all of it: the largest.
struct Task {
    class: String,
    list: Rc<KernelList>,
    entry: usize,
}

/// A tuner of one device.
pub struct Tuner<'d, P> {
    device: &'d Device,
    platform: P,
    patience: Patience,
    verified: Verified,
    tasks: VecDeque<Task>,
    current: Option<Task>,
    ready: VecDeque<TuneEvent>,
    file: TunedFile,
    coverage: Coverage,
}

/// What a tuner measures: all kernels of a training step that have more than one variant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Coverage {
    /// Classes of shapes by kernel.
    pub classes: BTreeMap<&'static str, usize>,
}

impl fmt::Display for Coverage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let classes: Vec<_> =
            self.classes.iter().map(|(kernel, count)| format!("{kernel} {count}")).collect();
        let count: usize = self.classes.values().sum();
        write!(f, "{count} classes of shapes: {}", classes.join(", "))
    }
}

impl<'d, P: crate::platform::Platform + Sync + 'static> Tuner<'d, P> {
    /// A tuner for the training steps of these shapes, whose forward passes are those of
    /// evaluation and generation too.
    ///
    /// # Errors
    /// [`Error::Device`] on the CPU engine, which has nothing to choose from, and where a precision
    /// needs what the device lacks; or if a shape does not fit its bindings.
    pub fn new(
        device: &'d Device,
        platform: P,
        shapes: &[BenchShape],
        precisions: &[Precision],
        sample_count: usize,
    ) -> Result<Self> {
        if matches!(device, Device::Cpu(_)) {
            let problem = "it has one variant of every kernel, so there is nothing to tune";
            return Err(Error::device(device.name(), problem)
                .with_hint("choose a GPU with --device; `blt devices` lists them"));
        }
        let mut tasks: Vec<Task> = Vec::new();
        let mut known: HashMap<String, usize> = HashMap::new();
        let mut coverage = Coverage::default();
        for shape in shapes {
            for &precision in precisions {
                if precision == Precision::Mixed && !device.abilities().f16 {
                    let problem = format!("{} needs 16-bit floats", precision_name(precision));
                    return Err(Error::device(device.name(), problem)
                        .with_hint("tune for `--precision f32`"));
                }
                let list = Rc::new(KernelList::new(device, shape, precision, "")?);
                for entry in 0..list.entries.len() {
                    let dispatch = list.dispatch(&list.entries[entry]);
                    let class = shape_class(dispatch.kernel, &dispatch.params, dispatch.halves);
                    let Some(class) = class.filter(|_| !dispatch.fixed_order) else { continue };
                    let task = Task { class: class.clone(), list: Rc::clone(&list), entry };
                    match known.get(&class) {
                        Some(&other) if tasks[other].flops() >= task.flops() => {}
                        Some(&other) => tasks[other] = task,
                        None => {
                            *coverage.classes.entry(dispatch.kernel.name).or_default() += 1;
                            known.insert(class, tasks.len());
                            tasks.push(task);
                        }
                    }
                }
            }
        }
        Ok(Self {
            device,
            platform,
            patience: Patience { sample_count, seconds: 2.0, enough_ms: f64::INFINITY },
            verified: Verified::default(),
            tasks: tasks.into(),
            current: None,
            ready: VecDeque::new(),
            file: TunedFile::of(device),
            coverage,
        })
    }

    /// How many classes of shapes are left.
    pub fn task_count(&self) -> usize {
        self.tasks.len()
    }

    /// What it measures, from the first class to the last.
    pub fn coverage(&self) -> &Coverage {
        &self.coverage
    }

    /// What was chosen so far; a tuner that was stopped loses none of it.
    pub fn file(&self) -> &TunedFile {
        &self.file
    }

    /// Measures until there is something to say, and says it.
    ///
    /// # Errors
    /// [`Error::Cancelled`] if the platform asks to stop; or if the device is lost.
    pub async fn step(&mut self) -> Result<TuneEvent> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Ok(event);
            }
            if self.platform.is_stop_requested() {
                return Err(Error::Cancelled);
            }
            if let Some(task) = self.current.take() {
                self.tune(&task).await?;
                continue;
            }
            let Some(task) = self.tasks.pop_front() else { return Ok(TuneEvent::Finished) };
            let class = task.class.clone();
            self.current = Some(task);
            return Ok(TuneEvent::Began(class));
        }
    }

    async fn tune(&mut self, task: &Task) -> Result<()> {
        let dispatch = task.list.dispatch(&task.list.entries[task.entry]);
        let (kernel, abilities) = (dispatch.kernel, &self.device.abilities());
        let (params, halves) = (&dispatch.params[..], dispatch.halves);
        let situation = Situation { params, halves, abilities };
        let rule = kernel.choose(&situation);
        let runs = |&variant: &usize| kernel.runs(variant, &situation);
        let mut candidates: Vec<usize> = (0..kernel.variants.len()).filter(runs).collect();
        // Likely the fastest: what is slow beside it need not be timed for long.
        candidates.sort_by_key(|&variant| variant != rule);
        if candidates.len() < 2 {
            return Ok(());
        }
        let mut trial = OnDevice {
            device: self.device,
            clock: &self.platform,
            patience: self.patience,
            verified: &mut self.verified,
            task,
        };
        let outcome = try_all(kernel, &candidates, rule, &mut trial).await?;
        // After the device is lost everything fails, and nothing was learned.
        self.device.wait().await?;
        self.ready.extend(outcome.rejected.into_iter().map(TuneEvent::Rejected));
        if let Some(choice) = outcome.choice {
            let (class, rule) = (task.class.clone(), kernel.variants[rule].name.to_owned());
            self.file.choices.insert(class.clone(), choice.clone());
            self.ready.push_back(TuneEvent::Chosen { class, rule, choice });
        }
        Ok(())
    }
}

impl Task {
    fn flops(&self) -> u64 {
        let cost = self.list.cost(&self.list.entries[self.entry]);
        cost.flops.max(cost.read_bytes + cost.written_bytes)
    }
}

/// How a variant is tried.
trait Trial {
    /// That it agrees with its oracle.
    async fn verify(&mut self, kernel: &'static Kernel, variant: usize) -> Result<()>;
    /// Milliseconds of one call, a number a sample; one is enough beyond `enough_ms`.
    async fn time(&mut self, variant: usize, enough_ms: f64) -> Result<Vec<f64>>;
}

struct OnDevice<'a> {
    device: &'a Device,
    clock: &'a Clock,
    patience: Patience,
    verified: &'a mut Verified,
    task: &'a Task,
}

impl Trial for OnDevice<'_> {
    async fn verify(&mut self, kernel: &'static Kernel, variant: usize) -> Result<()> {
        self.verified.check(self.device, kernel, variant).await
    }

    async fn time(&mut self, variant: usize, enough_ms: f64) -> Result<Vec<f64>> {
        let list = &self.task.list;
        let isolated = list.isolate_variant(&list.entries[self.task.entry], variant)?;
        let timing = Timing::new(self.device, isolated).await?;
        timing.samples(self.clock, Patience { enough_ms, ..self.patience }).await
    }
}

/// What came of trying variants.
struct Outcome {
    /// `None` where the variant of the rules itself could not be tried: then nothing was compared.
    choice: Option<TunedChoice>,
    rejected: Vec<String>,
}

/// Checks, then times, then chooses.
///
/// # Errors
/// [`Error::Cancelled`] alone; whatever else goes wrong leaves a variant out.
async fn try_all(
    kernel: &'static Kernel,
    candidates: &[usize],
    rule: usize,
    trial: &mut impl Trial,
) -> Result<Outcome> {
    let mut rejected = Vec::new();
    let mut median_ms = BTreeMap::new();
    for &variant in candidates {
        let name = kernel.variants[variant].name;
        let fastest = median_ms.values().copied().fold(f64::INFINITY, f64::min);
        let tried = match trial.verify(kernel, variant).await {
            Ok(()) => trial.time(variant, CLEARLY_SLOW * fastest).await,
            Err(error) => Err(error),
        };
        match tried {
            Err(Error::Cancelled) => return Err(Error::Cancelled),
            Err(error) => rejected.push(format!("{}.{name}: {error}", kernel.name)),
            Ok(samples) => match median(&samples).filter(|ms| ms.is_finite() && *ms > 0.0) {
                Some(ms) => {
                    median_ms.insert(name.to_owned(), ms);
                }
                None => rejected.push(format!("{}.{name}: it took no time", kernel.name)),
            },
        }
    }
    let rule = kernel.variants[rule].name;
    let Some(&rule_ms) = median_ms.get(rule) else {
        return Ok(Outcome { choice: None, rejected });
    };
    let fastest = median_ms.iter().min_by(|a, b| a.1.total_cmp(b.1)).map(|(name, ms)| (name, *ms));
    let variant = match fastest {
        Some((name, ms)) if ms < rule_ms * WORTH_CHANGING => name.clone(),
        _ => rule.to_owned(),
    };
    Ok(Outcome { choice: Some(TunedChoice { variant, median_ms }), rejected })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::dense::matmul::KERNEL;

    /// A device that answers from a table: milliseconds, or what is wrong.
    struct Scripted<'a>(&'a [Result<f64, &'a str>], Vec<f64>);

    impl Trial for Scripted<'_> {
        async fn verify(&mut self, _: &'static Kernel, variant: usize) -> Result<()> {
            self.0[variant].map(|_| ()).map_err(|problem| Error::device("matmul", problem))
        }

        async fn time(&mut self, variant: usize, enough_ms: f64) -> Result<Vec<f64>> {
            self.1.push(enough_ms);
            Ok(vec![self.0[variant].expect("only what was right is timed"); 3])
        }
    }

    fn outcome(answers: &[Result<f64, &str>], rule: usize) -> Outcome {
        let candidates: Vec<_> = (0..answers.len()).collect();
        let mut trial = Scripted(answers, Vec::new());
        pollster::block_on(try_all(&KERNEL, &candidates, rule, &mut trial)).unwrap()
    }

    fn name(variant: usize) -> &'static str {
        KERNEL.variants[variant].name
    }

    fn chosen(answers: &[Result<f64, &str>], rule: usize) -> Option<String> {
        outcome(answers, rule).choice.map(|choice| choice.variant)
    }

    #[test]
    fn the_fastest_is_chosen_if_it_is_clearly_faster_than_the_rule() {
        assert_eq!(chosen(&[Ok(3.0), Ok(2.0), Ok(1.0)], 0).unwrap(), name(2));
        assert_eq!(chosen(&[Ok(3.0), Ok(1.0), Ok(2.0)], 2).unwrap(), name(1));
        assert_eq!(chosen(&[Ok(0.99), Ok(2.0), Ok(1.0)], 2).unwrap(), name(2), "noise");
    }

    #[test]
    fn what_is_slow_beside_the_fastest_so_far_is_not_timed_for_long() {
        let mut trial = Scripted(&[Ok(5.0), Ok(2.0), Ok(1.0)], Vec::new());
        let candidates = [1, 0, 2];
        let tried = try_all(&KERNEL, &candidates, 1, &mut trial);
        assert_eq!(pollster::block_on(tried).unwrap().choice.unwrap().median_ms.len(), 3);
        assert_eq!(trial.1, [f64::INFINITY, 6.0, 6.0]);
    }

    #[test]
    fn what_is_covered_can_be_read() {
        let coverage = Coverage { classes: [("matmul", 3), ("attention", 1)].into() };
        assert_eq!(coverage.to_string(), "4 classes of shapes: attention 1, matmul 3");
    }

    #[test]
    fn a_device_that_lies_about_a_variant_does_not_get_it() {
        let outcome = outcome(&[Ok(3.0), Ok(2.0), Err("expected 1, got 0")], 0);
        assert_eq!(outcome.choice.unwrap().variant, name(1));
        assert_eq!(outcome.rejected.len(), 1);
        let wrong = format!("matmul.{}", name(2));
        assert!(outcome.rejected[0].contains(&wrong), "{:?}", outcome.rejected);
        assert!(outcome.rejected[0].contains("expected 1, got 0"));
    }

    #[test]
    fn a_clock_that_stands_still_or_runs_backwards_chooses_nothing() {
        for ms in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            let outcome = outcome(&[Ok(3.0), Ok(ms)], 0);
            assert_eq!(outcome.choice.unwrap().variant, "base");
            assert!(outcome.rejected[0].ends_with("it took no time"));
        }
        assert_eq!(chosen(&[Ok(0.0), Ok(2.0)], 0), None, "nothing to compare with");
        assert_eq!(chosen(&[Err("wrong"), Ok(2.0)], 0), None);
    }
}
