//! Chosen attention rows at 952 px (68 × 68 patches of 14 px) in memory that does not grow with the square of the tokens.
//!
//! In a process of its own, for it reads the process's peak.

#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use vit::cpu::CpuVit;
use vit::weights::expected;
use vit::{Before, Editor, Encoder, Layout, Mlp, Params, Pixels, PosEmbed, Request, Site, Then, VitConfig};

/// Side of the grid, patches.
const GRID: usize = 68;
const HEADS: usize = 8;
/// What a pass may add to the peak: 4,625 tokens of 128 values, their hidden layer, a block of scores, and Q rows.
const ALLOWED_BYTES: usize = 128 << 20;

/// Largest resident set of this process so far.
fn peak_bytes() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    1024 * line.trim().trim_end_matches(" kB").parse::<usize>().unwrap()
}

/// Looks at every block's attention and changes nothing.
struct Onlooker;

impl Editor for Onlooker {
    fn before(&self, _: u16) -> Option<Before> {
        Some(Before { attention: true })
    }
    fn edit(&self, _: u16, layout: Layout, _: &mut [f32], attention: Option<&[f32]>) -> Then {
        assert_eq!(attention.unwrap().len(), layout.tokens());
        Then::Execute
    }
}

/// Breaks when an executor on the CPU holds a matrix of all tokens, 685 MB here, to give a few of its rows.
#[test]
fn a_few_rows_of_4625_tokens_cost_no_matrix() {
    let patch_px = 2;
    let deit = vit::zoo::find("deit3_vits16_224").unwrap().config;
    let (mlp, pos) = (Mlp { hidden: 512, ..deit.mlp }, PosEmbed { grid: GRID, ..deit.pos });
    let config = VitConfig { depth: 1, width: 128, heads: HEADS, patch_px, mlp, pos, ..deit };
    let mut params = Params::default();
    for (name, shape) in expected(&config) {
        let count = shape.iter().product();
        params.insert(name, shape, (0..count).map(|i| 0.1 * ((i % 13) as f32 - 6.0)).collect());
    }
    let side = GRID * patch_px;
    let image = Pixels { height: side, width: side, data: (0..3 * side * side).map(|i| (i % 7) as f32).collect() };
    let queries = vec![0, 1, 2312, 4624];
    let want = Request { full: [Site::AttentionRows(0)].into(), queries, ..Request::default() };
    let (plain, rounded) = (CpuVit::new(&config, &params).unwrap(), CpuVit::bf16(&config, &params, None).unwrap());
    let before = peak_bytes();
    let passes = [
        plain.encode(&[&image], &want).unwrap(),
        plain.encode_edited(&[&image], &want, &Onlooker).unwrap(),
        rounded.encode(&[&image], &want).unwrap(),
    ];
    for traces in &passes {
        let rows = &traces[0].full[&Site::AttentionRows(0)];
        assert_eq!(rows.shape, [HEADS, 4, GRID * GRID + 1]);
        assert!((rows.row(31).iter().sum::<f32>() - 1.0).abs() < 1e-3);
    }
    let grown = peak_bytes() - before;
    assert!(grown < ALLOWED_BYTES, "the peak grew by {grown} bytes");
}
