//! The effects of a batch: written down with it, and applied.

use std::collections::{BTreeMap, HashMap};

use bincode::{Decode, Encode};
use funnelweb_factor_documents::{
    profile::Move,
    store::{Collection, Key},
};
use funnelweb_factor_events::store::{Change, Effect, Error, Event, Tenant};
use funnelweb_factor_live::store::{CountAdd, HotAdd};
use futures::{StreamExt, stream};

use super::MongoEvents;

/// Of the encoding; a batch of another one is left to the program that wrote it.
const FORMAT: u8 = 1;
/// Profiles that are moved one by one at the same time.
const PROFILES_AT_ONCE: usize = 16;

/// An event as far as its effects need it.
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
pub(super) struct Caused {
    pub(super) event_id: String,
    scenario_id: String,
    user_id: String,
    item_id: String,
    action_type: String,
    at_ms: u64,
    effects: Vec<Effect>,
}

/// The effects of events that were accepted together.
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
pub(super) struct Batch {
    pub(super) accepted_ms: u64,
    pub(super) events: Vec<Caused>,
}

impl Batch {
    pub(super) fn new<'a>(accepted_ms: u64, events: impl Iterator<Item = (&'a Event, &'a Vec<Effect>)>) -> Self {
        let caused = |(event, effects): (&Event, &Vec<Effect>)| Caused {
            event_id: event.event_id.clone(),
            scenario_id: event.scenario_id.clone(),
            user_id: event.user_id.clone(),
            item_id: event.item_id.clone(),
            action_type: event.action_type.clone(),
            at_ms: event.timestamp_ms,
            effects: effects.clone(),
        };
        Self { accepted_ms, events: events.filter(|(_, effects)| !effects.is_empty()).map(caused).collect() }
    }

    pub(super) fn encode(&self) -> Result<Vec<u8>, Error> {
        let mut bytes = vec![FORMAT];
        bincode::encode_into_std_write(self, &mut bytes, bincode::config::standard())
            .map_err(|error| Error::invalid("effects", error))?;
        Ok(bytes)
    }

    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let (&FORMAT, rest) = bytes.split_first()? else { return None };
        bincode::decode_from_slice(rest, bincode::config::standard()).ok().map(|(batch, _)| batch)
    }
}

impl MongoEvents {
    /// Applies what an operator changes, as far as it was not before.
    pub(crate) async fn apply_changes(
        &self,
        tenant: &Tenant,
        number: u128,
        accepted_ms: u64,
        changes: Vec<Change>,
    ) -> Result<(), Error> {
        let (mut hot, mut counts) = (Vec::new(), Vec::new());
        let mut moves: BTreeMap<Key, Vec<Move>> = BTreeMap::new();
        for change in changes {
            match change {
                Change::Heat { scenario_id, item_id, half_life_s, weight, at_ms } => {
                    hot.push(HotAdd { scenario_id, item_id, weight, half_life_s, at_ms });
                }
                Change::Count { item_id, field, amount } => counts.push(CountAdd { item_id, field, amount }),
                Change::Profile { scenario_id, user_id, at_ms, effect } => {
                    let one = Move { item: String::new(), action: String::new(), at_ms, accepted_ms, effect };
                    moves.entry(Key::new(scenario_id, user_id)).or_default().push(one);
                }
            }
        }
        self.apply_all(tenant, number, hot, counts, moves).await
    }

    /// Applies the effects of a batch, as far as they were not before.
    pub(super) async fn apply(&self, tenant: &Tenant, number: u128, batch: &Batch) -> Result<(), Error> {
        let (mut hot, mut counts) = (Vec::new(), Vec::new());
        let mut moves: BTreeMap<Key, Vec<Move>> = BTreeMap::new();
        for event in &batch.events {
            for effect in &event.effects {
                match effect {
                    Effect::Hot(effect) => hot.push(HotAdd {
                        scenario_id: event.scenario_id.clone(),
                        item_id: event.item_id.clone(),
                        weight: effect.weight,
                        half_life_s: effect.half_life_s,
                        at_ms: event.at_ms,
                    }),
                    Effect::Count(effect) => counts.push(CountAdd {
                        item_id: event.item_id.clone(),
                        field: effect.field.clone(),
                        amount: effect.amount,
                    }),
                    Effect::Profile(effect) => {
                        moves.entry(Key::new(&*event.scenario_id, &*event.user_id)).or_default().push(Move {
                            item: event.item_id.clone(),
                            action: event.action_type.clone(),
                            at_ms: event.at_ms,
                            accepted_ms: batch.accepted_ms,
                            effect: effect.clone(),
                        });
                    }
                }
            }
        }
        self.apply_all(tenant, number, hot, counts, moves).await
    }

    /// Changes live structures and profiles under the number of a batch, as far as they
    /// were not before.
    async fn apply_all(
        &self,
        tenant: &Tenant,
        number: u128,
        hot: Vec<HotAdd>,
        counts: Vec<CountAdd>,
        moves: BTreeMap<Key, Vec<Move>>,
    ) -> Result<(), Error> {
        let live = async {
            if hot.is_empty() && counts.is_empty() {
                return Ok(());
            }
            self.live.apply(tenant, number, hot, counts).await
        };
        let profiles = async {
            let (mut moved, moves) = (HashMap::new(), moves.into_iter().collect::<Vec<_>>());
            let together = self.store.move_profiles(tenant, number, &moves, &mut moved).await;
            let left: Vec<_> = match together {
                Ok(()) => moves.into_iter().filter(|(key, _)| !moved.contains_key(key)).collect(),
                Err(_) => Vec::new(),
            };
            let one_by_one = stream::iter(left)
                .map(|(key, moves)| async move { self.store.move_profile(tenant, &key, number, &moves).await });
            let one_by_one = one_by_one.buffer_unordered(PROFILES_AT_ONCE).collect::<Vec<_>>().await;
            let moved = moved.into_values().map(Ok).chain(one_by_one);
            moved.chain(together.err().map(Err)).collect::<Vec<_>>()
        };
        // Both to their end: what the one did is not lost when the other fails.
        let (live, profiles) = futures::join!(live, profiles);
        if let Some(watcher) = &self.watcher {
            let moved: Vec<_> = profiles.iter().flatten().flatten().cloned().collect();
            watcher.changed(tenant, Collection::UserProfiles, &moved).await;
        }
        live.and(profiles.into_iter().try_for_each(|moved| moved.map(drop)))
    }
}
