//! All live structures of a tenant: walking and restoring them.

use std::{
    collections::{BTreeMap, HashSet},
    hash::{BuildHasher as _, RandomState},
};

use funnelweb_core::decay::factor;
use funnelweb_factor_live::store::{Counters, Error, Exposed, Hot, Tenant, Walk, Whole};
use futures::{StreamExt as _, TryFutureExt as _, TryStreamExt as _, stream};
use redis::Value;

use super::{RedisLive, effects::unlink};
use crate::{
    command::{Command, HOT_READ, float, list, number, text},
    keys::{beside, rest, whole},
};

/// Users' exposures that are read in one round trip: each may have thousands.
const EXPOSED_TOGETHER: usize = 16;
/// Items whose counters are.
const COUNTERS_TOGETHER: usize = 500;
/// Members that one command adds.
const ADDED_TOGETHER: usize = 1000;

impl RedisLive {
    /// [`funnelweb_factor_live::store::Live::walk`]. Of exposures those that we
    /// wrote: what another program put into a SET has no time of its own. What was
    /// counted here is written first.
    pub(super) fn walk_all<'a>(&'a self, tenant: &'a Tenant) -> Walk<'a, Whole> {
        let [hot, exposed, counters] = self.store.keys().live_of(tenant);
        let hot = self.each(hot, 1, |keys, pattern| self.read_hot(keys, pattern));
        let exposed = self.each(exposed, EXPOSED_TOGETHER, |keys, pattern| self.read_exposed(keys, pattern));
        let counters = self.each(counters, COUNTERS_TOGETHER, |keys, pattern| self.read_counters(keys, pattern));
        let settled = self.settle_served(tenant).map_ok(|()| counters).try_flatten_stream();
        hot.chain(exposed).chain(settled).boxed()
    }

    /// The keys that fit the pattern, read so many together.
    fn each<'a, F>(
        &'a self,
        pattern: String,
        together: usize,
        read: impl Fn(Vec<String>, String) -> F + Send + 'a,
    ) -> Walk<'a, Whole>
    where
        F: Future<Output = Result<Vec<Whole>, Error>> + Send + 'a,
    {
        let groups = self.store.walk_keys(pattern.clone()).map_ok(move |keys| {
            let groups: Vec<Vec<String>> = keys.chunks(together).map(<[String]>::to_vec).collect();
            stream::iter(groups.into_iter().map(Ok::<_, Error>))
        });
        let read = groups.try_flatten().and_then(move |keys| read(keys, pattern.clone()));
        read.try_filter(|page| std::future::ready(!page.is_empty())).boxed()
    }

    async fn read_hot(&self, keys: Vec<String>, pattern: String) -> Result<Vec<Whole>, Error> {
        let read = |key: &String| {
            // As a reader that knows nothing of it.
            HOT_READ.call(&[key, &beside(key, "decay"), &beside(key, "changes")]).arg("").arg(0)
        };
        let replies = self.store.run(keys.iter().map(read).collect()).await?;
        let hot = |(key, reply): (&String, Value)| {
            let mut fields = list(reply).into_iter().skip(2);
            let (landmark_ms, half_life_s) = (float(fields.next()?) as u64, (float(fields.next()?) as u32).max(1));
            let newest_ms = float(fields.next()?) as u64;
            let shrink = factor(landmark_ms, newest_ms, half_life_s);
            let members = pairs(fields.nth(1)?);
            let items: BTreeMap<_, _> = members.map(|(item, score)| (item, finite(score * shrink))).collect();
            let scenario_id = rest(key, &pattern).map(whole)?;
            (!items.is_empty()).then_some(Whole::Hot(Hot { scenario_id, half_life_s, newest_ms, items }))
        };
        Ok(keys.iter().zip(replies).filter_map(hot).collect())
    }

    async fn read_exposed(&self, keys: Vec<String>, pattern: String) -> Result<Vec<Whole>, Error> {
        let now_ms = (self.clock)();
        let read = |key: &String| {
            let alive = Command::new("ZRANGEBYSCORE", &beside(key, "expiry")).arg(format!("({now_ms}"));
            [Command::new("SMEMBERS", key), alive.arg("+inf").arg("WITHSCORES")]
        };
        let mut replies = self.store.run(keys.iter().flat_map(read).collect()).await?.into_iter();
        let exposed = |key: &String| {
            let (shown, alive) = (replies.next()?, replies.next()?);
            // The SET decides; who deletes from it has it forgotten.
            let shown: HashSet<String> = list(shown).into_iter().filter_map(text).collect();
            let alive = pairs(alive).filter(|(item, _)| shown.contains(item));
            let items: BTreeMap<_, _> = alive.map(|(item, expires_ms)| (item, expires_ms as u64)).collect();
            let (user, scenario) = rest(key, &pattern)?.split_once(':')?;
            let (user_id, scenario_id) = (whole(user), whole(scenario));
            (!items.is_empty()).then_some(Whole::Exposed(Exposed { scenario_id, user_id, items }))
        };
        Ok(keys.iter().filter_map(exposed).collect())
    }

    async fn read_counters(&self, keys: Vec<String>, pattern: String) -> Result<Vec<Whole>, Error> {
        let read = |key: &String| Command::new("HGETALL", key);
        let replies = self.store.run(keys.iter().map(read).collect()).await?;
        let counters = |(key, reply): (&String, Value)| {
            let fields: BTreeMap<_, _> = pairs(reply).collect();
            let item_id = rest(key, &pattern)?.to_owned();
            (!fields.is_empty()).then_some(Whole::Counters(Counters { item_id, fields }))
        };
        Ok(keys.iter().zip(replies).filter_map(counters).collect())
    }

    /// [`funnelweb_factor_live::store::Live::restore`], of structures that were
    /// checked.
    pub(super) async fn put_back(&self, tenant: &Tenant, structures: Vec<Whole>) -> Result<(), Error> {
        let commands = structures.iter().flat_map(|structure| match structure {
            Whole::Hot(hot) => self.put_hot(tenant, hot),
            Whole::Exposed(exposed) => self.put_exposed(tenant, exposed),
            Whole::Counters(counters) => self.put_counters(tenant, counters),
        });
        self.settle_served(tenant).await?;
        let done = self.store.run(commands.collect()).await;
        for structure in &structures {
            match structure {
                Whole::Hot(hot) => {
                    if let Some(list) = self.lists.peek(tenant, &hot.scenario_id) {
                        list.miss();
                    }
                }
                Whole::Exposed(exposed) => self.shown.forget(tenant, &exposed.scenario_id, &exposed.user_id),
                Whole::Counters(_) => {}
            }
        }
        done.map(|_| ())
    }

    fn put_hot(&self, tenant: &Tenant, hot: &Hot) -> Vec<Command> {
        let key = self.store.keys().hot_items(tenant, &hot.scenario_id);
        let mut commands = vec![unlink(&key, &["decay", "changes"])];
        let members: Vec<_> = hot.items.iter().collect();
        for members in members.chunks(ADDED_TOGETHER) {
            let add = Command::new("ZADD", &key);
            commands.push(members.iter().fold(add, |add, (item, score)| add.arg(number(**score)).arg(item)));
        }
        // Another name than any before, so that readers read all of it.
        let epoch = format!("restored-{:x}", RandomState::new().hash_one((self.clock)()));
        let decay = Command::new("HSET", &beside(&key, "decay"));
        let decay = decay.arg("epoch").arg(epoch).arg("revision").arg(1).arg("floor").arg(1);
        let decay = decay.arg("landmark_ms").arg(hot.newest_ms).arg("newest_ms").arg(hot.newest_ms);
        commands.push(decay.arg("half_life_s").arg(hot.half_life_s));
        commands
    }

    fn put_exposed(&self, tenant: &Tenant, exposed: &Exposed) -> Vec<Command> {
        let key = self.store.keys().exposed(tenant, &exposed.user_id, &exposed.scenario_id);
        let expiry = beside(&key, "expiry");
        let mut commands = vec![unlink(&key, &["expiry"])];
        let now_ms = (self.clock)();
        let by_expiry = exposed.by_expiry(now_ms);
        let Some(last_ms) = by_expiry.keys().next_back() else { return commands };
        let ttl_ms = last_ms - now_ms;
        for (expires_ms, items) in &by_expiry {
            for items in items.chunks(ADDED_TOGETHER) {
                commands.push(Command::new("SADD", &key).arg(items));
                let add = Command::new("ZADD", &expiry);
                commands.push(items.iter().fold(add, |add, item| add.arg(*expires_ms).arg(item)));
            }
        }
        commands.extend([&key, &expiry].map(|key| Command::new("PEXPIRE", key).arg(ttl_ms)));
        commands
    }

    fn put_counters(&self, tenant: &Tenant, counters: &Counters) -> Vec<Command> {
        let key = self.store.keys().item_stats(tenant, &counters.item_id);
        let set = Command::new("HSET", &key);
        // Without an exponent, as the server itself writes counters.
        let set = counters.fields.iter().fold(set, |set, (field, value)| set.arg(field).arg(value.to_string()));
        vec![unlink(&key, &[]), set]
    }
}

/// Names and numbers of a reply, in turn.
fn pairs(reply: Value) -> impl Iterator<Item = (String, f64)> {
    let mut values = list(reply).into_iter();
    std::iter::from_fn(move || Some((values.next()?, values.next()?)))
        .filter_map(|(name, value)| Some((text(name)?, float(value))))
}

fn finite(score: f64) -> f64 {
    score.clamp(-f64::MAX, f64::MAX)
}
