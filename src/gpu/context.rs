//! A device and its queue, our own or a host's, and how to find one.

use super::caps::{Caps, DeviceKind};
use super::counted_device::{CountedDevice, Created};
use super::known_drivers::believed_matrices;
use super::pace::Pace;
use super::scopes;
use crate::error::{Error, Result};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Which device is wanted and how it is to be used. The library reads no environment; a program
/// may put `WGPU_BACKEND` and `WGPU_ADAPTER_NAME` here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ContextOptions {
    /// Comma-separated backends to look at, for example `vulkan,metal`; all if `None`.
    pub backends: Option<String>,
    /// Part of `backend/name`, in any case, or `#` and an index of [`list_adapters`]. `None` takes
    /// the first hardware device, or a software one if there is no other.
    pub device: Option<String>,
    /// Shaders check every index. Always so in browsers; natively it costs up to 15 times.
    pub checked: bool,
    /// The platform's validation layers, where they are installed.
    pub validation: bool,
    /// Bindings of at most so many bytes, where the device has larger ones: tables are then cut
    /// into more shards, and no bit changes.
    pub binding_bytes: Option<u64>,
}

/// A device that computes.
#[derive(Clone)]
pub struct Context {
    pub(super) device: CountedDevice,
    pub(super) queue: wgpu::Queue,
    caps: Arc<Caps>,
    checked: bool,
    health: Arc<Mutex<Health>>,
    pub(super) pace: Pace,
}

/// What went wrong since somebody last asked.
#[derive(Debug, Default)]
struct Health {
    lost: Option<String>,
    uncaptured: Option<String>,
}

/// All devices of these backends (see [`ContextOptions::backends`]), in the platform's order.
pub async fn list_adapters(backends: Option<&str>) -> Vec<Caps> {
    let backends = backends.map(str::to_owned);
    Adapters::find(ContextOptions { backends, ..ContextOptions::default() }).await.caps
}

/// The devices that a platform has, one of which can be opened. Looking for them takes a driver a
/// good part of a second, so whoever wants to choose looks once.
pub struct Adapters {
    found: Vec<wgpu::Adapter>,
    caps: Vec<Caps>,
    options: ContextOptions,
}

impl Adapters {
    /// Those of the backends of `options`, whose other fields are for [`Self::open`].
    pub async fn find(options: ContextOptions) -> Self {
        let found = adapters(&options).await;
        let caps = found.iter().map(Caps::of_adapter).collect();
        Self { found, caps, options }
    }

    /// What they can do at best, in the platform's order.
    pub fn caps(&self) -> &[Caps] {
        &self.caps
    }

    /// Opens the one at an index of [`Self::caps`], with every feature and the highest limits that
    /// it has and kernels use.
    ///
    /// # Errors
    /// [`Error::Device`] if it refuses to open.
    pub async fn open(mut self, index: usize) -> Result<Context> {
        Context::open(self.found.swap_remove(index), &self.options).await
    }
}

impl Context {
    /// Opens a device with every feature and the highest limits that it has and kernels use.
    ///
    /// # Errors
    /// [`Error::NoDevice`] if none matches, [`Error::Device`] if it refuses to open.
    pub async fn new(options: &ContextOptions) -> Result<Self> {
        let adapters = Adapters::find(options.clone()).await;
        let index = choose(&adapters.caps, options.device.as_deref())?;
        adapters.open(index).await
    }

    async fn open(adapter: wgpu::Adapter, options: &ContextOptions) -> Result<Self> {
        let (device, queue) = open(&adapter, options.binding_bytes).await?;
        let caps = Caps::of_device(&device, Some(&adapter));
        let health = Arc::new(Mutex::new(Health::default()));
        let lost = Arc::clone(&health);
        device.set_device_lost_callback(move |reason, message| {
            lock(&lost).lost.get_or_insert(format!("{reason:?} {message}").trim().to_owned());
        });
        let uncaptured = Arc::clone(&health);
        device.on_uncaptured_error(Arc::new(move |error: wgpu::Error| {
            lock(&uncaptured).uncaptured.get_or_insert(error.to_string());
        }));
        Ok(Self::assemble(device, queue, caps, options.checked, health))
    }

    /// Uses a device of a host, for example of a window. No handler is set on it: the host calls
    /// [`Self::report_loss`] when it is lost. Without the adapter there are no matrix variants.
    pub fn from_wgpu(
        device: wgpu::Device,
        queue: wgpu::Queue,
        adapter: Option<&wgpu::Adapter>,
        checked: bool,
    ) -> Self {
        let caps = Caps::of_device(&device, adapter);
        Self::assemble(device, queue, caps, checked, Arc::default())
    }

    /// Never blocks, for a host that draws while models work, on this queue too. What waits for the
    /// device is pending until the host has called `poll` of [`Self::device`], as it does every
    /// frame. Replays that are awaited hand over a submission only while fewer than
    /// `most_unfinished` of them are unfinished, so that a frame waits for no more than these;
    /// how long each is, [`GpuEngine::with_submit_flops`](super::GpuEngine::with_submit_flops)
    /// says. Shaders are compiled by other threads.
    ///
    /// What is not awaited, [`Engine::run`](crate::engine::Engine::run), goes to the queue at once.
    ///
    /// # Panics
    /// If `most_unfinished` is 0.
    #[must_use]
    pub fn beside_host(mut self, most_unfinished: usize) -> Self {
        self.pace = Pace::beside_host(most_unfinished);
        self
    }

    fn assemble(
        device: wgpu::Device,
        queue: wgpu::Queue,
        caps: Caps,
        checked: bool,
        health: Arc<Mutex<Health>>,
    ) -> Self {
        let checked = checked || caps.backend == wgpu::Backend::BrowserWebGpu.to_str();
        let device = CountedDevice::new(device);
        Self { device, queue, caps: Arc::new(caps), checked, health, pace: Pace::default() }
    }

    /// What the device is and can do.
    pub fn caps(&self) -> &Caps {
        &self.caps
    }

    /// Whether shaders check every index.
    pub fn checked(&self) -> bool {
        self.checked
    }

    /// The device, for a host that shares buffers or shows what was computed.
    pub fn device(&self) -> &wgpu::Device {
        &self.device
    }

    /// The queue of the device.
    pub fn queue(&self) -> &wgpu::Queue {
        &self.queue
    }

    /// What was created on the device through this Context and its clones.
    pub fn created(&self) -> Created {
        self.device.created()
    }

    /// Says that the device is lost; every later call is an error with this reason.
    pub fn report_loss(&self, reason: impl Into<String>) {
        lock(&self.health).lost.get_or_insert(reason.into());
    }

    /// Why the device is lost, if anybody has said that it is.
    pub fn loss(&self) -> Option<String> {
        lock(&self.health).lost.clone()
    }

    /// Whether the device still works, as far as anybody has said.
    ///
    /// # Errors
    /// [`Error::Lost`] if it is lost, [`Error::Device`] once after it reported an error on the
    /// side.
    pub fn check(&self) -> Result<()> {
        let mut health = lock(&self.health);
        if let Some(reason) = &health.lost {
            return Err(Error::lost(self.caps.id(), reason));
        }
        match health.uncaptured.take() {
            Some(problem) => Err(Error::device(self.caps.id(), problem)),
            None => Ok(()),
        }
    }

    /// Runs `work` in error scopes and waits for their answer.
    pub(super) async fn scoped<T>(&self, subject: &str, work: impl FnOnce() -> T) -> Result<T> {
        self.check()?;
        let done = scopes::scoped(&self.device, subject, work).await;
        done.map_err(|error| self.or_loss(error))
    }

    /// Runs `work` in error scopes where their answer is immediate.
    pub(super) fn scoped_now<T>(&self, subject: &str, work: impl FnOnce() -> T) -> Result<T> {
        self.check()?;
        let done = scopes::scoped_now(&self.device, subject, work);
        done.map_err(|error| self.or_loss(error))
    }

    /// The loss of the device, if it is lost, in place of what failed because of it. That it is
    /// lost is told while it is polled.
    pub(super) fn or_loss(&self, error: Error) -> Error {
        let _ = self.device.poll(wgpu::PollType::Poll);
        match &lock(&self.health).lost {
            Some(reason) => Error::lost(self.caps.id(), reason),
            None => error,
        }
    }
}

/// Every adapter of the wanted backends.
async fn adapters(options: &ContextOptions) -> Vec<wgpu::Adapter> {
    let mut backends = wgpu::Instance::enabled_backend_features();
    if let Some(wanted) = &options.backends {
        backends &= named_backends(wanted);
    }
    if backends.is_empty() {
        return Vec::new();
    }
    let mut descriptor = wgpu::InstanceDescriptor::new_without_display_handle();
    descriptor.backends = backends;
    descriptor.flags = wgpu::InstanceFlags::empty();
    if options.validation {
        descriptor.flags = wgpu::InstanceFlags::debugging();
    }
    wgpu::Instance::new(descriptor).enumerate_adapters(backends).await
}

/// The backends of a comma-separated list; unknown names count for nothing.
fn named_backends(list: &str) -> wgpu::Backends {
    let names = list.split(',').map(|name| name.trim().to_ascii_lowercase());
    let flags = names.map(|name| match name.as_str() {
        "vulkan" | "vk" => wgpu::Backends::VULKAN,
        "metal" | "mtl" => wgpu::Backends::METAL,
        "dx12" | "d3d12" => wgpu::Backends::DX12,
        "webgpu" => wgpu::Backends::BROWSER_WEBGPU,
        _ => wgpu::Backends::empty(),
    });
    flags.fold(wgpu::Backends::empty(), |all, flag| all | flag)
}

/// The index of the device that is wanted.
fn choose(devices: &[Caps], wanted: Option<&str>) -> Result<usize> {
    let Some(wanted) = wanted else {
        let rank = |caps: &Caps| match caps.kind {
            DeviceKind::Discrete => 0,
            DeviceKind::Integrated => 1,
            DeviceKind::Virtual | DeviceKind::Unknown => 2,
            DeviceKind::Software => 3,
        };
        let best = (0..devices.len()).min_by_key(|&index| rank(&devices[index]));
        return best.ok_or_else(|| no_device(devices, "any"));
    };
    let named = wanted.to_lowercase();
    let by_index = named.strip_prefix('#').and_then(|index| index.parse().ok());
    let index = match by_index {
        Some(index) => Some(index).filter(|&index: &usize| index < devices.len()),
        None => devices.iter().position(|caps| caps.id().to_lowercase().contains(&named)),
    };
    index.ok_or_else(|| no_device(devices, wanted))
}

fn no_device(devices: &[Caps], wanted: &str) -> Error {
    let names: Vec<String> = devices.iter().map(Caps::id).collect();
    let available = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
    Error::NoDevice { wanted: wanted.to_owned(), available }
}

/// Features that kernels or measurements use where they are there.
const USEFUL: wgpu::Features = wgpu::Features::SHADER_F16
    .union(wgpu::Features::SHADER_INT64)
    .union(wgpu::Features::SUBGROUP)
    .union(wgpu::Features::SUBGROUP_BARRIER)
    .union(wgpu::Features::EXPERIMENTAL_COOPERATIVE_MATRIX)
    .union(wgpu::Features::TIMESTAMP_QUERY)
    .union(wgpu::Features::TIMESTAMP_QUERY_INSIDE_ENCODERS)
    .union(wgpu::Features::TIMESTAMP_QUERY_INSIDE_PASSES);

async fn open(
    adapter: &wgpu::Adapter,
    binding_bytes: Option<u64>,
) -> Result<(wgpu::Device, wgpu::Queue)> {
    let mut limits = adapter.limits();
    if let Some(most) = binding_bytes {
        let bytes = &mut limits.max_storage_buffer_binding_size;
        *bytes = most.min(*bytes);
    }
    let mut features = adapter.features() & USEFUL;
    if believed_matrices(adapter).is_empty() {
        features.remove(wgpu::Features::EXPERIMENTAL_COOPERATIVE_MATRIX);
    }
    let experimental = if features.contains(wgpu::Features::EXPERIMENTAL_COOPERATIVE_MATRIX) {
        // SAFETY: the only experimental feature asked for is cooperative matrices. Kernels use it
        // only with shapes the adapter reports, and each must agree with its base variant on the
        // device before it is chosen.
        unsafe { wgpu::ExperimentalFeatures::enabled() }
    } else {
        wgpu::ExperimentalFeatures::disabled()
    };
    let descriptor = wgpu::DeviceDescriptor {
        label: Some("blt"),
        required_features: features,
        required_limits: limits,
        experimental_features: experimental,
        memory_hints: wgpu::MemoryHints::Performance,
        trace: wgpu::Trace::Off,
    };
    let opened = adapter.request_device(&descriptor).await;
    opened.map_err(|error| Error::device(Caps::of_adapter(adapter).id(), error.to_string()))
}

fn lock(health: &Mutex<Health>) -> MutexGuard<'_, Health> {
    // Nothing panics while it holds this lock.
    health.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::super::caps::tests::core_device;
    use super::*;

    fn devices() -> Vec<Caps> {
        let device = |name: &str, backend: &str, kind| Caps {
            name: name.into(),
            backend: backend.into(),
            kind,
            ..core_device()
        };
        vec![
            device("llvmpipe (LLVM 19)", "vulkan", DeviceKind::Software),
            device("Arc", "vulkan", DeviceKind::Integrated),
            device("H200", "vulkan", DeviceKind::Discrete),
            device("H200", "dx12", DeviceKind::Discrete),
        ]
    }

    #[test]
    fn hardware_comes_before_software() {
        assert_eq!(choose(&devices(), None).unwrap(), 2);
        assert_eq!(choose(&devices()[..2], None).unwrap(), 1);
        assert_eq!(choose(&devices()[..1], None).unwrap(), 0);
    }

    #[test]
    fn a_selector_is_part_of_backend_and_name_or_an_index() {
        let index = |wanted| choose(&devices(), Some(wanted)).unwrap();
        assert_eq!([index("LLVMpipe"), index("vulkan/h2"), index("dx12")], [0, 2, 3]);
        assert_eq!(index("#1"), 1);
    }

    #[test]
    fn a_device_that_is_not_there_is_an_error_that_lists_what_is() {
        for wanted in ["metal", "#4"] {
            let error = choose(&devices(), Some(wanted)).unwrap_err().to_string();
            assert!(error.contains(wanted) && error.contains("dx12/H200"), "{error}");
        }
        assert!(choose(&[], None).unwrap_err().to_string().contains("none"));
    }

    #[test]
    fn backends_are_named_in_any_case() {
        assert_eq!(named_backends("Vulkan, dx12"), wgpu::Backends::VULKAN | wgpu::Backends::DX12);
        assert_eq!(named_backends("gl"), wgpu::Backends::empty());
    }
}
