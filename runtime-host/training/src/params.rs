//! Params of the works: JSON objects, every field of which may be left out.

use funnelweb_algorithms::Objective;
use funnelweb_core::{limits, scenario::Offline, wording};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;
use serde_path_to_error::Segment;

/// What is wrong with params: a JSON pointer (RFC 6901) and a message.
pub type ParamError = (String, String);

/// Threads of one training.
const THREADS: usize = 256;
/// Epochs of one training.
const EPOCHS: u32 = 1000;

/// Params of `similarity`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SimilarityParams {
    /// How neighbours of items are found.
    pub algorithm: Algorithm,
    /// `knn`: what an interaction counts for. Unless said otherwise `bm25`, and
    /// `cosine` where there are fewer than 200 items, too few for frequencies to mean
    /// something.
    pub weighting: Option<Weighting>,
    /// `bm25`: where a weight saturates, 0.001 to 1e6; 1.2 unless said otherwise.
    pub k1: Option<f32>,
    /// `bm25`: how much a popular item is discounted, 0 to 1; 0.25 unless said
    /// otherwise.
    pub b: Option<f32>,
    /// `knn`: shared users that halve the mistrust of a similarity, 0 to 1e6; 0 for
    /// `bm25` and 5 for the others unless said otherwise.
    pub shrinkage: Option<f32>,
    /// `knn` and `rp3beta`: by which power of their sum an item's similarities are
    /// divided, 0 to 1, so that an item with many similar ones has no more say than
    /// others; 0 unless said otherwise. What an item is most similar to stays the same.
    pub normalisation: Option<f32>,
    /// `rp3beta`: the exponent of a transition, 0 to 5; 0.8 unless said otherwise.
    pub alpha: Option<f32>,
    /// `rp3beta`: the exponent of popularity, 0 to 5; 0.3 unless said otherwise.
    pub beta: Option<f32>,
    /// `ease`: λ, 1e-6 to 1e9; 50 unless said otherwise.
    pub regularisation: Option<f32>,
    /// `ease`: p, 0 to 0.99; 0 unless said otherwise.
    pub dropout: Option<f32>,
    /// The most neighbours of an item.
    pub neighbours: usize,
    /// The most neighbours of a user; none are looked for if 0.
    pub user_neighbours: usize,
    /// Days in which a behaviour halves, 0.01 to 36500; never unless said otherwise.
    /// Ages are counted from the newest behaviour.
    pub half_life_days: Option<f32>,
    /// Threads; 0 is one a core.
    pub threads: usize,
}

/// How neighbours of items are found; see the crate `algorithms`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Algorithm {
    /// By common users.
    #[default]
    Knn,
    /// By a random walk.
    Rp3beta,
    /// By what reproduces histories; for small catalogues.
    Ease,
}

/// What an interaction counts for in a similarity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Weighting {
    /// The angle between two items.
    Cosine,
    /// The same, with those who have few items counting more.
    TfIdf,
    /// As words of documents.
    Bm25,
}

impl Default for SimilarityParams {
    fn default() -> Self {
        Self {
            algorithm: Algorithm::Knn,
            weighting: None,
            k1: None,
            b: None,
            shrinkage: None,
            normalisation: None,
            alpha: None,
            beta: None,
            regularisation: None,
            dropout: None,
            neighbours: 200,
            user_neighbours: 100,
            half_life_days: None,
            threads: 0,
        }
    }
}

impl SimilarityParams {
    /// Reads and checks params.
    ///
    /// # Errors
    /// The first that is wrong.
    pub fn parse(params: &Value) -> Result<Self, ParamError> {
        let params: Self = parse(params)?;
        let knn = params.algorithm == Algorithm::Knn;
        let bm25 = knn && params.weighting.is_none_or(|weighting| weighting == Weighting::Bm25);
        let (walk, ease) = (params.algorithm == Algorithm::Rp3beta, params.algorithm == Algorithm::Ease);
        if params.weighting.is_some() && !knn {
            return Err(("/weighting".to_owned(), "is for the algorithm `knn` only".to_owned()));
        }
        for (name, value, range, applies, only) in [
            ("k1", params.k1, 0.001..=1e6, bm25, "weighting `bm25`"),
            ("b", params.b, 0.0..=1.0, bm25, "weighting `bm25`"),
            ("shrinkage", params.shrinkage, 0.0..=1e6, knn, "algorithm `knn`"),
            ("normalisation", params.normalisation, 0.0..=1.0, knn || walk, "algorithms `knn` and `rp3beta`"),
            ("alpha", params.alpha, 0.0..=5.0, walk, "algorithm `rp3beta`"),
            ("beta", params.beta, 0.0..=5.0, walk, "algorithm `rp3beta`"),
            ("regularisation", params.regularisation, 1e-6..=1e9, ease, "algorithm `ease`"),
            ("dropout", params.dropout, 0.0..=0.99, ease, "algorithm `ease`"),
        ] {
            let Some(value) = value else { continue };
            if !applies {
                return Err((format!("/{name}"), format!("is for the {only} only")));
            }
            within(name, value, range)?;
        }
        within("neighbours", params.neighbours, 1..=limits::RELATED)?;
        within("user_neighbours", params.user_neighbours, 0..=limits::RELATED)?;
        half_life(params.half_life_days)?;
        within("threads", params.threads, 0..=THREADS)?;
        Ok(params)
    }
}

/// Params of `embeddings`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EmbeddingsParams {
    /// Values of a vector; 64 unless said otherwise.
    pub dimensions: usize,
    /// How often all users and items are solved for; 16 unless said otherwise.
    pub epochs: u32,
    /// α₀ of the loss, 1e-9 to 1e9; 0.01 unless said otherwise.
    pub unobserved_weight: f32,
    /// λ of the loss, 1e-9 to 1e9; 0.01 unless said otherwise.
    pub regularisation: f32,
    /// ν of the loss, 0 to 1; 1 unless said otherwise.
    pub regularisation_exponent: f32,
    /// As of `similarity`.
    pub half_life_days: Option<f32>,
    /// Of the start values.
    pub seed: u64,
    /// Threads; 0 is one a core.
    pub threads: usize,
}

impl Default for EmbeddingsParams {
    fn default() -> Self {
        let Objective { unobserved_weight, regularisation, regularisation_exponent } = Objective::default();
        Self {
            dimensions: 64,
            epochs: 16,
            unobserved_weight,
            regularisation,
            regularisation_exponent,
            half_life_days: None,
            seed: 42,
            threads: 0,
        }
    }
}

impl EmbeddingsParams {
    /// Reads and checks params.
    ///
    /// # Errors
    /// The first that is wrong.
    pub fn parse(params: &Value) -> Result<Self, ParamError> {
        let params: Self = parse(params)?;
        within("dimensions", params.dimensions, 1..=limits::LEARNED_DIMENSIONS)?;
        within("epochs", params.epochs, 1..=EPOCHS)?;
        within("unobserved_weight", params.unobserved_weight, 1e-9..=1e9)?;
        within("regularisation", params.regularisation, 1e-9..=1e9)?;
        within("regularisation_exponent", params.regularisation_exponent, 0.0..=1.0)?;
        half_life(params.half_life_days)?;
        within("threads", params.threads, 0..=THREADS)?;
        Ok(params)
    }

    pub(crate) fn objective(&self) -> Objective {
        Objective {
            unobserved_weight: self.unobserved_weight,
            regularisation: self.regularisation,
            regularisation_exponent: self.regularisation_exponent,
        }
    }
}

/// Params of `profiles`: there are none.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ProfilesParams {}

impl ProfilesParams {
    /// Reads and checks params.
    ///
    /// # Errors
    /// The first that is wrong.
    pub fn parse(params: &Value) -> Result<Self, ParamError> {
        parse(params)
    }
}

/// Params of `precompute`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PrecomputeParams {
    /// For users with a behaviour within so many days, of whatever kind: 0.01 to 3650;
    /// 14 unless said otherwise.
    pub active_days: f64,
    /// For so many of them, those who were there last: 1 to
    /// [`limits::PRECOMPUTED_USERS`], which it is unless said otherwise.
    pub max_users: usize,
    /// Items of a slate: 1 to [`limits::COUNT`]; 100 unless said otherwise.
    pub count: u32,
    /// Parts of the config that stand in for the scenario's own.
    pub funnel: Offline,
}

impl Default for PrecomputeParams {
    fn default() -> Self {
        Self { active_days: 14.0, max_users: limits::PRECOMPUTED_USERS, count: 100, funnel: Offline::default() }
    }
}

impl PrecomputeParams {
    /// Reads and checks params.
    ///
    /// # Errors
    /// The first that is wrong.
    pub fn parse(params: &Value) -> Result<Self, ParamError> {
        let params: Self = parse(params)?;
        within("active_days", params.active_days, 0.01..=3650.0)?;
        within("max_users", params.max_users, 1..=limits::PRECOMPUTED_USERS)?;
        within("count", params.count, 1..=limits::COUNT)?;
        params.funnel.check().map_err(|error| {
            let path = error.field.unwrap_or_default();
            let path = path.strip_prefix("config").unwrap_or(&path);
            (format!("/funnel{}", path.replace(['.', '['], "/").replace(']', "")), error.message)
        })?;
        Ok(params)
    }
}

fn parse<T: DeserializeOwned>(params: &Value) -> Result<T, ParamError> {
    if !params.is_object() {
        return Err((String::new(), "must be a JSON object".to_owned()));
    }
    serde_path_to_error::deserialize(params).map_err(|error| {
        let pointer = error.path().iter().map(|segment| match segment {
            Segment::Seq { index } => format!("/{index}"),
            Segment::Map { key } => format!("/{}", key.replace('~', "~0").replace('/', "~1")),
            Segment::Enum { .. } | Segment::Unknown => String::new(),
        });
        (pointer.collect(), wording::in_plain_words(&error.into_inner().to_string()))
    })
}

fn half_life(days: Option<f32>) -> Result<(), ParamError> {
    days.map_or(Ok(()), |days| within("half_life_days", days, 0.01..=36_500.0))
}

fn within<T: PartialOrd + std::fmt::Display>(
    name: &str,
    value: T,
    range: std::ops::RangeInclusive<T>,
) -> Result<(), ParamError> {
    // False for NaN too.
    if range.contains(&value) {
        return Ok(());
    }
    Err((format!("/{name}"), format!("must be {} to {}, got {value}", range.start(), range.end())))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn everything_may_be_left_out() {
        assert_eq!(SimilarityParams::parse(&json!({})), Ok(SimilarityParams::default()));
        assert_eq!(EmbeddingsParams::parse(&json!({})), Ok(EmbeddingsParams::default()));
        assert_eq!(ProfilesParams::parse(&json!({})), Ok(ProfilesParams {}));
    }

    #[test]
    fn every_fault_names_its_field() {
        let pointer = |params: Value| SimilarityParams::parse(&params).unwrap_err().0;
        for (expected, params) in [
            ("", json!([])),
            ("", json!(7)),
            ("/algorithm", json!({"algorithm": "svd"})),
            ("/neighbors", json!({"neighbors": 3})),
            ("/neighbours", json!({"neighbours": "many"})),
            ("/neighbours", json!({"neighbours": -1})),
            ("/neighbours", json!({"neighbours": 0})),
            ("/neighbours", json!({"neighbours": limits::RELATED + 1})),
            ("/user_neighbours", json!({"user_neighbours": limits::RELATED + 1})),
            ("/weighting", json!({"algorithm": "ease", "weighting": "cosine"})),
            ("/k1", json!({"weighting": "cosine", "k1": 1.2})),
            ("/k1", json!({"k1": 0})),
            ("/b", json!({"b": 1.5})),
            ("/shrinkage", json!({"algorithm": "rp3beta", "shrinkage": 5})),
            ("/normalisation", json!({"algorithm": "ease", "normalisation": 0.5})),
            ("/normalisation", json!({"normalisation": 1.5})),
            ("/alpha", json!({"alpha": 0.8})),
            ("/beta", json!({"algorithm": "rp3beta", "beta": -1})),
            ("/regularisation", json!({"algorithm": "ease", "regularisation": 0})),
            ("/dropout", json!({"algorithm": "ease", "dropout": 1})),
            ("/half_life_days", json!({"half_life_days": 0})),
            ("/threads", json!({"threads": 257})),
            ("/a~1b~0", json!({"a/b~": 1})),
        ] {
            assert_eq!(pointer(params.clone()), expected, "{params}");
        }
        let pointer = |params: Value| EmbeddingsParams::parse(&params).unwrap_err().0;
        for (expected, params) in [
            ("/dimensions", json!({"dimensions": limits::LEARNED_DIMENSIONS + 1})),
            ("/epochs", json!({"epochs": 0})),
            ("/unobserved_weight", json!({"unobserved_weight": 0})),
            ("/regularisation", json!({"regularisation": -1})),
            ("/regularisation_exponent", json!({"regularisation_exponent": 2})),
            ("/half_life_days", json!({"half_life_days": 1e9})),
            ("/seed", json!({"seed": -1})),
            ("/algorithm", json!({"algorithm": "knn"})),
        ] {
            assert_eq!(pointer(params.clone()), expected, "{params}");
        }
        let pointer = |params: Value| PrecomputeParams::parse(&params).unwrap_err().0;
        let strategy = |strategy: Value| json!({"funnel": {"recall": {"strategies": [{"name": "latest"}, strategy]}}});
        for (expected, params) in [
            ("/active_days", json!({"active_days": 0})),
            ("/max_users", json!({"max_users": limits::PRECOMPUTED_USERS + 1})),
            ("/count", json!({"count": limits::COUNT + 1})),
            ("/funnel/ranks", json!({"funnel": {"ranks": {}}})),
            ("/funnel/recall/strategies", json!({"funnel": {"recall": {"strategies": []}}})),
            ("/funnel/recall/strategies/1/limit", strategy(json!({"name": "latest", "limit": 0}))),
            ("/funnel/recall/strategies/1/name", strategy(json!({"name": 3}))),
            ("/funnel/rank/model", json!({"funnel": {"rank": {"model": ""}}})),
        ] {
            assert_eq!(pointer(params.clone()), expected, "{params}");
        }
        let most = json!({"max_users": limits::PRECOMPUTED_USERS, "count": limits::COUNT, "active_days": 3650});
        assert!(PrecomputeParams::parse(&most).is_ok());
        let (pointer, message) = ProfilesParams::parse(&json!({"x": 1})).unwrap_err();
        assert_eq!(pointer, "/x");
        assert!(message.contains("unknown field"), "{message}");
        let (_, message) = SimilarityParams::parse(&json!({"neighbours": 5000})).unwrap_err();
        assert_eq!(message, "must be 1 to 1000, got 5000");
    }
}
