//! Experiments from draft to end, and what they do to what users get.

use std::{
    collections::BTreeMap,
    thread,
    time::{Duration, SystemTime},
};

use funnelweb_core::time;
use serde_json::{Value, json};

use crate::{
    fixtures::{self, FEED, all_pages, configure, dated, feed, import, recommend, scenario, strings},
    harness::{Client, Reply, eventually, shared},
};

const ALL: &str = "/api/v1/experiments/feed";

/// A tenant whose newest item is `i9`, and whom `hot_items` has nothing for.
fn tenant(name: &str) -> Client {
    let client = shared().tenant(name);
    feed(&client);
    configure(&client, &json!({"recall": {"strategies": [{"name": "latest"}]}}));
    import(&client, &dated(10, |at| format!("i{at}")));
    client
}

/// A config under which nothing is recommended.
fn nothing() -> Value {
    json!({"recall": {"strategies": [{"name": "hot_items"}]}})
}

fn experiment(id: &str, config: &Value) -> Value {
    json!({
        "experiment_id": id,
        "groups": [
            {"group_id": "control", "traffic_ratio": 0.5},
            {"group_id": "treatment", "traffic_ratio": 0.5, "config": config},
        ],
    })
}

fn act(client: &Client, id: &str, what: &str) -> Reply {
    client.call("POST", &format!("{ALL}/{id}/{what}")).send()
}

fn create(client: &Client, body: &Value) {
    client.post(ALL, body).expect(201);
}

/// Makes and starts one.
fn run(client: &Client, id: &str, config: &Value) {
    create(client, &experiment(id, config));
    act(client, id, "start").assert_status(&[200]);
}

/// The group of an experiment that a slate names, and how many items it has.
fn group(reply: &Reply) -> (Option<String>, usize) {
    let slate = reply.json();
    assert_eq!(slate["degraded"], json!([]), "{slate}");
    let groups = slate.get("experiments").map(|groups| strings(groups, "group_id").remove(0));
    (groups, slate["items"].as_array().unwrap().len())
}

fn refused(reply: &Reply, status: u16, code: &str, field: Option<&str>) -> String {
    let error = &reply.json()["error"];
    assert_eq!((reply.status, &error["code"], &error["field"]), (status, &json!(code), &json!(field)), "{error}");
    error["message"].as_str().unwrap().to_owned()
}

#[test]
fn an_experiment_from_draft_to_end() {
    let client = tenant("experiments-life");
    let mut body = experiment("exp_001", &nothing());
    body["name"] = json!("Nothing at all");
    let created = client.post(ALL, &body).expect(201);
    assert_eq!(created.header("location"), format!("{ALL}/exp_001"));
    let mut expected = body.clone();
    (expected["scenario_id"], expected["status"]) = (json!("feed"), json!("draft"));
    let without_times = |reply: &Reply| {
        let mut document = reply.json();
        let fields = document.as_object_mut().unwrap();
        for name in ["created_at", "updated_at", "started_at", "stopped_at"] {
            let time = fields.remove(name);
            let is_time = |time: &Value| time.as_str().is_some_and(|time| time.ends_with('Z'));
            assert!(time.as_ref().is_none_or(is_time), "{time:?}");
        }
        document
    };
    assert_eq!(without_times(&created), expected);
    refused(&client.post(ALL, &body).send(), 409, "already_exists", Some("experiment_id"));
    // A draft splits nobody.
    assert_eq!(group(&recommend(&client, "ann", 5)), (None, 5));
    refused(&act(&client, "exp_001", "stop"), 409, "experiment_status", None);

    let started = act(&client, "exp_001", "start");
    expected["status"] = json!("running");
    assert_eq!(without_times(&started), expected);
    assert!(started.json()["started_at"].is_string() && started.json().get("stopped_at").is_none());
    refused(&act(&client, "exp_001", "start"), 409, "experiment_status", None);
    let mut of_users = BTreeMap::new();
    for user in 0..40 {
        let user = format!("user-{user}");
        let (group, items) = group(&recommend(&client, &user, 5));
        let group = group.unwrap();
        assert_eq!(items, if group == "control" { 5 } else { 0 }, "{user} is in {group}");
        of_users.insert(user, group);
    }
    let treated = of_users.values().filter(|group| *group == "treatment").count();
    assert!((8..=32).contains(&treated), "{treated} of 40");

    // It is the scenario's, whatever a client writes there.
    let read = client.get("/api/v1/scenarios/feed").expect(200).json();
    assert_eq!(read["experiments"][0]["experiment_id"], "exp_001");
    let mut written = scenario(FEED);
    written["config"]["recall"] = json!({"strategies": [{"name": "latest"}]});
    assert_eq!(client.put("/api/v1/scenarios/feed", &written).expect(200).json()["experiments"], read["experiments"]);
    let set = client.patch("/api/v1/scenarios/feed", &json!({"experiments": []})).send();
    refused(&set, 400, "invalid_field", Some("experiments"));
    for (user, group_of) in &of_users {
        assert_eq!(group(&recommend(&client, user, 5)).0.as_ref(), Some(group_of), "{user} stays where it was");
    }

    let patch = |change: Value| client.patch(&format!("{ALL}/exp_001"), &change).send();
    let mut groups = body["groups"].clone();
    groups[0]["traffic_ratio"] = json!(0.2);
    groups[1]["traffic_ratio"] = json!(0.8);
    refused(&patch(json!({"groups": groups})), 409, "experiment_status", Some("groups"));
    refused(&patch(json!({"groups": []})), 400, "invalid_field", Some("groups"));
    assert_eq!(patch(json!({"name": "Nothing"})).json()["name"], "Nothing");
    refused(&client.delete(&format!("{ALL}/exp_001")).send(), 409, "experiment_status", None);

    let stopped = act(&client, "exp_001", "stop").json();
    assert_eq!(stopped["status"], "stopped");
    assert!(stopped["stopped_at"].as_str().unwrap() >= stopped["started_at"].as_str().unwrap());
    for user in of_users.keys() {
        assert_eq!(group(&recommend(&client, user, 5)), (None, 5));
    }
    refused(&act(&client, "exp_001", "start"), 409, "experiment_status", None);
    client.delete(&format!("{ALL}/exp_001")).expect(204);
    refused(&client.get(&format!("{ALL}/exp_001")).send(), 404, "experiment_not_found", Some("experiment_id"));
}

#[test]
fn what_would_break_a_slate_is_refused() {
    let client = tenant("experiments-faults");
    let create = |change: &dyn Fn(&mut Value)| {
        let mut body = experiment("exp", &nothing());
        change(&mut body);
        client.post(ALL, &body).send()
    };
    let sum =
        refused(&create(&|body| body["groups"][0]["traffic_ratio"] = json!(0.4)), 400, "invalid_field", Some("groups"));
    assert!(sum.contains("0.9"), "{sum}");
    let overlay = |config: Value| create(&|body| body["groups"][1]["config"] = config.clone());
    let unknown = overlay(json!({"rank": {"model": "nonsense"}}));
    let message = refused(&unknown, 422, "invalid_config", Some("groups[1].config.rank.model"));
    assert!(message.ends_with("so it is in the group `treatment` of `exp`"), "{message}");
    refused(
        &overlay(json!({"recall": {"strategies": []}})),
        422,
        "invalid_config",
        Some("groups[1].config.recall.strategies"),
    );
    refused(
        &overlay(json!({"rerank": {"rules": [{"name": "diversity", "params": {"x": 1}}]}})),
        422,
        "invalid_config",
        Some("groups[1].config.rerank.rules[0].params.x"),
    );
    let ends = create(&|body| (body["start_time"], body["end_time"]) = (json!("2026-02-01"), json!("2026-01-01")));
    refused(&ends, 400, "invalid_field", Some("end_time"));
    refused(&create(&|body| body["status"] = json!("running")), 400, "invalid_field", Some("status"));
    let nowhere = client.post("/api/v1/experiments/nowhere", &experiment("exp", &nothing())).send();
    refused(&nowhere, 404, "scenario_not_found", Some("scenario_id"));
    assert_eq!(client.get(ALL).expect(200).json(), json!({"experiments": [], "next_cursor": null}), "nothing was kept");

    // A scenario cannot be changed under a group's feet.
    run(&client, "exp", &json!({"recall": {"merge": {"k": 7}}}));
    let method = json!({"config": {"recall": {"merge": {"method": "score"}}}});
    let message = refused(
        &client.patch("/api/v1/scenarios/feed", &method).send(),
        422,
        "invalid_config",
        Some("config.recall.merge.k"),
    );
    assert!(message.ends_with("so it is in the group `treatment` of `exp`"), "{message}");
    act(&client, "exp", "stop").assert_status(&[200]);
    client.patch("/api/v1/scenarios/feed", &method).expect(200);
}

#[test]
fn experiments_run_beside_each_other() {
    let client = tenant("experiments-layers");
    let with = |id: &str, layer: &str, traffic: f64, config: &Value| {
        let mut body = experiment(id, config);
        (body["layer"], body["traffic"]) = (json!(layer), json!(traffic));
        create(&client, &body);
        act(&client, id, "start")
    };
    let by_score = json!({"recall": {"merge": {"method": "score"}}});
    with("a", "recall", 0.6, &nothing()).assert_status(&[200]);
    let full = refused(&with("b", "recall", 0.6, &nothing()), 409, "layer_full", Some("traffic"));
    assert!(full.contains("0.4"), "{full}");
    refused(
        &with("c", "other", 1.0, &nothing()),
        409,
        "experiments_interfere",
        Some("groups[1].config.recall.strategies"),
    );
    with("d", "merge", 1.0, &by_score).assert_status(&[200]);
    let mut seen = BTreeMap::new();
    for user in 0..60 {
        let slate = recommend(&client, &format!("user-{user}"), 5).json();
        let ids = strings(&slate["experiments"], "experiment_id");
        *seen.entry(ids.join(" ")).or_insert(0) += 1;
    }
    assert_eq!(seen.keys().collect::<Vec<_>>(), ["a d", "d"], "{seen:?}");
    let held = client.patch("/api/v1/scenarios/feed", &json!({"config": {"experiments": {"holdout": 0.5}}})).send();
    refused(&held, 409, "experiment_status", Some("config.experiments.holdout"));
    // The switch works whatever else is wrong.
    let off = json!({"experiments": {"enabled": false}, "recall": {"merge": {"method": "rrf", "k": 7}}});
    configure(&client, &off);
    assert_eq!(group(&recommend(&client, "user-1", 5)), (None, 5));
    let on = json!({"config": {"experiments": {"enabled": true}}});
    let message = refused(
        &client.patch("/api/v1/scenarios/feed", &on).send(),
        422,
        "invalid_config",
        Some("config.recall.merge.k"),
    );
    assert!(message.ends_with("so it is in the group `treatment` of `d`"), "{message}");
    let listed = strings(&json!(all_pages(&client, &format!("{ALL}?limit=3"), "experiments")), "status");
    assert_eq!(listed, ["running", "draft", "draft", "running"], "newest first");
    assert!(shared().tenant("experiments-others").get(&format!("{ALL}/a")).send().status == 404);
}

#[test]
fn some_users_are_held_out_of_all() {
    let client = tenant("experiments-holdout");
    configure(&client, &json!({"experiments": {"holdout": 0.5}}));
    run(&client, "exp", &nothing());
    let mut held = 0;
    for user in 0..40 {
        let slate = recommend(&client, &format!("user-{user}"), 5).json();
        let is_held = slate.get("holdout") == Some(&json!(true));
        assert_eq!(is_held, slate.get("experiments").is_none(), "{slate}");
        held += u32::from(is_held);
    }
    assert!((8..=32).contains(&held), "{held} of 40");
}

#[test]
fn experiments_begin_and_end_by_themselves() {
    let client = tenant("experiments-times");
    let in_seconds = |seconds: u64| {
        let now_ms = SystemTime::UNIX_EPOCH.elapsed().unwrap().as_millis();
        time::format_ms(u64::try_from(now_ms).unwrap() + seconds * 1000)
    };
    let timed = |id: &str, start: Option<String>, end: Option<String>| {
        let mut body = experiment(id, &nothing());
        (body["layer"], body["traffic"]) = (json!("one"), json!(0.3));
        body["groups"][0]["config"] = nothing();
        for (name, time) in [("start_time", start), ("end_time", end)] {
            body.as_object_mut().unwrap().extend(time.map(|time| (name.to_owned(), json!(time))));
        }
        create(&client, &body);
        act(&client, id, "start")
    };
    let taking = || (0..20).filter(|user| group(&recommend(&client, &format!("u{user}"), 5)).0.is_some()).count();
    timed("later", Some(in_seconds(3600)), None).assert_status(&[200]);
    assert_eq!(taking(), 0);
    timed("soon", Some(in_seconds(2)), None).assert_status(&[200]);
    eventually("it begins", Duration::from_secs(30), || (taking() > 0).then_some(()));
    let end = in_seconds(8);
    client.patch(&format!("{ALL}/soon"), &json!({"end_time": end})).expect(200);
    eventually("it ends", Duration::from_secs(30), || (taking() == 0).then_some(()));
    let ended = client.get(&format!("{ALL}/soon")).expect(200).json();
    assert_eq!((&ended["status"], &ended["stopped_at"]), (&json!("stopped"), &json!(end)));
    // What was read can be written back, and it makes room.
    client.put(&format!("{ALL}/soon"), &ended).expect(200);
    let mut next = experiment("next", &nothing());
    (next["layer"], next["traffic"]) = (json!("one"), json!(0.7));
    create(&client, &next);
    act(&client, "next", "start").assert_status(&[200]);
    refused(&timed("late", None, Some("2020-01-02".to_owned())), 400, "invalid_field", Some("end_time"));
}

#[test]
fn sessions_and_targeted_users_take_part() {
    let client = tenant("experiments-whom");
    let mut body = experiment("exp", &nothing());
    body["targeting"] =
        json!([{"field": "user.country", "in": ["se"]}, {"field": "context.device.type", "not_in": ["tv"]}]);
    create(&client, &body);
    act(&client, "exp", "start").assert_status(&[200]);
    client.put("/api/v1/profiles/feed/ann", &json!({"features": {"country": "se"}})).expect(201);
    let of = |user: &str, device: &str| {
        let body = json!({"scenario_id": FEED, "count": 5, "context": {"device": {"type": device}}});
        client.post("/api/v1/recommend", &body).user(user).expect(200).json().get("experiments").is_some()
    };
    assert_eq!([of("ann", "mobile"), of("ann", "tv"), of("bob", "mobile")], [true, false, false]);
    act(&client, "exp", "stop").assert_status(&[200]);
    run(&client, "all", &nothing());
    let session = |context: Value| {
        let body = json!({"scenario_id": FEED, "behaviors": [], "context": context});
        group(&client.post("/api/v1/recommend/session", &body).expect(200)).0
    };
    assert_eq!(session(json!({})), None);
    let own = group(&recommend(&client, "phone-7", 5)).0;
    assert!(own.is_some());
    assert_eq!(session(json!({"device_id": "phone-7"})), own);
}

#[test]
fn a_report_tells_what_came_of_the_groups() {
    let client = tenant("experiments-report");
    let mut body = experiment("exp", &json!({"recall": {"merge": {"k": 7}}}));
    body["groups"][1]["group_id"] = json!("other");
    create(&client, &body);
    let path = format!("{ALL}/exp/report");
    refused(&client.get(&path).send(), 409, "experiment_status", None);
    act(&client, "exp", "start").assert_status(&[200]);
    let mut events = Vec::new();
    let mut users = BTreeMap::new();
    let mut clicks = 0;
    for number in 0..60 {
        let user = format!("user-{number}");
        let group = group(&recommend(&client, &user, 5)).0.unwrap();
        // One group clicks most of what it is shown, the other nothing.
        if group == "other" {
            let count = 4 + number % 2;
            clicks += count;
            events.extend((0..count).map(|at| {
                json!({
                    "scenario_id": FEED, "user_id": user, "item_id": format!("i{at}"), "action_type": "click",
                    "extra": {"revenue": 2.0, "watch_duration": 3.0},
                })
            }));
        }
        *users.entry(group).or_insert(0) += 1;
    }
    // Of somebody who was shown nothing.
    events.push(json!({"scenario_id": FEED, "user_id": "stranger", "item_id": "i1", "action_type": "click"}));
    client.post("/api/v1/behaviors", &json!(events)).expect(202);
    let run = fixtures::job(&client, "experiments", &json!({}));
    assert_eq!(
        (&run["state"], &run["outcome"]),
        (&json!("succeeded"), &json!({"experiments": ["exp"], "failed": [], "reported": 1, "stopped": []})),
        "{run}"
    );
    let report = client.get(&path).expect(200).json();
    assert_eq!((&report["experiment_id"], &report["status"]), (&json!("exp"), &json!("running")));
    let of = |name: &str| {
        let groups = report["groups"].as_array().unwrap();
        groups.iter().find(|group| group["group_id"] == name).unwrap().clone()
    };
    let (control, other) = (of("control"), of("other"));
    assert_eq!((&control["users"], &other["users"]), (&json!(users["control"]), &json!(users["other"])));
    let served = 5 * users["other"];
    assert_eq!((&other["counts"]["clicks"], &other["counts"]["served"]), (&json!(clicks), &json!(served)));
    assert_eq!(other["counts"]["revenue"], json!(2.0 * f64::from(clicks)));
    assert_eq!((&control["counts"]["clicks"], &control["is_control"]), (&json!(0), &json!(true)));
    assert_eq!(report["sample_ratio_mismatch"]["found"], false, "{report}");
    let ctr = report["comparisons"].as_array().unwrap().iter().find(|of| of["metric"] == "ctr").unwrap();
    let difference = f64::from(clicks) / f64::from(served);
    assert!((ctr["difference"].as_f64().unwrap() - difference).abs() < 1e-9, "{ctr}");
    assert_eq!(ctr["group_id"], "other");
    // What slates took is told of each group, and compared.
    for group in [&control, &other] {
        let times = &group["times"];
        assert_eq!(times["slates"], group["users"], "one of each user: {group}");
        let of = |what: &str, part: &str| times[what][part].as_f64().unwrap();
        assert!(of("latency_ms", "mean") > 0.0 && of("cost_ms", "mean") > 0.0, "{times}");
        assert!(of("latency_ms", "p95") >= of("latency_ms", "p50"), "{times}");
        let mean = group["metrics"]["latency_ms"]["value"].as_f64().unwrap();
        assert!((mean - of("latency_ms", "mean")).abs() < 1e-9 * mean, "{group}");
    }
    for metric in ["latency_ms", "cost_ms"] {
        let of = report["comparisons"].as_array().unwrap().iter().find(|of| of["metric"] == metric).unwrap();
        assert!(of["less_is_better"] == true && of["difference"].is_number(), "{of}");
    }
    assert_eq!(report["history"]["at_ms"].as_array().unwrap().len(), 1);
    // The experiment itself is as it was, and its report stays when it ends.
    let shown = client.get(&format!("{ALL}/exp")).expect(200).json();
    assert!(shown.get("report").is_none() && shown["status"] == "running", "{shown}");
    act(&client, "exp", "stop").assert_status(&[200]);
    let last = fixtures::job(&client, "experiments", &json!({}));
    assert_eq!(last["outcome"]["reported"], 1);
    assert_eq!(fixtures::job(&client, "experiments", &json!({}))["outcome"]["reported"], 0, "all is said");
    assert_eq!(client.get(&path).expect(200).json()["status"], "stopped");
}

/// An interleaving whose treatment ranks backwards.
fn interleaving(id: &str) -> Value {
    json!({
        "experiment_id": id,
        "type": "interleaving",
        "groups": [{"group_id": "control"}, {"group_id": "treatment", "config": {"rank": {"params": {"recall_weight": -1.0}}}}],
    })
}

#[test]
fn an_interleaving_tells_which_ranking_users_prefer() {
    let client = tenant("experiments-interleaving");
    configure(&client, &json!({"rank": {"model": "linear"}}));
    create(&client, &interleaving("exp"));
    act(&client, "exp", "start").assert_status(&[200]);
    let mut events = Vec::new();
    for number in 0..60 {
        let user = format!("user-{number}");
        let body = json!({"scenario_id": FEED, "count": 6});
        let slate = client.post("/api/v1/recommend?explain=true", &body).user(&user).expect(200).json();
        assert_eq!(slate["degraded"], json!([]), "{slate}");
        assert_eq!(slate["experiments"], json!([{"experiment_id": "exp", "group_id": "interleaved"}]));
        let (items, told) = (strings(&slate["items"], "item_id"), &slate["explain"]["interleaving"]);
        let best = |ranking: &str| strings(&told[ranking], "item_id")[..3].to_vec();
        let mut drafted = [best("control"), best("treatment")].concat();
        assert_eq!(drafted, ["i9", "i8", "i7", "i0", "i1", "i2"], "as they would be alone");
        let teams: Vec<&str> = told["teams"].as_array().unwrap().iter().map(|team| team.as_str().unwrap()).collect();
        let of = |team: &str| {
            let items = items.iter().zip(&teams).filter(|(_, of)| **of == team);
            items.map(|(item, _)| item.clone()).collect::<Vec<_>>()
        };
        assert_eq!((of("control"), of("treatment")), (best("control"), best("treatment")));
        drafted.sort_unstable();
        let mut shown = items.clone();
        shown.sort_unstable();
        assert_eq!(shown, drafted, "each once");
        events.extend(of("treatment").into_iter().map(|item| {
            json!({"scenario_id": FEED, "user_id": user, "item_id": item, "action_type": "click",
                   "extra": {"watch_duration": 3.0}})
        }));
    }
    // Of what nobody was shown.
    events.push(json!({"scenario_id": FEED, "user_id": "user-1", "item_id": "i5", "action_type": "click"}));
    client.post("/api/v1/behaviors", &json!(events)).expect(202);
    let run = fixtures::job(&client, "experiments", &json!({}));
    assert_eq!(run["outcome"], json!({"experiments": ["exp"], "failed": [], "reported": 1, "stopped": []}), "{run}");
    let report = client.get(&format!("{ALL}/exp/report")).expect(200).json();
    assert_eq!([&report["type"], &report["control"], &report["treatment"]], ["interleaving", "control", "treatment"]);
    assert_eq!((&report["users"], &report["incomplete"]), (&json!(60), &json!(false)));
    assert_eq!(report["places"], json!({"control": 180, "treatment": 180, "nobody": 0}));
    let of = |metric: &str| {
        report["preferences"].as_array().unwrap().iter().find(|of| of["metric"] == metric).unwrap().clone()
    };
    for (metric, credit) in [("clicks", 180.0), ("watch_time", 540.0)] {
        let said = of(metric);
        assert_eq!((&said["treatment_credit"], &said["control_credit"]), (&json!(credit), &json!(0.0)), "{said}");
        assert_eq!((&said["treatment_users"], &said["ties"], &said["share"]), (&json!(60), &json!(0), &json!(1.0)));
        assert_eq!(said["is_significant"], true, "{said}");
        assert!(said["interval"][0].as_f64().unwrap() > 0.5, "{said}");
    }
    act(&client, "exp", "stop").assert_status(&[200]);
    assert_eq!(group(&recommend(&client, "user-1", 5)).0, None);
}

#[test]
fn what_cannot_be_interleaved_is_refused() {
    let client = tenant("experiments-interleaving-faults");
    configure(&client, &json!({"rank": {"model": "linear"}}));
    let create_with = |change: &dyn Fn(&mut Value)| {
        let mut body = interleaving("exp");
        change(&mut body);
        client.post(ALL, &body).send()
    };
    let ratio = create_with(&|body| body["groups"][0]["traffic_ratio"] = json!(0.5));
    refused(&ratio, 400, "invalid_field", Some("groups[0].traffic_ratio"));
    refused(&create_with(&|body| body["type"] = json!("bandit")), 400, "invalid_field", Some("type"));
    let third = create_with(&|body| body["groups"].as_array_mut().unwrap().push(json!({"group_id": "third"})));
    refused(&third, 400, "invalid_field", Some("groups"));
    let whole = create_with(&|body| body["groups"][1]["config"] = json!({"exposure": {"enabled": false}}));
    refused(&whole, 400, "invalid_field", Some("groups[1].config.exposure"));
    let guarded = create_with(&|body| body["guardrails"] = json!([{"metric": "ctr"}]));
    refused(&guarded, 400, "invalid_field", Some("guardrails"));
    let unknown = create_with(&|body| body["groups"][1]["config"] = json!({"rank": {"model": "nonsense"}}));
    refused(&unknown, 422, "invalid_config", Some("groups[1].config.rank.model"));
    create(&client, &interleaving("exp"));
    act(&client, "exp", "start").assert_status(&[200]);
    let mut second = interleaving("second");
    (second["layer"], second["groups"][1]["config"]) = (json!("other"), json!({"rerank": {"rules": []}}));
    create(&client, &second);
    refused(&act(&client, "second", "start"), 409, "experiments_interfere", Some("layer"));
    let turned = client.patch(&format!("{ALL}/exp"), &json!({"control": "treatment"})).send();
    refused(&turned, 409, "experiment_status", Some("control"));
}

#[test]
fn a_treatment_that_does_not_rank_leaves_the_control_s_slate() {
    let client = tenant("experiments-interleaving-degraded");
    configure(&client, &json!({"rank": {"model": "linear"}}));
    let mut body = interleaving("exp");
    // There is no such model yet.
    body["groups"][1]["config"] = json!({"rank": {"model": "deepfm"}});
    create(&client, &body);
    act(&client, "exp", "start").assert_status(&[200]);
    let slate = recommend(&client, "ann", 3).json();
    assert_eq!(strings(&slate["items"], "item_id"), ["i9", "i8", "i7"]);
    assert_eq!(strings(&slate["degraded"], "stage"), ["deepfm", "experiments"]);
    assert!(slate.get("experiments").is_none(), "{slate}");
}

#[test]
fn a_guardrail_stops_an_experiment_that_harms() {
    let client = tenant("experiments-guardrail");
    let mut body = experiment("exp", &nothing());
    body["guardrails"] = json!([{"metric": "ctr", "margin": 0.1}, {"metric": "sample_ratio"}]);
    let faulty = |guardrail: Value| {
        let mut body = body.clone();
        body["guardrails"] = json!([guardrail]);
        client.post(ALL, &body).send()
    };
    let unknown = refused(&faulty(json!({"metric": "clicks"})), 400, "invalid_field", Some("guardrails[0].metric"));
    assert!(unknown.contains("`ctr`"), "{unknown}");
    let whole = faulty(json!({"metric": "ctr", "margin": 1}));
    refused(&whole, 400, "invalid_field", Some("guardrails[0].margin"));
    // The treatment shows as much, and nobody clicks it.
    body["groups"][1]["config"] = json!({"recall": {"merge": {"k": 7}}});
    create(&client, &body);
    act(&client, "exp", "start").assert_status(&[200]);
    let users: Vec<String> = (0..300).map(|number| format!("user-{number}")).collect();
    let mut events = Vec::new();
    for user in &users {
        if group(&recommend(&client, user, 5)).0.as_deref() == Some("control") {
            let click =
                |at| json!({"scenario_id": FEED, "user_id": user, "item_id": format!("i{at}"), "action_type": "click"});
            events.extend((0..3 + user.len() % 2).map(click));
        }
    }
    for events in events.chunks(400) {
        client.post("/api/v1/behaviors", &json!(events)).expect(202);
    }
    let run = fixtures::job(&client, "experiments", &json!({}));
    assert_eq!((&run["state"], &run["outcome"]["stopped"]), (&json!("succeeded"), &json!(["exp"])), "{run}");
    let stopped = client.get(&format!("{ALL}/exp")).expect(200).json();
    assert!(stopped["status"] == "stopped" && stopped["stopped_at"].is_string(), "{stopped}");
    let by = &stopped["stopped_by"];
    assert_eq!((&by["metric"], &by["group_id"]), (&json!("ctr"), &json!("treatment")), "{by}");
    assert!(by["lift_bounds"][1].as_f64().unwrap() < -0.1, "{by}");
    let report = client.get(&format!("{ALL}/exp/report")).expect(200).json();
    assert_eq!((&report["stopped_by"], &report["guardrails"][0]["verdict"]), (by, &json!("harm")));
    // Everybody gets the scenario's config again, and the next run has the last word.
    assert_eq!(client.get("/api/v1/scenarios/feed").expect(200).json()["experiments"], json!([]));
    for user in users.iter().take(10) {
        assert_eq!(group(&recommend(&client, user, 5)), (None, 5));
    }
    assert_eq!(fixtures::job(&client, "experiments", &json!({}))["outcome"]["reported"], 1);
    assert_eq!(fixtures::job(&client, "experiments", &json!({}))["outcome"]["reported"], 0);
}

#[test]
fn many_that_start_at_once_all_run_or_are_told() {
    let client = tenant("experiments-race");
    let ids: Vec<String> = (0..6).map(|at| format!("e{at}")).collect();
    for id in &ids {
        let mut body = experiment(id, &nothing());
        body["traffic"] = json!(0.1);
        create(&client, &body);
    }
    let statuses: Vec<u16> = thread::scope(|scope| {
        let started: Vec<_> = ids.iter().map(|id| scope.spawn(|| act(&client, id, "start").status)).collect();
        started.into_iter().map(|started| started.join().unwrap()).collect()
    });
    let running = client.get("/api/v1/scenarios/feed").expect(200).json()["experiments"].clone();
    let running = strings(&running, "experiment_id");
    for (id, status) in ids.iter().zip(&statuses) {
        assert!(*status == 200 || *status == 503, "{id}: {status}");
        assert_eq!(running.contains(id), *status == 200, "{id}: {status}, {running:?}");
    }
    assert!(statuses.contains(&200));
}
