//! One row of `scores`, and the statistics of several draws.

use schemas::tables::Scores;

/// One number with everything a reader must know about it.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Score {
    pub experiment: String,
    pub subject: String,
    pub site: String,
    pub metric: &'static str,
    /// Neighbours that voted: the end of the metric's name.
    pub k: Option<u32>,
    pub value: Option<f64>,
    pub std: Option<f64>,
    pub stderr: Option<f64>,
    pub n: u64,
    pub draws: u32,
    pub images_without: u32,
    pub c: Option<f64>,
    pub converged: bool,
    pub note: String,
}

impl Score {
    pub(crate) fn push(self, scores: &mut Scores) {
        scores.experiment.push(self.experiment.into());
        scores.subject.push(self.subject.into());
        scores.site.push(self.site.into());
        scores.metric.push(match self.k {
            None => self.metric.into(),
            Some(k) => format!("{}_k{k}", self.metric).into(),
        });
        scores.value.push(self.value.filter(|v| v.is_finite()));
        scores.std.push(self.std);
        scores.stderr.push(self.stderr);
        scores.n.push(self.n);
        scores.draws.push(self.draws);
        scores.images_without.push(self.images_without);
        scores.c.push(self.c);
        scores.converged.push(self.converged);
        scores.note.push(self.note.into());
    }
}

/// Mean of some values; `None` of none.
pub(crate) fn mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

/// Sample standard deviation (n − 1); `None` of fewer than two.
pub(crate) fn sample_std(values: &[f64]) -> Option<f64> {
    let mean = mean(values)?;
    let sum: f64 = values.iter().map(|v| (v - mean).powi(2)).sum();
    (values.len() > 1).then(|| (sum / (values.len() - 1) as f64).sqrt())
}

/// Mean of values that come in clusters (tokens in images), with the standard error that treats clusters as the
/// independent draws: `√Σ_g (Σ_{i∈g} (x_i − x̄))² / n`.
pub(crate) fn clustered_mean<K: Ord>(values: &[f64], clusters: &[K]) -> Option<(f64, f64)> {
    let mean = mean(values)?;
    let mut sums = std::collections::BTreeMap::new();
    for (value, cluster) in values.iter().zip(clusters) {
        *sums.entry(cluster).or_insert(0.0) += value - mean;
    }
    let square: f64 = sums.values().map(|s: &f64| s * s).sum();
    Some((mean, square.sqrt() / values.len() as f64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statistics_are_the_textbooks() {
        assert_eq!(mean(&[]), None);
        assert_eq!(sample_std(&[1.0]), None);
        assert_eq!(sample_std(&[1.0, 3.0]), Some(2f64.sqrt()));
        // Clusters of one: √(Σ(x − x̄)²)/n, the plug-in standard error. Here √(p(1 − p)/n).
        let (p, stderr) = clustered_mean(&[1.0, 0.0, 0.0, 0.0], &[0, 1, 2, 3]).unwrap_or_default();
        assert!((p - 0.25).abs() < 1e-12 && (stderr - (0.25f64 * 0.75 / 4.0).sqrt()).abs() < 1e-12);
        // Each value four times in one cluster adds no information.
        let values: Vec<f64> = [1.0, 0.0, 0.0, 0.0].into_iter().flat_map(|v| [v; 4]).collect();
        let clusters: Vec<usize> = (0..16).map(|i| i / 4).collect();
        let (_, repeated) = clustered_mean(&values, &clusters).unwrap_or_default();
        assert!((repeated - stderr).abs() < 1e-12);
    }
}
