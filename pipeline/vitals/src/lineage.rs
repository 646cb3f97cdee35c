//! How one run differs from another in what it means: its parameters, the version of its stage, its inputs and theirs.
//!
//! Two records (`meaning.json`) are compared key by key, as paths into their JSON: `preprocess.mean`, `stats_sites`. An
//! input that is of another run is followed to the record of that run, so that a score tells of the weights three steps
//! before it. The distance of two runs is the number of keys that differ on the way.

use std::collections::BTreeMap;

use engine::Record;
use engine::record::Input;
use serde::Serialize;
use serde_json::Value;

/// What differs between a stored run and the one that a study asks for.
#[derive(Debug, Default, PartialEq, Serialize)]
pub struct Difference {
    /// Version of the stage then and now.
    pub version: Option<[u32; 2]>,
    /// Keys of the meaning, in order.
    pub changes: Vec<Change>,
    /// Inputs of another run.
    pub inputs: Vec<InputChange>,
}

/// One key of a meaning.
#[derive(Debug, PartialEq, Serialize)]
pub struct Change {
    /// Path of the key.
    pub key: String,
    /// The stored run's value; none where it had no such key.
    pub was: Option<Value>,
    /// The study's.
    pub is: Option<Value>,
    /// Of a list of images: how many the stored run read, and how many the study lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub images: Option<[u64; 2]>,
}

/// Tables of one run that another run stands in for.
#[derive(Debug, PartialEq, Serialize)]
pub struct InputChange {
    /// Their names.
    pub tables: Vec<String>,
    /// Model and dataset.
    pub of: String,
    /// The run that the stored one read; none where it read no such table.
    pub was: Option<String>,
    /// The run that the study's reads.
    pub is: Option<String>,
    /// How these differ; none where one of them left no record.
    pub because: Option<Difference>,
}

/// Where records of inputs are found.
pub trait Records {
    /// The record of the run that a table belongs to.
    fn of(&self, input: &Input) -> Option<Record>;
    /// Images of that run; none of one that is not about all images of a list.
    fn images(&self, input: &Input) -> Option<u64>;
}

/// Longer chains of stages do not exist; a damaged record can name itself.
const DEEPEST: usize = 16;

impl Difference {
    /// Between a stored run and the study's, of so many images.
    pub fn between(was: &Record, is: &Record, images: [Option<u64>; 2], records: &dyn Records) -> Self {
        Self::at(was, is, images, records, 0)
    }

    fn at(was: &Record, is: &Record, images: [Option<u64>; 2], records: &dyn Records, depth: usize) -> Self {
        let mut changes = Vec::new();
        compare("", &was.meaning, &is.meaning, &mut changes);
        if let [Some(was), Some(is)] = images {
            changes.iter_mut().filter(|change| change.key == DATASET).for_each(|c| c.images = Some([was, is]));
        }
        let version = (was.version != is.version).then_some([was.version, is.version]);
        Self { version, changes, inputs: inputs(was, is, records, depth) }
    }

    /// Whether two meanings are of one kind. Variants of one stage (a probe of places, a probe of pixels) have no key in
    /// common, and neither is an older run of the other.
    pub fn is_told(was: &Record, is: &Record) -> bool {
        match (&was.meaning, &is.meaning) {
            (Value::Object(a), Value::Object(b)) => {
                a.is_empty() == b.is_empty() && (a.is_empty() || a.keys().any(|key| b.contains_key(key)))
            }
            _ => true,
        }
    }

    /// Keys that differ, here and in inputs.
    pub fn distance(&self) -> usize {
        let of_input = |input: &InputChange| input.because.as_ref().map_or(1, Self::distance).max(1);
        usize::from(self.version.is_some()) + self.changes.len() + self.inputs.iter().map(of_input).sum::<usize>()
    }

    /// A line for each key, indented; `stage` is the name of both runs' stage.
    pub fn in_words(&self, stage: &str, indent: usize) -> String {
        let pad = " ".repeat(indent);
        let mut text = String::new();
        if let Some([was, is]) = self.version {
            text += &format!("{pad}stage version: {stage} {was} → {is}\n");
        }
        for Change { key, was, is, images } in &self.changes {
            text += &format!("{pad}{key}: {} → {}{}\n", value(was.as_ref()), value(is.as_ref()), gloss(key, *images));
        }
        for input in &self.inputs {
            text += &input.in_words(indent);
        }
        text
    }
}

impl InputChange {
    fn in_words(&self, indent: usize) -> String {
        let pad = " ".repeat(indent);
        let one = self.tables.len() == 1;
        let tables = self.tables.iter().map(|t| format!("`{t}`")).collect::<Vec<_>>().join(", ");
        let (inputs, differ) = if one { ("input", "differs") } else { ("inputs", "differ") };
        let named = format!("{pad}its {inputs} {tables} of {}", self.of);
        match (&self.was, &self.is, &self.because) {
            (None, ..) => format!("{named}: the stored run did not read that\n"),
            (_, None, _) => format!("{named}: the study's run does not read that\n"),
            (Some(was), Some(is), None) => format!("{named} {differ} (run {was} → {is}), and no record says how\n"),
            (Some(was), Some(is), Some(because)) => {
                let because = because.in_words("its stage", indent + 2);
                format!("{named} {differ} (run {was} → {is}) because\n{because}")
            }
        }
    }
}

/// Key of the digest of a list of images.
const DATASET: &str = "dataset";

/// What two keys mean that hold digests. A list that only grew longer or shorter is most often another `limit`.
fn gloss(key: &str, images: Option<[u64; 2]>) -> String {
    match (key, images) {
        ("weights", _) => "  (digest of the weights)".to_owned(),
        (DATASET, Some([was, is])) if was != is => {
            format!("  (digest of the list of images: {was} → {is} of them, by a limit or by other files)")
        }
        (DATASET, _) => "  (digest of the list of images: names, sizes, labels, order)".to_owned(),
        _ => String::new(),
    }
}

/// Characters of a value that are shown, and of a digest.
const SHOWN: usize = 100;
const DIGEST: usize = 12;

fn value(value: Option<&Value>) -> String {
    let text = value.map_or_else(|| "absent".to_owned(), Value::to_string);
    let digest = text.len() == 66 && text.trim_matches('"').chars().all(|c| c.is_ascii_hexdigit());
    if digest {
        return format!("{}…", &text[1..=DIGEST]);
    }
    let cut: String = text.chars().take(SHOWN).collect();
    if cut.len() < text.len() { cut + "…" } else { cut }
}

/// Collects the keys under `path` whose values differ. Two tables without a common key are two variants of one
/// choice, and one change.
fn compare(path: &str, was: &Value, is: &Value, changes: &mut Vec<Change>) {
    let below = |key: &str| if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
    match (was, is) {
        _ if was == is => {}
        (Value::Object(a), Value::Object(b)) if path.is_empty() || a.keys().any(|key| b.contains_key(key)) => {
            let mut keys: Vec<&String> = a.keys().chain(b.keys()).collect();
            keys.sort_unstable();
            keys.dedup();
            for key in keys {
                match (a.get(key), b.get(key)) {
                    (Some(was), Some(is)) => compare(&below(key), was, is, changes),
                    (was, is) => {
                        changes.push(Change { key: below(key), was: was.cloned(), is: is.cloned(), images: None });
                    }
                }
            }
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() && a.iter().all(Value::is_object) => {
            for (i, (was, is)) in a.iter().zip(b).enumerate() {
                compare(&format!("{path}[{i}]"), was, is, changes);
            }
        }
        _ => changes.push(Change { key: path.to_owned(), was: Some(was.clone()), is: Some(is.clone()), images: None }),
    }
}

/// Inputs of the same table answer to each other in order.
fn inputs(was: &Record, is: &Record, records: &dyn Records, depth: usize) -> Vec<InputChange> {
    let mut tables: BTreeMap<&str, [Vec<&Input>; 2]> = BTreeMap::new();
    for (side, record) in [was, is].into_iter().enumerate() {
        for input in &record.inputs {
            tables.entry(&input.table).or_default()[side].push(input);
        }
    }
    let mut changed: Vec<InputChange> = Vec::new();
    for (table, [was, is]) in tables {
        for i in 0..was.len().max(is.len()) {
            let (was, is) = (was.get(i).copied(), is.get(i).copied());
            let run = |input: Option<&Input>| input.map(|input| input.run().to_owned());
            let (was_run, is_run) = (run(was), run(is));
            if was_run == is_run {
                continue;
            }
            // One stage writes several tables: they differ for one reason.
            if let Some(same) = changed.iter_mut().find(|c| c.was == was_run && c.is == is_run) {
                same.tables.push(table.to_owned());
                continue;
            }
            let because = match (was, is) {
                (Some(was), Some(is)) if depth < DEEPEST => {
                    let images = [was, is].map(|input| records.images(input));
                    let records_of = records.of(was).zip(records.of(is));
                    records_of.map(|(was, is)| Difference::at(&was, &is, images, records, depth + 1))
                }
                _ => None,
            };
            let of = is.or(was).map(partition).unwrap_or_default();
            changed.push(InputChange { tables: vec![table.to_owned()], of, was: was_run, is: is_run, because });
        }
    }
    changed
}

/// Model and dataset of a folder, in words.
fn partition(input: &Input) -> String {
    let levels = input.folder.split('/').filter_map(|level| level.split_once('='));
    levels.filter(|(key, _)| *key != "run").map(|(_, value)| value).collect::<Vec<_>>().join(" on ")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn record(version: u32, meaning: Value, inputs: &[(&str, &str)]) -> Record {
        let input = |(table, run): &(&str, &str)| Input {
            table: (*table).to_owned(),
            folder: format!("{table}/model=m/dataset=d/run={run}"),
        };
        Record { stage: "s".to_owned(), version, meaning, inputs: inputs.iter().map(input).collect() }
    }

    struct Kept(BTreeMap<&'static str, Record>);

    impl Records for Kept {
        fn of(&self, input: &Input) -> Option<Record> {
            self.0.get(input.run()).cloned()
        }

        fn images(&self, input: &Input) -> Option<u64> {
            match input.run() {
                "c-old" => Some(48),
                "c-new" => Some(24),
                _ => None,
            }
        }
    }

    fn changes(was: Value, is: Value) -> Vec<String> {
        let none = Kept(BTreeMap::new());
        let difference = Difference::between(&record(1, was, &[]), &record(1, is, &[]), [None; 2], &none);
        assert_eq!(difference.distance(), difference.changes.len());
        difference.in_words("s", 0).lines().map(str::to_owned).collect()
    }

    #[test]
    fn another_variant_of_a_stage_is_no_older_run() {
        let told = |a: Value, b: Value| Difference::is_told(&record(1, a, &[]), &record(1, b, &[]));
        assert!(told(json!({"position": {"c": 1}}), json!({"position": {"c": 2}})) && told(json!({}), json!({})));
        assert!(!told(json!({"position": {"c": 1}}), json!({"pixels": {"c": 1}})));
    }

    #[test]
    fn a_changed_key_is_named_with_its_path_and_both_values() {
        let was = json!({"draws": 5, "pre": {"mean": [0.1, 0.2], "crop": {"Centre": 224}}, "pooled": [{"site": "a"}]});
        let with = |path: &str, value: Value| {
            let mut is = was.clone();
            if let Some(place) = is.pointer_mut(path) {
                *place = value;
            }
            changes(was.clone(), is)
        };
        assert!(changes(was.clone(), was.clone()).is_empty());
        assert_eq!(with("/draws", json!(8)), ["draws: 5 → 8"]);
        assert_eq!(with("/pre/mean/1", json!(0.3)), ["pre.mean: [0.1,0.2] → [0.1,0.3]"]);
        assert_eq!(with("/pooled/0/site", json!("b")), [r#"pooled[0].site: "a" → "b""#]);
        // Breaks when one choice among variants reads as one key lost and another won.
        assert_eq!(with("/pre/crop", json!({"Grid": 14})), [r#"pre.crop: {"Centre":224} → {"Grid":14}"#]);
        assert_eq!(changes(json!({}), json!({"edit": null})), ["edit: absent → null"]);
        assert!(changes(json!({"weights": "ab"}), json!({"weights": "cd"}))[0].ends_with("(digest of the weights)"));
    }

    /// Breaks when a score does not tell of the weights two steps before it, or tells twice for two tables of one run.
    #[test]
    fn an_input_of_another_run_tells_why() {
        let tables = |run| [("norm_histograms", run), ("token_stats", run)];
        let measured = |run| record(1, json!({"site": "b"}), &tables(run));
        let kept = Kept(BTreeMap::from([
            ("old", record(2, json!({"weights": "ab"}), &[("cutoffs", "c-old")])),
            ("new", record(3, json!({"weights": "cd"}), &[("cutoffs", "c-new")])),
            ("c-old", record(1, json!({"weights": "ab"}), &[])),
            ("c-new", record(1, json!({"weights": "cd"}), &[])),
        ]));
        assert_eq!(Difference::between(&measured("old"), &measured("old"), [None; 2], &kept), Difference::default());
        let difference = Difference::between(&measured("old"), &measured("new"), [None; 2], &kept);
        assert_eq!(difference.distance(), 3);
        let wanted = "its inputs `norm_histograms`, `token_stats` of m on d differ (run old → new) because\n\
                      \x20 stage version: its stage 2 → 3\n\
                      \x20 weights: \"ab\" → \"cd\"  (digest of the weights)\n\
                      \x20 its input `cutoffs` of m on d differs (run c-old → c-new) because\n\
                      \x20   weights: \"ab\" → \"cd\"  (digest of the weights)\n";
        assert_eq!(difference.in_words("s", 0), wanted);
        let lost = Difference::between(&measured("old"), &measured("unknown"), [None; 2], &kept);
        assert!(lost.in_words("s", 0).contains("no record says how") && lost.distance() == 1);
        let fewer = Difference::between(&measured("old"), &record(1, json!({"site": "b"}), &[]), [None; 2], &kept);
        assert!(fewer.in_words("s", 0).contains("does not read that"));
    }

    /// Breaks when a reader must tell two digests apart to learn that a list was cut.
    #[test]
    fn a_list_of_another_length_says_so_here_and_in_inputs() {
        let none = Kept(BTreeMap::new());
        let of = |digest: &str| record(1, json!({ "dataset": digest }), &[]);
        let said = |images| Difference::between(&of("ab"), &of("cd"), images, &none).in_words("s", 0);
        assert!(said([Some(48), Some(24)]).contains("48 → 24 of them, by a limit"));
        assert!(!said([Some(48), Some(48)]).contains("limit") && !said([Some(48), None]).contains("limit"));
        let kept = Kept(BTreeMap::from([("c-old", of("ab")), ("c-new", of("cd"))]));
        let reader = |run| record(1, json!({}), &[("token_stats", run)]);
        let text = Difference::between(&reader("c-old"), &reader("c-new"), [None; 2], &kept).in_words("s", 0);
        assert!(text.contains("(digest of the list of images: 48 → 24 of them"), "{text}");
    }

    /// Breaks when a damaged record that reads itself is followed for ever.
    #[test]
    fn a_record_that_names_itself_ends() {
        let kept = Kept(BTreeMap::from([
            ("a", record(1, json!({}), &[("t", "a")])),
            ("b", record(2, json!({}), &[("t", "b")])),
        ]));
        let difference = Difference::between(&kept.0["a"], &kept.0["b"], [None; 2], &kept);
        // Itself, and as many inputs as there are levels, the last of which is not followed.
        assert_eq!(difference.distance(), 1 + DEEPEST + 1);
    }
}
