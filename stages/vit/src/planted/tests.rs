//! The planted truths, in closed form, on images whose flat cells are known.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use super::random::Stream;
use super::*;
use crate::cpu::CpuVit;
use crate::site::Site;
use crate::trace::{Encoder, Pixels, Request, Trace};
use crate::weights::expected;

const FLAT: [usize; 5] = [3, 17, 40, 100, 131];

/// A picture of soft background, one striped square, grain everywhere, except that the cells in `flat` have one colour.
fn picture(seed: u64, flat: &[usize]) -> Pixels {
    let mut stream = Stream::new(seed, "picture");
    let colours: Vec<[f64; 3]> = (0..4).map(|_| [0; 3].map(|_| 0.5 + 0.1 * stream.normal().clamp(-2.0, 2.0))).collect();
    let phase = 6.0 * stream.normal();
    let mut data = vec![0.0f32; 3 * IMAGE_PX * IMAGE_PX];
    for y in 0..IMAGE_PX {
        for x in 0..IMAGE_PX {
            let cell = y / PATCH_PX * GRID + x / PATCH_PX;
            let striped = (5..8).contains(&(cell / GRID)) && (4..8).contains(&(cell % GRID));
            let soft = 0.05 * (0.13 * x as f64 + 0.21 * y as f64 + phase).sin();
            let stripes = 0.2 * (std::f64::consts::TAU * (4 * x) as f64 / 16.0 + phase).cos();
            let grain = stream.normal().clamp(-3.0, 3.0);
            let texture = match (flat.contains(&cell), striped) {
                (true, _) => 0.002 * grain,
                (false, true) => stripes + 0.025 * grain,
                (false, false) => soft + 0.025 * grain,
            };
            for c in 0..3 {
                let value = colours[usize::from(cell / GRID > 5) * 2 + usize::from(cell % GRID > 5)][c] + texture;
                data[(c * IMAGE_PX + y) * IMAGE_PX + x] = ((value - 0.5) / 0.5) as f32;
            }
        }
    }
    Pixels { height: IMAGE_PX, width: IMAGE_PX, data }
}

fn run(dials: &Dials, registers: usize, calibration: Option<&PatchStatistics>, image: &Pixels) -> Trace {
    let (config, params) = planted(dials, registers, calibration).unwrap();
    let vit = CpuVit::new(&config, &params).unwrap();
    let blocks = (0..DEPTH as u16).map(Site::Block);
    let full = blocks.clone().chain([Site::Query(2), Site::ClsAttention(7)]).collect();
    vit.encode(&[image], &Request { full, norms: blocks.collect(), ..Request::default() }).unwrap().remove(0)
}

fn patch_norms(trace: &Trace, block: u16) -> &[f32] {
    &trace.norms[&Site::Block(block)][trace.layout.prefix()..]
}

fn median(values: &[f32]) -> f32 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f32::total_cmp);
    sorted[sorted.len() / 2]
}

/// Breaks when any weight reads a channel without the reference, or anything writes to the reference.
#[test]
fn the_mean_cancels_in_every_read() {
    let (config, params) = planted(&Dials::default(), 0, None).unwrap();
    for i in 0..config.depth {
        for (part, rows) in [("attn.qkv", 3 * WIDTH), ("mlp.fc1", config.mlp.hidden)] {
            let weight = params.get(&format!("blocks.{i}.{part}.weight"), &[rows, WIDTH]).unwrap();
            for row in weight.chunks_exact(WIDTH) {
                let (sum, size) = row.iter().fold((0.0, 0.0), |(s, a), w| (s + f64::from(*w), a + f64::from(w.abs())));
                assert!(sum.abs() <= 1e-6 * size, "blocks.{i}.{part}: {sum} of {size}");
            }
        }
    }
    let trace = run(&Dials::default(), 0, None, &picture(1, &FLAT));
    for data in (0..8).map(|i| &trace.full[&Site::Block(i)]) {
        assert!((0..data.shape[0]).all(|n| data.row(n)[channels::ZERO] == 0.0));
    }
    // Queries of block 2 read positions: √32·ρ·x, with ρ of the token as it enters the block.
    let (entering, queries) = (&trace.full[&Site::Block(1)], &trace.full[&Site::Query(2)]);
    for n in 0..trace.layout.tokens() {
        let x = entering.row(n);
        let mean = x.iter().sum::<f32>() / WIDTH as f32;
        let rho = 1.0 / (x.iter().map(|v| (v - mean).powi(2)).sum::<f32>() / WIDTH as f32).sqrt();
        for (dim, channel) in channels::POSITION.enumerate() {
            let want = 32f32.sqrt() * rho * x[channel];
            assert!((queries.row(n)[1 + dim] - want).abs() < 2e-5, "token {n}, channel {channel}");
        }
    }
}

/// Breaks when the detector's threshold moves towards either population, or gives half flags.
#[test]
fn flags_are_the_flat_cells_exactly() {
    for seed in 0..4 {
        let trace = run(&Dials::default(), 0, None, &picture(seed, &FLAT));
        let stream = &trace.full[&Site::Block(1)];
        assert!(stream.row(0)[FLAG].abs() < 1e-4, "CLS is flagged");
        for cell in 0..GRID * GRID {
            let want = f32::from(u8::from(FLAT.contains(&cell)));
            let flag = stream.row(1 + cell)[FLAG];
            assert!((flag - want).abs() < 1e-4, "seed {seed}, cell {cell}: {flag}");
        }
    }
}

/// Norms in closed form: √(2K² + 2 + rest) for ordinary patches, √(2K² + 2n² + rest) with n = 60, 68, 76, 84, 84 for
/// outliers from the onset on. Breaks when the jump, the growth or the onset changes.
#[test]
fn norms_follow_their_closed_form() {
    let trace = run(&Dials::default(), 0, None, &picture(2, &FLAT));
    for block in 0..DEPTH as u16 {
        let norms = patch_norms(&trace, block);
        for (cell, &norm) in norms.iter().enumerate() {
            let outlier = FLAT.contains(&cell) && usize::from(block) >= ONSET;
            if outlier {
                let n = 60.0 + 8.0 * f32::from((block - ONSET as u16).min(3));
                let least = (2.0 * (K * K) as f32 + 2.0 * n * n).sqrt();
                assert!(norm > least - 0.05 && norm < least + 2.0, "block {block}, cell {cell}: {norm}, least {least}");
            } else if !FLAT.contains(&cell) {
                assert!(norm > 11.4 - 0.05 && norm < 13.0, "block {block}, cell {cell}: {norm}");
            }
        }
        let jumped = norms.iter().any(|v| *v > 4.0 * median(norms));
        assert_eq!(jumped, usize::from(block) >= ONSET, "onset at block {block}");
    }
}

#[test]
fn an_image_without_flat_cells_has_no_outlier() {
    let trace = run(&Dials::default(), 0, None, &picture(3, &[]));
    let norms = patch_norms(&trace, 7);
    assert!(norms.iter().all(|v| *v < 1.2 * median(norms)));
}

/// Breaks when the twin keeps a detector, or registers stop carrying the norm.
#[test]
fn the_twin_has_registers_instead_of_outliers() {
    let trace = run(&Dials::default(), 4, None, &picture(2, &FLAT));
    let norms = patch_norms(&trace, 7);
    let typical = median(norms);
    assert!(norms.iter().all(|v| *v < 1.2 * typical));
    let registers = &trace.norms[&Site::Block(7)][1..5];
    assert!(registers.iter().all(|v| *v > 10.0 * typical), "{registers:?}");
    assert!(registers.is_sorted() && registers[3] > 1.03 * registers[0], "steps: {registers:?}");
}

/// Exactly: the CLS rows of two images are equal up to block 3 and differ from block 4. Breaks when the sink leaks.
#[test]
fn cls_knows_nothing_before_it_pools() {
    let (a, b) = (picture(4, &FLAT), picture(5, &[60, 61]));
    let (a, b) = (run(&Dials::default(), 0, None, &a), run(&Dials::default(), 0, None, &b));
    for block in 0..DEPTH as u16 {
        let site = Site::Block(block);
        assert_eq!(a.full[&site].row(0) == b.full[&site].row(0), usize::from(block) <= ONSET, "block {block}");
    }
}

/// Share of `cells` in the CLS attention of the last block, mean of heads, over patches.
fn attention_on(trace: &Trace, cells: &[usize]) -> f32 {
    let attention = &trace.full[&Site::ClsAttention(7)];
    let prefix = trace.layout.prefix();
    let heads = attention.shape[0];
    (0..heads).flat_map(|h| cells.iter().map(move |c| attention.row(h)[prefix + c])).sum::<f32>() / heads as f32
}

/// Breaks when CLS stops looking at outliers, keeps looking in the twin, or the key dial does nothing.
#[test]
fn cls_looks_at_outliers_unless_told_not_to() {
    let image = picture(6, &FLAT);
    let artifact = attention_on(&run(&Dials::default(), 0, None, &image), &FLAT);
    let twin = attention_on(&run(&Dials::default(), 4, None, &image), &FLAT);
    let blind = attention_on(&run(&Dials { key_gain: 0.1, ..Dials::default() }, 0, None, &image), &FLAT);
    assert!(artifact > 0.35 && twin < 0.05 && blind < 0.1, "{artifact} {twin} {blind}");
}

/// Breaks when erasure leaves the position, or its dial does not: an unerased outlier keeps its one-hot code.
#[test]
fn erasure_is_what_removes_the_position() {
    let image = picture(7, &FLAT);
    let code = |dials: &Dials, cell: usize| {
        let trace = run(dials, 0, None, &image);
        let token = trace.full[&Site::Block(3)].row(1 + cell).to_vec();
        (0..GRID).map(|r| token[row(r)]).collect::<Vec<f32>>()
    };
    for &cell in &FLAT {
        let kept = code(&Dials { erasure: 0.0, ..Dials::default() }, cell);
        for (r, v) in kept.iter().enumerate() {
            assert!((v - f32::from(u8::from(r == cell / GRID))).abs() < 1e-4, "{kept:?}");
        }
        let erased = code(&Dials::default(), cell);
        let others = erased.iter().fold(0.0f32, |m, v| m.max(v.abs()));
        assert!(others > 0.1 && erased != kept, "no mask: {erased:?}");
    }
    // Two outliers of one image hold nearly the same mask, whatever their place.
    let (a, b) = (code(&Dials::default(), FLAT[0]), code(&Dials::default(), FLAT[4]));
    let (dot, aa, bb) =
        a.iter().zip(&b).fold((0.0f32, 0.0f32, 0.0f32), |(d, p, q), (x, y)| (d + x * y, p + x * x, q + y * y));
    assert!(dot / (aa * bb).sqrt() > 0.95, "{a:?} {b:?}");
}

/// Precision and recall fall to 1 − d. Breaks when the noise follows texture, or the sparing unit undoes flags.
#[test]
fn detection_noise_makes_outliers_random() {
    let pictures: Vec<Pixels> = (10..34).map(|seed| picture(seed, &FLAT)).collect();
    let statistics = PatchStatistics::from_pixels(&pictures).unwrap();
    let flagged = |d: f64| {
        let dials = Dials { detection_noise: d, ..Dials::default() };
        let (mut right, mut wrong) = (0.0, 0.0);
        for image in &pictures {
            let trace = run(&dials, 0, Some(&statistics), image);
            for (cell, norm) in patch_norms(&trace, 7).iter().enumerate() {
                assert!(*norm < 20.0 || *norm > 80.0, "a half flag: {norm}");
                if *norm > 50.0 {
                    *(if FLAT.contains(&cell) { &mut right } else { &mut wrong }) += 1.0;
                }
            }
        }
        (right / (FLAT.len() * pictures.len()) as f64, wrong / (GRID * GRID * pictures.len()) as f64)
    };
    assert_eq!(flagged(1e-9).0, 1.0);
    let (recall, wrong) = flagged(0.5);
    assert!((recall - 0.5).abs() < 0.3 && (wrong - 0.0175).abs() < 0.008, "{recall} {wrong}");
    let (recall, wrong) = flagged(1.0);
    assert!(recall < 0.2 && (wrong - 0.035).abs() < 0.01, "{recall} {wrong}");
}

/// Breaks when a library, or a change here, moves any planted weight: reports name these models as truth.
#[test]
fn weights_never_change() {
    let digest = |registers: usize, dials: &Dials| {
        let (config, params) = planted(dials, registers, None).unwrap();
        let mut hash = 0xcbf2_9ce4_8422_2325u64;
        let mut all = expected(&config);
        all.sort();
        for (name, shape) in all {
            for v in params.get(&name, &shape).unwrap() {
                hash = (hash ^ u64::from(v.to_bits())).wrapping_mul(0x0100_0000_01b3);
            }
        }
        hash
    };
    let artifact = digest(0, &Dials::default());
    assert_eq!(artifact, digest(0, &Dials::default()));
    assert_ne!(artifact, digest(4, &Dials::default()));
    assert_ne!(artifact, digest(0, &Dials { seed: 1, ..Dials::default() }));
    assert_eq!(artifact, 0x68ca_eac0_47d5_3488, "{artifact:#x}");
}

#[test]
fn dials_out_of_range_are_named() {
    let says = |dials: &Dials, registers: usize, text: &str| {
        let error = planted(dials, registers, None).unwrap_err().to_string();
        assert!(error.contains(text), "{error}");
    };
    says(&Dials { erasure: 1.5, ..Dials::default() }, 0, "erasure is 1.5");
    says(&Dials { gather_decay: f64::NAN, ..Dials::default() }, 0, "gather_decay is NaN");
    says(&Dials { detection_noise: 0.5, ..Dials::default() }, 0, "calibration");
    says(&Dials::default(), 5, "room for 4");
    assert!(PatchStatistics::from_pixels(&[]).is_err());
    assert!(PatchStatistics::from_pixels(&[Pixels { height: 8, width: 8, data: vec![0.0; 192] }]).is_err());
}
