//! Reading: documents, pages of a query, lists of the newest items, item rows.

use std::{collections::HashMap, sync::Arc, time::Instant};

use bson::{Bson, Document as BsonDocument, doc, oid::ObjectId};
use funnelweb_factor_documents::{
    backend::{Cursor, Field, IndexTerm},
    store::{Collection, Document, Error, Key, Page, Query, Sort, Tenant},
};
use funnelweb_tenant_store::Stamp;
use futures::{StreamExt, TryStreamExt, stream};
use serde_json::Value;

use super::{Shape, created_ms, shape, version};
use crate::{
    cache::{DOCUMENT_AGE, DocumentKey, Generation, Kept, KeptDocument, ROW_AGE},
    call::{Failure, Find},
    codec::{self, OWN, date},
    server::MongoStore,
    state::integer,
};

/// Documents looked up by `_id` in one question.
const LOOKED_UP: usize = 1000;
/// Documents that are asked for one by one where that costs less than having the
/// server read the collection.
const ONE_BY_ONE: usize = 8;

/// A term as it is stored. That under which every item stands is not.
pub(super) fn term(term: &IndexTerm) -> Option<String> {
    let IndexTerm { field, value } = term;
    match field {
        Field::All => None,
        Field::Category => Some(format!("category:{value}")),
        Field::Tags => Some(format!("tags:{value}")),
    }
}

/// A stored document as the capability gives it.
pub(super) fn document(collection: Collection, stored: BsonDocument) -> Document {
    let text = |name: &str| stored.get_str(name).unwrap_or_default().to_owned();
    let key = Key { scenario_id: text("scenario_id"), id: text(shape(collection).id) };
    let version = version(&stored);
    Document { key, version, body: Value::Object(codec::decode(stored)).to_string() }
}

/// A document that was asked for and is not known to be fresh.
struct Missing {
    at: usize,
    key: DocumentKey,
    stamp: Stamp,
    /// What was known of it.
    last: Option<KeptDocument>,
}

impl MongoStore {
    /// As many documents as keys.
    pub(super) async fn documents(
        &self,
        tenant: &Tenant,
        collection: Collection,
        keys: Vec<Key>,
    ) -> Result<Vec<Option<Arc<Document>>>, Error> {
        // Many requests for one document that is due cost one question.
        let only = if let [key] = keys.as_slice() { Some((tenant.clone(), collection, key.clone())) } else { None };
        let mut found = vec![None; keys.len()];
        let mut missing = self.known(tenant, collection, keys, &mut found).await;
        if missing.is_empty() {
            return Ok(found);
        }
        let _one = match only {
            Some(key) => {
                let held = self.locks.flights.hold(&key).await;
                missing = self.known(tenant, collection, vec![key.2], &mut found).await;
                held
            }
            None => None,
        };
        if missing.is_empty() {
            return Ok(found);
        }
        let generations = self.generations(collection, tenant, &missing).await;
        let ids = missing.iter().map(|missing| (&missing.key.key, self.handle(&missing.key.key.id)));
        match self.look_up(tenant, collection, ids, None).await {
            Ok(stored) => {
                let stored: HashMap<Key, Arc<Document>> = stored
                    .into_iter()
                    .map(|stored| document(collection, stored))
                    .map(|document| (document.key.clone(), Arc::new(document)))
                    .collect();
                for Missing { at, key, stamp, .. } in missing {
                    let value = stored.get(&key.key).cloned();
                    let generation = generations.get(&key.key.scenario_id).map_or(0, |generation| generation.items);
                    let kept = Kept { value: value.clone(), read: Instant::now(), generation };
                    self.caches.documents.offer(key, kept, stamp);
                    set(&mut found, at, value);
                }
                Ok(found)
            }
            // A request lives on what was last known (design §5.4).
            Err(Failure::Down(message)) => {
                for Missing { at, last, .. } in missing {
                    let Some(last) = last else { return Err(Error::Unavailable(message)) };
                    set(&mut found, at, last.value);
                }
                Ok(found)
            }
            Err(refused) => Err(refused.into()),
        }
    }

    /// Fills in what is known and fresh; the rest.
    async fn known(
        &self,
        tenant: &Tenant,
        collection: Collection,
        keys: Vec<Key>,
        found: &mut [Option<Arc<Document>>],
    ) -> Vec<Missing> {
        let cache = &self.caches.documents;
        let mut missing = Vec::new();
        let mut generations = HashMap::new();
        for (at, key) in keys.into_iter().enumerate() {
            let key = DocumentKey { tenant: tenant.clone(), collection, key };
            let last = cache.get(&key);
            if let Some(kept) = &last {
                let age = kept.read.elapsed();
                let mut fresh = age < DOCUMENT_AGE;
                if !fresh && collection == Collection::Items && age < ROW_AGE {
                    let scenario = &key.key.scenario_id;
                    if !generations.contains_key(scenario) {
                        let generation = self.items_generation(tenant, scenario).await.ok();
                        generations.insert(scenario.clone(), generation);
                    }
                    let now = generations.get(scenario).copied().flatten();
                    fresh = now.is_some_and(|now| now.items == kept.generation);
                }
                if fresh {
                    set(found, at, kept.value.clone());
                    continue;
                }
            }
            let stamp = cache.stamp(&key);
            missing.push(Missing { at, key, stamp, last });
        }
        missing
    }

    /// What is known of the items of each scenario, before they are read.
    async fn generations(
        &self,
        collection: Collection,
        tenant: &Tenant,
        missing: &[Missing],
    ) -> HashMap<String, Generation> {
        let mut generations = HashMap::new();
        if collection == Collection::Items {
            for Missing { key, .. } in missing {
                let scenario = &key.key.scenario_id;
                if !generations.contains_key(scenario)
                    && let Ok(generation) = self.items_generation(tenant, scenario).await
                {
                    generations.insert(scenario.clone(), generation);
                }
            }
        }
        generations
    }

    /// The documents at the keys, whose handles are given, in any order.
    pub(super) async fn look_up(
        &self,
        tenant: &Tenant,
        collection: Collection,
        keys: impl Iterator<Item = (&Key, u64)>,
        fields: Option<BsonDocument>,
    ) -> Result<Vec<BsonDocument>, Failure> {
        let mut wanted: HashMap<&str, Vec<(u64, &str)>> = HashMap::new();
        for (key, handle) in keys {
            wanted.entry(&key.scenario_id).or_default().push((handle, &key.id));
        }
        let Shape { id, .. } = shape(collection);
        let mut found = Vec::new();
        for (scenario, keys) in wanted {
            let handles = keys.iter().map(|(handle, _)| *handle);
            let stored = self.by_handle(tenant, collection, scenario, handles, fields.as_ref()).await?;
            // Another id may have the same handle.
            let ids: std::collections::HashSet<&str> = keys.iter().map(|(_, id)| *id).collect();
            found.extend(stored.into_iter().filter(|stored| stored.get_str(id).is_ok_and(|id| ids.contains(id))));
        }
        Ok(found)
    }

    /// The documents that have the handles in the scenario, in any order.
    pub(super) async fn by_handle(
        &self,
        tenant: &Tenant,
        collection: Collection,
        scenario: &str,
        handles: impl Iterator<Item = u64>,
        fields: Option<&BsonDocument>,
    ) -> Result<Vec<BsonDocument>, Failure> {
        let Shape { name, .. } = shape(collection);
        let ids: Vec<ObjectId> = handles.map(|handle| self.id_of(tenant, scenario, handle)).collect();
        let fields = fields.cloned();
        if !self.abilities.indexed_queries && ids.len() <= ONE_BY_ONE {
            let one = |id| {
                let find = Find { filter: doc! { "_id": id }, fields: fields.clone(), ..Find::default() };
                async move { self.find(name, &find).await }
            };
            let found = stream::iter(ids.into_iter().map(one)).buffer_unordered(ONE_BY_ONE);
            return Ok(found.try_collect::<Vec<_>>().await?.concat());
        }
        let mut found = Vec::new();
        for ids in ids.chunks(LOOKED_UP) {
            let filter = doc! { "tenant_id": tenant.as_str(), "scenario_id": scenario, "_id": { "$in": ids } };
            found.extend(self.find(name, &Find { filter, fields: fields.clone(), ..Find::default() }).await?);
        }
        Ok(found)
    }

    /// One page of a query.
    pub(super) async fn page(&self, tenant: &Tenant, collection: Collection, query: &Query) -> Result<Page, Error> {
        let mut filter = doc! { "tenant_id": tenant.as_str() };
        if let Some(scenario) = &query.scenario_id {
            filter.insert("scenario_id", scenario);
        }
        if let Some(status) = &query.status {
            filter.insert("_fw.status", status);
        }
        let wanted = [(Field::Category, &query.category), (Field::Tags, &query.tag)];
        let terms = wanted.into_iter().filter_map(|(field, value)| term(&IndexTerm { field, value: value.clone()? }));
        let terms: Vec<Bson> = terms.map(|term| doc! { "_fw.terms": term }.into()).collect();
        let mut all = terms;
        let mut created = BsonDocument::new();
        if let Some(from_ms) = query.created.from_ms {
            created.insert("$gte", date(from_ms));
        }
        if let Some(to_ms) = query.created.to_ms {
            created.insert("$lt", date(to_ms));
        }
        if !created.is_empty() {
            all.push(doc! { "created_at": created }.into());
        }
        if let Some(cursor) = query.cursor.as_deref().and_then(|cursor| Cursor::decode(cursor, query.sort)) {
            let at = date(cursor.created_ms.cast_unsigned());
            let (past, until) = if query.sort == Sort::Newest { ("$lt", "$lte") } else { ("$gt", "$gte") };
            // The first bounds the range of the index, the second is the rest of
            // the comparison of pairs.
            all.push(doc! { "created_at": { until: at.clone() } }.into());
            let behind = doc! { "created_at": at.clone(), "_fw.handle": { past: cursor.handle } };
            all.push(doc! { "$or": [{ "created_at": { past: at } }, behind] }.into());
        }
        if !all.is_empty() {
            filter.insert("$and", all);
        }
        // One more than asked for tells whether there is a next page.
        let limit = Some(i64::from(query.limit) + 1);
        let find = Find { filter, sort: Some(order(query.sort)), limit, ..Find::default() };
        let mut found = self.find(shape(collection).name, &find).await?;
        let mut page = Page::default();
        if found.len() > query.limit as usize {
            found.truncate(query.limit as usize);
            let place = |last: &BsonDocument| {
                let created_ms = created_ms(last).cast_signed();
                Some(Cursor { sort: query.sort, created_ms, handle: handle(last)?.cast_signed() }.encode())
            };
            page.next = found.last().and_then(place);
        }
        page.documents = found.into_iter().map(|stored| document(collection, stored)).collect();
        Ok(page)
    }
}

/// The order of a query.
pub(super) fn order(sort: Sort) -> BsonDocument {
    let direction = if sort == Sort::Newest { -1 } else { 1 };
    doc! { "created_at": direction, "_fw.handle": direction }
}

pub(super) fn handle(stored: &BsonDocument) -> Option<u64> {
    integer(stored.get_document(OWN).ok()?, "handle").map(i64::cast_unsigned)
}

pub(super) fn set<T>(list: &mut [T], at: usize, value: T) {
    if let Some(place) = list.get_mut(at) {
        *place = value;
    }
}
