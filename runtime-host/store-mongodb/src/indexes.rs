//! The indexes, created at start: those of the design (§3.1) and those that our
//! queries need.
//!
//! All of ours begin with `tenant_id`, and so does every filter, so that a sharded
//! cluster asks one shard; collections may be sharded by `tenant_id`, or by
//! `tenant_id` and the next field of their unique index.

use std::time::Duration;

use bson::{Bson, Document, doc};
use funnelweb_core::limits;
use funnelweb_factor_documents::store::Collection;
use funnelweb_tenant_store::Error;
use mongodb::{IndexModel, error::ErrorKind, options::IndexOptions};

use crate::{
    blobs::HEADS,
    call::Failure,
    documents::{Shape, shape},
    events::INTERACTIONS,
    exposures::EXPOSURES,
    recordings::RECORDINGS,
    server::MongoStore,
    streams::{COUNTERS, DEAD, DELETED, DUE, GONE, GONE_S, LEASES, PANES, PROGRESS, SEEN, STEPS, TOPICS},
};

/// Creating an index on a large collection takes its time.
const TIMEOUT: Duration = Duration::from_secs(600);
/// The code of an index that is there with other options.
const OPTIONS_CONFLICT: i32 = 85;
const DAY_S: u64 = 24 * 3600;
/// How long events of who was deleted may be on their way: longer than Kafka keeps records.
const DELETED_DAYS: u64 = 3660;
const TTL: &str = "fw_ttl";

/// An index of the design has no name of ours.
fn index(keys: Document, name: Option<&str>) -> IndexModel {
    let options = name.map(|name| IndexOptions::builder().name(name.to_owned()).build());
    IndexModel::builder().keys(keys).options(options).build()
}

fn unique(keys: Document) -> IndexModel {
    IndexModel::builder().keys(keys).options(IndexOptions::builder().unique(true).build()).build()
}

fn of_documents(collection: Collection, indexed_queries: bool) -> Vec<IndexModel> {
    let Shape { id, .. } = shape(collection);
    let mut all = vec![match collection {
        // The design's.
        Collection::Scenarios => unique(doc! { "tenant_id": 1, "scenario_id": 1 }),
        // The design's; finds a user's profiles of all scenarios, too.
        Collection::UserProfiles => unique(doc! { "tenant_id": 1, "user_id": 1, "scenario_id": 1 }),
        // The design's for items; the same for what it names no index of.
        _ => unique(doc! { "tenant_id": 1, "scenario_id": 1, id: 1 }),
    }];
    if collection == Collection::Items {
        // The design's, for other programs: the only one that spans tenants. We
        // look categories up by the index of terms below.
        all.push(index(doc! { "metadata.category": 1 }, None));
    }
    if !indexed_queries {
        return all;
    }
    // Pages of a scenario's documents, newest or oldest first, and the newest
    // items. With the status in it, the inactive ones are passed over unread.
    let by_time = doc! { "tenant_id": 1, "scenario_id": 1, "created_at": -1, "_fw.handle": -1, "_fw.status": 1 };
    all.push(index(by_time, Some("fw_by_time")));
    // The same over all scenarios.
    let everywhere = doc! { "tenant_id": 1, "created_at": -1, "_fw.handle": -1, "_fw.status": 1 };
    all.push(index(everywhere, Some("fw_by_time_everywhere")));
    if collection == Collection::Items {
        // Pages of a category or tag, and its newest items: one range each.
        let by_term = doc! {
            "tenant_id": 1, "scenario_id": 1, "_fw.terms": 1, "created_at": -1, "_fw.handle": -1, "_fw.status": 1
        };
        all.push(index(by_term, Some("fw_by_term")));
    }
    all
}

fn of_interactions(indexed_queries: bool) -> Vec<IndexModel> {
    let mut all = vec![
        // The design's.
        index(doc! { "tenant_id": 1, "user_id": 1, "timestamp": -1 }, None),
        index(doc! { "tenant_id": 1, "item_id": 1, "timestamp": -1 }, None),
    ];
    if indexed_queries {
        // An event's `_id` follows from its event id; this one holds across
        // shards, where `_id` is unique within one shard only.
        let by_id = IndexOptions::builder().unique(true).name("fw_by_id".to_owned()).build();
        let keys = doc! { "tenant_id": 1, "_fw.event_id": 1 };
        all.push(IndexModel::builder().keys(keys).options(by_id).build());
        // The log in its order, and a user's and an item's part of it, newest first.
        all.push(index(doc! { "tenant_id": 1, "_fw.offset": 1 }, Some("fw_log")));
        all.push(index(doc! { "tenant_id": 1, "user_id": 1, "_fw.offset": -1 }, Some("fw_by_user")));
        all.push(index(doc! { "tenant_id": 1, "item_id": 1, "_fw.offset": -1 }, Some("fw_by_item")));
    }
    all
}

/// Of what operators keep. All but the leases are a tenant's; what is found by `_id`
/// needs none.
fn of_streams() -> [(&'static str, Vec<IndexModel>); 8] {
    let by = |fields: &[&str]| {
        let own = ["tenant_id", "operator"];
        own.iter().chain(fields).map(|field| ((*field).to_owned(), Bson::from(1))).collect::<Document>()
    };
    [
        // A tenant's operators.
        (PROGRESS, vec![index(doc! { "tenant_id": 1, "operator": 1 }, Some("fw_by_tenant"))]),
        // Parts of a progress, to be deleted.
        (STEPS, vec![index(doc! { "tenant_id": 1, "of": 1 }, Some("fw_by_progress"))]),
        // The panes of a window, key by key; the first, and those that are over.
        (PANES, vec![index(by(&["key", "from_ms"]), Some("fw_keys")), index(by(&["from_ms"]), Some("fw_times"))]),
        // Windows that have to speak again; those that did and are over.
        (DUE, vec![index(by(&["spoke", "end_ms"]), Some("fw_ends"))]),
        // What is remembered of a shard, and no longer.
        (SEEN, vec![index(by(&["shard", "generation"]), Some("fw_by_shard"))]),
        // A tenant's counters, to be counted, and a scenario's, to be deleted.
        (COUNTERS, vec![index(doc! { "tenant_id": 1, "scenario_id": 1 }, Some("fw_by_scenario"))]),
        // A topic in its order.
        (TOPICS, vec![index(doc! { "tenant_id": 1, "topic": 1, "offset": 1 }, Some("fw_log"))]),
        // The newest.
        (DEAD, vec![index(doc! { "tenant_id": 1, "order": -1 }, Some("fw_log"))]),
    ]
}

/// Creates what is missing.
pub(crate) async fn create(store: &MongoStore) -> Result<(), Error> {
    let indexed_queries = store.abilities.indexed_queries;
    for collection in Collection::ALL {
        create_in(store, shape(collection).name, of_documents(collection, indexed_queries)).await?;
    }
    create_in(store, INTERACTIONS, of_interactions(indexed_queries)).await?;
    // The versions of a blob, and the blobs of a scenario.
    create_in(store, HEADS, vec![index(doc! { "tenant_id": 1, "name": 1 }, Some("fw_by_name"))]).await?;
    // A tenant's slates in their order, a scenario's, and a user's.
    let of_exposures = vec![
        index(doc! { "tenant_id": 1, "_fw.offset": 1 }, Some("fw_by_tenant")),
        index(doc! { "tenant_id": 1, "scenario_id": 1, "_fw.offset": 1 }, Some("fw_log")),
        index(doc! { "tenant_id": 1, "user_id": 1, "_fw.offset": 1 }, Some("fw_by_user")),
    ];
    create_in(store, EXPOSURES, of_exposures).await?;
    // The same of recordings, and that of a request.
    let of_recordings = vec![
        index(doc! { "tenant_id": 1, "_fw.offset": 1 }, Some("fw_by_tenant")),
        index(doc! { "tenant_id": 1, "scenario_id": 1, "_fw.offset": 1 }, Some("fw_log")),
        index(doc! { "tenant_id": 1, "user_id": 1, "_fw.offset": 1 }, Some("fw_by_user")),
        index(doc! { "tenant_id": 1, "request_id": 1, "_fw.offset": -1 }, Some("fw_by_request")),
    ];
    create_in(store, RECORDINGS, of_recordings).await?;
    for (collection, indexes) in of_streams() {
        create_in(store, collection, if indexed_queries { indexes } else { Vec::new() }).await?;
    }
    if indexed_queries {
        // Logs that nobody follows though somebody must.
        create_in(store, LEASES, vec![index(doc! { "due": 1 }, Some("fw_due"))]).await?;
    }
    let gone = |collection| (collection, GONE, Some(GONE_S));
    let ttls = [
        (INTERACTIONS, "timestamp", store.settings.interactions_ttl_days.map(|days| u64::from(days) * DAY_S)),
        (EXPOSURES, "shown_at", Some(limits::EXPOSURE_LOG_MS / 1000)),
        (RECORDINGS, "expires_at", Some(0)),
        (TOPICS, "at", Some(limits::TOPIC_RETENTION.as_secs())),
        (DELETED, "at", Some(DELETED_DAYS * DAY_S)),
        gone(PANES),
        gone(DUE),
        gone(COUNTERS),
        gone(DEAD),
    ];
    for (collection, field, after_s) in ttls {
        match after_s {
            Some(after_s) if store.abilities.ttl_indexes => ttl(store, collection, field, after_s).await?,
            Some(_) => tracing::warn!(server = store.abilities.server, collection, "no TTL indexes: all are kept"),
            None => {}
        }
    }
    Ok(())
}

/// One at a time: FerretDB fails when it is given several that are there already.
async fn create_in(store: &MongoStore, collection: &str, indexes: Vec<IndexModel>) -> Result<(), Error> {
    let collection = store.collection(collection);
    let failed = |error: String| {
        Error::Unavailable(format!("mongodb: cannot create the indexes of `{}`: {error}", collection.name()))
    };
    for index in indexes {
        match tokio::time::timeout(TIMEOUT, collection.create_index(index)).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => return Err(failed(error.to_string())),
            Err(_) => return Err(failed(format!("not done in {} s", TIMEOUT.as_secs()))),
        }
    }
    Ok(())
}

/// Has the server delete documents so long after the time in a field; changes the time
/// of an index that is there.
async fn ttl(store: &MongoStore, name: &str, field: &str, after_s: u64) -> Result<(), Error> {
    let options = IndexOptions::builder().name(TTL.to_owned()).expire_after(Duration::from_secs(after_s)).build();
    let index = IndexModel::builder().keys(doc! { field: 1 }).options(options).build();
    let collection = store.collection(name);
    match store.once("create the TTL index", || async { collection.create_index(index).await }).await {
        Err(Failure::Refused(_, error)) if is_conflict(&error) => {}
        other => return other.map(|_| ()).map_err(Error::from),
    }
    let after = i64::try_from(after_s).unwrap_or(i64::MAX);
    let change = doc! { "collMod": name, "index": { "name": TTL, "expireAfterSeconds": after } };
    store.once("change the TTL index", || async { store.database().run_command(change).await }).await?;
    Ok(())
}

fn is_conflict(error: &mongodb::error::Error) -> bool {
    matches!(&*error.kind, ErrorKind::Command(error) if error.code == OPTIONS_CONFLICT)
}
