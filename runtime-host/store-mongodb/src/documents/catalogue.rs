//! Reading items for a request: rows, and lists of the newest, from memory where they
//! hold.

use std::{collections::HashMap, sync::Arc, time::Instant};

use bson::{Document as BsonDocument, doc};
use funnelweb_core::{limits, row::ItemRow};
use funnelweb_factor_documents::{
    backend::{IndexTerm, KeptList, term_field},
    store::{Collection, Error, Sort, Tenant, Term},
};
use funnelweb_tenant_store::Stamp;
use serde_json::Value;

use super::{
    own,
    read::{handle, order, set, term},
    refresh::Old,
    shape, version,
};
use crate::{
    cache::{Generation, Kept, KeptRow, ListKey, RowKey, RowRef},
    call::{Failure, Find},
    codec,
    server::MongoStore,
};

impl MongoStore {
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
}

/// How long a list is to be of which so much is wanted: users are shown more and more,
/// what they were shown is passed over, and the length of a list is the least part of
/// what reading it costs.
fn ahead_of(limit: u32) -> u32 {
    let longest = u32::try_from(limits::CANDIDATES).unwrap_or(u32::MAX);
    limit.saturating_mul(2).min(longest)
}
fn handle_and_version(stored: &BsonDocument) -> Option<(u64, u64)> {
    Some((handle(stored)?, version(stored)))
}
