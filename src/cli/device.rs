//! `--device`: which device a command runs on.

#[cfg(feature = "gpu")]
use super::failure::Unusable;
use super::terminal::Terminal;
use blt_wgpu::Error;
use blt_wgpu::cpu::HostEngine;
use blt_wgpu::device::Device;
#[cfg(feature = "gpu")]
use blt_wgpu::gpu::{Adapters, Caps, ContextOptions, DeviceKind, GpuEngine};

/// The argument that most commands have.
#[derive(clap::Args, Clone, Debug, Default)]
pub struct DeviceArgument {
    /// `auto`, `cpu`, or part of a device's `backend/name` (see `blt devices`)
    ///
    /// `auto` takes a hardware GPU, else the CPU engine. Without this flag the environment may
    /// choose: WGPU_BACKEND (vulkan, metal, dx12) and WGPU_ADAPTER_NAME (part of a name).
    #[arg(long, value_name = "DEVICE")]
    pub device: Option<String>,
    /// Start a new submission after about this much work, for a GPU that also drives a display
    ///
    /// A display waits while a submission runs, and systems reset a GPU that lets it wait for some
    /// seconds. Work is cut only at marks, about every 10 GFLOP; 0 cuts at each of them. No bit of
    /// a result changes. Without this flag nothing is cut; the CPU engine has nothing to cut.
    #[arg(long, value_name = "N", value_parser = gflop)]
    pub submit_gflop: Option<f64>,
}

fn gflop(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(number) if (0.0..=1e9).contains(&number) => Ok(number),
        _ => Err("expected a number of GFLOP from 0 to 1000000000".into()),
    }
}

/// What is asked for, wherever it came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wish {
    /// A hardware GPU, else the CPU engine.
    Auto,
    Cpu,
    /// Part of `backend/name`.
    Named(String),
    /// What the environment says: a backend, part of a name, or both.
    Environment {
        backends: Option<String>,
        name: Option<String>,
    },
}

impl DeviceArgument {
    /// Opens the device.
    ///
    /// # Errors
    /// [`Error::NoDevice`] if none matches, [`Unusable`] if it does not open.
    pub fn open(&self, terminal: &Terminal) -> anyhow::Result<Device> {
        self.open_nth("auto", 0, terminal)
    }

    /// Opens the device, which a configuration names where the flag does not; of several alike the
    /// one of this number, from 0 and around, for as many processes on one machine.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_nth(
        &self,
        configured: &str,
        number: usize,
        terminal: &Terminal,
    ) -> anyhow::Result<Device> {
        let configured = Some(configured).filter(|it| !it.eq_ignore_ascii_case("auto"));
        let flag = self.device.as_deref().or(configured);
        let device = open(&wish(flag, |name| std::env::var(name).ok()), number, terminal)?;
        Ok(match (device, self.submit_gflop) {
            #[cfg(feature = "gpu")]
            (Device::Gpu(engine), Some(gflop)) => {
                Device::Gpu(Box::new(engine.with_submit_flops((gflop * 1e9) as u64)))
            }
            (device, _) => device,
        })
    }
}

/// Says which variants of kernels the device got wrong, after the first `told` of them: results are
/// right without them, but come later. They are checked when the first plan that would use them is
/// compiled, so the work comes first.
pub fn warn_of_distrusted(device: &Device, told: &mut usize, terminal: &Terminal) {
    for reason in device.distrusted_variants().into_iter().skip(*told) {
        terminal.warn(&format!("a faster kernel is wrong on this device and not used: {reason}"));
        *told += 1;
    }
}

/// The wish of a flag or, without one, of the environment.
pub fn wish(flag: Option<&str>, variable: impl Fn(&str) -> Option<String>) -> Wish {
    if let Some(flag) = flag.map(str::trim) {
        return match flag.to_ascii_lowercase().as_str() {
            "auto" | "" => Wish::Auto,
            "cpu" => Wish::Cpu,
            _ => Wish::Named(flag.to_owned()),
        };
    }
    let variable = |name| variable(name).filter(|value| !value.trim().is_empty());
    match (variable("WGPU_BACKEND"), variable("WGPU_ADAPTER_NAME")) {
        (None, None) => Wish::Auto,
        (backends, name) => Wish::Environment { backends, name },
    }
}

fn cpu() -> Device {
    Device::Cpu(HostEngine::default())
}

#[cfg(not(feature = "gpu"))]
fn open(wish: &Wish, _number: usize, _terminal: &Terminal) -> anyhow::Result<Device> {
    let wanted = match wish {
        Wish::Auto | Wish::Cpu => return Ok(cpu()),
        Wish::Named(wanted) => wanted.clone(),
        Wish::Environment { name: Some(name), .. } => format!("WGPU_ADAPTER_NAME={name}"),
        Wish::Environment { name: None, backends } => {
            format!("WGPU_BACKEND={}", backends.as_deref().unwrap_or_default())
        }
    };
    // What was asked for is in no build without GPUs, whoever asked.
    Err(Error::NoDevice { wanted, available: "cpu".into() }.into())
}

#[cfg(feature = "gpu")]
fn open(wish: &Wish, number: usize, terminal: &Terminal) -> anyhow::Result<Device> {
    if *wish == Wish::Cpu {
        return Ok(cpu());
    }
    let backends = match wish {
        Wish::Environment { backends, .. } => backends.clone(),
        _ => None,
    };
    let options = ContextOptions { backends, ..ContextOptions::default() };
    let adapters = pollster::block_on(Adapters::find(options));
    let choice = choose(wish, adapters.caps())?;
    let Some(first) = choice.index else { return Ok(cpu()) };
    let alike = alike(wish, adapters.caps(), first);
    let index = alike[number % alike.len()];
    let id = adapters.caps()[index].id();
    if choice.match_count > 1 && number == 0 {
        terminal.note(&format!("{} devices match; this is the first: {id}", choice.match_count));
    }
    if number >= alike.len() {
        let count = alike.len();
        terminal.warn(&format!("process {number} of this machine shares {id}, one of {count}"));
    }
    match pollster::block_on(adapters.open(index)) {
        Ok(context) => Ok(Device::Gpu(Box::new(GpuEngine::new(context)))),
        Err(error) if *wish == Wish::Auto => {
            terminal.warn(&format!("{id} cannot be used, the CPU engine takes over: {error}"));
            Ok(cpu())
        }
        Err(error) => Err(anyhow::Error::from(error).context(Unusable(id))),
    }
}

/// A device of a list, or the CPU engine, and how many others answer to the same name.
#[cfg(feature = "gpu")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Choice {
    /// Index in the list; `None` is the CPU engine.
    pub index: Option<usize>,
    pub match_count: usize,
}

/// What a wish means on a machine with these devices.
///
/// # Errors
/// [`Error::NoDevice`] with the names of those that are there.
#[cfg(feature = "gpu")]
pub fn choose(wish: &Wish, devices: &[Caps]) -> blt_wgpu::Result<Choice> {
    let cpu = Choice { index: None, match_count: 1 };
    let hardware = || best(devices).filter(|&index| rank(&devices[index]) < SOFTWARE);
    match wish {
        Wish::Cpu => Ok(cpu),
        Wish::Auto => Ok(Choice { index: hardware(), match_count: 1 }),
        Wish::Named(part) => matching(devices, part, part),
        Wish::Environment { name: Some(part), .. } => {
            matching(devices, part, &format!("WGPU_ADAPTER_NAME={part}"))
        }
        // A backend alone asks for a device of its own, whatever it is.
        Wish::Environment { name: None, backends } => match best(devices) {
            None => {
                let backends = backends.as_deref().unwrap_or_default();
                Err(no_device(&format!("WGPU_BACKEND={backends}"), devices))
            }
            index => Ok(Choice { index, match_count: 1 }),
        },
    }
}

/// The first of the devices whose `backend/name` contains `part`, in any case.
#[cfg(feature = "gpu")]
fn matching(devices: &[Caps], part: &str, wanted: &str) -> blt_wgpu::Result<Choice> {
    let part = part.trim().to_lowercase();
    let matches = |caps: &Caps| caps.id().to_lowercase().contains(&part);
    let match_count = devices.iter().filter(|caps| matches(caps)).count();
    match devices.iter().position(matches) {
        None => Err(no_device(wanted, devices)),
        index => Ok(Choice { index, match_count }),
    }
}

/// The devices that processes on one machine have each for itself: those that are what the first
/// one that was chosen is, behind the same backend.
#[cfg(feature = "gpu")]
fn alike(wish: &Wish, devices: &[Caps], first: usize) -> Vec<usize> {
    let part = match wish {
        Wish::Named(part) | Wish::Environment { name: Some(part), .. } => {
            part.trim().to_lowercase()
        }
        _ => String::new(),
    };
    let chosen = &devices[first];
    let is_alike = |&index: &usize| {
        let device = &devices[index];
        let is_kin = device.backend == chosen.backend && device.kind == chosen.kind;
        is_kin && device.id().to_lowercase().contains(&part)
    };
    (first..devices.len()).filter(is_alike).collect()
}

/// The device with most hardware behind it, of equals the first.
#[cfg(feature = "gpu")]
fn best(devices: &[Caps]) -> Option<usize> {
    (0..devices.len()).min_by_key(|&index| rank(&devices[index]))
}

#[cfg(feature = "gpu")]
const SOFTWARE: usize = 3;

#[cfg(feature = "gpu")]
fn rank(caps: &Caps) -> usize {
    match caps.kind {
        DeviceKind::Discrete => 0,
        DeviceKind::Integrated => 1,
        DeviceKind::Virtual | DeviceKind::Unknown => 2,
        DeviceKind::Software => SOFTWARE,
    }
}

#[cfg(feature = "gpu")]
fn no_device(wanted: &str, devices: &[Caps]) -> Error {
    let mut names: Vec<String> = devices.iter().map(Caps::id).collect();
    names.push("cpu".into());
    Error::NoDevice { wanted: wanted.to_owned(), available: names.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(variables: &[(&str, &str)], flag: Option<&str>) -> Wish {
        wish(flag, |name| {
            variables.iter().find(|(it, _)| *it == name).map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn the_flag_beats_the_environment() {
        let variables = [("WGPU_BACKEND", "vulkan"), ("WGPU_ADAPTER_NAME", "H200")];
        assert_eq!(from(&variables, Some("CPU")), Wish::Cpu);
        assert_eq!(from(&variables, Some("auto")), Wish::Auto);
        assert_eq!(from(&variables, Some("Arc")), Wish::Named("Arc".into()));
        let (backends, name) = (Some("vulkan".into()), Some("H200".into()));
        assert_eq!(from(&variables, None), Wish::Environment { backends, name });
        assert_eq!(from(&[("WGPU_BACKEND", "")], None), Wish::Auto);
        assert_eq!(from(&[], None), Wish::Auto);
    }

    #[cfg(feature = "gpu")]
    fn devices() -> Vec<Caps> {
        let limits = blt_wgpu::gpu::DeviceLimits {
            storage_binding_bytes: 1 << 27,
            buffer_bytes: 1 << 28,
            workgroup_bytes: 1 << 14,
            workgroup_invocations: 256,
            groups_per_dimension: 65_535,
            storage_binding_count: 8,
            uniform_alignment_bytes: 256,
            storage_alignment_bytes: 256,
        };
        let device = |name: &str, backend: &str, kind| Caps {
            name: name.into(),
            backend: backend.into(),
            kind,
            driver: String::new(),
            vendor_id: 0,
            device_id: 0,
            limits,
            f16: false,
            int64: false,
            subgroups: None,
            cooperative_matrices: Vec::new(),
            matrices_distrusted: None,
            timestamps: false,
            timestamps_inside_passes: false,
        };
        vec![
            device("llvmpipe (LLVM 19)", "vulkan", DeviceKind::Software),
            device("Arc", "vulkan", DeviceKind::Integrated),
            device("H200", "vulkan", DeviceKind::Discrete),
            device("H200", "dx12", DeviceKind::Discrete),
        ]
    }

    #[cfg(feature = "gpu")]
    #[test]
    fn auto_takes_hardware_and_never_a_software_device() {
        let devices = devices();
        let chosen = |devices| choose(&Wish::Auto, devices).unwrap().index;
        assert_eq!(chosen(&devices), Some(2));
        assert_eq!(chosen(&devices[..2]), Some(1));
        assert_eq!(chosen(&devices[..1]), None);
        assert_eq!(chosen(&[]), None);
    }

    #[cfg(feature = "gpu")]
    #[test]
    fn processes_of_a_machine_have_devices_that_are_alike() {
        let mut devices = devices();
        devices.push(Caps { name: "H100".into(), ..devices[2].clone() });
        let of = |wish: Wish| {
            let first = choose(&wish, &devices).unwrap().index.unwrap();
            alike(&wish, &devices, first)
        };
        assert_eq!(of(Wish::Auto), [2, 4], "one backend, no software, no integrated one");
        assert_eq!(of(Wish::Named("h200".into())), [2]);
        assert_eq!(of(Wish::Named("llvmpipe".into())), [0]);
    }

    #[cfg(feature = "gpu")]
    #[test]
    fn a_name_is_part_of_backend_and_name_in_any_case() {
        let devices = devices();
        let named = |part: &str| choose(&Wish::Named(part.into()), &devices);
        assert_eq!(named("LLVMpipe").unwrap(), Choice { index: Some(0), match_count: 1 });
        assert_eq!(named("h200").unwrap(), Choice { index: Some(2), match_count: 2 });
        assert_eq!(named("DX12/h").unwrap(), Choice { index: Some(3), match_count: 1 });
        let error = named("radeon").unwrap_err();
        assert!(matches!(error, Error::NoDevice { .. }));
        assert!(error.to_string().contains("radeon") && error.to_string().contains("dx12/H200"));
    }

    #[cfg(feature = "gpu")]
    #[test]
    fn a_backend_in_the_environment_names_its_devices() {
        let devices = devices();
        let of = |name: Option<&str>, devices: &[Caps]| {
            let name = name.map(str::to_owned);
            choose(&Wish::Environment { backends: Some("vulkan".into()), name }, devices)
        };
        assert_eq!(of(None, &devices).unwrap().index, Some(2));
        assert_eq!(of(None, &devices[..1]).unwrap().index, Some(0));
        assert_eq!(of(Some("arc"), &devices).unwrap().index, Some(1));
        assert!(of(None, &[]).is_err() && of(Some("radeon"), &devices).is_err());
    }
}
