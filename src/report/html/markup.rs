//! Text that is safe inside a page, and the table that every chart has beside it.

use std::fmt::{self, Display, Formatter};

/// Text with what means something to HTML replaced, good in content and in quoted attributes.
///
/// Control characters, which no page may hold, become the replacement character.
pub(super) struct Text<'a>(pub &'a str);

impl Display for Text<'_> {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        for character in self.0.chars() {
            match character {
                '&' => formatter.write_str("&amp;")?,
                '<' => formatter.write_str("&lt;")?,
                '>' => formatter.write_str("&gt;")?,
                '"' => formatter.write_str("&quot;")?,
                '\'' => formatter.write_str("&#39;")?,
                '\n' | '\t' => write!(formatter, "{character}")?,
                _ if character.is_control() => formatter.write_str("\u{fffd}")?,
                _ => write!(formatter, "{character}")?,
            }
        }
        Ok(())
    }
}

/// Text as the body of a `data:` address.
pub(super) fn percent_encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len() * 2);
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            encoded.push(byte.into());
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

/// The same figures as a table, folded away. Empty where there are no rows.
pub(super) fn folded_table(summary: &str, columns: &[&str], rows: &[Vec<String>]) -> String {
    if rows.is_empty() {
        return String::new();
    }
    let mut html = format!(
        "<details><summary>{}</summary><div class=\"scroll\"><table class=\"data\"><thead><tr>",
        Text(summary)
    );
    for column in columns {
        html.push_str(&format!("<th scope=\"col\">{}</th>", Text(column)));
    }
    html.push_str("</tr></thead><tbody>");
    for row in rows {
        html.push_str("<tr>");
        for cell in row {
            html.push_str(&format!("<td>{}</td>", Text(cell)));
        }
        html.push_str("</tr>");
    }
    html.push_str("</tbody></table></div></details>\n");
    html
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_gets_out() {
        let text = Text("</script><b a='\"'>&\u{0}\u{1b}[0m\n").to_string();
        let expected = "&lt;/script&gt;&lt;b a=&#39;&quot;&#39;&gt;&amp;\u{fffd}\u{fffd}[0m\n";
        assert_eq!(text, expected);
    }

    #[test]
    fn addresses_hold_plain_characters_only() {
        assert_eq!(percent_encoded("{\"é\":1}~"), "%7B%22%C3%A9%22%3A1%7D~");
    }

    #[test]
    fn tables_escape_and_vanish_when_empty() {
        assert_eq!(folded_table("s", &["a"], &[]), "");
        let table = folded_table("a<b", &["<i>"], &[vec!["&".into()]]);
        assert!(table.contains("a&lt;b") && table.contains("&lt;i&gt;") && table.contains("&amp;"));
    }
}
