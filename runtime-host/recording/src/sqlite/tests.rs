//! The conformance suite on SQLite, and how old recordings go.

use std::sync::atomic::{AtomicU64, Ordering};

use super::*;
use crate::conformance::{self, Forgetting, all, keep, recording};

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
    let recordings = Arc::new(SqliteRecordings::new(Arc::clone(&stores)).unwrap());
    conformance::run(recordings, &Files(stores), NOW_MS).await;
}

#[tokio::test]
async fn what_has_expired_goes() {
    let folder = tempfile::tempdir().unwrap();
    let clock = Arc::new(AtomicU64::new(NOW_MS));
    let time = Arc::clone(&clock);
    let stores = TenantStores::with(folder.path(), Arc::new(move || time.load(Ordering::Relaxed)), 4).unwrap();
    let recordings = SqliteRecordings::new(Arc::new(stores)).unwrap();
    let tenant = Tenant::new("t").unwrap();
    for at in 0..4 {
        keep(&recordings, &tenant, recording("feed", "ann", &format!("r{at}"), NOW_MS + at)).await;
    }
    assert_eq!(all(&recordings, &tenant, Some("feed")).await.len(), 4);
    clock.store(NOW_MS + 1 + conformance::TTL_MS, Ordering::Relaxed);
    assert_eq!(all(&recordings, &tenant, Some("feed")).await.len(), 2);
    assert_eq!(recordings.get(&tenant, "r1").await.unwrap(), None);
    recordings.sweep().await.unwrap();
    let file = recordings.stores.open(&tenant).await.unwrap();
    let count = file.write(Durability::Relaxed, |write| {
        Ok::<_, Error>(write.query_row("SELECT count(*) FROM recordings", [], |row| row.get::<_, i64>(0))?)
    });
    assert_eq!(count.await.unwrap(), 2);
}

#[tokio::test]
async fn what_cannot_be_written_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let stores = TenantStores::with(folder.path(), Arc::new(|| NOW_MS), 4).unwrap();
    let recordings = SqliteRecordings::new(Arc::new(stores)).unwrap();
    let tenant = Tenant::new("t").unwrap();
    let file = recordings.stores.open(&tenant).await.unwrap();
    let refuse = file.write(Durability::Relaxed, |write| {
        let sql = "CREATE TRIGGER refused BEFORE INSERT ON recorded WHEN NEW.seq = 2
                   BEGIN SELECT RAISE(ABORT, 'refused'); END";
        Ok::<_, Error>(write.execute(sql, [])?)
    });
    refuse.await.unwrap();
    let packed = |request_id: &str| {
        let recording = recording("feed", "ann", request_id, NOW_MS);
        Packed { head: recording.head(), bytes: crate::encode(&recording).unwrap() }
    };
    let told = recordings.append(&tenant, vec![packed("r1"), packed("r2")]).await;
    assert!(matches!(&told, Err(Error::Unavailable(message)) if message.contains("refused")), "{told:?}");
    assert_eq!(all(&recordings, &tenant, None).await, [], "none of it is there");
}

#[tokio::test]
async fn of_too_many_the_oldest_go() {
    let folder = tempfile::tempdir().unwrap();
    let stores = TenantStores::with(folder.path(), Arc::new(|| NOW_MS), 4).unwrap();
    let recordings = SqliteRecordings::new(Arc::new(stores)).unwrap();
    let tenant = Tenant::new("t").unwrap();
    keep(&recordings, &tenant, recording("feed", "ann", "r0", NOW_MS)).await;
    // As if all the others had been written.
    let file = recordings.stores.open(&tenant).await.unwrap();
    file.write(Durability::Relaxed, |write| {
        let sql = "UPDATE sqlite_sequence SET seq = ? WHERE name = 'recordings'";
        Ok::<_, Error>(write.execute(sql, [limits::RECORDINGS.cast_signed() - 1])?)
    })
    .await
    .unwrap();
    for at in 1..3 {
        keep(&recordings, &tenant, recording("feed", "ann", &format!("r{at}"), NOW_MS)).await;
    }
    let left: Vec<String> =
        all(&recordings, &tenant, Some("feed")).await.into_iter().map(|head| head.request_id).collect();
    assert_eq!(left, ["r2", "r1"]);
}
