//! The space `embedding`, brought in step with the items that bring vectors along:
//! what a crash between the write of a document and that of its vector left behind, and
//! what came another way than by writing documents, such as a restored backup.

use std::collections::HashMap;

use funnelweb_core::{id::handle, limits};
use funnelweb_factor_documents::store::{Collection, Document, Query, Sort};
use funnelweb_factor_vectors::{
    EMBEDDING as SPACE,
    store::{Metric, Space},
};
use serde::{Deserialize, Serialize};

use crate::{
    context::{Context, Error, Target},
    follow::Phase,
};

/// Documents of a page, of which each may be long.
const PAGE: u32 = 500;
/// How far the values of unit vectors may differ that are the same.
const SAME: f32 = 1e-4;

/// What became of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Own {
    /// Items with a vector that fits.
    items: u64,
    /// Items whose vector has another dimension than most, or is all zeros.
    unfit: u64,
    written: u64,
    removed: u64,
}

/// The one part of an item that is read here.
#[derive(Deserialize)]
struct Item {
    #[serde(default)]
    embedding: Option<Vec<f32>>,
}

struct Spaces<'a> {
    context: &'a Context,
    target: &'a Target,
    phase: &'a Phase,
}

/// Writes vectors that differ from those of their items, and removes those of items
/// that have none or are gone.
pub(crate) async fn reconcile(context: &Context, target: &Target, phase: &Phase) -> Result<Own, Error> {
    let it = Spaces { context, target, phase };
    let before = it.describe().await?;
    let Some(dimension) = it.dimension(before).await? else {
        context.vectors.drop_space(&target.tenant, &target.scenario_id, SPACE).await?;
        return Ok(Own { removed: before.map_or(0, |space| space.vectors), ..Own::default() });
    };
    if let Some(space) = before.filter(|space| space.dimension != dimension) {
        let own = it.fill_anew(dimension).await?;
        return Ok(Own { removed: space.vectors, ..own });
    }
    let own = it.fill(dimension).await?;
    let after = it.describe().await?.map_or(0, |space| space.vectors);
    // Both are more than there are items: neither came or went meanwhile, there are
    // vectors whose items are gone.
    let gone = before.map_or(0, |space| space.vectors).min(after).saturating_sub(own.items);
    if gone == 0 {
        return Ok(own);
    }
    let anew = it.fill_anew(dimension).await?;
    Ok(Own { written: own.written, removed: own.removed + gone, ..anew })
}

impl Spaces<'_> {
    async fn describe(&self) -> Result<Option<Space>, Error> {
        let Target { tenant, scenario_id, .. } = self.target;
        Ok(self.context.vectors.describe(tenant, scenario_id, SPACE).await?)
    }

    /// The dimension that most vectors have; of several that of the space.
    async fn dimension(&self, space: Option<Space>) -> Result<Option<u32>, Error> {
        let mut counts: HashMap<usize, u64> = HashMap::new();
        let mut cursor = None;
        loop {
            let (items, next) = self.page(cursor).await?;
            for (_, vector) in items {
                if is_something(&vector) {
                    *counts.entry(vector.len()).or_default() += 1;
                }
            }
            cursor = next;
            if cursor.is_none() {
                break;
            }
        }
        let is_of_space = |dimension: usize| space.is_some_and(|space| space.dimension as usize == dimension);
        let most = counts.into_iter().max_by_key(|(dimension, count)| (*count, is_of_space(*dimension), *dimension));
        Ok(most.and_then(|(dimension, _)| u32::try_from(dimension).ok()))
    }

    /// Handles of items and their vectors, empty ones where there are none.
    async fn page(&self, cursor: Option<String>) -> Result<(Vec<(u64, Vec<f32>)>, Option<String>), Error> {
        self.phase.go_on(0.0)?;
        let query = Query {
            scenario_id: Some(self.target.scenario_id.clone()),
            // What comes meanwhile comes at the end.
            sort: Sort::Oldest,
            cursor,
            limit: PAGE,
            ..Query::default()
        };
        let page = self.context.documents.query(&self.target.tenant, Collection::Items, query).await?;
        let items = page.documents.iter().map(|document| (handle(&document.key.id), vector(document))).collect();
        Ok((items, page.next))
    }

    async fn fill_anew(&self, dimension: u32) -> Result<Own, Error> {
        let Target { tenant, scenario_id, .. } = self.target;
        self.context.vectors.drop_space(tenant, scenario_id, SPACE).await?;
        self.fill(dimension).await
    }

    async fn fill(&self, dimension: u32) -> Result<Own, Error> {
        let Target { tenant, scenario_id, .. } = self.target;
        let vectors = &self.context.vectors;
        vectors.create(tenant, scenario_id, SPACE, dimension, Metric::Cosine).await?;
        let mut own = Own::default();
        let mut cursor = None;
        loop {
            let (items, next) = self.page(cursor).await?;
            self.fill_page(items, dimension as usize, &mut own).await?;
            cursor = next;
            if cursor.is_none() {
                break;
            }
        }
        vectors.settle(tenant, scenario_id, SPACE).await?;
        Ok(own)
    }

    async fn fill_page(&self, items: Vec<(u64, Vec<f32>)>, dimension: usize, own: &mut Own) -> Result<(), Error> {
        let Target { tenant, scenario_id, .. } = self.target;
        let vectors = &self.context.vectors;
        let handles: Vec<u64> = items.iter().map(|(handle, _)| *handle).collect();
        let there = vectors.get(tenant, scenario_id, SPACE, handles).await?;
        let mut there: HashMap<u32, &[f32]> =
            there.found.iter().copied().zip(there.values.chunks_exact(dimension.max(1))).collect();
        let mut written = (Vec::new(), Vec::new());
        let mut removed = Vec::new();
        for (at, (handle, vector)) in (0..).zip(items) {
            let before = there.remove(&at);
            if vector.len() == dimension && is_something(&vector) {
                own.items += 1;
                if !before.is_some_and(|before| is_same(before, &vector)) {
                    written.0.push(handle);
                    written.1.extend(vector);
                }
                continue;
            }
            own.unfit += u64::from(!vector.is_empty());
            if before.is_some() {
                removed.push(handle);
            }
        }
        own.written += written.0.len() as u64;
        own.removed += removed.len() as u64;
        if !written.0.is_empty() {
            vectors.upsert(tenant, scenario_id, SPACE, written.0, written.1).await?;
        }
        if !removed.is_empty() {
            vectors.delete(tenant, scenario_id, SPACE, removed).await?;
        }
        Ok(())
    }
}

/// The vector of an item; empty when it has none.
fn vector(document: &Document) -> Vec<f32> {
    // Most items have none, and are long.
    if memchr::memmem::find(document.body.as_bytes(), br#""embedding""#).is_none() {
        return Vec::new();
    }
    let item = serde_json::from_str::<Item>(&document.body).ok();
    let vector = item.and_then(|item| item.embedding).unwrap_or_default();
    // Longer ones cannot be written as an item.
    if vector.len() <= limits::EMBEDDING_VALUES { vector } else { Vec::new() }
}

fn is_something(vector: &[f32]) -> bool {
    let length = length(vector);
    length > 0.0 && length.is_finite()
}

fn length(vector: &[f32]) -> f32 {
    vector.iter().map(|value| value * value).sum::<f32>().sqrt()
}

/// Whether they point the same way: the space may keep them at any length.
fn is_same(a: &[f32], b: &[f32]) -> bool {
    let (of_a, of_b) = (length(a), length(b));
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| (a / of_a - b / of_b).abs() < SAME)
}
