//! The two generators behind the published splits: `NumPy`'s legacy `RandomState` and torch's CPU `randperm`.
//!
//! Both are MT19937 seeded by Knuth's recurrence; they differ in how a word becomes an index.
//! - `NumPy`: from the last element down, `j ≤ i` by masking and rejection, swap. scikit-learn's `train_test_split`
//!   takes its test set from the head of that permutation.
//! - torch: from the first element up, `i + word mod (n − i)`, swap. `DINOv2` holds out the head of that permutation.
//!
//! Every seeded choice of this crate uses them, so that anyone can draw the same one in Python.
//! Sources: numpy `random/src/legacy`, `_mt19937`; pytorch `ATen/native/TensorFactories.cpp` (`randperm_cpu`).

const N: usize = 624;

/// `numpy.random.RandomState(seed)`.
#[derive(Debug, Clone)]
pub struct RandomState {
    state: [u32; N],
    next: usize,
}

impl RandomState {
    /// Seeds as `RandomState(seed)` and as `torch.manual_seed(seed)` do.
    pub fn new(seed: u32) -> Self {
        let mut state = [seed; N];
        for i in 1..N {
            let last = state[i - 1];
            state[i] = 1_812_433_253u32.wrapping_mul(last ^ (last >> 30)).wrapping_add(i as u32);
        }
        Self { state, next: N }
    }

    /// 32 random bits.
    pub fn next_u32(&mut self) -> u32 {
        if self.next == N {
            for i in 0..N {
                let y = (self.state[i] & 0x8000_0000) | (self.state[(i + 1) % N] & 0x7FFF_FFFF);
                let twist = if y & 1 == 1 { 0x9908_B0DF } else { 0 };
                self.state[i] = self.state[(i + 397) % N] ^ (y >> 1) ^ twist;
            }
            self.next = 0;
        }
        let mut y = self.state[self.next];
        self.next += 1;
        y ^= y >> 11;
        y ^= (y << 7) & 0x9D2C_5680;
        y ^= (y << 15) & 0xEFC6_0000;
        y ^ (y >> 18)
    }

    /// Uniform in 0..=max by masking and rejection.
    fn interval(&mut self, max: u32) -> u32 {
        let mask = max.checked_ilog2().map_or(0, |bits| u32::MAX >> (31 - bits));
        loop {
            let value = self.next_u32() & mask;
            if value <= max {
                return value;
            }
        }
    }

    /// `RandomState.permutation(n)`, for n below 2³².
    pub fn permutation(&mut self, n: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..n).collect();
        for i in (1..n).rev() {
            order.swap(i, self.interval(i as u32) as usize);
        }
        order
    }

    /// `torch.randperm(n)` on the CPU, for n below 2³²/20, in a program that has drawn the same words before.
    pub fn randperm(&mut self, n: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..n).collect();
        for i in 0..n.saturating_sub(1) {
            let step = self.next_u32() as usize % (n - i);
            order.swap(i, i + step);
        }
        order
    }
}

/// `torch.manual_seed(seed); torch.randperm(n)` on the CPU, for n below 2³²/20.
pub fn torch_randperm(seed: u32, n: usize) -> Vec<usize> {
    RandomState::new(seed).randperm(n)
}

#[cfg(test)]
mod tests {
    use super::*;

    // Values printed by numpy 2.4.6 and torch 2.15.0.

    #[test]
    fn permutations_are_numpys() {
        assert_eq!(RandomState::new(0).permutation(10), [2, 8, 4, 9, 1, 6, 7, 3, 0, 5]);
        assert_eq!(RandomState::new(42).permutation(10), [8, 1, 5, 0, 7, 2, 9, 4, 3, 6]);
        assert_eq!(RandomState::new(999).permutation(17), [2, 10, 11, 4, 6, 15, 7, 14, 16, 3, 9, 13, 8, 1, 5, 12, 0]);
        let long = RandomState::new(123).permutation(1500);
        assert_eq!(long[..8], [708, 1423, 546, 1002, 260, 155, 1485, 865]);
        assert_eq!(long[1496..], [1122, 1346, 1406, 1389]);
        assert!(RandomState::new(7).permutation(0).is_empty());
        assert_eq!(RandomState::new(7).permutation(1), [0]);
    }

    #[test]
    fn randperm_is_torchs() {
        assert_eq!(torch_randperm(0, 10), [4, 1, 7, 5, 3, 9, 0, 8, 6, 2]);
        assert_eq!(torch_randperm(42, 17), [13, 4, 3, 15, 8, 16, 9, 11, 12, 10, 6, 2, 1, 7, 14, 0, 5]);
        let long = torch_randperm(0, 3000);
        assert_eq!(long[..8], [44, 1272, 111, 2484, 2371, 1049, 1321, 2173]);
        assert_eq!(long[2996..], [2682, 2481, 2576, 477]);
        assert!(torch_randperm(0, 0).is_empty());
    }
}
