//! Every shader as text, with no GPU: what naga reads out of it equals what Rust says about it, and
//! it translates to what Vulkan, Metal and DX12 eat.
//!
//! A shader is a kernel, a variant and one set of injected constants that its cases produce.

use blt_wgpu::kernels::{Access, Element, Halves, Kernel, Needs, REGISTRY, Step, Variant};
use blt_wgpu::shader::Target;
use naga::valid::{Capabilities, ModuleInfo, ShaderStages, ValidationFlags, Validator};
use naga::{AddressSpace, Module, Scalar, ShaderStage, StorageAccess, TypeInner};
use std::collections::BTreeMap;
use std::fmt::Write;

/// Limits that every WebGPU device has.
const MAX_STORAGE_BINDINGS: usize = 8;
const MAX_WORKGROUP_BYTES: u32 = 16_384;
const MAX_WORKGROUP_INVOCATIONS: u32 = 256;
/// The first binding that is a storage buffer; 0 and 1 are the uniforms.
const FIRST_STORAGE_BINDING: u32 = 2;

/// A kernel's variant under one set of constants and types of its bindings.
#[derive(Clone, Copy)]
struct Shader {
    kernel: &'static Kernel,
    variant: usize,
    halves: Halves,
}

impl Shader {
    fn is_base(&self) -> bool {
        self.variant == 0 && self.halves == Halves::NONE
    }

    fn needs(&self) -> Needs {
        self.kernel.needs(self.variant, self.halves)
    }

    fn text(&self, params: &[u8]) -> String {
        self.kernel.wgsl(self.variant, params, self.halves, Target::Native)
    }

    /// The capabilities that the variant says it needs, and no more.
    fn capabilities(&self) -> Capabilities {
        let Needs { subgroups, f16, int64, cooperative_matrix, .. } = self.needs();
        let mut capabilities = Capabilities::empty();
        capabilities.set(Capabilities::SUBGROUP, subgroups);
        capabilities.set(Capabilities::SHADER_FLOAT16, f16);
        // Core WGSL unpacks halves from words everywhere.
        capabilities.set(Capabilities::SHADER_FLOAT16_IN_FLOAT32, true);
        capabilities.set(Capabilities::SHADER_INT64, int64);
        capabilities.set(Capabilities::COOPERATIVE_MATRIX, cooperative_matrix);
        capabilities.set(Capabilities::SUBGROUP_BARRIER, cooperative_matrix);
        capabilities
    }
}

/// Every shader with the parameters of a case that asks for it, by a name like
/// `attention.base.HEAD_DIM_64`.
fn shaders() -> BTreeMap<String, (Shader, Vec<u8>)> {
    let mut all = BTreeMap::new();
    for &kernel in REGISTRY {
        for case in (kernel.cases)() {
            for (index, variant) in kernel.variants.iter().enumerate() {
                if !(variant.takes)(&case.params, case.halves) {
                    continue;
                }
                let mut name = format!("{}.{}", kernel.name, variant.name);
                for (constant, value) in (kernel.constants)(&case.params) {
                    write!(name, ".{constant}_{value}").unwrap();
                }
                let halves = (0..kernel.bindings.len()).filter(|&i| case.halves.contains(i));
                for binding in halves.map(|index| kernel.bindings[index].name) {
                    write!(name, ".{binding}_f16").unwrap();
                }
                let shader = Shader { kernel, variant: index, halves: case.halves };
                all.entry(name).or_insert_with(|| (shader, case.params.clone()));
            }
        }
    }
    all
}

/// A shader that naga has read and found valid.
struct Parsed {
    module: Module,
    info: ModuleInfo,
}

fn parse(shader: Shader, text: &str) -> Result<Parsed, String> {
    let capabilities = shader.capabilities();
    let options = naga::front::wgsl::Options { parse_doc_comments: false, capabilities };
    let mut frontend = naga::front::wgsl::Frontend::new_with_options(options);
    let module = frontend.parse(text).map_err(|error| error.emit_to_string(text))?;
    let mut validator = Validator::new(ValidationFlags::all(), capabilities);
    validator.subgroup_stages(ShaderStages::COMPUTE);
    let info = validator.validate(&module).map_err(|error| error.emit_to_string(text))?;
    Ok(Parsed { module, info })
}

/// Runs `check` over every shader and fails with all complaints at once.
fn check_all(check: impl Fn(Shader, &[u8], &str) -> Result<(), String>) {
    let shaders = shaders();
    let mut problems = Vec::new();
    for (name, (shader, params)) in &shaders {
        let text = shader.text(params);
        if let Err(problem) = check(*shader, params, &text) {
            problems.push(format!("{name}: {problem}"));
        }
    }
    let count = shaders.len();
    assert!(count >= REGISTRY.len(), "every kernel has a shader");
    assert!(problems.is_empty(), "{} of {count}:\n{}", problems.len(), problems.join("\n"));
}

#[test]
fn every_shader_is_valid_within_what_it_says_it_needs() {
    check_all(|shader, _, text| parse(shader, text).map(|_| ()));
}

#[test]
fn bindings_equal_the_rust_side() {
    check_all(|shader, _, text| {
        check_bindings(shader, &parse(shader, text)?.module)?;
        check_shape_comments(text)
    });
}

#[test]
fn workgroups_stay_within_the_limits() {
    check_all(|shader, _, text| check_workgroup(shader, &parse(shader, text)?.module));
}

#[test]
fn every_shader_translates_to_spirv() {
    check_all(|shader, _, text| {
        let Parsed { module, info } = parse(shader, text)?;
        let options = naga::back::spv::Options { lang_version: (1, 3), ..Default::default() };
        let words = naga::back::spv::write_vec(&module, &info, &options, None);
        let words = words.map_err(|error| error.to_string())?;
        (words.first() == Some(&0x0723_0203)).then_some(()).ok_or("no SPIR-V".to_owned())
    });
}

#[test]
fn every_shader_translates_to_msl() {
    check_all(|shader, _, text| {
        let Parsed { module, info } = parse(shader, text)?;
        let options = naga::back::msl::Options { lang_version: (2, 4), ..Default::default() };
        let pipeline = naga::back::msl::PipelineOptions::default();
        let written = naga::back::msl::write_string(&module, &info, &options, &pipeline);
        let (text, _) = written.map_err(|error| error.to_string())?;
        text.contains("kernel void").then_some(()).ok_or("no kernel in the MSL".to_owned())
    });
}

#[test]
fn every_shader_without_matrices_translates_to_hlsl() {
    check_all(|shader, _, text| {
        if shader.needs().cooperative_matrix {
            return Ok(());
        }
        let Parsed { module, info } = parse(shader, text)?;
        let shader_model = naga::back::hlsl::ShaderModel::V6_2;
        let options = naga::back::hlsl::Options { shader_model, ..Default::default() };
        let pipeline = naga::back::hlsl::PipelineOptions::default();
        let mut text = String::new();
        let mut writer = naga::back::hlsl::Writer::new(&mut text, &options, &pipeline);
        writer.write(&module, &info, None).map_err(|error| error.to_string())?;
        text.contains("[numthreads(").then_some(()).ok_or("no kernel in the HLSL".to_owned())
    });
}

#[test]
fn every_case_dispatches_within_the_limits() {
    let most = blt_wgpu::kernels::MAX_GROUPS_PER_DIMENSION;
    for kernel in REGISTRY {
        for case in (kernel.cases)() {
            let takes = |variant: &&Variant| (variant.takes)(&case.params, case.halves);
            for variant in kernel.variants.iter().filter(takes) {
                let groups = (variant.groups)(&case.params, &case.step.counts);
                let fits = groups.iter().all(|&count| count <= most);
                let place = format!("{}.{} case `{}`", kernel.name, variant.name, case.name);
                assert!(fits, "{place}: {groups:?} groups");
                assert_eq!(case.params.len(), kernel.params_bytes, "{place}: params");
                assert_eq!(case.buffers.len(), kernel.bindings.len(), "{place}: buffers");
            }
        }
    }
}

/// Writes every base shader, as a browser gets it, into the folder `BLT_WGSL_DIR` if that is set.
#[test]
fn browser_wgsl_needs_no_directive_and_is_written_on_demand() {
    let folder = std::env::var_os("BLT_WGSL_DIR").map(std::path::PathBuf::from);
    let mut count = 0;
    for (name, (shader, params)) in shaders() {
        if !shader.is_base() {
            continue;
        }
        let Shader { kernel, variant, halves } = shader;
        let text = kernel.wgsl(variant, &params, halves, Target::Browser);
        let asks = text.lines().any(|line| {
            line.starts_with("enable ") || line.starts_with("requires ") || line.starts_with('#')
        });
        assert!(!asks, "{name} asks for more than core WebGPU");
        if let Some(folder) = &folder {
            std::fs::write(folder.join(format!("{name}.wgsl")), text).unwrap();
        }
        count += 1;
    }
    assert!(count >= REGISTRY.len(), "every kernel has a base shader");
}

/// Names, numbers, access and element types of all bindings, and sizes of the uniforms.
fn check_bindings(shader: Shader, module: &Module) -> Result<(), String> {
    let Shader { kernel, halves, .. } = shader;
    let mut found = 0;
    for (_, variable) in module.global_variables.iter() {
        let Some(binding) = &variable.binding else { continue };
        let name = variable.name.as_deref().unwrap_or("");
        if binding.group != 0 {
            return Err(format!("{name} is in group {}", binding.group));
        }
        let size = module.types[variable.ty].inner.size(module.to_ctx()) as usize;
        match (variable.space, binding.binding) {
            (AddressSpace::Uniform, 0) => {
                expect("name of the params", "params", name)?;
                expect("size of the params", kernel.params_bytes, size)?;
            }
            (AddressSpace::Uniform, 1) => {
                expect("name of the step", "this_step", name)?;
                expect("size of the step", size_of::<Step>(), size)?;
            }
            (AddressSpace::Storage { access }, number) if number >= FIRST_STORAGE_BINDING => {
                found += 1;
                let index = (number - FIRST_STORAGE_BINDING) as usize;
                let expected = kernel.bindings.get(index);
                let expected = expected.ok_or_else(|| format!("no binding {number} in Rust"))?;
                expect("name", expected.name, name)?;
                let writes = expected.access != Access::Read;
                let allowed = access.contains(StorageAccess::STORE);
                expect(&format!("write access to {name}"), writes, allowed)?;
                let element = scalar(module, variable.ty).and_then(element);
                // Faster variants read two numbers as one word.
                let expected = kernel.element(index, halves);
                let words = match expected {
                    Element::F16 => Scalar::U32,
                    _ => Scalar::U64,
                };
                let found = scalar(module, variable.ty);
                let is_packed = kernel.bindings[index].may_be_packed && found == Some(Scalar::U32);
                if found != Some(words) && !is_packed {
                    expect(&format!("element of {name}"), Some(expected), element)?;
                }
            }
            (space, number) => return Err(format!("{name}: binding {number} in {space:?}")),
        }
    }
    expect("number of storage bindings", kernel.bindings.len(), found)?;
    if found > MAX_STORAGE_BINDINGS {
        return Err(format!("{found} storage bindings, {MAX_STORAGE_BINDINGS} are allowed"));
    }
    Ok(())
}

/// What a runtime-sized array of scalars or vectors is made of.
fn scalar(module: &Module, ty: naga::Handle<naga::Type>) -> Option<Scalar> {
    let TypeInner::Array { base, size: naga::ArraySize::Dynamic, .. } = module.types[ty].inner
    else {
        return None;
    };
    match module.types[base].inner {
        TypeInner::Scalar(scalar) | TypeInner::Atomic(scalar) => Some(scalar),
        TypeInner::Vector { scalar, .. } => Some(scalar),
        _ => None,
    }
}

fn element(scalar: Scalar) -> Option<Element> {
    match scalar {
        Scalar::F32 => Some(Element::F32),
        Scalar::F16 => Some(Element::F16),
        Scalar::U32 => Some(Element::U32),
        _ => None,
    }
}

/// Every storage binding says its logical shape behind it.
fn check_shape_comments(text: &str) -> Result<(), String> {
    let bare = text.lines().find(|line| line.contains("var<storage") && !line.contains("// ["));
    bare.map_or(Ok(()), |line| Err(format!("no shape behind `{line}`")))
}

/// The entry point, the size of the workgroup, and its memory.
fn check_workgroup(shader: Shader, module: &Module) -> Result<(), String> {
    let [entry] = module.entry_points.as_slice() else {
        return Err(format!("{} entry points", module.entry_points.len()));
    };
    expect("entry point", "main", entry.name.as_str())?;
    expect("stage", ShaderStage::Compute, entry.stage)?;
    let needs = shader.needs();
    let invocations: u32 = entry.workgroup_size.iter().product();
    let most = MAX_WORKGROUP_INVOCATIONS.max(needs.workgroup_invocations);
    if invocations > most {
        return Err(format!("{invocations} invocations, {most} are allowed"));
    }
    let shared = module.global_variables.iter().map(|(_, variable)| variable);
    let shared = shared.filter(|variable| variable.space == AddressSpace::WorkGroup);
    let bytes: u32 =
        shared.map(|it| module.types[it.ty].inner.size(module.to_ctx()).next_multiple_of(16)).sum();
    let most = MAX_WORKGROUP_BYTES.max(needs.workgroup_bytes);
    if bytes > most {
        return Err(format!("{bytes} bytes of workgroup memory, {most} are allowed"));
    }
    if shader.is_base() && needs != Needs::NOTHING {
        return Err(format!("the base variant needs {needs:?}"));
    }
    Ok(())
}

fn expect<T: PartialEq + std::fmt::Debug>(what: &str, rust: T, wgsl: T) -> Result<(), String> {
    if rust == wgsl {
        return Ok(());
    }
    Err(format!("{what}: Rust says {rust:?}, WGSL {wgsl:?}"))
}

/// The checks above see what they are there to see.
#[test]
fn a_shader_that_differs_is_refused() {
    let kernel = blt_wgpu::kernels::find("rms_norm").expect("a kernel of this name");
    let shader = Shader { kernel, variant: 0, halves: Halves::NONE };
    let params = (kernel.cases)()[0].params.clone();
    let text = shader.text(&params);
    let refused = |from: &str, to: &str, words: &str| {
        let changed = text.replacen(from, to, 1);
        assert_ne!(text, changed, "`{from}` is not in the shader");
        let checked = parse(shader, &changed).and_then(|parsed| {
            check_bindings(shader, &parsed.module)?;
            check_workgroup(shader, &parsed.module)?;
            check_shape_comments(&changed)
        });
        let problem = checked.expect_err(to);
        assert!(problem.contains(words), "{problem}");
    };
    refused("var<storage, read> gain", "var<storage, read_write> gain", "write access to gain");
    refused("@binding(3)", "@binding(9)", "no binding 9");
    refused("    eps: f32,", "    eps: f32,\n    more: vec4<f32>,", "size of the params");
    refused("fn main", "fn first", "entry point");
    refused("inverse_rms: array<f32>", "inverse_rms: array<i32>", "");
    refused("// [", "// rows [", "no shape");
    refused("@compute", "var<workgroup> m: array<u32, 5000>;\n@compute", "bytes of workgroup");
    refused("// out", "enable f16;\n// out", "f16");
}
