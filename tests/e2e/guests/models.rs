//! Models that do harm. The ranker component keeps its files from doing what these do, so
//! the hostile guest stands in its place: what it does when it is read, and when
//! it ranks, its manifest says.

use super::*;

/// A server whose models run in the hostile guest.
fn hostile_server() -> &'static Server {
    static SERVER: OnceLock<Server> = OnceLock::new();
    SERVER.get_or_init(|| server_with(&manifest().replace("/rank_onnx.wasm", "/hostile.wasm"), upstream()))
}

fn upload(client: &Client, manifest: &Value) -> Reply {
    let part = |name: &str, content: &str| {
        format!("--limit\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{content}\r\n")
    };
    let body = [part("manifest", &manifest.to_string()), part("model", "harm"), "--limit--\r\n".to_owned()].concat();
    let call = client.call("POST", "/api/v1/models?scenario_id=feed");
    call.body("multipart/form-data; boundary=limit", body).send()
}

/// What an upload is refused with.
fn refused(client: &Client, attack: &str) -> String {
    let reply = upload(client, &json!({"attack": attack}));
    reply.assert_status(&[422]);
    let error = reply.json()["error"].clone();
    assert_eq!((&error["code"], &error["field"]), (&json!("invalid_model"), &json!("onnx")), "{attack}: {error}");
    error["message"].as_str().unwrap().to_owned()
}

#[test]
fn what_a_model_does_while_it_is_read_is_its_refusal() {
    beside_a_neighbour_of(hostile_server(), "models-neighbour", |server| {
        let client = tenant(server, "models-read");
        upload(&client, &json!({})).assert_status(&[201]);
        let before = resident_bytes(server);
        for attack in ["trap", "panic", "exit", "recurse", "bomb", "complain"] {
            refused(&client, attack);
        }
        let most = limits::MODEL_MEMORY_BYTES >> 20;
        let had: usize = refused(&client, "grow").split(' ').nth(1).unwrap().parse().unwrap();
        assert!((most / 2..=most).contains(&had), "had {had} MiB of {most}");
        assert_eq!(refused(&client, "reach"), "reached: []");
        // One that does not end, and one that waits.
        for attack in ["loop", "sleep"] {
            let start = Instant::now();
            let said = refused(&client, attack);
            assert!(said.contains(&limits::MODEL_LOAD_TIMEOUT.as_millis().to_string()), "{said}");
            assert!(start.elapsed() < limits::MODEL_LOAD_TIMEOUT + Duration::from_secs(10), "{:?}", start.elapsed());
        }
        settles_below(server, before + (64 << 20));
        upload(&client, &json!({})).assert_status(&[201]);
    });
}

#[test]
fn a_tenant_s_uploads_wait_for_each_other_and_keep_no_other_waiting() {
    let server = hostile_server();
    let (many, one) = (tenant(server, "models-many"), tenant(server, "models-one"));
    let attack = json!({"attack": "slow"});
    thread::scope(|scope| {
        for _ in 0..2 * limits::MODEL_UPLOADS {
            scope.spawn(|| upload(&many, &attack).assert_status(&[201, 503]));
        }
        thread::sleep(Duration::from_millis(100));
        let start = Instant::now();
        upload(&one, &json!({})).assert_status(&[201]);
        // It waits for those under way, and not for all.
        assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
    });
}

#[test]
fn what_a_model_does_in_a_request_is_stood_in_for() {
    let server = hostile_server();
    let attack = |attack: &str| {
        // A scenario each: a version is what its files are.
        let client = tenant(server, &format!("models-rank-{attack}"));
        let linear = recommend(&client).items;
        upload(&client, &json!({"rank": attack})).assert_status(&[201]);
        client.call("POST", "/api/v1/models/harm/versions/v1/activate?scenario_id=feed").expect(200);
        put(&client, &scenario(|config| config["rank"] = json!({"model": "harm"})));
        // Who asks it alone is told that it is the model.
        let alone = client.post("/api/v1/models/harm:predict?scenario_id=feed", &json!({"rows": [{}]})).send();
        match attack {
            "none" => alone.assert_status(&[200]),
            // It may take its time to fill its memory.
            "bomb" => alone.assert_status(&[422, 504]),
            "loop" | "sleep" => assert_eq!((alone.status, alone.json_code().as_str()), (504, "timeout")),
            _ => assert_eq!((alone.status, alone.json_code().as_str()), (422, "invalid_model"), "{attack}"),
        }
        (linear, recommend(&client))
    };
    for name in ["trap", "panic", "exit", "loop", "recurse", "bomb", "sleep", "complain", "long", "short", "nan"] {
        let (linear, slate) = attack(name);
        assert_eq!(slate.items, linear, "{name}");
        assert_eq!(slate.degraded.len(), 1, "{name}: {:?}", slate.degraded);
        assert_eq!(slate.degraded[0].0, "harm");
        assert!(slate.elapsed < limits::STAGE_TIMEOUT + 2 * MARGIN, "{name}: {:?}", slate.elapsed);
    }
    assert_eq!(attack("none").1.degraded, [], "and one that does no harm ranks");
}
