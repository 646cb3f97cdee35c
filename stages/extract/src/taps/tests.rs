//! Every tap on a 2×2 grid whose answers can be told by hand.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;

use datasets::{Crop, Entry, Filter, Manifest, Preprocess, Resize};
use schemas::Table as _;
use schemas::outlier::OutlierPolicy;
use vit::executor::Precision;
use vit::{
    Activation, FinalNorm, Interpolation, Layout, Mlp, Params, Pixels, PosEmbed, Request, Site, SiteData, Trace,
    VitConfig,
};

use super::stats::neighbour_cosine;
use super::{GridSums, Histograms, Places, Rows, View, taps_of};
use crate::params::{ExtractParams, PoolSite};
use crate::pipeline::Encoded;
use crate::prepare::Prepared;

const D: usize = 2;

fn config() -> VitConfig {
    VitConfig {
        depth: 1,
        width: D,
        heads: 1,
        patch_px: 2,
        mlp: Mlp { hidden: 2, activation: Activation::Gelu },
        ln_eps: 0.0,
        layer_scale: false,
        ln_pre: false,
        patch_bias: true,
        registers: 1,
        pos: PosEmbed { grid: 2, cls_slot: true, interpolation: Interpolation::Antialias },
    }
}

fn params() -> ExtractParams {
    ExtractParams {
        model: config(),
        weights: "w".into(),
        precision: Precision::F32,
        dataset: "d".into(),
        preprocess: Preprocess::new(Resize::None, Crop::None, Filter::Bicubic).normalised([0.5; 3], [0.5; 3]),
        outliers: OutlierPolicy::Fixed { cutoff: 20.0 },
        outlier_site: Site::Block(0),
        stats_sites: vec![Site::Block(0)],
        vector_sites: vec![Site::Final],
        pooled: vec![PoolSite { site: Site::Block(0), normed: false }, PoolSite { site: Site::Block(0), normed: true }],
        draws: 3,
        seed: 1,
        pictures: 8,
        shard_images: 4,
        wrapped_neighbours: false,
        every_patch: false,
        edit: None,
        test_time_registers: None,
    }
}

/// Tokens: CLS, one register, four patches; patch 2 is an outlier.
const BLOCK: [[f32; D]; 6] = [[3.0, 4.0], [0.0, 90.0], [1.0, 0.0], [0.0, 2.0], [30.0, 40.0], [3.0, 0.0]];

/// Two heads; rows of CLS, the register and the patch in the middle.
const ROWS: [[f32; 6]; 6] = [
    [0.0, 0.5, 0.125, 0.125, 0.25, 0.0],
    [1.0, 0.0, 0.0, 0.0, 0.0, 0.0],
    [0.0, 0.0, 0.0, 0.0, 0.0, 1.0],
    [0.25, 0.0, 0.125, 0.375, 0.25, 0.0],
    [0.0, 0.0, 1.0, 0.0, 0.0, 0.0],
    [0.0, 0.0, 0.5, 0.0, 0.0, 0.5],
];

fn rows_of<const N: usize>(rows: [[f32; D]; N]) -> SiteData {
    SiteData { shape: vec![N, D], data: rows.concat() }
}

fn norms_of(site: &SiteData) -> Vec<f32> {
    site.data.chunks(D).map(|r| r.iter().map(|x| x * x).sum::<f32>().sqrt()).collect()
}

fn trace() -> Trace {
    let block = rows_of(BLOCK);
    let patches = rows_of([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]]);
    let positioned = rows_of([[1.0, 1.0], [1.0, 1.0], [1.0, 0.0], [1.0, 0.0], [1.0, 0.0], [1.0, 0.0]]);
    let norms = BTreeMap::from([(Site::Block(0), norms_of(&block)), (Site::PatchEmbed, norms_of(&patches))]);
    Trace {
        layout: Layout { registers: 1, grid_h: 2, grid_w: 2 },
        norms,
        full: BTreeMap::from([
            (Site::PatchEmbed, patches),
            (Site::WithPosition, positioned),
            (Site::Final, rows_of(BLOCK)),
            (Site::Block(0), block),
            (Site::ClsAttention(0), SiteData { shape: vec![1, 6], data: vec![0.1, 0.2, 0.0, 0.1, 0.5, 0.1] }),
            (Site::AttentionRows(0), SiteData { shape: vec![2, 3, 6], data: ROWS.concat() }),
        ]),
    }
}

/// 4×4 px; the first patch is black and white, the others grey. Normalised from [0, 1] by mean and std of one half.
fn prepared() -> Prepared {
    let plane: Vec<f32> = (0..16).map(|i| if i % 4 < 2 && i < 8 { [-1.0, 1.0][i % 2] } else { 0.0 }).collect();
    Prepared { pixels: Pixels { height: 4, width: 4, data: plane.repeat(3) }, source_px: (40, 50) }
}

fn final_norm() -> FinalNorm {
    let mut weights = Params::default();
    weights.insert("norm.weight", [D], vec![1.0; D]);
    weights.insert("norm.bias", [D], vec![0.0; D]);
    FinalNorm::new(&config(), &weights).unwrap()
}

fn rows(params: &ExtractParams) -> (Rows, Request) {
    let (mut all, mut want) = (Rows::default(), Request::default());
    let manifest = Manifest {
        entries: vec![Entry { name: "a".into(), label: Some(1), bytes: 9 }],
        classes: vec!["cat".into(), "dog".into()],
    };
    let final_norm = final_norm();
    let prepared = prepared();
    let encoded = Encoded { index: 0, prepared: &prepared, pass: trace() };
    let view = View::new(params, &manifest, &final_norm, None, &encoded).unwrap();
    for tap in taps_of(params) {
        tap.request(encoded.pass.layout, &mut want);
        tap.rows(&view, &mut all);
    }
    (all, want)
}

#[test]
fn neighbours_are_those_that_share_an_edge() {
    // a a     cos: a·a = 1, a·b = 0, a·(−a) = −1, b·(−a) = 0
    // b −a
    let site = rows_of([[1.0, 0.0], [5.0, 0.0], [0.0, 1.0], [-2.0, 0.0]]);
    assert_eq!(neighbour_cosine(&site, 0, (2, 2), false), [0.5, 0.0, 0.0, -0.5]);
    // In a row of four the ends have one neighbour each.
    assert_eq!(neighbour_cosine(&site, 0, (1, 4), false), [1.0, 0.5, 0.0, 0.0]);
    assert_eq!(neighbour_cosine(&rows_of([[1.0, 2.0]]), 0, (1, 1), false), [1.0]);
}

/// Breaks when a wrapped border is compared with anything but what PyTorch's `roll` of the flattened grid brings there.
#[test]
fn wrapped_neighbours_go_on_in_the_next_row() {
    // a a c     c·a = 0.6, c·b = 0.8, a·b = 0, b·−a = 0, c·−a = −0.6, a·−a = −1
    // b −a c
    let site = rows_of([[1.0, 0.0], [2.0, 0.0], [0.6, 0.8], [0.0, 1.0], [-1.0, 0.0], [0.6, 0.8]]);
    // Patch 0: right a, left (patch 5) c, below b, above (patch 3) b.
    // Patch 2: right (patch 3) b, left a, below c, above c.
    let found = neighbour_cosine(&site, 0, (2, 3), true);
    let wanted = [0.4, (1.0 + 0.6 - 1.0 - 1.0) / 4.0, (0.8 + 0.6 + 1.0 + 1.0) / 4.0];
    for (f, w) in found.iter().zip(wanted) {
        assert!((f - w).abs() < 1e-6, "{found:?}");
    }
    assert_eq!(neighbour_cosine(&rows_of([[1.0, 2.0]]), 0, (1, 1), true), [1.0]);
}

#[test]
fn a_row_per_token_in_the_order_cls_registers_patches() {
    let t = rows(&params()).0.token_stats;
    assert_eq!(t.rows(), 6);
    assert_eq!(
        t.kind.iter().map(|k| &**k).collect::<Vec<_>>(),
        ["cls", "register", "patch", "patch", "patch", "patch"]
    );
    assert_eq!(t.index, [0, 0, 0, 1, 2, 3]);
    assert_eq!(t.norm, [5.0, 90.0, 1.0, 2.0, 50.0, 3.0]);
    // The register is above the cut-off too, but only patches can be outliers.
    assert_eq!(t.outlier, [false, false, false, false, true, false]);
    assert_eq!((t.row[4], t.col[4], t.row[0]), (Some(1), Some(0), None));
    assert_eq!(t.neighbour_cosine, [None, None, Some(0.5), Some(0.0), Some(0.0), Some(-0.5)]);
    assert_eq!(t.neighbour_cosine_position[2..], [Some(1.0); 4]);
    assert_eq!(t.cls_attention[4], Some(0.5));
    // Black and white in equal parts vary by ¼; grey does not.
    assert_eq!(t.pixel_variance, [None, None, Some(0.25), Some(0.0), Some(0.0), Some(0.0)]);
}

/// Breaks when a patch is left out or kept twice, or stands under the wrong kind.
#[test]
fn every_patch_is_kept_once() {
    let all = rows(&ExtractParams { every_patch: true, ..params() }).0.token_vectors;
    let of =
        |kind: &str| (0..all.kind.len()).filter(|&i| &*all.kind[i] == kind).map(|i| all.index[i]).collect::<Vec<_>>();
    assert_eq!((of("normal"), of("outlier")), (vec![0, 1, 3], vec![2]));
}

#[test]
fn each_draw_takes_one_token_of_each_kind() {
    let (all, want) = rows(&params());
    let t = all.token_vectors;
    let of = |kind: &str| (0..t.rows()).filter(|&i| &*t.kind[i] == kind).collect::<Vec<_>>();
    assert_eq!([of("cls").len(), of("register").len(), of("normal").len(), of("outlier").len()], [1, 1, 3, 3]);
    for i in of("outlier") {
        assert_eq!((t.index[i], t.row[i], t.col[i], t.norm[i]), (2, Some(1), Some(0), 50.0));
        assert_eq!(t.vector.row(i), [30.0, 40.0]);
    }
    assert!(of("normal").iter().all(|&i| t.index[i] != 2));
    assert_eq!(t.vector.row(of("cls")[0]), [3.0, 4.0]);
    assert_eq!(all.token_pixels.rows(), 6);
    assert!(all.token_pixels.pixels.dim() == 12 && want.full.contains(&Site::Final));
    // An image without outliers has no outlier row.
    let none = rows(&ExtractParams { outliers: OutlierPolicy::Fixed { cutoff: 60.0 }, ..params() }).0;
    assert!(!none.token_vectors.kind.iter().any(|k| &**k == "outlier"));
}

#[test]
fn pooled_vectors_leave_registers_out() {
    let t = rows(&params()).0.pooled;
    assert_eq!(t.site.iter().map(|s| &**s).collect::<Vec<_>>(), ["block_0", "block_0", "block_0+norm", "block_0+norm"]);
    assert_eq!(t.vector.row(0), [3.0, 4.0]);
    assert_eq!(t.vector.row(1), [34.0 / 4.0, 42.0 / 4.0]);
    // LayerNorm of two values is ±1.
    assert_eq!(t.vector.row(2), [-1.0, 1.0]);
    assert_eq!(t.vector.row(3), [0.0, 0.0]);
}

#[test]
fn histograms_count_every_token_once_on_each_scale() {
    let (all, want) = rows(&params());
    let mut h = Histograms::default();
    h.add(&all.histograms);
    h.add(&all.histograms);
    let t = h.table();
    let count = |site: &str, kind: &str, scale: &str| -> u64 {
        (0..t.rows())
            .filter(|&i| (&*t.site[i], &*t.kind[i], &*t.scale[i]) == (site, kind, scale))
            .map(|i| t.tokens[i])
            .sum()
    };
    for scale in ["log", "linear"] {
        assert_eq!(count("block_0", "patch", scale), 8);
        assert_eq!(count("block_0", "register_0", scale), 2);
        assert_eq!(count("block_0", "cls", scale), 2);
        assert_eq!((count("patch_embed", "patch", scale), count("patch_embed", "cls", scale)), (8, 0));
    }
    for i in 0..t.rows() {
        assert!(t.low[i] < t.high[i]);
    }
    assert!(want.norms.contains(&Site::Final) && want.norms.contains(&Site::Key(0)));
}

/// Breaks when a place is counted at another, when heads are summed instead of averaged, when a prefix token is taken for
/// a patch, or when images of two grids share a sum.
#[test]
fn grids_sum_images_place_by_place() {
    let (all, want) = rows(&params());
    // The middle of 2×2 is its last patch.
    assert_eq!(want.queries, [0, 1, 5]);
    assert!(want.full.contains(&Site::AttentionRows(0)));
    let mut sums = GridSums::default();
    sums.add(&all.places);
    sums.add(&all.places);
    let t = sums.table(&params());
    let of = |quantity: &str, of: &str| -> Vec<f64> {
        (0..t.rows()).filter(|&i| (&*t.quantity[i], &*t.of[i]) == (quantity, of)).map(|i| t.sum[i]).collect()
    };
    assert_eq!(of("outlier", "patch"), [0.0, 0.0, 2.0, 0.0]);
    assert_eq!(of("norm", "patch"), [2.0, 4.0, 100.0, 6.0]);
    assert_eq!(of("attention", "cls"), [0.25, 0.5, 0.5, 0.0]);
    assert_eq!(of("attention", "register_0"), [1.0, 0.0, 0.0, 0.0]);
    assert_eq!(of("attention", "patch"), [0.5, 0.0, 0.0, 1.5]);
    assert!(t.images.iter().all(|&n| n == 2) && t.rows() == 20);
    let sites: std::collections::BTreeSet<(&str, &str)> =
        (0..t.rows()).map(|i| (&*t.quantity[i], &*t.site[i])).collect();
    assert_eq!(sites, [("attention", "attention_0"), ("norm", "block_0"), ("outlier", "block_0")].into());
    assert_eq!((t.row[3], t.col[3], t.grid_h[3], t.grid_w[3]), (1, 1, 2, 2));
}

#[test]
fn a_shard_sums_a_bounded_number_of_grids() {
    let mut sums = GridSums::default();
    let lone = |w: u16| Places::of((1, w), vec![0.5; usize::from(w)]);
    for w in (1..=70).chain([1]) {
        sums.add(&lone(w));
    }
    let t = sums.table(&params());
    assert_eq!(t.grid_w.iter().collect::<std::collections::BTreeSet<_>>().len(), 64);
    // A grid that is known goes on.
    assert_eq!((t.sum[0], t.images[0]), (1.0, 2));
}

#[test]
fn bins_of_an_image_are_those_of_its_tokens_one_by_one() {
    // Zero, tiny, equal, on an edge, and so large that no array of bins would hold them.
    let norms = [0.0, 1e-30, 1e-6, 9.99, 10.0, 10.0, 150.0, 150.5, 3e9, 1e30, f32::MAX];
    let mut trace = trace();
    let layout = Layout { registers: 1, grid_h: 3, grid_w: 3 };
    (trace.layout, trace.norms) = (layout, BTreeMap::from([(Site::Block(0), norms.to_vec())]));
    let (params, manifest, prepared) = (params(), Manifest::default(), prepared());
    let final_norm = final_norm();
    let encoded = Encoded { index: 0, prepared: &prepared, pass: trace };
    let view = View::new(&params, &manifest, &final_norm, None, &encoded).unwrap();
    let mut rows = Rows::default();
    super::histograms::tap(&params).unwrap().rows(&view, &mut rows);
    let mut h = Histograms::default();
    h.add(&rows.histograms);
    let t = h.table();
    let mut naive: BTreeMap<(&str, &str, i32), u64> = BTreeMap::new();
    for (n, norm) in norms.iter().enumerate() {
        let kind = ["cls", "register_0", "patch"][n.min(2)];
        let log = (norm.max(1e-6).log10() * 40.0).floor() as i32;
        for (scale, bin) in [("log", log), ("linear", norm.floor() as i32)] {
            *naive.entry((kind, scale, bin)).or_default() += 1;
        }
    }
    let found: BTreeMap<_, _> = (0..t.rows()).map(|i| ((&*t.kind[i], &*t.scale[i], t.bin[i]), t.tokens[i])).collect();
    assert_eq!(found, naive);
    assert_eq!(t.rows(), naive.len(), "a bin has one row");
}

#[test]
fn cosines_of_long_vectors_keep_the_tolerance() {
    // 37 values: four whole lanes of eight and a rest.
    let value = |p: usize, i: usize| ((p * 37 + i) as f32 * 0.7).sin() * 100.0 + 30.0;
    let data: Vec<f32> = (0..2).flat_map(|p| (0..37).map(move |i| value(p, i))).collect();
    let exact = |p: usize, q: usize| (0..37).map(|i| f64::from(value(p, i)) * f64::from(value(q, i))).sum::<f64>();
    let expected = exact(0, 1) / (exact(0, 0) * exact(1, 1)).sqrt();
    for cosine in neighbour_cosine(&SiteData { shape: vec![2, 37], data }, 0, (1, 2), false) {
        assert!((f64::from(cosine) - expected).abs() < 1e-6, "{cosine} {expected}");
    }
}

#[test]
fn pictures_are_what_the_model_saw() {
    let t = rows(&params()).0.pictures;
    assert_eq!((t.width_px[0], t.height_px[0], t.rgb[0].len()), (4, 4, 48));
    assert_eq!(t.rgb[0][..9], [0, 0, 0, 255, 255, 255, 128, 128, 128]);
    assert_eq!(rows(&ExtractParams { pictures: 0, ..params() }).0.pictures.rows(), 0);
}

#[test]
fn an_image_knows_its_name_class_and_size() {
    let t = rows(&params()).0.images;
    assert_eq!((&*t.name[0], t.label[0], t.class[0].as_deref()), ("a", Some(1), Some("dog")));
    assert_eq!((t.height_px[0], t.width_px[0], t.grid_h[0], t.grid_w[0]), (40, 50, 2, 2));
}

#[test]
fn a_norm_that_is_no_number_skips_the_image() {
    let (params, manifest) = (params(), Manifest::default());
    let final_norm = final_norm();
    let prepared = prepared();
    let mut trace = trace();
    trace.norms.get_mut(&Site::Block(0)).unwrap()[3] = f32::NAN;
    let encoded = Encoded { index: 0, prepared: &prepared, pass: trace };
    let skip = View::new(&params, &manifest, &final_norm, None, &encoded).err().unwrap();
    assert_eq!(skip.reason, "non-finite output");
}
