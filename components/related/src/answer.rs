//! From handles to the response.

use funnelweb_core::{error::ApiError, id, limits};
use funnelweb_guest::{
    documents::{Collection, Key},
    handles::HandleSet,
    http::store,
    types::{ColumnKind, ColumnSpec, Handle},
};
use serde::Serialize;
use serde_json::value::RawValue;

use crate::{asked::Asked, sources::Sources};

const CATEGORY: &str = "category";

/// What answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Source {
    /// The neighbours of an item, by who acted on it.
    ItemCf,
    /// Nearness of the vectors that items bring along.
    Embedding,
    /// Nearness of the vectors of the factor model.
    Factors,
    /// Category and tags in common.
    ContentBased,
    /// What similar users acted on.
    UserCf,
    /// The hot list.
    HotItems,
    /// The newest.
    Latest,
}

/// A list.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Found {
    /// None when nobody had anything to say.
    pub(crate) source: Option<Source>,
    /// Active items, best first, each once.
    pub(crate) items: Vec<(Handle, f32)>,
}

/// The response.
#[derive(Debug, Serialize)]
pub struct Response {
    request_id: String,
    scenario_id: String,
    /// What the items are from; none when there are none.
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<Source>,
    /// Best first.
    items: Vec<Item>,
}

#[derive(Debug, Serialize)]
struct Item {
    item_id: String,
    /// From 1.
    rank: usize,
    /// Above 0 and at most 1; comparable within the list only.
    score: f32,
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata: Option<Box<RawValue>>,
}

/// Those that are active, of the category asked for, and not excluded; `asked.count`
/// at most.
pub(crate) fn offered(
    host: &impl Sources,
    scenario_id: &str,
    items: Vec<(Handle, f32)>,
    asked: &Asked,
) -> Result<Vec<(Handle, f32)>, ApiError> {
    let exclude: HandleSet = asked.exclude.iter().copied().collect();
    let mut items: Vec<(Handle, f32)> = items.into_iter().filter(|(handle, _)| !exclude.contains(handle)).collect();
    items.truncate(limits::CANDIDATES);
    if items.is_empty() {
        return Ok(items);
    }
    let category = asked.category.as_deref().map(id::value_hash);
    let column = ColumnSpec { name: CATEGORY.to_owned(), kind: ColumnKind::Categorical };
    let columns = if category.is_some() { vec![column] } else { Vec::new() };
    let handles: Vec<Handle> = items.iter().map(|(handle, _)| *handle).collect();
    let active = host.columns(scenario_id, &handles, &columns, asked.now_ms)?;
    let column = active.table.categorical_column(CATEGORY);
    let fits = |row: usize| category.is_none_or(|category| column.is_some_and(|column| column.get(row) == category));
    let rows = active.found.iter().enumerate().filter(|(row, _)| fits(*row));
    Ok(rows.filter_map(|(_, at)| items.get(*at as usize).copied()).take(asked.count as usize).collect())
}

/// The response.
///
/// # Errors
/// Those of the store.
pub(crate) fn respond(
    host: &impl Sources,
    request_id: &str,
    scenario_id: &str,
    found: Found,
    asked: &Asked,
) -> Result<Response, ApiError> {
    let handles: Vec<Handle> = found.items.iter().map(|(handle, _)| *handle).collect();
    let ids = if handles.is_empty() { Vec::new() } else { host.item_ids(scenario_id, &handles)? };
    // One may have gone since.
    let there = ids.into_iter().zip(&found.items).filter_map(|(id, (_, score))| Some((id?, *score)));
    let item = |(rank, (item_id, score))| Item { item_id, rank, score, metadata: None };
    let mut items: Vec<Item> = (1..).zip(there).map(item).collect();
    if asked.metadata && !items.is_empty() {
        let key = |item: &Item| Key { scenario_id: scenario_id.to_owned(), id: item.item_id.clone() };
        let keys: Vec<Key> = items.iter().map(key).collect();
        for (item, body) in items.iter_mut().zip(host.documents(Collection::Items, &keys)?) {
            item.metadata = body.and_then(|body| store::metadata(&body));
        }
    }
    Ok(Response {
        request_id: request_id.to_owned(),
        scenario_id: scenario_id.to_owned(),
        source: found.source.filter(|_| !items.is_empty()),
        items,
    })
}
