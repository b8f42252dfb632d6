use super::*;

const VLOG: &str = r#"{
  "scenario_id": "vlog_main_feed", "scenario_type": "vlog",
  "config": {
    "features": {
      "item_features": [
        {"name": "duration", "type": "numeric", "weight": 1.0},
        {"name": "category", "type": "categorical", "weight": 1.5}
      ],
      "user_features": [{"name": "favorite_categories", "type": "multi_categorical"}]
    },
    "recall": {"strategies": [{"name": "hot_items", "weight": 0.2, "limit": 50}]},
    "rank": {"model": "deepfm", "version": "v1.0", "objective": "watch_time"},
    "rerank": {"rules": [{"name": "freshness", "weight": 0.2, "params": {"decay_days": 7}}]}
  }
}"#;

fn refused(from: &str, to: &str) -> (Code, String) {
    let body = VLOG.replacen(from, to, 1);
    assert_ne!(body, VLOG);
    let error = Scenario::parse(body.as_bytes()).unwrap_err();
    (error.code, error.field.unwrap_or_default())
}

#[test]
fn the_design_s_config_is_read() {
    let scenario = Scenario::parse(VLOG.as_bytes()).unwrap();
    assert_eq!(scenario.status, Status::Active);
    assert_eq!(scenario.config.features.user_features[0].weight, 1.0);
    assert!(scenario.config.exposure.enabled);
    assert_eq!(scenario.config.exposure.ttl_s(), 86_400);
    let again: Scenario = serde_json::from_str(&serde_json::to_string(&scenario).unwrap()).unwrap();
    assert_eq!(again, scenario);
}

#[test]
fn every_fault_names_its_path() {
    let config = |path: &str| (Code::InvalidConfig, path.to_owned());
    assert_eq!(refused("\"limit\": 50", "\"limit\": 0"), config("config.recall.strategies[0].limit"));
    assert_eq!(refused("\"limit\": 50", "\"limit\": \"x\""), config("config.recall.strategies[0].limit"));
    assert_eq!(refused("\"weight\": 0.2", "\"weight\": 1e39"), config("config.recall.strategies[0].weight"));
    assert_eq!(refused("\"numeric\"", "\"number\""), config("config.features.item_features[0].type"));
    assert_eq!(refused("\"category\"", "\"duration\""), config("config.features.item_features[1].name"));
    assert_eq!(refused("\"decay_days\": 7}}]}", "\"decay_days\": 7}}]}, \"rerankk\": {}"), config("config.rerankk"));
    let jobs = |jobs: &str| refused("\"decay_days\": 7}}]}", &format!("\"decay_days\": 7}}}}]}}, \"jobs\": {jobs}"));
    assert_eq!(jobs(r#"{"training": {}}"#), config("config.jobs.training"));
    assert_eq!(jobs(r#"{"similarity": {"cron": "0 3 * * *"}}"#), config("config.jobs.similarity.cron"));
    assert_eq!(jobs(r#"{"similarity": {"schedule": "0 3 * *"}}"#), config("config.jobs.similarity.schedule"));
    assert_eq!(jobs(r#"{"sync": {"schedule": "0 0 30 2 *"}}"#), config("config.jobs.sync.schedule"));
    assert_eq!(jobs(r#"{"profiles": {"params": []}}"#), config("config.jobs.profiles.params"));
    assert_eq!(refused("vlog_main_feed", "a/b"), (Code::InvalidField, "scenario_id".to_owned()));
    assert_eq!(refused("\"scenario_type\": \"vlog\",", ""), (Code::InvalidField, String::new()));
    assert_eq!(refused("{", "[").0, Code::InvalidJson);
}

#[test]
fn every_limit_is_what_still_fits() {
    /// Fits at the limit; one more is refused, and the error names where.
    fn holds(path: &str, limit: usize, change: impl Fn(&mut Scenario, usize)) {
        let checked = |count: usize| {
            let mut scenario = Scenario::parse(VLOG.as_bytes()).unwrap();
            change(&mut scenario, count);
            scenario.check()
        };
        assert_eq!(checked(limit), Ok(()), "{path}");
        let error = checked(limit + 1).unwrap_err();
        assert_eq!(error.field.as_deref(), Some(path));
        assert!(error.message.contains(&limit.to_string()), "{path}: {}", error.message);
    }
    let text = |length: usize| "x".repeat(length);
    let feature = |name: String| Feature { name, kind: FeatureKind::Numeric, weight: 1.0 };
    holds("name", limits::NAME_BYTES, |scenario, bytes| scenario.name = Some(text(bytes)));
    holds("scenario_type", limits::NAME_BYTES, |scenario, bytes| scenario.scenario_type = text(bytes));
    holds("config.rank.model", limits::ID_BYTES, |scenario, bytes| scenario.config.rank.model = text(bytes));
    holds("config.rank.version", limits::ID_BYTES, |scenario, bytes| scenario.config.rank.version = text(bytes));
    holds("config.features.item_features", limits::FEATURES, |scenario, count| {
        scenario.config.features.item_features = (0..count).map(|at| feature(format!("f{at}"))).collect();
    });
    holds("config.features.user_features", limits::FEATURES, |scenario, count| {
        scenario.config.features.user_features = (0..count).map(|at| feature(format!("f{at}"))).collect();
    });
    holds("config.features.context_features", limits::FEATURES, |scenario, count| {
        scenario.config.features.context_features = (0..count).map(|at| feature(format!("f{at}"))).collect();
    });
    holds("config.features.derived_features", limits::FEATURES, |scenario, count| {
        let categories = (0..count.min(limits::FEATURES)).map(|at| Feature {
            name: format!("f{at}"),
            kind: FeatureKind::Categorical,
            weight: 1.0,
        });
        scenario.config.features.item_features = categories.collect();
        scenario.config.features.derived_features = (0..count).map(|at| format!("f{at}:overlap")).collect();
    });
    holds("config.features.user_features[0].name", limits::ID_BYTES, |scenario, bytes| {
        scenario.config.features.user_features = vec![feature(text(bytes))];
    });
    holds("config.recall.strategies", limits::RECALL_STRATEGIES, |scenario, count| {
        let strategies = &mut scenario.config.recall.strategies;
        *strategies = vec![strategies[0].clone(); count];
    });
    holds("config.recall.strategies[0].limit", limits::RECALL_LIMIT as usize, |scenario, limit| {
        scenario.config.recall.strategies[0].limit = u32::try_from(limit).unwrap();
    });
    holds("config.rerank.rules", limits::RERANK_RULES, |scenario, count| {
        let rules = &mut scenario.config.rerank.rules;
        *rules = vec![rules[0].clone(); count];
    });
    holds("config.rank.params", limits::PARAMS_BYTES, |scenario, bytes| {
        scenario.config.rank.params = Map::from_iter([("x".to_owned(), text(bytes - r#"{"x":""}"#.len()).into())]);
    });
    holds("config.jobs.sync.params", limits::PARAMS_BYTES, |scenario, bytes| {
        let params = Map::from_iter([("x".to_owned(), text(bytes - r#"{"x":""}"#.len()).into())]);
        scenario.config.jobs.sync = Some(Job { schedule: None, params });
    });
    for bytes in [limits::ACTION_TYPE_BYTES, limits::ACTION_TYPE_BYTES + 1] {
        let mut scenario = Scenario::parse(VLOG.as_bytes()).unwrap();
        scenario.config.behaviors.weights.insert(text(bytes), 1.0);
        assert_eq!(scenario.check().is_ok(), bytes == limits::ACTION_TYPE_BYTES);
    }
}

#[test]
fn weights_of_actions_can_be_overlaid() {
    let behaviors = Behaviors { weights: [("view".to_owned(), 0.5)].into(), ..Behaviors::default() };
    assert_eq!(behaviors.weight("view"), 0.5);
    assert_eq!(behaviors.weight("purchase"), 8.0);
    assert_eq!(behaviors.weight("hum"), 0.0);
}

/// The error of a config with this part in the place of `recall` or beside it.
fn with(path: &str, value: Value) -> Result<Scenario, (Code, String, String)> {
    let mut scenario: Value = serde_json::from_str(VLOG).unwrap();
    *scenario.pointer_mut("/config").unwrap().pointer_mut(path).unwrap() = value;
    Scenario::parse(scenario.to_string().as_bytes())
        .map_err(|error| (error.code, error.field.unwrap_or_default(), error.message))
}

#[test]
fn the_merge_is_by_places_unless_said_otherwise() {
    let merge = |text: &str| {
        let recall = format!(r#"{{"strategies": [{{"name": "latest"}}], "merge": {text}}}"#);
        with("/recall", serde_json::from_str(&recall).unwrap()).map(|scenario| scenario.config.recall.merge)
    };
    let field = |text: &str| {
        let (code, field, message) = merge(text).unwrap_err();
        assert_eq!(code, Code::InvalidConfig, "{message}");
        field
    };
    let default = Scenario::parse(VLOG.as_bytes()).unwrap().config.recall.merge;
    assert_eq!((default.method, default.k), (MergeMethod::Rrf, None));
    assert_eq!(merge(r#"{"method": "rrf", "k": 1000}"#).unwrap().k, Some(1000));
    let score = merge(r#"{"method": "score", "normalization": "z_score"}"#).unwrap();
    assert_eq!((score.method, score.normalization), (MergeMethod::Score, Some(Normalization::ZScore)));
    assert_eq!(field(r#"{"k": 0}"#), "config.recall.merge.k");
    assert_eq!(field(r#"{"k": 1001}"#), "config.recall.merge.k");
    assert_eq!(field(r#"{"method": "score", "k": 60}"#), "config.recall.merge.k");
    assert_eq!(field(r#"{"normalization": "sum"}"#), "config.recall.merge.normalization");
    assert_eq!(field(r#"{"method": "score", "normalization": "max"}"#), "config.recall.merge.normalization");
    assert_eq!(field(r#"{"method": "borda"}"#), "config.recall.merge.method");
    assert_eq!(field(r#"{"kk": 1}"#), "config.recall.merge.kk");
}

#[test]
fn exploration_needs_its_channel() {
    let exploration = |strategy: &str, text: &str| {
        let mut scenario = Scenario::parse(VLOG.as_bytes()).unwrap();
        scenario.config.recall.strategies[0].name = strategy.to_owned();
        scenario.config.exploration = serde_json::from_str(text).unwrap();
        scenario.check().map_err(|error| (error.field.unwrap_or_default(), error.message))
    };
    assert_eq!(exploration("latest", "{}"), Ok(()));
    assert_eq!(exploration("explore", r#"{"share": 0.5, "users": "new"}"#), Ok(()));
    let (field, message) = exploration("latest", r#"{"share": 0.1}"#).unwrap_err();
    assert!(field == "config.exploration.share" && message.contains("`explore`"), "{field}: {message}");
    let (field, message) = exploration("explore", r#"{"share": 0.6}"#).unwrap_err();
    assert!(field == "config.exploration.share" && message.contains("0 to 0.5"), "{field}: {message}");
    assert!(serde_json::from_str::<Exploration>(r#"{"users": "old"}"#).is_err());
}

#[test]
fn jobs_are_read_by_kind() {
    let jobs = r#""jobs": {"profiles": {}, "similarity": {"schedule": "0 3 * * *", "params": {"neighbours": 50}}}"#;
    let body = VLOG.replacen("\"recall\"", &format!("{jobs}, \"recall\""), 1);
    let scenario = Scenario::parse(body.as_bytes()).unwrap();
    let kinds: Vec<Kind> = scenario.config.jobs.iter().map(|(kind, _)| kind).collect();
    assert_eq!(kinds, [Kind::Similarity, Kind::Profiles]);
    assert_eq!(scenario.config.jobs.get(Kind::Similarity).unwrap().params["neighbours"], 50);
    assert_eq!(scenario.config.jobs.get(Kind::Sync), None);
}
