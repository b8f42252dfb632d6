//! Stands in front of a server and counts what is written: so many writes get through,
//! the next one finds the process dead, or waits.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use bson::Document;
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
}

pub struct Gate {
    pub url: String,
    state: Arc<Mutex<State>>,
    /// How many have come that wait.
    came: watch::Sender<usize>,
    open: watch::Sender<bool>,
    accepts: JoinHandle<()>,
}

impl Gate {
    /// Everything gets through, until it is told otherwise.
    pub async fn new(url: &str) -> Self {
        let to = url.trim_start_matches("mongodb://").trim_end_matches('/').to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("mongodb://{}/?directConnection=true", listener.local_addr().unwrap());
        let state = Arc::new(Mutex::new(State { left: usize::MAX, then: Then::Dies, is_dead: false }));
        let (came, open) = (watch::Sender::new(0), watch::Sender::new(false));
        let (all, arrivals, opened) = (state.clone(), came.clone(), open.clone());
        let accepts = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = TcpStream::connect(&to).await.unwrap();
                tokio::spawn(serve(client, server, all.clone(), arrivals.clone(), opened.subscribe()));
            }
        });
        Self { url, state, came, open, accepts }
    }

    /// So many writes get through from now on.
    pub fn set(&self, left: usize, then: Then) {
        let mut state = self.state.lock().unwrap();
        (state.left, state.then) = (left, then);
    }

    /// When the first write waits, and those that got through beside it are done: some
    /// servers test and change apart.
    pub async fn is_waited_at(&self) {
        self.came.subscribe().wait_for(|came| *came > 0).await.unwrap();
        tokio::time::sleep(Duration::from_millis(300)).await;
    }

    /// Lets through what waits, and everything after.
    pub fn open(&self) {
        self.set(usize::MAX, Then::Dies);
        self.open.send_replace(true);
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

async fn serve(
    mut client: TcpStream,
    mut server: TcpStream,
    state: Arc<Mutex<State>>,
    came: watch::Sender<usize>,
    mut open: watch::Receiver<bool>,
) {
    use tokio::io::AsyncWriteExt;
    while let Some(question) = message(&mut client).await {
        match pass(&state, body(&question).as_ref()) {
            Some(true) => {}
            Some(false) => {
                came.send_modify(|came| *came += 1);
                open.wait_for(|open| *open).await.unwrap();
            }
            None => return,
        }
        if server.write_all(&question).await.is_err() {
            return;
        }
        let Some(answer) = message(&mut server).await else { return };
        // Who died after the server did it hears nothing of it.
        if state.lock().unwrap().is_dead || client.write_all(&answer).await.is_err() {
            return;
        }
    }
}
