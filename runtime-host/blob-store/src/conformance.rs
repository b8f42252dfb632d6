//! The suite that every backend of [`Blobs`] must pass. Every check works in tenants
//! of its own.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test suite: a failed check is a panic"
)]

use std::time::Duration;

use funnelweb_core::limits;
use futures::future::join_all;

use crate::store::{Blob, Blobs, Bytes, Error, StoreError, Tenant};

/// A backend under test.
pub struct Suite<'a> {
    /// The backend.
    pub blobs: &'a dyn Blobs,
    /// Begins the names of the tenants, so that a server can be used again.
    pub prefix: &'a str,
}

fn blob(name: &str, version: u64, bytes: u64) -> Blob {
    Blob { name: name.to_owned(), version, bytes }
}

impl Suite<'_> {
    /// Runs every check.
    pub async fn run(&self) {
        self.a_version_is_read_as_it_was_written().await;
        self.versions_grow().await;
        self.names_are_apart().await;
        self.what_is_not_used_goes().await;
        self.of_writers_at_once_the_highest_stays().await;
        self.tenants_are_apart().await;
        self.wrong_arguments_are_named().await;
    }

    fn tenant(&self, name: &str) -> Tenant {
        Tenant::new(&format!("{}{name}", self.prefix)).unwrap()
    }

    async fn a_version_is_read_as_it_was_written(&self) {
        let t = &self.tenant("whole");
        // Longer than what a document database takes in one piece.
        for (version, length) in [(1, 0), (2, 1), (3, 20_000_000)] {
            let bytes: Bytes = (0..length).map(|at: u32| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
            self.blobs.put(t, "a", version, bytes.clone()).await.unwrap();
            assert!(self.blobs.get(t, "a", version).await.unwrap() == Some(bytes), "{length}");
            let listed = self.blobs.list(t, "a").await.unwrap();
            assert_eq!(listed.last(), Some(&blob("a", version, length.into())));
        }
        assert_eq!(self.blobs.get(t, "a", 4).await, Ok(None));
        assert_eq!(self.blobs.get(t, "b", 1).await, Ok(None));
    }

    async fn versions_grow(&self) {
        let t = &self.tenant("versions");
        assert_eq!(self.blobs.latest(t, "a").await, Ok(None));
        // As numbers, not as texts.
        for version in [9, 10, 200] {
            self.blobs.put(t, "a", version, "x".into()).await.unwrap();
            assert_eq!(self.blobs.latest(t, "a").await, Ok(Some(version)));
        }
        for version in [1, 10, 200] {
            let stale = Error::Stale { name: "a".to_owned(), version, latest: 200 };
            assert_eq!(self.blobs.put(t, "a", version, "y".into()).await, Err(stale));
        }
        assert_eq!(self.blobs.get(t, "a", 10).await.unwrap().unwrap(), "x");
        assert_eq!(self.blobs.delete(t, "a", 10).await, Ok(true));
        assert_eq!(self.blobs.delete(t, "a", 10).await, Ok(false));
        assert_eq!(self.blobs.list(t, "a").await.unwrap(), [blob("a", 9, 1), blob("a", 200, 1)]);
        assert_eq!(self.blobs.get(t, "a", 10).await, Ok(None));
    }

    async fn names_are_apart(&self) {
        let t = &self.tenant("names");
        for name in ["a/b", "a", "a/b/c", "a/bc", "b"] {
            self.blobs.put(t, name, 5, name.to_owned().into()).await.unwrap();
        }
        let names = async |prefix: &str| -> Vec<String> {
            let listed = self.blobs.list(t, prefix).await.unwrap();
            listed.into_iter().map(|blob| blob.name).collect()
        };
        assert_eq!(names("").await, ["a", "a/b", "a/b/c", "a/bc", "b"]);
        assert_eq!(names("a/b").await, ["a/b", "a/b/c"]);
        assert_eq!(names("c").await, [""; 0]);
        self.blobs.delete_prefix(t, "a/b").await.unwrap();
        self.blobs.delete_prefix(t, "c").await.unwrap();
        assert_eq!(names("").await, ["a", "a/bc", "b"]);
        assert_eq!(self.blobs.get(t, "a/b", 5).await, Ok(None));
        assert_eq!(self.blobs.get(t, "a/bc", 5).await.unwrap().unwrap(), "a/bc");
        // What is gone may begin anew.
        self.blobs.put(t, "a/b", 1, "again".into()).await.unwrap();
        assert_eq!(self.blobs.latest(t, "a/b").await, Ok(Some(1)));
    }

    async fn what_is_not_used_goes(&self) {
        let t = &self.tenant("unused");
        for name in ["a/b", "a/c", "d"] {
            self.blobs.put(t, name, 5, name.to_owned().into()).await.unwrap();
        }
        assert_eq!(self.blobs.touch(t, "a/b", 5).await, Ok(true));
        assert_eq!(self.blobs.touch(t, "a/b", 6).await, Ok(false));
        assert_eq!(self.blobs.touch(t, "e", 5).await, Ok(false));
        assert_eq!(self.blobs.delete_unused(t, "a", Duration::from_secs(3600)).await, Ok(false));
        assert_eq!(self.blobs.get(t, "a/c", 5).await.unwrap().unwrap(), "a/c");
        assert_eq!(self.blobs.delete_unused(t, "a", Duration::ZERO).await, Ok(true));
        assert_eq!(self.blobs.list(t, "").await.unwrap(), [blob("d", 5, 1)]);
        assert_eq!(self.blobs.get(t, "a/b", 5).await, Ok(None));
        assert_eq!(self.blobs.delete_unused(t, "e", Duration::ZERO).await, Ok(true));
    }

    async fn of_writers_at_once_the_highest_stays(&self) {
        let t = &self.tenant("race");
        let put = |version: u64| self.blobs.put(t, "a", version, version.to_string().into());
        let done = join_all((1..=16).map(put)).await;
        assert_eq!(done[15], Ok(()), "nothing is above it");
        assert_eq!(self.blobs.latest(t, "a").await, Ok(Some(16)));
        for (version, done) in (1..).zip(done) {
            let found = self.blobs.get(t, "a", version).await.unwrap();
            match done {
                Ok(()) => assert_eq!(found.unwrap(), version.to_string()),
                Err(Error::Stale { latest, .. }) => assert!(found.is_none() && latest > version),
                Err(error) => panic!("{error}"),
            }
        }
    }

    async fn tenants_are_apart(&self) {
        let (t, other) = (&self.tenant("one"), &self.tenant("one.b"));
        self.blobs.put(t, "a", 2, "mine".into()).await.unwrap();
        assert_eq!(self.blobs.latest(other, "a").await, Ok(None));
        assert_eq!(self.blobs.list(other, "").await, Ok(Vec::new()));
        assert_eq!(self.blobs.get(other, "a", 2).await, Ok(None));
        assert_eq!(self.blobs.delete(other, "a", 2).await, Ok(false));
        self.blobs.put(other, "a", 1, "theirs".into()).await.unwrap();
        self.blobs.delete_prefix(other, "").await.unwrap();
        assert_eq!(self.blobs.get(t, "a", 2).await.unwrap().unwrap(), "mine");
    }

    async fn wrong_arguments_are_named(&self) {
        let t = &self.tenant("wrong");
        let invalid = |result: Result<(), Error>, name: &str| match result {
            Err(Error::Store(StoreError::Invalid(message))) => assert!(message.starts_with(name), "{message}"),
            other => panic!("expected invalid({name}), got {other:?}"),
        };
        let deep = ["a"; limits::BLOB_NAME_SEGMENTS + 1].join("/");
        for name in ["", "/", "a/", "/a", "a//b", "..", "a/../b", "a/@1", "a/~new", "é", &deep] {
            invalid(self.blobs.put(t, name, 1, Bytes::new()).await, "name");
            invalid(self.blobs.latest(t, name).await.map(|_| ()), "name");
            invalid(self.blobs.get(t, name, 1).await.map(|_| ()), "name");
            invalid(self.blobs.delete(t, name, 1).await.map(|_| ()), "name");
            if !name.is_empty() {
                invalid(self.blobs.list(t, name).await.map(|_| ()), "prefix");
                invalid(self.blobs.delete_prefix(t, name).await, "prefix");
            }
        }
        let deepest = ["a"; limits::BLOB_NAME_SEGMENTS].join("/");
        self.blobs.put(t, &deepest, u64::MAX >> 1, Bytes::new()).await.unwrap();
        for version in [0, u64::MAX] {
            invalid(self.blobs.put(t, "a", version, Bytes::new()).await, "version");
        }
    }
}
