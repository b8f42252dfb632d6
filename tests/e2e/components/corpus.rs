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
enum Outcome {
    Refused { rule: String },
    Unusable(String),
    Contained(String),
    Later(String),
    Harmless,
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
    let reasons = |degraded: &Value| degraded.as_array().unwrap().iter().map(|of| of["reason"].to_string()).collect();
    match slate.degraded.first() {
        Some((_, reason)) => {
            assert!(!passed, "{}: certified, and yet {reason}", case.name);
            Outcome::Contained(format!("{reason} / {certificate}"))
        }
        None if later != json!([]) => Outcome::Later(reasons(&later)),
        None if passed => Outcome::Harmless,
        None => Outcome::Contained(certificate["checks"].to_string()),
    }
}

/// Has a stream operator follow the log, in which there is an event then.
fn follow(client: &Client, case: &Case, name: &str, number: &str) -> Outcome {
    let version = format!("/api/v1/components/{name}/versions/{number}");
    let certified = client.post(&format!("{version}/certify"), &json!({"scenario_id": "feed"})).expect(200).json();
    let certificate = &certified["certificate"];
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
        (usage["calls"].as_u64().unwrap() > 0).then_some(usage)
    });
    match usage["last_failure"].as_str() {
        None if certificate["passed"] == true => Outcome::Harmless,
        None => Outcome::Contained(certificate["checks"].to_string()),
        Some(failure) => {
            assert_eq!(certificate["passed"], false, "{}: certified, and yet {failure}", case.name);
            Outcome::Contained(format!("{failure} / {certificate}"))
        }
    }
}

fn fits(outcome: &Outcome, expected: &Expected) -> bool {
    // On a machine that is busy the deadline may come before any other limit.
    let any = |texts: &[&str], said: &str| {
        texts.iter().chain(&["no answer within"]).any(|text| said.contains(text)) && !said.contains(FOUND)
    };
    match (expected, outcome) {
        (Expected::Refused(rules), Outcome::Refused { rule }) => rules.contains(&rule.as_str()),
        (Expected::RefusedOr(rules, _), Outcome::Refused { rule }) => rules.contains(&rule.as_str()),
        (Expected::RefusedOr(_, or), outcome) => fits(outcome, or),
        (Expected::Unusable(texts), Outcome::Unusable(said)) => any(texts, said),
        (Expected::Contained(texts), Outcome::Contained(said)) => any(texts, said),
        (Expected::Later(texts), Outcome::Later(said)) => any(texts, said),
        (Expected::Harmless, Outcome::Harmless) | (Expected::Any, _) => true,
        // On a machine that is busy.
        (Expected::Harmless, Outcome::Contained(said)) => said.contains("half of the limit"),
        _ => false,
    }
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
