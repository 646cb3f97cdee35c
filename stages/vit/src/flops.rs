//! What a model costs: learned values, and multiply-accumulates (MACs) of one image.
//!
//! With T tokens (CLS, registers, N patches), L blocks of width d and hidden width h, patches of p px:
//! `MACs = L·(4Td² + 2T²d + FFN) + 3Np²d`, `FFN = 2Tdh`, or `3Tdh` with a gate. The term `2T²d` is the two products of
//! attention, which grow with the square of T and which some counts leave out; it and the patch projection are held
//! apart. One MAC is two FLOPs.
//! Not counted, as usual: norms, biases, softmax, activations, the resizing of positions.
//!
//! How it is used: `docs/protocols/flops.md`; the same products are what fvcore counts for these models.

use crate::config::{Activation, VitConfig};
use crate::error::VitError;
use crate::executor::{check_config, layout};

/// Exact counts of a model at an image size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cost {
    /// Learned values; the same at every size.
    pub parameters: u64,
    /// MACs of the patch projection, which no register adds to.
    pub patch_macs: u64,
    /// MACs of the blocks' products with weights: queries, keys, values, output, feed-forward. In proportion to T.
    pub linear_macs: u64,
    /// MACs of the products `QKᵀ` and `AV`.
    pub attention_macs: u64,
}

impl Cost {
    /// All MACs.
    pub fn macs(&self) -> u64 {
        self.patch_macs + self.linear_macs + self.attention_macs
    }
}

/// Counts `config` at `height`×`width` px, which must be whole patches.
pub fn cost(config: &VitConfig, height: usize, width: usize) -> Result<Cost, VitError> {
    check_config(config)?;
    let layout = layout(config, height, width)?;
    let [tokens, patches, depth, d, hidden, patch_px] =
        [layout.tokens(), layout.patches(), config.depth, config.width, config.mlp.hidden, config.patch_px]
            .map(|size| size as u128);
    let matrices = match config.mlp.activation {
        Activation::Gelu | Activation::QuickGelu => 2,
        Activation::SwiGlu => 3,
    };
    Ok(Cost {
        parameters: config.parameters() as u64,
        patch_macs: whole(3 * patches * patch_px * patch_px * d),
        linear_macs: whole(depth * tokens * (4 * d * d + matrices * d * hidden)),
        attention_macs: whole(depth * 2 * tokens * tokens * d),
    })
}

/// The number, or the largest there is: nobody waits for either.
fn whole(macs: u128) -> u64 {
    u64::try_from(macs).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;
    use crate::zoo::{all, find};

    fn at(name: &str, registers: usize, side_px: usize) -> Cost {
        cost(&find(name).unwrap().with_registers(registers).config, side_px, side_px).unwrap()
    }

    /// Increase by `registers` registers, %: of all MACs, and of the blocks' products with weights alone.
    fn increase(name: &str, registers: usize, side_px: usize) -> [f64; 2] {
        let (more, less) = (at(name, registers, side_px), at(name, 0, side_px));
        let pairs = [(more.macs(), less.macs()), (more.linear_macs, less.linear_macs)];
        pairs.map(|(more, less)| 100.0 * (more as f64 / less as f64 - 1.0))
    }

    /// Breaks when a factor of the formula, a gate, or the token count is wrong: the counts by hand. Its last
    /// column is R/T, so it leaves out the patch projection too.
    #[test]
    fn registers_cost_what_the_protocol_says() {
        for (name, side_px, with, without) in [
            ("dinov2_vitl14", 224, [0.404, 0.808, 1.617, 3.236, 6.479], 6.23),
            ("dinov2_vitg14", 224, [0.399, 0.799, 1.598, 3.197, 6.400], 6.23),
            ("dinov2_vitb14", 224, [0.408, 0.816, 1.632, 3.266, 6.542], 6.23),
            ("dinov2_vitl14", 518, [0.086, 0.172, 0.345, 0.690, 1.381], 1.17),
            ("deit3_vitb16_224", 224, [0.525, 1.050, 2.101, 4.206, 8.426], 8.12),
        ] {
            for (registers, want) in [1, 2, 4, 8, 16].into_iter().zip(with) {
                let [found, _] = increase(name, registers, side_px);
                assert!((found - want).abs() <= 5.1e-4, "{name}@{side_px}, R = {registers}: {found} is not {want}");
            }
            let [_, found] = increase(name, 16, side_px);
            assert!((found - without).abs() <= 5.1e-3, "{name}@{side_px}: {found} is not {without}");
        }
        assert_eq!((at("dinov2_vitl14", 0, 224).macs() as f64 / 1e7).round(), 8101.0);
        assert_eq!((at("dinov2_vitg14", 0, 224).macs() as f64 / 1e8).round(), 2994.0);
    }

    /// What `torch.utils.flop_counter` (PyTorch 2.15) counts of timm 1.0.31's models of these sizes, attention unfused,
    /// halved. Breaks when a product is forgotten or counted twice.
    #[test]
    fn macs_are_those_that_pytorch_counts() {
        for (name, side_px, counted) in [
            ("dinov2_vitl14", 224, 81_011_982_336),
            ("dinov2_vitl14_reg4", 224, 82_321_784_832),
            ("dinov2_vitg14", 224, 299_390_066_688),
            ("dinov2_vitb14", 518, 151_573_718_016),
            ("deit3_vitb16_224", 224, 17_563_060_224),
            ("deit3_vits16_224", 224, 4_598_498_304),
        ] {
            assert_eq!(cost(&find(name).unwrap().config, side_px, side_px).unwrap().macs(), counted, "{name}");
        }
    }

    /// One block, counted by hand: T = 1 + 2 + 6 tokens. Breaks when patches and tokens, or height and width, are mixed up.
    #[test]
    fn a_model_that_can_be_counted_by_hand() {
        let config = crate::zoo::plain(1, 64, 4, 3, crate::Interpolation::Bicubic);
        let config = VitConfig { registers: 2, ..config };
        let found = cost(&config, 8, 12).unwrap();
        assert_eq!(found.patch_macs, 6 * 48 * 64);
        assert_eq!(found.linear_macs, 9 * (4 * 64 * 64 + 2 * 64 * 256));
        assert_eq!(found.attention_macs, 2 * 9 * 9 * 64);
        let block = 4 * 64 * 64 + 4 * 64 + 2 * 64 * 256 + 256 + 64 + 4 * 64;
        assert_eq!(found.parameters, (48 * 64 + 64) + 64 + 2 * 64 + 10 * 64 + block + 2 * 64);
        assert!(cost(&config, 8, 13).is_err());
        assert!(cost(&VitConfig { patch_px: 0, ..config }, 8, 12).is_err());
    }

    /// A closed form beside the list of tensors, over the whole zoo. Breaks when either forgets a tensor.
    #[test]
    fn parameters_have_a_closed_form() {
        for spec in all().into_iter().chain([find("dinov2_vitl14_reg4").unwrap()]) {
            let c = &spec.config;
            let (d, h) = (c.width, c.mlp.hidden);
            let gate = usize::from(c.mlp.activation == Activation::SwiGlu);
            let block = 4 * d * d
                + 4 * d
                + (2 + gate) * d * h
                + (1 + gate) * h
                + d
                + 4 * d
                + usize::from(c.layer_scale) * 2 * d;
            let ends = 3 * c.patch_px * c.patch_px * d
                + usize::from(c.patch_bias) * d
                + (1 + c.registers) * d
                + (c.pos.grid * c.pos.grid + usize::from(c.pos.cls_slot)) * d
                + usize::from(c.ln_pre) * 2 * d
                + 2 * d;
            assert_eq!(cost(c, 8 * c.patch_px, 8 * c.patch_px).unwrap().parameters, (c.depth * block + ends) as u64);
        }
    }
}
