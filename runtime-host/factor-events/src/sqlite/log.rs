//! The log: which events are new, and finding them again.
//!
//! An event is found by its id, user or item in tables that are written for many
//! events at once; up to the last offset they have, the log is looked up in
//! them, behind it it is read through. The ids of the part behind are in memory,
//! so that a duplicate is known at once.

use std::collections::{HashMap, HashSet};

use funnelweb_core::id;
use funnelweb_tenant_store::{Error, Overlay, Purge, Write};
use rusqlite::{CachedStatement, Connection, OptionalExtension, Row, params, params_from_iter, types::Value as Sql};

use crate::{
    check::taken,
    store::{AppendOutcome, Event, HistoryQuery, Signal, StoredEvent},
};

/// Events that are put into the index tables together.
const INDEXED_TOGETHER: usize = 65_536;

/// Offsets, by the handle of the event's id, of events that are committed and not
/// in the index tables. The number of a change is its offset.
pub(super) type Ids = Overlay<u64, ()>;

/// Offset and handle of a new event.
pub(super) type New = (u64, u64);

/// Ends of the log in a transaction.
struct Ends {
    last: u64,
    indexed: u64,
}

fn ends(connection: &Connection) -> Result<Ends, Error> {
    let mut select = connection.prepare_cached("SELECT last, indexed FROM log_ends")?;
    let (last, indexed): (i64, i64) = select.query_row([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(Ends { last: last.cast_unsigned(), indexed: indexed.cast_unsigned() })
}

/// Tells which events were there before.
struct Known<'a> {
    /// Of this transaction: neither in the tables nor in memory.
    fresh: HashSet<String>,
    by_id: CachedStatement<'a>,
    at: CachedStatement<'a>,
}

impl Known<'_> {
    /// Whether one of the candidates, or of those that the table has for the
    /// handle, is the event.
    fn has(&mut self, event_id: &str, handle: u64, candidates: &[(u64, ())]) -> Result<bool, Error> {
        if self.fresh.contains(event_id) {
            return Ok(true);
        }
        let mut offsets: Vec<i64> = candidates.iter().map(|(offset, ())| offset.cast_signed()).collect();
        let mut rows = self.by_id.query([handle.cast_signed()])?;
        while let Some(row) = rows.next()? {
            offsets.push(row.get(0)?);
        }
        for offset in offsets {
            let same = self.at.query_row([offset], |row| Ok(row.get_ref(0)?.as_str()? == event_id)).optional()?;
            if same == Some(true) {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// Adds those events that are new to the end of the log. Returns what became of
/// each, and the new ones, for [`Ids`].
pub(super) fn insert(write: &Write<'_>, ids: &Ids, events: &[Event]) -> Result<(Vec<AppendOutcome>, Vec<New>), Error> {
    let Ends { mut last, indexed } = ends(write)?;
    let handles: Vec<u64> = events.iter().map(|event| id::handle(&event.event_id)).collect();
    let (published, candidates) = ids.get(write.number(), &handles);
    let fresh = write
        .prepare_cached(r#"SELECT event_id FROM events WHERE "offset" > ?"#)?
        .query_map([published.max(indexed).cast_signed()], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    let mut known = Known {
        fresh,
        by_id: write.prepare_cached(r#"SELECT "offset" FROM events_by_id WHERE id = ?"#)?,
        at: write.prepare_cached(r#"SELECT event_id FROM events WHERE "offset" = ?"#)?,
    };
    let mut insert = write.prepare_cached("INSERT INTO events VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)")?;
    let mut outcomes = Vec::with_capacity(events.len());
    let mut new = Vec::with_capacity(events.len());
    for ((event, handle), candidates) in events.iter().zip(handles).zip(&candidates) {
        let Event { event_id, scenario_id, user_id, item_id, action_type, timestamp_ms, body, signal } = event;
        if known.has(event_id, handle, candidates)? {
            outcomes.push(AppendOutcome::Duplicate);
            continue;
        }
        last += 1;
        let (offset, at_ms) = (last.cast_signed(), timestamp_ms.cast_signed());
        let signal = signal.as_ref().map(Signal::encode).transpose()?;
        insert.execute(params![offset, event_id, scenario_id, user_id, item_id, action_type, at_ms, body, signal])?;
        known.fresh.insert(event_id.clone());
        new.push((last, handle));
        outcomes.push(AppendOutcome::Accepted);
    }
    write.prepare_cached("UPDATE log_ends SET last = ?")?.execute([last.cast_signed()])?;
    Ok((outcomes, new))
}

/// Puts what was appended since into the tables that find events.
pub(super) fn index(write: &Write<'_>) -> Result<u64, Error> {
    let Ends { last, mut indexed } = ends(write)?;
    while indexed < last {
        let mut rows: [Vec<(i64, i64)>; 3] = Default::default();
        {
            let mut select = write.prepare_cached(
                r#"SELECT "offset", event_id, user, item FROM events WHERE "offset" > ? ORDER BY "offset" LIMIT ?"#,
            )?;
            let mut found = select.query(params![indexed.cast_signed(), INDEXED_TOGETHER as i64])?;
            // Behind the last event nothing is left, though it may be deleted.
            indexed = last;
            let mut count = 0;
            while let Some(row) = found.next()? {
                let offset: i64 = row.get(0)?;
                for (at, list) in rows.iter_mut().enumerate() {
                    let text = row.get_ref(at + 1)?.as_str().map_err(rusqlite::Error::from)?;
                    list.push((id::handle(text).cast_signed(), offset));
                }
                count += 1;
                if count == INDEXED_TOGETHER {
                    indexed = offset.cast_unsigned();
                }
            }
        }
        for (mut list, table) in rows.into_iter().zip(["events_by_id", "events_by_user", "events_by_item"]) {
            list.sort_unstable();
            let mut insert = write.prepare_cached(&format!("INSERT INTO {table} VALUES (?, ?)"))?;
            for (handle, offset) in list {
                insert.execute([handle, offset])?;
            }
        }
    }
    write.prepare_cached("UPDATE log_ends SET indexed = ?")?.execute([indexed.cast_signed()])?;
    Ok(indexed)
}

/// Events that are deleted with one call because they are old.
const EXPIRED: u32 = 1000;

/// The last of the events that begin the log and are older, and below an offset; of so many.
pub(super) fn last_expired(write: &Write<'_>, before_ms: u64, below: u64) -> Result<Option<i64>, Error> {
    let sql = r#"SELECT "offset", timestamp_ms FROM events WHERE "offset" < ? ORDER BY "offset" LIMIT ?"#;
    let mut select = write.prepare_cached(sql)?;
    let (below, before_ms) = (i64::try_from(below).unwrap_or(i64::MAX), i64::try_from(before_ms).unwrap_or(i64::MAX));
    let mut rows = select.query(rusqlite::params![below, EXPIRED])?;
    let mut last = None;
    while let Some(row) = rows.next()?
        && row.get::<_, i64>(1)? < before_ms
    {
        last = Some(row.get(0)?);
    }
    Ok(last)
}

/// Deletes the events up to this one; everything is in the index tables. Returns how many.
pub(super) fn delete_until(write: &Write<'_>, last: i64) -> Result<u64, Error> {
    delete_where(write, r#""offset" <= ?"#, vec![Sql::Integer(last)])
}

/// Deletes the events of a user or scenario; everything is in the index tables.
/// Returns how many.
pub(super) fn delete(write: &Write<'_>, what: &Purge) -> Result<u64, Error> {
    let (which, values) = match what {
        Purge::User(user) => {
            let through = r#""offset" IN (SELECT "offset" FROM events_by_user WHERE user = ?) AND user = ?"#;
            (through, vec![Sql::Integer(id::handle(user).cast_signed()), Sql::Text(user.clone())])
        }
        Purge::Scenario(scenario) => ("scenario = ?", vec![Sql::Text(scenario.clone())]),
    };
    delete_where(write, which, values)
}

fn delete_where(write: &Write<'_>, which: &str, values: Vec<Sql>) -> Result<u64, Error> {
    let sql = format!(r#"DELETE FROM events WHERE {which} RETURNING "offset", event_id, user, item"#);
    let mut count = 0;
    let mut delete = write.prepare_cached(&sql)?;
    let mut rows = delete.query(params_from_iter(values))?;
    let mut gone: HashMap<&str, Vec<(i64, i64)>> = HashMap::new();
    while let Some(row) = rows.next()? {
        let offset: i64 = row.get(0)?;
        for (at, table) in [(1, "events_by_id"), (2, "events_by_user"), (3, "events_by_item")] {
            let text = row.get_ref(at)?.as_str().map_err(rusqlite::Error::from)?;
            gone.entry(table).or_default().push((id::handle(text).cast_signed(), offset));
        }
        count += 1;
    }
    for (table, column) in [("events_by_id", "id"), ("events_by_user", "user"), ("events_by_item", "item")] {
        let mut rows = gone.remove(table).unwrap_or_default();
        rows.sort_unstable();
        let sql = format!(r#"DELETE FROM {table} WHERE {column} = ? AND "offset" = ?"#);
        let mut delete = write.prepare_cached(&sql)?;
        for (handle, offset) in rows {
            delete.execute([handle, offset])?;
        }
    }
    Ok(count)
}

const COLUMNS: &str =
    "e.\"offset\", e.event_id, e.scenario, e.user, e.item, e.action_type, e.timestamp_ms, e.body, e.signal";

fn to_event(row: &Row<'_>) -> rusqlite::Result<StoredEvent> {
    let event = Event {
        event_id: row.get(1)?,
        scenario_id: row.get(2)?,
        user_id: row.get(3)?,
        item_id: row.get(4)?,
        action_type: row.get(5)?,
        timestamp_ms: row.get::<_, i64>(6)?.cast_unsigned(),
        body: row.get(7)?,
        signal: row.get_ref(8)?.as_blob_or_null()?.and_then(Signal::decode),
    };
    Ok(StoredEvent { offset: row.get::<_, i64>(0)?.cast_unsigned(), event })
}

fn clamp(offset: u64) -> i64 {
    i64::try_from(offset).unwrap_or(i64::MAX)
}

/// The log from `offset` on.
pub(super) fn read(connection: &Connection, from: u64, limit: u32) -> Result<Vec<StoredEvent>, Error> {
    let sql = format!(r#"SELECT {COLUMNS} FROM events e WHERE e."offset" >= ? ORDER BY e."offset" LIMIT ?"#);
    let mut select = connection.prepare_cached(&sql)?;
    let events = select.query_map(params![clamp(from), limit], to_event)?;
    Ok(events.collect::<Result<_, _>>()?)
}

/// The last offset that was given.
pub(super) fn last(connection: &Connection) -> Result<u64, Error> {
    Ok(ends(connection)?.last)
}

/// Has no offset up to this one be given again.
pub(super) fn raise_last(connection: &Connection, offset: u64) -> Result<(), Error> {
    connection.prepare_cached("UPDATE log_ends SET last = max(last, ?)")?.execute([clamp(offset)])?;
    Ok(())
}

/// Puts events behind the end of the log, at their offsets, which ascend; those
/// that are there at theirs are passed over.
pub(super) fn restore(write: &Write<'_>, events: &[StoredEvent]) -> Result<(), Error> {
    let end = last(write)?;
    let mut at = write.prepare_cached(r#"SELECT event_id FROM events WHERE "offset" = ?"#)?;
    let mut by_id = write.prepare_cached(
        r#"SELECT 1 FROM events_by_id i CROSS JOIN events e ON e."offset" = i."offset"
           WHERE i.id = ? AND e.event_id = ?"#,
    )?;
    let mut insert = write.prepare_cached("INSERT INTO events VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)")?;
    for StoredEvent { offset, event } in events {
        let Event { event_id, scenario_id, user_id, item_id, action_type, timestamp_ms, body, signal } = event;
        let (stored, at_ms) = (offset.cast_signed(), timestamp_ms.cast_signed());
        let there: Option<String> = at.query_row([stored], |row| row.get(0)).optional()?;
        if there.as_ref() == Some(event_id) {
            continue;
        }
        // Up to the end of the log everything is in the index tables.
        let is_known = by_id.exists(params![id::handle(event_id).cast_signed(), event_id])?;
        if *offset <= end || is_known {
            return Err(taken(*offset, event_id));
        }
        let signal = signal.as_ref().map(Signal::encode).transpose()?;
        insert.execute(params![stored, event_id, scenario_id, user_id, item_id, action_type, at_ms, body, signal])?;
    }
    raise_last(write, events.last().map_or(0, |last| last.offset))
}

/// The id of an item that has the handle, if it is in the log.
pub(super) fn item_id(connection: &Connection, handle: u64) -> Result<Option<String>, Error> {
    let mut select = connection.prepare_cached(
        r#"SELECT e.item FROM events_by_item i CROSS JOIN events e ON e."offset" = i."offset" WHERE i.item = ? LIMIT 1"#,
    )?;
    Ok(select.query_row([handle.cast_signed()], |row| row.get(0)).optional()?)
}

/// A user's or item's events, newest first: those behind the index tables, then
/// those in them.
pub(super) fn history(connection: &Connection, query: &HistoryQuery) -> Result<Vec<StoredEvent>, Error> {
    let indexed = ends(connection)?.indexed;
    let before = query.before.unwrap_or(u64::MAX);
    let lead = match (&query.user_id, &query.item_id) {
        (Some(user), _) => ("events_by_user", "user", id::handle(user)),
        (None, item) => ("events_by_item", "item", id::handle(item.as_deref().unwrap_or_default())),
    };
    let mut events = select(connection, query, None, (clamp(indexed) + 1, clamp(before)))?;
    let end = clamp(before).min(clamp(indexed).saturating_add(1));
    let rest = HistoryQuery { limit: query.limit.saturating_sub(events.len() as u32), ..query.clone() };
    if rest.limit > 0 {
        events.extend(select(connection, &rest, Some(lead), (0, end))?);
    }
    Ok(events)
}

/// Events with offsets of `from` to below `to`; through an index table, or all.
fn select(
    connection: &Connection,
    query: &HistoryQuery,
    lead: Option<(&str, &str, u64)>,
    (from, to): (i64, i64),
) -> Result<Vec<StoredEvent>, Error> {
    let mut values = Vec::new();
    let (tables, mut conditions, order) = match lead {
        Some((table, column, handle)) => {
            values.push(Sql::Integer(handle.cast_signed()));
            // A cross join is not reordered.
            let tables = format!(r#"{table} i CROSS JOIN events e ON e."offset" = i."offset""#);
            (tables, vec![format!("i.{column} = ?")], r#"i."offset""#)
        }
        None => ("events e".to_owned(), vec![], r#"e."offset""#),
    };
    conditions.push(format!("{order} >= ? AND {order} < ?"));
    values.extend([Sql::Integer(from), Sql::Integer(to)]);
    let filters = [("user", &query.user_id), ("item", &query.item_id), ("scenario", &query.scenario_id)];
    for (column, value) in filters {
        if let Some(value) = value {
            conditions.push(format!("e.{column} = ?"));
            values.push(Sql::Text(value.clone()));
        }
    }
    values.push(Sql::Integer(i64::from(query.limit)));
    let conditions = conditions.join(" AND ");
    let sql = format!("SELECT {COLUMNS} FROM {tables} WHERE {conditions} ORDER BY {order} DESC LIMIT ?");
    let mut select = connection.prepare_cached(&sql)?;
    let events = select.query_map(params_from_iter(values), to_event)?;
    Ok(events.collect::<Result<_, _>>()?)
}
