//! Work on several threads.

use std::{
    num::NonZero,
    panic::resume_unwind,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

/// Pieces of work that a thread takes at once.
const TAKEN: usize = 16;
/// For less it is not worth to start threads.
const LEAST: usize = 64;

/// What `work` gives for each of `0..count`, in no order. Each thread has one of
/// `own`, of which there is at least one.
pub(crate) fn each<S: Send, T: Send>(own: &mut [S], count: usize, work: impl Fn(&mut S, usize) -> T + Sync) -> Vec<T> {
    let taken = AtomicUsize::new(0);
    let run = |own: &mut S| {
        let mut done = Vec::new();
        loop {
            let first = taken.fetch_add(TAKEN, Ordering::Relaxed);
            if first >= count {
                return done;
            }
            done.extend((first..count.min(first + TAKEN)).map(|at| work(own, at)));
        }
    };
    let Some((first, rest)) = own.split_first_mut() else { return Vec::new() };
    if count < LEAST {
        return run(first);
    }
    thread::scope(|scope| {
        let others: Vec<_> = rest.iter_mut().map(|own| scope.spawn(|| run(own))).collect();
        let mut done = run(first);
        for other in others {
            done.extend(other.join().unwrap_or_else(|panic| resume_unwind(panic)));
        }
        done
    })
}

/// As many threads as the machine runs at once.
pub(crate) fn all_threads() -> usize {
    thread::available_parallelism().map_or(1, NonZero::get)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_piece_is_done_once() {
        for (threads, count) in [(1, 10), (3, 10), (3, 1000)] {
            let mut own = vec![0_usize; threads];
            let mut done = each(&mut own, count, |sum, at| {
                *sum += 1;
                at
            });
            done.sort_unstable();
            assert_eq!(done, (0..count).collect::<Vec<_>>());
            assert_eq!(own.iter().sum::<usize>(), count);
        }
    }
}
