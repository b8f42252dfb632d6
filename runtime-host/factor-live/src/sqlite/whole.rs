//! All live structures of a tenant: walking and restoring them.

use std::collections::BTreeMap;

use funnelweb_core::id;
use funnelweb_tenant_store::{Durability, TenantFile, Write, pages};
use futures::StreamExt as _;
use rusqlite::{Connection, params};

use super::{
    SqliteLive,
    cache::LiveKey,
    exposed,
    tables::{list, members},
};
use crate::{
    decay::factor,
    store::{Counters, Error, Exposed, Hot, Tenant, Walk, Whole},
};

/// Structures on one page, and items that users were shown after which it ends.
const PAGE: usize = 256;
const PAGE_ITEMS: usize = 50_000;

/// User and scenario.
type Place = (String, String);

impl SqliteLive {
    /// [`crate::store::Live::walk`]. What the journal holds back is brought to the
    /// tables first.
    pub(super) fn walk_all<'a>(&'a self, tenant: &'a Tenant) -> Walk<'a, Whole> {
        let hot = pages(String::new(), move |after| async move {
            let file = self.stores.open(tenant).await?;
            file.write(Durability::Relaxed, |write| write.settle()).await?;
            let names = file.clone();
            file.read(move |tx| hot_page(tx, &names, &after)).await
        });
        let exposed = pages((String::new(), String::new()), move |after| async move {
            let file = self.stores.open(tenant).await?;
            let now_ms = self.stores.now_ms();
            file.read(move |tx| exposed_page(tx, after, now_ms)).await
        });
        let counters = pages(i64::MIN, move |after| async move {
            let file = self.stores.open(tenant).await?;
            file.write(Durability::Relaxed, |write| write.settle()).await?;
            let names = file.clone();
            file.read(move |tx| counters_page(tx, &names, after)).await
        });
        hot.chain(exposed).chain(counters).boxed()
    }

    /// [`crate::store::Live::restore`], of structures that were checked.
    pub(super) async fn put_back(&self, tenant: &Tenant, structures: Vec<Whole>) -> Result<(), Error> {
        let file = self.stores.open(tenant).await?;
        let (memory, now_ms) = (self.tables.memory.clone(), self.stores.now_ms());
        file.write(Durability::Durable, move |write| {
            write.settle()?;
            let mut changed = Vec::with_capacity(structures.len());
            for structure in &structures {
                changed.push(match structure {
                    Whole::Hot(hot) => put_hot(write, hot)?,
                    Whole::Exposed(exposed) => put_exposed(write, exposed, now_ms)?,
                    Whole::Counters(counters) => put_counters(write, counters)?,
                });
            }
            write.after_commit(move || changed.iter().for_each(|key| memory.cache.forget(key)));
            Ok(())
        })
        .await
    }
}

/// The next hot list: they are large.
fn hot_page(connection: &Connection, file: &TenantFile, after: &str) -> Result<(Vec<Whole>, Option<String>), Error> {
    let mut select = connection.prepare_cached("SELECT min(scenario) FROM hot_lists WHERE scenario > ?")?;
    let Some(scenario_id) = select.query_row([after], |row| row.get::<_, Option<String>>(0))? else {
        return Ok((Vec::new(), None));
    };
    let half_life_s = list(connection, &scenario_id)?.map_or(1, |(half_life_s, _)| half_life_s);
    let members = members(connection, &scenario_id)?;
    let newest_ms = members.iter().map(|(_, score)| score.at_ms).max().unwrap_or(0);
    let (mut items, mut nameless) = (BTreeMap::new(), 0);
    for (handle, score) in members {
        match file.item_id(connection, handle)? {
            Some(id) => {
                items.insert(id, score.value * factor(score.at_ms, newest_ms, half_life_s));
            }
            None => nameless += 1,
        }
    }
    if nameless > 0 {
        tracing::warn!(scenario_id, nameless, "items of a hot list that neither catalogue nor log knows are left out");
    }
    let next = Some(scenario_id.clone());
    let hot = Hot { scenario_id, half_life_s, newest_ms, items };
    Ok((if hot.items.is_empty() { vec![] } else { vec![Whole::Hot(hot)] }, next))
}

/// Users and scenarios behind a place; and the last of them.
fn exposed_page(
    connection: &Connection,
    (user, scenario): Place,
    now_ms: u64,
) -> Result<(Vec<Whole>, Option<Place>), Error> {
    let mut select = connection.prepare_cached(
        "SELECT DISTINCT user, scenario FROM exposures WHERE (user, scenario) > (?, ?) ORDER BY user, scenario LIMIT ?",
    )?;
    let found = select.query_map(params![user, scenario, PAGE as i64], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let found: Vec<Place> = found.collect::<Result<_, _>>()?;
    let mut next = if found.len() == PAGE { found.last().cloned() } else { None };
    let (mut page, mut count) = (Vec::with_capacity(found.len()), 0);
    for (user_id, scenario_id) in found {
        let items: BTreeMap<_, _> = exposed::alive(connection, &scenario_id, &user_id, now_ms)?.into_iter().collect();
        count += items.len();
        let place = (user_id.clone(), scenario_id.clone());
        if !items.is_empty() {
            page.push(Whole::Exposed(Exposed { scenario_id, user_id, items }));
        }
        if count > PAGE_ITEMS {
            next = Some(place);
            break;
        }
    }
    Ok((page, next))
}

/// Items with handles above `after`; and the last handle.
fn counters_page(connection: &Connection, file: &TenantFile, after: i64) -> Result<(Vec<Whole>, Option<i64>), Error> {
    let mut select = connection
        .prepare_cached("SELECT handle, field, value FROM item_stats WHERE handle > ? ORDER BY handle, field")?;
    let mut rows = select.query([after])?;
    let mut counted: Vec<(i64, BTreeMap<String, f64>)> = Vec::new();
    let mut next = None;
    while let Some(row) = rows.next()? {
        let (handle, field, value) = (row.get(0)?, row.get(1)?, row.get(2)?);
        let full = counted.len() == PAGE;
        match counted.last_mut() {
            Some((last, fields)) if *last == handle => {
                fields.insert(field, value);
            }
            Some((last, _)) if full => {
                next = Some(*last);
                break;
            }
            _ => counted.push((handle, BTreeMap::from([(field, value)]))),
        }
    }
    let (mut page, mut nameless) = (Vec::with_capacity(counted.len()), 0);
    for (handle, fields) in counted {
        match file.item_id(connection, handle.cast_unsigned())? {
            Some(item_id) => page.push(Whole::Counters(Counters { item_id, fields })),
            None => nameless += 1,
        }
    }
    if nameless > 0 {
        tracing::warn!(nameless, "counters of items that neither catalogue nor log knows are left out");
    }
    Ok((page, next))
}

fn put_hot(write: &Write<'_>, hot: &Hot) -> Result<LiveKey, Error> {
    let Hot { scenario_id, half_life_s, newest_ms, items } = hot;
    write.prepare_cached("DELETE FROM hot_items WHERE scenario = ?")?.execute([scenario_id])?;
    let mut rows: Vec<(i64, f64)> =
        items.iter().map(|(item, score)| (id::handle(item).cast_signed(), *score)).collect();
    rows.sort_unstable_by_key(|(handle, _)| *handle);
    let mut insert = write.prepare_cached("INSERT OR REPLACE INTO hot_items VALUES (?, ?, ?, ?)")?;
    for (handle, score) in &rows {
        insert.execute(params![scenario_id, handle, score, newest_ms.cast_signed()])?;
    }
    write.prepare_cached("INSERT OR REPLACE INTO hot_lists VALUES (?, ?, ?)")?.execute(params![
        scenario_id,
        half_life_s,
        rows.len() as i64
    ])?;
    Ok(LiveKey::Hot { file: write.number(), scenario: scenario_id.as_str().into() })
}

fn put_exposed(write: &Write<'_>, exposed: &Exposed, now_ms: u64) -> Result<LiveKey, Error> {
    let (scenario, user) = (exposed.scenario_id.as_str(), exposed.user_id.as_str());
    let rows: Vec<_> = exposed.by_expiry(now_ms).into_iter().collect();
    exposed::replace(write, scenario, user, &rows, now_ms)?;
    Ok(LiveKey::Exposed { file: write.number(), scenario: scenario.into(), user: user.into() })
}

fn put_counters(write: &Write<'_>, counters: &Counters) -> Result<LiveKey, Error> {
    let handle = id::handle(&counters.item_id);
    write.prepare_cached("DELETE FROM item_stats WHERE handle = ?")?.execute([handle.cast_signed()])?;
    let mut insert = write.prepare_cached("INSERT INTO item_stats VALUES (?, ?, ?)")?;
    for (field, value) in &counters.fields {
        insert.execute(params![handle.cast_signed(), field, value])?;
    }
    Ok(LiveKey::Stats { file: write.number(), handle })
}
