//! What serde and toml say of a mistake in a study file, in the words of who wrote the file.
//!
//! They know the place and the type that was expected, but call types by their names in Rust, and an unknown key by its
//! own table alone. The key is read off the line of the mistake.

use engine::Budget;
use serde::de::DeserializeOwned;

use super::file::heads::{DenseTable, LinearEvalTable, ZeroShotTable};
use super::file::{
    DatasetTable, DiscoverTable, ExtractTable, ModelTable, PlantedTable, PortrayTable, PreprocessTable, ProbeTable,
    StudyFile,
};
use crate::failure::{Code, Failure};

const DOCS: &str = "docs/study.md lists all keys with their defaults";

/// The failure of a study's text; `origin` is its file.
pub fn mistake(e: &toml::de::Error, text: &str, origin: &str) -> Failure {
    let start = e.span().map(|span| span.start.min(text.len()));
    let line = start.map_or(0, |start| text[..start].matches('\n').count() + 1);
    let at = if line > 0 { format!("{origin} line {line}") } else { origin.to_owned() };
    // Of the rule of the outliers, only the whole is placed.
    let whole = if start.is_some_and(|start| text[start..].starts_with('{')) { "a value in " } else { "" };
    let key = start.and_then(|start| key_at(text, start)).map(|key| (whole, key));
    let (what, fix) = in_words(e.message(), key);
    Failure::new(Code::Config, what, at, fix)
}

/// The key whose value holds this place, or which begins there.
fn key_at(text: &str, start: usize) -> Option<&str> {
    let from = text[..start].rfind('\n').map_or(0, |newline| newline + 1);
    let line = text[from..].lines().next()?;
    let before = line.get(..start - from)?;
    let whole = before.rsplit_once('=').or_else(|| line.split_once('=')).map_or(line, |(key, _)| key);
    let of_key = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    whole.trim_end_matches(|c| !of_key(c)).rsplit(|c| !of_key(c)).next().filter(|key| !key.is_empty())
}

/// What is wrong, and what to do.
fn in_words(message: &str, key: Option<(&str, &str)>) -> (String, String) {
    if message.starts_with("unknown") {
        return (message.to_owned(), suggestion(message));
    }
    if message.starts_with("missing field") {
        return (message.to_owned(), format!("add it; {DOCS}"));
    }
    let Some((whole, key)) = key else { return (message.to_owned(), DOCS.to_owned()) };
    if message == "duplicate key" {
        return (format!("`{key}` stands twice"), "keep one of them".to_owned());
    }
    let Some((found, expected)) = message.split_once("expected ").filter(|(found, _)| {
        found.is_empty() || found.starts_with("invalid type: ") || found.starts_with("invalid value: ")
    }) else {
        return (format!("{message}, at `{key}`"), DOCS.to_owned());
    };
    let found = found.split_once(": ").map_or("", |(_, found)| found.trim_end_matches(", "));
    if expected == "a sequence" && ["model", "dataset", "probe"].contains(&key) {
        return (
            format!("`{key}` is a table that may stand several times"),
            format!("write [[{key}]], with two brackets"),
        );
    }
    let expected = match expected {
        "usize" | "u64" => "a whole number from 0 up",
        "u32" => "a whole number from 0 to 4294967295",
        "u16" => "a whole number from 0 to 65535",
        "f64" | "f32" => "a number",
        "a boolean" => "true or false",
        "a string" => "text in quotes",
        "a sequence" => "a list in brackets, [ … ]",
        table if table.starts_with("struct ") || table.contains("enum ") => "a table in braces, { … }",
        other => other,
    };
    let found = found.replace("string ", "").replace("integer ", "").replace("floating point ", "");
    let not = if found.is_empty() { String::new() } else { format!(", not {}", found.trim_end_matches(" as i128")) };
    (format!("{whole}`{key}` must be {expected}{not}"), DOCS.to_owned())
}

/// From serde's "unknown field `x`, expected one of `a`, `b`": where `x` belongs, or the nearest of the expected.
fn suggestion(message: &str) -> String {
    let mut quoted = message.split('`').skip(1).step_by(2);
    let Some(wrong) = quoted.next() else { return DOCS.to_owned() };
    let homes: Vec<&str> =
        tables().into_iter().filter(|(_, keys)| keys.iter().any(|k| k == wrong)).map(|t| t.0).collect();
    if message.starts_with("unknown field") && !homes.is_empty() {
        return format!("`{wrong}` belongs {}; {DOCS}", homes.join(" or "));
    }
    match nearest(wrong, quoted) {
        Some(best) => format!("did you mean `{best}`? {DOCS}"),
        None => DOCS.to_owned(),
    }
}

/// Every table of a study, and its keys.
fn tables() -> [(&'static str, Vec<String>); 13] {
    [
        ("at the top, before any [table]", keys::<StudyFile>()),
        ("under [budget]", keys::<Budget>()),
        ("under [extract]", keys::<ExtractTable>()),
        ("under [portray]", keys::<PortrayTable>()),
        ("under [discover]", keys::<DiscoverTable>()),
        ("under [[model]]", keys::<ModelTable>()),
        ("under [model.planted]", keys::<PlantedTable>()),
        ("under [[dataset]]", keys::<DatasetTable>()),
        ("in `preprocess` under [[dataset]]", keys::<PreprocessTable>()),
        ("under [[probe]]", keys::<ProbeTable>()),
        ("under [[dense]]", keys::<DenseTable>()),
        ("under [[linear_eval]]", keys::<LinearEvalTable>()),
        ("under [[zero_shot]]", keys::<ZeroShotTable>()),
    ]
}

/// The keys of a table, as it tells them to whoever writes one that it does not know.
fn keys<T: DeserializeOwned>() -> Vec<String> {
    let told = toml::from_str::<T>("no-such-key = 0").err().map(|e| e.message().to_owned()).unwrap_or_default();
    told.split('`').skip(1).step_by(2).skip(1).map(str::to_owned).collect()
}

/// The candidate that is most like `wrong`.
pub fn nearest<'a>(wrong: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    candidates.max_by(|a, b| strsim::jaro_winkler(wrong, a).total_cmp(&strsim::jaro_winkler(wrong, b)))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    const DATASET: &str = "[[model]]\nmodel = \"planted\"\n[[dataset]]\ndataset = \"synthetic\"\n";

    fn of(head: &str, keys: &str) -> String {
        let text = format!("title = \"t\"\n{head}\n{DATASET}{keys}\n");
        format!("{:?}", StudyFile::parse(&text, "x.toml").unwrap_err())
    }

    #[test]
    fn an_unknown_key_is_named_with_its_line_and_its_neighbour() {
        let shown = of("", "splt = \"all\"");
        assert!(shown.contains("x.toml line 7") && shown.contains("did you mean `split`"), "{shown}");
        assert!(of("[extract]\noutliers = { rule = \"valey\" }", "").contains("did you mean `valley`"));
    }

    #[test]
    fn a_key_of_another_table_is_told_its_table() {
        for (keys, home) in [
            ("provenance = \"own\"", "belongs under [[model]];"),
            ("max_skip_frac = 0.1", "belongs at the top"),
            ("templates = \"openai\"", "belongs under [[zero_shot]];"),
            ("curve_steps = 20", "belongs under [[probe]];"),
            ("batch = 3", "belongs under [[linear_eval]];"),
            ("tokencut_tau = 0.2", "belongs under [discover];"),
            ("outlier_site = \"last\"", "belongs under [extract];"),
            ("permute_labels = true", "under [[probe]] or under [[dense]] or under [[linear_eval]]"),
            ("crop_px = 224", "in `preprocess` under [[dataset]]"),
            ("hours = 3", "under [budget]"),
            ("erasure = 1.0", "under [model.planted]"),
        ] {
            assert!(of("", keys).contains(home), "{}", of("", keys));
        }
        assert!(tables().iter().all(|(_, keys)| keys.len() > 3));
    }

    #[test]
    fn a_wrong_type_is_told_in_words_with_its_key() {
        for (head, keys, words) in [
            ("", "limit = \"x\"", "`limit` must be a whole number from 0 up, not \\\"x\\\""),
            ("", "limit = -5", "`limit` must be a whole number from 0 up, not `-5`"),
            ("", "limit = 1.5", "`limit` must be a whole number from 0 up, not `1.5`"),
            ("", "preprocess = { mode = \"none\", crop_px = \"x\" }", "`crop_px` must be a whole number"),
            ("", "preprocess = \"eval\"", "`preprocess` must be a table"),
            ("", "classes = \"cat\"", "`classes` must be a list"),
            ("[extract]\nvector_sites = [1]", "", "`vector_sites` must be text in quotes"),
            (
                "[extract]\noutliers = { rule = \"valley\", images = \"x\" }",
                "",
                "a value in `outliers` must be a whole",
            ),
            ("notes = 3", "", "`notes` must be text in quotes, or a list of it"),
            ("title = \"u\"", "", "`title` stands twice"),
            ("[budget]\nhours = true", "", "`hours` must be a number, not boolean `true`"),
        ] {
            let shown = of(head, keys);
            assert!(shown.contains(words), "{words}: {shown}");
        }
        let shown = format!("{:?}", StudyFile::parse("title = \"t\"\n[model]\nmodel = \"planted\"", "x").unwrap_err());
        assert!(shown.contains("[[model]]"), "{shown}");
    }

    /// Breaks when a place in the text is cut out of it in the middle of a letter.
    #[test]
    fn any_text_is_a_study_or_a_mistake() {
        for text in ["titel = \"é\"", "é = 1", "title = é", "title = \"é\" x", "=", "[", "\n\n[[é]]", "title = '''é\n="]
        {
            assert_eq!(StudyFile::parse(text, "x").unwrap_err().code(), 3, "{text}");
        }
    }
}
