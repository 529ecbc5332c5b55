//! A line chart: an SVG that stretches with the page under labels that do not.
//!
//! The drawing has the fixed box `0 0 1000 1000` without an aspect ratio of its own and strokes
//! that do not scale; everything with letters is HTML placed in percent over it.

use super::axis::Axis;
use super::markup::Text;

const BOX: f64 = 1000.0;

/// What is drawn. Points are `(x, y)` in the units of the axes; what they cannot take is a gap,
/// and lines may run out of the box.
pub(super) struct Chart<'a> {
    /// Unique on the page.
    pub id: &'a str,
    /// Read out in place of the picture, and the longer form of it.
    pub title: String,
    pub description: String,
    /// `"tall"` or `"small"`.
    pub size: &'a str,
    pub x: Axis,
    pub y: Axis,
    pub x_ticks: Vec<(f64, String)>,
    pub y_ticks: Vec<(f64, String)>,
    pub layers: Vec<Layer>,
    pub labels: Vec<Label>,
    pub hovers: Vec<Hover>,
}

/// One path, in order from back to front; `class` names its kind and colour in the style sheet.
pub(super) struct Layer {
    pub class: &'static str,
    pub shape: Shape,
    pub points: Vec<(f64, f64)>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    Line,
    /// A round mark at each point.
    Dots,
    /// A level across the whole drawing at each point's `y`.
    Levels,
    /// A line from the bottom to each point.
    Stems,
}

/// Words at a point, kept clear of those above it by the caller's choice of `class`.
pub(super) struct Label {
    pub x: f64,
    pub y: f64,
    pub class: &'static str,
    pub text: String,
}

/// What the page tells when the pointer is near a point.
pub(super) struct Hover {
    pub x: f64,
    pub y: f64,
    pub text: String,
}

impl Chart<'_> {
    /// The chart as a block of the page.
    pub fn render(&self) -> String {
        let mut html = format!(
            "<div id=\"{}-plot\" class=\"plot {}\"{}>\n",
            self.id,
            self.size,
            self.hover_data()
        );
        html.push_str(&format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {BOX} {BOX}\" \
             preserveAspectRatio=\"none\" role=\"img\" aria-labelledby=\"{id}-t {id}-d\">\
             <title id=\"{id}-t\">{}</title><desc id=\"{id}-d\">{}</desc>\n",
            Text(&self.title),
            Text(&self.description),
            id = self.id,
        ));
        let grid: String =
            self.y_ticks.iter().map(|tick| format!("M0 {:.1}h{BOX}", self.down(tick.0))).collect();
        html.push_str(&format!("<path class=\"grid\" d=\"{grid}\"/>\n"));
        for layer in &self.layers {
            let path = self.path(layer);
            if !path.is_empty() {
                html.push_str(&format!("<path class=\"{}\" d=\"{path}\"/>\n", layer.class));
            }
        }
        html.push_str("</svg>\n");
        self.push_words(&mut html);
        html.push_str("</div>\n");
        html
    }

    fn push_words(&self, html: &mut String) {
        for (value, text) in &self.y_ticks {
            let top = self.down(*value) / BOX * 100.0;
            html.push_str(&format!(
                "<span class=\"tick y\" style=\"top:{top:.2}%\" aria-hidden=\"true\">{}</span>",
                Text(text)
            ));
        }
        for (value, text) in &self.x_ticks {
            let left = self.x.share(*value) * 100.0;
            html.push_str(&format!(
                "<span class=\"tick x\" style=\"left:{left:.2}%\" aria-hidden=\"true\">{}</span>",
                Text(text)
            ));
        }
        html.push('\n');
        for label in &self.labels {
            html.push_str(&format!(
                "<span class=\"label {}\" style=\"left:{:.2}%;top:{:.2}%\">{}</span>\n",
                label.class,
                self.x.share(label.x) * 100.0,
                self.down(label.y) / BOX * 100.0,
                Text(&label.text)
            ));
        }
    }

    /// `data-hover="[[x%, y%, text], ...]"`.
    fn hover_data(&self) -> String {
        if self.hovers.is_empty() {
            return String::new();
        }
        let place = |share: f64| (share * 10_000.0).round() / 100.0;
        let drawn =
            self.hovers.iter().filter(|hover| self.x.holds(hover.x) && self.y.holds(hover.y));
        let entry = |hover: &Hover| {
            let left = place(self.x.share(hover.x));
            let top = place(1.0 - self.y.share(hover.y));
            serde_json::json!([left, top, hover.text])
        };
        let entries: Vec<_> = drawn.map(entry).collect();
        format!(" data-hover=\"{}\"", Text(&serde_json::Value::from(entries).to_string()))
    }

    fn path(&self, layer: &Layer) -> String {
        let mut path = String::new();
        let mut is_drawing = false;
        for &point in &layer.points {
            if !self.takes(point) {
                is_drawing = false;
                continue;
            }
            let x = self.x.place(point.0) * BOX;
            let y = (1.0 - self.y.place(point.1)) * BOX;
            path.push_str(&match layer.shape {
                Shape::Line if is_drawing => format!("L{x:.1} {y:.1}"),
                Shape::Line => format!("M{x:.1} {y:.1}"),
                Shape::Dots => format!("M{x:.1} {y:.1}h0"),
                Shape::Levels => format!("M0 {y:.1}h{BOX}"),
                Shape::Stems => format!("M{x:.1} {BOX}V{y:.1}"),
            });
            is_drawing = true;
        }
        path
    }

    fn takes(&self, point: (f64, f64)) -> bool {
        self.x.takes(point.0) && self.y.takes(point.1)
    }

    /// Distance from the top of the box.
    fn down(&self, value: f64) -> f64 {
        (1.0 - self.y.share(value)) * BOX
    }
}

/// At most `count` points, each the mean of a stretch; a stretch with nothing finite is a gap.
pub(super) fn thinned(points: &[(f64, f64)], count: usize) -> Vec<(f64, f64)> {
    if points.len() <= count {
        return points.to_vec();
    }
    let mean = |cell: usize| {
        let stretch = &points[cell * points.len() / count..(cell + 1) * points.len() / count];
        let finite = || stretch.iter().filter(|point| point.0.is_finite() && point.1.is_finite());
        let number = finite().count() as f64;
        let sum = |part: fn(&(f64, f64)) -> f64| finite().map(part).sum::<f64>() / number;
        (sum(|point| point.0), sum(|point| point.1))
    };
    // The ends are kept: where a curve begins and ends is what it is remembered by.
    let inner = (1..count - 1).map(mean);
    std::iter::once(points[0]).chain(inner).chain(points.last().copied()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chart(shape: Shape, points: &[(f64, f64)]) -> Chart<'static> {
        Chart {
            id: "c",
            title: "a < b".into(),
            description: String::new(),
            size: "small",
            x: Axis::up_to(10.0),
            y: Axis::up_to(1.0),
            x_ticks: vec![(5.0, "5".into())],
            y_ticks: vec![(0.25, "q".into())],
            layers: vec![Layer { class: "line", shape, points: points.to_vec() }],
            labels: Vec::new(),
            hovers: vec![Hover { x: 5.0, y: 0.25, text: "\"</div>".into() }],
        }
    }

    #[test]
    fn paths_have_gaps_where_values_are_missing() {
        let points = [(0.0, 0.0), (1.0, 0.5), (2.0, f64::NAN), (10.0, 1.0)];
        let paths = [
            (Shape::Line, "M0.0 1000.0L100.0 500.0M1000.0 0.0"),
            (Shape::Dots, "M0.0 1000.0h0M100.0 500.0h0M1000.0 0.0h0"),
            (Shape::Levels, "M0 1000.0h1000M0 500.0h1000M0 0.0h1000"),
            (Shape::Stems, "M0.0 1000V1000.0M100.0 1000V500.0M1000.0 1000V0.0"),
        ];
        for (shape, expected) in paths {
            let chart = chart(shape, &points);
            assert_eq!(chart.path(&chart.layers[0]), expected);
        }
    }

    #[test]
    fn words_are_placed_and_escaped() {
        let html = chart(Shape::Line, &[]).render();
        assert!(html.contains("<title id=\"c-t\">a &lt; b</title>"));
        assert!(html.contains("style=\"left:50.00%\""));
        assert!(html.contains("style=\"top:75.00%\""));
        assert!(html.contains("data-hover=\"[[50.0,75.0,&quot;\\&quot;&lt;/div&gt;&quot;]]\""));
        assert!(!html.contains("class=\"line\""), "an empty path is not drawn");
    }

    #[test]
    fn thinning_keeps_the_ends_and_the_mean() {
        let points: Vec<_> = (0..1000).map(|index| (f64::from(index), 2.0)).collect();
        let thin = thinned(&points, 10);
        assert_eq!(thin.len(), 10);
        assert_eq!((thin[0], thin[9]), (points[0], points[999]));
        assert!(thin.iter().all(|point| point.1 == 2.0));
        assert_eq!(thinned(&points[..5], 10), points[..5]);
    }
}
