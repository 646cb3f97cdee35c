//! A toy stage through the whole engine: resume, limits, races, and what failures leave behind.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::Mutex;
use std::sync::mpsc::channel;

use schemas::tables::{Cutoffs, Skipped};
use schemas::{Canonical, Meaning, Table as _};
use serde::Serialize;

use super::*;
use crate::stage::{Estimate, Sizes, Stage, TableRef, TableSpec, outputs_of};

type Hook = Box<dyn Fn(u32, &mut ShardIo<'_>) -> Result<(), StageError> + Send + Sync>;

/// Twenty items in four shards; writes a row of `skipped` per item and one of `cutoffs`, and skips so many of a shard.
struct Toy {
    name: &'static str,
    inputs: Vec<TableRef>,
    skips: u64,
    /// Called when the files are open and hold rows, before they are finished.
    hook: Hook,
}

#[derive(Serialize)]
struct ToyMeaning {
    skips: u64,
}
impl Meaning for ToyMeaning {}

impl Stage for Toy {
    fn name(&self) -> &'static str {
        self.name
    }
    fn version(&self) -> u32 {
        1
    }
    fn inputs(&self) -> Vec<TableRef> {
        self.inputs.clone()
    }
    fn outputs(&self) -> Vec<TableSpec> {
        ["skipped", "cutoffs"].map(|table| TableSpec { table, partition: vec![("of", "toys".into())] }).into()
    }
    fn meaning(&self) -> Canonical {
        Canonical::of(&ToyMeaning { skips: self.skips })
    }
    fn estimate(&self, _: &Sizes) -> Estimate {
        Estimate { items: 20, items_per_shard: 5, ..Estimate::default() }
    }
    fn run(&self, shard: &Shard, io: &mut ShardIo<'_>) -> Result<ShardReport, StageError> {
        let mut items = io.create::<Skipped>()?;
        for image in shard.items.clone() {
            items.write(&mut Skipped {
                image: vec![image as u32],
                name: vec!["toy".into()],
                reason: vec!["broken".into()],
                detail: vec!["".into()],
            })?;
        }
        (self.hook)(shard.index, io)?;
        io.finish(items)?;
        io.write(Cutoffs::default())?;
        Ok(ShardReport { items: 5, skipped: self.skips })
    }
}

fn toy(skips: u64, hook: Hook) -> Toy {
    Toy { name: "toy", inputs: Vec::new(), skips, hook }
}

fn quiet() -> Hook {
    Box::new(|_, _| Ok(()))
}

fn plan(stages: Vec<Toy>) -> Plan {
    Plan::new(stages.into_iter().map(|s| Box::new(s) as Box<dyn Stage>).collect()).unwrap()
}

static GO_ON: AtomicBool = AtomicBool::new(false);

fn run_with(plan: &Plan, store: &Store, max_skip_frac: f64) -> Result<RunSummary, StageError> {
    run(plan, store, &RunOptions { cancel: &GO_ON, progress: &crate::Silent, max_skip_frac })
}

fn run_one(plan: &Plan, store: &Store, shard: usize, max_skip_frac: f64) -> Result<Option<ShardReport>, StageError> {
    let options = RunOptions { cancel: &GO_ON, progress: &crate::Silent, max_skip_frac };
    run_shard(&plan.steps[0], &plan.steps[0].shards[shard], store, &options)
}

fn ends(name: &str, extension: &str) -> bool {
    Path::new(name).extension().is_some_and(|e| e == extension)
}

/// Names of all files below a folder, but for the ledger.
fn files(folder: &Path) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        if entry.file_type().unwrap().is_dir() {
            names.extend(files(&entry.path()));
        } else if entry.file_name() != "ledger.jsonl" {
            names.insert(entry.path().display().to_string());
        }
    }
    names
}

fn temporary(folder: &Path) -> Vec<String> {
    files(folder).into_iter().filter(|n| ends(n, "tmp")).collect()
}

#[test]
fn running_again_does_what_is_missing_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let plan = plan(vec![toy(0, quiet())]);
    assert!(run_one(&plan, &store, 2, 0.0).unwrap().is_some());
    assert!(run_one(&plan, &store, 2, 0.0).unwrap().is_none());
    let summary = run_with(&plan, &store, 0.0).unwrap();
    assert_eq!((summary.done, summary.reused), (3, 1));
    // Two tables of four shards, each with its marker, and what the run means beside both.
    assert_eq!(files(folder.path()).len(), 18);
    // A part that was cut short behind our back, and a marker that a crash kept from being written.
    let step = &plan.steps[0];
    let (short, unmarked) = (store.part(&step.outputs[0], 0), store.part(&step.outputs[1], 3).with_extension("done"));
    let whole = fs::read(&short).unwrap();
    fs::write(&short, &whole[1..]).unwrap();
    fs::remove_file(&unmarked).unwrap();
    let kept = fs::metadata(store.part(&step.outputs[0], 3)).unwrap().modified().unwrap();
    assert_eq!(step.missing(&store).map(|s| s.index).collect::<Vec<_>>(), [0, 3]);
    let summary = run_with(&plan, &store, 0.0).unwrap();
    assert_eq!((summary.done, summary.reused), (2, 2));
    assert_eq!(fs::read(&short).unwrap(), whole);
    // The part that had its marker was not written again.
    assert_eq!(fs::metadata(store.part(&step.outputs[0], 3)).unwrap().modified().unwrap(), kept);
    let rows = schemas::read_part::<Skipped>(&store.part(&step.outputs[0], 3)).unwrap();
    assert_eq!((rows.rows(), rows.image), (5, vec![15, 16, 17, 18, 19]));
}

#[test]
fn too_many_skipped_items_stop_the_step_and_every_later_run_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let plan = plan(vec![toy(2, quiet())]);
    // Two of five are skipped: 2, then 4 of 20 items; three are allowed.
    let e = run_with(&plan, &store, 0.15).unwrap_err();
    assert!(e.kind == ErrorKind::Missing && e.what.starts_with("4 of 20"), "{e}");
    assert!(e.what.ends_with("the first is `toy`: broken"), "{e}");
    assert_eq!(plan.steps[0].missing(&store).count(), 2);
    // What is there already counts, for a run and for a shard that is done.
    assert_eq!(run_with(&plan, &store, 0.15).unwrap_err().kind, ErrorKind::Missing);
    assert_eq!(run_one(&plan, &store, 0, 0.15).unwrap_err().kind, ErrorKind::Missing);
    assert_eq!(run_with(&plan, &store, 0.4).unwrap().skipped, 8);
    // The whole step is done, and still too much was skipped.
    assert_eq!(run_with(&plan, &store, 0.15).unwrap_err().kind, ErrorKind::Missing);
    assert!(check_skipped(&plan.steps[0], &store, 0.15).is_err() && check_skipped(&plan.steps[0], &store, 0.4).is_ok());
}

/// Breaks when one bad photo of a small folder ends the run, or when 0 no longer means none.
#[test]
fn a_few_skipped_items_are_no_failure_unless_none_is_allowed() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let one_shard = |skips| {
        let mut plan = plan(vec![toy(skips, quiet())]);
        plan.steps[0].shards.truncate(1);
        plan
    };
    // Of five items; a share of 0.01 is none of them.
    assert_eq!(run_with(&one_shard(FEW), &store, 0.01).unwrap().skipped, FEW);
    assert!(run_with(&one_shard(FEW), &store, 0.0).is_err());
    assert!(run_with(&one_shard(FEW + 1), &store, 0.01).is_err());
}

#[test]
fn a_single_shard_keeps_the_limit_too() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let plan = plan(vec![toy(2, quiet())]);
    assert!(run_one(&plan, &store, 3, 0.15).unwrap().is_some());
    // Its rows are written: the limit may be raised without doing it again.
    assert_eq!(run_one(&plan, &store, 1, 0.15).unwrap_err().kind, ErrorKind::Missing);
    assert!(run_one(&plan, &store, 1, 1.0).unwrap().is_none());
}

#[test]
fn a_failed_shard_leaves_nothing_and_stops_only_who_needs_it() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let fails = |shard, _: &mut ShardIo<'_>| match shard {
        1 => Err(StageError::new(ErrorKind::Shard, "the toy broke", "", "")),
        _ => Ok(()),
    };
    let first = toy(0, Box::new(fails));
    let second = Toy { name: "later", inputs: outputs_of(&first), skips: 0, hook: quiet() };
    let broken = plan(vec![first, second]);
    let summary = run_with(&broken, &store, 0.0).unwrap();
    assert_eq!((summary.done, summary.reused), (3, 0));
    let (id, shard, e) = &summary.failed[0];
    assert_eq!((id, *shard, e.at.as_str()), (&broken.steps[0].id(), 1, "toy toys shard 1"));
    assert_eq!(broken.steps[1].missing(&store).count(), 4);
    assert!(temporary(folder.path()).is_empty());
    let first = toy(0, quiet());
    let second = Toy { name: "later", inputs: outputs_of(&first), skips: 0, hook: quiet() };
    assert_eq!(run_with(&plan(vec![first, second]), &store, 0.0).unwrap().done, 5);
    let ledger = fs::read_to_string(folder.path().join("ledger.jsonl")).unwrap();
    assert_eq!(ledger.matches("shard_done").count(), 8);
    assert_eq!(ledger.matches("shard_failed").count(), 1);
}

#[test]
fn a_stage_that_forgets_a_table_is_a_bug_and_marks_nothing() {
    struct Forgetful(Toy);
    impl Stage for Forgetful {
        fn name(&self) -> &'static str {
            "forgetful"
        }
        fn version(&self) -> u32 {
            1
        }
        fn inputs(&self) -> Vec<TableRef> {
            Vec::new()
        }
        fn outputs(&self) -> Vec<TableSpec> {
            self.0.outputs()
        }
        fn meaning(&self) -> Canonical {
            self.0.meaning()
        }
        fn estimate(&self, inputs: &Sizes) -> Estimate {
            self.0.estimate(inputs)
        }
        fn run(&self, _: &Shard, io: &mut ShardIo<'_>) -> Result<ShardReport, StageError> {
            io.write(Skipped::default())?;
            Ok(ShardReport::default())
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let plan = Plan::new(vec![Box::new(Forgetful(toy(0, quiet())))]).unwrap();
    let e = run_with(&plan, &store, 0.0).unwrap_err();
    assert!(e.kind == ErrorKind::Bug && e.what.contains("`cutoffs`"), "{e}");
    assert!(!files(folder.path()).iter().any(|n| ends(n, "done") || ends(n, "tmp")));
}

#[test]
fn a_finished_shard_sweeps_what_killed_attempts_at_it_left() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let plan = plan(vec![toy(0, quiet())]);
    let dir = store.dir(&plan.steps[0].outputs[0]);
    fs::create_dir_all(&dir).unwrap();
    for name in [".part-00000.0123456789abcdef.tmp", ".part-00000.0123456789abcdef.done.tmp", ".part-00001.a.tmp"] {
        fs::write(dir.join(name), b"half").unwrap();
    }
    run_one(&plan, &store, 0, 0.0).unwrap();
    // Those of another shard belong to somebody else.
    let left = temporary(folder.path());
    assert!(left.len() == 1 && left[0].ends_with(".part-00001.a.tmp"), "{left:?}");
}

#[test]
fn temporary_names_say_the_shard_and_are_of_one_attempt() {
    let seen = std::sync::Arc::new(Mutex::new(BTreeSet::new()));
    for _ in 0..2 {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let (seen, root) = (std::sync::Arc::clone(&seen), folder.path().to_owned());
        let hook = move |_, _: &mut ShardIo<'_>| {
            let names = temporary(&root);
            assert_eq!(names.len(), 1, "{names:?}");
            seen.lock().unwrap().insert(names[0].rsplit('/').next().unwrap().to_owned());
            Ok(())
        };
        run_one(&plan(vec![toy(0, Box::new(hook))]), &store, 0, 0.0).unwrap();
    }
    // A process number would be the same both times, as it is in two containers.
    let seen = seen.lock().unwrap();
    assert_eq!(seen.len(), 2, "{seen:?}");
    assert!(seen.iter().all(|n| n.starts_with(".part-00000.") && ends(n, "tmp") && n.len() == 32), "{seen:?}");
}

/// Two attempts at one shard: the second has its files open when the first finishes and sweeps. `then` is what the
/// second meets.
fn race(then: fn() -> Result<(), StageError>) -> (Option<ShardReport>, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let (opened, is_open) = channel();
    let (finished, is_finished) = channel();
    let is_finished = Mutex::new(is_finished);
    let slow = move |_, _: &mut ShardIo<'_>| {
        opened.send(()).unwrap();
        is_finished.lock().unwrap().recv().unwrap();
        then()
    };
    let slow = plan(vec![toy(0, Box::new(slow))]);
    let loser = std::thread::scope(|scope| {
        let loser = scope.spawn(|| run_one(&slow, &store, 0, 0.0));
        is_open.recv().unwrap();
        assert!(run_one(&plan(vec![toy(0, quiet())]), &store, 0, 0.0).unwrap().is_some());
        finished.send(()).unwrap();
        loser.join().unwrap()
    });
    assert!(slow.steps[0].is_done(&store, 0));
    let rows = schemas::read_part::<Skipped>(&store.part(&slow.steps[0].outputs[0], 0)).unwrap();
    assert_eq!(rows.rows(), 5);
    (loser.unwrap(), folder)
}

#[test]
fn who_loses_a_race_is_content() {
    // The winner swept the loser's file away while it was open.
    let (_, folder) = race(|| Ok(()));
    assert!(temporary(folder.path()).is_empty());
    // Whatever the loser met on its way: the shard is done.
    let (report, folder) = race(|| Err(StageError::new(ErrorKind::Disk, "no such file", "", "")));
    assert_eq!(report, None);
    assert!(temporary(folder.path()).is_empty());
    assert!(fs::read_to_string(folder.path().join("ledger.jsonl")).unwrap().contains("shard_raced"));
}

/// Remembers events as text.
#[derive(Default)]
struct Listener(Mutex<Vec<String>>);

impl Progress for Listener {
    fn event(&self, event: &Event<'_>) {
        self.0.lock().unwrap().push(format!("{event:?}"));
    }
}

#[test]
fn a_single_shard_tells_its_step() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let (plan, listener) = (plan(vec![toy(1, quiet())]), Listener::default());
    let options = RunOptions { cancel: &GO_ON, progress: &listener, max_skip_frac: 1.0 };
    for _ in 0..2 {
        run_shard(&plan.steps[0], &plan.steps[0].shards[1], &store, &options).unwrap();
    }
    let step = |missing: u32, items: u64| {
        format!("{:?}", Event::Step { number: 1, steps: 1, title: "toy toys", shards: 4, missing, items })
    };
    let done = Event::ShardDone { index: 1, items: 5, skipped: 1, rows: 5 };
    let expected = [
        step(1, 5),
        format!("{:?}", Event::Shard { index: 1, items: 5 }),
        format!("{done:?}"),
        "StepDone".into(),
        step(0, 0),
    ];
    assert_eq!(listener.0.lock().unwrap()[..5], expected);
}

#[test]
fn a_run_that_is_asked_to_stop_begins_no_shard() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let stop = AtomicBool::new(true);
    let options = RunOptions { cancel: &stop, progress: &crate::Silent, max_skip_frac: 0.0 };
    let e = run(&plan(vec![toy(0, quiet())]), &store, &options).unwrap_err();
    assert_eq!(e.kind, ErrorKind::Interrupted);
    assert!(files(folder.path()).is_empty());
}

#[test]
fn a_temporary_file_belongs_to_one_writer() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    // The same table a second time: the name is taken, as it would be by another host.
    let again = |_, io: &mut ShardIo<'_>| io.create::<Skipped>().map(drop);
    let e = run_one(&plan(vec![toy(0, Box::new(again))]), &store, 0, 0.0).unwrap_err();
    assert_eq!(e.kind, ErrorKind::Disk, "{e}");
}

/// Breaks when what a run means is not what its fingerprint was made of, is lost by a kill, or is rewritten by a reuse.
#[test]
fn what_a_run_means_lies_beside_its_parts() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let first = toy(0, quiet());
    let inputs: Vec<TableRef> = outputs_of(&first).into_iter().take(1).collect();
    let plan = plan(vec![first, Toy { name: "reader", inputs: inputs.clone(), skips: 0, hook: quiet() }]);
    // A killed run left half a record.
    let dir = store.dir(&plan.steps[0].outputs[0]);
    fs::create_dir_all(&dir).unwrap();
    fs::write(dir.join(".meaning.0123456789abcdef.json.tmp"), b"{").unwrap();
    run_with(&plan, &store, 0.0).unwrap();
    assert!(temporary(folder.path()).is_empty());
    for step in &plan.steps {
        for table in &step.outputs {
            let record = crate::Record::read(&store.dir(table)).unwrap();
            assert_eq!(Some(&record), crate::Record::of(step).as_ref());
            assert_eq!((record.stage.as_str(), record.version), (step.stage.name(), 1));
            assert_eq!(record.meaning, serde_json::json!({"skips": 0}));
        }
    }
    let reader = crate::Record::of(&plan.steps[1]).unwrap();
    assert_eq!(reader.inputs[0].run(), inputs[0].fingerprint.as_str());
    assert_eq!(folder.path().join(&reader.inputs[0].folder), store.dir(&inputs[0]));
    // A store of an older version has none; a run that finds everything done adds them.
    let path = dir.join(crate::record::FILE);
    fs::write(&path, b"damaged").unwrap();
    assert_eq!(crate::Record::read(&dir), None);
    assert_eq!(run_with(&plan, &store, 0.0).unwrap().done, 0);
    let kept = fs::metadata(&path).unwrap().modified().unwrap();
    assert!(crate::Record::read(&dir).is_some());
    run_with(&plan, &store, 0.0).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().modified().unwrap(), kept);
}

/// Breaks when a failed attempt takes its kept state with it, a finished shard leaves it behind, or nobody is told.
#[test]
fn a_kept_state_outlives_a_failed_attempt_and_goes_with_success() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let seen = std::sync::Arc::new(Mutex::new(Vec::new()));
    let told = std::sync::Arc::clone(&seen);
    let plan = plan(vec![toy(
        0,
        Box::new(move |shard, io| {
            if shard != 1 {
                return Ok(());
            }
            let found = io.kept();
            let step = found.as_ref().map_or(0, |state| state[0]);
            if found.is_some() {
                io.resumed(u64::from(step));
                io.items_in_all(7);
            }
            told.lock().unwrap().push(found);
            if step == 2 {
                return Ok(());
            }
            io.keep(&[9])?;
            io.keep(&[step + 1])?;
            Err(StageError::interrupted())
        }),
    )]);
    let kept = |dir: &Path| {
        files(dir).into_iter().filter(|name| Path::new(name).extension().is_some_and(|e| e == "kept")).count()
    };
    let listener = Listener::default();
    let options = RunOptions { cancel: &GO_ON, progress: &listener, max_skip_frac: 1.0 };
    let step = &plan.steps[0];
    for attempt in [1, 1, 0] {
        let _ = run_shard(step, &step.shards[1], &store, &options);
        assert_eq!((kept(dir.path()), step.begun(&store).count()), (attempt, attempt));
    }
    // Whoever listens counts from where the attempt began, and the ledger has it.
    let events = listener.0.lock().unwrap();
    for (event, times) in
        [(Event::Resumed { done: 1 }, 1), (Event::Resumed { done: 2 }, 1), (Event::Total { items: 7 }, 2)]
    {
        assert_eq!(events.iter().filter(|e| **e == format!("{event:?}")).count(), times, "{event:?}");
    }
    let ledger = fs::read_to_string(dir.path().join("ledger.jsonl")).unwrap();
    let resumed: Vec<&str> = ledger.lines().filter(|line| line.contains("shard_resumed")).collect();
    assert_eq!(resumed.len(), 2, "{ledger}");
    assert!(resumed[1].contains("goes on from step 2") && resumed[1].contains(step.fingerprint.as_str()), "{ledger}");
    assert_eq!(*seen.lock().unwrap(), [None, Some(vec![1]), Some(vec![2])]);
    assert!(temporary(dir.path()).is_empty());
}
