//! What egui made of a frame, drawn to a view: of a window, or of a texture.

use super::Anything;
use super::host::Host;
use super::tiles::Pipelines;
use blt_wgpu::gpu::wgpu;
use egui_wgpu::{Renderer, RendererOptions, ScreenDescriptor};
use std::path::Path;

/// A renderer for one format.
pub struct Canvas {
    renderer: Renderer,
    format: wgpu::TextureFormat,
}

impl Canvas {
    /// A canvas of this format, in gamma space as egui likes it.
    pub fn new(host: &Host, format: wgpu::TextureFormat) -> Self {
        let options = RendererOptions { dithering: false, ..RendererOptions::default() };
        let mut renderer = Renderer::new(&host.device, format, options);
        renderer.callback_resources.insert(Pipelines::new(&host.device, format));
        Self { renderer, format }
    }

    /// Submits a frame.
    pub fn draw(
        &mut self,
        host: &Host,
        context: &egui::Context,
        mut output: egui::FullOutput,
        view: &wgpu::TextureView,
        size: [u32; 2],
    ) -> wgpu::SubmissionIndex {
        let Host { device, queue, .. } = host;
        let scale = output.pixels_per_point;
        let screen = ScreenDescriptor { size_in_pixels: size, pixels_per_point: scale };
        let mut textures = std::mem::take(&mut output.textures_delta);
        for (id, deltas) in textures.set.drain() {
            for delta in &deltas {
                self.renderer.update_texture(device, queue, id, delta);
            }
        }
        let jobs = context.tessellate(output.shapes, scale);
        let fill = context.style_of(context.theme()).visuals.panel_fill;
        let [r, g, b] = [fill.r(), fill.g(), fill.b()].map(|part| f64::from(part) / 255.0);
        let behind = wgpu::Color { r, g, b, a: 1.0 };
        let mut encoder = device.create_command_encoder(&Default::default());
        let before = self.renderer.update_buffers(device, queue, &mut encoder, &jobs, &screen);
        let attachment = wgpu::RenderPassColorAttachment {
            view,
            depth_slice: None,
            resolve_target: None,
            ops: wgpu::Operations {
                load: wgpu::LoadOp::Clear(behind),
                store: wgpu::StoreOp::Store,
            },
        };
        let pass = encoder.begin_render_pass(&wgpu::RenderPassDescriptor {
            label: Some("window"),
            color_attachments: &[Some(attachment)],
            ..Default::default()
        });
        self.renderer.render(&mut pass.forget_lifetime(), &jobs, &screen);
        let submission = queue.submit(before.into_iter().chain([encoder.finish()]));
        for id in textures.free.drain() {
            self.renderer.free_texture(&id);
        }
        submission
    }

    /// A texture to draw to, which [`Self::save`] can read.
    pub fn texture(&self, host: &Host, [width, height]: [u32; 2]) -> wgpu::Texture {
        host.device.create_texture(&wgpu::TextureDescriptor {
            label: Some("picture"),
            size: wgpu::Extent3d { width, height, depth_or_array_layers: 1 },
            mip_level_count: 1,
            sample_count: 1,
            dimension: wgpu::TextureDimension::D2,
            format: self.format,
            usage: wgpu::TextureUsages::RENDER_ATTACHMENT | wgpu::TextureUsages::COPY_SRC,
            view_formats: &[],
        })
    }

    /// Writes a texture of this canvas as a PNG file. Waits for it.
    pub fn save(&self, host: &Host, texture: &wgpu::Texture, path: &Path) -> Anything<()> {
        let (width, height) = (texture.width(), texture.height());
        let row_bytes = (width * 4).next_multiple_of(wgpu::COPY_BYTES_PER_ROW_ALIGNMENT);
        let staging = host.device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("picture"),
            size: u64::from(row_bytes * height),
            usage: wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        });
        let mut encoder = host.device.create_command_encoder(&Default::default());
        encoder.copy_texture_to_buffer(
            texture.as_image_copy(),
            wgpu::TexelCopyBufferInfo {
                buffer: &staging,
                layout: wgpu::TexelCopyBufferLayout {
                    offset: 0,
                    bytes_per_row: Some(row_bytes),
                    rows_per_image: None,
                },
            },
            texture.size(),
        );
        host.queue.submit([encoder.finish()]);
        staging.map_async(wgpu::MapMode::Read, .., |_| {});
        host.device.poll(wgpu::PollType::wait_indefinitely())?;
        let rows = staging.get_mapped_range(..)?;
        let mut pixels = Vec::with_capacity((width * height * 4) as usize);
        for row in rows.chunks_exact(row_bytes as usize) {
            pixels.extend_from_slice(&row[..width as usize * 4]);
        }
        if self.format == wgpu::TextureFormat::Bgra8Unorm {
            pixels.chunks_exact_mut(4).for_each(|pixel| pixel.swap(0, 2));
        }
        pixels.chunks_exact_mut(4).for_each(|pixel| pixel[3] = 255);
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        let file = std::io::BufWriter::new(std::fs::File::create(path)?);
        let mut png = png::Encoder::new(file, width, height);
        png.set_color(png::ColorType::Rgba);
        png.set_depth(png::BitDepth::Eight);
        png.write_header()?.write_image_data(&pixels)?;
        Ok(())
    }
}
