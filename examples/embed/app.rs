//! A frame of the app: models work for some milliseconds, then everything is shown.

use super::Anything;
use super::desk::Desk;
use super::frames::Frames;
use super::host::Host;
use super::models::Models;
use super::options::Options;
use super::panel::{self, About};
use super::pump::Pump;
use super::script::Script;
use super::style::{self, palette};
use super::{editor, strip};
use egui::{CentralPanel, Frame, Margin, Panel, RichText, Ui};
use std::cell::RefCell;
use std::time::{Duration, Instant};

/// Everything that a window or a texture shows.
pub struct App<'a> {
    pub context: egui::Context,
    pub frames: Frames,
    pub script: Option<Script>,
    pub desk: &'a RefCell<Desk>,
    models: &'a Models,
    device: String,
    pump: Pump<'a>,
    budget: Duration,
    frame_count: Option<usize>,
    began: Option<Instant>,
}

impl<'a> App<'a> {
    /// An app that has shown nothing yet.
    pub fn new(
        host: &Host,
        models: &'a Models,
        desk: &'a RefCell<Desk>,
        pump: Pump<'a>,
        options: &Options,
    ) -> Self {
        let context = egui::Context::default();
        style::apply(&context, options.is_dark);
        let info = host.adapter.get_info();
        Self {
            context,
            frames: Frames::default(),
            script: options.script.then(|| Script::new(options)),
            desk,
            models,
            device: format!("{} / {}", info.backend, info.name),
            pump,
            budget: options.budget,
            frame_count: options.frame_count,
            began: None,
        }
    }

    /// The first half of a frame: models work, and the interface is laid out.
    pub fn frame(&mut self, mut input: egui::RawInput) -> egui::FullOutput {
        self.began = Some(Instant::now());
        self.pump.work(self.budget);
        if let Some(script) = &mut self.script {
            script.play(&mut self.desk.borrow_mut(), &mut input, &self.frames);
            // A field that types has the focus, whatever the window has.
            input.focused = true;
            self.context.memory_mut(|memory| memory.request_focus(editor::id()));
        }
        let Self { desk, models, device, frames, .. } = self;
        let about = About { models, device, frames };
        let mut desk = desk.borrow_mut();
        self.context.run_ui(input, |ui| show(ui, &mut desk, &about))
    }

    /// The end of the frame: what it took is kept.
    pub fn end_frame(&mut self) {
        if let Some(began) = self.began.take() {
            self.frames.times_ms.push(began.elapsed().as_secs_f32() * 1e3);
        }
    }

    /// Whether there is nothing more to show.
    pub fn is_over(&self) -> bool {
        let is_played = self.script.as_ref().is_some_and(Script::is_over);
        is_played || self.frame_count.is_some_and(|count| self.frames.times_ms.len() >= count)
    }

    /// What went wrong, if something did.
    pub fn problem(&self) -> Anything<()> {
        match &self.desk.borrow().problem {
            Some(problem) => Err(problem.as_str().into()),
            None => Ok(()),
        }
    }
}

fn show(ui: &mut Ui, desk: &mut Desk, about: &About<'_>) {
    let colors = palette(ui);
    let bar = Frame::new().fill(colors.paper).inner_margin(Margin {
        left: 22,
        right: 18,
        top: 12,
        bottom: 4,
    });
    Panel::top("title").frame(bar).show_separator_line(false).show(ui, |ui| title(ui, about));
    let side = Frame::new().fill(colors.paper).inner_margin(Margin {
        left: 8,
        right: 20,
        top: 8,
        bottom: 12,
    });
    Panel::right("panel")
        .frame(side)
        .exact_size(330.0)
        .resizable(false)
        .show_separator_line(false)
        .show(ui, |ui| {
            egui::ScrollArea::vertical().show(ui, |ui| panel::show(ui, desk, about));
        });
    let sheet = Frame::new()
        .fill(colors.sheet)
        .stroke(egui::Stroke::new(1.0, colors.line))
        .corner_radius(10.0)
        .inner_margin(Margin::symmetric(22, 16))
        .outer_margin(Margin { left: 20, right: 14, top: 8, bottom: 18 });
    CentralPanel::no_frame().frame(sheet).show(ui, |ui| {
        let below = Frame::new().inner_margin(Margin { left: 0, right: 0, top: 12, bottom: 0 });
        Panel::bottom("strip")
            .frame(below)
            .exact_size(118.0)
            .resizable(false)
            .show(ui, |ui| strip::show(ui, desk));
        if let Some(problem) = desk.problem.clone() {
            ui.horizontal_wrapped(|ui| {
                ui.label(RichText::new(problem).color(colors.warning));
                if ui.small_button("I see").clicked() {
                    desk.problem = None;
                }
            });
        }
        editor::show(ui, desk);
    });
}

fn title(ui: &mut Ui, about: &About<'_>) {
    let colors = palette(ui);
    ui.horizontal(|ui| {
        ui.label(RichText::new("Bytes and patches").strong().size(18.0));
        ui.add_space(6.0);
        let millions = about.models.parameter_count() as f32 / 1e6;
        let text =
            format!("{}, {millions:.1} M parameters, on {}", about.models.name, about.device);
        ui.label(RichText::new(text).color(colors.pale_ink));
        ui.with_layout(egui::Layout::right_to_left(egui::Align::Center), |ui| {
            let is_dark = ui.visuals().dark_mode;
            if ui.button(if is_dark { "Day" } else { "Night" }).clicked() {
                let theme = if is_dark { egui::Theme::Light } else { egui::Theme::Dark };
                ui.ctx().set_theme(theme);
            }
        });
    });
}
