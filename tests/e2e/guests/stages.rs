//! Stages that attack, and what they can see.

use super::*;

const TIMED_OUT: &str = "no answer within 250 ms";
const OUT_OF_MEMORY: &str = "more memory than its limit of 64 MiB";
const OUT_OF_BYTES: &str = "an answer of more bytes than its limit of 32 MiB";

/// What each attack is reported as; nothing where it is none.
fn attacks(role: &str) -> Vec<(&'static str, &'static str)> {
    let mut attacks = vec![
        ("none", ""),
        ("slow", ""),
        ("trap", "unreachable"),
        ("panic", "the stage has had enough"),
        ("exit", "exit"),
        ("loop", TIMED_OUT),
        ("print", TIMED_OUT),
        ("sleep", TIMED_OUT),
        ("recurse", "call stack exhausted"),
        ("grow", "had "),
        ("bomb", OUT_OF_MEMORY),
        ("reach", "reached: []"),
        ("count", "call 1"),
        ("complain", "no! no! "),
        ("nan", "is not finite"),
        ("infinite", "is not finite"),
    ];
    attacks.extend(match role {
        "recall" => vec![
            ("long", "1000040 candidates for a limit of 40"),
            ("short", "39 scores for 40"),
            ("repeat", "candidate 1 stands twice"),
            // Items that do not exist are passed over further on.
            ("invent", ""),
        ],
        "rank" => vec![("long", "1000030 scores for 30 candidates"), ("short", "29 scores for 30")],
        _ => vec![
            ("long", "was not offered"),
            ("short", "29 scores for 30"),
            ("invent", "was not offered"),
            ("repeat", "stands twice"),
            ("lose", "1 candidates are lost"),
            ("keep-removed", "stands twice"),
        ],
    });
    attacks
}

/// All attacks in a role; the slate is always what it is without the stage.
fn attack(client: &Client, role: &str) {
    put(client, &scenario(|_| {}));
    let without = recommend(client);
    assert_eq!((without.items.len(), &without.degraded), (10, &Vec::new()));
    let mut expected = without.items;
    if role == "rank" {
        // It keeps the order of recall where it behaves.
        put(client, &with_hostile(role, &json!({"attack": "none"})));
        expected = recommend(client).items;
        put(client, &scenario(|_| {}));
    }
    for (attack, reason) in attacks(role) {
        put(client, &with_hostile(role, &json!({"attack": attack})));
        // Twice: no instance remembers anything.
        for _ in 0..2 {
            let slate = recommend(client);
            let case = format!("{role} {attack}: {slate:?}");
            if reason.is_empty() {
                assert_eq!(slate.degraded, [], "{case}");
                assert!(role == "rank" || slate.items == expected, "{case}");
            } else {
                let [(stage, said)] = slate.degraded.as_slice() else { panic!("{case}") };
                assert_eq!(stage, "hostile", "{case}");
                assert!(said.contains(reason) && said.len() <= 800, "{case}");
                assert!(attack != "grow" || (40..64).any(|mib| said.ends_with(&format!("had {mib} MiB"))), "{case}");
                assert_eq!(slate.items.len(), 10, "{case}");
                assert!(role == "rank" || slate.items == expected, "{case}");
            }
            assert!(slate.elapsed < limits::STAGE_TIMEOUT + MARGIN, "{case}");
        }
    }
    put(client, &scenario(|_| {}));
    assert_eq!(recommend(client).degraded, []);
}

#[test]
fn whatever_a_stage_does_its_request_is_answered() {
    beside_a_neighbour("calm-1", |server| {
        let roles = ["recall", "rank", "rerank"].map(|role| (role, tenant(server, &format!("hostile-{role}"))));
        for (role, client) in &roles {
            attack(client, role);
        }
        let before = resident_bytes(server);
        for (role, client) in &roles {
            attack(client, role);
        }
        settles_below(server, before + (48 << 20));
    });
}

/// With the hostile stage for the one of the features, which is the only one that
/// reads what it does from the request.
#[test]
fn whatever_the_feature_stage_does_its_request_is_answered() {
    let features = guests_folder().join("features.wasm").display().to_string();
    let text = manifest().replace(&features, &guests_folder().join("hostile.wasm").display().to_string());
    let server = server_with(&text, upstream());
    let client = tenant(&server, "features");
    for (attack, reason) in [
        ("none", String::new()),
        ("trap", "unreachable".to_owned()),
        ("loop", TIMED_OUT.to_owned()),
        ("sleep", TIMED_OUT.to_owned()),
        ("bomb", OUT_OF_MEMORY.to_owned()),
        ("complain", "no! no! ".to_owned()),
        ("many-names", format!("10000 columns, {} is the most", limits::TABLE_COLUMNS)),
        ("long-name", format!("1000000 bytes in a column's name, {} is the most", limits::NAME_BYTES)),
        ("wide", format!("5000 values in an embedding, {} is the most", limits::EMBEDDING_VALUES)),
        ("short", "29 numeric cells for 30 rows of 1".to_owned()),
        ("infinite", "a numeric cell is infinite".to_owned()),
        ("astray", "the offsets of the multi-categorical cells do not fit".to_owned()),
        ("long", "31 rows for 30 candidates".to_owned()),
        ("lose", "29 rows for 30 candidates".to_owned()),
        ("invent", "was not offered".to_owned()),
        ("keep-removed", "30 rows for 29 candidates".to_owned()),
    ] {
        let slate = recommend_as(&client, &json!({"attack": attack}));
        let case = format!("{attack}: {slate:?}");
        assert_eq!(slate.items.len(), 10, "{case}");
        assert!(slate.elapsed < limits::STAGE_TIMEOUT + MARGIN, "{case}");
        let said = slate.degraded.iter().find(|(stage, _)| stage == "features").map(|(_, reason)| reason.as_str());
        assert_eq!(said.is_none(), reason.is_empty(), "{case}");
        assert!(said.unwrap_or_default().contains(&reason), "{case}");
    }
}

/// The ranker that fails is replaced by `linear`, not by nothing.
#[test]
fn a_ranker_that_fails_is_stood_in_for() {
    let client = tenant(server(), "stand-in");
    let linear = recommend(&client).items;
    for attack in ["trap", "short", "nan", "loop"] {
        put(&client, &with_hostile("rank", &json!({"attack": attack})));
        assert_eq!(recommend(&client).items, linear, "{attack}");
    }
}

#[test]
fn a_crowd_of_endless_stages_leaves_room_for_others() {
    beside_a_neighbour("calm-2", |server| {
        let crowd = tenant(server, "crowd");
        put(&crowd, &with_hostile("rerank", &json!({"attack": "loop"})));
        let end = Instant::now() + Duration::from_secs(2);
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    while Instant::now() < end {
                        let slate = recommend(&crowd);
                        assert_eq!(slate.degraded, [("hostile".to_owned(), TIMED_OUT.to_owned())]);
                    }
                });
            }
        });
    });
}

/// Every channel hostile at once, and the rule and the ranker as well.
#[test]
fn nothing_is_left_but_what_behaves() {
    let client = tenant(server(), "alone");
    let hostile = json!({"name": "hostile", "params": {"attack": "panic"}});
    let config = scenario(|config| {
        config["recall"]["strategies"] = json!([{"name": "hostile", "params": {"attack": "trap"}}, {"name": "latest"}]);
        config["rank"] = json!({"model": "hostile", "params": {"attack": "bomb"}});
        config["rerank"]["rules"] = json!([hostile, {"name": "diversity", "weight": 0.3}, hostile]);
    });
    let plain = recommend(&client).items;
    put(&client, &config);
    let slate = recommend(&client);
    assert_eq!(slate.items, plain);
    assert_eq!(slate.degraded.len(), 4, "{slate:?}");
}

#[test]
fn whatever_check_does_the_scenario_is_refused_with_a_reason() {
    beside_a_neighbour("calm-3", |server| {
        let client = tenant(server, "checker");
        let before = resident_bytes(server);
        for (check, reason) in [
            ("trap", "unreachable"),
            ("panic", "the stage has had enough"),
            ("loop", TIMED_OUT),
            ("sleep", TIMED_OUT),
            ("recurse", "call stack exhausted"),
            ("bomb", OUT_OF_MEMORY),
            ("complain", "no! no! "),
            ("reach", "reached: []"),
            ("count", "call 1"),
            ("many-columns", "10000 columns, 16 is the most"),
            ("many-items", "1000000 items, 100 is the most"),
            ("long-name", "1000000 bytes in a column's name"),
            ("amplify", OUT_OF_BYTES),
        ] {
            for role in ["recall", "rank", "rerank"] {
                for _ in 0..2 {
                    let start = Instant::now();
                    let scenario = with_hostile(role, &json!({"attack": "none", "check": check}));
                    let reply = client.put("/api/v1/scenarios/feed", &scenario).expect(422);
                    let elapsed = start.elapsed();
                    let error = &reply.json()["error"];
                    let case = format!(
                        "{role} {check} in {elapsed:?}: {}",
                        reply.text().chars().take(2000).collect::<String>()
                    );
                    assert_eq!(error["code"], "invalid_config", "{case}");
                    assert!(error["field"].as_str().unwrap().starts_with(&format!("config.{role}")), "{case}");
                    assert!(error["message"].as_str().unwrap().contains(reason), "{case}");
                    assert!(reply.body.len() < 2000, "{case}");
                    assert!(elapsed < limits::STAGE_TIMEOUT + MARGIN, "{case}");
                }
            }
        }
        settles_below(server, before + (96 << 20));
        // What was refused changed nothing.
        assert_eq!(recommend(&client).degraded, []);
    });
}

fn with_snoop(params: &Value) -> Value {
    scenario(|config| {
        let channel = json!({"name": "snoop", "params": params});
        config["recall"]["strategies"].as_array_mut().unwrap().push(channel);
    })
}

#[test]
fn a_stage_sees_its_own_tenant_and_no_other() {
    let tenants = ["own-a", "own-b"].map(|name| tenant(server(), name));
    let saw = |client: &Client, look: Value| {
        put(client, &with_snoop(&json!({"run": look})));
        let slate = recommend(client);
        let [(stage, reason)] = slate.degraded.as_slice() else { panic!("{slate:?}") };
        assert_eq!(stage, "snoop");
        assert!(slate.elapsed < limits::STAGE_TIMEOUT + MARGIN, "{slate:?}");
        reason.clone()
    };
    // Of the items of all tenants it sees those of one, whatever it asks for.
    for client in &tenants {
        let name = client.name();
        let own = saw(client, json!({"item": ["feed", "i1"]}));
        assert!(own.starts_with("saw {") && own.contains(&format!("\"{name} 1\"")), "{own}");
        assert_eq!(saw(client, json!({"items": 1000})), format!("saw {ITEMS} items"));
    }
    tenants[0].put("/api/v1/items/feed/secret", &json!({"metadata": {"title": "secret"}})).expect(201);
    assert!(saw(&tenants[0], json!({"item": ["feed", "secret"]})).contains("secret"));
    assert_eq!(saw(&tenants[1], json!({"item": ["feed", "secret"]})), "saw nothing");
    for scenario in ["../own-a/feed", "own-a/feed", "own-a:feed", "feed\0"] {
        let reason = saw(&tenants[1], json!({"item": [scenario, "secret"]}));
        assert!(!reason.contains("title"), "{reason}");
    }
    // Limits on what it may ask for at once, and no way to hold the store up.
    for look in [json!({"many": 100_000}), json!({"items": 4_000_000_000_u32})] {
        let reason = saw(&tenants[0], look.clone());
        assert!(reason.contains("Invalid"), "{look}: {reason}");
    }
    assert_eq!(saw(&tenants[0], json!("hammer")), TIMED_OUT);
    assert!(recommend(&tenants[1]).elapsed < limits::STAGE_TIMEOUT + MARGIN);
}

/// What a stage says of params is remembered for all tenants, so it cannot
/// depend on one.
#[test]
fn check_sees_no_tenant() {
    for client in ["check-a", "check-b"].map(|name| tenant(server(), name)) {
        let scenario = with_snoop(&json!({"run": "nothing", "check": {"item": ["feed", "i1"]}}));
        let reply = client.put("/api/v1/scenarios/feed", &scenario).expect(422);
        assert!(reply.text().contains("Denied") && !reply.text().contains("check-a"), "{}", reply.text());
    }
}
