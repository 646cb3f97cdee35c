//! Pictures in rows and columns under headings, as the papers' qualitative figures have them.
//!
//! A block is a model, or a model with its twins: a title, column headings, and rows of tiles. A tile keeps the shape of
//! its picture within a cell of its block's width.

use image::RgbImage;

use super::rasters;
use super::shade::Shade;
use super::svg::{Anchor, Ink, Svg};
use crate::error::ReportError;

/// Space between cells, px.
const GAP_PX: f64 = 10.0;
/// Left and right margin, px.
const MARGIN_PX: f64 = 16.0;
/// Height of the words under a row, px.
const BELOW_PX: f64 = 22.0;
/// Height of a printed page at the size at which a sheet of usual width is printed, px.
const PAGE_PX: f64 = 1150.0;
/// Mean advance of a character in names of files, which have capitals, px.
const NAME_CHAR_PX: f64 = 7.2;
/// Mean advance of a character in other tick labels, px.
const CHAR_PX: f64 = 6.5;

/// One picture with words under it.
#[derive(Debug, Clone, PartialEq)]
pub struct Tile {
    /// The picture.
    pub image: RgbImage,
    /// Whether its pixels are to stay square.
    pub patches: bool,
    /// Words under it; a name is cut to the cell's width, numbers must fit [`room`].
    pub below: String,
}

/// Tiles under headings.
#[derive(Debug, Clone, PartialEq)]
pub struct Block {
    /// Heading.
    pub title: String,
    /// Second line, or empty.
    pub about: String,
    /// Width of a cell, px.
    pub cell_px: f64,
    /// Two lines over each column.
    pub heads: Vec<(String, String)>,
    /// Rows of cells; a cell may be empty.
    pub rows: Vec<Vec<Option<Tile>>>,
    /// Rows that stay together when the block is cut.
    pub together: usize,
    /// What the colours of all its maps mean.
    pub bar: Option<Key>,
}

/// What colours mean.
#[derive(Debug, Clone, PartialEq)]
pub enum Key {
    /// A scale, and what is on it.
    Scale(Shade, String),
    /// Colours with a name each.
    Names(Vec<([u8; 3], String)>),
}

/// Room for a colour with its name, px.
const NAME_PX: f64 = 132.0;
/// Height of a line of names, px.
const NAMES_PX: f64 = 17.0;
/// Least width that names are spread over, px.
const NAMES_WIDTH_PX: f64 = 4.0 * NAME_PX;

impl Key {
    fn width(&self) -> f64 {
        match self {
            Self::Scale(_, words) => 200.0 + words.chars().count() as f64 * CHAR_PX,
            Self::Names(names) => NAMES_WIDTH_PX.min(names.len() as f64 * NAME_PX),
        }
    }

    /// Height of the key over cells that are so wide together.
    fn height(&self, cells_px: f64) -> f64 {
        match self {
            Self::Scale(..) => 34.0,
            Self::Names(names) => names.len().div_ceil(Self::in_a_line(cells_px)) as f64 * NAMES_PX + 8.0,
        }
    }

    fn in_a_line(cells_px: f64) -> usize {
        (cells_px.max(NAMES_WIDTH_PX) / NAME_PX) as usize
    }

    fn draw(&self, svg: &mut Svg, (left, top): (f64, f64), cells_px: f64) {
        match self {
            Self::Scale(shade, words) => shade.bar(svg, (left, top + 9.0), words),
            Self::Names(names) => {
                let line = Self::in_a_line(cells_px);
                for (i, (color, name)) in names.iter().enumerate() {
                    let (x, y) = (left + (i % line) as f64 * NAME_PX, top + 8.0 + (i / line) as f64 * NAMES_PX);
                    svg.rect((x, y), (11.0, 11.0), &super::colormap::hex(*color));
                    svg.frame((x, y), (11.0, 11.0), "#8b929c", 0.5);
                    let room = room(NAME_PX - 24.0);
                    svg.text(x + 17.0, y + 9.5, Anchor::Start, Ink::Tick, &shortened(name, room));
                }
            }
        }
    }
}

impl Block {
    fn columns(&self) -> usize {
        self.rows.iter().map(Vec::len).max().unwrap_or(0).max(self.heads.len())
    }

    /// Width of all cells of a row.
    fn cells_px(&self) -> f64 {
        self.columns() as f64 * (self.cell_px + GAP_PX) - GAP_PX
    }

    fn width(&self) -> f64 {
        let title = self.title.chars().count() as f64 * 7.4;
        let about = self.about.chars().count() as f64 * CHAR_PX;
        let bar = self.bar.as_ref().map_or(0.0, Key::width);
        2.0 * MARGIN_PX + self.cells_px().max(title).max(about).max(bar)
    }

    fn head_height(&self) -> f64 {
        let mut height = 34.0;
        if !self.about.is_empty() {
            height += 18.0;
        }
        height += self.bar.as_ref().map_or(0.0, |key| key.height(self.cells_px()));
        if !self.heads.is_empty() {
            height += if self.heads.iter().all(|(_, second)| second.is_empty()) { 20.0 } else { 34.0 };
        }
        height
    }

    /// Height of a row's pictures: that of its tallest.
    fn row_height(&self, row: &[Option<Tile>]) -> f64 {
        row.iter().flatten().map(|t| fitted(&t.image, self.cell_px).1).fold(20.0, f64::max)
    }

    fn height(&self) -> f64 {
        let rows: f64 = self.rows.iter().map(|row| self.row_height(row) + BELOW_PX).sum();
        self.head_height() + rows + 14.0
    }

    /// The block as blocks that each fit a page.
    fn pages(&self) -> Vec<Self> {
        let mut pages: Vec<Self> = Vec::new();
        for rows in self.rows.chunks(self.together.max(1)) {
            let height: f64 = rows.iter().map(|row| self.row_height(row) + BELOW_PX).sum();
            match pages.last_mut().filter(|page| page.height() + height <= PAGE_PX) {
                Some(page) => page.rows.extend_from_slice(rows),
                None => pages.push(Self { rows: rows.to_vec(), ..self.without_rows() }),
            }
        }
        pages
    }

    fn without_rows(&self) -> Self {
        Self {
            rows: vec![],
            title: self.title.clone(),
            about: self.about.clone(),
            heads: self.heads.clone(),
            bar: self.bar.clone(),
            together: self.together,
            cell_px: self.cell_px,
        }
    }

    fn draw(&self, svg: &mut Svg, figure: &'static str, top: f64) -> Result<(), ReportError> {
        let left = |column: usize| MARGIN_PX + column as f64 * (self.cell_px + GAP_PX);
        let fits = room(self.cell_px);
        let mut y = top + 22.0;
        svg.text(MARGIN_PX, y, Anchor::Start, Ink::Title, &self.title);
        if !self.about.is_empty() {
            y += 18.0;
            svg.text(MARGIN_PX, y, Anchor::Start, Ink::Tick, &self.about);
        }
        if let Some(key) = &self.bar {
            key.draw(svg, (MARGIN_PX, y), self.cells_px());
            y += key.height(self.cells_px());
        }
        for (column, (first, second)) in self.heads.iter().enumerate() {
            svg.text(left(column), y + 20.0, Anchor::Start, Ink::Label, &shortened(first, fits));
            svg.text(left(column), y + 34.0, Anchor::Start, Ink::Tick, &shortened(second, fits));
        }
        let mut y = top + self.head_height() + 6.0;
        for row in &self.rows {
            let height = self.row_height(row);
            for (column, tile) in row.iter().enumerate() {
                let Some(tile) = tile else { continue };
                let size = fitted(&tile.image, self.cell_px);
                let png = rasters::png(figure, &tile.image)?;
                svg.picture((left(column), y), size, &png, &tile.below, tile.patches);
                // White on white and dark on dark have an edge.
                svg.frame((left(column), y), size, "#8b929c", 0.5);
                let fits = if tile.patches { fits } else { (self.cell_px / NAME_CHAR_PX) as usize };
                let below = shortened(&tile.below, fits);
                svg.text(left(column), y + height + 13.0, Anchor::Start, Ink::Tick, &below);
            }
            y += height + BELOW_PX;
        }
        Ok(())
    }
}

/// A sheet as one drawing, and in parts that each fit a printed page.
#[derive(Debug, Clone, PartialEq)]
pub struct Sheet {
    /// Every block, one under another.
    pub whole: String,
    /// The same as several drawings; cut between blocks, and between rows where a block is longer than a page.
    pub parts: Vec<String>,
}

/// Draws blocks one under another; `label` is what a screen reader says.
pub fn draw(figure: &'static str, label: &str, blocks: &[Block]) -> Result<Sheet, ReportError> {
    let parts = blocks.iter().flat_map(Block::pages).map(|page| stacked(figure, label, &[page]));
    Ok(Sheet { parts: parts.collect::<Result<_, _>>()?, whole: stacked(figure, label, blocks)? })
}

fn stacked(figure: &'static str, label: &str, blocks: &[Block]) -> Result<String, ReportError> {
    let width = blocks.iter().map(Block::width).fold(0.0, f64::max);
    let mut svg = Svg::new(width, blocks.iter().map(Block::height).sum(), label);
    let mut top = 0.0;
    for block in blocks {
        block.draw(&mut svg, figure, top)?;
        top += block.height();
    }
    Ok(svg.finish())
}

/// Size of a picture in a cell of this width: its own shape, at most twice as high as wide.
fn fitted(picture: &RgbImage, width: f64) -> (f64, f64) {
    let (w, h) = (f64::from(picture.width().max(1)), f64::from(picture.height().max(1)));
    let scale = (width / w).min(2.0 * width / h);
    (w * scale, h * scale)
}

/// Characters of a line under a map in a cell of this width. What is longer is cut: lines of numbers must not be.
pub fn room(cell_px: f64) -> usize {
    (cell_px / CHAR_PX) as usize
}

/// A name cut in its middle: what names share is often at the beginning, and numbers stand at the end.
pub fn shortened(name: &str, room: usize) -> String {
    let chars: Vec<char> = name.chars().collect();
    if chars.len() <= room || room < 3 {
        return name.to_owned();
    }
    let (head, tail) = (room / 2, room - 1 - room / 2);
    let text = |part: &[char]| part.iter().collect::<String>();
    format!("{}…{}", text(&chars[..head]), text(&chars[chars.len() - tail..]))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    #[test]
    fn long_names_are_cut_in_the_middle() {
        assert_eq!(shortened("ILSVRC2012_val_00000293.JPEG", 17), "ILSVRC20…293.JPEG");
        assert_eq!(shortened("a.png", 17), "a.png");
        assert_eq!(shortened("狗狗狗狗狗", 3), "狗…狗");
    }

    #[test]
    fn pictures_keep_their_shape() {
        assert_eq!(fitted(&RgbImage::new(200, 100), 100.0), (100.0, 50.0));
        assert_eq!(fitted(&RgbImage::new(10, 100), 100.0), (20.0, 200.0));
    }

    /// Breaks when blocks overlap or a foreign name leaves its text.
    #[test]
    fn blocks_stand_one_under_another() {
        let tile = Tile { image: RgbImage::new(4, 4), patches: true, below: "<b>".to_owned() };
        let block = |title: &str| Block {
            title: title.to_owned(),
            about: String::new(),
            cell_px: 100.0,
            heads: vec![],
            rows: vec![vec![None, Some(tile.clone())]],
            bar: None,
            together: 1,
        };
        let svg = draw("fig1", "test", &[block("one"), block("two")]).unwrap().whole;
        // Title 34, picture 100, words 22, foot 14: 170 each.
        assert!(svg.contains("viewBox=\"0 0 242 340\""), "{}", &svg[..200]);
        assert!(svg.contains("y=\"22\"") && svg.contains("y=\"192\""));
        assert!(svg.contains("&lt;b&gt;") && !svg.contains("<b>"));
    }

    /// Breaks when names run over the pictures below them, or into each other.
    #[test]
    fn names_of_colours_take_lines() {
        let names = (0..9).map(|i| ([i, 0, 0], format!("class {i}"))).collect();
        let key = Key::Names(names);
        // Four in a line where cells are narrow, five where they are wider.
        assert_eq!([key.height(100.0), key.height(700.0)], [3.0 * 17.0 + 8.0, 2.0 * 17.0 + 8.0]);
        let mut svg = Svg::new(1.0, 1.0, "");
        key.draw(&mut svg, (16.0, 40.0), 100.0);
        let text = svg.finish();
        assert!(text.contains("x=\"16\" y=\"82\" width=\"11\"") && text.contains(">class 8<"), "{text}");
    }

    /// Breaks when a row is lost or a page has more than it can hold.
    #[test]
    fn a_long_block_is_cut_between_rows() {
        let tile = Tile { image: RgbImage::new(4, 4), patches: true, below: String::new() };
        let rows = vec![vec![Some(tile)]; 20];
        let heads = vec![("head".to_owned(), String::new())];
        let block = Block {
            title: "one".to_owned(),
            about: String::new(),
            cell_px: 100.0,
            heads,
            rows,
            bar: None,
            together: 3,
        };
        let pages = block.pages();
        // 68 px of title, heads and foot, and 122 a row: eight rows fit a page, but threes stay together; the last is a two.
        assert_eq!(pages.iter().map(|page| page.rows.len()).collect::<Vec<_>>(), [6, 6, 8]);
        assert!(pages.iter().all(|page| page.height() <= PAGE_PX && page.heads == block.heads));
    }
}
