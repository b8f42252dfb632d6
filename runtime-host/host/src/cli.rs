//! The arguments of every command.

pub mod component;
mod evaluate;
mod export_training;
mod replay;

use std::{net::SocketAddr, path::PathBuf};

use clap::{Args, Parser, Subcommand, ValueEnum};
use funnelweb_import::{Kind, OnDuplicate};
use tracing_subscriber::EnvFilter;

pub use evaluate::{Evaluate, Part};
pub use export_training::ExportTraining;
pub use replay::Replay;

/// A recommender funnel of Wasm components.
#[derive(Debug, Parser)]
#[command(name = "funnelweb", version, about)]
pub struct Cli {
    /// How log lines look; the level is set by FUNNELWEB_LOG (`info`, `debug`,
    /// `funnelweb_dispatch=debug`).
    #[arg(long, global = true, value_enum, default_value_t = LogFormat::Text)]
    pub log_format: LogFormat,
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serve the application.
    Up(Up),
    /// Build the components, by the commands in the manifest.
    Build(ManifestArgs),
    /// Check the manifest and that every component fits it; serve nothing.
    Check(Check),
    /// Import items or behaviours from a file (NDJSON, CSV; gzip) into a server.
    Import(Import),
    /// Load simulated catalogues, users and behaviours into a server.
    Demo(Demo),
    /// Have jobs of a scenario done in a server, and wait for them.
    Train(Train),
    /// The jobs of a server's tenant.
    #[command(subcommand)]
    Jobs(Jobs),
    /// Components of your own: to write, build, test, and have a server run.
    #[command(subcommand)]
    Component(Box<component::Component>),
    /// Measure how good a funnel's recommendations are, on data that are split.
    Evaluate(Box<Evaluate>),
    /// Run recorded requests again: to see that they come to the same, or what a change comes to.
    Replay(Box<Replay>),
    /// Write everything that a tenant has to a file, from whatever stores.
    Export(Export),
    /// Write what a scenario has shown and what users did with it, to train rankers from;
    /// its stores may be served meanwhile.
    ExportTraining(Box<ExportTraining>),
    /// Put an export into stores that have nothing of the tenant, and compare.
    ImportAll(ImportAll),
    /// Copy the embedded stores of a data directory, which may be served meanwhile.
    Backup(Backup),
    /// Put a backup into a data directory that has no tenants.
    Restore(Restore),
}

/// How log lines look.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum LogFormat {
    /// For a terminal.
    Text,
    /// One JSON object a line.
    Json,
}

/// Where the manifest is.
#[derive(Debug, Args)]
pub struct ManifestArgs {
    /// The manifest file.
    #[arg(short = 'f', long = "from", default_value = "spin.toml")]
    pub manifest: PathBuf,
}

/// `funnelweb up`
#[derive(Debug, Args)]
pub struct Up {
    #[command(flatten)]
    pub manifest: ManifestArgs,
    /// The address to listen on; port 0 takes any free one.
    #[arg(long, default_value = "127.0.0.1:3000")]
    pub listen: SocketAddr,
    /// Where everything is kept.
    #[arg(long, default_value = "data")]
    pub data_dir: PathBuf,
    /// What stands behind each capability (a TOML file, see
    /// `runtime-host/config/remote.toml`); all is embedded without one.
    #[arg(long, value_name = "FILE")]
    pub runtime_config: Option<PathBuf>,
    #[command(flatten)]
    pub variables: VariableArgs,
    /// Load the demo when it is not there yet, and show a first request.
    #[arg(long)]
    pub demo: bool,
}

/// Values of the application's variables.
#[derive(Debug, Args)]
pub struct VariableArgs {
    /// The value of an application variable, as NAME=VALUE; may be repeated.
    #[arg(long = "variable", value_name = "NAME=VALUE")]
    pub variables: Vec<String>,
}

/// `funnelweb check`
#[derive(Debug, Args)]
pub struct Check {
    #[command(flatten)]
    pub manifest: ManifestArgs,
    #[command(flatten)]
    pub variables: VariableArgs,
}

/// Which server a command talks to.
#[derive(Debug, Args)]
pub struct ServerArgs {
    /// The server.
    #[arg(long, default_value = "http://127.0.0.1:3000")]
    pub url: String,
    /// The bearer token that its gateway asks for.
    #[arg(long, env = "FUNNELWEB_TOKEN", default_value = "demo", hide_env_values = true)]
    pub token: String,
    /// Print progress and result as JSON lines.
    #[arg(long)]
    pub json: bool,
}

/// `funnelweb import`
#[derive(Debug, Args)]
pub struct Import {
    /// The file.
    pub source: PathBuf,
    /// The tenant whose data it becomes.
    #[arg(long)]
    pub tenant: String,
    /// The scenario it belongs to.
    #[arg(long)]
    pub scenario: String,
    /// A shipped mapping's name (`movielens-100k-items`, …) or a mapping file.
    #[arg(long)]
    pub mapping: Option<String>,
    /// What the file holds, when no mapping says so.
    #[arg(long, value_enum)]
    pub kind: Option<ImportKind>,
    /// What becomes of an item whose id exists.
    #[arg(long, value_enum, default_value_t = Duplicate::Replace)]
    pub on_duplicate: Duplicate,
    /// Where the state of an unfinished import is kept; beside the file unless
    /// said otherwise.
    #[arg(long)]
    pub state_dir: Option<PathBuf>,
    /// Begin at the beginning although an earlier run got further.
    #[arg(long)]
    pub restart: bool,
    #[command(flatten)]
    pub server: ServerArgs,
}

/// What a file holds.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum ImportKind {
    /// Items.
    Items,
    /// Behaviours.
    Behaviors,
}

/// What becomes of an item whose id exists.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum Duplicate {
    /// The new one takes its place.
    Replace,
    /// The old one stays.
    Skip,
    /// It is an error of its line.
    Error,
}

/// `funnelweb train`
#[derive(Debug, Args)]
pub struct Train {
    /// Whose scenario it is.
    #[arg(long)]
    pub tenant: String,
    /// The scenario.
    #[arg(long)]
    pub scenario: String,
    /// What to do, one after the other; may be repeated.
    #[arg(long = "job", value_enum, default_values = ["similarity", "embeddings"])]
    pub jobs: Vec<Job>,
    /// A JSON object that overlays the params of the scenario's config.
    #[arg(long, value_name = "JSON", default_value = "{}")]
    pub params: String,
    /// Begin all of them at once, and do not wait.
    #[arg(long)]
    pub no_wait: bool,
    #[command(flatten)]
    pub server: ServerArgs,
}

/// `funnelweb jobs`
#[derive(Debug, Subcommand)]
pub enum Jobs {
    /// Show runs, newest first.
    List(JobsList),
    /// Stop a run.
    Cancel(JobsCancel),
}

/// `funnelweb jobs list`
#[derive(Debug, Args)]
pub struct JobsList {
    /// Whose they are.
    #[arg(long)]
    pub tenant: String,
    /// Only those of this scenario.
    #[arg(long)]
    pub scenario: Option<String>,
    /// Only those of this kind.
    #[arg(long = "job", value_enum)]
    pub job: Option<Job>,
    /// How many at most.
    #[arg(long, default_value_t = 20)]
    pub limit: u32,
    #[command(flatten)]
    pub server: ServerArgs,
}

/// `funnelweb jobs cancel`
#[derive(Debug, Args)]
pub struct JobsCancel {
    /// The run.
    pub run: String,
    /// Whose it is.
    #[arg(long)]
    pub tenant: String,
    #[command(flatten)]
    pub server: ServerArgs,
}

/// A kind of job.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum Job {
    /// Neighbours of items and of users.
    Similarity,
    /// Vectors of items and users; items' own embeddings.
    Embeddings,
    /// Slates of users who were there lately.
    Precompute,
    /// Profiles, anew from the behaviours.
    Profiles,
    /// An import from a file or URL.
    Sync,
    /// Reports of experiments.
    Experiments,
    /// Recorded requests, run again.
    Replay,
}

impl From<Job> for funnelweb_core::job::Kind {
    fn from(job: Job) -> Self {
        match job {
            Job::Similarity => Self::Similarity,
            Job::Embeddings => Self::Embeddings,
            Job::Precompute => Self::Precompute,
            Job::Profiles => Self::Profiles,
            Job::Sync => Self::Sync,
            Job::Experiments => Self::Experiments,
            Job::Replay => Self::Replay,
        }
    }
}

/// `funnelweb demo`
#[derive(Debug, Args)]
pub struct Demo {
    /// Items of each scenario.
    #[arg(long, default_value_t = funnelweb_demo::Size::default().items)]
    pub items: u32,
    /// Users of each scenario.
    #[arg(long, default_value_t = funnelweb_demo::Size::default().users)]
    pub users: u32,
    /// Behaviours of each scenario.
    #[arg(long, default_value_t = funnelweb_demo::Size::default().events)]
    pub events: u64,
    /// The same seed draws the same worlds.
    #[arg(long, default_value_t = funnelweb_demo::SEED)]
    pub seed: u64,
    /// Only this scenario.
    #[arg(long, value_enum)]
    pub world: Option<World>,
    /// Visits of users who are then recommended to, in each scenario: what they are
    /// shown and do is logged.
    #[arg(long, default_value_t = 0)]
    pub visits: u64,
    /// Load nothing: the worlds are there already.
    #[arg(long, requires = "visits")]
    pub only_visits: bool,
    /// The tenant whose data it becomes.
    #[arg(long, default_value = funnelweb_demo::TENANT)]
    pub tenant: String,
    #[command(flatten)]
    pub server: ServerArgs,
}

/// Which stores a command works on, and how it tells of its progress.
#[derive(Debug, Args)]
pub struct StoreArgs {
    /// Where embedded stores are.
    #[arg(long, default_value = "data")]
    pub data_dir: PathBuf,
    /// What stands behind each capability, as for `up`; all is embedded without
    /// one.
    #[arg(long, value_name = "FILE")]
    pub runtime_config: Option<PathBuf>,
    /// Print progress and result as JSON lines.
    #[arg(long)]
    pub json: bool,
}

/// `funnelweb export`
#[derive(Debug, Args)]
pub struct Export {
    /// The file, NDJSON; gzip when its name ends in `.gz`.
    pub file: PathBuf,
    /// The tenant whose data it is.
    #[arg(long)]
    pub tenant: String,
    #[command(flatten)]
    pub stores: StoreArgs,
}

/// `funnelweb import-all`
#[derive(Debug, Args)]
pub struct ImportAll {
    /// A file that `export` wrote.
    pub file: PathBuf,
    /// The tenant whose data it becomes; the one that it was of, unless said
    /// otherwise.
    #[arg(long)]
    pub tenant: Option<String>,
    /// Take up an import of the same file that failed: what it has written is
    /// written again.
    #[arg(long)]
    pub resume: bool,
    #[command(flatten)]
    pub stores: StoreArgs,
}

/// `funnelweb backup`
#[derive(Debug, Args)]
pub struct Backup {
    /// The folder, which must be empty or not exist.
    pub folder: PathBuf,
    /// Only this tenant.
    #[arg(long)]
    pub tenant: Option<String>,
    /// Where the embedded stores are.
    #[arg(long, default_value = "data")]
    pub data_dir: PathBuf,
    /// Print progress and result as JSON lines.
    #[arg(long)]
    pub json: bool,
}

/// `funnelweb restore`
#[derive(Debug, Args)]
pub struct Restore {
    /// A folder that `backup` made.
    pub folder: PathBuf,
    /// Where the embedded stores will be.
    #[arg(long, default_value = "data")]
    pub data_dir: PathBuf,
    /// Print progress and result as JSON lines.
    #[arg(long)]
    pub json: bool,
}

/// A scenario of the demo.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum World {
    /// Short videos.
    Vlog,
    /// News.
    News,
    /// A shop.
    Ecommerce,
}

impl From<World> for funnelweb_demo::Kind {
    fn from(world: World) -> Self {
        match world {
            World::Vlog => Self::Vlog,
            World::News => Self::News,
            World::Ecommerce => Self::Ecommerce,
        }
    }
}

impl From<ImportKind> for Kind {
    fn from(kind: ImportKind) -> Self {
        match kind {
            ImportKind::Items => Self::Items,
            ImportKind::Behaviors => Self::Behaviors,
        }
    }
}

impl From<Duplicate> for OnDuplicate {
    fn from(duplicate: Duplicate) -> Self {
        match duplicate {
            Duplicate::Replace => Self::Replace,
            Duplicate::Skip => Self::Skip,
            Duplicate::Error => Self::Error,
        }
    }
}

/// Log lines go to standard error.
pub fn log(format: LogFormat) {
    let filter = EnvFilter::try_from_env("FUNNELWEB_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match format {
        LogFormat::Text => log.init(),
        LogFormat::Json => log.json().flatten_event(true).init(),
    }
}
