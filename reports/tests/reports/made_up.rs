//! A small store with made-up numbers, written by the same writer as real ones.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use reports::{Expect, Provenance, Source, Study, Subject, Truth};
use schemas::tables::{
    Curves, Cutoffs, Grids, Images, Maps, NormHistograms, Pictures, Scores, Skipped, TokenStats, TokenVectors,
};
use schemas::{PartWriter, Table, Vectors};

use crate::{dense, discovery};

/// Writes a finished part; gives the run's folder back.
pub fn put<T: Table>(store: &Path, model: &str, dataset: &str, run: &str, shard: u32, mut rows: T) -> PathBuf {
    let folder = store
        .join(T::NAME)
        .join(format!("model={model}"))
        .join(format!("dataset={dataset}"))
        .join(format!("run={run}"));
    fs::create_dir_all(&folder).unwrap();
    let part = folder.join(format!("part-{shard:05}.parquet"));
    let mut writer = PartWriter::create(&part, &[]).unwrap();
    writer.write(&mut rows).unwrap();
    let written = writer.finish().unwrap();
    let marker = format!("{{\"rows\":{},\"bytes\":{},\"items\":1,\"skipped\":0}}", written.rows, written.bytes);
    fs::write(part.with_extension("done"), marker).unwrap();
    folder
}

/// A score: (experiment, subject, site, metric, value, std, stderr, n, draws, images without).
pub type Row<'a> = (&'a str, &'a str, &'a str, &'a str, f64, Option<f64>, Option<f64>, u64, u32, u32);

pub fn scores(rows: &[Row]) -> Scores {
    let mut t = Scores::default();
    for (experiment, subject, site, metric, value, std, stderr, n, draws, without) in rows {
        t.experiment.push((*experiment).into());
        t.subject.push((*subject).into());
        t.site.push((*site).into());
        t.metric.push((*metric).into());
        t.value.push(value.is_finite().then_some(*value));
        t.std.push(*std);
        t.stderr.push(*stderr);
        t.n.push(*n);
        t.draws.push(*draws);
        t.images_without.push(*without);
        t.c.push(None);
        t.converged.push(true);
        t.note.push("".into());
    }
    t
}

pub fn images(n: u32) -> Images {
    let mut t = Images::default();
    for i in 0..n {
        t.image.push(i);
        t.name.push(format!("scene {i}").into());
        t.label.push(Some(i as i32 % 10));
        t.class.push(Some("a".into()));
        t.width_px.push(96);
        t.height_px.push(96);
        t.grid_h.push(4);
        t.grid_w.push(4);
    }
    t
}

pub fn skipped(rows: &[(&str, &str)]) -> Skipped {
    let mut t = Skipped::default();
    for (i, (name, reason)) in rows.iter().enumerate() {
        t.image.push(i as u32 + 1000);
        t.name.push((*name).into());
        t.reason.push((*reason).into());
        t.detail.push("".into());
    }
    t
}

pub fn cutoffs(site: &str, cutoff: Option<f32>) -> Cutoffs {
    Cutoffs {
        site: vec![site.into()],
        cutoff: vec![cutoff],
        valley_depth: vec![if cutoff.is_some() { 0.98 } else { 0.0 }],
        median: vec![11.5],
        images: vec![64],
        tokens: vec![1024],
    }
}

fn bin(t: &mut NormHistograms, site: &str, kind: &str, norm: f64, tokens: u64) {
    let bin = (norm.log10() * 40.0).floor() as i32;
    t.site.push(site.into());
    t.kind.push(kind.into());
    t.scale.push("log".into());
    t.bin.push(bin);
    t.low.push(10f64.powf(f64::from(bin) / 40.0) as f32);
    t.high.push(10f64.powf(f64::from(bin + 1) / 40.0) as f32);
    t.tokens.push(tokens);
}

/// Norms near 11.5; from block 2 on, outliers near 120 unless there are registers, which then hold them.
pub fn histograms(blocks: usize, registers: usize) -> NormHistograms {
    let mut t = NormHistograms::default();
    for block in 0..blocks {
        let site = format!("block_{block}");
        for (norm, tokens) in [(10.4, 200), (11.0, 4000), (11.7, 5000), (12.4, 300)] {
            bin(&mut t, &site, "patch", norm, tokens);
        }
        bin(&mut t, &site, "cls", 13.0 + block as f64, 100);
        if block >= 2 && registers == 0 {
            bin(&mut t, &site, "patch", 85.0 + 12.0 * block as f64, 340);
        }
        // After the final LayerNorm all norms are alike.
        if block + 1 == blocks {
            bin(&mut t, "final", "patch", 40.0, 9000);
            bin(&mut t, "final", "patch", 43.0, 840);
        }
        for register in 0..registers {
            bin(&mut t, &site, &format!("register_{register}"), 100.0 + 9.0 * register as f64, 100);
        }
    }
    t
}

/// Two 8×8 pictures and their 2×2 maps of norms.
pub fn pictures(names: [&str; 2]) -> Pictures {
    let mut t = Pictures::default();
    for (i, name) in names.iter().enumerate() {
        t.image.push(i as u32);
        t.name.push((*name).into());
        t.width_px.push(8);
        t.height_px.push(8);
        t.rgb.push((0..192).map(|b| (b * (i + 1) % 251) as u8).collect());
    }
    t
}

pub fn token_stats(site: &str, outlier: bool) -> TokenStats {
    let mut t = TokenStats::default();
    for image in 0..3u32 {
        for index in 0..4u16 {
            let high = outlier && index == 3;
            t.image.push(image);
            t.site.push(site.into());
            t.kind.push("patch".into());
            t.index.push(index);
            t.row.push(Some(index / 2));
            t.col.push(Some(index % 2));
            t.norm.push(if high { 120.0 } else { 11.0 + f32::from(index) });
            t.outlier.push(high);
            t.neighbour_cosine.push(Some(if high {
                0.97
            } else {
                0.5 + 0.05 * f32::from(index) + 0.01 * image as f32
            }));
            t.neighbour_cosine_position.push(Some(if high { 0.9 } else { 0.4 + 0.03 * f32::from(index) }));
            t.cls_attention.push(None);
            t.pixel_variance.push(None);
        }
    }
    t
}

pub fn vectors(dim: usize, n: u32) -> TokenVectors {
    let mut t = TokenVectors { vector: Vectors::with_dim(dim), ..TokenVectors::default() };
    for image in 0..n {
        t.image.push(image);
        t.site.push("final".into());
        t.kind.push("cls".into());
        t.index.push(0);
        t.row.push(None);
        t.col.push(None);
        t.draw.push(0);
        t.norm.push(1.5);
        t.vector.push(&(0..dim).map(|i| i as f32 + 0.5).collect::<Vec<_>>());
    }
    t
}

/// Maps of two images on a 4 × 4 grid: norms, attention by head, mean and l2 in two blocks, three components in two
/// bases. Patch 5 is the outlier of a model without registers; `[CLS]` attends to it and to patch 0.
pub fn maps(registers: usize) -> Maps {
    let mut t = Maps::default();
    let mut push =
        |image: u32, names: [&str; 4], patch: Option<u32>, share: Option<f32>, value: &dyn Fn(u32) -> f32| {
            let [quantity, site, of, part] = names;
            t.image.push(image);
            t.quantity.push(quantity.into());
            t.site.push(site.into());
            t.of.push(of.into());
            t.part.push(part.into());
            t.patch.push(patch);
            t.grid_h.push(4);
            t.grid_w.push(4);
            t.share_frac.push(share);
            t.cells.push((0..16).map(value).collect());
        };
    let outlier = |i: u32| registers == 0 && i == 5;
    for image in 0..2_u32 {
        let wave = |i: u32, k: u32| ((i * k + image * 3) % 7) as f32;
        push(image, ["norm", "block_3", "patch", ""], None, None, &|i| {
            if outlier(i) { 120.0 } else { 11.0 + wave(i, 3) / 7.0 }
        });
        push(image, ["norm", "final", "patch", ""], None, None, &|i| 40.0 + wave(i, 2));
        let mut tokens = vec!["cls".to_owned(), "patch".to_owned()];
        tokens.extend((0..registers).map(|r| format!("register_{r}")));
        if registers == 0 {
            tokens.push("outlier".to_owned());
        }
        for block in [2, 3] {
            for (k, token) in tokens.iter().enumerate() {
                let site = format!("attention_{block}");
                let at = |i: u32| if outlier(i) { 0.2 } else { 0.005 * (1.0 + wave(i, k as u32 + 1)) };
                let query = match token.as_str() {
                    "patch" => Some(10),
                    "outlier" => Some(5),
                    _ => None,
                };
                push(image, ["attention", &site, token, "mean"], query, Some(0.6), &at);
                if token == "cls" {
                    push(image, ["attention", &site, token, "head_0"], None, Some(0.7), &|i| 1.5 * at(i));
                    push(image, ["attention", &site, token, "head_1"], None, Some(0.5), &|i| 0.5 * at(i));
                    push(image, ["attention", &site, token, "l2"], None, None, &|i| 2.5_f32.sqrt() * at(i));
                }
            }
        }
        for basis in ["image", "joint"] {
            for (part, share) in [("0", 0.5), ("1", 0.2), ("2", 0.1)] {
                let k = 1 + part.len() as u32 + image;
                push(image, ["component", "final", basis, part], None, Some(share), &|i| wave(i, k) - 3.0);
            }
        }
    }
    t
}

/// Sums over 40 images on a 4 × 4 grid, in one shard of two that add: outliers in the first column, attention even.
pub fn grids(registers: usize) -> Grids {
    let mut t = Grids::default();
    let mut quantities = vec![("outlier", "patch".to_owned(), "block_3"), ("norm", "patch".to_owned(), "block_3")];
    quantities.extend(["cls", "patch"].map(|of| ("attention", of.to_owned(), "attention_3")));
    quantities.extend((0..registers).map(|r| ("attention", format!("register_{r}"), "attention_3")));
    for (quantity, of, site) in quantities {
        for place in 0..16_u16 {
            t.quantity.push(quantity.into());
            t.of.push(of.as_str().into());
            t.site.push(site.into());
            t.grid_h.push(4);
            t.grid_w.push(4);
            t.row.push(place / 4);
            t.col.push(place % 4);
            t.sum.push(match quantity {
                "outlier" if registers == 0 && place % 4 == 0 => 12.0,
                "outlier" => 0.0,
                "norm" => 40.0 * 11.5,
                _ => 40.0 * f64::from(1 + place) / 200.0,
            });
            t.images.push(40);
        }
    }
    t
}

/// Share, precision, cosines and what probes read against the cut-off, with three marks.
pub fn curves() -> Curves {
    let mut t = Curves::default();
    for (i, at) in [11.0, 20.0, 40.0, 80.0, 100.0, 150.0].into_iter().enumerate() {
        let mark = match i {
            2 => "run valley",
            4 => "study",
            5 => "paper",
            _ => "",
        };
        let above = if i == 0 { 0.5 } else { 0.034 };
        for (experiment, subject, site, metric, value) in [
            ("detection", "outlier", "block_3", "share_frac", Some(if at > 120.0 { 0.0 } else { above })),
            (
                "detection",
                "outlier",
                "block_3",
                "precision_frac",
                (at < 120.0).then_some(if i == 0 { 0.07 } else { 1.0 }),
            ),
            ("neighbour_cosine", "outlier", "patch_embed", "mean", (at < 120.0).then_some(0.97)),
            ("neighbour_cosine", "normal", "patch_embed", "mean", Some(0.75)),
            ("attention", "outlier", "attention_3", "mass_frac", (at < 120.0).then_some(0.55)),
            ("position", "outlier", "final", "top1_frac", (at < 120.0).then_some(if i == 0 { 0.6 } else { 0.2 })),
            ("position", "normal", "final", "top1_frac", Some(0.66)),
            ("pixels", "outlier", "final", "l2_mean", (at < 120.0).then_some(if i == 0 { 18.4 } else { 25.2 })),
            ("pixels", "outlier", "final", "blind_l2_mean", (at < 120.0).then_some(26.0)),
        ] {
            t.experiment.push(experiment.into());
            t.subject.push(subject.into());
            t.site.push(site.into());
            t.knob.push("cutoff".into());
            t.at.push(at);
            t.mark.push(mark.into());
            t.metric.push(metric.into());
            t.value.push(value);
            t.stderr.push(value.map(|v| v / 20.0));
            t.n.push(1600);
        }
    }
    t
}

fn planted(store: &Path, registers: usize) -> Subject {
    let model = if registers == 0 { "planted".to_owned() } else { format!("planted_reg{registers}") };
    let dataset = "synthetic";
    let mut rows: Vec<Row> = vec![
        ("norms", "patch", "block_3", "median", 11.52, None, None, 9600, 1, 0),
        ("norms", "patch", "block_3", "max", if registers == 0 { 121.3 } else { 12.4 }, None, None, 9600, 1, 0),
        ("norms", "patch", "block_2", "median", 11.5, None, None, 9600, 1, 0),
        ("neighbour_cosine", "normal", "patch_embed", "median", 0.748, None, None, 9000, 1, 0),
        ("token_class", "cls", "final", "accuracy_frac", 0.991, None, Some(0.0037), 667, 1, 0),
        ("token_class", "normal", "final", "accuracy_frac", 0.1812, Some(0.0093), Some(0.0149), 667, 5, 0),
    ];
    if registers == 0 {
        rows.extend([
            ("detection", "outlier", "block_3", "share_frac", 0.0348, None, Some(0.0004), 9600, 1, 15),
            ("detection", "outlier", "all blocks", "onset_block", 3.0, None, None, 9600, 1, 0),
            ("detection", "outlier", "block_3", "precision_frac", 1.0, None, None, 334, 1, 0),
            ("detection", "outlier", "block_3", "recall_frac", 0.5, None, None, 334, 1, 0),
            ("neighbour_cosine", "outlier", "patch_embed", "median", 0.972, None, None, 334, 1, 0),
            ("token_class", "outlier", "final", "accuracy_frac", 0.957, Some(0.004), Some(0.0079), 567, 5, 100),
            ("position", "normal", "final", "top1_frac", 0.996, None, Some(0.001), 4000, 1, 0),
            ("position", "outlier", "final", "top1_frac", 0.019, None, Some(0.002), 1100, 1, 0),
            ("position", "outlier", "final", "mean_distance_cells", 4.87, None, None, 1100, 1, 0),
            ("position", "outlier", "final", "blind_distance_cells", 4.91, None, None, 1100, 1, 0),
            ("pixels", "normal", "final", "l2_mean", 0.442, None, None, 4000, 1, 0),
            ("attention", "outlier", "attention_3", "mass_frac", 0.553, None, Some(0.01), 85, 1, 0),
            ("norms", "outlier", "block_3", "median", 120.1, None, None, 334, 1, 0),
            ("token_class", "outlier", "final", "accuracy_frac", 0.096, Some(0.01), Some(0.01), 567, 5, 100),
        ]);
    } else {
        rows.extend([
            ("token_class", "register_0", "final", "accuracy_frac", 0.993, None, Some(0.0032), 667, 1, 0),
            ("token_class", "outlier", "final", "accuracy_frac", f64::NAN, None, None, 0, 5, 667),
        ]);
    }
    let mut scores = scores(&rows);
    if registers == 0 {
        *scores.note.last_mut().unwrap() = "control: labels of the training images permuted with seed 1".into();
    } else {
        // The fit of an empty population says so instead of a number.
        *scores.note.last_mut().unwrap() = "no image has an outlier".into();
    }
    let mut tables = BTreeMap::new();
    let mut add = |name: &str, folder: PathBuf| tables.entry(name.to_owned()).or_insert_with(Vec::new).push(folder);
    add("scores", put(store, &model, dataset, "0a", 0, scores));
    add("images", put(store, &model, dataset, "0b", 0, images(60)));
    add("images", put(store, &model, dataset, "0b", 1, images(40)));
    add("cutoffs", put(store, &model, dataset, "0c", 0, cutoffs("block_3", (registers == 0).then_some(40.0))));
    add("norm_histograms", put(store, &model, dataset, "0d", 0, histograms(4, registers)));
    add("pictures", put(store, &model, dataset, "0e", 0, pictures(["scene 0", "scene 1"])));
    add("token_stats", put(store, &model, dataset, "0f", 0, token_stats("block_3", registers == 0)));
    add("maps", put(store, &model, dataset, "0g", 0, maps(registers)));
    // Shards add.
    add("grids", put(store, &model, dataset, "0h", 0, grids(registers)));
    add("grids", put(store, &model, dataset, "0h", 1, grids(registers)));
    if registers == 0 {
        add("curves", put(store, &model, dataset, "0i", 0, curves()));
    }
    for (table, folder) in discovery::tables(store, &model, registers) {
        add(table, folder);
    }
    for (table, folder) in dense::tables(store, &model, registers) {
        add(table, folder);
    }
    for folders in tables.values_mut() {
        folders.dedup();
    }
    let truth = |subject: &str, metric: &str, expected, source: &str| Truth {
        experiment: "detection".to_owned(),
        subject: subject.to_owned(),
        metric: metric.to_owned(),
        expected,
        source: source.to_owned(),
    };
    Subject {
        model,
        weights: Provenance::Planted,
        weights_note: "written by construction".to_owned(),
        weights_digest: "0123456789abcdef0123".to_owned(),
        leftover: vec![],
        dataset: dataset.to_owned(),
        preprocessing: "96 px, mean 0.5, std 0.5".to_owned(),
        precision: "f32".to_owned(),
        outlier_policy: "valley of a calibration pass".to_owned(),
        site: "block_3".to_owned(),
        tables,
        truth: if registers > 0 {
            vec![]
        } else {
            vec![
                truth("outlier", "precision_frac", Expect::AtLeast(0.999), "an outlier is a flat patch"),
                truth("outlier", "recall_frac", Expect::AtLeast(0.999), "a flat patch is an outlier"),
                truth("outlier", "onset_block", Expect::Near(3.0, 0.0), "the jump is in block 3"),
                truth("outlier", "norm_ratio", Expect::Near(10.43, 0.3), "norms in closed form"),
            ]
        },
        registers,
        follows: [].into(),
        departures: vec![],
        repeats: vec![],
        ..Subject::default()
    }
}

/// The paper's model on CIFAR-10, with numbers near its own: one that agrees, one that differs.
fn giant(store: &Path) -> Subject {
    let model = "dinov2_vitg14";
    let rows: [Row; 4] = [
        ("token_class", "cls", "final", "accuracy_frac", 0.9935, None, Some(0.0008), 10000, 1, 0),
        ("token_class", "normal", "final", "accuracy_frac", 0.93, Some(0.002), Some(0.0026), 10000, 5, 0),
        ("token_class", "outlier", "final", "accuracy_frac", 0.9926, Some(0.0004), Some(0.0009), 9800, 5, 200),
        ("norms", "patch", "block_39", "share_above_150_frac", 0.0231, None, Some(0.0003), 2_560_000, 1, 0),
    ];
    let mut subject = Subject {
        model: model.to_owned(),
        weights: Provenance::SameWeights,
        weights_note: "dinov2_vitg14_pretrain.pth".to_owned(),
        weights_digest: "feed".to_owned(),
        leftover: vec!["mask_token".to_owned()],
        dataset: "cifar10".to_owned(),
        preprocessing: "224 px, ImageNet mean and std".to_owned(),
        precision: "bf16".to_owned(),
        outlier_policy: "norm > 150".to_owned(),
        site: "block_39".to_owned(),
        follows: [Source::Paper].into(),
        ..Subject::default()
    };
    subject.tables.insert("scores".to_owned(), vec![put(store, model, "cifar10", "1a", 0, scores(&rows))]);
    subject.tables.insert("images".to_owned(), vec![put(store, model, "cifar10", "1b", 0, images(30))]);
    let rows = skipped(&[("a.jpg", "truncated jpeg"), ("b.jpg", "truncated jpeg"), ("c.txt", "not an image")]);
    subject.tables.insert("skipped".to_owned(), vec![put(store, model, "cifar10", "1b", 0, rows)]);
    subject
}

/// A proxy on a dataset whose published accuracy is averaged over classes.
fn small(store: &Path) -> Subject {
    let model = "dinov2_vits14";
    let rows: [Row; 3] = [
        ("token_class", "cls", "final", "accuracy_frac", 0.90, None, Some(0.01), 300, 1, 0),
        ("token_class", "cls", "final", "macro_accuracy_frac", 0.88, None, Some(0.01), 300, 1, 0),
        ("token_class", "normal", "final", "accuracy_frac", 0.61, Some(0.012), Some(0.02), 300, 3, 0),
    ];
    let mut subject = Subject {
        model: model.to_owned(),
        weights: Provenance::ProxyWeights,
        dataset: "caltech-101".to_owned(),
        preprocessing: "224 px".to_owned(),
        precision: "f32".to_owned(),
        outlier_policy: "norm > 150".to_owned(),
        site: "block_11".to_owned(),
        ..Subject::default()
    };
    subject.tables.insert("scores".to_owned(), vec![put(store, model, "caltech-101", "2a", 0, scores(&rows))]);
    subject
}

pub fn study(store: &Path) -> Study {
    Study {
        title: "A made-up study".to_owned(),
        subjects: vec![planted(store, 0), planted(store, 4), giant(store), small(store)],
        wanted: vec![],
        notes: vec!["Every number here is invented.".to_owned()],
        ..Study::default()
    }
}
