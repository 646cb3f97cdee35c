//! What the acceptance tests share: running the binary, small studies, and the place of real inputs.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Runs the binary with arguments in a folder; stdout and stderr are captured.
pub fn vitals(binary: &str, folder: &Path, args: &[&str]) -> Output {
    match Command::new(binary).args(args).current_dir(folder).output() {
        Ok(output) => output,
        Err(e) => panic!("{binary} does not start: {e}"),
    }
}

/// Panics with everything that was printed unless the exit code is the expected one.
pub fn expect_code(output: &Output, code: i32) {
    assert_eq!(
        output.status.code(),
        Some(code),
        "stdout:\n{}\nstderr:\n{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

/// The folder of real weights and images, if this machine has one; prints that the test skips otherwise.
pub fn real_inputs(test: &str) -> Option<PathBuf> {
    let folder = std::env::var_os("VITALS_REAL").map(PathBuf::from).filter(|f| f.is_dir());
    if folder.is_none() {
        eprintln!("{test}: skipped, VITALS_REAL names no folder of real weights and images");
    }
    folder
}

/// Every Parquet part and marker below a store, by relative path, with its bytes; temporary files too.
pub fn tables(store: &Path) -> std::collections::BTreeMap<String, Vec<u8>> {
    let mut files = std::collections::BTreeMap::new();
    let mut folders = vec![store.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.file_name().is_some_and(|n| n != "ledger.jsonl") {
                let name = path.strip_prefix(store).unwrap_or(&path).display().to_string();
                files.insert(name, std::fs::read(&path).unwrap_or_default());
            }
        }
    }
    files
}
