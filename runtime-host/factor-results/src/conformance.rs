//! The suite that every backend of [`ResultStore`] must pass. Every check works in tenants of
//! its own.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test suite: a failed check is a panic"
)]

use crate::store::{Entry, Key, ResultStore, Tenant};

/// A backend under test, and its clock.
pub struct Suite<'a> {
    /// The backend.
    pub store: &'a dyn ResultStore,
    /// The backend's clock, in milliseconds since 1970.
    pub now_ms: &'a (dyn Fn() -> u64 + Sync),
    /// Moves it on by so many milliseconds.
    pub advance: &'a (dyn Fn(u64) + Sync),
    /// Begins the names of the tenants, so that a server can be used again.
    pub prefix: &'a str,
}

fn key(scenario: &str, user: &str, hash: &str) -> Key {
    Key { scenario_id: scenario.to_owned(), user_id: user.to_owned(), hash: hash.to_owned() }
}

impl Suite<'_> {
    /// Runs every check.
    pub async fn run(&self) {
        self.what_is_put_is_there_until_its_time_is_over().await;
        self.keys_are_told_apart().await;
        self.what_is_forgotten_is_gone_and_nothing_else().await;
    }

    fn tenant(&self, name: &str) -> Tenant {
        Tenant::new(&format!("{}{name}", self.prefix)).unwrap()
    }

    /// Fresh for 60 seconds, and stale for as many.
    fn entry(&self, value: &str) -> Entry {
        let now_ms = (self.now_ms)();
        Entry { value: value.into(), fresh_until_ms: now_ms + 60_000, stale_until_ms: now_ms + 120_000 }
    }

    async fn value(&self, tenant: &Tenant, key: &Key) -> Option<String> {
        self.store.get(tenant, key).await.unwrap().map(|entry| (*entry.value).to_owned())
    }

    async fn what_is_put_is_there_until_its_time_is_over(&self) {
        let (t, at) = (self.tenant("times"), key("feed", "ann", "1f"));
        assert_eq!(self.store.get(&t, &at).await, Ok(None));
        let first = self.entry(r#"{"items":["é\"\\"]}"#);
        self.store.put(&t, &at, first.clone()).await.unwrap();
        assert_eq!(self.store.get(&t, &at).await, Ok(Some(first)));
        let second = self.entry("[1]");
        self.store.put(&t, &at, second.clone()).await.unwrap();
        (self.advance)(119_999);
        assert_eq!(self.store.get(&t, &at).await, Ok(Some(second)), "also when it is stale");
        (self.advance)(1);
        assert_eq!(self.store.get(&t, &at).await, Ok(None));
        self.store.put(&t, &at, self.entry("2")).await.unwrap();
        self.store.remove(&t, &at).await.unwrap();
        self.store.remove(&t, &at).await.unwrap();
        assert_eq!(self.store.get(&t, &at).await, Ok(None));
    }

    async fn keys_are_told_apart(&self) {
        let (one, other) = (self.tenant("one"), self.tenant("other"));
        let all = [
            (&one, key("feed", "ann", "1")),
            (&other, key("feed", "ann", "1")),
            (&one, key("feed", "ann", "2")),
            (&one, key("feed", "", "1")),
            (&one, key("feed", "ann:1", "1")),
            (&one, key("feed:ann", "1", "1")),
            (&one, key("shop", "ann", "1")),
        ];
        for (at, (tenant, key)) in all.iter().enumerate() {
            self.store.put(tenant, key, self.entry(&at.to_string())).await.unwrap();
        }
        for (at, (tenant, key)) in all.iter().enumerate() {
            assert_eq!(self.value(tenant, key).await, Some(at.to_string()));
        }
    }

    async fn what_is_forgotten_is_gone_and_nothing_else(&self) {
        let (one, other) = (self.tenant("f"), self.tenant("f:1"));
        let keys = [
            key("feed", "ann", "1"),
            key("feed", "ann", "2"),
            key("shop", "ann", "1"),
            key("feed", "bob", "1"),
            key("feed", "ann:b", "1"),
            key("feed", "", "1"),
            key("feed:ann", "bob", "1"),
        ];
        let left = async |tenant: &Tenant| {
            let mut left = Vec::new();
            for (at, key) in keys.iter().enumerate() {
                if self.value(tenant, key).await.is_some() {
                    left.push(at);
                }
            }
            left
        };
        for tenant in [&one, &other] {
            for key in &keys {
                self.store.put(tenant, key, self.entry("1")).await.unwrap();
            }
        }
        self.store.forget_user(&one, "ann").await.unwrap();
        assert_eq!(left(&one).await, [3, 4, 5, 6]);
        self.store.forget_scenario(&one, "feed").await.unwrap();
        assert_eq!(left(&one).await, [6]);
        self.store.forget_user(&one, "nobody").await.unwrap();
        assert_eq!((left(&one).await, left(&other).await.len()), (vec![6], keys.len()));
    }
}
