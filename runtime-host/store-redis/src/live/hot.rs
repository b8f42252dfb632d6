//! Hot lists in memory, as Redis has them.
//!
//! A list has an epoch and a revision. A reader that has the list of the same
//! epoch is sent what changed since its revision; the epoch changes when all
//! scores do. Scores are relative to a landmark, as in
//! [`funnelweb_factor_live::hot`].

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use funnelweb_core::{id, limits};
use funnelweb_factor_live::hot::HotList;
use funnelweb_tenant_store::{Tenant, lock};
use quick_cache::{Weighter, sync::Cache};
use redis::Value;

use crate::{
    command::{Command, HOT_READ, float, list, text},
    keys::beside,
};

/// How old a list may be: what other processes add is seen after so long.
pub(super) const AGE: Duration = Duration::from_secs(1);

/// How old one is that is read again when it costs no round trip of its own: it
/// stays fresh while a recommendation looks at it.
const AGING: Duration = Duration::from_millis(500);

type Name = (Tenant, Arc<str>);

/// A list and what it weighed when it was put into the cache.
#[derive(Clone)]
struct Kept {
    list: Arc<List>,
    bytes: usize,
}

#[derive(Clone)]
struct Bytes;

impl Weighter<Name, Kept> for Bytes {
    fn weight(&self, (tenant, scenario): &Name, kept: &Kept) -> u64 {
        (256 + tenant.as_str().len() + scenario.len() + kept.bytes) as u64
    }
}

/// Lists that were asked for, bounded in bytes.
pub(super) struct Lists {
    cache: Cache<Name, Kept, Bytes>,
}

impl Lists {
    pub(super) fn new() -> Self {
        // Rather few and large.
        let lists = usize::try_from(limits::LIVE_CACHE_BYTES / (64 * 1024)).unwrap_or(usize::MAX);
        Self { cache: Cache::with_weighter(lists, limits::LIVE_CACHE_BYTES, Bytes) }
    }

    /// The list, which is empty and not fresh when it is new here.
    pub(super) fn get(&self, tenant: &Tenant, scenario_id: &str) -> Arc<List> {
        let name = (tenant.clone(), scenario_id.into());
        let new = || Ok::<_, std::convert::Infallible>(Kept { list: Arc::default(), bytes: 0 });
        let Ok(kept) = self.cache.get_or_insert_with(&name, new);
        kept.list
    }

    /// The list if it is here.
    pub(super) fn peek(&self, tenant: &Tenant, scenario_id: &str) -> Option<Arc<List>> {
        self.cache.peek(&(tenant.clone(), scenario_id.into())).map(|kept| kept.list)
    }

    /// Has the cache know what the list weighs by now, if it is still the one there.
    pub(super) fn weigh(&self, tenant: &Tenant, scenario_id: &str, list: &Arc<List>) {
        let name = (tenant.clone(), scenario_id.into());
        let Some(kept) = self.cache.peek(&name) else { return };
        let bytes = list.with(|list| list.bytes());
        if Arc::ptr_eq(&kept.list, list) && bytes.abs_diff(kept.bytes) > kept.bytes / 2 {
            // Fails when it was evicted meanwhile.
            let _ = self.cache.replace(name, Kept { list: list.clone(), bytes }, true);
        }
    }
}

/// One hot list.
pub(super) struct List {
    state: Mutex<State>,
    /// Whose turn it is to read it: others wait, rather than read it as well.
    turn: Arc<tokio::sync::Mutex<()>>,
}

struct State {
    epoch: String,
    revision: u64,
    list: HotList,
    /// None when it is known to lack something.
    read_at: Option<Instant>,
    /// Changes of ours that are not in the list.
    missed: u64,
    /// How often it was read.
    reads: u64,
}

impl Default for List {
    fn default() -> Self {
        let state =
            State { epoch: String::new(), revision: 0, list: HotList::new(1), read_at: None, missed: 0, reads: 0 };
        Self { state: Mutex::new(state), turn: Arc::default() }
    }
}

/// What a list was like when it was asked for.
pub(super) struct Asked {
    at: Instant,
    missed: u64,
    reads: u64,
}

impl List {
    pub(super) fn turn(&self) -> &Arc<tokio::sync::Mutex<()>> {
        &self.turn
    }

    pub(super) fn is_fresh(&self) -> bool {
        lock(&self.state).read_at.is_some_and(|at| at.elapsed() < AGE)
    }

    pub(super) fn is_aging(&self) -> bool {
        lock(&self.state).read_at.is_none_or(|at| at.elapsed() > AGING)
    }

    pub(super) fn with<T>(&self, look: impl FnOnce(&HotList) -> T) -> T {
        look(&lock(&self.state).list)
    }

    /// Asks for what it lacks.
    pub(super) fn read(&self, key: &str) -> (Command, Asked) {
        let state = lock(&self.state);
        let call = HOT_READ.call(&[key, &beside(key, "decay"), &beside(key, "changes")]);
        let asked = Asked { at: Instant::now(), missed: state.missed, reads: state.reads };
        (call.arg(&state.epoch).arg(state.revision), asked)
    }

    /// Takes in the reply.
    pub(super) fn accept(&self, reply: Value, asked: Asked) {
        let mut fields = list(reply).into_iter();
        let mut next = || fields.next().unwrap_or(Value::Nil);
        let (epoch, revision) = (text(next()).unwrap_or_default(), float(next()) as u64);
        let (landmark_ms, half_life_s, newest_ms) = (float(next()) as u64, float(next()) as u32, float(next()) as u64);
        let all = matches!(next(), Value::Int(1)) || epoch.is_empty();
        let members = scores(list(next()));

        let mut state = lock(&self.state);
        if state.reads != asked.reads {
            // Somebody else's is newer.
            return;
        }
        state.reads += 1;
        // Else changes of ours have come in that the reply is too old for.
        if epoch != state.epoch || revision >= state.revision {
            if all {
                let members = members.into_iter().filter_map(|(handle, score)| Some((handle, score?)));
                state.list = HotList::kept(half_life_s.max(1), landmark_ms, newest_ms, members);
            } else {
                state.change(members, newest_ms);
            }
            (state.epoch, state.revision) = (epoch, revision);
        }
        state.read_at = (state.missed == asked.missed).then_some(asked.at);
    }

    /// Takes in the reply to a change of ours.
    pub(super) fn changed(&self, reply: Value) {
        let mut fields = list(reply).into_iter();
        let mut next = || fields.next().unwrap_or(Value::Nil);
        let (epoch, revision) = (text(next()).unwrap_or_default(), float(next()) as u64);
        let (_, _, newest_ms, members) = (next(), next(), float(next()) as u64, scores(list(next())));
        let mut state = lock(&self.state);
        let same = !epoch.is_empty() && epoch == state.epoch;
        if same && revision == state.revision + 1 {
            state.change(members, newest_ms);
            state.revision = revision;
        } else if !same || revision > state.revision {
            state.miss();
        }
    }

    /// It changed in a way that is not known.
    pub(super) fn miss(&self) {
        lock(&self.state).miss();
    }
}

impl State {
    fn miss(&mut self) {
        self.read_at = None;
        self.missed += 1;
    }

    fn change(&mut self, members: Vec<(u64, Option<f64>)>, newest_ms: u64) {
        for (handle, score) in members {
            match score {
                Some(score) => self.list.keep(handle, score, newest_ms),
                None => self.list.remove(handle),
            }
        }
    }
}

/// Items and their scores in turn; no score for one that is no member.
fn scores(values: Vec<Value>) -> Vec<(u64, Option<f64>)> {
    let mut scores = Vec::with_capacity(values.len() / 2);
    let mut values = values.into_iter();
    while let (Some(Value::BulkString(item)), Some(score)) = (values.next(), values.next()) {
        let Ok(item) = std::str::from_utf8(&item) else { continue };
        let gone = matches!(&score, Value::BulkString(text) if text.is_empty());
        scores.push((id::handle(item), (!gone).then(|| float(score))));
    }
    scores
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bulk(text: &str) -> Value {
        Value::BulkString(text.as_bytes().to_vec())
    }

    fn members(members: &[(&str, &str)]) -> Value {
        Value::Array(members.iter().flat_map(|(item, score)| [bulk(item), bulk(score)]).collect())
    }

    fn reply(epoch: &str, revision: u64, all: bool, changed: &[(&str, &str)]) -> Value {
        let revision = bulk(&revision.to_string());
        let [landmark, half_life, newest] = ["0", "1", "0"].map(bulk);
        let all = Value::Int(all.into());
        Value::Array(vec![bulk(epoch), revision, landmark, half_life, newest, all, members(changed)])
    }

    fn change(epoch: &str, revision: u64, changed: &[(&str, &str)]) -> Value {
        let revision = bulk(&revision.to_string());
        let [landmark, half_life, newest] = ["0", "1", "0"].map(bulk);
        Value::Array(vec![bulk(epoch), revision, landmark, half_life, newest, members(changed)])
    }

    fn score(list: &List, item: &str) -> f32 {
        list.with(|list| list.scores(&[id::handle(item)], 0)[0])
    }

    #[test]
    fn changes_of_ours_are_there_at_once_and_once() {
        let list = List::default();
        let (_, asked) = list.read("k");
        list.accept(reply("e", 3, true, &[("a", "1")]), asked);
        assert!(list.is_fresh());
        // One that is on its way meanwhile.
        let (_, late) = list.read("k");
        list.changed(change("e", 4, &[("a", "2")]));
        assert!(list.is_fresh());
        assert_eq!(score(&list, "a"), 2.0);
        list.accept(reply("e", 3, false, &[]), late);
        assert_eq!((score(&list, "a"), list.is_fresh()), (2.0, true));
        list.changed(change("e", 4, &[("a", "2")]));
        assert_eq!((score(&list, "a"), list.is_fresh()), (2.0, true));
    }

    #[test]
    fn a_change_that_does_not_follow_has_the_list_read_again() {
        let list = List::default();
        let (_, asked) = list.read("k");
        list.accept(reply("e", 3, true, &[("a", "1"), ("b", "1")]), asked);
        list.changed(change("e", 5, &[("a", "3")]));
        assert!(!list.is_fresh());
        let (_, asked) = list.read("k");
        // Another one comes before the reply: it may not be in it.
        list.changed(change("f", 6, &[("a", "4")]));
        list.accept(reply("e", 5, false, &[("a", "3"), ("b", "")]), asked);
        assert_eq!((score(&list, "a"), score(&list, "b"), list.is_fresh()), (3.0, 0.0, false));
        let (_, asked) = list.read("k");
        list.accept(reply("f", 6, true, &[("a", "4")]), asked);
        assert_eq!((score(&list, "a"), list.is_fresh()), (4.0, true));
        // It is deleted.
        let (_, asked) = list.read("k");
        list.accept(Value::Array(vec![]), asked);
        assert_eq!((score(&list, "a"), list.is_fresh()), (0.0, true));
    }

    #[test]
    fn a_reply_that_was_overtaken_changes_nothing() {
        let list = List::default();
        let (_, first) = list.read("k");
        let (_, second) = list.read("k");
        list.accept(reply("f", 9, true, &[("a", "9")]), second);
        list.accept(reply("e", 3, true, &[("a", "1")]), first);
        assert_eq!(score(&list, "a"), 9.0);
    }
}
