//! What to do about an error of the device, in the words of a run.

use std::path::Path;

use crate::error::Error;

/// The error with what helps a run: less memory at a time, or the checkpoint to go on from.
pub(super) fn advised(error: Error, saved: Option<&Path>) -> Error {
    let kept = match saved {
        Some(path) => format!("the last checkpoint is {}", path.display()),
        None => "there is no checkpoint yet".to_owned(),
    };
    let again = match saved {
        Some(_) => "--resume goes on from it",
        None => "the run begins again",
    };
    match error {
        Error::OutOfMemory { .. } => error.with_hint(format!(
            "lower data.batch_size and raise grad_acc_steps by as much, or lower \
             data.max_encoder_seq_length, or set recompute = \"blocks\"; {kept}"
        )),
        Error::Lost { .. } => error.with_hint(format!(
            "{kept}; {again}, and --restart-on-loss N does so by itself, N times"
        )),
        // What was being written is gone, what was there is whole.
        Error::Io { .. } if saved.is_some() => {
            let hint = error.hint().map(|hint| format!("{hint}; ")).unwrap_or_default();
            error.with_hint(format!("{hint}{kept}, {again}"))
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_to_lower_and_where_to_go_on_is_said() {
        let memory = || Error::OutOfMemory { subject: "micro".into(), hint: String::new() };
        let hint = |error: Error| error.hint().unwrap_or_default().to_owned();
        let saved = Path::new("run/checkpoints/step-0000000007");
        let said = hint(advised(memory(), Some(saved)));
        for part in ["data.batch_size", "grad_acc_steps", "recompute", "step-0000000007"] {
            assert!(said.contains(part), "{said}");
        }
        assert!(hint(advised(memory(), None)).ends_with("no checkpoint yet"));
        let said = hint(advised(Error::lost("gpu", "reset"), Some(saved)));
        assert!(said.contains("step-0000000007") && said.contains("--restart-on-loss N"), "{said}");
        let other = advised(Error::input("a", "b").with_hint("c"), None);
        assert_eq!(other.hint(), Some("c"));
    }
}
