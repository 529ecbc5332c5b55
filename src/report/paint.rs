//! Patches, curves and histograms in the text of a terminal.
//!
//! Whether there is colour is the caller's choice. With colour, patches alternate over a few pale
//! backgrounds with a black foreground of their own, which reads the same on a dark and on a light
//! terminal. Without, patches are separated by `|`, nothing in the text breaks the line, and the
//! escapes `\n \t \r \\ \| \xNN \u{NNNN}` and `<bos>` make the form unambiguous enough to test.

use super::glyph::{self, Glyph, Kind};

/// Backgrounds of patches, of the 256-colour table: blue, peach, green, lilac.
const PATCH_BACKGROUNDS: [u8; 4] = [153, 223, 151, 183];
/// Backgrounds from easy to hard to predict: pale yellow to red, and a black foreground throughout.
pub(super) const HEAT_BACKGROUNDS: [u8; 8] = [255, 230, 229, 222, 216, 209, 203, 197];
/// What a step of the scale is wide.
pub(super) const HEAT_STEP_NATS: f32 = 0.5;
const RESET: &str = "\x1b[0m";
const SPARKS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
/// Eighths of a cell, of which the first is nothing.
const EIGHTHS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];

/// A row of `[N]` ids cut into patches.
///
/// Lengths sum to `N`, or to more (the virtual token of spec §3.1 shows nothing); tokens that no
/// length covers are drawn as one last patch. A character that a cut goes through is drawn as the
/// `\xNN` of its bytes, so the output is valid UTF-8 whatever the bytes are.
pub fn patches(ids: &[u32], patch_lengths: &[u32], color: bool) -> String {
    let patches = glyph::patches(ids, patch_lengths);
    let mut text = String::new();
    for (index, patch) in patches.iter().enumerate() {
        if color {
            push_colored(&mut text, patch, patch_background(index));
        } else {
            if index > 0 {
                text.push('|');
            }
            patch.iter().for_each(|&glyph| text.push_str(&glyph.plain()));
        }
    }
    text
}

/// A row of `[N]` ids, each coloured by how hard it was to predict.
///
/// `entropies_nats` is `[N]`, entry `i` the uncertainty about token `i` before it was read. The
/// eight steps of the scale are half a nat each, the last one open. Without colour a glyph is
/// followed by a digit 0 to 7 in place of its colour.
pub fn entropy_heat(ids: &[u32], entropies_nats: &[f32], color: bool) -> String {
    assert_eq!(ids.len(), entropies_nats.len(), "one entropy for each id");
    let level_of = |glyph: &Glyph| {
        let tokens = glyph.token_index..glyph.token_index + glyph.token_count;
        heat_level(entropies_nats[tokens].iter().copied().fold(0.0, f32::max))
    };
    let glyphs = glyph::glyphs(ids);
    let mut text = String::new();
    if color {
        for run in glyphs.chunk_by(|a, b| level_of(a) == level_of(b)) {
            push_colored(&mut text, run, HEAT_BACKGROUNDS[level_of(&run[0])]);
        }
    } else {
        for glyph in &glyphs {
            text.push_str(&format!("{}{}", glyph.plain(), level_of(glyph)));
        }
    }
    text
}

/// A curve in one line of at most `width` characters, lowest value lowest.
///
/// Values are averaged where there are more than fit; what is not finite is a blank.
pub fn sparkline(values: &[f64], width: usize) -> String {
    let cells = averaged(values, width);
    let finite = || cells.iter().copied().filter(|value| value.is_finite());
    let low = finite().fold(f64::INFINITY, f64::min);
    let high = finite().fold(f64::NEG_INFINITY, f64::max);
    let spark = |value: f64| {
        if !value.is_finite() {
            return ' ';
        }
        let share = if high > low { (value - low) / (high - low) } else { 0.5 };
        SPARKS[((share * SPARKS.len() as f64) as usize).min(SPARKS.len() - 1)]
    };
    cells.iter().map(|&value| spark(value)).collect()
}

/// A bar a row: label, bar, count and share, each row ended by a newline.
///
/// The longest bar has `width` characters, in eighths; a count above zero always shows something.
pub fn histogram(rows: &[(String, u64)], width: usize, color: bool) -> String {
    let highest = rows.iter().map(|row| row.1).max().unwrap_or(0).max(1);
    let total = rows.iter().map(|row| row.1).sum::<u64>().max(1);
    let label_width = rows.iter().map(|row| row.0.chars().count()).max().unwrap_or(0);
    let count_width = highest.to_string().len();
    let mut text = String::new();
    for (label, count) in rows {
        let exact = *count as f64 / highest as f64 * width as f64 * 8.0;
        let eighth_count = (exact.round() as usize).max(usize::from(*count > 0));
        let bar = "█".repeat(eighth_count / 8) + EIGHTHS[eighth_count % 8];
        let blank = " ".repeat(width.saturating_sub(bar.chars().count()));
        let (on, off) = if color { ("\x1b[36m", RESET) } else { ("", "") };
        let percent = *count as f64 / total as f64 * 100.0;
        text.push_str(&format!(
            "{label:>label_width$} {on}{bar}{off}{blank} {count:>count_width$} {percent:>5.1}%\n"
        ));
    }
    text
}

/// Rows for [`histogram`] from counts by length, everything from `last` on in one row.
pub fn length_rows(length_counts: &[u64], last: usize) -> Vec<(String, u64)> {
    let shown = length_counts.len().min(last);
    let row = |length: usize| (length.to_string(), length_counts[length]);
    let mut rows: Vec<_> = (1..shown).map(row).collect();
    match length_counts.get(shown..) {
        Some([only]) if shown > 0 => rows.push((shown.to_string(), *only)),
        Some(rest @ [_, ..]) => rows.push((format!("{last}+"), rest.iter().sum())),
        _ => {}
    }
    rows
}

/// The background of a patch, by its index in the row.
pub(super) fn patch_background(index: usize) -> u8 {
    PATCH_BACKGROUNDS[index % PATCH_BACKGROUNDS.len()]
}

/// The step of the heat scale, 0 to 7, of an entropy in nats.
pub(super) fn heat_level(entropy_nats: f32) -> usize {
    ((entropy_nats / HEAT_STEP_NATS) as usize).min(HEAT_BACKGROUNDS.len() - 1)
}

/// Means of `width` equal stretches of the values, or the values where they fit.
fn averaged(values: &[f64], width: usize) -> Vec<f64> {
    if values.len() <= width {
        return values.to_vec();
    }
    let mean = |cell: usize| {
        let stretch = &values[cell * values.len() / width..(cell + 1) * values.len() / width];
        let finite = || stretch.iter().filter(|value| value.is_finite());
        finite().sum::<f64>() / finite().count() as f64
    };
    (0..width).map(mean).collect()
}

/// Glyphs on a background; a newline leaves the background before it breaks the line.
pub(super) fn push_colored(text: &mut String, glyphs: &[Glyph], background: u8) {
    let set = format!("\x1b[38;5;16;48;5;{background}m");
    let mut is_set = false;
    for &glyph in glyphs {
        if !is_set {
            text.push_str(&set);
            is_set = true;
        }
        match glyph.kind {
            Kind::Newline => {
                text.push('↵');
                text.push_str(RESET);
                text.push('\n');
                is_set = false;
            }
            Kind::Tab => text.push('⇥'),
            Kind::Char('\\' | '|') | Kind::Space => text.push_str(&raw(glyph)),
            _ => text.push_str(&glyph.plain()),
        }
    }
    if is_set {
        text.push_str(RESET);
    }
}

/// A glyph as it is, for those that show by themselves.
fn raw(glyph: Glyph) -> String {
    match glyph.kind {
        Kind::Char(character) => character.into(),
        _ => glyph.plain(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::encode;

    fn byte_ids(bytes: &[u8]) -> Vec<u32> {
        encode(bytes, false, false)
    }

    fn plain_form(text: &[u8], patch_lengths: &[u32]) -> String {
        patches(&byte_ids(text), patch_lengths, false)
    }

    #[test]
    fn plain_patches() {
        assert_eq!(plain_form(b"First Citizen:\n", &[2, 3, 5, 6]), "Fi|rst| Citi|zen:\\n");
        assert_eq!(plain_form(b"a|b\\\t\r\x1b[0m", &[2, 99]), "a\\||b\\\\\\t\\r\\x1b[0m");
        assert_eq!(plain_form("\u{202e}x".as_bytes(), &[9]), "\\u{202e}x");
        assert_eq!(
            patches(&[1, 101, 2, 259, 260], &[1, 1, 3], false),
            "<bos>|a|<eos>\\xff<id 260>"
        );
        assert_eq!(plain_form(b"", &[1]), "");
    }

    #[test]
    fn a_split_character_is_bytes_in_both_forms() {
        assert_eq!(plain_form("日本".as_bytes(), &[2, 4]), "\\xe6\\x97|\\xa5本");
        let colored = patches(&byte_ids("日本".as_bytes()), &[2, 4], true);
        assert!(colored.contains("\\xe6\\x97\x1b[0m") && colored.contains("\\xa5本"));
    }

    #[test]
    fn color_changes_at_every_cut_and_stops_before_a_newline() {
        let colored = patches(&byte_ids(b"ab\ncd"), &[1, 3, 1], true);
        let expected = "\x1b[38;5;16;48;5;153ma\x1b[0m\
             \x1b[38;5;16;48;5;223mb↵\x1b[0m\n\x1b[38;5;16;48;5;223mc\x1b[0m\
             \x1b[38;5;16;48;5;151md\x1b[0m";
        assert_eq!(colored, expected);
    }

    #[test]
    fn no_control_character_of_the_text_reaches_the_terminal() {
        let every_byte: Vec<u8> = (0..=255).collect();
        let ids = byte_ids(&every_byte);
        for length in [1, 3, 256] {
            let plain = patches(&ids, &[length; 256], false);
            assert!(!plain.chars().any(char::is_control));
            let colored = patches(&ids, &[length; 256], true);
            let escape_count =
                colored.matches("\x1b[38;5;16;48;5;").count() + colored.matches("\x1b[0m").count();
            assert_eq!(colored.matches('\x1b').count(), escape_count);
            assert!(!colored.chars().any(|c| c.is_control() && c != '\x1b' && c != '\n'));
        }
    }

    #[test]
    fn heat_grows_with_entropy() {
        let ids = byte_ids("aé!".as_bytes());
        let heat = entropy_heat(&ids, &[0.1, 2.7, 0.2, 9.9], false);
        assert_eq!(heat, "a0é5!7");
        let colored = entropy_heat(&ids, &[0.1, 2.7, 0.2, f32::NAN], true);
        assert!(colored.contains("48;5;255ma") && colored.contains("48;5;209mé"));
        assert!(colored.ends_with("48;5;255m!\x1b[0m"));
    }

    #[test]
    fn sparks_follow_the_values() {
        assert_eq!(sparkline(&[0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0], 8), "▁▂▃▄▅▆▇█");
        assert_eq!(sparkline(&[1.0, 1.0], 8), "▅▅");
        assert_eq!(sparkline(&[0.0, f64::NAN, 1.0], 8), "▁ █");
        assert_eq!(sparkline(&[8.0, 8.0, 2.0, 2.0, f64::NAN, 2.0], 3), "█▁▁");
        assert_eq!(sparkline(&[], 8), "");
        assert_eq!(sparkline(&[1.0], 0), "");
    }

    #[test]
    fn histogram_rows() {
        let rows = length_rows(&[0, 8, 4, 0, 1, 3], 4);
        assert_eq!(rows.last(), Some(&("4+".into(), 4)));
        let text = histogram(&rows, 8, false);
        let expected = [
            " 1 ████████ 8  50.0%\n",
            " 2 ████     4  25.0%\n",
            " 3          0   0.0%\n",
            "4+ ████     4  25.0%\n",
        ];
        assert_eq!(text, expected.concat());
        assert!(histogram(&[("x".into(), 1), ("y".into(), 1000)], 8, true).contains("▏"));
    }

    #[test]
    fn length_rows_name_the_last_only_as_more_where_it_is_more() {
        assert_eq!(length_rows(&[0, 8, 4], 9), [("1".into(), 8), ("2".into(), 4)]);
        assert_eq!(length_rows(&[0, 8, 4], 2), [("1".into(), 8), ("2".into(), 4)]);
        assert_eq!(length_rows(&[0, 8, 4], 1), [("1+".into(), 12)]);
        assert!(length_rows(&[], 9).is_empty());
    }
}
