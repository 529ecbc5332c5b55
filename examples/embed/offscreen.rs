//! The app without a window, drawn to a texture: for machines without a display.

use super::Anything;
use super::app::App;
use super::canvas::Canvas;
use super::host::Host;
use super::options::Options;
use blt_wgpu::gpu::wgpu;
use std::time::Instant;

/// Draws frames until the app is over; each is done before the next one begins.
pub fn run(host: &Host, app: &mut App<'_>, options: &Options) -> Anything<()> {
    let mut canvas = Canvas::new(host, wgpu::TextureFormat::Rgba8Unorm);
    let size = options.size.map(|points| (points * options.scale) as u32);
    let texture = canvas.texture(host, size);
    let view = texture.create_view(&Default::default());
    let began = Instant::now();
    while !app.is_over() {
        let output = app.frame(input(options, began.elapsed().as_secs_f64()));
        let context = app.context.clone();
        let drawn = canvas.draw(host, &context, output, &view, size);
        let wait = wgpu::PollType::Wait { submission_index: Some(drawn), timeout: None };
        host.device.poll(wait)?;
        app.end_frame();
    }
    match &options.screenshot {
        Some(path) => canvas.save(host, &texture, path),
        None => Ok(()),
    }
}

/// What a window would have told.
fn input(options: &Options, seconds: f64) -> egui::RawInput {
    let [width, height] = options.size;
    let mut input = egui::RawInput {
        screen_rect: Some(egui::Rect::from_min_size(egui::Pos2::ZERO, egui::vec2(width, height))),
        time: Some(seconds),
        focused: true,
        ..Default::default()
    };
    if let Some(viewport) = input.viewports.get_mut(&egui::ViewportId::ROOT) {
        viewport.native_pixels_per_point = Some(options.scale);
    }
    input
}
