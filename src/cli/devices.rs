//! `blt devices`: what this machine can compute on, and whether it does so rightly.

use super::device::{DeviceArgument, warn_of_distrusted};
use super::failure::Usage;
use super::interrupt;
use super::numbers::counted;
use super::progress::Watch;
use super::terminal::Terminal;
use blt_wgpu::blt::config::PatchingMode;
use blt_wgpu::device::Device;
use blt_wgpu::engine::Engine;
use blt_wgpu::generate::{Agreement, CheckForm, SelfCheck, Tie};
use serde::Serialize;
use serde_json::{Value, json};

/// List the devices of this machine, with their features and limits
///
/// With --check, generate with a small fresh model on one of them, by every rule of patching, and
/// compare with one full pass over each text: logits, patches, and every bit of the entropies;
/// first a byte a submission, then four, from one to the next on the device. With --long too, 4,000
/// bytes behind each of ten prompts, a byte a submission: seconds on a GPU, minutes elsewhere.
#[derive(clap::Args)]
#[command(after_help = "Example: blt devices\nCheck:   blt devices --check --device vulkan")]
pub struct Arguments {
    /// Check a device; a difference is an error
    #[arg(long)]
    check: bool,
    /// Check long texts; more than one tie in a hundred bytes is an error too
    #[arg(long, requires = "check")]
    long: bool,
    #[command(flatten)]
    device: DeviceArgument,
    /// Print one line of JSON: {"default": .., "devices": [..]}, or {"device": .., "checked": [..]}
    #[arg(long)]
    json: bool,
}

/// Bytes that the device adds by itself in the second part of the check.
const LINKED_BYTES: usize = 4;

/// The CPU engine as a device.
#[derive(Serialize)]
struct Cpu {
    id: &'static str,
    backend: &'static str,
    name: &'static str,
    kind: &'static str,
    threads: usize,
}

impl Cpu {
    fn here() -> Self {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        Self { id: "cpu", backend: "cpu", name: "CPU engine", kind: "cpu", threads }
    }
}

/// Runs the command.
pub fn run(arguments: &Arguments, terminal: &Terminal) -> anyhow::Result<()> {
    if arguments.check {
        return check(arguments, terminal);
    }
    if arguments.device.device.is_some() || arguments.device.submit_gflop.is_some() {
        let problem = "--device and --submit-gflop are about a device to check";
        return Err(Usage::new(problem, "add --check, or leave them out to list all").into());
    }
    let listing = Listing::of_this_machine();
    match arguments.json {
        true => terminal.print_json(&listing.to_json()?),
        false => terminal.print_text(&listing.to_text()),
    }
}

/// Generates on a device and compares.
fn check(arguments: &Arguments, terminal: &Terminal) -> anyhow::Result<()> {
    let device = arguments.device.open(terminal)?;
    let form = if arguments.long { CheckForm::Long } else { CheckForm::Short };
    let mut checked = Vec::new();
    for (form, bytes) in [(form, 1), (CheckForm::Short, LINKED_BYTES)] {
        let mut own = pollster::block_on(SelfCheck::new(&device, form))?;
        for mode in SelfCheck::<Device>::modes() {
            let found = watched(&mut own, (mode, bytes), terminal)?;
            match arguments.json {
                true => checked.push(to_json(&found)),
                false => terminal.print(&to_line(&found))?,
            }
        }
    }
    warn_of_distrusted(&device, &mut 0, terminal);
    match arguments.json {
        true => terminal.print_json(&json!({ "device": device.name(), "checked": checked })),
        false => terminal.print(&format!("{} generates what full passes say\n", device.name())),
    }
}

/// Checks a rule of patching, with a line about how far it is.
fn watched(
    own: &mut SelfCheck<'_, Device>,
    (mode, bytes): (PatchingMode, usize),
    terminal: &Terminal,
) -> anyhow::Result<Agreement> {
    let mut running = pollster::block_on(own.begin(mode, bytes))?;
    let count = running.step_count() as u64;
    let watch = Watch::steps(terminal, mode.name(), count);
    loop {
        interrupt::check()?;
        if let Some(found) = pollster::block_on(running.step())? {
            return Ok(found);
        }
        watch.step(running.done_count() as u64, count, None);
        watch.say("");
    }
}

fn to_json(found: &Agreement) -> Value {
    json!({
        "patching": found.mode.name(),
        "bytes_a_submission": found.bytes_a_submission,
        "ids": found.id_count,
        "patches": found.patch_count,
        "same_entropies": found.entropy_count,
        "largest_difference": found.largest_difference,
        "ties": found.ties.len(),
        "chosen": found.chosen_count,
    })
}

fn to_line(found: &Agreement) -> String {
    let entropies = match found.entropy_count {
        0 => String::new(),
        count => format!(", {count} entropies to the bit"),
    };
    let mut text = format!(
        "{:9} {} a submission: {}, {}{entropies}, logits within {:.1e}, {}\n",
        found.mode.name(),
        found.bytes_a_submission,
        counted(found.id_count, "id"),
        counted(found.patch_count, "patch"),
        found.largest_difference,
        counted(found.ties.len(), "tie"),
    );
    for Tie { prompt, position, ids: [id, other], distance } in &found.ties {
        text.push_str(&format!(
            "          tie: {prompt}, position {position}, ids {id} and {other} within \
             {distance:.1e}\n"
        ));
    }
    text
}

#[cfg(feature = "gpu")]
struct Listing {
    cpu: Cpu,
    adapters: Vec<blt_wgpu::gpu::Caps>,
}

#[cfg(not(feature = "gpu"))]
struct Listing {
    cpu: Cpu,
}

#[cfg(not(feature = "gpu"))]
impl Listing {
    fn of_this_machine() -> Self {
        Self { cpu: Cpu::here() }
    }

    fn to_json(&self) -> anyhow::Result<Value> {
        Ok(json!({ "default": "cpu", "devices": [serde_json::to_value(&self.cpu)?] }))
    }

    fn to_text(&self) -> String {
        format!("* cpu  CPU engine, {} threads\n", self.cpu.threads)
    }
}

#[cfg(feature = "gpu")]
impl Listing {
    fn of_this_machine() -> Self {
        let backends = std::env::var("WGPU_BACKEND").ok().filter(|it| !it.trim().is_empty());
        let adapters = pollster::block_on(blt_wgpu::gpu::list_adapters(backends.as_deref()));
        Self { cpu: Cpu::here(), adapters }
    }

    /// The id of the device that a command takes by itself.
    fn default_id(&self) -> String {
        let wish = super::device::wish(None, |name| std::env::var(name).ok());
        let choice = super::device::choose(&wish, &self.adapters).ok();
        let index = choice.and_then(|choice| choice.index);
        index.map_or_else(|| self.cpu.id.to_owned(), |index| self.adapters[index].id())
    }

    fn to_json(&self) -> anyhow::Result<Value> {
        let mut devices = vec![serde_json::to_value(&self.cpu)?];
        for caps in &self.adapters {
            let mut value = serde_json::to_value(caps)?;
            value["id"] = caps.id().into();
            devices.push(value);
        }
        Ok(json!({ "default": self.default_id(), "devices": devices }))
    }

    fn to_text(&self) -> String {
        let default = self.default_id();
        let mark = |id: &str| if id == default { '*' } else { ' ' };
        let mut text = format!("{} cpu\n", mark("cpu"));
        text.push_str(&format!("    CPU engine, {} threads\n", self.cpu.threads));
        for caps in &self.adapters {
            let id = caps.id();
            text.push_str(&format!("{} {id}\n", mark(&id)));
            for line in describe(caps) {
                text.push_str(&format!("    {line}\n"));
            }
        }
        text.push_str("* is what commands take without --device\n");
        text
    }
}

/// Kind and driver, features, limits.
#[cfg(feature = "gpu")]
fn describe(caps: &blt_wgpu::gpu::Caps) -> Vec<String> {
    use blt_wgpu::gpu::DeviceKind;
    let kind = match caps.kind {
        DeviceKind::Discrete => "discrete GPU",
        DeviceKind::Integrated => "integrated GPU",
        DeviceKind::Virtual => "virtual GPU",
        DeviceKind::Software => "software, used only when named",
        DeviceKind::Unknown => "GPU",
    };
    let mut features = Vec::new();
    if caps.f16 {
        features.push("f16".to_owned());
    }
    if caps.int64 {
        features.push("64-bit integers".to_owned());
    }
    if let Some(sizes) = caps.subgroups {
        features.push(format!("subgroups of {} to {}", sizes.min, sizes.max));
    }
    for shape in &caps.cooperative_matrices {
        let (m, n, k) = (shape.m, shape.n, shape.k);
        features.push(format!("matrices {m}x{n}x{k} {} to {}", shape.operand, shape.result));
    }
    if caps.timestamps {
        features.push("timestamps".to_owned());
    }
    if features.is_empty() {
        features.push("none beyond core WebGPU".to_owned());
    }
    let limits = &caps.limits;
    let limits = format!(
        "{} MiB a binding, {} MiB a buffer, {} KiB workgroup memory, {} invocations",
        limits.storage_binding_bytes >> 20,
        limits.buffer_bytes >> 20,
        limits.workgroup_bytes >> 10,
        limits.workgroup_invocations,
    );
    let driver = if caps.driver.is_empty() { "unnamed driver" } else { &caps.driver };
    let mut lines = vec![
        format!("{kind}; {driver}"),
        format!("features: {}", features.join(", ")),
        format!("limits: {limits}"),
    ];
    if let Some(reason) = caps.matrices_distrusted {
        lines.push(format!("without cooperative matrices: {reason}"));
    }
    lines
}
