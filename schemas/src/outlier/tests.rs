#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use super::*;

/// SplitMix64 with Box–Muller: enough to draw norms of a known shape.
struct Draws(u64);

impl Draws {
    fn uniform(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    }
    fn normal(&mut self) -> f64 {
        (-2.0 * (1.0 - self.uniform()).ln()).sqrt() * (std::f64::consts::TAU * self.uniform()).cos()
    }
}

/// n norms around `median` with spread `sd` in ln, a share of them multiplied by `ratio` with spread `sd_out`.
fn two_modes(seed: u64, n: usize, share: f64, ratio: f64, sd: f64, sd_out: f64) -> (Vec<f32>, usize) {
    let mut draws = Draws(seed);
    let outliers = (share * n as f64).round() as usize;
    let norms = (0..n)
        .map(|i| {
            let (centre, sd) = if i < outliers { (45.0 * ratio, sd_out) } else { (45.0, sd) };
            (centre * (sd * draws.normal()).exp()) as f32
        })
        .collect();
    (norms, outliers)
}

#[test]
fn valley_separates_a_few_percent_at_three_to_ten_times() {
    for (case, (share, ratio)) in
        [(0.005, 3.0), (0.005, 10.0), (0.01, 4.0), (0.024, 10.0), (0.05, 3.0), (0.05, 10.0), (0.15, 5.0)]
            .into_iter()
            .enumerate()
    {
        for (sd, sd_out) in [(0.02, 0.01), (0.15, 0.1), (0.15, 0.2)] {
            for n in [64 * 144, 50_000] {
                let (norms, outliers) = two_modes(case as u64, n, share, ratio, sd, sd_out);
                let found = valley(&mut norms.clone());
                let cutoff = found.cutoff.unwrap_or_else(|| panic!("{share} at {ratio}x, sd {sd}/{sd_out}, n {n}"));
                let wrong = norms[..outliers].iter().filter(|&&x| x <= cutoff).count()
                    + norms[outliers..].iter().filter(|&&x| x > cutoff).count();
                assert!(wrong as f64 <= 0.02 * outliers as f64, "{wrong} of {outliers} wrong at cut-off {cutoff}");
                assert!(found.depth >= 0.5 && (found.median / 45.0 - 1.0).abs() < 0.05, "{found:?}");
            }
        }
    }
}

#[test]
fn valley_of_an_empty_gap_is_its_geometric_middle() {
    // 970 tokens at 10 and 30 at 1000: any point of the gap separates, and only its middle, 100, is unbiased.
    let mut norms = [vec![10.0; 970], vec![1000.0; 30]].concat();
    let found = valley(&mut norms);
    assert!((found.cutoff.unwrap() - 100.0).abs() < 2.0, "{found:?}");
    assert_eq!((found.depth, found.median), (1.0, 10.0));
}

#[test]
fn one_mode_has_no_valley() {
    let mut draws = Draws(7);
    let mut shapes: Vec<(&str, Vec<f32>)> = Vec::new();
    for n in [2_000, 9_216, 51_200] {
        shapes.push(("normal", (0..n).map(|_| (46.0 + 6.0 * draws.normal()) as f32).collect()));
        for sd in [0.02, 0.15, 0.4, 0.8] {
            shapes.push(("lognormal", (0..n).map(|_| (sd * draws.normal()).exp() as f32).collect()));
        }
        shapes.push(("uniform", (0..n).map(|_| (20.0 + 40.0 * draws.uniform()) as f32).collect()));
        shapes.push(("exponential", (0..n).map(|_| -(1.0 - draws.uniform()).ln() as f32).collect()));
        // Tails of single tokens, deep valleys everywhere.
        shapes.push(("pareto", (0..n).map(|_| (1.0 - draws.uniform()).powf(-0.5) as f32).collect()));
        shapes.push(("cauchy", (0..n).map(|_| (10.0 + (3.0 * (draws.uniform() - 0.5)).tan()).abs() as f32).collect()));
        // Two kinds of image, each half of the tokens: median about 46, p95 about 58, max about 65, as real ViT-S norms.
        shapes.push((
            "two halves",
            (0..n).map(|i| (if i % 2 == 0 { 40.0 } else { 53.0 } + 3.0 * draws.normal()) as f32).collect(),
        ));
        shapes.push(("constant", vec![12.0; n]));
    }
    for (shape, mut norms) in shapes {
        let n = norms.len();
        let found = valley(&mut norms);
        assert_eq!((found.cutoff, found.depth), (None, 0.0), "{shape}, n {n}");
    }
}

#[test]
fn a_majority_or_a_single_token_is_no_second_mode() {
    assert_eq!(valley(&mut [vec![10.0; 600], vec![100.0; 400]].concat()).cutoff, None);
    assert_eq!(valley(&mut [vec![10.0; 9999], vec![100.0; 1]].concat()).cutoff, None);
}

#[test]
fn odd_norms_do_no_harm() {
    assert_eq!(valley(&mut []), Valley { cutoff: None, depth: 0.0, median: 0.0 });
    assert_eq!(valley(&mut [0.0; 500]).cutoff, None);
    let mut odd = [vec![10.0; 950], vec![100.0; 40], vec![0.0; 5], vec![f32::NAN; 3], vec![f32::INFINITY; 2]].concat();
    assert!((valley(&mut odd).cutoff.unwrap() - 31.6).abs() < 1.0);
    let marks = OutlierPolicy::Fixed { cutoff: 1.0 }.mark(&[f32::NAN, 2.0, 1.0], None);
    assert_eq!(marks, [false, true, false]);
}

#[test]
fn nth_largest_is_strict_as_in_the_study() {
    let norms: Vec<f32> = (0..100u8).map(f32::from).collect();
    let marks = OutlierPolicy::NthLargest { n: 10 }.mark(&norms, None);
    assert_eq!(marks.iter().filter(|&&m| m).count(), 9, "nine tokens are greater than the tenth largest");
    assert!(!marks[90] && marks[91]);
    // A tie at the n-th place leaves fewer than n − 1.
    assert_eq!(OutlierPolicy::NthLargest { n: 2 }.mark(&[1.0, 5.0, 5.0], None), [false; 3]);
    assert_eq!(OutlierPolicy::NthLargest { n: 10 }.mark(&[1.0, 2.0], None), [false; 2]);
}

#[test]
fn fractions_cut_at_the_interpolated_quantile() {
    // NumPy: np.quantile(np.arange(1, 101), .95) = 95.05, so 96 … 100.
    let norms: Vec<f32> = (1..=100u8).map(f32::from).collect();
    assert!((quantile_sorted(&norms, 0.95).unwrap() - 95.05).abs() < 1e-4);
    let image = OutlierPolicy::TopFraction { frac: 0.05, over: Scope::Image };
    assert_eq!(image.mark(&norms, Some(0.0)).iter().filter(|&&m| m).count(), 5);
    let all = OutlierPolicy::TopFraction { frac: 0.05, over: Scope::All { images: 4 } };
    let cutoff = all.calibrate(&mut norms.clone()).cutoff;
    assert_eq!(all.mark(&[95.0, 96.0], cutoff), [false, true]);
    assert_eq!((all.calibration_images(), image.calibration_images()), (Some(4), None));
}

#[test]
fn without_a_valley_nothing_is_an_outlier() {
    assert_eq!(OutlierPolicy::Valley { images: 64 }.mark(&[1.0, 1000.0], None), [false, false]);
}

#[test]
fn impossible_parameters_are_refused() {
    for bad in [
        OutlierPolicy::Fixed { cutoff: f32::NAN },
        OutlierPolicy::Fixed { cutoff: 0.0 },
        OutlierPolicy::TopFraction { frac: 1.0, over: Scope::Image },
        OutlierPolicy::TopFraction { frac: 0.1, over: Scope::All { images: 0 } },
        OutlierPolicy::NthLargest { n: 0 },
        OutlierPolicy::Valley { images: 0 },
    ] {
        assert!(bad.check().is_err(), "{bad:?}");
    }
    assert!(OutlierPolicy::Fixed { cutoff: 150.0 }.check().is_ok());
}

#[test]
fn unknown_keys_are_refused() {
    let read = |text: &str| serde_json::from_str::<OutlierPolicy>(text);
    assert_eq!(read(r#"{"rule":"fixed","cutoff":150.0}"#).unwrap(), OutlierPolicy::Fixed { cutoff: 150.0 });
    assert!(read(r#"{"rule":"fixed","cutoff":150.0,"cutof":1}"#).is_err());
    assert!(read(r#"{"rule":"valey","images":3}"#).is_err());
    for policy in [
        OutlierPolicy::Valley { images: 64 },
        OutlierPolicy::TopFraction { frac: 0.05, over: Scope::All { images: 9 } },
    ] {
        assert_eq!(read(&serde_json::to_string(&policy).unwrap()).unwrap(), policy);
    }
}
