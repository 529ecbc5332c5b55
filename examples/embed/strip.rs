//! The strip below the text: how sure the model was in front of each of the last bytes.

use super::desk::Desk;
use super::style::palette;
use super::tiles::{MOST_NATS, Tiles, What};
use egui::{Align2, FontId, Rect, Shape, Stroke, Ui, pos2, vec2};

/// Points of a bar at the least.
const BAR_WIDTH: f32 = 3.0;

/// Shows the strip in what room there is.
pub fn show(ui: &mut Ui, desk: &Desk) {
    let palette = palette(ui);
    let (area, _) = ui.allocate_exact_size(ui.available_size(), egui::Sense::hover());
    let plot = area.with_min_y(area.top() + 18.0).with_max_y(area.bottom() - 8.0);
    let font = FontId::proportional(11.5);
    let title = "nats in front of each byte";
    ui.painter().text(area.left_top(), Align2::LEFT_TOP, title, font.clone(), palette.pale_ink);
    let known = desk.known_byte_count();
    let Some(buffer) = desk.scored.buffer.clone().filter(|_| known > 0) else { return };
    let count = ((plot.width() / BAR_WIDTH) as usize).clamp(1, known);
    let bytes = known - count..known;
    let width = plot.width() / count.max(120) as f32;
    let plot = plot.with_max_x(plot.left() + width * count as f32);
    let tiles = Tiles {
        buffer,
        byte_count: known,
        what: What::Bars(bytes.clone()),
        size: [plot.width(), plot.height()],
        is_dark: ui.visuals().dark_mode,
    };
    let callback = egui_wgpu::Callback::new_paint_callback(plot, tiles);
    ui.painter().add(Shape::Callback(callback));
    for (index, byte) in bytes.enumerate() {
        if desk.starts.get(byte) == Some(&true) {
            let x = plot.left() + index as f32 * width;
            let tick =
                Rect::from_min_size(pos2(x, plot.bottom() + 3.0), vec2(width.max(2.0) - 0.5, 2.5));
            ui.painter().rect_filled(tick, 1.0, palette.accent);
        }
    }
    if let Some(threshold) = desk.threshold() {
        let y = plot.bottom() - threshold / MOST_NATS * plot.height();
        let stroke = Stroke::new(1.0, palette.accent.gamma_multiply(0.8));
        let ends = [pos2(area.left(), y), pos2(area.right(), y)];
        ui.painter().extend(Shape::dashed_line(&ends, stroke, 4.0, 3.0));
        let at = pos2(area.right(), area.top());
        let text = format!("cut above {threshold:.2}");
        ui.painter().text(at, Align2::RIGHT_TOP, text, font, palette.accent);
    }
}
