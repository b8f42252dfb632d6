//! The suite that every backend of [`KeyValues`] must pass.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test suite: a failed check is a panic")]

use funnelweb_core::limits;

use crate::store::{Error, KeyValues, Tenant};

/// Runs every check, in tenants whose names begin with `prefix`.
pub async fn run(stores: &dyn KeyValues, prefix: &str) {
    let tenant = |name: &str| Tenant::new(&format!("{prefix}{name}")).unwrap();
    values_are_set_read_and_deleted(stores, &tenant("values")).await;
    limits_are_errors_that_name_the_argument(stores, &tenant("limits")).await;
    values_of_any_kind_come_back_as_they_were(stores, &tenant("kinds")).await;
    labels_and_tenants_are_apart(stores, &tenant("apart-a"), &tenant("apart-b")).await;
    names_with_colons_are_apart(stores, &tenant("colon"), &tenant("colon:a")).await;
    concurrent_writes_lose_nothing(stores, &tenant("race")).await;
}

async fn values_are_set_read_and_deleted(stores: &dyn KeyValues, t: &Tenant) {
    assert_eq!(stores.get(t, "default", "k").await, Ok(None));
    assert_eq!(stores.exists(t, "default", "k").await, Ok(false));
    assert_eq!(stores.get_keys(t, "default").await, Ok(vec![]));
    for value in [b"one".to_vec(), vec![], vec![0, 255, 0]] {
        stores.set(t, "default", "k", value.clone()).await.unwrap();
        assert_eq!(stores.get(t, "default", "k").await, Ok(Some(value)));
    }
    assert_eq!(stores.exists(t, "default", "k").await, Ok(true));
    let odd = "ключ/🕷 ../%_'\"";
    stores.set(t, "default", odd, b"odd".to_vec()).await.unwrap();
    assert_eq!(stores.get(t, "default", odd).await, Ok(Some(b"odd".to_vec())));
    assert_eq!(stores.get_keys(t, "default").await, Ok(vec!["k".to_owned(), odd.to_owned()]));
    stores.delete(t, "default", "k").await.unwrap();
    stores.delete(t, "default", "k").await.unwrap();
    assert_eq!(stores.get_keys(t, "default").await, Ok(vec![odd.to_owned()]));
}

async fn limits_are_errors_that_name_the_argument(stores: &dyn KeyValues, t: &Tenant) {
    let names = |result: Result<(), Error>, name: &str| match result {
        Err(Error::Invalid(message)) => assert!(message.starts_with(name), "{message} does not name {name}"),
        other => panic!("expected invalid({name}), got {other:?}"),
    };
    let (key, value) = ("k".repeat(limits::KEY_VALUE_KEY_BYTES), vec![7; limits::KEY_VALUE_VALUE_BYTES]);
    stores.set(t, "default", &key, value.clone()).await.unwrap();
    assert_eq!(stores.get(t, "default", &key).await, Ok(Some(value)));
    names(stores.set(t, "default", &format!("{key}k"), vec![]).await, "key");
    names(stores.set(t, "default", "", vec![]).await, "key");
    names(stores.set(t, "default", "k", vec![7; limits::KEY_VALUE_VALUE_BYTES + 1]).await, "value");
    names(stores.set(t, "a/b", "k", vec![]).await, "label");
}

async fn values_of_any_kind_come_back_as_they_were(stores: &dyn KeyValues, t: &Tenant) {
    let mib: Vec<u8> = (0..1024 * 1024_u32).map(|at| (at % 251) as u8).collect();
    let pairs = [
        ("mib", mib),
        ("юникод-🕸", "значение 🕷 \u{0}\u{10FFFF}".as_bytes().to_vec()),
        ("{braces}", b"\r\n$3\r\nfoo\r\n".to_vec()),
        (" \n\0", (0..=255).collect()),
        ("e\u{301}", b"two characters".to_vec()),
        ("\u{e9}", b"one character".to_vec()),
    ];
    for (key, value) in &pairs {
        stores.set(t, "default", key, value.clone()).await.unwrap();
    }
    for (key, value) in &pairs {
        assert!(stores.get(t, "default", key).await.unwrap().as_ref() == Some(value), "{key:?} changed");
    }
    let mut keys: Vec<String> = pairs.iter().map(|(key, _)| (*key).to_owned()).collect();
    keys.sort_unstable();
    assert_eq!(stores.get_keys(t, "default").await.unwrap(), keys);
}

async fn names_with_colons_are_apart(stores: &dyn KeyValues, a: &Tenant, b: &Tenant) {
    // Joined by colons, these are the same.
    let names = [(a, "a:x", "y:z"), (a, "a:x:y", "z"), (b, "x", "y:z"), (b, "x:y", "z")];
    for (at, (tenant, label, key)) in names.iter().enumerate() {
        stores.set(tenant, label, key, vec![at as u8]).await.unwrap();
    }
    for (at, (tenant, label, key)) in names.iter().enumerate() {
        assert_eq!(stores.get(tenant, label, key).await, Ok(Some(vec![at as u8])));
        assert_eq!(stores.get_keys(tenant, label).await, Ok(vec![(*key).to_owned()]));
    }
}

async fn concurrent_writes_lose_nothing(stores: &dyn KeyValues, t: &Tenant) {
    let task = async |task: usize| {
        for round in 0..25 {
            let (key, value) = (format!("k{task}-{round}"), format!("v{task}-{round}").into_bytes());
            stores.set(t, "default", &key, value.clone()).await.unwrap();
            stores.set(t, "default", "all", value.clone()).await.unwrap();
            assert_eq!(stores.get(t, "default", &key).await, Ok(Some(value)));
        }
    };
    tokio::join!(task(0), task(1), task(2), task(3), task(4), task(5), task(6), task(7));
    assert_eq!(stores.get_keys(t, "default").await.unwrap().len(), 8 * 25 + 1);
    let last = stores.get(t, "default", "all").await.unwrap().unwrap();
    assert!(last.ends_with(b"-24"), "{last:?} was not written last");
}

async fn labels_and_tenants_are_apart(stores: &dyn KeyValues, a: &Tenant, b: &Tenant) {
    stores.set(a, "default", "k", b"ours".to_vec()).await.unwrap();
    stores.set(a, "other", "k", b"other".to_vec()).await.unwrap();
    stores.set(b, "default", "k", b"theirs".to_vec()).await.unwrap();
    assert_eq!(stores.get(a, "default", "k").await, Ok(Some(b"ours".to_vec())));
    assert_eq!(stores.get(a, "other", "k").await, Ok(Some(b"other".to_vec())));
    stores.delete(b, "default", "k").await.unwrap();
    assert_eq!(stores.exists(a, "default", "k").await, Ok(true));
    assert_eq!(stores.exists(b, "default", "k").await, Ok(false));
}
