//! All documents of a collection: walking and restoring them.

use std::collections::{BTreeMap, BTreeSet};

use bson::{Bson, Document as BsonDocument, doc};
use funnelweb_factor_documents::{
    backend::Restored,
    store::{Collection, Document, Error, Key, Tenant, Walk},
};
use funnelweb_tenant_store::pages;

use super::{
    Shape,
    insert::{TOGETHER, TOGETHER_BYTES},
    read::{document, handle},
    shape, version,
};
use crate::{call::Find, server::MongoStore};

/// Documents of one page.
const PAGE: usize = 200;

/// The fields of the collection's unique index behind the tenant, and their values
/// in a key. They are what orders a walk: no write changes them.
fn place(collection: Collection, key: &Key) -> Vec<(&'static str, String)> {
    let scenario = ("scenario_id", key.scenario_id.clone());
    let id = (shape(collection).id, key.id.clone());
    match collection {
        Collection::Scenarios => vec![scenario],
        Collection::UserProfiles => vec![id, scenario],
        _ => vec![scenario, id],
    }
}

/// What comes behind `after` in that order.
fn behind(tenant: &Tenant, collection: Collection, after: Option<&Key>) -> BsonDocument {
    let mut filter = doc! { "tenant_id": tenant.as_str() };
    match after.map(|key| place(collection, key)).as_deref() {
        Some([(field, value)]) => drop(filter.insert(*field, doc! { "$gt": value })),
        Some([(first, one), (second, other)]) => {
            // The first bounds the range of the index, the second is the rest of the
            // comparison of pairs.
            filter.insert(*first, doc! { "$gte": one });
            let later = doc! { *first: { "$gt": one } };
            filter.insert("$or", vec![later, doc! { *first: one, *second: { "$gt": other } }]);
        }
        _ => {}
    }
    filter
}

impl MongoStore {
    /// [`funnelweb_factor_documents::store::Documents::walk`]. What another program
    /// put into the collection is none of ours.
    pub(super) fn walk_documents<'a>(&'a self, tenant: &'a Tenant, collection: Collection) -> Walk<'a, Document> {
        let sort: BsonDocument = place(collection, &Key::new("", ""))
            .into_iter()
            .map(|(field, _)| (field.to_owned(), Bson::from(1)))
            .collect();
        pages(None, move |after: Option<Key>| {
            let sort = Some(sort.clone());
            async move {
                let filter = behind(tenant, collection, after.as_ref());
                let find = Find { filter, sort, limit: Some(PAGE as i64), ..Find::default() };
                let found = self.find(shape(collection).name, &find).await?;
                let is_last = found.len() < PAGE;
                let (mut page, mut last) = (Vec::with_capacity(found.len()), None);
                for stored in found {
                    let is_ours = version(&stored) != 0;
                    let found = document(collection, stored);
                    last = Some(found.key.clone());
                    if is_ours {
                        page.push(found);
                    }
                }
                Ok((page, if is_last { None } else { last.map(Some) }))
            }
        })
    }

    /// [`funnelweb_factor_documents::store::Documents::restore`]. Each document is
    /// written whole; after a failure some are there, and it can be repeated.
    pub(super) async fn restore_documents(
        &self,
        tenant: &Tenant,
        collection: Collection,
        documents: Vec<Restored>,
    ) -> Result<(), Error> {
        let ids = documents.iter().map(|new| self.id_of(tenant, &new.key.scenario_id, self.handle(&new.key.id)));
        let held = self.locks.documents.hold_all(ids.map(|id| (collection, id))).await;
        self.check_ids(tenant, collection, &documents).await?;
        let mut result = Ok(());
        let (mut updates, mut bytes) = (Vec::new(), 0);
        for Restored { key, body, text, version, .. } in &documents {
            let document = self.document(tenant, collection, key, body, *version);
            updates.push(Bson::from(doc! {
                "q": self.at(tenant, collection, key), "u": document, "upsert": true, "multi": false
            }));
            bytes += text.len();
            if updates.len() == TOGETHER || bytes > TOGETHER_BYTES {
                result = result.and(self.upsert(collection, std::mem::take(&mut updates)).await);
                bytes = 0;
            }
        }
        if !updates.is_empty() {
            result = result.and(self.upsert(collection, updates).await);
        }
        for new in &documents {
            self.wrote(tenant, collection, &new.key, None);
        }
        drop(held);
        if collection == Collection::Items {
            let scenarios: BTreeSet<&str> = documents.iter().map(|new| new.key.scenario_id.as_str()).collect();
            for scenario in scenarios {
                self.items_changed(tenant, scenario).await;
            }
        }
        result
    }

    /// That no other id has the handle of a document that is to be restored.
    async fn check_ids(&self, tenant: &Tenant, collection: Collection, documents: &[Restored]) -> Result<(), Error> {
        let Shape { id, .. } = shape(collection);
        let mut by_scenario: BTreeMap<&str, BTreeMap<u64, &str>> = BTreeMap::new();
        let collision =
            |one: &str, other: &str| Error::invalid("documents", format_args!("`{one}` and `{other}` have one handle"));
        for Restored { key, .. } in documents {
            let ids = by_scenario.entry(&key.scenario_id).or_default();
            if let Some(other) = ids.insert(self.handle(&key.id), &key.id) {
                return Err(collision(&key.id, other));
            }
        }
        let fields = doc! { id: 1, "_fw.handle": 1 };
        for (scenario, ids) in by_scenario {
            for found in self.by_handle(tenant, collection, scenario, ids.keys().copied(), Some(&fields)).await? {
                let Some(new) = handle(&found).and_then(|handle| ids.get(&handle)) else { continue };
                match found.get_str(id) {
                    Ok(other) if other != *new => return Err(collision(new, other)),
                    _ => {}
                }
            }
        }
        Ok(())
    }

    async fn upsert(&self, collection: Collection, updates: Vec<Bson>) -> Result<(), Error> {
        let Shape { name, .. } = shape(collection);
        let count = updates.len();
        let written = self.update_many_of(name, updates, None).await?;
        if written == count {
            return Ok(());
        }
        Err(Error::Unavailable(format!("mongodb: {} of {count} documents could not be written", count - written)))
    }
}
