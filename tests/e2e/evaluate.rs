//! `funnelweb evaluate`, through the binary: what it measures of the real funnel, and
//! what it says of bad input.

use std::{
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use funnelweb_core::limits;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    fixtures::{FEED, configure, feed, import, item, settle},
    harness::{binary, shared, workspace},
};

/// Users of three tastes, each with twenty items of its own, of which the first are
/// liked most: 8 items a user, one a minute.
struct Files {
    folder: TempDir,
}

impl Files {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, lines: &[Value]) -> PathBuf {
        let text: Vec<String> = lines.iter().map(Value::to_string).collect();
        fs::write(self.path(name), text.join("\n")).unwrap();
        self.path(name)
    }
}

fn items() -> Vec<Value> {
    (0..60).map(|at| item(&format!("i{at}"), ["a", "b", "c"][at / 20], "x")).collect()
}

/// By user, what was liked, in order.
fn likings() -> Vec<Vec<usize>> {
    let of = |user: usize| {
        let mut own: Vec<usize> = Vec::new();
        let mut state = user as u64 + 1;
        while own.len() < 8 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let share = (state >> 11) as f64 / (1_u64 << 53) as f64;
            let item = user % 3 * 20 + (share * share * 20.0) as usize;
            if !own.contains(&item) {
                own.push(item);
            }
        }
        own
    };
    (0..90).map(of).collect()
}

fn behaviors() -> Vec<Value> {
    let event = |user: usize, at: usize, item: usize| {
        json!({"user_id": format!("u{user}"), "item_id": format!("i{item}"), "action_type": "like",
               "timestamp": 1_767_225_600 + 60 * at})
    };
    let lists = likings().into_iter().enumerate();
    lists.flat_map(|(user, own)| own.into_iter().enumerate().map(move |(at, item)| event(user, at, item))).collect()
}

fn evaluate<A: AsRef<OsStr>>(words: &[A]) -> Output {
    let mut command = Command::new(binary());
    command.current_dir(workspace()).args(["evaluate", "--json", "--data-dir"]);
    command.arg(shared().data_dir()).args(words).output().unwrap()
}

fn report<A: AsRef<OsStr>>(words: &[A]) -> Value {
    let output = evaluate(words);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let lines = String::from_utf8(output.stdout).unwrap();
    let last: Value = serde_json::from_str(lines.lines().last().unwrap()).unwrap();
    assert!(last["report"].is_object(), "{lines}");
    last["report"].clone()
}

fn refused<A: AsRef<OsStr>>(words: &[A]) -> String {
    let output = evaluate(words);
    assert!(!output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn mean(report: &Value, run: &str, metric: &str, k: u64) -> f64 {
    let runs = report["runs"].as_array().unwrap();
    let run = runs.iter().find(|other| other["name"] == run).unwrap_or_else(|| panic!("no run {run}"));
    let metrics = run["metrics"].as_array().unwrap();
    let found = metrics.iter().find(|other| other["metric"] == metric && other["k"] == k);
    found.unwrap_or_else(|| panic!("no {metric}@{k}"))["mean"].as_f64().unwrap()
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn the_real_channels_are_asked() {
    let files = Files::new();
    let (behaviors, items) = (files.write("b.ndjson", &behaviors()), files.write("i.ndjson", &items()));
    let page = files.path("report.html");
    let words = [text(&behaviors), "--items", text(&items), "--k", "5,10", "--html", text(&page)];
    let report = report(&words);
    assert_eq!((&report["data"]["asked"], &report["data"]["learned"]), (&json!(90), &json!(630)));
    assert_eq!((&report["data"]["items"], &report["data"]["left_out"]), (&json!(60), &json!(0)));
    // The live hot list, with a half-life of a year, is popularity.
    let hot = mean(&report, "hot_items", "recall", 10);
    let popular = mean(&report, "popularity", "recall", 10);
    assert!((hot - popular).abs() < 0.1, "{hot} {popular}");
    // Who likes one category is shown it, without what is known already.
    assert!(mean(&report, "content_based", "recall", 10) > popular + 0.15, "{report}");
    assert!(mean(&report, "funnel", "ndcg", 10) > mean(&report, "random", "ndcg", 10));
    let differences = report["differences"].as_array().unwrap();
    let difference = differences.iter().find(|of| {
        (&of["of"], &of["against"]) == (&json!("content_based"), &json!("popularity"))
            && (&of["metric"], &of["k"]) == (&json!("recall"), &json!(10))
    });
    assert!(difference.unwrap()["low"].as_f64().unwrap() > 0.0, "{difference:?}");
    assert!((mean(&report, "content_based", "fill", 10) - 1.0).abs() < 1e-6);
    let written = fs::read_to_string(&page).unwrap();
    assert!(written.contains("content_based") && written.contains("<svg"));
    // All that is drawn is drawn by the seed, and nobody is shown anything.
    let again = self::report(&words);
    for run in ["random", "popularity", "hot_items", "content_based"] {
        assert_eq!(mean(&again, run, "ndcg", 10), mean(&report, run, "ndcg", 10), "{run}");
    }
}

#[test]
fn held_out_users_are_known_by_their_history_alone() {
    let files = Files::new();
    let (behaviors, items) = (files.write("b.ndjson", &behaviors()), files.write("i.ndjson", &items()));
    let words = [text(&behaviors), "--items", text(&items), "--split", "user-holdout:0.2,0.75", "--users", "12"];
    let report = report(&words);
    let data = &report["data"];
    assert_eq!((&data["asked"], &data["folded_in"], &data["learned"]), (&json!(12), &json!(18 * 6), &json!(72 * 8)));
    assert!(mean(&report, "content_based", "recall", 20) > 0.8, "{report}");
}

#[test]
fn a_fixed_split_is_used_as_it_is() {
    let files = Files::new();
    let parts = [("train.txt", 0..6), ("valid.txt", 6..7), ("test.txt", 7..8)].map(|(name, places)| {
        let line = |(user, own): (usize, Vec<usize>)| {
            let own: Vec<String> = own[places.clone()].iter().map(ToString::to_string).collect();
            format!("{user} {}\n", own.join(" "))
        };
        fs::write(files.path(name), likings().into_iter().enumerate().map(line).collect::<String>()).unwrap();
        files.path(name)
    });
    let [train, valid, test] = parts.each_ref().map(|path| text(path));
    let fixed = [train, "--validation", valid, "--test", test, "--mapping", "user-lists-behaviors"];
    let measured = |rest: &[&str]| report(&[&fixed[..], rest].concat());
    let tested = measured(&[]);
    assert_eq!((&tested["data"]["learned"], &tested["data"]["asked"]), (&json!(540), &json!(90)));
    assert_eq!(tested["data"]["events"], json!(720));
    let validated = measured(&["--part", "validation"]);
    assert_eq!(validated["data"]["learned"], tested["data"]["learned"]);
    assert_ne!(mean(&validated, "popularity", "ndcg", 10), mean(&tested, "popularity", "ndcg", 10));
}

#[test]
fn a_served_scenario_is_evaluated_on_its_own_data() {
    let client = shared().tenant("evaluated");
    feed(&client);
    configure(&client, &json!({"recall": {"strategies": [{"name": "content_based"}]}, "exposure": {"enabled": true}}));
    import(&client, &items());
    let mut events = behaviors();
    for event in &mut events {
        event["scenario_id"] = json!(FEED);
    }
    let text: Vec<String> = events.iter().map(Value::to_string).collect();
    client.call("POST", "/api/v1/behaviors").body("application/x-ndjson", text.join("\n")).expect(202);
    settle(&client);
    let served = ["--tenant", "evaluated", "--scenario-id", FEED];
    let report = report(&[&served[..], &["--split", "time:0.8", "--k", "10"]].concat());
    assert_eq!(report["data"]["events"], json!(720));
    let names: Vec<&str> = report["runs"].as_array().unwrap().iter().map(|run| run["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["random", "popularity", "content_based", "funnel"]);
    assert!(mean(&report, "funnel", "recall", 10) > mean(&report, "popularity", "recall", 10));

    let said = refused(&["--tenant", "evaluated", "--scenario-id", "nowhere"]);
    assert!(said.contains(&format!("no scenario `nowhere`; it has {FEED}")), "{said}");
    let said = refused(&["--tenant", "nobody", "--scenario-id", FEED]);
    assert!(said.contains("nobody"), "{said}");
}

#[test]
fn bad_input_is_told_of() {
    let files = Files::new();
    let one = files.write("one.ndjson", &behaviors()[..1]);
    let all = files.write("all.ndjson", &behaviors());
    let (one, all) = (text(&one), text(&all));
    let said = refused(&[one]);
    assert!(said.contains("no test user: 1 users have liked something"), "{said}");
    let most = limits::COUNT + 1;
    let said = refused(&[all, "--k", &format!("10,{most}")]);
    assert!(said.contains(&format!("k must be 1 to {}, not {most}", limits::COUNT)), "{said}");
    let said = refused(&[all, "--split", "time:soon"]);
    assert!(said.contains("neither a share of the behaviours nor a time"), "{said}");
    for share in ["time:1.5", "user-holdout:0"] {
        let said = refused(&[all, "--split", share]);
        assert!(said.contains("above 0 and below 1"), "{share}: {said}");
    }
    let said = refused(&[all, "--users", "0"]);
    assert!(said.contains("--users"), "{said}");
    let said = refused(&[all, "--resamples", "3"]);
    assert!(said.contains("resamples must be 100 to 10000, not 3"), "{said}");
    let said = refused(&[all, "--html", "/nowhere/at/all.html"]);
    assert!(said.contains("/nowhere/at/all.html"), "{said}");
    let said = refused::<&str>(&[]);
    assert!(said.contains("FILE"), "{said}");
    let scenario = files.path("s.json");
    let text = r#"{"scenario_id":"s","scenario_type":"t","config":{"recall":{"strategies":[{"name":"hto_items"}]}}}"#;
    fs::write(&scenario, text).unwrap();
    let said = refused(&[all, "--scenario", scenario.to_str().unwrap()]);
    assert!(said.contains("config.recall.strategies[0].name") && said.contains("hot_items"), "{said}");
    fs::write(&scenario, text.replace("recall", "recal")).unwrap();
    let said = refused(&[all, "--scenario", scenario.to_str().unwrap()]);
    assert!(said.contains("s.json") && said.contains("recal"), "{said}");
}
