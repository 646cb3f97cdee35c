//! Neurons of the planted model, whose jump of the norm is written into known units.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::atomic::AtomicBool;

use engine::run::{RunOptions, run};
use engine::{ErrorKind, Plan, Silent, Store, outputs_of};
use schemas::Table;
use schemas::tables::{NormHistograms, TokenStats};
use vit::executor::{DeviceChoice, open};
use vit::planted::{Dials, planted};

use super::*;
use crate::params::ExtractParams;
use crate::stage::Extract;
use crate::stage::tests::{params as extraction, scenes};
use crate::test_time::{TestTimeRegisters, with_zero_registers};

/// Breaks when the prefix shifts the mask, when signs cancel, or when the two kinds are exchanged.
#[test]
fn activity_is_the_mean_magnitude_on_outliers_and_on_others() {
    let layout = Layout { registers: 1, grid_h: 1, grid_w: 3 };
    let mut hidden = [[90.0, 90.0], [80.0, 80.0], [1.0, -1.0], [-5.0, 2.0], [3.0, 3.0]].concat();
    let before = hidden.clone();
    let watch = Watch { blocks: &[3], outlier: &[true, false, true], sums: Mutex::default() };
    assert!(watch.wants_hidden(3) && !watch.wants_hidden(2));
    watch.hidden(3, layout, &mut hidden);
    assert_eq!(hidden, before, "watching changes nothing");
    let sums = watch.sums.into_inner().unwrap();
    let mut activity = Activity { images: 1, patches: [2, 1], sums: sums.clone() };
    activity.add(Activity { images: 1, patches: [2, 1], sums });
    activity.add(Activity::default());
    let t = activity.table(9);
    assert_eq!((t.rank, t.block, t.unit), (vec![0, 1], vec![3, 3], vec![0, 1]));
    assert_eq!((t.on_outliers, t.on_others), (vec![2.0, 2.0], vec![5.0, 2.0]));
    assert_eq!((t.outliers, t.images), (vec![4, 4], vec![2, 2]));
    assert_eq!(activity.table(1).rank.len(), 1);
}

fn found(blocks: Vec<u16>, cutoff: f32, tuning: Tuning) -> FindNeurons {
    let ExtractParams { weights, precision, dataset, preprocess, outlier_site, .. } = extraction();
    let (config, params) = planted(&Dials::default(), 0, None).unwrap();
    let of = config.clone();
    let model = Model::new("planted".into(), config.clone(), "w".into(), Precision::F32, move || {
        open(&of, &params, &DeviceChoice::Cpu(None), Precision::F32)
    });
    FindNeurons {
        model: Arc::new(model),
        source: Arc::new(scenes(8, 8)),
        params: FindNeuronsParams {
            model: config,
            weights,
            precision,
            dataset,
            preprocess,
            outliers: OutlierPolicy::Fixed { cutoff },
            outlier_site,
            images: 8,
            blocks,
            neurons: 6,
        },
        cutoff: None,
        partition: vec![("model", "planted".into())],
        tuning,
    }
}

fn stored(stages: Vec<Box<dyn Stage>>, store: &Store) {
    let plan = Plan::new(stages).unwrap();
    let options = RunOptions { cancel: &AtomicBool::new(false), progress: &Silent, max_skip_frac: 0.0 };
    let summary = run(&plan, store, &options).unwrap();
    assert!(summary.failed.is_empty(), "{:?}", summary.failed);
}

fn read<T: Table>(store: &Store, outputs: &[TableRef]) -> T {
    let table = outputs.iter().find(|t| t.table == T::NAME).unwrap();
    let mut all = T::default();
    for part in store.parts(table).unwrap() {
        all.append(&mut schemas::read_part(&part).unwrap());
    }
    all
}

/// The block of the planted model whose MLP adds 60 to the norm of flagged tokens, in two units (docs/planted.md).
const JUMP: u16 = 3;

/// Breaks when the hidden layer is read before the activation, of another block, or with tokens shifted: in the jump's
/// block no other unit is active at all.
#[test]
fn the_units_that_make_the_jump_are_found() {
    let stage = |tuning| found(vec![JUMP], 40.0, tuning);
    let mut expected = None;
    for tuning in [Tuning::cpu(1), Tuning::cpu(3)] {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let outputs = outputs_of(&stage(tuning));
        stored(vec![Box::new(stage(tuning))], &store);
        let t: RegisterNeurons = read(&store, &outputs);
        assert_eq!(t.rows(), 6);
        let mut two = t.unit[..2].to_vec();
        two.sort_unstable();
        assert_eq!((two, &t.block[..2]), (vec![0, 1], &[JUMP, JUMP][..]));
        assert!(t.on_outliers[1] > 5.0 && t.on_others[..2].iter().all(|&x| x < 0.01), "{t:?}");
        assert!(t.on_outliers[2..].iter().all(|&x| x < 0.01), "{t:?}");
        assert!(t.outliers[0] > 0 && t.images[0] <= 8);
        assert!(*expected.get_or_insert_with(|| t.clone()) == t, "{tuning:?}");
    }
    // Without outliers nothing is a register neuron.
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let outputs = outputs_of(&found(vec![JUMP], 1e9, Tuning::cpu(2)));
    stored(vec![Box::new(found(vec![JUMP], 1e9, Tuning::cpu(2)))], &store);
    assert_eq!(read::<RegisterNeurons>(&store, &outputs).rows(), 0);
}

/// Eight scenes through the planted model, with registers that take over the neurons of a table.
fn extract(registers: Option<TestTimeRegisters>, neurons: &TableRef) -> Extract {
    let extra = registers.map_or(0, |r| usize::from(r.registers));
    let (config, weights) = planted(&Dials::default(), 0, None).unwrap();
    let (config, weights) = with_zero_registers(&config, weights, extra).unwrap();
    let of = config.clone();
    let model = Model::new("planted".into(), config.clone(), "w".into(), Precision::F32, move || {
        open(&of, &weights, &DeviceChoice::Cpu(None), Precision::F32)
    });
    Extract {
        model: Arc::new(model),
        source: Arc::new(scenes(8, 8)),
        params: ExtractParams {
            model: config,
            outliers: OutlierPolicy::Fixed { cutoff: 40.0 },
            stats_sites: vec![extraction().outlier_site],
            test_time_registers: registers,
            ..extraction()
        },
        cutoff: None,
        neurons: registers.map(|_| neurons.clone()),
        partition: vec![("model", "planted".into())],
        tuning: Tuning::cpu(2),
    }
}

/// Breaks when a model whose search found no outlier is measured as if its outliers had been moved. Fewer units than the
/// parameters ask for are no error: all of them move.
#[test]
fn without_register_neurons_there_is_no_run_with_test_time_registers() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let with = |cutoff, neurons| -> Plan {
        let search = found(vec![JUMP], cutoff, Tuning::cpu(2));
        let table = outputs_of(&search).pop().unwrap();
        let registers = TestTimeRegisters { registers: 1, neurons };
        Plan::new(vec![Box::new(search), Box::new(extract(Some(registers), &table))]).unwrap()
    };
    let options = RunOptions { cancel: &AtomicBool::new(false), progress: &Silent, max_skip_frac: 0.0 };
    let e = run(&with(1e9, 2), &store, &options).unwrap_err();
    assert!(e.kind == ErrorKind::Missing && e.what.contains("has an outlier"), "{e}");
    assert!(e.fix.contains("`test_time_registers`") && e.fix.contains("cut-off"), "{}", e.fix);
    assert!(run(&with(40.0, 600), &store, &options).unwrap().failed.is_empty());
}

/// Breaks when test-time registers do not take the outliers over: without them the scenes have patches above the
/// cut-off, with them none has, and the appended register has what the patches lost.
#[test]
fn outliers_move_from_patches_to_a_test_time_register() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let neurons = found(vec![JUMP], 40.0, Tuning::cpu(2));
    let table = outputs_of(&neurons).pop().unwrap();
    let plain = extract(None, &table);
    let moved = extract(Some(TestTimeRegisters { registers: 1, neurons: 2 }), &table);
    let outputs = [outputs_of(&plain), outputs_of(&moved)];
    stored(vec![Box::new(neurons), Box::new(plain), Box::new(moved)], &store);
    let [before, after]: [TokenStats; 2] = outputs.each_ref().map(|o| read(&store, o));
    let outliers = |t: &TokenStats| t.outlier.iter().filter(|&&o| o).count();
    assert!(outliers(&before) > 0);
    assert_eq!(outliers(&after), 0);
    let register = |t: &TokenStats| -> Vec<f32> {
        (0..t.rows()).filter(|&i| &*t.kind[i] == "register").map(|i| t.norm[i]).collect()
    };
    let norms = register(&after);
    assert_eq!(norms.len(), 8);
    // The units of an image with outliers are moved, and there are few without.
    assert!(norms.iter().filter(|&&n| n > 40.0).count() >= 4, "{norms:?}");
    let kinds: Vec<String> = read::<NormHistograms>(&store, &outputs[1]).kind.iter().map(ToString::to_string).collect();
    assert!(kinds.contains(&"register_0".to_owned()) && !kinds.contains(&"register_1".to_owned()));
}

#[test]
fn what_cannot_be_searched_is_refused() {
    let good = found(vec![JUMP], 40.0, Tuning::cpu(1)).params;
    good.check().unwrap();
    for bad in [
        FindNeuronsParams { images: 0, ..good.clone() },
        FindNeuronsParams { neurons: 0, ..good.clone() },
        FindNeuronsParams { blocks: vec![], ..good.clone() },
        FindNeuronsParams { blocks: vec![99], ..good.clone() },
        FindNeuronsParams { outlier_site: Site::Attention(0), ..good },
    ] {
        assert!(bad.check().is_err(), "{bad:?}");
    }
}
