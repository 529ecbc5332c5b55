//! A window that shows the app, as fast as the display likes.

use super::Anything;
use super::app::App;
use super::canvas::Canvas;
use super::host::Host;
use super::options::Options;
use blt_wgpu::gpu::wgpu;
use std::sync::Arc;
use winit::application::ApplicationHandler;
use winit::dpi::LogicalSize;
use winit::event::WindowEvent;
use winit::event_loop::{ActiveEventLoop, ControlFlow, EventLoop};
use winit::window::{Window, WindowId};

/// The event loop, which knows the display.
pub fn event_loop() -> Anything<EventLoop<()>> {
    let made = EventLoop::new();
    let event_loop =
        made.map_err(|error| format!("no window can be opened ({error}); try --offscreen"))?;
    event_loop.set_control_flow(ControlFlow::Poll);
    Ok(event_loop)
}

/// Shows the app until somebody closes the window, or it is over.
pub fn run(
    event_loop: EventLoop<()>,
    host: &Host,
    app: &mut App<'_>,
    options: &Options,
) -> Anything<()> {
    let mut shown = Shown { host, app, options, opened: None, problem: None };
    event_loop.run_app(&mut shown)?;
    match shown.problem {
        Some(problem) => Err(problem),
        None => Ok(()),
    }
}

struct Shown<'s, 'a> {
    host: &'s Host,
    app: &'s mut App<'a>,
    options: &'s Options,
    opened: Option<Opened>,
    problem: Option<Box<dyn std::error::Error>>,
}

struct Opened {
    window: Arc<Window>,
    surface: wgpu::Surface<'static>,
    configuration: wgpu::SurfaceConfiguration,
    canvas: Canvas,
    input: egui_winit::State,
}

impl Shown<'_, '_> {
    fn open(&self, event_loop: &ActiveEventLoop) -> Anything<Opened> {
        let [width, height] = self.options.size;
        let attributes = Window::default_attributes()
            .with_title("Bytes and patches")
            .with_inner_size(LogicalSize::new(width, height));
        let window = Arc::new(event_loop.create_window(attributes)?);
        let surface = self.host.instance.create_surface(Arc::clone(&window))?;
        let formats = surface.get_capabilities(&self.host.adapter).formats;
        // egui blends in gamma space.
        let plain = [wgpu::TextureFormat::Bgra8Unorm, wgpu::TextureFormat::Rgba8Unorm];
        let format = formats.iter().copied().find(|format| plain.contains(format));
        let format = format.ok_or("this device cannot draw on this display")?;
        let size = window.inner_size();
        let configuration = surface
            .get_default_config(&self.host.adapter, size.width.max(1), size.height.max(1))
            .ok_or("this device cannot draw on this display")?;
        let configuration = wgpu::SurfaceConfiguration { format, ..configuration };
        surface.configure(&self.host.device, &configuration);
        let most_side = self.host.device.limits().max_texture_dimension_2d as usize;
        let input = egui_winit::State::new(
            self.app.context.clone(),
            egui::ViewportId::ROOT,
            &window,
            Some(window.scale_factor() as f32),
            None,
            Some(most_side),
        );
        let canvas = Canvas::new(self.host, format);
        Ok(Opened { window, surface, configuration, canvas, input })
    }

    fn draw(&mut self) -> Anything<()> {
        let Some(Opened { window, surface, configuration, canvas, input }) = &mut self.opened
        else {
            return Ok(());
        };
        let texture = match surface.get_current_texture() {
            wgpu::CurrentSurfaceTexture::Success(texture)
            | wgpu::CurrentSurfaceTexture::Suboptimal(texture) => texture,
            wgpu::CurrentSurfaceTexture::Timeout | wgpu::CurrentSurfaceTexture::Occluded => {
                return Ok(());
            }
            wgpu::CurrentSurfaceTexture::Outdated => {
                surface.configure(&self.host.device, configuration);
                return Ok(());
            }
            wgpu::CurrentSurfaceTexture::Lost | wgpu::CurrentSurfaceTexture::Validation => {
                return Err("the window's surface is lost".into());
            }
        };
        let output = self.app.frame(input.take_egui_input(window));
        input.handle_platform_output(window, output.platform_output.clone());
        let view = texture.texture.create_view(&Default::default());
        let size = [configuration.width, configuration.height];
        let context = self.app.context.clone();
        let drawn = canvas.draw(self.host, &context, output, &view, size);
        self.host.queue.present(texture);
        if self.app.script.is_some() {
            // A frame is over when it is drawn: what stands before it on the queue counts.
            let wait = wgpu::PollType::Wait { submission_index: Some(drawn), timeout: None };
            self.host.device.poll(wait)?;
        }
        self.app.end_frame();
        Ok(())
    }

    /// One more frame, drawn to a texture and saved.
    fn save(&mut self) -> Anything<()> {
        let (Some(path), Some(opened)) = (&self.options.screenshot, &mut self.opened) else {
            return Ok(());
        };
        let Opened { window, configuration, canvas, input, .. } = opened;
        let size = [configuration.width, configuration.height];
        let texture = canvas.texture(self.host, size);
        let output = self.app.frame(input.take_egui_input(window));
        let view = texture.create_view(&Default::default());
        let context = self.app.context.clone();
        canvas.draw(self.host, &context, output, &view, size);
        canvas.save(self.host, &texture, path)
    }
}

impl ApplicationHandler for Shown<'_, '_> {
    fn resumed(&mut self, event_loop: &ActiveEventLoop) {
        if self.opened.is_none() {
            match self.open(event_loop) {
                Ok(opened) => self.opened = Some(opened),
                Err(error) => {
                    self.problem = Some(error);
                    event_loop.exit();
                }
            }
        }
    }

    fn window_event(&mut self, event_loop: &ActiveEventLoop, _id: WindowId, event: WindowEvent) {
        let Some(opened) = &mut self.opened else { return };
        let _ = opened.input.on_window_event(&opened.window, &event);
        match event {
            WindowEvent::CloseRequested => event_loop.exit(),
            WindowEvent::Resized(size) => {
                opened.configuration.width = size.width.max(1);
                opened.configuration.height = size.height.max(1);
                opened.surface.configure(&self.host.device, &opened.configuration);
            }
            WindowEvent::RedrawRequested => {
                let mut drawn = self.draw();
                if drawn.is_ok() && self.app.is_over() {
                    drawn = self.save();
                    event_loop.exit();
                }
                if let Err(error) = drawn {
                    self.problem = Some(error);
                    event_loop.exit();
                }
            }
            _ => {}
        }
    }

    fn about_to_wait(&mut self, _event_loop: &ActiveEventLoop) {
        if let Some(opened) = &self.opened {
            opened.window.request_redraw();
        }
    }
}
