//! Every family and naming against its reference implementation, at every site (tests/golden/README.md).
//!
//! A tiny checkpoint is loaded as a user's would be, and both executors are compared with what timm, transformers or
//! `OpenCLIP` computed from it. A wrong epsilon, activation, token order, interpolation rule, head split or key map
//! moves some site by far more than the tolerance.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a test fails by panicking, and says when it skips")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use safetensors::SafeTensors;
use vit::candle::CandleVit;
use vit::cpu::CpuVit;
use vit::weights::load;
use vit::zoo::{self, InputSpec, ModelSpec};
use vit::{
    Activation, DeviceChoice, Encoder, Interpolation, Mlp, Pixels, PosEmbed, Precision, Request, Site, SiteData,
    VitConfig, WeightSource, Weights,
};

const TOLERANCE: f32 = 1e-4;

/// Width 24, 2 blocks, 3 heads, patches of 4 px on a 4x4 grid, as `tests/golden/generate.py` builds them.
fn tiny() -> VitConfig {
    VitConfig {
        depth: 2,
        width: 24,
        heads: 3,
        patch_px: 4,
        mlp: Mlp { hidden: 48, activation: Activation::Gelu },
        ln_eps: 1e-6,
        layer_scale: false,
        ln_pre: false,
        patch_bias: true,
        registers: 0,
        pos: PosEmbed { grid: 4, cls_slot: true, interpolation: Interpolation::Bicubic },
    }
}

fn dinov2(registers: usize, activation: Activation) -> VitConfig {
    VitConfig { layer_scale: true, registers, mlp: Mlp { activation, ..tiny().mlp }, ..tiny() }
}

fn deit3() -> VitConfig {
    VitConfig { layer_scale: true, pos: PosEmbed { cls_slot: false, ..tiny().pos }, ..tiny() }
}

fn clip(activation: Activation) -> VitConfig {
    let mlp = Mlp { activation, ..tiny().mlp };
    VitConfig { ln_eps: 1e-5, ln_pre: true, patch_bias: false, mlp, ..tiny() }
}

struct Case {
    file: &'static str,
    config: VitConfig,
    interpolation: Interpolation,
    naming: &'static str,
    leftover: &'static [&'static str],
}

fn cases() -> Vec<Case> {
    use Activation::{Gelu, QuickGelu, SwiGlu};
    use Interpolation::{Antialias, Bicubic, Offset};
    let case = |file, config, interpolation, naming, leftover| Case { file, config, interpolation, naming, leftover };
    // The text tower of OpenCLIP, without a prefix of its own.
    let open_clip_text: &[&str] = &[
        "ln_final (2 tensors)",
        "logit_scale",
        "positional_embedding",
        "text_projection",
        "token_embedding.weight",
        "transformer (12 tensors)",
        "visual.proj",
    ];
    vec![
        // timm calls these official names too, where nothing of its own is in them.
        case("timm_dinov2.safetensors", dinov2(0, Gelu), Antialias, "official", &[]),
        case("timm_dinov2_reg4.safetensors", dinov2(4, Gelu), Antialias, "timm", &[]),
        case("timm_dinov2_swiglu.safetensors", dinov2(0, SwiGlu), Antialias, "official", &[]),
        case("timm_deit3.safetensors", deit3(), Antialias, "official", &["head (2 tensors)"]),
        case("timm_dino.safetensors", tiny(), Antialias, "official", &["head (2 tensors)"]),
        case("timm_clip.safetensors", clip(Gelu), Antialias, "timm", &["head (2 tensors)"]),
        case("timm_clip_quickgelu.safetensors", clip(QuickGelu), Antialias, "timm", &["head (2 tensors)"]),
        case("official_dinov2.pth", dinov2(0, Gelu), Offset, "official", &["dino_head.mlp.0.weight", "mask_token"]),
        case("official_dinov2_reg4.pth", dinov2(4, Gelu), Antialias, "official", &["mask_token"]),
        case("official_dinov2_swiglu.pth", dinov2(0, SwiGlu), Offset, "official", &[]),
        case("official_deit3.pth", deit3(), Bicubic, "official", &["head (2 tensors)", "epoch"]),
        case("official_dino.pth", tiny(), Offset, "official", &["head.mlp.0.weight", "student", "optimizer", "epoch"]),
        case(
            "official_mae.pth",
            tiny(),
            Bicubic,
            "official",
            &["decoder_embed.weight", "decoder_norm.bias", "mask_token"],
        ),
        case(
            "hf_dinov2.safetensors",
            dinov2(0, Gelu),
            Bicubic,
            "Hugging Face DINOv2",
            &["classifier (2 tensors)", "dinov2.embeddings.mask_token"],
        ),
        case(
            "hf_dinov2_swiglu.safetensors",
            dinov2(0, SwiGlu),
            Bicubic,
            "Hugging Face DINOv2",
            &["embeddings.mask_token"],
        ),
        case(
            "hf_dinov2_reg4.safetensors",
            dinov2(4, Gelu),
            Antialias,
            "Hugging Face DINOv2",
            &["embeddings.mask_token"],
        ),
        case("hf_vit.safetensors", tiny(), Bicubic, "Hugging Face ViT", &["pooler (2 tensors)"]),
        case("hf_vit_mae.safetensors", tiny(), Bicubic, "Hugging Face ViT", &["decoder (24 tensors)"]),
        case(
            "hf_clip.safetensors",
            clip(QuickGelu),
            Bicubic,
            "Hugging Face CLIP",
            &["logit_scale", "text_model (20 tensors)", "text_projection.weight", "visual_projection.weight"],
        ),
        case("open_clip.safetensors", clip(Gelu), Antialias, "OpenCLIP", open_clip_text),
        case("open_clip_quickgelu.pth", clip(QuickGelu), Antialias, "OpenCLIP", open_clip_text),
    ]
}

/// Relative Frobenius distances allowed to bf16: residual stream; queries, keys and values; attention.
const BF16_TOLERANCES: [f64; 3] = [0.006, 0.006, 0.012];

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("golden/fixtures")
}

impl Case {
    fn load(&self) -> Weights {
        let input = InputSpec { resize_px: 16, crop_px: 16, bicubic: true, mean: [0.0; 3], std: [1.0; 3] };
        let spec = ModelSpec::custom(self.file, self.config.clone(), input).with_interpolation(self.interpolation);
        load(&spec, &WeightSource::Path(fixtures().join(self.file)), &|_, _| {}).unwrap()
    }

    /// Site name → array, by `HxW`.
    fn expected(&self) -> BTreeMap<String, BTreeMap<String, SiteData>> {
        let stem = self.file.split('.').next().unwrap();
        let bytes = std::fs::read(fixtures().join(format!("{stem}.expected.safetensors"))).unwrap();
        let mut sizes: BTreeMap<String, BTreeMap<String, SiteData>> = BTreeMap::new();
        for (name, view) in SafeTensors::deserialize(&bytes).unwrap().tensors() {
            let (size, site) = name.split_once('/').unwrap();
            let data = view.data().as_chunks().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect();
            let array = SiteData { shape: view.shape().to_vec(), data };
            sizes.entry(size.to_owned()).or_default().insert(site.to_owned(), array);
        }
        sizes
    }
}

fn pixels(array: &SiteData) -> Pixels {
    Pixels { height: array.shape[1], width: array.shape[2], data: array.data.clone() }
}

fn executors(weights: &Weights) -> Vec<(&'static str, Box<dyn Encoder>)> {
    let (config, params) = (&weights.config, &weights.params);
    vec![
        ("cpu", Box::new(CpuVit::new(config, params).unwrap())),
        ("candle", Box::new(CandleVit::new(config, params, &DeviceChoice::Cpu(None), Precision::F32).unwrap())),
    ]
}

/// Largest absolute difference; infinite where the shapes differ or a value is NaN.
fn distance(ours: &SiteData, reference: &SiteData) -> f32 {
    if ours.shape != reference.shape {
        return f32::INFINITY;
    }
    let gap = |(a, b): (&f32, &f32)| if (a - b).is_nan() { f32::INFINITY } else { (a - b).abs() };
    ours.data.iter().zip(&reference.data).map(gap).fold(0.0, f32::max)
}

/// Every site of every size of a fixture, ours and the reference's.
fn compared(case: &Case, vit: &dyn Encoder, mut with: impl FnMut(&str, Site, &SiteData, &SiteData)) {
    for (size, sites) in case.expected() {
        let want = Request { full: Site::all(case.config.depth).into_iter().collect(), ..Request::default() };
        let trace = vit.encode(&[&pixels(&sites["pixels"])], &want).unwrap().remove(0);
        for (&site, ours) in &trace.full {
            if let Site::ClsAttention(i) = site {
                let tokens = trace.layout.tokens();
                let whole = &sites[&Site::Attention(i).to_string()].data;
                let rows = whole.chunks(tokens * tokens).flat_map(|head| head[..tokens].to_vec());
                let row = SiteData { shape: vec![case.config.heads, tokens], data: rows.collect() };
                with(&size, site, ours, &row);
            } else {
                with(&size, site, ours, &sites[&site.to_string()]);
            }
        }
    }
}

#[test]
fn every_family_and_naming_equals_its_reference_at_every_site() {
    let mut wrong = Vec::new();
    for case in cases() {
        let weights = case.load();
        for (executor, vit) in executors(&weights) {
            compared(&case, &*vit, |size, site, ours, reference| {
                let far = distance(ours, reference);
                if far > TOLERANCE {
                    wrong.push(format!("{} {executor} {size} {site}: {far}", case.file));
                }
            });
        }
    }
    assert!(wrong.is_empty(), "max abs diff above {TOLERANCE}:\n{}", wrong.join("\n"));
}

/// Frobenius norm of the difference over that of the reference.
fn relative(ours: &SiteData, reference: &SiteData) -> f64 {
    let square = |values: &mut dyn Iterator<Item = f32>| values.map(|v| f64::from(v).powi(2)).sum::<f64>().sqrt();
    let off = square(&mut ours.data.iter().zip(&reference.data).map(|(a, b)| a - b));
    off / square(&mut reference.data.iter().copied())
}

/// The table of docs/precision.md, which `--nocapture` prints: bf16 against the f32 references.
#[test]
fn bf16_stays_near_every_reference() {
    let mut lines = vec!["| fixture | residual stream | queries, keys, values | attention |".to_owned()];
    let mut worst = [0.0f64; 3];
    for case in cases() {
        let weights = case.load();
        let vit = CpuVit::bf16(&weights.config, &weights.params, None).unwrap();
        let mut found = [0.0f64; 3];
        compared(&case, &vit, |_, site, ours, reference| {
            assert_eq!(ours.shape, reference.shape);
            let kind = match site {
                Site::Query(_) | Site::Key(_) | Site::Value(_) => 1,
                Site::Attention(_) | Site::ClsAttention(_) => 2,
                _ => 0,
            };
            found[kind] = found[kind].max(relative(ours, reference));
        });
        let cells = found.map(|v| format!("{v:.4}"));
        lines.push(format!("| {} | {} |", case.file, cells.join(" | ")));
        worst = [0, 1, 2].map(|i| worst[i].max(found[i]));
    }
    println!("{}", lines.join("\n"));
    for (found, most) in worst.into_iter().zip(BF16_TOLERANCES) {
        // Something must have been rounded at all.
        assert!((1e-4..=most).contains(&found), "{}", lines.join("\n"));
    }
}

/// Breaks when a fixture loses a site or a size: then the test above would compare less, silently.
#[test]
fn every_fixture_has_every_site_at_two_sizes_one_oblong() {
    for case in cases() {
        let sizes = case.expected();
        let names = |site: Site| (!matches!(site, Site::ClsAttention(_))).then(|| site.to_string());
        let mut all: BTreeSet<String> = Site::all(case.config.depth).into_iter().filter_map(names).collect();
        all.insert("pixels".to_owned());
        for (size, sites) in &sizes {
            assert_eq!(sites.keys().cloned().collect::<BTreeSet<_>>(), all, "{} {size}", case.file);
        }
        // OpenCLIP itself refuses oblong images; timm's CLIP stands in for it.
        let other = if case.file.starts_with("open_clip") { "24x24" } else { "12x20" };
        assert!(sizes.contains_key("16x16") && sizes.contains_key(other), "{}", case.file);
    }
    assert_eq!(std::fs::read_dir(fixtures()).unwrap().count(), 2 * cases().len(), "a fixture without a case");
}

#[test]
fn namings_are_recognised_and_leftovers_named() {
    for case in cases() {
        let weights = case.load();
        assert_eq!(weights.naming, case.naming, "{}", case.file);
        assert_eq!(weights.leftover, case.leftover, "{}", case.file);
        assert_eq!(weights.config.pos.interpolation, case.interpolation, "{}", case.file);
    }
}

/// The tolerance can fail: each switch that a family differs by moves some site beyond it.
#[test]
fn each_switch_matters() {
    let case = cases().into_iter().find(|case| case.file == "official_dinov2.pth").unwrap();
    let weights = case.load();
    let sizes = case.expected();
    let far = |edit: &dyn Fn(&mut VitConfig), size: &str| {
        let mut config = weights.config.clone();
        edit(&mut config);
        let want = Request { full: BTreeSet::from([Site::Final]), ..Request::default() };
        let vit = CpuVit::new(&config, &weights.params).unwrap();
        let trace = vit.encode(&[&pixels(&sizes[size]["pixels"])], &want).unwrap().remove(0);
        distance(&trace.full[&Site::Final], &sizes[size]["final"])
    };
    assert!(far(&|_| (), "12x20") <= TOLERANCE);
    assert!(far(&|c| c.heads = 4, "16x16") > TOLERANCE);
    assert!(far(&|c| c.ln_eps = 1e-3, "16x16") > TOLERANCE);
    assert!(far(&|c| c.mlp.activation = Activation::QuickGelu, "16x16") > TOLERANCE);
    assert!(far(&|c| c.pos.interpolation = Interpolation::Bicubic, "12x20") > TOLERANCE);
    assert!(far(&|c| c.pos.interpolation = Interpolation::Antialias, "12x20") > TOLERANCE);
    // As many patches as the training grid, yet another grid.
    assert!(far(&|c| c.pos.interpolation = Interpolation::Bicubic, "8x32") > TOLERANCE);
}

/// A published ViT-S/14 under the official names; its encoder has this many values.
#[test]
fn real_weights_load_whole() {
    let Some(folder) = std::env::var_os("VITALS_REAL") else {
        println!("skipped: VITALS_REAL is not set");
        return;
    };
    let path = PathBuf::from(folder).join("weights/dinov2_vits14_imgfocus.safetensors");
    let spec = zoo::find("dinov2_vits14").unwrap();
    let weights = load(&spec, &WeightSource::Path(path.clone()), &|_, _| {}).unwrap();
    assert_eq!(weights.config, spec.config);
    assert_eq!(weights.naming, "official");
    assert_eq!(weights.config.parameters(), 22_056_192);
    let wrong = load(&zoo::find("dinov2_vitb14").unwrap(), &WeightSource::Path(path), &|_, _| {}).unwrap_err();
    assert!(wrong.to_string().contains("fits model dinov2_vits14"), "{wrong}");
}
