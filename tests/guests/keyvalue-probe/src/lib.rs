//! An endpoint that opens a bucket of `wasi:keyvalue`, takes the steps of its request on
//! it, and answers with what came of each. Bytes are lists of numbers, so that they need
//! not be text. Handles of compare-and-swap stay until the end of the request and are
//! named by their place.
//!
//! ```json
//! {"bucket": "default", "steps": [
//!   {"do": "increment", "key": "n", "delta": 2},
//!   {"do": "look", "key": "n"},
//!   {"do": "swap", "cas": 0, "value": [51]}
//! ]}
//! ```

use serde::Deserialize;
use serde_json::{Value, json};
use spin_sdk::http::{self, BoxBody, FullBody, Request, Response, body::IncomingBodyExt, box_body};

use self::bindings::wasi::keyvalue::{
    atomics::{self, Cas, CasError},
    batch,
    store::{self, Bucket, Error},
};

/// As a component has them that is written with nothing but the WIT.
mod bindings {
    #![allow(missing_docs, unsafe_code, unused_qualifications, reason = "generated")]
    #![allow(clippy::all, clippy::allow_attributes_without_reason, reason = "generated")]
    #![allow(clippy::indexing_slicing, clippy::unwrap_used, clippy::panic, reason = "generated")]

    wit_bindgen::generate!({
        path: "../../../wit/deps/wasi-keyvalue@0.2.0-draft2",
        world: "wasi:keyvalue/imports",
        generate_all,
    });
}

#[derive(Debug, Deserialize)]
struct Ask {
    bucket: String,
    #[serde(default)]
    steps: Vec<Step>,
}

#[derive(Debug, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case")]
enum Step {
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
    /// Sets a key to so many bytes.
    Fill {
        key: String,
        bytes: usize,
    },
    Delete {
        key: String,
    },
    Exists {
        key: String,
    },
    ListKeys {
        cursor: Option<String>,
    },
    Increment {
        key: String,
        delta: i64,
    },
    /// Makes a handle; its place.
    Look {
        key: String,
    },
    Current {
        cas: usize,
    },
    /// Nothing, or the place of the handle that comes instead.
    Swap {
        cas: usize,
        value: Vec<u8>,
    },
    /// Adds a byte to a value, again until nobody else changed it meanwhile.
    Append {
        key: String,
        byte: u8,
    },
    GetMany {
        keys: Vec<String>,
    },
    SetMany {
        pairs: Vec<(String, Vec<u8>)>,
    },
    DeleteMany {
        keys: Vec<String>,
    },
}

/// The component's entry.
#[cfg_attr(target_arch = "wasm32", spin_sdk::http_service)]
pub async fn handle(request: Request) -> Result<Response<BoxBody>, http::Error> {
    let body = request.into_body().bytes().await?;
    let answer = match serde_json::from_slice(&body) {
        Ok(ask) => answer(ask).unwrap_or_else(failed),
        Err(error) => json!({"error": error.to_string()}),
    };
    Ok(Response::new(box_body(FullBody::new(answer.to_string().into()))))
}

fn failed(error: Error) -> Value {
    json!({"error": format!("{error:?}")})
}

fn answer(ask: Ask) -> Result<Value, Error> {
    let bucket = store::open(&ask.bucket)?;
    let mut handles = Vec::new();
    let steps = ask.steps.into_iter().map(|step| take(&bucket, &mut handles, step).unwrap_or_else(failed));
    Ok(steps.collect())
}

fn take(bucket: &Bucket, handles: &mut Vec<Option<Cas>>, step: Step) -> Result<Value, Error> {
    Ok(match step {
        Step::Get { key } => json!(bucket.get(&key)?),
        Step::Length { key } => json!(bucket.get(&key)?.map(|value| value.len())),
        Step::Set { key, value } => json!(bucket.set(&key, &value)?),
        Step::Fill { key, bytes } => json!(bucket.set(&key, &vec![b'x'; bytes])?),
        Step::Delete { key } => json!(bucket.delete(&key)?),
        Step::Exists { key } => json!(bucket.exists(&key)?),
        Step::ListKeys { cursor } => {
            let page = bucket.list_keys(cursor.as_deref())?;
            json!({"keys": page.keys, "cursor": page.cursor})
        }
        Step::Increment { key, delta } => json!(atomics::increment(bucket, &key, delta)?),
        Step::Look { key } => {
            handles.push(Some(Cas::new(bucket, &key)?));
            json!({"cas": handles.len() - 1})
        }
        Step::Current { cas } => match handles.get(cas) {
            Some(Some(cas)) => json!(cas.current()?),
            _ => json!({"error": "no such handle"}),
        },
        Step::Swap { cas, value } => {
            match handles.get_mut(cas).and_then(Option::take).map(|cas| atomics::swap(cas, &value)) {
                Some(Ok(())) => Value::Null,
                Some(Err(CasError::CasFailed(again))) => {
                    handles.push(Some(again));
                    json!({"cas": handles.len() - 1})
                }
                Some(Err(CasError::StoreError(error))) => return Err(error),
                None => json!({"error": "no such handle"}),
            }
        }
        Step::Append { key, byte } => {
            let mut cas = Cas::new(bucket, &key)?;
            loop {
                let mut value = cas.current()?.unwrap_or_default();
                value.push(byte);
                match atomics::swap(cas, &value) {
                    Ok(()) => break Value::Null,
                    Err(CasError::CasFailed(again)) => cas = again,
                    Err(CasError::StoreError(error)) => return Err(error),
                }
            }
        }
        Step::GetMany { keys } => json!(batch::get_many(bucket, &keys)?),
        Step::SetMany { pairs } => json!(batch::set_many(bucket, &pairs)?),
        Step::DeleteMany { keys } => json!(batch::delete_many(bucket, &keys)?),
    })
}
