//! Deleting a user or a scenario with everything that belongs to it, in steps
//! that can be repeated.

use std::{collections::BTreeSet, sync::Weak};

use bson::{Document as BsonDocument, doc};
use funnelweb_factor_documents::store::{Collection, Error, Tenant};
use funnelweb_factor_live::store::LiveEffects;

use super::{Shape, shape, version};
use crate::{
    call::Find, events::INTERACTIONS, exposures::EXPOSURES, recordings::RECORDINGS, server::MongoStore, state::integer,
    streams::Deleted,
};

/// Documents or events deleted with one command.
const PAGE: i64 = 2000;

impl MongoStore {
    pub(super) async fn purge_user(
        &self,
        tenant: &Tenant,
        user: &str,
        live: Option<&dyn LiveEffects>,
    ) -> Result<u64, Error> {
        let whose = doc! { "tenant_id": tenant.as_str(), "user_id": user };
        if let Some(live) = live {
            // Wherever the user may have been shown something.
            let mut scenarios = self.scenario_ids(Collection::Scenarios, doc! { "tenant_id": tenant.as_str() }).await?;
            scenarios.extend(self.scenario_ids(Collection::UserProfiles, whose.clone()).await?);
            scenarios.extend(self.scenario_ids_of_events(&whose).await?);
            live.forget_user(tenant, user, scenarios.into_iter().collect()).await?;
        }
        // Events first: a batch that was not applied yet counts those of its
        // events that are there.
        let events = self.delete_log(INTERACTIONS, &whose).await?;
        // Operators before profiles: a step that is pending moves them.
        self.forget_in_streams(tenant, Deleted::User(user)).await?;
        self.delete_log(EXPOSURES, &whose).await?;
        self.delete_log(RECORDINGS, &whose).await?;
        let profiles = self.delete_documents(tenant, Collection::UserProfiles, &whose, None).await?;
        Ok(events + profiles)
    }

    pub(super) async fn purge_scenario(
        &self,
        tenant: &Tenant,
        scenario: &str,
        live: Option<&dyn LiveEffects>,
    ) -> Result<u64, Error> {
        let of = doc! { "tenant_id": tenant.as_str(), "scenario_id": scenario };
        let mut count = self.delete_log(INTERACTIONS, &of).await?;
        // Operators before hot lists and profiles: a step that is pending changes them.
        self.forget_in_streams(tenant, Deleted::Scenario(scenario)).await?;
        if let Some(live) = live {
            live.forget_scenario(tenant, scenario, Vec::new()).await?;
        }
        self.delete_log(EXPOSURES, &of).await?;
        self.delete_log(RECORDINGS, &of).await?;
        let collections = [
            Collection::Items,
            Collection::UserProfiles,
            Collection::ModelConfigs,
            Collection::Experiments,
            // Last: without it nobody would ask again.
            Collection::Scenarios,
        ];
        for collection in collections {
            let forget = live.filter(|_| collection == Collection::Items).map(|live| (live, scenario));
            count += self.delete_documents(tenant, collection, &of, forget).await?;
        }
        self.items_changed(tenant, scenario).await;
        Ok(count)
    }

    async fn forget_in_streams(&self, tenant: &Tenant, deleted: Deleted<'_>) -> Result<(), Error> {
        match self.streams.get().and_then(Weak::upgrade) {
            Some(streams) => streams.forget(tenant, deleted).await,
            // Nobody follows logs with this store.
            None => Ok(()),
        }
    }

    async fn scenario_ids(&self, collection: Collection, filter: BsonDocument) -> Result<BTreeSet<String>, Error> {
        let fields = Some(doc! { "_id": 0, "scenario_id": 1 });
        let found = self.find(shape(collection).name, &Find { filter, fields, ..Find::default() }).await?;
        Ok(found.iter().filter_map(|found| Some(found.get_str("scenario_id").ok()?.to_owned())).collect())
    }

    /// Whose scenarios there are, by name.
    pub(crate) async fn tenants(&self) -> Result<Vec<Tenant>, Error> {
        self.tenants_of(shape(Collection::Scenarios).name).await
    }

    /// Of whom a collection has documents, by name.
    pub(crate) async fn tenants_of(&self, name: &str) -> Result<Vec<Tenant>, Error> {
        let of = self.collection(name);
        let distinct = self.again("distinct", || async { of.distinct("tenant_id", doc! {}).await }).await?;
        let mut tenants: Vec<Tenant> = distinct.iter().filter_map(|id| Tenant::new(id.as_str()?).ok()).collect();
        tenants.sort_unstable();
        Ok(tenants)
    }

    async fn scenario_ids_of_events(&self, filter: &BsonDocument) -> Result<BTreeSet<String>, Error> {
        let events = self.collection(INTERACTIONS);
        let distinct =
            self.again("distinct", || async { events.distinct("scenario_id", filter.clone()).await }).await?;
        Ok(distinct.iter().filter_map(|id| Some(id.as_str()?.to_owned())).collect())
    }

    /// Deletes what fits, page by page; how many.
    async fn delete_documents(
        &self,
        tenant: &Tenant,
        collection: Collection,
        filter: &BsonDocument,
        forget: Option<(&dyn LiveEffects, &str)>,
    ) -> Result<u64, Error> {
        let Shape { name, id, .. } = shape(collection);
        let documents = self.collection(name);
        let find = Find {
            filter: filter.clone(),
            fields: Some(doc! { "scenario_id": 1, id: 1, "_fw.version": 1 }),
            limit: Some(PAGE),
            ..Find::default()
        };
        let mut count = 0;
        loop {
            let page = self.find(name, &find).await?;
            if page.is_empty() {
                return Ok(count);
            }
            let text = |found: &BsonDocument, field: &str| found.get_str(field).unwrap_or_default().to_owned();
            if let Some((live, scenario)) = forget {
                let ids = page.iter().map(|found| text(found, id)).collect();
                let ids = self.items_of_none_other(tenant, scenario, ids).await?;
                live.forget_scenario(tenant, scenario, ids).await?;
            }
            self.raise_floor(tenant, page.iter().map(version).max().unwrap_or(0)).await?;
            let ids: Vec<_> = page.iter().filter_map(|found| found.get_object_id("_id").ok()).collect();
            let mut these = filter.clone();
            these.insert("_id", doc! { "$in": ids });
            let held = self
                .locks
                .documents
                .hold_all(page.iter().filter_map(|found| found.get_object_id("_id").ok()).map(|id| (collection, id)));
            let held = held.await;
            let deleted = self.once("delete", || async { documents.delete_many(these).await }).await?;
            count += deleted.deleted_count;
            for found in &page {
                let key = funnelweb_factor_documents::store::Key::new(text(found, "scenario_id"), text(found, id));
                self.wrote(tenant, collection, &key, None);
            }
            drop(held);
        }
    }

    /// Those of a scenario's items that no other scenario has: counters are of items
    /// and go with the last scenario that has them.
    async fn items_of_none_other(
        &self,
        tenant: &Tenant,
        scenario: &str,
        mut ids: Vec<String>,
    ) -> Result<Vec<String>, Error> {
        let find = Find {
            filter: doc! {
                "tenant_id": tenant.as_str(),
                "scenario_id": { "$ne": scenario },
                "item_id": { "$in": &ids },
            },
            fields: Some(doc! { "_id": 0, "item_id": 1 }),
            ..Find::default()
        };
        let found = self.find(shape(Collection::Items).name, &find).await?;
        let others: BTreeSet<&str> = found.iter().filter_map(|other| other.get_str("item_id").ok()).collect();
        ids.retain(|id| !others.contains(id.as_str()));
        Ok(ids)
    }

    /// Deletes what fits of a log (events, exposures), a stretch of it at a time; how many.
    pub(crate) async fn delete_log(&self, name: &'static str, filter: &BsonDocument) -> Result<u64, Error> {
        let log = self.collection(name);
        let mut count = 0;
        loop {
            let find = Find {
                filter: filter.clone(),
                fields: Some(doc! { "_id": 0, "_fw.offset": 1 }),
                sort: Some(doc! { "_fw.offset": 1 }),
                skip: Some(PAGE.unsigned_abs()),
                limit: Some(1),
            };
            let next = self.find(name, &find).await?;
            let next = next.first().and_then(|next| integer(next.get_document("_fw").ok()?, "offset"));
            let mut these = filter.clone();
            if let Some(next) = next {
                these.insert("_fw.offset", doc! { "$lt": next });
            }
            let deleted = self.once("delete", || async { log.delete_many(these).await }).await?;
            count += deleted.deleted_count;
            if next.is_none() {
                return Ok(count);
            }
        }
    }
}
