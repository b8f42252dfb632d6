//! Configs that are tried on requests after they were answered (`config.shadow`): what came of
//! it in this process, by scenario.

use std::{
    collections::HashMap,
    sync::{Arc, LazyLock, Mutex},
    time::{Instant, SystemTime},
};

use async_trait::async_trait;
use funnelweb_core::{id, limits, time};
use funnelweb_factor_documents::store::Dependent;
use funnelweb_recording::{Recording, host::Refusal};
use funnelweb_replay::{Compared, Comparison};
use funnelweb_tenant_store::{Error, Tenant, lock};
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family},
    registry::Registry,
};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::{Replayer, changes::Changed};

static TRIED: LazyLock<Family<Label, Counter>> = LazyLock::new(Family::default);

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Label {
    outcome: &'static str,
}

/// Has a registry show how often configs were tried.
pub(crate) fn register(registry: &mut Registry) {
    registry.register("shadow_requests", "Requests that a config was to be tried on", TRIED.clone());
}

fn count(outcome: &'static str) {
    TRIED.get_or_create(&Label { outcome }).inc();
}

/// Requests that wait.
pub(crate) struct Waiting(mpsc::Sender<(Tenant, Arc<Recording>, String)>);

impl Waiting {
    fn new() -> (Self, mpsc::Receiver<(Tenant, Arc<Recording>, String)>) {
        let (sender, waiting) = mpsc::channel(limits::SHADOWS_WAITING);
        (Self(sender), waiting)
    }

    /// Has a config be tried on a request, unless too many wait.
    pub(crate) fn add(&self, tenant: &Tenant, recording: Arc<Recording>, config: &str) {
        if self.0.try_send((tenant.clone(), recording, config.to_owned())).is_err() {
            count("too_many");
        }
    }
}

/// Where requests wait for `replayer` to try configs on them, one after the other.
pub(crate) fn waiting(replayer: &Arc<Replayer>) -> Waiting {
    let (added, mut waiting) = Waiting::new();
    let replayer = Arc::downgrade(replayer);
    tokio::spawn(async move {
        while let Some((tenant, recording, config)) = waiting.recv().await {
            let Some(replayer) = replayer.upgrade() else { return };
            let tried = match Changed::of_config(&config) {
                Ok(changed) => replayer.compared(&tenant, &recording, &changed).await,
                Err(refusal) => Err(refusal),
            };
            replayer.shadows.tried(&tenant, &recording.scenario_id, &config, tried.map(|both| both.compared));
        }
    });
    added
}

/// What came of trying configs.
#[derive(Default)]
pub(crate) struct Shadows(Mutex<HashMap<(Tenant, String), Shadow>>);

/// Of one scenario.
struct Shadow {
    config: String,
    since_ms: u64,
    last: Instant,
    requests: u64,
    /// Those that could not be run, and why the last could not.
    failed: u64,
    reason: Option<String>,
    comparison: Comparison,
}

impl Shadow {
    fn new(config: &str) -> Self {
        Self {
            config: config.to_owned(),
            since_ms: now_ms(),
            last: Instant::now(),
            requests: 0,
            failed: 0,
            reason: None,
            comparison: Comparison::default(),
        }
    }
}

impl Shadows {
    /// Notes what came of it. With another config than before it begins anew, and after so many
    /// requests that what users did then says little of now.
    pub(crate) fn tried(&self, tenant: &Tenant, scenario_id: &str, config: &str, tried: Result<Compared, Refusal>) {
        let mut of = lock(&self.0);
        let key = (tenant.clone(), scenario_id.to_owned());
        if of.len() >= limits::SHADOWS && !of.contains_key(&key) {
            let oldest = of.iter().min_by_key(|(_, shadow)| shadow.last).map(|(key, _)| key.clone());
            oldest.and_then(|oldest| of.remove(&oldest));
        }
        let shadow = of.entry(key).or_insert_with(|| Shadow::new(config));
        if shadow.config != config || shadow.requests >= limits::SHADOW_REQUESTS {
            *shadow = Shadow::new(config);
        }
        shadow.requests += 1;
        shadow.last = Instant::now();
        let failed = match tried {
            Ok(mut compared) => {
                // Who it is, nobody needs to know here.
                compared.user_id = format!("{:x}", id::handle(&compared.user_id));
                shadow.comparison.add(&compared).err().map(|error| error.to_string())
            }
            Err(Refusal::Invalid((path, message))) => Some(format!("{path}: {message}")),
            Err(Refusal::Failed(reason)) => Some(reason),
            Err(Refusal::Store(error)) => Some(format!("{error:?}")),
            Err(Refusal::NoRecording) => Some("it is not recorded".to_owned()),
        };
        count(if failed.is_some() { "failed" } else { "tried" });
        if failed.is_some() {
            shadow.failed += 1;
            shadow.reason = failed;
        }
    }

    /// What came of it for a scenario; none when nothing was tried.
    pub(crate) fn report(&self, tenant: &Tenant, scenario_id: &str) -> Option<String> {
        let of = lock(&self.0);
        let shadow = of.get(&(tenant.clone(), scenario_id.to_owned()))?;
        let config: Value = serde_json::from_str(&shadow.config).ok()?;
        let report = json!({
            "scenario_id": scenario_id,
            "config": config,
            "since": time::format_ms(shadow.since_ms),
            "requests": shadow.requests,
            "failed": shadow.failed,
            "reason": shadow.reason,
            "comparison": shadow.comparison.report().ok()?,
        });
        Some(report.to_string())
    }
}

#[async_trait]
impl Dependent for Shadows {
    async fn forget_scenario(&self, tenant: &Tenant, scenario_id: &str) -> Result<(), Error> {
        lock(&self.0).remove(&(tenant.clone(), scenario_id.to_owned()));
        Ok(())
    }

    /// They are nobody's.
    async fn forget_user(&self, _: &Tenant, _: &str) -> Result<(), Error> {
        Ok(())
    }
}

fn now_ms() -> u64 {
    let now = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
    u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use funnelweb_recording::{Answer, Asked, Reason};
    use funnelweb_replay::Slate;

    use super::*;

    fn compared(items: [&str; 2]) -> Compared {
        let slate = |items: [&str; 2]| Slate {
            items: items.map(str::to_owned).to_vec(),
            categories: vec![None; 2],
            elapsed_us: 1,
        };
        Compared { user_id: "ann".to_owned(), then: slate(["a", "b"]), now: slate(items), clicked: Vec::new() }
    }

    fn report(shadows: &Shadows, tenant: &Tenant) -> Value {
        serde_json::from_str(&shadows.report(tenant, "feed").unwrap()).unwrap()
    }

    #[tokio::test]
    async fn what_came_of_a_config_is_told_by_scenario() {
        let shadows = Shadows::default();
        let [one, other] = ["one", "other"].map(|name| Tenant::new(name).unwrap());
        assert_eq!(shadows.report(&one, "feed"), None);
        shadows.tried(&one, "feed", "{}", Ok(compared(["a", "c"])));
        shadows.tried(&one, "feed", "{}", Err(Refusal::Failed("no".to_owned())));
        let said = report(&shadows, &one);
        assert_eq!((&said["requests"], &said["failed"], &said["reason"]), (&json!(2), &json!(1), &json!("no")));
        assert_eq!(said["comparison"]["overlap"]["value"], 0.5);
        assert_eq!((shadows.report(&one, "shop"), shadows.report(&other, "feed")), (None, None));
        shadows.forget_scenario(&one, "feed").await.unwrap();
        assert_eq!(shadows.report(&one, "feed"), None);
    }

    #[test]
    fn of_too_many_scenarios_the_one_that_was_tried_longest_ago_goes() {
        let shadows = Shadows::default();
        let tenant = Tenant::new("one").unwrap();
        for at in 0..=limits::SHADOWS {
            shadows.tried(&tenant, &at.to_string(), "{}", Ok(compared(["a", "b"])));
        }
        let last = limits::SHADOWS.to_string();
        assert_eq!(lock(&shadows.0).len(), limits::SHADOWS);
        assert!(shadows.report(&tenant, "0").is_none() && shadows.report(&tenant, &last).is_some());
    }

    #[test]
    fn so_many_wait_and_nobody_for_them() {
        let (waiting, mut receiver) = Waiting::new();
        let tenant = Tenant::new("one").unwrap();
        let recording = Arc::new(Recording {
            scenario_id: "feed".to_owned(),
            at_ms: 1,
            expires_ms: 2,
            reason: Reason::Sample,
            asked: Asked {
                request_id: "r".to_owned(),
                user_id: String::new(),
                method: "POST".to_owned(),
                path: "/".to_owned(),
                content_type: String::new(),
                body: Vec::new(),
            },
            answer: Answer { status: 200, body: Vec::new(), elapsed_us: 1 },
            component: "recommend".to_owned(),
            digest: String::new(),
            calls: Vec::new(),
            stages: Vec::new(),
        });
        (0..limits::SHADOWS_WAITING + 2).for_each(|_| waiting.add(&tenant, Arc::clone(&recording), "{}"));
        drop(waiting);
        assert_eq!(std::iter::from_fn(|| receiver.try_recv().ok()).count(), limits::SHADOWS_WAITING);
    }

    #[test]
    fn another_config_begins_anew() {
        let shadows = Shadows::default();
        let tenant = Tenant::new("one").unwrap();
        shadows.tried(&tenant, "feed", "{}", Ok(compared(["a", "c"])));
        shadows.tried(&tenant, "feed", r#"{"rank":{"model":"deepfm"}}"#, Ok(compared(["a", "b"])));
        let said = report(&shadows, &tenant);
        assert_eq!((&said["requests"], &said["config"]["rank"]["model"]), (&json!(1), &json!("deepfm")));
        for _ in 0..limits::SHADOW_REQUESTS {
            shadows.tried(&tenant, "feed", r#"{"rank":{"model":"deepfm"}}"#, Ok(compared(["b", "a"])));
        }
        assert_eq!(report(&shadows, &tenant)["requests"], 1);
    }
}
