//! What a classification too large for a fit in memory will cost: memory and time, before anything burns.
//!
//! A pass over N vectors of D channels with K classes takes `4·N·D·K` operations (logits, and the gradient). A choice of C
//! among S values takes about `PASSES_OF_A_C·S` passes over nine tenths of the training vectors, a fit at one C from
//! nothing `PASSES_OF_A_FIT`; a pass in f64 counts as two. Both were counted on planted vectors of 20 to 100 classes; raw
//! tokens are within a factor of two. Reading from parts and the softmax itself are a small share.

use crate::classify::Regularisation;
use crate::streamed::Reading;

/// Passes of one fit of a grid, from where the last one ended.
const PASSES_OF_A_C: f64 = 12.0;
/// Passes of a fit from nothing.
const PASSES_OF_A_FIT: f64 = 80.0;
/// Operations per second of one thread, in f32.
const RATE: f64 = 5e10;
/// Copies of the weights: those that L-BFGS remembers, and its own.
const WEIGHTS: u64 = 2 * 12 + 8;
/// Bytes of what is kept of each vector in the tables beside its values: image, draw, place.
const ROW_BYTES: u64 = 40;
/// Bytes of the buffers of a block.
const BLOCKS: u64 = 512 << 20;

/// A classification from single vectors.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ClassTask {
    /// Vectors in the tables: every kind and draw.
    pub vectors: u64,
    /// Images, one vector each in a fit.
    pub images: u64,
    pub width: u64,
    pub classes: u64,
    pub threads: u64,
}

impl ClassTask {
    /// Classes where nobody said how many: a thousand images each, as in most of the papers' datasets of this size.
    pub(crate) fn guessed_classes(images: u64) -> u64 {
        (images / 1000).clamp(10, 1000)
    }

    /// Whether a fit is streamed.
    pub(crate) fn is_large(&self, reading: Reading<'_>) -> bool {
        reading.is_large(self.images.min(self.vectors) as usize, self.width as usize, self.classes as usize)
    }

    /// Peak bytes and seconds.
    pub(crate) fn cost(&self, how: &Regularisation, reading: Reading<'_>) -> (u64, f64) {
        let (n, rows) = (self.images.min(self.vectors), self.vectors as usize);
        let held = |rows: u64| 4 * rows * self.width;
        let vectors = match (reading.fits(rows, self.width as usize), reading.fits(n as usize, self.width as usize)) {
            (true, _) => held(self.vectors),
            (false, true) => held(n),
            (false, false) => 0,
        };
        let weights = 8 * (self.width + 1) * self.classes * WEIGHTS;
        let passes = match how {
            Regularisation::Fixed { .. } => PASSES_OF_A_FIT,
            Regularisation::Select { steps, .. } => 0.9 * PASSES_OF_A_C * f64::from(*steps) + PASSES_OF_A_FIT,
        };
        let pass = 4.0 * (self.width * self.classes) as f64 / (RATE * self.threads as f64);
        // All fits together have every vector once.
        (vectors + ROW_BYTES * self.vectors + weights + BLOCKS, passes * pass * self.vectors as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn imagenet(vectors: u64, threads: u64) -> ClassTask {
        ClassTask { vectors, images: 1_281_167, width: 1024, classes: 1000, threads }
    }

    /// One fit at C = 1 of 1.28 M vectors: 80 passes of 4·N·D·K. Breaks when threads or classes drop out.
    #[test]
    fn time_is_passes_times_operations() {
        let reading = Reading::default();
        let fixed = Regularisation::Fixed { c: 1.0 };
        let task = imagenet(1_281_167, 64);
        assert!(task.is_large(reading));
        let secs = task.cost(&fixed, reading).1;
        assert!((secs / (80.0 * 4.0 * 1_281_167.0 * 1024.0 * 1000.0 / 3.2e12) - 1.0).abs() < 1e-12, "{secs}");
        let grid = Regularisation::Select { low: -6.0, high: 5.0, steps: 45, one_in: 10, seed: 0 };
        // 45 values: (0.9·12·45 + 80)/80 times as long.
        assert!((task.cost(&grid, reading).1 / secs - 566.0 / 80.0).abs() < 1e-9);
        assert!((imagenet(1_281_167, 1).cost(&fixed, reading).1 / secs - 64.0).abs() < 1e-9);
    }

    #[test]
    fn memory_is_the_vectors_once_or_nothing_of_them() {
        let fixed = Regularisation::Fixed { c: 1.0 };
        let bytes = |vectors, memory_bytes| {
            let reading = Reading { memory_bytes, ..Reading::default() };
            imagenet(vectors, 2).cost(&fixed, reading).0
        };
        let one = 1_281_167 * 1024 * 4;
        assert_eq!(bytes(1_281_167, one) - bytes(1_281_167, one - 1), one);
        // One kind and draw at a time; of the others only where they lie.
        assert_eq!(bytes(11 * 1_281_167, one) - bytes(1_281_167, one), ROW_BYTES * 10 * 1_281_167);
    }
}
