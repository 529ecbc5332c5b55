//! Times Burn on wgpu and prints rows as `blt bench --json` does: products of square matrices, and
//! the forward pass of Llama blocks of the shape `s`.
//!
//!     cargo run --release -- --precision f32 >> burn.jsonl
//!     cargo run --release --no-default-features --features spirv -- --precision f16 >> burn.jsonl
//!
//! Blocks are spelt twice: with Burn's own rotary encoding and attention (`modules`), and by hand
//! with half rotations and a softmax (`plain`); the comparison is with the faster. Burn tunes
//! itself at first use, which the warm-up covers. One precision a process: Burn sets it once.

mod blocks;
mod row;

use blocks::{Blocks, Shape, Spelling};
use burn::tensor::{Device, DeviceKind, Distribution, FloatDType, Tensor};
use row::{Row, failed};
use std::process::ExitCode;
use std::time::Instant;

/// Sides of the products.
const SIDES: [usize; 1] = [4096];

/// What the command line says.
pub struct Options {
    pub precision: String,
    reps: usize,
    seconds: f64,
    warm_up: usize,
}

fn main() -> ExitCode {
    let options = match Options::parse(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(problem) => {
            eprintln!(
                "error: {problem}\nusage: --precision f32|f16 --reps N --seconds S --warm-up N"
            );
            return ExitCode::from(2);
        }
    };
    let mut device = device();
    if options.precision == "f16"
        && let Err(error) = device.configure(FloatDType::F16)
    {
        eprintln!("error: the device takes no f16: {error}");
        return ExitCode::FAILURE;
    }
    let name = device.identity().map_or_else(|| "wgpu device".to_owned(), |it| it.name);
    let mut all_well = true;
    let mut print = |row: Row, timed: Result<Vec<f64>, String>, work: f64, unit: &'static str| {
        let line = match timed {
            Ok(samples) => row.timed(samples, work, unit),
            Err(problem) => {
                all_well = false;
                failed(row, &problem)
            }
        };
        println!("{}", line.to_json());
    };
    for side in SIDES {
        let row = Row::new(
            &name,
            &options.precision,
            "gemm",
            "matmul",
            format!("{side} x {side} x {side}"),
        );
        let gflop = 2.0 * (side as f64).powi(3) / 1e9;
        print(row, product(&device, side, &options), gflop, "GFLOP/s");
    }
    for shape in Shape::ALL {
        for spelling in [Spelling::Modules, Spelling::Plain] {
            let blocks = Blocks::new(&device, shape, spelling);
            let x = random([shape.rows, shape.positions, shape.width], &device);
            let mut row =
                Row::new(&name, &options.precision, "blocks", "forward", shape.describe());
            row.variant = spelling.name();
            let timed = samples(&device, &options, || {
                let _ = blocks.forward(x.clone());
            });
            print(row, timed, (shape.rows * shape.positions) as f64, "positions/s");
        }
    }
    if all_well { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

#[cfg(feature = "spirv")]
fn device() -> Device {
    Device::vulkan(DeviceKind::DefaultDevice)
}

#[cfg(not(feature = "spirv"))]
fn device() -> Device {
    Device::wgpu(DeviceKind::DefaultDevice)
}

/// Numbers of the precision of the device.
pub fn random<const D: usize>(shape: [usize; D], device: &Device) -> Tensor<D> {
    Tensor::random(shape, Distribution::Normal(0.0, 0.1), device)
}

fn product(device: &Device, side: usize, options: &Options) -> Result<Vec<f64>, String> {
    let (a, b) = (random([side, side], device), random([side, side], device));
    samples(device, options, || {
        let _ = a.clone().matmul(b.clone());
    })
}

/// Milliseconds of each call, waited for. What Burn puts off is done by then.
fn samples(device: &Device, options: &Options, call: impl Fn()) -> Result<Vec<f64>, String> {
    let once = || -> Result<f64, String> {
        let begin = Instant::now();
        call();
        device.sync().map_err(|error| error.to_string())?;
        Ok(begin.elapsed().as_secs_f64() * 1e3)
    };
    for _ in 0..options.warm_up {
        once()?;
    }
    let begin = Instant::now();
    let mut samples = Vec::new();
    while samples.len() < options.reps
        && (samples.is_empty() || begin.elapsed().as_secs_f64() < options.seconds)
    {
        samples.push(once()?);
    }
    Ok(samples)
}

impl Options {
    fn parse(mut words: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut options = Self { precision: "f32".into(), reps: 20, seconds: 20.0, warm_up: 10 };
        while let Some(word) = words.next() {
            let value = words.next().ok_or(format!("{word}: a value must follow"))?;
            let bad = |_| format!("{word}: expected a number, got {value:?}");
            match word.as_str() {
                "--precision" if ["f32", "f16"].contains(&value.as_str()) => {
                    options.precision = value;
                }
                "--reps" => options.reps = value.parse().map_err(bad)?,
                "--seconds" => {
                    let bad = |_| format!("--seconds: expected a number, got {value:?}");
                    options.seconds = value.parse().map_err(bad)?;
                }
                "--warm-up" => options.warm_up = value.parse().map_err(bad)?,
                _ => return Err(format!("{word} {value}: no such option")),
            }
        }
        Ok(options)
    }
}
