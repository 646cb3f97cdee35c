//! Rules on Rust sources: names, sizes, and what code may not say where.

use crate::code::{code, lines_with, without_tests};
use crate::tree::{File, find};

/// Lines that a source file may have; tests may have more.
const MOST_LINES: usize = 500;
/// Names that say nothing about what is inside.
const NAMELESS: [&str; 8] = ["util", "utils", "common", "helper", "helpers", "misc", "manager", "managers"];

/// Rust files outside tests, with their code: no comments, no literals, no test modules.
fn sources(files: &[File]) -> impl Iterator<Item = (&File, String)> {
    files.iter().filter(|f| f.is_rust() && !f.is_test()).map(|f| (f, without_tests(&code(&f.text, true))))
}

fn complain(file: &File, lines: Vec<usize>, what: &str) -> impl Iterator<Item = String> {
    lines.into_iter().map(move |line| format!("{}:{line}: {what}", file.path))
}

/// No module is called after nothing.
pub fn names(files: &[File]) -> Vec<String> {
    let mut complaints = Vec::new();
    for file in files.iter().filter(|f| f.is_rust()) {
        let text = code(&file.text, true);
        let declared = NAMELESS.iter().any(|n| !lines_with(&text, &format!("mod {n}")).is_empty());
        if declared || file.path.trim_end_matches(".rs").split('/').any(|part| NAMELESS.contains(&part)) {
            complaints.push(format!("{}: name the module after what it computes", file.path));
        }
    }
    complaints
}

/// A file opens with `//!` and has at most 500 lines.
pub fn shape(files: &[File]) -> Vec<String> {
    let mut complaints = Vec::new();
    for file in files.iter().filter(|f| f.is_rust() && !f.is_test()) {
        let lines = file.text.lines().count();
        if lines > MOST_LINES {
            complaints.push(format!("{}: {lines} lines; split it by what it computes", file.path));
        }
        if !file.text.starts_with("//!") {
            complaints.push(format!(
                "{}: open with `//!`: what it computes, the formula, why this way, the source",
                file.path
            ));
        }
    }
    complaints
}

/// Every file under `src` is a module of the one above it.
pub fn reachable(files: &[File]) -> Vec<String> {
    let mut complaints = Vec::new();
    for file in files.iter().filter(|f| f.is_rust() && f.path.contains("/src/")) {
        let (folder, stem) = match file.stem() {
            "lib" | "main" => continue,
            "mod" => file.folder().rsplit_once('/').unwrap_or(("", file.folder())),
            stem => (file.folder(), stem),
        };
        let parents = [
            format!("{folder}/mod.rs"),
            format!("{folder}.rs"),
            format!("{folder}/lib.rs"),
            format!("{folder}/main.rs"),
        ];
        let declared = parents
            .iter()
            .filter_map(|p| find(files, p))
            .any(|p| !lines_with(&code(&p.text, true), &format!("mod {stem};")).is_empty());
        if !declared {
            complaints.push(format!(
                "{}: no module declares it; write `mod {stem};` in {} or delete it",
                file.path, parents[0]
            ));
        }
    }
    complaints
}

/// Only the binary prints to stdout.
pub fn stdout(files: &[File]) -> Vec<String> {
    let mut complaints = Vec::new();
    for (file, text) in sources(files).filter(|(f, _)| !f.path.starts_with("pipeline/vitals/")) {
        for call in ["println!", "print!", "dbg!"] {
            complaints.extend(complain(
                file,
                lines_with(&text, call),
                "stdout belongs to pipeline/vitals; return the words or send an event",
            ));
        }
    }
    complaints
}

/// No `unwrap`, and no `expect`, which is an unwrap with a sentence.
pub fn unwraps(files: &[File]) -> Vec<String> {
    let mut complaints = Vec::new();
    for (file, text) in sources(files) {
        for call in [".unwrap()", ".expect("] {
            complaints.extend(complain(
                file,
                lines_with(&text, call),
                "return an error, or make the case impossible by type",
            ));
        }
    }
    complaints
}

/// Stages and what lies under them read no clock, no environment and no global source of randomness.
pub fn purity(files: &[File]) -> Vec<String> {
    let mut complaints = Vec::new();
    for (file, text) in sources(files) {
        let outside = |homes: &[&str]| !homes.iter().any(|home| file.path.starts_with(home));
        if outside(&["pipeline/"]) {
            for call in ["SystemTime::now", "Instant::now", "UNIX_EPOCH", "rand::"] {
                complaints.extend(complain(file, lines_with(&text, call), "a result may not depend on when or how often it is computed; time belongs to the ledger, seeds to the study"));
            }
        }
        if outside(&["pipeline/vitals/"]) {
            for call in ["env::var", "env::vars", "env::var_os", "gethostname"] {
                complaints.extend(complain(
                    file,
                    lines_with(&text, call),
                    "only pipeline/vitals reads the environment; take the value as a parameter",
                ));
            }
        }
    }
    complaints
}

/// The engine knows stages by their trait alone.
pub fn nameless_engine(files: &[File]) -> Vec<String> {
    let mut complaints = Vec::new();
    for file in files.iter().filter(|f| f.is_rust() && f.path.starts_with("pipeline/engine/src/") && !f.is_test()) {
        let text = without_tests(&code(&file.text, false));
        for stage in ["calibrate", "extract", "measure", "probe", "train"] {
            complaints.extend(complain(
                file,
                lines_with(&text, stage),
                "the engine names no stage; put it into the stage or the binary",
            ));
        }
    }
    complaints
}

/// Nothing is silenced without a reason, skipped without a word, or promised.
pub fn finished(files: &[File]) -> Vec<String> {
    let mut complaints = Vec::new();
    for file in files.iter().filter(|f| f.is_rust()) {
        let text = code(&file.text, true);
        for (call, what) in [
            ("#[allow(", "use #[expect(…, reason = \"…\")]"),
            ("#![allow(", "use #![expect(…, reason = \"…\")]"),
            ("#[ignore", "make the test quick, or let it say on stderr why it does nothing"),
            ("todo!", "finish it or leave it out"),
            ("unimplemented!", "finish it or leave it out"),
        ] {
            complaints.extend(complain(file, lines_with(&text, call), what));
        }
    }
    let written = |f: &&File| ["rs", "md", "toml", "py"].iter().any(|end| f.is(end));
    for file in files.iter().filter(written) {
        for promise in [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X")] {
            complaints.extend(complain(
                file,
                lines_with(&file.text, promise),
                "do it, or write a sentence that is true today",
            ));
        }
    }
    complaints
}

/// Where `unsafe` may be: kernels that call gemm or vector instructions.
const KERNELS: [&str; 3] = ["stages/vit/src/cpu/", "stages/probe/src/products.rs", "stages/train/src/matmul.rs"];

/// `unsafe` exists in a few kernels alone, and says why it is sound.
pub fn soundness(files: &[File]) -> Vec<String> {
    let mut complaints = Vec::new();
    for (file, text) in sources(files) {
        let lines = lines_with(&text, "unsafe");
        if !KERNELS.iter().any(|kernel| file.path.starts_with(kernel)) {
            complaints.extend(complain(file, lines, "unsafe code belongs to the kernels; use a safe library, or add the file to KERNELS in tests/tests/tidy/sources.rs"));
        } else if !lines.is_empty() && !file.text.contains("// SAFETY:") {
            complaints.extend(complain(file, lines, "say in a `// SAFETY:` comment why it is sound"));
        }
    }
    complaints
}
