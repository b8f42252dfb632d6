//! `SIGTERM`: what is under way is finished, nothing new is taken, and nothing
//! is left behind.

use std::{
    io::{Read, Write},
    net::TcpStream,
    path::Path,
    time::Duration,
};

use funnelweb_core::limits;
use serde_json::{Value, json};

use crate::{
    fixtures::{all_pages, feed, item, settle},
    harness::{Server, eventually},
};

/// Items that an import writes at once.
const BATCH: usize = limits::INSERT_DOCUMENTS;
/// Items of the whole import.
const ALL: usize = BATCH + 3000;

/// Sends one chunk of a chunked body.
fn chunk(stream: &mut TcpStream, text: &str) {
    write!(stream, "{:x}\r\n{text}\r\n", text.len()).unwrap();
    stream.flush().unwrap();
}

fn open_import(server: &Server) -> TcpStream {
    let mut stream = TcpStream::connect(server.address()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let head = "POST /api/v1/items/feed HTTP/1.1\r\nHost: x\r\nX-Tenant-Id: drain\r\nX-Request-Id: slow\r\n\
                Authorization: Bearer x\r\nContent-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n";
    stream.write_all(head.as_bytes()).unwrap();
    stream
}

fn lines(from: usize, to: usize) -> String {
    (from..to).map(|at| format!("{}\n", item(&format!("i{at:05}"), "a", "t"))).collect()
}

#[test]
fn a_request_in_flight_finishes_and_no_new_one_begins() {
    let mut server = Server::start();
    let client = server.tenant("drain");
    feed(&client);
    // Its connection stays open, idle; it must not hold anything up.
    client.get("/api/v1/scenarios").expect(200);
    let mut stream = open_import(&server);
    chunk(&mut stream, &lines(0, BATCH + 1000));
    eventually("the import to be under way", Duration::from_secs(10), || {
        (client.get(&format!("/api/v1/items/feed/i{:05}", BATCH - 1)).send().status == 200).then_some(())
    });

    let (address, pid) = (server.address(), server.pid());
    server.signal_term();
    eventually("new connections to be refused", Duration::from_secs(5), || TcpStream::connect(address).err());
    assert!(Path::new(&format!("/proc/{pid}")).exists(), "it did not wait");

    chunk(&mut stream, &lines(BATCH + 1000, ALL));
    stream.write_all(b"0\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.contains(&format!("\"created\":{ALL}")), "{answer}");

    let status = server.wait();
    assert_eq!(status.code(), Some(0), "{}", server.log());
    assert!(!Path::new(&format!("/proc/{pid}")).exists());

    server.restart();
    let client = server.tenant("drain");
    assert_eq!(all_pages(&client, "/api/v1/items/feed?limit=1000", "items").len(), ALL);
    assert_eq!(server.sigterm().code(), Some(0));
}

#[test]
fn everything_is_there_after_an_orderly_end() {
    let mut server = Server::start();
    let client = server.tenant("orderly");
    feed(&client);
    client.post("/api/v1/items/feed", &item("i1", "a", "t")).expect(201);
    let event = json!({"scenario_id": "feed", "item_id": "i1", "action_type": "like"});
    client.post("/api/v1/behaviors", &event).expect(202);
    settle(&client);
    let body = json!({"scenario_id": "feed"});
    let before: Vec<Value> = vec![
        client.get("/api/v1/scenarios/feed").expect(200).json(),
        client.get("/api/v1/items/feed/i1").expect(200).json(),
        client.get("/api/v1/profiles/feed/ann").expect(200).json(),
        client.get("/api/v1/behaviors?user_id=ann").expect(200).json(),
        client.post("/api/v1/recommend", &body).header("x-request-id", "r").expect(200).json(),
    ];
    assert_eq!(server.sigterm().code(), Some(0));
    let took = server.restart();
    assert!(took < Duration::from_secs(2), "{took:?}");
    let client = server.tenant("orderly");
    let after: Vec<Value> = vec![
        client.get("/api/v1/scenarios/feed").expect(200).json(),
        client.get("/api/v1/items/feed/i1").expect(200).json(),
        client.get("/api/v1/profiles/feed/ann").expect(200).json(),
        client.get("/api/v1/behaviors?user_id=ann").expect(200).json(),
        client.post("/api/v1/recommend", &body).header("x-request-id", "r").expect(200).json(),
    ];
    assert_eq!(before, after);
}

#[test]
fn an_idle_server_ends_at_once() {
    let mut server = Server::start();
    server.tenant("idle").get("/healthz").expect(200);
    let begin = std::time::Instant::now();
    assert_eq!(server.sigterm().code(), Some(0));
    assert!(begin.elapsed() < Duration::from_secs(3), "{:?}", begin.elapsed());
}

#[test]
fn an_idle_instance_that_ends_with_the_process_is_no_failure() {
    let mut server = Server::start();
    let client = server.tenant("quiet");
    feed(&client);
    client.get("/api/v1/scenarios/feed").expect(200);
    assert_eq!(server.sigterm().code(), Some(0));
    let log = server.log();
    assert!(log.contains("draining") && !log.contains("ERROR") && !log.contains("panicked"), "{log}");
}
