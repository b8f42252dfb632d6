//! Messages of topics. A topic's entry in our bookkeeping, `topic/<tenant>/<topic>`,
//! gives the offsets: to each step once, and it remembers which steps have yet to write
//! their messages, so that nobody reads past them.

use std::time::Duration;

use bson::{Document, doc};
use funnelweb_core::limits;
use funnelweb_factor_events::{
    publish::Said,
    store::{Error, Tenant},
};
use funnelweb_stream::store::Published;
use xxhash_rust::xxh3::xxh3_64;

use super::{MongoStreams, Place, Stored, TOPICS, before, signed, written::Message};
use crate::{
    call::Find,
    codec::date,
    server::{STATE, object_id},
    state::integer,
};

/// How often it is tried to get offsets when others come between.
const ATTEMPTS: u32 = 24;
const WAIT: Duration = Duration::from_millis(5);

fn topic_key(tenant: &Tenant, topic: &str) -> String {
    format!("topic/{tenant}/{topic}")
}

/// The offsets of a step's messages.
enum Offsets {
    /// From this one on.
    From(i64),
    /// The messages are there.
    Taken,
}

impl MongoStreams {
    /// Writes the messages of a step.
    pub(super) async fn publish(
        &self,
        place: &Place,
        number: i64,
        topic: &str,
        messages: &[Message],
        at_ms: u64,
    ) -> Result<(), Error> {
        let (tenant, store) = (&place.tenant, self.store());
        let count = signed(messages.len() as u64);
        let Offsets::From(first) = self.offsets(place, number, topic, count).await? else { return Ok(()) };
        let document = |(offset, message): (i64, &Message)| {
            doc! {
                "_id": object_id(tenant, &[topic.as_bytes(), &offset.to_be_bytes()]), "tenant_id": tenant.as_str(),
                "topic": topic, "offset": offset, "key": &message.key, "body": &message.body, "at": date(at_ms),
            }
        };
        let documents: Vec<Document> = (first..).zip(messages).map(document).collect();
        let all = store.collection(TOPICS);
        match store.once("insert", || async { all.insert_many(&documents).ordered(false).await }).await {
            Err(failure) if !failure.is_duplicate() => return Err(failure.into()),
            _ => {}
        }
        if let Some(announcer) = &self.announcer {
            let said = |(offset, message): (i64, &Message)| Said {
                offset: offset.cast_unsigned(),
                key: message.key.clone(),
                body: message.body.clone(),
            };
            announcer.announce(tenant, topic, (first..).zip(messages).map(said).collect()).await?;
        }
        let (entry, key) = (format!("steps.{}", name(place)), topic_key(tenant, topic));
        let mut filter = doc! { "_id": &key };
        if store.abilities.atomic_updates {
            filter.insert(format!("{entry}.number"), number);
        }
        let states = store.collection(STATE);
        let change = doc! { "$set": { format!("{entry}.done"): true } };
        // Other operators take offsets of the topic: the place's lock is none of theirs.
        let held = store.locks.state.hold(&key).await;
        store.again("end messages", || async { states.update_one(filter.clone(), change.clone()).await }).await?;
        drop(held);
        self.keep_messages(tenant, topic, first + count - 1).await
    }

    /// Deletes what is too old, where the server does not, and what is too much.
    async fn keep_messages(&self, tenant: &Tenant, topic: &str, last: i64) -> Result<(), Error> {
        let store = self.store();
        let mut those = Vec::new();
        let most = signed(limits::TOPIC_MESSAGES as u64);
        if last > most {
            those.push(doc! { "offset": { "$lte": last - most } });
        }
        if !store.abilities.ttl_indexes {
            those.push(doc! { "at": { "$lt": date(self.oldest()) } });
        }
        let all = store.collection(TOPICS);
        for mut filter in those {
            filter.extend(doc! { "tenant_id": tenant.as_str(), "topic": topic });
            store.again("delete", || async { all.delete_many(filter.clone()).await }).await?;
        }
        Ok(())
    }

    fn oldest(&self) -> u64 {
        before(self.store().now_ms(), limits::TOPIC_RETENTION)
    }

    /// The offsets that a step's messages have, or get now.
    async fn offsets(&self, place: &Place, number: i64, topic: &str, count: i64) -> Result<Offsets, Error> {
        let (store, key, name) = (self.store(), topic_key(&place.tenant, topic), name(place));
        let states = store.collection(STATE);
        for _ in 0..ATTEMPTS {
            // Some servers test and change in separate steps.
            let held = store.locks.state.hold(&key).await;
            let found = store.state(&key).await?;
            let entry = found.as_ref().and_then(|found| found.get_document("steps").ok()?.get_document(&name).ok());
            let of = entry.and_then(|entry| Some((integer(entry, "number")?, integer(entry, "first")?)));
            let is_done = entry.is_some_and(|entry| entry.get_bool("done").unwrap_or(false));
            match of {
                // A later step would not have come before this one was done.
                Some((other, _)) if other > number => return Ok(Offsets::Taken),
                Some((other, _)) if other == number && is_done => return Ok(Offsets::Taken),
                Some((other, first)) if other == number => return Ok(Offsets::From(first)),
                _ => {}
            }
            let last = found.as_ref().and_then(|found| integer(found, "last"));
            let first = last.unwrap_or(0) + 1;
            let entry = doc! { "number": number, "first": first, "done": false };
            let taken = if let Some(last) = last {
                let mut filter = doc! { "_id": &key };
                if store.abilities.atomic_updates {
                    filter.insert("last", last);
                }
                let change = doc! { "$set": { "last": last + count, format!("steps.{name}"): entry } };
                let work = || async { states.update_one(filter, change).await };
                store.once("take offsets", work).await?.matched_count == 1
            } else {
                let new = doc! {
                    "_id": &key, "tenant_id": place.tenant.as_str(), "last": count, "steps": { &name: entry },
                };
                match store.once("insert", || async { states.insert_one(new).await }).await {
                    Ok(_) => true,
                    Err(failure) if failure.is_duplicate() => false,
                    Err(failure) => return Err(failure.into()),
                }
            };
            if taken {
                return Ok(Offsets::From(first));
            }
            drop(held);
            tokio::time::sleep(funnelweb_tenant_store::jitter(WAIT)).await;
        }
        Err(Error::Unavailable("mongodb: others came between each time".to_owned()))
    }

    pub(super) async fn messages(
        &self,
        tenant: &Tenant,
        topic: &str,
        offset: u64,
        limit: u32,
    ) -> Result<Vec<Published>, Error> {
        let store = self.store();
        let Some(state) = store.state(&topic_key(tenant, topic)).await? else { return Ok(Vec::new()) };
        let last = integer(&state, "last").unwrap_or(0);
        let entries = state.get_document("steps").ok().into_iter().flatten();
        let unwritten = entries.filter_map(|(_, entry)| {
            let entry = entry.as_document()?;
            (!entry.get_bool("done").unwrap_or(false)).then(|| integer(entry, "first"))?
        });
        let end = unwritten.min().unwrap_or(last + 1);
        let range = doc! { "$gte": signed(offset), "$lt": end };
        let find = Find {
            filter: doc! {
                "tenant_id": tenant.as_str(), "topic": topic, "offset": range, "at": { "$gte": date(self.oldest()) },
            },
            sort: Some(doc! { "offset": 1 }),
            limit: Some(limit.into()),
            ..Find::default()
        };
        let found = store.find(TOPICS, &find).await?;
        let message = |found: Document| {
            let text = |name: &str| Some(found.get_str(name).ok()?.to_owned());
            Some(Published {
                offset: integer(&found, "offset")?.cast_unsigned(),
                key: text("key")?,
                body: text("body")?,
            })
        };
        Ok(found.into_iter().filter_map(message).collect())
    }
}

/// A place as the name of a field: an operator's own may have what no field may.
fn name(place: &Place) -> String {
    format!("{:016x}", xxh3_64(place.id().as_bytes()))
}
