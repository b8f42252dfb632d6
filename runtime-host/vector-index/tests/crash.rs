//! Files that are not what was written.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "helpers of tests are not recognised as tests"
)]

mod common;

use std::{fs, path::Path};

use common::{Model, assert_best, upsert, vector};
use funnelweb_vector_index::{Change, Error, Metric, Plan, Space, Store};

const DIMENSION: usize = 5;
const PLAN: Plan = Plan { graph_from: 20, threads: 1 };

fn space() -> Space {
    Space::new(DIMENSION, Metric::InnerProduct).unwrap()
}

fn open(folder: &Path) -> Result<Store, Error> {
    Store::open(folder, space(), PLAN).map(|(store, _)| store)
}

/// An index with a graph, dead and fresh rows in its file, and a log; and what was in
/// it after each of the log's records.
fn example(folder: &Path) -> Vec<Model> {
    let store = open(folder).unwrap();
    let mut model = Model::default();
    let mut apply = |changes: &[Change]| {
        store.apply(changes).unwrap();
        model.apply(changes);
        model.clone()
    };
    apply(&(0..40).map(|at| upsert(at, vector(at, DIMENSION))).collect::<Vec<_>>());
    store.maintain().unwrap();
    apply(&[upsert(3, vector(1003, DIMENSION)), Change::Delete { handle: 4 }, upsert(500, vector(500, DIMENSION))]);
    store.save().unwrap();
    let mut models = vec![apply(&[])];
    for at in 0..4 {
        models.push(apply(&[upsert(600 + at, vector(at, DIMENSION)), Change::Delete { handle: 10 + at }]));
    }
    store.sync().unwrap();
    models
}

fn holds(store: &Store, model: &Model) -> bool {
    let same = store.len() == model.0.len()
        && model.0.iter().all(|(handle, vector)| store.get(*handle).as_ref() == Some(vector));
    if same {
        let query = vector(77, DIMENSION);
        assert_best(space(), model, &query, None, 10, &store.query(&query, 10, None).unwrap());
    }
    same
}

fn files(folder: &Path) -> (std::path::PathBuf, std::path::PathBuf) {
    let log = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let logs: Vec<_> = log.filter(|path| path.file_name().unwrap().to_str().unwrap().starts_with("changes-")).collect();
    assert_eq!(logs.len(), 1, "{logs:?}");
    (folder.join("index"), logs[0].clone())
}

#[test]
fn a_file_cut_anywhere_is_found_damaged() {
    let folder = tempfile::tempdir().unwrap();
    example(folder.path());
    let (index, _) = files(folder.path());
    let whole = fs::read(&index).unwrap();
    for len in (0..whole.len()).step_by(7).chain([whole.len() - 1]) {
        fs::write(&index, &whole[..len]).unwrap();
        assert!(matches!(open(folder.path()), Err(Error::Damaged { .. })), "{len}");
    }
    fs::write(&index, [&whole[..], &[0]].concat()).unwrap();
    assert!(matches!(open(folder.path()), Err(Error::Damaged { .. })));
}

#[test]
fn a_bit_flipped_anywhere_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let models = example(folder.path());
    let (index, log) = files(folder.path());
    let whole = fs::read(&index).unwrap();
    for at in 0..whole.len() {
        let mut flipped = whole.clone();
        flipped[at] ^= 1 << (at % 8);
        fs::write(&index, flipped).unwrap();
        assert!(matches!(open(folder.path()), Err(Error::Damaged { .. } | Error::Mismatch { .. })), "{at}");
    }
    fs::write(&index, whole).unwrap();
    // The record that ends what was made durable may be lost, and nothing else.
    let whole = fs::read(&log).unwrap();
    let last = whole.len() - 24;
    for at in 0..whole.len() {
        let mut flipped = whole.clone();
        flipped[at] ^= 1 << (at % 8);
        fs::write(&log, flipped).unwrap();
        match open(folder.path()) {
            Ok(store) => assert!(at >= last && holds(&store, models.last().unwrap()), "{at}"),
            Err(error) => assert!(at < last && matches!(error, Error::Damaged { .. }), "{at}: {error}"),
        }
    }
}

#[test]
fn a_log_cut_anywhere_gives_what_was_whole_and_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let models = example(folder.path());
    let (_, log) = files(folder.path());
    let whole = fs::read(&log).unwrap();
    let mut seen = 0;
    for len in 0..=whole.len() {
        fs::write(&log, &whole[..len]).unwrap();
        match Store::open(folder.path(), space(), PLAN) {
            Err(error) => assert!(len < 36 && matches!(error, Error::Damaged { .. }), "{len}: {error}"),
            Ok((store, opened)) => {
                let at = models.iter().position(|model| holds(&store, model)).expect("a state that was");
                assert!(at >= seen && at <= seen + 1, "{len}");
                assert_eq!(opened.changes, 2 * at as u64);
                seen = at;
                let mut model = models[at].clone();
                let more = [upsert(900, vector(900, DIMENSION))];
                store.apply(&more).unwrap();
                model.apply(&more);
                drop(store);
                let (again, opened) = Store::open(folder.path(), space(), PLAN).unwrap();
                assert!(holds(&again, &model) && opened.torn_bytes == 0, "{len}");
            }
        }
    }
    assert_eq!(seen, models.len() - 1);
}

/// The states of the folder at which a save can be interrupted.
#[test]
fn a_save_interrupted_anywhere_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let models = example(folder.path());
    let model = models.last().unwrap();
    let (index, log) = files(folder.path());
    let before = [fs::read(&index).unwrap(), fs::read(&log).unwrap()];
    open(folder.path()).unwrap().save().unwrap();
    let (_, next) = files(folder.path());
    let after = [fs::read(&index).unwrap(), fs::read(&next).unwrap()];
    let states: [&[(&Path, &[u8])]; 4] = [
        &[(&index, &before[0]), (&log, &before[1]), (&next.with_extension("new"), &after[1][..9])],
        &[(&index, &before[0]), (&log, &before[1]), (&next, &after[1])],
        &[(&index, &before[0]), (&log, &before[1]), (&next, &after[1]), (&index.with_extension("new"), b"FW")],
        &[(&index, &after[0]), (&log, &before[1]), (&next, &after[1])],
    ];
    for (at, state) in states.into_iter().enumerate() {
        fs::remove_dir_all(folder.path()).unwrap();
        fs::create_dir(folder.path()).unwrap();
        state.iter().for_each(|(path, bytes)| fs::write(path, bytes).unwrap());
        let store = open(folder.path()).unwrap();
        assert!(holds(&store, model), "{at}");
        store.save().unwrap();
        drop(store);
        assert!(holds(&open(folder.path()).unwrap(), model), "{at}");
        files(folder.path());
    }
}

#[test]
fn missing_and_foreign_files_are_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    example(folder.path());
    let (index, log) = files(folder.path());
    let other = Space::new(DIMENSION, Metric::Cosine).unwrap();
    assert!(matches!(Store::open(folder.path(), other, PLAN), Err(Error::Mismatch { what: "metric", .. })));
    let other = Space::new(DIMENSION + 1, Metric::InnerProduct).unwrap();
    assert!(matches!(Store::open(folder.path(), other, PLAN), Err(Error::Mismatch { what: "dimension", .. })));
    let (index_bytes, log_bytes) = (fs::read(&index).unwrap(), fs::read(&log).unwrap());
    for missing in [&index, &log] {
        fs::remove_file(missing).unwrap();
        assert!(matches!(open(folder.path()), Err(Error::Damaged { what: "it is missing", .. })));
        fs::write(&index, &index_bytes).unwrap();
        fs::write(&log, &log_bytes).unwrap();
    }
    assert_eq!(Store::space(folder.path()).unwrap(), Some(space()));
    fs::write(&index, &index_bytes[..30]).unwrap();
    assert!(matches!(Store::space(folder.path()), Err(Error::Damaged { .. })));
    Store::discard(folder.path()).unwrap();
    assert_eq!(Store::space(folder.path()).unwrap(), None);
    assert!(open(folder.path()).unwrap().is_empty());
}

#[cfg(target_os = "linux")]
#[test]
fn after_a_failed_write_nothing_is_taken_and_queries_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let models = example(folder.path());
    let store = open(folder.path()).unwrap();
    // The next log cannot be made where there is a folder of its name.
    let (_, log) = files(folder.path());
    let generation: u64 = log.to_str().unwrap().rsplit('-').next().unwrap().parse().unwrap();
    let next = folder.path().join(format!("changes-{}", generation + 1));
    fs::create_dir(&next).unwrap();
    assert!(matches!(store.save(), Err(Error::File { .. })));
    assert!(matches!(store.apply(&[Change::Delete { handle: 1 }]), Err(Error::Broken { .. })));
    assert!(matches!(store.sync(), Err(Error::Broken { .. })));
    assert!(holds(&store, models.last().unwrap()));
    drop(store);
    fs::remove_dir(&next).unwrap();
    assert!(holds(&open(folder.path()).unwrap(), models.last().unwrap()));
}
