//! The state of a long training as bytes, so that an interrupted one goes on where it stopped, with the same bits.
//!
//! Layout: `VITALSH1`, the number of heads (those done, then the one in training), and for each: steps, pending losses,
//! rows of losses, and the numbers of its tensors, buffers and memory in their order. Shapes are not written: they follow
//! from the recipe and the features. Whatever does not fit them exactly is no state of this training and is left alone.

use super::fit::Training;

const MAGIC: &[u8; 8] = b"VITALSH1";

/// The heads so far, the last one perhaps unfinished.
pub(crate) fn write(heads: &[Training]) -> Vec<u8> {
    let mut bytes = MAGIC.to_vec();
    bytes.extend((heads.len() as u64).to_le_bytes());
    for head in heads {
        bytes.extend(head.step.to_le_bytes());
        bytes.extend(head.pending.0.to_le_bytes());
        bytes.extend(head.pending.1.to_le_bytes());
        bytes.extend((head.losses.len() as u64).to_le_bytes());
        for (step, loss, rate) in &head.losses {
            bytes.extend(step.to_le_bytes());
            bytes.extend(loss.to_le_bytes());
            bytes.extend(rate.to_le_bytes());
        }
        let tensors = head.net.tensors.iter().chain(&head.net.buffers).map(|t| &t.values);
        for value in tensors.chain(&head.memory).flatten() {
            bytes.extend(value.to_le_bytes());
        }
    }
    bytes
}

/// Heads from bytes; `fresh` gives the untrained head of a number, and how many steps it is to do at most.
pub(crate) fn read(bytes: &[u8], mut fresh: impl FnMut(usize) -> Option<(Training, u64)>) -> Option<Vec<Training>> {
    let mut rest = Reader(bytes.strip_prefix(MAGIC)?);
    let count = rest.whole()?;
    let mut heads = Vec::new();
    for i in 0..count {
        let (mut head, steps) = fresh(usize::try_from(i).ok()?)?;
        head.step = rest.whole().filter(|&s| s <= steps && (s == steps || i + 1 == count))?;
        head.pending = (rest.number()?, rest.whole()?);
        for _ in 0..rest.whole()? {
            head.losses.push((rest.whole()?, rest.number()?, rest.number()?));
        }
        let tensors = head.net.tensors.iter_mut().chain(&mut head.net.buffers).map(|t| &mut t.values);
        for value in tensors.chain(&mut head.memory).flatten() {
            *value = f32::from_le_bytes(rest.take()?);
        }
        heads.push(head);
    }
    rest.0.is_empty().then_some(heads)
}

struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (first, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*first)
    }

    fn whole(&mut self) -> Option<u64> {
        self.take().map(u64::from_le_bytes)
    }

    fn number(&mut self) -> Option<f64> {
        self.take().map(f64::from_le_bytes)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::labels::LabelMap;
    use super::super::recipe::Recipe;
    use super::*;

    fn fresh(i: usize) -> Option<(Training, u64)> {
        let recipe = Recipe::dinov2_segmentation(LabelMap::plain(3));
        (i < 2).then(|| (Training::new(&recipe, 4, 1, i as u64), 10))
    }

    fn trained() -> Vec<Training> {
        let (mut first, mut second) = (fresh(0).map(|f| f.0), fresh(1).map(|f| f.0));
        for (head, step) in [(&mut first, 10), (&mut second, 4)] {
            if let Some(head) = head {
                head.step = step;
                head.losses = vec![(2, 0.5, 1e-3), (4, 0.25, 1e-4)];
                head.pending = (0.125, 1);
                head.net.tensors[2].values[3] = f32::MIN_POSITIVE;
                head.net.buffers[1].values[2] = -7.25;
                for v in &mut head.memory[5] {
                    *v = 3.5;
                }
            }
        }
        [first, second].into_iter().flatten().collect()
    }

    #[test]
    fn what_is_written_is_read() {
        assert_eq!(read(&write(&trained()), fresh), Some(trained()));
        assert_eq!(read(&write(&[]), fresh), Some(Vec::new()));
    }

    /// Of another recipe, of another build, or of a third head.
    #[test]
    fn another_states_bytes_are_left_alone() {
        let bytes = write(&trained());
        let wider = |i| (i < 2).then(|| (Training::new(&Recipe::cells(LabelMap::plain(3)), 5, 1, 0), 10));
        assert_eq!(read(&bytes, wider), None);
        assert_eq!(read(&bytes, |i| fresh(i).filter(|_| i == 0)), None);
        // The first head is to be done when there is a second one.
        assert_eq!(read(&bytes, |i| fresh(i).map(|(head, _)| (head, 11))), None);
        assert_eq!(read(&bytes[..bytes.len() - 1], fresh), None);
        assert_eq!(read(&[&bytes[..], &[0]].concat(), fresh), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_refused_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300), at in 0_usize..900, to: u8) {
            prop_assert_eq!(read(&bytes, fresh), None);
            prop_assert_eq!(read(&[&MAGIC[..], &bytes].concat(), fresh).map(|heads| heads.len().min(1)), (bytes == [0; 8]).then_some(0));
            let mut changed = write(&trained());
            let at = at % changed.len();
            changed[at] = to;
            let _ = read(&changed, fresh);
        }
    }
}
