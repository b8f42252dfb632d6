//! The suite that every backend of [`KeyValues`] must pass.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test suite: a failed check is a panic")]

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::atomic::{AtomicBool, Ordering},
};

use funnelweb_core::limits;
use futures::TryStreamExt as _;

use crate::store::{Error, KeyPage, KeyValue, KeyValues, Tenant};

/// Runs every check, in tenants whose names begin with `prefix`.
pub async fn run(stores: &dyn KeyValues, prefix: &str) {
    let tenant = |name: &str| Tenant::new(&format!("{prefix}{name}")).unwrap();
    values_are_set_read_and_deleted(stores, &tenant("values")).await;
    limits_are_errors_that_name_the_argument(stores, &tenant("limits")).await;
    values_of_any_kind_come_back_as_they_were(stores, &tenant("kinds")).await;
    labels_and_tenants_are_apart(stores, &tenant("apart-a"), &tenant("apart-b")).await;
    names_with_colons_are_apart(stores, &tenant("colon"), &tenant("colon:a")).await;
    concurrent_writes_lose_nothing(stores, &tenant("race")).await;
    keys_are_listed_page_by_page(stores, &tenant("pages")).await;
    several_keys_are_set_read_and_deleted_at_once(stores, &tenant("many")).await;
    batches_have_limits(stores, &tenant("batches")).await;
    tenants_are_apart_in_batches_too(stores, &tenant("many-a"), &tenant("many-b")).await;
    numbers_are_added_to(stores, &tenant("numbers")).await;
    concurrent_increments_lose_nothing(stores, &tenant("increments")).await;
    a_value_is_set_if_it_is_what_is_expected(stores, &tenant("expected")).await;
    of_concurrent_swaps_one_wins(stores, &tenant("swaps")).await;
    a_walk_gives_everything_once(stores, &tenant("walk"), &tenant("walk:x")).await;
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

async fn several_keys_are_set_read_and_deleted_at_once(stores: &dyn KeyValues, t: &Tenant) {
    let texts = |keys: &[&str]| keys.iter().map(|&key| key.to_owned()).collect::<Vec<_>>();
    let get = async |keys: &[&str]| stores.get_many(t, "default", texts(keys)).await;
    assert_eq!(get(&[]).await, Ok(vec![]));
    assert_eq!(get(&["a", "b"]).await, Ok(vec![None, None]));
    stores.set_many(t, "default", vec![]).await.unwrap();
    stores.delete_many(t, "default", vec![]).await.unwrap();
    let mib = vec![7; 1024 * 1024];
    let pairs = [("a", b"0".to_vec()), ("юникод-🕸", vec![0, 255, 13, 10]), ("mib", mib.clone()), ("a", b"1".to_vec())];
    let pairs = pairs.map(|(key, value)| (key.to_owned(), value)).into();
    stores.set_many(t, "default", pairs).await.unwrap();
    stores.set_many(t, "other", vec![("a".to_owned(), b"other".to_vec())]).await.unwrap();
    let (a, unicode) = (Some(b"1".to_vec()), Some(vec![0, 255, 13, 10]));
    assert_eq!(get(&["юникод-🕸", "no", "a", "a"]).await, Ok(vec![unicode, None, a.clone(), a]));
    assert!(get(&["mib"]).await == Ok(vec![Some(mib)]));
    stores.delete_many(t, "default", texts(&["a", "no", "mib", "a"])).await.unwrap();
    assert_eq!(stores.get_keys(t, "default").await, Ok(texts(&["юникод-🕸"])));
    assert_eq!(stores.get(t, "other", "a").await, Ok(Some(b"other".to_vec())));
}

async fn batches_have_limits(stores: &dyn KeyValues, t: &Tenant) {
    let keys = |count: usize| (0..count).map(|at| format!("k{at}")).collect::<Vec<_>>();
    let pairs =
        |count: usize, bytes: usize| keys(count).into_iter().map(|key| (key, vec![7; bytes])).collect::<Vec<_>>();
    let refused = |result: Result<(), Error>, name: &str| match result {
        Err(Error::Invalid(message)) => assert!(message.starts_with(name), "{message} does not name {name}"),
        other => panic!("expected invalid({name}), got {other:?}"),
    };
    let most = limits::KEY_VALUE_BATCH_KEYS;
    stores.set_many(t, "default", pairs(most, 1)).await.unwrap();
    assert_eq!(stores.get_many(t, "default", keys(most)).await.unwrap(), vec![Some(vec![7]); most]);
    refused(stores.set_many(t, "default", pairs(most + 1, 1)).await, "key-values");
    refused(stores.get_many(t, "default", keys(most + 1)).await.map(|_| ()), "keys");
    refused(stores.delete_many(t, "default", keys(most + 1)).await, "keys");
    stores.delete_many(t, "default", keys(most)).await.unwrap();
    assert_eq!(stores.get_keys(t, "default").await, Ok(vec![]));

    let half = limits::KEY_VALUE_BATCH_BYTES / 2;
    stores.set_many(t, "default", pairs(2, half)).await.unwrap();
    assert!(stores.get_many(t, "default", keys(2)).await.unwrap() == vec![Some(vec![7; half]); 2]);
    refused(stores.set_many(t, "default", pairs(2, half + 1)).await, "values");
    stores.set(t, "default", "k1", vec![7; half + 1]).await.unwrap();
    refused(stores.get_many(t, "default", keys(2)).await.map(|_| ()), "values");

    let long = "k".repeat(limits::KEY_VALUE_KEY_BYTES + 1);
    for key in [String::new(), long] {
        refused(
            stores.set_many(t, "default", vec![("k".to_owned(), vec![]), (key.clone(), vec![])]).await,
            "key-values[1]",
        );
        refused(stores.get_many(t, "default", vec![key.clone()]).await.map(|_| ()), "keys[0]");
        refused(stores.delete_many(t, "default", vec![key.clone()]).await, "keys[0]");
        refused(stores.increment(t, "default", &key, 1).await.map(|_| ()), "key");
        refused(stores.compare_and_set(t, "default", &key, None, vec![]).await.map(|_| ()), "key");
    }
    let large = vec![7; limits::KEY_VALUE_VALUE_BYTES + 1];
    refused(stores.set_many(t, "default", vec![("k".to_owned(), large.clone())]).await, "key-values[0]");
    refused(stores.compare_and_set(t, "default", "k", None, large).await.map(|_| ()), "value");
    refused(stores.get_many(t, "a/b", keys(1)).await.map(|_| ()), "label");
    refused(stores.list_keys(t, "a/b", None).await.map(|_| ()), "label");
}

async fn numbers_are_added_to(stores: &dyn KeyValues, t: &Tenant) {
    let add = async |key: &str, delta: i64| stores.increment(t, "default", key, delta).await;
    assert_eq!(add("n", 0).await, Ok(0));
    assert_eq!(add("n", 41).await, Ok(41));
    assert_eq!(add("n", 1).await, Ok(42));
    assert_eq!(add("n", -50).await, Ok(-8));
    assert_eq!(stores.get(t, "default", "n").await, Ok(Some(b"-8".to_vec())));
    // Exact where a float is not.
    stores.set(t, "default", "n", b"9007199254740993".to_vec()).await.unwrap();
    assert_eq!(add("n", 2).await, Ok(9_007_199_254_740_995));
    assert_eq!(add("low", i64::MIN).await, Ok(i64::MIN));
    assert_eq!(add("high", i64::MAX).await, Ok(i64::MAX));
    for (key, delta) in [("low", -1), ("high", 1)] {
        assert!(matches!(add(key, delta).await, Err(Error::Invalid(message)) if message.starts_with("delta")));
    }
    assert_eq!(add("high", 0).await, Ok(i64::MAX));
    for value in
        [&b""[..], b"x", b" 1", b"+1", b"01", b"-0", b"1.5", b"9223372036854775808", b"\xff", &1_i64.to_le_bytes()]
    {
        stores.set(t, "default", "text", value.to_vec()).await.unwrap();
        let refused = add("text", 1).await;
        assert!(
            matches!(&refused, Err(Error::Invalid(message)) if message.starts_with("value")),
            "{value:?}: {refused:?}"
        );
        assert_eq!(stores.get(t, "default", "text").await, Ok(Some(value.to_vec())));
    }
}

async fn concurrent_increments_lose_nothing(stores: &dyn KeyValues, t: &Tenant) {
    let task = async |task: i64| {
        let mut before = i64::MIN;
        for _ in 0..25 {
            let now = stores.increment(t, "default", "all", task).await.unwrap();
            assert!(now > before, "{now} came after {before}");
            before = now;
        }
    };
    tokio::join!(task(1), task(2), task(3), task(4), task(5), task(6), task(7), task(8));
    assert_eq!(stores.get(t, "default", "all").await, Ok(Some((25 * 36).to_string().into_bytes())));
}

async fn a_value_is_set_if_it_is_what_is_expected(stores: &dyn KeyValues, t: &Tenant) {
    let swap = async |key: &str, expected: Option<&[u8]>, value: &[u8]| {
        stores.compare_and_set(t, "default", key, expected.map(<[u8]>::to_vec), value.to_vec()).await
    };
    let mib: Vec<u8> = (0..1024 * 1024_u32).map(|at| (at % 251) as u8).collect();
    let mut changed = mib.clone();
    if let Some(last) = changed.last_mut() {
        *last ^= 1;
    }
    for key in ["k", "ключ-🕸", "{braces}"] {
        assert_eq!(swap(key, Some(b""), b"x").await, Ok(false), "there is nothing");
        assert_eq!(swap(key, None, b"").await, Ok(true));
        assert_eq!(swap(key, None, b"x").await, Ok(false), "what is empty is there");
        assert_eq!(swap(key, Some(b""), &[0, 255]).await, Ok(true));
        assert_eq!(swap(key, Some(&[0]), b"x").await, Ok(false));
        assert_eq!(swap(key, Some(&[0, 255]), &mib).await, Ok(true));
        assert_eq!(swap(key, Some(&changed), b"x").await, Ok(false));
        assert!(stores.get(t, "default", key).await == Ok(Some(mib.clone())));
        assert_eq!(swap(key, Some(&mib), &changed).await, Ok(true));
        stores.delete(t, "default", key).await.unwrap();
        assert_eq!(swap(key, Some(&changed), b"x").await, Ok(false), "it was deleted");
        assert_eq!(stores.get(t, "default", key).await, Ok(None));
    }
}

async fn of_concurrent_swaps_one_wins(stores: &dyn KeyValues, t: &Tenant) {
    // Each adds to a list, and tries again when another was before it.
    let task = async |task: u8| {
        let mut lost = 0;
        for _ in 0..10 {
            loop {
                let seen = stores.get(t, "default", "list").await.unwrap();
                let mut longer = seen.clone().unwrap_or_default();
                longer.push(task);
                if stores.compare_and_set(t, "default", "list", seen, longer).await.unwrap() {
                    break;
                }
                lost += 1;
            }
        }
        lost
    };
    let lost = tokio::join!(task(0), task(1), task(2), task(3), task(4), task(5), task(6), task(7));
    let list = stores.get(t, "default", "list").await.unwrap().unwrap();
    for task in 0..8 {
        assert_eq!(list.iter().filter(|entry| **entry == task).count(), 10, "{list:?}");
    }
    assert_ne!(lost, (0, 0, 0, 0, 0, 0, 0, 0), "nobody was disturbed, so nothing was tested");
}

async fn keys_are_listed_page_by_page(stores: &dyn KeyValues, t: &Tenant) {
    assert_eq!(stores.list_keys(t, "default", None).await, Ok(KeyPage::default()));
    let pairs: Vec<_> = ["b", "ключ-🕸", "a"].map(|key| (key.to_owned(), vec![7; 1000])).into();
    stores.set_many(t, "default", pairs).await.unwrap();
    let keys = vec!["a".to_owned(), "b".to_owned(), "ключ-🕸".to_owned()];
    assert_eq!(stores.list_keys(t, "default", None).await, Ok(KeyPage { keys, cursor: None }));
    assert_eq!(stores.list_keys(t, "other", None).await, Ok(KeyPage::default()));
    let cursor = Some("x".repeat(limits::KEY_VALUE_KEY_BYTES + 1));
    let refused = stores.list_keys(t, "default", cursor).await;
    assert!(matches!(&refused, Err(Error::Invalid(message)) if message.starts_with("cursor")), "{refused:?}");
}

async fn tenants_are_apart_in_batches_too(stores: &dyn KeyValues, a: &Tenant, b: &Tenant) {
    let keys = || vec!["k".to_owned(), "n".to_owned()];
    stores.set_many(a, "default", vec![("k".to_owned(), b"ours".to_vec())]).await.unwrap();
    assert_eq!(stores.increment(a, "default", "n", 1).await, Ok(1));
    assert_eq!(stores.get_many(b, "default", keys()).await, Ok(vec![None, None]));
    assert_eq!(stores.list_keys(b, "default", None).await, Ok(KeyPage::default()));
    assert_eq!(stores.increment(b, "default", "n", 5).await, Ok(5));
    assert_eq!(stores.compare_and_set(b, "default", "k", Some(b"ours".to_vec()), vec![]).await, Ok(false));
    assert_eq!(stores.compare_and_set(b, "default", "k", None, b"theirs".to_vec()).await, Ok(true));
    stores.delete_many(b, "default", keys()).await.unwrap();
    let ours = vec![Some(b"ours".to_vec()), Some(b"1".to_vec())];
    assert_eq!(stores.get_many(a, "default", keys()).await, Ok(ours));
}

async fn a_walk_gives_everything_once(stores: &dyn KeyValues, t: &Tenant, other: &Tenant) {
    let walked = async |t: &Tenant| {
        let pages: Vec<Vec<KeyValue>> = stores.walk(t).try_collect().await.unwrap();
        assert!(pages.iter().all(|page| !page.is_empty()));
        pages.concat()
    };
    assert_eq!(walked(t).await, []);
    let mut expected = BTreeMap::new();
    for at in 0..300_u32 {
        let (label, key) = (format!("store{}:x", at % 3), format!("ключ {at}"));
        // Large ones among small ones.
        let value = vec![at as u8; if at % 10 == 0 { 500_000 } else { 5 }];
        stores.set(t, &label, &key, value.clone()).await.unwrap();
        expected.insert((label, key), value);
    }
    stores.set(other, "default", "k", b"theirs".to_vec()).await.unwrap();
    let writing = AtomicBool::new(true);
    let write = async {
        let mut round = 0;
        while writing.load(Ordering::Relaxed) {
            stores.set(t, "store1:x", &format!("new{round}"), vec![1]).await.unwrap();
            round += 1;
        }
    };
    let read = async {
        let found = walked(t).await;
        writing.store(false, Ordering::Relaxed);
        found
    };
    let (found, ()) = tokio::join!(read, write);
    let mut seen = BTreeSet::new();
    for KeyValue { label, key, value } in found {
        assert!(seen.insert((label.clone(), key.clone())), "{label} {key} came twice");
        let is_expected = expected.remove(&(label, key.clone())).map(|expected| expected == value);
        assert!(is_expected.unwrap_or(key.starts_with("new")), "{key}");
    }
    assert!(expected.is_empty(), "{} are missing", expected.len());
}
