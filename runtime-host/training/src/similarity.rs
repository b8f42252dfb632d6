//! The work `similarity`.

use std::{cmp::Reverse, sync::Arc};

use funnelweb_algorithms::{Interactions, Neighbours, ease, knn, rp3beta};
use funnelweb_core::limits;
use funnelweb_factor_learned::{Handles, Similarity, Table, longest_lists, names};
use serde::Serialize;
use serde_json::Value;

use crate::{
    context::{Context, Error, Target, blocking, note},
    follow::{Follow, Phase},
    log::{Behaved, Entry, Most, Reading},
    params::{Algorithm, SimilarityParams, Weighting},
};

/// Below so many rows, how frequent something is says little of what it means.
const FEW: usize = 200;
/// How many shared users, or items, halve the mistrust of a cosine; of users always.
const SHRINKAGE: f32 = 5.0;

/// Learns neighbours of items and of users, and writes them with users' histories.
///
/// Of what came of it: `version`, `events`, `interactions`, `users`, `items`,
/// `item_neighbours` and `user_neighbours` (entries of all lists), `bytes`, `served`;
/// and `note` when there was nothing to learn from.
///
/// # Errors
/// See [`Error`].
pub async fn similarity(
    context: &Context,
    target: &Target,
    params: &SimilarityParams,
    follow: Arc<dyn Follow>,
) -> Result<Value, Error> {
    let name = names::similarity(&target.scenario_id);
    context.check_version(target, &name).await?;
    let behaviors = context.behaviors(target).await?;
    let reading = Reading {
        events: &*context.events,
        target,
        behaviors: &behaviors,
        half_life_days: params.half_life_days,
        end: None,
    };
    let phase = Phase::begin(&follow, "reading behaviours", 0.0, 0.3);
    let behaved = phase.unless_cancelled(reading.read(Most::default(), &phase)).await?;
    let learning = Learning { params: params.clone(), follow: Arc::clone(&follow) };
    // The inverse of EASE looks at nobody while it is computed.
    let learned = phase.unless_cancelled(blocking(move || learning.learn(behaved))).await?;
    let phase = Phase::begin(&follow, "writing", 0.97, 1.0);
    phase.go_on(0.0)?;
    let Learned { file, outcome } = learned;
    context.put(target, &name, file).await?;
    let served = context.serve(target).await;
    let outcome = Outcome { version: target.version, served, ..outcome };
    Ok(serde_json::to_value(outcome).unwrap_or_default())
}

#[derive(Default, Serialize)]
struct Outcome {
    version: u64,
    events: u64,
    interactions: usize,
    users: usize,
    items: usize,
    item_neighbours: usize,
    user_neighbours: usize,
    bytes: usize,
    served: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<&'static str>,
}

struct Learning {
    params: SimilarityParams,
    follow: Arc<dyn Follow>,
}

struct Learned {
    file: Vec<u8>,
    outcome: Outcome,
}

impl Learning {
    fn learn(&self, behaved: Behaved) -> Result<Learned, Error> {
        let interactions = behaved.interactions()?;
        let (users, items) = (behaved.users.len(), behaved.items.len());
        let by_item = self.of_items(&interactions, self.params.neighbours.min(longest_lists(items)))?;
        let by_user = self.of_users(&interactions, self.params.user_neighbours.min(longest_lists(users)))?;
        let (item_neighbours, user_neighbours) = (by_item.ids.len(), by_user.ids.len());
        let histories = histories(&behaved.entries, users, limits::LEARNED_HISTORY_ITEMS.min(longest_lists(users)));
        let learned =
            Similarity::new(Handles::new(behaved.items)?, Handles::new(behaved.users)?, by_item, by_user, histories)?;
        let file = learned.encode();
        let outcome = Outcome {
            events: behaved.events,
            interactions: behaved.entries.len(),
            users,
            items,
            item_neighbours,
            user_neighbours,
            bytes: file.len(),
            note: note(behaved.entries.len()),
            ..Outcome::default()
        };
        Ok(Learned { file, outcome })
    }

    fn of_items(&self, interactions: &Interactions, neighbours: usize) -> Result<Table, Error> {
        let items = interactions.columns() as usize;
        if neighbours == 0 || interactions.is_empty() {
            return Ok(Table::empty(items));
        }
        let params = &self.params;
        let threads = params.threads;
        let phase = Phase::begin(&self.follow, "neighbours of items", 0.3, 0.65);
        let watch = |part: f32| phase.watch(part);
        let found = match params.algorithm {
            Algorithm::Knn => {
                let (weighting, shrinkage) = self.weighting(items);
                let config = knn::Config { weighting, shrinkage, neighbours, threads };
                knn::items_watched(interactions, &config, &watch)?
            }
            Algorithm::Rp3beta => {
                let (alpha, beta) = (params.alpha.unwrap_or(0.8), params.beta.unwrap_or(0.3));
                let config = rp3beta::Config { alpha, beta, neighbours, threads };
                rp3beta::items_watched(interactions, &config, &watch)?
            }
            Algorithm::Ease => {
                // λ counts interactions of weight 1.
                let mean = interactions.mean_weight();
                let even = interactions.reweighted(|_, _, weight| weight / mean);
                let (regularisation, dropout) = (params.regularisation.unwrap_or(50.0), params.dropout.unwrap_or(0.0));
                let config = ease::Config { regularisation, dropout, threads };
                ease::Ease::train(&even, &config)?.neighbours(neighbours)?
            }
        };
        table(&found.normalised(params.normalisation.unwrap_or_default())?)
    }

    fn weighting(&self, items: usize) -> (knn::Weighting, f32) {
        let params = &self.params;
        let few = if items < FEW { Weighting::Cosine } else { Weighting::Bm25 };
        // Who sets a constant of BM25 wants BM25.
        let bm25 = params.k1.or(params.b).map(|_| Weighting::Bm25);
        let (weighting, shrinkage) = match params.weighting.or(bm25).unwrap_or(few) {
            Weighting::Cosine => (knn::Weighting::Cosine, SHRINKAGE),
            Weighting::TfIdf => (knn::Weighting::TfIdf, SHRINKAGE),
            Weighting::Bm25 => {
                (knn::Weighting::Bm25 { k1: params.k1.unwrap_or(1.2), b: params.b.unwrap_or(0.25) }, 0.0)
            }
        };
        (weighting, params.shrinkage.unwrap_or(shrinkage))
    }

    fn of_users(&self, interactions: &Interactions, neighbours: usize) -> Result<Table, Error> {
        let users = interactions.rows() as usize;
        if neighbours == 0 || interactions.is_empty() {
            return Ok(Table::empty(users));
        }
        let phase = Phase::begin(&self.follow, "neighbours of users", 0.65, 0.97);
        let weighting = if users < FEW { knn::Weighting::Cosine } else { knn::Weighting::TfIdf };
        let config = knn::Config { weighting, shrinkage: SHRINKAGE, neighbours, threads: self.params.threads };
        table(&knn::users_watched(interactions, &config, &|part| phase.watch(part))?)
    }
}

fn table(neighbours: &Neighbours) -> Result<Table, Error> {
    let (offsets, ids, scores) = neighbours.parts();
    let offsets = offsets.iter().map(|offset| u32::try_from(*offset)).collect::<Result<_, _>>();
    let offsets = offsets.map_err(|_| Error::Data("more neighbours than can be numbered".to_owned()))?;
    Ok(Table { offsets, ids: ids.to_vec(), scores: scores.to_vec() })
}

/// Of every user the `most` items that weigh most, the newest first of those that
/// weigh the same.
fn histories(entries: &[Entry], users: usize, most: usize) -> Table {
    let mut table = Table::empty(0);
    let mut history: Vec<Entry> = Vec::new();
    for of_user in entries.chunk_by(|a, b| a.user == b.user) {
        history.clear();
        history.extend_from_slice(of_user);
        let order = |entry: &Entry| (Reverse(entry.weight.to_bits()), Reverse(entry.at_s), entry.item);
        // Weights are above 0, so that their bits are ordered as they are.
        history.sort_unstable_by_key(order);
        history.truncate(most);
        table.ids.extend(history.iter().map(|entry| entry.item));
        table.scores.extend(history.iter().map(|entry| entry.weight));
        // There is a list for every user: who has no entry is not numbered.
        table.offsets.push(table.ids.len() as u32);
    }
    table.offsets.resize(users + 1, table.ids.len() as u32);
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_history_is_the_heaviest_and_newest() {
        let entry = |user, item, weight, at_s| Entry { user, item, weight, at_s };
        let entries = [entry(0, 0, 1.0, 5), entry(0, 1, 3.0, 1), entry(0, 2, 1.0, 9), entry(1, 2, 0.5, 0)];
        let table = histories(&entries, 2, 2);
        assert_eq!(
            (&*table.offsets, &*table.ids, &*table.scores),
            (&[0, 2, 3][..], &[1, 2, 2][..], &[3.0, 1.0, 0.5][..])
        );
        let many: Vec<Entry> = (0..300).map(|item| entry(0, item, 1.0, item)).collect();
        let most = limits::LEARNED_HISTORY_ITEMS;
        let table = histories(&many, 1, most);
        assert_eq!((table.ids.len(), table.ids[0], table.ids[most - 1]), (most, 299, 300 - most as u32));
    }

    struct Stopped(std::sync::atomic::AtomicBool);

    impl Follow for Stopped {
        fn at(&self, _: &str, _: f32) {}

        fn is_cancelled(&self) -> bool {
            self.0.load(std::sync::atomic::Ordering::Relaxed)
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_long_run_stops_within_a_second() {
        // A million interactions, everybody with everything of a large part.
        let (users, items) = (5000_u32, 4000_u32);
        let entry =
            |at: u32| Entry { user: at / 200, item: (at / 200 * 7 + at % 200 * 13) % items, weight: 1.0, at_s: 0 };
        let mut entries: Vec<Entry> = (0..users * 200).map(entry).collect();
        entries.sort_unstable_by_key(|entry| (entry.user, entry.item));
        let handles = |count: u32| (0..count).map(u64::from).collect();
        let behaved = Behaved { users: handles(users), items: handles(items), entries, ..Behaved::default() };
        for algorithm in [Algorithm::Knn, Algorithm::Rp3beta, Algorithm::Ease] {
            let follow = Arc::new(Stopped(false.into()));
            let params = SimilarityParams { algorithm, ..SimilarityParams::default() };
            let learning = Learning { params, follow: follow.clone() };
            let dynamic: Arc<dyn Follow> = follow.clone();
            let phase = Phase::begin(&dynamic, "learning", 0.0, 1.0);
            let copy = Behaved {
                users: behaved.users.clone(),
                items: behaved.items.clone(),
                entries: behaved.entries.clone(),
                ..Behaved::default()
            };
            let work =
                tokio::spawn(async move { phase.unless_cancelled(blocking(move || learning.learn(copy))).await });
            tokio::time::sleep(std::time::Duration::from_millis(150)).await;
            assert!(!work.is_finished(), "{algorithm:?} is done too soon to be stopped");
            follow.0.store(true, std::sync::atomic::Ordering::Relaxed);
            let start = std::time::Instant::now();
            assert!(matches!(work.await.unwrap(), Err(Error::Cancelled)));
            assert!(start.elapsed() < std::time::Duration::from_secs(1), "{algorithm:?}: {:?}", start.elapsed());
        }
    }
}
