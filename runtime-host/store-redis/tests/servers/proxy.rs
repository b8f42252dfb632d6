//! A proxy between us and a server, that fails as networks do.

use std::sync::Arc;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
    task::JoinHandle,
};

/// How it behaves.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Mode {
    Pass,
    /// Nothing gets through, and nobody is told.
    Stall,
    /// Connections end, new ones at once.
    Cut,
    /// The next reply gets half through, then its connection ends; the ones after
    /// pass.
    HalfAReply,
}

pub struct Proxy {
    pub port: u16,
    mode: Arc<watch::Sender<Mode>>,
    task: JoinHandle<()>,
}

impl Proxy {
    pub async fn before(server: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let mode = Arc::new(watch::Sender::new(Mode::Pass));
        let task = tokio::spawn(accept(listener, server, mode.clone()));
        Self { port, mode, task }
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    pub fn set(&self, mode: Mode) {
        self.mode.send_replace(mode);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
        self.mode.send_replace(Mode::Cut);
    }
}

async fn accept(listener: TcpListener, server: u16, mode: Arc<watch::Sender<Mode>>) {
    loop {
        let Ok((client, _)) = listener.accept().await else { return };
        if *mode.borrow() == Mode::Cut {
            continue;
        }
        let Ok(upstream) = TcpStream::connect(("127.0.0.1", server)).await else { continue };
        let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), upstream.into_split());
        let mode = mode.clone();
        tokio::spawn(async move {
            // Either end takes the other along.
            tokio::select! {
                () = pump(from_client, to_server, &mode, false) => {}
                () = pump(from_server, to_client, &mode, true) => {}
                () = cut(&mode) => {}
            }
        });
    }
}

async fn cut(mode: &watch::Sender<Mode>) {
    let _ = mode.subscribe().wait_for(|mode| *mode == Mode::Cut).await;
}

async fn pump(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mode: &watch::Sender<Mode>, replies: bool) {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let Ok(count @ 1..) = from.read(&mut buffer).await else { return };
        let _ = mode.subscribe().wait_for(|mode| *mode != Mode::Stall).await;
        if replies && *mode.borrow() == Mode::HalfAReply {
            mode.send_replace(Mode::Pass);
            let _ = to.write_all(&buffer[..count / 2]).await;
            return;
        }
        if to.write_all(&buffer[..count]).await.is_err() {
            return;
        }
    }
}
