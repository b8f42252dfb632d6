//! Proof that each upload is what it says: that what is to be refused breaks the rule,
//! that what is to run runs, and that what it does to a host is what it is contained for.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "helpers of tests are not recognised as tests"
)]

mod census;
mod host;

use std::{collections::HashSet, sync::LazyLock, time::Duration};

use funnelweb_corpus::{Case, Expected, FOUND, VICTIM, World, cases, markdown_table};
use host::{Host, Kind};

/// Made once.
static CASES: LazyLock<Vec<Case>> = LazyLock::new(cases);

/// What becomes of these is the product's to say, whose clock stands still for everybody, which
/// gives handles of its own, and checks what is asked for and given by the manifest: the
/// end-to-end tests see to them.
const OF_THE_PRODUCT: [&str; 13] = [
    "async-export",
    "async-tasks",
    "check-columns",
    "check-curious",
    "check-name",
    "contract-recall-invented",
    "export-types",
    "export-types-aggregate",
    "host-sleep",
    "host-sleep-for-ever",
    "leak-inputs-streams",
    "schema-nested",
    "schema-product",
];

fn named(name: &str) -> &'static Case {
    CASES.iter().find(|case| case.name == name).unwrap()
}

/// How long a case may take: little where that is what it does, and else so much that a
/// machine which does other things as well is no reason to fail.
fn patience(expected: Expected) -> Duration {
    match expected {
        Expected::Contained(reasons) | Expected::Unusable(reasons) if says(reasons, "no answer within") => {
            Duration::from_millis(100)
        }
        Expected::RefusedOr(_, otherwise) => patience(*otherwise),
        _ => Duration::from_secs(10),
    }
}

/// Whether one of these is part of the text.
fn says(reasons: &[&str], text: &str) -> bool {
    reasons.iter().any(|reason| text.contains(*reason))
}

#[test]
fn names_are_told_apart_and_ordered_by_kind() {
    let cases = &CASES;
    assert!(cases.len() >= 200, "{}", cases.len());
    assert!(cases.is_sorted_by_key(|case| case.name));
    let names: HashSet<_> = cases.iter().map(|case| case.name).collect();
    assert_eq!(names.len(), cases.len());
    for case in cases.iter() {
        assert!(case.name.contains('-') && !case.about.is_empty() && !case.about.contains(['\n', '|']), "{case:?}");
    }
}

#[test]
fn they_are_the_same_each_time() {
    for (a, b) in CASES.iter().zip(&cases()) {
        assert!(a.upload == b.upload || a.name == "bytes-compiled", "{}", a.name);
    }
}

#[test]
fn the_table_has_a_row_for_each_kind_of_case() {
    let table = markdown_table(&CASES);
    println!("{table}");
    let abouts: HashSet<_> = CASES.iter().map(|case| case.about).collect();
    assert_eq!(table.lines().count(), abouts.len() + 2);
    assert!(table.lines().all(|line| line.starts_with('|') && line.ends_with('|')));
}

/// What is to be refused breaks a rule that it is to be refused by; what is not breaks none.
#[test]
fn each_breaks_the_rule_it_says() {
    let mut wrong = Vec::new();
    for case in CASES.iter() {
        let broken = census::broken_rules(&case.upload, case.world);
        let fits = match case.expected {
            Expected::Refused(rules) => broken.iter().any(|(rule, _)| rules.contains(rule)),
            Expected::Any => true,
            Expected::RefusedOr(rules, _) => broken.iter().all(|(rule, _)| rules.contains(rule)),
            _ => broken.is_empty(),
        };
        if !fits {
            wrong.push(format!("{}: {:?}, but breaks {broken:?}", case.name, case.expected));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// All that may be admitted are run: what they say of each is what is expected.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_admitted_does_what_it_says_and_no_more() {
    let host = Host::new(Kind::Closed);
    let mut wrong = Vec::new();
    for case in CASES.iter() {
        // Those take long to compile; another test does.
        if case.name.starts_with("compile-") || OF_THE_PRODUCT.contains(&case.name) {
            continue;
        }
        let expected = match case.expected {
            Expected::Refused(_) => continue,
            Expected::RefusedOr(_, _) if !census::broken_rules(&case.upload, case.world).is_empty() => continue,
            Expected::RefusedOr(_, otherwise) => *otherwise,
            expected => expected,
        };
        let outcome = host.run(case, "somebody", patience(case.expected)).await;
        let said = format!("{outcome:?}");
        let as_expected = match expected {
            Expected::Refused(_) | Expected::RefusedOr(..) => false,
            Expected::Any => true,
            Expected::Unusable(reasons) => outcome.check.as_ref().is_err_and(|reason| says(reasons, reason)),
            Expected::Contained(reasons) => {
                outcome.check.is_ok() && outcome.call.as_ref().is_err_and(|reason| says(reasons, reason))
            }
            Expected::Harmless => outcome.check.is_ok() && outcome.call.is_ok() && outcome.again == outcome.call,
            Expected::Later(reasons) => {
                let later = host.run(case, VICTIM, patience(case.expected)).await;
                outcome.check.is_ok() && outcome.call.is_ok() && later.call.is_err_and(|reason| says(reasons, &reason))
            }
        };
        if !as_expected || said.contains(FOUND) {
            wrong.push(format!("{}: {expected:?}, but {}", case.name, said.chars().take(600).collect::<String>()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A host that gives what it should not is found out by every probe.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_that_is_open_is_found_out() {
    let host = Host::new(Kind::Open);
    // A task tells no time to a function that is not asynchronous itself: nothing else goes
    // on while it computes.
    let tells = |case: &&Case| case.name.starts_with("probe-") && case.name != "probe-task";
    for case in CASES.iter().filter(tells) {
        let outcome = host.run(case, "somebody", patience(case.expected)).await;
        let found = |answer: &host::Answered| answer.as_ref().is_err_and(|reason| reason.contains(FOUND));
        let differ = outcome.call.is_ok() && outcome.again != outcome.call;
        assert!(found(&outcome.call) || found(&outcome.again) || differ, "{}: {outcome:?}", case.name);
    }
}

/// How long those are compiled that are made for it, and how much memory it takes.
#[test]
#[ignore = "takes minutes"]
fn what_is_hard_to_compile() {
    let host = Host::new(Kind::Closed);
    for case in CASES.iter() {
        let hard = case.name.starts_with("compile-") || case.name.starts_with("bomb-");
        if !hard || std::env::var("CASE").is_ok_and(|name| name != case.name) {
            continue;
        }
        let start = std::time::Instant::now();
        let outcome = host.compile(&case.upload).map(|_| ()).map_err(|error| format!("{error:#}"));
        println!("{}: {} bytes, {:?}, {:?}", case.name, case.upload.len(), start.elapsed(), outcome);
    }
}

/// In full, to read.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "for people"]
async fn what_is_said_of_each() {
    let host = Host::new(Kind::Closed);
    for case in CASES.iter() {
        let start = std::time::Instant::now();
        let broken = census::broken_rules(&case.upload, case.world);
        println!("{}: {:?}\n    breaks {broken:?} ({:?})", case.name, case.expected, start.elapsed());
        if broken.is_empty() && !case.name.starts_with("compile-") {
            let outcome = host.run(case, "somebody", patience(case.expected)).await;
            println!("    check {:?}\n    call {:?}", outcome.check, outcome.call.map(|lists| lists.len()));
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_behaves_answers_as_it_should() {
    let host = Host::new(Kind::Closed);
    for (name, items) in [("plain-recall", 0), ("plain-rank", 30), ("plain-rerank", 30), ("plain-aggregate", 2)] {
        let outcome = host.run(named(name), "somebody", patience(Expected::Harmless)).await;
        let bits = outcome.call.unwrap();
        // Of a rule handles and scores; of the others one list.
        let lists = if named(name).world == World::Rerank { 2 } else { 1 };
        assert_eq!(bits.len(), items * lists, "{name}");
    }
}
