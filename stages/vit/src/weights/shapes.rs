//! The tensors that a model is made of, by canonical name and shape.
//!
//! Linear weights are `[out, in]`, as every checkpoint has them; the patch projection is flat, channels first.

use crate::config::VitConfig;

/// Canonical names and shapes of the parameters of `cfg`, in the order of the forward pass.
pub fn expected(cfg: &VitConfig) -> Vec<(String, Vec<usize>)> {
    let d = cfg.width;
    let mut all: Vec<(String, Vec<usize>)> = Vec::new();
    let mut push = |name: String, shape: &[usize]| all.push((name, shape.to_vec()));
    push("patch_embed.weight".to_owned(), &[d, 3 * cfg.patch_px * cfg.patch_px]);
    if cfg.patch_bias {
        push("patch_embed.bias".to_owned(), &[d]);
    }
    push("cls_token".to_owned(), &[d]);
    if cfg.registers > 0 {
        push("register_tokens".to_owned(), &[cfg.registers, d]);
    }
    push("pos_embed".to_owned(), &[cfg.pos.grid * cfg.pos.grid + usize::from(cfg.pos.cls_slot), d]);
    if cfg.ln_pre {
        push("ln_pre.weight".to_owned(), &[d]);
        push("ln_pre.bias".to_owned(), &[d]);
    }
    let (hidden, fc1) = (cfg.mlp.hidden, cfg.mlp.expanded());
    for i in 0..cfg.depth {
        for (name, shape) in [
            ("norm1.weight", &[d][..]),
            ("norm1.bias", &[d]),
            ("attn.qkv.weight", &[3 * d, d]),
            ("attn.qkv.bias", &[3 * d]),
            ("attn.proj.weight", &[d, d]),
            ("attn.proj.bias", &[d]),
            ("ls1", &[d]),
            ("norm2.weight", &[d]),
            ("norm2.bias", &[d]),
            ("mlp.fc1.weight", &[fc1, d]),
            ("mlp.fc1.bias", &[fc1]),
            ("mlp.fc2.weight", &[d, hidden]),
            ("mlp.fc2.bias", &[d]),
            ("ls2", &[d]),
        ] {
            if cfg.layer_scale || !name.starts_with("ls") {
                push(format!("blocks.{i}.{name}"), shape);
            }
        }
    }
    push("norm.weight".to_owned(), &[d]);
    push("norm.bias".to_owned(), &[d]);
    all
}

impl VitConfig {
    /// Number of learned values.
    pub fn parameters(&self) -> usize {
        expected(self).iter().map(|(_, shape)| shape.iter().product::<usize>()).sum()
    }
}
