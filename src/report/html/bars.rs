//! A table whose rows carry a bar: figures to compare at a glance, readable without the picture.

use super::markup::Text;

/// One row.
pub(super) struct Bar {
    pub name: String,
    /// A few words under the name; may be empty.
    pub note: String,
    pub value: String,
    /// A few characters under the value; may be empty.
    pub value_note: String,
    /// Length of the bar, 0 to 1.
    pub share: f64,
    /// `"blt"`, `"entropy"` or `"plain"`: which colour of the page.
    pub color: &'static str,
}

/// Rows under a caption that is read out but not shown. Empty where there are no rows.
pub(super) fn bar_table(caption: &str, columns: [&str; 2], bars: &[Bar]) -> String {
    if bars.is_empty() {
        return String::new();
    }
    let mut html = format!(
        "<table class=\"bars\"><caption class=\"unseen\">{}</caption><thead class=\"unseen\"><tr>\
         <th scope=\"col\">{}</th><td></td><th scope=\"col\">{}</th></tr></thead><tbody>\n",
        Text(caption),
        Text(columns[0]),
        Text(columns[1]),
    );
    for bar in bars {
        let share = if bar.share.is_finite() { bar.share.clamp(0.0, 1.0) } else { 0.0 };
        html.push_str(&format!(
            "<tr><th scope=\"row\">{}{}</th><td class=\"bar\" aria-hidden=\"true\">\
             <span class=\"fill {}\" style=\"width:{:.2}%\"></span></td>\
             <td class=\"value\">{}{}</td></tr>\n",
            Text(&bar.name),
            small(&bar.note),
            bar.color,
            share * 100.0,
            Text(&bar.value),
            small(&bar.value_note),
        ));
    }
    html.push_str("</tbody></table>\n");
    html
}

fn small(note: &str) -> String {
    if note.is_empty() { String::new() } else { format!("<small>{}</small>", Text(note)) }
}
