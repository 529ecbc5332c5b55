//! Small drawings of figures: a curve over steps, and times of frames.

use super::style::palette;
use egui::{Align2, FontId, Pos2, Rect, Shape, Stroke, Ui, pos2, vec2};

/// Most points of a curve; of more, neighbours are averaged.
const MOST_POINTS: usize = 120;

/// A curve of losses, in bits a byte, with the first and the last value written beside it.
pub fn losses(ui: &mut Ui, losses: &[f32], height: f32) {
    let palette = palette(ui);
    let area = area(ui, height);
    let painter = ui.painter_at(area);
    painter.rect_filled(area, 6.0, palette.paper);
    let averages = averages(losses);
    let [Some(&first), Some(&last)] = [averages.first(), averages.last()] else {
        let font = FontId::proportional(12.0);
        let hint = "the curve begins with the first step";
        painter.text(area.center(), Align2::CENTER_CENTER, hint, font, palette.pale_ink);
        return;
    };
    let most = averages.iter().copied().fold(f32::MIN, f32::max);
    let least = averages.iter().copied().fold(f32::MAX, f32::min);
    let room = (most - least).max(0.2) * 0.15;
    let (low, high) = (least - room, most.max(least + 0.2) + room);
    let plot = area.shrink2(vec2(10.0, 12.0)).with_max_x(area.right() - 52.0);
    let place = |index: usize, value: f32| {
        let share = index as f32 / (averages.len() - 1).max(1) as f32;
        pos2(
            plot.left() + share * plot.width(),
            plot.bottom() - (value - low) / (high - low) * plot.height(),
        )
    };
    for line in [0.0, 0.5, 1.0] {
        let y = plot.top() + line * plot.height();
        let stroke = Stroke::new(1.0, palette.line);
        painter.line_segment([pos2(plot.left(), y), pos2(plot.right(), y)], stroke);
    }
    let points: Vec<Pos2> =
        averages.iter().enumerate().map(|(index, &value)| place(index, value)).collect();
    let end = place(averages.len() - 1, last);
    painter.add(Shape::line(points, Stroke::new(2.0, palette.accent)));
    painter.circle_filled(end, 3.5, palette.accent);
    let font = FontId::proportional(12.0);
    let at = pos2(plot.right() + 9.0, end.y);
    painter.text(at, Align2::LEFT_CENTER, format!("{last:.2}"), font.clone(), palette.ink);
    if (end.y - place(0, first).y).abs() > 14.0 {
        let at = pos2(plot.right() + 9.0, place(0, first).y);
        painter.text(at, Align2::LEFT_CENTER, format!("{first:.2}"), font, palette.pale_ink);
    }
}

/// Times of frames as thin bars, with a line at 33 ms.
pub fn frames(ui: &mut Ui, times_ms: &[f32], height: f32) {
    let palette = palette(ui);
    let area = area(ui, height);
    let painter = ui.painter_at(area);
    painter.rect_filled(area, 6.0, palette.paper);
    let plot = area.shrink2(vec2(6.0, 5.0));
    let count = (plot.width() / 3.0) as usize;
    let shown = &times_ms[times_ms.len().saturating_sub(count)..];
    let most = shown.iter().copied().fold(40.0, f32::max);
    let y = |ms: f32| plot.bottom() - ms / most * plot.height();
    for (index, &ms) in shown.iter().enumerate() {
        let x = plot.left() + index as f32 * 3.0;
        let color = if ms > 33.0 { palette.warning } else { palette.accent };
        let bar = Rect::from_min_max(pos2(x, y(ms)), pos2(x + 2.0, plot.bottom()));
        painter.rect_filled(bar, 0.5, color.gamma_multiply(0.75));
    }
    let stroke = Stroke::new(1.0, palette.pale_ink.gamma_multiply(0.5));
    painter.line_segment([pos2(plot.left(), y(33.0)), pos2(plot.right(), y(33.0))], stroke);
}

fn area(ui: &mut Ui, height: f32) -> Rect {
    ui.allocate_exact_size(vec2(ui.available_width(), height), egui::Sense::hover()).0
}

/// The values, or averages of as many neighbours as make them few.
fn averages(values: &[f32]) -> Vec<f32> {
    let width = values.len().div_ceil(MOST_POINTS).max(1);
    values.chunks(width).map(|some| some.iter().sum::<f32>() / some.len() as f32).collect()
}
