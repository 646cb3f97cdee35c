//! The k training vectors nearest to each of many queries, by dot product, without the matrix of all similarities.
//!
//! Training vectors come in blocks. Of each query the best `k` so far are kept (at most 2k for a moment), so that memory
//! is queries × k, however many training vectors there are. Several banks, each a subset of the training vectors, share
//! one product. Among equal similarities the training vector that comes first in its dataset is nearer, so the result
//! depends neither on threads nor on the order of blocks.

use std::cmp::Ordering;

use ndarray::parallel::prelude::*;
use ndarray::{Array2, ArrayView2, Axis};
use rayon::prelude::ParallelSliceMut as _;

use crate::products::product;

/// A training vector near a query: similarity, place among the training vectors.
pub(crate) type Neighbour = (f32, u32);

/// Queries of one product: with [`BLOCK`] training vectors, a megabyte of similarities for each thread.
const QUERIES: usize = 256;
/// Training vectors of one product.
pub(crate) const BLOCK: usize = 1024;

/// Divides a vector by its length, as torch's `normalize` does: a length under 1e-12 counts as that.
pub(crate) fn normalise(vector: &mut [f32]) {
    let length = vector.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt().max(1e-12);
    for x in vector {
        *x = (f64::from(*x) / length) as f32;
    }
}

/// Nearest first; among equals, the one that comes first.
fn nearer(a: Neighbour, b: Neighbour) -> Ordering {
    b.0.partial_cmp(&a.0).unwrap_or(Ordering::Equal).then(a.1.cmp(&b.1))
}

/// The best so far of one query in one bank.
#[derive(Debug, Clone)]
struct Nearest {
    k: usize,
    found: Vec<Neighbour>,
    /// The k-th best when it was last looked for; whatever is no nearer is out.
    last: Option<Neighbour>,
}

impl Nearest {
    fn offer(&mut self, one: Neighbour) {
        let out = match self.last {
            // A similarity that is not a number is near to nothing.
            None => one.0.is_nan(),
            Some(last) => one.0.is_nan() || nearer(one, last).is_ge(),
        };
        if out {
            return;
        }
        self.found.push(one);
        if self.found.len() == 2 * self.k {
            let (_, last, _) = self.found.select_nth_unstable_by(self.k - 1, |a, b| nearer(*a, *b));
            self.last = Some(*last);
            self.found.truncate(self.k);
        }
    }

    fn sorted(mut self) -> Vec<Neighbour> {
        self.found.sort_unstable_by(|a, b| nearer(*a, *b));
        self.found.truncate(self.k);
        self.found
    }
}

/// A subset of the training vectors in which neighbours are looked for.
#[derive(Debug, Clone)]
pub(crate) struct Bank {
    /// Neighbours that are kept, above 0.
    pub k: usize,
    /// Whether the training vector at a place belongs to it; none: all do.
    pub members: Option<Vec<bool>>,
}

/// A search that is going on.
pub(crate) struct Search<'a> {
    /// [Q, D], rows of length 1.
    queries: Array2<f32>,
    banks: &'a [Bank],
    /// Of each query, one of each bank.
    nearest: Vec<Vec<Nearest>>,
}

impl<'a> Search<'a> {
    pub(crate) fn new(queries: Array2<f32>, banks: &'a [Bank]) -> Self {
        let of_query: Vec<Nearest> =
            banks.iter().map(|bank| Nearest { k: bank.k, found: Vec::new(), last: None }).collect();
        Self { nearest: vec![of_query; queries.nrows()], queries, banks }
    }

    /// Offers training vectors, rows of length 1 of `block` [n, D], which stand at `places` among all.
    pub(crate) fn offer(&mut self, places: &[u32], block: &ArrayView2<'_, f32>) {
        let columns: Vec<Vec<usize>> = self
            .banks
            .iter()
            .map(|bank| match &bank.members {
                None => (0..places.len()).collect(),
                Some(members) => (0..places.len()).filter(|&i| members[places[i] as usize]).collect(),
            })
            .collect();
        let queries = self.queries.axis_chunks_iter(Axis(0), QUERIES).into_par_iter();
        queries.zip(self.nearest.par_chunks_mut(QUERIES)).for_each(|(queries, nearest)| {
            let mut similar = Array2::zeros((queries.nrows(), places.len()));
            product(0.0, &mut similar.view_mut(), 1.0, &queries, &block.t());
            for (similar, nearest) in similar.outer_iter().zip(nearest) {
                for (columns, nearest) in columns.iter().zip(nearest) {
                    for &i in columns {
                        nearest.offer((similar[i], places[i]));
                    }
                }
            }
        });
    }

    /// Of each query and each bank the neighbours, nearest first.
    pub(crate) fn finish(self) -> Vec<Vec<Vec<Neighbour>>> {
        self.nearest.into_par_iter().map(|banks| banks.into_iter().map(Nearest::sorted).collect()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::numpy_random::RandomState;

    /// Small integers, so that similarities are exact and often equal.
    fn vectors(n: usize, d: usize, seed: u32) -> Array2<f32> {
        let mut words = RandomState::new(seed);
        Array2::from_shape_fn((n, d), |_| (words.next_u32() % 5) as f32 - 2.0)
    }

    /// Breaks when a candidate is lost, when ties do not go to the first, or when the order of blocks matters.
    #[test]
    fn the_nearest_are_those_of_a_full_sort() {
        let (queries, train) = (vectors(300, 4, 1), vectors(700, 4, 2));
        let even: Vec<bool> = (0..700).map(|i| i % 2 == 0).collect();
        let banks = [Bank { k: 10, members: None }, Bank { k: 3, members: Some(even.clone()) }];
        let all = queries.dot(&train.t());
        for blocks in [vec![0..1, 1..700], vec![0..100, 100..699, 699..700], vec![400..700, 0..400]] {
            let mut search = Search::new(queries.clone(), &banks);
            for block in blocks {
                let places: Vec<u32> = block.clone().map(|i| i as u32).collect();
                search.offer(&places, &train.slice(ndarray::s![block, ..]));
            }
            for (q, found) in search.finish().into_iter().enumerate() {
                let sorted = |keep: &dyn Fn(usize) -> bool, k: usize| {
                    let mut all: Vec<Neighbour> =
                        (0..700).filter(|&i| keep(i)).map(|i| (all[[q, i]], i as u32)).collect();
                    all.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
                    all[..k].to_vec()
                };
                assert_eq!(found, [sorted(&|_| true, 10), sorted(&|i| even[i], 3)], "query {q}");
            }
        }
    }

    #[test]
    fn a_bank_smaller_than_k_gives_what_it_has() {
        let banks = [Bank { k: 10, members: None }];
        let mut search = Search::new(vectors(1, 4, 1), &banks);
        search.offer(&[0, 1], &vectors(2, 4, 2).view());
        assert_eq!(search.finish()[0][0].len(), 2);
    }

    #[test]
    fn no_number_is_no_neighbour() {
        let banks = [Bank { k: 2, members: None }];
        let mut search = Search::new(Array2::ones((1, 1)), &banks);
        let train = Array2::from_shape_vec((3, 1), vec![f32::NAN, -1.0, f32::NAN]).unwrap_or_default();
        search.offer(&[0, 1, 2], &train.view());
        assert_eq!(search.finish()[0][0], [(-1.0, 1)]);
    }

    #[test]
    fn lengths_become_one_and_nothing_stays_nothing() {
        let (mut long, mut nothing) = ([3.0, 4.0], [0.0, 0.0]);
        normalise(&mut long);
        normalise(&mut nothing);
        assert_eq!((long, nothing), ([0.6, 0.8], [0.0, 0.0]));
    }
}
