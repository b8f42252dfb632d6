//! The corpus of hostile uploads (`tests/corpus`): what becomes of each, from its upload to a
//! request that it runs in, and that a neighbour notices nothing.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use funnelweb_core::limits;
use funnelweb_corpus::{Case, Expected, FOUND, VICTIM, World};
use serde_json::{Value, json};

use super::{TOKEN, push, server};
use crate::{
    guests::{put, recommend, scenario, tenant},
    harness::{Client, Reply, eventually},
};

/// The upload of a case.
pub fn upload(name: &str) -> Vec<u8> {
    funnelweb_corpus::cases().into_iter().find(|case| case.name == name).unwrap().upload
}

/// How far an upload came, and what was said of it there.
#[derive(Debug)]
#[expect(dead_code, reason = "what is said is printed")]
enum Outcome {
    Refused {
        rule: String,
    },
    Unusable(String),
    /// It did not pass certification, and the request was answered without it.
    Contained {
        reason: String,
        failed: Vec<Check>,
    },
    /// It answered in the request, and not in one of [`VICTIM`]'s.
    Later {
        reasons: String,
        failed: Vec<Check>,
    },
    /// It answered in requests, and had not passed certification.
    Uncertified(Vec<Check>),
    /// The request was answered without another stage.
    Hurt(String),
    /// It said that it found something, if only as it was certified, or for another user.
    Found(String),
    Harmless,
}

/// What a certification looked at and was not content with.
#[derive(Debug)]
struct Check {
    check: String,
    detail: String,
}

/// The checks that a certificate says it did not pass.
fn failed(certificate: &Value) -> Vec<Check> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let checks = certificate["checks"].as_array().unwrap().iter().filter(|check| check["passed"] == false);
    checks.map(|check| Check { check: text(&check["check"]), detail: text(&check["detail"]) }).collect()
}

fn with(mut scenario: Value, change: impl FnOnce(&mut Value)) -> Value {
    change(&mut scenario["config"]);
    scenario
}

/// Uploads a case, again while those before it keep the compiler: each may, for its time.
fn admitted_or_not(client: &Client, case: &Case) -> Reply {
    let begin = Instant::now();
    loop {
        let reply = push(client, &case.upload).send();
        if reply.status != 503 || begin.elapsed() > limits::COMPONENT_COMPILE_TIMEOUT * 4 {
            return reply;
        }
        thread::sleep(Duration::from_secs(1));
    }
}

/// Takes a case all the way.
fn run(client: &Client, case: &Case) -> Outcome {
    let reply = admitted_or_not(client, case);
    if reply.status == 422 {
        let error = reply.json()["error"].clone();
        let rule = error["rule"].as_str().unwrap_or_default().to_owned();
        assert!(!error["help"].as_str().unwrap_or_default().is_empty(), "{}: {error}", case.name);
        return Outcome::Refused { rule };
    }
    reply.assert_status(&[201]);
    let version = reply.json();
    let (name, number) =
        (version["name"].as_str().unwrap().to_owned(), version["version"].as_str().unwrap().to_owned());
    let outcome = use_it(client, case, &name, &number);
    put(client, &scenario(|_| {}));
    client.call("POST", &format!("/api/v1/components/{name}/disable")).expect(200);
    client.delete(&format!("/api/v1/components/{name}")).expect(204);
    outcome
}

fn use_it(client: &Client, case: &Case, name: &str, number: &str) -> Outcome {
    if case.world == World::Aggregate {
        return follow(client, case, name, number);
    }
    let version = format!("/api/v1/components/{name}/versions/{number}");
    let params: Value = serde_json::from_str(&case.params).unwrap_or_else(|_| json!({}));
    let body = json!({"scenario_id": "feed", "params": params});
    let certificate = client.post(&format!("{version}/certify"), &body).expect(200).json()["certificate"].clone();
    let passed = certificate["passed"] == true;
    let activate = client.post(&format!("{version}/activate"), &json!({"override": true}));
    activate.header("x-operator-token", TOKEN).expect(200);
    let stage = format!("{}/{name}", client.name());
    let all = json!(["id", "attributes", "preferences", "recent", "context"]);
    let named = scenario(|config| config["components"] = json!({"user": all}));
    let config = with(named, |config| match case.world {
        World::Recall => {
            let channel = json!({"name": stage, "limit": 40, "params": params});
            config["recall"]["strategies"].as_array_mut().unwrap().push(channel);
        }
        World::Rank => config["rank"] = json!({"model": stage, "params": params}),
        World::Rerank | World::Aggregate => {
            config["rerank"]["rules"].as_array_mut().unwrap().push(json!({"name": stage, "params": params}));
        }
    });
    let written = client.put("/api/v1/scenarios/feed", &config).send();
    if written.status != 200 {
        written.assert_status(&[422, 503]);
        assert!(!passed, "{}: certified, and yet {}", case.name, written.text());
        return Outcome::Unusable(written.text());
    }
    let plain = {
        put(client, &scenario(|_| {}));
        let plain = recommend(client).items;
        put(client, &config);
        plain
    };
    let slate = recommend(client);
    assert_eq!(slate.items.len(), plain.len(), "{}: {slate:?}", case.name);
    assert!(case.world == World::Rank || slate.degraded.is_empty() || slate.items == plain, "{}: {slate:?}", case.name);
    assert!(slate.elapsed < Duration::from_secs(2), "{}: {slate:?}", case.name);
    let of_user = client.post("/api/v1/recommend", &json!({"scenario_id": "feed", "count": 10})).user(VICTIM);
    let later = of_user.expect(200).json()["degraded"].clone();
    let told = format!("{certificate} {later}");
    if told.contains(FOUND) {
        return Outcome::Found(told);
    }
    match slate.degraded.iter().find(|(of, _)| *of == stage) {
        Some((_, reason)) => {
            assert!(!passed, "{}: certified, and yet {reason}", case.name);
            Outcome::Contained { reason: reason.clone(), failed: failed(&certificate) }
        }
        None if !slate.degraded.is_empty() => Outcome::Hurt(format!("{:?}", slate.degraded)),
        None if later != json!([]) => Outcome::Later { reasons: later.to_string(), failed: failed(&certificate) },
        None if passed => Outcome::Harmless,
        None => Outcome::Uncertified(failed(&certificate)),
    }
}

/// Has a stream operator follow the log, in which there is an event then.
fn follow(client: &Client, case: &Case, name: &str, number: &str) -> Outcome {
    let version = format!("/api/v1/components/{name}/versions/{number}");
    let certified = client.post(&format!("{version}/certify"), &json!({"scenario_id": "feed"})).expect(200).json();
    let certificate = &certified["certificate"];
    if certificate.to_string().contains(FOUND) {
        return Outcome::Found(certificate.to_string());
    }
    let activate = client.post(&format!("{version}/activate"), &json!({"override": true}));
    let activated = activate.header("x-operator-token", TOKEN).send();
    if activated.status != 200 {
        activated.assert_status(&[409]);
        assert_eq!(certificate["passed"], false, "{}: certified, and yet {}", case.name, activated.text());
        return Outcome::Unusable(activated.text());
    }
    let event = json!({"scenario_id": "feed", "user_id": VICTIM, "item_id": "i1", "action_type": "watch"});
    client.post("/api/v1/behaviors", &event).expect(202);
    let usage = eventually("a call of the operator", Duration::from_secs(30), || {
        let usage = client.get(&format!("{version}/usage")).expect(200).json();
        // A call that failed is counted before it is told why.
        (usage["ok"].as_u64().unwrap() > 0 || !usage["last_failure"].is_null()).then_some(usage)
    });
    match usage["last_failure"].as_str() {
        Some(failure) => {
            assert_eq!(certificate["passed"], false, "{}: certified, and yet {failure}", case.name);
            Outcome::Contained { reason: failure.to_owned(), failed: failed(certificate) }
        }
        None if certificate["passed"] == true => Outcome::Harmless,
        None => Outcome::Uncertified(failed(certificate)),
    }
}

/// Whether it is said: one of these, or on a machine that is busy that it was late, which may
/// come before any other limit.
fn says(texts: &[&str], said: &str) -> bool {
    texts.iter().chain(&[LATE]).any(|text| said.contains(text))
}

/// What a call ends with whose time is over.
const LATE: &str = "no answer within";

fn fits(outcome: &Outcome, expected: &Expected) -> bool {
    // Whatever is expected: it was given what it should not have.
    if format!("{outcome:?}").contains(FOUND) {
        return false;
    }
    match (expected, outcome) {
        (Expected::Refused(rules) | Expected::RefusedOr(rules, _), Outcome::Refused { rule }) => {
            rules.contains(&rule.as_str())
        }
        (Expected::RefusedOr(_, or), outcome) => fits(outcome, or),
        (Expected::Unusable(texts), Outcome::Unusable(said)) => says(texts, said),
        // By the same, in the request as in those that it was certified with: that it fails in
        // one of the two is not enough, and what else the certificate counts is no reason.
        (Expected::Contained(texts), Outcome::Contained { reason, failed }) => {
            says(texts, reason) && failed.iter().any(|check| says(texts, &check.detail))
        }
        // It passes, unless a request of [`VICTIM`]'s from an earlier case is among those that
        // it is certified with: some are recorded, by the clock.
        (Expected::Later(texts), Outcome::Later { reasons, failed }) => {
            says(texts, reasons) && failed.iter().all(|check| says(texts, &check.detail))
        }
        (Expected::Harmless, Outcome::Harmless) => true,
        // On a machine that is busy, where its calls take longer.
        (Expected::Harmless, Outcome::Uncertified(failed)) => only_slow(failed),
        // What was damaged at random may compute anything. It may also fail with the requests
        // that it is certified with and not with this one, whose lists are of other lengths;
        // but then it was found out.
        (Expected::Any, Outcome::Refused { .. } | Outcome::Unusable(_) | Outcome::Harmless) => true,
        (Expected::Any, Outcome::Contained { failed, .. } | Outcome::Uncertified(failed)) => !failed.is_empty(),
        _ => false,
    }
}

/// Whether it took too long, and nothing else is wrong: some calls took half of the limit, and
/// some may have taken all of it.
fn only_slow(failed: &[Check]) -> bool {
    let is_slow = |check: &Check| check.check == "time";
    let is_late = |check: &Check| check.check == "answers" && check.detail.split("; ").all(|one| one.contains(LATE));
    failed.iter().any(is_slow) && failed.iter().all(|check| is_slow(check) || is_late(check))
}

#[test]
fn what_found_something_is_never_what_was_expected() {
    const EXPECTED: [Expected; 7] = [
        Expected::Refused(&["imports"]),
        Expected::Unusable(&["now"]),
        Expected::Contained(&["now"]),
        Expected::Later(&["now"]),
        Expected::Harmless,
        Expected::RefusedOr(&["imports"], &Expected::Any),
        Expected::Any,
    ];
    let found = || format!("{FOUND} a folder");
    let check = |detail: String| Check { check: "answers".to_owned(), detail };
    let outcomes = [
        Outcome::Refused { rule: found() },
        Outcome::Unusable(found()),
        Outcome::Contained { reason: found(), failed: vec![check("now".to_owned())] },
        Outcome::Contained { reason: "now".to_owned(), failed: vec![check(found())] },
        Outcome::Later { reasons: found(), failed: Vec::new() },
        Outcome::Uncertified(vec![check(found())]),
        Outcome::Hurt(found()),
        Outcome::Found(found()),
    ];
    for outcome in &outcomes {
        for expected in &EXPECTED {
            assert!(!fits(outcome, expected), "{outcome:?} for {expected:?}");
        }
    }
}

#[test]
fn what_answers_in_a_request_is_not_contained() {
    let failed = |checks: &[(&str, &str)]| -> Vec<Check> {
        checks.iter().map(|(check, detail)| Check { check: (*check).into(), detail: (*detail).into() }).collect()
    };
    let contained = |reason: &str, checks: &[(&str, &str)]| {
        fits(&Outcome::Contained { reason: reason.into(), failed: failed(checks) }, &Expected::Contained(&["fuel"]))
    };
    let fuel = ("answers", "5 × computed for longer than its fuel lasts");
    assert!(contained("computed for longer than its fuel lasts", &[fuel]));
    assert!(!contained("unreachable", &[fuel]), "a certificate alone is not enough");
    assert!(!contained("computed for longer than its fuel lasts", &[("contract", "5 × 3 scores for 4 candidates")]));
    for expected in [Expected::Contained(&["fuel"]), Expected::Later(&["fuel"]), Expected::Harmless] {
        assert!(!fits(&Outcome::Uncertified(failed(&[fuel])), &expected), "{expected:?}");
    }

    let harmless = |checks: &[(&str, &str)]| fits(&Outcome::Uncertified(failed(checks)), &Expected::Harmless);
    let slow =
        ("time", "99 of 100 calls take up to 30000 µs of a processor; 25000 is the most here, half of the limit");
    let late = ("answers", "2 × no answer within 50 ms");
    assert!(harmless(&[slow]) && harmless(&[late, slow]));
    assert!(!harmless(&[late]) && !harmless(&[]));
    assert!(!harmless(&[slow, ("deterministic", "3 of 20 requests have other answers when they are repeated")]));
    assert!(!harmless(&[("answers", "2 × no answer within 50 ms; 1 × unreachable"), slow]));
}

/// All of them, some beside each other, while a neighbour asks all the time.
#[test]
fn whatever_is_uploaded_nobody_is_hurt() {
    let server = server();
    let cases = funnelweb_corpus::cases();
    let neighbour = tenant(server, "calm");
    let expected = recommend(&neighbour).items;
    let done = AtomicBool::new(false);
    let failures = thread::scope(|scope| {
        let watch = scope.spawn(|| {
            let mut times = Vec::new();
            while !done.load(Ordering::Relaxed) {
                let begin = Instant::now();
                let slate = recommend(&neighbour);
                assert_eq!((slate.items, slate.degraded), (expected.clone(), Vec::new()));
                times.push(begin.elapsed());
                thread::sleep(Duration::from_millis(5));
            }
            times.sort_unstable();
            times
        });
        let halves: Vec<_> = cases
            .chunks(cases.len().div_ceil(2))
            .enumerate()
            .map(|(at, cases)| {
                let client = tenant(server, &format!("villain-{at}"));
                scope.spawn(move || {
                    let outcome = |case: &Case| {
                        let run = std::panic::AssertUnwindSafe(|| run(&client, case));
                        match std::panic::catch_unwind(run) {
                            Ok(outcome) if fits(&outcome, &case.expected) => None,
                            Ok(outcome) => Some(format!("{}: {:?}, got {outcome:?}", case.name, case.expected)),
                            Err(panic) => Some(format!("{}: {:?}", case.name, panic.downcast_ref::<String>())),
                        }
                    };
                    cases.iter().filter_map(outcome).collect::<Vec<_>>()
                })
            })
            .collect();
        let halves: Vec<_> = halves.into_iter().map(thread::ScopedJoinHandle::join).collect();
        // Before anything that may panic: the neighbour would ask for ever.
        done.store(true, Ordering::Relaxed);
        let failures: Vec<String> = halves.into_iter().flat_map(Result::unwrap).collect();
        let times = watch.join().unwrap();
        let at = |percent: usize| times[(times.len() - 1) * percent / 100];
        println!("neighbour: {} requests, median {:?}, 99 % {:?}", times.len(), at(50), at(99));
        assert!(times.len() > 20 && at(50) < Duration::from_millis(100), "{:?}", at(50));
        failures
    });
    assert!(failures.is_empty(), "{} of {}:\n{}", failures.len(), cases.len(), failures.join("\n"));
}
