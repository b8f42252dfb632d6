//! Answers that are given again: under which key, for how long, and when not.
//!
//! The key is made of all that an answer depends on and that is known before the stages run:
//! the body of the request, the scenario as it is stored, the groups of experiments, the
//! version of the user's profile, and what would run ([`Capabilities::fingerprint`]). What
//! changes without that (hot lists, new items, what jobs learn) is felt when the time of the
//! answer is over. An item that is gone, or inactive, ends it at once.
//!
//! Pages of feeds are kept in any case, so that one that is asked for again is the same page:
//! where what was shown is not shown again, the stages would give another. A user's profile
//! does not matter to them, and they are never stale.

use funnelweb_core::{error::ApiError, id};
use funnelweb_guest::results::{Found, Kept, Key};
use serde::Deserialize;

use crate::{
    Request,
    answer::{Answer, CacheStatus},
    capabilities::{Capabilities, Claim as _},
    funnel::Call,
    plan::{Chosen, Plans},
};

/// Of the key and of what is kept under it: other programs have other ones.
const FORMAT: u8 = 1;
/// For how long an answer is kept that is worth no more: an empty one, or one that stages
/// failed for. Long enough for those who ask at the same moment.
const POOR_S: u32 = 1;

/// What was answered before.
pub(crate) struct Again {
    /// What follows in the answer what is the request's own.
    pub(crate) rest: String,
    pub(crate) item_ids: Vec<String>,
    pub(crate) cache: CacheStatus,
}

/// What is to be computed, and where it is kept then.
pub(crate) struct Absent<C> {
    place: Option<Place>,
    /// Others wait for as long as it is there.
    _claim: Option<C>,
    cache: CacheStatus,
}

pub(crate) enum Looked<C> {
    Again(Again),
    Absent(Absent<C>),
}

/// Where an answer is kept.
struct Place {
    key: Key,
    fresh_s: u32,
    stale_s: u32,
}

impl Place {
    /// None where nothing is kept.
    fn of(
        host: &impl Capabilities,
        call: &Call<'_>,
        request: &Request,
        plans: &Plans,
        chosen: &Chosen,
        profile: u64,
    ) -> Option<Self> {
        let (config, page) = (&chosen.plan.config, request.cursor.is_some());
        // Each request of an interleaving has coins of its own, and tells who drafted what.
        let keeps = chosen.rival.is_none() && config.cache.keeps(&config.exposure, !call.user_id.is_empty());
        if call.explain || !(keeps || page) {
            return None;
        }
        let mut text = Vec::with_capacity(256 + call.body.len());
        text.push(FORMAT);
        text.extend(plans.digest().to_le_bytes());
        for group in &chosen.assigned {
            text.extend(group.experiment_id.bytes().chain([0]).chain(group.group_id.bytes()).chain([0]));
        }
        if let Some(rival) = &chosen.rival {
            text.extend(rival.experiment_id.bytes().chain([0, 0]));
        }
        text.extend([u8::from(chosen.held_out), u8::from(chosen.fault.is_some())]);
        text.extend(if page { 0 } else { profile }.to_le_bytes());
        for plan in chosen.plans() {
            let fingerprint = host.fingerprint(&request.scenario_id, call.user_id, call.seed, &plan.varying);
            text.extend(fingerprint.to_le_bytes());
        }
        text.extend(call.body);
        let key = Key {
            scenario_id: request.scenario_id.clone(),
            user_id: call.user_id.to_owned(),
            hash: format!("{:032x}", id::digest(&text)),
        };
        let stale_s = if page { 0 } else { config.cache.stale_seconds };
        Some(Self { key, fresh_s: config.cache.ttl_seconds, stale_s })
    }
}

/// Looks for an answer. `profile` is the version of the user's.
pub(crate) fn look<H: Capabilities>(
    host: &H,
    call: &Call<'_>,
    request: &Request,
    (plans, chosen): (&Plans, &Chosen),
    profile: u64,
) -> Result<Looked<H::Claim>, ApiError> {
    let Some(place) = Place::of(host, call, request, plans, chosen, profile) else {
        return Ok(Looked::Absent(Absent { place: None, _claim: None, cache: CacheStatus::Bypass }));
    };
    let absent = |place, claim, cache| Ok(Looked::Absent(Absent { place: Some(place), _claim: claim, cache }));
    let miss = CacheStatus::Miss { stored: false };
    if call.revalidates {
        // Whoever has it computed anew has the claim.
        return absent(place, None, miss);
    }
    // Twice at most: what turns out to be none is forgotten, unless the store does not do that.
    for _ in 0..2 {
        let (found, claim) = host.look(&place.key)?;
        let kept = match found {
            Found::Fresh(kept) | Found::Stale(kept) => kept,
            Found::Absent | Found::Taken => return absent(place, claim, miss),
            Found::Unavailable => return absent(place, None, CacheStatus::Unavailable),
        };
        if let Some(again) = still_good(host, &request.scenario_id, kept, call.now_ms)? {
            if let Some(claim) = claim {
                claim.revalidate(&String::from_utf8_lossy(call.body));
            }
            return Ok(Looked::Again(again));
        }
        host.forget(&place.key)?;
        if claim.is_some() {
            return absent(place, claim, miss);
        }
    }
    absent(place, None, miss)
}

/// What was kept, unless an item of it is not there any more.
fn still_good(host: &impl Capabilities, scenario_id: &str, kept: Kept, now_ms: u64) -> Result<Option<Again>, ApiError> {
    #[derive(Deserialize)]
    struct Slate<'a> {
        #[serde(borrow)]
        items: Vec<Item<'a>>,
    }
    #[derive(Deserialize)]
    struct Item<'a> {
        item_id: &'a str,
    }
    let Ok(Slate { items }) = serde_json::from_str(&kept.value) else { return Ok(None) };
    let handles: Vec<_> = items.iter().map(|item| id::handle(item.item_id)).collect();
    if host.active(scenario_id, &handles, now_ms)? != handles.len() {
        return Ok(None);
    }
    let item_ids = items.iter().map(|item| item.item_id.to_owned()).collect();
    let cache = if kept.collapsed { CacheStatus::Collapsed } else { CacheStatus::Hit(kept.fresh_s) };
    Ok(Some(Again { item_ids, rest: kept.value, cache }))
}

impl<C> Absent<C> {
    /// The answer, kept for the next one where it has a place; `poor` is one that is worth
    /// no more than a moment.
    pub(crate) fn answer(
        self,
        host: &impl Capabilities,
        call: &Call<'_>,
        scenario_id: &str,
        rest: &str,
        poor: bool,
    ) -> Result<Answer, ApiError> {
        let cache = match &self.place {
            Some(Place { key, fresh_s, stale_s }) => {
                let (fresh_s, stale_s) = if poor { (POOR_S, 0) } else { (*fresh_s, *stale_s) };
                match host.keep(key, rest, fresh_s, stale_s)? {
                    true => CacheStatus::Miss { stored: true },
                    false => self.cache,
                }
            }
            None => self.cache,
        };
        Ok(Answer::new(call, scenario_id, rest, cache))
    }
}
