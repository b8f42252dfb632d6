//! What of a deleted user or scenario operators keep.

use bson::{Document, doc};
use funnelweb_factor_events::store::{Error, Tenant};
use funnelweb_stream::{key, operator::Topic, topic_name};

use super::{
    COUNTERS, DEAD, DUE, MongoStreams, PANES, Place, Stored, Subject, TOPICS, apply::gone, progress::has_ended,
};

/// Whose traces go.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Deleted<'a> {
    User(&'a str),
    Scenario(&'a str),
}

impl MongoStreams {
    /// Has operators keep nothing of a user or a scenario whose events are deleted by
    /// now. Whatever live structures and profiles have of it is for the caller to delete
    /// afterwards.
    ///
    /// # Errors
    /// `unavailable`; it can be repeated.
    pub(crate) async fn forget(&self, tenant: &Tenant, deleted: Deleted<'_>) -> Result<(), Error> {
        let subject = match deleted {
            Deleted::User(id) => Subject::User(id.to_owned()),
            Deleted::Scenario(id) => Subject::Scenario(id.to_owned()),
        };
        self.mark_deleted(tenant, &subject).await?;
        // Of what has ended nothing is left.
        for (place, _) in self.all_progress(tenant).await?.into_iter().filter(|(_, found)| !has_ended(found)) {
            let _held = self.store().locks.streams.hold(place.id()).await;
            let number = self.next_number(&place).await?;
            self.complete(&place).await?;
            self.forget_in(&place, number, deleted).await?;
        }
        self.forget_messages(tenant, deleted).await
    }

    /// Keys of messages are `<scenario>/<user, item or group>`.
    async fn forget_messages(&self, tenant: &Tenant, deleted: Deleted<'_>) -> Result<(), Error> {
        let escaped = |id: &str| id.replace('.', "\\.");
        let mut filter = doc! { "tenant_id": tenant.as_str() };
        match deleted {
            Deleted::User(user) => {
                filter.insert("topic", topic_name(Topic::UserProfileUpdates));
                filter.insert("key", doc! { "$regex": format!("/{}$", escaped(user)) });
            }
            Deleted::Scenario(scenario) => {
                filter.insert("key", doc! { "$regex": format!("^{}/", escaped(scenario)) });
            }
        }
        let messages = self.store().collection(TOPICS);
        let work = || async { messages.delete_many(filter.clone()).await };
        self.store().again("forget", work).await?;
        Ok(())
    }

    async fn forget_in(&self, place: &Place, number: i64, deleted: Deleted<'_>) -> Result<(), Error> {
        let (Deleted::User(id) | Deleted::Scenario(id)) = deleted;
        // A key does not say which of its values is whose: one too many goes rather than
        // one too few.
        let part = key::text(&[id.to_owned()]).replace('.', "\\.");
        let has = doc! { "key": { "$regex": part } };
        let of = match deleted {
            Deleted::User(user) => doc! { "user_id": user },
            Deleted::Scenario(scenario) => doc! { "scenario_id": scenario },
        };
        let own_fields = ["operator", "shard", "key"];
        let mut all: Vec<(&str, Document, Vec<&str>)> = vec![
            (PANES, has.clone(), [own_fields.as_slice(), &["from_ms", "accumulator"]].concat()),
            (DUE, has, [own_fields.as_slice(), &["end_ms", "spoke"]].concat()),
            (DEAD, of.clone(), vec!["operator", "shard", "order", "scenario_id", "user_id", "about", "reason"]),
        ];
        if let Deleted::Scenario(_) = deleted {
            // Should it count again, it begins at 0.
            all.push((COUNTERS, of, vec!["operator", "shard", "name", "labels", "scenario_id", "value"]));
        }
        let (store, now_ms) = (self.store(), self.store().now_ms());
        for (collection, those, unset) in all {
            let mut filter = place.own();
            filter.extend(those);
            let (documents, change) = (store.collection(collection), gone(number, now_ms, &unset));
            let _marks = if collection == DUE { self.hold_marks(place).await } else { None };
            let work = || async { documents.update_many(filter.clone(), change.clone()).await };
            store.again("forget", work).await?;
        }
        Ok(())
    }
}
