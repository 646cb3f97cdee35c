//! `vitals`: are a vision transformer's feature maps healthy?
//!
//! The binary turns a study file into a plan, runs it, and shows what came out. It owns stdout, the terminal, signals
//! and exit codes; everything that computes lives in the crates below it.

mod bug;
mod cli;
mod commands;
mod failure;
mod health;
mod interrupt;
mod lineage;
mod progress;
mod study;
mod twins;

use std::process::ExitCode;

use clap::Parser;

use crate::cli::{Cli, Command};
use crate::failure::Failure;

/// The whole program: parses the command line, does it, prints what failed, returns the exit code.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let failed = match bug::caught(|| dispatch(cli)) {
        Ok(()) => return ExitCode::SUCCESS,
        Err(failure) => failure,
    };
    failed.print();
    ExitCode::from(failed.code())
}

fn dispatch(cli: Cli) -> Result<(), Failure> {
    match cli.command {
        Command::Run(args) => commands::run::run(&args),
        Command::Plan(args) => commands::plan::plan(&args),
        Command::Status(args) => commands::status::status(&args),
        Command::Report(args) => commands::report::report(&args),
        Command::Query(args) => commands::query::query(&args),
        Command::Health(args) => commands::health::health(&args),
        Command::Why(args) => commands::why::why(&args),
        Command::Compare(args) => commands::compare::compare(&args),
        Command::Models(args) => commands::models::models(&args),
        Command::Datasets(args) => commands::datasets::datasets(&args),
        Command::Trace(args) => commands::trace::trace(&args),
        Command::Doctor => commands::doctor::doctor(),
    }
}
