//! Time of a step of a dense head, on features drawn at random that stay in memory.
//!
//! `cargo run --release -p train --example dense_head_speed -- RECIPE STEPS FOLDER`, where RECIPE is `cells`,
//! `dinov2_segmentation` or `nyu_linear`; FOLDER becomes a store, whose `dense` and `truth_maps` the peer
//! (`benches/peers/dense_head_torch.py`) reads. Prints one JSON object. Threads: `RAYON_NUM_THREADS`.

use std::sync::Mutex;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use engine::{
    Estimate, Event, Plan, Progress, RunOptions, Shard, ShardIo, ShardReport, Sizes, Stage, StageError, Store,
    TableRef, TableSpec, outputs_of,
};
use half::f16;
use schemas::tables::{Dense, TruthMaps};
use schemas::{Canonical, Halves, Meaning, Table};
use serde::Serialize;
use train::dense::{DepthLoss, HeadParams, LabelMap, Length, Recipe, Task, TrainHead};

/// Sizes of a case.
#[derive(Clone, Copy, Serialize)]
struct Case {
    views: u32,
    grid: (u16, u16),
    width: usize,
    truth: (u32, u32),
    classes: u16,
    depth: bool,
}

impl Meaning for Case {}

/// The words of a plain generator: what they are does not matter here.
fn noise(state: &mut u64) -> f32 {
    *state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
    (*state >> 40) as f32 / 8_388_608.0 - 1.0
}

impl Stage for Case {
    fn name(&self) -> &'static str {
        "draw"
    }
    fn version(&self) -> u32 {
        1
    }
    fn inputs(&self) -> Vec<TableRef> {
        Vec::new()
    }
    fn outputs(&self) -> Vec<TableSpec> {
        [Dense::NAME, TruthMaps::NAME].map(|table| TableSpec { table, partition: Vec::new() }).into()
    }
    fn meaning(&self) -> Canonical {
        Canonical::of(self)
    }
    fn estimate(&self, _: &Sizes) -> Estimate {
        Estimate { items: u64::from(self.views), ..Estimate::default() }
    }
    fn run(&self, _: &Shard, io: &mut ShardIo<'_>) -> Result<ShardReport, StageError> {
        let (mut dense, mut truths) = (io.create::<Dense>()?, io.create::<TruthMaps>()?);
        let mut state = 1;
        let halves = |n: usize, state: &mut u64| {
            Halves((0..n).flat_map(|_| f16::from_f32(noise(state)).to_le_bytes()).collect())
        };
        for image in 0..self.views {
            let (h, w) = self.grid;
            let (px_h, px_w) = (u32::from(h) * 14, u32::from(w) * 14);
            dense.write(&mut Dense {
                image: vec![image],
                view: vec![0],
                site: vec!["final".into()],
                scaled_h: vec![px_h],
                scaled_w: vec![px_w],
                y0: vec![0],
                x0: vec![0],
                view_h: vec![px_h],
                view_w: vec![px_w],
                mirrored: vec![false],
                pad_top: vec![0],
                pad_left: vec![0],
                grid_h: vec![h],
                grid_w: vec![w],
                patch_px: vec![14],
                patches: vec![halves(usize::from(h) * usize::from(w) * self.width, &mut state)],
                cls: vec![halves(self.width, &mut state)],
            })?;
            let pixels = self.truth.0 * self.truth.1;
            let value = |state: &mut u64| f64::from(noise(state)).mul_add(0.5, 0.5);
            let cells = if self.depth {
                (0..pixels).flat_map(|_| ((value(&mut state) * 9000.0) as u16).to_le_bytes()).collect()
            } else {
                (0..pixels).map(|_| (value(&mut state) * f64::from(self.classes)) as u8).collect()
            };
            truths.write(&mut TruthMaps {
                image: vec![image],
                view: vec![Some(0)],
                kind: vec![if self.depth { "depth" } else { "segments" }.into()],
                height: vec![self.truth.0],
                width: vec![self.truth.1],
                scale: vec![self.depth.then_some(0.001)],
                cells: vec![cells],
            })?;
        }
        io.finish(dense)?;
        io.finish(truths)?;
        Ok(ShardReport { items: u64::from(self.views), skipped: 0 })
    }
}

/// When each step was done.
#[derive(Default)]
struct Watch(Mutex<Vec<Instant>>);

impl Progress for Watch {
    fn event(&self, event: &Event<'_>) {
        if let (Event::Items { .. }, Ok(mut times)) = (event, self.0.lock()) {
            times.push(Instant::now());
        }
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [name, steps, folder] = &args[..] else { return Err("usage: RECIPE STEPS FOLDER".into()) };
    let steps: u64 = steps.parse()?;
    let segments = |views, grid, truth, classes| Case { views, grid, width: 384, truth, classes, depth: false };
    let (case, recipe) = match name.as_str() {
        "cells" => (segments(48, (25, 34), (360, 480), 11), Recipe::cells(LabelMap::plain(11))),
        "dinov2_segmentation" => {
            (segments(32, (37, 37), (512, 512), 150), Recipe::dinov2_segmentation(LabelMap::plain(150)))
        }
        "nyu_linear" => {
            let case = Case { views: 32, grid: (30, 39), width: 384, truth: (416, 544), classes: 0, depth: true };
            (case, Recipe::nyu_linear())
        }
        other => return Err(format!("no recipe is called {other}").into()),
    };
    let mut recipe = Recipe { length: Length::Steps(steps), ..recipe };
    if let Task::Depth(task) = &mut recipe.task {
        // The whole loss from the first step on, as the peer has it.
        task.loss = DepthLoss::Logarithmic { views_per_loss: 2, warm_up_steps: 0 };
    }
    let params = HeadParams {
        name: name.clone(),
        sites: vec!["final".into()],
        recipe,
        seeds: vec![0],
        permute_labels: false,
        every_nth: None,
        pictures: 0,
        class_names: Vec::new(),
    };
    let tables = outputs_of(&case);
    let head = TrainHead::new(params, &tables, &tables, Vec::new())?;
    let run = outputs_of(&head).into_iter().next().map(|t| t.fingerprint.to_string()).unwrap_or_default();
    let plan = Plan::new(vec![Box::new(case), Box::new(head)])?;
    let store = Store::open(folder.as_ref())?;
    let (watch, cancel) = (Watch::default(), AtomicBool::new(false));
    engine::run(&plan, &store, &RunOptions { cancel: &cancel, progress: &watch, max_skip_frac: 0.0 })?;
    let times = watch.0.into_inner().unwrap_or_default();
    // The first steps read the features; from the second epoch on they are in memory.
    let warm = (times.len() / 2).max(1);
    let secs = match (times.get(warm - 1), times.last()) {
        (Some(first), Some(last)) if times.len() > warm => (*last - *first).as_secs_f64() / (times.len() - warm) as f64,
        _ => return Err("more steps are needed, or another folder: this head is trained already".into()),
    };
    let json = serde_json::json!({ "recipe": name, "steps": steps, "secs_per_step": secs, "run": run });
    std::io::Write::write_all(&mut std::io::stdout(), format!("{json}\n").as_bytes())?;
    Ok(())
}
