//! Exposure rows: one per call, merged when there are many.

use std::collections::HashMap;

use funnelweb_core::id;
use funnelweb_tenant_store::Error;
use rusqlite::{Connection, params};

use crate::exposures::{ExposureSet, Shown};

/// Rows of one user and scenario that are merged into fewer.
const COMPACT_ROWS: usize = 1024;
/// Expired rows that each insert takes along: more than it adds, so they go.
const EXPIRED_ROWS: u32 = 4;

/// The item ids as they are stored. They were checked: nothing needs escaping.
pub(super) fn encode(items: &[String]) -> String {
    format!("[\"{}\"]", items.join("\",\""))
}

/// Adds what one call showed; with `compact` merges the user's rows and returns
/// how many there are now. `of` is scenario and user.
pub(super) fn store(
    connection: &Connection,
    (scenario, user): (&str, &str),
    expires_ms: u64,
    items: &str,
    now_ms: u64,
    compact_rows: bool,
) -> Result<Option<usize>, Error> {
    insert(connection, scenario, user, expires_ms, items, now_ms)?;
    if compact_rows { Ok(Some(compact(connection, scenario, user, now_ms)?)) } else { Ok(None) }
}

/// Adds a row and takes a few expired ones away.
fn insert(
    connection: &Connection,
    scenario: &str,
    user: &str,
    expires_ms: u64,
    items: &str,
    now_ms: u64,
) -> Result<(), Error> {
    let mut insert =
        connection.prepare_cached("INSERT INTO exposures (user, scenario, expires_ms, items) VALUES (?, ?, ?, ?)")?;
    insert.execute(params![user, scenario, expires_ms.cast_signed(), items])?;
    let mut expire = connection.prepare_cached(
        "DELETE FROM exposures WHERE seq IN (SELECT seq FROM exposures WHERE expires_ms <= ? LIMIT ?)",
    )?;
    expire.execute(params![now_ms.cast_signed(), EXPIRED_ROWS])?;
    Ok(())
}

/// The set that the rows make.
pub(super) fn load(connection: &Connection, scenario: &str, user: &str, now_ms: u64) -> Result<ExposureSet, Error> {
    let mut set = ExposureSet::default();
    set.compact_at = COMPACT_ROWS;
    each(connection, scenario, user, now_ms, |expires_ms, items| {
        set.add(&Shown { expires_ms, handles: items.iter().map(|item| id::handle(item)).collect() });
    })?;
    Ok(set)
}

fn each(
    connection: &Connection,
    scenario: &str,
    user: &str,
    now_ms: u64,
    mut row: impl FnMut(u64, Vec<&str>),
) -> Result<(), Error> {
    let mut select = connection.prepare_cached(
        "SELECT expires_ms, items FROM exposures WHERE user = ? AND scenario = ? AND expires_ms > ? ORDER BY seq",
    )?;
    let mut rows = select.query(params![user, scenario, now_ms.cast_signed()])?;
    while let Some(found) = rows.next()? {
        let items = found.get_ref(1)?.as_str().map_err(rusqlite::Error::from)?;
        row(found.get::<_, i64>(0)?.cast_unsigned(), serde_json::from_str(items).unwrap_or_default());
    }
    Ok(())
}

/// Writes the rows of a user anew: each item once, one row for those that
/// expire together. Returns how many rows there are now.
fn compact(connection: &Connection, scenario: &str, user: &str, now_ms: u64) -> Result<usize, Error> {
    let mut rows: Vec<(u64, Vec<String>)> = Vec::new();
    for (name, expires_ms) in alive(connection, scenario, user, now_ms)? {
        match rows.last_mut() {
            Some((expiry, items)) if *expiry == expires_ms => items.push(name),
            _ => rows.push((expires_ms, vec![name])),
        }
    }
    replace(connection, scenario, user, &rows, now_ms)?;
    Ok(rows.len())
}

/// The items that have not expired, and when they do, in the order in which they
/// were last added.
pub(super) fn alive(
    connection: &Connection,
    scenario: &str,
    user: &str,
    now_ms: u64,
) -> Result<Vec<(String, u64)>, Error> {
    let mut set = ExposureSet::default();
    let mut names = HashMap::new();
    each(connection, scenario, user, now_ms, |expires_ms, items| {
        set.add(&Shown { expires_ms, handles: items.iter().map(|item| id::handle(item)).collect() });
        names.extend(items.into_iter().map(|item| (id::handle(item), item.to_owned())));
    })?;
    Ok(set.alive(now_ms).filter_map(|(handle, expires_ms)| Some((names.remove(&handle)?, expires_ms))).collect())
}

/// Writes rows in the place of all of a user's.
pub(super) fn replace(
    connection: &Connection,
    scenario: &str,
    user: &str,
    rows: &[(u64, Vec<String>)],
    now_ms: u64,
) -> Result<(), Error> {
    connection.prepare_cached("DELETE FROM exposures WHERE user = ? AND scenario = ?")?.execute([user, scenario])?;
    for (expires_ms, items) in rows {
        insert(connection, scenario, user, *expires_ms, &encode(items), now_ms)?;
    }
    Ok(())
}

/// When a set that has so many rows is merged next.
pub(super) fn compact_at(rows: usize) -> usize {
    COMPACT_ROWS.max(2 * rows)
}

pub(super) fn delete_user(connection: &Connection, user: &str) -> Result<(), Error> {
    connection.prepare_cached("DELETE FROM exposures WHERE user = ?")?.execute([user])?;
    Ok(())
}
