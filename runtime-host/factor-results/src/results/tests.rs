//! Single flight, stale while revalidate, and a backend that fails.

use std::{
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use super::*;
use crate::MemoryResults;

const START_MS: u64 = 1_700_000_000_000;

struct World {
    results: Results,
    now_ms: Arc<AtomicU64>,
}

fn world() -> World {
    let now_ms = Arc::new(AtomicU64::new(START_MS));
    let clock: Clock = {
        let now_ms = Arc::clone(&now_ms);
        Arc::new(move || now_ms.load(Ordering::Relaxed))
    };
    let store = Arc::new(MemoryResults::with_clock(Arc::clone(&clock)));
    World { results: Results::with_clock(store, clock), now_ms }
}

fn tenant() -> Tenant {
    Tenant::new("acme").unwrap()
}

fn key(user: &str) -> Key {
    Key { scenario_id: "feed".to_owned(), user_id: user.to_owned(), hash: "1f".to_owned() }
}

async fn compute(results: &Results, user: &str, value: &str) {
    let Found::Absent(claim) = results.look(&tenant(), &key(user)).await.unwrap() else { panic!("it is there") };
    assert!(results.keep(&tenant(), &key(user), value.to_owned(), 600, 60).await.unwrap());
    drop(claim);
}

async fn is_there(results: &Results, user: &str) -> bool {
    !matches!(results.look(&tenant(), &key(user)).await.unwrap(), Found::Absent(_))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stampede_computes_once() {
    let World { results, .. } = world();
    let computed = Arc::new(AtomicUsize::new(0));
    let ask = || {
        let (results, computed) = (results.clone(), Arc::clone(&computed));
        tokio::spawn(async move {
            match results.look(&tenant(), &key("ann")).await.unwrap() {
                Found::Absent(_claim) => {
                    computed.fetch_add(1, Ordering::Relaxed);
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    results.keep(&tenant(), &key("ann"), "7".to_owned(), 600, 60).await.unwrap();
                    "7".into()
                }
                Found::Fresh(kept) => kept.value,
                _ => panic!("neither there nor to compute"),
            }
        })
    };
    let all: Vec<_> = (0..200).map(|_| ask()).collect();
    for answer in all {
        assert_eq!(&*answer.await.unwrap(), "7");
    }
    assert_eq!(computed.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn a_claim_that_is_dropped_is_the_next_one_s() {
    let World { results, .. } = world();
    let Found::Absent(claim) = results.look(&tenant(), &key("ann")).await.unwrap() else { panic!("it is there") };
    let waiting = {
        let results = results.clone();
        tokio::spawn(async move { matches!(results.look(&tenant(), &key("ann")).await, Ok(Found::Absent(_))) })
    };
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert!(!waiting.is_finished());
    drop(claim);
    assert!(waiting.await.unwrap());
}

#[tokio::test]
async fn nobody_waits_for_longer_than_that() {
    let World { results, .. } = world();
    let Found::Absent(_claim) = results.look(&tenant(), &key("ann")).await.unwrap() else { panic!("it is there") };
    let start = Instant::now();
    assert!(matches!(results.look(&tenant(), &key("ann")).await, Ok(Found::Taken)));
    let waited = start.elapsed();
    assert!((limits::RESULT_WAIT..2 * limits::RESULT_WAIT).contains(&waited), "{waited:?}");
}

#[tokio::test]
async fn one_that_is_stale_is_given_and_one_computes_it_anew() {
    struct Anew(Results, Mutex<Vec<String>>);
    #[async_trait]
    impl Revalidate for Anew {
        async fn revalidate(&self, tenant: &Tenant, key: &Key, request: String) -> Result<(), String> {
            tokio::task::yield_now().await;
            self.1.lock().unwrap().push(request);
            let kept = self.0.keep(tenant, key, "new".to_owned(), 600, 60).await;
            assert_eq!(kept, Ok(true));
            Ok(())
        }
    }
    let World { results, now_ms } = world();
    let anew = Arc::new(Anew(results.clone(), Mutex::default()));
    results.revalidated_by(Arc::clone(&anew) as Arc<dyn Revalidate>);
    compute(&results, "ann", "old").await;
    now_ms.fetch_add(599_500, Ordering::Relaxed);
    let Ok(Found::Fresh(kept)) = results.look(&tenant(), &key("ann")).await else { panic!("it is fresh") };
    assert_eq!((&*kept.value, kept.fresh_s), ("old", 1));
    now_ms.fetch_add(1_500, Ordering::Relaxed);
    let Ok(Found::Stale(kept, Some(claim))) = results.look(&tenant(), &key("ann")).await else { panic!("it is stale") };
    assert_eq!((&*kept.value, kept.fresh_s), ("old", -1));
    // Everybody else has it at once, and nobody else the claim.
    assert!(matches!(results.look(&tenant(), &key("ann")).await, Ok(Found::Stale(_, None))));
    results.revalidate(claim, "again".to_owned());
    while !matches!(results.look(&tenant(), &key("ann")).await, Ok(Found::Fresh(kept)) if &*kept.value == "new") {
        tokio::task::yield_now().await;
    }
    assert_eq!(*anew.1.lock().unwrap(), ["again"]);
    now_ms.fetch_add(660_000, Ordering::Relaxed);
    assert!(!is_there(&results, "ann").await, "what is older than that is none");
}

#[tokio::test]
async fn as_many_are_computed_anew_at_once_as_may() {
    struct Never;
    #[async_trait]
    impl Revalidate for Never {
        async fn revalidate(&self, _: &Tenant, _: &Key, _: String) -> Result<(), String> {
            std::future::pending().await
        }
    }
    let World { results, now_ms } = world();
    results.revalidated_by(Arc::new(Never));
    let users: Vec<String> = (0..=limits::REVALIDATIONS).map(|at| format!("u{at}")).collect();
    for user in &users {
        compute(&results, user, "old").await;
    }
    now_ms.fetch_add(601_000, Ordering::Relaxed);
    let mut left = 0;
    for user in &users {
        let Ok(Found::Stale(_, Some(claim))) = results.look(&tenant(), &key(user)).await else { panic!("it is stale") };
        results.revalidate(claim, String::new());
        // A claim that was put off is there for the next one.
        left += usize::from(matches!(results.look(&tenant(), &key(user)).await, Ok(Found::Stale(_, Some(_)))));
    }
    assert_eq!(left, 1);
}

#[tokio::test]
async fn what_is_forgotten_while_it_is_computed_is_not_kept() {
    let World { results, .. } = world();
    for forget in [true, false] {
        let Found::Absent(claim) = results.look(&tenant(), &key("ann")).await.unwrap() else { panic!("it is there") };
        match forget {
            true => results.forget_user(&tenant(), "ann").await.unwrap(),
            false => results.forget_scenario(&tenant(), "feed").await.unwrap(),
        }
        assert_eq!(results.keep(&tenant(), &key("ann"), "7".to_owned(), 600, 60).await, Ok(false));
        drop(claim);
        assert!(!is_there(&results, "ann").await);
    }
    compute(&results, "ann", "7").await;
    results.forget_user(&tenant(), "bob").await.unwrap();
    assert!(is_there(&results, "ann").await);
    results.forget(&tenant(), &key("ann")).await.unwrap();
    assert!(!is_there(&results, "ann").await);
}

#[tokio::test]
async fn only_a_claim_and_what_fits_is_kept() {
    let World { results, .. } = world();
    let keep = async |bytes: usize, fresh_s: u32, stale_s: u32| {
        let value = "7".repeat(bytes);
        results.keep(&tenant(), &key("ann"), value, fresh_s, stale_s).await
    };
    assert_eq!(keep(1, 1, 1).await, Ok(false), "nobody has a claim");
    let Found::Absent(_claim) = results.look(&tenant(), &key("ann")).await.unwrap() else { panic!("it is there") };
    assert_eq!(keep(limits::RESULT_BYTES + 1, 1, 1).await, Ok(false));
    assert!(keep(1, limits::RESULT_S + 1, 1).await.unwrap_err().to_string().contains("fresh-s"));
    assert!(keep(1, 1, limits::RESULT_S + 1).await.unwrap_err().to_string().contains("stale-s"));
    assert_eq!(keep(limits::RESULT_BYTES, limits::RESULT_S, limits::RESULT_S).await, Ok(true));
}

#[tokio::test]
async fn a_store_that_fails_is_as_good_as_none() {
    #[derive(Default)]
    struct Failing(MemoryResults, AtomicBool);
    impl Failing {
        fn answer(&self) -> Result<(), Error> {
            match self.1.load(Ordering::Relaxed) {
                true => Err(Error::Unavailable("down".to_owned())),
                false => Ok(()),
            }
        }
    }
    #[async_trait]
    impl ResultStore for Failing {
        async fn get(&self, tenant: &Tenant, key: &Key) -> Result<Option<Entry>, Error> {
            self.answer()?;
            self.0.get(tenant, key).await
        }
        async fn put(&self, _: &Tenant, _: &Key, _: Entry) -> Result<(), Error> {
            Err(Error::Unavailable("full".to_owned()))
        }
        async fn remove(&self, _: &Tenant, _: &Key) -> Result<(), Error> {
            Err(Error::Unavailable("down".to_owned()))
        }
        async fn forget_user(&self, _: &Tenant, _: &str) -> Result<(), Error> {
            Err(Error::Unavailable("down".to_owned()))
        }
        async fn forget_scenario(&self, _: &Tenant, _: &str) -> Result<(), Error> {
            Err(Error::Unavailable("down".to_owned()))
        }
    }
    let store = Arc::new(Failing::default());
    let results = Results::new(Arc::clone(&store) as Arc<dyn ResultStore>);
    let Found::Absent(claim) = results.look(&tenant(), &key("ann")).await.unwrap() else { panic!("it is there") };
    let waiting = {
        let results = results.clone();
        tokio::spawn(async move {
            matches!(results.look(&tenant(), &key("ann")).await, Ok(Found::Fresh(kept)) if kept.collapsed)
        })
    };
    tokio::time::sleep(Duration::from_millis(20)).await;
    // Who waits for it has it, although it cannot be kept.
    assert_eq!(results.keep(&tenant(), &key("ann"), "7".to_owned(), 600, 60).await, Ok(false));
    drop(claim);
    assert!(waiting.await.unwrap());
    store.1.store(true, Ordering::Relaxed);
    assert!(matches!(results.look(&tenant(), &key("ann")).await, Ok(Found::Unavailable)));
    assert_eq!(results.forget(&tenant(), &key("ann")).await, Ok(()));
    assert!(results.forget_user(&tenant(), "ann").await.is_err(), "who deletes a user is told");
}
