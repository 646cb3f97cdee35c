//! Who teaches, who chooses, who is tested, and of which class each image is.

use std::collections::{BTreeMap, HashMap};

use schemas::tables::Images;
use schemas::{Name, Table};

use super::params::LinearEvalParams;
use crate::random::SplitMix64;

/// Stream of the choice of held-out images, and of the permuted labels of a control.
const HELD_OUT: u64 = 1;
const PERMUTED: u64 = 2;

/// Class of each image, numbered from 0.
pub(super) type Classes = HashMap<u32, Option<u32>>;

/// The images of both runs.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Sides {
    /// Images that teach and choose no head.
    pub rest: Classes,
    /// Images that choose a head.
    pub held_out: Classes,
    /// Images that are tested; none: of a class that no training image has.
    pub test: Classes,
    /// Label of each class in the training run.
    pub labels: Vec<i32>,
    /// Test images of such classes.
    pub strangers: u32,
}

/// By name where classes have names: two datasets number their classes each for itself.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Class {
    Number(i32),
    Named(Name),
}

fn class(images: &Images, i: usize) -> Option<Class> {
    let label = images.label[i]?;
    Some(images.class[i].clone().map_or(Class::Number(label), Class::Named))
}

/// How many of so many images are held out.
pub(super) fn held_out(images: usize, frac: f64) -> usize {
    (images as f64 * frac).floor() as usize
}

impl Sides {
    pub(super) fn new(params: &LinearEvalParams, train: &Images, test: &Images) -> Self {
        let mut taught: Vec<(u32, Class, i32)> = Vec::new();
        for i in 0..train.rows() {
            if let (Some(of), Some(label)) = (class(train, i), train.label[i]) {
                taught.push((train.image[i], of, label));
            }
        }
        taught.sort_by_key(|t| t.0);
        // A run of views and a run of whole images may tell of the same ones.
        taught.dedup_by_key(|t| t.0);
        let labels_of: BTreeMap<Class, i32> = taught.iter().rev().map(|t| (t.1.clone(), t.2)).collect();
        // In the order of the training run's numbers.
        let mut order: Vec<(i32, Class)> = labels_of.into_iter().map(|(class, label)| (label, class)).collect();
        order.sort();
        let numbers: BTreeMap<&Class, u32> = order.iter().enumerate().map(|(i, o)| (&o.1, i as u32)).collect();

        let mut classes: Vec<u32> = taught.iter().map(|t| numbers[&t.1]).collect();
        if let Some(seed) = params.permute_labels {
            let order = SplitMix64::new(seed, PERMUTED).permutation(classes.len());
            classes = order.into_iter().map(|i| classes[i as usize]).collect();
        }
        let mut held = vec![false; taught.len()];
        let count = held_out(taught.len(), params.hold_out_frac);
        let drawn = SplitMix64::new(params.seed, HELD_OUT).permutation(taught.len());
        drawn.into_iter().take(count).for_each(|i| held[i as usize] = true);

        let side = |of: bool| -> Classes {
            let of = taught.iter().zip(&classes).zip(&held).filter(|(_, h)| **h == of);
            of.map(|((t, class), _)| (t.0, Some(*class))).collect()
        };
        let tested = (0..test.rows()).filter_map(|i| Some((test.image[i], numbers.get(&class(test, i)?).copied())));
        let tested: Classes = tested.collect();
        Self {
            rest: side(false),
            held_out: side(true),
            strangers: tested.values().filter(|c| c.is_none()).count() as u32,
            test: tested,
            labels: order.iter().map(|o| o.0).collect(),
        }
    }

    /// Images that teach or choose.
    pub(super) fn all(&self) -> Classes {
        self.rest.iter().chain(&self.held_out).map(|(image, class)| (*image, *class)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn images(rows: &[(Option<i32>, Option<&str>)]) -> Images {
        let mut t = Images::default();
        for (i, (label, class)) in rows.iter().enumerate() {
            t.image.push(i as u32);
            t.name.push(i.to_string().into());
            t.label.push(*label);
            t.class.push(class.map(Name::from));
            t.width_px.push(1);
            t.height_px.push(1);
            t.grid_h.push(1);
            t.grid_w.push(1);
        }
        t
    }

    fn params() -> LinearEvalParams {
        LinearEvalParams { last_blocks: vec![1], ..LinearEvalParams::dinov2(vec!["final".into()]) }
    }

    /// Breaks when the test set's own numbers are taken: it has no `ant`, so its `cat` is number 0.
    #[test]
    fn classes_of_two_runs_are_matched_by_name() {
        let train = images(&[(Some(0), Some("ant")), (Some(2), Some("cat")), (Some(2), Some("cat")), (None, None)]);
        let test = images(&[(Some(0), Some("cat")), (Some(1), Some("yak")), (None, None)]);
        let sides = Sides::new(&LinearEvalParams { hold_out_frac: 0.0, ..params() }, &train, &test);
        assert_eq!(sides.labels, [0, 2]);
        assert_eq!(sides.rest, HashMap::from([(0, Some(0)), (1, Some(1)), (2, Some(1))]));
        assert_eq!((sides.test, sides.strangers), (HashMap::from([(0, Some(1)), (1, None)]), 1));
        assert!(sides.held_out.is_empty());
    }

    /// Breaks when an image teaches and chooses, or is lost, or when another seed holds out the same ones.
    #[test]
    fn a_tenth_is_held_out_and_teaches_nothing() {
        let rows: Vec<_> = (0..105).map(|i| (Some(i % 3), None)).collect();
        let sides = |seed| Sides::new(&LinearEvalParams { seed, ..params() }, &images(&rows), &images(&[]));
        let one = sides(0);
        assert_eq!((one.held_out.len(), one.rest.len(), one.all().len()), (10, 95, 105));
        assert_eq!(one, sides(0));
        assert_ne!(one.held_out, sides(1).held_out);
        assert!(one.all().iter().all(|(image, class)| *class == Some(image % 3)));
    }

    /// Breaks when a control invents or loses labels.
    #[test]
    fn permuted_labels_are_the_same_labels() {
        let rows: Vec<_> = (0..60).map(|i| (Some(i % 3), None)).collect();
        let control = LinearEvalParams { permute_labels: Some(1), ..params() };
        let all = Sides::new(&control, &images(&rows), &images(&rows)).all();
        let of = |class| all.values().filter(|c| **c == Some(class)).count();
        assert_eq!([of(0), of(1), of(2)], [20, 20, 20]);
        let same = all.iter().filter(|(image, class)| **class == Some(*image % 3)).count();
        assert!(same < 40, "{same}");
    }
}
