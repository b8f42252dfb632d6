//! A scenario: what a tenant configures, and the rules it must keep. Which
//! stages and params exist is asked of the stages themselves (`dispatch.check`);
//! everything else is checked here.

mod cache;
mod check;
mod exploration;
mod features;
mod merge;
mod offline;
mod recording;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use self::check::check_range;
pub(crate) use self::check::{check_text, config, field};

use crate::{
    error::{ApiError, Code},
    experiment, id,
    job::Kind,
    limits, wording,
};

pub use cache::Cache;
pub use exploration::{Exploration, ExploringUsers};
pub use features::{Feature, FeatureKind, Features};
pub use merge::{Merge, MergeMethod, Normalization};
pub use offline::Offline;
pub use recording::{Recording, Shadow};

/// A scenario as a client writes it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// Unique within the tenant.
    pub scenario_id: String,
    /// `vlog`, `news`, `ecommerce`, …: a label.
    pub scenario_type: String,
    /// For people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The funnel.
    pub config: Config,
    /// Only an active scenario answers `recommend`.
    #[serde(default)]
    pub status: Status,
    /// Experiments that were started; set by the server.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub experiments: Vec<experiment::Running>,
    /// Set by the server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_at: Option<String>,
    /// Set by the server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub updated_at: Option<String>,
}

/// Whether a scenario or an item takes part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// It does.
    #[default]
    Active,
    /// It does not; nothing of it is lost.
    Inactive,
}

/// The funnel of a scenario.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The feature table.
    #[serde(default)]
    pub features: Features,
    /// Where candidates come from.
    pub recall: Recall,
    /// How they are scored.
    #[serde(default)]
    pub rank: Rank,
    /// What is done to the scored list.
    #[serde(default)]
    pub rerank: Rerank,
    /// Places for items that nobody can judge yet.
    #[serde(default)]
    pub exploration: Exploration,
    /// Whether what was shown is shown again.
    #[serde(default)]
    pub exposure: Exposure,
    /// Whether an answer is given again.
    #[serde(default)]
    pub cache: Cache,
    /// What behaviours mean.
    #[serde(default)]
    pub behaviors: Behaviors,
    /// Long work in the background.
    #[serde(default)]
    pub jobs: Jobs,
    /// What components of the tenant's own are given.
    #[serde(default)]
    pub components: Components,
    /// Who is in experiments at all.
    #[serde(default)]
    pub experiments: experiment::Settings,
    /// Which requests are kept, to be looked at and run again.
    #[serde(default)]
    pub recording: Recording,
    /// A config that is tried on requests after they were answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shadow: Option<Shadow>,
}

/// What components of the tenant's own are given of a request, of what they ask for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Components {
    /// Parts of the user; `preferences`, `recent` and `context` unless said otherwise.
    pub user: Vec<UserPart>,
    /// Fields of items; all, unless said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fields: Option<Vec<String>>,
}

impl Default for Components {
    fn default() -> Self {
        Self { user: vec![UserPart::Preferences, UserPart::Recent, UserPart::Context], fields: None }
    }
}

/// A part of a request that is about somebody.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum UserPart {
    /// The user's id.
    Id,
    /// The fields of the profile.
    Attributes,
    /// What the user likes.
    Preferences,
    /// What the user acted on lately.
    Recent,
    /// The request's `context`.
    Context,
}

impl UserPart {
    /// Its name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Id => "id",
            Self::Attributes => "attributes",
            Self::Preferences => "preferences",
            Self::Recent => "recent",
            Self::Context => "context",
        }
    }
}

/// Recall.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recall {
    /// The channels, all asked at once.
    pub strategies: Vec<Strategy>,
    /// How their answers become one list.
    #[serde(default)]
    pub merge: Merge,
}

/// One recall channel.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Strategy {
    /// `hot_items`, `content_based`, `acme/similar@3`, …
    pub name: String,
    /// Its share in the merged score.
    #[serde(default = "one")]
    pub weight: f32,
    /// The most candidates it may offer.
    #[serde(default = "default_limit")]
    pub limit: u32,
    /// The stage's own settings.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub params: Map<String, Value>,
}

/// Ranking.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rank {
    /// `linear`, `lightgbm`, `deepfm`, …
    pub model: String,
    /// The model's version; empty for one without versions.
    #[serde(default)]
    pub version: String,
    /// What the score estimates: `watch_time`, `click_rate`, …
    #[serde(default)]
    pub objective: String,
    /// The stage's own settings.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub params: Map<String, Value>,
}

impl Default for Rank {
    fn default() -> Self {
        Self { model: "linear".to_owned(), version: String::new(), objective: String::new(), params: Map::new() }
    }
}

/// Reranking.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rerank {
    /// The rules, applied in order.
    #[serde(default)]
    pub rules: Vec<Rule>,
}

/// One rerank rule.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// `diversity`, `freshness`, `business_rules`, …
    pub name: String,
    /// How much the rule's own order counts against the ranker's, 0 to 1.
    #[serde(default = "one")]
    pub weight: f32,
    /// The stage's own settings.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub params: Map<String, Value>,
}

/// What is kept of slates: what a user was shown is not shown again for a while, and
/// rankers are trained from it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Exposure {
    /// On unless said otherwise.
    pub enabled: bool,
    /// For how long; 24 unless said otherwise.
    pub ttl_hours: f32,
    /// The share of requests whose slates are logged with their features; 1 unless said
    /// otherwise.
    pub log_share: f32,
}

impl Default for Exposure {
    fn default() -> Self {
        Self { enabled: true, ttl_hours: 24.0, log_share: 1.0 }
    }
}

impl Exposure {
    /// Whether the slate of the request with this seed is logged.
    #[must_use]
    pub fn logs(&self, seed: u64) -> bool {
        // The seed's high bits as a number below 1.
        (seed >> 40) as f32 / 16_777_216.0 < self.log_share
    }

    /// `ttl_hours` in seconds.
    #[must_use]
    pub fn ttl_s(&self) -> u32 {
        (self.ttl_hours * 3600.0).round() as u32
    }
}

/// What behaviours mean: by action type, how much one adds to an item's heat and
/// a user's preferences.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Behaviors {
    /// By `action_type`; overlaid on [`Behaviors::DEFAULT_WEIGHTS`].
    pub weights: BTreeMap<String, f32>,
    /// The time after which an action counts half in an item's heat.
    pub hot_half_life_hours: f32,
    /// The time after which an action counts half in a user's preferences.
    pub profile_half_life_days: f32,
}

impl Default for Behaviors {
    fn default() -> Self {
        Self { weights: BTreeMap::new(), hot_half_life_hours: 24.0, profile_half_life_days: 14.0 }
    }
}

impl Behaviors {
    /// What an action weighs when the scenario does not say. `impression` and
    /// unknown actions are recorded and weigh nothing.
    pub const DEFAULT_WEIGHTS: [(&'static str, f32); 16] = [
        ("impression", 0.0),
        ("view", 1.0),
        ("click", 2.0),
        ("watch", 2.0),
        ("play", 2.0),
        ("read", 2.0),
        ("rate", 3.0),
        ("like", 3.0),
        ("comment", 4.0),
        ("favorite", 4.0),
        ("collect", 4.0),
        ("share", 5.0),
        ("add_to_cart", 4.0),
        ("purchase", 8.0),
        ("dislike", -4.0),
        ("skip", -1.0),
    ];

    /// The weight of an action.
    #[must_use]
    pub fn weight(&self, action_type: &str) -> f32 {
        self.weights.get(action_type).copied().unwrap_or_else(|| {
            Self::DEFAULT_WEIGHTS.iter().find(|(name, _)| *name == action_type).map_or(0.0, |(_, weight)| *weight)
        })
    }
}

/// The jobs of a scenario: when each is begun by itself, and with which params.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Jobs {
    /// [`Kind::Similarity`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub similarity: Option<Job>,
    /// [`Kind::Embeddings`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub embeddings: Option<Job>,
    /// [`Kind::Precompute`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub precompute: Option<Job>,
    /// [`Kind::Profiles`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profiles: Option<Job>,
    /// [`Kind::Sync`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sync: Option<Job>,
    /// [`Kind::Experiments`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub experiments: Option<Job>,
    /// [`Kind::Replay`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replay: Option<Job>,
}

/// One job of a scenario.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Job {
    /// When it is begun, in UTC ([`Cron::parse`]); only when it is asked for, unless
    /// said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schedule: Option<String>,
    /// The job's own settings.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub params: Map<String, Value>,
}

impl Jobs {
    /// What is said of a job.
    #[must_use]
    pub fn get(&self, kind: Kind) -> Option<&Job> {
        match kind {
            Kind::Similarity => self.similarity.as_ref(),
            Kind::Embeddings => self.embeddings.as_ref(),
            Kind::Precompute => self.precompute.as_ref(),
            Kind::Profiles => self.profiles.as_ref(),
            Kind::Sync => self.sync.as_ref(),
            Kind::Experiments => self.experiments.as_ref(),
            Kind::Replay => self.replay.as_ref(),
        }
    }

    /// The jobs of which something is said.
    pub fn iter(&self) -> impl Iterator<Item = (Kind, &Job)> {
        Kind::NAMES.into_iter().filter_map(|(_, kind)| Some((kind, self.get(kind)?)))
    }
}

fn one() -> f32 {
    1.0
}

fn default_limit() -> u32 {
    100
}

impl Scenario {
    /// Reads and checks a scenario, all but its stages' names and params.
    ///
    /// # Errors
    /// `invalid_json` with line and column for what is not JSON; otherwise
    /// `invalid_field` or, inside `config`, `invalid_config`, with the JSON path.
    pub fn parse(body: &[u8]) -> Result<Self, ApiError> {
        let scenario: Self = parse_json(body)?;
        scenario.check()?;
        Ok(scenario)
    }

    /// Checks every rule that needs no stage.
    ///
    /// # Errors
    /// The first rule broken, with its JSON path.
    pub fn check(&self) -> Result<(), ApiError> {
        id::check(&self.scenario_id).map_err(|error| field("scenario_id", error))?;
        check_text("scenario_type", &self.scenario_type, 1, limits::NAME_BYTES)?;
        if let Some(name) = &self.name {
            check_text("name", name, 0, limits::NAME_BYTES)?;
        }
        self.config.check()
    }
}

/// Reads JSON into a type: what is not JSON is `invalid_json` with line and
/// column, what does not fit the type `invalid_field` with its JSON path
/// (`invalid_config` when that begins with `config`).
///
/// # Errors
/// As above.
pub fn parse_json<'de, T: Deserialize<'de>>(body: &'de [u8]) -> Result<T, ApiError> {
    let mut reader = serde_json::Deserializer::from_slice(body);
    let value = serde_path_to_error::deserialize(&mut reader).map_err(|error| {
        let path = error.path().to_string();
        json_error(&path, error.inner())
    })?;
    reader.end().map_err(|error| json_error("", &error))?;
    Ok(value)
}

fn json_error(path: &str, error: &serde_json::Error) -> ApiError {
    use serde_json::error::Category;
    let out_of_range = error.is_syntax() && error.to_string().starts_with("number out of range");
    match error.classify() {
        _ if out_of_range => {
            let code = if path.starts_with("config") { Code::InvalidConfig } else { Code::InvalidField };
            let field = (path != ".").then(|| path.to_owned());
            ApiError { code, message: "number out of range".to_owned(), field, rule: None }
        }
        Category::Data => {
            let code = if path.starts_with("config") { Code::InvalidConfig } else { Code::InvalidField };
            let message = wording::in_plain_words(&error.to_string());
            ApiError { code, message, field: (path != ".").then(|| path.to_owned()), rule: None }
        }
        Category::Syntax | Category::Eof | Category::Io => ApiError::new(Code::InvalidJson, error.to_string()),
    }
}

#[cfg(test)]
mod tests;
