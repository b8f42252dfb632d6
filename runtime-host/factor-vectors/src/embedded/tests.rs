//! What the suite for all backends does not know: files, memory, damage.

use std::{fs, path::PathBuf, time::Duration};

use funnelweb_core::limits;
use tempfile::TempDir;

use super::*;
use crate::conformance::Suite;

const PLAN: Plan = Plan { graph_from: 200, threads: 1 };

fn tenant(name: &str) -> Tenant {
    Tenant::new(name).unwrap()
}

fn with(folder: &TempDir, change: impl FnOnce(&mut Budget)) -> EmbeddedVectors {
    let mut budget = Budget::default();
    change(&mut budget);
    EmbeddedVectors::with(folder.path(), budget, PLAN)
}

/// The handles from `from` on, and vectors of 4 numbers that depend on them.
fn rows(from: u64, count: u64) -> (Vec<u64>, Vec<f32>) {
    let handles: Vec<u64> = (from..from + count).collect();
    let values = handles.iter().flat_map(|handle| (1..5).map(move |at| ((handle * 37 * at) % 101) as f32 - 50.5));
    let values = values.collect();
    (handles, values)
}

async fn fill(vectors: &EmbeddedVectors, name: &str, space: &str, count: u64) {
    let tenant = tenant(name);
    vectors.create(&tenant, "feed", space, 4, Metric::Cosine).await.unwrap();
    let (handles, values) = rows(0, count);
    vectors.upsert(&tenant, "feed", space, handles, values).await.unwrap();
}

async fn best(vectors: &EmbeddedVectors, name: &str, space: &str) -> Hits {
    let (_, query) = rows(5, 1);
    vectors.query(&tenant(name), "feed", space, query, 20, Filter::All).await.unwrap()
}

fn open_bytes(vectors: &EmbeddedVectors) -> usize {
    vectors.shared.table.all().iter().map(|open| open.bytes()).sum()
}

/// The only folder of a space.
fn folder_of(folder: &TempDir, name: &str, space: &str) -> PathBuf {
    let entries = fs::read_dir(folder.path().join("vectors").join(name).join("feed").join(space)).unwrap();
    let entries: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    assert_eq!(entries.len(), 1, "{entries:?}");
    entries[0].clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn passes_the_suite() {
    let folder = tempfile::tempdir().unwrap();
    Suite { vectors: &EmbeddedVectors::new(folder.path()), prefix: "" }.run().await;
    // The same with a graph from a few hundred vectors on, and hardly anything open.
    let vectors = with(&folder, |budget| (budget.bytes, budget.tenant_bytes, budget.spaces) = (1, usize::MAX, 1));
    Suite { vectors: &vectors, prefix: "small-" }.run().await;
}

#[tokio::test]
async fn what_was_closed_gives_the_same_answers_again() {
    let folder = tempfile::tempdir().unwrap();
    let vectors = EmbeddedVectors::new(folder.path());
    fill(&vectors, "acme", "a", 1000).await;
    let before = best(&vectors, "acme", "a").await;
    assert_eq!(before.handles[0], 5);
    drop(vectors);
    let vectors = with(&folder, |budget| budget.idle = Duration::ZERO);
    assert_eq!(best(&vectors, "acme", "a").await, before);
    assert!(open_bytes(&vectors) > 0);
    // A graph is built meanwhile, and then it is idle.
    for _ in 0..1000 {
        vectors.shared.sweep();
        if vectors.shared.table.all().is_empty() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(vectors.shared.table.all().is_empty());
    assert_eq!(best(&vectors, "acme", "a").await, before);
}

#[tokio::test]
async fn memory_is_bounded_for_a_tenant_and_for_all() {
    let folder = tempfile::tempdir().unwrap();
    let vectors = with(&folder, |_| ());
    fill(&vectors, "acme", "a", 100).await;
    let one = open_bytes(&vectors);
    drop(vectors);
    // Four fit, two of one tenant.
    let vectors = with(&folder, |budget| (budget.bytes, budget.tenant_bytes) = (4 * one + one / 2, 2 * one + one / 2));
    let open = |vectors: &EmbeddedVectors| {
        let (mut names, table) = (Vec::new(), &vectors.shared.table);
        for name in ["acme", "b", "c", "d"] {
            for space in ["a", "b", "c"] {
                let is_open = table.is_open(&Name::new(&tenant(name), "feed", space));
                names.extend(is_open.then(|| format!("{name}/{space}")));
            }
        }
        names
    };
    for space in ["a", "b", "c"] {
        fill(&vectors, "acme", space, 100).await;
    }
    assert_eq!(open(&vectors), ["acme/b", "acme/c"]);
    for name in ["b", "c", "d"] {
        fill(&vectors, name, "a", 100).await;
    }
    assert_eq!(open(&vectors), ["acme/c", "b/a", "c/a", "d/a"]);
    // Who is used is not closed.
    best(&vectors, "acme", "c").await;
    best(&vectors, "acme", "a").await;
    assert_eq!(open(&vectors), ["acme/a", "acme/c", "c/a", "d/a"]);
    assert!(open_bytes(&vectors) <= vectors.shared.table.budget.bytes);
    let answers = [best(&vectors, "acme", "b").await, best(&vectors, "b", "a").await];
    assert_eq!(answers[0], answers[1]);
    assert_eq!(answers[0].handles.len(), 20);
}

#[tokio::test]
async fn a_space_too_large_for_its_tenant_takes_no_more() {
    assert_eq!(Budget::default().bytes, limits::VECTOR_BYTES);
    assert_eq!(Budget::default().tenant_bytes, limits::TENANT_VECTOR_BYTES);
    assert_eq!(Budget::default().spaces, limits::OPEN_SPACES);
    let folder = tempfile::tempdir().unwrap();
    let vectors = with(&folder, |budget| budget.tenant_bytes = 1000);
    fill(&vectors, "acme", "a", 100).await;
    let (handles, values) = rows(100, 1);
    let refused = vectors.upsert(&tenant("acme"), "feed", "a", handles, values).await.unwrap_err().to_string();
    assert!(refused.starts_with("space: has ") && refused.ends_with("may have at most 1000"), "{refused}");
    assert_eq!(best(&vectors, "acme", "a").await.handles.len(), 20);
    vectors.delete(&tenant("acme"), "feed", "a", (0..90).collect()).await.unwrap();
}

#[tokio::test]
async fn damage_is_as_if_there_were_nothing_and_can_be_filled_again() {
    let folder = tempfile::tempdir().unwrap();
    let cut = |path: PathBuf| {
        let bytes = fs::read(&path).unwrap();
        fs::write(path, &bytes[..bytes.len() - 5]).unwrap();
    };
    for (round, file) in ["index", "changes", "head", "missing"].into_iter().enumerate() {
        let vectors = with(&folder, |_| ());
        fill(&vectors, "acme", "a", 150).await;
        fill(&vectors, "acme", "whole", 150).await;
        let whole = best(&vectors, "acme", "whole").await;
        for open in vectors.shared.table.all() {
            open.store.save().unwrap();
        }
        drop(vectors);
        let place = folder_of(&folder, "acme", "a");
        match file {
            "index" => cut(place.join("index")),
            "head" => fs::write(place.join("index"), b"FWVECTOR").unwrap(),
            "missing" => fs::remove_file(place.join("index")).unwrap(),
            _ => cut(place.join(format!("changes-{}", 2))),
        }
        let vectors = with(&folder, |_| ());
        assert_eq!(vectors.describe(&tenant("acme"), "feed", "a").await, Ok(None), "{file}");
        assert_eq!(best(&vectors, "acme", "a").await, Hits::default());
        assert_eq!(best(&vectors, "acme", "whole").await, whole);
        fill(&vectors, "acme", "a", 150).await;
        assert_eq!(best(&vectors, "acme", "a").await, whole, "round {round}");
        vectors.drop_scenario(&tenant("acme"), "feed").await.unwrap();
        assert!(!folder.path().join("vectors/acme/feed").exists());
    }
}

/// A copy of the files as they are at some moment is what a kill leaves.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_answered_survives_a_kill() {
    let folder = tempfile::tempdir().unwrap();
    let vectors = with(&folder, |_| ());
    vectors.create(&tenant("acme"), "feed", "a", 4, Metric::Cosine).await.unwrap();
    let place = folder_of(&folder, "acme", "a");
    let mut compared = 0;
    for round in 0..30 {
        let (handles, values) = rows(round * 50, 50);
        vectors.upsert(&tenant("acme"), "feed", "a", handles, values).await.unwrap();
        let copies = tempfile::tempdir().unwrap();
        let copy = copies.path().join("vectors/acme/feed/a/1");
        fs::create_dir_all(&copy).unwrap();
        // A graph is built and saved meanwhile, so files come and go: the index first,
        // as what is newer than it is in logs that follow.
        let copied = |name: &str| fs::copy(place.join(name), copy.join(name));
        copied("index").unwrap();
        let names = fs::read_dir(&place).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let whole = names.filter(|name| name != "index").all(|name| copied(&name).is_ok());
        if !whole {
            continue;
        }
        let again = EmbeddedVectors::with(copies.path(), Budget::default(), PLAN);
        let space = again.describe(&tenant("acme"), "feed", "a").await.unwrap();
        // None: the log of the copied index was removed in between, so it is no moment.
        if let Some(space) = space {
            assert_eq!(space.vectors, (round + 1) * 50);
            compared += 1;
        }
    }
    assert!(compared > 10, "{compared}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn queries_go_on_while_a_graph_is_built() {
    let folder = tempfile::tempdir().unwrap();
    let vectors = with(&folder, |_| ());
    fill(&vectors, "acme", "a", 5000).await;
    let settling = tokio::spawn({
        let vectors = vectors.clone();
        async move { vectors.settle(&tenant("acme"), "feed", "a").await }
    });
    let mut asked = 0;
    while !settling.is_finished() {
        assert_eq!(best(&vectors, "acme", "a").await.handles.len(), 20);
        let (handles, values) = rows(5000 + asked, 1);
        vectors.upsert(&tenant("acme"), "feed", "a", handles, values).await.unwrap();
        asked += 1;
    }
    settling.await.unwrap().unwrap();
    assert!(asked > 1, "it was over at once");
    let space = vectors.describe(&tenant("acme"), "feed", "a").await.unwrap().unwrap();
    assert_eq!(space.vectors, 5000 + asked);
    assert!(fs::metadata(folder_of(&folder, "acme", "a").join("index")).unwrap().len() > 5000 * 24);
}

#[tokio::test]
async fn a_space_made_again_is_out_of_reach_of_who_still_has_the_old_one() {
    let folder = tempfile::tempdir().unwrap();
    let vectors = with(&folder, |_| ());
    fill(&vectors, "acme", "a", 300).await;
    let old = vectors.existing(&Name::new(&tenant("acme"), "feed", "a")).await.unwrap();
    vectors.drop_space(&tenant("acme"), "feed", "a").await.unwrap();
    fill(&vectors, "acme", "a", 30).await;
    // It finds no folder to save to.
    assert!(old.store.save().is_err());
    drop((old, vectors));
    let vectors = with(&folder, |_| ());
    assert_eq!(vectors.describe(&tenant("acme"), "feed", "a").await.unwrap().unwrap().vectors, 30);
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn after_a_failed_write_it_is_opened_again() {
    let folder = tempfile::tempdir().unwrap();
    let vectors = with(&folder, |_| ());
    fill(&vectors, "acme", "a", 30).await;
    let place = folder_of(&folder, "acme", "a");
    // The next log cannot be made where there is a folder of its name.
    fs::create_dir(place.join("changes-2")).unwrap();
    let open = vectors.existing(&Name::new(&tenant("acme"), "feed", "a")).await.unwrap();
    assert!(open.store.save().is_err());
    fs::remove_dir(place.join("changes-2")).unwrap();
    let (handles, values) = rows(30, 1);
    let acme = tenant("acme");
    let upsert = || vectors.upsert(&acme, "feed", "a", handles.clone(), values.clone());
    assert!(matches!(upsert().await, Err(Error::Unavailable(_))));
    assert_eq!(best(&vectors, "acme", "a").await.handles.len(), 20);
    drop(open);
    upsert().await.unwrap();
    assert_eq!(vectors.describe(&tenant("acme"), "feed", "a").await.unwrap().unwrap().vectors, 31);
}
