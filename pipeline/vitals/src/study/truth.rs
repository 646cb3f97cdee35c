//! What the planted model's numbers must be, in closed form or by its specification (docs/planted.md).

use extract::{After, Edit, Replace, Select};
use reports::{Expect, Truth};

use super::model::Change;

fn truth(experiment: &str, subject: &str, metric: &str, expected: Expect, source: &str) -> Truth {
    Truth {
        experiment: experiment.into(),
        subject: subject.into(),
        metric: metric.into(),
        expected,
        source: source.into(),
    }
}

/// Truths of the feature maps: detection, onset, norms, attention. Of a changed model: for the changes that the embedded
/// study makes; what another does to the planted weights has no closed form.
pub fn of_maps(registers: usize, change: &Change, images: usize) -> Vec<Truth> {
    match change {
        Change::None if registers > 0 => of_twin(),
        Change::None => of_artifacts(images),
        _ if !is_known(change) => Vec::new(),
        Change::Edit(_) => of_edited(),
        Change::TestTime(..) => of_test_time(),
    }
}

/// Whether a change is one of the embedded study's.
fn is_known(change: &Change) -> bool {
    match change {
        Change::None => true,
        Change::Edit(edit) => {
            let Edit { select, n, replace, then, cls_competes, .. } = edit;
            edit.blocks == [4]
                && (*select, *n, *replace, *then, *cls_competes)
                    == (Select::Norm, 9, Replace::Average, After::Execute, false)
        }
        Change::TestTime(table, trained) => {
            trained.config.registers == 0 && (table.registers, table.neurons, table.blocks.is_empty()) == (1, 8, true)
        }
    }
}

fn clean(why: &str) -> Truth {
    truth("detection", "outlier", "share_frac", Expect::AtMost(0.0), why)
}

fn of_edited() -> Vec<Truth> {
    vec![
        clean("the flag is gone before the norm can grow on"),
        truth("norms", "patch", "max", Expect::AtMost(14.0), "√(2·8² + 2 + content)"),
    ]
}

fn of_test_time() -> Vec<Truth> {
    vec![
        clean("the units that write the norm are silent on patches"),
        truth(
            "norms",
            "register_0",
            "median",
            Expect::Near(85.5, 1.5),
            "√(2·60² + content): the jump moves to the register; the units of growth, which would find it there, \
             take the value of the patches, 0",
        ),
    ]
}

fn of_twin() -> Vec<Truth> {
    vec![
        truth(
            "detection",
            "outlier",
            "share_frac",
            Expect::AtMost(0.0),
            "the twin has no detector: no patch norm leaves the median by more than a tenth",
        ),
        truth("norms", "register_0", "median", Expect::Near(118.9, 2.5), "10.4 × the norm of a patch, √(2·8² + 2·84²)"),
        truth("norms", "patch", "max", Expect::AtMost(14.0), "√(2·8² + 2 + content)"),
        truth("attention", "register", "mass_frac", Expect::Near(0.493, 0.03), "the flag is in the registers' keys"),
    ]
}

/// A scene has up to nine flat patches or none, so the share of few scenes strays: three standard errors are allowed.
const SHARE_ERRORS: f64 = 3.0 * 0.0224;

fn of_artifacts(images: usize) -> Vec<Truth> {
    // In whole ten-thousandths: it is printed.
    let tolerance = (1e4 * SHARE_ERRORS / (images.max(1) as f64).sqrt()).ceil() / 1e4;
    let share = Expect::Near(0.035, tolerance);
    vec![
        truth(
            "detection",
            "outlier",
            "precision_frac",
            Expect::AtLeast(1.0),
            "a patch is flagged if and only if its luminance varies by less than 4e-5",
        ),
        truth(
            "detection",
            "outlier",
            "recall_frac",
            Expect::AtLeast(1.0),
            "a patch is flagged if and only if its luminance varies by less than 4e-5",
        ),
        truth("detection", "outlier", "share_frac", share, "share of flat patches in the scenes"),
        truth("detection", "outlier", "onset_block", Expect::Near(3.0, 0.0), "block 3 writes the norm"),
        truth(
            "detection",
            "outlier",
            "norm_ratio",
            Expect::Near(10.43, 0.15),
            "√(2·8² + 2·84²) / √(2·8² + 2 + content)",
        ),
        truth(
            "attention",
            "outlier",
            "mass_frac",
            Expect::Near(0.55, 0.04),
            "softmax of 5·a·7.45/7.9 + …, in the recipe",
        ),
        truth("attention", "outlier", "argmax_frac", Expect::AtLeast(0.9), "the flag is in the outliers' keys"),
        truth(
            "correspondence",
            "outlier",
            "overlap_frac",
            Expect::AtLeast(0.97),
            "patches of high norm and of high attention are the same: the flag is in the keys of both",
        ),
        truth(
            "detection",
            "outlier",
            "onset_p5_block",
            Expect::Near(3.0, 0.0),
            "in every resample block 3 writes the norm",
        ),
        truth(
            "detection",
            "outlier",
            "onset_p95_block",
            Expect::Near(3.0, 0.0),
            "in every resample block 3 writes the norm",
        ),
    ]
}

/// Truths of discovered boxes: of models that are not changed while they run.
pub fn of_boxes(registers: usize, change: &Change) -> Vec<Truth> {
    let (expected, why) = match (change, registers) {
        (Change::None, 0) => (
            Expect::Near(0.106, 0.045),
            "outliers resemble only each other, so one of them is the seed wherever there is any: 2,000 scenes",
        ),
        (Change::None, _) => (Expect::Near(0.737, 0.06), "no outlier is there to be the seed: 2,000 scenes"),
        _ => return Vec::new(),
    };
    vec![truth("corloc", "raw", "corloc_frac", expected, why)]
}

/// Truths of dense heads of the embedded study: of models that are not changed while they run.
pub fn of_dense(registers: usize, change: &Change, recipe: &str, permuted: bool) -> Vec<Truth> {
    if !matches!(change, Change::None) {
        return Vec::new();
    }
    let twin = registers > 0;
    match (recipe, permuted) {
        ("quick_cells", true) => vec![
            truth(
                "segmentation",
                "class_wall",
                "iou_frac",
                Expect::AtMost(0.02),
                "truths are of other scenes: a wall may be anywhere, so no place is most often wall",
            ),
            truth(
                "segmentation",
                recipe,
                "miou_frac",
                Expect::AtMost(0.5),
                "truths are of other scenes: sky above, ground below is all that a place tells, two classes of four",
            ),
        ],
        ("quick_cells", false) => {
            let why = "each patch knows its own texture, which tells the segments apart";
            let better = "the twin has no patches that have lost their texture";
            let own = truth("segmentation", recipe, "miou_frac", Expect::AtLeast(0.8), why);
            let gain = truth("difference_segmentation", recipe, "miou_frac", Expect::AtLeast(0.0), better);
            [own].into_iter().chain(twin.then_some(gain)).collect()
        }
        ("depth_cells", false) => {
            let why = "blue is 0.2 + 0.55 of the depth; one depth everywhere errs by 0.30";
            let better = "the twin has no patches that have lost their colour";
            let own = truth("depth", recipe, "rmse_m", Expect::AtMost(0.13), why);
            let gain = truth("difference_depth", recipe, "rmse_m", Expect::AtMost(0.0), better);
            [own].into_iter().chain(twin.then_some(gain)).collect()
        }
        _ => Vec::new(),
    }
}

/// Scenes of a class lie close together, so that all of one class may be given the same wrong label: of ten classes as
/// many as two may be right by chance.
const CHANCE_OF_CLUSTERS: Expect = Expect::AtMost(0.2);

/// Truths of the linear classifiers.
pub fn of_linear_eval(change: &Change, permuted: bool) -> Vec<Truth> {
    if !is_known(change) {
        return Vec::new();
    }
    let (expected, why) = if permuted {
        (CHANCE_OF_CLUSTERS, "labels are permuted: ten classes, chance 0.10")
    } else {
        (Expect::AtLeast(0.9), "CLS pools the textures of all patches in block 4")
    };
    vec![truth("linear_eval", "chosen_on_train", "accuracy_frac", expected, why)]
}

/// Truths of the probes.
pub fn of_probes(registers: usize, change: &Change, permuted: bool) -> Vec<Truth> {
    if !is_known(change) {
        return Vec::new();
    }
    let class =
        |subject: &str, expected, source: &str| truth("token_class", subject, "accuracy_frac", expected, source);
    let nearest = |expected, why: &str| truth("knn", "cls", "accuracy_frac", expected, why);
    if permuted {
        let chance = "labels are permuted: ten classes, chance 0.10";
        let changed = !matches!(change, Change::None);
        let subjects: &[&str] = match registers {
            0 if changed => &["cls", "normal"],
            0 => &["cls", "normal", "outlier"],
            _ => &["cls", "normal", "register_0"],
        };
        let own = subjects.iter().map(|s| class(s, Expect::AtMost(0.15), chance));
        return own.chain([nearest(CHANCE_OF_CLUSTERS, chance)]).collect();
    }
    let (placed, why) = match change {
        // An overwritten patch is the same wherever it was. The rest keep their code, but the fit bends to the others.
        Change::Edit(edit) => {
            (Expect::AtMost(1.01 - f64::from(edit.n) / 144.0), "n of 144 patches do not know where they are")
        }
        _ => (Expect::AtLeast(0.95), "the position code of a normal patch is a one-hot"),
    };
    let mut truths = vec![
        class("cls", Expect::AtLeast(0.95), "CLS pools the textures of all patches in block 4"),
        nearest(Expect::AtLeast(0.9), "CLS pools the textures of all patches in block 4"),
        class("normal", Expect::AtMost(0.25), "a normal patch knows its own texture alone"),
        truth("position", "normal", "top1_frac", placed, why),
    ];
    if matches!(change, Change::Edit(_)) {
        // No outlier is left to be probed.
    } else if registers > 0 {
        truths.extend((0..registers).map(|r| {
            class(
                &format!("register_{r}"),
                Expect::AtLeast(0.95),
                "registers gather the textures of all patches in block 2",
            )
        }));
    } else {
        truths.push(class("outlier", Expect::AtLeast(0.85), "outliers gather the textures of all patches in block 2"));
        truths.push(truth(
            "position",
            "outlier",
            "top1_frac",
            Expect::AtMost(0.10),
            "block 2 erases the position code of outliers, block 3 masks what is left",
        ));
    }
    truths
}
