//! The work `profiles`.
//!
//! A profile is a document that people write and events move. Made anew, what events
//! move of it begins from nothing and is moved by everything that the log has of the
//! user; the rest stays. It is written only if no event has moved it meanwhile.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use funnelweb_core::{
    behavior::{Facts, Lesson, Weighing},
    limits::HISTORY_EVENTS,
    scenario::Behaviors,
};
use funnelweb_factor_documents::{
    profile::{Move, ProfileEffect, move_document},
    store::{Collection, Document, Key, Precondition, Query, Sort, WriteError},
};
use funnelweb_factor_events::store::{HistoryQuery, StoredEvent};
use funnelweb_tenant_store::{Error as StoreError, lock};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::{
    context::{Context, Error, Target},
    follow::{Follow, Phase},
    limits,
    params::ProfilesParams,
};

/// Profiles that are made at once.
const AT_ONCE: usize = 8;
/// How often one is begun again that moves meanwhile.
const TRIES: usize = 10;
/// Before appends that are on their way are looked for again.
const PAUSE: Duration = Duration::from_millis(200);
/// Documents of a page, of which each may be long.
const PAGE: u32 = 500;

/// Makes every user's profile anew from the log, as if the behaviours had just come.
///
/// What behaviours do not move stays, `features` that were written by hand among it.
/// Of what came of it: `users`, and how many profiles were `written`, `unchanged`, and
/// `skipped`, since they moved all the time or have no room.
///
/// # Errors
/// See [`Error`].
pub async fn profiles(
    context: &Context,
    target: &Target,
    _: &ProfilesParams,
    follow: Arc<dyn Follow>,
) -> Result<Value, Error> {
    let behaviors = context.behaviors(target).await?;
    let reading = Phase::begin(&follow, "reading behaviours", 0.0, 0.3);
    let makes = Making { context, target, behaviors, settled: AtomicU64::new(0), facts: Mutex::default() };
    makes.settle().await?;
    let users = makes.users(&reading).await?;
    let phase = Phase::begin(&follow, "making profiles", 0.3, 1.0);
    let all = users.len();
    let made = stream::iter(users.into_iter().enumerate()).map(|(at, user)| {
        let (makes, phase) = (&makes, &phase);
        async move {
            phase.go_on(at as f32 / all.max(1) as f32)?;
            makes.make(&user).await
        }
    });
    let mut outcome = Outcome { users: all, ..Outcome::default() };
    let mut made = made.buffer_unordered(AT_ONCE);
    while let Some(made) = made.try_next().await? {
        match made {
            Made::Written => outcome.written += 1,
            Made::Unchanged => outcome.unchanged += 1,
            Made::Skipped => outcome.skipped += 1,
        }
    }
    Ok(serde_json::to_value(outcome).unwrap_or_default())
}

#[derive(Default, Serialize)]
struct Outcome {
    users: usize,
    written: usize,
    unchanged: usize,
    skipped: usize,
}

enum Made {
    Written,
    Unchanged,
    Skipped,
}

struct Making<'a> {
    context: &'a Context,
    target: &'a Target,
    behaviors: Behaviors,
    /// Everything in the log up to here has moved the profiles.
    settled: AtomicU64,
    /// Of items that were read; none for one that is not there.
    facts: Mutex<HashMap<String, Option<Arc<Facts>>>>,
}

impl Making<'_> {
    /// Everybody who did something or has a profile.
    async fn users(&self, phase: &Phase) -> Result<HashSet<String>, Error> {
        let Self { context, target, .. } = self;
        let mut users = HashSet::new();
        let mut add = |user: String| {
            let room = users.len() < limits::IDS || users.contains(&user);
            if room {
                users.insert(user);
                return Ok(());
            }
            Err(Error::Data(format!("more than {} users, the limit", limits::IDS)))
        };
        let end = context.events.last_offset(&target.tenant).await?;
        let mut offset = 0;
        while offset <= end {
            phase.go_on(offset as f32 / end.max(1) as f32)?;
            let page = context.events.read(&target.tenant, offset, HISTORY_EVENTS).await?;
            let Some(last) = page.last().map(|stored| stored.offset) else { break };
            let of_scenario = page.into_iter().filter(|stored| stored.event.scenario_id == target.scenario_id);
            of_scenario.map(|stored| stored.event.user_id).try_for_each(&mut add)?;
            offset = last + 1;
        }
        let mut cursor = None;
        loop {
            phase.go_on(1.0)?;
            let scenario_id = Some(target.scenario_id.clone());
            let query = Query { scenario_id, sort: Sort::Oldest, cursor, limit: PAGE, ..Query::default() };
            let page = context.documents.query(&target.tenant, Collection::UserProfiles, query).await?;
            page.documents.into_iter().map(|document| document.key.id).try_for_each(&mut add)?;
            cursor = page.next;
            if cursor.is_none() {
                return Ok(users);
            }
        }
    }

    /// Has everything in the log move the profiles.
    async fn settle(&self) -> Result<(), Error> {
        let (events, tenant) = (&self.context.events, &self.target.tenant);
        for left in (0..TRIES).rev() {
            let end = events.last_offset(tenant).await?;
            match events.settle(tenant).await {
                Ok(()) => {
                    self.settled.fetch_max(end, Ordering::AcqRel);
                    break;
                }
                Err(StoreError::Unavailable(_)) if left > 0 => tokio::time::sleep(PAUSE).await,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    async fn make(&self, user: &str) -> Result<Made, Error> {
        let Self { context, target, .. } = self;
        let tenant = &target.tenant;
        let key = Key::new(&target.scenario_id, user);
        for _ in 0..TRIES {
            let settled = self.settled.load(Ordering::Acquire);
            let before = context.documents.get(tenant, Collection::UserProfiles, key.clone()).await?;
            let events = self.history(user).await?;
            // What came behind it may have moved the profile, or is about to.
            if events.last().is_some_and(|stored| stored.offset > settled) {
                self.settle().await?;
                continue;
            }
            let moves = self.moves(&events).await?;
            let Some(body) = made_anew(before.as_ref(), &key, &moves) else { return Ok(Made::Skipped) };
            if before.as_ref().is_some_and(|before| is_same(&before.body, &body)) {
                return Ok(Made::Unchanged);
            }
            if before.is_none() && moves.is_empty() {
                return Ok(Made::Unchanged);
            }
            let when = before.map_or(Precondition::Absent, |before| Precondition::Version(before.version));
            let text = Value::Object(body).to_string();
            let written = context.documents.replace(tenant, Collection::UserProfiles, key.clone(), text, when);
            match written.await {
                Ok(_) => return Ok(Made::Written),
                Err(WriteError::Conflict(_)) => {}
                Err(WriteError::Collision) => return Ok(Made::Skipped),
                Err(WriteError::Store(error)) => return Err(error.into()),
            }
        }
        Ok(Made::Skipped)
    }

    /// All that the log has of the user in the scenario, oldest first.
    async fn history(&self, user: &str) -> Result<Vec<StoredEvent>, Error> {
        let mut all: Vec<StoredEvent> = Vec::new();
        let mut before = None;
        loop {
            let query = HistoryQuery {
                user_id: Some(user.to_owned()),
                scenario_id: Some(self.target.scenario_id.clone()),
                before,
                limit: HISTORY_EVENTS,
                ..HistoryQuery::default()
            };
            let page = self.context.events.history(&self.target.tenant, query).await?;
            let more = page.len() >= HISTORY_EVENTS as usize;
            before = page.last().map(|stored| stored.offset);
            all.extend(page.into_iter().map(without_body));
            if !more {
                all.reverse();
                return Ok(all);
            }
        }
    }

    async fn moves(&self, events: &[StoredEvent]) -> Result<Vec<Move>, Error> {
        let weighing = |stored: &StoredEvent| Weighing::new(&self.behaviors, &stored.event.action_type);
        let teaching: Vec<(&StoredEvent, Weighing)> =
            events.iter().map(|stored| (stored, weighing(stored))).filter(|(_, of)| of.weight != 0.0).collect();
        let items: HashSet<&str> = teaching.iter().map(|(stored, _)| stored.event.item_id.as_str()).collect();
        let facts = self.facts(items).await?;
        let moves = teaching.into_iter().filter_map(|(stored, weighing)| {
            let event = &stored.event;
            let item = facts.get(&event.item_id)?;
            let Lesson { preferences, counters, recent } =
                Lesson::of(&event.action_type, weighing.weight, event.timestamp_ms, item)?;
            let half_life_s = weighing.profile_half_life_s;
            Some(Move {
                item: event.item_id.clone(),
                action: event.action_type.clone(),
                at_ms: event.timestamp_ms,
                accepted_ms: event.timestamp_ms,
                effect: ProfileEffect { preferences, half_life_s, counters, recent },
            })
        });
        Ok(moves.collect())
    }

    /// Of those that the catalogue has.
    async fn facts(&self, items: HashSet<&str>) -> Result<HashMap<String, Arc<Facts>>, Error> {
        let mut known = HashMap::new();
        let mut missing = Vec::new();
        {
            let facts = lock(&self.facts);
            for item in items {
                match facts.get(item) {
                    Some(found) => known.extend(found.clone().map(|facts| (item.to_owned(), facts))),
                    None => missing.push(Key::new(&self.target.scenario_id, item)),
                }
            }
        }
        for keys in missing.chunks(PAGE as usize) {
            let found = self.context.documents.get_many(&self.target.tenant, Collection::Items, keys.to_vec()).await?;
            let mut facts = lock(&self.facts);
            if facts.len() + keys.len() > limits::FACTS {
                facts.clear();
            }
            for (key, document) in keys.iter().zip(found) {
                let of = document.map(|document| Arc::new(Facts::of(&document.body)));
                known.extend(of.clone().map(|of| (key.id.clone(), of)));
                facts.insert(key.id.clone(), of);
            }
        }
        Ok(known)
    }
}

/// What is not needed of an event may be long.
fn without_body(mut stored: StoredEvent) -> StoredEvent {
    stored.event.body = String::new();
    stored
}

/// The profile as these moves make it; none when there is no room for it.
fn made_anew(before: Option<&Document>, key: &Key, moves: &[Move]) -> Option<Map<String, Value>> {
    let mut body = match before.map(|before| serde_json::from_str(&before.body)) {
        Some(Ok(Value::Object(body))) => body,
        _ => Map::new(),
    };
    body.remove("recent_items");
    body.remove("preferences_at_ms");
    if let Some(Value::Object(preferences)) = body.get_mut("preferences") {
        preferences.retain(|name, _| !name.ends_with("_scores"));
    }
    if let Some(Value::Object(features)) = body.get_mut("features") {
        features.retain(|name, _| !is_of_events(name));
    }
    move_document(&mut body, key, moves).then_some(body)
}

/// Whether events move this one of a profile's `features`.
fn is_of_events(name: &str) -> bool {
    matches!(name, "favorite_categories" | "last_active_at")
        || (name.starts_with("total_") && name.ends_with("_count"))
        || name.starts_with("active_hour_")
}

/// Whether a stored profile says this already, but for when it was written.
fn is_same(stored: &str, body: &Map<String, Value>) -> bool {
    let Ok(Value::Object(mut stored)) = serde_json::from_str(stored) else { return false };
    let mut body = body.clone();
    for own in ["created_at", "updated_at"] {
        stored.remove(own);
        body.remove(own);
    }
    stored == body
}
