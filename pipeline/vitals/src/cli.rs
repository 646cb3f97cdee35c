//! The command line.

#![expect(clippy::doc_markdown, reason = "these words are printed by --help")]

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Health checks for vision transformers, from raw images to the papers' tables.
#[derive(Debug, Parser)]
#[command(version, about, after_help = EXIT_CODES, max_term_width = 110)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

const EXIT_CODES: &str = "\
Exit codes:
  0 done · 2 usage · 3 study file · 4 missing data or weights
  5 some shards failed, run again · 6 --check failed, or had nothing to check;
    compare --fail-above: a number is further away
  70 bug · 130 interrupted, run again

Examples:
  vitals run                            the embedded study: no files, no network
  vitals run my-study.toml --limit 200  a smoke test of a study
  vitals health checkpoint.pth --images my-photos
                                        is this model healthy?
  vitals query \"SHOW TABLES\"            what was measured, in SQL
  vitals models ls                      every model by name";

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a study, or go on with it: whatever is finished is kept
    Run(RunArgs),
    /// Print what a study would cost: shards, rows, bytes, memory, hours
    Plan(PlanArgs),
    /// Print what of a study is finished
    Status(StudyArgs),
    /// Write the report of what is finished
    Report(StudyArgs),
    /// Ask the tables of a store in SQL
    Query(QueryArgs),
    /// Examine one model on one folder of images: a card, a verdict, a report
    Health(HealthArgs),
    /// Tell why a table is reused or stale: which parameter, weight, input or version
    Why(WhyArgs),
    /// Put two nights or two models side by side, number by number
    Compare(CompareArgs),
    /// List the models, or check a weight file
    Models(ModelsArgs),
    /// List the dataset formats, or check a folder
    Datasets(DatasetsArgs),
    /// Write sites of one image to a file, to compare with other code
    Trace(TraceArgs),
    /// Print what this machine can do, and what a run would use of it
    Doctor,
}

#[derive(Debug, Args, Clone, Default)]
pub struct StudyArgs {
    /// Study file; without one, the embedded study
    pub study: Option<PathBuf>,
    /// Take at most this many images of each dataset
    #[arg(long, value_name = "N")]
    pub limit: Option<usize>,
    /// auto, cpu, cuda:N or cuda:N,M; cpu:portable (or another of `vitals doctor`) forces a kernel
    #[arg(long)]
    pub device: Option<String>,
    /// Threads to use; all cores by default
    #[arg(long, value_name = "N")]
    pub threads: Option<usize>,
    /// Folder of results [default: the study's `store`, else vitals-store]
    #[arg(long, value_name = "DIR")]
    pub store: Option<PathBuf>,
    /// Folder of the report [default: the study's `report`, else vitals-report]
    #[arg(long, value_name = "DIR")]
    pub report: Option<PathBuf>,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  vitals run
  vitals run studies/paper.toml --device cuda:0
  vitals run my-study.toml --stage extract-3f2a91c07be45d18 --shard 17
                                        one shard, for a cluster engine")]
pub struct RunArgs {
    #[command(flatten)]
    pub study: StudyArgs,
    /// Run one step only: an id that `vitals plan --json` prints
    #[arg(long, requires = "shard", value_name = "ID")]
    pub stage: Option<String>,
    /// Run one shard of that step only
    #[arg(long, requires = "stage", value_name = "N")]
    pub shard: Option<u32>,
    /// Fail (exit code 6) unless numbers with a known truth are there and in tolerance
    #[arg(long)]
    pub check: bool,
}

#[derive(Debug, Args)]
pub struct PlanArgs {
    #[command(flatten)]
    pub study: StudyArgs,
    /// Print JSON, for a cluster engine
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum Format {
    Table,
    Csv,
    Json,
    Parquet,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Every table of the store is a view with the columns model, dataset and run
beside its own (docs/formats.md). Name what you compute: count(*) AS images;
without AS, count(*) is headed `len` and sum(tokens) `tokens`.

Examples:
  vitals query \"SHOW TABLES\"
  vitals query \"DESCRIBE token_stats\"
  vitals query \"SELECT name, reason FROM skipped\"
  vitals query \"SELECT model, avg(norm) AS mean FROM token_stats
                WHERE kind = 'patch' GROUP BY model\"
  vitals query \"SELECT site, low, high, sum(tokens) AS n FROM norm_histograms
                WHERE scale = 'log' GROUP BY site, low, high ORDER BY site, low\"
  vitals query \"SELECT * FROM scores\" --format csv > scores.csv")]
pub struct QueryArgs {
    /// A query: SELECT, WITH, SHOW TABLES, DESCRIBE table or EXPLAIN
    pub sql: String,
    /// How to print it
    #[arg(long, value_enum, default_value = "table")]
    pub format: Format,
    /// Folder of results
    #[arg(long, value_name = "DIR", default_value = "vitals-store")]
    pub store: PathBuf,
}

#[derive(Debug, Args)]
#[command(after_help = "\
No labels are needed; folders in the folder are fine. The study that is run,
its results and the report lie in one folder; the same command goes on, or
reuses what is there. docs/health.md explains each line and the JSON.

Examples:
  vitals health dinov2_vits14 --images my-photos
  vitals health checkpoint.pth --images my-photos --limit 200
  vitals health deit3_vits16_224 --weights deit.pth --images my-photos --json
  vitals health planted --images synthetic
                                        a model and scenes made up here: no
                                        files, no network")]
pub struct HealthArgs {
    /// A name of `vitals models ls`, or a weight file
    pub model: String,
    /// Folder of images, at any depth; `synthetic` for generated scenes
    #[arg(long, value_name = "DIR")]
    pub images: PathBuf,
    /// Weight file, or hf:owner/repo[/file] [default: the model's public weights]
    #[arg(long, value_name = "FILE")]
    pub weights: Option<String>,
    /// Side of the crop that the model sees, px [default: the model's own]
    #[arg(long, value_name = "PX")]
    pub size: Option<usize>,
    /// Take at most this many images
    #[arg(long, value_name = "N", default_value_t = 400)]
    pub limit: usize,
    /// auto, cpu, cuda:N or cuda:N,M
    #[arg(long)]
    pub device: Option<String>,
    /// Threads to use; all cores by default
    #[arg(long, value_name = "N")]
    pub threads: Option<usize>,
    /// Folder of the report, the study and the store [default: vitals-health/MODEL-IMAGES]
    #[arg(long, value_name = "DIR")]
    pub report: Option<PathBuf>,
    /// Print the card as JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "\
A run is named by what its numbers depend on: parameters, digests of weights
and images, stage versions, and the same of its inputs. This compares the run
that a study asks for with the runs of the same table in the store, nearest
first. Give the options (--limit, --store) that the study was run with.

Examples:
  vitals why scores                     of the embedded study
  vitals why token_stats my-study.toml --model dinov2_vits14
  vitals why scores my-study.toml --dataset photos --json")]
pub struct WhyArgs {
    /// Table of the store, such as token_stats or scores
    pub table: String,
    #[command(flatten)]
    pub study: StudyArgs,
    /// Of this model only, by its name in tables
    #[arg(long, value_name = "NAME")]
    pub model: Option<String>,
    /// Of this dataset only, by its name in tables
    #[arg(long, value_name = "NAME")]
    pub dataset: Option<String>,
    /// Print JSON, with every stored run
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Every score stands beside its twin: the difference, the combined standard
error √(a² + b²), and z, the difference in such errors; the largest z first.
z takes the two as independent: on the same images it is too small.

Examples:
  vitals compare monday/vitals-store tuesday/vitals-store
  vitals compare --models dinov2_vits14 dinov2_vits14_reg4
  vitals compare before after --fail-above 4 --csv > changes.csv")]
pub struct CompareArgs {
    /// Two stores, or one [default: vitals-store] with --models
    #[arg(value_name = "STORE", num_args = 0..=2)]
    pub stores: Vec<PathBuf>,
    /// Two models, by their names in tables
    #[arg(long, num_args = 2, value_names = ["A", "B"])]
    pub models: Vec<String>,
    /// Fail (exit code 6) when a number is more than Z combined standard errors from its twin
    #[arg(long, value_name = "Z", allow_negative_numbers = true)]
    pub fail_above: Option<f64>,
    /// Differing numbers to print, the largest first
    #[arg(long, value_name = "N", default_value_t = 20)]
    pub rows: usize,
    /// Print JSON, with every number
    #[arg(long, conflicts_with = "csv")]
    pub json: bool,
    /// Print CSV, with every number
    #[arg(long)]
    pub csv: bool,
}

#[derive(Debug, Args)]
pub struct ModelsArgs {
    #[command(subcommand)]
    pub command: ModelsCommand,
}

#[derive(Debug, Subcommand)]
pub enum ModelsCommand {
    /// Every model by name
    Ls,
    /// Whether a weight file fits a model
    Check {
        /// Model name
        model: String,
        /// Weight file, or hf:owner/repo[/file]
        weights: String,
    },
}

#[derive(Debug, Args)]
pub struct DatasetsArgs {
    #[command(subcommand)]
    pub command: DatasetsCommand,
}

#[derive(Debug, Subcommand)]
pub enum DatasetsCommand {
    /// Every dataset by name, and how it must lie on the disk
    Ls,
    /// Open a dataset, count its images and decode some of them
    Check {
        /// Dataset name
        name: String,
        /// Its folder or file; `synthetic` has none
        root: Option<PathBuf>,
        /// all, train, val, trainval, test, partition:1:train, class:2/3:train, every:3@2:test
        #[arg(long, default_value = "all")]
        split: String,
        /// Images to decode, spread over the dataset
        #[arg(long, default_value_t = 100)]
        decode: usize,
    },
}

#[derive(Debug, Clone, Copy, ValueEnum, PartialEq, Eq)]
pub enum TracePreprocess {
    /// The model's evaluation: resize the short side, crop the centre
    Eval,
    /// Resize to exactly --size
    Square,
    /// Keep the size; crop to whole patches
    None,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Keys of the file: pixels, patch_embed, with_position, block_0 …, final, query_11, key_11, value_11, attention_11.
Tokens are in the order CLS, registers, patches.

Example:
  vitals trace --model dinov2_vits14 --weights weights.safetensors --image cat.jpg --sites block_11,final --out t.safetensors")]
pub struct TraceArgs {
    /// Model name
    #[arg(long)]
    pub model: String,
    /// Weight file, or hf:owner/repo[/file]
    #[arg(long)]
    pub weights: String,
    /// Image file
    #[arg(long)]
    pub image: PathBuf,
    /// all, or names separated by commas
    #[arg(long, default_value = "all")]
    pub sites: String,
    /// How pixels are made
    #[arg(long, value_enum, default_value = "eval")]
    pub preprocess: TracePreprocess,
    /// Side or HxW in px; for eval, the side of the crop
    #[arg(long, value_name = "S|HxW")]
    pub size: Option<String>,
    /// Leave out mean and standard deviation: pixels in [0, 1], as the reproducibility study feeds them
    #[arg(long)]
    pub unit: bool,
    /// auto, cpu or cuda:N
    #[arg(long, default_value = "auto")]
    pub device: String,
    /// f32, bf16 or f16
    #[arg(long, default_value = "f32")]
    pub precision: String,
    /// File to write
    #[arg(long)]
    pub out: PathBuf,
}
