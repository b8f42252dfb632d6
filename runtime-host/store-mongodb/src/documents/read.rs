//! Reading: documents, pages of a query, lists of the newest items, item rows.

use std::{collections::HashMap, sync::Arc, time::Instant};

use bson::{Bson, Document as BsonDocument, doc, oid::ObjectId};
use funnelweb_core::{limits, row::ItemRow};
use funnelweb_factor_documents::{
    backend::{Cursor, Field, IndexTerm, KeptList, term_field},
    store::{Collection, Document, Error, Key, Page, Query, Sort, Tenant, Term},
};
use funnelweb_tenant_store::Stamp;
use futures::{StreamExt, TryStreamExt, stream};
use serde_json::Value;

use super::{Shape, created_ms, own, refresh::Old, shape, version};
use crate::{
    cache::{DOCUMENT_AGE, DocumentKey, Generation, Kept, KeptDocument, KeptRow, ListKey, ROW_AGE, RowKey, RowRef},
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

    /// The rows of the handles asked for, in order. While the server is down,
    /// those that are known.
    ///
    /// Those that are old but not known to have changed are read again later.
    pub(super) async fn rows(
        &self,
        tenant: &Tenant,
        scenario: &str,
        handles: &[u64],
    ) -> Result<Vec<Option<Arc<ItemRow>>>, Error> {
        Error::check_id("scenario-id", scenario)?;
        Error::check_count("handles", handles.len(), 0, limits::CANDIDATES)?;
        if handles.is_empty() {
            return Ok(Vec::new());
        }
        let cache = &self.caches.rows;
        let Generation { items: generation, .. } = self.items_generation(tenant, scenario).await?;
        let mut rows = vec![None; handles.len()];
        let (mut unsure, mut old) = (HashMap::new(), Vec::new());
        for (at, &handle) in handles.iter().enumerate() {
            let key = RowRef { tenant, scenario, handle };
            let kept = cache.get(&key);
            if let Some(kept) = kept.as_ref().filter(|kept| kept.holds(generation)) {
                if kept.is_old(generation) {
                    old.push(handle);
                }
            } else {
                let version = kept.as_ref().and_then(|kept| Some(kept.value.as_ref()?.0));
                unsure.entry(handle).or_insert((version, cache.stamp(&key)));
            }
            set(&mut rows, at, kept.and_then(|kept| Some(kept.value?.1)));
        }
        if !old.is_empty() {
            self.refresher.ask(Old::Rows { tenant: tenant.clone(), scenario: scenario.into(), handles: old });
        }
        match self.read_rows(tenant, scenario, generation, unsure).await {
            Ok(mut read) => {
                for (row, handle) in rows.iter_mut().zip(handles) {
                    if let Some(now) = read.get_mut(handle) {
                        *row = now.clone();
                    }
                }
                Ok(rows)
            }
            // A request does better with what is known than with nothing.
            Err(Failure::Down(_)) if rows.iter().any(Option::is_some) => Ok(rows),
            Err(failure) => Err(failure.into()),
        }
    }

    /// Reads rows and keeps them: those of which a version is known only if there is
    /// another by now. What was read, none where there is no such item.
    pub(super) async fn read_rows(
        &self,
        tenant: &Tenant,
        scenario: &str,
        generation: u64,
        unsure: HashMap<u64, (Option<u64>, Stamp)>,
    ) -> Result<HashMap<u64, Option<Arc<ItemRow>>>, Failure> {
        let cache = &self.caches.rows;
        let name: Arc<str> = scenario.into();
        let key = |handle| RowKey { tenant: tenant.clone(), scenario: name.clone(), handle };
        let keep = |value| KeptRow { value, read: Instant::now(), generation };
        let (mut missing, mut doubtful) = (HashMap::new(), HashMap::new());
        for (handle, (version, stamp)) in unsure {
            match version {
                Some(version) => drop(doubtful.insert(handle, (version, stamp))),
                None => drop(missing.insert(handle, stamp)),
            }
        }
        if !doubtful.is_empty() {
            let fields = doc! { "_id": 0, "_fw.handle": 1, "_fw.version": 1 };
            let asked = doubtful.keys().copied();
            let versions = self.by_handle(tenant, Collection::Items, scenario, asked, Some(&fields)).await?;
            let mut versions: HashMap<u64, u64> = versions.iter().filter_map(handle_and_version).collect();
            for (handle, (version, stamp)) in doubtful {
                let same = versions.remove(&handle) == Some(version);
                let known = cache.get(&RowRef { tenant, scenario, handle }).and_then(|kept| kept.value);
                match known.filter(|_| same) {
                    Some(row) => cache.offer(key(handle), keep(Some(row)), stamp),
                    None => drop(missing.insert(handle, stamp)),
                }
            }
        }
        let mut read = HashMap::new();
        if !missing.is_empty() {
            let fields = doc! { "_id": 0, "_fw.handle": 1, "_fw.version": 1, "_fw.row": 1 };
            let asked = missing.keys().copied();
            let stored = self.by_handle(tenant, Collection::Items, scenario, asked, Some(&fields)).await?;
            let mut stored: HashMap<u64, BsonDocument> =
                stored.into_iter().filter_map(|stored| Some((handle_and_version(&stored)?.0, stored))).collect();
            for (handle, stamp) in missing {
                let row = match stored.remove(&handle) {
                    Some(stored) => self.row(tenant, scenario, handle, &stored).await?,
                    None => None,
                };
                cache.offer(key(handle), keep(row.clone()), stamp);
                read.insert(handle, row.map(|(_, row)| row));
            }
        }
        Ok(read)
    }

    /// The row of a stored item; derived anew when it is of another version of
    /// this program.
    async fn row(
        &self,
        tenant: &Tenant,
        scenario: &str,
        handle: u64,
        stored: &BsonDocument,
    ) -> Result<Option<(u64, Arc<ItemRow>)>, Failure> {
        let encoded = own(stored).and_then(|own| own.get_binary_generic("row").ok());
        if let Some(row) = encoded.and_then(|row| ItemRow::decode(row)) {
            return Ok(Some((version(stored), Arc::new(row))));
        }
        let whole = self.by_handle(tenant, Collection::Items, scenario, std::iter::once(handle), None).await?;
        Ok(whole.into_iter().next().map(|whole| {
            let (id, version) = (whole.get_str("item_id").unwrap_or_default().to_owned(), version(&whole));
            let mut row = ItemRow::from_document(&Value::Object(codec::decode(whole)));
            row.id = id;
            (version, Arc::new(row))
        }))
    }

    /// The newest active items of each list. One that is old but not known to have
    /// changed is read again later, and so is one that is asked for more and more of,
    /// before it is too short.
    pub(super) async fn lists(
        &self,
        tenant: &Tenant,
        scenario: String,
        lists: Vec<(Option<Term>, u32)>,
    ) -> Result<Vec<Vec<u64>>, Error> {
        let Generation { lists: generation, .. } = self.items_generation(tenant, &scenario).await?;
        let scenario: Arc<str> = scenario.into();
        let mut answers = Vec::with_capacity(lists.len());
        // The first of a list that is kept.
        let known = |key: &ListKey, limit| {
            let kept = self.caches.lists.get(key).filter(|kept| kept.holds(generation))?;
            let list = kept.value.first(limit)?.to_vec();
            let more = ahead_of(limit);
            if kept.is_old(generation) || kept.value.first(more).is_none() {
                self.refresher.ask(Old::List(key.clone(), more));
            }
            Some(list)
        };
        for (term, limit) in lists {
            let key = ListKey { tenant: tenant.clone(), scenario: scenario.clone(), term };
            if let Some(list) = known(&key, limit) {
                answers.push(list);
                continue;
            }
            // A list that is due is read once, however many ask for it.
            let _one = self.locks.flights.hold(&key).await;
            if let Some(list) = known(&key, limit) {
                answers.push(list);
                continue;
            }
            let kept = match self.read_list(key.clone(), ahead_of(limit), generation).await {
                Err(error @ Error::Unavailable(_)) => self.caches.lists.get(&key).ok_or(error)?,
                read => read?,
            };
            // While the server is down, what is known of it.
            answers.push(kept.value.first(limit).unwrap_or(kept.value.all()).to_vec());
        }
        Ok(answers)
    }

    /// Reads a list and keeps it.
    pub(super) async fn read_list(&self, key: ListKey, limit: u32, generation: u64) -> Result<Kept<KeptList>, Error> {
        let to_read = KeptList::to_read(limit);
        let list = self.newest(&key.tenant, &key.scenario, key.term.as_ref(), to_read).await?;
        let kept = Kept { value: KeptList::new(list.into(), to_read), read: Instant::now(), generation };
        self.caches.lists.insert(key, kept.clone());
        Ok(kept)
    }

    async fn newest(
        &self,
        tenant: &Tenant,
        scenario: &str,
        wanted: Option<&Term>,
        limit: u32,
    ) -> Result<Vec<u64>, Error> {
        let field = term_field(wanted)?;
        let mut filter = doc! { "tenant_id": tenant.as_str(), "scenario_id": scenario, "_fw.status": "active" };
        let value = wanted.map_or("", |term| term.value.as_str()).to_owned();
        if let Some(term) = term(&IndexTerm { field, value }) {
            filter.insert("_fw.terms", term);
        }
        let find = Find {
            filter,
            fields: Some(doc! { "_id": 0, "_fw.handle": 1 }),
            sort: Some(order(Sort::Newest)),
            limit: Some(i64::from(limit)),
            ..Find::default()
        };
        let found = self.find(shape(Collection::Items).name, &find).await?;
        Ok(found.iter().filter_map(handle).collect())
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

/// How long a list is to be of which so much is wanted: users are shown more and more,
/// what they were shown is passed over, and the length of a list is the least part of
/// what reading it costs.
fn ahead_of(limit: u32) -> u32 {
    let longest = u32::try_from(limits::CANDIDATES).unwrap_or(u32::MAX);
    limit.saturating_mul(2).min(longest)
}

/// The order of a query.
fn order(sort: Sort) -> BsonDocument {
    let direction = if sort == Sort::Newest { -1 } else { 1 };
    doc! { "created_at": direction, "_fw.handle": direction }
}

pub(super) fn handle(stored: &BsonDocument) -> Option<u64> {
    integer(stored.get_document(OWN).ok()?, "handle").map(i64::cast_unsigned)
}

fn handle_and_version(stored: &BsonDocument) -> Option<(u64, u64)> {
    Some((handle(stored)?, version(stored)))
}

fn set<T>(list: &mut [T], at: usize, value: T) {
    if let Some(place) = list.get_mut(at) {
        *place = value;
    }
}
