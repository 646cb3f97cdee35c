//! `vitals query`: SQL over every table of a store.

use std::io::{IsTerminal as _, stdout};

use reports::QueryFormat;

use super::{no_store, put, report_failure};
use crate::cli::{Format, QueryArgs};
use crate::failure::{Code, Failure};

/// Runs a query and prints its rows.
pub fn query(args: &QueryArgs) -> Result<(), Failure> {
    if !args.store.is_dir() {
        return Err(no_store(&args.store));
    }
    let format = match args.format {
        Format::Table => QueryFormat::Table,
        Format::Csv => QueryFormat::Csv,
        Format::Json => QueryFormat::Json,
        Format::Parquet if stdout().is_terminal() => {
            return Err(Failure::new(
                Code::Usage,
                "Parquet is no text",
                "--format parquet",
                "send it to a file: … > rows.parquet",
            ));
        }
        Format::Parquet => QueryFormat::Parquet,
    };
    let output = reports::query(&args.store, &args.sql, format)
        .map_err(|e| report_failure(&e, format_args!("query {:?}", args.sql)))?;
    put(&output.bytes)
}
