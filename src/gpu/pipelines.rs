//! Compiled shaders, one for each kernel, variant and set of injected constants.
//!
//! Layouts are explicit, made from the kernel's bindings and never from the shader: 0 is the
//! `Params` uniform at a dynamic offset, 1 the `Step` uniform, storage follows.

use super::context::Context;
use super::scopes::{Scopes, device_error};
use crate::error::{Error, Result};
use crate::kernels::{Access, Halves, Kernel, Step};
use crate::shader::Target;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// A compiled shader and the layout of its bindings.
pub(super) struct Pipeline {
    pub compute: wgpu::ComputePipeline,
    pub layout: wgpu::BindGroupLayout,
}

/// What a dispatch asks a pipeline for.
#[derive(Clone, Copy)]
pub(super) struct Request<'a> {
    pub kernel: &'static Kernel,
    pub variant: usize,
    pub halves: Halves,
    pub params: &'a [u8],
}

/// Kernel, variant, bindings of f16, injected constants.
type Key = (&'static str, usize, Halves, Vec<(&'static str, u32)>);

/// All pipelines of a device.
#[derive(Default)]
pub(super) struct Pipelines {
    known: Mutex<HashMap<Key, Arc<Pipeline>>>,
}

impl Request<'_> {
    /// `kernel.variant`.
    pub fn name(&self) -> String {
        format!("{}.{}", self.kernel.name, self.kernel.variants[self.variant].name)
    }

    fn key(&self) -> Key {
        (self.kernel.name, self.variant, self.halves, (self.kernel.constants)(self.params))
    }
}

impl Pipelines {
    /// A pipeline for every request, compiling those that are not known yet.
    ///
    /// # Errors
    /// If the device lacks what a variant needs, or refuses a shader.
    pub async fn resolve(
        &self,
        context: &Context,
        requests: &[Request<'_>],
    ) -> Result<Vec<Arc<Pipeline>>> {
        context.check()?;
        let mut missing: Vec<(Key, Request<'_>)> = Vec::new();
        {
            let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            for request in requests {
                let key = request.key();
                if !known.contains_key(&key) && !missing.iter().any(|(other, _)| *other == key) {
                    missing.push((key, *request));
                }
            }
        }
        for (_, request) in &missing {
            check_needs(context, request)?;
        }
        let compiled = compile_all(context, &missing).await;
        for ((key, request), (pipeline, answer)) in missing.into_iter().zip(compiled) {
            if let Some(error) = answer {
                return Err(device_error(&request.name(), &error));
            }
            let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            known.insert(key, Arc::new(pipeline));
        }
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(requests.iter().map(|request| Arc::clone(&known[&request.key()])).collect())
    }

    /// How many pipelines there are.
    pub fn count(&self) -> usize {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).len()
    }
}

/// That the device has what the variant needs.
fn check_needs(context: &Context, request: &Request<'_>) -> Result<()> {
    let caps = context.caps();
    let needs = request.kernel.needs(request.variant, request.halves);
    caps.limits.check_binding_count(&request.name(), request.kernel.bindings.len())?;
    match caps.missing(needs) {
        None => Ok(()),
        Some(missing) => {
            let problem = format!("this variant needs {missing}, which {} lacks", caps.id());
            Err(Error::device(request.name(), problem).with_hint("use the base variant"))
        }
    }
}

/// Compiles on all cores: a large shader takes a second or more. Beside a host that draws it does
/// so on half of them, and is pending meanwhile.
#[cfg(not(target_arch = "wasm32"))]
async fn compile_all(context: &Context, requests: &[(Key, Request<'_>)]) -> Vec<Compiled> {
    use crate::platform::elsewhere;
    use rayon::prelude::*;
    if !context.pace.is_beside_host() {
        let compiled = requests.par_iter().map(|(_, request)| compile_scoped(context, request));
        return answered(compiled.collect()).await;
    }
    let half = std::thread::available_parallelism().map_or(1, |count| count.get().div_ceil(2));
    let mut shares = Vec::new();
    for share in requests.chunks(requests.len().div_ceil(half).max(1)) {
        let request =
            |(_, it): &(Key, Request<'_>)| (it.kernel, it.variant, it.halves, it.params.to_vec());
        let share: Vec<_> = share.iter().map(request).collect();
        let context = context.clone();
        shares.push(elsewhere(move || {
            let compile = |(kernel, variant, halves, params): &(_, _, _, Vec<u8>)| {
                let (kernel, variant, halves) = (*kernel, *variant, *halves);
                compile_scoped(&context, &Request { kernel, variant, halves, params })
            };
            share.iter().map(compile).collect::<Vec<_>>()
        }));
    }
    let mut compiled = Vec::new();
    for share in shares {
        compiled.extend(answered(share.await).await);
    }
    compiled
}

/// Compiles one after the other; a browser does its part in the background.
#[cfg(target_arch = "wasm32")]
async fn compile_all(context: &Context, requests: &[(Key, Request<'_>)]) -> Vec<Compiled> {
    answered(requests.iter().map(|(_, request)| compile_scoped(context, request)).collect()).await
}

/// A pipeline, and what the device has said about it.
type Compiled = (Pipeline, Option<wgpu::Error>);

/// Waits for what the device has to say.
async fn answered(
    compiled: Vec<(Pipeline, impl Future<Output = Option<wgpu::Error>>)>,
) -> Vec<Compiled> {
    let mut answered = Vec::with_capacity(compiled.len());
    for (pipeline, answer) in compiled {
        answered.push((pipeline, answer.await));
    }
    answered
}

/// A pipeline, and what the device will have said about it.
fn compile_scoped(
    context: &Context,
    request: &Request<'_>,
) -> (Pipeline, impl Future<Output = Option<wgpu::Error>> + use<>) {
    let scopes = Scopes::push(&context.device);
    let pipeline = compile(context, request);
    (pipeline, scopes.pop())
}

fn compile(context: &Context, request: &Request<'_>) -> Pipeline {
    let device = &context.device;
    let name = request.name();
    let browser = context.caps().backend == wgpu::Backend::BrowserWebGpu.to_str();
    let target = if browser { Target::Browser } else { Target::Native };
    let Request { kernel, variant, halves, params } = *request;
    let text = kernel.wgsl(variant, params, halves, target);
    let descriptor = wgpu::ShaderModuleDescriptor {
        label: Some(&name),
        source: wgpu::ShaderSource::Wgsl(text.into()),
    };
    let module = if context.checked() {
        device.create_shader_module(descriptor)
    } else {
        // SAFETY: kernels index within the extents they are given and their loops end; every
        // variant is run on its cases with poison behind every buffer. Ids, offsets and lengths
        // from outside are range-checked before they are uploaded.
        unsafe {
            device.create_shader_module_trusted(descriptor, wgpu::ShaderRuntimeChecks::unchecked())
        }
    };
    let layout = bind_group_layout(device, request.kernel);
    let pipeline_layout = device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
        label: Some(&name),
        bind_group_layouts: &[Some(&layout)],
        immediate_size: 0,
    });
    let compute = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
        label: Some(&name),
        layout: Some(&pipeline_layout),
        module: &module,
        entry_point: Some("main"),
        compilation_options: wgpu::PipelineCompilationOptions {
            constants: &[],
            zero_initialize_workgroup_memory: context.checked(),
        },
        cache: None,
    });
    Pipeline { compute, layout }
}

fn bind_group_layout(device: &wgpu::Device, kernel: &Kernel) -> wgpu::BindGroupLayout {
    let entry = |binding: usize, ty, has_dynamic_offset, bytes| wgpu::BindGroupLayoutEntry {
        binding: binding as u32,
        visibility: wgpu::ShaderStages::COMPUTE,
        ty: wgpu::BindingType::Buffer {
            ty,
            has_dynamic_offset,
            min_binding_size: wgpu::BufferSize::new(bytes),
        },
        count: None,
    };
    let uniform = wgpu::BufferBindingType::Uniform;
    let mut entries = vec![
        entry(0, uniform, true, kernel.params_bytes as u64),
        entry(1, uniform, false, size_of::<Step>() as u64),
    ];
    for (index, binding) in kernel.bindings.iter().enumerate() {
        let read_only = binding.access == Access::Read;
        let storage = wgpu::BufferBindingType::Storage { read_only };
        entries.push(entry(index + 2, storage, false, 0));
    }
    device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor {
        label: Some(kernel.name),
        entries: &entries,
    })
}
