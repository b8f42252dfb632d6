//! The suite that every backend of [`Vectors`] must pass: each sentence of
//! `wit/capabilities/vectors.wit` and of the trait has a check here.
//!
//! Every check works in tenants of its own, and drops what it made.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test suite: a failed check is a panic"
)]

use funnelweb_core::limits;
use futures::future::join_all;

use crate::store::{Error, Filter, Hits, Metric, Rows, Space, Tenant, Vectors};

/// A backend under test.
pub struct Suite<'a> {
    /// The backend.
    pub vectors: &'a dyn Vectors,
    /// Begins the names of the tenants, so that a server can be used again.
    pub prefix: &'a str,
}

/// One space of a backend, for checks that use no other.
struct At<'a> {
    vectors: &'a dyn Vectors,
    tenant: Tenant,
    scenario: &'a str,
    space: &'a str,
}

fn is_invalid<T: std::fmt::Debug>(result: Result<T, Error>, name: &str) {
    match result {
        Err(Error::Invalid(message)) => assert!(message.contains(name), "{message} does not name {name}"),
        other => panic!("expected invalid({name}), got {other:?}"),
    }
}

/// Numbers that look random, from -1 to 1 and never all zero, the same for the same
/// seed (SplitMix64; Steele et al., 2014).
fn vector(seed: u64, dimension: usize) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0xD134_2543_DE82_EF95);
    let mut next = || {
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((mixed >> 40) as f32 / (1 << 23) as f32) - 1.0
    };
    (0..dimension).map(|_| next()).collect()
}

fn product(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

impl At<'_> {
    async fn create(&self, dimension: u32, metric: Metric) {
        self.vectors.create(&self.tenant, self.scenario, self.space, dimension, metric).await.unwrap();
    }

    async fn upsert(&self, handles: &[u64], values: &[f32]) -> Result<(), Error> {
        self.vectors.upsert(&self.tenant, self.scenario, self.space, handles.to_vec(), values.to_vec()).await
    }

    async fn delete(&self, handles: &[u64]) {
        self.vectors.delete(&self.tenant, self.scenario, self.space, handles.to_vec()).await.unwrap();
    }

    async fn describe(&self) -> Option<Space> {
        self.vectors.describe(&self.tenant, self.scenario, self.space).await.unwrap()
    }

    async fn get(&self, handles: &[u64]) -> Rows {
        self.vectors.get(&self.tenant, self.scenario, self.space, handles.to_vec()).await.unwrap()
    }

    async fn ask(&self, vector: &[f32], limit: u32, filter: Filter) -> Result<Hits, Error> {
        self.vectors.query(&self.tenant, self.scenario, self.space, vector.to_vec(), limit, filter).await
    }

    async fn query(&self, vector: &[f32], limit: u32, filter: Filter) -> Hits {
        let hits = self.ask(vector, limit, filter).await.unwrap();
        assert_eq!(hits.handles.len(), hits.scores.len());
        assert!(hits.scores.is_sorted_by(|a, b| a >= b), "{hits:?}");
        hits
    }

    async fn end(&self) {
        self.vectors.drop_scenario(&self.tenant, self.scenario).await.unwrap();
        assert_eq!(self.describe().await, None);
    }
}

fn assert_hits(hits: &Hits, expected: &[(u64, f32)]) {
    assert_eq!(hits.handles, expected.iter().map(|(handle, _)| *handle).collect::<Vec<_>>());
    for (score, (handle, expected)) in hits.scores.iter().zip(expected) {
        assert!((score - expected).abs() <= 1e-5 * expected.abs().max(1.0), "{handle}: {score}, not {expected}");
    }
}

impl Suite<'_> {
    /// Runs every check.
    pub async fn run(&self) {
        self.a_space_that_is_not_there_is_empty().await;
        self.a_space_is_made_once_and_in_one_shape().await;
        self.vectors_are_kept_replaced_and_deleted().await;
        self.the_best_come_first().await;
        self.vectors_that_are_alike_are_all_found().await;
        self.a_filter_says_what_an_answer_may_hold().await;
        self.vectors_that_cannot_be_compared_are_refused().await;
        self.tenants_scenarios_and_spaces_are_apart().await;
        self.a_space_that_was_dropped_can_be_made_anew().await;
        self.changes_and_queries_at_once_lose_nothing().await;
        self.limits_are_errors_that_name_the_argument().await;
    }

    fn at<'a>(&'a self, name: &str, space: &'a str) -> At<'a> {
        let tenant = Tenant::new(&format!("{}{name}", self.prefix)).unwrap();
        At { vectors: self.vectors, tenant, scenario: "feed", space }
    }

    async fn a_space_that_is_not_there_is_empty(&self) {
        let at = self.at("absent", "nothing");
        assert_eq!(at.describe().await, None);
        assert_eq!(at.get(&[1, 2]).await, Rows::default());
        assert_eq!(at.query(&[1.0], 10, Filter::All).await, Hits::default());
        at.delete(&[1]).await;
        is_invalid(at.upsert(&[1], &[1.0]).await, "space");
        is_invalid(at.vectors.settle(&at.tenant, "feed", "nothing").await, "space");
        assert!(at.vectors.spaces(&at.tenant, "feed").await.unwrap().is_empty());
        at.vectors.drop_space(&at.tenant, "feed", "nothing").await.unwrap();
        at.end().await;
    }

    async fn a_space_is_made_once_and_in_one_shape(&self) {
        let at = self.at("made", "factors-items@17");
        at.create(3, Metric::InnerProduct).await;
        at.upsert(&[1], &[1.0, 2.0, 3.0]).await.unwrap();
        at.create(3, Metric::InnerProduct).await;
        let space = Space { dimension: 3, metric: Metric::InnerProduct, vectors: 1 };
        assert_eq!(at.describe().await, Some(space));
        for (dimension, metric) in [(4, Metric::InnerProduct), (3, Metric::Cosine)] {
            let other = at.vectors.create(&at.tenant, at.scenario, at.space, dimension, metric).await;
            is_invalid(other, "space");
        }
        assert_eq!(at.describe().await, Some(space));
        at.end().await;
    }

    async fn vectors_are_kept_replaced_and_deleted(&self) {
        let at = self.at("kept", "embedding");
        at.create(2, Metric::Cosine).await;
        let handles = [0, 7, u64::MAX, 1 << 63];
        at.upsert(&handles, &[1.0, 0.0, 0.0, 2.0, 3.0, 3.0, -1.0, 0.5]).await.unwrap();
        let rows = at.get(&[9, u64::MAX, 7, 9, 1 << 63, 7]).await;
        assert_eq!(rows.found, [1, 2, 4, 5]);
        assert_eq!(rows.values, [3.0, 3.0, 0.0, 2.0, -1.0, 0.5, 0.0, 2.0]);
        // Of a handle that stands twice, the last counts.
        at.upsert(&[7, 7], &[5.0, 5.0, 4.0, -4.0]).await.unwrap();
        at.upsert(&[], &[]).await.unwrap();
        at.delete(&[0, 12_345, 1 << 63]).await;
        at.delete(&[]).await;
        assert_eq!(at.get(&handles).await, Rows { found: vec![1, 2], values: vec![4.0, -4.0, 3.0, 3.0] });
        assert_eq!(at.describe().await.map(|space| space.vectors), Some(2));
        at.vectors.settle(&at.tenant, at.scenario, at.space).await.unwrap();
        assert_eq!(at.get(&handles).await, Rows { found: vec![1, 2], values: vec![4.0, -4.0, 3.0, 3.0] });
        assert_hits(&at.query(&[1.0, -1.0], 5, Filter::All).await, &[(7, 1.0), (u64::MAX, 0.0)]);
        at.end().await;
    }

    async fn the_best_come_first(&self) {
        const DIMENSION: usize = 16;
        for metric in [Metric::InnerProduct, Metric::Cosine] {
            let at = self.at("best", "embedding");
            at.create(DIMENSION as u32, metric).await;
            let rows: Vec<(u64, Vec<f32>)> =
                (0..300).map(|at| (at * 0x0123_4567_89AB, vector(at, DIMENSION))).collect();
            let (handles, values): (Vec<u64>, Vec<Vec<f32>>) = rows.iter().cloned().unzip();
            at.upsert(&handles, &values.concat()).await.unwrap();
            for query in [vector(1000, DIMENSION), vector(1001, DIMENSION).iter().map(|value| value * 50.0).collect()] {
                let mut expected: Vec<(u64, f32)> = rows
                    .iter()
                    .map(|(handle, row)| {
                        let lengths = (product(row, row) * product(&query, &query)).sqrt();
                        let scale = if metric == Metric::Cosine { lengths } else { 1.0 };
                        (*handle, product(row, &query) / scale)
                    })
                    .collect();
                expected.sort_by(|a, b| b.1.total_cmp(&a.1));
                assert_hits(&at.query(&query, 20, Filter::All).await, &expected[..20]);
                assert_hits(&at.query(&query, 1, Filter::All).await, &expected[..1]);
                // More than there are.
                assert_hits(&at.query(&query, limits::VECTOR_HITS as u32, Filter::All).await, &expected);
            }
            at.end().await;
        }
    }

    async fn vectors_that_are_alike_are_all_found(&self) {
        let at = self.at("alike", "embedding");
        at.create(4, Metric::InnerProduct).await;
        let handles: Vec<u64> = (0..400).collect();
        at.upsert(&handles, &[0.5, -1.0, 2.0, 0.25].repeat(400)).await.unwrap();
        let mut hits = at.query(&[1.0, 1.0, 1.0, 1.0], 1000, Filter::All).await;
        assert!(hits.scores.iter().all(|score| *score == 1.75));
        hits.handles.sort_unstable();
        assert_eq!(hits.handles, handles);
        at.end().await;
    }

    async fn a_filter_says_what_an_answer_may_hold(&self) {
        let at = self.at("filter", "embedding");
        at.create(1, Metric::InnerProduct).await;
        let handles: Vec<u64> = (1..=500).map(|at| at << 50).collect();
        at.upsert(&handles, &(1..=500_u16).map(f32::from).collect::<Vec<_>>()).await.unwrap();
        let best = |at: u64| (at << 50, at as f32);
        let but = Filter::Except((100..=500).map(|at| at << 50).chain([3]).collect());
        assert_hits(&at.query(&[1.0], 2, but).await, &[best(99), best(98)]);
        let only = Filter::Only(vec![3, 7 << 50, 400 << 50, 7 << 50]);
        assert_hits(&at.query(&[1.0], 10, only).await, &[best(400), best(7)]);
        assert_hits(&at.query(&[1.0], 1, Filter::Except(vec![])).await, &[best(500)]);
        assert_eq!(at.query(&[1.0], 10, Filter::Only(vec![])).await, Hits::default());
        assert_eq!(at.query(&[1.0], 10, Filter::Only(vec![3])).await, Hits::default());
        assert_eq!(at.query(&[1.0], 10, Filter::Except(handles)).await, Hits::default());
        at.end().await;
    }

    async fn vectors_that_cannot_be_compared_are_refused(&self) {
        let at = self.at("refused", "embedding");
        at.create(2, Metric::Cosine).await;
        at.upsert(&[1], &[1.0, 1.0]).await.unwrap();
        for wrong in [[f32::NAN, 1.0], [1.0, f32::INFINITY], [0.0, -0.0], [1e-30, 0.0], [f32::MAX, 0.0]] {
            is_invalid(at.ask(&wrong, 1, Filter::All).await, "vector");
            is_invalid(at.upsert(&[2, 3], &[[1.0, 0.0], wrong].concat()).await, "values");
        }
        for wrong in [&[][..], &[1.0], &[1.0, 2.0, 3.0]] {
            is_invalid(at.ask(wrong, 1, Filter::All).await, "vector");
            is_invalid(at.upsert(&[2], wrong).await, "values");
        }
        // Whether there is such a space or not.
        let absent = At { space: "absent", ..self.at("refused", "") };
        is_invalid(absent.ask(&[0.0], 1, Filter::All).await, "vector");
        assert_eq!(at.describe().await.map(|space| space.vectors), Some(1));
        at.end().await;
    }

    async fn tenants_scenarios_and_spaces_are_apart(&self) {
        // They stay apart when what is no letter is spelled in another way.
        let names = [("t-1", "a.b", "c"), ("t-1", "a", "b.c"), ("t-1", "a_b", "c"), ("t_1", "a.b", "c")];
        let more = [("t-1", "a.b", "c@1"), ("t-1", "a.b", "c_1"), ("t-1", "a.b", "C"), ("t-1-a.b", "a.b", "c")];
        let all: Vec<At<'_>> = names
            .iter()
            .chain(&more)
            .map(|(tenant, scenario, space)| At { scenario, ..self.at(tenant, space) })
            .collect();
        for (number, at) in all.iter().enumerate() {
            at.create(1, Metric::InnerProduct).await;
            at.upsert(&[number as u64, 100], &[1.0, number as f32 + 2.0]).await.unwrap();
        }
        for (number, at) in all.iter().enumerate() {
            assert_eq!(at.describe().await.map(|space| space.vectors), Some(2));
            assert_eq!(at.get(&[100]).await.values, [number as f32 + 2.0]);
            let hits = at.query(&[1.0], 10, Filter::All).await;
            assert_hits(&hits, &[(100, number as f32 + 2.0), (number as u64, 1.0)]);
        }
        let first = &all[0];
        assert_eq!(first.vectors.spaces(&first.tenant, "a.b").await.unwrap(), ["C", "c", "c@1", "c_1"]);
        first.vectors.drop_space(&first.tenant, "a.b", "c").await.unwrap();
        assert_eq!(first.vectors.spaces(&first.tenant, "a.b").await.unwrap(), ["C", "c@1", "c_1"]);
        first.end().await;
        assert!(first.vectors.spaces(&first.tenant, "a.b").await.unwrap().is_empty());
        for at in [&all[1], &all[2], &all[3], &all[7]] {
            assert_eq!(at.get(&[100]).await.found, [0]);
            at.end().await;
        }
    }

    async fn a_space_that_was_dropped_can_be_made_anew(&self) {
        let at = self.at("anew", "embedding");
        at.create(2, Metric::Cosine).await;
        at.upsert(&[1, 2], &[1.0, 0.0, 0.0, 1.0]).await.unwrap();
        at.vectors.settle(&at.tenant, at.scenario, at.space).await.unwrap();
        at.vectors.drop_space(&at.tenant, at.scenario, at.space).await.unwrap();
        assert_eq!(at.describe().await, None);
        assert_eq!(at.query(&[1.0, 0.0], 1, Filter::All).await, Hits::default());
        is_invalid(at.upsert(&[1], &[1.0, 0.0]).await, "space");
        at.create(1, Metric::InnerProduct).await;
        assert_eq!(at.describe().await, Some(Space { dimension: 1, metric: Metric::InnerProduct, vectors: 0 }));
        assert_eq!(at.get(&[1, 2]).await, Rows::default());
        at.upsert(&[2], &[3.0]).await.unwrap();
        assert_hits(&at.query(&[1.0], 5, Filter::All).await, &[(2, 3.0)]);
        at.end().await;
    }

    async fn changes_and_queries_at_once_lose_nothing(&self) {
        let at = &self.at("at-once", "embedding");
        // Everybody makes the space.
        join_all((0..4).map(|_| at.create(8, Metric::InnerProduct))).await;
        let writers = (0..4_u64).map(|writer| async move {
            for batch in 0..5_u64 {
                let handles: Vec<u64> = (0..20).map(|row| writer * 1000 + batch * 20 + row).collect();
                let values: Vec<f32> = handles.iter().flat_map(|handle| vector(*handle, 8)).collect();
                at.upsert(&handles, &values).await.unwrap();
                // What was answered can be read.
                assert_eq!(at.get(&handles).await.values, values);
            }
        });
        let readers = async {
            for seed in 0..20 {
                let hits = at.query(&vector(seed, 8), 50, Filter::All).await;
                for (handle, score) in hits.handles.iter().zip(&hits.scores) {
                    let expected = product(&vector(*handle, 8), &vector(seed, 8));
                    assert!((score - expected).abs() < 1e-5, "{handle}: {score}, not {expected}");
                }
            }
        };
        futures::join!(join_all(writers), readers);
        assert_eq!(at.describe().await.map(|space| space.vectors), Some(400));
        at.end().await;
    }

    async fn limits_are_errors_that_name_the_argument(&self) {
        let at = self.at("limits", "embedding");
        let long = "x".repeat(limits::SPACE_NAME_BYTES + 1);
        is_invalid(at.vectors.describe(&at.tenant, "feed", &long).await, "space: must be 1 to 64 long, got 65");
        is_invalid(at.vectors.describe(&at.tenant, "a/b", "embedding").await, "scenario-id");
        is_invalid(at.vectors.drop_space(&at.tenant, "feed", "..").await, "space");
        for dimension in [0, limits::EMBEDDING_VALUES as u32 + 1] {
            let created = at.vectors.create(&at.tenant, "feed", "embedding", dimension, Metric::Cosine).await;
            is_invalid(created, "dimension: must be 1 to 1024");
        }
        let full = At { space: "full", ..self.at("limits", "") };
        full.create(limits::EMBEDDING_VALUES as u32, Metric::Cosine).await;
        full.upsert(&[1], &vector(1, limits::EMBEDDING_VALUES)).await.unwrap();
        at.create(1, Metric::Cosine).await;
        let handles = |count: usize| -> Vec<u64> { (0..count as u64).collect() };
        at.get(&handles(limits::VECTOR_HANDLES)).await;
        let many = handles(limits::VECTOR_HANDLES + 1);
        is_invalid(at.vectors.get(&at.tenant, "feed", "embedding", many).await, "handles: must be 0 to 1000 long");
        for limit in [0, limits::VECTOR_HITS as u32 + 1] {
            is_invalid(at.ask(&[1.0], limit, Filter::All).await, "limit: must be 1 to 1000");
        }
        at.query(&[1.0], 1, Filter::Except(handles(limits::VECTOR_FILTER))).await;
        for filter in [Filter::Except, Filter::Only] {
            let filtered = at.ask(&[1.0], 1, filter(handles(limits::VECTOR_FILTER + 1))).await;
            is_invalid(filtered, "filter: must be 0 to 20000 long");
        }
        at.upsert(&handles(limits::VECTOR_BATCH), &[1.0].repeat(limits::VECTOR_BATCH)).await.unwrap();
        assert_eq!(at.describe().await.map(|space| space.vectors), Some(limits::VECTOR_BATCH as u64));
        let many = handles(limits::VECTOR_BATCH + 1);
        is_invalid(at.upsert(&many, &[1.0].repeat(many.len())).await, "handles: must be 0 to 10000 long");
        is_invalid(at.vectors.delete(&at.tenant, "feed", "embedding", many).await, "handles");
        at.delete(&handles(limits::VECTOR_BATCH)).await;
        assert_eq!(at.describe().await.map(|space| space.vectors), Some(0));
        at.end().await;
    }
}
