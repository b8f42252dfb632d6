//! A process that is killed while it writes.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "helpers of tests are not recognised as tests; the child tells how far it is"
)]

use std::{
    env,
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Command, Stdio},
};

use funnelweb_factor_vectors::{
    EmbeddedVectors,
    store::{Metric, Tenant, Vectors as _},
};

/// Tells the child where to write; the others do not.
const FOLDER: &str = "FUNNELWEB_TEST_KILL_FOLDER";
const ROWS: u64 = 2000;
const DIMENSION: usize = 16;

fn rows(batch: u64) -> (Vec<u64>, Vec<f32>) {
    let handles: Vec<u64> = (batch * ROWS..(batch + 1) * ROWS).collect();
    let value = |handle: u64| (0..DIMENSION as u64).map(move |at| ((handle * 31 + at * 7) % 97) as f32 - 48.5);
    let values = handles.iter().copied().flat_map(value).collect();
    (handles, values)
}

/// Writes until it is killed, and saves its files now and then.
#[tokio::test]
async fn child() {
    let Some(folder) = env::var_os(FOLDER) else { return };
    let (vectors, acme) = (EmbeddedVectors::new(Path::new(&folder)), Tenant::new("acme").unwrap());
    vectors.create(&acme, "feed", "a", DIMENSION as u32, Metric::Cosine).await.unwrap();
    for batch in 0.. {
        let (handles, values) = rows(batch);
        vectors.upsert(&acme, "feed", "a", handles, values).await.unwrap();
        println!("\nwritten {batch}");
    }
}

#[tokio::test]
async fn what_was_answered_is_there_after_a_kill() {
    let acme = Tenant::new("acme").unwrap();
    for kill_after in [0, 3, 20, 41] {
        let folder = tempfile::tempdir().unwrap();
        let mut command = Command::new(env::current_exe().unwrap());
        command.args(["--exact", "child", "--nocapture"]).env(FOLDER, folder.path());
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let batches = lines.filter_map(|line| line.strip_prefix("written ")?.parse::<u64>().ok());
        let last = batches.take_while(|batch| *batch < kill_after).count() as u64;
        assert_eq!(last, kill_after, "the child ended early");
        child.kill().unwrap();
        child.wait().unwrap();
        let vectors = EmbeddedVectors::new(folder.path());
        let space = vectors.describe(&acme, "feed", "a").await.unwrap().unwrap();
        // Whole batches only.
        assert!(space.vectors > kill_after * ROWS && space.vectors.is_multiple_of(ROWS), "{space:?}");
        let (handles, values) = rows(kill_after);
        let found = vectors.get(&acme, "feed", "a", handles[..1000].to_vec()).await.unwrap();
        assert_eq!(found.values, values[..1000 * DIMENSION]);
        let (handles, values) = rows(1000);
        vectors.upsert(&acme, "feed", "a", handles, values).await.unwrap();
    }
}
