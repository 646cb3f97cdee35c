//! Curves of made-up patches whose answers are known: 96 images of 4 classes on a 3×3 grid. Two patches of each have norm
//! 200 and hold the class; the others have norms of 10 to 30 and hold their place and their pixels.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use engine::{Plan, RunOptions, Silent, Store, outputs_of};
use schemas::read_part;
use schemas::tables::{Images, Scores, TokenPixels, TokenVectors};

use super::*;
use crate::classify::Protocol;
use crate::logistic::LogisticParams;
use crate::numpy_random::RandomState;
use crate::pixels::Pixels;
use crate::position::{Position, PositionModel};
use crate::samples::Samples;
use crate::stage::ProbeStage;
use crate::token_class::VectorClass;

#[derive(Serialize)]
struct Planted {
    /// Patches of image 7 that are left out.
    missing: u16,
}

impl Meaning for Planted {}

impl Stage for Planted {
    fn name(&self) -> &'static str {
        "plant"
    }
    fn version(&self) -> u32 {
        1
    }
    fn inputs(&self) -> Vec<TableRef> {
        vec![]
    }
    fn outputs(&self) -> Vec<TableSpec> {
        ["images", "token_vectors", "token_pixels"].map(|table| TableSpec { table, partition: vec![] }).into()
    }
    fn meaning(&self) -> Canonical {
        Canonical::of(self)
    }
    fn estimate(&self, _: &Sizes) -> Estimate {
        Estimate { items: 96, ..Estimate::default() }
    }
    fn run(&self, _: &Shard, io: &mut ShardIo<'_>) -> Result<ShardReport, StageError> {
        let mut words = RandomState::new(1);
        let mut uniform = || words.next_u32() as f32 / u32::MAX as f32;
        let (mut images, mut tokens, mut pixels) = (Images::default(), TokenVectors::default(), TokenPixels::default());
        for image in 0..96u32 {
            let class = image % 4;
            images.image.push(image);
            images.name.push(format!("{image}.png").into());
            images.label.push(Some(class as i32));
            images.class.push(Some(format!("class {class}").into()));
            images.width_px.push(6);
            images.height_px.push(6);
            images.grid_h.push(3);
            images.grid_w.push(3);
            let mut draws = [0, 0];
            for place in (0..9u16).filter(|&place| image != 7 || place >= self.missing) {
                // Everywhere in turn, and not with the class.
                let outlier = [(image / 4 * 2) % 9, (image / 4 * 5 + 1) % 9].contains(&u32::from(place));
                let patch: Vec<f32> = (0..3).map(|_| uniform() - 0.5).collect();
                // [class | row | column | pixels]
                let mut vector: Vec<f32> = (0..13).map(|_| 0.3 * (uniform() - 0.5)).collect();
                if outlier {
                    vector[class as usize] += 1.0;
                } else {
                    vector[4 + usize::from(place / 3)] += 1.0;
                    vector[7 + usize::from(place % 3)] += 1.0;
                    vector[10..].copy_from_slice(&patch);
                }
                let kind = if outlier { "outlier" } else { "normal" };
                let draw = &mut draws[usize::from(outlier)];
                tokens.image.push(image);
                tokens.site.push("final".into());
                tokens.kind.push(kind.into());
                tokens.index.push(place);
                tokens.row.push(Some(place / 3));
                tokens.col.push(Some(place % 3));
                tokens.draw.push(*draw);
                tokens.norm.push(if outlier { 200.0 + uniform() } else { 10.0 + 20.0 * uniform() });
                tokens.vector.push(&vector);
                pixels.image.push(image);
                pixels.kind.push(kind.into());
                pixels.index.push(place);
                pixels.draw.push(*draw);
                pixels.pixels.push(&patch);
                *draw += 1;
            }
        }
        io.write(images)?;
        io.write(tokens)?;
        io.write(pixels)?;
        Ok(ShardReport { items: 96, skipped: 0 })
    }
}

const SPLIT: Split = Split::EveryNth { nth: 3 };

fn position(separate: bool) -> Experiment {
    let model = PositionModel::Softmax { c: 10.0, logistic: LogisticParams::default() };
    Experiment::Position(Position { site: "final".into(), subjects: vec![], separate, model, split: SPLIT })
}

fn pixels() -> Experiment {
    Experiment::Pixels(Pixels { site: "final".into(), subjects: vec![], ridge: 0.1, split: SPLIT })
}

fn token_class() -> Experiment {
    let protocol = Protocol::fixed_c(10.0, SPLIT);
    Experiment::TokenClass(VectorClass { site: "final".into(), subjects: vec![], draws: Some(1), protocol })
}

/// A curve of an experiment, and its scores at the run's own cut-off.
fn run(experiment: Experiment, missing: u16) -> Result<(Curves, Scores), StageError> {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let planted = Planted { missing };
    let tables = outputs_of(&planted);
    let knobs = Knobs { steps: 12, ..Knobs::default() };
    let probe = ProbeStage::new(experiment.clone(), &tables, None, vec![]).unwrap();
    let curve = ProbeCurve::new(Curve { experiment, knobs }, &tables, None, vec![]).unwrap();
    let outputs = [outputs_of(&curve).remove(0), outputs_of(&probe).remove(0)];
    let plan = Plan::new(vec![Box::new(planted), Box::new(probe), Box::new(curve)]).unwrap();
    let cancel = AtomicBool::new(false);
    engine::run(&plan, &store, &RunOptions { cancel: &cancel, progress: &Silent, max_skip_frac: 0.0 })?;
    Ok((read_part(&store.part(&outputs[0], 0)).unwrap(), read_part(&store.part(&outputs[1], 0)).unwrap()))
}

/// A curve against the cut-off: where, mark, value.
fn of<'a>(curves: &'a Curves, subject: &str, metric: &str) -> Vec<(f64, &'a str, Option<f64>)> {
    let mut points: Vec<_> = (0..curves.at.len())
        .filter(|&i| &*curves.knob[i] == "cutoff" && *curves.subject[i] == *subject && *curves.metric[i] == *metric)
        .map(|i| (curves.at[i], &*curves.mark[i], curves.value[i]))
        .collect();
    points.sort_by(|a, b| a.0.total_cmp(&b.0));
    points
}

fn at_run(points: &[(f64, &str, Option<f64>)]) -> f64 {
    points.iter().find(|p| p.1.contains("run")).unwrap().2.unwrap()
}

fn score(scores: &Scores, subject: &str, metric: &str) -> f64 {
    let row = (0..scores.value.len()).find(|&i| *scores.subject[i] == *subject && *scores.metric[i] == *metric);
    scores.value[row.unwrap()].unwrap()
}

/// Breaks when a division by norms is not the run's own at the run's cut-off: other rows, another split or another fit.
#[test]
fn at_the_runs_cut_off_a_curve_is_the_score() {
    for experiment in [position(true), position(false), pixels()] {
        let metrics: &[&str] = match &experiment {
            Experiment::Pixels(_) => &["l2_mean", "blind_l2_mean"],
            _ => &["top1_frac", "mean_distance_cells"],
        };
        let (curves, scores) = run(experiment, 0).unwrap();
        for subject in ["normal", "outlier"] {
            for metric in metrics {
                let (found, wanted) = (at_run(&of(&curves, subject, metric)), score(&scores, subject, metric));
                assert!((found - wanted).abs() < 1e-12, "{subject} {metric}: {found} and {wanted}");
            }
        }
    }
}

/// Below the gap "outliers" are mostly normal patches: the fewer are left out, the more of them know their place.
#[test]
fn outliers_learn_their_place_as_the_cut_off_falls_below_the_gap() {
    for separate in [true, false] {
        let (curves, _) = run(position(separate), 0).unwrap();
        let outlier = of(&curves, "outlier", "top1_frac");
        // Chance is 1/9. At the bottom 7 of 9 know it.
        let bottom = outlier[0].2.unwrap();
        assert!(at_run(&outlier) < 0.35 && bottom > 0.6, "{separate} {outlier:?}");
        // Norms of 11 to 30 are normal ones': from there down every step adds some.
        let falling: Vec<f64> = outlier.iter().filter(|p| p.0 < 30.0).map(|p| p.2.unwrap()).collect();
        assert!(falling.windows(2).all(|w| w[0] >= w[1] - 0.03), "{falling:?}");
        // Nothing is above the largest norm.
        assert_eq!(outlier.last().unwrap().2, None);
        let normal = of(&curves, "normal", "top1_frac");
        assert!(at_run(&normal) > 0.95);
        let above_the_gap = normal.last().unwrap().2.unwrap();
        assert!(above_the_gap < 0.9, "the whole image's: {above_the_gap}");
    }
}

#[test]
fn outliers_hold_the_class_above_the_gap_and_pixels_below() {
    let (curves, _) = run(token_class(), 0).unwrap();
    let outlier = of(&curves, "outlier", "accuracy_frac");
    assert!(at_run(&outlier) > 0.9 && outlier[0].2.unwrap() < 0.7, "{outlier:?}");
    assert!(at_run(&of(&curves, "normal", "accuracy_frac")) < 0.5);
    let (curves, _) = run(pixels(), 0).unwrap();
    let (l2, blind) = (of(&curves, "outlier", "l2_mean"), of(&curves, "outlier", "blind_l2_mean"));
    assert!(at_run(&l2) > 0.9 * at_run(&blind) && l2[0].2.unwrap() < 0.7 * blind[0].2.unwrap(), "{l2:?}");
    // Shares are there too, and the study's is marked.
    assert!((0..curves.at.len()).any(|i| &*curves.knob[i] == "top_frac" && &*curves.mark[i] == "study"));
}

#[test]
fn draws_are_refused() {
    let error = run(position(false), 2).unwrap_err();
    assert!(error.what.contains("of image 7 7 of 9 patches"), "{error}");
    assert!(error.fix.contains("every_patch"));
    let tables = outputs_of(&Planted { missing: 0 });
    let pooled = Curve {
        experiment: Experiment::PooledClass(VectorClass {
            site: "final".into(),
            subjects: vec![],
            draws: None,
            protocol: Protocol::study(42),
        }),
        knobs: Knobs::default(),
    };
    assert!(matches!(ProbeCurve::new(pooled, &tables, None, vec![]), Err(ProbeError::NoCurve { .. })));
    let none = Curve { experiment: token_class(), knobs: Knobs { draws: 0, ..Knobs::default() } };
    assert!(matches!(ProbeCurve::new(none, &tables, None, vec![]), Err(ProbeError::Range { name: "draws", .. })));
}

/// Hits 1 0 0 1 of norms 1 2 3 4 in images a a b c: above 1.5 are 0 0 1, below it 1.
#[test]
fn what_one_model_says_is_divided_by_norm() {
    let tested = Tested {
        hits: vec![1.0, 0.0, 0.0, 1.0],
        distances: vec![0.0, 1.0, 3.0, 0.0],
        norms: vec![1.0, 2.0, 3.0, 4.0],
        images: vec![(0, 0), (0, 0), (0, 1), (0, 2)],
        converged: true,
    };
    let scores = tested.divided("final", 1.5);
    let get = |kind: &str, metric| scores.iter().find(|s| s.subject == kind && s.metric == metric).unwrap();
    assert_eq!((get("normal", "top1_frac").value, get("normal", "top1_frac").n), (Some(1.0), 1));
    let top1 = get("outlier", "top1_frac");
    assert_eq!((top1.value, top1.n), (Some(1.0 / 3.0), 3));
    // Three images: √((1/3)² + (1/3)² + (2/3)²)/3.
    assert!((top1.stderr.unwrap() - (6.0f64 / 9.0).sqrt() / 3.0).abs() < 1e-12);
    assert_eq!(get("outlier", "mean_distance_cells").value, Some(4.0 / 3.0));
    // A norm equal to the cut-off is normal, and nothing is above the largest.
    let at_most = tested.divided("final", 4.0);
    assert!(at_most.iter().filter(|s| s.subject == "outlier").all(|s| s.value.is_none() && s.n == 0));
    let unconverged = Tested { converged: false, ..tested };
    assert!(unconverged.divided("final", 1.5).iter().all(|s| s.value.is_none()));
}

/// 2,000 images of six patches with norms 0 to 5. Breaks when a draw prefers a patch, or forgets its choice though the
/// patch is still above.
#[test]
fn draws_are_uniform_and_stay() {
    let mut samples = Samples { dim: 1, ..Samples::default() };
    for i in 0..12_000u32 {
        samples.images.push((0, i / 6));
        samples.draws.push(0);
        samples.indices.push((i % 6) as u16);
        samples.cells.push((0, 0));
        samples.norms.push((i % 6) as f32);
        samples.values.push(0.0);
    }
    let patches = Patches { kinds: [samples, Samples::default()] };
    let chosen = |cutoff: f64, draw: usize| -> Vec<u16> {
        let drawn = &patches.drawn(cutoff, 2, 3)["outlier"];
        (0..drawn.rows()).filter(|&i| usize::from(drawn.draws[i]) == draw).map(|i| drawn.indices[i]).collect()
    };
    let (above1, above3) = (chosen(1.0, 0), chosen(3.0, 0));
    let counts: Vec<usize> = (2..6).map(|k| above1.iter().filter(|&&i| i == k).count()).collect();
    // 500 ± 5 σ of a binomial, σ = 19.
    assert!(counts.iter().sum::<usize>() == 2000 && counts.iter().all(|c| (405..595).contains(c)), "{counts:?}");
    assert!(above1.iter().zip(&above3).all(|(a, b)| *a <= 3 || a == b));
    let other = chosen(1.0, 1).iter().zip(&above1).filter(|(a, b)| a == b).count();
    assert!((405..595).contains(&other), "another draw chooses anew: {other}");
}
