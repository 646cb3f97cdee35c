//! What the planted model's numbers must be, in closed form or by its specification (docs/planted.md).

use reports::{Expect, Truth};

fn truth(experiment: &str, subject: &str, metric: &str, expected: Expect, source: &str) -> Truth {
    Truth {
        experiment: experiment.into(),
        subject: subject.into(),
        metric: metric.into(),
        expected,
        source: source.into(),
    }
}

/// Truths of the feature maps: detection, onset, norms, attention.
pub fn of_maps(registers: usize) -> Vec<Truth> {
    if registers > 0 {
        return vec![
            truth(
                "detection",
                "outlier",
                "share_frac",
                Expect::AtMost(0.0),
                "the twin has no detector: no patch norm leaves the median by more than a tenth",
            ),
            truth(
                "norms",
                "register_0",
                "median",
                Expect::Near(118.9, 2.5),
                "10.4 × the norm of a patch, √(2·8² + 2·84²)",
            ),
            truth("norms", "patch", "max", Expect::AtMost(14.0), "√(2·8² + 2 + content)"),
            truth(
                "attention",
                "register",
                "mass_frac",
                Expect::Near(0.493, 0.03),
                "the flag is in the registers' keys",
            ),
        ];
    }
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
        truth("detection", "outlier", "share_frac", Expect::Near(0.035, 0.003), "share of flat patches in the scenes"),
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
    ]
}

/// Truths of the probes.
pub fn of_probes(registers: usize, permuted: bool) -> Vec<Truth> {
    let class =
        |subject: &str, expected, source: &str| truth("token_class", subject, "accuracy_frac", expected, source);
    if permuted {
        let chance = "labels are permuted: ten classes, chance 0.10";
        let subjects = if registers > 0 { ["cls", "normal", "register_0"] } else { ["cls", "normal", "outlier"] };
        return subjects.iter().map(|s| class(s, Expect::AtMost(0.15), chance)).collect();
    }
    let mut truths = vec![
        class("cls", Expect::AtLeast(0.95), "CLS pools the textures of all patches in block 4"),
        class("normal", Expect::AtMost(0.25), "a normal patch knows its own texture alone"),
        truth(
            "position",
            "normal",
            "top1_frac",
            Expect::AtLeast(0.95),
            "the position code of a normal patch is a one-hot",
        ),
    ];
    if registers > 0 {
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
