//! What a training run writes down as it goes: `metrics.jsonl`, one JSON object a line, with the
//! key names of the reference implementation (spec §16.4) and a few of our own.
//!
//! Numbers are printed with as many digits as bring back the same bits; a loss that is not finite
//! is `null`. This module makes and reads text; where the text is kept is the caller's business.
//! "Interval" means since the line before. One process is one "gpu" in these names.

use serde::{Deserialize, Deserializer, Serialize};

use crate::error::{Error, Result};

/// One line. A value that was not measured is absent from it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Metrics {
    /// Updates applied or skipped so far.
    pub global_step: u64,
    /// Micro-batches into the next update.
    pub acc_step: u64,
    /// Bytes per second of this process over the interval.
    #[serde(rename = "speed/wps")]
    pub bytes_per_second: f64,
    /// Seconds per update.
    #[serde(rename = "speed/curr_iter_time")]
    pub update_seconds: f64,
    /// Seconds per update that were spent waiting for data.
    #[serde(rename = "speed/data_load_time", skip_serializing_if = "Option::is_none")]
    pub data_seconds: Option<f64>,
    /// Length of the whole gradient before clipping.
    #[serde(rename = "optim/grad_norm", deserialize_with = "number_or_null")]
    pub grad_norm: f32,
    /// Learning rate of the last update.
    #[serde(rename = "optim/lr")]
    pub learning_rate: f64,
    /// Patches seen so far (bytes when the entropy model trains).
    #[serde(rename = "optim/total_tokens")]
    pub patch_count: u64,
    /// Mean loss of the last micro-batch, nats per target, of this process.
    #[serde(rename = "loss/step_per_gpu", deserialize_with = "number_or_null")]
    pub loss: f32,
    /// The same over all processes.
    #[serde(rename = "loss/step_across_gpu", deserialize_with = "number_or_null")]
    pub loss_across: f32,
    /// Mean loss over the interval, nats per target, of this process.
    #[serde(rename = "loss/interval_per_gpu", deserialize_with = "number_or_null")]
    pub interval_loss: f32,
    /// The same over all processes.
    #[serde(rename = "loss/interval_across_gpu", deserialize_with = "number_or_null")]
    pub interval_loss_across: f32,
    /// Bits per target over the interval, of this process.
    #[serde(rename = "bpb/interval_per_gpu", deserialize_with = "number_or_null")]
    pub bits_per_byte: f32,
    /// The same over all processes.
    #[serde(rename = "bpb/interval_across_gpus", deserialize_with = "number_or_null")]
    pub bits_per_byte_across: f32,
    /// Targets (bytes and document ends) in the interval, of this process.
    #[serde(rename = "n_bytes/interval_per_gpu")]
    pub target_count: u64,
    /// The same over all processes.
    #[serde(rename = "n_bytes/interval_across_gpus")]
    pub target_count_across: u64,
    /// Targets in a patch over the interval, as [`crate::blt::patching::bytes_per_patch()`] counts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes_per_patch: Option<f64>,
    /// Patches over the interval by their length in bytes: entry `i` is of length `i`, the last
    /// one of that length and longer ones.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub patch_lengths: Option<Vec<u64>>,
    /// Operations per second over the interval, of the model forward and backward and of the
    /// entropy model forward, see [`super::flops`].
    #[serde(rename = "speed/FLOPS", skip_serializing_if = "Option::is_none")]
    pub flops_per_second: Option<f64>,
    /// The part of it that the entropy model has.
    #[serde(rename = "speed/entropy_FLOPS", skip_serializing_if = "Option::is_none")]
    pub entropy_flops_per_second: Option<f64>,
    /// The same over what was measured on the device at the beginning, percent.
    #[serde(rename = "speed/percent_of_peak", skip_serializing_if = "Option::is_none")]
    pub percent_of_peak: Option<f64>,
    /// What losses are multiplied by before the backward pass.
    #[serde(rename = "optim/loss_scale", skip_serializing_if = "Option::is_none")]
    pub loss_scale: Option<f32>,
    /// Processes that make the run, where there are several.
    #[serde(rename = "ranks/count", skip_serializing_if = "Option::is_none")]
    pub rank_count: Option<u64>,
    /// Bytes that the first of them gives to others in an update.
    #[serde(rename = "ranks/sent_bytes", skip_serializing_if = "Option::is_none")]
    pub sent_bytes: Option<f64>,
    /// Seconds an update in which it exchanges gradients and its device has nothing else to do.
    #[serde(rename = "ranks/exchange_time", skip_serializing_if = "Option::is_none")]
    pub exchange_seconds: Option<f64>,
    /// Updates skipped so far, because gradients were not finite.
    #[serde(rename = "optim/skipped", skip_serializing_if = "Option::is_none")]
    pub skipped_count: Option<u64>,
    /// Device memory of everything that the run has allocated there, GiB.
    #[serde(rename = "memory/max_active_gib", skip_serializing_if = "Option::is_none")]
    pub memory_gib: Option<f64>,
    /// The classes that it is made of, GiB: weights in f32.
    #[serde(rename = "memory/weights_gib", skip_serializing_if = "Option::is_none")]
    pub weights_gib: Option<f64>,
    /// Copies of weights in f16.
    #[serde(rename = "memory/halves_gib", skip_serializing_if = "Option::is_none")]
    pub halves_gib: Option<f64>,
    #[serde(rename = "memory/gradients_gib", skip_serializing_if = "Option::is_none")]
    pub gradients_gib: Option<f64>,
    /// Both moments of the optimiser.
    #[serde(rename = "memory/moments_gib", skip_serializing_if = "Option::is_none")]
    pub moments_gib: Option<f64>,
    /// Transient buffers of plans.
    #[serde(rename = "memory/activations_gib", skip_serializing_if = "Option::is_none")]
    pub activations_gib: Option<f64>,
    /// Rotary tables, training state and inputs of plans.
    #[serde(rename = "memory/other_gib", skip_serializing_if = "Option::is_none")]
    pub other_gib: Option<f64>,
    /// Weights and tables of the entropy model that cuts the text.
    #[serde(rename = "memory/entropy_model_gib", skip_serializing_if = "Option::is_none")]
    pub entropy_model_gib: Option<f64>,
    /// Held-out bits per byte, where this step was evaluated.
    #[serde(rename = "eval/bpb", skip_serializing_if = "Option::is_none")]
    pub eval_bits_per_byte: Option<f64>,
    /// Held-out targets behind `eval/bpb`.
    #[serde(rename = "eval/n_bytes", skip_serializing_if = "Option::is_none")]
    pub eval_target_count: Option<u64>,
    /// When the line was made, ISO 8601 UTC; see [`iso_utc`].
    pub created_at: String,
}

impl Metrics {
    /// The line, with its newline.
    pub fn to_line(&self) -> String {
        let mut line = serde_json::to_string(self).expect("numbers and strings are JSON");
        line.push('\n');
        line
    }
}

/// Reads the text of a `metrics.jsonl`; unknown keys are passed over.
///
/// A last line without newline that is no whole object is left out: a run was killed in it.
///
/// # Errors
/// `Input` with the line's number when another line is not such an object.
pub fn parse_lines(text: &str) -> Result<Vec<Metrics>> {
    let mut lines = Vec::new();
    for (index, line) in text.split_inclusive('\n').enumerate() {
        match serde_json::from_str(line) {
            Ok(metrics) => lines.push(metrics),
            Err(_) if line.trim().is_empty() || !line.ends_with('\n') => {}
            Err(error) => {
                let subject = format!("metrics.jsonl line {}", index + 1);
                return Err(Error::input(subject, error.to_string()));
            }
        }
    }
    Ok(lines)
}

/// The beginning of a `metrics.jsonl` up to and including `global_step`: what a run that resumes
/// from that step keeps, so that no step is written down twice.
///
/// # Errors
/// As [`parse_lines`].
pub fn lines_up_to(text: &str, global_step: u64) -> Result<String> {
    let kept = parse_lines(text)?.into_iter().filter(|line| line.global_step <= global_step);
    Ok(kept.map(|line| line.to_line()).collect())
}

/// A time in seconds since 1970-01-01T00:00:00Z as `2024-12-13T09:30:00Z`.
pub fn iso_utc(unix_seconds: u64) -> String {
    let (days, seconds) = (unix_seconds / 86_400, unix_seconds % 86_400);
    let (year, month, day) = civil_date(days);
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// Gregorian date of a day counted from 1970-01-01. Years are taken to start in March, so that the
/// leap day is their last.
fn civil_date(days: u64) -> (u64, u64, u64) {
    const DAYS_TO_1970: u64 = 719_468;
    const ERA_DAYS: u64 = 146_097;
    let days = days + DAYS_TO_1970;
    let day_of_era = days % ERA_DAYS;
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    let year = days / ERA_DAYS * 400 + year_of_era + u64::from(month <= 2);
    (year, month, day)
}

/// `null` is how JSON writes a number that is not finite.
fn number_or_null<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f32, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or(f32::NAN))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sample(global_step: u64) -> Metrics {
        Metrics {
            global_step,
            bytes_per_second: 12_345.678,
            grad_norm: 0.1,
            learning_rate: 4e-4 / 3.0,
            loss: 1.7,
            bytes_per_patch: Some(4.5),
            created_at: iso_utc(1_734_082_200),
            ..Metrics::default()
        }
    }

    #[test]
    fn keys_are_those_of_the_reference() {
        let line = sample(3).to_line();
        assert!(line.ends_with("}\n") && line.matches('\n').count() == 1);
        let object: serde_json::Map<String, serde_json::Value> =
            serde_json::from_str(&line).unwrap();
        for key in [
            "global_step",
            "acc_step",
            "speed/wps",
            "speed/curr_iter_time",
            "optim/grad_norm",
            "optim/lr",
            "optim/total_tokens",
            "loss/step_per_gpu",
            "loss/step_across_gpu",
            "loss/interval_per_gpu",
            "loss/interval_across_gpu",
            "bpb/interval_per_gpu",
            "bpb/interval_across_gpus",
            "n_bytes/interval_per_gpu",
            "n_bytes/interval_across_gpus",
            "bytes_per_patch",
            "created_at",
        ] {
            assert!(object.contains_key(key), "{key}");
        }
        assert!(!object.contains_key("eval/bpb") && !object.contains_key("memory/max_active_gib"));
        assert!(line.contains("\"optim/grad_norm\":0.1,"), "{line}");
    }

    #[test]
    fn dates() {
        assert_eq!(iso_utc(0), "1970-01-01T00:00:00Z");
        assert_eq!(iso_utc(951_782_399), "2000-02-28T23:59:59Z");
        assert_eq!(iso_utc(951_782_400), "2000-02-29T00:00:00Z");
        assert_eq!(iso_utc(1_734_082_200), "2024-12-13T09:30:00Z");
        assert_eq!(iso_utc(4_107_542_400), "2100-03-01T00:00:00Z");
    }

    #[test]
    fn resume_drops_later_steps_and_a_torn_last_line() {
        let mut text: String = (0..5).map(|step| sample(step).to_line()).collect();
        let whole = text.clone();
        text.push_str("{\"global_step\": 5, \"acc_");
        assert_eq!(parse_lines(&text).unwrap(), (0..5).map(sample).collect::<Vec<_>>());
        assert_eq!(lines_up_to(&text, 4).unwrap(), whole);
        let kept = lines_up_to(&text, 2).unwrap();
        assert_eq!(parse_lines(&kept).unwrap(), (0..3).map(sample).collect::<Vec<_>>());
        assert_eq!(parse_lines("").unwrap(), []);
        assert_eq!(parse_lines("{\"global_step\":1,\"new\":[]}").unwrap()[0].global_step, 1);
    }

    #[test]
    fn a_broken_line_is_named() {
        let text =
            format!("{}{{\"global_step\": x}}\n{}", sample(0).to_line(), sample(1).to_line());
        let message = parse_lines(&text).unwrap_err().to_string();
        assert!(message.starts_with("metrics.jsonl line 2: "), "{message}");
        assert!(parse_lines("not json\n").is_err());
    }

    #[test]
    fn a_loss_that_is_not_finite_survives_as_such() {
        let line = Metrics { loss: f32::NAN, grad_norm: f32::INFINITY, ..sample(1) }.to_line();
        let read = &parse_lines(&line).unwrap()[0];
        assert!(read.loss.is_nan() && read.grad_norm.is_nan());
        assert_eq!(read.to_line().matches("null").count(), 2);
    }

    proptest! {
        #[test]
        fn numbers_keep_their_bits(single in any::<u32>(), double in any::<u64>()) {
            let (single, double) = (f32::from_bits(single), f64::from_bits(double));
            prop_assume!(single.is_finite() && double.is_finite());
            let metrics = Metrics { loss: single, learning_rate: double, ..sample(1) };
            let read = &parse_lines(&metrics.to_line()).unwrap()[0];
            prop_assert_eq!(read.loss.to_bits(), single.to_bits());
            prop_assert_eq!(read.learning_rate.to_bits(), double.to_bits());
        }
    }
}
