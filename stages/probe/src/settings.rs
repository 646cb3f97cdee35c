//! How an experiment is fitted, in words: what tells two numbers of one name apart.
//!
//! Seeds are left out, since numbers that differ in them alone are averaged.

use crate::classify::Regularisation;
use crate::logistic::Standardise;
use crate::position::PositionModel;
use crate::split::Split;
use crate::stage::Experiment;

impl Experiment {
    /// Penalty, scaling and what is tested: `C = 1, raw features, tested on 20 % of the images`.
    pub fn settings(&self) -> String {
        let mut words = match self {
            Self::TokenClass(e) | Self::PooledClass(e) | Self::MultiLabel(e) => {
                vec![regularisation(&e.protocol.regularisation), scaling(e.protocol.logistic.standardise)]
            }
            Self::Knn(e) => vec![e.settings()],
            Self::Position(e) => {
                let model = match &e.model {
                    PositionModel::Softmax { c, logistic } => vec![format!("C = {c}"), scaling(logistic.standardise)],
                    PositionModel::LeastSquares { ridge } => vec![format!("least squares, ridge {ridge}")],
                    PositionModel::FlatIndex { ridge } => {
                        vec![format!("least squares to the flattened index, ridge {ridge}")]
                    }
                };
                let kinds = if e.separate { "a model for each kind of token" } else { "one model for all tokens" };
                [model, vec![kinds.to_owned()]].concat()
            }
            Self::Pixels(e) => vec![format!("ridge {}", e.ridge)],
        };
        words.push(tested(self.split()));
        words.join(", ")
    }
}

fn regularisation(how: &Regularisation) -> String {
    match how {
        Regularisation::Fixed { c } => format!("C = {c}"),
        Regularisation::Select { steps, one_in: 10, .. } => format!("C of {steps} chosen on a tenth"),
        Regularisation::Select { steps, one_in, .. } => format!("C of {steps} chosen on one in {one_in}"),
    }
}

fn scaling(how: Standardise) -> String {
    match how {
        Standardise::None => "raw features",
        Standardise::Floor { .. } => "features divided by their spread",
    }
    .to_owned()
}

fn tested(split: Split) -> String {
    // Without the noise of a binary fraction: 1 − 0.8 is 20 %.
    let percent = |frac: f64| (frac * 1e4).round() / 100.0;
    match split {
        Split::Datasets => "a test set of its own".to_owned(),
        Split::Random { test_frac, .. } | Split::Sklearn { test_frac, .. } => {
            format!("tested on {} % of the images", percent(test_frac))
        }
        Split::SklearnRows { test_frac, .. } => format!("tested on {} % of the tokens", percent(test_frac)),
        Split::First { train_frac } => format!("tested on the last {} % of the images", percent(1.0 - train_frac)),
        Split::FirstOfClass { train_frac } => {
            format!("tested on the last {} % of each class", percent(1.0 - train_frac))
        }
        Split::EveryNth { nth } => format!("tested on every {nth}th image"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::classify::{Average, Protocol};
    use crate::token_class::VectorClass;

    fn of(protocol: Protocol) -> String {
        Experiment::TokenClass(VectorClass { site: "final".into(), subjects: vec![], draws: None, protocol }).settings()
    }

    #[test]
    fn protocols_that_share_a_name_have_other_words() {
        let grid = Protocol::dinov2_logreg(Split::Datasets, Average::Micro);
        assert_eq!(of(grid), "C of 45 chosen on a tenth, raw features, a test set of its own");
        assert_eq!(of(Protocol::study(42)), "C = 1, raw features, tested on 20 % of the images");
        assert_eq!(of(Protocol::study(42)), of(Protocol::study(7)), "seeds alone do not tell numbers apart");
        let first = Protocol::fixed_c(0.5, Split::First { train_frac: 0.8 }).standardised();
        assert_eq!(of(first), "C = 0.5, features divided by their spread, tested on the last 20 % of the images");
    }
}
