//! Requests of every scenario, now and then one, as its stages saw it: what components are
//! certified with. They are kept in this process, the newest, and are gone with their user
//! or scenario.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
    time::Instant,
};

use async_trait::async_trait;
use funnelweb_bindings::Recorded;
use funnelweb_core::limits;
use funnelweb_factor_documents::store::Dependent;
use funnelweb_tenant_store::{Error as StoreError, Tenant, lock};
use quick_cache::{Weighter, sync::Cache};

/// Scenarios whose requests are recorded, about; what those weigh decides.
const SCENARIOS: usize = 10_000;

/// Requests of one scenario.
#[derive(Debug, Default)]
struct Kept {
    requests: VecDeque<(Arc<Recorded>, usize)>,
    bytes: usize,
    last: Option<Instant>,
}

/// Tenant and scenario.
type Of = (Tenant, String);

/// The requests of all scenarios.
pub struct Recorder(Cache<Of, Weighed, Bytes>);

/// What a scenario has, and what it weighed when it was put there: what a cache holds must
/// not change its weight.
#[derive(Clone, Default)]
struct Weighed {
    kept: Arc<Mutex<Kept>>,
    bytes: usize,
}

/// Weighs what a scenario has.
#[derive(Clone)]
struct Bytes;

impl Weighter<Of, Weighed> for Bytes {
    fn weight(&self, (_, scenario): &Of, weighed: &Weighed) -> u64 {
        (256 + scenario.len() + weighed.bytes) as u64
    }
}

impl Default for Recorder {
    fn default() -> Self {
        Self(funnelweb_tenant_store::bounded_cache(SCENARIOS, limits::RECORDED_BYTES, Bytes))
    }
}

impl Recorder {
    /// Whether a request of the scenario is to be recorded: when the last one was some time
    /// ago. It counts as recorded then.
    #[must_use]
    pub fn wants(&self, tenant: &Tenant, scenario_id: &str, now: Instant) -> bool {
        let kept = self.of(tenant, scenario_id);
        let mut kept = lock(&kept);
        let due = kept.last.is_none_or(|last| now.saturating_duration_since(last) >= limits::RECORDED_EVERY);
        if due {
            kept.last = Some(now);
        }
        due
    }

    /// Keeps a request; the oldest go. One that is too large is not kept.
    pub fn keep(&self, tenant: &Tenant, request: Recorded) {
        let bytes = request.bytes();
        if bytes > limits::RECORDED_REQUEST_BYTES {
            return;
        }
        let scenario_id = request.context.scenario_id.clone();
        let kept = self.of(tenant, &scenario_id);
        let bytes = {
            let mut kept = lock(&kept);
            kept.requests.push_back((Arc::new(request), bytes));
            kept.bytes += bytes;
            while kept.requests.len() > limits::RECORDED_REQUESTS
                && let Some((_, bytes)) = kept.requests.pop_front()
            {
                kept.bytes -= bytes;
            }
            kept.bytes
        };
        self.0.insert((tenant.clone(), scenario_id), Weighed { kept, bytes });
    }

    /// Those that are kept, the newest first.
    #[must_use]
    pub fn recent(&self, tenant: &Tenant, scenario_id: &str) -> Vec<Arc<Recorded>> {
        let Some(weighed) = self.0.get(&(tenant.clone(), scenario_id.to_owned())) else { return Vec::new() };
        let kept = lock(&weighed.kept);
        kept.requests.iter().rev().map(|(request, _)| Arc::clone(request)).collect()
    }

    fn of(&self, tenant: &Tenant, scenario_id: &str) -> Arc<Mutex<Kept>> {
        let of = (tenant.clone(), scenario_id.to_owned());
        if let Some(weighed) = self.0.get(&of) {
            return weighed.kept;
        }
        let weighed = Weighed::default();
        self.0.insert(of, weighed.clone());
        weighed.kept
    }
}

#[async_trait]
impl Dependent for Recorder {
    async fn forget_scenario(&self, tenant: &Tenant, scenario_id: &str) -> Result<(), StoreError> {
        self.0.remove(&(tenant.clone(), scenario_id.to_owned()));
        Ok(())
    }

    async fn forget_user(&self, tenant: &Tenant, user_id: &str) -> Result<(), StoreError> {
        for (_, weighed) in self.0.iter().filter(|((of, _), _)| of == tenant) {
            let mut kept = lock(&weighed.kept);
            kept.requests.retain(|(request, _)| request.context.user.id != user_id);
            kept.bytes = kept.requests.iter().map(|(_, bytes)| bytes).sum();
        }
        Ok(())
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use funnelweb_bindings::{
        parts::empty,
        types::{Candidates, RequestContext, Table, User},
    };

    use super::*;

    pub(crate) fn request(scenario_id: &str, user_id: &str, items: usize) -> Recorded {
        let handles: Vec<u64> = (1..=items as u64).collect();
        let candidates = Candidates {
            scores: handles.iter().map(|of| 1.0 / *of as f32).collect(),
            sources: vec![1; items],
            handles,
        };
        Recorded {
            context: RequestContext {
                scenario_id: scenario_id.to_owned(),
                user: User {
                    id: user_id.to_owned(),
                    attributes: Vec::new(),
                    preferences: Vec::new(),
                    recent: Vec::new(),
                    recent_weights: Vec::new(),
                },
                context: Vec::new(),
                now_ms: 1_700_000_000_000,
                count: 10,
                seed: 7,
            },
            exclude: Vec::new(),
            items: Table {
                rows: items as u32,
                numeric_names: vec!["price".to_owned()],
                numeric: (0..items).map(|at| if at % 2 == 0 { f32::NAN } else { at as f32 }).collect(),
                categorical_names: vec!["category".to_owned()],
                categorical: (0..items as u32).map(|at| 1 + at % 3).collect(),
                ..empty()
            },
            user: Table { rows: 1, ..empty() },
            ranked: candidates.clone(),
            rows: (0..items as u32).collect(),
            slate: candidates.handles.clone(),
            candidates,
        }
    }

    fn tenant(id: &str) -> Tenant {
        Tenant::new(id).unwrap()
    }

    #[test]
    fn now_and_then_one_is_wanted() {
        let (recorder, acme, now) = (Recorder::default(), tenant("acme"), Instant::now());
        assert!(recorder.wants(&acme, "feed", now) && !recorder.wants(&acme, "feed", now));
        assert!(recorder.wants(&acme, "shop", now) && recorder.wants(&tenant("other"), "feed", now));
        assert!(recorder.wants(&acme, "feed", now + limits::RECORDED_EVERY));
    }

    #[tokio::test]
    async fn the_newest_are_kept_and_go_with_their_user_and_scenario() {
        let (recorder, acme) = (Recorder::default(), tenant("acme"));
        let users = |recorder: &Recorder| -> Vec<String> {
            recorder.recent(&acme, "feed").iter().map(|request| request.context.user.id.clone()).collect()
        };
        for at in 0..=limits::RECORDED_REQUESTS {
            recorder.keep(&acme, request("feed", &format!("u{at}"), 10));
        }
        assert_eq!(users(&recorder).len(), limits::RECORDED_REQUESTS);
        assert_eq!(users(&recorder)[0], format!("u{}", limits::RECORDED_REQUESTS));
        assert!(recorder.recent(&tenant("other"), "feed").is_empty());
        recorder.forget_user(&tenant("other"), "u5").await.unwrap();
        assert!(users(&recorder).contains(&"u5".to_owned()));
        recorder.forget_user(&acme, "u5").await.unwrap();
        assert!(!users(&recorder).contains(&"u5".to_owned()));
        recorder.forget_scenario(&acme, "feed").await.unwrap();
        assert!(users(&recorder).is_empty());
    }

    #[test]
    fn they_take_so_much_memory() {
        let (recorder, acme) = (Recorder::default(), tenant("acme"));
        let (mut small, mut large) = (1, 1_000_000);
        while large - small > 1 {
            let items = (small + large) / 2;
            if request("feed", "ann", items).bytes() > limits::RECORDED_REQUEST_BYTES {
                large = items
            } else {
                small = items
            }
        }
        recorder.keep(&acme, request("feed", "ann", large));
        assert!(recorder.recent(&acme, "feed").is_empty());
        let scenarios = usize::try_from(limits::RECORDED_BYTES).unwrap() / limits::RECORDED_REQUEST_BYTES * 2;
        for at in 0..scenarios {
            recorder.keep(&acme, request(&format!("feed{at}"), "ann", small));
        }
        let held: usize = (0..scenarios)
            .flat_map(|at| recorder.recent(&acme, &format!("feed{at}")))
            .map(|request| request.bytes())
            .sum();
        assert!(held as u64 <= limits::RECORDED_BYTES && held as u64 > limits::RECORDED_BYTES / 2, "{held}");
    }

    #[test]
    fn what_is_written_is_read() {
        let requests = [Arc::new(request("feed", "ann", 3)), Arc::new(request("feed", "bob", 2))];
        let mut file = Vec::new();
        Recorded::write(&requests, &mut file).unwrap();
        let read = Recorded::read(file.as_slice()).unwrap();
        assert_eq!(format!("{read:?}"), format!("{requests:?}"));
        assert!(Recorded::read(b"{}\n".as_slice()).unwrap_err().to_string().starts_with("line 1: "));
    }
}
