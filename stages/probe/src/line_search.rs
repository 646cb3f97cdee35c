//! Step lengths along a direction in which a convex φ(t) falls.

/// Share of the slope that a step must turn into a decrease.
const DECREASE: f64 = 1e-4;

/// Finds t with `|φ'(t)| ≤ slope_left·|φ'(0)|` and a decrease: φ' grows, so a bracket always closes.
///
/// The caller evaluates φ at [`LineSearch::length`] and tells the answer to [`LineSearch::accepts`], until it is.
///
/// Source: Nocedal & Wright, §3.5, with the secant's root in place of the cubic's.
pub(crate) struct LineSearch {
    value: f64,
    slope: f64,
    rounding: f64,
    slope_left: f64,
    /// The longest step known to fall, and the slope there.
    low: (f64, f64),
    /// The shortest step known to rise again.
    high: Option<(f64, f64)>,
    t: f64,
}

impl LineSearch {
    /// From φ(0) and φ'(0); values are equal to within `rounding`. `None` where φ does not fall.
    pub(crate) fn new(value: f64, slope: f64, rounding: f64, slope_left: f64) -> Option<Self> {
        (slope < 0.0).then_some(Self { value, slope, rounding, slope_left, low: (0.0, slope), high: None, t: 1.0 })
    }

    /// The t to try.
    pub(crate) fn length(&self) -> f64 {
        self.t
    }

    /// Whether φ(t) = `value`, φ'(t) = `slope` will do. If not, there is another t to try.
    pub(crate) fn accepts(&mut self, value: f64, slope: f64) -> bool {
        let decreased = value <= self.value + DECREASE * self.t * self.slope + self.rounding;
        if slope.abs() <= self.slope_left * self.slope.abs() && (decreased || slope <= 0.0) {
            return true;
        }
        if slope < 0.0 {
            self.low = (self.t, slope);
        } else {
            self.high = Some((self.t, slope)); // also where the logits overflowed: NaN is not below 0
        }
        let (low, low_slope) = self.low;
        self.t = match self.high {
            None => 2.0 * self.t,
            // The secant's root, kept off the ends of the bracket.
            Some((end, slope)) if slope.is_finite() => {
                let root = low - low_slope * (end - low) / (slope - low_slope);
                root.clamp(low + 0.1 * (end - low), low + 0.9 * (end - low))
            }
            Some((end, _)) => 0.5 * (low + end),
        };
        false
    }

    /// A step along which φ falls all the way, if a short one.
    pub(crate) fn falling(&self) -> Option<f64> {
        (self.low.0 > 0.0).then_some(self.low.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Steps tried until φ is small enough.
    fn steps(phi: impl Fn(f64) -> (f64, f64)) -> Vec<f64> {
        let (value, slope) = phi(0.0);
        let mut search = LineSearch::new(value, slope, 0.0, 0.5).expect("φ falls");
        let mut tried = vec![];
        while tried.len() < 60 {
            let t = search.length();
            tried.push(t);
            let (value, slope) = phi(t);
            if search.accepts(value, slope) {
                return tried;
            }
        }
        panic!("no step in {tried:?}");
    }

    #[test]
    fn a_parabola_takes_its_minimum_near_or_far() {
        for minimum in [1e-3, 0.7, 1.0, 3.0, 1e4] {
            let tried = steps(|t| ((t - minimum).powi(2), 2.0 * (t - minimum)));
            let t = tried[tried.len() - 1];
            assert!((t - minimum).abs() <= 0.5 * minimum, "{t} for {minimum}");
        }
    }

    /// Breaks where an overflow is taken for a decrease.
    #[test]
    fn an_overflow_shortens_the_step() {
        let tried = steps(|t| if t > 0.01 { (f64::NAN, f64::NAN) } else { ((t - 0.006).powi(2), 2.0 * (t - 0.006)) });
        assert!(tried[tried.len() - 1] < 0.01 && tried[0] == 1.0);
    }

    #[test]
    fn nothing_falls_uphill() {
        assert!(LineSearch::new(1.0, 0.0, 0.0, 0.5).is_none() && LineSearch::new(1.0, f64::NAN, 0.0, 0.5).is_none());
    }
}
