//! How it looks: paper and ink, by day and by night. The text is the picture.

use egui::{Color32, CornerRadius, FontFamily, FontId, Margin, Stroke, TextStyle, Theme, Visuals};

/// The colours of a theme.
#[derive(Clone, Copy)]
pub struct Palette {
    pub paper: Color32,
    /// What lies on the paper: the editor, the panel.
    pub sheet: Color32,
    pub line: Color32,
    pub ink: Color32,
    pub pale_ink: Color32,
    pub accent: Color32,
    pub on_accent: Color32,
    pub button: Color32,
    pub warning: Color32,
}

const DAY: Palette = Palette {
    paper: Color32::from_rgb(243, 241, 236),
    sheet: Color32::from_rgb(253, 252, 250),
    line: Color32::from_rgb(226, 222, 214),
    ink: Color32::from_rgb(38, 40, 46),
    pale_ink: Color32::from_rgb(124, 122, 118),
    accent: Color32::from_rgb(27, 110, 112),
    on_accent: Color32::from_rgb(255, 255, 255),
    button: Color32::from_rgb(236, 233, 226),
    warning: Color32::from_rgb(180, 62, 40),
};

const NIGHT: Palette = Palette {
    paper: Color32::from_rgb(19, 21, 25),
    sheet: Color32::from_rgb(27, 29, 34),
    line: Color32::from_rgb(46, 49, 56),
    ink: Color32::from_rgb(226, 226, 222),
    pale_ink: Color32::from_rgb(140, 143, 150),
    accent: Color32::from_rgb(92, 187, 183),
    on_accent: Color32::from_rgb(14, 24, 25),
    button: Color32::from_rgb(41, 44, 51),
    warning: Color32::from_rgb(236, 128, 100),
};

/// The palette of what is drawn now.
pub fn palette(ui: &egui::Ui) -> Palette {
    if ui.visuals().dark_mode { NIGHT } else { DAY }
}

/// The size of the text in the editor.
pub fn text_font() -> FontId {
    FontId::new(17.0, FontFamily::Monospace)
}

/// Sets both themes.
pub fn apply(context: &egui::Context, is_dark: bool) {
    context.set_visuals_of(Theme::Light, visuals(Visuals::light(), &DAY));
    context.set_visuals_of(Theme::Dark, visuals(Visuals::dark(), &NIGHT));
    context.set_theme(if is_dark { Theme::Dark } else { Theme::Light });
    context.all_styles_mut(|style| {
        style.spacing.item_spacing = egui::vec2(8.0, 7.0);
        style.spacing.button_padding = egui::vec2(12.0, 5.0);
        style.spacing.slider_width = 150.0;
        style.spacing.interact_size.y = 24.0;
        style.spacing.window_margin = Margin::same(12);
        style.interaction.selectable_labels = false;
        let size = |size| FontId::new(size, FontFamily::Proportional);
        style.text_styles.insert(TextStyle::Body, size(13.5));
        style.text_styles.insert(TextStyle::Button, size(13.5));
        style.text_styles.insert(TextStyle::Small, size(11.5));
        style.text_styles.insert(TextStyle::Heading, size(17.0));
    });
}

fn visuals(mut visuals: Visuals, palette: &Palette) -> Visuals {
    let Palette { paper, sheet, line, ink, pale_ink, accent, button, warning, .. } = *palette;
    visuals.panel_fill = paper;
    visuals.window_fill = sheet;
    visuals.extreme_bg_color = line;
    visuals.faint_bg_color = sheet;
    visuals.override_text_color = Some(ink);
    visuals.weak_text_color = Some(pale_ink);
    visuals.selection.bg_fill = accent.gamma_multiply(0.35);
    visuals.selection.stroke = Stroke::new(1.0, accent);
    visuals.hyperlink_color = accent;
    visuals.error_fg_color = warning;
    visuals.text_cursor.stroke = Stroke::new(2.0, accent);
    visuals.slider_trailing_fill = true;
    let widgets = &mut visuals.widgets;
    for widget in [
        &mut widgets.noninteractive,
        &mut widgets.inactive,
        &mut widgets.hovered,
        &mut widgets.active,
        &mut widgets.open,
    ] {
        widget.corner_radius = CornerRadius::same(6);
        widget.bg_stroke = Stroke::NONE;
        widget.weak_bg_fill = button;
        widget.bg_fill = button;
        widget.fg_stroke = Stroke::new(1.0, ink);
        widget.expansion = 0.0;
    }
    widgets.noninteractive.bg_stroke = Stroke::new(1.0, line);
    widgets.hovered.bg_stroke = Stroke::new(1.0, accent.gamma_multiply(0.6));
    widgets.active.bg_fill = accent;
    widgets.active.weak_bg_fill = accent.gamma_multiply(0.4);
    visuals
}
