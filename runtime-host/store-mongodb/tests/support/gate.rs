//! Stands in front of a server and counts what is written: so many writes get through,
//! the next one finds the process dead, or waits. Or an update is torn, as by a server that
//! reads and writes in separate steps.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use bson::{Document, doc};
use mongodb::{Client, Collection};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinHandle,
};

use super::translator::{body, message};

const WRITES: [&str; 4] = ["insert", "update", "delete", "findAndModify"];

/// What becomes of the writes after those that get through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Then {
    /// They, and everything after, do not: the process is dead.
    Dies,
    /// They wait until [`Gate::open`].
    Waits,
}

struct State {
    left: usize,
    then: Then,
    is_dead: bool,
    /// The collection whose next update is torn.
    tears: Option<&'static str>,
}

pub struct Gate {
    pub url: String,
    way: Way,
    accepts: JoinHandle<()>,
}

/// What all connections share.
#[derive(Clone)]
struct Way {
    state: Arc<Mutex<State>>,
    /// How many have come that wait.
    came: watch::Sender<usize>,
    open: watch::Sender<bool>,
    /// To the server, past the gate.
    past: Client,
}

impl Gate {
    /// Everything gets through, until it is told otherwise.
    pub async fn new(url: &str) -> Self {
        let to = url.trim_start_matches("mongodb://").trim_end_matches('/').to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let past = Client::with_uri_str(url).await.unwrap();
        let url = format!("mongodb://{}/?directConnection=true", listener.local_addr().unwrap());
        let state = State { left: usize::MAX, then: Then::Dies, is_dead: false, tears: None };
        let (came, open) = (watch::Sender::new(0), watch::Sender::new(false));
        let way = Way { state: Arc::new(Mutex::new(state)), came, open, past };
        let all = way.clone();
        let accepts = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = TcpStream::connect(&to).await.unwrap();
                tokio::spawn(all.clone().serve(client, server));
            }
        });
        Self { url, way, accepts }
    }

    /// So many writes get through from now on.
    pub fn set(&self, left: usize, then: Then) {
        let mut state = self.way.state.lock().unwrap();
        (state.left, state.then) = (left, then);
    }

    /// The next update of this collection is made of what it changes as that is when it comes,
    /// and written when it is opened.
    pub fn tear(&self, collection: &'static str) {
        self.way.state.lock().unwrap().tears = Some(collection);
    }

    /// When the first write waits, and those that got through beside it are done: some
    /// servers test and change apart.
    pub async fn is_waited_at(&self) {
        self.way.came.subscribe().wait_for(|came| *came > 0).await.unwrap();
        tokio::time::sleep(Duration::from_millis(300)).await;
    }

    /// When others had time to do what waits for nothing, lets through what waits.
    pub async fn opens_late(&self) {
        self.is_waited_at().await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        self.open();
    }

    /// Lets through what waits, and everything after.
    pub fn open(&self) {
        self.set(usize::MAX, Then::Dies);
        self.way.open.send_replace(true);
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.accepts.abort();
    }
}

/// Whether it gets through at once; none when the process is dead.
fn pass(state: &Mutex<State>, body: Option<&Document>) -> Option<bool> {
    let mut state = state.lock().unwrap();
    let is_write = body.and_then(|body| body.keys().next()).is_some_and(|name| WRITES.contains(&name.as_str()));
    if is_write && !state.is_dead {
        if state.left == 0 {
            state.is_dead = state.then == Then::Dies;
            return (!state.is_dead).then_some(false);
        }
        state.left -= 1;
    }
    (!state.is_dead).then_some(true)
}

impl Way {
    async fn waits(&self) {
        self.came.send_modify(|came| *came += 1);
        self.open.subscribe().wait_for(|open| *open).await.unwrap();
    }

    /// Tears an update, if it is to be.
    async fn tear(&self, body: &Document) {
        let Ok(name) = body.get_str("update") else { return };
        if self.state.lock().unwrap().tears.take_if(|tears| *tears == name).is_none() {
            return;
        }
        let all: Collection<Document> = self.past.database(body.get_str("$db").unwrap()).collection(name);
        let mut read = Vec::new();
        for update in body.get_array("updates").unwrap() {
            let id = update.as_document().unwrap().get_document("q").unwrap().get("_id").unwrap();
            read.push((id, all.find_one(doc! { "_id": id }).await.unwrap().unwrap()));
        }
        self.waits().await;
        // What it makes of this is what it would have written over the others' changes.
        for (id, read) in read {
            all.replace_one(doc! { "_id": id }, read).await.unwrap();
        }
    }

    async fn serve(self, mut client: TcpStream, mut server: TcpStream) {
        use tokio::io::AsyncWriteExt;
        while let Some(question) = message(&mut client).await {
            let body = body(&question);
            match pass(&self.state, body.as_ref()) {
                Some(true) => {}
                Some(false) => self.waits().await,
                None => return,
            }
            if let Some(body) = body {
                self.tear(&body).await;
            }
            if server.write_all(&question).await.is_err() {
                return;
            }
            let Some(answer) = message(&mut server).await else { return };
            // Who died after the server did it hears nothing of it.
            if self.state.lock().unwrap().is_dead || client.write_all(&answer).await.is_err() {
                return;
            }
        }
    }
}
