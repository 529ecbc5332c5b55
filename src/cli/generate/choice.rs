//! How ids are chosen: the flags of `blt generate` for sampling.

use super::super::escaped::Escaped;
use super::super::failure::Usage;
use super::super::numbers::Ids;
use blt_wgpu::Error;
use blt_wgpu::generate::sampling::{Sampler, SamplingOptions};
use blt_wgpu::text::BYTE_OFFSET;

/// Flags for the choice of an id; they act in the order in which they stand here, bans second.
#[derive(clap::Args)]
#[command(next_help_heading = "Choice of bytes")]
pub struct ChoiceArguments {
    /// Divides positive logits of what the text has already, multiplies negative ones; 1 is off
    #[arg(long, default_value_t = 1.0, value_name = "R", allow_hyphen_values = true)]
    repetition_penalty: f32,
    /// Divides the logits before an id is drawn; 0 takes the likeliest
    #[arg(long, default_value_t = 0.0, value_name = "T", allow_hyphen_values = true)]
    temperature: f32,
    /// Draw from the K likeliest ids only; 0 is off
    #[arg(long, default_value_t = 0, value_name = "K")]
    top_k: usize,
    /// Draw from the likeliest ids that together have this probability; 0 is off
    #[arg(long, default_value_t = 0.0, value_name = "P", allow_hyphen_values = true)]
    top_p: f32,
    /// Draw no id less likely than this part of the likeliest; 0 is off
    #[arg(long, default_value_t = 0.0, value_name = "P", allow_hyphen_values = true)]
    min_p: f32,
    /// Seed of the draws; 0 unless told otherwise
    #[arg(long, value_name = "S")]
    seed: Option<u64>,
    /// Bytes that are never generated, each by itself; knows \n \t \r \\ \xNN
    #[arg(long, value_name = "BYTES", allow_hyphen_values = true)]
    ban: Vec<Escaped>,
    /// Ids that are never generated: 2 is the end of the text
    #[arg(long, value_name = "1,2,..", allow_hyphen_values = true)]
    ban_ids: Vec<Ids>,
    /// Let ids 0, 1 and 3 be generated, which are no bytes
    #[arg(long)]
    allow_special: bool,
}

impl ChoiceArguments {
    /// What they ask for.
    ///
    /// # Errors
    /// A value that is out of its range.
    pub fn sampler(&self) -> Result<Sampler, Usage> {
        let bytes = self.ban.iter().flat_map(|banned| &banned.0);
        let mut banned_ids: Vec<u32> = bytes.map(|&byte| u32::from(byte) + BYTE_OFFSET).collect();
        banned_ids.extend(self.ban_ids.iter().flat_map(|ids| &ids.0));
        let options = SamplingOptions {
            temperature: self.temperature,
            top_k: self.top_k,
            top_p: self.top_p,
            min_p: self.min_p,
            repetition_penalty: self.repetition_penalty,
            allow_special: self.allow_special,
            banned_ids,
        };
        Sampler::new(options, self.seed.unwrap_or(0)).map_err(|error| match error {
            // `top_p: expected ..`: named like its flag, but for the dashes.
            Error::Input { subject, problem, .. } => {
                let flag = format!("--{}", subject.replace('_', "-"));
                Usage::new(format!("{flag}: {problem}"), "`blt generate --help` has the ranges")
            }
            other => Usage::new(other.to_string(), "`blt generate --help` has the ranges"),
        })
    }

    /// What to say where flags do nothing: the likeliest id is taken, whatever draws would do.
    pub fn without_effect(&self) -> Option<String> {
        if self.temperature != 0.0 {
            return None;
        }
        let given = [
            ("--top-k", self.top_k != 0),
            ("--top-p", self.top_p != 0.0),
            ("--min-p", self.min_p != 0.0),
            ("--seed", self.seed.is_some()),
        ];
        let flags: Vec<_> = given.iter().filter(|(_, is_given)| *is_given).map(|it| it.0).collect();
        (!flags.is_empty()).then(|| {
            format!(
                "{} without effect: at temperature 0 the likeliest byte is taken; --temperature 1 \
                 draws",
                flags.join(", ")
            )
        })
    }
}
