//! Where the elements of a parameter lie: one tensor, several whose rows follow each other, or
//! blocks with their scales.

use std::collections::BTreeSet;

use safetensors::tensor::Dtype;

use super::blocks::BlockFormat;
use super::elements::ElementType;
use super::tensor_set::TensorSet;
use crate::blt::parameters::{ParameterSpec, ReferenceTensor};
use crate::error::{Error, Result};

/// Names listed in an error before it says how many more there are.
const LISTED_NAME_COUNT: usize = 3;

/// What the scales of a tensor in blocks are called.
pub(super) const SCALE_SUFFIX: &str = ".scale";

/// A tensor of one of a directory's sets.
#[derive(Debug, Clone)]
pub(super) struct Piece {
    pub set: usize,
    pub name: String,
    /// The shape that it must have.
    pub shape: Vec<usize>,
}

impl Piece {
    pub fn element_count(&self) -> usize {
        self.shape.iter().product()
    }
}

/// Where a parameter lies.
#[derive(Debug, Clone)]
pub(super) enum Source {
    /// Tensors whose rows follow each other.
    Rows(Vec<Piece>),
    /// A matrix in blocks.
    Blocks { format: BlockFormat, codes: Piece, scales: Piece },
}

impl Source {
    fn pieces(&self) -> Vec<&Piece> {
        match self {
            Self::Rows(pieces) => pieces.iter().collect(),
            Self::Blocks { codes, scales, .. } => vec![codes, scales],
        }
    }
}

/// A parameter under its own name; in blocks where the set has scales for it.
pub(super) fn own_name(
    parameter: &ParameterSpec,
    blocks: Option<BlockFormat>,
    tensors: &TensorSet,
) -> Source {
    let name = parameter.name.clone();
    let scale_name = format!("{name}{SCALE_SUFFIX}");
    match blocks {
        Some(format) if !parameter.one_dimensional && tensors.entry(&scale_name).is_ok() => {
            let (rows, cols) = (parameter.rows, parameter.cols);
            let codes = vec![rows, format.row_bytes(cols)];
            let scales = vec![rows, format.row_scales(cols)];
            Source::Blocks {
                format,
                codes: Piece { set: 0, name, shape: codes },
                scales: Piece { set: 0, name: scale_name, shape: scales },
            }
        }
        _ => Source::Rows(vec![Piece { set: 0, name, shape: parameter.shape() }]),
    }
}

/// A parameter under the names of the reference; those of the entropy model are in `set`.
pub(super) fn reference_names(
    parameter: &ParameterSpec,
    layout: &[ReferenceTensor],
    set: usize,
) -> Source {
    let mut tensors: Vec<_> = layout.iter().filter(|it| it.name == parameter.name).collect();
    tensors.sort_by_key(|tensor| tensor.first_row);
    let shape = |tensor: &ReferenceTensor| match tensor.one_dimensional {
        true => vec![tensor.cols],
        false => vec![tensor.rows, tensor.cols],
    };
    let piece = |tensor: &&ReferenceTensor| Piece {
        set,
        name: tensor.reference_name.clone(),
        shape: shape(tensor),
    };
    Source::Rows(tensors.iter().map(piece).collect())
}

/// Every tensor is there, has its shape and a type that can be read, and none is left over but
/// those that `is_ignored` names.
pub(super) fn check(
    sources: &[Source],
    sets: &[TensorSet],
    is_ignored: fn(&str) -> bool,
) -> Result<()> {
    check_names(sources, sets, is_ignored)?;
    for source in sources {
        for piece in source.pieces() {
            let tensors = &sets[piece.set];
            let entry = tensors.entry(&piece.name)?;
            let subject = || format!("{}: {}", tensors.subject(), piece.name);
            if entry.shape != piece.shape {
                let problem = format!("expected shape {:?}, got {:?}", piece.shape, entry.shape);
                return Err(Error::model(subject(), problem));
            }
            let is_codes =
                matches!(source, Source::Blocks { codes, .. } if codes.name == piece.name);
            let is_scales = matches!(source, Source::Blocks { .. }) && !is_codes;
            let expected = match (is_codes, is_scales) {
                (true, _) if entry.dtype != Dtype::U8 => "U8",
                (_, true) if entry.dtype != Dtype::F16 => "F16",
                (false, false) if ElementType::of(entry.dtype).is_none() => "F32, F16 or BF16",
                _ => continue,
            };
            let problem = format!("expected elements of type {expected}, got {}", entry.dtype);
            return Err(Error::model(subject(), problem));
        }
    }
    Ok(())
}

fn check_names(sources: &[Source], sets: &[TensorSet], is_ignored: fn(&str) -> bool) -> Result<()> {
    let pieces: Vec<_> = sources.iter().flat_map(Source::pieces).collect();
    for (index, tensors) in sets.iter().enumerate() {
        let expected: Vec<_> = pieces.iter().filter(|piece| piece.set == index).collect();
        let names: BTreeSet<_> = expected.iter().map(|piece| piece.name.as_str()).collect();
        let missing: Vec<_> = expected
            .iter()
            .filter(|piece| tensors.entry(&piece.name).is_err())
            .map(|piece| format!("{} {:?}", piece.name, piece.shape))
            .collect();
        if !missing.is_empty() {
            return Err(Error::model(tensors.subject(), format!("missing: {}", listed(&missing)))
                .with_hint("config.json describes a larger model than the weights make up"));
        }
        let is_extra = |name: &&str| !names.contains(name) && !is_ignored(name);
        let extra: Vec<_> = tensors.names().filter(is_extra).map(str::to_owned).collect();
        if !extra.is_empty() {
            return Err(Error::model(
                tensors.subject(),
                format!("tensors that config.json has no place for: {}", listed(&extra)),
            )
            .with_hint("config.json describes a smaller model than the weights make up"));
        }
    }
    Ok(())
}

/// The first few names, and how many more there are.
fn listed(names: &[String]) -> String {
    let shown = names[..names.len().min(LISTED_NAME_COUNT)].join(", ");
    match names.len().saturating_sub(LISTED_NAME_COUNT) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}
