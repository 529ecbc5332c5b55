//! Which variants of kernels a demo runs on a device: other ones give other bits.

use super::shape::Shape;
use crate::blt::config::ModelConfig;
use crate::blt::{LoadedModel, evaluation_graph, forward_graph, training_graph};
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::graph::Recording;
use crate::kernels::Counts;
use crate::train::{AdamW, update_recording};
use std::collections::{BTreeMap, BTreeSet};

/// The variants in use, by kernel.
pub type Variants = BTreeMap<String, BTreeSet<String>>;

/// What all programs of a demo of this shape use on an engine. Sizes of batches do not matter to
/// the choice, so the smallest stand for all.
///
/// # Errors
/// If the device has not the memory or is lost.
pub(super) async fn variants<E: Engine>(engine: &E, shape: &Shape) -> Result<Variants> {
    let configs =
        [ModelConfig::Entropy(shape.entropy_config()), ModelConfig::Blt(shape.blt_config())];
    let mut found = Variants::new();
    // The first time through, a device checks its variants and may come to distrust some; only the
    // second time it is known what is left.
    for _ in 0..2 {
        found.clear();
        for config in &configs {
            let model = LoadedModel::create(engine, config.clone(), true).await?;
            let graphs = [
                ("micro", training_graph as fn(&ModelConfig) -> _),
                ("evaluate", evaluation_graph),
                ("forward", forward_graph),
            ];
            for (name, graph) in graphs {
                add(&model.compile(engine, graph, name, Counts::default()).await?, &mut found);
            }
            let abilities = engine.abilities();
            add(&update_recording(&model.layout, &AdamW::default(), &abilities), &mut found);
        }
    }
    Ok(found)
}

fn add(recording: &Recording, found: &mut Variants) {
    for dispatch in &recording.dispatches {
        let variant = dispatch.kernel.variants[dispatch.variant].name;
        found.entry(dispatch.kernel.name.to_owned()).or_default().insert(variant.to_owned());
    }
}

/// That a device runs what the record of a demo says it ran.
///
/// # Errors
/// The first kernel that would run otherwise, since the bits would differ.
pub(super) fn check(recorded: &Variants, here: &Variants) -> Result<()> {
    let kernels: BTreeSet<_> = recorded.keys().chain(here.keys()).collect();
    for kernel in kernels {
        let (then, now) = (recorded.get(kernel), here.get(kernel));
        if then == now {
            continue;
        }
        let list = |variants: Option<&BTreeSet<String>>| match variants {
            Some(variants) => variants.iter().map(String::as_str).collect::<Vec<_>>().join(", "),
            None => "nothing".to_owned(),
        };
        let problem = format!(
            "the run used {} of kernel {kernel}, here it would be {}: the bits would differ",
            list(then),
            list(now)
        );
        return Err(Error::input("record", problem).with_hint(
            "replay with the driver and the version of the program that it was made with; without \
             \"variants\" in the record it runs anyway",
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(pairs: &[(&str, &str)]) -> Variants {
        let mut variants = Variants::new();
        for (kernel, variant) in pairs {
            variants.entry(kernel.to_string()).or_default().insert(variant.to_string());
        }
        variants
    }

    #[test]
    fn a_variant_that_is_gone_new_or_another_is_named() {
        let then = of(&[("matmul", "base"), ("matmul", "matrix"), ("rms_norm", "base")]);
        check(&then, &then).unwrap();
        let message = |here: &[(&str, &str)]| check(&then, &of(here)).unwrap_err().to_string();
        let gone = message(&[("matmul", "base"), ("rms_norm", "base")]);
        assert!(gone.contains("base, matrix of kernel matmul, here it would be base:"), "{gone}");
        let missing = message(&[("matmul", "base"), ("matmul", "matrix")]);
        assert!(missing.contains("rms_norm, here it would be nothing"), "{missing}");
        let mut more = then.clone();
        more.extend(of(&[("cast", "wide")]));
        let more = check(&then, &more).unwrap_err().to_string();
        assert!(more.contains("used nothing of kernel cast, here it would be wide"), "{more}");
    }
}
