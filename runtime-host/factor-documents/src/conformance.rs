//! The suite that every backend of [`Documents`] must pass: each sentence of
//! `wit/capabilities/documents.wit` has a check here.
//!
//! A backend is made with [`handle_of`] as its handle function and a clock that
//! `advance` moves; every check works in tenants of its own.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test suite: a failed check is a panic"
)]

use std::collections::HashSet;

use funnelweb_core::{id, limits, time};
use futures::TryStreamExt as _;
use serde_json::{Value, json};

use crate::store::{Collection::*, *};

/// The handle function of the product, but for ids that begin with `clash-`,
/// which all have the same handle.
#[must_use]
pub fn handle_of(id: &str) -> u64 {
    if id.starts_with("clash-") { 7 } else { id::handle(id) }
}

/// A backend under test and its clock.
pub struct Suite<'a> {
    /// The backend.
    pub documents: &'a dyn Documents,
    /// Moves the backend's clock on by so many milliseconds.
    pub advance: &'a (dyn Fn(u64) + Sync),
    /// Begins the names of the tenants, so that a server can be used again.
    pub prefix: &'a str,
}

fn key(id: &str) -> Key {
    Key::new("feed", id)
}

fn new(id: &str, body: Value) -> NewDocument {
    NewDocument { key: key(id), body: body.to_string() }
}

fn item(id: &str, category: &str, tags: &[&str]) -> NewDocument {
    new(id, json!({"item_id": id, "metadata": {"category": category, "tags": tags}}))
}

fn body(document: &Document) -> Value {
    serde_json::from_str(&document.body).unwrap()
}

fn ids(page: &Page) -> Vec<&str> {
    page.documents.iter().map(|document| document.key.id.as_str()).collect()
}

fn term(field: &str, value: &str) -> Option<Term> {
    Some(Term { field: field.to_owned(), value: value.to_owned() })
}

fn is_invalid<T: std::fmt::Debug>(result: Result<T, Error>, name: &str) {
    match result {
        Err(Error::Invalid(message)) => assert!(message.contains(name), "{message} does not name {name}"),
        other => panic!("expected invalid({name}), got {other:?}"),
    }
}

fn is_invalid_write<T: std::fmt::Debug>(result: Result<T, WriteError>, name: &str) {
    match result {
        Err(WriteError::Store(error)) => is_invalid::<()>(Err(error), name),
        other => panic!("expected invalid({name}), got {other:?}"),
    }
}

impl Suite<'_> {
    /// Runs every check.
    pub async fn run(&self) {
        self.inserts_keep_order_and_tell_each_outcome().await;
        self.the_host_sets_times_and_status().await;
        self.an_item_may_say_when_it_was_created().await;
        self.versions_grow_and_preconditions_hold().await;
        self.a_version_is_never_given_again().await;
        self.patches_merge().await;
        self.a_collision_is_refused().await;
        self.limits_are_errors_that_name_the_argument().await;
        self.queries_filter_and_sort().await;
        self.cursors_are_stable_under_writes().await;
        self.newest_items_follow_writes().await;
        self.columns_are_as_the_contract_says().await;
        self.reads_see_every_write().await;
        self.users_and_scenarios_go_whole().await;
        self.tenants_are_apart().await;
        self.tenants_with_scenarios_are_known().await;
        self.concurrent_writers_lose_nothing().await;
        self.bodies_come_back_as_they_were().await;
        self.cursors_are_stable_beside_writers().await;
        self.one_of_many_inserts_of_a_key_wins().await;
        self.tenants_write_side_by_side().await;
        self.large_documents_are_whole().await;
        self.a_walk_gives_everything_once().await;
        self.what_was_walked_is_restored_as_it_was().await;
        self.what_cannot_be_restored_is_refused().await;
    }

    fn tenant(&self, name: &str) -> Tenant {
        Tenant::new(&format!("{}{name}", self.prefix)).unwrap()
    }

    async fn insert(&self, tenant: &Tenant, documents: Vec<NewDocument>) -> Vec<InsertOutcome> {
        self.documents.insert_many(tenant, Items, documents, false).await.unwrap()
    }

    async fn inserts_keep_order_and_tell_each_outcome(&self) {
        use InsertOutcome::{Created, Duplicate, Replaced};
        let t = &self.tenant("insert");
        assert_eq!(self.insert(t, vec![]).await, []);
        let first = vec![item("a", "x", &[]), item("b", "x", &[]), item("a", "y", &[])];
        assert_eq!(self.insert(t, first).await, [Created, Created, Duplicate]);
        assert_eq!(self.insert(t, vec![item("b", "z", &[]), item("c", "z", &[])]).await, [Duplicate, Created]);
        let again = vec![item("c", "w", &[]), item("d", "w", &[]), item("d", "v", &[])];
        let outcomes = self.documents.insert_many(t, Items, again, true).await.unwrap();
        assert_eq!(outcomes, [Replaced, Created, Duplicate]);
        let keys = ["c", "nobody", "a", "c", "d"].map(key).to_vec();
        let found = self.documents.get_many(t, Items, keys).await.unwrap();
        let category = |at: usize| {
            found[at].as_ref().map(|found| body(found)["metadata"]["category"].as_str().unwrap().to_owned())
        };
        let categories: Vec<_> = (0..5).map(category).collect();
        assert_eq!(categories, [Some("w"), None, Some("x"), Some("w"), Some("w")].map(|name| name.map(str::to_owned)));
        assert_eq!(found[0].as_ref().unwrap().version, 2);
        // The same key in another collection is another document.
        assert_eq!(self.documents.get(t, Experiments, key("a")).await.unwrap(), None);
    }

    async fn the_host_sets_times_and_status(&self) {
        let t = &self.tenant("times");
        let own = json!({"item_id": "a", "created_at": "tomorrow", "updated_at": 3});
        self.insert(t, vec![new("a", own), new("b", json!({"status": "inactive", "n": 1}))]).await;
        let first = body(&self.documents.get(t, Items, key("a")).await.unwrap().unwrap());
        let created = time::parse_ms(first["created_at"].as_str().unwrap()).unwrap();
        assert_eq!(first["updated_at"], first["created_at"]);
        assert_eq!(first["status"], "active");
        let other = body(&self.documents.get(t, Items, key("b")).await.unwrap().unwrap());
        assert_eq!(other["status"], "inactive");
        (self.advance)(1500);
        self.documents.replace(t, Items, key("a"), "{}".to_owned(), Precondition::None).await.unwrap();
        let second = body(&self.documents.get(t, Items, key("a")).await.unwrap().unwrap());
        assert_eq!(second["created_at"], first["created_at"]);
        assert!(time::parse_ms(second["updated_at"].as_str().unwrap()).unwrap() >= created + 1500);
    }

    async fn an_item_may_say_when_it_was_created(&self) {
        let t = &self.tenant("created");
        self.insert(t, vec![item("now", "x", &[])]).await;
        let old = |at: Value| json!({"created_at": at, "metadata": {"category": "x"}});
        self.insert(
            t,
            vec![new("text", old(json!("2001-01-01T02:00:00+02:00"))), new("number", old(json!(978_307_201)))],
        )
        .await;
        let created = async |id: &str| {
            let found = self.documents.get(t, Items, key(id)).await.unwrap().unwrap();
            body(&found)["created_at"].as_str().unwrap().to_owned()
        };
        assert_eq!(created("text").await, "2001-01-01T00:00:00.000Z");
        assert_eq!(created("number").await, "2001-01-01T00:00:01.000Z");
        let order = async || {
            let lists = vec![(term("category", "x"), 9)];
            let newest = self.documents.newest_items(t, "feed".to_owned(), lists).await.unwrap().remove(0);
            let query = Query { scenario_id: Some("feed".to_owned()), limit: 9, ..Query::default() };
            let page = self.documents.query(t, Items, query).await.unwrap();
            assert_eq!(ids(&page).into_iter().map(id::handle).collect::<Vec<_>>(), newest);
            newest
        };
        assert_eq!(order().await, ["now", "number", "text"].map(id::handle));
        let replace = async |id: &str, value: Value| {
            self.documents.replace(t, Items, key(id), value.to_string(), Precondition::None).await.unwrap()
        };
        replace("number", json!({"metadata": {"category": "x"}})).await;
        assert_eq!(created("number").await, "2001-01-01T00:00:01.000Z");
        replace("text", old(json!("2001-01-02"))).await;
        assert_eq!(order().await, ["now", "text", "number"].map(id::handle));
        self.documents.delete(t, Items, key("text"), Precondition::None).await.unwrap();
        assert_eq!(order().await, ["now", "number"].map(id::handle));
    }

    async fn a_version_is_never_given_again(&self) {
        let t = &self.tenant("again");
        for collection in [Items, UserProfiles] {
            let put = async || {
                self.documents.replace(t, collection, key("u"), "{}".to_owned(), Precondition::None).await.unwrap()
            };
            let mut last = put().await.max(put().await);
            for _ in 0..2 {
                assert!(self.documents.delete(t, collection, key("u"), Precondition::Version(last)).await.unwrap());
                let next = put().await;
                assert!(next > last, "{next} after {last}");
                last = next;
            }
            self.documents.delete_scenario(t, "feed".to_owned()).await.unwrap();
            assert!(put().await > last);
        }
    }

    async fn versions_grow_and_preconditions_hold(&self) {
        use Precondition::{Absent, Exists, None as Always, Version};
        let t = &self.tenant("versions");
        let put = async |when| self.documents.replace(t, UserProfiles, key("u"), "{}".to_owned(), when).await;
        let delete = async |when| self.documents.delete(t, UserProfiles, key("u"), when).await;
        assert_eq!(put(Exists).await, Err(WriteError::Conflict(0)));
        assert_eq!(put(Version(1)).await, Err(WriteError::Conflict(0)));
        assert_eq!(put(Version(0)).await, Err(WriteError::Conflict(0)));
        assert_eq!(put(Absent).await, Ok(1));
        assert_eq!(put(Absent).await, Err(WriteError::Conflict(1)));
        assert_eq!(put(Version(1)).await, Ok(2));
        assert_eq!(put(Version(1)).await, Err(WriteError::Conflict(2)));
        assert_eq!(put(Exists).await, Ok(3));
        assert_eq!(put(Always).await, Ok(4));
        assert_eq!(self.documents.get(t, UserProfiles, key("u")).await.unwrap().unwrap().version, 4);
        assert_eq!(delete(Version(3)).await, Err(WriteError::Conflict(4)));
        assert_eq!(delete(Absent).await, Err(WriteError::Conflict(4)));
        assert_eq!(delete(Version(4)).await, Ok(true));
        assert_eq!(delete(Always).await, Ok(false));
        assert_eq!(delete(Exists).await, Err(WriteError::Conflict(0)));
        assert_eq!(self.documents.get(t, UserProfiles, key("u")).await.unwrap(), None);
    }

    async fn patches_merge(&self) {
        let t = &self.tenant("patch");
        let patch =
            async |id: &str, patch: Value, when| self.documents.patch(t, Items, key(id), patch.to_string(), when).await;
        assert_eq!(patch("a", json!({}), Precondition::None).await, Err(WriteError::Conflict(0)));
        self.insert(t, vec![new("a", json!({"metadata": {"category": "x", "title": "t", "ünï": "🕷"}}))]).await;
        let change = json!({"metadata": {"category": "y", "title": null}, "created_at": null, "status": null});
        let patched = patch("a", change, Precondition::Version(1)).await.unwrap();
        assert_eq!(patched.version, 2);
        assert_eq!(body(&patched)["metadata"], json!({"category": "y", "ünï": "🕷"}));
        assert_eq!(body(&patched)["status"], "active");
        assert!(body(&patched)["created_at"].is_string());
        assert_eq!(self.documents.get(t, Items, key("a")).await.unwrap(), Some(patched));
        assert_eq!(patch("a", json!({}), Precondition::Version(1)).await, Err(WriteError::Conflict(2)));
        assert_eq!(patch("a", json!({}), Precondition::Absent).await, Err(WriteError::Conflict(2)));
        is_invalid_write(patch("a", json!([]), Precondition::None).await, "merge-patch");
    }

    async fn a_collision_is_refused(&self) {
        use InsertOutcome::{Collision, Created};
        let t = &self.tenant("collision");
        let documents = vec![item("clash-a", "x", &[]), item("clash-b", "x", &[]), item("c", "x", &[])];
        assert_eq!(self.insert(t, documents).await, [Created, Collision, Created]);
        let put = self.documents.replace(t, Items, key("clash-b"), "{}".to_owned(), Precondition::None).await;
        assert_eq!(put, Err(WriteError::Collision));
        assert_eq!(self.documents.get(t, Items, key("clash-b")).await.unwrap(), None);
        assert_eq!(self.documents.delete(t, Items, key("clash-b"), Precondition::None).await, Ok(false));
        let ids = self.documents.item_ids(t, "feed".to_owned(), vec![7, 8]).await.unwrap();
        assert_eq!(ids, [Some("clash-a".to_owned()), None]);
        // Another scenario is another key.
        let elsewhere = NewDocument { key: Key::new("other", "clash-b"), body: "{}".to_owned() };
        assert_eq!(self.insert(t, vec![elsewhere]).await, [Created]);
    }

    async fn limits_are_errors_that_name_the_argument(&self) {
        let t = &self.tenant("limits");
        let docs = self.documents;
        let insert =
            async |body: String| docs.insert_many(t, Items, vec![NewDocument { key: key("a"), body }], true).await;
        // At the limit, of characters that are three bytes long.
        let filler = limits::DOCUMENT_BYTES - r#"{"t":""}"#.len();
        let full = format!(r#"{{"t":"{}{}"}}"#, "蜘".repeat(filler / 3), "x".repeat(filler % 3));
        assert_eq!(full.len(), limits::DOCUMENT_BYTES);
        assert_eq!(insert(full.clone()).await.unwrap(), [InsertOutcome::Created]);
        let stored = docs.get(t, Items, key("a")).await.unwrap().unwrap();
        assert_eq!(body(&stored)["t"], serde_json::from_str::<Value>(&full).unwrap()["t"]);
        is_invalid(insert(format!("{full} ")).await, "documents[0].body");
        is_invalid(insert("[]".to_owned()).await, "documents[0].body");
        is_invalid(insert("{".to_owned()).await, "documents[0].body");
        let nested = |depth: usize| format!("{}1{}", r#"{"a":"#.repeat(depth), "}".repeat(depth));
        insert(nested(limits::DOCUMENT_DEPTH)).await.unwrap();
        is_invalid(insert(nested(limits::DOCUMENT_DEPTH + 1)).await, "documents[0].body");
        let category = |length: usize| json!({"metadata": {"category": "c".repeat(length)}}).to_string();
        insert(category(limits::TERM_BYTES)).await.unwrap();
        is_invalid(insert(category(limits::TERM_BYTES + 1)).await, "category");
        let tags = |count: usize| json!({"metadata": {"tags": vec!["t"; count]}}).to_string();
        insert(tags(limits::ITEM_TAGS)).await.unwrap();
        is_invalid(insert(tags(limits::ITEM_TAGS + 1)).await, "tags");
        let embedding = |values: usize| json!({"embedding": vec![0; values]}).to_string();
        insert(embedding(limits::EMBEDDING_VALUES)).await.unwrap();
        is_invalid(insert(embedding(limits::EMBEDDING_VALUES + 1)).await, "embedding");
        is_invalid(docs.get(t, Items, key("a/b")).await, "keys[0].id");
        is_invalid(docs.get(t, Scenarios, Key::new("a", "b")).await, "scenario");
        assert_eq!(docs.get_many(t, Items, vec![key("a"); limits::GET_KEYS]).await.unwrap().len(), limits::GET_KEYS);
        is_invalid(docs.get_many(t, Items, vec![key("a"); limits::GET_KEYS + 1]).await, "keys");
        let many = |count: usize| (0..count).map(|at| new(&at.to_string(), json!({}))).collect();
        let outcomes = docs.insert_many(t, Items, many(limits::INSERT_DOCUMENTS), false).await.unwrap();
        assert_eq!(outcomes, vec![InsertOutcome::Created; limits::INSERT_DOCUMENTS]);
        is_invalid(docs.insert_many(t, Items, many(limits::INSERT_DOCUMENTS + 1), false).await, "documents");
        let page = docs.query(t, Items, Query { limit: limits::PAGE_DOCUMENTS, ..Query::default() }).await.unwrap();
        assert_eq!(page.documents.len(), limits::PAGE_DOCUMENTS as usize);
        for limit in [0, limits::PAGE_DOCUMENTS + 1] {
            is_invalid(docs.query(t, Items, Query { limit, ..Query::default() }).await, "limit");
        }
        let cursor = Some("n00".to_owned());
        is_invalid(docs.query(t, Items, Query { limit: 1, cursor, ..Query::default() }).await, "cursor");
        let tag = Some("t".to_owned());
        is_invalid(docs.query(t, Experiments, Query { limit: 1, tag, ..Query::default() }).await, "tag");
        docs.item_ids(t, "feed".to_owned(), vec![0; limits::CANDIDATES]).await.unwrap();
        is_invalid(docs.item_ids(t, "feed".to_owned(), vec![0; limits::CANDIDATES + 1]).await, "handles");
        is_invalid(docs.newest_items(t, "feed".to_owned(), vec![(term("title", "x"), 1)]).await, "lists");
        let columns = vec![ColumnSpec { name: "v".to_owned(), kind: ColumnKind::Embedding }];
        is_invalid(docs.item_columns(t, "feed".to_owned(), vec![], columns, 0).await, "columns");
        // A server without indexes would read them in every later check.
        assert_eq!(docs.delete_scenario(t, "feed".to_owned()).await, Ok(limits::INSERT_DOCUMENTS as u64 + 1));
    }

    /// Items `i0` to `i9`, a second apart; even ones `even`, every third tagged.
    async fn ten(&self, t: &Tenant) -> Vec<u64> {
        let mut created = Vec::new();
        for at in 0..10 {
            let category = if at % 2 == 0 { "even" } else { "odd" };
            let tags: &[&str] = if at % 3 == 0 { &["third", "näive"] } else { &[] };
            self.insert(t, vec![item(&format!("i{at}"), category, tags)]).await;
            let stored = self.documents.get(t, Items, key(&format!("i{at}"))).await.unwrap().unwrap();
            created.push(time::parse_ms(body(&stored)["created_at"].as_str().unwrap()).unwrap());
            (self.advance)(1000);
        }
        created
    }

    async fn queries_filter_and_sort(&self) {
        let t = &self.tenant("query");
        let created = self.ten(t).await;
        let off = json!({"status": "inactive"}).to_string();
        self.documents.patch(t, Items, key("i6"), off, Precondition::None).await.unwrap();
        let elsewhere = NewDocument { key: Key::new("other", "o"), body: item("o", "even", &["third"]).body };
        self.insert(t, vec![elsewhere]).await;
        let all = || Query { scenario_id: Some("feed".to_owned()), limit: 100, ..Query::default() };
        let text = |text: &str| Some(text.to_owned());
        let check = async |query: Query, expected: &[&str]| {
            let page = self.documents.query(t, Items, query.clone()).await.unwrap();
            assert_eq!(ids(&page), expected, "{query:?}");
            assert_eq!(page.next, None);
            let reversed = Query { sort: Sort::Oldest, ..query };
            let page = self.documents.query(t, Items, reversed.clone()).await.unwrap();
            assert_eq!(ids(&page), expected.iter().rev().copied().collect::<Vec<_>>(), "{reversed:?}");
        };
        check(all(), &["i9", "i8", "i7", "i6", "i5", "i4", "i3", "i2", "i1", "i0"]).await;
        check(Query { category: text("even"), ..all() }, &["i8", "i6", "i4", "i2", "i0"]).await;
        check(Query { category: text("even"), status: text("active"), ..all() }, &["i8", "i4", "i2", "i0"]).await;
        check(Query { category: text("even"), status: text("inactive"), ..all() }, &["i6"]).await;
        check(Query { tag: text("näive"), ..all() }, &["i9", "i6", "i3", "i0"]).await;
        check(Query { tag: text("third"), category: text("even"), ..all() }, &["i6", "i0"]).await;
        check(Query { status: text("inactive"), ..all() }, &["i6"]).await;
        check(Query { status: text("gone"), ..all() }, &[]).await;
        let span = Range { from_ms: Some(created[2]), to_ms: Some(created[5]) };
        check(Query { created: span, ..all() }, &["i4", "i3", "i2"]).await;
        check(Query { created: span, category: text("even"), ..all() }, &["i4", "i2"]).await;
        let everywhere = Query { scenario_id: None, ..all() };
        check(Query { category: text("even"), tag: text("third"), ..everywhere.clone() }, &["o", "i6", "i0"]).await;
        check(Query { scenario_id: text("other"), ..everywhere }, &["o"]).await;
    }

    async fn cursors_are_stable_under_writes(&self) {
        let t = &self.tenant("cursor");
        // All at one time: the handle decides.
        self.insert(t, (0..50).map(|at| item(&format!("same{at}"), "x", &["g"])).collect()).await;
        (self.advance)(1000);
        self.ten(t).await;
        for (category, sort) in [(None, Sort::Newest), (Some("x"), Sort::Newest), (None, Sort::Oldest)] {
            let mut query = Query {
                scenario_id: Some("feed".to_owned()),
                category: category.map(str::to_owned),
                status: Some("active".to_owned()),
                sort,
                limit: 7,
                ..Query::default()
            };
            let mut seen = HashSet::new();
            let mut pages = 0;
            loop {
                let page = self.documents.query(t, Items, query.clone()).await.unwrap();
                assert!(page.next.is_none() || page.documents.len() == 7);
                for id in ids(&page) {
                    assert!(seen.insert(id.to_owned()), "{id} came twice");
                }
                // Between pages: a new item, a changed one, and one that was seen goes.
                let new = format!("new{pages}{sort:?}{}", category.unwrap_or("all"));
                self.insert(t, vec![item(&new, "later", &[])]).await;
                let seen_already = page.documents[0].key.clone();
                let touch = json!({"touched": pages}).to_string();
                self.documents.patch(t, Items, seen_already, touch, Precondition::None).await.unwrap();
                if pages < 2 && category.is_none() && sort == Sort::Newest {
                    let gone = page.documents[1].key.clone();
                    self.documents.delete(t, Items, gone.clone(), Precondition::None).await.unwrap();
                    seen.remove(&gone.id);
                }
                pages += 1;
                assert!(pages < 100);
                match page.next {
                    Some(next) => query.cursor = Some(next),
                    None => break,
                }
            }
            let before = seen.iter().filter(|id| !id.starts_with("new")).count();
            let expected = if category.is_some() { 50 } else { 60 };
            // Two were deleted from the newest end, where the ten stand.
            assert_eq!(before, if category.is_some() { expected } else { expected - 2 }, "{category:?} {sort:?}");
        }
    }

    async fn newest_items_follow_writes(&self) {
        let t = &self.tenant("newest");
        self.ten(t).await;
        let newest = async |term: Option<Term>, limit: u32| {
            let mut lists = self.documents.newest_items(t, "feed".to_owned(), vec![(term, limit)]).await.unwrap();
            assert_eq!(lists.len(), 1);
            lists.remove(0)
        };
        let handles = |ids: &[&str]| ids.iter().map(|id| id::handle(id)).collect::<Vec<_>>();
        let lists = vec![(None, 3), (term("category", "even"), 2), (term("tags", "third"), 10), (term("tags", "x"), 5)];
        let answer = self.documents.newest_items(t, "feed".to_owned(), lists).await.unwrap();
        let expected: [&[&str]; 4] = [&["i9", "i8", "i7"], &["i8", "i6"], &["i9", "i6", "i3", "i0"], &[]];
        assert_eq!(answer, expected.map(handles));
        let patch = async |id: &str, patch: Value| {
            self.documents.patch(t, Items, key(id), patch.to_string(), Precondition::None).await.unwrap();
        };
        patch("i8", json!({"status": "inactive"})).await;
        assert_eq!(newest(term("category", "even"), 2).await, handles(&["i6", "i4"]));
        assert_eq!(newest(None, 2).await, handles(&["i9", "i7"]));
        patch("i8", json!({"status": "active", "metadata": {"category": "odd"}})).await;
        assert_eq!(newest(term("category", "odd"), 2).await, handles(&["i9", "i8"]));
        assert_eq!(newest(term("category", "even"), 2).await, handles(&["i6", "i4"]));
        self.documents.delete(t, Items, key("i9"), Precondition::None).await.unwrap();
        assert_eq!(newest(None, 2).await, handles(&["i8", "i7"]));
        self.insert(t, vec![item("fresh", "odd", &[])]).await;
        assert_eq!(newest(term("category", "odd"), 2).await, handles(&["fresh", "i8"]));
        let elsewhere = self.documents.newest_items(t, "other".to_owned(), vec![(None, 5)]).await.unwrap();
        assert_eq!(elsewhere, [Vec::<u64>::new()]);
    }

    async fn columns_are_as_the_contract_says(&self) {
        let t = &self.tenant("columns");
        let full = json!({
            "metadata": {
                "duration": 120, "category": "fun", "tags": ["a", "b"], "author": {"name": "Ann"},
                "a.b": 5, "published": "2020-01-01T00:00:00Z"
            },
            "embedding": [0.5, -1]
        });
        let documents = vec![
            new("bare", json!({})),
            new("full", full),
            new("off", json!({"status": "inactive", "embedding": [1, 2, 3]})),
            new("wide", json!({"metadata": {"duration": "long", "tags": "a"}, "embedding": [1, 2, 3]})),
        ];
        self.insert(t, documents).await;
        let stored = self.documents.get(t, Items, key("full")).await.unwrap().unwrap();
        let created = time::parse_ms(body(&stored)["created_at"].as_str().unwrap()).unwrap();
        use ColumnKind::{Categorical, Embedding, MultiCategorical, Numeric, Timestamp};
        let columns = [
            ("duration", Numeric),
            ("category", Categorical),
            ("tags", MultiCategorical),
            ("created_at", Timestamp),
            ("a.b", Numeric),
            ("author.name", Categorical),
            ("embedding", Embedding),
            ("published", Timestamp),
        ];
        let columns = columns.map(|(name, kind)| ColumnSpec { name: name.to_owned(), kind }).to_vec();
        let handles: Vec<u64> = ["off", "full", "nobody", "wide", "bare"].map(id::handle).to_vec();
        let ask = async |handles: Vec<u64>| {
            let (columns, now_ms) = (columns.clone(), created + 3_600_000);
            self.documents.item_columns(t, "feed".to_owned(), handles, columns, now_ms).await.unwrap()
        };
        for round in 0..2 {
            let ItemColumns { found, table } = ask(handles.clone()).await;
            assert_eq!(found, [1, 3, 4], "round {round}");
            assert_eq!(table.rows, 3);
            assert_eq!(table.numeric_names, ["duration", "created_at", "a.b", "published"]);
            assert_eq!(table.categorical_names, ["category", "author.name"]);
            assert_eq!(table.multi_names, ["tags"]);
            let published = (created as f64 + 3.6e6 - 1_577_836_800_000.0) / 3.6e6;
            assert_eq!(table.numeric[..4], [120.0, 1.0, 5.0, published as f32]);
            assert!(table.numeric[4].is_nan() && table.numeric[5] == 1.0 && table.numeric[7].is_nan());
            let (fun, ann) = (id::value_hash("fun"), id::value_hash("Ann"));
            assert_eq!(table.categorical, [fun, ann, 0, 0, 0, 0]);
            assert_eq!(table.multi_offsets, [0, 2, 3, 3]);
            assert_eq!(table.multi_values, ["a", "b", "a"].map(id::value_hash));
            assert_eq!(table.embedding_dim, 2);
            assert_eq!(table.embeddings[..2], [0.5, -1.0]);
            assert!(table.embeddings[2..].iter().all(|value| value.is_nan()) && table.embeddings.len() == 6);
        }
        let nothing = ask(vec![]).await;
        assert_eq!((nothing.table.rows, nothing.table.multi_offsets), (0, vec![0]));
        let none = self.documents.item_columns(t, "feed".to_owned(), handles, vec![], 0).await.unwrap();
        assert_eq!((none.table.rows, none.table.multi_offsets.len()), (3, 0));
        let ids = self.documents.item_ids(t, "feed".to_owned(), vec![id::handle("off"), 1]).await.unwrap();
        assert_eq!(ids, [Some("off".to_owned()), None]);
    }

    async fn reads_see_every_write(&self) {
        let t = &self.tenant("fresh");
        let columns = || vec![ColumnSpec { name: "n".to_owned(), kind: ColumnKind::Numeric }];
        let handle = id::handle("a");
        let read = async || {
            let answer = self.documents.item_columns(t, "feed".to_owned(), vec![handle], columns(), 0).await.unwrap();
            answer.table.numeric.first().copied()
        };
        assert_eq!(read().await, None);
        for n in 0..20 {
            let body = json!({"metadata": {"n": n}}).to_string();
            self.documents.replace(t, Items, key("a"), body, Precondition::None).await.unwrap();
            assert_eq!(read().await, Some(n as f32));
        }
        self.documents.delete(t, Items, key("a"), Precondition::None).await.unwrap();
        assert_eq!(read().await, None);
        assert_eq!(self.documents.item_ids(t, "feed".to_owned(), vec![handle]).await.unwrap(), [None]);
    }

    async fn users_and_scenarios_go_whole(&self) {
        let t = &self.tenant("purge");
        self.ten(t).await;
        let put = async |collection, key: Key| {
            self.documents.replace(t, collection, key, "{}".to_owned(), Precondition::None).await.unwrap();
        };
        put(Scenarios, Key::new("feed", "feed")).await;
        for scenario in ["feed", "other"] {
            put(UserProfiles, Key::new(scenario, "ann")).await;
            put(UserProfiles, Key::new(scenario, "bob")).await;
        }
        let exists = async |collection, key: Key| self.documents.get(t, collection, key).await.unwrap().is_some();
        assert!(exists(UserProfiles, Key::new("other", "ann")).await);
        assert_eq!(self.documents.delete_user(t, "ann".to_owned()).await.unwrap(), 2);
        assert!(!exists(UserProfiles, Key::new("other", "ann")).await);
        assert!(exists(UserProfiles, Key::new("other", "bob")).await);
        assert!(exists(Scenarios, Key::new("feed", "feed")).await);
        assert_eq!(self.documents.delete_scenario(t, "feed".to_owned()).await.unwrap(), 12);
        assert!(!exists(Scenarios, Key::new("feed", "feed")).await);
        assert!(!exists(Items, key("i1")).await);
        assert!(exists(UserProfiles, Key::new("other", "bob")).await);
        let newest = self.documents.newest_items(t, "feed".to_owned(), vec![(None, 5)]).await.unwrap();
        assert_eq!(newest, [Vec::<u64>::new()]);
        assert_eq!(self.documents.item_ids(t, "feed".to_owned(), vec![id::handle("i1")]).await.unwrap(), [None]);
        assert_eq!(self.documents.delete_user(t, "ann".to_owned()).await.unwrap(), 0);
    }

    async fn tenants_are_apart(&self) {
        let (a, b) = (&self.tenant("apart-a"), &self.tenant("apart-b"));
        self.insert(a, vec![item("x", "ours", &[])]).await;
        assert_eq!(self.documents.get(b, Items, key("x")).await.unwrap(), None);
        self.insert(b, vec![item("x", "theirs", &[])]).await;
        let document = self.documents.get(a, Items, key("x")).await.unwrap().unwrap();
        assert_eq!(body(&document)["metadata"]["category"], "ours");
        assert_eq!(self.documents.delete_scenario(b, "feed".to_owned()).await.unwrap(), 1);
        assert!(self.documents.get(a, Items, key("x")).await.unwrap().is_some());
        let lists = self.documents.newest_items(a, "feed".to_owned(), vec![(None, 5)]).await.unwrap();
        assert_eq!(lists, [[id::handle("x")]]);
    }

    async fn concurrent_writers_lose_nothing(&self) {
        const EACH: u64 = 25;
        let t = &self.tenant("race");
        let count = |document: &Document| body(document)["n"].as_u64().unwrap();
        let body_of = |n: u64| json!({"n": n}).to_string();
        self.documents.replace(t, Experiments, key("n"), body_of(0), Precondition::None).await.unwrap();
        let increment = async || {
            for _ in 0..EACH {
                loop {
                    let found = self.documents.get(t, Experiments, key("n")).await.unwrap().unwrap();
                    let when = Precondition::Version(found.version);
                    let n = body_of(count(&found) + 1);
                    match self.documents.replace(t, Experiments, key("n"), n, when).await {
                        Ok(_) => break,
                        Err(WriteError::Conflict(_)) => tokio::task::yield_now().await,
                        Err(other) => panic!("{other}"),
                    }
                }
            }
        };
        let eight = || (increment(), increment(), increment(), increment());
        let ((a, b, c, d), (e, f, g, h)) = (eight(), eight());
        tokio::join!(a, b, c, d, e, f, g, h);
        let last = self.documents.get(t, Experiments, key("n")).await.unwrap().unwrap();
        assert_eq!((count(&last), last.version), (8 * EACH, 8 * EACH + 1));
    }

    async fn bodies_come_back_as_they_were(&self) {
        let t = &self.tenant("bodies");
        let odd = json!({
            "numbers": [0, -1, i32::MAX, i64::MIN, i64::MAX, u64::MAX, 1.0, 0.1, -2.5e-7, 1.797e308, 5e-324],
            "$set": {"$inc": {"a.b": 1}, "a.b.c": 2, ".": 3, "$": 4, "": 5, "a$": 6},
            "_id": {"$oid": "x"}, "tenant_id": "another", "scenario_id": 7, "_fw": {"version": -1}, "__proto__": null,
            "％u64": "5", "％24": "6", "empty": [{}, [], "", null], "nested": [[1, [2.5, ["x"]]], []],
            "unicode": {"ünï": "🕷", "城市": "北京", "عربى": "\u{202e}", "nul": "a\u{0}b", "\u{1f}\"\\": "\n\t"},
            "dates": ["2026-01-01", "2026-01-01T00:00:00Z"], "start_time": "2026-01-01", "end_time": 1_767_225_600,
        });
        for collection in [Items, UserProfiles, ModelConfigs, Experiments] {
            let put = async |body: &Value, when| {
                self.documents.replace(t, collection, key("odd"), body.to_string(), when).await.unwrap();
            };
            put(&odd, Precondition::Absent).await;
            for round in 0..2 {
                let found = self.documents.get(t, collection, key("odd")).await.unwrap().unwrap();
                let query = Query { limit: 2, ..Query::default() };
                let page = self.documents.query(t, collection, query).await.unwrap();
                // One may be from memory; to the letter, so that 1.0 stays 1.0.
                for found in [&found, &page.documents[0]] {
                    let mut body = body(found);
                    for own in ["created_at", "updated_at", "status"] {
                        body.as_object_mut().unwrap().remove(own);
                    }
                    let mut expected = odd.clone();
                    if round == 1 {
                        expected["patched"] = json!({"x.y": [[u64::MAX]]});
                    }
                    assert_eq!(body.to_string(), expected.to_string(), "{collection:?}");
                    assert_eq!(found.key, key("odd"));
                }
                let patch = json!({"patched": {"x.y": [[u64::MAX]]}}).to_string();
                self.documents.patch(t, collection, key("odd"), patch, Precondition::Exists).await.unwrap();
            }
        }
        // Keys of every character that an id may have.
        let name = format!("{}._:-", "Az09".repeat(31));
        let odd = Key::new(name.clone(), name);
        let put = self.documents.replace(t, Items, odd.clone(), "{}".to_owned(), Precondition::None).await;
        assert_eq!(put, Ok(self.documents.get(t, Items, odd).await.unwrap().unwrap().version));
    }

    async fn large_documents_are_whole(&self) {
        let t = &self.tenant("large");
        // As much as there may be of what takes the most room elsewhere.
        let list = |one: &str, used: usize| vec![one; (limits::DOCUMENT_BYTES - used) / (one.len() + 1)].join(",");
        let texts = [
            format!(r#"{{"a":[{}]}}"#, list("0", 8)),
            format!(r#"{{"a":[{}]}}"#, list("[]", 8)),
            format!(r#"{{"a":"{}"}}"#, "🕷".repeat((limits::DOCUMENT_BYTES - 8) / 4)),
            json!({"metadata": {"a.b": "x".repeat(limits::DOCUMENT_BYTES - 60)}, "status": "active"}).to_string(),
        ];
        let keys: Vec<Key> = (0..texts.len()).map(|at| key(&at.to_string())).collect();
        let documents = keys.iter().zip(&texts).map(|(key, body)| NewDocument { key: key.clone(), body: body.clone() });
        let outcomes = self.documents.insert_many(t, Items, documents.collect(), false).await.unwrap();
        assert_eq!(outcomes, [InsertOutcome::Created; 4]);
        let page = self.documents.query(t, Items, Query { limit: 10, ..Query::default() }).await.unwrap();
        assert_eq!(page.documents.len(), texts.len());
        for (found, text) in self.documents.get_many(t, Items, keys).await.unwrap().iter().zip(&texts) {
            let (found, expected) = (body(found.as_ref().unwrap()), serde_json::from_str::<Value>(text).unwrap());
            for (name, value) in expected.as_object().unwrap() {
                assert!(found[name] == *value, "{name} of {}…", &text[..20]);
            }
        }
        // What is slow for its size is not in the way of the rest.
        assert_eq!(self.documents.delete_scenario(t, "feed".to_owned()).await.unwrap(), 4);
        // Many at once: more than one command of most servers.
        let many = |from: usize| {
            let of = move |at: usize| new(&format!("m{}", from + at), json!({"t": "x".repeat(50_000), "from": from}));
            (0..100).map(of).collect::<Vec<_>>()
        };
        let outcomes = self.documents.insert_many(t, Items, many(0), true).await.unwrap();
        assert!(outcomes.iter().all(|outcome| *outcome == InsertOutcome::Created));
        let outcomes = self.documents.insert_many(t, Items, many(50), true).await.unwrap();
        let replaced = outcomes.iter().take_while(|outcome| **outcome == InsertOutcome::Replaced).count();
        assert_eq!(replaced, 50);
        let keys = (0..150).map(|at| key(&format!("m{at}"))).collect();
        let found = self.documents.get_many(t, Items, keys).await.unwrap();
        for (at, found) in found.iter().enumerate() {
            assert_eq!(body(found.as_ref().unwrap())["from"], if at < 50 { 0 } else { 50 }, "m{at}");
        }
        self.documents.delete_scenario(t, "feed".to_owned()).await.unwrap();
    }

    async fn cursors_are_stable_beside_writers(&self) {
        let t = &self.tenant("beside");
        self.insert(t, (0..120).map(|at| item(&format!("there{at}"), "x", &[])).collect()).await;
        let writing = std::sync::atomic::AtomicBool::new(true);
        let is_writing = || writing.load(std::sync::atomic::Ordering::Relaxed);
        let write = async |writer: usize| {
            let mut round = 0;
            while is_writing() {
                let new = item(&format!("new{writer}-{round}"), "x", &[]);
                self.insert(t, vec![new]).await;
                let touched = key(&format!("there{}", (round * 7 + writer) % 120));
                let patch = json!({"touched": round}).to_string();
                self.documents.patch(t, Items, touched, patch, Precondition::None).await.unwrap();
                let gone = key(&format!("new{writer}-{}", round / 2));
                self.documents.delete(t, Items, gone, Precondition::None).await.unwrap();
                round += 1;
            }
        };
        let read = async {
            for sort in [Sort::Newest, Sort::Oldest] {
                let (scenario_id, category) = (Some("feed".to_owned()), Some("x".to_owned()));
                let mut query = Query { scenario_id, category, sort, limit: 11, ..Query::default() };
                let mut seen = HashSet::new();
                loop {
                    let page = self.documents.query(t, Items, query.clone()).await.unwrap();
                    for id in ids(&page) {
                        assert!(seen.insert(id.to_owned()), "{id} came twice");
                    }
                    match page.next {
                        Some(next) if seen.len() < 5000 => query.cursor = Some(next),
                        _ => break,
                    }
                }
                let there = seen.iter().filter(|id| id.starts_with("there")).count();
                assert_eq!(there, 120, "{sort:?}");
            }
            writing.store(false, std::sync::atomic::Ordering::Relaxed);
        };
        tokio::join!(write(0), write(1), read);
        self.documents.delete_scenario(t, "feed".to_owned()).await.unwrap();
    }

    async fn one_of_many_inserts_of_a_key_wins(&self) {
        use InsertOutcome::{Created, Duplicate};
        let t = &self.tenant("wins");
        for round in 0..5 {
            let insert = async |writer: u32| {
                let documents = (0..10).map(|at| new(&format!("k{round}-{at}"), json!({"writer": writer}))).collect();
                self.insert(t, documents).await
            };
            let put = async |writer: u32| {
                let body = json!({"writer": writer}).to_string();
                let key = key(&format!("p{round}"));
                self.documents.replace(t, ModelConfigs, key, body, Precondition::Absent).await
            };
            let (a, b, c, d) = tokio::join!(insert(0), insert(1), insert(2), insert(3));
            for (at, outcomes) in (0..10).map(|at| (at, [a[at], b[at], c[at], d[at]])) {
                let won: Vec<usize> = (0..4).filter(|writer| outcomes[*writer] == Created).collect();
                assert_eq!(won.len(), 1, "{outcomes:?}");
                assert_eq!(outcomes.iter().filter(|outcome| **outcome == Duplicate).count(), 3);
                let found = self.documents.get(t, Items, key(&format!("k{round}-{at}"))).await.unwrap().unwrap();
                assert_eq!(body(&found)["writer"], won[0]);
            }
            let (a, b, c, d) = tokio::join!(put(0), put(1), put(2), put(3));
            let all = [a, b, c, d];
            let won: Vec<usize> = (0..4).filter(|writer| all[*writer].is_ok()).collect();
            assert_eq!(won.len(), 1, "{all:?}");
            assert!(all.iter().filter(|one| matches!(one, Err(WriteError::Conflict(_)))).count() == 3, "{all:?}");
            let found = self.documents.get(t, ModelConfigs, key(&format!("p{round}"))).await.unwrap().unwrap();
            assert_eq!(body(&found)["writer"], won[0]);
        }
    }

    /// The same keys, at the same time, on one server.
    async fn tenants_write_side_by_side(&self) {
        let tenants = [self.tenant("side-a"), self.tenant("side-b")];
        let work = async |t: &Tenant| {
            for round in 0..10 {
                let mine = json!({"owner": t.as_str(), "metadata": {"category": t.as_str()}});
                self.documents.insert_many(t, Items, vec![new("x", mine.clone()), new("y", mine)], true).await.unwrap();
                let patch = json!({"round": round}).to_string();
                self.documents.patch(t, Items, key("x"), patch, Precondition::Exists).await.unwrap();
                let query = Query { limit: 10, ..Query::default() };
                let page = self.documents.query(t, Items, query).await.unwrap();
                assert_eq!(page.documents.len(), 2);
                for found in &page.documents {
                    assert_eq!(body(found)["owner"], t.as_str());
                }
                let lists = vec![(term("category", t.as_str()), 10), (None, 10)];
                let lists = self.documents.newest_items(t, "feed".to_owned(), lists).await.unwrap();
                assert_eq!(lists.iter().map(Vec::len).collect::<Vec<_>>(), [2, 2]);
                if round % 3 == 2 {
                    assert_eq!(self.documents.delete_scenario(t, "feed".to_owned()).await.unwrap(), 2);
                }
            }
        };
        tokio::join!(work(&tenants[0]), work(&tenants[1]));
    }

    async fn walked(&self, t: &Tenant, collection: Collection) -> Vec<Document> {
        let pages: Vec<Vec<Document>> = self.documents.walk(t, collection).try_collect().await.unwrap();
        assert!(pages.iter().all(|page| !page.is_empty()));
        let mut all = pages.concat();
        all.sort_by(|a, b| a.key.cmp(&b.key));
        all
    }

    async fn a_walk_gives_everything_once(&self) {
        let t = &self.tenant("walk");
        assert_eq!(self.walked(t, Items).await, []);
        // The same ids, made at the same time, in two scenarios: several pages.
        let keys = |scenario: &'static str| (0..260).map(move |at| Key::new(scenario, format!("there{at}")));
        for scenario in ["feed", "news"] {
            let body = || json!({"text": "x".repeat(20_000)}).to_string();
            let new = keys(scenario).map(|key| NewDocument { key, body: body() }).collect();
            self.documents.insert_many(t, Items, new, false).await.unwrap();
        }
        self.insert(&self.tenant("walk-other"), vec![item("elsewhere", "x", &[])]).await;
        let writing = std::sync::atomic::AtomicBool::new(true);
        let write = async {
            let mut round = 0;
            while writing.load(std::sync::atomic::Ordering::Relaxed) {
                self.insert(t, vec![item(&format!("new{round}"), "x", &[])]).await;
                // It moves in the order of time.
                let body = json!({"created_at": round}).to_string();
                let touched = key(&format!("there{}", (round * 7) % 260));
                self.documents.replace(t, Items, touched, body, Precondition::None).await.unwrap();
                round += 1;
            }
        };
        let read = async {
            let found = self.walked(t, Items).await;
            writing.store(false, std::sync::atomic::Ordering::Relaxed);
            found
        };
        let (found, ()) = tokio::join!(read, write);
        let found: Vec<Key> = found.into_iter().map(|document| document.key).collect();
        let once: HashSet<&Key> = found.iter().collect();
        assert_eq!(once.len(), found.len(), "a document came twice");
        assert!(keys("feed").chain(keys("news")).all(|key| once.contains(&key)));
        assert!(once.iter().all(|key| key.id.starts_with("there") || key.id.starts_with("new")));
        self.documents.delete_scenario(t, "feed".to_owned()).await.unwrap();
        self.documents.delete_scenario(t, "news".to_owned()).await.unwrap();
    }

    async fn what_was_walked_is_restored_as_it_was(&self) {
        let (from, to) = (&self.tenant("restore-from"), &self.tenant("restore-to"));
        let put = async |t: &Tenant, collection, key: Key, body: Value| {
            self.documents.replace(t, collection, key, body.to_string(), Precondition::None).await.unwrap()
        };
        for collection in Collection::ALL {
            for scenario in ["feed", "news"] {
                let ids = if collection == Scenarios { vec![scenario] } else { vec!["a", "b", "c"] };
                for id in ids {
                    let body =
                        json!({"n": 1.0, "metadata": {"category": "x", "a.b": [[1]]}, "created_at": "2001-01-01"});
                    put(from, collection, Key::new(scenario, id), body).await;
                    (self.advance)(1000);
                }
            }
        }
        put(from, Items, key("a"), json!({"status": "inactive"})).await;
        put(from, Items, key("gone"), json!({})).await;
        let gone = put(from, Items, key("gone"), json!({})).await;
        self.documents.delete(from, Items, key("gone"), Precondition::None).await.unwrap();
        (self.advance)(5_000_000);
        // What is there is written over, and found nowhere afterwards.
        put(to, Items, key("b"), json!({"metadata": {"category": "other"}})).await;
        self.documents.newest_items(to, "feed".to_owned(), vec![(term("category", "other"), 5)]).await.unwrap();

        let floor = self.documents.version_floor(from).await.unwrap();
        assert!(floor >= gone);
        for _ in 0..2 {
            for collection in Collection::ALL {
                let all = self.walked(from, collection).await;
                self.documents.restore(to, collection, all.clone()).await.unwrap();
                assert_eq!(self.walked(to, collection).await, all, "{collection:?}");
                for document in all {
                    let found = self.documents.get(to, collection, document.key.clone()).await.unwrap();
                    assert_eq!(found, Some(document));
                }
            }
            self.documents.raise_version_floor(to, floor).await.unwrap();
            assert_eq!(self.documents.version_floor(to).await.unwrap(), floor);
        }
        let lists = || vec![(None, 9), (term("category", "x"), 9), (term("category", "other"), 9)];
        let columns = || vec![ColumnSpec { name: "created_at".to_owned(), kind: ColumnKind::Timestamp }];
        let handles = || ["a", "b", "c", "gone"].map(id::handle).to_vec();
        for scenario in ["feed", "news"] {
            let derived = async |t: &Tenant| {
                let query = Query { status: Some("active".to_owned()), limit: 9, ..Query::default() };
                let scenario = || scenario.to_owned();
                (
                    self.documents.newest_items(t, scenario(), lists()).await.unwrap(),
                    self.documents.item_columns(t, scenario(), handles(), columns(), 2_000_000_000_000).await.unwrap(),
                    self.documents.item_ids(t, scenario(), handles()).await.unwrap(),
                    self.documents.query(t, Items, Query { scenario_id: Some(scenario()), ..query }).await.unwrap(),
                )
            };
            assert_eq!(derived(to).await, derived(from).await);
        }
        // Life goes on where it was.
        let version = self.documents.get(to, Items, key("a")).await.unwrap().unwrap().version;
        assert_eq!(put(to, Items, key("a"), json!({})).await, version + 1);
        assert!(put(to, Items, key("gone"), json!({})).await > gone);
        self.documents.delete_user(to, "a".to_owned()).await.unwrap();
        assert_eq!(self.documents.get(to, UserProfiles, key("a")).await.unwrap(), None);
    }

    async fn tenants_with_scenarios_are_known(&self) {
        let (one, other) = (self.tenant("known:1"), self.tenant("known:2"));
        assert!(!self.documents.tenants().await.unwrap().contains(&one));
        for t in [&other, &one] {
            let key = Key::new("feed", "feed");
            self.documents.replace(t, Scenarios, key, "{}".to_owned(), Precondition::None).await.unwrap();
        }
        let known = self.documents.tenants().await.unwrap();
        assert_eq!(known.iter().filter(|t| [&one, &other].contains(t)).collect::<Vec<_>>(), [&one, &other]);
    }

    async fn what_cannot_be_restored_is_refused(&self) {
        let t = &self.tenant("unrestored");
        let own = json!({"created_at": "2026-01-01T00:00:00.000Z", "updated_at": "2026-01-01T00:00:00.000Z"});
        let restore = async |key: Key, body: Value, version| {
            self.documents.restore(t, Items, vec![Document { key, body: body.to_string(), version }]).await
        };
        is_invalid(restore(key("a/b"), own.clone(), 1).await, "documents[0].key");
        is_invalid(restore(key("a"), own.clone(), 0).await, "documents[0].version");
        is_invalid(restore(key("a"), json!({"updated_at": own["updated_at"]}), 1).await, "created_at");
        is_invalid(restore(key("a"), json!([]), 1).await, "documents[0].body");
        let many = vec![Document { key: key("a"), body: own.to_string(), version: 1 }; limits::INSERT_DOCUMENTS + 1];
        is_invalid(self.documents.restore(t, Items, many).await, "documents");
        restore(key("clash-a"), own.clone(), 1).await.unwrap();
        assert!(restore(key("clash-b"), own.clone(), 1).await.is_err());
        assert!(self.documents.get(t, Items, key("clash-a")).await.unwrap().is_some());
        // As large as a stored one may be.
        let full = json!({"t": "x".repeat(limits::DOCUMENT_BYTES - r#"{"t":""}"#.len())});
        self.insert(t, vec![new("full", full)]).await;
        let stored = self.documents.get(t, Items, key("full")).await.unwrap().unwrap();
        self.documents.restore(t, Items, vec![stored.clone()]).await.unwrap();
        assert_eq!(self.documents.get(t, Items, key("full")).await.unwrap(), Some(stored));
    }
}
