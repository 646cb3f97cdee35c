//! Families of files: each member is in its folder's `const` slice, so that adding one is a file and a line.

use crate::code::{code, lines_with};
use crate::tree::{File, find};

/// (folder, slice in its `mod.rs`, what a member of the family has that other files there have not)
const FAMILIES: &[(&str, &str, &str)] = &[
    ("stages/vit/src/zoo", "FAMILIES", "fn models("),
    ("stages/extract/src/taps", "TAPS", "fn tap("),
    ("datasets/src/catalog", "CATALOG", "Dataset {"),
    ("reports/src/tables", "TABLES", "pub fn build(context"),
    ("reports/src/figures", "FIGURES", "pub fn build(context"),
    ("schemas/src/tables", "ALL", "table! {"),
];

/// Members that stand outside their slice: what was measured opens every report, asked for or not.
const OUTSIDE: &[&str] = &["reports/src/tables/subjects.rs"];

/// Every member stands in its slice.
pub fn registered(files: &[File]) -> Vec<String> {
    let mut complaints = Vec::new();
    for &(folder, slice, mark) in FAMILIES {
        let Some(register) = find(files, &format!("{folder}/mod.rs")) else { continue };
        let listed = listed(&register.text, slice);
        for file in files.iter().filter(|f| f.folder() == folder && f.is_rust() && !f.is_test() && f.stem() != "mod") {
            let member = !OUTSIDE.contains(&file.path.as_str()) && code(&file.text, true).contains(mark);
            if member && !entries(file).iter().any(|entry| !lines_with(&listed, entry).is_empty()) {
                complaints.push(format!("{}: add it to `{slice}` in {}", file.path, register.path));
            }
        }
    }
    complaints
}

/// The text of `const NAME … ];`.
fn listed(register: &str, slice: &str) -> String {
    let text = code(register, true);
    let Some(start) = text.find(&format!("const {slice}:")) else { return String::new() };
    text[start..].split("];").next().unwrap_or_default().to_owned()
}

/// How a slice may name a file: by its module, or by the type of its table.
fn entries(file: &File) -> Vec<String> {
    let mut entries = vec![format!("{}::", file.stem())];
    entries.extend(
        crate::documents::tables(std::slice::from_ref(file)).into_iter().map(|t| format!("describe::<{}>", t.name)),
    );
    entries
}
