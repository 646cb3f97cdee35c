//! The text files of the repository, read once per rule.

use std::fs;
use std::path::Path;

/// A text file.
pub struct File {
    /// Path from the root, with `/`.
    pub path: String,
    /// Content.
    pub text: String,
}

impl File {
    /// From a path and a content.
    pub fn new(path: &str, text: &str) -> Self {
        Self { path: path.to_owned(), text: text.to_owned() }
    }

    /// Whether its name ends so (`md`, `rs`).
    pub fn is(&self, extension: &str) -> bool {
        Path::new(&self.path).extension().is_some_and(|e| e == extension)
    }

    /// Whether it is Rust.
    pub fn is_rust(&self) -> bool {
        self.is("rs")
    }

    /// Whether none of it is in the product: tests, benches, examples.
    pub fn is_test(&self) -> bool {
        let p = &self.path;
        p.starts_with("tests/")
            || p.starts_with("benches/")
            || p.contains("/tests/")
            || p.contains("/benches/")
            || p.contains("/examples/")
            || p.ends_with("/tests.rs")
    }

    /// Name without folders and ending.
    pub fn stem(&self) -> &str {
        let name = self.path.rsplit('/').next().unwrap_or(&self.path);
        name.rsplit_once('.').map_or(name, |(stem, _)| stem)
    }

    /// Folder, without the last `/`.
    pub fn folder(&self) -> &str {
        self.path.rsplit_once('/').map_or("", |(folder, _)| folder)
    }
}

/// Folders that hold results, not sources.
const NOT_OURS: [&str; 6] = ["target", ".git", "vitals-store", "vitals-report", "__pycache__", ".venv"];

/// Every text file of this repository, in path order.
pub fn repository() -> Vec<File> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut files = Vec::new();
    walk(&root, "", &mut files);
    assert!(files.len() > 100, "the rules do not see the repository at {}", root.display());
    files.sort_by(|a, b| a.path.cmp(&b.path));
    files
}

fn walk(folder: &Path, prefix: &str, files: &mut Vec<File>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = entry.path();
        if path.is_dir() {
            if !NOT_OURS.contains(&name.as_str()) {
                walk(&path, &format!("{prefix}{name}/"), files);
            }
        } else if let Ok(text) = fs::read_to_string(&path) {
            files.push(File { path: format!("{prefix}{name}"), text });
        }
    }
}

/// The file at a path.
pub fn find<'a>(files: &'a [File], path: &str) -> Option<&'a File> {
    files.iter().find(|f| f.path == path)
}
