//! `reports` draws Figures 11 and 12 of the paper without a model, so it has formulae of its own that `vit` runs: here
//! both say the same.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use reports::Study;
use reports::figures::{fig11, fig12};
use reports::tables::Context;
use schemas::Frame;
use schemas::frame::Value;
use vit::{Interpolation, PosEmbed, VitConfig};

/// The rows of a figure as (texts, numbers), each in the order of its columns.
fn rows(data: &Frame) -> Vec<(Vec<String>, Vec<f64>)> {
    let row = |i| {
        let (mut texts, mut numbers) = (vec![], vec![]);
        for value in data.row(i) {
            match value {
                Value::Text(text) => texts.push(text.to_string()),
                Value::Number(x) => numbers.push(x.unwrap()),
                Value::Count(n) => numbers.push(n.unwrap() as f64),
                Value::List(_) => panic!("no list is drawn"),
            }
        }
        (texts, numbers)
    };
    (0..data.rows()).map(row).collect()
}

/// Breaks when either counts a product or a tensor that the other does not, for any size, patch, image or number of
/// registers that the figure shows.
#[test]
fn figure_12_costs_what_the_model_costs() {
    let study = Study::default();
    let figure = fig12::build(&Context::read(&study).unwrap()).unwrap().unwrap();
    let shown = rows(&figure.data);
    assert_eq!(shown.len(), 4 * 4 * 6, "four sizes, four inputs, six numbers of registers");
    let cost = |size: &str, [patch_px, side_px, registers]: [usize; 3]| {
        let zoo = vit::zoo::find(&format!("dinov2_{}14", size.replace("ViT-", "vit").to_lowercase())).unwrap().config;
        let pos = PosEmbed { grid: side_px / patch_px, ..zoo.pos };
        let config = VitConfig { patch_px, registers, pos, ..zoo };
        let side_px = side_px / patch_px * patch_px;
        let cost = vit::flops::cost(&config, side_px, side_px).unwrap();
        // The checkpoints hold a mask token, which no pass uses.
        (cost.macs() as f64, (cost.parameters + config.width as u64) as f64)
    };
    for (texts, numbers) in shown {
        let [patch_px, side_px, registers, macs, macs_percent, parameters, parameters_percent] = numbers[..] else {
            panic!("{numbers:?}")
        };
        let at = |registers: f64| cost(&texts[0], [patch_px, side_px, registers].map(|x| x as usize));
        let ((none, least), found) = (at(0.0), at(registers));
        assert_eq!((macs, parameters), found, "{texts:?} {numbers:?}");
        for (percent, more, less) in [(macs_percent, macs, none), (parameters_percent, parameters, least)] {
            assert!((percent - 100.0 * (more / less - 1.0)).abs() < 1e-9, "{texts:?} {numbers:?}");
        }
    }
}

/// Breaks when a kernel, its border or its step differs from the one that positions are resized by.
#[test]
fn figure_11_has_the_gradients_of_the_resize() {
    let study = Study::default();
    let figure = fig11::build(&Context::read(&study).unwrap()).unwrap().unwrap();
    let shown = rows(&figure.data);
    let rules =
        [("plain", Interpolation::Bicubic), ("offset", Interpolation::Offset), ("antialias", Interpolation::Antialias)];
    assert_eq!(shown.len(), rules.len() * 16 * 16);
    for (name, rule) in rules {
        let sums = vit::pos_embed::gradient(rule, 16, 7);
        let mut places = 0;
        for (_, numbers) in shown.iter().filter(|(texts, _)| texts[0] == name) {
            let [row, col, gradient, row_sum, col_sum] = numbers[..] else { panic!("{numbers:?}") };
            let (a, b) = (sums[row as usize], sums[col as usize]);
            for (found, wanted) in [(row_sum, a), (col_sum, b), (gradient, a * b)] {
                assert!((found - wanted).abs() < 1e-12, "{name} {row} {col}: {found}, not {wanted}");
            }
            places += 1;
        }
        assert_eq!(places, 16 * 16, "{name}");
    }
}
