//! Standard errors of numbers whose tokens come in images.
//!
//! Tokens of one image resemble each other, so the independent units are the n images. Every number here is a smooth
//! function f of totals T, sums of t over images (a mean of tokens is Σy/Σm); to first order
//!
//! ```text
//! Var f(T) = n/(n − 1) · Σ_i (g·(t_i − T/n))²,   g = ∇f(T)
//! ```
//!
//! which for Σy/Σm is the ratio estimator of cluster sampling, and for images of one token each is s²/n (Cochran,
//! "Sampling Techniques", §6.4 and §9A). Only the sums of t and of its products are kept, so any number of images
//! costs the same.

/// A number with its standard error over images.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Estimate {
    /// The number.
    pub value: f64,
    /// Standard error; none of a single image.
    pub stderr: Option<f64>,
}

/// Sums over images of K totals and of their products. The tokens of an image come together.
#[derive(Debug, Clone)]
pub struct Clusters<const K: usize> {
    n: u64,
    sums: [f64; K],
    products: [[f64; K]; K],
    /// Images in which a total is not 0.
    present: [u64; K],
    open: Option<(u32, [f64; K])>,
}

impl<const K: usize> Default for Clusters<K> {
    fn default() -> Self {
        Self { n: 0, sums: [0.0; K], products: [[0.0; K]; K], present: [0; K], open: None }
    }
}

impl<const K: usize> Clusters<K> {
    /// Adds to the totals of an image.
    pub fn add(&mut self, image: u32, totals: [f64; K]) {
        match &mut self.open {
            Some((open, sums)) if *open == image => {
                for (sum, total) in sums.iter_mut().zip(totals) {
                    *sum += total;
                }
            }
            open => {
                let last = open.replace((image, totals));
                self.close(last);
            }
        }
    }

    fn close(&mut self, image: Option<(u32, [f64; K])>) {
        // An image without tokens of the kind is no observation of it.
        let Some((_, totals)) = image.filter(|(_, t)| t.iter().any(|x| *x != 0.0)) else { return };
        self.n += 1;
        for (i, x) in totals.iter().enumerate() {
            self.sums[i] += x;
            self.present[i] += u64::from(*x != 0.0);
            for (product, y) in self.products[i].iter_mut().zip(totals) {
                *product += x * y;
            }
        }
    }

    fn closed(&self) -> Self {
        let mut all = self.clone();
        let last = all.open.take();
        all.close(last);
        all
    }

    /// Images with a total that is not 0.
    pub fn images(&self) -> u64 {
        self.closed().n
    }

    /// Totals over all images.
    pub fn totals(&self) -> [f64; K] {
        self.closed().sums
    }

    /// Standard error of a function of the totals that has this gradient; none where one of the totals named in
    /// `counts` comes from fewer than two images.
    fn stderr(&self, counts: &[usize], gradient: [f64; K]) -> Option<f64> {
        let all = self.closed();
        if counts.iter().any(|&i| all.present[i] < 2) {
            return None;
        }
        let n = all.n as f64;
        let quadratic: f64 =
            (0..K).map(|i| (0..K).map(|j| gradient[i] * all.products[i][j] * gradient[j]).sum::<f64>()).sum();
        let linear: f64 = gradient.iter().zip(all.sums).map(|(g, s)| g * s).sum();
        Some(((quadratic - linear * linear / n).max(0.0) * n / (n - 1.0)).sqrt())
    }
}

impl Clusters<2> {
    /// Σy/Σm of totals (y, m).
    pub fn ratio(&self) -> Option<Estimate> {
        let [y, m] = self.totals();
        let value = (m > 0.0).then(|| y / m)?;
        Some(Estimate { value, stderr: self.stderr(&[1], [1.0 / m, -value / m]) })
    }
}

impl Clusters<4> {
    /// Σy/Σm − Σz/Σk of totals (y, m, z, k).
    pub fn difference(&self) -> Option<Estimate> {
        let [y, m, z, k] = self.totals();
        if m <= 0.0 || k <= 0.0 {
            return None;
        }
        let (a, b) = (y / m, z / k);
        Some(Estimate { value: a - b, stderr: self.stderr(&[1, 3], [1.0 / m, -a / m, -1.0 / k, b / k]) })
    }

    /// Area under the ROC curve from placements: totals (Σ over outliers of the share of normal values below, outliers,
    /// Σ over normal values of the share of outliers above, normal values). Both sums estimate the area, and its error
    /// has a part of each (Obuchowski 1997, clustered data).
    pub fn auc(&self) -> Option<Estimate> {
        let [placed, outliers, _, normal] = self.totals();
        if outliers <= 0.0 || normal <= 0.0 {
            return None;
        }
        let value = placed / outliers;
        let gradient = [1.0 / outliers, -value / outliers, 1.0 / normal, -value / normal];
        Some(Estimate { value, stderr: self.stderr(&[1, 3], gradient) })
    }
}

/// Values of outliers against values of normal patches.
#[derive(Debug, Clone, Default)]
pub struct Contrast {
    /// Of outliers, then of normal patches: Σx, count, Σx².
    totals: Clusters<6>,
}

impl Contrast {
    /// Adds a value.
    pub fn add(&mut self, image: u32, outlier: bool, x: f64) {
        let t = [x, 1.0, x * x];
        let (o, n) = if outlier { (t, [0.0; 3]) } else { ([0.0; 3], t) };
        self.totals.add(image, [o[0], o[1], o[2], n[0], n[1], n[2]]);
    }

    /// Mean of outliers minus mean of normal patches.
    pub fn gap(&self) -> Option<Estimate> {
        let [y, m, _, z, k, _] = self.totals.totals();
        if m <= 0.0 || k <= 0.0 {
            return None;
        }
        let (a, b) = (y / m, z / k);
        let stderr = self.totals.stderr(&[1, 4], [1.0 / m, -a / m, 0.0, -1.0 / k, b / k, 0.0]);
        Some(Estimate { value: a - b, stderr })
    }

    /// Cohen's d: the gap by the pooled standard deviation, s² = (Σ(x − x̄)² of both) / (m + k − 2).
    pub fn effect(&self) -> Option<Estimate> {
        let [y, m, q, z, k, r] = self.totals.totals();
        let free = m + k - 2.0;
        if m <= 0.0 || k <= 0.0 || free <= 0.0 {
            return None;
        }
        let (a, b) = (y / m, z / k);
        let variance = (q - y * a + r - z * b) / free;
        // What is left of equal values is rounding.
        if variance <= 1e-12 * (q + r) / free {
            return None;
        }
        let (s, gap) = (variance.sqrt(), a - b);
        // ∂d = ∂gap/s − gap/(2s³)·∂s².
        let by = |gap_part: f64, variance_part: f64| gap_part / s - gap * variance_part / (2.0 * s * variance);
        let gradient = [
            by(1.0 / m, -2.0 * a / free),
            by(-a / m, (a * a - variance) / free),
            by(0.0, 1.0 / free),
            by(-1.0 / k, -2.0 * b / free),
            by(b / k, (b * b - variance) / free),
            by(0.0, 1.0 / free),
        ];
        Some(Estimate { value: gap / s, stderr: self.totals.stderr(&[1, 4], gradient) })
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    fn near(found: Option<f64>, expected: f64) {
        let found = found.unwrap();
        assert!((found - expected).abs() < 1e-9 * expected.abs().max(1.0), "{found}, not {expected}");
    }

    #[test]
    fn images_of_one_token_have_the_textbook_error() {
        // 1, 2, 4, 5: mean 3, s² = 10/3, s/√4.
        let mut c = Clusters::default();
        for (image, x) in [1.0, 2.0, 4.0, 5.0].into_iter().enumerate() {
            c.add(image as u32, [x, 1.0]);
        }
        let mean = c.ratio().unwrap();
        assert_eq!((mean.value, c.images()), (3.0, 4));
        near(mean.stderr, (10.0f64 / 3.0 / 4.0).sqrt());
    }

    /// Breaks when tokens are taken as independent: a value repeated within its image tells nothing new.
    #[test]
    fn tokens_of_one_image_that_agree_count_once() {
        let (mut once, mut often) = (Clusters::default(), Clusters::default());
        for (image, x) in [0.0, 1.0, 1.0, 0.0, 0.0].into_iter().enumerate() {
            once.add(image as u32, [x, 1.0]);
            for _ in 0..50 {
                often.add(image as u32, [x, 1.0]);
            }
        }
        near(often.ratio().unwrap().stderr, once.ratio().unwrap().stderr.unwrap());
        assert_eq!(often.images(), 5);
    }

    #[test]
    fn unequal_images_have_the_ratio_estimators_error() {
        // (y, m) = (1, 4), (3, 6): R = 0.4; residuals −0.6 and 0.6; √(2·0.72)/10.
        let mut c = Clusters::default();
        c.add(0, [1.0, 4.0]);
        c.add(1, [3.0, 6.0]);
        let share = c.ratio().unwrap();
        near(Some(share.value), 0.4);
        near(share.stderr, (2.0 * 0.72f64).sqrt() / 10.0);
        let mut one = Clusters::default();
        one.add(7, [1.0, 4.0]);
        assert_eq!(one.ratio().unwrap().stderr, None, "one image has no spread");
        one.add(8, [0.0, 0.0]);
        assert_eq!((one.ratio().unwrap().stderr, one.images()), (None, 1), "an image without tokens shows none");
        assert_eq!(Clusters::<2>::default().ratio(), None);
    }

    /// (image, outlier, value)
    const VALUES: [(u32, bool, f64); 9] = [
        (0, true, 0.9),
        (0, false, 0.1),
        (0, false, 0.4),
        (1, false, 0.2),
        (1, false, 0.5),
        (2, true, 0.7),
        (2, true, 0.8),
        (2, false, 0.6),
        (2, false, 0.3),
    ];

    fn contrast(values: impl IntoIterator<Item = (u32, bool, f64)>) -> Contrast {
        let mut c = Contrast::default();
        for (image, outlier, x) in values {
            c.add(image, outlier, x);
        }
        c
    }

    #[test]
    fn gap_and_effect_are_those_of_their_definitions() {
        // Outliers 0.9, 0.7, 0.8: mean 0.8, Σ(x − x̄)² 0.02. Normal 0.1 … 0.6: mean 0.35, 0.175.
        let c = contrast(VALUES);
        near(c.gap().map(|e| e.value), 0.45);
        near(c.effect().map(|e| e.value), 0.45 / (0.195f64 / 7.0).sqrt());
        assert_eq!(contrast([(0, true, 1.0), (0, false, 1.0), (1, true, 1.0)]).effect(), None, "no spread, no effect");
        assert!(contrast([(0, true, 1.0)]).gap().is_none());
        // Outliers of one image alone tell nothing of how they differ from image to image.
        let alone = contrast(VALUES.into_iter().filter(|v| v.0 < 2)).gap().unwrap();
        assert_eq!(alone.stderr, None);
    }

    /// The first-order error against the jackknife over images, which knows no derivative. Breaks when a sign or a term
    /// of a gradient is wrong.
    #[test]
    fn errors_are_those_of_the_jackknife() {
        let images = 400u32;
        let values: Vec<(u32, bool, f64)> = (0..images)
            .flat_map(|i| {
                let shift = f64::from(i * 7919 % 101) / 100.0;
                (0..6).map(move |j| {
                    (i, j == 0, shift + f64::from((i * 31 + j * 17) % 23) / 40.0 + f64::from(u8::from(j == 0)))
                })
            })
            .collect();
        for of in [Contrast::gap, Contrast::effect] as [fn(&Contrast) -> Option<Estimate>; 2] {
            let all = of(&contrast(values.iter().copied())).unwrap();
            let without: Vec<f64> = (0..images)
                .map(|i| of(&contrast(values.iter().copied().filter(|v| v.0 != i))).unwrap().value)
                .collect();
            let n = f64::from(images);
            let mean = without.iter().sum::<f64>() / n;
            let jackknife = (without.iter().map(|x| (x - mean).powi(2)).sum::<f64>() * (n - 1.0) / n).sqrt();
            let ratio = all.stderr.unwrap() / jackknife;
            assert!((ratio - 1.0).abs() < 0.01, "{ratio}");
        }
    }

    #[test]
    fn the_area_has_the_error_of_its_placements() {
        // Outliers 2 and 4, normal 1, 3, 3, one image each: placements ⅓, 1 and ½·(…): area 2/3.
        let mut c = Clusters::default();
        for (image, v) in [1.0 / 3.0, 1.0].into_iter().enumerate() {
            c.add(image as u32, [v, 1.0, 0.0, 0.0]);
        }
        for (image, v) in [1.0, 0.5, 0.5].into_iter().enumerate() {
            c.add(2 + image as u32, [0.0, 0.0, v, 1.0]);
        }
        let area = c.auc().unwrap();
        near(Some(area.value), 2.0 / 3.0);
        // Σ(V − A)²: 2/9 over 2², 1/9 + 2/36 over 3²; five images.
        near(area.stderr, ((2.0 / 9.0 / 4.0 + (1.0 / 9.0 + 2.0 / 36.0) / 9.0) * 5.0 / 4.0f64).sqrt());
    }
}
