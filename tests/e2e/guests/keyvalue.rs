//! `wasi:keyvalue`: the stores of `spin:key-value`, seen through the other interface, on
//! the embedded backend and on Redis.

use funnelweb_test_servers::{Kind, Server as Process};

use super::*;

/// What `keyvalue-probe` answers to steps on a bucket.
fn steps(client: &Client, bucket: &str, steps: &Value) -> Value {
    client.post("/keyvalue-probe", &json!({"bucket": bucket, "steps": steps})).expect(200).json()
}

/// A server that keeps key-value stores in Redis, and that Redis.
fn on_redis() -> (Server, Process) {
    let redis = Process::redis(Kind::Redis, &[]);
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("runtime.toml");
    let url = format!("redis://127.0.0.1:{}", redis.port());
    fs::write(&config, format!("stores.key_value = 'redis'\nredis.urls = ['{url}']\n")).unwrap();
    let written = Written::new(&manifest());
    let variable = format!("probe_port={}", upstream());
    let args = vec!["--variable".into(), variable.into(), "--runtime-config".into(), config.into()];
    let server = Server::with(Options { manifest: written.path(), args, ..Options::default() });
    (server, redis)
}

#[test]
fn every_function_does_what_the_interface_says() {
    let (remote, redis) = on_redis();
    for server in [server(), &remote] {
        let client = server.tenant("wasi-kv");
        values(&client);
        several(&client);
        numbers(&client);
        swaps(&client);
        // Another tenant has nothing of it, nor has another store of the same.
        for (client, bucket) in [(&server.tenant("wasi-kv-other"), "default"), (&client, "second")] {
            let seen = steps(client, bucket, &json!([{"do": "list_keys"}, {"do": "get", "key": "n"}]));
            assert_eq!(seen, json!([{"keys": [], "cursor": null}, null]));
        }
        // The other interface shows the same stores.
        assert_eq!(ask(&client, &json!({"do": "get", "store": "default", "key": "n"}))["start"], "42");
    }
    let mut stream = TcpStream::connect(("127.0.0.1", redis.port())).unwrap();
    stream.write_all(b"HGET kv:wasi-kv:default n\r\n").unwrap();
    let mut reply = [0; 8];
    stream.read_exact(&mut reply).unwrap();
    assert_eq!(&reply, b"$2\r\n42\r\n");
}

fn values(client: &Client) {
    let key = "ключ-🕸 \u{0}";
    let answers = steps(
        client,
        "default",
        &json!([
            {"do": "list_keys"}, {"do": "get", "key": key}, {"do": "exists", "key": key},
            {"do": "set", "key": key, "value": [0, 255, 13, 10]},
            {"do": "get", "key": key}, {"do": "exists", "key": key}, {"do": "list_keys"},
            {"do": "fill", "key": "mib", "bytes": 1 << 20}, {"do": "length", "key": "mib"},
            {"do": "delete", "key": key}, {"do": "delete", "key": key}, {"do": "get", "key": key},
            {"do": "delete", "key": "mib"}, {"do": "list_keys", "cursor": "1"}
        ]),
    );
    let nothing = json!({"keys": [], "cursor": null});
    let listed = json!({"keys": [key], "cursor": null});
    let expected = json!([
        nothing,
        null,
        false,
        null,
        [0, 255, 13, 10],
        true,
        listed,
        null,
        1 << 20,
        null,
        null,
        null,
        null,
        nothing
    ]);
    assert_eq!(answers, expected);
}

fn several(client: &Client) {
    let answers = steps(
        client,
        "default",
        &json!([
            {"do": "set_many", "pairs": [["a", [1]], ["ä", []], ["a", [2]]]},
            {"do": "get_many", "keys": ["ä", "no", "a", "a"]},
            {"do": "delete_many", "keys": ["a", "no"]},
            {"do": "get_many", "keys": ["a", "ä"]},
            {"do": "delete_many", "keys": ["ä"]},
            {"do": "get_many", "keys": []}, {"do": "set_many", "pairs": []}, {"do": "delete_many", "keys": []}
        ]),
    );
    let read = json!([["ä", []], ["no", null], ["a", [2]], ["a", [2]]]);
    assert_eq!(answers, json!([null, read, null, [["a", null], ["ä", []]], null, [], null, null]));
}

fn numbers(client: &Client) {
    let answers = steps(
        client,
        "default",
        &json!([
            {"do": "increment", "key": "n", "delta": 50}, {"do": "increment", "key": "n", "delta": -8},
            {"do": "get", "key": "n"}, {"do": "set", "key": "text", "value": [120]},
            {"do": "increment", "key": "text", "delta": 1}, {"do": "delete", "key": "text"}
        ]),
    );
    let refused = answers[4]["error"].as_str().unwrap();
    assert!(refused.starts_with("Error::Other") && refused.contains("is not a decimal number"), "{answers}");
    assert_eq!(answers.as_array().unwrap()[..4], *json!([50, 42, [52, 50], null]).as_array().unwrap());
}

fn swaps(client: &Client) {
    let answers = steps(
        client,
        "default",
        &json!([
            {"do": "look", "key": "c"}, {"do": "current", "cas": 0}, {"do": "swap", "cas": 0, "value": [1]},
            // It is used up.
            {"do": "swap", "cas": 0, "value": [9]},
            // Another writes in between: a handle on what is there now comes back.
            {"do": "look", "key": "c"}, {"do": "set", "key": "c", "value": [2]}, {"do": "swap", "cas": 1, "value": [9]},
            {"do": "current", "cas": 2}, {"do": "swap", "cas": 2, "value": [3]}, {"do": "get", "key": "c"},
            // What was looked at last is what is expected.
            {"do": "look", "key": "c"}, {"do": "set", "key": "c", "value": [4]}, {"do": "current", "cas": 3},
            {"do": "swap", "cas": 3, "value": [5]}, {"do": "get", "key": "c"},
            // It was deleted in between.
            {"do": "look", "key": "c"}, {"do": "delete", "key": "c"}, {"do": "swap", "cas": 4, "value": [6]},
            {"do": "current", "cas": 5}
        ]),
    );
    let gone = json!({"error": "no such handle"});
    let cas = |at: usize| json!({"cas": at});
    let expected = json!([
        cas(0),
        null,
        null,
        gone,
        cas(1),
        null,
        cas(2),
        [2],
        null,
        [3],
        cas(3),
        null,
        [4],
        null,
        [5],
        cas(4),
        null,
        cas(5),
        null
    ]);
    assert_eq!(answers, expected);
}

/// From many requests at once, each in an instance of its own perhaps.
#[test]
fn concurrent_increments_and_swaps_lose_nothing() {
    let (remote, _redis) = on_redis();
    for server in [server(), &remote] {
        let client = server.tenant("wasi-kv-race");
        thread::scope(|scope| {
            for task in 0..8 {
                let client = &client;
                scope.spawn(move || {
                    for _ in 0..5 {
                        let both = json!([
                            {"do": "increment", "key": "n", "delta": 3}, {"do": "append", "key": "list", "byte": task}
                        ]);
                        assert_eq!(steps(client, "default", &both)[1], Value::Null);
                    }
                });
            }
        });
        let seen = steps(&client, "default", &json!([{"do": "get", "key": "n"}, {"do": "get", "key": "list"}]));
        assert_eq!(seen[0], json!(b"120"));
        let mut list: Vec<u8> = serde_json::from_value(seen[1].clone()).unwrap();
        list.sort_unstable();
        assert_eq!(list, (0..8).flat_map(|task| [task; 5]).collect::<Vec<u8>>());
    }
}

#[test]
fn limits_hold() {
    let client = server().tenant("wasi-kv-limits");
    let one = |step: Value| steps(&client, "default", &json!([step]))[0].clone();
    let refused = |answer: &Value, limit: usize| {
        let said = answer["error"].as_str().unwrap_or_default();
        assert!(said.starts_with("Error::Other") && said.contains(&limit.to_string()), "{limit}: {answer}");
    };
    for bucket in ["third", "", "DEFAULT"] {
        assert_eq!(steps(&client, bucket, &json!([])), json!({"error": "Error::AccessDenied"}), "{bucket}");
    }
    let key = "k".repeat(limits::KEY_VALUE_KEY_BYTES);
    assert_eq!(one(json!({"do": "set", "key": key, "value": []})), Value::Null);
    refused(&one(json!({"do": "set", "key": format!("{key}k"), "value": []})), limits::KEY_VALUE_KEY_BYTES);
    assert_eq!(one(json!({"do": "fill", "key": "k", "bytes": limits::KEY_VALUE_VALUE_BYTES})), Value::Null);
    let over = limits::KEY_VALUE_VALUE_BYTES + 1;
    refused(&one(json!({"do": "fill", "key": "k", "bytes": over})), limits::KEY_VALUE_VALUE_BYTES);
    let keys: Vec<String> = (0..=limits::KEY_VALUE_BATCH_KEYS).map(|at| format!("k{at}")).collect();
    assert_eq!(one(json!({"do": "delete_many", "keys": keys[1..]})), Value::Null);
    refused(&one(json!({"do": "delete_many", "keys": keys})), limits::KEY_VALUE_BATCH_KEYS);
    refused(&one(json!({"do": "get_many", "keys": ["k", "k"]})), limits::KEY_VALUE_BATCH_BYTES);

    // Handles remember values, and those that are ended do no more.
    let fits = limits::INSTANCE_CAS_BYTES / limits::KEY_VALUE_VALUE_BYTES;
    let looks = vec![json!({"do": "look", "key": "k"}); fits + 1];
    for _ in 0..2 {
        let answers = steps(&client, "default", &json!(looks));
        assert_eq!(answers[fits - 1], json!({"cas": fits - 1}), "{answers}");
        refused(&answers[fits], limits::INSTANCE_CAS_BYTES);
    }
    let many = steps(&client, "default", &json!(vec![json!({"do": "look", "key": "nothing"}); 256]));
    assert_eq!(many[254], json!({"cas": 254}));
    assert!(many[255]["error"].as_str().unwrap().contains("too many stores and handles"), "{}", many[255]);
}
