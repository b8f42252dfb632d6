//! The effects of events: batches that are applied once.

use std::collections::{BTreeMap, HashMap};

use async_trait::async_trait;
use funnelweb_core::decay::factor;
use funnelweb_core::limits;
use funnelweb_factor_live::store::{CountAdd, Error, HotAdd, LiveEffects, Tenant};
use redis::{Value, cluster_routing::Slot};

use super::RedisLive;
use crate::{
    command::{COUNT, Command, HOT_ADD, number, text},
    keys::beside,
};

/// How long a batch is remembered as applied. An event log applies one again
/// after a failure, within seconds, or when it starts again after a crash.
const MARK_S: u32 = 3600;
/// Members at which a hot list is cut to [`limits::HOT_MEMBERS`]: readers then
/// read all of it, so it is not done each time.
const HOT_MEMBERS_HIGH: usize = limits::HOT_MEMBERS + limits::HOT_MEMBERS / 8;
/// Members whose last change is remembered. A reader that missed more of them
/// reads the whole list.
const HOT_CHANGES: usize = 20_000;
/// Half-lives past the landmark at which it moves; an `f64` holds 2^1023.
const REBASE_HALF_LIVES: u32 = 256;
/// Items whose counters one call changes: while it does, the server does nothing
/// else.
const COUNTED_ITEMS: usize = 128;

/// A key of counters, and what each of them gets.
type Counted = (String, BTreeMap<String, f64>);

impl RedisLive {
    /// One call per hot list, with its scenario.
    fn hot_calls(&self, tenant: &Tenant, batch: u128, hot: Vec<HotAdd>) -> Vec<(String, Command)> {
        let mut by_scenario: BTreeMap<String, Vec<HotAdd>> = BTreeMap::new();
        for add in hot {
            by_scenario.entry(add.scenario_id.clone()).or_default().push(add);
        }
        let epoch = format!("{batch:x}-{}", (self.clock)());
        let call = |(scenario_id, adds): (String, Vec<HotAdd>)| {
            let key = self.store.keys().hot_items(tenant, &scenario_id);
            // The scenario's config may change while a batch is collected.
            let half_life_s = adds.last().map_or(1, |add| add.half_life_s.max(1));
            // All as of one time: an item that many events are about is changed once.
            let latest_ms = adds.iter().map(|add| add.at_ms).max().unwrap_or(0);
            let mut weights: BTreeMap<String, f64> = BTreeMap::new();
            for add in adds {
                let weight = add.weight * factor(add.at_ms, latest_ms, half_life_s);
                *weights.entry(add.item_id).or_insert(0.0) += weight;
            }
            let mut call = HOT_ADD
                .call(&[&key, &beside(&key, "decay"), &beside(&key, "changes"), &mark(&key, batch)])
                .arg(MARK_S)
                .arg(&epoch)
                .arg(half_life_s)
                .arg(limits::HOT_MEMBERS)
                .arg(HOT_MEMBERS_HIGH)
                .arg(HOT_CHANGES)
                .arg(REBASE_HALF_LIVES)
                .arg(latest_ms);
            for (item_id, weight) in weights {
                call = call.arg(item_id).arg(number(weight));
            }
            (scenario_id, call)
        };
        by_scenario.into_iter().map(call).collect()
    }

    /// Calls that each change counters of several items, in a cluster of one slot.
    fn count_calls(&self, tenant: &Tenant, batch: u128, counts: Vec<CountAdd>, mark_s: u32) -> Vec<Command> {
        let mut by_key: BTreeMap<String, BTreeMap<String, f64>> = BTreeMap::new();
        for add in counts {
            let key = self.store.keys().item_stats(tenant, &add.item_id);
            *by_key.entry(key).or_default().entry(add.field).or_insert(0.0) += add.amount;
        }
        // The same batch makes the same groups, whose marks have the same names.
        let mut groups: HashMap<Option<Slot>, Vec<Counted>> = HashMap::new();
        for (key, fields) in by_key {
            let slot = self.store.is_cluster().then(|| Slot::for_key(&key));
            groups.entry(slot).or_default().push((key, fields));
        }
        let groups = groups.values().flat_map(|group| group.chunks(COUNTED_ITEMS));
        groups.filter_map(|group| count_call(batch, group, mark_s)).collect()
    }

    /// Changes counters as one batch that is remembered for `mark_s` seconds.
    pub(super) async fn count(
        &self,
        tenant: &Tenant,
        batch: u128,
        counts: Vec<CountAdd>,
        mark_s: u32,
    ) -> Result<(), Error> {
        let replies = self.store.run(self.count_calls(tenant, batch, counts, mark_s)).await?;
        report_wrong(tenant, replies);
        Ok(())
    }
}

fn count_call(batch: u128, group: &[Counted], mark_s: u32) -> Option<Command> {
    let (first, _) = group.first()?;
    let mark = mark(first, batch);
    let keys: Vec<&str> = std::iter::once(&*mark).chain(group.iter().map(|(key, _)| &**key)).collect();
    let mut call = COUNT.call(&keys).arg(mark_s);
    for (_, fields) in group {
        call = call.arg(fields.len());
        for (field, amount) in fields {
            call = call.arg(field).arg(number(*amount));
        }
    }
    Some(call)
}

/// Of the replies to calls that change counters, those that say what went wrong.
fn report_wrong(tenant: &Tenant, replies: impl IntoIterator<Item = Value>) {
    for wrong in replies.into_iter().filter_map(text) {
        tracing::error!(%tenant, %wrong, "a counter was not changed");
    }
}

fn mark(key: &str, batch: u128) -> String {
    beside(key, &format!("batch:{batch:x}"))
}

#[async_trait]
impl LiveEffects for RedisLive {
    async fn apply(&self, tenant: &Tenant, batch: u128, hot: Vec<HotAdd>, counts: Vec<CountAdd>) -> Result<(), Error> {
        for (at, add) in hot.iter().enumerate() {
            Error::check_id(format_args!("hot[{at}].scenario-id"), &add.scenario_id)?;
            Error::check_id(format_args!("hot[{at}].item-id"), &add.item_id)?;
            check_finite(format_args!("hot[{at}].weight"), add.weight)?;
        }
        for (at, add) in counts.iter().enumerate() {
            Error::check_id(format_args!("counts[{at}].item-id"), &add.item_id)?;
            check_finite(format_args!("counts[{at}].amount"), add.amount)?;
        }
        let (scenarios, mut commands): (Vec<_>, Vec<_>) = self.hot_calls(tenant, batch, hot).into_iter().unzip();
        commands.extend(self.count_calls(tenant, batch, counts, MARK_S));
        let replies = self.store.run(commands).await;
        let lists: Vec<_> = scenarios.iter().map(|scenario_id| self.lists.peek(tenant, scenario_id)).collect();
        let Ok(replies) = replies else {
            // Some of it may have been done.
            lists.iter().flatten().for_each(|list| list.miss());
            return replies.map(|_| ());
        };
        let mut replies = replies.into_iter();
        for (list, reply) in lists.into_iter().zip(&mut replies) {
            if let Some(list) = list {
                list.changed(reply);
            }
        }
        report_wrong(tenant, replies);
        Ok(())
    }

    async fn forget_user(&self, tenant: &Tenant, user_id: &str, scenario_ids: Vec<String>) -> Result<(), Error> {
        Error::check_id("user-id", user_id)?;
        let mut commands = Vec::with_capacity(scenario_ids.len());
        for (at, scenario_id) in scenario_ids.iter().enumerate() {
            Error::check_id(format_args!("scenario-ids[{at}]"), scenario_id)?;
            commands.push(unlink(&self.store.keys().exposed(tenant, user_id, scenario_id), &["expiry"]));
        }
        let done = self.store.run(commands).await;
        scenario_ids.iter().for_each(|scenario_id| self.shown.forget(tenant, scenario_id, user_id));
        done.map(|_| ())
    }

    async fn forget_scenario(&self, tenant: &Tenant, scenario_id: &str, item_ids: Vec<String>) -> Result<(), Error> {
        Error::check_id("scenario-id", scenario_id)?;
        let keys = self.store.keys();
        self.places.served.forget(tenant, &item_ids);
        let mut commands = vec![unlink(&keys.hot_items(tenant, scenario_id), &["decay", "changes"])];
        for (at, item_id) in item_ids.iter().enumerate() {
            Error::check_id(format_args!("item-ids[{at}]"), item_id)?;
            commands.push(Command::new("UNLINK", &keys.item_stats(tenant, item_id)));
        }
        // Nothing says which users there are but the keys themselves.
        let exposed = self.store.scan(&keys.exposed_in(tenant, scenario_id)).await?;
        commands.extend(exposed.iter().map(|key| unlink(key, &["expiry"])));
        let done = self.store.run(commands).await;
        if let Some(list) = self.lists.peek(tenant, scenario_id) {
            list.miss();
        }
        self.shown.forget_scenario(tenant, scenario_id);
        done.map(|_| ())
    }
}

/// Deletes a key and what goes with it.
pub(super) fn unlink(key: &str, companions: &[&str]) -> Command {
    let companions: Vec<String> = companions.iter().map(|what| beside(key, what)).collect();
    Command::new("UNLINK", key).arg(companions)
}

fn check_finite(name: std::fmt::Arguments<'_>, value: f64) -> Result<(), Error> {
    if value.is_finite() { Ok(()) } else { Err(Error::invalid(name, "must be a finite number")) }
}
