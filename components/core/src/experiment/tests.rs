use std::collections::BTreeMap;

use serde_json::json;

use super::*;
use crate::{
    error::{ApiError, Code},
    limits,
    scenario::Scenario,
};

struct Who {
    unit: String,
    fields: BTreeMap<String, String>,
}

impl Who {
    fn new(unit: impl Into<String>) -> Self {
        Self { unit: unit.into(), fields: BTreeMap::new() }
    }

    fn with(mut self, field: &str, value: &str) -> Self {
        self.fields.insert(field.to_owned(), value.to_owned());
        self
    }
}

impl Subject for Who {
    fn unit(&self) -> &str {
        &self.unit
    }

    fn has(&self, origin: Origin, field: &str, values: &[String]) -> bool {
        let origin = if origin == Origin::User { "user" } else { "context" };
        self.fields.get(&format!("{origin}.{field}")).is_some_and(|value| values.contains(value))
    }
}

fn group(group_id: &str, traffic_ratio: f64) -> Group {
    Group { group_id: group_id.to_owned(), traffic_ratio: Some(traffic_ratio), config: Map::new() }
}

fn running(experiment_id: &str, layer: &str, groups: &[(&str, f64)]) -> Running {
    Running {
        experiment_id: experiment_id.to_owned(),
        layer: layer.to_owned(),
        buckets: vec![(0, BUCKETS)],
        targeting: Vec::new(),
        groups: groups.iter().map(|(name, ratio)| group(name, *ratio)).collect(),
        control: None,
        start_ms: 0,
        end_ms: None,
    }
}

fn scenario(experiments: Vec<Running>) -> Scenario {
    let body = json!({
        "scenario_id": "feed",
        "scenario_type": "news",
        "config": {"recall": {"strategies": [{"name": "latest"}]}},
        "experiments": experiments,
    });
    serde_json::from_value(body).unwrap()
}

/// The group of a user.
fn group_of(running: &Running, who: &Who) -> Option<usize> {
    match running.part_of("feed", who, 0)? {
        Part::Of(group) => Some(group),
        Part::Both(..) => panic!("it splits"),
    }
}

/// What share of `users` users each group has.
fn shares(running: &Running, users: u32) -> Vec<f64> {
    let mut counts = vec![0_u32; running.groups.len()];
    for user in 0..users {
        counts[group_of(running, &Who::new(format!("user-{user}"))).unwrap()] += 1;
    }
    counts.into_iter().map(|count| f64::from(count) / f64::from(users)).collect()
}

#[test]
fn a_million_users_are_split_within_a_thousandth_of_the_ratios() {
    for ratios in [&[("control", 0.5), ("treatment", 0.5)][..], &[("a", 0.9), ("b", 0.09), ("c", 0.01)]] {
        let shares = shares(&running("exp", "default", ratios), 1_000_000);
        for ((name, ratio), share) in ratios.iter().zip(shares) {
            assert!((share - ratio).abs() < 1e-3, "{name}: {share} and not {ratio}");
        }
    }
}

#[test]
fn a_group_of_nobody_has_nobody() {
    assert_eq!(shares(&running("exp", "default", &[("a", 0.0), ("b", 1.0)]), 1000), [0.0, 1.0]);
}

#[test]
fn layers_are_independent_and_so_are_experiments_of_the_same_users() {
    let ratios = [("a", 0.5), ("b", 0.3), ("c", 0.2)];
    // The place in a layer decides who is in, the draw of an experiment which group.
    let half = |layer: &str| Running { buckets: vec![(0, BUCKETS / 2)], ..running(layer, layer, &ratios) };
    let (one, other) = (half("ranking"), half("reranking"));
    let users = 400_000;
    // Out, or in one of three groups.
    let mut table = [[0_f64; 4]; 4];
    for user in 0..users {
        let who = Who::new(format!("u{user}"));
        let place = |running: &Running| group_of(running, &who).unwrap_or(3);
        table[place(&one)][place(&other)] += 1.0;
    }
    let row = |at: usize| table[at].iter().sum::<f64>();
    let column = |at: usize| table.iter().map(|row| row[at]).sum::<f64>();
    let mut chi_square = 0.0;
    for (at, counts) in table.iter().enumerate() {
        for (to, count) in counts.iter().enumerate() {
            let expected = row(at) * column(to) / f64::from(users);
            chi_square += (count - expected).powi(2) / expected;
        }
    }
    // The 0.999 quantile of chi-square with 9 degrees of freedom.
    assert!(chi_square < 27.877, "{chi_square}");
}

#[test]
fn who_is_in_a_group_stays_in_it_when_groups_are_added() {
    let before = running("exp", "default", &[("a", 0.5), ("b", 0.5)]);
    let after = running("exp", "default", &[("a", 0.45), ("b", 0.45), ("c", 0.1)]);
    let mut moved = 0;
    for user in 0..20_000 {
        let who = Who::new(format!("u{user}"));
        let (was, is) = (group_of(&before, &who).unwrap(), group_of(&after, &who).unwrap());
        assert!(was == is || is == 2, "u{user} moved from {was} to {is}");
        moved += usize::from(was != is);
    }
    assert!((1800..2200).contains(&moved), "{moved}");
}

#[test]
fn groups_are_those_of_every_version() {
    // Who was in an experiment must be in the same group when the program is another.
    let experiment = running("exp_001", "default", &[("control", 0.5), ("treatment", 0.5)]);
    let group = |user: u32| group_of(&experiment, &Who::new(format!("user-{user}"))).unwrap();
    let groups: Vec<usize> = (0..16).map(group).collect();
    assert_eq!(groups, GROUPS);
}

/// Of the first 16 users.
const GROUPS: [usize; 16] = [0, 1, 1, 0, 0, 1, 0, 1, 0, 0, 0, 1, 0, 0, 1, 0];

#[test]
fn experiments_of_one_layer_have_different_users() {
    let mut first = running("one", "default", &[("a", 0.5), ("b", 0.5)]);
    let mut second = running("two", "default", &[("a", 0.5), ("b", 0.5)]);
    first.buckets = vec![(0, 300_000)];
    second.buckets = vec![(300_000, 500_000), (900_000, BUCKETS)];
    let scenario = scenario(vec![first, second]);
    let mut counts = [0_u32; 2];
    for user in 0..100_000 {
        let taken = scenario.assign(&Who::new(format!("u{user}")), 0);
        assert!(taken.len() <= 1);
        if let [(at, _)] = taken[..] {
            counts[at] += 1;
        }
    }
    assert!(counts.iter().all(|count| (29_500..30_500).contains(count)), "{counts:?}");
}

#[test]
fn whom_it_is_not_for_takes_no_part() {
    let mut experiment = running("exp", "default", &[("a", 0.5), ("b", 0.5)]);
    (experiment.start_ms, experiment.end_ms) = (100, Some(200));
    let ann = || Who::new("ann").with("user.country", "se").with("context.device.type", "mobile");
    let takes = |experiment: &Running, who: &Who, now_ms| experiment.part_of("feed", who, now_ms).is_some();
    assert_eq!([99, 100, 199, 200].map(|now_ms| takes(&experiment, &ann(), now_ms)), [false, true, true, false]);
    let condition = |field: &str, among: Option<&[&str]>, not_in: Option<&[&str]>| {
        let list =
            |values: Option<&[&str]>| values.map(|values| values.iter().map(|&value| value.to_owned()).collect());
        Condition { field: field.to_owned(), among: list(among), not_in: list(not_in) }
    };
    for (targeting, is_in) in [
        (vec![condition("user.country", Some(&["no", "se"]), None)], true),
        (vec![condition("user.country", Some(&["no"]), None)], false),
        (vec![condition("user.country", None, Some(&["no"]))], true),
        (vec![condition("user.country", None, Some(&["se"]))], false),
        (vec![condition("user.age", Some(&["7"]), None)], false),
        (vec![condition("user.age", None, Some(&["7"]))], true),
        (vec![condition("context.country", Some(&["se"]), None)], false),
        (
            vec![
                condition("user.country", Some(&["se"]), None),
                condition("context.device.type", Some(&["mobile"]), Some(&["tv"])),
            ],
            true,
        ),
    ] {
        experiment.targeting = targeting;
        assert_eq!(takes(&experiment, &ann(), 150), is_in, "{:?}", experiment.targeting);
    }
}

#[test]
fn held_out_switched_off_and_unknown_users_take_no_part() {
    let mut scenario = scenario(vec![running("exp", "default", &[("a", 0.5), ("b", 0.5)])]);
    let taking = |scenario: &Scenario| {
        (0..10_000).filter(|user| !scenario.assign(&Who::new(format!("u{user}")), 0).is_empty()).count()
    };
    assert_eq!(taking(&scenario), 10_000);
    assert!(scenario.assign(&Who::new(""), 0).is_empty());
    scenario.config.experiments.holdout = 0.1;
    assert!((8900..9100).contains(&taking(&scenario)), "{}", taking(&scenario));
    for user in (0..100).map(|user| format!("u{user}")) {
        assert_eq!(scenario.holds_out(&user), scenario.assign(&Who::new(&*user), 0).is_empty());
    }
    scenario.config.experiments.enabled = false;
    assert_eq!(taking(&scenario), 0);
    assert!((0..100).all(|user| !scenario.holds_out(&format!("u{user}"))));
}

#[test]
fn an_overlay_is_part_of_a_whole_that_keeps_the_rules() {
    let config = json!({"recall": {"strategies": [{"name": "latest"}, {"name": "hot_items"}]}, "rank": {"model": "deepfm", "version": "3"}});
    let object = |value: Value| value.as_object().cloned().unwrap();
    let changes = object(json!({"rank": {"model": "linear", "version": null}}));
    let whole = overlaid(&config, &[&changes]).unwrap();
    assert_eq!((&*whole.rank.model, &*whole.rank.version, whole.recall.strategies.len()), ("linear", "", 2));
    let refused = |changes: Value| {
        let error = overlaid(&config, &[&object(changes)]).unwrap_err();
        assert_eq!(error.code, Code::InvalidConfig);
        (error.field.unwrap(), error.message)
    };
    assert_eq!(refused(json!({"recall": {"strategies": []}})).0, "config.recall.strategies");
    assert_eq!(refused(json!({"recall": null})), ("config.recall".to_owned(), "missing field `recall`".to_owned()));
    assert_eq!(refused(json!({"rank": {"model": 3}})).0, "config.rank.model");
    assert_eq!(refused(json!({"rnak": {}})).0, "config.rnak");
    // The later one is over the earlier.
    let later = object(json!({"rank": {"model": "lightgbm"}}));
    assert_eq!(overlaid(&config, &[&changes, &later]).unwrap().rank.model, "lightgbm");
}

#[test]
fn merge_is_the_rfc_s() {
    // RFC 7386, appendix A.
    for (mut target, patch, expected) in [
        (json!({"a": "b"}), json!({"a": "c"}), json!({"a": "c"})),
        (json!({"a": "b", "b": "c"}), json!({"a": null}), json!({"b": "c"})),
        (json!({"a": ["b"]}), json!({"a": "c"}), json!({"a": "c"})),
        (json!({"a": {"b": "c"}}), json!({"a": {"b": "d", "c": null}}), json!({"a": {"b": "d"}})),
        (json!(["a", "b"]), json!(["c", "d"]), json!(["c", "d"])),
        (json!({"e": null}), json!({"a": 1}), json!({"e": null, "a": 1})),
        (json!([1, 2]), json!({"a": "b", "c": null}), json!({"a": "b"})),
        (json!({}), json!({"a": {"bb": {"ccc": null}}}), json!({"a": {"bb": {}}})),
    ] {
        merge(&mut target, &patch);
        assert_eq!(target, expected);
    }
}

#[test]
fn those_that_change_the_same_interfere() {
    let groups = |config: Value| {
        vec![group("control", 0.5), Group { config: config.as_object().cloned().unwrap(), ..group("treatment", 0.5) }]
    };
    for (one, other, field) in [
        (json!({"rank": {"model": "a"}}), json!({"rank": {"model": "b"}}), Some("config.rank.model")),
        (json!({"rank": {"model": "a"}}), json!({"rank": {"version": "b"}}), None),
        (json!({"rank": {"params": {"a": 1}}}), json!({"rank": {"params": {"b": 1}}}), None),
        (json!({"rank": {"params": {"a": 1}}}), json!({"rank": {"params": null}}), Some("config.rank.params")),
        (json!({"rerank": {"rules": []}}), json!({"rerank": {"rules": [{"name": "x"}]}}), Some("config.rerank.rules")),
        (json!({"rank": {}}), json!({"recall": {}}), None),
    ] {
        let found = field.map(|field| (1, field.to_owned()));
        assert_eq!(interference(&groups(one.clone()), &groups(other.clone())), found, "{one} {other}");
        assert_eq!(interference(&groups(other), &groups(one)), found);
    }
}

fn body() -> Value {
    json!({
        "experiment_id": "exp_001",
        "scenario_id": "feed",
        "groups": [
            {"group_id": "control", "traffic_ratio": 0.5},
            {"group_id": "treatment", "traffic_ratio": 0.5, "config": {"rank": {"model": "deepfm"}}},
        ],
    })
}

fn with(pointer: &str, value: Value) -> Result<Experiment, ApiError> {
    let mut body = body();
    match pointer.rsplit_once('/').unwrap() {
        ("", name) => body[name] = value,
        (parent, name) => body.pointer_mut(parent).unwrap()[name] = value,
    }
    Experiment::parse(body.to_string().as_bytes())
}

#[test]
fn every_fault_names_its_field() {
    let refused = |pointer: &str, value: Value| {
        let error = with(pointer, value).unwrap_err();
        assert_eq!(error.code, Code::InvalidField, "{error:?}");
        error.field.unwrap()
    };
    assert!(with("/name", json!("New ranker")).is_ok());
    assert_eq!(refused("/experiment_id", json!("a/b")), "experiment_id");
    assert_eq!(refused("/scenario_id", json!("")), "scenario_id");
    assert_eq!(refused("/layer", json!("a b")), "layer");
    assert_eq!(refused("/traffic", json!(0)), "traffic");
    assert_eq!(refused("/traffic", json!(1.01)), "traffic");
    assert_eq!(refused("/trafic", json!(1)), "trafic");
    assert_eq!(refused("/groups", json!([])), "groups");
    for ratio in [-0.1, 1e-7, 1.1] {
        assert_eq!(refused("/groups/0/traffic_ratio", json!(ratio)), "groups[0].traffic_ratio");
    }
    assert_eq!(refused("/groups/0/group_id", json!("a:b")), "groups[0].group_id");
    assert_eq!(refused("/groups/1/group_id", json!("control")), "groups[1].group_id");
    for name in ["experiments", "jobs", "behaviors"] {
        assert_eq!(refused("/groups/1/config", json!({name: {}})), format!("groups[1].config.{name}"));
    }
    assert_eq!(refused("/control", json!("c")), "control");
    assert_eq!(refused("/start_time", json!("soon")), "start_time");
    assert_eq!(refused("/end_time", json!("soon")), "end_time");
    assert_eq!(refused("/status", json!("paused")), "status");
    assert_eq!(refused("/targeting", json!([{"field": "country", "in": ["se"]}])), "targeting[0].field");
    assert_eq!(refused("/targeting", json!([{"field": "user.", "in": ["se"]}])), "targeting[0].field");
    assert_eq!(refused("/targeting", json!([{"field": "user.country"}])), "targeting[0]");
    assert_eq!(refused("/targeting", json!([{"field": "user.country", "in": []}])), "targeting[0].in");
    assert_eq!(refused("/targeting", json!([{"field": "user.country", "not_in": ["\n"]}])), "targeting[0].not_in[0]");
    let sum = with("/groups/0/traffic_ratio", json!(0.4)).unwrap_err();
    assert_eq!(sum.message, "their traffic_ratio must add up to 1, and add up to 0.9000");
    assert_eq!(refused("/groups", json!([{"group_id": "a"}, {"group_id": "b"}])), "groups[0].traffic_ratio");
    let mut ends = body();
    (ends["start_time"], ends["end_time"]) = (json!("2026-02-01"), json!("2026-01-31T23:59:59Z"));
    let error = Experiment::parse(ends.to_string().as_bytes()).unwrap_err();
    assert_eq!(
        (error.field.as_deref(), &*error.message),
        (Some("end_time"), "must be after start_time, which is 2026-02-01")
    );
}

/// The body of an interleaving, changed.
fn interleaving(change: impl FnOnce(&mut Value)) -> Result<Experiment, ApiError> {
    let mut body = body();
    body["type"] = json!("interleaving");
    for group in body["groups"].as_array_mut().unwrap() {
        group.as_object_mut().unwrap().remove("traffic_ratio");
    }
    change(&mut body);
    Experiment::parse(body.to_string().as_bytes())
}

#[test]
fn an_interleaving_has_two_rankings_and_no_ratios() {
    assert_eq!(interleaving(|_| ()).unwrap().design, Design::Interleaving);
    let refused = |change: fn(&mut Value)| {
        let error = interleaving(change).unwrap_err();
        assert_eq!(error.code, Code::InvalidField, "{error:?}");
        (error.field.unwrap(), error.message)
    };
    assert_eq!(refused(|body| body["type"] = json!("bandit")).0, "type");
    assert_eq!(refused(|body| body["groups"] = json!([{"group_id": "a"}])).0, "groups");
    let three = |body: &mut Value| body["groups"] = json!([{"group_id": "a"}, {"group_id": "b"}, {"group_id": "c"}]);
    assert_eq!(refused(three), ("groups".to_owned(), "must have a length of 2 to 2, got 3".to_owned()));
    let (field, message) = refused(|body| body["groups"][1]["traffic_ratio"] = json!(0.5));
    assert!(field == "groups[1].traffic_ratio" && message.contains("split"), "{field} {message}");
    let (field, message) = refused(|body| body["groups"][1]["config"] = json!({"exposure": {"enabled": false}}));
    assert!(field == "groups[1].config.exposure" && message.contains("split"), "{field} {message}");
    assert_eq!(refused(|body| body["groups"][0]["config"] = json!({"jobs": {}})).0, "groups[0].config.jobs");
    let (field, message) = refused(|body| body["guardrails"] = json!([{"metric": "ctr"}]));
    assert!(field == "guardrails" && message.contains("split"), "{field} {message}");
    let named = |bytes: usize| interleaving(|body| body["experiment_id"] = json!("x".repeat(bytes)));
    let most = limits::ID_BYTES - 1 - INTERLEAVED.len();
    assert!(named(most).is_ok());
    let error = named(most + 1).unwrap_err();
    assert_eq!(error.field.as_deref(), Some("experiment_id"));
    assert!(error.message.contains(&limits::ID_BYTES.to_string()), "{error:?}");
}

#[test]
fn everybody_in_an_interleaving_gets_both_rankings() {
    for (control, expected) in [("control", Part::Both(0, 1)), ("treatment", Part::Both(1, 0))] {
        let mut whole = scenario(Vec::new());
        let body = interleaving(|body| (body["control"], body["traffic"]) = (json!(control), json!(0.5)));
        whole.begin(&body.unwrap(), 0).unwrap();
        let parts: Vec<_> = (0..1000).map(|user| whole.assign(&Who::new(format!("u{user}")), 0)).collect();
        let taking: Vec<_> = parts.into_iter().flatten().collect();
        assert!((450..550).contains(&taking.len()), "{}", taking.len());
        assert!(taking.iter().all(|part| *part == (0, expected)), "{taking:?}");
        let stored = serde_json::to_value(&whole.experiments).unwrap();
        assert_eq!(stored[0]["control"], control);
        assert_eq!(serde_json::from_value::<Vec<Running>>(stored).unwrap(), whole.experiments);
    }
}

#[test]
fn one_interleaving_changes_a_slate() {
    let begin = |whole: &mut Scenario, name: &str, layer: &str| {
        let change = |body: &mut Value| {
            (body["experiment_id"], body["layer"], body["traffic"]) = (json!(name), json!(layer), json!(0.5));
            body["groups"][1]["config"] = json!({"rank": {"params": {layer: 1}}});
        };
        whole.begin(&interleaving(change).unwrap(), 0)
    };
    let mut whole = begun(&[("splits", "other", 1.0)]).unwrap();
    begin(&mut whole, "one", "ranking").unwrap();
    let error = begin(&mut whole, "two", "reranking").unwrap_err();
    assert_eq!((error.code, error.field.as_deref()), (Code::ExperimentsInterfere, Some("layer")));
    begin(&mut whole, "two", "ranking").unwrap();
    // Beside what splits, it changes what that does not.
    let mut beside = interleaving(|_| ()).unwrap();
    beside.groups[1].config = whole.experiments[0].groups[1].config.clone();
    let error = scenario(whole.experiments[..1].to_vec()).begin(&beside, 0).unwrap_err();
    assert_eq!(error.field.as_deref(), Some("groups[1].config.rank.params.other"));
}

#[test]
fn thirds_with_three_digits_are_a_whole() {
    let third = |name: &str| json!({"group_id": name, "traffic_ratio": 0.333});
    assert!(with("/groups", json!([third("a"), third("b"), third("c")])).is_ok());
}

#[test]
fn the_control_is_named_or_the_first() {
    let control = |experiment: Experiment| experiment.control().unwrap().group_id.clone();
    assert_eq!(control(with("/control", json!("treatment")).unwrap()), "treatment");
    assert_eq!(control(with("/name", json!("x")).unwrap()), "control");
    assert_eq!(control(with("/groups/0/group_id", json!("a")).unwrap()), "a");
}

#[test]
fn every_limit_is_what_still_fits() {
    let holds = |field: &str, limit: usize, of: &dyn Fn(usize) -> Result<Experiment, ApiError>| {
        assert!(of(limit).is_ok(), "{field}: {limit} are refused: {:?}", of(limit));
        let error = of(limit + 1).unwrap_err();
        assert_eq!(error.field.as_deref(), Some(field));
        assert!(error.message.contains(&limit.to_string()), "{error:?}");
    };
    let text = |bytes: usize| json!("x".repeat(bytes));
    holds("name", limits::NAME_BYTES, &|bytes| with("/name", text(bytes)));
    holds("hypothesis", limits::HYPOTHESIS_BYTES, &|bytes| with("/hypothesis", text(bytes)));
    holds("groups[0].group_id", limits::ID_BYTES, &|bytes| with("/groups/0/group_id", text(bytes - "exp_001:".len())));
    holds("groups", limits::EXPERIMENT_GROUPS, &|count| {
        let group = |at: usize| json!({"group_id": format!("g{at}"), "traffic_ratio": 1.0 / count as f64});
        with("/groups", (0..count).map(group).collect())
    });
    holds("groups[1].config", limits::EXPERIMENT_OVERLAY_BYTES, &|bytes| {
        with("/groups/1/config", json!({"x": "y".repeat(bytes - r#"{"x":""}"#.len())}))
    });
    let condition = |values: usize| json!({"field": "user.a", "in": vec!["v"; values]});
    holds("targeting", limits::EXPERIMENT_CONDITIONS, &|count| with("/targeting", json!(vec![condition(1); count])));
    holds("targeting[0].in", limits::EXPERIMENT_VALUES, &|count| with("/targeting", json!([condition(count)])));
    holds("targeting[0].in[0]", limits::TERM_BYTES, &|bytes| {
        with("/targeting", json!([{"field": "user.a", "in": [text(bytes)]}]))
    });
}

/// What beginning these, one after the other, comes to.
fn begun(experiments: &[(&str, &str, f64)]) -> Result<Scenario, ApiError> {
    let mut whole = scenario(Vec::new());
    for (experiment_id, layer, traffic) in experiments {
        let mut body = body();
        (body["experiment_id"], body["layer"], body["traffic"]) = (json!(experiment_id), json!(layer), json!(traffic));
        body["groups"][1]["config"] = json!({"rank": {"params": {*layer: 1}}});
        whole.begin(&Experiment::parse(body.to_string().as_bytes()).unwrap(), 1000)?;
    }
    Ok(whole)
}

#[test]
fn experiments_take_what_is_left_of_a_layer() {
    let mut whole = begun(&[("a", "one", 0.3), ("b", "one", 0.3), ("c", "one", 0.4), ("d", "two", 1.0)]).unwrap();
    let buckets = |whole: &Scenario, name: &str| whole.experiment(name).unwrap().buckets.clone();
    assert_eq!(buckets(&whole, "a"), [(0, 300_000)]);
    assert_eq!(buckets(&whole, "c"), [(600_000, 1_000_000)]);
    assert_eq!(buckets(&whole, "d"), [(0, 1_000_000)]);
    let full = begun(&[("a", "one", 0.3), ("b", "one", 0.5), ("c", "one", 0.3)]).unwrap_err();
    assert_eq!((full.code, full.field.as_deref()), (Code::LayerFull, Some("traffic")));
    assert_eq!(full.message, "the layer `one` has 0.2 of its users left, fewer than 0.3");
    // Those that stay keep their users; who comes next takes the gaps.
    whole.experiments.retain(|running| running.experiment_id != "a" && running.experiment_id != "c");
    let mut next = body();
    (next["layer"], next["traffic"]) = (json!("one"), json!(0.6));
    next["groups"][1]["config"] = json!({});
    whole.begin(&Experiment::parse(next.to_string().as_bytes()).unwrap(), 1000).unwrap();
    assert_eq!(buckets(&whole, "exp_001"), [(0, 300_000), (600_000, 900_000)]);
    assert_eq!(buckets(&whole, "b"), [(300_000, 600_000)]);
}

#[test]
fn equal_shares_of_a_layer_fit() {
    for count in [3, 6, 7, 16] {
        let names: Vec<String> = (0..count).map(|at| format!("e{at}")).collect();
        let all: Vec<(&str, &str, f64)> =
            names.iter().map(|name| (name.as_str(), "one", 1.0 / f64::from(count))).collect();
        assert_eq!(begun(&all).unwrap().experiments.len(), count as usize);
    }
    assert_eq!(begun(&[("a", "one", 0.3)]).unwrap().experiments[0].buckets, [(0, 300_000)]);
}

#[test]
fn what_came_to_its_end_makes_room() {
    let mut whole = begun(&[("a", "one", 1.0)]).unwrap();
    whole.experiments[0].end_ms = Some(2000);
    let mut next = body();
    next["layer"] = json!("one");
    let next = Experiment::parse(next.to_string().as_bytes()).unwrap();
    assert_eq!(whole.clone().begin(&next, 1999).unwrap_err().code, Code::LayerFull);
    whole.begin(&next, 2000).unwrap();
    assert_eq!(whole.experiments.iter().map(|running| &*running.experiment_id).collect::<Vec<_>>(), ["exp_001"]);
}

#[test]
fn experiments_that_interfere_share_a_layer_or_do_not_begin() {
    let mut whole = scenario(vec![Running {
        buckets: vec![(0, BUCKETS / 2)],
        groups: with("/name", json!("x")).unwrap().groups,
        ..running("other", "ranking", &[])
    }]);
    let beside = with("/layer", json!("reranking")).unwrap();
    let error = whole.begin(&beside, 1000).unwrap_err();
    assert_eq!((error.code, error.field.as_deref()), (Code::ExperimentsInterfere, Some("groups[1].config.rank.model")));
    let mut within = with("/layer", json!("ranking")).unwrap();
    within.traffic = 0.5;
    whole.begin(&within, 1000).unwrap();
    assert_eq!(whole.experiment("exp_001").unwrap().buckets, [(BUCKETS / 2, BUCKETS)]);
}

#[test]
fn an_experiment_begins_at_its_start_and_not_after_its_end() {
    let mut timed = with("/start_time", json!("1970-01-01T00:00:05Z")).unwrap();
    let begun = |experiment: &Experiment, now_ms| {
        let mut whole = scenario(Vec::new());
        whole.begin(experiment, now_ms).map(|()| (whole.experiments[0].start_ms, whole.experiments[0].end_ms))
    };
    assert_eq!(begun(&timed, 1000).unwrap(), (5000, None));
    assert_eq!(begun(&timed, 7000).unwrap(), (7000, None));
    timed.end_time = Some("1970-01-01T00:00:08Z".to_owned());
    assert_eq!(begun(&timed, 7000).unwrap(), (7000, Some(8000)));
    assert_eq!(begun(&timed, 8000).unwrap_err().field.as_deref(), Some("end_time"));
}

#[test]
fn so_many_run_at_once() {
    let names: Vec<String> = (0..=limits::EXPERIMENTS_RUNNING).map(|at| format!("e{at}")).collect();
    let all: Vec<(&str, &str, f64)> = names.iter().map(|name| (name.as_str(), "one", 0.01)).collect();
    assert_eq!(begun(&all[..limits::EXPERIMENTS_RUNNING]).unwrap().experiments.len(), limits::EXPERIMENTS_RUNNING);
    let error = begun(&all).unwrap_err();
    assert_eq!(error.code, Code::TooManyExperiments);
    assert!(error.message.contains(&limits::EXPERIMENTS_RUNNING.to_string()), "{}", error.message);
}
