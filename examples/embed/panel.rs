//! The panel beside the text: patches, writing, learning, frames.

use super::curve;
use super::desk::Desk;
use super::frames::Frames;
use super::models::{Models, Part};
use super::style::{Palette, palette};
use blt_wgpu::blt::patching::PatchingMode;
use egui::{Button, RichText, Slider, Ui};

/// What is known of the app besides what is on the desk.
pub struct About<'a> {
    pub models: &'a Models,
    pub device: &'a str,
    pub frames: &'a Frames,
}

/// Shows all sections.
pub fn show(ui: &mut Ui, desk: &mut Desk, about: &About<'_>) {
    let colors = palette(ui);
    patches(ui, desk, &colors);
    section(ui, "Write");
    write(ui, desk, &colors);
    section(ui, "Learn");
    learn(ui, desk, about, &colors);
    section(ui, "Frames");
    frames(ui, about.frames, &colors);
}

fn section(ui: &mut Ui, title: &str) {
    ui.add_space(9.0);
    ui.separator();
    ui.add_space(1.0);
    ui.label(RichText::new(title).strong().size(14.5));
}

fn patches(ui: &mut Ui, desk: &mut Desk, colors: &Palette) {
    ui.label(RichText::new("Patches").strong().size(14.5));
    let (bytes, patches) = (desk.scored.text.len(), desk.patch_count());
    let mean = bytes as f32 / patches.max(1) as f32;
    ui.horizontal(|ui| {
        ui.label(RichText::new(format!("{mean:.2}")).size(30.0).color(colors.accent));
        ui.vertical(|ui| {
            ui.add_space(5.0);
            ui.label(RichText::new("bytes a patch").color(colors.ink));
            let counts = format!("{bytes} bytes in {patches} patches");
            ui.label(RichText::new(counts).small().color(colors.pale_ink));
        });
    });
    if let Some(mut threshold) = desk.threshold() {
        ui.horizontal(|ui| {
            let slider = Slider::new(&mut threshold, 0.2..=3.8).fixed_decimals(2);
            if ui.add(slider).changed() {
                desk.patching.mode = PatchingMode::Entropy { threshold };
                desk.cut();
            }
            ui.label(RichText::new("nats cut").color(colors.pale_ink));
        });
    }
}

fn write(ui: &mut Ui, desk: &mut Desk, colors: &Palette) {
    let writing = &mut desk.writing;
    ui.horizontal(|ui| {
        ui.add(Slider::new(&mut writing.temperature, 0.0..=1.5).fixed_decimals(2));
        ui.label(RichText::new("temperature").color(colors.pale_ink));
    });
    ui.horizontal(|ui| {
        ui.add(Slider::new(&mut writing.byte_count, 20..=1000));
        ui.label(RichText::new("bytes").color(colors.pale_ink));
    });
    ui.horizontal(|ui| {
        if accented(ui, if writing.is_wanted { "Stop" } else { "Write on" }, colors).clicked() {
            writing.is_wanted = !writing.is_wanted;
            writing.seed += 1;
        }
        if writing.written > 0 {
            let speed =
                format!("{} bytes, {:.0} a second", writing.written, writing.bytes_per_second);
            ui.label(RichText::new(speed).color(colors.pale_ink));
        }
    });
}

fn learn(ui: &mut Ui, desk: &mut Desk, about: &About<'_>, colors: &Palette) {
    let learning = &mut desk.learning;
    ui.horizontal(|ui| {
        ui.add_enabled_ui(!learning.is_busy, |ui| {
            for part in about.models.parts() {
                let name = match part {
                    Part::Entropy => "what it expects",
                    Part::Model => "how it writes",
                };
                ui.selectable_value(&mut learning.part, part, name);
            }
        });
    });
    ui.horizontal(|ui| {
        ui.label(RichText::new("from").color(colors.pale_ink));
        ui.selectable_value(&mut learning.learns_text, false, &about.models.corpus_name);
        ui.selectable_value(&mut learning.learns_text, true, "this text");
    });
    ui.horizontal(|ui| {
        let is_on = learning.wanted_steps > 0;
        if accented(ui, if is_on { "Pause" } else { "Learn" }, colors).clicked() {
            learning.wanted_steps = if is_on { 0 } else { usize::MAX };
        }
        if ui.add_enabled(!is_on && !learning.is_busy, Button::new("One step")).clicked() {
            learning.wanted_steps = 1;
        }
    });
    curve::losses(ui, &learning.losses, 96.0);
    let text = match (learning.losses.last(), learning.is_busy) {
        (Some(loss), _) => {
            let (count, ms) = (learning.losses.len(), learning.step_ms);
            format!("step {count}: {loss:.2} bits a byte, {ms:.0} ms with frames between")
        }
        (None, true) => "getting ready".to_owned(),
        (None, false) => "bits a byte, step by step".to_owned(),
    };
    ui.label(RichText::new(text).small().color(colors.pale_ink));
}

fn frames(ui: &mut Ui, frames: &Frames, colors: &Palette) {
    curve::frames(ui, &frames.times_ms, 34.0);
    let figures = frames.figures(frames.times_ms.len().saturating_sub(300));
    let text = format!(
        "median {:.1} ms, 99 % below {:.1}, longest {:.1}",
        figures.median, figures.p99, figures.longest
    );
    ui.label(RichText::new(text).small().color(colors.pale_ink));
}

fn accented(ui: &mut Ui, text: &str, colors: &Palette) -> egui::Response {
    let text = RichText::new(text).strong().color(colors.on_accent);
    ui.add(Button::new(text).fill(colors.accent).min_size(egui::vec2(92.0, 28.0)))
}
