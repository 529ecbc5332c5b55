//! The command line.

use super::Anything;
use super::models::Part;
use blt_wgpu::gpu::DeviceKind;
use std::path::PathBuf;
use std::time::Duration;

const USAGE: &str = "\
usage: embed [OPTION..]

  --model DIR        a model directory; a small fresh model without one
  --data FILE        a text to learn from besides the one in the editor (default: Shakespeare)
  --batch-bytes N    bytes that a step of learning reads (default 2048)
  --budget-ms N      milliseconds of a frame that models may have (default 8)
  --piece-gflop X    work of one submission (default: by the kind of the device)
  --dark             dark colours from the beginning; light ones without it
  --offscreen        draw into a texture, without a window
  --size WxH         of the window or texture, in points (default 1280x800)
  --scale X          pixels of a point offscreen (default 1)
  --script           type, write and learn by itself, check what came of it, and end
  --write N          bytes that the script lets the model write (default 40)
  --learn PART       what the script learns: entropy (the default), or model
  --steps N          steps that the script learns (default 12)
  --screenshot FILE  where the script leaves a picture, as PNG
  --frames N         end after so many frames

WGPU_BACKEND and WGPU_ADAPTER_NAME choose the device.";

/// Where is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Surface {
    Window,
    Texture,
}

/// What the program was asked for.
#[derive(Clone, Debug)]
pub struct Options {
    pub model: Option<PathBuf>,
    pub data: Option<PathBuf>,
    pub batch_bytes: usize,
    pub budget: Duration,
    pub piece_gflop: Option<f64>,
    pub is_dark: bool,
    pub surface: Surface,
    /// In points.
    pub size: [f32; 2],
    /// Pixels of a point.
    pub scale: f32,
    pub script: bool,
    pub write_count: usize,
    pub part: Part,
    pub step_count: usize,
    pub screenshot: Option<PathBuf>,
    pub frame_count: Option<usize>,
}

impl Options {
    /// Those of these arguments; `None` if help was asked for, and given.
    pub fn from_arguments(arguments: impl Iterator<Item = String>) -> Anything<Option<Self>> {
        let mut options = Self {
            model: None,
            data: None,
            batch_bytes: 2048,
            budget: Duration::from_millis(8),
            piece_gflop: None,
            is_dark: false,
            surface: Surface::Window,
            size: [1280.0, 800.0],
            scale: 1.0,
            script: false,
            write_count: 40,
            part: Part::Entropy,
            step_count: 12,
            screenshot: None,
            frame_count: None,
        };
        let mut arguments = arguments.peekable();
        while let Some(flag) = arguments.next() {
            let mut value =
                || arguments.next().ok_or_else(|| format!("{flag}: a value must follow"));
            match flag.as_str() {
                "--model" => options.model = Some(value()?.into()),
                "--data" => options.data = Some(value()?.into()),
                "--batch-bytes" => options.batch_bytes = value()?.parse()?,
                "--budget-ms" => {
                    options.budget = Duration::from_secs_f64(value()?.parse::<f64>()? / 1e3)
                }
                "--piece-gflop" => options.piece_gflop = Some(value()?.parse()?),
                "--dark" => options.is_dark = true,
                "--offscreen" => options.surface = Surface::Texture,
                "--size" => options.size = size(&value()?)?,
                "--scale" => options.scale = value()?.parse()?,
                "--script" => options.script = true,
                "--write" => options.write_count = value()?.parse()?,
                "--learn" => options.part = part(&value()?)?,
                "--steps" => options.step_count = value()?.parse()?,
                "--screenshot" => options.screenshot = Some(value()?.into()),
                "--frames" => options.frame_count = Some(value()?.parse()?),
                "--help" | "-h" => {
                    println!("{USAGE}");
                    return Ok(None);
                }
                _ => return Err(format!("{flag}: no such option\n\n{USAGE}").into()),
            }
        }
        if options.batch_bytes < 64 {
            return Err("--batch-bytes: expected at least 64".into());
        }
        if options.surface == Surface::Texture && !options.script && options.frame_count.is_none() {
            return Err("--offscreen: nobody can end it; add --frames or --script".into());
        }
        Ok(Some(options))
    }

    /// Work of a submission of models, about a millisecond: a frame waits for as much.
    pub fn submit_flops(&self, kind: DeviceKind) -> u64 {
        let by_kind = match kind {
            DeviceKind::Discrete => 2.0,
            DeviceKind::Integrated | DeviceKind::Virtual | DeviceKind::Unknown => 0.2,
            DeviceKind::Software => 0.0,
        };
        (self.piece_gflop.unwrap_or(by_kind) * 1e9) as u64
    }
}

fn part(text: &str) -> Anything<Part> {
    match text {
        "entropy" => Ok(Part::Entropy),
        "model" => Ok(Part::Model),
        _ => Err("--learn: expected entropy or model".into()),
    }
}

fn size(text: &str) -> Anything<[f32; 2]> {
    let (width, height) = text.split_once('x').ok_or("--size: expected for example 1280x800")?;
    let size: [f32; 2] = [width.parse()?, height.parse()?];
    match size.iter().all(|&side| (320.0..=8192.0).contains(&side)) {
        true => Ok(size),
        false => Err("--size: expected sides of 320 to 8192".into()),
    }
}
