//! A stand-in for the product's server: std only, one thread, HTTP/1.1, and
//! faults on demand.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex},
    time::Duration,
};

use funnelweb_import::{Client, Retry};
use serde_json::{Value, json};

/// What the server does with a request instead of answering it.
#[derive(Clone, Copy, PartialEq)]
pub enum Fault {
    /// Answers 503 and takes nothing.
    Busy,
    /// Takes everything and cuts the connection off before the answer.
    CutOff,
    /// Answers 404, as for a scenario that is not there.
    NotFound,
}

/// What the server has seen.
#[derive(Default)]
pub struct Seen {
    /// The next requests' faults; None answers properly.
    pub faults: VecDeque<Option<Fault>>,
    /// Method, path, headers in lower case, lines of the body.
    pub requests: Vec<(String, String, BTreeMap<String, String>, usize)>,
    pub items: BTreeMap<String, Value>,
    pub events: BTreeMap<String, Value>,
    /// The next answers to requests about jobs.
    pub scripted: VecDeque<(u16, Value)>,
    /// Item ids and event ids to refuse.
    pub refused: BTreeSet<String>,
}

pub struct Server {
    pub url: String,
    pub seen: Arc<Mutex<Seen>>,
}

impl Server {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let seen: Arc<Mutex<Seen>> = Arc::default();
        let shared = seen.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                serve(stream.unwrap(), &shared);
            }
        });
        Self { url, seen }
    }

    pub fn client(&self) -> Client {
        let pause = Duration::from_millis(1);
        let retry = Retry { attempts: 4, first_pause: pause, longest_pause: pause };
        Client::new(&self.url, "shop").unwrap().with_token("secret").unwrap().with_retry(retry)
    }

    pub fn faults(&self, faults: &[Option<Fault>]) {
        self.seen.lock().unwrap().faults = faults.iter().copied().collect();
    }

    /// Lines of each request, in order.
    pub fn sizes(&self) -> Vec<usize> {
        self.seen.lock().unwrap().requests.iter().map(|(_, _, _, lines)| *lines).collect()
    }

    pub fn items(&self) -> BTreeMap<String, Value> {
        self.seen.lock().unwrap().items.clone()
    }

    pub fn events(&self) -> Vec<Value> {
        let mut events: Vec<Value> = self.seen.lock().unwrap().events.values().cloned().collect();
        events.sort_by_key(|event| event.to_string());
        events
    }
}

fn serve(stream: TcpStream, seen: &Mutex<Seen>) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut writer = stream;
    loop {
        let mut first = String::new();
        if reader.read_line(&mut first).unwrap_or(0) == 0 {
            return;
        }
        let mut words = first.split_whitespace().map(str::to_owned);
        let (method, path) = (words.next().unwrap(), words.next().unwrap());
        let mut headers = BTreeMap::new();
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).unwrap();
            let Some((name, value)) = line.trim().split_once(':') else { break };
            headers.insert(name.to_lowercase(), value.trim().to_owned());
        }
        let mut body = vec![0; headers["content-length"].parse().unwrap()];
        reader.read_exact(&mut body).unwrap();
        let mut seen = seen.lock().unwrap();
        let lines = body.iter().filter(|byte| **byte == b'\n').count();
        seen.requests.push((method, path.clone(), headers, lines));
        let (status, answer) = match seen.faults.pop_front().flatten() {
            Some(Fault::Busy) => (503, json!({"error": {"code": "overloaded", "message": "later", "request_id": "r"}})),
            Some(Fault::NotFound) => {
                let error = json!({"code": "scenario_not_found", "message": "no scenario `x`", "request_id": "r"});
                (404, json!({"error": error}))
            }
            Some(Fault::CutOff) => {
                take(&mut seen, &path, &body);
                return;
            }
            None if path.starts_with("/api/v1/jobs") => seen.scripted.pop_front().unwrap(),
            None => (200, take(&mut seen, &path, &body)),
        };
        let answer = answer.to_string();
        write!(writer, "HTTP/1.1 {status} X\r\ncontent-length: {}\r\n\r\n{answer}", answer.len()).unwrap();
    }
}

fn take(seen: &mut Seen, path: &str, body: &[u8]) -> Value {
    if path.starts_with("/api/v1/scenarios") || path.starts_with("/api/v1/recommend") {
        return json!({"items": []});
    }
    let items = path.starts_with("/api/v1/items/");
    let (id_name, fresh_name, known_name) =
        if items { ("item_id", "created", "replaced") } else { ("event_id", "accepted", "duplicates") };
    let (mut fresh, mut known, mut errors) = (0, 0, Vec::new());
    let text = std::str::from_utf8(body).unwrap();
    for (at, line) in text.lines().enumerate() {
        let value: Value = serde_json::from_str(line).unwrap();
        let id = value[id_name].as_str().unwrap().to_owned();
        if seen.refused.contains(&id) {
            errors.push(json!({"line": at + 1, "code": "invalid_field", "field": id_name, "message": "refused"}));
            continue;
        }
        let map = if items { &mut seen.items } else { &mut seen.events };
        match map.insert(id, value) {
            None => fresh += 1,
            Some(_) => known += 1,
        }
    }
    json!({
        "lines": text.lines().count(), fresh_name: fresh, known_name: known,
        "failed": errors.len(), "errors": errors, "errors_truncated": false,
    })
}
