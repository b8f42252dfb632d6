//! What every backend must do.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test suite: a failed check is a panic")]

use std::sync::Arc;

use async_trait::async_trait;
use funnelweb_core::{limits, scenario::FeatureKind};
use funnelweb_tenant_store::Tenant;

use crate::{
    Cell, Draft, Feature, Shown, Slate,
    store::{Error, ExposureLog},
};

/// Deletes, the way the backend learns of it.
#[async_trait]
pub trait Forgetting: Send + Sync {
    /// The user is deleted.
    async fn forget_user(&self, tenant: &Tenant, user_id: &str);
    /// The scenario is deleted.
    async fn forget_scenario(&self, tenant: &Tenant, scenario_id: &str);
}

/// A slate of two items with a cell of each kind.
#[must_use]
pub fn slate(scenario_id: &str, user_id: &str, shown_at_ms: u64) -> Slate {
    let feature = |name: &str, kind| Feature { name: name.to_owned(), kind };
    let shown = |item_id: &str, cells: [Cell; 4]| Shown { item_id: item_id.to_owned(), cells: cells.to_vec() };
    Slate {
        request_id: format!("r-{shown_at_ms}"),
        user_id: user_id.to_owned(),
        scenario_id: scenario_id.to_owned(),
        shown_at_ms,
        user_features: vec![feature("user:city", FeatureKind::Categorical)],
        user: vec![Cell::Word(u32::MAX)],
        item_features: vec![
            feature("item:price", FeatureKind::Numeric),
            feature("item:category", FeatureKind::Categorical),
            feature("item:tags", FeatureKind::MultiCategorical),
            feature("item:created_at", FeatureKind::Timestamp),
        ],
        items: vec![
            shown("a", [Cell::Number(-1.5), Cell::Word(7), Cell::Words(vec![1, 2]), Cell::Number(0.25)]),
            shown("b", [Cell::Missing, Cell::Missing, Cell::Words(Vec::new()), Cell::Missing]),
        ],
        groups: vec!["exp:control".to_owned()],
        elapsed_us: 4200,
        cost_us: u32::MAX,
        drafted: vec![Draft { experiment: "rankers".to_owned(), teams: vec![2, 0] }],
    }
}

/// Runs the suite for tenants that no other test uses.
///
/// # Panics
/// When the backend does otherwise.
pub async fn run(log: Arc<dyn ExposureLog>, forgetting: &dyn Forgetting, now_ms: u64) {
    let [one, other] = ["exposures-one", "exposures-other"].map(|name| Tenant::new(name).unwrap());
    slates_come_back_in_order_page_by_page(log.as_ref(), &one, now_ms).await;
    tenants_and_scenarios_are_apart(log.as_ref(), &one, &other, now_ms).await;
    what_is_deleted_is_gone(log.as_ref(), forgetting, &one, now_ms).await;
    what_is_old_is_swept(log.as_ref(), &other, now_ms).await;
    whoever_reads_on_misses_none(log.as_ref(), &other, now_ms).await;
    limits_are_kept(log.as_ref(), &other).await;
}

/// All slates of a scenario.
///
/// # Panics
/// When they cannot be read.
pub async fn all(log: &dyn ExposureLog, tenant: &Tenant, scenario_id: &str) -> Vec<Slate> {
    log.settle(tenant).await.unwrap();
    let (mut slates, mut after) = (Vec::new(), None);
    loop {
        let page = log.read(tenant, scenario_id, after, 2).await.unwrap();
        assert!(page.slates.len() <= 2);
        slates.extend(page.slates);
        match page.next {
            Some(next) => after = Some(next),
            None => return slates,
        }
    }
}

async fn slates_come_back_in_order_page_by_page(log: &dyn ExposureLog, tenant: &Tenant, now_ms: u64) {
    assert!(all(log, tenant, "feed").await.is_empty());
    let written: Vec<Slate> = (0..5).map(|at| slate("feed", "ann", now_ms + at)).collect();
    for slate in &written {
        log.append(tenant, slate.clone()).await.unwrap();
    }
    assert_eq!(all(log, tenant, "feed").await, written);
}

async fn tenants_and_scenarios_are_apart(log: &dyn ExposureLog, one: &Tenant, other: &Tenant, now_ms: u64) {
    log.append(one, slate("shop", "ann", now_ms)).await.unwrap();
    log.append(other, slate("feed", "bob", now_ms)).await.unwrap();
    assert_eq!(all(log, one, "feed").await.len(), 5);
    assert_eq!(all(log, one, "shop").await, [slate("shop", "ann", now_ms)]);
    assert_eq!(all(log, other, "feed").await, [slate("feed", "bob", now_ms)]);
    assert!(all(log, other, "shop").await.is_empty());
}

async fn what_is_deleted_is_gone(log: &dyn ExposureLog, forgetting: &dyn Forgetting, tenant: &Tenant, now_ms: u64) {
    // What was noted and is not written down yet goes, too.
    log.append(tenant, slate("feed", "bob", now_ms + 9)).await.unwrap();
    log.append(tenant, slate("feed", "ann", now_ms + 9)).await.unwrap();
    forgetting.forget_user(tenant, "ann").await;
    log.forget_user(tenant, "ann").await.unwrap();
    assert_eq!(all(log, tenant, "feed").await, [slate("feed", "bob", now_ms + 9)]);
    assert!(all(log, tenant, "shop").await.is_empty());
    log.append(tenant, slate("feed", "bob", now_ms + 10)).await.unwrap();
    log.append(tenant, slate("shop", "bob", now_ms + 10)).await.unwrap();
    forgetting.forget_scenario(tenant, "feed").await;
    log.forget_scenario(tenant, "feed").await.unwrap();
    assert!(all(log, tenant, "feed").await.is_empty());
    assert_eq!(all(log, tenant, "shop").await, [slate("shop", "bob", now_ms + 10)]);
}

async fn what_is_old_is_swept(log: &dyn ExposureLog, tenant: &Tenant, now_ms: u64) {
    for shown_at_ms in [now_ms - limits::EXPOSURE_LOG_MS - 60_000, now_ms] {
        log.append(tenant, slate("old", "bob", shown_at_ms)).await.unwrap();
    }
    log.settle(tenant).await.unwrap();
    log.sweep().await.unwrap();
    assert_eq!(all(log, tenant, "old").await, [slate("old", "bob", now_ms)]);
}

async fn whoever_reads_on_misses_none(log: &dyn ExposureLog, tenant: &Tenant, now_ms: u64) {
    let append = async |at: u64| log.append(tenant, slate("grows", "bob", now_ms + at)).await.unwrap();
    let before = log.end(tenant).await.unwrap();
    for at in 0..3 {
        append(at).await;
    }
    let end = log.end(tenant).await.unwrap();
    append(3).await;
    log.settle(tenant).await.unwrap();
    let page = log.read(tenant, "grows", None, 10).await.unwrap();
    let within: Vec<bool> = page.positions.iter().map(|position| (before + 1..=end).contains(position)).collect();
    assert_eq!(within, [true, true, true, false], "{:?} up to {end}", page.positions);
    // Each is read after the one before it.
    for (at, position) in page.positions.iter().enumerate() {
        let rest = log.read(tenant, "grows", Some(*position), 10).await.unwrap();
        assert_eq!(rest.slates, page.slates[at + 1..]);
    }
    assert_eq!(log.read(tenant, "grows", Some(end), 10).await.unwrap().slates.len(), 1);
}

async fn limits_are_kept(log: &dyn ExposureLog, tenant: &Tenant) {
    for limit in [0, limits::LOGGED_SLATES + 1] {
        let refused = log.read(tenant, "feed", None, limit).await.unwrap_err();
        assert!(matches!(&refused, Error::Invalid(said) if said.contains("limit")), "{refused}");
    }
    log.read(tenant, "feed", None, limits::LOGGED_SLATES).await.unwrap();
}
