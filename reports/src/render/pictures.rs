//! A picture that stands in several figures of a page is in the page once.
//!
//! A photograph is a hundred kilobytes of base64 and stands in up to eight figures. On the page its second and later
//! places refer to the first: `<use>` of an `<image>` of 1 × 1, moved and stretched to where it stands. Files of single
//! figures keep theirs.

use std::collections::BTreeMap;
use std::fmt::Write as _;

/// Shorter data is not worth a reference.
const WORTHWHILE: usize = 1500;

/// One picture of our own SVG writer, which gives each a line of its own.
struct Picture<'a> {
    x: &'a str,
    y: &'a str,
    width: &'a str,
    height: &'a str,
    pixelated: bool,
    data: &'a str,
    title: &'a str,
}

impl<'a> Picture<'a> {
    fn of(line: &'a str) -> Option<Self> {
        let (attributes, title) =
            line.strip_prefix("<image ")?.strip_suffix("</title></image>")?.split_once("\"><title>")?;
        let (attributes, data) = attributes.split_once(" href=\"")?;
        let attribute = |name: &str| attributes.split(' ').find_map(|a| a.strip_prefix(name)?.strip_suffix('"'));
        Some(Self {
            x: attribute("x=\"")?,
            y: attribute("y=\"")?,
            width: attribute("width=\"")?,
            height: attribute("height=\"")?,
            pixelated: attributes.contains("pixelated"),
            data,
            title,
        })
    }
}

/// The figures of a page with every picture once.
pub fn once(figures: &str) -> String {
    let mut places: BTreeMap<&str, usize> = BTreeMap::new();
    for picture in figures.lines().filter_map(Picture::of).filter(|p| p.data.len() > WORTHWHILE) {
        *places.entry(picture.data).or_default() += 1;
    }
    let mut named: BTreeMap<&str, usize> = BTreeMap::new();
    let mut shared = String::new();
    let mut body = String::with_capacity(figures.len());
    for line in figures.lines() {
        let picture = Picture::of(line).filter(|p| places.get(p.data).is_some_and(|n| *n > 1));
        let Some(p) = picture else {
            body.push_str(line);
            body.push('\n');
            continue;
        };
        let next = named.len();
        let name = *named.entry(p.data).or_insert(next);
        if name == next {
            let style = if p.pixelated { " style=\"image-rendering:pixelated\"" } else { "" };
            let _ = writeln!(
                shared,
                "<image id=\"picture-{name}\" width=\"1\" height=\"1\" preserveAspectRatio=\"none\"{style} href=\"{}\"/>",
                p.data
            );
        }
        let _ = writeln!(
            body,
            "<use href=\"#picture-{name}\" transform=\"translate({} {}) scale({} {})\"><title>{}</title></use>",
            p.x, p.y, p.width, p.height, p.title
        );
    }
    if shared.is_empty() {
        return body;
    }
    format!(
        "<svg width=\"0\" height=\"0\" style=\"position:absolute\" aria-hidden=\"true\"><defs>\n{shared}</defs></svg>\n{body}"
    )
}

#[cfg(test)]
mod tests {
    use super::once;
    use crate::figures::svg::Svg;

    /// Breaks when the writer's line changes, a place is lost, or a picture of one place is moved.
    #[test]
    fn the_second_place_refers_to_the_first() {
        let mut svg = Svg::new(300.0, 300.0, "test");
        let (often, single, small) = ([7_u8; 3000], [8_u8; 3000], [9_u8; 9]);
        svg.picture((10.0, 20.0), (30.0, 40.0), &often, "a > b", false);
        svg.picture((1.0, 2.0), (3.0, 4.0), &single, "once", true);
        svg.picture((50.5, 60.0), (70.0, 80.0), &often, "again", false);
        svg.picture((0.0, 0.0), (1.0, 1.0), &small, "", true);
        svg.picture((0.0, 0.0), (1.0, 1.0), &small, "", true);
        let before = svg.finish();
        let page = once(&before);
        assert_eq!(before.matches("<image ").count(), 5);
        // One shared, one that stands once, two too small.
        assert_eq!((page.matches("<image ").count(), page.matches("<use ").count()), (4, 2));
        assert!(
            page.contains(
                "<use href=\"#picture-0\" transform=\"translate(10 20) scale(30 40)\"><title>a &gt; b</title>"
            )
        );
        assert!(page.contains("translate(50.5 60) scale(70 80)\"><title>again</title></use>"));
        assert!(page.len() < before.len());
        assert_eq!(once("<p>\n</p>\n"), "<p>\n</p>\n");
    }
}
