//! What is loaded: a BLT with its entropy model, or a lone entropy model.

use super::Anything;
use super::options::Options;
use blt_wgpu::blt::config::{ModelConfig, WeightType};
use blt_wgpu::blt::patching::{DEFAULT_THRESHOLD, Patching, PatchingMode};
use blt_wgpu::blt::{LoadedDirectory, LoadedModel, model_patching};
use blt_wgpu::checkpoint::{LoadOptions, LoadedTypes, ModelDirectory};
use blt_wgpu::demo::{SHAKESPEARE, Shape};
use blt_wgpu::gpu::GpuEngine;
use pollster::block_on;

/// Models on the device, and what there is to learn from.
pub struct Models {
    pub loaded: LoadedDirectory<GpuEngine>,
    pub name: String,
    pub corpus: Vec<u8>,
    pub corpus_name: String,
    /// Bytes that a step of learning reads.
    pub batch_bytes: usize,
}

/// A model that can learn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The one that colours the text.
    Entropy,
    /// The one that writes.
    Model,
}

impl Models {
    /// The models of the directory that was asked for, in f32, since they are to learn, or fresh
    /// ones.
    pub fn load(engine: &GpuEngine, options: &Options) -> Anything<Self> {
        let loaded = match &options.model {
            Some(path) => {
                let directory = ModelDirectory::open(path)?;
                let types = LoadedTypes::Of(WeightType::F32);
                let as_f32 = LoadOptions { types, ..LoadOptions::default() };
                block_on(LoadedDirectory::load_as(engine, &directory, as_f32))?
            }
            None => block_on(fresh(engine))?,
        };
        let name = match &options.model {
            Some(path) => path.display().to_string(),
            None => "a fresh model".to_owned(),
        };
        let (corpus, corpus_name) = match &options.data {
            Some(path) => {
                let text =
                    std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
                let name = path.file_name().unwrap_or(path.as_os_str());
                (text, name.to_string_lossy().into_owned())
            }
            None => (SHAKESPEARE.to_vec(), "Shakespeare".to_owned()),
        };
        if corpus.len() < options.batch_bytes {
            return Err(format!(
                "{corpus_name}: shorter than a batch of {} bytes",
                options.batch_bytes
            )
            .into());
        }
        let models = Self { loaded, name, corpus, corpus_name, batch_bytes: options.batch_bytes };
        match models.parts().contains(&options.part) {
            true => Ok(models),
            false => {
                Err(format!("{}: there is no such part to learn: {:?}", models.name, options.part)
                    .into())
            }
        }
    }

    /// The rule by which a text falls into patches.
    pub fn patching(&self) -> Patching {
        match &self.loaded.model.config {
            ModelConfig::Blt(config) => model_patching(config),
            ModelConfig::Entropy(_) => {
                Patching::new(PatchingMode::Entropy { threshold: DEFAULT_THRESHOLD })
            }
        }
    }

    /// The models that can learn.
    pub fn parts(&self) -> Vec<Part> {
        let mut parts = Vec::new();
        if self.loaded.entropy_model().is_some() {
            parts.push(Part::Entropy);
        }
        if matches!(self.loaded.model.config, ModelConfig::Blt(_)) {
            parts.push(Part::Model);
        }
        parts
    }

    /// The model of a part that there is.
    pub fn part(&self, part: Part) -> &LoadedModel<GpuEngine> {
        match part {
            Part::Model => &self.loaded.model,
            Part::Entropy => self.loaded.entropy_model().expect("it is among the parts"),
        }
    }

    /// Parameters of all models.
    pub fn parameter_count(&self) -> usize {
        let models = [Some(&self.loaded.model), self.loaded.patcher.as_ref()];
        let specs = models.into_iter().flatten().flat_map(|model| &model.parameters);
        specs.map(|spec| spec.rows * spec.cols).sum()
    }
}

/// The demo's small shape with fresh weights: first its entropies, then its patches become sense.
async fn fresh(engine: &GpuEngine) -> blt_wgpu::Result<LoadedDirectory<GpuEngine>> {
    let shape = &Shape::all()[0];
    let mut config = shape.blt_config();
    config.patcher = Some(shape.entropy_config());
    let entropy = ModelConfig::Entropy(shape.entropy_config());
    let patcher = LoadedModel::create(engine, entropy, false).await?;
    patcher.initialise(engine, 1)?;
    let model = LoadedModel::create(engine, ModelConfig::Blt(config), false).await?;
    model.initialise(engine, 2)?;
    Ok(LoadedDirectory { model, patcher: Some(patcher) })
}
