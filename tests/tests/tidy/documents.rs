//! Rules that keep documents true: each is derived from the source that it describes.

use std::collections::BTreeSet;

use crate::tree::{File, find};

/// A table as its source describes it.
pub struct TableSource {
    /// Type.
    pub name: String,
    disk: String,
    version: String,
    doc: String,
    /// Name, type as documented, doc sentence.
    columns: Vec<[String; 3]>,
}

/// The tables of `schemas/src/tables`.
pub fn tables(files: &[File]) -> Vec<TableSource> {
    let mut tables = Vec::new();
    for file in files.iter().filter(|f| f.folder() == "schemas/src/tables") {
        let Some((_, body)) = file.text.split_once("table! {") else { continue };
        let mut table = TableSource {
            name: String::new(),
            disk: String::new(),
            version: String::new(),
            doc: String::new(),
            columns: Vec::new(),
        };
        let mut doc: Vec<&str> = Vec::new();
        for line in body.lines().map(str::trim) {
            if let Some(sentence) = line.strip_prefix("///") {
                doc.push(sentence.trim());
            } else if let Some((name, rest)) = line.split_once(" = \"") {
                let (disk, rest) = rest.split_once("\" v ").unwrap_or((rest, ""));
                (table.name, table.disk) = (name.to_owned(), disk.to_owned());
                let version = rest.split_whitespace().next().unwrap_or_default();
                (table.version, table.doc) = (version.to_owned(), std::mem::take(&mut doc).join(" "));
            } else if let Some((column, rust)) = line.split_once(": ") {
                table.columns.push([
                    column.to_owned(),
                    disk_type(rust.trim_end_matches(',')),
                    std::mem::take(&mut doc).join(" "),
                ]);
            }
        }
        tables.push(table);
    }
    tables
}

/// A column's type as the dictionary writes it.
fn disk_type(rust: &str) -> String {
    let inner = rust.strip_prefix("Vec<").and_then(|r| r.strip_suffix('>')).unwrap_or(rust);
    match inner.strip_prefix("Option<").and_then(|r| r.strip_suffix('>')) {
        Some(inner) => format!("{}, nullable", disk_type(inner)),
        None => match inner {
            "Name" => "string".to_owned(),
            "Vectors" => "f32[D]".to_owned(),
            "Vec<u8>" | "u8>" | "Halves" => "bytes".to_owned(),
            "Vec<f32>" | "f32>" => "f32 list".to_owned(),
            plain => plain.to_owned(),
        },
    }
}

/// `docs/formats.md` has every table, and every column with its type and its doc sentence.
pub fn dictionary(files: &[File]) -> Vec<String> {
    let Some(page) = find(files, "docs/formats.md") else {
        return vec!["docs/formats.md: write the dictionary of all tables".to_owned()];
    };
    let mut complaints = Vec::new();
    for table in tables(files) {
        let heading = format!("## `{}`, version {}", table.disk, table.version);
        // From its heading to the next: a column of one table is not documented by another's.
        let Some((_, section)) = page.text.split_once(&format!("{heading}\n")) else {
            complaints.push(format!("docs/formats.md: add the section `{heading}`"));
            continue;
        };
        let section = section.split("\n## ").next().unwrap_or(section);
        let mut wanted = vec![table.doc.clone()];
        wanted.extend(table.columns.iter().map(|[name, kind, doc]| format!("| `{name}` | {kind} | {doc} |")));
        let missing = wanted.into_iter().filter(|line| !section.lines().any(|l| l == line));
        complaints.extend(missing.map(|line| format!("docs/formats.md: under `{heading}` write the line\n    {line}")));
    }
    complaints
}

/// What stands between every pair of marks: `quoted("id: \"x\"", "id: \"", "\"")` is `x`.
fn between<'a>(text: &'a str, open: &str, close: &str) -> Vec<&'a str> {
    text.split(open).skip(1).filter_map(|rest| rest.split(close).next()).collect()
}

/// Every table and figure names a page of `docs/protocols`, every page exists, and none is an orphan.
pub fn protocols(files: &[File]) -> Vec<String> {
    let mut complaints = Vec::new();
    let mut named = BTreeSet::new();
    for file in files.iter().filter(|f| f.is_rust() && f.path.starts_with("reports/src/")) {
        for page in between(&file.text, "docs/protocols/", ".md") {
            let page = format!("docs/protocols/{page}.md");
            if find(files, &page).is_none() && named.insert(page.clone()) {
                complaints.push(format!("{}: {page} does not exist; write how the number is made", file.path));
            }
            named.insert(page);
        }
    }
    if let Some(figures) = find(files, "reports/src/figures/mod.rs") {
        for id in between(&figures.text, "Entry { id: \"", "\"") {
            let path = format!("reports/src/figures/{id}.rs");
            if find(files, &path).is_none_or(|f| !f.text.contains("docs/protocols/")) {
                complaints.push(format!("{path}: name the page of docs/protocols that says how the figure is made"));
            }
        }
    }
    for file in files.iter().filter(|f| f.is_rust() && f.path.starts_with("reports/src/")) {
        let (header, code) = file.text.split_once("\n\n").unwrap_or((&file.text, ""));
        let (told, used) =
            (between(header, "docs/protocols/", ".md"), between(code, "protocol: \"docs/protocols/", ".md"));
        if let (Some(page), false) = (used.iter().find(|page| !told.contains(page)), told.is_empty()) {
            let path = &file.path;
            complaints
                .push(format!("{path}: the header names {}, the page that readers get is {page}", told.join(", ")));
        }
    }
    let pages = files.iter().filter(|f| f.folder() == "docs/protocols" && !named.contains(&f.path));
    complaints.extend(pages.map(|f| format!("{}: no table or figure names this page; link it or delete it", f.path)));
    complaints
}

/// `docs/study.md` has every key of the study file and every preset.
pub fn study_keys(files: &[File]) -> Vec<String> {
    let Some(page) = find(files, "docs/study.md") else {
        return vec!["docs/study.md: explain the study file".to_owned()];
    };
    let mut keys = BTreeSet::new();
    if let Some(file) = find(files, "pipeline/vitals/src/study/file.rs") {
        let mut renamed = None;
        for line in file.text.lines().map(str::trim) {
            if line.starts_with("#[serde(") {
                renamed = between(line, "rename = \"", "\"").first().copied();
            } else if let Some((field, _)) =
                line.strip_prefix("pub ").filter(|l| !l.contains('(')).and_then(|l| l.split_once(": "))
            {
                keys.insert(renamed.take().unwrap_or(field));
            }
        }
    }
    let unexplained = keys.into_iter().filter(|key| !page.text.contains(&format!("`{key}`")));
    let mut complaints: Vec<String> =
        unexplained.map(|key| format!("docs/study.md: explain the key `{key}`")).collect();
    let presets =
        files.iter().filter(|f| f.folder() == "studies" && !page.text.contains(&format!("studies/{}.toml", f.stem())));
    complaints.extend(presets.map(|f| format!("docs/study.md: say what the preset {} is for", f.path)));
    complaints
}

/// The README's table of exit codes is that of the binary.
pub fn exit_codes(files: &[File]) -> Vec<String> {
    let (Some(readme), Some(source)) = (find(files, "README.md"), find(files, "pipeline/vitals/src/failure.rs")) else {
        return vec!["README.md: list the exit codes".to_owned()];
    };
    let body = source.text.split_once("pub enum Code {").map_or("", |(_, rest)| rest.split('}').next().unwrap_or(rest));
    let codes = body.lines().filter_map(|l| l.split_once(" = ")?.1.trim_end_matches(',').parse().ok());
    let codes: BTreeSet<u8> = codes.chain([0]).collect();
    let listed: BTreeSet<u8> =
        readme.text.lines().filter_map(|l| l.strip_prefix("| ")?.split(' ').next()?.parse().ok()).collect();
    let missing = codes.difference(&listed).map(|code| format!("README.md: add exit code {code} to the table"));
    let gone =
        listed.difference(&codes).map(|code| format!("README.md: no error has exit code {code}; remove its row"));
    missing.chain(gone).collect()
}

/// Commands and options that documents show exist.
pub fn commands(files: &[File]) -> Vec<String> {
    let Some(cli) = find(files, "pipeline/vitals/src/cli.rs") else {
        return vec!["pipeline/vitals/src/cli.rs: the command line has moved; mend this rule".to_owned()];
    };
    let variants =
        cli.text.split_once("pub enum Command {").map_or("", |(_, rest)| rest.split("\n}").next().unwrap_or(rest));
    let names = variants
        .lines()
        .filter(|l| !l.trim_start().starts_with("//"))
        .filter_map(|l| l.trim().split(['(', ',']).next());
    let commands: BTreeSet<String> = names.filter(|name| !name.is_empty()).map(str::to_lowercase).collect();
    let fields = between(&cli.text, "#[arg(long", ": ").into_iter().filter_map(|l| l.rsplit_once("pub "));
    let mut options: BTreeSet<String> = fields.map(|(_, name)| format!("--{}", name.replace('_', "-"))).collect();
    options.extend(["--help", "--version"].map(str::to_owned));

    let mut complaints = Vec::new();
    for file in files.iter().filter(|f| f.is("md") && !f.is_test()) {
        for (number, line) in file.text.lines().enumerate() {
            for (at, _) in line.match_indices("vitals ") {
                if line[..at].ends_with(|c: char| c.is_alphanumeric() || "/-_".contains(c)) {
                    continue;
                }
                let shown = line[at + 7..].split(['`', '|', '&', ';']).next().unwrap_or_default();
                let mut words =
                    shown.split_whitespace().map(|w| w.trim_matches(|c: char| !c.is_alphanumeric() && c != '-'));
                let command = words.next().filter(|w| w.starts_with(|c: char| c.is_ascii_lowercase()));
                let Some(command) = command else { continue };
                let unknown = (!commands.contains(command)).then_some(command);
                let options = words.take_while(|w| *w != "#").filter(|w| w.starts_with("--") && !options.contains(*w));
                for word in unknown.into_iter().chain(options) {
                    complaints.push(format!("{}:{}: `vitals {command}` knows no `{word}`", file.path, number + 1));
                }
            }
        }
    }
    complaints
}

/// Relative links of Markdown files lead to files or folders of the repository.
pub fn links(files: &[File]) -> Vec<String> {
    let mut complaints = Vec::new();
    // Snapshots of reports link to files that are written beside them.
    for file in files.iter().filter(|f| f.is("md") && !f.is_test()) {
        for target in between(&file.text, "](", ")") {
            let target = target.split('#').next().unwrap_or(target);
            if target.is_empty() || target.contains("://") || target.contains(char::is_whitespace) {
                continue;
            }
            let mut path: Vec<&str> = file.folder().split('/').filter(|p| !p.is_empty()).collect();
            for part in target.trim_end_matches('/').split('/') {
                match part {
                    "." => {}
                    ".." => drop(path.pop()),
                    part => path.push(part),
                }
            }
            let path = path.join("/");
            if !files.iter().any(|f| f.path == path || f.path.starts_with(&format!("{path}/"))) {
                complaints.push(format!("{}: the link to {target} leads nowhere", file.path));
            }
        }
    }
    complaints
}

/// No file names a folder that only one machine has.
pub fn portable(files: &[File]) -> Vec<String> {
    let folders = [
        concat!("/wo", "rk/"),
        concat!("/op", "t/"),
        concat!("/ho", "me/"),
        concat!("/ro", "ot/"),
        concat!("/Us", "ers/"),
    ];
    let mut complaints = Vec::new();
    for file in files {
        for (number, line) in file.text.lines().enumerate() {
            // Within a longer path or word it is another folder.
            let absolute = |folder: &str| {
                line.match_indices(folder)
                    .any(|(at, _)| !line[..at].ends_with(|c: char| c.is_alphanumeric() || "._-}~".contains(c)))
            };
            if folders.iter().any(|folder| absolute(folder)) {
                complaints.push(format!(
                    "{}:{}: names a folder of one machine; use a relative path or ${{NAME}}",
                    file.path,
                    number + 1
                ));
            }
        }
    }
    complaints
}
