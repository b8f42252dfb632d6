//! The arguments of `funnelweb evaluate`.

use std::{path::PathBuf, str::FromStr};

use clap::{Args, ValueEnum};
use funnelweb_core::time;
use funnelweb_evaluation::split::{Cut, Kind};

use super::{ManifestArgs, VariableArgs};

/// `funnelweb evaluate`
#[derive(Debug, Args)]
pub struct Evaluate {
    /// Files of behaviours (NDJSON, CSV; gzip) to be split; with --test, what is
    /// learned from.
    #[arg(value_name = "FILE", required_unless_present = "scenario_id", conflicts_with = "scenario_id")]
    pub behaviors: Vec<PathBuf>,
    /// A fixed split: a file of behaviours that are asked for.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["split", "scenario_id"])]
    pub test: Option<PathBuf>,
    /// A fixed split: a file of behaviours that are asked for with `--part
    /// validation`, and otherwise not used.
    #[arg(long, value_name = "FILE", requires = "test")]
    pub validation: Option<PathBuf>,
    /// A file of items; those that are only in behaviours have no metadata.
    #[arg(long, value_name = "FILE", conflicts_with = "scenario_id")]
    pub items: Option<PathBuf>,
    /// A shipped mapping's name or a mapping file for the behaviours; without one
    /// their columns are named as the API's fields.
    #[arg(long, conflicts_with = "scenario_id")]
    pub mapping: Option<String>,
    /// The same for the items.
    #[arg(long, value_name = "MAPPING", requires = "items")]
    pub items_mapping: Option<String>,
    /// A file with the scenario to evaluate; one with every channel otherwise
    /// (`runtime-host/config/scenarios/evaluation.json`).
    #[arg(long, value_name = "FILE")]
    pub scenario: Option<PathBuf>,
    /// Evaluate a scenario of this tenant, with its own behaviours and items.
    #[arg(long, requires = "scenario_id")]
    pub tenant: Option<String>,
    /// Which; its config is used unless --scenario names another.
    #[arg(long, requires = "tenant")]
    pub scenario_id: Option<String>,
    /// `leave-last-out`; `time`, `time:0.8` (a share of the behaviours) or
    /// `time:2026-01-31T00:00:00Z`; `user-holdout` or `user-holdout:0.2,0.8` (a share
    /// of the users, and of the items of each that are folded in).
    #[arg(long, default_value = "leave-last-out", value_name = "SPLIT")]
    pub split: Split,
    /// Ask for the test part, or put it aside and ask for a part split off what is
    /// left in the same way, to tune on.
    #[arg(long, value_enum, default_value_t = Part::Test)]
    pub part: Part,
    /// Liked items that a user must have before what is asked for; 0 asks for new
    /// users too.
    #[arg(long, default_value_t = 1, value_name = "ITEMS")]
    pub min_history: u32,
    /// Ask for at most so many users, drawn by the seed.
    #[arg(long)]
    pub users: Option<usize>,
    /// Lengths at which slates are cut.
    #[arg(long = "k", value_delimiter = ',', default_value = "10,20")]
    pub cuts: Vec<u32>,
    /// How often users are drawn for an interval.
    #[arg(long, default_value_t = 1000)]
    pub resamples: u32,
    /// Of everything that is drawn.
    #[arg(long, default_value_t = 42)]
    pub seed: u64,
    /// Write the report as a page too.
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
    /// Print progress and report as JSON lines.
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub manifest: ManifestArgs,
    /// Where embedded stores are, which may be served meanwhile, and compiled
    /// components are kept.
    #[arg(long, default_value = "data")]
    pub data_dir: PathBuf,
    /// What stands behind each capability of the tenant's data, as for `up`; the
    /// evaluation itself runs on embedded stores of its own.
    #[arg(long, value_name = "FILE", requires = "tenant")]
    pub runtime_config: Option<PathBuf>,
    #[command(flatten)]
    pub variables: VariableArgs,
}

/// Which part of the data is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Part {
    /// The last.
    Test,
    /// The one before it.
    Validation,
}

/// A way to split, as an argument.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Split(pub Kind);

impl FromStr for Split {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, rest) = text.split_once(':').map_or((text, None), |(name, rest)| (name, Some(rest)));
        let share = |text: &str| text.parse::<f64>().map_err(|_| format!("`{text}` is no share"));
        let kind = match (name, rest) {
            ("leave-last-out", None) => Kind::LeaveLastOut,
            ("time", None) => Kind::Time(Cut::Share(0.8)),
            ("time", Some(rest)) => Kind::Time(match (rest.parse::<f64>(), time::parse_ms(rest)) {
                (Ok(share), _) => Cut::Share(share),
                (_, Some(at_ms)) => Cut::At(at_ms),
                _ => return Err(format!("`{rest}` is neither a share of the behaviours nor a time")),
            }),
            ("user-holdout", None) => Kind::UserHoldout { users: 0.2, history: 0.8 },
            ("user-holdout", Some(rest)) => {
                let (users, history) = rest.split_once(',').unwrap_or((rest, "0.8"));
                Kind::UserHoldout { users: share(users)?, history: share(history)? }
            }
            _ => return Err("expected leave-last-out, time[:SHARE|:TIME] or user-holdout[:USERS[,ITEMS]]".to_owned()),
        };
        Ok(Self(kind))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits_are_read() {
        for (text, kind) in [
            ("leave-last-out", Kind::LeaveLastOut),
            ("time", Kind::Time(Cut::Share(0.8))),
            ("time:0.5", Kind::Time(Cut::Share(0.5))),
            ("time:2026-01-01T00:00:00Z", Kind::Time(Cut::At(1_767_225_600_000))),
            ("user-holdout", Kind::UserHoldout { users: 0.2, history: 0.8 }),
            ("user-holdout:0.1", Kind::UserHoldout { users: 0.1, history: 0.8 }),
            ("user-holdout:0.1,0.5", Kind::UserHoldout { users: 0.1, history: 0.5 }),
        ] {
            assert_eq!(text.parse(), Ok(Split(kind)), "{text}");
        }
        for text in ["", "last", "leave-last-out:1", "time:soon", "user-holdout:x", "user-holdout:0.1,x"] {
            assert!(text.parse::<Split>().is_err(), "{text}");
        }
    }
}
