//! Intersection over union.
//!
//! ```text
//! IoU_c = hit_c / (truth_c + answer_c − hit_c)
//! ```
//!
//! Counts are summed over all images before anything is divided. The mean is over the classes that occur in truths or
//! answers (mmsegmentation: NaN skipped), or over all classes with a small number below the fraction bar (the study's
//! `DINOv2` script, in which an absent class counts 0). A head may have more classes than are judged: scikit-learn's
//! `confusion_matrix(labels=…)`, which the study's `DeiT` script calls, drops a pixel whose label or answer is not listed.
//!
//! Source: mmsegmentation `core/evaluation/metrics.py`; vit-reg `DINOV2/segmentation/final_segm.py`, `DEIT-III/engine.py`.

use serde::{Deserialize, Serialize};

use super::error::DenseError;
use super::labels::NONE;

/// How counts become one number.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MeanIou {
    /// The mean is over all classes, this much is added to each union, and a class that occurs nowhere counts 0. `None`:
    /// over the classes that occur.
    pub all_eps: Option<f64>,
    /// Only so many classes, the first ones, are judged.
    pub judged_classes: Option<u16>,
}

impl MeanIou {
    /// Over the classes that occur.
    pub fn present() -> Self {
        Self { all_eps: None, judged_classes: None }
    }

    /// Over all classes.
    pub fn all(eps: f64) -> Self {
        Self { all_eps: Some(eps), judged_classes: None }
    }

    pub(crate) fn check(self, classes: u16) -> Result<(), DenseError> {
        match (self.all_eps, self.judged_classes) {
            (Some(eps), _) if !(eps >= 0.0 && eps.is_finite()) => {
                Err(DenseError::Range { name: "miou.all_eps", value: eps })
            }
            (_, Some(judged)) if !(1..=classes).contains(&judged) => {
                Err(DenseError::Range { name: "miou.judged_classes", value: f64::from(judged) })
            }
            _ => Ok(()),
        }
    }

    pub(crate) fn judged(self, classes: u16) -> usize {
        usize::from(self.judged_classes.unwrap_or(classes))
    }
}

/// Pixels by class.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Answer and truth are this class.
    hit: Vec<u64>,
    truth: Vec<u64>,
    answer: Vec<u64>,
}

impl Counts {
    pub(crate) fn new(classes: usize) -> Self {
        Self { hit: vec![0; classes], truth: vec![0; classes], answer: vec![0; classes] }
    }

    pub(crate) fn classes(&self) -> usize {
        self.hit.len()
    }

    /// One pixel; without a class, or with one that is not judged, it counts for nothing.
    pub(crate) fn pixel(&mut self, truth: u8, answer: u8) {
        let (t, a, judged) = (usize::from(truth), usize::from(answer), self.hit.len());
        if truth == NONE || t >= judged || a >= judged {
            return;
        }
        self.truth[t] += 1;
        self.answer[a] += 1;
        self.hit[t] += u64::from(t == a);
    }

    pub(crate) fn add(&mut self, other: &Self) {
        let pairs = [(&mut self.hit, &other.hit), (&mut self.truth, &other.truth), (&mut self.answer, &other.answer)];
        for (mine, theirs) in pairs {
            mine.iter_mut().zip(theirs).for_each(|(a, b)| *a += b);
        }
    }

    pub(crate) fn pixels(&self) -> u64 {
        self.truth.iter().sum()
    }

    /// `IoU` of a class; `None` where it occurs neither in truths nor in answers.
    pub(crate) fn iou(&self, class: usize, rule: MeanIou) -> Option<f64> {
        let union = self.truth[class] + self.answer[class] - self.hit[class];
        let hit = self.hit[class] as f64;
        match rule.all_eps {
            Some(eps) => Some(hit / (union as f64 + eps)).filter(|v| v.is_finite()),
            None => (union > 0).then(|| hit / union as f64),
        }
    }

    /// Share of a class's pixels that are answered so; `None` where it has none.
    pub(crate) fn recall(&self, class: usize) -> Option<f64> {
        (self.truth[class] > 0).then(|| self.hit[class] as f64 / self.truth[class] as f64)
    }

    /// The mean `IoU`; `None` without pixels.
    pub(crate) fn miou(&self, rule: MeanIou) -> Option<f64> {
        mean((0..self.hit.len()).filter_map(|class| self.iou(class, rule)))
    }

    /// Share of pixels answered right; `None` without pixels.
    pub(crate) fn accuracy(&self) -> Option<f64> {
        let pixels = self.pixels();
        (pixels > 0).then(|| self.hit.iter().sum::<u64>() as f64 / pixels as f64)
    }

    /// The mean of the classes' shares; `None` without pixels.
    pub(crate) fn mean_accuracy(&self) -> Option<f64> {
        mean((0..self.hit.len()).filter_map(|class| self.recall(class)))
    }
}

pub(crate) fn mean(values: impl Iterator<Item = f64>) -> Option<f64> {
    let (sum, n) = values.fold((0.0, 0_u32), |(sum, n), v| (sum + v, n + 1));
    (n > 0).then(|| sum / f64::from(n))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(judged: usize, pixels: &[(u8, u8)]) -> Counts {
        let mut counts = Counts::new(judged);
        for &(truth, answer) in pixels {
            counts.pixel(truth, answer);
        }
        counts
    }

    /// By hand: class 0 has 1 hit of a union of 3, class 1 2 of 3, class 2 occurs nowhere, one pixel has no class.
    #[test]
    fn means_differ_as_the_protocols_say() {
        let counts = counted(3, &[(0, 0), (0, 1), (1, 1), (1, 1), (NONE, 0), (1, 0)]);
        assert_eq!(counts.iou(0, MeanIou::present()), Some(1.0 / 3.0));
        assert_eq!(counts.iou(1, MeanIou::present()), Some(0.5));
        assert_eq!(counts.iou(2, MeanIou::present()), None);
        assert_eq!(counts.miou(MeanIou::present()), Some(f64::midpoint(1.0 / 3.0, 0.5)));
        let all = counts.miou(MeanIou::all(1e-6)).unwrap_or_default();
        assert!((all - (1.0 / 3.0 + 0.5) / 3.0).abs() < 1e-6);
        assert_eq!(counts.accuracy(), Some(0.6));
        assert_eq!(counts.mean_accuracy(), Some(f64::midpoint(0.5, 2.0 / 3.0)));
        assert_eq!(counted(3, &[(NONE, 1)]).miou(MeanIou::present()), None);
    }

    /// `confusion_matrix(labels=[0, 1])`: pixels of class 2, and pixels answered 2, are dropped on both sides.
    #[test]
    fn classes_that_are_not_judged_drop_their_pixels() {
        let counts = counted(2, &[(0, 0), (0, 2), (2, 0), (2, 2), (1, 1), (1, 0)]);
        assert_eq!(counts.pixels(), 3);
        assert_eq!((counts.iou(0, MeanIou::present()), counts.iou(1, MeanIou::present())), (Some(0.5), Some(0.5)));
        assert!(MeanIou { all_eps: None, judged_classes: Some(3) }.check(2).is_err());
    }
}
