//! The moments of the optimiser in a checkpoint: `optimizer-00001.safetensors` and more where one
//! would be too large, written and read in pieces of rows.

use crate::blt::parameters::ParameterSpec;
use crate::blt::{LoadedModel, MOMENT1, MOMENT2};
use crate::checkpoint::{Checkpoint, CheckpointDraft, PIECE_ELEMENTS, TensorFile, Underway};
use crate::engine::Engine;
use crate::error::{Error, Result};

/// The name of a file, counted from 1.
pub(super) fn file_name(number: usize) -> String {
    format!("optimizer-{number:05}.safetensors")
}

fn moment_name(parameter: &str, class: &str) -> String {
    format!("{parameter}.{class}")
}

/// What goes into each file: another is begun where one would pass `shard_bytes`.
fn files<'a>(parameters: &'a [ParameterSpec], shard_bytes: u64) -> Vec<Vec<&'a ParameterSpec>> {
    let mut files: Vec<Vec<&'a ParameterSpec>> = vec![Vec::new()];
    let mut filled = 0;
    for spec in parameters {
        let bytes = 2 * 4 * (spec.rows * spec.cols) as u64;
        if filled > 0 && filled + bytes > shard_bytes {
            files.push(Vec::new());
            filled = 0;
        }
        filled += bytes;
        files.last_mut().expect("there is one at the least").push(spec);
    }
    files
}

/// Writes the moments of a model that nothing in it is behind.
///
/// # Errors
/// A disk that refuses, or a lost device.
pub(super) async fn write_moments<E: Engine>(
    engine: &E,
    draft: &CheckpointDraft,
    model: &LoadedModel<E>,
    shard_bytes: u64,
) -> Result<()> {
    for (index, specs) in files(&model.parameters, shard_bytes).into_iter().enumerate() {
        let both = |spec: &&ParameterSpec| {
            [MOMENT1, MOMENT2].map(|class| (moment_name(&spec.name, class), spec.shape()))
        };
        let tensors: Vec<_> = specs.iter().flat_map(both).collect();
        let mut writer = draft.tensor_writer(&file_name(index + 1), &tensors)?;
        for spec in specs {
            for class in [MOMENT1, MOMENT2] {
                let name = moment_name(&spec.name, class);
                for rows in spec.row_pieces(PIECE_ELEMENTS) {
                    writer.push(&name, &model.read_rows(engine, &name, rows).await?)?;
                }
            }
        }
        writer.commit()?;
    }
    Ok(())
}

/// Writes the moments of a checkpoint into a model.
///
/// # Errors
/// A file that is missing or damaged, a tensor that is missing, of another shape or not finite; a
/// lost device.
pub(super) async fn restore_moments<E: Engine>(
    engine: &E,
    model: &LoadedModel<E>,
    checkpoint: &Checkpoint,
) -> Result<()> {
    let mut files: Vec<(String, TensorFile)> = Vec::new();
    while files.is_empty() || checkpoint.path.join(file_name(files.len() + 1)).is_file() {
        let name = file_name(files.len() + 1);
        files.push((checkpoint.path.join(&name).display().to_string(), checkpoint.tensors(&name)?));
    }
    let (mut staging, mut underway) = (Vec::new(), Underway::default());
    for spec in &model.parameters {
        for class in [MOMENT1, MOMENT2] {
            let name = moment_name(&spec.name, class);
            let found = files.iter().find(|(_, file)| file.entry(&name).is_ok());
            // Which of them it should be in nobody knows; the last one says that it is not there.
            let (place, file) = found.or(files.last()).expect("there is one at the least");
            let subject = || format!("{place}: {name}");
            let shape = &file.entry(&name)?.shape;
            if *shape != spec.shape() {
                let problem = format!("expected shape {:?}, got {shape:?}", spec.shape());
                return Err(Error::model(subject(), problem));
            }
            for rows in spec.row_pieces(PIECE_ELEMENTS) {
                let first = rows.start * spec.cols;
                staging.resize(rows.len() * spec.cols, 0.0);
                file.read_into(&name, first, &mut staging)?;
                if let Some(at) = staging.iter().position(|value| !value.is_finite()) {
                    let (got, at) = (staging[at], first + at);
                    let problem = format!("expected finite numbers, got {got} at {at}");
                    return Err(Error::model(subject(), problem));
                }
                if underway.is_full_before(staging.len()) {
                    // Reading comes behind everything that was written.
                    model.read_rows(engine, &name, rows.start..rows.start + 1).await?;
                }
                model.write_rows(engine, &name, rows.start, &staging)?;
            }
        }
    }
    Ok(())
}
