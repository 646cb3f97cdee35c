//! What can go wrong between finished tables and a report.

use std::path::PathBuf;

use thiserror::Error;

/// Why a report or a query could not be made.
#[derive(Debug, Error)]
pub enum ReportError {
    /// A table or figure that no file makes was asked for.
    #[error("no table or figure is called `{name}`; the nearest are {nearest}")]
    UnknownReport {
        /// What was asked.
        name: String,
        /// Existing names, nearest first.
        nearest: String,
    },
    /// A finished part cannot be read.
    #[error("{table} of {subject}: {source}")]
    Part {
        /// Table.
        table: &'static str,
        /// `model on dataset`.
        subject: String,
        /// The reader's own words.
        source: Box<schemas::TableError>,
    },
    /// A finished part is damaged so that its reader gave up.
    #[error("{path} is damaged ({what}); remove it with its `.done` and run again")]
    Damaged {
        /// Part, or store.
        path: PathBuf,
        /// Where the reader gave up.
        what: String,
    },
    /// The published numbers in the binary cannot be read.
    #[error("published numbers: {0}")]
    Published(String),
    /// A picture could not be encoded.
    #[error("figure {figure}: {source}")]
    Picture {
        /// Figure.
        figure: &'static str,
        /// The encoder's own words.
        source: Box<image::ImageError>,
    },
    /// A picture's size and bytes disagree.
    #[error("figure {figure}: picture `{name}` has {found} bytes, not {wanted}; remove its part and run again")]
    PictureSize {
        /// Figure.
        figure: &'static str,
        /// Picture.
        name: String,
        /// Bytes found.
        found: usize,
        /// Bytes of width × height × 3.
        wanted: usize,
    },
    /// A map's grid and values disagree.
    #[error("figure {figure}: a map of image {image} has {found} values, not {wanted}; remove its part and run again")]
    MapSize {
        /// Figure.
        figure: &'static str,
        /// Image index.
        image: u32,
        /// Values found.
        found: usize,
        /// Patches of the grid.
        wanted: usize,
    },
    /// The numbers of a table or figure could not be encoded.
    #[error("the numbers of {id}: {source}")]
    Numbers {
        /// Table or figure.
        id: String,
        /// The writer's own words.
        source: Box<schemas::TableError>,
    },
    /// The report cannot be written.
    #[error(transparent)]
    Write(#[from] engine::StageError),
    /// A folder of the store cannot be read.
    #[error("{path}: {source}")]
    Io {
        /// Folder or file.
        path: PathBuf,
        /// The system's own words.
        source: std::io::Error,
    },
    /// A query names a table that the store does not have.
    #[error("the store has no table `{name}`; it has {present}")]
    UnknownTable {
        /// What the query named.
        name: String,
        /// Tables with finished parts.
        present: String,
    },
    /// The store holds no finished table at all.
    #[error("{path} holds no finished table; run a study first, or point to its store")]
    EmptyStore {
        /// The store.
        path: PathBuf,
    },
    /// Polars refused the query.
    #[error("query: {0}")]
    Query(String),
    /// A query's result does not fit the format.
    #[error("column `{column}` holds {found}, which {format} cannot; select other columns or write parquet")]
    Format {
        /// Column.
        column: String,
        /// Its type.
        found: String,
        /// Format.
        format: &'static str,
    },
}

/// The names nearest to `name`, for an error.
pub(crate) fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    let mut ranked: Vec<(f64, &str)> = known.into_iter().map(|k| (strsim::jaro_winkler(name, k), k)).collect();
    ranked.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(b.1)));
    ranked.dedup();
    let names: Vec<String> = ranked.iter().take(4).map(|(_, k)| format!("`{k}`")).collect();
    names.join(", ")
}
