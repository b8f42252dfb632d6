//! The arguments of `funnelweb export-training`.

use std::path::PathBuf;

use clap::Args;
use funnelweb_core::time;

use super::StoreArgs;

/// `funnelweb export-training`
#[derive(Debug, Args)]
pub struct ExportTraining {
    /// Whose scenario it is.
    #[arg(long)]
    pub tenant: String,
    /// The scenario.
    #[arg(long)]
    pub scenario: String,
    /// The file, Parquet, as models/README.md describes it.
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
    /// Only what was shown from then on: RFC 3339, a date, or seconds or milliseconds
    /// since 1970.
    #[arg(long, value_name = "TIME", value_parser = moment)]
    pub from: Option<u64>,
    /// Only what was shown before then.
    #[arg(long, value_name = "TIME", value_parser = moment)]
    pub until: Option<u64>,
    /// What a user does with an item belongs to the latest slate before it that showed
    /// the item, for so long.
    #[arg(long, value_name = "HOURS", default_value_t = 24.0)]
    pub window_hours: f64,
    /// The share of the requests, by time, that says when to stop training: those before
    /// the test's.
    #[arg(long, value_name = "SHARE", default_value_t = 0.1)]
    pub valid: f64,
    /// The share of the requests, the newest, that a model is measured on.
    #[arg(long, value_name = "SHARE", default_value_t = 0.2)]
    pub test: f64,
    /// Only items that the user has seen: of each slate those down to the last with any
    /// behaviour, be it an `impression`; nothing of a slate without any.
    #[arg(long)]
    pub only_seen: bool,
    /// The actions that make a `label_click`; unless said otherwise, those that the
    /// scenario's `behaviors` give a weight above 0.
    #[arg(long, value_name = "ACTIONS", value_delimiter = ',')]
    pub click_actions: Vec<String>,
    /// The actions that make a `label_conversion`.
    #[arg(long, value_name = "ACTIONS", value_delimiter = ',', default_value = "purchase")]
    pub conversion_actions: Vec<String>,
    /// Slates too whose window has not ended at the newest behaviour, with what is known
    /// so far; they are left out otherwise.
    #[arg(long)]
    pub unfinished: bool,
    /// Replace the file when it exists.
    #[arg(long)]
    pub force: bool,
    #[command(flatten)]
    pub stores: StoreArgs,
}

fn moment(text: &str) -> Result<u64, String> {
    time::parse_ms(text).ok_or_else(|| "expected RFC 3339, a date, or seconds or milliseconds since 1970".to_owned())
}
