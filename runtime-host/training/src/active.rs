//! Who was there lately.

use funnelweb_core::{handles::HandleMap, id::handle, limits::HISTORY_EVENTS};

use crate::{
    context::{Context, Error, Target},
    follow::Phase,
};

/// A user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct User {
    pub(crate) handle: u64,
    pub(crate) id: String,
}

/// Walks the log for users with a behaviour in the scenario since then: the `most` who
/// were there last, by handle.
pub(crate) async fn users(
    context: &Context,
    target: &Target,
    since_ms: u64,
    most: usize,
    phase: &Phase,
) -> Result<Vec<User>, Error> {
    let mut active = Active::new(since_ms, most);
    let end = context.events.last_offset(&target.tenant).await?;
    let mut offset = 0;
    while offset <= end {
        phase.go_on(offset as f32 / end.max(1) as f32)?;
        let page = context.events.read(&target.tenant, offset, HISTORY_EVENTS).await?;
        let Some(last) = page.last().map(|stored| stored.offset) else { break };
        for event in page.iter().map(|stored| &stored.event) {
            if event.scenario_id == target.scenario_id {
                active.add(&event.user_id, event.timestamp_ms);
            }
        }
        offset = last + 1;
    }
    Ok(active.finish())
}

/// When users were there last, of no more than twice as many as are wanted.
struct Active {
    since_ms: u64,
    most: usize,
    users: HandleMap<(u64, String)>,
}

impl Active {
    fn new(since_ms: u64, most: usize) -> Self {
        Self { since_ms, most, users: HandleMap::default() }
    }

    fn add(&mut self, user_id: &str, at_ms: u64) {
        if at_ms < self.since_ms {
            return;
        }
        let (last_ms, _) = self.users.entry(handle(user_id)).or_insert_with(|| (at_ms, user_id.to_owned()));
        *last_ms = at_ms.max(*last_ms);
        if self.users.len() >= 2 * self.most.max(1) {
            self.prune();
        }
    }

    /// Leaves the `most` who were there last. Whoever is among those of the whole log is
    /// among those of any part of it that has their last behaviour.
    fn prune(&mut self) {
        if self.users.len() <= self.most {
            return;
        }
        let mut order: Vec<(u64, u64)> = self.users.iter().map(|(handle, (last_ms, _))| (*last_ms, *handle)).collect();
        let left_out = order.len() - self.most;
        let (_, first, _) = order.select_nth_unstable(left_out);
        let first = *first;
        self.users.retain(|handle, (last_ms, _)| (*last_ms, *handle) >= first);
    }

    fn finish(mut self) -> Vec<User> {
        self.prune();
        let mut users: Vec<User> = self.users.into_iter().map(|(handle, (_, id))| User { handle, id }).collect();
        users.sort_unstable_by_key(|user| user.handle);
        users
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn active(since_ms: u64, most: usize, events: &[(&str, u64)]) -> Vec<String> {
        let mut active = Active::new(since_ms, most);
        for (user, at_ms) in events {
            active.add(user, *at_ms);
            assert!(active.users.len() < 2 * most);
        }
        let users = active.finish();
        assert!(users.is_sorted_by(|one, other| one.handle < other.handle));
        let mut ids: Vec<String> = users.into_iter().map(|user| user.id).collect();
        ids.sort_unstable();
        ids
    }

    #[test]
    fn who_was_there_within_the_time_once_each() {
        let events = [("ann", 5), ("bob", 10), ("ann", 20), ("cid", 9), ("ann", 11)];
        assert_eq!(active(10, 9, &events), ["ann", "bob"]);
        assert_eq!(active(21, 9, &events), [""; 0]);
    }

    #[test]
    fn the_last_ones_whatever_the_order_of_the_log() {
        let mut events = [("a", 1), ("b", 2), ("c", 3), ("d", 4), ("e", 5), ("a", 6), ("b", 0), ("f", 2), ("g", 3)];
        assert_eq!(active(0, 3, &events), ["a", "d", "e"]);
        events.reverse();
        assert_eq!(active(0, 3, &events), ["a", "d", "e"]);
        assert_eq!(active(0, 1, &events), ["a"]);
    }
}
