//! The device, which is the app's own: models are guests on it.

use super::Anything;
use blt_wgpu::gpu::{Context, wgpu};
use pollster::block_on;
use winit::event_loop::EventLoop;

/// Instance, adapter, device and queue of the app.
pub struct Host {
    pub instance: wgpu::Instance,
    pub adapter: wgpu::Adapter,
    pub device: wgpu::Device,
    pub queue: wgpu::Queue,
}

impl Host {
    /// A device that can draw on the display of an event loop, where there is one, with what models
    /// can use besides: large bindings, f16, subgroups.
    pub fn open(event_loop: Option<&EventLoop<()>>) -> Anything<Self> {
        let descriptor = match event_loop {
            Some(event_loop) => wgpu::InstanceDescriptor::new_with_display_handle(Box::new(
                event_loop.owned_display_handle(),
            )),
            None => wgpu::InstanceDescriptor::new_without_display_handle(),
        };
        let instance = wgpu::Instance::new(descriptor.with_env());
        let adapter = wgpu::util::initialize_adapter_from_env_or_default(&instance, None);
        let adapter = block_on(adapter)?;
        let useful = wgpu::Features::SHADER_F16
            | wgpu::Features::SHADER_INT64
            | wgpu::Features::SUBGROUP
            | wgpu::Features::SUBGROUP_BARRIER;
        let descriptor = wgpu::DeviceDescriptor {
            label: Some("app"),
            required_features: adapter.features() & useful,
            required_limits: adapter.limits(),
            ..Default::default()
        };
        let (device, queue) = block_on(adapter.request_device(&descriptor))?;
        Ok(Self { instance, adapter, device, queue })
    }

    /// The device as models get it.
    pub fn context(&self) -> Context {
        let (device, queue) = (self.device.clone(), self.queue.clone());
        Context::from_wgpu(device, queue, Some(&self.adapter), false)
    }

    /// Lets models know when the device is gone: the handler is the app's.
    pub fn tell_of_loss(&self, context: &Context) {
        let context = context.clone();
        self.device.set_device_lost_callback(move |reason, message| {
            context.report_loss(format!("{reason:?} {message}").trim().to_owned());
        });
    }
}
