//! Every endpoint as it is meant to be used, whole responses included.

use std::io::{Cursor, Read};

use serde_json::{Value, json};

use crate::{
    fixtures::{self, FEED, all_pages, feed, import, item, ndjson, scenario, settle, strings},
    harness::{Reply, Server, shared},
};

/// A document without the times that the server set, which are checked.
fn without_times(mut document: Value) -> Value {
    let fields = document.as_object_mut().unwrap();
    for name in ["created_at", "updated_at"] {
        let time = fields.remove(name);
        assert!(time.as_ref().and_then(Value::as_str).is_some_and(|time| time.ends_with('Z')), "{name}: {time:?}");
    }
    document
}

fn is_json(reply: &Reply) {
    assert_eq!(reply.header("content-type"), "application/json");
}

#[test]
fn scenarios_from_creation_to_deletion() {
    let client = shared().tenant("api-scenarios");
    let path = "/api/v1/scenarios/feed";
    let expected = |name: Option<&str>| {
        let mut document = scenario(FEED);
        document["status"] = json!("active");
        if let Some(name) = name {
            document["name"] = json!(name);
        }
        document
    };

    let created = client.post("/api/v1/scenarios", &scenario(FEED)).expect(201);
    is_json(&created);
    assert_eq!((created.header("etag"), created.header("location")), ("\"1\"", path));
    assert_eq!(without_times(created.json()), expected(None));

    let again = client.post("/api/v1/scenarios", &scenario(FEED)).header("x-request-id", "again").expect(409);
    assert_eq!(
        again.json(),
        json!({"error": {"code": "already_exists", "field": "scenario_id", "request_id": "again",
                         "message": "the scenario `feed` exists; PUT replaces it"}})
    );

    let read = client.get(path).expect(200);
    assert_eq!((read.json(), read.header("etag")), (created.json(), "\"1\""));
    let known = client.get(path).header("if-none-match", "\"1\"").expect(304);
    assert_eq!((known.header("etag"), known.body.len()), ("\"1\"", 0));

    let patched = client.patch(path, &json!({"name": "Main feed"})).header("if-match", "\"1\"").expect(200);
    assert_eq!(patched.header("etag"), "\"2\"");
    assert_eq!(without_times(patched.json()), expected(Some("Main feed")));
    assert_eq!(patched.json()["created_at"], created.json()["created_at"]);

    let stale = client.patch(path, &json!({"name": "x"})).header("if-match", "\"1\"").expect(412);
    assert_eq!(stale.json()["error"]["message"], "the document is at version 2");
    client.put(path, &scenario(FEED)).header("if-match", "\"1\"").expect(412);
    client.put(path, &scenario(FEED)).header("if-none-match", "*").expect(412);
    client.delete(path).header("if-match", "\"1\"").expect(412);

    // What was read can be written back.
    let replaced = client.put(path, &patched.json()).header("if-match", "\"2\"").expect(200);
    assert_eq!((replaced.header("etag"), replaced.header("location")), ("\"3\"", ""));
    assert_eq!(without_times(replaced.json()), expected(Some("Main feed")));

    assert_eq!(client.delete(path).expect(204).body.len(), 0);
    client.get(path).expect(404);
    client.delete(path).expect(404);
    let anew = client.put(path, &scenario(FEED)).header("if-none-match", "*").expect(201);
    assert_eq!(without_times(anew.json()), expected(None));
}

#[test]
fn a_deleted_scenario_takes_everything_with_it() {
    let client = shared().tenant("api-scenario-data");
    for _ in 0..2 {
        feed(&client);
        assert!(all_pages(&client, "/api/v1/items/feed", "items").is_empty());
        client.get("/api/v1/profiles/feed/ann").expect(404);
        import(&client, &[item("i1", "a", "t")]);
        fixtures::act(&client, "ann", "click", "i1");
        client.get("/api/v1/profiles/feed/ann").expect(200);
        client.delete("/api/v1/scenarios/feed").expect(204);
        client.get("/api/v1/items/feed/i1").expect(404);
    }
}

#[test]
fn scenarios_are_listed_in_pages() {
    let client = shared().tenant("api-scenario-pages");
    assert_eq!(client.get("/api/v1/scenarios").expect(200).json(), json!({"scenarios": [], "next_cursor": null}));
    for at in 0..7 {
        let mut scenario = scenario(&format!("s{at}"));
        scenario["status"] = json!(if at % 2 == 0 { "active" } else { "inactive" });
        client.post("/api/v1/scenarios", &scenario).expect(201);
    }
    let ids = |path: &str| {
        let mut ids = strings(&Value::Array(all_pages(&client, path, "scenarios")), "scenario_id");
        ids.sort();
        ids
    };
    assert_eq!(ids("/api/v1/scenarios?limit=2"), ["s0", "s1", "s2", "s3", "s4", "s5", "s6"]);
    assert_eq!(ids("/api/v1/scenarios?limit=3&status=inactive"), ["s1", "s3", "s5"]);
    assert_eq!(ids("/api/v1/scenarios?status=active"), ["s0", "s2", "s4", "s6"]);
}

/// An item that is older than its place here keeps its age; one that says
/// nothing has that of its first writing.
#[test]
fn the_time_of_an_items_creation_is_the_clients() {
    let client = shared().tenant("api-created");
    feed(&client);
    let given = |id: &str, created: Value| json!({"item_id": id, "created_at": created});
    let created = |id: &str| {
        let body = client.get(&format!("/api/v1/items/feed/{id}")).expect(200).json();
        assert!(body["updated_at"].as_str().unwrap() > "2026", "{body}");
        body["created_at"].as_str().unwrap().to_owned()
    };
    // Created one by one, by PUT, in a list, by lines, as text and as a number.
    client.post("/api/v1/items/feed", &given("one", json!("2021-05-04T03:02:01Z"))).expect(201);
    assert_eq!(created("one"), "2021-05-04T03:02:01.000Z");
    client.put("/api/v1/items/feed/put", &json!({"created_at": 1_609_459_200})).expect(201);
    assert_eq!(created("put"), "2021-01-01T00:00:00.000Z");
    client.post("/api/v1/items/feed", &json!([given("listed", json!(1_609_459_200_123_u64))])).expect(200);
    assert_eq!(created("listed"), "2021-01-01T00:00:00.123Z");
    import(&client, &[given("line", json!("2020-02-02"))]);
    assert_eq!(created("line"), "2020-02-02T00:00:00.000Z");
    // Replaced, alone and by an import.
    client.put("/api/v1/items/feed/one", &json!({"created_at": "2022-01-01T00:00:00Z"})).expect(200);
    assert_eq!(created("one"), "2022-01-01T00:00:00.000Z");
    let lines = ndjson(&[given("line", json!("2019-01-01"))]);
    let path = "/api/v1/items/feed?on_duplicate=replace";
    let report = client.call("POST", path).body("application/x-ndjson", lines).expect(200).json();
    assert_eq!(report["replaced"], 1, "{report}");
    assert_eq!(created("line"), "2019-01-01T00:00:00.000Z");
    // What says nothing of it changes nothing about it.
    client.put("/api/v1/items/feed/one", &json!({"metadata": {"title": "x"}})).expect(200);
    client.patch("/api/v1/items/feed/line", &json!({"metadata": {"title": "x"}})).expect(200);
    assert_eq!((&*created("one"), &*created("line")), ("2022-01-01T00:00:00.000Z", "2019-01-01T00:00:00.000Z"));
    // And lists are in the order of it.
    let newest = strings(&client.get("/api/v1/items/feed").expect(200).json()["items"], "item_id");
    assert_eq!(newest, ["one", "listed", "put", "line"]);
}

#[test]
fn items_from_creation_to_deletion() {
    let client = shared().tenant("api-items");
    feed(&client);
    let body = json!({
        "item_id": "video:1",
        "metadata": {"title": "Éa \u{1F600}", "category": "cats", "tags": ["a", "b"], "duration": 12.5, "deep": {"x": [1]}},
        "embedding": [0.5, -1]
    });
    let mut expected = body.clone();
    expected["scenario_id"] = json!(FEED);
    expected["status"] = json!("active");

    let created = client.post("/api/v1/items/feed", &body).expect(201);
    is_json(&created);
    assert_eq!((created.header("etag"), created.header("location")), ("\"1\"", "/api/v1/items/feed/video:1"));
    assert_eq!(without_times(created.json()), expected);
    client.post("/api/v1/items/feed", &body).expect(409);

    for path in ["/api/v1/items/feed/video:1", "/api/v1/items/feed/video%3A1"] {
        let read = client.get(path).expect(200);
        assert_eq!((read.json(), read.header("etag")), (created.json(), "\"1\""));
        assert_eq!(client.get(path).header("if-none-match", "W/\"1\", \"7\"").expect(304).body.len(), 0);
    }
    let path = "/api/v1/items/feed/video:1";

    let patch = json!({"metadata": {"category": "dogs", "duration": null, "deep": {"y": 2}}, "embedding": null});
    let patched = client.patch(path, &patch).header("if-match", "\"1\"").expect(200);
    expected["metadata"] =
        json!({"title": "Éa \u{1F600}", "category": "dogs", "tags": ["a", "b"], "deep": {"x": [1], "y": 2}});
    expected.as_object_mut().unwrap().remove("embedding");
    assert_eq!((without_times(patched.json()), patched.header("etag")), (expected.clone(), "\"2\""));
    client.patch(path, &patch).header("content-type", "application/merge-patch+json").expect(200);

    client.patch(path, &patch).header("if-match", "\"1\"").expect(412);
    client.put(path, &json!({})).header("if-match", "\"1\"").expect(412);
    client.delete(path).header("if-match", "\"1\"").expect(412);
    client.put("/api/v1/items/feed/new", &json!({})).header("if-match", "*").expect(412);
    client.put(path, &json!({})).header("if-none-match", "*").expect(412);

    let replaced = client.put(path, &json!({"status": "inactive"})).header("if-match", "*").expect(200);
    assert_eq!(
        without_times(replaced.json()),
        json!({"item_id": "video:1", "scenario_id": FEED, "metadata": {}, "status": "inactive"})
    );
    client.put("/api/v1/items/feed/new", &json!({})).header("if-none-match", "*").expect(201);

    assert_eq!(client.delete(path).expect(204).body.len(), 0);
    let gone = client.get(path).header("x-request-id", "gone").expect(404);
    assert_eq!(
        gone.json(),
        json!({"error": {"code": "item_not_found", "field": "item_id", "request_id": "gone",
                         "message": "no item `video:1` in `feed`"}})
    );
    client.delete(path).expect(404);
    client.patch(path, &json!({})).expect(404);
}

#[test]
fn items_are_listed_in_pages_and_filtered() {
    let client = shared().tenant("api-item-pages");
    feed(&client);
    let items: Vec<Value> = (0..25)
        .map(|at| {
            let mut item = item(&format!("i{at:02}"), ["a", "b c"][at % 2], ["x", "y", "z"][at % 3]);
            item["status"] = json!(if at < 5 { "inactive" } else { "active" });
            item
        })
        .collect();
    import(&client, &items);
    let list = |query: &str| {
        strings(&Value::Array(all_pages(&client, &format!("/api/v1/items/feed?{query}"), "items")), "item_id")
    };
    let sorted = |query: &str| {
        let mut ids = list(query);
        ids.sort();
        ids
    };
    let having = |wanted: &dyn Fn(usize) -> bool| -> Vec<String> {
        (0..25).filter(|at| wanted(*at)).map(|at| format!("i{at:02}")).collect()
    };
    for limit in [1, 4, 24, 25, 26, 1000] {
        assert_eq!(sorted(&format!("limit={limit}")), having(&|_| true), "{limit}");
    }
    assert_eq!(sorted("limit=3&category=b%20c"), having(&|at| at % 2 == 1));
    assert_eq!(sorted("limit=3&tag=y"), having(&|at| at % 3 == 1));
    assert_eq!(sorted("limit=3&status=inactive"), having(&|at| at < 5));
    assert_eq!(sorted("limit=2&status=active&category=a&tag=x"), having(&|at| at >= 5 && at % 6 == 0));
    assert!(sorted("category=none").is_empty());
    assert!(sorted("created_to=2000-01-01").is_empty());
    assert_eq!(sorted("created_from=2000-01-01").len(), 25);
    let mut oldest = list("limit=7&sort=oldest");
    oldest.reverse();
    assert_eq!(list("limit=7&sort=newest"), oldest);

    let page = client.get("/api/v1/items/feed?limit=25").expect(200).json();
    assert_eq!(page["next_cursor"], Value::Null);
    let one = client.get("/api/v1/items/feed/i07").expect(200).json();
    assert!(page["items"].as_array().unwrap().contains(&one));
}

#[test]
fn pages_neither_skip_nor_repeat_while_items_come_and_go() {
    let client = shared().tenant("api-moving-pages");
    feed(&client);
    let items: Vec<Value> = (0..60).map(|at| item(&format!("i{at:02}"), "a", "t")).collect();
    import(&client, &items);
    let mut seen = Vec::new();
    let mut cursor = String::new();
    for round in 0.. {
        let page = client.get(&format!("/api/v1/items/feed?limit=10&sort=oldest{cursor}")).expect(200).json();
        seen.extend(strings(&page["items"], "item_id"));
        // One that was seen goes.
        client.delete(&format!("/api/v1/items/feed/{}", seen[round])).expect(204);
        client.post("/api/v1/items/feed", &item(&format!("new{round}"), "a", "t")).expect(201);
        let Some(next) = page["next_cursor"].as_str() else { break };
        cursor = format!("&cursor={next}");
        assert!(round < 20, "it does not end");
    }
    let mut old: Vec<String> = seen.iter().filter(|id| id.starts_with('i')).cloned().collect();
    old.sort();
    assert_eq!(old, strings(&Value::Array(items), "item_id"));
    let mut unique = seen.clone();
    unique.sort();
    unique.dedup();
    assert_eq!(unique.len(), seen.len());
}

#[test]
fn bulk_imports_report_line_by_line() {
    let client = shared().tenant("api-bulk");
    feed(&client);
    let post = |query: &str, kind: &str, body: &str| {
        client.call("POST", &format!("/api/v1/items/feed{query}")).body(kind, body).expect(200).json()
    };
    let lines = "{\"item_id\":\"a\",\"metadata\":{\"category\":\"c\"}}\n\n{\"item_id\":\"b/c\"}\r\nnot json\n{\"item_id\":\"d\",\"metadata\":{\"tags\":[1]}}\n{\"item_id\":\"e\"}\n{\"item_id\":\"a\",\"metadata\":{\"category\":\"later\"}}";
    let report = post("", "application/x-ndjson", lines);
    assert_eq!(
        (&report["lines"], &report["created"], &report["replaced"], &report["skipped"], &report["failed"]),
        (&json!(6), &json!(2), &json!(1), &json!(0), &json!(3)),
        "{report}"
    );
    let fault = |at: usize| {
        let error = &report["errors"][at];
        (error["line"].as_u64().unwrap(), error["code"].as_str().unwrap(), error["field"].as_str())
    };
    assert_eq!(fault(0), (3, "invalid_field", Some("item_id")));
    assert_eq!(fault(1), (4, "invalid_json", None));
    assert_eq!(fault(2), (5, "invalid_field", Some("metadata.tags[0]")));
    assert_eq!(report["errors_truncated"], false);
    assert_eq!(client.get("/api/v1/items/feed/a").expect(200).json()["metadata"]["category"], "later");

    let array = json!([{"item_id": "a"}, {"item_id": 7}, {"item_id": "f"}]).to_string();
    let report = post("?on_duplicate=skip", "application/json", &array);
    assert_eq!((&report["created"], &report["skipped"], &report["failed"]), (&json!(1), &json!(1), &json!(1)));
    assert_eq!((&report["errors"][0]["line"], &report["errors"][0]["field"]), (&json!(2), &json!("item_id")));

    let csv = "item_id,category,tags,year,status\nf,x,,,\ng,\"x, y\",a|b,1999,inactive\nh,too,few\n";
    let report = post("?on_duplicate=error", "text/csv", csv);
    assert_eq!((&report["created"], &report["failed"]), (&json!(1), &json!(2)), "{report}");
    assert_eq!((&report["errors"][0]["line"], &report["errors"][0]["code"]), (&json!(2), &json!("already_exists")));
    assert_eq!(report["errors"][1]["line"], 4);
    assert_eq!(
        without_times(client.get("/api/v1/items/feed/g").expect(200).json()),
        json!({"item_id": "g", "scenario_id": FEED, "status": "inactive",
               "metadata": {"category": "x, y", "tags": ["a", "b"], "year": 1999}})
    );
    let report = post("?on_duplicate=replace", "text/csv", "item_id\ng\n");
    assert_eq!(report["replaced"], 1);
}

#[test]
fn reports_list_a_bounded_number_of_errors() {
    let client = shared().tenant("api-bulk-errors");
    feed(&client);
    let lines = "{}\n".repeat(1500);
    let report = client.call("POST", "/api/v1/items/feed").body("application/x-ndjson", lines).expect(200).json();
    assert_eq!((&report["failed"], &report["errors_truncated"]), (&json!(1500), &json!(true)));
    assert_eq!(report["errors"].as_array().unwrap().len(), 1000);
}

/// Lines made as they are read.
struct Lines {
    next: u32,
    count: u32,
    line: Cursor<Vec<u8>>,
}

impl Read for Lines {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        loop {
            let read = self.line.read(buffer)?;
            if read > 0 || self.next == self.count {
                return Ok(read);
            }
            let mut lines = String::new();
            while self.next < self.count && lines.len() < 60_000 {
                let at = self.next;
                let line = json!({"item_id": format!("item_{at:06}"), "metadata": {
                    "category": format!("category {}", at % 40), "tags": [format!("tag {}", at % 700), format!("tag {}", at % 11)],
                    "title": format!("The item of number {at}, which has a title"), "price": at, "filler": "x".repeat(100)}});
                lines.push_str(&format!("{line}\n"));
                self.next += 1;
            }
            self.line = Cursor::new(lines.into_bytes());
        }
    }
}

#[test]
fn a_long_import_is_streamed_in_bounded_memory() {
    const COUNT: u32 = 120_000;
    let server = Server::start();
    let client = server.tenant("api-stream");
    feed(&client);
    let lines = Lines { next: 0, count: COUNT, line: Cursor::default() };
    let begin = std::time::Instant::now();
    let report = client.call("POST", "/api/v1/items/feed").stream("application/x-ndjson", lines);
    let elapsed = begin.elapsed();
    assert_eq!((report.status, &report.json()["created"]), (200, &json!(COUNT)), "{}", report.text());
    let peak = server.peak_memory_bytes();
    println!("{COUNT} items in {elapsed:.2?}; peak memory {} MiB", peak >> 20);
    assert!(peak < 600 << 20, "{peak} bytes");
    let last = client.get("/api/v1/items/feed?category=category%2039&limit=1000").expect(200).json();
    assert_eq!(last["items"].as_array().unwrap().len(), 1000);
    client.get(&format!("/api/v1/items/feed/item_{:06}", COUNT - 1)).expect(200);
}

#[test]
fn profiles_are_read_replaced_and_deleted() {
    let client = shared().tenant("api-profiles");
    feed(&client);
    import(&client, &[item("i1", "cats", "funny")]);
    let path = "/api/v1/profiles/feed/ann";
    let absent = client.get(path).header("x-request-id", "absent").expect(404);
    assert_eq!(
        absent.json(),
        json!({"error": {"code": "profile_not_found", "field": "user_id", "request_id": "absent",
                         "message": "the user `ann` has no profile in `feed`"}})
    );

    let event =
        json!({"scenario_id": FEED, "item_id": "i1", "action_type": "like", "timestamp": "2026-01-31T12:00:00Z"});
    client.post("/api/v1/behaviors", &event).expect(202);
    settle(&client);
    let learnt = client.get(path).expect(200);
    let etag = learnt.header("etag").to_owned();
    let learnt = without_times(learnt.json());
    assert_eq!(learnt["features"]["total_like_count"], 1);
    assert_eq!(learnt["features"]["favorite_categories"], json!(["cats"]));
    assert_eq!(learnt["preferences"], json!({"category_scores": {"cats": 3.0}, "tag_scores": {"funny": 1.5}}));
    assert_eq!(
        learnt["recent_items"],
        json!([{"item_id": "i1", "action_type": "like", "at": "2026-01-31T12:00:00.000Z"}])
    );

    let body = json!({
        "features": {"age": "18-25"},
        "preferences": {"category_scores": {"dogs": 2.0}},
        "recent_items": [{"item_id": "i9", "action_type": "click", "at": "2026-01-01T00:00:00Z"}],
        "preferences_at_ms": 1_767_225_600_000_u64
    });
    client.put(path, &body).header("if-match", "\"77\"").expect(412);
    let replaced = client.put(path, &body).header("if-match", &etag).expect(200);
    let mut expected = body;
    expected["user_id"] = json!("ann");
    expected["scenario_id"] = json!(FEED);
    expected["recent_items"][0]["at"] = json!("2026-01-01T00:00:00.000Z");
    assert_eq!(without_times(replaced.json()), expected);
    assert_eq!(client.get(path).expect(200).json(), replaced.json());
    client.get(path).header("if-none-match", replaced.header("etag")).expect(304);
    client.put(path, &replaced.json()).expect(200);
    client.put("/api/v1/profiles/feed/bob", &json!({})).expect(201);

    client.delete(path).expect(204);
    client.delete(path).expect(404);
    client.get("/api/v1/profiles/feed/bob").expect(200);
}

#[test]
fn a_deleted_user_is_forgotten_everywhere() {
    let client = shared().tenant("api-forget");
    feed(&client);
    client.post("/api/v1/scenarios", &scenario("other")).expect(201);
    import(&client, &[item("i1", "a", "t"), item("i2", "b", "u")]);
    client.post("/api/v1/items/other", &item("i1", "a", "t")).expect(201);
    for user in ["ann", "bob"] {
        for scenario in [FEED, "other"] {
            let event = json!({"scenario_id": scenario, "item_id": "i1", "action_type": "click"});
            client.post("/api/v1/behaviors", &event).user(user).expect(202);
        }
    }
    settle(&client);
    let deleted = client.delete("/api/v1/users/ann").expect(200).json();
    assert!(deleted["deleted"].as_u64().unwrap() >= 4, "{deleted}");
    let count = |query: &str| {
        let page = client.get(&format!("/api/v1/behaviors?{query}")).expect(200).json();
        page["events"].as_array().unwrap().len()
    };
    for scenario in [FEED, "other"] {
        client.get(&format!("/api/v1/profiles/{scenario}/ann")).expect(404);
        client.get(&format!("/api/v1/profiles/{scenario}/bob")).expect(200);
    }
    assert_eq!((count("user_id=ann"), count("user_id=bob"), count("item_id=i1")), (0, 2, 2));
    assert_eq!(client.delete("/api/v1/users/ann").expect(200).json(), json!({"deleted": 0}));
    assert_eq!(client.delete("/api/v1/users/nobody").expect(200).json(), json!({"deleted": 0}));
}

#[test]
fn behaviours_are_taken_once_in_every_form() {
    let client = shared().tenant("api-behaviours");
    feed(&client);
    import(&client, &[item("i1", "a", "t"), item("i2", "b", "u")]);
    let event =
        |id: &str, item: &str| json!({"event_id": id, "scenario_id": FEED, "item_id": item, "action_type": "click"});
    let report = |accepted: u64, duplicates: u64| {
        json!({"accepted": accepted, "duplicates": duplicates, "lines": accepted + duplicates,
               "failed": 0, "errors": [], "errors_truncated": false})
    };
    let path = "/api/v1/behaviors";
    assert_eq!(client.post(path, &event("e1", "i1")).expect(202).json(), report(1, 0));
    assert_eq!(client.post(path, &event("e1", "i1")).expect(202).json(), report(0, 1));
    let list = json!([event("e1", "i1"), event("e2", "i2"), event("e2", "i2"), event("e3", "i1")]);
    assert_eq!(client.post(path, &list).expect(202).json(), report(2, 2));
    let lines = ndjson(&[event("e3", "i1"), event("e4", "i1"), json!({"action_type": "click"}), event("e5", "none")]);
    let answer = client.call("POST", path).body("application/x-ndjson", lines).expect(202).json();
    assert_eq!((&answer["accepted"], &answer["duplicates"], &answer["failed"]), (&json!(2), &json!(1), &json!(1)));
    assert_eq!((&answer["errors"][0]["line"], &answer["errors"][0]["field"]), (&json!(3), &json!("scenario_id")));

    // A repeated request counts once although its events have no ids.
    let nameless = json!([{"scenario_id": FEED, "item_id": "i2", "action_type": "like"},
                          {"scenario_id": FEED, "item_id": "i2", "action_type": "like"}]);
    assert_eq!(client.post(path, &nameless).header("x-request-id", "once").expect(202).json(), report(2, 0));
    assert_eq!(client.post(path, &nameless).header("x-request-id", "once").expect(202).json(), report(0, 2));

    settle(&client);
    let features = client.get("/api/v1/profiles/feed/ann").expect(200).json()["features"].clone();
    // e5 is about an item that is not there: nothing is learnt from it.
    assert_eq!((&features["total_click_count"], &features["total_like_count"]), (&json!(4), &json!(2)));
}

#[test]
fn history_is_told_newest_first_in_pages() {
    let client = shared().tenant("api-history");
    feed(&client);
    let events: Vec<Value> = (0..25)
        .map(|at| {
            json!({"event_id": format!("e{at:02}"), "scenario_id": FEED, "user_id": (["ann", "bob"][at % 2]),
                   "item_id": (["i1", "i2", "i3"][at % 3]), "action_type": "view", "timestamp": 1_767_225_600 + at,
                   "context": {"device": "tv"}, "extra": {"watch_duration": 3.5}})
        })
        .collect();
    client.post("/api/v1/behaviors", &Value::Array(events)).expect(202);
    let all = |query: &str| {
        let mut ids = Vec::new();
        let mut before = String::new();
        loop {
            let page = client.get(&format!("/api/v1/behaviors?limit=4&{query}{before}")).expect(200).json();
            ids.extend(strings(&page["events"], "event_id"));
            let Some(next) = page["next_before"].as_u64() else { return ids };
            before = format!("&before={next}");
        }
    };
    let having = |wanted: &dyn Fn(usize) -> bool| -> Vec<String> {
        (0..25).rev().filter(|at| wanted(*at)).map(|at| format!("e{at:02}")).collect()
    };
    assert_eq!(all("user_id=ann"), having(&|at| at % 2 == 0));
    assert_eq!(all("item_id=i2"), having(&|at| at % 3 == 1));
    assert_eq!(all("user_id=bob&item_id=i1&scenario_id=feed"), having(&|at| at % 6 == 3));
    assert!(all("user_id=ann&scenario_id=other").is_empty());
    let first = client.get("/api/v1/behaviors?user_id=bob&limit=1").expect(200).json();
    assert_eq!(
        first["events"][0],
        json!({"event_id": "e23", "scenario_id": FEED, "user_id": "bob", "item_id": "i3", "action_type": "view",
               "timestamp": "2026-01-01T00:00:23.000Z", "context": {"device": "tv"}, "extra": {"watch_duration": 3.5}})
    );
}

#[test]
fn the_api_describes_itself() {
    let server = shared();
    let client = server.tenant("api-docs");
    let bare = |path: &str| {
        let call = client.get(path);
        ["x-tenant-id", "x-user-id", "authorization"]
            .into_iter()
            .fold(call, |call, name| call.without(name))
            .expect(200)
    };
    let health = bare("/healthz");
    is_json(&health);
    assert_eq!(health.json(), json!({"status": "ok"}));

    let document = bare("/openapi.json").json();
    assert_eq!(document["openapi"], "3.1.0");
    for (path, item) in document["paths"].as_object().unwrap() {
        // Every path that is described is served.
        let names = [
            "{request_id}",
            "{scenario_id}",
            "{item_id}",
            "{user_id}",
            "{run_id}",
            "{name}",
            "{version}",
            "{experiment_id}",
        ];
        let path = names.iter().fold(path.clone(), |path, name| path.replace(name, "none"));
        assert!(!path.contains('{'), "{path}");
        let method = item.as_object().unwrap().keys().find(|key| *key != "parameters").unwrap().to_uppercase();
        let reply = client.call(&method, &path).send();
        assert!(reply.status != 405 && reply.json_code() != "route_not_found", "{method} {path}: {}", reply.status);
    }

    for path in ["/docs", "/experiments"] {
        let page = bare(path);
        assert!(page.header("content-type").starts_with("text/html"));
        assert!(page.header("content-security-policy").starts_with("default-src 'none'"));
        // What is within the page is not loaded.
        let text = page.text().replace("url(#", "");
        for external in ["src=", "href=\"http", "@import", "url(", "<link"] {
            assert!(!text.contains(external), "{path} loads something: {external}");
        }
    }
}
