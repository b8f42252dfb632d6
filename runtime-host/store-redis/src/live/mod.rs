//! The `live` capability on Redis.

mod effects;
mod hot;
mod served;
mod shown;
mod whole;

use std::{sync::Arc, time::SystemTime};

use async_trait::async_trait;
use funnelweb_core::{counter::SERVED_PLACES, id, limits};
use funnelweb_factor_documents::store::Documents;
use funnelweb_factor_live::{
    check,
    store::{Error, Live, Scored, Tenant, Walk, Whole},
};
use funnelweb_tenant_store::Clock;
use redis::Value;

use self::{
    hot::{List, Lists},
    served::Places,
    shown::Shown,
};
use crate::{
    command::{Command, EXPOSE, float, list},
    keys::beside,
    store::RedisStore,
};

/// Live structures in Redis: the keys, types and times to live of design §3.2,
/// with companions of ours beside them.
///
/// | key | type | is |
/// |---|---|---|
/// | `hot:items:{tenant}:{scenario}` | ZSET | item ids by heat, relative to a landmark in time |
/// | `{…}:decay` | HASH | that landmark, the half-life, the newest event's time, epoch and revision |
/// | `{…}:changes` | ZSET | items by the revision in which they changed, for readers that have the rest |
/// | `exposed:{tenant}:{user}:{scenario}` | SET | ids of items shown; lives as long as the last of them |
/// | `{…}:expiry` | ZSET | the same ids by the time at which each is forgotten |
/// | `item:stats:{tenant}:{item}` | HASH | counters: `view_count`, …, and `served_places`, which is written behind |
/// | `{…}:batch:{id}` | string | a batch of events that was applied to the key |
#[derive(Clone)]
pub struct RedisLive {
    store: RedisStore,
    documents: Arc<dyn Documents>,
    clock: Clock,
    lists: Arc<Lists>,
    shown: Arc<Shown>,
    places: Arc<Places>,
}

impl RedisLive {
    /// `documents` knows the ids of items that a call names by handle.
    pub fn new(store: RedisStore, documents: Arc<dyn Documents>) -> Self {
        let clock = || {
            let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
            u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
        };
        Self::with_clock(store, documents, Arc::new(clock))
    }

    /// With a clock of one's own, in milliseconds since 1970.
    pub fn with_clock(store: RedisStore, documents: Arc<dyn Documents>, clock: Clock) -> Self {
        let (lists, shown, places) = (Arc::new(Lists::new()), Arc::new(Shown::new()), Arc::new(Places::new()));
        Self { store, documents, clock, lists, shown, places }
    }

    /// The hot list, at most [`hot::AGE`] old.
    async fn hot(&self, tenant: &Tenant, scenario_id: &str) -> Result<Arc<List>, Error> {
        Error::check_id("scenario-id", scenario_id)?;
        let list = self.lists.get(tenant, scenario_id);
        if list.is_fresh() {
            return Ok(list);
        }
        let _turn = list.turn().clone().lock_owned().await;
        if !list.is_fresh() {
            let (command, asked) = list.read(&self.store.keys().hot_items(tenant, scenario_id));
            let reply = self.store.run_one(command).await?;
            list.accept(reply, asked);
            self.lists.weigh(tenant, scenario_id, &list);
        }
        Ok(list)
    }

    /// What a recommendation asks first, to be sent along with something else.
    fn opening(&self, tenant: &Tenant, scenario_id: &str, user_id: &str) -> Opening {
        let key = self.store.keys().exposed(tenant, user_id, scenario_id);
        // In this order: what is shown again between the two is not taken out.
        let expired = Command::new("ZRANGEBYSCORE", &beside(&key, "expiry")).arg("-inf").arg((self.clock)());
        let mut commands = vec![expired, Command::new("SMEMBERS", &key)];
        let hot = self.lists.get(tenant, scenario_id);
        let mut asked = None;
        // When somebody else is reading it already, whoever needs it waits for that.
        if hot.is_aging()
            && let Ok(turn) = hot.turn().clone().try_lock_owned()
        {
            let (command, when) = hot.read(&self.store.keys().hot_items(tenant, scenario_id));
            commands.push(command);
            asked = Some((turn, when));
        }
        Opening { commands, hot, asked }
    }

    /// What the user was shown, of the replies to an opening.
    fn opened(&self, tenant: &Tenant, scenario_id: &str, opening: Opening, replies: Vec<Value>) -> Vec<u64> {
        let mut replies = replies.into_iter();
        let mut expired = handles(replies.next().unwrap_or(Value::Nil));
        let mut shown = handles(replies.next().unwrap_or(Value::Nil));
        if let (Some((_turn, when)), Some(reply)) = (opening.asked, replies.next()) {
            opening.hot.accept(reply, when);
            self.lists.weigh(tenant, scenario_id, &opening.hot);
        }
        if !expired.is_empty() {
            expired.sort_unstable();
            shown.retain(|handle| expired.binary_search(handle).is_err());
        }
        shown.sort_unstable();
        shown.dedup();
        shown
    }

    /// Commands that may be sent before [`Live::exposed`] is called for the same
    /// user, which then needs none; none when nobody asked for it lately.
    pub(crate) fn ahead(&self, tenant: &Tenant, scenario_id: &str, user_id: &str) -> Option<Ahead> {
        if !self.shown.is_wanted(tenant, scenario_id) {
            return None;
        }
        let stamp = self.shown.stamp(tenant, scenario_id, user_id);
        Some(Ahead { opening: self.opening(tenant, scenario_id, user_id), stamp })
    }

    /// Keeps the replies to [`RedisLive::ahead`] for a moment.
    pub(crate) fn arrived(&self, tenant: &Tenant, names: (&str, &str), mut ahead: Ahead, replies: Vec<Value>) {
        ahead.opening.commands.clear();
        let (scenario_id, user_id) = names;
        let shown = self.opened(tenant, scenario_id, ahead.opening, replies);
        self.shown.offer(tenant, scenario_id, user_id, shown, ahead.stamp);
    }
}

/// The commands of [`RedisLive::opening`] and what their replies are about.
struct Opening {
    commands: Vec<Command>,
    hot: Arc<List>,
    asked: Option<(tokio::sync::OwnedMutexGuard<()>, hot::Asked)>,
}

/// What [`RedisLive::ahead`] asks.
pub(crate) struct Ahead {
    opening: Opening,
    stamp: funnelweb_tenant_store::Stamp,
}

impl Ahead {
    pub(crate) fn take_commands(&mut self) -> Vec<Command> {
        std::mem::take(&mut self.opening.commands)
    }
}

fn handles(items: Value) -> Vec<u64> {
    let item = |value| match value {
        Value::BulkString(item) => std::str::from_utf8(&item).ok().map(id::handle),
        _ => None,
    };
    list(items).into_iter().filter_map(item).collect()
}

#[async_trait]
impl Live for RedisLive {
    async fn hot_top(
        &self,
        tenant: &Tenant,
        scenario_id: String,
        limit: u32,
        mut exclude: Vec<u64>,
        now_ms: u64,
    ) -> Result<Scored, Error> {
        check::hot_top(&scenario_id, limit, &exclude)?;
        let list = self.hot(tenant, &scenario_id).await?;
        exclude.sort_unstable();
        Ok(list.with(|list| list.top(limit as usize, &exclude, now_ms)))
    }

    async fn hot_scores(
        &self,
        tenant: &Tenant,
        scenario_id: String,
        handles: Vec<u64>,
        now_ms: u64,
    ) -> Result<Vec<f32>, Error> {
        check::hot_scores(&scenario_id, &handles)?;
        let list = self.hot(tenant, &scenario_id).await?;
        Ok(list.with(|list| list.scores(&handles, now_ms)))
    }

    async fn expose(
        &self,
        tenant: &Tenant,
        scenario_id: String,
        user_id: Option<String>,
        item_ids: Vec<String>,
        ttl_s: u32,
    ) -> Result<(), Error> {
        check::expose(&scenario_id, user_id.as_deref(), &item_ids)?;
        if item_ids.is_empty() {
            return Ok(());
        }
        self.serve(tenant, &item_ids);
        let Some(user_id) = user_id.filter(|_| ttl_s > 0) else { return Ok(()) };
        let now_ms = (self.clock)();
        let expires_ms = now_ms.saturating_add(1000 * u64::from(ttl_s));
        let key = self.store.keys().exposed(tenant, &user_id, &scenario_id);
        let call = EXPOSE.call(&[&key, &beside(&key, "expiry")]);
        let call = call.arg(now_ms).arg(expires_ms).arg(limits::EXPOSURES).arg(item_ids);
        let done = self.store.run_one(call).await;
        self.shown.forget(tenant, &scenario_id, &user_id);
        done.map(|_| ())
    }

    async fn exposed(&self, tenant: &Tenant, scenario_id: String, user_id: String) -> Result<Vec<u64>, Error> {
        check::exposed(&scenario_id, &user_id)?;
        if let Some(shown) = self.shown.take(tenant, &scenario_id, &user_id) {
            return Ok(shown);
        }
        let mut opening = self.opening(tenant, &scenario_id, &user_id);
        let replies = self.store.run(std::mem::take(&mut opening.commands)).await?;
        Ok(self.opened(tenant, &scenario_id, opening, replies))
    }

    async fn item_stats(
        &self,
        tenant: &Tenant,
        scenario_id: String,
        handles: Vec<u64>,
        fields: Vec<String>,
    ) -> Result<Vec<f64>, Error> {
        check::item_stats(&scenario_id, &handles, &fields)?;
        let mut values = vec![0.0; handles.len() * fields.len()];
        if values.is_empty() {
            return Ok(values);
        }
        let ids = self.documents.item_ids(tenant, scenario_id, handles).await?;
        let known: Vec<_> = ids.iter().enumerate().filter_map(|(at, id)| Some((at, id.as_ref()?))).collect();
        let read =
            |(_, id): &(usize, &String)| Command::new("HMGET", &self.store.keys().item_stats(tenant, id)).arg(&fields);
        // First: of a batch that is just being written more is seen for a moment, not less.
        let served = self.places.served.pending(tenant, known.iter().map(|(_, id)| *id));
        let replies = self.store.run(known.iter().map(read).collect()).await?;
        for (((at, _), reply), served) in known.into_iter().zip(replies).zip(served) {
            let row = values.iter_mut().skip(at * fields.len());
            for ((value, field), count) in row.zip(&fields).zip(list(reply)) {
                *value = float(count);
                if field == SERVED_PLACES {
                    *value += served.iter().map(|(_, count)| count).sum::<f64>();
                }
            }
        }
        Ok(values)
    }

    async fn flush(&self) {
        self.places.served.flush().await;
    }

    fn walk<'a>(&'a self, tenant: &'a Tenant) -> Walk<'a, Whole> {
        self.walk_all(tenant)
    }

    async fn restore(&self, tenant: &Tenant, structures: Vec<Whole>) -> Result<(), Error> {
        structures.iter().try_for_each(Whole::check)?;
        self.put_back(tenant, structures).await
    }
}
