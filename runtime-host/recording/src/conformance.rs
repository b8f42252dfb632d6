//! What every backend must do.
#![allow(clippy::unwrap_used, reason = "a test suite: a failed check is a panic")]

use std::sync::Arc;

use async_trait::async_trait;
use funnelweb_core::limits;
use funnelweb_tenant_store::Tenant;

use crate::{
    Answer, Asked, Call, Head, Outcome, Reason, Recording, Role, Stage, Status, encode,
    store::{Error, Packed, Recordings},
};

/// For how long the suite's recordings are kept, in milliseconds.
pub const TTL_MS: u64 = 60_000;

/// Deletes, the way the backend learns of it.
#[async_trait]
pub trait Forgetting: Send + Sync {
    /// The user is deleted.
    async fn forget_user(&self, tenant: &Tenant, user_id: &str);
    /// The scenario is deleted.
    async fn forget_scenario(&self, tenant: &Tenant, scenario_id: &str);
}

/// A request.
#[must_use]
pub fn asked(user_id: &str, request_id: &str) -> Asked {
    Asked {
        request_id: request_id.to_owned(),
        user_id: user_id.to_owned(),
        method: "POST".to_owned(),
        path: "/api/v1/recommend?explain=true".to_owned(),
        content_type: "application/json".to_owned(),
        body: b"{}".to_vec(),
    }
}

/// A recording with something in each of its fields.
#[must_use]
pub fn recording(scenario_id: &str, user_id: &str, request_id: &str, at_ms: u64) -> Recording {
    let call = |name: &str, asked| Call { name: name.to_owned(), asked, answer: vec![0, 1, 255] };
    let outcome = Outcome {
        component: "recall-latest".to_owned(),
        version: "1.0".to_owned(),
        digest: "ab".repeat(32),
        status: Status::TimedOut,
        reason: "late".to_owned(),
        elapsed_us: 9,
    };
    Recording {
        scenario_id: scenario_id.to_owned(),
        at_ms,
        expires_ms: at_ms + TTL_MS,
        reason: Reason::Degraded,
        asked: asked(user_id, request_id),
        answer: Answer { status: 200, body: b"{\"items\":[]}".to_vec(), elapsed_us: 1234 },
        component: "recommend".to_owned(),
        digest: "cd".repeat(32),
        calls: vec![call("documents.get", 7), call("live.exposed", u64::MAX)],
        stages: vec![Stage {
            role: Role::Recall,
            name: "latest".to_owned(),
            nth: 1,
            outcome,
            calls: vec![call("documents.newest-items", 0)],
            output: 5,
        }],
    }
}

fn packed(recording: &Recording) -> Packed {
    Packed { head: recording.head(), bytes: encode(recording).unwrap() }
}

/// Keeps one.
///
/// # Panics
/// When it cannot be kept.
pub async fn keep(recordings: &dyn Recordings, tenant: &Tenant, recording: Recording) {
    recordings.append(tenant, vec![packed(&recording)]).await.unwrap();
}

/// All that is kept of a scenario.
///
/// # Panics
/// When it cannot be read.
pub async fn all(recordings: &dyn Recordings, tenant: &Tenant, scenario_id: Option<&str>) -> Vec<Head> {
    let (mut heads, mut before) = (Vec::new(), None);
    loop {
        let page = recordings.list(tenant, scenario_id, before, 2).await.unwrap();
        assert!(page.heads.len() <= 2);
        heads.extend(page.heads);
        match page.next {
            Some(next) => before = Some(next),
            None => return heads,
        }
    }
}

/// Runs the suite for tenants that no other test uses.
///
/// # Panics
/// When the backend does otherwise.
pub async fn run(recordings: Arc<dyn Recordings>, forgetting: &dyn Forgetting, now_ms: u64) {
    let [one, other] = ["recordings-one", "recordings-other"].map(|name| Tenant::new(name).unwrap());
    let recordings = recordings.as_ref();
    what_is_kept_is_found(recordings, &one, now_ms).await;
    tenants_are_apart(recordings, &one, &other).await;
    the_newest_come_first(recordings, &one, now_ms).await;
    what_has_expired_is_not_given_out(recordings, &other, now_ms).await;
    what_is_deleted_is_gone(recordings, forgetting, &one, now_ms).await;
    limits_are_kept(recordings, &other).await;
}

async fn what_is_kept_is_found(recordings: &dyn Recordings, one: &Tenant, now_ms: u64) {
    assert_eq!(recordings.get(one, "r1").await.unwrap(), None);
    let first = recording("feed", "ann", "r1", now_ms);
    keep(recordings, one, first.clone()).await;
    assert_eq!(recordings.get(one, "r1").await.unwrap().as_ref(), Some(&first));
    // Of two with one id the last.
    let second = recording("feed", "bob", "r1", now_ms + 1);
    keep(recordings, one, second.clone()).await;
    assert_eq!(recordings.get(one, "r1").await.unwrap().as_ref(), Some(&second));
    assert_eq!(all(recordings, one, Some("feed")).await, [second.head(), first.head()]);
}

async fn tenants_are_apart(recordings: &dyn Recordings, one: &Tenant, other: &Tenant) {
    assert_eq!(all(recordings, one, None).await.len(), 2);
    assert_eq!(all(recordings, other, None).await, []);
    assert_eq!(recordings.get(other, "r1").await.unwrap(), None);
}

async fn the_newest_come_first(recordings: &dyn Recordings, one: &Tenant, now_ms: u64) {
    // Some of them together.
    let several = (2..6).map(|at| {
        let scenario = if at % 2 == 0 { "feed" } else { "shop" };
        packed(&recording(scenario, "ann", &format!("r{at}"), now_ms + at))
    });
    recordings.append(one, several.collect()).await.unwrap();
    keep(recordings, one, recording("feed", "ann", "r6", now_ms + 6)).await;
    recordings.append(one, Vec::new()).await.unwrap();
    let ids = |heads: Vec<Head>| heads.into_iter().map(|head| head.request_id).collect::<Vec<_>>();
    assert_eq!(ids(all(recordings, one, Some("shop")).await), ["r5", "r3"]);
    assert_eq!(ids(all(recordings, one, None).await), ["r6", "r5", "r4", "r3", "r2", "r1", "r1"]);
}

async fn what_has_expired_is_not_given_out(recordings: &dyn Recordings, other: &Tenant, now_ms: u64) {
    keep(recordings, other, recording("feed", "ann", "old", now_ms - TTL_MS - 1)).await;
    keep(recordings, other, recording("feed", "ann", "new", now_ms - TTL_MS + 10_000)).await;
    let ids: Vec<String> = all(recordings, other, None).await.into_iter().map(|head| head.request_id).collect();
    assert_eq!(ids, ["new"]);
    assert_eq!(recordings.get(other, "old").await.unwrap(), None);
    recordings.sweep().await.unwrap();
    assert!(recordings.get(other, "new").await.unwrap().is_some());
}

async fn what_is_deleted_is_gone(recordings: &dyn Recordings, forgetting: &dyn Forgetting, one: &Tenant, now_ms: u64) {
    keep(recordings, one, recording("shop", "eve", "r8", now_ms + 8)).await;
    forgetting.forget_user(one, "ann").await;
    let left = all(recordings, one, None).await;
    assert!(left.iter().all(|head| head.user_id != "ann") && left.len() == 2, "{left:?}");
    forgetting.forget_scenario(one, "shop").await;
    assert_eq!(all(recordings, one, Some("shop")).await, []);
    assert_eq!(recordings.get(one, "r8").await.unwrap(), None);
    assert_eq!(all(recordings, one, Some("feed")).await.len(), 1);
}

async fn limits_are_kept(recordings: &dyn Recordings, other: &Tenant) {
    let list = async |limit| recordings.list(other, None, None, limit).await;
    assert!(list(limits::PAGE_DOCUMENTS).await.is_ok());
    for limit in [0, limits::PAGE_DOCUMENTS + 1] {
        let refused = list(limit).await;
        let most = limits::PAGE_DOCUMENTS.to_string();
        let names_both = |message: &str| message.contains("limit") && message.contains(&most);
        assert!(matches!(&refused, Err(Error::Invalid(message)) if names_both(message)), "{limit}: {refused:?}");
    }
}
