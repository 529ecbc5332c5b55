//! The text: what people type, over tiles with the colours of its entropies.

use super::desk::Desk;
use super::style::{palette, text_font};
use super::tiles::{BEGINS, ENDS, Tile, Tiles, What};
use egui::text::{LayoutJob, TextFormat};
use egui::{Color32, Galley, Pos2, Rect, Shape, TextBuffer, TextEdit, Ui};
use std::sync::Arc;

/// From one line of text to the next, in points.
const LINE_HEIGHT: f32 = 31.0;
/// Height of a tile.
const TILE_HEIGHT: f32 = 25.0;
/// Width of the tile of a line break, which is no character that one sees.
const BREAK_WIDTH: f32 = 7.0;

/// The editor's name among the widgets, for those who type by program.
pub fn id() -> egui::Id {
    egui::Id::unique("the text")
}

/// Shows the text, as high as there is room.
pub fn show(ui: &mut Ui, desk: &mut Desk) {
    let palette = palette(ui);
    let follows = desk.writing.is_wanted;
    egui::ScrollArea::vertical().auto_shrink(false).stick_to_bottom(follows).show(ui, |ui| {
        // Behind the text, but known only when the text has been laid out.
        let behind = ui.painter().add(Shape::Noop);
        let mut layouter = |ui: &Ui, text: &dyn TextBuffer, width: f32| {
            let format = TextFormat {
                line_height: Some(LINE_HEIGHT),
                valign: egui::Align::Center,
                ..TextFormat::simple(text_font(), palette.ink)
            };
            let mut job = LayoutJob::single_section(text.as_str().to_owned(), format);
            job.wrap.max_width = width;
            ui.fonts_mut(|fonts| fonts.layout_job(job))
        };
        let output = TextEdit::multiline(&mut desk.text)
            .id(id())
            .frame(egui::Frame::NONE)
            .background_color(Color32::TRANSPARENT)
            .desired_width(f32::INFINITY)
            .desired_rows((ui.available_height() / LINE_HEIGHT) as usize)
            .layouter(&mut layouter)
            .show(ui);
        if output.response.changed() {
            desk.edit_count += 1;
        }
        let area = ui.clip_rect().intersect(output.text_clip_rect.expand(4.0));
        if let Some(tiles) = tiles(desk, &output.galley, output.galley_pos, area, ui) {
            let callback = egui_wgpu::Callback::new_paint_callback(area, tiles);
            ui.painter().set(behind, Shape::Callback(callback));
        }
    });
}

/// What is drawn behind the characters that are seen.
fn tiles(desk: &Desk, galley: &Arc<Galley>, at: Pos2, area: Rect, ui: &Ui) -> Option<Tiles> {
    let buffer = desk.scored.buffer.clone()?;
    let known = desk.known_byte_count();
    let mut tiles = Vec::new();
    let mut byte = 0;
    for row in &galley.rows {
        let rect = row.rect().translate(at.to_vec2());
        let is_seen = rect.bottom() >= area.top() && rect.top() <= area.bottom();
        let mut add = |left: f32, width: f32, length: usize| {
            if is_seen && byte < known {
                let middle = rect.center().y - area.top();
                let left = rect.left() + left - area.left();
                let top = middle - TILE_HEIGHT / 2.0;
                let begins = (byte..byte + length).any(|byte| starts(desk, byte));
                let ends = starts(desk, byte + length) || byte + length == known;
                tiles.push(Tile {
                    rect: [left, top, left + width, top + TILE_HEIGHT],
                    byte: byte as u32,
                    ends: if begins { BEGINS } else { 0 } | if ends { ENDS } else { 0 },
                });
            }
            byte += length;
        };
        for glyph in &row.row.glyphs {
            add(glyph.pos.x, glyph.advance_width, glyph.chr.len_utf8());
        }
        if row.ends_with_newline {
            let end = row.row.glyphs.last().map_or(0.0, |glyph| glyph.pos.x + glyph.advance_width);
            add(end, BREAK_WIDTH, 1);
        }
    }
    let size = [area.width(), area.height()];
    let (what, is_dark) = (What::Tiles(tiles), ui.visuals().dark_mode);
    Some(Tiles { buffer, byte_count: known, what, size, is_dark })
}

fn starts(desk: &Desk, byte: usize) -> bool {
    desk.starts.get(byte).copied().unwrap_or(false)
}
