//! A proxy that can lose its voice.

use std::sync::Arc;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, tcp},
    sync::watch,
    task::JoinHandle,
};

/// What happens to connections, old and new.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Nothing.
    None,
    /// Everything is taken and nothing passed on.
    Stall,
    /// They are closed.
    Cut,
}

pub struct Proxy {
    pub url: String,
    fault: Arc<watch::Sender<Fault>>,
    accepts: JoinHandle<()>,
}

impl Proxy {
    /// In front of a server at `url`.
    pub async fn new(url: &str) -> Self {
        let to = url.trim_start_matches("mongodb://").trim_end_matches('/').to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("mongodb://{}/", listener.local_addr().unwrap());
        let fault = Arc::new(watch::Sender::new(Fault::None));
        let faults = fault.clone();
        let accepts = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (to, faults) = (to.clone(), faults.subscribe());
                tokio::spawn(async move {
                    if *faults.borrow() == Fault::Cut {
                        return;
                    }
                    let Ok(server) = TcpStream::connect(&to).await else { return };
                    let ((client_read, client_write), (server_read, server_write)) =
                        (client.into_split(), server.into_split());
                    let there = pass(client_read, server_write, faults.clone());
                    let back = pass(server_read, client_write, faults);
                    tokio::select! { () = there => {}, () = back => {} }
                });
            }
        });
        Self { url, fault, accepts }
    }

    pub fn set(&self, fault: Fault) {
        self.fault.send_replace(fault);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepts.abort();
    }
}

async fn pass(mut from: tcp::OwnedReadHalf, mut to: tcp::OwnedWriteHalf, mut faults: watch::Receiver<Fault>) {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let read = tokio::select! {
            read = from.read(&mut buffer) => read,
            _ = faults.wait_for(|fault| *fault == Fault::Cut) => return,
        };
        let Ok(length @ 1..) = read else { return };
        if faults.wait_for(|fault| *fault != Fault::Stall).await.is_err() || *faults.borrow() == Fault::Cut {
            return;
        }
        if to.write_all(&buffer[..length]).await.is_err() {
            return;
        }
    }
}
