//! `funnelweb:tenant/catalogue`: what a tenant's recall channel may read.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use async_trait::async_trait;
use funnelweb_bindings::{
    Recorded,
    parts::narrow,
    tenant::catalogue::{self as wit, CatalogueError, Host, ItemTable, Lists, Scored, Term},
    types::{Candidates, ColumnSpec},
};
use funnelweb_core::{id, limits};
use funnelweb_factor_documents::store::{self as documents, Documents};
use funnelweb_factor_learned::store::{Learned, Relation};
use funnelweb_factor_live::store::Live;
use funnelweb_instance::State;
use funnelweb_recording::Tape;
use funnelweb_tenant_store::{Error as StoreError, Tenant, lock};
use wasmtime::component::{HasData, Linker};

use crate::sandbox::Guest;

/// What can be read, of one scenario of one tenant. Arguments are within the limits.
#[async_trait]
pub trait Catalogue: Send + Sync {
    /// The hottest active items.
    async fn hot(&self, limit: u32) -> Result<Scored, CatalogueError>;

    /// The newest active items, of all or of those with a value.
    async fn newest(&self, term: Option<Term>, limit: u32) -> Result<Vec<u64>, CatalogueError>;

    /// The items most like each of these.
    async fn similar(&self, handles: Vec<u64>, limit: u32) -> Result<Lists, CatalogueError>;

    /// Columns of active items.
    async fn columns(&self, handles: Vec<u64>, columns: Vec<ColumnSpec>) -> Result<ItemTable, CatalogueError>;

    /// The columns that may be asked for.
    fn allowed(&self) -> &[ColumnSpec];
}

struct HasCatalogue;

impl HasData for HasCatalogue {
    type Data<'a> = &'a mut Guest;
}

pub(crate) fn add_to_linker(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    wit::add_to_linker::<_, HasCatalogue>(linker, |state| state.own())
}

impl Host for Guest {
    async fn hot(&mut self, limit: u32) -> Result<Scored, CatalogueError> {
        check_limit(limit)?;
        let Scored { handles, scores } = self.catalogue()?.hot(limit).await?;
        Ok(Scored { handles: self.known.give(&handles), scores })
    }

    async fn newest(&mut self, term: Option<Term>, limit: u32) -> Result<Vec<u64>, CatalogueError> {
        check_limit(limit)?;
        if let Some(Term { field, value }) = &term {
            if !["category", "tags"].contains(&field.as_str()) {
                return Err(invalid("term.field", "must be `category` or `tags`"));
            }
            check("term.value", value.len(), limits::TERM_BYTES)?;
        }
        let handles = self.catalogue()?.newest(term, limit).await?;
        Ok(self.known.give(&handles))
    }

    async fn similar(&mut self, handles: Vec<u64>, limit: u32) -> Result<Lists, CatalogueError> {
        check_limit(limit)?;
        check("handles", handles.len(), limits::RECALL_LIMIT as usize)?;
        let handles = self.known.all_wide(&handles);
        let Lists { offsets, handles, scores } = self.catalogue()?.similar(handles, limit).await?;
        Ok(Lists { offsets, handles: self.known.give(&handles), scores })
    }

    async fn columns(&mut self, handles: Vec<u64>, columns: Vec<ColumnSpec>) -> Result<ItemTable, CatalogueError> {
        check("handles", handles.len(), limits::CANDIDATES)?;
        check("columns", columns.len(), limits::STAGE_COLUMNS)?;
        let catalogue = self.catalogue()?;
        let is_allowed = |asked: &&ColumnSpec| {
            catalogue.allowed().iter().any(|may| may.name == asked.name && may.kind == asked.kind)
        };
        if let Some(column) = columns.iter().find(|column| !is_allowed(column)) {
            return Err(invalid("columns", &format!("`{}` is none of those that the manifest reads", column.name)));
        }
        catalogue.columns(self.known.all_wide(&handles), columns).await
    }
}

impl Guest {
    /// Only recall channels import it.
    fn catalogue(&self) -> Result<Arc<dyn Catalogue>, CatalogueError> {
        let none = || CatalogueError::Unavailable("there is no catalogue in this call".to_owned());
        self.catalogue.clone().ok_or_else(none)
    }
}

fn check_limit(limit: u32) -> Result<(), CatalogueError> {
    if (1..=limits::RECALL_LIMIT).contains(&limit) {
        return Ok(());
    }
    Err(invalid("limit", &format!("must be 1 to {}, got {limit}", limits::RECALL_LIMIT)))
}

fn check(argument: &str, count: usize, most: usize) -> Result<(), CatalogueError> {
    if count <= most {
        return Ok(());
    }
    Err(invalid(argument, &format!("must be at most {most} long, got {count}")))
}

fn invalid(argument: &str, rule: &str) -> CatalogueError {
    CatalogueError::Invalid(format!("{argument}: {rule}"))
}

fn failed(error: StoreError) -> CatalogueError {
    match error {
        StoreError::Invalid(message) => CatalogueError::Invalid(message),
        StoreError::Unavailable(message) | StoreError::Denied(message) => CatalogueError::Unavailable(message),
    }
}

/// What catalogues are read from.
#[derive(Clone)]
pub struct Sources {
    /// Items.
    pub documents: Arc<dyn Documents>,
    /// Hot lists.
    pub live: Arc<dyn Live>,
    /// Neighbours.
    pub learned: Arc<dyn Learned>,
}

/// The catalogue of a scenario, as it is now.
pub(crate) struct Stored {
    pub(crate) sources: Sources,
    pub(crate) tenant: Tenant,
    pub(crate) scenario_id: String,
    pub(crate) now_ms: u64,
    pub(crate) allowed: Vec<ColumnSpec>,
    pub(crate) tape: Tape,
}

impl Stored {
    async fn columns_of(
        &self,
        handles: Vec<u64>,
        columns: Vec<documents::ColumnSpec>,
    ) -> Result<documents::ItemColumns, CatalogueError> {
        let found =
            self.sources.documents.item_columns(&self.tenant, self.scenario_id.clone(), handles, columns, self.now_ms);
        found.await.map_err(failed)
    }
}

#[async_trait]
impl Catalogue for Stored {
    async fn hot(&self, limit: u32) -> Result<Scored, CatalogueError> {
        let cue = self.tape.cue("catalogue.hot", &limit);
        cue.play(async {
            let live = &self.sources.live;
            let hot = live.hot_top(&self.tenant, self.scenario_id.clone(), limit, Vec::new(), self.now_ms).await;
            let hot = hot.map_err(failed)?;
            // Some may be inactive since they were hot.
            let found = self.columns_of(hot.handles.clone(), Vec::new()).await?.found;
            let active = || found.iter().map(|at| *at as usize);
            Ok(Scored {
                handles: active().filter_map(|at| hot.handles.get(at).copied()).collect(),
                scores: active().filter_map(|at| hot.scores.get(at).copied()).collect(),
            })
        })
        .await
    }

    async fn newest(&self, term: Option<Term>, limit: u32) -> Result<Vec<u64>, CatalogueError> {
        let cue = self.tape.cue("catalogue.newest", &(&term, limit));
        cue.play(async {
            let term = term.map(|term| documents::Term { field: term.field, value: term.value });
            let lists = vec![(term, limit)];
            let found = self.sources.documents.newest_items(&self.tenant, self.scenario_id.clone(), lists).await;
            Ok(found.map_err(failed)?.pop().unwrap_or_default())
        })
        .await
    }

    async fn similar(&self, handles: Vec<u64>, limit: u32) -> Result<Lists, CatalogueError> {
        let cue = self.tape.cue("catalogue.similar", &(&handles, limit));
        cue.play(async {
            let learned = &self.sources.learned;
            let related = learned.related(&self.tenant, &self.scenario_id, Relation::SimilarItems, &handles, limit);
            let lists = related.await.map_err(failed)?;
            Ok(Lists { offsets: lists.offsets, handles: lists.handles, scores: lists.scores })
        })
        .await
    }

    async fn columns(&self, handles: Vec<u64>, columns: Vec<ColumnSpec>) -> Result<ItemTable, CatalogueError> {
        let cue = self.tape.cue("catalogue.columns", &(&handles, &columns));
        cue.play(async {
            let asked =
                columns.into_iter().map(|column| documents::ColumnSpec { name: column.name, kind: column.kind.into() });
            let found = self.columns_of(handles, asked.collect()).await?;
            Ok(ItemTable { found: found.found, table: found.table.into() })
        })
        .await
    }

    fn allowed(&self) -> &[ColumnSpec] {
        &self.allowed
    }
}

/// A catalogue that answers the same again.
pub(crate) struct Remembered {
    of: Arc<dyn Catalogue>,
    answers: Mutex<HashMap<Asked, Answered>>,
}

#[derive(Clone, PartialEq, Eq, Hash)]
enum Asked {
    Hot(u32),
    Newest(Option<(String, String)>, u32),
    Similar(Vec<u64>, u32),
    Columns(Vec<u64>, Vec<(String, u8)>),
}

#[derive(Clone)]
enum Answered {
    Scored(Scored),
    Handles(Vec<u64>),
    Lists(Lists),
    Items(ItemTable),
}

impl Remembered {
    pub(crate) fn new(of: Arc<dyn Catalogue>) -> Self {
        Self { of, answers: Mutex::default() }
    }

    async fn once(
        &self,
        asked: Asked,
        ask: impl Future<Output = Result<Answered, CatalogueError>> + Send,
    ) -> Result<Answered, CatalogueError> {
        let known = lock(&self.answers).get(&asked).cloned();
        if let Some(known) = known {
            return Ok(known);
        }
        let answered = ask.await?;
        lock(&self.answers).insert(asked, answered.clone());
        Ok(answered)
    }
}

/// It is what was asked for.
fn other() -> CatalogueError {
    CatalogueError::Unavailable("the catalogue answered something else".to_owned())
}

#[async_trait]
impl Catalogue for Remembered {
    async fn hot(&self, limit: u32) -> Result<Scored, CatalogueError> {
        let ask = async { self.of.hot(limit).await.map(Answered::Scored) };
        let Answered::Scored(scored) = self.once(Asked::Hot(limit), ask).await? else { return Err(other()) };
        Ok(scored)
    }

    async fn newest(&self, term: Option<Term>, limit: u32) -> Result<Vec<u64>, CatalogueError> {
        let of = term.as_ref().map(|term| (term.field.clone(), term.value.clone()));
        let ask = async { self.of.newest(term, limit).await.map(Answered::Handles) };
        let Answered::Handles(handles) = self.once(Asked::Newest(of, limit), ask).await? else { return Err(other()) };
        Ok(handles)
    }

    async fn similar(&self, handles: Vec<u64>, limit: u32) -> Result<Lists, CatalogueError> {
        let asked = Asked::Similar(handles.clone(), limit);
        let ask = async { self.of.similar(handles, limit).await.map(Answered::Lists) };
        let Answered::Lists(lists) = self.once(asked, ask).await? else { return Err(other()) };
        Ok(lists)
    }

    async fn columns(&self, handles: Vec<u64>, columns: Vec<ColumnSpec>) -> Result<ItemTable, CatalogueError> {
        let of = columns.iter().map(|column| (column.name.clone(), column.kind as u8)).collect();
        let asked = Asked::Columns(handles.clone(), of);
        let ask = async { self.of.columns(handles, columns).await.map(Answered::Items) };
        let Answered::Items(items) = self.once(asked, ask).await? else { return Err(other()) };
        Ok(items)
    }

    fn allowed(&self) -> &[ColumnSpec] {
        self.of.allowed()
    }
}

/// The catalogue of a request: its candidates, the best of which are hot; its slate is what is
/// new.
pub struct OfRequest {
    request: Arc<Recorded>,
    allowed: Vec<ColumnSpec>,
}

impl OfRequest {
    /// Of a request, for a component whose manifest reads these columns.
    #[must_use]
    pub fn new(request: Arc<Recorded>, allowed: Vec<ColumnSpec>) -> Self {
        Self { request, allowed }
    }

    /// Whether the item in this row has the value.
    fn has(&self, row: usize, field: &str, value: u32) -> bool {
        let items = &self.request.items;
        if let Some(at) = items.categorical_names.iter().position(|name| name == field) {
            return items.categorical.get(row * items.categorical_names.len() + at) == Some(&value);
        }
        let Some(at) = items.multi_names.iter().position(|name| name == field) else { return false };
        let cell = row * items.multi_names.len() + at;
        let Some([from, to]) = items.multi_offsets.get(cell..cell + 2) else { return false };
        items.multi_values.get(*from as usize..*to as usize).is_some_and(|values| values.contains(&value))
    }
}

#[async_trait]
impl Catalogue for OfRequest {
    async fn hot(&self, limit: u32) -> Result<Scored, CatalogueError> {
        let Candidates { handles, scores, .. } = &self.request.candidates;
        let first = |count: usize| count.min(limit as usize);
        Ok(Scored {
            handles: handles.iter().copied().take(first(handles.len())).collect(),
            scores: scores.iter().copied().take(first(scores.len())).collect(),
        })
    }

    async fn newest(&self, term: Option<Term>, limit: u32) -> Result<Vec<u64>, CatalogueError> {
        let term = term.map(|Term { field, value }| (field, id::value_hash(&value)));
        let known = &self.request.candidates.handles;
        let row = |handle: &u64| known.iter().position(|other| other == handle);
        let has = |handle: &u64| match &term {
            Some((field, value)) => row(handle).is_some_and(|row| self.has(row, field, *value)),
            None => true,
        };
        Ok(self.request.slate.iter().copied().filter(has).take(limit as usize).collect())
    }

    async fn similar(&self, handles: Vec<u64>, _: u32) -> Result<Lists, CatalogueError> {
        Ok(Lists { offsets: vec![0; handles.len() + 1], handles: Vec::new(), scores: Vec::new() })
    }

    async fn columns(&self, handles: Vec<u64>, columns: Vec<ColumnSpec>) -> Result<ItemTable, CatalogueError> {
        let known = &self.request.candidates.handles;
        let row = |handle: &u64| known.iter().position(|other| other == handle);
        let asked = handles.iter().zip(0_u32..);
        let (found, rows): (Vec<u32>, Vec<usize>) = asked.filter_map(|(handle, at)| Some((at, row(handle)?))).unzip();
        Ok(ItemTable { found, table: narrow(&self.request.items, &columns).rows(&rows) })
    }

    fn allowed(&self) -> &[ColumnSpec] {
        &self.allowed
    }
}
