//! Where in the network a value is read. A site is a name in configs, tables and captions; nobody counts hook indices.
//!
//! Norms are read at [`Site::Block`] outputs, before the final `LayerNorm` (`x_prenorm` of `DINOv2`): the final norm
//! rescales every token to a common length and hides the outliers.

use std::fmt;
use std::str::FromStr;

use crate::error::VitError;

/// A named point of the forward pass. `i` is the zero-based block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Site {
    /// Patch projection with bias, before positions; patch tokens only. `[gh·gw, D]`
    PatchEmbed,
    /// All tokens as they enter the first block (after `ln_pre` where the family has one). `[N, D]`
    WithPosition,
    /// Residual stream after block `i`. `[N, D]`
    Block(u16),
    /// After the final `LayerNorm`. `[N, D]`
    Final,
    /// Queries of block `i`, before the 1/√d scale. `[N, D]`, heads are contiguous chunks
    Query(u16),
    /// Keys of block `i`. `[N, D]`
    Key(u16),
    /// Values of block `i`. `[N, D]`
    Value(u16),
    /// Softmax attention of block `i`. `[heads, N, N]`
    Attention(u16),
    /// The CLS row of [`Site::Attention`]: costs one row instead of a matrix. `[heads, N]`
    ClsAttention(u16),
    /// The rows of [`Site::Attention`] of the tokens in [`Request::queries`](crate::Request::queries), in their order:
    /// costs Q rows instead of a matrix. `[heads, Q, N]`
    AttentionRows(u16),
}

impl fmt::Display for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Site::PatchEmbed => f.write_str("patch_embed"),
            Site::WithPosition => f.write_str("with_position"),
            Site::Block(i) => write!(f, "block_{i}"),
            Site::Final => f.write_str("final"),
            Site::Query(i) => write!(f, "query_{i}"),
            Site::Key(i) => write!(f, "key_{i}"),
            Site::Value(i) => write!(f, "value_{i}"),
            Site::Attention(i) => write!(f, "attention_{i}"),
            Site::ClsAttention(i) => write!(f, "cls_attention_{i}"),
            Site::AttentionRows(i) => write!(f, "attention_rows_{i}"),
        }
    }
}

impl FromStr for Site {
    type Err = VitError;

    fn from_str(text: &str) -> Result<Self, VitError> {
        let unknown = || VitError::UnknownSite(text.to_owned());
        match text {
            "patch_embed" => return Ok(Site::PatchEmbed),
            "with_position" => return Ok(Site::WithPosition),
            "final" => return Ok(Site::Final),
            _ => {}
        }
        let (kind, index) = text.rsplit_once('_').ok_or_else(unknown)?;
        let i: u16 = index.parse().map_err(|_| unknown())?;
        match kind {
            "block" => Ok(Site::Block(i)),
            "query" => Ok(Site::Query(i)),
            "key" => Ok(Site::Key(i)),
            "value" => Ok(Site::Value(i)),
            "attention" => Ok(Site::Attention(i)),
            "cls_attention" => Ok(Site::ClsAttention(i)),
            "attention_rows" => Ok(Site::AttentionRows(i)),
            _ => Err(unknown()),
        }
    }
}

impl Site {
    /// The block that the site belongs to, if it belongs to one.
    pub fn block(self) -> Option<u16> {
        match self {
            Site::PatchEmbed | Site::WithPosition | Site::Final => None,
            Site::Block(i)
            | Site::Query(i)
            | Site::Key(i)
            | Site::Value(i)
            | Site::Attention(i)
            | Site::ClsAttention(i)
            | Site::AttentionRows(i) => Some(i),
        }
    }

    /// Whether it holds tokens, and so has token norms; else it holds attention.
    pub fn has_tokens(self) -> bool {
        !matches!(self, Site::Attention(_) | Site::ClsAttention(_) | Site::AttentionRows(_))
    }

    /// Every site of a model of `depth` blocks that a request needs no tokens for, in the order of the forward pass:
    /// all but [`Site::AttentionRows`].
    pub fn all(depth: usize) -> Vec<Site> {
        let mut sites = vec![Site::PatchEmbed, Site::WithPosition];
        for i in 0..depth as u16 {
            sites.extend([
                Site::Query(i),
                Site::Key(i),
                Site::Value(i),
                Site::Attention(i),
                Site::ClsAttention(i),
                Site::Block(i),
            ]);
        }
        sites.push(Site::Final);
        sites
    }
}
