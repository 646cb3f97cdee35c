//! One 96×96 scene: sky, ground, perhaps a wall, one object, perhaps a smaller one, and patches painted flat.
//!
//! * Segments: sky above a horizon drawn in patch rows, ground below, a wall of whole patches with probability 0.7; each
//!   with a colour and a smooth texture, weak on sky and wall, strong on the ground.
//! * Depth: sky 1, ground falling from 0.9 to 0.2, wall U(.3, .8), objects U(.1, .5). Blue = 0.2 + 0.55 · depth.
//! * Object: an ellipse or a rectangle with a grating a·cos(2π(u·y ± v·x)/16 + φ); (u, v) is the class.
//! * Flat cells: none with probability 0.15, else 3..9 draws among whole patches of one segment that no object touches,
//!   85 % of them from sky and wall; painted in their mean colour.
//! * Grain: after clipping to [.08, .92] (before it, saturated patches would lose theirs), σ .025 on ordinary pixels,
//!   .002 on flat ones; then 8 bits.
//!
//! The grain leaves a gap that makes "carries no information" a rule on pixels: the variance of the luminance over a
//! patch is below [`FLAT_VARIANCE`] exactly on the flat cells. That is the truth against which outliers are scored.

use std::f64::consts::TAU;

use super::random::SplitMix64;
use super::texture::smooth;
use crate::pixels::Rgb8;
use crate::source::{BoxPx, Object, Truth};

/// Side of a scene.
pub const IMAGE_PX: usize = 96;
/// Side of a patch.
pub const PATCH_PX: usize = 8;
/// Patches along a side.
pub const GRID: usize = IMAGE_PX / PATCH_PX;
/// A patch is flat if and only if the variance of (R + G + B) / 3, in [0, 1], over its pixels is below this.
pub const FLAT_VARIANCE: f64 = 4e-5;
/// Spatial frequencies (down, across) of each class's grating, in periods per 16 px.
pub const CLASSES: [(u8, u8); 10] = [(2, 0), (4, 0), (0, 2), (0, 4), (2, 2), (4, 4), (2, 4), (4, 2), (3, 1), (1, 3)];

const NO_FLAT: f64 = 0.15;
const DISTRACTOR: f64 = 0.5;
const GRAIN: f32 = 0.025;
const FLAT_GRAIN: f32 = 0.002;
const SKY: u8 = 0;
const WALL: u8 = 1;
const GROUND: u8 = 2;
const OBJECT: u8 = 3;

/// A generated image and everything about it.
#[derive(Clone, Debug, PartialEq)]
pub struct Scene {
    /// The pixels.
    pub image: Rgb8,
    /// Label, box, mask, depth, segments and flat cells.
    pub truth: Truth,
}

/// Names of the classes, by their grating.
pub fn class_names() -> Vec<String> {
    CLASSES.iter().map(|(down, across)| format!("grating-{down}-{across}")).collect()
}

/// A stream for each scene; the seeds are scrambled so that neighbouring scenes do not share a shifted stream.
fn stream(seed: u64, index: usize) -> SplitMix64 {
    let base = SplitMix64::new(seed).next_u64();
    let mixed = SplitMix64::new(base ^ (index as u64).wrapping_mul(0xd134_2543_de82_ef95)).next_u64();
    SplitMix64::new(mixed)
}

/// The label of a scene: the first draw of its stream.
pub(super) fn label(seed: u64, index: usize) -> u32 {
    stream(seed, index).below(CLASSES.len() as u64) as u32
}

/// What is being painted, before it becomes bytes.
struct Canvas {
    /// Red and green; blue follows from depth.
    colour: Vec<[f32; 2]>,
    texture: Vec<f32>,
    depth: Vec<f32>,
    segment: Vec<u8>,
}

/// An object to paint, in pixels.
struct Shape {
    class: usize,
    y: f64,
    x: f64,
    half_height: f64,
    half_width: f64,
}

impl Scene {
    /// Scene `index` of the dataset with this seed.
    pub fn new(seed: u64, index: usize) -> Self {
        let mut random = stream(seed, index);
        let label = random.below(CLASSES.len() as u64) as usize;
        let mut canvas = background(&mut random);

        let half_height = random.between(13.0, 22.0);
        let half_width = random.between(13.0, 22.0);
        let main = Shape {
            class: label,
            y: random.between(half_height + 1.0, IMAGE_PX as f64 - half_height - 1.0),
            x: random.between(half_width + 1.0, IMAGE_PX as f64 - half_width - 1.0),
            half_height,
            half_width,
        };
        if random.chance(DISTRACTOR)
            && let Some(other) = distractor(&mut random, &main)
        {
            canvas.paint(&mut random, &other);
        }
        let mask = canvas.paint(&mut random, &main);

        let flat = flat_cells(&mut random, &canvas.segment);
        let data = canvas.develop(&mut random, &flat);
        let truth = Truth {
            label: Some(label as u32),
            class: Some(class_names().swap_remove(label)),
            boxes: vec![Object::plain(Some(class_names().swap_remove(label)), bounds(&mask))],
            mask: Some(mask),
            depth: Some(canvas.depth),
            segments: Some(canvas.segment),
            flat: Some(flat),
        };
        Self { image: Rgb8 { width: IMAGE_PX, height: IMAGE_PX, data }, truth }
    }
}

fn background(random: &mut SplitMix64) -> Canvas {
    let horizon_px = (4 + random.below(5) as usize) * PATCH_PX;
    let mut segment = vec![SKY; IMAGE_PX * IMAGE_PX];
    segment[horizon_px * IMAGE_PX..].fill(GROUND);
    if random.chance(0.7) {
        let [height, width] = [0; 2].map(|_| 3 + random.below(4) as usize);
        let top = random.below((GRID - height + 1) as u64) as usize * PATCH_PX;
        let left = random.below((GRID - width + 1) as u64) as usize * PATCH_PX;
        for row in segment.chunks_exact_mut(IMAGE_PX).skip(top).take(height * PATCH_PX) {
            row[left..left + width * PATCH_PX].fill(WALL);
        }
    }
    let wall_depth = random.between(0.3, 0.8) as f32;
    let reds = [(0.15, 0.45), (0.55, 0.85), (0.25, 0.75)].map(|(low, high)| random.between(low, high) as f32);
    let greens = [(0.2, 0.5), (0.2, 0.5), (0.55, 0.85)].map(|(low, high)| random.between(low, high) as f32);
    let amplitudes = [(0.01, 0.03), (0.01, 0.03), (0.08, 0.16)].map(|(low, high)| random.between(low, high) as f32);
    let textures = [smooth(random), smooth(random), smooth(random)];

    let mut canvas = Canvas {
        colour: Vec::with_capacity(segment.len()),
        texture: Vec::with_capacity(segment.len()),
        depth: Vec::with_capacity(segment.len()),
        segment: Vec::new(),
    };
    for (index, &kind) in segment.iter().enumerate() {
        let (y, kind_index) = (index / IMAGE_PX, usize::from(kind));
        canvas.colour.push([reds[kind_index], greens[kind_index]]);
        canvas.texture.push(amplitudes[kind_index] * textures[kind_index][y][index % IMAGE_PX]);
        canvas.depth.push(match kind {
            SKY => 1.0,
            WALL => wall_depth,
            _ => 0.9 - 0.7 * (y - horizon_px) as f32 / (IMAGE_PX - horizon_px) as f32,
        });
    }
    canvas.segment = segment;
    canvas
}

/// A smaller object of another class whose box keeps clear of the main one, or none after twenty tries.
fn distractor(random: &mut SplitMix64, main: &Shape) -> Option<Shape> {
    let share = random.between(0.4, 0.6);
    let class = (main.class + 1 + random.below(CLASSES.len() as u64 - 1) as usize) % CLASSES.len();
    let (half_height, half_width) = (main.half_height * share, main.half_width * share);
    (0..20).find_map(|_| {
        let y = random.between(half_height + 1.0, IMAGE_PX as f64 - half_height - 1.0);
        let x = random.between(half_width + 1.0, IMAGE_PX as f64 - half_width - 1.0);
        let clear = (y - main.y).abs() > main.half_height + half_height + 2.0
            || (x - main.x).abs() > main.half_width + half_width + 2.0;
        clear.then_some(Shape { class, y, x, half_height, half_width })
    })
}

impl Canvas {
    /// Paints an object and returns its pixels.
    fn paint(&mut self, random: &mut SplitMix64, shape: &Shape) -> Vec<bool> {
        let depth = random.between(0.1, 0.5) as f32;
        let elliptic = random.chance(0.5);
        let (down, across) = CLASSES[shape.class];
        let across = if random.chance(0.5) { i32::from(across) } else { -i32::from(across) };
        let amplitude = random.between(0.16, 0.26);
        let phase = random.between(0.0, TAU);
        let colour = [random.between(0.3, 0.7) as f32, random.between(0.3, 0.7) as f32];
        // u·y ± v·x counts sixteenths of a period.
        let wave: [f32; 16] =
            std::array::from_fn(|step| (amplitude * libm::cos(TAU * step as f64 / 16.0 + phase)) as f32);

        let mut mask = vec![false; IMAGE_PX * IMAGE_PX];
        for (index, inside) in mask.iter_mut().enumerate() {
            let (row, column) = (index / IMAGE_PX, index % IMAGE_PX);
            let dy = (row as f64 - shape.y) / shape.half_height;
            let dx = (column as f64 - shape.x) / shape.half_width;
            *inside = if elliptic { dy * dy + dx * dx <= 1.0 } else { dy.abs() <= 0.9 && dx.abs() <= 0.9 };
            if *inside {
                let step = i32::from(down) * row as i32 + across * column as i32;
                self.colour[index] = colour;
                self.texture[index] = wave[step.rem_euclid(16) as usize];
                self.depth[index] = depth;
                self.segment[index] = OBJECT;
            }
        }
        mask
    }

    /// Colour, texture, clipping and grain, to bytes.
    fn develop(&self, random: &mut SplitMix64, flat: &[bool]) -> Vec<u8> {
        let blue = |index: usize| 0.2 + 0.55 * self.depth[index];
        let mean_blue: Vec<f32> = (0..GRID * GRID)
            .map(|cell| cell_pixels(cell).map(blue).sum::<f32>() / (PATCH_PX * PATCH_PX) as f32)
            .collect();
        let mut data = Vec::with_capacity(3 * self.segment.len());
        for index in 0..self.segment.len() {
            let cell = index / IMAGE_PX / PATCH_PX * GRID + index % IMAGE_PX / PATCH_PX;
            let grain = random.normal();
            let [red, green] = self.colour[index];
            let (colour, texture, grain) = if flat[cell] {
                ([red, green, mean_blue[cell]], 0.0, FLAT_GRAIN * grain)
            } else {
                ([red, green, blue(index)], self.texture[index], (GRAIN * grain).clamp(-0.08, 0.08))
            };
            data.extend(colour.map(|value| {
                let value = (value + texture).clamp(0.08, 0.92) + grain;
                (value * 255.0 + 0.5) as u8
            }));
        }
        data
    }
}

/// Indices of the pixels of a patch.
fn cell_pixels(cell: usize) -> impl Iterator<Item = usize> {
    let start = cell / GRID * PATCH_PX * IMAGE_PX + cell % GRID * PATCH_PX;
    (0..PATCH_PX * PATCH_PX).map(move |at| start + at / PATCH_PX * IMAGE_PX + at % PATCH_PX)
}

fn flat_cells(random: &mut SplitMix64, segment: &[u8]) -> Vec<bool> {
    let mut flat = vec![false; GRID * GRID];
    if random.chance(NO_FLAT) {
        return flat;
    }
    let (mut low, mut high) = (Vec::new(), Vec::new());
    for cell in 0..GRID * GRID {
        let mut kinds = cell_pixels(cell).map(|pixel| segment[pixel]);
        let first = kinds.next().unwrap_or(OBJECT);
        if first != OBJECT && kinds.all(|kind| kind == first) {
            if first == GROUND { high.push(cell) } else { low.push(cell) }
        }
    }
    for _ in 0..3 + random.below(7) {
        let from_low = random.chance(0.85);
        let pool = if (from_low && !low.is_empty()) || high.is_empty() { &low } else { &high };
        if !pool.is_empty() {
            flat[pool[random.below(pool.len() as u64) as usize]] = true;
        }
    }
    flat
}

fn bounds(mask: &[bool]) -> BoxPx {
    let inside = || mask.iter().enumerate().filter(|(_, inside)| **inside).map(|(index, _)| index as u32);
    let side = IMAGE_PX as u32;
    BoxPx {
        x0: inside().map(|index| index % side).min().unwrap_or(0),
        y0: inside().map(|index| index / side).min().unwrap_or(0),
        x1: inside().map(|index| index % side + 1).max().unwrap_or(0),
        y1: inside().map(|index| index / side + 1).max().unwrap_or(0),
    }
}

#[cfg(test)]
mod tests;
