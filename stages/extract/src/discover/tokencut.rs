//! `TokenCut`: the main object as one side of the normalised cut of the graph of patches.
//!
//! With cosines c of the features and a threshold τ, the affinity is 1 where `c_ij` > τ, the diagonal included, and ε elsewhere:
//!
//! ```text
//! (D − A)·x = λ·D·x,  D = diag(Σ_j A_ij)          x: of the second smallest λ
//! side = { i : x_i > mean x },  seed = argmax |x|, the side that holds it          box = that of the seed's part of the side
//! ```
//!
//! x = D^(−½)·u, where u is the eigenvector of `D^(−½)·A·D^(−½)` of the second largest eigenvalue; that of the largest is known,
//! D^½·1. Its products need no second matrix beside the cosines: `A·y = ε·Σy + (1 − ε)·Σ_{c > τ} y`. Where all patches are alike, or none
//! is like another, nothing can be cut and there is no box; the reference returns whatever its solver does.
//!
//! Source: Wang et al., "Self-Supervised Transformers for Unsupervised Object Discovery using Normalized Cut", CVPR 2022;
//! `TokenCut`, `object_discovery.py` (`ncut`, τ = 0.2, ε = 1e-5; keys of the last block, divided by their length).

use super::lanczos::largest_beside;
use super::lost::{Discovery, Gram, part_of};

/// Affinity of patches that are not alike.
const EPS: f64 = 1e-5;

impl Gram {
    /// What the cut finds on a grid of so many columns, of the cosines of the patches. In the result `degrees` are the other
    /// patches above the threshold, `similar` is the size of the side, and `expansion` is x less its mean, above 0 on the side.
    /// None without patches.
    pub fn cut(&self, columns: usize, tau: f32) -> Option<Discovery> {
        let n = self.patches;
        let alike = |i: usize| self.row(i).iter().map(move |&cosine| cosine > tau);
        let above: Vec<usize> = (0..n).map(|i| alike(i).filter(|&a| a).count()).collect();
        let itself = |i: usize| usize::from(self.row(i)[i] > tau);
        let degrees: Vec<u32> = (0..n).map(|i| (above[i] - itself(i)) as u32).collect();
        if above.iter().all(|&count| count == n) || degrees.iter().all(|&degree| degree == 0) {
            return (n > 0).then(|| Discovery { seed: 0, degrees, similar: 0, expansion: vec![0.0; n], area: None });
        }
        let scale: Vec<f64> = above.iter().map(|&k| (k as f64 + EPS * (n - k) as f64).sqrt().recip()).collect();
        let product = |q: &[f64]| {
            let y: Vec<f64> = q.iter().zip(&scale).map(|(q, s)| q * s).collect();
            let all = EPS * y.iter().sum::<f64>();
            let of = |i: usize| all + (1.0 - EPS) * masked(self.row(i), tau, &y);
            (0..n).map(|i| scale[i] * of(i)).collect()
        };
        let second = largest_beside(scale.iter().map(|s| s.recip()).collect(), product);
        let x: Vec<f64> = second.iter().zip(&scale).map(|(u, s)| u * s).collect();
        let mean = x.iter().sum::<f64>() / n as f64;
        // The first of equals.
        let seed = (0..n).fold(0, |best, i| if x[i].abs() > x[best].abs() { i } else { best });
        // Turned over, a value at the mean changes sides: it is on the seed's only then.
        let turned = x[seed] <= mean;
        let side: Vec<bool> = x.iter().map(|&x| (x > mean) != turned).collect();
        let expansion = x.iter().map(|x| if turned { mean - x } else { x - mean }).collect();
        let similar = side.iter().filter(|&&s| s).count();
        Some(Discovery { seed, degrees, similar, expansion, area: part_of(&side, columns, seed) })
    }
}

/// Σ of the values whose cosine is above τ, in eight lanes.
fn masked(cosines: &[f32], tau: f32, values: &[f64]) -> f64 {
    let mut lanes = [0.0; 8];
    for (cosines, values) in cosines.chunks(8).zip(values.chunks(8)) {
        for (lane, (&cosine, &value)) in lanes.iter_mut().zip(cosines.iter().zip(values)) {
            *lane += if cosine > tau { value } else { 0.0 };
        }
    }
    lanes.iter().sum()
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
    use serde_json::Value;

    use super::*;

    const FEATURES: &str = include_str!("../../../../tests/golden/lost/found.json");
    /// `tests/golden/lost/tokencut.py` writes it: scipy's generalised eigenvectors of the same features.
    const CUTS: &str = include_str!("../../../../tests/golden/lost/tokencut.json");

    fn numbers(value: &Value) -> Vec<f64> {
        value.as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect()
    }

    /// Breaks when another eigenvector is taken, its scale by D is left out, the threshold or ε is another, the mean is zero's,
    /// or the wrong side is called the object.
    #[test]
    fn cuts_are_those_of_an_independent_program() {
        let features: Value = serde_json::from_str(FEATURES).unwrap();
        let cuts: Value = serde_json::from_str(CUTS).unwrap();
        let cuts = cuts.as_array().unwrap();
        for cut in cuts {
            let image =
                features["images"].as_array().unwrap().iter().find(|image| image["name"] == cut["name"]).unwrap();
            let whole = |key: &str| image[key].as_u64().unwrap() as usize;
            let values: Vec<f32> = numbers(&image["features"]).into_iter().map(|x| x as f32).collect();
            let gram = Gram::of(&values, whole("width"), true).unwrap();
            let found = gram.cut(whole("columns"), cut["tau"].as_f64().unwrap() as f32).unwrap();
            let area = found.area.unwrap();
            assert_eq!(found.seed as u64, cut["seed"].as_u64().unwrap(), "{}", cut["name"]);
            assert_eq!(found.similar as u64, cut["size"].as_u64().unwrap());
            assert_eq!([area.x0, area.y0, area.x1, area.y1].map(|x| x as f64).to_vec(), numbers(&cut["box"]));
            let most = found.expansion.iter().fold(0.0f64, |most, x| most.max(x.abs()));
            for (ours, theirs) in found.expansion.iter().zip(numbers(&cut["vector"])) {
                assert!((ours / most - theirs).abs() < 1e-6, "{}: {} and {theirs}", cut["name"], ours / most);
            }
        }
        assert!(cuts.len() >= 20);
    }

    /// Two kinds of patches, nine and three. Breaks when the larger side is the object, or a patch counts as alike to itself.
    #[test]
    fn the_smaller_side_is_the_object() {
        let feature = |p: usize| if [0, 1, 6].contains(&p) { [0.0, 1.0] } else { [1.0, 0.0] };
        let features: Vec<f32> = (0..12).flat_map(feature).collect();
        let found = Gram::of(&features, 2, true).unwrap().cut(4, 0.2).unwrap();
        assert!([0, 1, 6].contains(&found.seed) && found.similar == 3, "{found:?}");
        assert_eq!((found.degrees[0], found.degrees[2]), (2, 8));
        // One value for each kind, less the mean of all twelve.
        let (object, background) = (found.expansion[0], found.expansion[2]);
        assert!(object > 0.0 && (object / background + 3.0).abs() < 1e-6, "{object} {background}");
    }

    #[test]
    fn what_cannot_be_cut_has_no_box() {
        let alike = Gram::of(&[1.0; 12], 1, true).unwrap().cut(4, 0.2).unwrap();
        let strangers = Gram::of(&[1.0, 0.0, 0.0, 1.0], 2, true).unwrap().cut(2, 0.2).unwrap();
        assert_eq!((alike.area, alike.degrees[0], strangers.area, strangers.degrees[0]), (None, 11, None, 0));
        assert_eq!(Gram::of(&[], 3, true).unwrap().cut(4, 0.2), None);
    }
}
