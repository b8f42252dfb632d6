//! Stands in front of FerretDB for a server with transactions, as far as the
//! protocol goes: it checks what the commands of a transaction must have, takes
//! out what FerretDB does not know, and answers commits itself. It undoes nothing.

use std::sync::{Arc, Mutex};

use bson::{Document, doc};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

const OP_MSG: i32 = 2013;
const HEADER_BYTES: usize = 16;
/// Of a message's flags and the kind of its first section.
const BODY_AT: usize = HEADER_BYTES + 5;

pub struct Translator {
    pub url: String,
    /// The commands of each transaction, as they came.
    pub seen: Arc<Mutex<Vec<String>>>,
    accepts: JoinHandle<()>,
}

impl Translator {
    pub async fn new(url: &str) -> Self {
        let to = url.trim_start_matches("mongodb://").trim_end_matches('/').to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("mongodb://{}/?directConnection=true", listener.local_addr().unwrap());
        let seen = Arc::<Mutex<Vec<String>>>::default();
        let all = seen.clone();
        let accepts = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (seen, server) = (all.clone(), TcpStream::connect(&to).await.unwrap());
                tokio::spawn(serve(client, server, seen));
            }
        });
        Self { url, seen, accepts }
    }
}

impl Drop for Translator {
    fn drop(&mut self) {
        self.accepts.abort();
    }
}

/// One question, one answer, until either side closes.
async fn serve(mut client: TcpStream, mut server: TcpStream, seen: Arc<Mutex<Vec<String>>>) {
    while let Some(question) = message(&mut client).await {
        let answer = match translate(question, &seen) {
            Ok(question) => {
                server.write_all(&question).await.unwrap();
                let Some(answer) = message(&mut server).await else { return };
                answer
            }
            Err(answer) => answer,
        };
        if client.write_all(&answer).await.is_err() {
            return;
        }
    }
}

pub async fn message(from: &mut TcpStream) -> Option<Vec<u8>> {
    let mut bytes = vec![0; 4];
    from.read_exact(&mut bytes).await.ok()?;
    let length = i32::from_le_bytes(bytes[..4].try_into().unwrap()) as usize;
    bytes.resize(length, 0);
    from.read_exact(&mut bytes[4..]).await.ok()?;
    Some(bytes)
}

/// What a message asks, if it asks in the protocol of today.
pub fn body(message: &[u8]) -> Option<Document> {
    let is_today = integer(message, 12) == OP_MSG && message[BODY_AT - 1] == 0;
    let body_end = || BODY_AT + integer(message, BODY_AT) as usize;
    is_today.then(|| Document::from_reader(&message[BODY_AT..body_end()]).unwrap())
}

fn integer(bytes: &[u8], at: usize) -> i32 {
    i32::from_le_bytes(bytes[at..at + 4].try_into().unwrap())
}

/// The message for the server, or an answer to it.
fn translate(message: Vec<u8>, seen: &Mutex<Vec<String>>) -> Result<Vec<u8>, Vec<u8>> {
    let Some(mut body) = body(&message) else { return Ok(message) };
    let body_end = BODY_AT + integer(&message, BODY_AT) as usize;
    let command = body.keys().next().unwrap().clone();
    if body.get_bool("autocommit").is_err() {
        return Ok(message);
    }
    assert!(body.contains_key("lsid") && body.contains_key("txnNumber"), "{body}");
    let begins = body.get_bool("startTransaction").is_ok();
    seen.lock().unwrap().push(if begins { format!("begin {command}") } else { command.clone() });
    if command == "commitTransaction" || command == "abortTransaction" {
        assert_eq!(body.get_document("writeConcern").unwrap(), &doc! { "w": "majority", "j": true });
        return Err(rebuild(&message, body_end, &doc! { "ok": 1.0 }, true));
    }
    assert!(!body.contains_key("writeConcern"), "a server refuses it in a transaction: {body}");
    for name in ["autocommit", "startTransaction", "readConcern"] {
        body.remove(name);
    }
    Ok(rebuild(&message, body_end, &body, false))
}

/// The message with another body; as an answer, without what follows it.
fn rebuild(message: &[u8], body_end: usize, body: &Document, is_answer: bool) -> Vec<u8> {
    let mut bytes = message[..BODY_AT].to_vec();
    bytes.extend(body.to_vec().unwrap());
    // A checksum, if there is one, is none of the driver's.
    if is_answer {
        let (to, answer) = (message[4..8].to_vec(), 1_i32.to_le_bytes());
        bytes[4..8].copy_from_slice(&answer);
        bytes[8..12].copy_from_slice(&to);
        bytes[HEADER_BYTES..HEADER_BYTES + 4].fill(0);
    } else {
        bytes.extend(&message[body_end..]);
    }
    let length = i32::try_from(bytes.len()).unwrap().to_le_bytes();
    bytes[..4].copy_from_slice(&length);
    bytes
}
