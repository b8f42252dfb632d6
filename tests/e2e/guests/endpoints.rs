//! Endpoints: what they are given, and what becomes of those that fail.

use super::*;

/// What `probe` answers.
pub fn ask(client: &Client, ask: &Value) -> Value {
    let reply = client.post("/probe/x", ask).expect(200);
    reply.json()
}

fn error(reply: &Reply) -> (u16, String) {
    let json = reply.json();
    assert_eq!(json["error"]["request_id"].as_str(), Some(reply.header("x-request-id")), "{json}");
    assert!(!json["error"]["message"].as_str().unwrap().is_empty(), "{json}");
    (reply.status, json["error"]["code"].as_str().unwrap().to_owned())
}

#[test]
fn key_values_are_the_tenants_own() {
    let server = server();
    let [one, other] = ["kv-one", "kv-other"].map(|name| server.tenant(name));
    let set = |store: &str, key: &str, text: &str, times: usize| json!({"do": "set", "store": store, "key": key, "text": text, "times": times});
    let get = |store: &str, key: &str| json!({"do": "get", "store": store, "key": key});
    assert_eq!(ask(&one, &get("default", "k")), Value::Null);
    ask(&one, &set("default", "k", "ours", 1));
    assert_eq!(ask(&one, &get("default", "k")), json!({"bytes": 4, "start": "ours"}));
    // Each store and each tenant has its own keys.
    assert_eq!(ask(&one, &get("second", "k")), Value::Null);
    assert_eq!(ask(&other, &get("default", "k")), Value::Null);
    assert_eq!(ask(&other, &json!({"do": "keys", "store": "default"})), json!([]));
    ask(&other, &set("default", "k", "theirs", 1));
    ask(&one, &set("default", "k", "later", 1));
    assert_eq!(ask(&one, &get("default", "k"))["start"], "later");
    assert_eq!(ask(&other, &get("default", "k"))["start"], "theirs");
    // Any text is a key, and a megabyte a value.
    for key in ["schlüssel", "鍵 with spaces", "🔑", "../../etc/passwd", "a\0b", "'; DROP TABLE key_values; --"] {
        ask(&one, &set("second", key, "é", 3));
        assert_eq!(ask(&one, &get("second", key)), json!({"bytes": 6, "start": "ééé"}), "{key}");
        assert_eq!(ask(&one, &json!({"do": "exists", "store": "second", "key": key})), json!(true));
    }
    ask(&one, &set("second", "large", "0123456789abcdef", 1 << 16));
    assert_eq!(ask(&one, &get("second", "large"))["bytes"], 1 << 20);
    assert_eq!(ask(&one, &json!({"do": "keys", "store": "second"})).as_array().unwrap().len(), 7);
    ask(&one, &json!({"do": "delete", "store": "second", "key": "🔑"}));
    ask(&one, &json!({"do": "delete", "store": "second", "key": "🔑"}));
    assert_eq!(ask(&one, &json!({"do": "exists", "store": "second", "key": "🔑"})), json!(false));
    assert_eq!(ask(&one, &json!({"do": "keys", "store": "second"})).as_array().unwrap().len(), 6);
    // Beyond the limits.
    for (key, times) in
        [("", 1), (&*"k".repeat(limits::KEY_VALUE_KEY_BYTES + 1), 1), ("k", limits::KEY_VALUE_VALUE_BYTES + 1)]
    {
        let refused = ask(&one, &set("default", key, "x", times));
        assert!(refused["error"].as_str().unwrap().starts_with("Error::Other"), "{refused}");
    }
    for store in ["third", "", "DEFAULT", "../kv-other"] {
        let refused = ask(&one, &get(store, "k"));
        assert!(refused["error"].as_str().unwrap().contains("AccessDenied"), "{refused}");
    }
    let open = |times: usize| ask(&one, &json!({"do": "open", "store": "default", "times": times}));
    assert_eq!(open(limits::INSTANCE_STORES)["open"], limits::INSTANCE_STORES);
    let many = open(limits::INSTANCE_STORES + 1);
    assert!(many["error"].as_str().unwrap().contains("StoreTableFull"), "{many}");
    // Of calls that are under way at once, those are refused that leave no room.
    let bytes = limits::KEY_VALUE_VALUE_BYTES;
    let (fit, set) = (limits::INSTANCE_KEY_VALUE_BYTES / bytes, |times: usize| {
        ask(&one, &json!({"do": "set_at_once", "store": "default", "key": "k", "bytes": bytes, "times": times}))
    });
    assert_eq!(set(fit), json!([]));
    let refused = set(fit + 2);
    assert_eq!(refused.as_array().map(Vec::len), Some(2), "{refused}");
    assert!(refused[0].as_str().unwrap().contains(&limits::INSTANCE_KEY_VALUE_BYTES.to_string()), "{refused}");
    assert_eq!(set(fit), json!([]), "room is given back");
}

#[test]
fn variables_are_filled_in_and_no_others_are_there() {
    let client = server().tenant("variables");
    let variable = |client: &Client, name: &str| ask(client, &json!({"do": "variable", "name": name}));
    assert_eq!(variable(&client, "greeting"), json!({"value": "Hello, world!"}));
    assert_eq!(variable(&client, "port"), json!({"value": upstream().to_string()}));
    // The application's variables are not the component's.
    for name in ["probe_port", "probe_name", "nothing"] {
        assert!(variable(&client, name)["error"].as_str().unwrap().contains("Undefined"), "{name}");
    }
    for name in ["", "Greeting", "a-b", "../greeting"] {
        assert!(variable(&client, name)["error"].as_str().unwrap().contains("InvalidName"), "{name}");
    }
}

/// Key-values stay over a restart, and variables come from the environment too.
#[test]
fn a_restart_keeps_key_values_and_reads_variables_again() {
    let written = Written::new(&manifest());
    let args = vec!["--variable".into(), "probe_name=command line".into()];
    let variable = |name: &str, value: &str| (format!("SPIN_VARIABLE_{name}"), value.into());
    let env = vec![variable("PROBE_PORT", "81"), variable("PROBE_NAME", "environment")];
    let mut server = Server::with(Options { manifest: written.path(), args, env });
    let client = server.tenant("restart");
    let variable = |client: &Client, name: &str| ask(client, &json!({"do": "variable", "name": name}))["value"].clone();
    assert_eq!(variable(&client, "port"), "81");
    assert_eq!(variable(&client, "greeting"), "Hello, command line!");
    ask(&client, &json!({"do": "set", "store": "default", "key": "k", "text": "kept", "times": 1}));
    server.kill9();
    server.restart();
    let client = server.tenant("restart");
    assert_eq!(ask(&client, &json!({"do": "get", "store": "default", "key": "k"}))["start"], "kept");
}

#[test]
fn a_required_variable_without_a_value_stops_the_start() {
    let written = Written::new(&manifest());
    let data = tempfile::tempdir().unwrap();
    let up = Command::new(harness::binary())
        .args(["up", "--listen", "127.0.0.1:0", "-f"])
        .arg(written.path())
        .arg("--data-dir")
        .arg(data.path())
        .env_remove("SPIN_VARIABLE_PROBE_PORT")
        .output()
        .unwrap();
    assert!(!up.status.success());
    assert!(String::from_utf8_lossy(&up.stderr).contains("`probe_port` is required"), "{up:?}");
}

#[test]
fn outgoing_requests_go_where_the_manifest_says() {
    let client = server().tenant("outbound");
    let fetch = |url: &str| ask(&client, &json!({"do": "fetch", "url": url}));
    let port = upstream();
    assert_eq!(
        fetch(&format!("http://127.0.0.1:{port}/some/path?x=1")),
        json!({"status": 201, "body": "/some/path?x=1"})
    );
    let elsewhere = TcpListener::bind("127.0.0.1:0").unwrap();
    elsewhere.set_nonblocking(true).unwrap();
    let other = elsewhere.local_addr().unwrap().port();
    for url in [
        format!("http://127.0.0.1:{other}/"),
        format!("http://localhost:{port}/"),
        format!("http://127.0.0.2:{port}/"),
        format!("https://127.0.0.1:{port}/"),
        format!("http://[::1]:{port}/"),
        format!("http://127.0.0.1:{port}@127.0.0.1:{other}/"),
        format!("http://2130706433:{port}/"),
        "http://example.com/".to_owned(),
        "http://169.254.169.254/latest/meta-data/".to_owned(),
    ] {
        let refused = fetch(&url);
        assert!(refused["error"].is_string(), "{url}: {refused}");
    }
    let denied = fetch(&format!("http://127.0.0.1:{other}/"));
    assert!(denied["error"].as_str().unwrap().contains("HttpRequestDenied"), "{denied}");
    assert!(elsewhere.accept().is_err(), "somebody connected");
}

#[test]
fn an_endpoint_has_the_environment_of_its_manifest_and_no_files() {
    let client = server().tenant("environment");
    assert_eq!(ask(&client, &json!({"do": "environment"})), json!({"PROBE_COLOUR": "green"}));
    assert_eq!(ask(&client, &json!({"do": "files"})), json!({"seen": 0, "wrote": false}));
}

#[test]
fn an_instance_is_reused_for_its_tenant_only() {
    let [one, other] = ["reuse-one", "reuse-other"].map(|name| server().tenant(name));
    let count = |client: &Client| ask(client, &json!({"do": "count"}))["count"].as_u64().unwrap();
    let counts: Vec<u64> = (0..20).map(|_| count(&one)).collect();
    assert!(counts.last() > Some(&10), "an instance is not reused: {counts:?}");
    assert_eq!(count(&other), 1);
    // Both at once, many times: every instance counts one tenant's requests.
    let most = thread::scope(|scope| {
        let tasks = [(&one, 20_u64), (&other, 1)]
            .map(|(client, before)| scope.spawn(move || (1..=100).all(|asked| count(client) <= before + asked)));
        tasks.map(|task| task.join().unwrap())
    });
    assert_eq!(most, [true, true]);
    // An idle instance is dropped.
    thread::sleep(limits::INSTANCE_IDLE + Duration::from_millis(500));
    assert_eq!(count(&one), 1);
}

#[test]
fn an_endpoint_that_fails_is_a_500_and_the_next_request_works() {
    let client = server().tenant("failing");
    for what in ["panic", "trap", "exit", "bomb", "recurse"] {
        let start = Instant::now();
        let reply = client.post("/probe/x", &json!({"do": what})).send();
        assert_eq!(error(&reply), (500, "internal".to_owned()), "{what}");
        assert!(!reply.text().contains("enough"), "an error of ours does not quote a component: {}", reply.text());
        assert!(start.elapsed() < Duration::from_secs(2), "{what}");
        assert_eq!(ask(&client, &json!({"do": "count"})), json!({"count": 1}), "after {what}");
    }
    // What it printed is in the log.
    assert!(server().log().contains("the endpoint has had enough"));
    // More than the host would keep for it.
    let reply = client.post("/probe/x", &json!({"do": "random", "bytes": 1_u64 << 40})).send();
    assert!(reply.status == 500 || reply.json()["bytes"].as_u64().unwrap() <= 64 << 10, "{}", reply.text());
    assert_eq!(ask(&client, &json!({"do": "environment"}))["PROBE_COLOUR"], "green");
}

/// The one test that waits for [`limits::REQUEST_TIMEOUT`].
#[test]
fn an_endless_endpoint_is_a_504_and_others_do_not_notice() {
    beside_a_neighbour("calm-4", |server| {
        let [endless, streaming] = ["endless", "endless-stream"].map(|name| server.tenant(name));
        let after = limits::REQUEST_TIMEOUT..limits::REQUEST_TIMEOUT + Duration::from_secs(2);
        thread::scope(|scope| {
            for what in [json!({"do": "loop"}), json!({"do": "loop"}), json!({"do": "sleep", "ms": 3_600_000})] {
                let (endless, after) = (&endless, &after);
                scope.spawn(move || {
                    let start = Instant::now();
                    let reply = endless.post("/probe/x", &what).send();
                    assert_eq!(error(&reply), (504, "timeout".to_owned()), "{what}");
                    assert!(after.contains(&start.elapsed()), "{what}: {:?}", start.elapsed());
                });
            }
            // A response without end is ended as well.
            scope.spawn(|| {
                let start = Instant::now();
                let stream = json!({"do": "stream", "pieces": 1_000_000, "pause_ms": 20});
                let outcome = streaming.post("/probe/x", &stream).try_send();
                assert!(outcome.is_err(), "{outcome:?}");
                assert!(start.elapsed() < after.end, "{:?}", start.elapsed());
            });
            // The same tenant goes on meanwhile.
            thread::sleep(Duration::from_millis(300));
            let start = Instant::now();
            assert_eq!(ask(&endless, &json!({"do": "environment"}))["PROBE_COLOUR"], "green");
            assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
        });
        assert_eq!(ask(&endless, &json!({"do": "environment"}))["PROBE_COLOUR"], "green");
    });
}

/// A connection on which a request to `probe` was sent.
fn open(tenant: &str, ask: &Value, headers: &str) -> TcpStream {
    let mut stream = TcpStream::connect(server().address()).unwrap();
    let body = ask.to_string();
    let head = format!(
        "POST /probe/x HTTP/1.1\r\nhost: probe.example:81\r\nx-tenant-id: {tenant}\r\nx-request-id: raw\r\n\
         authorization: Bearer t\r\nconnection: close\r\ncontent-length: {}\r\n{headers}\r\n",
        body.len()
    );
    // It may be refused before all is sent.
    let _ = stream.write_all(format!("{head}{body}").as_bytes());
    stream
}

#[test]
fn a_response_is_sent_as_it_is_made() {
    let mut reader = BufReader::new(open("streaming", &json!({"do": "stream", "pieces": 4, "pause_ms": 200}), ""));
    let (start, mut arrived) = (Instant::now(), Vec::new());
    let mut line = String::new();
    while reader.read_line(&mut line).unwrap() > 0 {
        if line.starts_with("piece ") {
            arrived.push(start.elapsed());
        }
        line.clear();
    }
    assert_eq!(arrived.len(), 4);
    assert!(arrived[3] - arrived[0] > Duration::from_millis(400), "all at once: {arrived:?}");
}

/// A response that breaks off is not mistaken for a whole one.
#[test]
fn a_response_that_breaks_off_is_seen_to() {
    let mut answer = String::new();
    let _ = open("breaking", &json!({"do": "break_off"}), "").read_to_string(&mut answer);
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(answer.contains("piece 1"), "{answer}");
    assert!(!answer.ends_with("0\r\n\r\n"), "the last chunk says that all was sent: {answer}");
    assert_eq!(ask(&server().tenant("breaking"), &json!({"do": "count"})), json!({"count": 1}));
}

#[test]
fn headers_over_the_limits_are_refused() {
    let status = |headers: &str| {
        let mut answer = Vec::new();
        let _ = open("headers", &json!({"do": "environment"}), headers).read_to_end(&mut answer);
        String::from_utf8_lossy(&answer).split(' ').nth(1).map(str::to_owned).unwrap_or_default()
    };
    assert_eq!(status(""), "200");
    assert_eq!(status(&format!("x-large: {}\r\n", "x".repeat(limits::HEADER_BYTES / 2))), "200");
    assert_eq!(status(&format!("x-large: {}\r\n", "x".repeat(limits::HEADER_BYTES))), "431");
    let many: String = (0..200).map(|at| format!("x-{at}: x\r\n")).collect();
    assert_eq!(status(&many), "431");
    assert_eq!(status("not a header\r\n"), "400");
    assert_eq!(status("x-bad: a\0b\r\n"), "400");
    assert_eq!(status("content-length: 5\r\n"), "400");
}

fn seen(call: Call<'_>) -> BTreeMap<String, Vec<String>> {
    let pairs: Vec<(String, String)> = serde_json::from_value(call.expect(200).json()).unwrap();
    let mut seen: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (name, value) in pairs {
        seen.entry(name).or_default().push(value);
    }
    seen
}

#[test]
fn spin_headers_are_the_hosts_own() {
    let client = server().tenant("spin");
    let call = client.post("/probe-of/ann%20b/cart/1?x=1&y", &json!({"do": "headers"}));
    let call = call.header("spin-full-url", "http://evil/").header("spin-path-match-admin", "yes");
    let seen = seen(call.header("Spin-Client-Addr", "1.2.3.4:5").header("x-kept", "as it is"));
    let address = server().address();
    for (name, value) in [
        ("spin-path-info", "/cart/1"),
        ("spin-full-url", &*format!("http://{address}/probe-of/ann%20b/cart/1?x=1&y")),
        ("spin-matched-route", "/probe-of/:user_id/..."),
        ("spin-base-path", "/"),
        ("spin-raw-component-route", "/probe-of/:user_id/..."),
        ("spin-component-route", "/probe-of/:user_id"),
        ("spin-path-match-user-id", "ann%20b"),
        ("x-kept", "as it is"),
        ("x-tenant-id", "spin"),
    ] {
        assert_eq!(seen[name], [value], "{name}");
    }
    assert!(seen["spin-client-addr"][0].starts_with("127.0.0.1:"), "{seen:?}");
    let spin: Vec<_> = seen.keys().filter(|name| name.starts_with("spin-")).collect();
    assert_eq!(spin.len(), 8, "{spin:?}");
}
