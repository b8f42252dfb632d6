//! Every limit of `core/limits.rs` that is met at the edge or kept by the host:
//! what is exactly at it is taken, one more is refused by an error that says the
//! limit. What lies further in is tested where it is; that nothing is left out,
//! [`every_limit_is_crossed_in_a_test`] sees to.

use std::{
    fs,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use funnelweb_core::{limits, time};
use serde_json::{Map, Value, json};

use crate::{
    fixtures::{FEED, feed, import, item},
    guests::{self, ask, put, recommend, with_hostile},
    harness::{Call, Client, shared, workspace},
};

// --- all of them ---

/// Rust files below a folder.
fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            if !path.ends_with("target") {
                sources(&path, found);
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// The part of a file that is tests.
fn tests_in(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap();
    let whole = path.components().any(|part| part.as_os_str() == "tests")
        || path.file_stem().is_some_and(|name| name == "tests" || name == "conformance");
    let start = if whole { 0 } else { text.find("#[cfg(test)]").unwrap_or(text.len()) };
    text[start..].to_owned()
}

/// Whether code says `limits::NAME`, and not that of a longer name.
fn names(code: &str, name: &str) -> bool {
    let name = format!("limits::{name}");
    code.match_indices(&name)
        .any(|(at, _)| !code[at + name.len()..].starts_with(|next: char| next.is_ascii_alphanumeric() || next == '_'))
}

#[test]
fn every_limit_is_crossed_in_a_test() {
    let mut files = Vec::new();
    for folder in ["components", "runtime-host", "tests"] {
        sources(&workspace().join(folder), &mut files);
    }
    // That the documentation says the same is another matter.
    files.retain(|path| !path.starts_with(workspace().join("components/openapi")));
    let code: Vec<String> = files.iter().map(|path| tests_in(path)).collect();
    let limits = fs::read_to_string(workspace().join("components/core/src/limits.rs")).unwrap();
    let all: Vec<&str> = limits.lines().filter_map(|line| line.strip_prefix("pub const ")?.split(':').next()).collect();
    assert!(all.len() > 60, "{all:?}");
    let without: Vec<&&str> = all.iter().filter(|name| !code.iter().any(|code| names(code, name))).collect();
    assert!(without.is_empty(), "no test names {without:?}");
}

// --- fields ---

/// A request with so much of something is answered when it is at its limit; with
/// one more it is an error of this code that names the field, if it is one's, and
/// the limit.
fn holds<'a, 'f>(code: &str, field: impl Into<Option<&'f str>>, limit: usize, call: impl Fn(usize) -> Call<'a>) {
    let field = field.into();
    call(limit).send().assert_status(&[200, 201, 202]);
    let reply = call(limit + 1).send();
    let error = &reply.json()["error"];
    assert_eq!((&error["code"], &error["field"]), (&json!(code), &json!(field)), "{}", reply.text());
    let message = error["message"].as_str().unwrap();
    assert!(message.contains(&limit.to_string()), "{field:?}: {message}");
}

fn tenant(name: &str) -> Client {
    let client = shared().tenant(name);
    feed(&client);
    client
}

fn text(bytes: usize) -> String {
    "x".repeat(bytes)
}

#[test]
fn fields_of_items() {
    let client = tenant("limits-items");
    let put = |body: &Value| client.put("/api/v1/items/feed/i", body);
    holds("invalid_field", "item_id", limits::ID_BYTES, |bytes| {
        client.post("/api/v1/items/feed", &item(&text(bytes), "c", "t"))
    });
    holds("invalid_field", "metadata.category", limits::TERM_BYTES, |bytes| {
        put(&json!({"metadata": {"category": text(bytes)}}))
    });
    holds("invalid_field", "metadata.tags[0]", limits::TERM_BYTES, |bytes| {
        put(&json!({"metadata": {"tags": [text(bytes)]}}))
    });
    holds("invalid_field", "metadata.tags", limits::ITEM_TAGS, |count| {
        put(&json!({"metadata": {"tags": vec!["t"; count]}}))
    });
    holds("invalid_field", "embedding", limits::EMBEDDING_VALUES, |values| {
        put(&json!({"embedding": vec![0.5; values]}))
    });
}

#[test]
fn fields_of_behaviours() {
    let client = tenant("limits-behaviours");
    let path = "/api/v1/behaviors";
    let event = |name: &str, value: Value| {
        let mut event = json!({"scenario_id": FEED, "item_id": "i1", "action_type": "click"});
        event[name] = value;
        client.post(path, &event)
    };
    for name in ["event_id", "item_id", "user_id"] {
        holds("invalid_field", name, limits::ID_BYTES, |bytes| event(name, json!(text(bytes))));
    }
    holds("invalid_field", "action_type", limits::ACTION_TYPE_BYTES, |bytes| event("action_type", json!(text(bytes))));
    for name in ["context", "extra"] {
        holds("invalid_field", name, limits::CONTEXT_BYTES, |bytes| {
            event(name, json!({"x": text(bytes - r#"{"x":""}"#.len())}))
        });
    }
    let most =
        (0..=limits::EVENTS).map(|at| json!({"scenario_id": FEED, "item_id": format!("i{at}"), "action_type": "view"}));
    let most: Vec<Value> = most.collect();
    assert_eq!(client.post(path, &json!(most[1..])).expect(202).json()["accepted"], limits::EVENTS);
    let refused = client.post(path, &json!(most)).expect(400);
    assert!(refused.text().contains(&limits::EVENTS.to_string()), "{}", refused.text());
    // A day ahead is a clock that is wrong; more is a time that is.
    let ahead = |ms: u64| json!(time::format_ms(now_ms() + ms));
    event("timestamp", ahead(limits::EVENT_FUTURE_MS - 60_000)).expect(202);
    let refused = event("timestamp", ahead(limits::EVENT_FUTURE_MS + 60_000)).expect(400).json();
    assert_eq!(refused["error"]["field"], "timestamp");
    assert!(refused["error"]["message"].as_str().unwrap().contains("24 h"), "{refused}");
}

fn now_ms() -> u64 {
    u64::try_from(std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_millis()).unwrap()
}

#[test]
fn fields_of_profiles() {
    let client = tenant("limits-profiles");
    let put = |body: &Value| client.put("/api/v1/profiles/feed/ann", body);
    holds("invalid_field", "preferences.tag_scores", limits::PROFILE_PREFERENCES, |count| {
        let scores: Map<String, Value> = (0..count).map(|at| (format!("t{at}"), json!(1))).collect();
        put(&json!({"preferences": {"tag_scores": scores}}))
    });
    holds("invalid_field", "recent_items", limits::PROFILE_RECENT_ITEMS, |count| {
        let recent = |at: usize| json!({"item_id": format!("i{at}"), "action_type": "view", "at": 1});
        put(&json!({"recent_items": (0..count).map(recent).collect::<Vec<_>>()}))
    });
    holds("invalid_field", "recent_items[0].action_type", limits::ACTION_TYPE_BYTES, |bytes| {
        put(&json!({"recent_items": [{"item_id": "i", "action_type": text(bytes), "at": 1}]}))
    });
    holds("invalid_field", "embedding", limits::EMBEDDING_VALUES, |values| {
        put(&json!({"embedding": vec![0.5; values]}))
    });
}

#[test]
fn fields_of_a_recommend_request() {
    let client = tenant("limits-recommend");
    let ask = |name: &str, value: Value| {
        let mut body = json!({"scenario_id": FEED});
        body[name] = value;
        client.post("/api/v1/recommend", &body)
    };
    holds("invalid_field", "count", limits::COUNT as usize, |count| ask("count", json!(count)));
    holds("invalid_field", "exclude_items", limits::EXCLUDED_ITEMS, |count| {
        ask("exclude_items", json!(vec!["i"; count]))
    });
    holds("invalid_field", "context", limits::CONTEXT_BYTES, |bytes| {
        ask("context", json!({"x": text(bytes - r#"{"x":""}"#.len())}))
    });
    holds("invalid_field", "context", limits::CONTEXT_FIELDS, |count| {
        ask("context", json!((0..count).map(|at| (format!("f{at}"), json!(1))).collect::<Map<_, _>>()))
    });
}

#[test]
fn fields_of_scenarios() {
    let client = shared().tenant("limits-scenarios");
    let with = |pointer: &str, value: Value| {
        let mut scenario = json!({
            "scenario_type": "test", "name": "", "config": {
                "features": {"item_features": [], "user_features": [], "context_features": []},
                "recall": {"strategies": [{"name": "latest", "limit": 1, "params": {}}]},
                "rank": {"model": "linear", "params": {}},
                "rerank": {"rules": []}
            }
        });
        *scenario.pointer_mut(pointer).unwrap() = value;
        client.put("/api/v1/scenarios/s", &scenario)
    };
    holds("invalid_field", "name", limits::NAME_BYTES, |bytes| with("/name", json!(text(bytes))));
    holds("invalid_field", "scenario_type", limits::NAME_BYTES, |bytes| with("/scenario_type", json!(text(bytes))));
    for list in ["item_features", "user_features", "context_features"] {
        holds("invalid_config", &*format!("config.features.{list}"), limits::FEATURES, |count| {
            let feature = |at: usize| json!({"name": format!("f{at}"), "type": "numeric"});
            with(&format!("/config/features/{list}"), (0..count).map(feature).collect())
        });
    }
    holds("invalid_config", "config.recall.strategies", limits::RECALL_STRATEGIES, |count| {
        with("/config/recall/strategies", json!(vec![json!({"name": "latest"}); count]))
    });
    holds("invalid_config", "config.recall.strategies[0].limit", limits::RECALL_LIMIT as usize, |limit| {
        with("/config/recall/strategies/0/limit", json!(limit))
    });
    holds("invalid_config", "config.rerank.rules", limits::RERANK_RULES, |count| {
        with("/config/rerank/rules", json!(vec![json!({"name": "diversity"}); count]))
    });
    // No stage of the product takes params of this size: at the limit it is the
    // stage that speaks, above it the limit does.
    let params = |bytes: usize| {
        let params = json!({"x": text(bytes - r#"{"x":""}"#.len())});
        with("/config/rank/params", params).expect(422).json()["error"].clone()
    };
    assert!(!params(limits::PARAMS_BYTES)["message"].as_str().unwrap().contains("bytes of JSON"));
    let error = params(limits::PARAMS_BYTES + 1);
    assert_eq!(error["field"], "config.rank.params");
    assert!(error["message"].as_str().unwrap().contains(&limits::PARAMS_BYTES.to_string()), "{error}");
}

#[test]
fn pages() {
    let client = tenant("limits-pages");
    let items: Vec<Value> = (0..=limits::DEFAULT_PAGE_DOCUMENTS).map(|at| item(&format!("i{at}"), "c", "t")).collect();
    import(&client, &items);
    let page = client.get("/api/v1/items/feed").expect(200).json();
    assert_eq!(page["items"].as_array().unwrap().len(), limits::DEFAULT_PAGE_DOCUMENTS as usize);
    assert!(page["next_cursor"].is_string());
    for (path, limit) in [
        ("/api/v1/items/feed?limit=", limits::PAGE_DOCUMENTS),
        ("/api/v1/scenarios?limit=", limits::PAGE_DOCUMENTS),
        ("/api/v1/experiments/feed?limit=", limits::PAGE_DOCUMENTS),
        ("/api/v1/behaviors?user_id=ann&limit=", limits::HISTORY_EVENTS),
    ] {
        holds("invalid_parameter", "limit", limit as usize, |limit| client.get(&format!("{path}{limit}")));
    }
}

#[test]
fn an_import_lists_so_many_errors() {
    let client = tenant("limits-errors");
    let send =
        |lines: usize| client.call("POST", "/api/v1/items/feed").body("application/x-ndjson", "{}\n".repeat(lines));
    for (lines, truncated) in [(limits::IMPORT_ERRORS, false), (limits::IMPORT_ERRORS + 1, true)] {
        let report = send(lines).expect(200).json();
        assert_eq!((&report["failed"], &report["errors_truncated"]), (&json!(lines), &json!(truncated)));
        assert_eq!(report["errors"].as_array().unwrap().len(), limits::IMPORT_ERRORS);
    }
}

// --- bodies ---

/// JSON with so much white space that it has this length.
fn padded(json: &Value, bytes: usize) -> String {
    let mut text = json.to_string();
    text.push_str(&" ".repeat(bytes - text.len()));
    text
}

#[test]
fn bodies_are_as_long_as_their_limit() {
    let client = tenant("limits-bodies");
    let document = json!({"metadata": {"title": "x"}});
    let event = json!([{"scenario_id": FEED, "item_id": "i1", "action_type": "click"}]);
    let groups = json!({"groups": [{"group_id": "a", "traffic_ratio": 0.5}, {"group_id": "b", "traffic_ratio": 0.5}]});
    let scenario = json!({"scenario_type": "test", "config": {"recall": {"strategies": [{"name": "latest"}]}, "rank": {"model": "linear"}}});
    for (method, path, body, limit) in [
        ("PUT", "/api/v1/scenarios/s", &scenario, limits::DOCUMENT_BYTES),
        ("PUT", "/api/v1/items/feed/i1", &document, limits::DOCUMENT_BYTES),
        ("PUT", "/api/v1/experiments/feed/exp", &groups, limits::DOCUMENT_BYTES),
        ("PATCH", "/api/v1/items/feed/i1", &document, limits::DOCUMENT_BYTES),
        ("PUT", "/api/v1/profiles/feed/ann", &json!({}), limits::DOCUMENT_BYTES),
        ("POST", "/api/v1/recommend", &json!({"scenario_id": FEED}), limits::BODY_BYTES),
        ("POST", "/api/v1/behaviors", &event, limits::BEHAVIORS_BODY_BYTES),
    ] {
        let send = |bytes: usize| client.call(method, path).body("application/json", padded(body, bytes));
        send(limit).send().assert_status(&[200, 201, 202]);
        let refused = send(limit + 1).send();
        assert_eq!((refused.status, &*refused.json_code()), (413, "body_too_large"), "{method} {path}");
        assert!(refused.text().contains(&limit.to_string()), "{method} {path}: {}", refused.text());
        // The same when nobody said how long it would be.
        let call = client.call(method, path);
        let refused = call.stream("application/json", std::io::Cursor::new(padded(body, limit + 1).into_bytes()));
        assert_eq!((refused.status, &*refused.json_code()), (413, "body_too_large"), "{method} {path}");
    }
}

#[test]
fn an_import_is_as_long_as_its_limit() {
    let client = tenant("limits-import");
    let send = |bytes: u64| {
        let head = format!(
            "POST /api/v1/items/feed HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX-Tenant-Id: {}\r\nX-Request-Id: r\r\n\
             Authorization: Bearer x\r\nContent-Type: application/x-ndjson\r\nContent-Length: {bytes}\r\n\r\n",
            client.name()
        );
        // What is wrong with its first line is seen while it is still coming.
        shared().raw_within(format!("{head}{{}}\n").as_bytes(), Duration::from_millis(300))
    };
    assert_eq!(send(limits::IMPORT_BODY_BYTES), "");
    let refused = send(limits::IMPORT_BODY_BYTES + 1);
    assert!(refused.starts_with("HTTP/1.1 413 "), "{refused}");
    assert!(refused.contains(&limits::IMPORT_BODY_BYTES.to_string()), "{refused}");
}

#[test]
fn a_line_is_as_long_as_its_limit() {
    let client = tenant("limits-lines");
    let line = |bytes: usize| format!("{}\n", padded(&json!({"item_id": "i1"}), bytes));
    let send = |bytes: usize| {
        let call = client.call("POST", "/api/v1/items/feed").body("application/x-ndjson", line(bytes));
        call.expect(200).json()
    };
    // A line of that length is a document that is too long, and is told so.
    let full = send(limits::LINE_BYTES);
    let message = full["errors"][0]["message"].as_str().unwrap();
    assert!(message.contains(&limits::DOCUMENT_BYTES.to_string()), "{full}");
    let over = send(limits::LINE_BYTES + 1);
    let message = over["errors"][0]["message"].as_str().unwrap();
    assert!(message.contains(&limits::LINE_BYTES.to_string()), "{over}");
    assert_eq!(send(limits::DOCUMENT_BYTES)["created"], 1);
}

#[test]
fn documents_nest_as_deep_as_their_limit() {
    let client = tenant("limits-depth");
    // The document itself and `metadata` are two.
    holds("invalid_field", None, limits::DOCUMENT_DEPTH, |depth| {
        let deep = (0..depth - 2).fold(json!(1), |inner, _| json!([inner]));
        client.put("/api/v1/items/feed/i1", &json!({"metadata": {"x": deep}}))
    });
}

// --- what components are given ---

/// What the hostile rule is reported as.
fn report(client: &Client, params: &Value) -> Option<String> {
    put(client, &with_hostile("rerank", params));
    recommend(client).degraded.into_iter().next().map(|(_, reason)| reason)
}

#[test]
fn a_stage_goes_as_deep_as_its_stack() {
    let client = guests::tenant(guests::server(), "limits-stack");
    let descend = |depth: usize| report(&client, &json!({"attack": "recurse", "depth": depth}));
    // A call needs less than a kilobyte, and no less than where to return to.
    assert_eq!(descend(limits::STACK_BYTES / 1024), None);
    let refused = descend(limits::STACK_BYTES / 16).unwrap();
    assert!(refused.contains("call stack exhausted"), "{refused}");
}

#[test]
fn a_guest_has_as_much_memory_as_its_limit() {
    let client = guests::tenant(guests::server(), "limits-memory");
    let nearly = |limit: usize| (limit / 8 * 7) >> 20..limit >> 20;
    let said = report(&client, &json!({"attack": "grow"})).unwrap();
    let mib = said.strip_prefix("had ").and_then(|rest| rest.strip_suffix(" MiB")).unwrap().parse::<usize>().unwrap();
    assert!(nearly(limits::STAGE_MEMORY_BYTES).contains(&mib), "{said}");
    let mib = ask(&client, &json!({"do": "grow"}))["mib"].as_u64().unwrap() as usize;
    assert!(nearly(limits::ENDPOINT_MEMORY_BYTES).contains(&mib), "{mib}");
}

#[test]
fn a_stage_answers_with_so_many_bytes() {
    let client = guests::tenant(guests::server(), "limits-answer");
    let complain = |bytes: usize| report(&client, &json!({"attack": "complain", "bytes": bytes})).unwrap();
    let said = complain(limits::STAGE_ANSWER_BYTES / 2);
    assert!(said.starts_with("no! no! "), "{said}");
    let refused = complain(limits::STAGE_ANSWER_BYTES + 4);
    assert!(refused.contains(&format!("{} MiB", limits::STAGE_ANSWER_BYTES >> 20)), "{refused}");
}

/// WASI lets the host give fewer than were asked for.
#[test]
fn random_bytes_come_so_many_at_once() {
    let client = guests::server().tenant("limits-random");
    for bytes in [limits::RANDOM_BYTES, limits::RANDOM_BYTES + 1, u64::MAX] {
        assert_eq!(ask(&client, &json!({"do": "random", "bytes": bytes}))["bytes"], limits::RANDOM_BYTES);
    }
}

#[test]
fn an_instance_answers_so_many_requests() {
    let client = guests::server().tenant("limits-instance");
    // An instance that nobody asked for a while is replaced as well.
    let mut most = 0;
    for _ in 0..3 * limits::INSTANCE_REQUESTS {
        let count = ask(&client, &json!({"do": "count"}))["count"].as_u64().unwrap() as usize;
        assert!(count <= limits::INSTANCE_REQUESTS, "{count}");
        if most == limits::INSTANCE_REQUESTS {
            assert_eq!(count, 1, "a new one");
            return;
        }
        most = count;
    }
    panic!("no instance came so far");
}

/// While all that a tenant may have at work sleeps, its own next stage waits and
/// another tenant's does not.
#[test]
fn a_tenant_has_so_many_stages_at_work() {
    let server = guests::server();
    let [own, other] = ["limits-share", "limits-share-other"].map(|name| guests::tenant(server, name));
    let channels = limits::RECALL_STRATEGIES - 1;
    let mut asleep = guests::scenario(|config| {
        let sleeper = json!({"name": "hostile", "params": {"attack": "sleep"}});
        config["recall"]["strategies"] = json!(vec![sleeper; channels]);
    });
    asleep["scenario_id"] = json!("asleep");
    own.put("/api/v1/scenarios/asleep", &asleep).expect(201);
    let quick = recommend(&other).elapsed;
    thread::scope(|scope| {
        for _ in 0..=limits::TENANT_STAGES / channels {
            scope.spawn(|| own.post("/api/v1/recommend", &json!({"scenario_id": "asleep"})).expect(200));
        }
        thread::sleep(limits::STAGE_TIMEOUT / 3);
        let start = Instant::now();
        let waits = scope.spawn(|| recommend(&own).elapsed);
        let free = recommend(&other);
        assert_eq!((free.items.len(), &free.degraded), (10, &Vec::new()));
        let waited = waits.join().unwrap();
        println!("{quick:?} alone; {:?} beside sleepers, {waited:?} after them ({:?})", free.elapsed, start.elapsed());
        assert!(waited > free.elapsed + limits::STAGE_TIMEOUT / 5, "{waited:?} {:?}", free.elapsed);
    });
    assert_eq!(recommend(&own).degraded, []);
}
