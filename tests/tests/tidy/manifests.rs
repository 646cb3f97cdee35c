//! Rules on `Cargo.toml` files: who may depend on whom, and through which door heavy packages come.

use crate::tree::File;

/// Floors: each crate with the crates of this workspace that it may name. A new crate begins with a line here and a
/// paragraph in ARCHITECTURE.md.
const FLOORS: &[(&str, &[&str])] = &[
    ("schemas", &[]),
    ("vit", &[]),
    ("engine", &["schemas"]),
    ("datasets", &["schemas"]),
    ("extract", &["schemas", "engine", "datasets", "vit"]),
    ("measure", &["schemas", "engine"]),
    ("probe", &["schemas", "engine"]),
    ("train", &["schemas", "engine"]),
    ("reports", &["schemas", "engine"]),
    ("vitals", &["schemas", "engine", "datasets", "vit", "extract", "measure", "probe", "train", "reports"]),
    (
        "acceptance",
        &["schemas", "engine", "datasets", "vit", "extract", "measure", "probe", "train", "reports", "vitals"],
    ),
];

/// Doors: packages whose name begins so are named by these crates only.
const DOORS: &[(&str, &[&str])] = &[
    ("arrow", &["schemas"]),
    ("parquet", &["schemas"]),
    ("candle", &["vit", "extract"]),
    ("hf-hub", &["vit"]),
    ("linfa", &["probe"]),
    ("polars", &["reports"]),
    ("mozjpeg", &["datasets"]),
    ("tar", &["datasets"]),
    ("clap", &["vitals"]),
    ("signal-hook", &["vitals"]),
];

/// A manifest in the lines that rules need.
struct Manifest<'a> {
    path: &'a str,
    name: String,
    /// Of every kind: normal, dev, build, of a target.
    dependencies: Vec<String>,
    workspace_lints: bool,
}

fn manifests(files: &[File]) -> Vec<Manifest<'_>> {
    files
        .iter()
        .filter(|f| f.path.ends_with("/Cargo.toml"))
        .map(|f| {
            let mut m =
                Manifest { path: &f.path, name: String::new(), dependencies: Vec::new(), workspace_lints: false };
            let mut section = "";
            for line in f.text.lines().map(str::trim) {
                if let Some(header) = line.strip_prefix('[').and_then(|l| l.strip_suffix(']')) {
                    section = header;
                    // `[dependencies.name]`
                    if let Some((_, package)) = header.rsplit_once("dependencies.") {
                        m.dependencies.push(package.to_owned());
                    }
                    continue;
                }
                let Some((key, value)) = line.split_once('=').filter(|_| !line.starts_with('#')) else { continue };
                let (key, value) = (key.trim(), value.trim());
                if section.ends_with("dependencies") {
                    m.dependencies.push(key.split('.').next().unwrap_or(key).trim_matches('"').to_owned());
                } else if section == "package" && key == "name" {
                    value.trim_matches('"').clone_into(&mut m.name);
                } else if section == "lints" && key == "workspace" {
                    m.workspace_lints = value == "true";
                }
            }
            m
        })
        .collect()
}

/// A crate names crates of lower floors only, and stage crates never each other.
pub fn floors(files: &[File]) -> Vec<String> {
    let mut complaints = Vec::new();
    for m in manifests(files) {
        let Some((_, allowed)) = FLOORS.iter().find(|(name, _)| *name == m.name) else {
            complaints.push(format!(
                "{}: crate `{}` has no floor; add it to FLOORS in tests/tests/tidy/manifests.rs and to ARCHITECTURE.md",
                m.path, m.name
            ));
            continue;
        };
        for d in &m.dependencies {
            if FLOORS.iter().any(|(name, _)| name == d) && !allowed.contains(&d.as_str()) {
                complaints.push(format!(
                    "{}: `{}` may not depend on `{d}`; move what is shared to a lower floor, or meet in a table",
                    m.path, m.name
                ));
            }
        }
    }
    complaints
}

/// Heavy packages have one door each.
pub fn doors(files: &[File]) -> Vec<String> {
    let mut complaints = Vec::new();
    for m in manifests(files) {
        for d in &m.dependencies {
            let door = DOORS.iter().find(|(package, _)| d == package || d.starts_with(&format!("{package}-")));
            if let Some((_, owners)) = door.filter(|(_, owners)| !owners.contains(&m.name.as_str())) {
                complaints.push(format!(
                    "{}: `{d}` belongs to {}; ask that crate for what is needed",
                    m.path,
                    owners.join(", ")
                ));
            }
        }
    }
    complaints
}

/// No crate has lints of its own.
pub fn lints(files: &[File]) -> Vec<String> {
    let lax = manifests(files).into_iter().filter(|m| !m.workspace_lints);
    lax.map(|m| format!("{}: add `[lints]` with `workspace = true`", m.path)).collect()
}
