//! Removal of artifacts while a model runs: chosen patches are overwritten before chosen blocks.
//!
//! ```text
//! S = top n patches by norm, by the attention that CLS pays in this block, or by both (the intersection)
//! x_p ← f(old tokens around p)   for every p in S at once, from the tokens as they were
//! ```
//! The study's text takes tokens that lead by norm and by attention and gives them "the minimum value from the immediate
//! neighbourhood", which may mean the smallest value of each channel or the neighbour of the smallest norm: both are
//! here. Its one published program (`remove_artifacts_manually.ipynb`) does something else: the 15 tokens of largest
//! attention in blocks 20 to 23, half of the old value and half of the mean of up to 8 neighbours, CLS competing for the
//! 15 places, and the blocks themselves left out (`docs/protocols/changes.md`). The other rules are controls: what a
//! removal does must be told from what any change does. Source: study §4.2.3; `docs/protocols/changes.md`.

use serde::{Deserialize, Serialize};
use vit::{Before, Editor, Layout, Then};

use crate::params::{ParamsError, check_blocks};

/// Which tokens are changed, how, and where.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Edit {
    /// Blocks before which tokens are changed.
    pub blocks: Vec<u16>,
    /// What a token is chosen by.
    pub select: Select,
    /// Length of each list of leading tokens.
    pub n: u32,
    /// What it becomes.
    pub replace: Replace,
    /// Neighbours that count, where `replace` looks at any: 4 or 8.
    #[serde(default = "eight")]
    pub neighbours: u8,
    /// What becomes of the block.
    #[serde(default)]
    pub then: After,
    /// Whether CLS may take one of the n places; it keeps its value.
    #[serde(default)]
    pub cls_competes: bool,
}

fn eight() -> u8 {
    8
}

/// What tokens are chosen by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Select {
    /// The largest norms.
    Norm,
    /// The most attention from CLS in this block, mean over heads.
    Attention,
    /// In both lists.
    Both,
}

/// What a chosen token becomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Replace {
    /// In each channel the smallest value of its neighbours.
    Min,
    /// The neighbour of the smallest norm.
    MinNorm,
    /// The mean of its neighbours.
    Mean,
    /// Half of itself and half of the mean of its neighbours.
    Half,
    /// Zero.
    Zero,
    /// The mean of all patches that are not chosen.
    Average,
    /// The token at the same place of the dataset's first readable image, which therefore stays as it is. On another
    /// grid: at the same part of its height and width. Not where blocks are left out: the donor's tokens have been
    /// through all of them.
    Donor,
}

/// What becomes of a block whose input was changed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum After {
    /// It runs.
    #[default]
    Execute,
    /// It is left out.
    Skip,
}

impl Edit {
    /// Whether a model of `depth` blocks can be edited so.
    pub fn check(&self, depth: usize) -> Result<(), ParamsError> {
        if self.blocks.is_empty() {
            return Err(ParamsError::Nothing("edit.blocks"));
        }
        if self.n == 0 {
            return Err(ParamsError::Nothing("edit.n"));
        }
        if ![4, 8].contains(&self.neighbours) {
            return Err(ParamsError::Neighbours(self.neighbours));
        }
        if self.replace == Replace::Donor && self.then == After::Skip {
            return Err(ParamsError::SkippedDonor);
        }
        check_blocks("edit.blocks", &self.blocks, depth)
    }

    /// The chosen patches in ascending order; `stream` is `[N, D]`.
    fn chosen(&self, layout: Layout, stream: &[f32], attention: Option<&[f32]>) -> Vec<usize> {
        let d = stream.len() / layout.tokens();
        let norms = || -> Vec<f32> { stream.chunks_exact(d).map(|x| square_norm(x).sqrt() as f32).collect() };
        let by_norm = || self.leading(layout, &norms());
        let by_attention = || attention.map_or_else(Vec::new, |a| self.leading(layout, a));
        let mut chosen = match self.select {
            Select::Norm => by_norm(),
            Select::Attention => by_attention(),
            Select::Both => {
                let other = by_attention();
                by_norm().into_iter().filter(|p| other.contains(p)).collect()
            }
        };
        chosen.sort_unstable();
        chosen
    }

    /// Patches among the n tokens of the largest values, of which the earlier comes first where two are equal.
    fn leading(&self, layout: Layout, values: &[f32]) -> Vec<usize> {
        let prefix = layout.prefix();
        let cls = self.cls_competes.then_some(0);
        let mut tokens: Vec<usize> = cls.into_iter().chain(prefix..layout.tokens()).collect();
        tokens.sort_by(|&a, &b| values[b].total_cmp(&values[a]));
        tokens.truncate(self.n as usize);
        tokens.into_iter().filter_map(|token| token.checked_sub(prefix)).collect()
    }
}

fn square_norm(x: &[f32]) -> f64 {
    x.iter().map(|&v| f64::from(v) * f64::from(v)).sum()
}

/// Tokens of another image before each edited block.
#[derive(Debug, Clone, Default)]
pub(crate) struct Donor {
    /// Patch rows and columns.
    pub grid: (usize, usize),
    /// By block, `[gh·gw, D]`.
    pub patches: std::collections::BTreeMap<u16, Vec<f32>>,
}

/// An edit at work.
pub(crate) struct Removal {
    pub edit: Edit,
    pub donor: Donor,
}

impl Editor for Removal {
    fn before(&self, block: u16) -> Option<Before> {
        self.edit.blocks.contains(&block).then_some(Before { attention: self.edit.select != Select::Norm })
    }

    fn edit(&self, block: u16, layout: Layout, stream: &mut [f32], attention: Option<&[f32]>) -> Then {
        let chosen = self.edit.chosen(layout, stream, attention);
        let d = stream.len() / layout.tokens();
        let patches = &mut stream[layout.prefix() * d..];
        // All at once: a chosen token must not see what another has become.
        let new: Vec<Option<Vec<f32>>> =
            chosen.iter().map(|&p| self.replacement(block, layout, patches, d, p, &chosen)).collect();
        for (p, value) in chosen.into_iter().zip(new) {
            if let Some(value) = value {
                patches[p * d..(p + 1) * d].copy_from_slice(&value);
            }
        }
        match self.edit.then {
            After::Execute => Then::Execute,
            After::Skip => Then::Skip,
        }
    }
}

impl Removal {
    /// What patch `p` becomes; nothing where there is no other token to make it of. `patches` is `[gh·gw, D]`.
    fn replacement(
        &self,
        block: u16,
        layout: Layout,
        patches: &[f32],
        d: usize,
        p: usize,
        chosen: &[usize],
    ) -> Option<Vec<f32>> {
        let row = |p: usize| &patches[p * d..(p + 1) * d];
        let around = neighbours(p, (layout.grid_h, layout.grid_w), self.edit.neighbours);
        match self.edit.replace {
            Replace::Zero => Some(vec![0.0; d]),
            Replace::Min => around.iter().map(|&q| row(q).to_vec()).reduce(|mut least, x| {
                for (l, x) in least.iter_mut().zip(x) {
                    *l = l.min(x);
                }
                least
            }),
            Replace::MinNorm => {
                let least = around.into_iter().min_by(|&a, &b| square_norm(row(a)).total_cmp(&square_norm(row(b))))?;
                Some(row(least).to_vec())
            }
            Replace::Mean => mean(around.iter().map(|&q| row(q)), d),
            Replace::Half => {
                let mean = mean(around.iter().map(|&q| row(q)), d)?;
                Some(row(p).iter().zip(mean).map(|(old, mean)| 0.5 * old + 0.5 * mean).collect())
            }
            Replace::Average => {
                let others = (0..layout.patches()).filter(|q| chosen.binary_search(q).is_err());
                mean(others.map(row), d)
            }
            Replace::Donor => {
                let (h, w) = self.donor.grid;
                let (y, x) = (p / layout.grid_w * h / layout.grid_h, p % layout.grid_w * w / layout.grid_w);
                let from = (y * w + x) * d;
                self.donor.patches.get(&block)?.get(from..from + d).map(<[f32]>::to_vec)
            }
        }
    }
}

/// Mean of some tokens, if there are any.
fn mean<'a>(tokens: impl Iterator<Item = &'a [f32]>, d: usize) -> Option<Vec<f32>> {
    let mut sum = vec![0.0f64; d];
    let mut n = 0u32;
    for token in tokens {
        n += 1;
        for (s, &x) in sum.iter_mut().zip(token) {
            *s += f64::from(x);
        }
    }
    (n > 0).then(|| sum.into_iter().map(|s| (s / f64::from(n)) as f32).collect())
}

/// Patches that share an edge with `p`, or, of 8, an edge or a corner; those that exist, row-major.
fn neighbours(p: usize, (h, w): (usize, usize), count: u8) -> Vec<usize> {
    let (row, col) = (p / w, p % w);
    let near = |at: usize, end: usize| at.saturating_sub(1)..(at + 2).min(end);
    near(row, h)
        .flat_map(|r| near(col, w).map(move |c| (r, c)))
        .filter(|&(r, c)| (r, c) != (row, col) && (count == 8 || r == row || c == col))
        .map(|(r, c)| r * w + c)
        .collect()
}

#[cfg(test)]
mod tests;
