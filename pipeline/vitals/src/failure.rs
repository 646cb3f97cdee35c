//! How the binary fails: three lines on stderr and an exit code that scripts can rely on.

use std::fmt::Display;

use engine::{ErrorKind, StageError};

/// Everything that ends the binary early.
#[derive(Debug)]
pub struct Failure {
    what: String,
    at: String,
    fix: String,
    code: Code,
}

/// Documented exit codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    /// The command line makes no sense.
    Usage = 2,
    /// The study file makes no sense.
    Config = 3,
    /// Data or weights are missing or unusable.
    Missing = 4,
    /// Some shards failed; the same command goes on.
    Shards = 5,
    /// A number with a known truth is out of its tolerance.
    Tolerance = 6,
    /// Our fault.
    Bug = 70,
    /// The user asked to stop; the same command goes on.
    Interrupted = 130,
}

impl Failure {
    /// What failed, where, how to fix it.
    pub fn new(code: Code, what: impl Display, at: impl Display, fix: impl Display) -> Self {
        Self { what: what.to_string(), at: at.to_string(), fix: fix.to_string(), code }
    }

    /// Adds the step that failed.
    pub fn during(&mut self, step: &str) {
        self.at = if self.at.is_empty() { step.to_owned() } else { format!("{step}: {}", self.at) };
    }

    /// The same as a mistake on the command line, where the fix is another.
    #[must_use]
    pub fn of_usage(self, option: &str, fix: impl Display) -> Self {
        Self { at: option.to_owned(), code: Code::Usage, fix: fix.to_string(), ..self }
    }

    /// The exit code.
    pub fn code(&self) -> u8 {
        self.code as u8
    }

    /// Three lines on stderr.
    pub fn print(&self) {
        eprintln!("error: {}", self.what);
        if !self.at.is_empty() {
            eprintln!("   at: {}", self.at);
        }
        if !self.fix.is_empty() {
            eprintln!("  fix: {}", self.fix);
        }
    }
}

impl From<StageError> for Failure {
    fn from(e: StageError) -> Self {
        let code = match e.kind {
            ErrorKind::Config => Code::Config,
            ErrorKind::Missing => Code::Missing,
            ErrorKind::Shard | ErrorKind::Disk => Code::Shards,
            ErrorKind::Interrupted => Code::Interrupted,
            ErrorKind::Bug => Code::Bug,
        };
        Self { what: e.what, at: e.at, fix: e.fix, code }
    }
}
