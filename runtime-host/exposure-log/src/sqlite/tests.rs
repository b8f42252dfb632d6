//! The conformance suite on SQLite, and how old slates go.

use std::sync::atomic::{AtomicU64, Ordering};

use super::*;
use crate::conformance::{self, Forgetting, all, slate};

const NOW_MS: u64 = 1_700_000_000_000;

struct Files(Arc<TenantStores>);

#[async_trait]
impl Forgetting for Files {
    async fn forget_user(&self, tenant: &Tenant, user_id: &str) {
        self.0.purge(tenant, Purge::User(user_id.to_owned())).await.unwrap();
    }

    async fn forget_scenario(&self, tenant: &Tenant, scenario_id: &str) {
        self.0.purge(tenant, Purge::Scenario(scenario_id.to_owned())).await.unwrap();
    }
}

#[tokio::test]
async fn conforms() {
    let folder = tempfile::tempdir().unwrap();
    let stores = Arc::new(TenantStores::with(folder.path(), Arc::new(|| NOW_MS), 4).unwrap());
    let log = Arc::new(SqliteExposureLog::new(Arc::clone(&stores)).unwrap());
    conformance::run(log, &Files(stores), NOW_MS).await;
}

#[tokio::test]
async fn old_slates_go_as_new_ones_come() {
    let folder = tempfile::tempdir().unwrap();
    let clock = Arc::new(AtomicU64::new(NOW_MS));
    let time = Arc::clone(&clock);
    let stores = TenantStores::with(folder.path(), Arc::new(move || time.load(Ordering::Relaxed)), 4).unwrap();
    let log = SqliteExposureLog::new(Arc::new(stores)).unwrap();
    let tenant = Tenant::new("t").unwrap();
    for at in 0..4 {
        log.append(&tenant, slate("feed", "ann", NOW_MS + at)).await.unwrap();
    }
    assert_eq!(all(&log, &tenant, "feed").await.len(), 4);
    let later = NOW_MS + 2 + limits::EXPOSURE_LOG_MS;
    clock.store(later, Ordering::Relaxed);
    for at in 0..3 {
        log.append(&tenant, slate("feed", "bob", later + at)).await.unwrap();
    }
    let left: Vec<u64> = all(&log, &tenant, "feed").await.iter().map(|slate| slate.shown_at_ms).collect();
    assert_eq!(left, [NOW_MS + 2, NOW_MS + 3, later, later + 1, later + 2]);
    // Nobody is shown anything any more: what is still there is not given out.
    clock.store(later + 1 + limits::EXPOSURE_LOG_MS, Ordering::Relaxed);
    let left: Vec<u64> = all(&log, &tenant, "feed").await.iter().map(|slate| slate.shown_at_ms).collect();
    assert_eq!(left, [later + 1, later + 2]);
    // And a sweep removes it.
    let count = async || {
        let file = log.stores.open(&tenant).await.unwrap();
        let count = |write: &mut Write<'_>| {
            Ok::<_, Error>(write.query_row("SELECT count(*) FROM exposure_log", [], |row| row.get::<_, i64>(0))?)
        };
        file.write(Durability::Relaxed, count).await.unwrap()
    };
    assert_eq!(count().await, 5);
    log.sweep().await.unwrap();
    assert_eq!(count().await, 2);
    // In as many pieces as it takes.
    for at in 0..u64::from(SWEPT) + 1 {
        log.append(&tenant, slate("feed", "bob", later + 3 + at)).await.unwrap();
    }
    clock.store(2 * later, Ordering::Relaxed);
    log.sweep().await.unwrap();
    assert_eq!(count().await, 0);
}

#[tokio::test]
async fn of_too_many_the_oldest_go() {
    let folder = tempfile::tempdir().unwrap();
    let stores = TenantStores::with(folder.path(), Arc::new(|| NOW_MS), 4).unwrap();
    let log = SqliteExposureLog::new(Arc::new(stores)).unwrap();
    let tenant = Tenant::new("t").unwrap();
    log.append(&tenant, slate("feed", "ann", NOW_MS)).await.unwrap();
    log.settle(&tenant).await.unwrap();
    // As if all the others had been written.
    let file = log.stores.open(&tenant).await.unwrap();
    file.write(Durability::Relaxed, |write| {
        let sql = "UPDATE sqlite_sequence SET seq = ? WHERE name = 'exposure_log'";
        Ok::<_, Error>(write.execute(sql, [limits::EXPOSURE_LOG_SLATES.cast_signed() - 1])?)
    })
    .await
    .unwrap();
    for at in 1..3 {
        log.append(&tenant, slate("feed", "ann", NOW_MS + at)).await.unwrap();
    }
    let left: Vec<u64> = all(&log, &tenant, "feed").await.iter().map(|slate| slate.shown_at_ms).collect();
    assert_eq!(left, [NOW_MS + 1, NOW_MS + 2]);
}
