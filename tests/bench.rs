//! The benchmark: every part gives rows with units on the CPU engine and on a Vulkan adapter, and
//! what goes wrong is a row too.

mod support;

use blt_wgpu::Error;
use blt_wgpu::bench::{
    Bench, BenchOptions, BenchRow, BenchShape, Event, Part, Profile, Status, chrome_trace, markdown,
};
use blt_wgpu::blt::config::WeightType;
use blt_wgpu::cpu::HostEngine;
use blt_wgpu::device::Device;
use blt_wgpu::graph::{Precision, Recompute};
use blt_wgpu::platform::{NativePlatform, StopFlag};
use pollster::block_on;

const TINY: &str = include_str!("support/tiny.toml");

fn cpu() -> Device {
    Device::Cpu(HostEngine::default())
}

fn options(parts: &[Part]) -> BenchOptions {
    BenchOptions {
        parts: parts.to_vec(),
        shapes: vec![BenchShape::from_toml("tiny", TINY).unwrap()],
        precisions: vec![Precision::F32],
        weights: vec![WeightType::F32],
        recomputes: vec![Recompute::None],
        sample_count: 2,
        seconds: 0.2,
        kernel: String::new(),
        profile: false,
        soak_seconds: 0.0,
    }
}

fn bench(device: &Device, options: BenchOptions) -> Bench<'_, NativePlatform> {
    Bench::new(device, NativePlatform::default(), "a processor", options)
}

/// All rows, and the profiles between them.
fn finish(mut bench: Bench<'_, NativePlatform>) -> (Vec<BenchRow>, Vec<Profile>) {
    let (mut rows, mut profiles) = (Vec::new(), Vec::new());
    loop {
        match block_on(bench.step()).unwrap() {
            Event::Began(text) => assert!(!text.is_empty()),
            Event::Row(row) => rows.push(*row),
            Event::Profile(profile) => profiles.push(*profile),
            Event::Finished => return (rows, profiles),
        }
    }
}

/// What every row must have, whatever it is about.
fn check(rows: &[BenchRow], device: &str) {
    assert!(!rows.is_empty());
    for row in rows {
        let line = row.to_line().unwrap();
        assert_eq!(&BenchRow::parse_lines("a row", &line).unwrap()[0], row);
        assert!(row.device.contains(device) && !row.backend.is_empty(), "{line}");
        assert!(!row.kind.is_empty() && !row.kernel.is_empty(), "{line}");
        match row.status {
            Status::Ok => {
                let rate = row.rate.unwrap_or_else(|| panic!("no rate: {line}"));
                // A soak may end faster than it began.
                assert!((rate > 0.0 || row.kernel == "soak") && !row.unit.is_empty(), "{line}");
                assert_eq!(row.median_ms.is_some(), !row.samples_ms.is_empty(), "{line}");
                assert!(row.samples_ms.iter().all(|ms| *ms > 0.0), "{line}");
            }
            Status::Skipped | Status::Failed => {
                assert!(!row.reason.is_empty() && row.rate.is_none(), "{line}");
            }
        }
    }
}

fn of<'a>(rows: &'a [BenchRow], kind: &str, kernel: &str) -> Vec<&'a BenchRow> {
    rows.iter().filter(|row| row.kind == kind && row.kernel == kernel).collect()
}

#[test]
fn every_part_gives_rows_on_the_cpu_engine() {
    let device = cpu();
    let mut options = options(&Part::NAMES.map(|(_, part)| part));
    options.precisions.push(Precision::Mixed);
    options.soak_seconds = 0.1;
    let (rows, profiles) = finish(bench(&device, options));
    check(&rows, "a processor");
    assert!(profiles.is_empty(), "nobody asked for one");
    assert!(rows.iter().all(|row| row.status != Status::Failed));
    for (kind, kernel, unit, count) in [
        ("peak", "stream_copy", "GB/s", 1),
        ("peak", "fma_f32", "GFLOP/s", 1),
        ("peak", "launch", "dispatches/s", 1),
        ("gemm", "matmul", "GFLOP/s", 1),
        ("model", "step", "bytes/s", 2),
        ("train", "step", "bytes/s", 2),
        ("train", "dispatch_count", "dispatches", 2),
        ("train", "peak_memory", "bytes", 2),
        ("train", "soak", "% slower at the end", 2),
        ("generate", "decode", "bytes/s", 2),
        ("generate", "first_byte", "starts/s", 2),
        ("generate", "prefill", "bytes/s", 2),
        ("generate", "prefill_2048", "bytes/s", 2),
        ("generate", "decode_64", "bytes/s", 2),
        ("generate", "dispatch_count", "dispatches/byte", 2),
    ] {
        let mut found = of(&rows, kind, kernel);
        found.retain(|row| row.status == Status::Ok);
        assert_eq!(found.len(), count, "{kind} {kernel}");
        assert!(found.iter().all(|row| row.unit == unit), "{kind} {kernel}");
    }
    let matrix = of(&rows, "peak", "matrix_f16");
    assert_eq!(matrix[0].status, Status::Skipped);
    // 2 x 64 bytes a step.
    let step = of(&rows, "train", "step")[0];
    let expected = 128.0 / step.median_ms.unwrap() * 1e3;
    assert!((step.rate.unwrap() / expected - 1.0).abs() < 1e-9);
    let kernels: Vec<_> = rows.iter().filter(|row| row.kind == "kernel").collect();
    assert!(kernels.iter().all(|row| row.percent_of_peak.is_some_and(|it| it > 0.0)));
    assert!(kernels.iter().any(|row| row.kernel == "matmul" && row.unit == "GFLOP/s"));
    assert!(kernels.iter().any(|row| row.kernel == "adamw" && row.unit == "GB/s"));
    assert!(kernels.iter().any(|row| row.precision == "mixed" && row.variant.ends_with(".f16")));
    let text = markdown(&rows);
    assert!(text.contains("### train") && text.contains("device a processor"), "{text}");
}

#[test]
fn a_profile_knows_every_dispatch_of_a_step() {
    let device = cpu();
    let options = BenchOptions { profile: true, ..options(&[Part::Train]) };
    let (rows, profiles) = finish(bench(&device, options));
    check(&rows, "a processor");
    let [profile] = &profiles[..] else { panic!("{} profiles", profiles.len()) };
    let count = of(&rows, "train", "dispatch_count")[0].rate.unwrap();
    assert_eq!(profile.dispatches.len() as f64, count);
    assert!(profile.notes.is_empty() && profile.total_ms() > 0.0);
    for lines in [profile.by_kernel(), profile.by_label(), profile.by_work()] {
        let times: f64 = lines.iter().map(|line| line.time_ms).sum();
        assert!((times / profile.total_ms() - 1.0).abs() < 1e-9);
        assert!(lines.windows(2).all(|pair| pair[0].time_ms >= pair[1].time_ms));
    }
    // Peaks came with it, so lines know how near they come.
    assert!(profile.rate(&profile.by_kernel()[0]).percent_of_peak.is_some());
    assert!(profile.table().contains("model.global_transformer.layers.*.mlp"));
    let trace: serde_json::Value = serde_json::from_str(&chrome_trace(profile, "x")).unwrap();
    let events = trace["traceEvents"].as_array().unwrap();
    let calls: Vec<_> = events.iter().filter(|event| event["ph"] == "X").collect();
    assert_eq!(calls.len() as f64, count);
    let end =
        |event: &serde_json::Value| event["ts"].as_f64().unwrap() + event["dur"].as_f64().unwrap();
    assert!((end(calls[calls.len() - 1]) / 1e3 / profile.total_ms() - 1.0).abs() < 1e-6);
}

#[test]
fn a_shape_that_does_not_fit_is_a_row_and_the_rest_goes_on() {
    let device = Device::Cpu(HostEngine::with_max_binding_elements(1 << 12));
    let (rows, _) = finish(bench(&device, options(&[Part::Peaks, Part::Train])));
    check(&rows, "a processor");
    assert_eq!(of(&rows, "peak", "stream_copy")[0].status, Status::Ok);
    let [step] = of(&rows, "train", "step")[..] else { panic!("one row") };
    assert_eq!(step.status, Status::Failed);
    assert!(step.reason.contains("elements of one storage binding"), "{}", step.reason);
}

#[test]
fn somebody_may_stop_it() {
    let (device, stop) = (cpu(), StopFlag::default());
    let platform = NativePlatform::new(stop.clone());
    let mut bench = Bench::new(&device, platform, "a processor", options(&[Part::Peaks]));
    assert!(matches!(block_on(bench.step()), Ok(Event::Began(_))));
    stop.request();
    assert!(matches!(block_on(bench.step()), Err(Error::Cancelled)));
}

#[cfg(feature = "gpu")]
#[test]
fn kernels_and_steps_are_measured_on_a_device() {
    let test = "kernels_and_steps_are_measured_on_a_device";
    let Some(engine) = support::gpu_engine(test) else { return };
    let device = Device::Gpu(Box::new(engine));
    let options = BenchOptions {
        kernel: "hash".into(),
        profile: true,
        sample_count: 1,
        ..options(&[Part::Gemm, Part::Kernels, Part::Model])
    };
    let (rows, profiles) = finish(bench(&device, options));
    check(&rows, "");
    assert!(rows.iter().all(|row| row.status != Status::Failed), "{}", markdown(&rows));
    assert_eq!(of(&rows, "kernel", "hash_embedding").len(), 1);
    assert_eq!(of(&rows, "kernel", "hash_ids").len(), 1);
    assert!(of(&rows, "kernel", "matmul").is_empty(), "it was not asked for");
    assert_eq!(of(&rows, "gemm", "matmul")[0].unit, "GFLOP/s");
    assert_eq!(of(&rows, "model", "encode_submit")[0].unit, "steps/s");
    assert!(profiles[0].total_ms() > 0.0);
}

#[cfg(feature = "gpu")]
#[test]
fn a_device_that_is_lost_fails_the_rows_that_were_left() {
    let test = "a_device_that_is_lost_fails_the_rows_that_were_left";
    let Some(engine) = support::gpu_engine(test) else { return };
    let context = engine.context().clone();
    let device = Device::Gpu(Box::new(engine));
    let mut bench = bench(&device, options(&[Part::Peaks, Part::Train]));
    let first = loop {
        if let Event::Row(row) = block_on(bench.step()).unwrap() {
            break row;
        }
    };
    assert_eq!(first.status, Status::Ok);
    context.report_loss("somebody pulled it out");
    let (rows, _) = finish(bench);
    check(&rows, "");
    let failed = rows.iter().filter(|row| row.status == Status::Failed);
    let reasons: Vec<_> = failed.map(|row| row.reason.as_str()).collect();
    assert!(reasons.len() > 4, "{reasons:?}");
    assert!(reasons.iter().all(|reason| reason.contains("somebody pulled it out")));
    assert!(rows.iter().all(|row| row.status != Status::Ok), "nothing was measured after it");
}
