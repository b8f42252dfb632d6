//! Live structures in memory, as the contract of their writing side has them.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use async_trait::async_trait;
use funnelweb_core::{decay, id::handle};
use funnelweb_factor_live::store::{CountAdd, Error, HotAdd, Live, LiveEffects, Scored, Tenant, Walk, Whole};
use funnelweb_tenant_store::pages;

/// Score and its time by handle, and their half-life.
type HotList = (u32, HashMap<u64, (f64, u64)>);

#[derive(Default)]
struct State {
    batches: HashSet<(Tenant, u128)>,
    /// By tenant and scenario.
    hot: HashMap<(Tenant, String), HotList>,
    counts: HashMap<(Tenant, u64, String), f64>,
    exposed: HashMap<(Tenant, String, String), Vec<u64>>,
}

#[derive(Default)]
pub struct MemoryLive {
    state: Mutex<State>,
    /// Whether it is down.
    pub down: AtomicBool,
}

impl MemoryLive {
    /// How many batches were applied.
    pub fn batches(&self) -> usize {
        self.state.lock().unwrap().batches.len()
    }

    fn check(&self) -> Result<(), Error> {
        if self.down.load(Ordering::Relaxed) { Err(Error::Unavailable("down".to_owned())) } else { Ok(()) }
    }
}

#[async_trait]
impl LiveEffects for MemoryLive {
    async fn apply(&self, tenant: &Tenant, batch: u128, hot: Vec<HotAdd>, counts: Vec<CountAdd>) -> Result<(), Error> {
        self.check()?;
        let mut state = self.state.lock().unwrap();
        if !state.batches.insert((tenant.clone(), batch)) {
            return Ok(());
        }
        for add in hot {
            let list = state.hot.entry((tenant.clone(), add.scenario_id)).or_default();
            list.0 = add.half_life_s;
            let (score, at_ms) = list.1.entry(handle(&add.item_id)).or_insert((0.0, add.at_ms));
            *score = *score * decay::factor(*at_ms, add.at_ms, add.half_life_s) + add.weight;
            *at_ms = add.at_ms;
        }
        for add in counts {
            *state.counts.entry((tenant.clone(), handle(&add.item_id), add.field)).or_default() += add.amount;
        }
        Ok(())
    }

    async fn forget_user(&self, tenant: &Tenant, user_id: &str, scenario_ids: Vec<String>) -> Result<(), Error> {
        self.check()?;
        let mut state = self.state.lock().unwrap();
        for scenario in scenario_ids {
            state.exposed.remove(&(tenant.clone(), scenario, user_id.to_owned()));
        }
        Ok(())
    }

    async fn forget_scenario(&self, tenant: &Tenant, scenario_id: &str, item_ids: Vec<String>) -> Result<(), Error> {
        self.check()?;
        let mut state = self.state.lock().unwrap();
        state.hot.remove(&(tenant.clone(), scenario_id.to_owned()));
        state.exposed.retain(|(owner, scenario, _), _| owner != tenant || scenario != scenario_id);
        let items: HashSet<u64> = item_ids.iter().map(|id| handle(id)).collect();
        state.counts.retain(|(owner, item, _), _| owner != tenant || !items.contains(item));
        Ok(())
    }
}

#[async_trait]
impl Live for MemoryLive {
    async fn hot_top(
        &self,
        tenant: &Tenant,
        scenario_id: String,
        limit: u32,
        exclude: Vec<u64>,
        now_ms: u64,
    ) -> Result<Scored, Error> {
        let state = self.state.lock().unwrap();
        let Some((half_life_s, list)) = state.hot.get(&(tenant.clone(), scenario_id)) else {
            return Ok(Scored::default());
        };
        let score = |(handle, (score, at_ms)): (&u64, &(f64, u64))| {
            ((score * decay::factor(*at_ms, now_ms, *half_life_s)) as f32, *handle)
        };
        let mut all: Vec<_> = list.iter().filter(|(handle, _)| !exclude.contains(handle)).map(score).collect();
        all.sort_by(|one, other| other.0.total_cmp(&one.0).then(one.1.cmp(&other.1)));
        let (scores, handles) = all.into_iter().take(limit as usize).unzip();
        Ok(Scored { handles, scores })
    }

    async fn hot_scores(
        &self,
        tenant: &Tenant,
        scenario_id: String,
        handles: Vec<u64>,
        now_ms: u64,
    ) -> Result<Vec<f32>, Error> {
        let state = self.state.lock().unwrap();
        let Some((half_life_s, list)) = state.hot.get(&(tenant.clone(), scenario_id)) else {
            return Ok(vec![0.0; handles.len()]);
        };
        let score =
            |handle| list.get(handle).map_or(0.0, |(score, at_ms)| score * decay::factor(*at_ms, now_ms, *half_life_s));
        Ok(handles.iter().map(|handle| score(handle) as f32).collect())
    }

    async fn expose(
        &self,
        tenant: &Tenant,
        scenario_id: String,
        user_id: Option<String>,
        item_ids: Vec<String>,
        _: u32,
    ) -> Result<(), Error> {
        let mut state = self.state.lock().unwrap();
        let Some(user_id) = user_id else { return Ok(()) };
        let set = state.exposed.entry((tenant.clone(), scenario_id, user_id)).or_default();
        set.extend(item_ids.iter().map(|id| handle(id)));
        Ok(())
    }

    async fn exposed(&self, tenant: &Tenant, scenario_id: String, user_id: String) -> Result<Vec<u64>, Error> {
        let state = self.state.lock().unwrap();
        Ok(state.exposed.get(&(tenant.clone(), scenario_id, user_id)).cloned().unwrap_or_default())
    }

    async fn item_stats(
        &self,
        tenant: &Tenant,
        _: String,
        handles: Vec<u64>,
        fields: Vec<String>,
    ) -> Result<Vec<f64>, Error> {
        let state = self.state.lock().unwrap();
        let cells = handles.iter().flat_map(|handle| fields.iter().map(move |field| (*handle, field)));
        let count = |(handle, field): (u64, &String)| {
            state.counts.get(&(tenant.clone(), handle, field.clone())).copied().unwrap_or(0.0)
        };
        Ok(cells.map(count).collect())
    }

    async fn flush(&self) {}

    /// It knows items by their handles only.
    fn walk<'a>(&'a self, _: &'a Tenant) -> Walk<'a, Whole> {
        pages((), async |()| Ok((Vec::new(), None)))
    }

    async fn restore(&self, _: &Tenant, structures: Vec<Whole>) -> Result<(), Error> {
        assert!(structures.is_empty(), "of those it walks there are none");
        Ok(())
    }
}
