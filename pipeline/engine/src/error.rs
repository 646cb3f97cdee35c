//! What a stage says when it cannot go on: what failed, where, and how to mend it.

use std::fmt;

use schemas::TableError;

/// What the caller can do about an error; each kind has an exit code of its own in the binary.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// The study asks for something that cannot be.
    Config,
    /// Data or weights are missing or unusable.
    Missing,
    /// This shard failed; others may not.
    Shard,
    /// The disk or the folder refused; nothing else will succeed either.
    Disk,
    /// The user asked to stop.
    Interrupted,
    /// Our fault.
    Bug,
}

/// An error in three parts. Each is a lowercase fragment.
#[derive(Debug)]
pub struct StageError {
    /// What can be done about it.
    pub kind: ErrorKind,
    /// What failed.
    pub what: String,
    /// Where: stage, shard, image or file.
    pub at: String,
    /// How to fix it.
    pub fix: String,
}

impl StageError {
    /// An error of a kind; `at` and `fix` may be empty.
    pub fn new(kind: ErrorKind, what: impl fmt::Display, at: impl fmt::Display, fix: impl fmt::Display) -> Self {
        Self { kind, what: what.to_string(), at: at.to_string(), fix: fix.to_string() }
    }

    /// The user asked to stop.
    pub fn interrupted() -> Self {
        Self::new(ErrorKind::Interrupted, "interrupted", "", "run the same command again: it goes on where it stopped")
    }

    /// A system call on a path of the store was refused.
    pub fn disk(path: &std::path::Path, source: &std::io::Error) -> Self {
        let fix = match source.kind() {
            std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => {
                "free some space or choose another `store`, then run the same command again: it goes on where it stopped"
            }
            std::io::ErrorKind::PermissionDenied | std::io::ErrorKind::ReadOnlyFilesystem => {
                "make the folder writable or choose another `store`"
            }
            _ => "check the disk and run the same command again: it goes on where it stopped",
        };
        Self::new(ErrorKind::Disk, source, path.display(), fix)
    }
}

impl fmt::Display for StageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)?;
        if !self.at.is_empty() {
            write!(f, " ({})", self.at)?;
        }
        Ok(())
    }
}

impl std::error::Error for StageError {}

impl From<TableError> for StageError {
    fn from(e: TableError) -> Self {
        match &e {
            TableError::Io { path, source } => Self::disk(path, source),
            TableError::Parquet { path, source } => {
                // The parquet crate carries the system's error as text only.
                let text = source.to_string();
                let io = if text.contains("os error 28") {
                    std::io::ErrorKind::StorageFull
                } else {
                    std::io::ErrorKind::Other
                };
                Self::disk(path, &std::io::Error::new(io, text))
            }
            TableError::Version { path, .. } => Self::new(
                ErrorKind::Missing,
                &e,
                path.display(),
                "choose another `store`, or delete this folder to have it made again",
            ),
            TableError::Column { .. }
            | TableError::Missing { .. }
            | TableError::Nulls { .. }
            | TableError::Arrow(_) => Self::new(ErrorKind::Bug, &e, "", "please report this"),
        }
    }
}
