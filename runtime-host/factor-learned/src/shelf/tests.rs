//! With models that are no more than a weight.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use funnelweb_blob_store::FileBlobs;
use funnelweb_core::limits;

use super::*;

/// A model is the number that its blob says; `x` is a damaged one.
#[derive(Default)]
struct Numbers {
    loads: Arc<AtomicUsize>,
    down: Arc<AtomicBool>,
    lost: Arc<AtomicBool>,
}

#[async_trait]
impl Load for Numbers {
    type Model = usize;

    fn blob(&self, scenario_id: &str) -> String {
        format!("learned/{scenario_id}/number")
    }

    async fn load(&self, _: &Tenant, _: &str, _: u64, bytes: Bytes) -> Result<usize, Unloaded> {
        self.loads.fetch_add(1, Ordering::SeqCst);
        tokio::time::sleep(Duration::from_millis(20)).await;
        if self.down.load(Ordering::SeqCst) {
            return Err(Error::Unavailable("down".to_owned()).into());
        }
        self.lost.store(false, Ordering::SeqCst);
        let number = std::str::from_utf8(&bytes).unwrap().parse();
        number.map_err(|_| Unloaded::Damaged("no number".to_owned()))
    }

    async fn is_whole(&self, _: &Tenant, _: &str, _: &usize) -> Result<bool, Error> {
        Ok(!self.lost.load(Ordering::SeqCst))
    }

    fn bytes(&self, number: &usize) -> usize {
        *number
    }
}

struct Fixture {
    folder: tempfile::TempDir,
    blobs: Arc<FileBlobs>,
    loads: Arc<AtomicUsize>,
    down: Arc<AtomicBool>,
    lost: Arc<AtomicBool>,
    shelf: Arc<Shelf<Numbers>>,
    t: Tenant,
}

impl Fixture {
    fn new(every: Duration) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let blobs = Arc::new(FileBlobs::new(folder.path()).unwrap());
        let load = Numbers::default();
        let (loads, down, lost) = (load.loads.clone(), load.down.clone(), load.lost.clone());
        let shelf = Shelf::new(load, blobs.clone(), every, limits::LEARNED_CACHE_BYTES);
        Self { folder, blobs, loads, down, lost, shelf, t: Tenant::new("t").unwrap() }
    }

    async fn put(&self, scenario: &str, version: u64, text: impl ToString) {
        let name = format!("learned/{scenario}/number");
        self.blobs.put(&self.t, &name, version, text.to_string().into()).await.unwrap();
    }

    async fn get(&self, scenario: &str) -> Result<Option<usize>, Error> {
        self.shelf.get(&self.t, scenario).await.map(|model| model.map(|number| *number))
    }

    async fn refresh(&self) -> Result<(), Error> {
        self.shelf.refresh(&self.t, "s").await
    }

    fn loads(&self) -> usize {
        self.loads.load(Ordering::SeqCst)
    }
}

const NEVER: Duration = Duration::from_secs(3600);

#[tokio::test]
async fn many_who_ask_at_once_wait_for_one_load() {
    let it = Fixture::new(NEVER);
    it.put("s", 1, 7).await;
    let all = (0..100).map(|_| {
        let (shelf, t) = (it.shelf.clone(), it.t.clone());
        tokio::spawn(async move { shelf.get(&t, "s").await.unwrap().map(|number| *number) })
    });
    for one in all.collect::<Vec<_>>() {
        assert_eq!(one.await.unwrap(), Some(7));
    }
    assert_eq!(it.loads(), 1);
}

#[tokio::test]
async fn a_load_goes_on_when_its_request_has_left() {
    let it = Fixture::new(NEVER);
    it.put("s", 1, 7).await;
    assert!(tokio::time::timeout(Duration::from_millis(5), it.get("s")).await.is_err());
    assert_eq!(it.get("s").await, Ok(Some(7)));
    assert_eq!(it.loads(), 1);
}

#[tokio::test]
async fn a_newer_version_is_found_beside_the_requests() {
    let it = Fixture::new(Duration::ZERO);
    assert_eq!(it.get("s").await, Ok(None));
    it.put("s", 1, 7).await;
    let until = async |expected| {
        while it.get("s").await != Ok(Some(expected)) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    until(7).await;
    it.put("s", 2, 8).await;
    assert_eq!(it.get("s").await, Ok(Some(7)), "nobody waits for it");
    until(8).await;
    // What is up to date is not loaded again.
    assert_eq!(it.loads(), 2);
}

#[tokio::test]
async fn the_last_good_one_stays() {
    let it = Fixture::new(NEVER);
    it.put("s", 1, 7).await;
    it.refresh().await.unwrap();
    it.put("s", 2, "x").await;
    it.refresh().await.unwrap();
    assert_eq!(it.get("s").await, Ok(Some(7)));
    let loads = it.loads();
    it.refresh().await.unwrap();
    assert_eq!(it.loads(), loads, "what is damaged is not tried again");
    it.put("s", 3, 9).await;
    it.down.store(true, Ordering::SeqCst);
    assert_eq!(it.refresh().await, Err(Error::Unavailable("down".to_owned())));
    assert_eq!(it.get("s").await, Ok(Some(7)));
    it.down.store(false, Ordering::SeqCst);
    it.refresh().await.unwrap();
    assert_eq!(it.get("s").await, Ok(Some(9)));
}

#[tokio::test]
async fn after_a_start_the_newest_that_is_whole_is_served() {
    let it = Fixture::new(NEVER);
    it.put("s", 1, 7).await;
    it.put("s", 2, 8).await;
    it.put("s", 3, "x").await;
    let path = |version: u64| it.folder.path().join(format!("blobs/t/learned/s/number/@{version}"));
    std::fs::write(path(2), "8").unwrap();
    assert_eq!(it.get("s").await, Ok(Some(7)));
    // With none of them whole it is an error that says so.
    std::fs::write(path(1), "").unwrap();
    let again = Shelf::new(Numbers::default(), it.blobs.clone(), NEVER, 1);
    let error = again.get(&it.t, "s").await.unwrap_err().to_string();
    assert!(error.contains("learned/s/number: all versions are damaged"), "{error}");
    it.put("s", 4, 5).await;
    again.refresh(&it.t, "s").await.unwrap();
    assert_eq!(again.get(&it.t, "s").await.unwrap().as_deref(), Some(&5));
}

#[tokio::test]
async fn what_a_model_needs_besides_is_made_again() {
    let it = Fixture::new(NEVER);
    it.put("s", 1, 7).await;
    it.refresh().await.unwrap();
    it.lost.store(true, Ordering::SeqCst);
    it.refresh().await.unwrap();
    assert_eq!((it.loads(), it.get("s").await), (2, Ok(Some(7))));
}

#[tokio::test]
async fn what_was_deleted_is_served_no_more() {
    let it = Fixture::new(NEVER);
    it.put("s", 1, 7).await;
    assert_eq!(it.get("s").await, Ok(Some(7)));
    it.blobs.delete_prefix(&it.t, "learned/s").await.unwrap();
    it.refresh().await.unwrap();
    assert_eq!(it.get("s").await, Ok(None));
}

#[tokio::test]
async fn those_used_longest_ago_make_room() {
    let it = Fixture::new(NEVER);
    for scenario in ["a", "b", "c", "d"] {
        it.put(scenario, 1, limits::LEARNED_CACHE_BYTES / 3).await;
    }
    for scenario in ["a", "b", "c", "a", "d"] {
        it.get(scenario).await.unwrap();
    }
    assert_eq!(it.loads(), 4);
    for scenario in ["a", "c", "d"] {
        it.get(scenario).await.unwrap();
    }
    assert_eq!(it.loads(), 4, "b was used longest ago");
    it.get("b").await.unwrap();
    assert_eq!(it.loads(), 5);
    // One alone is kept, however large.
    it.put("e", 1, 2 * limits::LEARNED_CACHE_BYTES).await;
    assert_eq!(it.get("e").await, Ok(Some(2 * limits::LEARNED_CACHE_BYTES)));
    it.get("e").await.unwrap();
    assert_eq!(it.loads(), 6);
}

#[tokio::test]
async fn scenarios_that_nobody_has_are_not_remembered_forever() {
    let it = Fixture::new(NEVER);
    for at in 0..SLOTS + 10 {
        it.shelf.slot(&it.t, &at.to_string());
    }
    assert_eq!(lock(&it.shelf.slots).values().map(HashMap::len).sum::<usize>(), SLOTS);
}
