//! A model directory as files in memory, for a host without a file system.

use super::tensor_writer::TensorWriter;
use super::write_plan::{Output, WriteOptions, WritePlan};
use crate::blt::LoadedModel;
use crate::blt::config::ModelConfig;
use crate::blt::parameters::PATCHER_PREFIX;
use crate::engine::Engine;
use crate::error::Result;

/// What [`save_directory`](super::save_directory) would write, by name: `config.json` and what else
/// is text, and one file of weights in f32.
///
/// # Errors
/// A weight that is not finite, or a device that is lost.
pub async fn directory_files<E: Engine>(
    engine: &E,
    config: &ModelConfig,
    model: &LoadedModel<E>,
    patcher: Option<&LoadedModel<E>>,
) -> Result<Vec<(String, Vec<u8>)>> {
    config.validate()?;
    let WritePlan { texts, mut files, outputs } = WritePlan::new(config, &WriteOptions::default())?;
    let (name, entries) = files.pop().expect("weights are written to a file");
    assert!(files.is_empty(), "without a limit there is one file of weights");
    let mut writer = TensorWriter::new(Vec::new(), &name, entries)?;
    for (parameter, _, output) in &outputs {
        let values = match (parameter.strip_prefix(PATCHER_PREFIX), patcher) {
            (Some(own), Some(patcher)) => patcher.read(engine, own).await?,
            _ => model.read(engine, parameter).await?,
        };
        super::model_directory::check_finite("model", parameter, 0, &values)?;
        let Output::Rows(pieces) = output else { unreachable!("f32 is in no blocks") };
        let mut rest = &values[..];
        for (_, tensor, count) in pieces {
            let (own, behind) = rest.split_at(*count as usize);
            writer.push(tensor, own)?;
            rest = behind;
        }
    }
    let weights = writer.finish()?;
    let texts = texts.into_iter().map(|(name, text)| (name, text.into_bytes()));
    Ok(texts.chain([(name, weights)]).collect())
}
