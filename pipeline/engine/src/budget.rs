//! Refuses a plan that does not fit, before anything burns.

use serde::{Deserialize, Serialize};

use crate::plan::Plan;
use crate::store::Store;

/// Limits; each is off when absent. A limit changes no number, so it is in no fingerprint.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Budget {
    /// Bytes that the missing parts may take on disk, GB (10⁹).
    pub store_gb: Option<f64>,
    /// Memory of the process, GB.
    pub memory_gb: Option<f64>,
    /// Memory of the device, GB.
    pub device_gb: Option<f64>,
    /// Wall time of the missing shards, hours.
    pub hours: Option<f64>,
}

/// Cost of what is missing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Cost {
    /// Bytes on disk.
    pub store_bytes: f64,
    /// Largest memory of the process over the steps, bytes.
    pub memory_bytes: f64,
    /// Largest memory of the device over the steps, bytes.
    pub device_bytes: f64,
    /// Wall time, seconds.
    pub secs: f64,
}

/// Cost of the shards of a plan that are not in the store.
pub fn cost_of_missing(plan: &Plan, store: &Store) -> Cost {
    let mut cost = Cost::default();
    for step in &plan.steps {
        let missing = step.missing(store).count() as f64 / step.shards.len() as f64;
        if missing == 0.0 {
            continue;
        }
        cost.store_bytes += missing * step.estimate.tables.values().map(|t| t.bytes as f64).sum::<f64>();
        cost.secs += missing * step.estimate.secs;
        cost.memory_bytes = cost.memory_bytes.max(step.estimate.host_bytes as f64);
        cost.device_bytes = cost.device_bytes.max(step.estimate.device_bytes as f64);
    }
    cost
}

impl Budget {
    /// One sentence per limit that a cost breaks.
    pub fn violations(&self, cost: &Cost) -> Vec<String> {
        let gb = 1e9;
        [
            ("store_gb", "GB on disk", self.store_gb, cost.store_bytes / gb),
            ("memory_gb", "GB of memory", self.memory_gb, cost.memory_bytes / gb),
            ("device_gb", "GB of device memory", self.device_gb, cost.device_bytes / gb),
            ("hours", "hours", self.hours, cost.secs / 3600.0),
        ]
        .into_iter()
        .filter_map(|(key, unit, limit, need)| {
            let limit = limit?;
            (need > limit).then(|| format!("needs about {} {unit}, and budget.{key} is {limit}", digits(need)))
        })
        .collect()
    }
}

/// Two digits after the point, or as many as show two that are not 0.
fn digits(need: f64) -> String {
    let places = (1.0 - need.log10().floor()).clamp(2.0, 12.0) as usize;
    format!("{need:.places$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_broken_only_above_it() {
        let cost = Cost { store_bytes: 2e9, secs: 7200.0, ..Cost::default() };
        let within = Budget { store_gb: Some(2.0), hours: Some(2.0), ..Budget::default() };
        assert!(within.violations(&cost).is_empty());
        let over = Budget { store_gb: Some(1.9), hours: Some(1.0), ..Budget::default() };
        assert_eq!(over.violations(&cost).len(), 2);
    }

    /// Breaks when a limit is broken by "about 0.00 hours".
    #[test]
    fn what_is_needed_is_never_shown_as_nothing() {
        let cost = Cost { secs: 0.1, ..Cost::default() };
        let tiny = Budget { hours: Some(1e-6), ..Budget::default() };
        assert_eq!(tiny.violations(&cost), ["needs about 0.000028 hours, and budget.hours is 0.000001"]);
        assert_eq!(digits(1234.5), "1234.50");
    }
}
