//! Requests of one tenant for some time.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::{Duration, Instant},
};

use crate::http::Connection;

/// One request, again and again, for one user after the other.
#[derive(Clone, Copy)]
pub struct Traffic<'a> {
    pub address: SocketAddr,
    pub tenant: &'static str,
    pub method: &'static str,
    pub path: &'a str,
    pub users: &'a [String],
    pub body: &'a [u8],
    pub connections: usize,
    /// Requests a second, sent when it is time for them if a connection is free. Without it
    /// each connection sends the next one when it has its answer.
    pub rate: Option<f64>,
}

/// What came of them.
#[derive(Debug, Clone, Default)]
pub struct Answers {
    /// Each from when it was to be sent.
    pub times: Vec<Duration>,
    pub statuses: BTreeMap<u16, usize>,
    /// Slates that a stage did not do its part of.
    pub degraded: usize,
}

impl Traffic<'_> {
    pub fn run(&self, time: Duration) -> Answers {
        let open = || Connection::open(self.address, self.tenant);
        let connections: Vec<_> = (0..self.connections).map(|_| open()).collect();
        let (next, start) = (AtomicUsize::new(0), Instant::now());
        thread::scope(|scope| {
            let of = |connection| scope.spawn(|| self.send(connection, &next, start, start + time));
            let threads: Vec<_> = connections.into_iter().map(of).collect();
            let mut all = Answers::default();
            threads.into_iter().for_each(|thread| all.join(thread.join().unwrap()));
            all
        })
    }

    fn send(&self, mut connection: Connection, next: &AtomicUsize, start: Instant, end: Instant) -> Answers {
        let mut answers = Answers::default();
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            let due = match self.rate {
                Some(rate) => start + Duration::from_secs_f64(at as f64 / rate),
                None => Instant::now(),
            };
            if due >= end {
                return answers;
            }
            thread::sleep(due.saturating_duration_since(Instant::now()));
            let (status, answer) =
                connection.exchange(self.method, self.path, &self.users[at % self.users.len()], self.body);
            answers.times.push(due.elapsed());
            *answers.statuses.entry(status).or_default() += 1;
            answers.degraded += usize::from(is_degraded(answer));
        }
    }
}

/// Whether the list at the end of a slate has anything.
fn is_degraded(answer: &[u8]) -> bool {
    const LIST: &[u8] = b"\"degraded\":[";
    let list = answer.windows(LIST.len()).rposition(|window| window == LIST);
    list.is_some_and(|at| answer.get(at + LIST.len()) != Some(&b']'))
}

impl Answers {
    pub fn join(&mut self, other: Self) {
        self.times.extend(other.times);
        for (status, count) in other.statuses {
            *self.statuses.entry(status).or_default() += count;
        }
        self.degraded += other.degraded;
    }

    /// Those that do not have this status.
    pub fn without(&self, status: u16) -> usize {
        self.statuses.iter().filter(|(other, _)| **other != status).map(|(_, count)| count).sum()
    }
}
