use super::*;
use crate::{
    baseline,
    catalogue::Features,
    data::Data,
    split::{self, Kind},
};

/// Twelve users who like a block of items each; one funnel that knows, one that
/// does not.
fn report() -> Report {
    let mut data = Data::default();
    for user in 0..12_u64 {
        for at in 0..5 {
            data.push(&format!("u{user}"), &format!("i{}", (user % 3) * 5 + (at + user) % 5), at, 1.0);
        }
    }
    data.items.number("unused");
    let config = split::Config { kind: Kind::LeaveLastOut, min_history: 1, seed: 1 };
    let split = split::split(&data, &config).unwrap();
    let catalogue = Catalogue::new(&data, &split.train, Features::default());
    let cuts = Cuts::new(&[2, 10]).unwrap();
    let run =
        |name: &str, kind, slates| Run { name: name.to_owned(), kind, slates, latency: None, trouble: Vec::new() };
    let knowing = split.asked.iter().map(|asked| asked.wanted.iter().map(|(item, _)| *item).collect()).collect();
    let mut funnel = run("funnel <all>", RunKind::Funnel, knowing);
    funnel.latency = Some(Latency { p50_ms: 0.71, p99_ms: 12.3 });
    funnel.trouble = vec![Trouble { stage: "user_cf".to_owned(), reason: "no <such> stage".to_owned(), answers: 12 }];
    let runs = vec![
        run("random", RunKind::Baseline, baseline::random(&data, &split, 2, 3)),
        run("hot_items", RunKind::Channel, vec![Vec::new(); split.asked.len()]),
        funnel,
    ];
    let subject = Subject {
        title: "a & b",
        split_title: "leave last out",
        split: &split,
        users: data.users.len(),
        events: data.events.len(),
        catalogue: &catalogue,
        cuts: &cuts,
        bootstrap: bootstrap::Config { resamples: 200, ..bootstrap::Config::default() },
    };
    let pair = |of: &str, against: &str| (of.to_owned(), against.to_owned());
    let pairs = [pair("funnel <all>", "random"), pair("hot_items", "funnel <all>"), pair("random", "nobody")];
    Report::new(&subject, runs, &pairs).unwrap()
}

#[test]
fn it_says_what_there_was() {
    let report = report();
    let data = report.data;
    assert_eq!((data.users, data.items, data.events, data.learned), (12, 16, 60, 48));
    assert_eq!((data.asked, data.left_out, data.wanted, data.folded_in), (12, 0, 12, 0));
    assert_eq!(
        report.measured("funnel <all>", Metric::Ndcg, 10).map(|found| (found.mean, found.low)),
        Some((1.0, 1.0))
    );
    assert_eq!(report.measured("hot_items", Metric::Recall, 2).map(|found| found.high), Some(0.0));
    assert_eq!(report.measured("hot_items", Metric::Novelty, 2), None, "no slate has any");
    assert_eq!(report.measured("nobody", Metric::Recall, 2), None);
}

#[test]
fn differences_have_signs() {
    let report = report();
    let signs = |of: &str| -> Vec<i8> {
        report.differences.iter().filter(|other| other.of == of).map(Difference::sign).collect()
    };
    assert_eq!(signs("funnel <all>"), [1; 14]);
    assert_eq!(signs("hot_items"), [-1; 14]);
    assert_eq!(report.differences.len(), 28, "a pair with a name that no run has is passed over");
}

#[test]
fn json_is_read_back() {
    let report = report();
    let json = serde_json::to_string(&report).unwrap();
    assert_eq!(serde_json::from_str::<Report>(&json).unwrap(), report);
    let value: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(value["format"], FORMAT);
    let first = &value["runs"][2]["metrics"][0];
    assert_eq!(
        (first["metric"].as_str(), first["k"].as_u64(), first["mean"].as_f64()),
        (Some("recall"), Some(2), Some(1.0))
    );
    assert!(first["low"].is_number() && first["high"].is_number() && first["users"] == 12);
    assert_eq!(value["runs"][2]["kind"], "funnel");
    assert_eq!(value["differences"][0]["against"], "random");
    assert!(value["runs"][0]["spreads"][1]["gini"].is_number());
}

#[test]
fn the_table_has_every_run_and_trouble() {
    let text = report().text();
    for part in [
        "a & b\nleave last out\n12 users, 16 items, 60 events",
        "NDCG@10",
        "coverage@2",
        "funnel <all>  1.0000 [1.0000, 1.0000]",
        "0.7      12.3",
        "hot_items     funnel <all>  -1.0000 [-1.0000, -1.0000] *",
        "funnel <all>: `user_cf` gave nothing in 12 answers: no <such> stage",
    ] {
        assert!(text.contains(part), "{part}\n{text}");
    }
    assert!(text.lines().all(|line| line.trim_end() == line));
}

#[test]
fn the_page_stands_alone_and_escapes() {
    let html = report().html();
    assert!(html.starts_with("<!doctype html>") && html.ends_with("</html>\n"));
    for part in ["<script", "http://", "https://", "funnel <all>", "no <such>", "NaN", "inf"] {
        assert!(!html.contains(part), "{part}");
    }
    for part in ["a &amp; b", "funnel &lt;all&gt;", "prefers-color-scheme: dark", "class=\"better\"", "class=\"worse\""]
    {
        assert!(html.contains(part), "{part}");
    }
    // Two cuts: 11 metrics with a value (no features, so no diversity), coverage and Gini.
    assert_eq!(html.matches("<svg").count(), 2 * 13);
    for tag in ["svg", "figure", "table", "tr", "td", "th", "div", "dl", "g", "details"] {
        let (open, close) = (
            html.matches(&format!("<{tag}>")).count() + html.matches(&format!("<{tag} ")).count(),
            html.matches(&format!("</{tag}>")).count(),
        );
        assert_eq!(open, close, "{tag}");
    }
}

#[test]
fn too_many_runs_are_refused() {
    let data = {
        let mut data = Data::default();
        data.push("u", "a", 1, 1.0);
        data.push("u", "b", 2, 1.0);
        data
    };
    let config = split::Config { kind: Kind::LeaveLastOut, min_history: 1, seed: 1 };
    let split = split::split(&data, &config).unwrap();
    let catalogue = Catalogue::new(&data, &split.train, Features::default());
    let cuts = Cuts::new(&[1]).unwrap();
    let subject = Subject {
        title: "",
        split_title: "",
        split: &split,
        users: 1,
        events: 2,
        catalogue: &catalogue,
        cuts: &cuts,
        bootstrap: bootstrap::Config::default(),
    };
    let runs = |count: usize| {
        let run = |at| Run {
            name: format!("{at}"),
            kind: RunKind::Channel,
            slates: vec![vec![1]],
            latency: None,
            trouble: Vec::new(),
        };
        (0..count).map(run).collect::<Vec<_>>()
    };
    assert!(Report::new(&subject, runs(limits::RUNS), &[]).is_ok());
    let error = Report::new(&subject, runs(limits::RUNS + 1), &[]).unwrap_err();
    assert_eq!(error.to_string(), "a report compares at most 40 recommenders, not 41");
}
