//! An endpoint that does what the body of its request says, and answers with
//! what came of it. Written with `spin-sdk` alone, as a tenant would write one.
//!
//! ```json
//! {"do": "set", "store": "default", "key": "k", "text": "ab", "times": 2}
//! {"do": "fetch", "url": "http://127.0.0.1:8000/"}
//! ```
#![allow(clippy::panic, reason = "its purpose")]

use std::{
    collections::BTreeMap,
    fs, hint, process,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use futures::{SinkExt, future::join_all};
use serde::Deserialize;
use serde_json::{Value, json};
use spin_sdk::{
    http::{
        self, BoxBody, FullBody, HeaderMap, Request, Response,
        body::{IncomingBodyExt, stream},
        box_body,
    },
    key_value::{Error, Store},
    time::sleep,
    variables, wasip3,
};

#[derive(Debug, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case")]
enum Ask {
    /// Sets a key to a text so many times over.
    Set {
        store: String,
        key: String,
        text: String,
        times: usize,
    },
    /// The value's length, and its first characters.
    Get {
        store: String,
        key: String,
    },
    Delete {
        store: String,
        key: String,
    },
    Exists {
        store: String,
        key: String,
    },
    Keys {
        store: String,
    },
    /// Sets a key to so many bytes, so many times at once; the errors, if any.
    SetAtOnce {
        store: String,
        key: String,
        bytes: usize,
        times: usize,
    },
    /// Opens a store this many times and keeps all.
    Open {
        store: String,
        times: usize,
    },
    Variable {
        name: String,
    },
    Fetch {
        url: String,
    },
    Environment,
    /// What of the file system is there.
    Files,
    /// The request's headers.
    Headers,
    /// How often this instance was asked.
    Count,
    /// A response in pieces, with pauses between.
    Stream {
        pieces: usize,
        pause_ms: u64,
    },
    Panic,
    Trap,
    Exit,
    Loop,
    Sleep {
        ms: u64,
    },
    /// Panics after a first piece of its response.
    BreakOff,
    /// Takes memory until it is refused, and says how much it had.
    Grow,
    /// Takes memory and does not expect to be refused.
    Bomb,
    /// Random bytes in one call.
    Random {
        bytes: u64,
    },
    Recurse,
}

/// The component's entry.
#[cfg_attr(target_arch = "wasm32", spin_sdk::http_service)]
pub async fn handle(request: Request) -> Result<Response<BoxBody>, http::Error> {
    let (parts, body) = request.into_parts();
    let body = body.bytes().await?;
    match serde_json::from_slice(&body) {
        Ok(Ask::Stream { pieces, pause_ms }) => Ok(streamed(pieces, Duration::from_millis(pause_ms), false)),
        Ok(Ask::BreakOff) => Ok(streamed(1, Duration::ZERO, true)),
        Ok(ask) => Ok(reply(&answer(ask, &parts.headers).await)),
        Err(error) => Ok(reply(&json!({"error": error.to_string()}))),
    }
}

fn reply(value: &Value) -> Response<BoxBody> {
    Response::new(box_body(FullBody::new(value.to_string().into())))
}

async fn answer(ask: Ask, headers: &HeaderMap) -> Value {
    match ask {
        Ask::Set { .. }
        | Ask::Get { .. }
        | Ask::Delete { .. }
        | Ask::Exists { .. }
        | Ask::Keys { .. }
        | Ask::SetAtOnce { .. }
        | Ask::Open { .. } => key_value(ask).await.unwrap_or_else(|error| json!({"error": format!("{error:?}")})),
        Ask::Variable { name } => match variables::get(&name).await {
            Ok(value) => json!({"value": value}),
            Err(error) => json!({"error": format!("{error:?}")}),
        },
        Ask::Fetch { url } => match http::get(&url).await {
            Ok(response) => {
                let status = response.status().as_u16();
                let body = response.into_body().bytes().await.unwrap_or_default();
                json!({"status": status, "body": String::from_utf8_lossy(&body)})
            }
            Err(error) => json!({"error": format!("{error:?}")}),
        },
        Ask::Environment => json!(std::env::vars().collect::<BTreeMap<_, _>>()),
        Ask::Files => {
            let seen = ["/", ".", "/etc", "/tmp"].map(|path| fs::read_dir(path).map_or(0, Iterator::count));
            json!({"seen": seen.iter().sum::<usize>(), "wrote": fs::write("/tmp/probe", "x").is_ok()})
        }
        Ask::Headers => {
            let text = |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
            json!(headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect::<Vec<_>>())
        }
        Ask::Count => {
            static ASKED: AtomicU32 = AtomicU32::new(0);
            json!({"count": ASKED.fetch_add(1, Ordering::Relaxed) + 1})
        }
        Ask::Panic => panic!("the endpoint has had enough"),
        Ask::Trap => process::abort(),
        Ask::Exit => process::exit(0),
        Ask::Loop => loop {
            hint::spin_loop();
        },
        Ask::Sleep { ms } => {
            sleep(Duration::from_millis(ms)).await;
            json!({})
        }
        Ask::Grow => {
            let mut had: Vec<Vec<u8>> = Vec::new();
            loop {
                let mut more = Vec::new();
                if more.try_reserve_exact(1 << 20).is_err() {
                    break json!({"mib": had.len()});
                }
                more.push(1);
                had.push(hint::black_box(more));
            }
        }
        Ask::Bomb => {
            let mut had: Vec<u64> = Vec::new();
            loop {
                had.push(hint::black_box(1));
            }
        }
        Ask::Random { bytes } => json!({"bytes": wasip3::random::random::get_random_bytes(bytes).len()}),
        Ask::Recurse => json!({"sum": recurse(0)}),
        Ask::Stream { .. } | Ask::BreakOff => Value::Null,
    }
}

async fn key_value(ask: Ask) -> Result<Value, Error> {
    Ok(match ask {
        Ask::Set { store, key, text, times } => {
            Store::open(store).await?.set(key, text.repeat(times)).await?;
            json!({})
        }
        Ask::Get { store, key } => match Store::open(store).await?.get(key).await? {
            Some(value) => {
                let start: String = String::from_utf8_lossy(&value).chars().take(20).collect();
                json!({"bytes": value.len(), "start": start})
            }
            None => Value::Null,
        },
        Ask::Delete { store, key } => {
            Store::open(store).await?.delete(key).await?;
            json!({})
        }
        Ask::Exists { store, key } => json!(Store::open(store).await?.exists(key).await?),
        Ask::Keys { store } => json!(Store::open(store).await?.get_keys().await.collect().await?),
        Ask::SetAtOnce { store, key, bytes, times } => {
            let (store, value) = (Store::open(store).await?, vec![b'x'; bytes]);
            let sets = join_all((0..times).map(|_| store.set(&key, &value))).await;
            json!(sets.into_iter().filter_map(Result::err).map(|error| format!("{error:?}")).collect::<Vec<_>>())
        }
        Ask::Open { store, times } => {
            let mut open = Vec::new();
            for _ in 0..times {
                open.push(Store::open(&store).await?);
            }
            json!({"open": open.len()})
        }
        _ => Value::Null,
    })
}

/// `piece 1\n`, `piece 2\n`, …
fn streamed(pieces: usize, pause: Duration, breaks_off: bool) -> Response<BoxBody> {
    let (mut sender, body) = stream::<String>();
    wasip3::spawn(async move {
        for piece in 1..=pieces {
            if sender.send(format!("piece {piece}\n")).await.is_err() {
                return;
            }
            sleep(pause).await;
        }
        if breaks_off {
            sleep(Duration::from_millis(50)).await;
            panic!("in the middle of a response");
        }
    });
    Response::new(box_body(body))
}

#[allow(unconditional_recursion, reason = "its purpose")]
fn recurse(depth: u64) -> u64 {
    let frame = hint::black_box([depth; 16]);
    recurse(hint::black_box(depth + 1)).wrapping_add(frame.iter().sum())
}
