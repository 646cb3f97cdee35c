//! Multiplications and parameters of a plain vision transformer, counted by hand.
//!
//! With N = (side/p)² patches, T = N + 1 + R tokens, width d, L blocks and hidden width h:
//!
//! ```text
//! MACs       = L·(4Td² + 2T²d + F) + 3Np²d            F = 2Tdh (MLP) or 3Tdh (SwiGLU)
//! parameters = 3p²d + d + d·(N₀ + 1) + 2d + L·(…) + 2d + R·d
//! ```
//!
//! A multiplication with its addition is one MAC, two FLOPs; softmax, norms and biases are not counted, as in fvcore.
//! 4Td² are query, key, value and output projections, 2T²d the two products of attention, 3Np²d the patch embedding.

/// A model by its dimensions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dims {
    /// As printed.
    pub name: &'static str,
    /// Blocks, L.
    pub depth: u64,
    /// Width, d.
    pub width: u64,
    /// Hidden width of the MLP, h.
    pub hidden: u64,
    /// Whether the MLP is gated (three matrices).
    pub swiglu: bool,
}

/// The four sizes of DINOv2.
pub const SIZES: [Dims; 4] = [
    Dims { name: "ViT-S", depth: 12, width: 384, hidden: 1536, swiglu: false },
    Dims { name: "ViT-B", depth: 12, width: 768, hidden: 3072, swiglu: false },
    Dims { name: "ViT-L", depth: 24, width: 1024, hidden: 4096, swiglu: false },
    Dims { name: "ViT-g", depth: 40, width: 1536, hidden: 4096, swiglu: true },
];

impl Dims {
    /// MACs of one image with `registers` registers.
    pub fn macs(&self, patch_px: u64, side_px: u64, registers: u64) -> u64 {
        let patches = (side_px / patch_px).pow(2);
        let (t, d) = (patches + 1 + registers, self.width);
        let mlp = if self.swiglu { 3 } else { 2 } * t * d * self.hidden;
        self.depth * (4 * t * d * d + 2 * t * t * d + mlp) + 3 * patches * patch_px * patch_px * d
    }

    /// Increase of MACs over none, per cent.
    pub fn macs_percent(&self, patch_px: u64, side_px: u64, registers: u64) -> f64 {
        let none = self.macs(patch_px, side_px, 0) as f64;
        100.0 * (self.macs(patch_px, side_px, registers) as f64 / none - 1.0)
    }

    /// Parameters of the encoder as DINOv2 has them: positions of a grid of `grid²`, CLS, mask token, `LayerScale`.
    pub fn parameters(&self, patch_px: u64, grid: u64, registers: u64) -> u64 {
        let (d, h) = (self.width, self.hidden);
        let embed = 3 * patch_px * patch_px * d + d + (grid * grid + 1) * d + 2 * d;
        let attention = 4 * d * d + 4 * d;
        let mlp = if self.swiglu { 3 * d * h + 2 * h + d } else { 2 * d * h + h + d };
        let norms_and_scales = 4 * d + 2 * d;
        embed + self.depth * (attention + mlp + norms_and_scales) + 2 * d + registers * d
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Parameters of the released checkpoints, counted from their tensors.
    #[test]
    fn parameters_are_those_of_the_checkpoints() {
        for (dims, none, four) in [
            (SIZES[0], 22_056_576, 22_058_112),
            (SIZES[1], 86_580_480, 86_583_552),
            (SIZES[2], 304_368_640, 304_372_736),
            (SIZES[3], 1_136_480_768, 1_136_486_912),
        ] {
            assert_eq!(dims.parameters(14, 37, 0), none, "{}", dims.name);
            assert_eq!(dims.parameters(14, 37, 4), four, "{}", dims.name);
        }
    }

    /// The increases of the protocol's table, per cent, to its digits. Breaks when a term is dropped or counted twice.
    #[test]
    fn increases_to_three_digits() {
        let [_, b, l, g] = SIZES;
        let rows: [(Dims, u64, u64, [f64; 5]); 5] = [
            (l, 14, 224, [0.404, 0.808, 1.617, 3.236, 6.479]),
            (g, 14, 224, [0.399, 0.799, 1.598, 3.197, 6.400]),
            (b, 14, 224, [0.408, 0.816, 1.632, 3.266, 6.542]),
            (l, 14, 518, [0.086, 0.172, 0.345, 0.690, 1.381]),
            (b, 16, 224, [0.525, 1.050, 2.101, 4.206, 8.426]),
        ];
        for (dims, patch_px, side_px, wanted) in rows {
            for (registers, wanted) in [1, 2, 4, 8, 16].into_iter().zip(wanted) {
                let found = dims.macs_percent(patch_px, side_px, registers);
                assert!((found - wanted).abs() < 5.1e-4, "{} {patch_px} {side_px} {registers}: {found}", dims.name);
            }
        }
        let giga = |dims: Dims| dims.macs(14, 224, 0) as f64 / 1e9;
        assert!((giga(l) - 81.01).abs() < 0.006 && (giga(g) - 299.4).abs() < 0.06, "{} {}", giga(l), giga(g));
    }
}
