//! Who has the processors: clients and server of this bench, or others, whose work would be
//! taken for a tenant's.

use std::{
    fs,
    thread::{self, available_parallelism},
    time::{Duration, Instant},
};

use crate::{common, server::Server};

/// The share of the processors that others may have of a stretch that counts; interrupts are
/// among them.
pub const OTHERS: f64 = 0.1;

/// What the processors had done at a moment.
pub struct Moment {
    at: Instant,
    all: Duration,
    own: Duration,
}

impl Moment {
    pub fn now(server: &Server) -> Self {
        let stat = fs::read_to_string("/proc/stat").unwrap();
        // user, nice, system, idle, iowait, irq, softirq, steal: hundredths of a second of
        // all processors together.
        let ticks = |at: usize| stat.split_whitespace().nth(1 + at).unwrap().parse::<u64>().unwrap();
        let busy: u64 = [0, 1, 2, 5, 6, 7].map(ticks).iter().sum();
        let own = server.cpu() + common::cpu("self");
        Self { at: Instant::now(), all: Duration::from_millis(10 * busy), own }
    }

    /// The share of the processors that others had since then.
    pub fn others(&self, server: &Server) -> f64 {
        let now = Self::now(server);
        let others = (now.all - self.all).saturating_sub(now.own - self.own);
        let processors = available_parallelism().unwrap().get() as f64;
        others.div_duration_f64(now.at - self.at) / processors
    }
}

/// Waits until others leave the processors alone, so long at most.
pub fn wait(server: &Server, patience: Duration) {
    let end = Instant::now() + patience;
    while Instant::now() < end {
        let before = Moment::now(server);
        thread::sleep(Duration::from_millis(500));
        if before.others(server) < OTHERS / 2.0 {
            return;
        }
    }
}
