//! The state of operators in tenants' SQLite files, where the log is: a step is one
//! transaction with what it changes.

use std::{
    collections::{BTreeMap, HashMap},
    ops::Range,
    path::Path,
    sync::{Arc, Mutex},
};

use async_trait::async_trait;
use funnelweb_bindings::stages::aggregate::Topic;
use funnelweb_core::limits;
use funnelweb_factor_events::{Applying, SqliteEvents, store::Position};
use funnelweb_tenant_store::{Durability, Part, Purge, TenantStores, Write, lock};
use rusqlite::{Connection, OptionalExtension, params};

use crate::{
    key::{text, values},
    own,
    store::{
        Counters, DeadLetter, Due, ENDED, Error, Pane, Panes, Place, Progress, Published, Series, Step, StreamStore,
        Tenant,
    },
};

/// Operators' state in tenants' SQLite files.
#[derive(Clone)]
pub struct SqliteStreams {
    stores: Arc<TenantStores>,
    state: State,
}

/// The tables, and the counters of those tenants that were asked for once.
#[derive(Clone)]
struct State {
    applying: Applying,
    counters: Arc<Mutex<HashMap<String, Arc<Counters>>>>,
}

impl SqliteStreams {
    /// Adds the tables to `stores`, which must be the one that `events` was made with.
    ///
    /// # Errors
    /// See [`TenantStores::register`].
    pub fn new(stores: Arc<TenantStores>, events: &SqliteEvents) -> Result<Self, Error> {
        let state = State { applying: events.applying(), counters: Arc::default() };
        stores.register(Arc::new(state.clone()))?;
        Ok(Self { stores, state })
    }

    async fn load(&self, tenant: &Tenant) -> Result<Arc<Counters>, Error> {
        let file = self.stores.open(tenant).await?;
        let (state, of) = (self.state.clone(), tenant.clone());
        // Among the writes: what is committed meanwhile comes before or after.
        file.write(Durability::Relaxed, move |write| state.load(write, of)).await
    }

    async fn read<T: Send + 'static>(
        &self,
        tenant: &Tenant,
        work: impl FnOnce(&Connection) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let file = self.stores.open(tenant).await?;
        file.read(move |tx| work(tx)).await
    }
}

#[async_trait]
impl StreamStore for SqliteStreams {
    async fn progress(&self, place: &Place) -> Result<Progress, Error> {
        let operator = place.operator.clone();
        self.read(&place.tenant, move |connection| progress(connection, &operator)).await
    }

    async fn accumulators(&self, place: &Place, panes: Vec<Pane>) -> Result<Vec<Option<Vec<u8>>>, Error> {
        let operator = place.operator.clone();
        self.read(&place.tenant, move |connection| {
            let mut select = connection.prepare_cached(
                "SELECT accumulator FROM stream_panes WHERE operator = ? AND key = ? AND from_ms = ?",
            )?;
            let one = |pane: &Pane| {
                let found = select.query_row(params![operator, text(&pane.key), clamp(pane.from_ms)], |row| row.get(0));
                Ok(found.optional()?)
            };
            panes.iter().map(one).collect()
        })
        .await
    }

    async fn first_pane(&self, main: &Place, from_ms: u64) -> Result<Option<u64>, Error> {
        let operator = main.operator.clone();
        self.read(&main.tenant, move |connection| {
            let mut select = connection
                .prepare_cached("SELECT min(from_ms) FROM stream_panes WHERE operator = ? AND from_ms >= ?")?;
            let first: Option<i64> = select.query_row(params![operator, clamp(from_ms)], |row| row.get(0))?;
            Ok(first.map(i64::cast_unsigned))
        })
        .await
    }

    async fn panes(
        &self,
        main: &Place,
        range: Range<u64>,
        after: Option<Vec<String>>,
    ) -> Result<(Vec<Panes>, bool), Error> {
        let operator = main.operator.clone();
        self.read(&main.tenant, move |connection| {
            // In the order of the primary key, so that nothing is sorted.
            let mut select = connection.prepare_cached(
                "SELECT key, from_ms, accumulator FROM stream_panes
                 WHERE operator = ? AND key > ? AND from_ms >= ? AND from_ms < ? ORDER BY key, from_ms",
            )?;
            let after = after.map(|key| text(&key)).unwrap_or_default();
            let mut rows = select.query(params![operator, after, clamp(range.start), clamp(range.end)])?;
            let mut found: Vec<(String, Vec<(u64, Vec<u8>)>)> = Vec::new();
            let (mut bytes, mut more) = (0, false);
            while let Some(row) = rows.next()? {
                let key = row.get_ref(0)?.as_str().map_err(rusqlite::Error::from)?;
                let pane: (u64, Vec<u8>) = (row.get::<_, i64>(1)?.cast_unsigned(), row.get(2)?);
                let full = found.len() == limits::STREAM_KEYS || bytes > limits::STREAM_WINDOWS_BYTES;
                bytes += pane.1.len();
                match found.last_mut().filter(|(last, _)| last == key) {
                    Some((_, panes)) => panes.push(pane),
                    None if full => {
                        more = true;
                        break;
                    }
                    None => found.push((key.to_owned(), vec![pane])),
                }
            }
            Ok((found.into_iter().map(|(key, panes)| (values(&key), panes)).collect(), more))
        })
        .await
    }

    async fn due(&self, main: &Place, size_ms: u64, fired_ms: u64) -> Result<Vec<(Due, Panes)>, Error> {
        let operator = main.operator.clone();
        self.read(&main.tenant, move |connection| {
            let mut due = connection
                .prepare_cached("SELECT key, end_ms FROM stream_due WHERE operator = ? AND end_ms <= ? LIMIT ?")?;
            let mut select = connection.prepare_cached(
                "SELECT from_ms, accumulator FROM stream_panes
                 WHERE operator = ? AND key = ? AND from_ms >= ? AND from_ms < ? ORDER BY from_ms",
            )?;
            let mut rows = due.query(params![operator, clamp(fired_ms), limits::STREAM_KEYS as i64])?;
            let (mut all, mut bytes) = (Vec::new(), 0);
            while bytes <= limits::STREAM_WINDOWS_BYTES
                && let Some(row) = rows.next()?
            {
                let (key, end_ms): (String, i64) = (row.get(0)?, row.get(1)?);
                let from_ms = end_ms.saturating_sub(clamp(size_ms)).max(0);
                let pane = |row: &rusqlite::Row<'_>| Ok((row.get::<_, i64>(0)?.cast_unsigned(), row.get(1)?));
                let panes = select.query_map(params![operator, key, from_ms, end_ms], pane)?;
                let panes = panes.collect::<Result<Vec<(u64, Vec<u8>)>, _>>()?;
                bytes += panes.iter().map(|(_, accumulator)| accumulator.len()).sum::<usize>();
                let key = values(&key);
                let due = Due { window: (key.clone(), end_ms.cast_unsigned()), marks: Vec::new() };
                all.push((due, (key, panes)));
            }
            Ok(all)
        })
        .await
    }

    async fn commit(&self, place: &Place, before: Progress, step: Step) -> Result<bool, Error> {
        let Place { tenant, operator, .. } = place.clone();
        let file = self.stores.open(&tenant).await?;
        let state = self.state.clone();
        let now_ms = self.stores.now_ms();
        let bytes = step.put.iter().map(|(_, accumulator)| 128 + accumulator.len()).sum::<usize>()
            + step.messages.iter().map(|message| 128 + message.body.len()).sum::<usize>()
            + step.changes.len() * 256;
        // What a loss of power takes with it, it takes with the progress.
        file.write_sized(Durability::Relaxed, bytes, move |write| {
            state.commit(write, tenant, &operator, &before, step, now_ms)
        })
        .await
    }

    async fn positions(&self, tenant: &Tenant) -> Result<Vec<Position>, Error> {
        self.read(tenant, |connection| {
            let sql = "SELECT operator, next, newest_ms FROM stream_progress WHERE next < ? ORDER BY operator";
            let mut select = connection.prepare_cached(sql)?;
            let position = |row: &rusqlite::Row<'_>| {
                let (next, newest_ms) = (row.get::<_, i64>(1)?.cast_unsigned(), row.get::<_, i64>(2)?.cast_unsigned());
                Ok(Position { operator: row.get(0)?, next, newest_ms })
            };
            let positions = select.query_map([clamp(ENDED)], position)?;
            Ok(positions.collect::<Result<_, _>>()?)
        })
        .await
    }

    async fn set_positions(&self, tenant: &Tenant, to: Result<Vec<Position>, u64>) -> Result<(), Error> {
        let file = self.stores.open(tenant).await?;
        let all = |next| vec![Position { operator: String::new(), next, newest_ms: 0 }];
        let positions = to.unwrap_or_else(all);
        file.write(Durability::Durable, move |write| {
            write.execute("DELETE FROM stream_progress", [])?;
            let mut insert =
                write.prepare_cached("INSERT OR REPLACE INTO stream_progress VALUES (?, ?, ?, 0, NULL, NULL)")?;
            for Position { operator, next, newest_ms } in &positions {
                insert.execute(params![operator, clamp(*next), clamp(*newest_ms)])?;
            }
            Ok(())
        })
        .await
    }

    async fn end_operator(&self, tenant: &Tenant, operator: &str) -> Result<u64, Error> {
        let file = self.stores.open(tenant).await?;
        let operator = operator.to_owned();
        file.write(Durability::Durable, move |write| {
            let Progress { next, newest_ms, .. } = progress(write, &operator)?;
            if next == ENDED {
                return Ok(newest_ms);
            }
            write.execute("DELETE FROM stream_panes WHERE operator = ?", [&operator])?;
            write.execute("DELETE FROM stream_due WHERE operator = ?", [&operator])?;
            let sql = "INSERT OR REPLACE INTO stream_progress VALUES (?, ?, ?, 0, NULL, NULL)";
            write.execute(sql, params![operator, clamp(ENDED), clamp(next)])?;
            Ok(next)
        })
        .await
    }

    async fn published(&self, tenant: &Tenant, topic: &str, offset: u64, limit: u32) -> Result<Vec<Published>, Error> {
        let topic = topic.to_owned();
        self.read(tenant, move |connection| {
            let mut select = connection.prepare_cached(
                r#"SELECT "offset", key, body FROM topics WHERE topic = ? AND "offset" >= ? ORDER BY "offset" LIMIT ?"#,
            )?;
            let message = |row: &rusqlite::Row<'_>| {
                Ok(Published { offset: row.get::<_, i64>(0)?.cast_unsigned(), key: row.get(1)?, body: row.get(2)? })
            };
            let messages = select.query_map(params![topic, clamp(offset), limit], message)?;
            Ok(messages.collect::<Result<_, _>>()?)
        })
        .await
    }

    async fn dead_letters(&self, tenant: &Tenant, limit: u32) -> Result<Vec<(String, DeadLetter)>, Error> {
        self.read(tenant, move |connection| {
            let mut select = connection.prepare_cached(
                r#"SELECT operator, "offset", scenario, user, about, reason FROM dead_letters ORDER BY number DESC LIMIT ?"#,
            )?;
            let letter = |row: &rusqlite::Row<'_>| {
                let offset = row.get::<_, i64>(1)?.cast_unsigned();
                let (scenario_id, user_id) = (row.get(2)?, row.get(3)?);
                Ok((row.get(0)?, DeadLetter { offset, scenario_id, user_id, about: row.get(4)?, reason: row.get(5)? }))
            };
            let letters = select.query_map([limit], letter)?;
            Ok(letters.collect::<Result<_, _>>()?)
        })
        .await
    }

    async fn counters(&self) -> Result<Vec<(Tenant, Arc<Counters>)>, Error> {
        let mut all = Vec::new();
        for tenant in self.stores.tenants().await? {
            let known = lock(&self.state.counters).get(tenant.as_str()).cloned();
            let counters = match known {
                Some(counters) => Ok(counters),
                None => self.load(&tenant).await,
            };
            match counters {
                Ok(counters) => all.push((tenant, counters)),
                Err(error) => tracing::warn!(tenant = tenant.as_str(), %error, "counters are left out"),
            }
        }
        Ok(all)
    }

    async fn tenants(&self) -> Result<Vec<Tenant>, Error> {
        self.stores.tenants().await
    }
}

impl State {
    fn load(&self, write: &mut Write<'_>, tenant: Tenant) -> Result<Arc<Counters>, Error> {
        let mut select = write.prepare_cached("SELECT name, labels, value FROM counters")?;
        let row = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get::<_, String>(1)?, row.get(2)?));
        let rows = select.query_map([], row)?.collect::<Result<Vec<(String, String, f64)>, _>>()?;
        drop(select);
        let series = |(name, labels, value): (String, String, f64)| {
            (Series { name, labels: serde_json::from_str(&labels).unwrap_or_default() }, value)
        };
        let values: Arc<Counters> = Arc::new(rows.into_iter().map(series).collect());
        let (counters, shown) = (Arc::clone(&self.counters), Arc::clone(&values));
        write.after_commit(move || drop(lock(&counters).insert(tenant.as_str().to_owned(), shown)));
        Ok(values)
    }

    fn commit(
        &self,
        write: &mut Write<'_>,
        tenant: Tenant,
        operator: &str,
        before: &Progress,
        step: Step,
        now_ms: u64,
    ) -> Result<bool, Error> {
        // Windows that speak again move nothing else.
        if progress(write, operator)? != *before || !are_due(write, operator, &step.spoke)? {
            return Ok(false);
        }
        put(write, operator, &step)?;
        publish(write, &step, now_ms)?;
        bury(write, operator, &step.dead)?;
        self.applying.apply(write, &step.changes, now_ms)?;
        let counted = count(write, step.counts)?;
        let counters = Arc::clone(&self.counters);
        write.after_commit(move || {
            if let Some(values) = lock(&counters).get_mut(tenant.as_str()) {
                // A copy where somebody reads them.
                let values = Arc::make_mut(values);
                for (series, amount) in counted {
                    *values.entry(series).or_default() += amount;
                }
            }
        });
        Ok(true)
    }
}

fn progress(connection: &Connection, operator: &str) -> Result<Progress, Error> {
    let purges: i64 = connection.prepare_cached("SELECT count FROM stream_purges")?.query_row([], |row| row.get(0))?;
    let fence = purges.cast_unsigned();
    let mut select = connection.prepare_cached(
        "SELECT next, newest_ms, fired_ms, firing_ms, firing_key FROM stream_progress
         WHERE operator IN (?, '') ORDER BY operator DESC LIMIT 1",
    )?;
    let found = select.query_row([operator], |row| {
        let firing = row.get::<_, Option<i64>>(3)?.zip(row.get::<_, Option<String>>(4)?);
        Ok(Progress {
            next: row.get::<_, i64>(0)?.cast_unsigned(),
            newest_ms: row.get::<_, i64>(1)?.cast_unsigned(),
            fired_ms: row.get::<_, i64>(2)?.cast_unsigned(),
            firing: firing.map(|(end_ms, key)| (end_ms.cast_unsigned(), values(&key))),
            fence,
        })
    });
    Ok(found.optional()?.unwrap_or(Progress { fence, ..Progress::default() }))
}

/// Whether all of them have yet to speak again.
fn are_due(write: &Write<'_>, operator: &str, spoke: &[Due]) -> Result<bool, Error> {
    let mut select = write.prepare_cached("SELECT 1 FROM stream_due WHERE operator = ? AND key = ? AND end_ms = ?")?;
    for Due { window: (key, end_ms), .. } in spoke {
        if !select.exists(params![operator, text(key), clamp(*end_ms)])? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn put(write: &Write<'_>, operator: &str, step: &Step) -> Result<(), Error> {
    let Progress { next, newest_ms, fired_ms, firing, fence: _ } = &step.progress;
    let (firing_ms, firing_key) = firing.as_ref().map(|(end_ms, key)| (clamp(*end_ms), text(key))).unzip();
    write.prepare_cached("INSERT OR REPLACE INTO stream_progress VALUES (?, ?, ?, ?, ?, ?)")?.execute(params![
        operator,
        clamp(*next),
        clamp(*newest_ms),
        clamp(*fired_ms),
        firing_ms,
        firing_key
    ])?;
    let mut insert = write.prepare_cached(
        "INSERT INTO stream_panes VALUES (?, ?, ?, ?)
         ON CONFLICT (operator, key, from_ms) DO UPDATE SET accumulator = excluded.accumulator",
    )?;
    for (pane, accumulator) in &step.put {
        insert.execute(params![operator, text(&pane.key), clamp(pane.from_ms), accumulator])?;
    }
    let mut insert = write.prepare_cached("INSERT OR IGNORE INTO stream_due VALUES (?, ?, ?)")?;
    for (key, end_ms) in &step.due {
        insert.execute(params![operator, text(key), clamp(*end_ms)])?;
    }
    let mut delete = write.prepare_cached("DELETE FROM stream_due WHERE operator = ? AND key = ? AND end_ms = ?")?;
    for Due { window: (key, end_ms), .. } in &step.spoke {
        delete.execute(params![operator, text(key), clamp(*end_ms)])?;
    }
    if step.drop_before_ms > 0 {
        let mut delete = write.prepare_cached("DELETE FROM stream_panes WHERE operator = ? AND from_ms < ?")?;
        delete.execute(params![operator, clamp(step.drop_before_ms)])?;
    }
    Ok(())
}

fn publish(write: &Write<'_>, step: &Step, now_ms: u64) -> Result<(), Error> {
    if step.messages.is_empty() {
        return Ok(());
    }
    let oldest_ms = now_ms.saturating_sub(limits::TOPIC_RETENTION.as_millis() as u64);
    write.prepare_cached("DELETE FROM topics WHERE at_ms < ?")?.execute([clamp(oldest_ms)])?;
    let mut next = write.prepare_cached(
        "INSERT INTO topic_ends VALUES (?, 1) ON CONFLICT (topic) DO UPDATE SET last = last + 1 RETURNING last",
    )?;
    let mut insert = write.prepare_cached("INSERT INTO topics VALUES (?, ?, ?, ?, ?)")?;
    let mut ends = BTreeMap::new();
    for message in &step.messages {
        let topic = topic_name(message.topic);
        let offset: i64 = next.query_row([topic], |row| row.get(0))?;
        insert.execute(params![topic, offset, message.key, message.body, clamp(now_ms)])?;
        ends.insert(topic, offset);
    }
    let mut delete = write.prepare_cached(r#"DELETE FROM topics WHERE topic = ? AND "offset" <= ?"#)?;
    for (topic, end) in ends {
        delete.execute(params![topic, end - limits::TOPIC_MESSAGES as i64])?;
    }
    Ok(())
}

fn bury(write: &Write<'_>, operator: &str, dead: &[DeadLetter]) -> Result<(), Error> {
    if dead.is_empty() {
        return Ok(());
    }
    let mut insert = write.prepare_cached(
        r#"INSERT INTO dead_letters (operator, "offset", scenario, user, about, reason) VALUES (?, ?, ?, ?, ?, ?)"#,
    )?;
    for DeadLetter { offset, scenario_id, user_id, reason, about } in dead {
        insert.execute(params![operator, clamp(*offset), scenario_id, user_id, about, reason])?;
    }
    let kept = limits::DEAD_LETTERS as i64;
    write
        .prepare_cached("DELETE FROM dead_letters WHERE number <= (SELECT max(number) FROM dead_letters) - ?")?
        .execute([kept])?;
    Ok(())
}

/// Adds to counters; those that were added to. A tenant has so many of them: what
/// would be one more is counted as such.
fn count(write: &Write<'_>, counts: Vec<(Series, f64)>) -> Result<Vec<(Series, f64)>, Error> {
    let mut update = write.prepare_cached("UPDATE counters SET value = value + ? WHERE name = ? AND labels = ?")?;
    let mut room = [None, None];
    let mut counted = Vec::with_capacity(counts.len());
    let mut lost = 0.0;
    for (series, amount) in counts {
        let labels = serde_json::to_string(&series.labels).unwrap_or_default();
        if update.execute(params![amount, series.name, labels])? == 0 {
            // Those of the tenant's operators take no other's room.
            let is_own = series.name.starts_with(own::METRICS);
            let [others, own] = &mut room;
            let (room, most) = if is_own { (own, limits::METRIC_OWN_SERIES) } else { (others, limits::METRIC_SERIES) };
            let left = match *room {
                Some(left) => left,
                None => {
                    let sql = "SELECT count(*) FROM counters WHERE (substr(name, 1, length(?1)) = ?1) = ?2";
                    let count: i64 = write.query_row(sql, params![own::METRICS, is_own], |row| row.get(0))?;
                    most as i64 - count
                }
            };
            // What tells of operators always has room.
            let always = series.name.starts_with("stream_");
            *room = Some(left - i64::from(!always));
            if left <= 0 && !always {
                lost += 1.0;
                continue;
            }
            write.prepare_cached("INSERT INTO counters VALUES (?, ?, ?)")?.execute(params![
                series.name,
                labels,
                amount
            ])?;
        }
        counted.push((series, amount));
    }
    if lost > 0.0 {
        let series = Series { name: "metric_series_refused_total".to_owned(), labels: Vec::new() };
        write
            .prepare_cached(
                "INSERT INTO counters VALUES (?, '[]', ?) ON CONFLICT DO UPDATE SET value = value + excluded.value",
            )?
            .execute(params![series.name, lost])?;
        counted.push((series, lost));
    }
    Ok(counted)
}

/// What a topic is called.
#[must_use]
pub fn topic_name(topic: Topic) -> &'static str {
    match topic {
        Topic::UserProfileUpdates => "user-profile-updates",
        Topic::ItemStatsUpdates => "item-stats-updates",
        Topic::RecommendationMetrics => "recommendation-metrics",
    }
}

impl Part for State {
    fn name(&self) -> &'static str {
        "stream"
    }

    fn migrations(&self) -> &'static [&'static str] {
        &[include_str!("schema.sql"), include_str!("schema-2.sql")]
    }

    fn purge(&self, write: &mut Write<'_>, what: &Purge) -> Result<u64, Error> {
        let (column, id) = match what {
            Purge::User(user) => ("user", user),
            Purge::Scenario(scenario) => ("scenario", scenario),
        };
        write.execute(&format!("DELETE FROM dead_letters WHERE {column} = ?"), [id])?;
        // Keys of messages are `<scenario>/<user, item or group>`.
        match what {
            Purge::User(user) => {
                let topic = topic_name(Topic::UserProfileUpdates);
                let end = format!("/{user}");
                let sql = "DELETE FROM topics WHERE topic = ?1 AND substr(key, -length(?2)) = ?2";
                write.execute(sql, [topic, &end])?;
            }
            Purge::Scenario(scenario) => {
                let begin = format!("{scenario}/");
                write.execute("DELETE FROM topics WHERE substr(key, 1, length(?1)) = ?1", [&begin])?;
            }
        }
        // A key does not say which of its values is whose: one too many goes rather than
        // one too few.
        let part = text(std::slice::from_ref(id));
        write.execute("DELETE FROM stream_panes WHERE instr(key, ?) > 0", [&part])?;
        write.execute("DELETE FROM stream_due WHERE instr(key, ?) > 0", [&part])?;
        // A step that is being made may have read it.
        write.execute("UPDATE stream_purges SET count = count + 1", [])?;
        if let Purge::Scenario(scenario) = what {
            let label = serde_json::to_string(&["scenario", scenario]).unwrap_or_default();
            write.execute("DELETE FROM counters WHERE instr(labels, ?) > 0", [label])?;
            let tenant = write.path().and_then(|path| Some(Path::new(path).file_stem()?.to_str()?.to_owned()));
            let counters = Arc::clone(&self.counters);
            // They are read again when they are asked for.
            write.after_commit(move || drop(tenant.and_then(|tenant| lock(&counters).remove(&tenant))));
        }
        Ok(0)
    }
}

fn clamp(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
