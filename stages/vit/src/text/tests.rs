//! The tokenizer, the text tower and the logits of `open_clip` (`tests/golden/zero_shot`), and what no text may break.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../../../../tests/golden/zero_shot/formula.rs"]
pub(crate) mod formula;

use candle_core::Device;
use proptest::prelude::*;
use serde::Deserialize;

use super::{TextEncoder, Tokenizer, Tower, class_vector};
use crate::candle::CandleText;
use crate::config::{Activation, Interpolation, Mlp, PosEmbed, VitConfig};
use crate::cpu::CpuVit;
use crate::error::VitError;
use crate::executor::DeviceChoice;
use crate::weights::{TextHeader, TextWeights, WeightSource, load};
use crate::zoo::{InputSpec, ModelSpec};
use crate::{Encoder, Pixels, Request, Site};

macro_rules! golden {
    ($name:literal) => {
        include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/golden/zero_shot/", $name))
    };
}
pub(crate) use golden;

/// Longest text of every CLIP model.
const CONTEXT: usize = 77;

#[test]
fn ids_are_those_of_open_clip() {
    #[derive(Deserialize)]
    struct Case {
        text: String,
        ids: Vec<u32>,
    }
    let cases: Vec<Case> = serde_json::from_str(golden!("tokens.json")).unwrap();
    assert!(cases.len() > 300);
    let tokenizer = Tokenizer::new(CONTEXT).unwrap();
    let wrong: Vec<_> = cases
        .iter()
        .filter_map(|case| {
            let found = tokenizer.ids(&case.text).unwrap();
            (found != case.ids).then_some((&case.text, found, &case.ids))
        })
        .collect();
    assert!(wrong.is_empty(), "{} of {}: {wrong:?}", wrong.len(), cases.len());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Breaks when a text can overflow the positions, lose its end, or name an id that has no embedding.
    #[test]
    fn any_text_is_a_start_an_end_and_at_most_77_ids(text in any::<String>(), times in 1..40usize) {
        thread_local!(static TOKENIZER: Tokenizer = Tokenizer::new(CONTEXT).unwrap());
        let ids = TOKENIZER.with(|tokenizer| tokenizer.ids(&text.repeat(times)).unwrap());
        prop_assert!((2..=CONTEXT).contains(&ids.len()));
        prop_assert!(ids[0] == 49406 && ids[ids.len() - 1] == 49407 && ids.iter().all(|id| *id < 49408));
    }
}

#[test]
fn a_context_without_room_is_refused() {
    assert!(matches!(Tokenizer::new(1), Err(VitError::Tokenizer(_))));
    assert_eq!(Tokenizer::new(2).unwrap().ids("a cat").unwrap(), [49406, 49407]);
}

#[derive(Deserialize)]
struct Expected {
    text: Vec<Vec<f32>>,
    image: Vec<Vec<f32>>,
    classes: Vec<Vec<f32>>,
    logits: Vec<Vec<f32>>,
}

#[derive(Deserialize)]
struct Golden {
    prompts: Vec<String>,
    classes: Vec<String>,
    templates: Vec<String>,
    gelu: Expected,
    quick_gelu: Expected,
}

/// The image tower of `generate.py`.
pub(crate) fn image_tower(activation: Activation) -> ModelSpec {
    let config = VitConfig {
        depth: 2,
        width: 64,
        heads: 2,
        patch_px: 4,
        mlp: Mlp { hidden: 128, activation },
        ln_eps: 1e-5,
        layer_scale: false,
        ln_pre: true,
        patch_bias: false,
        registers: 0,
        pos: PosEmbed { grid: 4, cls_slot: true, interpolation: Interpolation::Antialias },
    };
    let input = InputSpec { resize_px: 16, crop_px: 16, bicubic: true, mean: [0.0; 3], std: [1.0; 3] };
    ModelSpec::custom("tiny", config, input)
}

fn unit(x: &[f32]) -> Vec<f64> {
    let length = x.iter().map(|&v| f64::from(v).powi(2)).sum::<f64>().sqrt();
    x.iter().map(|&v| f64::from(v) / length).collect()
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn on_cpu(weights: &TextWeights) -> TextEncoder {
    TextEncoder::new(weights, &DeviceChoice::Cpu(None)).unwrap()
}

fn by_candle(weights: &TextWeights) -> TextEncoder {
    let tower = |config: &_, params: &_| Ok(Tower::Candle(CandleText::on(config, params, &Device::Cpu)?));
    TextEncoder::of(weights, tower).unwrap()
}

#[track_caller]
fn assert_close(what: &str, found: &[Vec<f32>], want: &[Vec<f32>], tolerance: f32) {
    assert_eq!(found.len(), want.len(), "{what}");
    let pairs = || found.iter().flatten().zip(want.iter().flatten());
    assert_eq!(found.concat().len(), want.concat().len(), "{what}");
    let worst = pairs().map(|(f, w)| (f - w).abs()).fold(0.0, f32::max);
    assert!(worst <= tolerance, "{what}: {worst}");
}

/// Breaks with a wrong activation, mask, epsilon, pooled token, order of norm and projection, or a projection that is
/// not turned. One file, written as its code base writes it, is read as both towers.
#[test]
fn texts_images_and_logits_are_those_of_open_clip() {
    let golden: Golden = serde_json::from_str(golden!("expected.json")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let source = WeightSource::Path(formula::write(folder.path(), &formula::names(golden!("tiny.txt"))));
    for (activation, want) in [(Activation::Gelu, &golden.gelu), (Activation::QuickGelu, &golden.quick_gelu)] {
        let weights = TextHeader::read(&source, activation, &|_, _| {}).unwrap().weights().unwrap();
        let encoder = on_cpu(&weights);
        assert_close("texts", &encoder.embed(&golden.prompts).unwrap(), &want.text, 1e-4);
        let by_candle = by_candle(&weights);
        assert_close("texts by candle", &by_candle.embed(&golden.prompts).unwrap(), &want.text, 1e-4);

        let classes: Vec<Vec<f32>> = golden
            .classes
            .iter()
            .map(|class| {
                let prompts: Vec<String> = golden.templates.iter().map(|t| t.replace("{}", class)).collect();
                class_vector(&encoder.embed(&prompts).unwrap()).unwrap()
            })
            .collect();
        assert_close("classes", &classes, &want.classes, 1e-5);

        let vision = load(&image_tower(activation), &source, &|_, _| {}).unwrap();
        let vit = CpuVit::new(&vision.config, &vision.params).unwrap();
        let want_final = Request { full: [Site::Final].into(), ..Request::default() };
        let (projection, d) = (weights.image_projection().unwrap(), vision.config.width);
        let project = |i: usize| -> Vec<f32> {
            let image = Pixels { height: 16, width: 16, data: formula::uniform(&format!("image {i}"), 3 * 16 * 16) };
            let trace = vit.encode(&[&image], &want_final).unwrap().remove(0);
            let cls = trace.full[&Site::Final].row(0);
            projection.chunks(d).map(|row| row.iter().zip(cls).map(|(w, x)| w * x).sum()).collect()
        };
        let images: Vec<Vec<f32>> = (0..want.image.len()).map(project).collect();
        assert_close("images", &images, &want.image, 1e-4);
        let logits: Vec<Vec<f32>> = images
            .iter()
            .map(|image| classes.iter().map(|class| 100.0 * dot(&unit(image), &unit(class)) as f32).collect())
            .collect();
        assert_close("logits", &logits, &want.logits, 1e-4);
    }
}

/// Breaks when texts of one call see each other, or depend on who else is in it.
#[test]
fn a_text_has_one_embedding_in_any_company() {
    let folder = tempfile::tempdir().unwrap();
    let source = WeightSource::Path(formula::write(folder.path(), &formula::names(golden!("tiny.txt"))));
    let weights = TextHeader::read(&source, Activation::Gelu, &|_, _| {}).unwrap().weights().unwrap();
    let texts: Vec<String> = (0..40).map(|i| "cat ".repeat(i % 7) + "dog").collect();
    for encoder in [on_cpu(&weights), by_candle(&weights)] {
        let together = encoder.embed(&texts).unwrap();
        for (text, found) in texts.iter().zip(&together) {
            let alone = encoder.embed(&[text]).unwrap().remove(0);
            assert!(alone.iter().zip(found).all(|(a, b)| (a - b).abs() < 1e-5), "{text}");
        }
        let none: [&str; 0] = [];
        assert!(encoder.embed(&none).unwrap().is_empty());
    }
}

/// Breaks when ids that have no embedding or no position reach a kernel.
#[test]
fn ids_that_the_tower_does_not_have_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let source = WeightSource::Path(formula::write(folder.path(), &formula::names(golden!("tiny.txt"))));
    let weights = TextHeader::read(&source, Activation::Gelu, &|_, _| {}).unwrap().weights().unwrap();
    let (Tower::Cpu(cpu), Tower::Candle(candle)) = (on_cpu(&weights).tower, by_candle(&weights).tower) else {
        panic!("exchanged")
    };
    for ids in [vec![], vec![49408], vec![1; 78]] {
        let texts = [ids];
        assert!(matches!(cpu.embed(&texts), Err(VitError::Text(_))));
        assert!(matches!(candle.embed(&texts), Err(VitError::Text(_))));
    }
    let mut other = weights;
    other.config.vocabulary = 32_000;
    let error = TextEncoder::new(&other, &DeviceChoice::Cpu(None)).err().unwrap();
    assert!(error.to_string().contains("another tokenizer"), "{error}");
}

#[test]
fn a_class_vector_is_the_unit_mean_of_unit_vectors() {
    let half = std::f32::consts::FRAC_1_SQRT_2;
    // Lengths do not count.
    assert_eq!(class_vector(&[vec![9.0, 0.0], vec![0.0, 0.5]]), Some(vec![half, half]));
    assert_eq!(class_vector(&[]), None);
    assert_eq!(class_vector(&[vec![0.0, 0.0]]), None);
    assert_eq!(class_vector(&[vec![1.0, 0.0], vec![-1.0, 0.0]]), None);
    assert_eq!(class_vector(&[vec![f32::NAN, 1.0]]), None);
}
