//! `spin:redis`: what an endpoint says to servers that its manifest names, and that it
//! reaches no others.

use funnelweb_test_servers::{Kind, Server as Process};

use super::*;

/// Funnelweb, and a Redis that `redis-probe` reaches by its number.
struct Pair {
    redis: Process,
    server: Server,
}

/// That tests share; each has keys of its own.
fn shared() -> &'static Pair {
    static SHARED: OnceLock<Pair> = OnceLock::new();
    SHARED.get_or_init(|| {
        let redis = Process::redis(Kind::Redis, &[]);
        let written = Written::new(&manifest());
        let variables = [format!("probe_port={}", upstream()), format!("redis_port={}", redis.port())];
        let args = variables.into_iter().flat_map(|variable| ["--variable".into(), variable.into()]).collect();
        let server = Server::with(Options { manifest: written.path(), args, ..Options::default() });
        Pair { redis, server }
    })
}

/// What `redis-probe` answers.
fn say(client: &Client, ask: &Value) -> Value {
    client.post("/redis-probe", ask).expect(200).json()
}

/// Its answers to steps on one connection to the shared Redis.
fn steps(client: &Client, steps: &[Value]) -> Value {
    let address = format!("redis://127.0.0.1:{}", shared().redis.port());
    say(client, &json!({"address": address, "steps": steps}))
}

fn execute(command: &str, arguments: &Value) -> Value {
    json!({"do": "execute", "command": command, "arguments": arguments})
}

#[test]
fn every_function_does_what_the_interface_says() {
    let client = shared().server.tenant("redis-all");
    let answers = steps(
        &client,
        &[
            json!({"do": "get", "key": "all:k"}),
            json!({"do": "set", "key": "all:k", "value": [0, 255, 13, 10, 195, 40]}),
            json!({"do": "get", "key": "all:k"}),
            json!({"do": "incr", "key": "all:n"}),
            json!({"do": "incr", "key": "all:n"}),
            json!({"do": "incr", "key": "all:k"}),
            json!({"do": "sadd", "key": "all:s", "values": ["å", ""]}),
            json!({"do": "sadd", "key": "all:s", "values": ["å", "b"]}),
            json!({"do": "srem", "key": "all:s", "values": ["", "x"]}),
            json!({"do": "srem", "key": "all:s", "values": ["b"]}),
            json!({"do": "smembers", "key": "all:s"}),
            json!({"do": "smembers", "key": "all:k"}),
            json!({"do": "get", "key": "all:s"}),
            json!({"do": "publish", "channel": "all:c", "payload": [0, 159]}),
            json!({"do": "del", "keys": ["all:k", "all:s", "all:nothing"]}),
            json!({"do": "del", "keys": []}),
        ],
    );
    let type_error = json!({"error": "Error::TypeError"});
    let expected = json!([
        null,
        null,
        [0, 255, 13, 10, 195, 40],
        1,
        2,
        type_error,
        2,
        1,
        1,
        1,
        ["å"],
        type_error,
        type_error,
        null,
        2,
        0
    ]);
    assert_eq!(answers, expected);

    let answers = steps(
        &client,
        &[
            execute("SET", &json!(["all:x", -7])),
            execute("append", &json!(["all:x", [0, 254]])),
            execute("GET", &json!(["all:x"])),
            execute("MGET", &json!(["all:x", "all:nothing"])),
            execute("EVAL", &json!(["return {1, {redis.status_reply('fine'), false}, 'two'}", 0])),
            execute("SELECT", &json!([1])),
            json!({"do": "get", "key": "all:x"}),
        ],
    );
    let bytes = json!({"bytes": [45, 55, 0, 254]});
    let expected = json!([
        [{"status": "OK"}], [4], [bytes], [bytes, null], [1, {"status": "fine"}, null, {"bytes": [116, 119, 111]}],
        [{"status": "OK"}], null
    ]);
    assert_eq!(answers, expected);
    // That was another connection's database.
    assert_eq!(steps(&client, &[json!({"do": "get", "key": "all:x"})]), json!([[45, 55, 0, 254]]));
    let wrong = steps(&client, &[execute("NONSENSE", &json!([])), execute("", &json!([]))]);
    assert!(wrong[0]["error"].as_str().unwrap().contains("unknown command"), "{wrong}");
    assert!(wrong[1]["error"].as_str().unwrap().contains("command:"), "{wrong}");
}

#[test]
fn a_published_message_arrives() {
    let pair = shared();
    let mut stream = TcpStream::connect(("127.0.0.1", pair.redis.port())).unwrap();
    stream.write_all(b"SUBSCRIBE news\r\n").unwrap();
    let mut reader = BufReader::new(stream);
    let mut lines = |count: usize| -> Vec<u8> {
        let mut read = Vec::new();
        for _ in 0..count {
            reader.read_until(b'\n', &mut read).unwrap();
        }
        read
    };
    lines(6);
    let client = pair.server.tenant("redis-publish");
    assert_eq!(steps(&client, &[json!({"do": "publish", "channel": "news", "payload": [0, 255]})]), json!([null]));
    assert_eq!(lines(7), b"*3\r\n$7\r\nmessage\r\n$4\r\nnews\r\n$2\r\n\x00\xff\r\n");
}

#[test]
fn only_servers_of_the_manifest_are_reached() {
    let pair = shared();
    let client = pair.server.tenant("redis-elsewhere");
    let elsewhere = TcpListener::bind("127.0.0.1:0").unwrap();
    elsewhere.set_nonblocking(true).unwrap();
    let (port, other) = (pair.redis.port(), elsewhere.local_addr().unwrap().port());
    for address in [
        format!("redis://127.0.0.1:{other}"),
        format!("redis://127.0.0.1:{other}/127.0.0.1:{port}"),
        format!("redis://127.0.0.1:{port}@127.0.0.1:{other}"),
        format!("redis://127.0.0.2:{port}"),
        format!("redis://[::1]:{other}"),
        format!("rediss://127.0.0.1:{port}"),
        format!("rediss://localhost:{other}"),
        format!("http://127.0.0.1:{port}"),
        "redis://127.0.0.1".to_owned(),
        "unix:///run/redis.sock".to_owned(),
        String::new(),
    ] {
        assert_eq!(say(&client, &json!({"address": address})), json!({"error": "Error::InvalidAddress"}), "{address}");
    }
    assert!(elsewhere.accept().is_err(), "somebody connected");
    // The log says which, and no password.
    let secret = format!("redis://ann:s3cret@127.0.0.1:{other}");
    assert_eq!(say(&client, &json!({"address": secret})), json!({"error": "Error::InvalidAddress"}));
    let log = pair.server.log();
    assert!(log.contains("not among allowed_outbound_hosts") && log.contains(&other.to_string()), "{log}");
    assert!(!log.contains("s3cret"), "{log}");
}

#[test]
fn a_server_that_is_gone_or_silent_is_an_error_in_time() {
    let client = shared().server.tenant("redis-gone");
    let mut redis = Process::redis(Kind::Valkey, &[]);
    let address = format!("redis://localhost:{}", redis.port());
    let get = json!({"do": "get", "key": "k"});
    let asked = json!({"address": address, "steps": [
        {"do": "set", "key": "k", "value": [1]}, {"do": "pause", "ms": 1500}, get, get
    ]});
    let answers = thread::scope(|scope| {
        let asked = scope.spawn(|| say(&client, &asked));
        thread::sleep(Duration::from_millis(500));
        redis.stop();
        asked.join().unwrap()
    });
    assert_eq!((&answers[0], &answers[1]), (&Value::Null, &Value::Null));
    for answer in [&answers[2], &answers[3], &say(&client, &json!({"address": address}))] {
        assert!(answer["error"].as_str().unwrap().starts_with("Error::Other"), "{answer}");
    }
    redis.restart();
    assert_eq!(say(&client, &json!({"address": address, "steps": [get]})), json!([null]));
    // One that takes connections and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("redis://localhost:{}", silent.local_addr().unwrap().port());
    let start = Instant::now();
    let answer = say(&client, &json!({"address": address}));
    assert!(answer["error"].as_str().unwrap().contains("no answer within"), "{answer}");
    let after = limits::REDIS_TIMEOUT..limits::REDIS_TIMEOUT + Duration::from_secs(2);
    assert!(after.contains(&start.elapsed()), "{:?}", start.elapsed());
}

#[test]
fn limits_hold() {
    let pair = shared();
    let client = pair.server.tenant("redis-limits");
    let address = format!("redis://127.0.0.1:{}", pair.redis.port());
    // Connections of one instance; they end with the request, since nothing keeps them.
    let open = |connections: usize| {
        let get = json!({"do": "get", "key": "limits:nothing"});
        say(&client, &json!({"address": address, "connections": connections, "steps": [get]}))
    };
    for _ in 0..2 {
        assert_eq!(open(limits::INSTANCE_REDIS_CONNECTIONS), json!([null]));
        assert_eq!(open(limits::INSTANCE_REDIS_CONNECTIONS + 1), json!({"error": "Error::TooManyConnections"}));
    }
    // Bytes of a command, and of a reply.
    let fill = |bytes: usize, times: usize| {
        let fill = json!({"do": "fill", "key": "limits:k", "bytes": bytes, "times": times});
        steps(&client, &[fill])[0].as_array().unwrap().clone()
    };
    let nearly = limits::REDIS_REQUEST_BYTES - 100;
    assert_eq!(fill(nearly, 1), [Value::Null]);
    assert_eq!(steps(&client, &[json!({"do": "length", "key": "limits:k"})]), json!([nearly]));
    let refused = &fill(limits::REDIS_REQUEST_BYTES, 1)[0];
    assert!(refused["error"].as_str().unwrap().contains(&limits::REDIS_REQUEST_BYTES.to_string()), "{refused}");
    let grown = steps(
        &client,
        &[execute("APPEND", &json!(["limits:k", "x".repeat(200)])), json!({"do": "length", "key": "limits:k"})],
    );
    assert!(grown[1]["error"].as_str().unwrap().contains("longer than"), "{grown}");
    // Bytes of calls that are under way at once: more than fit are refused, the others made.
    let times = limits::INSTANCE_REDIS_BYTES / nearly + 2;
    let answers = fill(nearly, times);
    let (made, refused): (Vec<_>, Vec<_>) = answers.iter().partition(|answer| answer.is_null());
    assert_eq!(made.len(), limits::INSTANCE_REDIS_BYTES / nearly, "{answers:?}");
    assert!(refused[0]["error"].as_str().unwrap().contains(&limits::INSTANCE_REDIS_BYTES.to_string()), "{answers:?}");
    // And room is given back.
    assert_eq!(fill(nearly, 1), [Value::Null]);
    steps(&client, &[json!({"do": "del", "keys": ["limits:k"]})]);
}
