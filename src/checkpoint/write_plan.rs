//! What the files of a model will be called, and which tensors go into each.

use std::collections::BTreeMap;

use safetensors::tensor::Dtype;
use serde_json::json;

use super::blocks::BlockFormat;
use super::elements::ElementType;
use super::model_directory::ModelDirectory;
use super::release::{self, ENTROPY_FOLDER, PARAMS_FILE};
use super::source::{SCALE_SUFFIX, Source};
use super::tensor_set::{INDEX_FILE, SINGLE_FILE, TORCH_FILES};
use super::tensor_writer::NewEntry;
use crate::blt::config::{ModelConfig, WeightType, generation_json};
use crate::blt::parameters::{ParameterSpec, model_parameters};
use crate::error::{Error, Result};

/// How a directory is laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DirectoryLayout {
    /// As `transformers` has it.
    #[default]
    HuggingFace,
    /// As the paper's authors released theirs.
    Release,
}

/// What a model is written as.
#[derive(Debug, Clone, Copy)]
pub struct WriteOptions<'a> {
    pub layout: DirectoryLayout,
    pub weights: WeightType,
    /// Begin another file where one would pass this many bytes; `None`: one file.
    pub shard_bytes: Option<u64>,
    /// With weights in blocks, what is in none keeps the type that it has here; else it is f32.
    pub kept: Option<&'a ModelDirectory>,
    /// What is in no blocks keeps the type that it has in `kept` with every type of weights.
    pub keeps_types: bool,
}

impl Default for WriteOptions<'_> {
    fn default() -> Self {
        let (layout, weights) = (DirectoryLayout::HuggingFace, WeightType::F32);
        Self { layout, weights, shard_bytes: None, kept: None, keeps_types: false }
    }
}

/// Files by name, and where each parameter goes.
pub(super) struct WritePlan {
    pub texts: Vec<(String, String)>,
    pub files: Vec<(String, Vec<NewEntry>)>,
    /// Name, elements and place of every parameter, in their order.
    pub outputs: Vec<(String, u64, Output)>,
}

/// Where the elements of a parameter go.
#[derive(Debug)]
pub(super) enum Output {
    /// Tensors that follow each other: file, name, elements.
    Rows(Vec<(usize, String, u64)>),
    /// A matrix in blocks.
    Blocks { file: usize, codes: String, scales: String, format: BlockFormat, cols: usize },
}

impl WritePlan {
    pub fn new(config: &ModelConfig, options: &WriteOptions) -> Result<Self> {
        let parameters = model_parameters(config);
        match options.layout {
            DirectoryLayout::HuggingFace => hugging_face(config, &parameters, options),
            DirectoryLayout::Release => original(config, &parameters, options),
        }
    }
}

fn hugging_face(
    config: &ModelConfig,
    parameters: &[ParameterSpec],
    options: &WriteOptions,
) -> Result<WritePlan> {
    let format = BlockFormat::of(options.weights);
    if format.is_some() && !parameters.iter().any(ParameterSpec::may_be_blocks) {
        return Err(Error::config(
            "type of weights",
            "this model has no matrix to put into blocks",
        ));
    }
    let mut files: Vec<Vec<NewEntry>> = vec![Vec::new()];
    let mut outputs = Vec::new();
    let mut filled = 0;
    for parameter in parameters {
        let format = format.filter(|_| parameter.may_be_blocks());
        let entries = entries(parameter, format, plain_type(parameter, options)?);
        let size: u64 = entries.iter().map(NewEntry::byte_count).sum();
        if filled > 0 && options.shard_bytes.is_some_and(|most| filled + size > most) {
            files.push(Vec::new());
            filled = 0;
        }
        filled += size;
        let file = files.len() - 1;
        let name = parameter.name.clone();
        let output = match format {
            Some(format) => Output::Blocks {
                file,
                codes: name.clone(),
                scales: format!("{name}{SCALE_SUFFIX}"),
                format,
                cols: parameter.cols,
            },
            None => Output::Rows(vec![(file, name.clone(), parameter.element_count())]),
        };
        outputs.push((name, parameter.element_count(), output));
        files.last_mut().expect("there is always one").extend(entries);
    }
    let mut texts = vec![
        ("config.json".to_owned(), config.to_json_beside(options.weights)),
        ("generation_config.json".to_owned(), generation_json()),
    ];
    let count = files.len();
    let name = |index: usize| match count {
        1 => SINGLE_FILE.to_owned(),
        _ => format!("model-{:05}-of-{count:05}.safetensors", index + 1),
    };
    let files: Vec<_> =
        files.into_iter().enumerate().map(|(index, file)| (name(index), file)).collect();
    if count > 1 {
        texts.push((INDEX_FILE.to_owned(), index(&files)));
    }
    Ok(WritePlan { texts, files, outputs })
}

/// The list of tensors and the files they are in.
fn index(files: &[(String, Vec<NewEntry>)]) -> String {
    let entries = || files.iter().flat_map(|(name, file)| file.iter().map(move |it| (name, it)));
    let total_size: u64 = entries().map(|(_, entry)| entry.byte_count()).sum();
    let weight_map: BTreeMap<_, _> =
        entries().map(|(name, entry)| (entry.name.clone(), name.clone())).collect();
    let index = json!({ "metadata": { "total_size": total_size }, "weight_map": weight_map });
    format!("{index:#}\n")
}

/// The tensors of a parameter.
fn entries(
    parameter: &ParameterSpec,
    format: Option<BlockFormat>,
    kind: ElementType,
) -> Vec<NewEntry> {
    let (name, rows, cols) = (parameter.name.clone(), parameter.rows, parameter.cols);
    let Some(format) = format else {
        return vec![NewEntry { name, shape: parameter.shape(), dtype: kind.dtype() }];
    };
    let scale_name = format!("{name}{SCALE_SUFFIX}");
    let (codes, scales) = (vec![rows, format.row_bytes(cols)], vec![rows, format.row_scales(cols)]);
    vec![
        NewEntry { name, shape: codes, dtype: Dtype::U8 },
        NewEntry { name: scale_name, shape: scales, dtype: Dtype::F16 },
    ]
}

/// The type of what is in no blocks.
fn plain_type(parameter: &ParameterSpec, options: &WriteOptions) -> Result<ElementType> {
    if let Some(directory) = options.kept
        && (options.keeps_types || options.weights.is_blocks())
    {
        return Ok(directory.element_type(&parameter.name)?.unwrap_or(ElementType::F32));
    }
    Ok(match options.weights {
        WeightType::F32 | WeightType::Int8 | WeightType::Q4 => ElementType::F32,
        WeightType::F16 => ElementType::F16,
        WeightType::Bf16 => ElementType::Bf16,
    })
}

fn original(
    config: &ModelConfig,
    parameters: &[ParameterSpec],
    options: &WriteOptions,
) -> Result<WritePlan> {
    if options.weights.is_blocks() || options.shard_bytes.is_some() {
        let problem = "the original layout has neither shards nor weights in blocks";
        return Err(Error::config("layout", problem).with_hint("write the model with `--to hf`"));
    }
    let release = config.to_release()?;
    let torch_file = TORCH_FILES[0];
    let (texts, names) = match (config, release.config) {
        (ModelConfig::Blt(_), Some(text)) => {
            let params = format!("{ENTROPY_FOLDER}/{PARAMS_FILE}");
            let texts = [Some(("config.json".to_owned(), text)), {
                release.entropy_params.map(|text| (params, text))
            }];
            let torch_file = format!("{ENTROPY_FOLDER}/{torch_file}");
            (texts, vec![SINGLE_FILE.to_owned(), torch_file])
        }
        (_, _) => {
            let texts = [release.entropy_params.map(|text| (PARAMS_FILE.to_owned(), text)), None];
            (texts, vec![torch_file.to_owned()])
        }
    };
    let mut files: Vec<_> = names.into_iter().map(|name| (name, Vec::new())).collect();
    let mut outputs = Vec::new();
    for (parameter, source) in parameters.iter().zip(release::sources(config, parameters)) {
        let Source::Rows(pieces) = source else { unreachable!("that layout has no blocks") };
        let dtype = plain_type(parameter, options)?.dtype();
        let mut rows = Vec::new();
        for piece in pieces {
            rows.push((piece.set, piece.name.clone(), piece.element_count() as u64));
            files[piece.set].1.push(NewEntry { name: piece.name, shape: piece.shape, dtype });
        }
        outputs.push((parameter.name.clone(), parameter.element_count(), Output::Rows(rows)));
    }
    // A file of torch.save has one type here: f32, which holds the others, where they differ.
    for (_, entries) in files.iter_mut().filter(|(name, _)| name.ends_with(".pth")) {
        if entries.iter().any(|entry| entry.dtype != entries[0].dtype) {
            entries.iter_mut().for_each(|entry| entry.dtype = Dtype::F32);
        }
    }
    files.retain(|(_, entries)| !entries.is_empty());
    Ok(WritePlan { texts: texts.into_iter().flatten().collect(), files, outputs })
}
