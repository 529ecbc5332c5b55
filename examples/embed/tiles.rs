//! The app's pipeline that draws entropies where the runtime has left them: on the device.

use blt_wgpu::gpu::wgpu;
use bytemuck::{Pod, Zeroable};
use egui_wgpu::{CallbackResources, CallbackTrait, ScreenDescriptor};
use std::ops::Range;

/// A character on the screen.
#[repr(C)]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
pub struct Tile {
    /// Left, top, right, bottom, in points from the corner of what is drawn.
    pub rect: [f32; 4],
    pub byte: u32,
    /// [`BEGINS`] and [`ENDS`].
    pub ends: u32,
}

/// A patch begins with the character.
pub const BEGINS: u32 = 1;
/// A patch ends with the character.
pub const ENDS: u32 = 2;

/// An entropy of so many nats has the strongest colour: few are more surprised.
pub const MOST_NATS: f32 = 4.0;

/// What is drawn with the entropies of a buffer.
pub struct Tiles {
    pub buffer: wgpu::Buffer,
    /// Bytes of which the entropies hold.
    pub byte_count: usize,
    pub what: What,
    /// In points.
    pub size: [f32; 2],
    pub is_dark: bool,
}

/// Tiles behind characters, or bars of bytes.
pub enum What {
    Tiles(Vec<Tile>),
    Bars(Range<usize>),
}

impl What {
    fn index(&self) -> usize {
        match self {
            Self::Tiles(_) => 0,
            Self::Bars(_) => 1,
        }
    }
}

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct View {
    size: [f32; 2],
    scale: f32,
    most_nats: f32,
    byte_count: u32,
    first_byte: u32,
    bar_count: u32,
    is_dark: u32,
}

/// The pipelines, made once.
pub struct Pipelines {
    tile: wgpu::RenderPipeline,
    bar: wgpu::RenderPipeline,
    layout: wgpu::BindGroupLayout,
    /// What is drawn in this frame: tiles, and bars.
    prepared: [Option<Prepared>; 2],
}

struct Prepared {
    group: wgpu::BindGroup,
    instances: wgpu::Buffer,
}

impl Pipelines {
    /// Pipelines that draw to this format, blending premultiplied colours.
    pub fn new(device: &wgpu::Device, format: wgpu::TextureFormat) -> Self {
        let module = device.create_shader_module(wgpu::include_wgsl!("tiles.wgsl"));
        let entry = |binding, visibility, ty| wgpu::BindGroupLayoutEntry {
            binding,
            visibility,
            ty: wgpu::BindingType::Buffer { ty, has_dynamic_offset: false, min_binding_size: None },
            count: None,
        };
        let storage = wgpu::BufferBindingType::Storage { read_only: true };
        let layout = device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor {
            label: Some("tiles"),
            entries: &[
                entry(0, wgpu::ShaderStages::VERTEX_FRAGMENT, wgpu::BufferBindingType::Uniform),
                entry(1, wgpu::ShaderStages::VERTEX, storage),
            ],
        });
        let pipeline_layout = device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
            label: Some("tiles"),
            bind_group_layouts: &[Some(&layout)],
            immediate_size: 0,
        });
        let attributes = wgpu::vertex_attr_array![0 => Float32x4, 1 => Uint32x2];
        let instances = wgpu::VertexBufferLayout {
            array_stride: size_of::<Tile>() as u64,
            step_mode: wgpu::VertexStepMode::Instance,
            attributes: &attributes,
        };
        let pipeline = |entry_point, buffers: &[Option<wgpu::VertexBufferLayout<'_>>]| {
            device.create_render_pipeline(&wgpu::RenderPipelineDescriptor {
                label: Some(entry_point),
                layout: Some(&pipeline_layout),
                vertex: wgpu::VertexState {
                    module: &module,
                    entry_point: Some(entry_point),
                    compilation_options: Default::default(),
                    buffers,
                },
                fragment: Some(wgpu::FragmentState {
                    module: &module,
                    entry_point: Some("rounded_rect"),
                    compilation_options: Default::default(),
                    targets: &[Some(wgpu::ColorTargetState {
                        format,
                        blend: Some(wgpu::BlendState::PREMULTIPLIED_ALPHA_BLENDING),
                        write_mask: wgpu::ColorWrites::ALL,
                    })],
                }),
                primitive: wgpu::PrimitiveState {
                    topology: wgpu::PrimitiveTopology::TriangleStrip,
                    ..Default::default()
                },
                depth_stencil: None,
                multisample: Default::default(),
                multiview_mask: None,
                cache: None,
            })
        };
        let (tile, bar) = (pipeline("tile", &[Some(instances)]), pipeline("bar", &[]));
        Self { tile, bar, layout, prepared: [None, None] }
    }
}

impl CallbackTrait for Tiles {
    fn prepare(
        &self,
        device: &wgpu::Device,
        queue: &wgpu::Queue,
        screen: &ScreenDescriptor,
        _encoder: &mut wgpu::CommandEncoder,
        resources: &mut CallbackResources,
    ) -> Vec<wgpu::CommandBuffer> {
        let pipelines: &mut Pipelines = resources.get_mut().expect("the canvas has put it there");
        let bars = match &self.what {
            What::Bars(bytes) => bytes.clone(),
            What::Tiles(_) => 0..0,
        };
        let view = View {
            size: self.size,
            scale: screen.pixels_per_point,
            most_nats: MOST_NATS,
            byte_count: self.byte_count as u32,
            first_byte: bars.start as u32,
            bar_count: bars.len() as u32,
            is_dark: u32::from(self.is_dark),
        };
        let filled = |usage, bytes: &[u8]| {
            let buffer = device.create_buffer(&wgpu::BufferDescriptor {
                label: Some("tiles"),
                size: bytes.len().max(4) as u64,
                usage: usage | wgpu::BufferUsages::COPY_DST,
                mapped_at_creation: false,
            });
            queue.write_buffer(&buffer, 0, bytes);
            buffer
        };
        let view = filled(wgpu::BufferUsages::UNIFORM, bytemuck::bytes_of(&view));
        let instances = match &self.what {
            What::Tiles(tiles) => bytemuck::cast_slice(tiles),
            What::Bars(_) => &[],
        };
        let instances = filled(wgpu::BufferUsages::VERTEX, instances);
        let entry = |binding, resource| wgpu::BindGroupEntry { binding, resource };
        let group = device.create_bind_group(&wgpu::BindGroupDescriptor {
            label: Some("tiles"),
            layout: &pipelines.layout,
            entries: &[
                entry(0, view.as_entire_binding()),
                entry(1, self.buffer.as_entire_binding()),
            ],
        });
        pipelines.prepared[self.what.index()] = Some(Prepared { group, instances });
        Vec::new()
    }

    fn paint(
        &self,
        _info: egui::PaintCallbackInfo,
        pass: &mut wgpu::RenderPass<'static>,
        resources: &CallbackResources,
    ) {
        let pipelines: &Pipelines = resources.get().expect("the canvas has put it there");
        let prepared = &pipelines.prepared[self.what.index()];
        let Some(Prepared { group, instances }) = prepared else { return };
        pass.set_bind_group(0, group, &[]);
        match &self.what {
            What::Tiles(tiles) => {
                pass.set_pipeline(&pipelines.tile);
                pass.set_vertex_buffer(0, instances.slice(..));
                pass.draw(0..4, 0..tiles.len() as u32);
            }
            What::Bars(bytes) => {
                pass.set_pipeline(&pipelines.bar);
                pass.draw(0..4, 0..bytes.len() as u32);
            }
        }
    }
}
