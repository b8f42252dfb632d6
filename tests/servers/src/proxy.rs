//! A proxy between us and a server, that fails as networks do.

use std::{
    collections::HashMap,
    io::{Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

/// How it behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It does not: everything gets through.
    None,
    /// Nothing gets through, and nobody is told.
    Stall,
    /// Everything gets through, each piece so much later.
    Slow(Duration),
    /// Connections end, new ones at once.
    Cut,
    /// The next reply gets half through, then its connection ends; the ones after
    /// get through.
    HalfAReply,
}

/// Passes connections on to a server of this machine, until it is dropped.
#[derive(Debug)]
pub struct Proxy {
    port: u16,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    fault: Fault,
    ended: bool,
    /// Both ends of every connection.
    open: HashMap<u64, [TcpStream; 2]>,
    next: u64,
}

impl Proxy {
    /// Before the server at this port.
    #[must_use]
    pub fn before(server: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = State { fault: Fault::None, ended: false, open: HashMap::new(), next: 0 };
        let shared = Arc::new(Shared { state: Mutex::new(state), changed: Condvar::new() });
        let ours = Arc::clone(&shared);
        thread::spawn(move || {
            for client in listener.incoming() {
                if ours.lock().ended {
                    return;
                }
                // What cannot be connected is closed, and the client sees that.
                let _ = client.and_then(|client| ours.connect(client, server));
            }
        });
        Self { port, shared }
    }

    /// Where it listens, at 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// From now on, for connections old and new.
    pub fn set(&self, fault: Fault) {
        let mut state = self.shared.lock();
        state.fault = fault;
        if fault == Fault::Cut {
            for stream in state.open.drain().flat_map(|(_, ends)| ends) {
                let _ = stream.shutdown(Shutdown::Both);
            }
        }
        self.shared.changed.notify_all();
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.lock().ended = true;
        self.set(Fault::Cut);
        // It waits for a connection to see that it has ended.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn connect(self: &Arc<Self>, client: TcpStream, server: u16) -> std::io::Result<()> {
        if self.lock().fault == Fault::Cut {
            return Ok(());
        }
        let server = TcpStream::connect(("127.0.0.1", server))?;
        for stream in [&client, &server] {
            stream.set_nodelay(true)?;
        }
        let number = {
            let mut state = self.lock();
            // It may have been cut meanwhile.
            if state.fault == Fault::Cut {
                return Ok(());
            }
            state.next += 1;
            let number = state.next;
            state.open.insert(number, [client.try_clone()?, server.try_clone()?]);
            number
        };
        let (questions, answers) = ((client.try_clone()?, server.try_clone()?), (server, client));
        for (from, to, are_replies) in [(questions.0, questions.1, false), (answers.0, answers.1, true)] {
            let ours = Arc::clone(self);
            thread::spawn(move || {
                ours.pass(&from, &to, are_replies);
                // Either end takes the other along.
                for stream in [from, to] {
                    let _ = stream.shutdown(Shutdown::Both);
                }
                ours.lock().open.remove(&number);
            });
        }
        Ok(())
    }

    fn pass(&self, mut from: &TcpStream, mut to: &TcpStream, are_replies: bool) {
        let mut buffer = vec![0; 64 * 1024];
        while let Ok(count @ 1..) = from.read(&mut buffer) {
            let mut state = self.lock();
            while state.fault == Fault::Stall {
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
            let fault = state.fault;
            if are_replies && fault == Fault::HalfAReply {
                state.fault = Fault::None;
            }
            drop(state);
            let piece = buffer.get(..count).unwrap_or_default();
            let piece = match fault {
                Fault::HalfAReply if are_replies => piece.get(..count / 2).unwrap_or_default(),
                _ => piece,
            };
            if let Fault::Slow(delay) = fault {
                thread::sleep(delay);
            }
            if fault == Fault::Cut || to.write_all(piece).is_err() || piece.len() < count {
                return;
            }
        }
    }
}
