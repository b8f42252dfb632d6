//! Our own bookkeeping, [`STATE`]: small documents that are found by their `_id`,
//! a text like `floor/acme`. Ids have no `/` in them.

use bson::{Bson, Document, doc, oid::ObjectId};
use funnelweb_tenant_store::{Error, Tenant};
use mongodb::options::ReturnDocument;

use crate::{
    call::Failure,
    server::{MongoStore, STATE},
};

/// The version above which new documents of a tenant start: none that was
/// deleted had a higher one.
fn floor_key(tenant: &Tenant) -> String {
    format!("floor/{tenant}")
}

fn items_key(tenant: &Tenant, scenario: &str) -> String {
    format!("items/{tenant}/{scenario}")
}

/// A number that we wrote; servers may give back a narrower one.
pub(crate) fn integer(document: &Document, name: &str) -> Option<i64> {
    match document.get(name)? {
        Bson::Int64(number) => Some(*number),
        Bson::Int32(number) => Some(i64::from(*number)),
        Bson::Double(number) => Some(*number as i64),
        _ => None,
    }
}

impl MongoStore {
    /// The entry at `key`.
    pub(crate) async fn state(&self, key: &str) -> Result<Option<Document>, Failure> {
        let states = self.collection(STATE);
        self.again("read the state", || async { states.find_one(doc! { "_id": key }).await }).await
    }

    /// Changes the entry at `key`, a new one when there is none; as it was before
    /// or is after. Safe to repeat only if `change` is.
    pub(crate) async fn change_state(
        &self,
        key: &str,
        change: Document,
        what: ReturnDocument,
    ) -> Result<Option<Document>, Failure> {
        // Some servers read and write in separate steps.
        let _held = self.locks.state.hold(key).await;
        let states = self.collection(STATE);
        let work = || async {
            states
                .find_one_and_update(doc! { "_id": key }, change.clone())
                .upsert(true)
                .return_document(what.clone())
                .await
        };
        match self.once("change the state", work).await {
            // Another process made it at the same time: now it is there.
            Err(failure) if failure.is_duplicate() => self.once("change the state", work).await,
            answer => answer,
        }
    }

    /// See [`floor_key`].
    pub(crate) async fn floor(&self, tenant: &Tenant) -> Result<u64, Error> {
        let entry = self.state(&floor_key(tenant)).await?;
        Ok(entry.and_then(|entry| integer(&entry, "version")).map_or(0, i64::cast_unsigned))
    }

    /// Has no new document start at `version` or below; before one of that
    /// version is deleted.
    pub(crate) async fn raise_floor(&self, tenant: &Tenant, version: u64) -> Result<(), Error> {
        let change =
            doc! { "$max": { "version": version.cast_signed() }, "$setOnInsert": { "tenant_id": tenant.as_str() } };
        self.change_state(&floor_key(tenant), change, ReturnDocument::Before).await?;
        Ok(())
    }

    /// The stamp of a scenario's items: another one after each write of one.
    pub(crate) async fn items_stamp(&self, tenant: &Tenant, scenario: &str) -> Result<Option<ObjectId>, Failure> {
        let entry = self.state(&items_key(tenant, scenario)).await?;
        Ok(entry.and_then(|entry| entry.get_object_id("stamp").ok()))
    }

    /// Gives the scenario's items the stamp; the one before.
    pub(crate) async fn stamp_items(
        &self,
        tenant: &Tenant,
        scenario: &str,
        stamp: ObjectId,
    ) -> Result<Option<ObjectId>, Failure> {
        let change = doc! { "$set": { "stamp": stamp }, "$setOnInsert": { "tenant_id": tenant.as_str() } };
        let before = self.change_state(&items_key(tenant, scenario), change, ReturnDocument::Before).await?;
        Ok(before.and_then(|before| before.get_object_id("stamp").ok()))
    }
}
