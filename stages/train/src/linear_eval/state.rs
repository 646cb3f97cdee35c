//! What an interrupted evaluation keeps: every number that its trainings have, as bytes.
//!
//! ```text
//! "vitals linear_eval 1 " · fingerprint · number of trainings
//! each: step, steps since the last row, sums; rows (step, course, losses); panels: weight, bias, and until the last step momentum
//! checksum of all before
//! ```
//!
//! Numbers are little-endian, so what is read is what was written, bit for bit. Bytes that are not whole, not of this
//! evaluation or not of these shapes are as none: the trainings begin anew.

use super::trainer::{Logged, Trainer};

const HEAD: &[u8] = b"vitals linear_eval 1 ";

/// The state of some trainings.
pub(super) fn write(id: &str, trainers: &[&Trainer]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(trainers.iter().map(|t| size(t)).sum::<usize>() + 128);
    bytes.extend_from_slice(HEAD);
    bytes.extend_from_slice(id.as_bytes());
    let number = |bytes: &mut Vec<u8>, value: u64| bytes.extend_from_slice(&value.to_le_bytes());
    number(&mut bytes, trainers.len() as u64);
    for t in trainers {
        number(&mut bytes, t.step);
        number(&mut bytes, t.since);
        for v in &t.sums {
            number(&mut bytes, v.to_bits());
        }
        number(&mut bytes, t.log.len() as u64);
        for row in &t.log {
            number(&mut bytes, row.step);
            number(&mut bytes, row.course.to_bits());
            for v in &row.losses {
                number(&mut bytes, v.to_bits());
            }
        }
        for panel in &t.heads.panels {
            let mut floats = vec![&panel.weight, &panel.bias];
            if t.step < t.steps {
                floats.extend([&panel.velocity.0, &panel.velocity.1]);
            }
            for values in floats {
                for v in values {
                    bytes.extend_from_slice(&v.to_le_bytes());
                }
            }
        }
    }
    let sum = checksum(&bytes);
    number(&mut bytes, sum);
    bytes
}

/// Bytes of a training, nearly.
fn size(t: &Trainer) -> usize {
    let floats: usize = t.heads.panels.iter().map(|p| 2 * (p.weight.len() + p.bias.len())).sum();
    4 * floats + 8 * (t.log.len() + 2) * (t.sums.len() + 2)
}

/// Puts the state of trainings into trainings that have not begun; none: the bytes are of something else.
pub(super) fn read(bytes: &[u8], id: &str, mut trainers: Vec<Trainer>) -> Option<Vec<Trainer>> {
    let (body, sum) = bytes.split_last_chunk::<8>()?;
    if checksum(body) != u64::from_le_bytes(*sum) {
        return None;
    }
    let mut bytes = Bytes(body.strip_prefix(HEAD)?.strip_prefix(id.as_bytes())?);
    if bytes.number()? != trainers.len() as u64 {
        return None;
    }
    for t in &mut trainers {
        (t.step, t.since) = (bytes.number()?, bytes.number()?);
        if t.step > t.steps || t.since > t.step {
            return None;
        }
        t.sums = bytes.doubles(t.sums.len())?;
        let rows = bytes.number()?;
        t.log.clear();
        for _ in 0..rows {
            let (step, course) = (bytes.number()?, f64::from_bits(bytes.number()?));
            t.log.push(Logged { step, course, losses: bytes.doubles(t.sums.len())? });
        }
        for panel in &mut t.heads.panels {
            bytes.floats(&mut panel.weight)?;
            bytes.floats(&mut panel.bias)?;
            if t.step < t.steps {
                bytes.floats(&mut panel.velocity.0)?;
                bytes.floats(&mut panel.velocity.1)?;
            }
        }
    }
    bytes.0.is_empty().then_some(trainers)
}

/// Bytes that are still to be read.
struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (first, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(first)
    }

    fn number(&mut self) -> Option<u64> {
        Some(u64::from_le_bytes(self.take(8)?.try_into().ok()?))
    }

    fn doubles(&mut self, count: usize) -> Option<Vec<f64>> {
        (0..count).map(|_| Some(f64::from_bits(self.number()?))).collect()
    }

    fn floats(&mut self, into: &mut [f32]) -> Option<()> {
        let bytes = self.take(4 * into.len())?;
        for (value, four) in into.iter_mut().zip(bytes.as_chunks::<4>().0) {
            *value = f32::from_le_bytes(*four);
        }
        Some(())
    }
}

/// FNV-1a on words of eight bytes, the last one filled up with zeros, and the length.
fn checksum(bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<8>();
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    let words = words.iter().chain([&last]).map(|word| u64::from_le_bytes(*word)).chain([bytes.len() as u64]);
    words.fold(0xcbf2_9ce4_8422_2325, |sum, word| (sum ^ word).wrapping_mul(0x0100_0000_01b3).rotate_left(29))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

    use proptest::prelude::*;

    use super::*;
    use crate::linear_eval::LinearEvalParams;

    fn trainer(step: u64) -> Trainer {
        let params = LinearEvalParams { last_blocks: vec![1], ..LinearEvalParams::dinov2(vec!["final".into()]) };
        let mut t = Trainer::new(&params, 2, 3, 10);
        t.step = step;
        t.since = step.min(1);
        t.log = vec![Logged { step: 1, course: 0.5, losses: vec![f64::NAN.max(0.25); 26] }; step.min(2) as usize];
        t.sums[3] = 1.0 / 3.0;
        t.heads.panels[0].velocity.0[1] = -0.1;
        t
    }

    /// Breaks when a number is left out, or read where another was written.
    #[test]
    fn what_is_read_is_what_was_written() {
        let trainers = [trainer(12_500), trainer(7)];
        let bytes = write("0123456789abcdef", &[&trainers[0], &trainers[1]]);
        let read = read(&bytes, "0123456789abcdef", vec![trainer(0), trainer(0)]).unwrap();
        assert_eq!(read[1], trainers[1]);
        // The momentum of a finished training is nobody's business.
        assert_eq!((read[0].step, &read[0].log), (12_500, &trainers[0].log));
        assert_eq!(read[0].heads.tensors(5), trainers[0].heads.tensors(5));
    }

    #[test]
    fn what_belongs_to_another_evaluation_is_nothing() {
        let bytes = write("0123456789abcdef", &[&trainer(7)]);
        assert!(read(&bytes, "0123456789abcdee", vec![trainer(0)]).is_none());
        assert!(read(&bytes, "0123456789abcdef", vec![trainer(0), trainer(0)]).is_none());
        let params = LinearEvalParams { last_blocks: vec![1], ..LinearEvalParams::dinov2(vec!["final".into()]) };
        assert!(read(&bytes, "0123456789abcdef", vec![Trainer::new(&params, 2, 4, 10)]).is_none());
        assert!(read(&bytes, "0123456789abcdef", vec![Trainer::new(&params, 3, 3, 10)]).is_none());
    }

    proptest! {
        #[test]
        fn damaged_bytes_are_nothing(at in 0usize..1 << 16, flip in 1u8.., cut in 0usize..1 << 16) {
            let mut bytes = write("0123456789abcdef", &[&trainer(7)]);
            prop_assert!(read(&bytes[..cut % bytes.len()], "0123456789abcdef", vec![trainer(0)]).is_none());
            let at = at % bytes.len();
            bytes[at] ^= flip;
            prop_assert!(read(&bytes, "0123456789abcdef", vec![trainer(0)]).is_none());
        }

        /// Breaks when a count is believed: bytes with a checksum that is right and contents that are not.
        #[test]
        fn foreign_bytes_with_a_right_checksum_do_no_harm(
            noise in proptest::collection::vec(any::<u8>(), 0..2000),
            head in any::<bool>(),
        ) {
            let mut bytes = if head { [HEAD, b"0123456789abcdef"].concat() } else { Vec::new() };
            bytes.extend(noise);
            let sum = checksum(&bytes);
            bytes.extend(sum.to_le_bytes());
            prop_assert!(read(&bytes, "0123456789abcdef", vec![trainer(0)]).is_none());
        }
    }
}
