//! Test-time registers: a model without registers is given some while it runs, without training.
//!
//! R tokens of zeros are appended to the model's own registers ([`with_zero_registers`]). In the blocks of the register
//! neurons (hidden units that are most active where outliers stand, found by the stage `find_neurons`), for each unit u:
//!
//! ```text
//! m = the value of largest magnitude of u over all other tokens, with its sign
//! h[appended, u] = m;   h[patches and own registers, u] = 0
//! ```
//! so that what would have made an outlier of a patch makes one of a register. CLS keeps its value, as in the source.
//! Source: Jiang et al., "Vision Transformers Don't Need Trained Registers"; `test-time-registers`, `hook_fn.py`
//! (`activate_on_registers`, `normal_values = "zero"`), which takes the largest value where this takes the largest
//! magnitude: the same wherever GELU is the activation and the unit is active.

use std::collections::BTreeMap;

use schemas::tables::RegisterNeurons;
use serde::{Deserialize, Serialize};
use vit::{Before, Editor, Layout, Params, Then, VitConfig, VitError};

use crate::params::ParamsError;

/// How many registers, and how many neurons move to them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TestTimeRegisters {
    /// Registers appended.
    pub registers: u16,
    /// The first so many units of `register_neurons`; all of them where the chosen blocks have fewer, as that table then
    /// tells. Where it has none, nothing can be moved, and the run stops.
    pub neurons: u32,
}

impl TestTimeRegisters {
    /// Whether a model, described with the appended registers, can be run so.
    pub fn check(self, model: &VitConfig) -> Result<(), ParamsError> {
        match self {
            Self { registers: 0, .. } => Err(ParamsError::Nothing("test_time_registers.registers")),
            Self { neurons: 0, .. } => Err(ParamsError::Nothing("test_time_registers.neurons")),
            Self { registers, .. } if usize::from(registers) > model.registers => {
                Err(ParamsError::Registers(registers, model.registers))
            }
            _ => Ok(()),
        }
    }

    /// The editor that moves the neurons of a table.
    pub(crate) fn mover(self, table: &RegisterNeurons) -> Moved {
        let mut units: BTreeMap<u16, Vec<usize>> = BTreeMap::new();
        let first = (0..table.rank.len()).filter(|&i| table.rank[i] < self.neurons);
        for i in first {
            units.entry(table.block[i]).or_default().push(table.unit[i] as usize);
        }
        Moved { appended: usize::from(self.registers), units }
    }
}

/// The description and the parameters of the same model with `extra` more registers, which are zero.
pub fn with_zero_registers(
    config: &VitConfig,
    mut params: Params,
    extra: usize,
) -> Result<(VitConfig, Params), VitError> {
    let (own, d) = (config.registers, config.width);
    let mut tokens = if own > 0 { params.get("register_tokens", &[own, d])?.to_vec() } else { Vec::new() };
    tokens.resize((own + extra) * d, 0.0);
    if own + extra > 0 {
        params.insert("register_tokens", [own + extra, d], tokens);
    }
    Ok((VitConfig { registers: own + extra, ..config.clone() }, params))
}

/// Units that move to the last registers, by block.
pub(crate) struct Moved {
    appended: usize,
    units: BTreeMap<u16, Vec<usize>>,
}

impl Editor for Moved {
    fn before(&self, _: u16) -> Option<Before> {
        None
    }

    fn edit(&self, _: u16, _: Layout, _: &mut [f32], _: Option<&[f32]>) -> Then {
        Then::Execute
    }

    fn wants_hidden(&self, block: u16) -> bool {
        self.units.contains_key(&block)
    }

    fn hidden(&self, block: u16, layout: Layout, hidden: &mut [f32]) {
        let Some(units) = self.units.get(&block) else { return };
        let (tokens, prefix) = (layout.tokens(), layout.prefix());
        let width = hidden.len() / tokens;
        let appended = prefix - self.appended..prefix;
        for &unit in units.iter().filter(|&&unit| unit < width) {
            let mut most = 0.0f32;
            for token in (0..tokens).filter(|token| !appended.contains(token)) {
                let value = &mut hidden[token * width + unit];
                if value.abs() > most.abs() {
                    most = *value;
                }
                if token > 0 {
                    *value = 0.0;
                }
            }
            for token in appended.clone() {
                hidden[token * width + unit] = most;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
    use vit::executor::{DeviceChoice, Precision, open};
    use vit::planted::{Dials, IMAGE_PX, planted};
    use vit::{Pixels, Request, Site};

    use super::*;

    /// Breaks when the sign is lost, when CLS or another unit changes, when the appended token's own value counts, or
    /// when the model's own register keeps its value.
    #[test]
    fn a_unit_moves_to_the_appended_registers_with_its_sign() {
        // CLS, an own register, two appended, two patches; three units, of which 1 and 2 move.
        let layout = Layout { registers: 3, grid_h: 1, grid_w: 2 };
        let mut hidden =
            [[1.0, 0.5, 1.0], [2.0, 1.0, 1.0], [3.0, 99.0, 0.0], [4.0, 98.0, 0.0], [5.0, -7.0, 2.0], [6.0, 3.0, 6.0]]
                .concat();
        let table = RegisterNeurons {
            rank: vec![0, 1, 2],
            block: vec![4, 4, 4],
            unit: vec![1, 2, 0],
            ..RegisterNeurons::default()
        };
        let moved = TestTimeRegisters { registers: 2, neurons: 2 }.mover(&table);
        assert!(moved.wants_hidden(4) && !moved.wants_hidden(3) && moved.before(4).is_none());
        moved.hidden(4, layout, &mut hidden);
        let wanted =
            [[1.0, 0.5, 1.0], [2.0, 0.0, 0.0], [3.0, -7.0, 6.0], [4.0, -7.0, 6.0], [5.0, 0.0, 0.0], [6.0, 0.0, 0.0]];
        assert_eq!(hidden, wanted.concat());
    }

    /// Breaks when the appended registers are not zero, stand before the model's own, or are not counted.
    #[test]
    fn appended_registers_are_zero_and_come_last() {
        for own in [0, 2] {
            let (config, params) = planted(&Dials::default(), own, None).unwrap();
            let (wide, params) = with_zero_registers(&config, params, 3).unwrap();
            assert_eq!(wide.registers, own + 3);
            let encoder = open(&wide, &params, &DeviceChoice::Cpu(None), Precision::F32).unwrap();
            let image = Pixels { height: IMAGE_PX, width: IMAGE_PX, data: vec![0.0; 3 * IMAGE_PX * IMAGE_PX] };
            let want = Request { norms: [Site::WithPosition].into(), ..Request::default() };
            let trace = encoder.encode(&[&image], &want).unwrap().remove(0);
            let norms = &trace.norms[&Site::WithPosition];
            assert_eq!(trace.layout.registers, own + 3);
            assert_eq!(norms[1 + own..4 + own], [0.0; 3]);
            assert!(norms[..=own].iter().all(|&n| n > 0.0), "{norms:?}");
        }
    }

    #[test]
    fn what_cannot_be_appended_is_refused() {
        let (config, _) = planted(&Dials::default(), 2, None).unwrap();
        TestTimeRegisters { registers: 2, neurons: 1 }.check(&config).unwrap();
        for (registers, neurons) in [(0, 1), (1, 0), (3, 1)] {
            assert!(TestTimeRegisters { registers, neurons }.check(&config).is_err(), "{registers} {neurons}");
        }
    }
}
