//! A host that has a wgpu device of its own runs one forward pass on it and reads one result back:
//! `cargo run --release --example headless_embed [MODEL_DIRECTORY]`, a fresh model without one.

use blt_wgpu::blt::{LoadedDirectory, LoadedModel, config::ModelConfig};
use blt_wgpu::eval::{ScoreOptions, Scorer};
use blt_wgpu::gpu::{Context, GpuEngine, wgpu};
use blt_wgpu::{checkpoint::ModelDirectory, demo::Shape, engine::Engine, text::encode};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    pollster::block_on(async {
        let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle());
        let adapter = wgpu::util::initialize_adapter_from_env_or_default(&instance, None).await?;
        let (device, queue) = adapter.request_device(&Default::default()).await?;
        let engine = GpuEngine::new(Context::from_wgpu(device, queue, Some(&adapter), false));

        let path = std::env::args().nth(1);
        let loaded = match &path {
            Some(path) => {
                LoadedDirectory::load(&engine, &ModelDirectory::open(path)?, false).await?
            }
            None => {
                let config = ModelConfig::Entropy(Shape::all()[0].entropy_config());
                let model = LoadedModel::create(&engine, config, false).await?;
                model.initialise(&engine, 1)?;
                LoadedDirectory { model, patcher: None }
            }
        };
        let model = loaded.entropy_model().ok_or("there is no entropy model in it")?;
        let mut scorer = Scorer::new(ScoreOptions { context: 64, batch_bytes: 64 });
        let text = "To be, or not to be";
        let nats = scorer.entropies(&engine, model, &encode(text.as_bytes(), true, false)).await?;
        println!("{}, {}:", engine.name(), path.as_deref().unwrap_or("a fresh model"));
        for (byte, nats) in text.chars().zip(&nats) {
            println!("{nats:.2} nats in front of {byte:?}");
        }
        Ok(())
    })
}
