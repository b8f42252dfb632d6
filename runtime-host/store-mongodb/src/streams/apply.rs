//! What a step changes, each thing once whoever applies it how often.

use std::{
    collections::{BTreeMap, HashSet},
    time::{Duration, Instant},
};

use bson::{Bson, Document, doc, oid::ObjectId};
use funnelweb_core::limits;
use funnelweb_factor_events::store::Error;
use funnelweb_stream::{own, store::Series};
use serde_json::json;
use tokio::sync::MutexGuard;

use super::{
    COUNTERS, DEAD, DUE, GONE, MAIN, MongoStreams, PANES, Place, SEEN, Stored,
    newer::Change,
    signed,
    written::{Dead, Labels, Written},
};
use crate::{call::Find, codec::date, documents::binary};

/// Time after which it is looked whether another process has applied the step: what live
/// structures and profiles remember of steps has an end.
const SLOW: Duration = Duration::from_secs(1);
/// Bytes of a document beside what it is about.
const FIELDS_BYTES: usize = 256;
/// The counter of amounts for counters that there was no room for.
const REFUSED: &str = "metric_series_refused_total";
/// Begins the names of counters that always have room.
const OWN: &str = "stream_";
/// Sorts behind the names that begin with [`own::METRICS`].
const OWN_END: &str = "own`";

impl MongoStreams {
    /// Applies a step that was found, or written down, at `begun`. The caller holds the
    /// place's lock.
    pub(super) async fn apply(
        &self,
        place: &Place,
        number: i64,
        written: &Written,
        begun: Instant,
    ) -> Result<(), Error> {
        if begun.elapsed() > SLOW && !self.is_pending(place, number).await? {
            return Ok(());
        }
        let kept = [
            (PANES, panes(place, number, written)),
            (COUNTERS, counts(place, number, &written.counts)),
            (DEAD, dead(place, number, written)),
            (SEEN, seen(place, number, written)),
        ];
        let kept = kept.into_iter().filter(|(_, changes)| !changes.is_empty()).map(async |(collection, changes)| {
            self.store().change_older(&place.tenant, collection, number, changes).await.map_err(Error::from)
        });
        // All to their end: what the one did is not lost when another fails.
        let (kept, said, changed) = futures::join!(
            futures::future::join_all(kept),
            self.say(place, number, written),
            self.change(place, number, written)
        );
        kept.into_iter().chain([said, changed]).collect::<Result<(), Error>>()?;
        // Whoever sees that a window is due sees its panes.
        self.mark(place, number, written).await?;
        if written.forget_below > 0 {
            self.forget_seen(place, written.forget_below).await?;
        }
        if written.drop_before_ms > 0 {
            self.drop_before(place, number, written.drop_before_ms).await?;
        }
        if written.dead.is_empty() { Ok(()) } else { self.keep_letters(place).await }
    }

    async fn say(&self, place: &Place, number: i64, written: &Written) -> Result<(), Error> {
        for (topic, messages) in &written.messages {
            self.publish(place, number, topic, messages, written.at_ms).await?;
        }
        let Some(announcer) = self.announcer.as_ref().filter(|_| !written.dead.is_empty()) else { return Ok(()) };
        let letter = |Dead { offset, scenario_id, user_id, about, reason }: &Dead| {
            let letter = json!({
                "operator": place.operator, "shard": place.shard, "offset": offset, "scenario_id": scenario_id,
                "user_id": user_id, "about": about, "reason": reason,
            });
            (user_id.clone(), letter.to_string())
        };
        announcer.bury(&place.tenant, written.dead.iter().map(letter).collect()).await
    }

    async fn change(&self, place: &Place, number: i64, written: &Written) -> Result<(), Error> {
        if written.changes.is_empty() {
            return Ok(());
        }
        let (tenant, changes) = (&place.tenant, written.changes.clone());
        match self.events.apply_changes(tenant, place.batch(number), written.at_ms, changes).await {
            // It would be refused each time.
            Err(error @ (Error::Invalid(_) | Error::Denied(_))) => {
                tracing::error!(%tenant, operator = place.operator, %error, "what an operator changes is refused");
                Ok(())
            }
            done => done,
        }
    }

    /// Marks windows that are due. What has spoken need not do so again, unless something
    /// came since.
    async fn mark(&self, place: &Place, number: i64, written: &Written) -> Result<(), Error> {
        if written.due.is_empty() && written.spoke.is_empty() {
            return Ok(());
        }
        let marks = written.spoke.iter().flat_map(|(key, end_ms, marks)| {
            marks.iter().map(move |(shard, number)| {
                (place.at(*shard).object_id(&[key.as_bytes(), &end_ms.to_be_bytes()]), signed(*number))
            })
        });
        let (marks, change) = (marks.collect(), doc! { "$set": { "spoke": true } });
        let (store, tenant) = (self.store(), &place.tenant);
        let _held = self.hold_marks(place).await;
        store.change_older(tenant, DUE, number, due(place, number, written)).await?;
        store.change_marked(tenant, DUE, marks, &change).await?;
        Ok(())
    }

    /// Holds the lock of an operator's marks: the main place takes off those of all shards.
    pub(super) async fn hold_marks(&self, place: &Place) -> Option<MutexGuard<'_, ()>> {
        self.store().locks.documents.hold((DUE, &place.tenant, &place.operator)).await
    }

    /// Deletes what is no longer remembered.
    async fn forget_seen(&self, place: &Place, below: u64) -> Result<(), Error> {
        let (store, mut filter) = (self.store(), place.own());
        filter.insert("generation", doc! { "$lt": signed(below) });
        let seen = store.collection(SEEN);
        store.again("delete", || async { seen.delete_many(filter.clone()).await }).await?;
        Ok(())
    }

    /// Deletes panes of all shards that begin before, and the memory of windows that spoke
    /// and are over.
    async fn drop_before(&self, place: &Place, number: i64, before_ms: u64) -> Result<(), Error> {
        let store = self.store();
        let (mut panes, mut windows) = (place.all(), place.all());
        // A late one drops nothing that came after it; of shards, what is over stays so.
        let own = doc! { "shard": i64::from(MAIN), "number": { "$lte": number } };
        let others = doc! { "shard": { "$ne": i64::from(MAIN) } };
        panes.extend(doc! { "from_ms": { "$lt": signed(before_ms) }, "$or": [own, others] });
        windows.extend(doc! { "spoke": true, "end_ms": { "$lte": signed(before_ms) } });
        for (collection, filter) in [(PANES, panes), (DUE, windows)] {
            let collection = store.collection(collection);
            store.again("delete", || async { collection.delete_many(filter.clone()).await }).await?;
        }
        Ok(())
    }

    /// Deletes the oldest dead letters, beyond so many.
    async fn keep_letters(&self, place: &Place) -> Result<(), Error> {
        let (tenant, store) = (place.tenant.as_str(), self.store());
        let find = Find {
            filter: doc! { "tenant_id": tenant, "order": { "$exists": true } },
            fields: Some(doc! { "order": 1 }),
            sort: Some(doc! { "order": -1 }),
            skip: Some(limits::DEAD_LETTERS as u64),
            limit: Some(1),
        };
        let found = store.find(DEAD, &find).await?;
        let Some(order) = found.first().and_then(|found| found.get_str("order").ok()) else { return Ok(()) };
        let filter = doc! { "tenant_id": tenant, "order": { "$lte": order } };
        let letters = store.collection(DEAD);
        store.again("delete", || async { letters.delete_many(filter.clone()).await }).await?;
        Ok(())
    }

    /// What counters get of it: those that there is no room for get nothing, and one of
    /// ours gets their number. Decided before the step is written down, so that it is the
    /// same whenever it is applied.
    pub(super) async fn admit(&self, place: &Place, counts: &[(Series, f64)]) -> Result<Vec<(Series, f64)>, Error> {
        let mut sums: BTreeMap<&Series, f64> = BTreeMap::new();
        for (series, amount) in counts {
            *sums.entry(series).or_default() += amount;
        }
        let unknown = |series: &&Series| {
            let id = counter_id(place, &series.name, &series.labels);
            (!series.name.starts_with(OWN) && self.known.get(&id).is_none()).then_some(id)
        };
        let ids: Vec<ObjectId> = sums.keys().filter_map(unknown).collect();
        let mut there: HashSet<ObjectId> = HashSet::new();
        // Tenants' operators take no other's room.
        let is_own = own::component(&place.operator).is_some();
        let mut room = 0;
        if !ids.is_empty() {
            there.extend(self.store().numbers(COUNTERS, &ids).await?.into_keys());
            there.iter().for_each(|id| self.known.insert(*id, ()));
        }
        if there.len() < ids.len() {
            let mut filter = doc! {
                "tenant_id": place.tenant.as_str(), "shard": i64::from(place.shard), GONE: { "$exists": false },
            };
            if is_own {
                filter.insert("name", doc! { "$gte": own::METRICS, "$lt": OWN_END });
            } else {
                filter.insert(
                    "$or",
                    [doc! { "name": { "$lt": own::METRICS } }, doc! { "name": { "$gte": OWN_END } }].to_vec(),
                );
            }
            let all = self.store().collection(COUNTERS);
            let count = || async { all.count_documents(filter.clone()).await };
            let count = self.store().again("count", count).await?;
            let most = if is_own { limits::METRIC_OWN_SERIES } else { limits::METRIC_SERIES };
            room = most.saturating_sub(usize::try_from(count).unwrap_or(usize::MAX));
        }
        let (mut admitted, mut refused) = (Vec::with_capacity(sums.len()), 0.0);
        for (series, amount) in sums {
            if unknown(&series).is_some_and(|id| !there.contains(&id)) {
                if room == 0 {
                    refused += 1.0;
                    continue;
                }
                room -= 1;
            }
            admitted.push((series.clone(), amount));
        }
        if refused > 0.0 {
            admitted.push((Series { name: REFUSED.to_owned(), labels: Vec::new() }, refused));
        }
        Ok(admitted)
    }
}

/// Those of a key's panes that a step puts.
fn panes(place: &Place, number: i64, written: &Written) -> Vec<Change> {
    let pane = |(key, from_ms, accumulator): &(String, u64, Vec<u8>)| {
        let mut set = place.own();
        let bytes = FIELDS_BYTES + key.len() + accumulator.len();
        set.extend(doc! {
            "number": number, "key": key, "from_ms": signed(*from_ms), "accumulator": binary(accumulator.clone()),
        });
        Change { id: pane_id(place, key, *from_ms), update: there(set), bytes }
    };
    written.put.iter().map(pane).collect()
}

/// The `_id` of a pane.
pub(super) fn pane_id(place: &Place, key: &str, from_ms: u64) -> ObjectId {
    place.object_id(&[key.as_bytes(), &from_ms.to_be_bytes()])
}

fn due(place: &Place, number: i64, written: &Written) -> Vec<Change> {
    let window = |(key, end_ms): &(String, u64)| {
        let mut set = place.own();
        set.extend(doc! { "number": number, "key": key, "end_ms": signed(*end_ms), "spoke": false });
        let id = place.object_id(&[key.as_bytes(), &end_ms.to_be_bytes()]);
        Change { id, update: there(set), bytes: FIELDS_BYTES + key.len() }
    };
    written.due.iter().map(window).collect()
}

fn seen(place: &Place, number: i64, written: &Written) -> Vec<Change> {
    let one = |(generation, bytes): &(u64, Vec<u8>)| {
        let mut set = place.own();
        set.extend(doc! { "number": number, "generation": signed(*generation), "bytes": binary(bytes.clone()) });
        let id = place.object_id(&[&number.to_be_bytes(), b"seen", &generation.to_be_bytes()]);
        Change { id, update: there(set), bytes: FIELDS_BYTES + bytes.len() }
    };
    written.seen.iter().map(one).collect()
}

fn counts(place: &Place, number: i64, counts: &[(String, Labels, f64)]) -> Vec<Change> {
    let count = |(name, labels, amount): &(String, Labels, f64)| {
        let mut set = place.own();
        let scenario = labels.iter().find(|(name, _)| name == "scenario").map(|(_, value)| value);
        let id = counter_id(place, name, labels);
        let labels: Document = labels.iter().map(|(name, value)| (name.clone(), Bson::from(value))).collect();
        set.extend(doc! { "number": number, "name": name, "labels": labels, "scenario_id": scenario });
        let mut update = there(set);
        update.insert("$inc", doc! { "value": amount });
        Change { id, update, bytes: 2 * FIELDS_BYTES }
    };
    counts.iter().map(count).collect()
}

/// The `_id` of a counter of an operator.
fn counter_id(place: &Place, name: &str, labels: &Labels) -> ObjectId {
    let labels = labels.iter().flat_map(|(name, value)| [name.as_bytes(), value.as_bytes()]);
    let parts: Vec<&[u8]> = std::iter::once(name.as_bytes()).chain(labels).collect();
    place.object_id(&parts)
}

fn dead(place: &Place, number: i64, written: &Written) -> Vec<Change> {
    let letter = |(at, letter): (usize, &Dead)| {
        let Dead { offset, scenario_id, user_id, about, reason } = letter;
        let mut set = place.own();
        set.extend(doc! {
            "number": number, "order": format!("{:016}/{number:016}/{at:08}", written.at_ms),
            "offset": signed(*offset), "scenario_id": scenario_id, "user_id": user_id, "about": about,
            "reason": reason,
        });
        let id = place.object_id(&[&number.to_be_bytes(), &at.to_be_bytes()]);
        Change { id, update: there(set), bytes: FIELDS_BYTES + about.len() + reason.len() }
    };
    written.dead.iter().enumerate().map(letter).collect()
}

/// An update that sets fields, also of what was deleted.
fn there(set: Document) -> Document {
    doc! { "$set": set, "$unset": { GONE: "" } }
}

/// What is left of documents that are deleted: `unset` are the fields that say something.
pub(super) fn gone(number: i64, now_ms: u64, unset: &[&str]) -> Document {
    let unset: Document = unset.iter().map(|field| ((*field).to_owned(), Bson::from(""))).collect();
    doc! { "$set": { "number": number, GONE: date(now_ms) }, "$unset": unset }
}
