//! Reading what operators keep.

use std::{
    collections::{BTreeMap, HashMap},
    ops::Range,
    sync::Arc,
};

use bson::{Document, doc, oid::ObjectId};
use funnelweb_core::limits;
use funnelweb_factor_events::store::{Error, Tenant};
use funnelweb_stream::{
    key,
    store::{Counters, DeadLetter, Due, Pane, Panes, Place, Series},
};
use futures::TryStreamExt;

use super::{COUNTERS, DEAD, DUE, MongoStreams, PANES, Stored, apply::pane_id, shards::by_window, signed};
use crate::{call::Find, state::integer};

/// Panes that are looked up with one question.
const TOGETHER: usize = 1000;
/// Windows whose panes are looked up with one question.
const WINDOWS: usize = 16;

/// Where a pane begins, and its accumulator.
type Accumulated = (u64, Vec<u8>);

impl MongoStreams {
    pub(super) async fn accumulators_of(&self, place: &Place, panes: &[Pane]) -> Result<Vec<Option<Vec<u8>>>, Error> {
        let id = |pane: &Pane| pane_id(place, &key::text(&pane.key), pane.from_ms);
        let ids: Vec<ObjectId> = panes.iter().map(id).collect();
        let mut known: HashMap<ObjectId, Vec<u8>> = HashMap::with_capacity(ids.len());
        for ids in ids.chunks(TOGETHER) {
            let mut filter = doc! { "_id": { "$in": ids } };
            if self.store().abilities.indexed_queries {
                filter.insert("tenant_id", place.tenant.as_str());
            }
            let find = Find { filter, fields: Some(doc! { "accumulator": 1 }), ..Find::default() };
            let found = self.store().find(PANES, &find).await?;
            known.extend(found.iter().filter_map(|found| Some((found.get_object_id("_id").ok()?, bytes(found)?))));
        }
        Ok(ids.iter().map(|id| known.remove(id)).collect())
    }

    pub(super) async fn first_pane_of(&self, place: &Place, from_ms: u64) -> Result<Option<u64>, Error> {
        let mut filter = place.all();
        filter.insert("from_ms", doc! { "$gte": signed(from_ms) });
        let (fields, sort) = (Some(doc! { "from_ms": 1 }), Some(doc! { "from_ms": 1 }));
        let find = Find { filter, fields, sort, limit: Some(1), ..Find::default() };
        let found = self.store().find(PANES, &find).await?;
        Ok(found.first().and_then(|found| integer(found, "from_ms")).map(i64::cast_unsigned))
    }

    pub(super) async fn panes_of(
        &self,
        place: &Place,
        range: Range<u64>,
        after: Option<Vec<String>>,
    ) -> Result<(Vec<Panes>, bool), Error> {
        let mut filter = place.all();
        let after = after.map(|key| key::text(&key)).unwrap_or_default();
        let range = doc! { "$gte": signed(range.start), "$lt": signed(range.end) };
        filter.extend(doc! { "key": { "$gt": after }, "from_ms": range });
        let (store, all) = (self.store(), self.store().collection(PANES));
        let read = || async {
            let panes = all.find(filter.clone()).sort(doc! { "key": 1, "from_ms": 1 });
            let panes = panes.projection(doc! { "key": 1, "from_ms": 1, "accumulator": 1 });
            let mut panes = panes.max_time(store.settings.operation_timeout()).await?;
            let mut found: Vec<(String, Vec<Accumulated>)> = Vec::new();
            let mut size = 0;
            while let Some(stored) = panes.try_next().await? {
                let Some((key, pane)) = pane(&stored) else { continue };
                let full = found.len() == limits::STREAM_KEYS || size > limits::STREAM_WINDOWS_BYTES;
                size += pane.1.len();
                match found.last_mut().filter(|(last, _)| *last == key) {
                    Some((_, panes)) => panes.push(pane),
                    None if full => return Ok((found, true)),
                    None => found.push((key, vec![pane])),
                }
            }
            Ok((found, false))
        };
        let (found, more) = store.again("find panes", read).await?;
        Ok((found.into_iter().map(|(key, panes)| (key::values(&key), panes)).collect(), more))
    }

    pub(super) async fn due_of(&self, place: &Place, size_ms: u64, fired_ms: u64) -> Result<Vec<(Due, Panes)>, Error> {
        let mut filter = place.all();
        filter.extend(doc! { "spoke": false, "end_ms": { "$lte": signed(fired_ms) } });
        let limit = Some(signed(limits::STREAM_KEYS as u64));
        let fields = Some(doc! { "key": 1, "end_ms": 1, "shard": 1, "number": 1 });
        let found = self.store().find(DUE, &Find { filter, fields, limit, ..Find::default() }).await?;
        let (mut all, mut size) = (Vec::new(), 0);
        for windows in by_window(&found).chunks(WINDOWS) {
            let panes = self.panes_in(place, windows, size_ms).await?;
            for due in windows {
                if size > limits::STREAM_WINDOWS_BYTES {
                    return Ok(all);
                }
                let (key, end_ms) = &due.window;
                let range = end_ms.saturating_sub(size_ms)..*end_ms;
                let own = panes.get(key).map(|panes| panes.range(range)).into_iter().flatten();
                let each = |(from_ms, shards): (&u64, &Vec<Vec<u8>>)| {
                    shards.iter().map(|bytes| (*from_ms, bytes.clone())).collect::<Vec<_>>()
                };
                let own: Vec<Accumulated> = own.flat_map(each).collect();
                size += own.iter().map(|(_, accumulator)| accumulator.len()).sum::<usize>();
                all.push((due.clone(), (key.clone(), own)));
            }
        }
        Ok(all)
    }

    /// The panes of windows of this size, by key and begin, those of all shards.
    async fn panes_in(
        &self,
        place: &Place,
        windows: &[Due],
        size_ms: u64,
    ) -> Result<HashMap<Vec<String>, BTreeMap<u64, Vec<Vec<u8>>>>, Error> {
        let window = |due: &Due| {
            let (key, end_ms) = &due.window;
            let range = doc! { "$gte": signed(end_ms.saturating_sub(size_ms)), "$lt": signed(*end_ms) };
            let mut filter = place.all();
            filter.extend(doc! { "key": key::text(key), "from_ms": range });
            filter
        };
        let filter = doc! { "$or": windows.iter().map(window).collect::<Vec<_>>() };
        let fields = Some(doc! { "key": 1, "from_ms": 1, "accumulator": 1 });
        let found = self.store().find(PANES, &Find { filter, fields, ..Find::default() }).await?;
        let mut panes: HashMap<Vec<String>, BTreeMap<u64, Vec<Vec<u8>>>> = HashMap::new();
        // A pane that two of the windows have is found once.
        for (key, (from_ms, accumulator)) in found.iter().filter_map(pane) {
            panes.entry(key::values(&key)).or_default().entry(from_ms).or_default().push(accumulator);
        }
        Ok(panes)
    }

    /// Of all operators together.
    pub(super) async fn all_counters(&self) -> Result<Vec<(Tenant, Arc<Counters>)>, Error> {
        let fields = Some(doc! { "tenant_id": 1, "name": 1, "labels": 1, "value": 1 });
        let find = Find { filter: doc! { "name": { "$exists": true } }, fields, ..Find::default() };
        let mut all: BTreeMap<Tenant, Counters> = BTreeMap::new();
        for found in self.store().find(COUNTERS, &find).await? {
            if let Some((tenant, series, value)) = counter(&found) {
                *all.entry(tenant).or_default().entry(series).or_default() += value;
            }
        }
        Ok(all.into_iter().map(|(tenant, counters)| (tenant, Arc::new(counters))).collect())
    }

    pub(super) async fn letters(&self, tenant: &Tenant, limit: u32) -> Result<Vec<(String, DeadLetter)>, Error> {
        let find = Find {
            filter: doc! { "tenant_id": tenant.as_str(), "order": { "$exists": true } },
            sort: Some(doc! { "order": -1 }),
            limit: Some(limit.into()),
            ..Find::default()
        };
        let found = self.store().find(DEAD, &find).await?;
        Ok(found.iter().filter_map(letter).collect())
    }
}

fn bytes(found: &Document) -> Option<Vec<u8>> {
    found.get_binary_generic("accumulator").ok().cloned()
}

/// The key of a stored pane, where it begins, and its accumulator.
fn pane(found: &Document) -> Option<(String, Accumulated)> {
    let from_ms = integer(found, "from_ms")?.cast_unsigned();
    Some((found.get_str("key").ok()?.to_owned(), (from_ms, bytes(found)?)))
}

fn counter(found: &Document) -> Option<(Tenant, Series, f64)> {
    let tenant = Tenant::new(found.get_str("tenant_id").ok()?).ok()?;
    let labels = found.get_document("labels").ok()?.iter();
    let labels = labels.filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned())));
    let series = Series { name: found.get_str("name").ok()?.to_owned(), labels: labels.collect() };
    Some((tenant, series, found.get_f64("value").ok()?))
}

fn letter(found: &Document) -> Option<(String, DeadLetter)> {
    let text = |name: &str| Some(found.get_str(name).ok()?.to_owned());
    let letter = DeadLetter {
        offset: integer(found, "offset")?.cast_unsigned(),
        scenario_id: text("scenario_id")?,
        user_id: text("user_id")?,
        reason: text("reason")?,
        about: text("about")?,
    };
    Some((text("operator")?, letter))
}
