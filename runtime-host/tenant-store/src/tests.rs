//! The group commit, reading, opening and closing.

use std::{
    path::Path,
    sync::{
        Arc, Barrier, Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use crate::*;

const TABLE: &str = "CREATE TABLE t (x INTEGER UNIQUE)";

fn open(folder: &Path, capacity: usize) -> TenantStores {
    TenantStores::with(folder, Arc::new(|| 0), capacity).unwrap()
}

fn tenant(id: &str) -> Tenant {
    Tenant::new(id).unwrap()
}

async fn file(stores: &TenantStores, id: &str) -> Arc<TenantFile> {
    stores.open(&tenant(id)).await.unwrap()
}

fn insert(x: i64) -> impl FnOnce(&mut Write<'_>) -> Result<(), Error> + Send + 'static {
    move |write| Ok(write.execute("INSERT INTO t VALUES (?)", [x]).map(|_| ())?)
}

async fn create(file: &Arc<TenantFile>) {
    file.write(Durability::Durable, |write| write.execute_batch(TABLE).map_err(Error::from)).await.unwrap();
}

async fn sum(file: &Arc<TenantFile>) -> i64 {
    let sum = |tx: &rusqlite::Transaction<'_>| {
        Ok::<_, Error>(tx.query_row("SELECT coalesce(sum(x), 0) FROM t", [], |row| row.get(0))?)
    };
    file.read(sum).await.unwrap()
}

/// Holds the writer until the barrier is met, so that what is queued meanwhile is
/// one batch.
fn hold(file: &Arc<TenantFile>) -> (Arc<Barrier>, Ticket<(), Error>) {
    let barrier = Arc::new(Barrier::new(2));
    let theirs = barrier.clone();
    let ticket = file
        .submit(Durability::Durable, 0, move |_| {
            theirs.wait();
            theirs.wait();
            Ok(())
        })
        .unwrap();
    barrier.wait();
    (barrier, ticket)
}

#[tokio::test(flavor = "multi_thread")]
async fn deferred_writes_come_before_what_was_queued_after_them_and_by_themselves() {
    let folder = tempfile::tempdir().unwrap();
    let stores = open(folder.path(), 2);
    let file = file(&stores, "acme").await;
    create(&file).await;
    let deferred: Vec<_> = (1..=3).map(|x| file.submit(Durability::Deferred, 0, insert(x)).unwrap()).collect();
    file.write(Durability::Durable, insert(10)).await.unwrap();
    assert_eq!(sum(&file).await, 16);
    for ticket in deferred {
        ticket.done().await.unwrap();
    }
    // Nothing else comes.
    file.submit(Durability::Deferred, 0, insert(100)).unwrap().done().await.unwrap();
    assert_eq!(sum(&file).await, 116);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_job_spoils_no_other_of_its_batch() {
    let folder = tempfile::tempdir().unwrap();
    let file = file(&open(folder.path(), 4), "t").await;
    create(&file).await;
    let hooks = Arc::new(Mutex::new(Vec::new()));
    let job = |name: &'static str, x: i64| {
        let hooks = hooks.clone();
        file.submit(Durability::Durable, 0, move |write| {
            write.after_commit(move || lock(&hooks).push(name));
            insert(x)(write)
        })
        .unwrap()
    };
    let (barrier, held) = hold(&file);
    let first = job("first", 1);
    let twice = job("twice", 1);
    let panics = file
        .submit(Durability::Durable, 0, |write| -> Result<(), Error> {
            insert(50)(write)?;
            panic!("on purpose")
        })
        .unwrap();
    let last = job("last", 2);
    barrier.wait();
    held.done().await.unwrap();
    first.done().await.unwrap();
    assert!(matches!(twice.done().await, Err(Error::Unavailable(text)) if text.contains("UNIQUE")));
    assert!(matches!(panics.done().await, Err(Error::Unavailable(_))));
    last.done().await.unwrap();
    assert_eq!(*lock(&hooks), ["first", "last"]);
    assert_eq!(sum(&file).await, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_queue_is_unavailable_and_empties_again() {
    let folder = tempfile::tempdir().unwrap();
    let file = file(&open(folder.path(), 4), "t").await;
    create(&file).await;
    let (barrier, held) = hold(&file);
    let mut waiting = Vec::new();
    let full = loop {
        match file.submit(Durability::Relaxed, 0, insert(waiting.len() as i64)) {
            Ok(ticket) => waiting.push(ticket),
            Err(error) => break error,
        }
    };
    assert!(matches!(full, Error::Unavailable(_)));
    let count = waiting.len() as i64;
    assert!(count >= 4096);
    barrier.wait();
    held.done().await.unwrap();
    for ticket in waiting {
        ticket.done().await.unwrap();
    }
    assert_eq!(sum(&file).await, count * (count - 1) / 2);
    file.write(Durability::Durable, insert(-1)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_that_wait_may_hold_so_many_bytes() {
    const MIB: usize = 1024 * 1024;
    let folder = tempfile::tempdir().unwrap();
    let file = file(&open(folder.path(), 4), "t").await;
    create(&file).await;
    let (barrier, held) = hold(&file);
    // One may be larger than all may be together; a second has no place.
    let large = file.submit(Durability::Relaxed, 100 * MIB, insert(1)).unwrap();
    assert!(matches!(file.submit(Durability::Relaxed, 0, insert(2)), Err(Error::Unavailable(_))));
    barrier.wait();
    held.done().await.unwrap();
    large.done().await.unwrap();
    file.write_sized(Durability::Relaxed, MIB, insert(2)).await.unwrap();
    assert_eq!(sum(&file).await, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn synchronous_is_full_for_durable_jobs_and_normal_for_relaxed_ones() {
    let folder = tempfile::tempdir().unwrap();
    let file = file(&open(folder.path(), 4), "t").await;
    let level = async |durability| {
        let read =
            |write: &mut Write<'_>| Ok::<i64, Error>(write.query_row("PRAGMA synchronous", [], |row| row.get(0))?);
        file.write(durability, read).await.unwrap()
    };
    for _ in 0..2 {
        assert_eq!(level(Durability::Relaxed).await, 1);
        assert_eq!(level(Durability::Durable).await, 2);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn eight_tasks_that_increment_lose_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let file = file(&open(folder.path(), 4), "t").await;
    create(&file).await;
    file.write(Durability::Durable, insert(0)).await.unwrap();
    let tasks: Vec<_> = (0..8)
        .map(|task| {
            let file = file.clone();
            tokio::spawn(async move {
                for _ in 0..50 {
                    let durability = if task % 2 == 0 { Durability::Durable } else { Durability::Relaxed };
                    let add = |write: &mut Write<'_>| Ok::<_, Error>(write.execute("UPDATE t SET x = x + 1", [])?);
                    file.write(durability, add).await.unwrap();
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(sum(&file).await, 400);
}

#[tokio::test]
async fn files_beyond_the_capacity_are_closed_and_opened_again() {
    let folder = tempfile::tempdir().unwrap();
    let stores = open(folder.path(), 2);
    let busy = file(&stores, "busy").await;
    create(&busy).await;
    for id in ["a", "b", "c", "a", "b", "c"] {
        let other = file(&stores, id).await;
        if other.write(Durability::Durable, insert(1)).await.is_err() {
            create(&other).await;
        }
        // One that somebody works with is never opened twice.
        assert!(Arc::ptr_eq(&busy, &file(&stores, "busy").await));
    }
    for id in ["a", "b", "c"] {
        assert_eq!(sum(&file(&stores, id).await).await, 1, "{id}");
    }
}

#[tokio::test]
async fn what_a_killed_process_leaves_opens_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let stores = open(folder.path(), 2);
    let first = file(&stores, "t").await;
    create(&first).await;
    first.write(Durability::Durable, insert(1)).await.unwrap();
    first.write(Durability::Relaxed, insert(2)).await.unwrap();
    // The files as they are, without a checkpoint or a goodbye.
    let copy = tempfile::tempdir().unwrap();
    std::fs::create_dir(copy.path().join("tenants")).unwrap();
    for name in ["t.db", "t.db-wal"] {
        std::fs::copy(folder.path().join("tenants").join(name), copy.path().join("tenants").join(name)).unwrap();
    }
    let again = file(&open(copy.path(), 2), "t").await;
    assert_eq!(sum(&again).await, 3);
    again.write(Durability::Durable, insert(3)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_has_everything_acknowledged_and_the_file_is_written_on() {
    let folder = tempfile::tempdir().unwrap();
    let first = file(&open(folder.path(), 2), "t").await;
    create(&first).await;
    for round in 0..5 {
        first.write(Durability::Relaxed, insert(1 << (2 * round))).await.unwrap();
        let copy = tempfile::tempdir().unwrap();
        std::fs::create_dir(tenants_folder(copy.path())).unwrap();
        let to = tenant_file(copy.path(), &tenant("t"));
        copy_tenant(folder.path(), &tenant("t"), &to).unwrap();
        first.write(Durability::Durable, insert(2 << (2 * round))).await.unwrap();
        // Nothing of it is elsewhere.
        assert_eq!(std::fs::read_dir(tenants_folder(copy.path())).unwrap().count(), 1);
        assert_eq!(sum(&file(&open(copy.path(), 2), "t").await).await, (1 << (2 * round + 1)) - 1);
        assert!(matches!(copy_tenant(folder.path(), &tenant("t"), &to), Err(Error::Unavailable(_))), "it is there");
    }
    let to = folder.path().join("other.db");
    assert!(matches!(copy_tenant(folder.path(), &tenant("other"), &to), Err(Error::Invalid(_))));
    assert!(!to.exists());
}

#[test]
fn a_tenant_cannot_leave_the_folder() {
    for id in ["", ".", "..", "a/b", "a\\b", "a\0", "ü"] {
        assert!(Tenant::new(id).is_err(), "{id}");
    }
}

struct Nothing;

impl Part for Nothing {
    fn name(&self) -> &'static str {
        "nothing"
    }

    fn migrations(&self) -> &'static [&'static str] {
        &[]
    }

    fn purge(&self, _: &mut Write<'_>, _: &Purge) -> Result<u64, Error> {
        Ok(3)
    }
}

#[tokio::test]
async fn parts_register_once_and_before_the_first_file() {
    let folder = tempfile::tempdir().unwrap();
    let stores = open(folder.path(), 2);
    stores.register(Arc::new(Nothing)).unwrap();
    assert!(matches!(stores.register(Arc::new(Nothing)), Err(Error::Invalid(_))));
    assert_eq!(stores.purge(&tenant("t"), Purge::User("u".to_owned())).await, Ok(3));
    assert!(matches!(stores.register(Arc::new(Nothing)), Err(Error::Invalid(_))));
}

/// Weighs a value by itself.
#[derive(Clone)]
struct Itself;

impl quick_cache::Weighter<u64, u64> for Itself {
    fn weight(&self, _: &u64, value: &u64) -> u64 {
        *value
    }
}

#[test]
fn a_cache_holds_as_many_bytes_as_it_may() {
    let cache = FreshCache::new(1 << 20, Itself);
    let held = || (0..4000).filter_map(|key| cache.get(&key)).sum::<u64>();
    for key in 0..500 {
        cache.offer(key, 1024, cache.stamp(&key));
    }
    assert_eq!(held(), 500 * 1024, "below the limit nothing goes");
    for key in 0..4000 {
        cache.offer(key, 1024, cache.stamp(&key));
    }
    assert!((1 << 19..=1 << 20).contains(&held()), "{}", held());
}

#[test]
fn what_was_read_before_a_change_is_refused_after_it() {
    #[derive(Clone)]
    struct One;
    impl quick_cache::Weighter<u64, u64> for One {
        fn weight(&self, _: &u64, _: &u64) -> u64 {
            1
        }
    }
    let cache = FreshCache::new(1 << 20, One);
    let stored = AtomicU64::new(1);
    let changes: [&dyn Fn(); 4] =
        [&|| cache.forget(&7), &|| cache.change(&7, |_| 0), &|| cache.forget_where(|key| *key == 7), &|| {
            cache.put(7, 2)
        }];
    for change in changes {
        cache.forget(&7);
        let stamp = cache.stamp(&7);
        let read = stored.load(Ordering::Relaxed);
        change();
        cache.offer(7, read, stamp);
        assert_ne!(cache.get(&7), Some(1));
        cache.offer(7, 3, cache.stamp(&7));
        assert_eq!(cache.get(&7), Some(3));
        cache.change(&7, |value| value + 1);
        assert_eq!(cache.get(&7), Some(4));
    }
}
