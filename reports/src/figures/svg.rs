//! A small SVG writer. Colours of text, lines and ground follow the reader's light or dark scheme; data keep theirs.

use std::fmt::Write as _;

use base64::Engine as _;

use crate::render::html::escape;

/// Classes are prefixed, since a page inlines several drawings.
const STYLE: &str = "<style>\
.vf-bg{fill:#fff}.vf-ink{fill:#1c1e21}.vf-soft{fill:#5f6670}.vf-axis{stroke:#8b929c;fill:none}.vf-grid{stroke:#e4e6ea;fill:none}\
.vf-cut{stroke:#5f6670;fill:none;stroke-dasharray:4 3}\
@media (prefers-color-scheme:dark){.vf-bg{fill:#14171a}.vf-ink{fill:#e4e6ea}.vf-soft{fill:#a4abb5}\
.vf-axis{stroke:#6b727c}.vf-grid{stroke:#2a2f36}.vf-cut{stroke:#a4abb5}}\
</style>\n";

/// A drawing, in px from the top left.
#[derive(Debug)]
pub struct Svg {
    width: f64,
    height: f64,
    label: String,
    body: String,
}

/// Where text stands relative to its point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Anchor {
    /// To the right of it.
    Start,
    /// Around it.
    Middle,
    /// To the left of it.
    End,
}

/// How text looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ink {
    /// Heading of a panel.
    Title,
    /// Labels and legends.
    Label,
    /// Ticks and remarks.
    Tick,
}

impl Svg {
    /// An empty drawing; `label` is what a screen reader says.
    pub fn new(width: f64, height: f64, label: &str) -> Self {
        let mut svg = Self { width, height, label: label.to_owned(), body: String::new() };
        let _ = writeln!(svg.body, "<rect class=\"vf-bg\" width=\"{}\" height=\"{}\"/>", px(width), px(height));
        svg
    }

    /// Text, escaped.
    pub fn text(&mut self, x: f64, y: f64, anchor: Anchor, ink: Ink, text: &str) {
        self.text_turned(x, y, anchor, ink, text, false);
    }

    /// Text that reads upwards.
    pub fn text_up(&mut self, x: f64, y: f64, anchor: Anchor, ink: Ink, text: &str) {
        self.text_turned(x, y, anchor, ink, text, true);
    }

    fn text_turned(&mut self, x: f64, y: f64, anchor: Anchor, ink: Ink, text: &str, up: bool) {
        let anchor = match anchor {
            Anchor::Start => "start",
            Anchor::Middle => "middle",
            Anchor::End => "end",
        };
        let (class, size, weight) = match ink {
            Ink::Title => ("vf-ink", 13, " font-weight=\"600\""),
            Ink::Label => ("vf-ink", 12, ""),
            Ink::Tick => ("vf-soft", 11, ""),
        };
        let turn = if up { format!(" transform=\"rotate(-90 {} {})\"", px(x), px(y)) } else { String::new() };
        let _ = writeln!(
            self.body,
            "<text class=\"{class}\" x=\"{}\" y=\"{}\" font-size=\"{size}\"{weight} text-anchor=\"{anchor}\"{turn}>{}</text>",
            px(x),
            px(y),
            escape(text)
        );
    }

    /// A straight line of a class: `vf-axis`, `vf-grid` or `vf-cut`.
    pub fn line(&mut self, class: &'static str, from: (f64, f64), to: (f64, f64)) {
        let _ = writeln!(
            self.body,
            "<line class=\"{class}\" x1=\"{}\" y1=\"{}\" x2=\"{}\" y2=\"{}\"/>",
            px(from.0),
            px(from.1),
            px(to.0),
            px(to.1)
        );
    }

    /// A filled rectangle.
    pub fn rect(&mut self, at: (f64, f64), size: (f64, f64), fill: &str) {
        let _ = writeln!(
            self.body,
            "<rect x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\" fill=\"{fill}\" shape-rendering=\"crispEdges\"/>",
            px(at.0),
            px(at.1),
            px(size.0),
            px(size.1)
        );
    }

    /// A frame.
    pub fn frame(&mut self, at: (f64, f64), size: (f64, f64), stroke: &str, width: f64) {
        let _ = writeln!(
            self.body,
            "<rect x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\" fill=\"none\" stroke=\"{stroke}\" stroke-width=\"{}\"/>",
            px(at.0),
            px(at.1),
            px(size.0),
            px(size.1),
            px(width)
        );
    }

    /// A line through points.
    pub fn curve(&mut self, points: &[(f64, f64)], stroke: &str, width: f64) {
        let d = path(points);
        let _ = writeln!(
            self.body,
            "<path d=\"{d}\" fill=\"none\" stroke=\"{stroke}\" stroke-width=\"{}\" stroke-linejoin=\"round\"/>",
            px(width)
        );
    }

    /// A dashed line through points.
    pub fn dashes(&mut self, points: &[(f64, f64)], stroke: &str, width: f64) {
        let d = path(points);
        let _ = writeln!(
            self.body,
            "<path d=\"{d}\" fill=\"none\" stroke=\"{stroke}\" stroke-width=\"{}\" stroke-dasharray=\"5 3\"/>",
            px(width)
        );
    }

    /// A pale closed shape, such as a band of error.
    pub fn shape(&mut self, points: &[(f64, f64)], fill: &str) {
        let d = path(points);
        let _ = writeln!(self.body, "<path d=\"{d}Z\" fill=\"{fill}\" fill-opacity=\"0.18\"/>");
    }

    /// A black line on a white one, legible over any colour; dashed when `dash` is above 0.
    pub fn halo(&mut self, points: &[(f64, f64)], dash: f64) {
        let d = path(points);
        let dashes =
            if dash > 0.0 { format!(" stroke-dasharray=\"{} {}\"", px(dash), px(dash)) } else { String::new() };
        for (stroke, width) in [("#ffffff", 3.0), ("#1c1e21", 1.3)] {
            let dashes = if stroke == "#ffffff" { "" } else { &dashes };
            let _ = writeln!(
                self.body,
                "<path d=\"{d}\" fill=\"none\" stroke=\"{stroke}\" stroke-width=\"{}\" stroke-opacity=\"0.85\"{dashes}/>",
                px(width)
            );
        }
    }

    /// A pale area between a line and the height `ground`.
    pub fn area(&mut self, points: &[(f64, f64)], ground: f64, fill: &str) {
        let (Some(first), Some(last)) = (points.first(), points.last()) else { return };
        let d = format!("{}L{} {}L{} {}Z", path(points), px(last.0), px(ground), px(first.0), px(ground));
        let _ = writeln!(self.body, "<path d=\"{d}\" fill=\"{fill}\" fill-opacity=\"0.18\"/>");
    }

    /// A PNG picture, stretched to `size`; `patches` keeps its pixels square.
    pub fn picture(&mut self, at: (f64, f64), size: (f64, f64), png: &[u8], title: &str, patches: bool) {
        let rendering = if patches { " style=\"image-rendering:pixelated\"" } else { "" };
        let _ = writeln!(
            self.body,
            "<image x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\" preserveAspectRatio=\"none\"{rendering} \
             href=\"data:image/png;base64,{}\"><title>{}</title></image>",
            px(at.0),
            px(at.1),
            px(size.0),
            px(size.1),
            base64::engine::general_purpose::STANDARD.encode(png),
            escape(title)
        );
    }

    /// The file.
    pub fn finish(self) -> String {
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {w} {h}\" width=\"{w}\" height=\"{h}\" role=\"img\" \
             aria-label=\"{}\" font-family=\"system-ui,'Segoe UI','Noto Sans','Liberation Sans',sans-serif\">\n{STYLE}{}</svg>\n",
            escape(&self.label),
            self.body,
            w = px(self.width),
            h = px(self.height),
        )
    }
}

fn path(points: &[(f64, f64)]) -> String {
    let mut d = String::new();
    for (i, (x, y)) in points.iter().enumerate() {
        let _ = write!(d, "{}{} {}", if i == 0 { 'M' } else { 'L' }, px(*x), px(*y));
    }
    d
}

/// A coordinate with at most two decimals.
fn px(x: f64) -> String {
    let text = format!("{x:.2}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    if text == "-0" { "0".to_owned() } else { text.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_text_stays_text() {
        let mut svg = Svg::new(10.0, 10.0, "\"><script>");
        svg.text(0.0, 0.0, Anchor::Start, Ink::Label, "</text><script>x</script>\0");
        svg.picture((0.0, 0.0), (1.0, 1.0), &[], "<&>", true);
        let text = svg.finish();
        assert!(!text.contains("<script") && !text.contains('\0'), "{text}");
    }

    #[test]
    fn coordinates_are_short() {
        assert_eq!([px(1.0), px(0.5), px(-0.001), px(12.345)], ["1", "0.5", "0", "12.35"].map(str::to_owned));
    }
}
