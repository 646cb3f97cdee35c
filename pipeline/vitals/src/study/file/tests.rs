//! Parsing of study files.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
use super::*;

#[test]
fn one_note_needs_no_list() {
    let parse = |notes: &str| {
        let text = format!(
            "title = \"t\"\nnotes = {notes}\n[[model]]\nmodel = \"planted\"\n[[dataset]]\ndataset = \"synthetic\""
        );
        StudyFile::parse(&text, "x").unwrap().notes
    };
    assert_eq!(parse("\"one\""), ["one"]);
    assert_eq!(parse("[\"one\", \"two\"]"), ["one", "two"]);
}

#[test]
fn a_missing_variable_is_an_error_and_a_set_one_is_put_in() {
    assert_eq!(expand("plain/path", "root").unwrap(), "plain/path");
    assert!(expand("${VITALS_SURELY_NOT_SET}/x", "root").is_err());
    let home = std::env::var("PATH").unwrap();
    assert_eq!(expand("a${PATH}b", "root").unwrap(), format!("a{home}b"));
}
