//! An endpoint that connects to a Redis as often as its request says, takes the steps
//! of the request on the last connection, and answers with what came of each. Bytes
//! are lists of numbers, so that they need not be text.
//!
//! ```json
//! {"address": "redis://127.0.0.1", "steps": [
//!   {"do": "set", "key": "k", "value": [0, 255]},
//!   {"do": "execute", "command": "APPEND", "arguments": ["k", 7]}
//! ]}
//! ```

use std::time::Duration;

use futures::future::join_all;
use serde::Deserialize;
use serde_json::{Value, json};
use spin_sdk::{
    http::{self, BoxBody, FullBody, Request, Response, body::IncomingBodyExt, box_body},
    redis::{Connection, Error, RedisParameter, RedisResult},
    time::sleep,
};

#[derive(Debug, Deserialize)]
struct Ask {
    address: String,
    #[serde(default = "one")]
    connections: usize,
    #[serde(default)]
    steps: Vec<Step>,
}

fn one() -> usize {
    1
}

#[derive(Debug, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case")]
enum Step {
    Publish {
        channel: String,
        payload: Vec<u8>,
    },
    Get {
        key: String,
    },
    /// The length of a value alone.
    Length {
        key: String,
    },
    Set {
        key: String,
        value: Vec<u8>,
    },
    /// Sets a key to so many bytes, so many times at once.
    Fill {
        key: String,
        bytes: usize,
        times: usize,
    },
    Incr {
        key: String,
    },
    Del {
        keys: Vec<String>,
    },
    Sadd {
        key: String,
        values: Vec<String>,
    },
    Smembers {
        key: String,
    },
    Srem {
        key: String,
        values: Vec<String>,
    },
    Execute {
        command: String,
        arguments: Vec<Argument>,
    },
    Pause {
        ms: u64,
    },
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Argument {
    Number(i64),
    Text(String),
    Bytes(Vec<u8>),
}

/// The component's entry.
#[cfg_attr(target_arch = "wasm32", spin_sdk::http_service)]
pub async fn handle(request: Request) -> Result<Response<BoxBody>, http::Error> {
    let body = request.into_body().bytes().await?;
    let answer = match serde_json::from_slice(&body) {
        Ok(ask) => answer(ask).await.unwrap_or_else(failed),
        Err(error) => json!({"error": error.to_string()}),
    };
    Ok(Response::new(box_body(FullBody::new(answer.to_string().into()))))
}

fn failed(error: Error) -> Value {
    json!({"error": format!("{error:?}")})
}

async fn answer(ask: Ask) -> Result<Value, Error> {
    let mut open = Vec::new();
    for _ in 0..ask.connections {
        open.push(Connection::open(&ask.address).await?);
    }
    let mut answers = Vec::new();
    for step in ask.steps {
        let Some(connection) = open.last() else { break };
        answers.push(take(connection, step).await.unwrap_or_else(failed));
    }
    Ok(json!(answers))
}

async fn take(connection: &Connection, step: Step) -> Result<Value, Error> {
    Ok(match step {
        Step::Publish { channel, payload } => json!(connection.publish(channel, payload).await?),
        Step::Get { key } => json!(connection.get(key).await?),
        Step::Length { key } => json!(connection.get(key).await?.map(|value| value.len())),
        Step::Set { key, value } => json!(connection.set(key, value).await?),
        Step::Fill { key, bytes, times } => {
            let value = vec![b'x'; bytes];
            let sets = join_all((0..times).map(|_| connection.set(&key, &value))).await;
            json!(sets.into_iter().map(|set| set.map_or_else(failed, |()| Value::Null)).collect::<Vec<_>>())
        }
        Step::Incr { key } => json!(connection.incr(key).await?),
        Step::Del { keys } => json!(connection.del(keys).await?),
        Step::Sadd { key, values } => json!(connection.sadd(key, values).await?),
        Step::Smembers { key } => json!(connection.smembers(key).await?),
        Step::Srem { key, values } => json!(connection.srem(key, values).await?),
        Step::Execute { command, arguments } => {
            let arguments = arguments.into_iter().map(|argument| match argument {
                Argument::Number(number) => RedisParameter::Int64(number),
                Argument::Text(text) => RedisParameter::Binary(text.into_bytes()),
                Argument::Bytes(bytes) => RedisParameter::Binary(bytes),
            });
            let results = connection.execute(command, arguments).await?;
            json!(results.into_iter().map(result).collect::<Vec<_>>())
        }
        Step::Pause { ms } => {
            sleep(Duration::from_millis(ms)).await;
            Value::Null
        }
    })
}

fn result(result: RedisResult) -> Value {
    match result {
        RedisResult::Nil => Value::Null,
        RedisResult::Status(status) => json!({"status": status}),
        RedisResult::Int64(number) => json!(number),
        RedisResult::Binary(bytes) => json!({"bytes": bytes}),
    }
}
