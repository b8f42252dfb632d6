//! Documents that remember the number of the step that changed them last.

use std::collections::{HashMap, HashSet};

use bson::{Bson, Document, doc, oid::ObjectId};
use funnelweb_factor_events::store::Tenant;

use crate::{
    call::{Failure, Find},
    server::MongoStore,
    state::integer,
};

/// Documents that are changed with one command, and bytes of the changes, about.
const TOGETHER: usize = 1000;
const TOGETHER_BYTES: usize = 4 * 1024 * 1024;
/// The code of a duplicate key.
const DUPLICATE_KEY: i64 = 11_000;

/// A change of a document, which may be new.
pub(super) struct Change {
    pub(super) id: ObjectId,
    /// Of update operators.
    pub(super) update: Document,
    /// Of `update`, about.
    pub(super) bytes: usize,
}

impl MongoStore {
    /// Makes the changes of a step to those documents that no step as late has changed.
    /// Each `update` must set `number`.
    pub(super) async fn change_older(
        &self,
        tenant: &Tenant,
        collection: &str,
        number: i64,
        mut changes: Vec<Change>,
    ) -> Result<(), Failure> {
        if !self.abilities.atomic_updates {
            // Where a filter is tested apart, the caller's lock keeps it true.
            let newer = self.newer(collection, number, &changes).await?;
            changes.retain(|change| !newer.contains(&change.id));
        }
        let mut rest = changes.as_slice();
        while !rest.is_empty() {
            let mut bytes = 0;
            let fit = rest.iter().take(TOGETHER).take_while(|change| {
                bytes += change.bytes;
                bytes <= TOGETHER_BYTES
            });
            let (now, later) = rest.split_at(fit.count().max(1));
            let statement = |change: &Change, upsert: bool| {
                let mut filter = doc! { "_id": change.id };
                if self.abilities.indexed_queries {
                    filter.insert("tenant_id", tenant.as_str());
                }
                if self.abilities.atomic_updates {
                    filter.insert("number", doc! { "$lt": number });
                }
                Bson::from(doc! { "q": filter, "u": &change.update, "multi": false, "upsert": upsert })
            };
            let all = now.iter().map(|change| statement(change, true)).collect();
            let there = self.update_together(collection, all).await?;
            // A duplicate is a later one's, or one that came between: it is there now.
            let again: Vec<Bson> = there.into_iter().filter_map(|at| Some(statement(now.get(at)?, false))).collect();
            if !again.is_empty() {
                self.update_together(collection, again).await?;
            }
            rest = later;
        }
        Ok(())
    }

    /// Makes the same change to those of the documents that still have the number that is
    /// beside them.
    pub(super) async fn change_marked(
        &self,
        tenant: &Tenant,
        collection: &str,
        marked: Vec<(ObjectId, i64)>,
        change: &Document,
    ) -> Result<(), Failure> {
        let statement = |(id, number): &(ObjectId, i64)| {
            let mut filter = doc! { "_id": id, "number": number };
            if self.abilities.indexed_queries {
                filter.insert("tenant_id", tenant.as_str());
            }
            Bson::from(doc! { "q": filter, "u": change, "multi": false })
        };
        for marked in marked.chunks(TOGETHER) {
            self.update_together(collection, marked.iter().map(statement).collect()).await?;
        }
        Ok(())
    }

    /// Which documents a step as late as this one has changed.
    async fn newer(&self, collection: &str, number: i64, changes: &[Change]) -> Result<HashSet<ObjectId>, Failure> {
        let ids: Vec<ObjectId> = changes.iter().map(|change| change.id).collect();
        let found = self.numbers(collection, &ids).await?;
        Ok(found.into_iter().filter(|(_, other)| *other >= number).map(|(id, _)| id).collect())
    }

    /// The numbers of those documents that are there.
    pub(super) async fn numbers(&self, collection: &str, ids: &[ObjectId]) -> Result<HashMap<ObjectId, i64>, Failure> {
        let mut numbers = HashMap::new();
        for ids in ids.chunks(TOGETHER) {
            let filter = doc! { "_id": { "$in": ids } };
            let find = Find { filter, fields: Some(doc! { "number": 1 }), ..Find::default() };
            let found = self.find(collection, &find).await?;
            let number = |found: &Document| Some((found.get_object_id("_id").ok()?, integer(found, "number")?));
            numbers.extend(found.iter().filter_map(number));
        }
        Ok(numbers)
    }

    /// Runs updates with one command; the places of those that failed as duplicates.
    async fn update_together(&self, collection: &str, updates: Vec<Bson>) -> Result<Vec<usize>, Failure> {
        let command = doc! {
            "update": collection, "updates": updates, "ordered": false,
            "writeConcern": { "w": "majority", "j": true },
        };
        let answer = self.again("update", || async { self.database().run_command(command.clone()).await }).await?;
        if let Ok(error) = answer.get_document("writeConcernError") {
            return Err(Failure::Down(format!("mongodb: update: {error}")));
        }
        let mut duplicates = Vec::new();
        for error in answer.get_array("writeErrors").into_iter().flatten().filter_map(Bson::as_document) {
            let place = integer(error, "index").and_then(|at| usize::try_from(at).ok());
            match (integer(error, "code"), place) {
                (Some(DUPLICATE_KEY), Some(at)) => duplicates.push(at),
                _ => return Err(Failure::Down(format!("mongodb: update: {error}"))),
            }
        }
        Ok(duplicates)
    }
}
