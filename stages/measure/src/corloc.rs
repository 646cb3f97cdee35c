//! The stage `corloc`: discovered boxes against those that people drew.
//!
//! ```text
//! CorLoc = images whose box has IoU ≥ 0.5 with any object / images with an object
//! IoU = I / (w₁·(h₁ + ε) + w₂·(h₂ + ε) − I + ε),   ε = 1e-7
//! ```
//!
//! One box an image, whatever the class. Boxes of crowds do not count; difficult and truncated objects do, unless
//! `no_hard` drops them, and with them the images that have no others. An image without a discovered box is a miss. All in
//! f32 as the reference has it, in which ε is lost in any sum above 2: an overlap of exactly one half is a hit.
//!
//! A sweep that is chosen on the images that it is reported on flatters itself. `best_corloc_frac` is that number;
//! `heldout_corloc_frac` chooses the bias on every other image and reports the rest, both ways.
//!
//! Sources: LOST `main_lost.py`, `datasets.py` (`bbox_iou`); `docs/protocols/table3.md`.

use std::collections::BTreeMap;

use engine::{Estimate, Partition, Shard, ShardIo, ShardReport, Sizes, Stage, StageError, TableRef, TableSpec};
use schemas::tables::{Boxes, Curves, Objects, Scores};
use schemas::{Canonical, Meaning};
use serde::Serialize;

use crate::scores::Rows;

/// Overlap from which on a box has found an object.
const FOUND: f32 = 0.5;
const EPS: f32 = 1e-7;

/// A box: x0, y0, x1, y1, ends exclusive, px.
pub type Area = [f32; 4];

/// What is scored, beyond what the boxes say.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CorLocParams {
    /// Sites of the boxes.
    pub sites: Vec<String>,
    /// Biases of features as they are.
    pub raw_biases: Vec<f64>,
    /// Biases of features divided by their length.
    pub l2_biases: Vec<f64>,
    /// Whether objects marked as difficult or truncated are left out.
    pub no_hard: bool,
}

impl Meaning for CorLocParams {}

/// Boxes and objects → `scores` and `curves`. Version 1.
pub struct CorLoc {
    /// Meaning.
    pub params: CorLocParams,
    /// `boxes` and `objects` of one discovery.
    pub inputs: Vec<TableRef>,
    /// Hive folders.
    pub partition: Partition,
}

/// Overlap of two boxes.
pub fn iou(a: Area, b: Area) -> f32 {
    let side = |i: usize| (a[i + 2].min(b[i + 2]) - a[i].max(b[i])).max(0.0);
    let shared = side(0) * side(1);
    let area = |[x0, y0, x1, y1]: Area| (x1 - x0) * (y1 - y0 + EPS);
    shared / (area(a) + area(b) - shared + EPS)
}

/// Images found under one bias: those of even and of odd place among the images with objects; and boxes.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Place {
    bias: f64,
    hits: [u64; 2],
    boxes: u64,
}

impl Place {
    fn found(&self) -> u64 {
        self.hits[0] + self.hits[1]
    }
}

/// One kind of features under every bias.
struct Sweep {
    site: String,
    l2: bool,
    places: Vec<Place>,
}

/// Hits of every sweep, over the images with objects.
struct Tally {
    /// Image → its place among those with objects, and the objects.
    objects: BTreeMap<u32, (usize, Vec<Area>)>,
    sweeps: Vec<Sweep>,
}

impl Tally {
    fn new(params: &CorLocParams, objects: &Objects) -> Self {
        let mut all: BTreeMap<u32, (usize, Vec<Area>)> = BTreeMap::new();
        for i in 0..objects.image.len() {
            let hard = objects.difficult[i] || objects.truncated[i];
            let counts = if params.no_hard { !hard } else { true };
            if counts && !objects.crowd[i] {
                let area = [objects.x0[i], objects.y0[i], objects.x1[i], objects.y1[i]];
                all.entry(objects.image[i]).or_default().1.push(area);
            }
        }
        for (place, (at, _)) in all.values_mut().enumerate() {
            *at = place;
        }
        let kinds = [(false, &params.raw_biases), (true, &params.l2_biases)];
        let sweep = |site: &String, (l2, biases): (bool, &Vec<f64>)| Sweep {
            site: site.clone(),
            l2,
            places: biases.iter().map(|&bias| Place { bias, ..Place::default() }).collect(),
        };
        let sweeps = params.sites.iter().flat_map(|site| kinds.map(|kind| sweep(site, kind)));
        Self { objects: all, sweeps: sweeps.filter(|s| !s.places.is_empty()).collect() }
    }

    fn add(&mut self, boxes: &Boxes) {
        for i in 0..boxes.image.len() {
            let Some((at, objects)) = self.objects.get(&boxes.image[i]) else { continue };
            let mut sweeps = self.sweeps.iter_mut();
            let Some(sweep) = sweeps.find(|s| s.l2 == boxes.l2[i] && *s.site == *boxes.site[i]) else { continue };
            let Some(place) = sweep.places.iter_mut().find(|p| p.bias == boxes.bias[i]) else { continue };
            let area = [boxes.x0[i], boxes.y0[i], boxes.x1[i], boxes.y1[i]];
            place.boxes += 1;
            place.hits[at % 2] += u64::from(objects.iter().any(|&object| iou(area, object) >= FOUND));
        }
    }

    fn images(&self) -> u64 {
        self.objects.len() as u64
    }
}

/// A share of n images, with its standard error.
fn share(hits: u64, n: u64) -> (Option<f64>, Option<f64>) {
    let p = (n > 0).then(|| hits as f64 / n as f64);
    (p, p.filter(|_| n > 1).map(|p| (p * (1.0 - p) / (n as f64 - 1.0)).sqrt()))
}

/// The place of the largest number, the first of equals.
fn best(places: &[Place], of: impl Fn(&Place) -> u64) -> Option<&Place> {
    places.iter().fold(None, |best: Option<&Place>, p| if best.is_none_or(|b| of(p) > of(b)) { Some(p) } else { best })
}

impl Sweep {
    fn subject(&self) -> &'static str {
        if self.l2 { "l2" } else { "raw" }
    }

    fn scores(&self, rows: &mut Rows, n: u64) {
        let mut add = |metric: &str, (value, stderr): (Option<f64>, Option<f64>), note: &str| {
            rows.push("corloc", self.subject(), &self.site, metric, value, n);
            rows.stderr(stderr);
            rows.note(if n == 0 { "no image has an annotated object" } else { note });
        };
        if let Some(zero) = self.places.iter().find(|p| p.bias == 0.0) {
            add("corloc_frac", share(zero.found(), n), "");
        }
        let Some(top) = best(&self.places, Place::found) else { return };
        if self.places.len() == 1 {
            return;
        }
        add("best_corloc_frac", share(top.found(), n), &format!("bias {}, chosen on these very images", top.bias));
        add("best_bias", (Some(top.bias), None), "");
        let chosen = [0, 1].map(|half| best(&self.places, |p| p.hits[1 - half]));
        if let [Some(even), Some(odd)] = chosen {
            let note = format!("bias chosen on every other image: {} and {}", even.bias, odd.bias);
            add("heldout_corloc_frac", share(even.hits[0] + odd.hits[1], n), &note);
        }
    }

    fn curves(&self, rows: &mut Curves, n: u64) {
        for place in &self.places {
            let without = n.saturating_sub(place.boxes);
            for (metric, hits) in [("corloc_frac", place.found()), ("without_box_frac", without)] {
                let (value, stderr) = share(hits, n);
                rows.experiment.push("corloc".into());
                rows.subject.push(self.subject().into());
                rows.site.push(self.site.as_str().into());
                rows.knob.push("bias".into());
                rows.at.push(place.bias);
                rows.mark.push("".into());
                rows.metric.push(metric.into());
                rows.value.push(value);
                rows.stderr.push(stderr);
                rows.n.push(n);
            }
        }
    }
}

impl Stage for CorLoc {
    fn name(&self) -> &'static str {
        "corloc"
    }

    fn version(&self) -> u32 {
        1
    }

    fn inputs(&self) -> Vec<TableRef> {
        self.inputs.clone()
    }

    fn outputs(&self) -> Vec<TableSpec> {
        ["scores", "curves"].map(|table| TableSpec { table, partition: self.partition.clone() }).into()
    }

    fn meaning(&self) -> Canonical {
        Canonical::of(&self.params)
    }

    fn estimate(&self, inputs: &Sizes) -> Estimate {
        let rows = |table: &str| inputs.get(table).copied().unwrap_or(0);
        let params = &self.params;
        let places = (params.sites.len() * (params.raw_biases.len() + params.l2_biases.len())) as u64;
        let size = |rows, bytes| engine::stage::TableSize { rows, bytes };
        Estimate {
            items: 1,
            tables: [("scores", size(8 * params.sites.len() as u64, 8 << 10)), ("curves", size(2 * places, 16 << 10))]
                .into(),
            // Objects are held, boxes are streamed.
            host_bytes: (64 << 20) + 150 * rows("objects"),
            secs: (rows("boxes") + rows("objects")) as f64 / 2e6,
            ..Estimate::default()
        }
    }

    fn run(&self, _: &Shard, io: &mut ShardIo<'_>) -> Result<ShardReport, StageError> {
        let mut tally = Tally::new(&self.params, &io.read_all::<Objects>()?);
        for part in io.parts("boxes")? {
            for batch in schemas::read_part_batches::<Boxes>(&part)? {
                if io.cancelled() {
                    return Err(StageError::interrupted());
                }
                tally.add(&batch?);
            }
        }
        let (scores, curves) = tally.rows();
        io.write(scores)?;
        io.write(curves)?;
        Ok(ShardReport { items: 1, skipped: 0 })
    }
}

impl Tally {
    fn rows(&self) -> (Scores, Curves) {
        let (mut scores, mut curves) = (Rows::default(), Curves::default());
        for sweep in &self.sweeps {
            sweep.scores(&mut scores, self.images());
            sweep.curves(&mut curves, self.images());
        }
        (scores.scores, curves)
    }
}

#[cfg(test)]
mod tests;
