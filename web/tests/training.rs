//! A training as a page steps it, on the CPU engine.

use blt_web::generation::GenerateOptions;
use blt_web::training::{Phase, TrainOptions, TrainStep, Training};
use blt_web::{Kind, Model};
use blt_wgpu::cpu::HostEngine;
use blt_wgpu::device::Device;
use blt_wgpu::platform::{NativePlatform, StopFlag};
use pollster::block_on;

const TEXT: &[u8] = include_bytes!("../../data/tinyshakespeare.txt");

fn options() -> TrainOptions {
    TrainOptions {
        steps: 12,
        entropy_steps: Some(6),
        batch_bytes: Some(512),
        sample_every: 12,
        sample_bytes: 20,
        evaluate_every: 6,
        ..TrainOptions::default()
    }
}

fn device() -> Device {
    Device::Cpu(HostEngine::default())
}

async fn all_steps(training: &mut Training<'_>, platform: &NativePlatform) -> Vec<TrainStep> {
    let mut steps = Vec::new();
    while let Some(step) = training.step(platform).await.unwrap() {
        steps.push(step);
    }
    steps
}

#[test]
fn a_text_is_learnt_and_the_model_taken_away() {
    let (device, platform) = (device(), NativePlatform::default());
    block_on(async {
        let text = &TEXT[..20_000];
        let mut training = Training::new(&device, text, options(), &platform).await.unwrap();
        let steps = all_steps(&mut training, &platform).await;
        let of = |phase| steps.iter().filter(move |step| step.phase == phase).collect::<Vec<_>>();
        let (entropy, cut, blt) = (of(Phase::Entropy), of(Phase::Cut), of(Phase::Blt));
        assert_eq!([entropy.len(), cut.len(), blt.len()], [6, 1, 12]);
        for learnt in [&entropy, &blt] {
            assert!(learnt.last().unwrap().loss < learnt[0].loss - 0.1, "{learnt:?}");
        }
        assert!((cut[0].bytes_per_patch.unwrap() - 4.5).abs() < 0.1, "{cut:?}");
        let measured: Vec<_> = blt.iter().filter_map(|step| step.held_out_bpb).collect();
        assert!(measured.len() == 2 && measured[1] < measured[0], "{measured:?}");
        assert!(blt.last().unwrap().sample.is_some());
        assert_eq!((blt[11].step, blt[11].step_count), (18, 18));

        let files = training.files().await.unwrap();
        let mut model = Model::load(&device, "trained", files).await.unwrap();
        assert_eq!(model.info().model_type, "blt");
        assert!(model.info().has_entropy_model);
        let cut = model.patches(b"ROMEO: What", &Default::default(), &platform).await.unwrap();
        assert_eq!(cut.entropies.len(), 12);
        let options = GenerateOptions { max_bytes: 5, ..GenerateOptions::default() };
        let said = model.generate(b"ROMEO:", &options, &platform, |_| {}).await.unwrap();
        assert_eq!(said.byte_count, 5);
    });
}

#[test]
fn the_entropy_model_alone_can_be_taken_away() {
    let (device, platform) = (device(), NativePlatform::default());
    block_on(async {
        let text = &TEXT[..5_000];
        let mut training = Training::new(&device, text, options(), &platform).await.unwrap();
        training.step(&platform).await.unwrap();
        let files = training.files().await.unwrap();
        let model = Model::load(&device, "half", files).await.unwrap();
        assert_eq!(model.info().model_type, "blt_patcher");
    });
}

#[test]
fn cutting_that_was_interrupted_is_done_again() {
    let device = device();
    let stop = StopFlag::default();
    let platform = NativePlatform::new(stop.clone());
    block_on(async {
        let text = &TEXT[..5_000];
        let mut training = Training::new(&device, text, options(), &platform).await.unwrap();
        for _ in 0..6 {
            training.step(&platform).await.unwrap();
        }
        stop.request();
        let failure = training.step(&platform).await.unwrap_err();
        assert_eq!(failure.kind, Kind::Interrupted);
        stop.withdraw();
        assert_eq!(training.step(&platform).await.unwrap().unwrap().phase, Phase::Cut);
        assert_eq!(training.step(&platform).await.unwrap().unwrap().phase, Phase::Blt);
    });
}

#[test]
fn a_text_that_is_too_short_is_refused() {
    let (device, platform) = (device(), NativePlatform::default());
    let begun = block_on(Training::new(&device, b"short", options(), &platform));
    let failure = begun.err().unwrap();
    assert!(failure.message.contains("at least 1000 bytes, got 5"), "{failure}");
}
