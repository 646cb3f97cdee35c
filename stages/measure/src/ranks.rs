//! Whether the patches of the largest norm are those that CLS attends to most.
//!
//! - Overlap of the n largest of two quantities over the N patches of an image, as a share of n; n drawn blindly
//!   overlap by n/N in the mean. The study's Figures 5 and 20 draw both sets; this is their number.
//! - Spearman's rank correlation: Pearson's of the ranks, ties sharing their mean rank.

/// Patches in descending order of a value; of equal ones the first comes first.
pub fn descending(values: &[f32]) -> Vec<u32> {
    let mut order: Vec<u32> = (0..values.len() as u32).collect();
    order.sort_by(|&a, &b| values[b as usize].total_cmp(&values[a as usize]));
    order
}

/// Share of the first `n` of one order that are among the first `n` of the other; `None` of nothing or of more than
/// there are.
pub fn overlap(a: &[u32], b: &[u32], n: usize) -> Option<f64> {
    let (a, b) = (a.get(..n)?, b.get(..n)?);
    let mut second = b.to_vec();
    second.sort_unstable();
    let both = a.iter().filter(|p| second.binary_search(p).is_ok()).count();
    (n > 0).then(|| both as f64 / n as f64)
}

/// Spearman's rank correlation; `None` where one of the two is constant.
pub fn spearman(a: &[f32], a_order: &[u32], b: &[f32], b_order: &[u32]) -> Option<f64> {
    let (a, b) = (ranks(a, a_order), ranks(b, b_order));
    let middle = (a.len() as f64 - 1.0) / 2.0;
    let mut sums = [0.0; 3];
    for (x, y) in a.iter().zip(&b) {
        let (x, y) = (x - middle, y - middle);
        sums[0] += x * y;
        sums[1] += x * x;
        sums[2] += y * y;
    }
    (sums[1] > 0.0 && sums[2] > 0.0).then(|| sums[0] / (sums[1] * sums[2]).sqrt())
}

/// Rank of each value, from 0; ties share the mean of theirs.
fn ranks(values: &[f32], order: &[u32]) -> Vec<f64> {
    let mut ranks = vec![0.0; values.len()];
    let mut at = 0;
    for tied in order.chunk_by(|&i, &j| values[i as usize] == values[j as usize]) {
        let mean = at as f64 + (tied.len() as f64 - 1.0) / 2.0;
        for &i in tied {
            ranks[i as usize] = mean;
        }
        at += tied.len();
    }
    ranks
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    #[test]
    fn overlap_of_the_largest() {
        let norms = descending(&[1.0, 9.0, 8.0, 2.0, 7.0]);
        assert_eq!(norms, [1, 2, 4, 3, 0]);
        let attention = descending(&[0.1, 0.5, 0.0, 0.2, 0.4]);
        // {1, 2, 4} and {1, 4, 3}.
        assert_eq!(overlap(&norms, &attention, 3), Some(2.0 / 3.0));
        assert_eq!((overlap(&norms, &attention, 0), overlap(&norms, &attention, 6)), (None, None));
        assert_eq!(overlap(&norms, &attention, 5), Some(1.0));
        // Equal values: the first places, whatever sorts them.
        assert_eq!(descending(&[3.0; 4]), [0, 1, 2, 3]);
    }

    #[test]
    fn rank_correlation_is_scipys() {
        let of = |a: &[f32], b: &[f32]| spearman(a, &descending(a), b, &descending(b));
        assert!((of(&[1.0, 2.0, 3.0], &[10.0, 20.0, 900.0]).unwrap() - 1.0).abs() < 1e-12);
        assert!((of(&[1.0, 2.0, 3.0], &[3.0, 2.0, 1.0]).unwrap() + 1.0).abs() < 1e-12);
        // scipy.stats.spearmanr([1, 2, 2, 4, 5], [3, 1, 4, 4, 9]).statistic; ties share ranks.
        let scipys = 0.763_157_894_736_842_1;
        assert!((of(&[1.0, 2.0, 2.0, 4.0, 5.0], &[3.0, 1.0, 4.0, 4.0, 9.0]).unwrap() - scipys).abs() < 1e-12);
        assert_eq!(of(&[1.0, 1.0], &[1.0, 2.0]), None);
    }
}
