//! The arguments of `funnelweb replay`.

use clap::Args;

use super::ServerArgs;

/// `funnelweb replay`
#[derive(Debug, Args)]
pub struct Replay {
    /// The request; the last ones of a scenario without it.
    #[arg(conflicts_with_all = ["last", "scenario"])]
    pub request_id: Option<String>,
    /// Whose.
    #[arg(long)]
    pub tenant: String,
    /// The scenario of the last ones.
    #[arg(long, required_unless_present = "request_id")]
    pub scenario: Option<String>,
    /// How many of the last ones.
    #[arg(long, default_value_t = 1000)]
    pub last: usize,
    /// What is changed: a component (`acme/boost@1.2.0`), a model (`deepfm@v2`), or a JSON file
    /// with a merge patch of the scenario's config; may be repeated.
    #[arg(long = "with", value_name = "CHANGE")]
    pub with: Vec<String>,
    #[command(flatten)]
    pub server: ServerArgs,
}
