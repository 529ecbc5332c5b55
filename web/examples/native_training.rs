//! `native_training TEXT DIRECTORY OPTIONS`: the training of a page, natively on the CPU engine.
//!
//! OPTIONS is the JSON of `TrainOptions`. Leaves a model directory and prints the losses of all
//! steps as one line of JSON: what `cargo xtask web-test` compares a browser with.

use blt_web::training::{Phase, Training};
use blt_wgpu::cpu::HostEngine;
use blt_wgpu::device::Device;
use blt_wgpu::platform::NativePlatform;
use std::error::Error;
use std::path::Path;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [text, directory, options] = &arguments[..] else {
        return Err("usage: native_training TEXT DIRECTORY OPTIONS".into());
    };
    let (text, options) = (std::fs::read(text)?, serde_json::from_str(options)?);
    let (losses, files) = pollster::block_on(train(&text, options)).map_err(|it| it.to_string())?;
    std::fs::create_dir_all(directory)?;
    for (name, bytes) in files {
        std::fs::write(Path::new(directory).join(name), bytes)?;
    }
    println!("{}", serde_json::to_string(&losses)?);
    Ok(())
}

type Trained = (Vec<f64>, Vec<blt_web::model::NamedFile>);

async fn train(text: &[u8], options: blt_web::training::TrainOptions) -> blt_web::Result<Trained> {
    let (device, platform) = (Device::Cpu(HostEngine::default()), NativePlatform::default());
    let mut training = Training::new(&device, text, options, &platform).await?;
    let mut losses = Vec::new();
    while let Some(step) = training.step(&platform).await? {
        if step.phase != Phase::Cut {
            losses.push(step.loss);
        }
    }
    Ok((losses, training.files().await?))
}
