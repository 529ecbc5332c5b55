//! The page around the sections.

use super::markup::Text;
use super::{card, curves, headline, patching, samples, strip};
use crate::report::data::RunReport;
use crate::report::figures::fixed;

pub(super) const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");
/// Three bars, in colours that show on any tab.
const ICON: &str = "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 \
    16'\
    %3E%3Cpath d='M3 14V3M8 14V9M13 14V6' stroke='%23128299' stroke-width='3.4'/%3E%3C/svg%3E";

/// The whole of `report.html`.
///
/// Sections with nothing to show are left out. Text of the report, bytes of the corpus and of the
/// models included, is escaped; nothing is loaded from outside.
pub fn render(report: &RunReport) -> String {
    let sections = [
        section(
            "figures",
            "The result",
            "Bits per byte on held-out text: how many bits it takes, on average, to say which byte \
             comes next. Eight is knowing nothing.",
            &headline::figures(report),
        ),
        section("curves", "Learning", learning_lede(report), &curves::curves(report)),
        section(
            "strip",
            "Where the cuts fall",
            "A patch begins where the next byte is hard to predict, so easy bytes travel together.",
            &strip::strip(report),
        ),
        section("patching", "Patches", "", &patching::patching(report)),
        section(
            "samples",
            "What it writes",
            "Byte by byte, in patches it decides on as it goes.",
            &samples::samples(report),
        ),
        section("timing", "Where the time went", "", &card::timing(report)),
        section("models", "Models and run", "", &card::models(report)),
        section("replay", "Run it again", "", &card::replay(report)),
    ];
    let description = format!(
        "{} bits per byte, {} bytes per patch, on {}",
        fixed(report.result.bpb, 3),
        fixed(report.result.bytes_per_patch, 2),
        report.device.name
    );
    Page {
        title: &report.title,
        description: &description,
        style: &[STYLE],
        masthead: &headline::masthead(report),
        sections: &sections.concat(),
        footer: "<p>Byte Latent Transformer: Pagnoni et al., <cite>Patches Scale Better Than \
                 Tokens</cite>, arXiv 2412.09871.</p>",
    }
    .render()
}

/// A page from its parts; all but title and description are markup already.
pub(super) struct Page<'a> {
    pub title: &'a str,
    pub description: &'a str,
    /// Style sheets, one after the other.
    pub style: &'a [&'a str],
    pub masthead: &'a str,
    pub sections: &'a str,
    pub footer: &'a str,
}

impl Page<'_> {
    /// The whole document.
    pub fn render(&self) -> String {
        format!(
            "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
             <meta name=\"color-scheme\" content=\"light dark\">\n\
             <meta name=\"description\" content=\"{}\">\n<title>{}</title>\n\
             <link rel=\"icon\" href=\"{ICON}\">\n<style>\n{}</style>\n</head>\n<body>\n\
             {}<main>\n{}</main>\n<footer>{}</footer>\n\
             <script>\n{SCRIPT}</script>\n</body>\n</html>\n",
            Text(self.description),
            Text(self.title),
            self.style.concat(),
            self.masthead,
            self.sections,
            self.footer,
        )
    }
}

fn learning_lede(report: &RunReport) -> &'static str {
    let both = [&report.entropy_curve, &report.blt_curve].map(|curve| !curve.points.is_empty());
    match both {
        [true, true] => {
            "The entropy model learns first. Then it is frozen, it cuts the text, and the patch \
             model learns."
        }
        _ => "Step by step, as it was measured on the way.",
    }
}

/// A section with a heading, or nothing where its body is empty.
pub(super) fn section(id: &str, heading: &str, lede: &str, body: &str) -> String {
    if body.is_empty() {
        return String::new();
    }
    let lede = match lede {
        "" => String::new(),
        lede => format!("<p class=\"lede\">{}</p>\n", Text(lede)),
    };
    format!(
        "<section id=\"{id}\" aria-labelledby=\"{id}-h\">\n<h2 id=\"{id}-h\">{}</h2>\n{lede}{body}\
         </section>\n",
        Text(heading)
    )
}
