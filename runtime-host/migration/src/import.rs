//! Putting an export into stores.

use std::path::Path;

use base64::DecodeError;
use funnelweb_core::limits;
use funnelweb_factor_documents::store::{Collection, Document};
use funnelweb_factor_events::store::StoredEvent;
use funnelweb_factor_key_value::store::KeyValue;
use funnelweb_factor_live::store::{Hot, Whole};
use futures::future::try_join_all;
use serde::Serialize;

use crate::{
    error::{Error, Result},
    format::{HotRecord, Kind},
    progress::{Progress, Show},
    reader::Records,
    records::{Record, value},
    stores::TenantStores,
    verify::{Compared, compare},
};

/// Bytes of records that are put into a store together.
const BATCH_BYTES: usize = 4 * 1024 * 1024;
/// And how many, at most.
const BATCH_RECORDS: usize = limits::EVENTS;

/// What was imported, and that it is there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Imported {
    /// Whose data it was.
    pub exported_from: String,
    /// Whose it is now.
    pub tenant: String,
    /// By kind, what the file has and what was read back from the stores.
    pub kinds: Vec<Compared>,
}

impl Imported {
    /// The kinds of which the stores hold something else than the file.
    #[must_use]
    pub fn different(&self) -> Vec<Kind> {
        self.kinds.iter().filter(|compared| compared.file != compared.stores).map(|compared| compared.kind).collect()
    }
}

/// Puts an export into stores, reads everything back and compares.
///
/// The whole file is checked before anything is written. The tenant must have
/// nothing yet; with `resume` it may have what an import of the same file has left
/// that failed: everything is written again, over what is there. Nobody else may
/// write the tenant's data until it is done.
///
/// # Errors
/// When the file is not what was written, the tenant has something already, or a
/// store fails. That what was read back is something else is no error here: see
/// [`Imported::different`].
pub async fn import(
    file: &Path,
    into: TenantStores<'_>,
    resume: bool,
    clock: &dyn Fn() -> u64,
    progress: &mut Show<'_>,
) -> Result<Imported> {
    let total = check(file, progress)?;
    if !resume && let Some(kind) = into.any().await? {
        return Err(Error::NotEmpty { tenant: into.tenant.to_string(), kind });
    }
    let mut records = Records::open(file)?;
    let mut batch: Option<Batch> = None;
    while let Some(record) = records.next()? {
        let full = match &mut batch {
            Some(batch) => batch.push(record).map_err(|error| records.wrong(error.to_string()))?,
            None => Some(record),
        };
        if let Some(record) = full {
            let next = Batch::new(record).map_err(|error| records.wrong(error.to_string()))?;
            if let Some(full) = batch.replace(next) {
                full.put(into, records.line()).await?;
            }
        }
        progress(&Progress { task: "import", done: records.sums().count(), total: Some(total) });
    }
    if let Some(last) = batch {
        last.put(into, records.line()).await?;
    }
    let header = records.header;
    let numbers = async {
        into.documents.raise_version_floor(into.tenant, header.version_floor).await?;
        into.events.raise_last_offset(into.tenant, header.last_offset).await?;
        into.events.settle(into.tenant).await?;
        into.events.restore_positions(into.tenant, header.positions).await
    };
    numbers.await.map_err(Error::store("importing the last versions and offsets"))?;
    let kinds = compare(file, into, total, clock, progress).await?;
    Ok(Imported { exported_from: header.tenant, tenant: into.tenant.to_string(), kinds })
}

/// Reads the whole file; how many records it has.
fn check(file: &Path, progress: &mut Show<'_>) -> Result<u64> {
    let mut records = Records::open(file)?;
    while let Some(record) = records.next()? {
        if let Record::KeyValue(record) = record {
            value(record).map_err(|error| records.wrong(error.to_string()))?;
        }
        progress(&Progress { task: "check", done: records.sums().count(), total: None });
    }
    Ok(records.sums().count())
}

/// Records that are put into a store together.
enum Batch {
    Documents(Collection, Vec<Document>, usize),
    Events(Vec<StoredEvent>, usize),
    Live(Vec<Whole>, usize),
    Values(Vec<KeyValue>, usize),
}

impl Batch {
    fn new(record: Record) -> std::result::Result<Self, DecodeError> {
        let mut new = match &record {
            Record::Document(kind, _) => Self::Documents(collection(*kind), Vec::new(), 0),
            Record::Event(_) => Self::Events(Vec::new(), 0),
            Record::Hot(_) | Record::Exposed(_) | Record::Stats(_) => Self::Live(Vec::new(), 0),
            Record::KeyValue(_) => Self::Values(Vec::new(), 0),
        };
        new.push(record)?;
        Ok(new)
    }

    /// Adds a record, or gives it back when it belongs into another batch.
    fn push(&mut self, record: Record) -> std::result::Result<Option<Record>, DecodeError> {
        let full = |count: usize, bytes: usize| count >= BATCH_RECORDS || bytes >= BATCH_BYTES;
        match (self, record) {
            (Self::Documents(of, documents, bytes), Record::Document(kind, record))
                if *of == collection(kind) && !full(documents.len(), *bytes) =>
            {
                let document = Document::from(record);
                *bytes += document.body.len();
                documents.push(document);
            }
            (Self::Events(events, bytes), Record::Event(record)) if !full(events.len(), *bytes) => {
                let event = StoredEvent::from(record);
                *bytes += event.event.body.len();
                events.push(event);
            }
            // A list is put into its place whole.
            (Self::Live(structures, bytes), Record::Hot(item)) => {
                let is_full = full(structures.len(), *bytes);
                match structures.last_mut() {
                    Some(Whole::Hot(hot)) if hot.scenario_id == item.scenario_id => {
                        *bytes += item.item_id.len() + 16;
                        hot.items.insert(item.item_id, item.score);
                    }
                    _ if is_full => return Ok(Some(Record::Hot(item))),
                    _ => structures.push(Whole::Hot(hot(item))),
                }
            }
            (Self::Live(structures, bytes), Record::Exposed(record)) if !full(structures.len(), *bytes) => {
                *bytes += record.items.iter().map(|(item, _)| item.len() + 16).sum::<usize>();
                structures.push(record.into());
            }
            (Self::Live(structures, bytes), Record::Stats(record)) if !full(structures.len(), *bytes) => {
                *bytes += record.fields.keys().map(|field| field.len() + 16).sum::<usize>();
                structures.push(record.into());
            }
            (Self::Values(values, bytes), Record::KeyValue(record)) if !full(values.len(), *bytes) => {
                let value = value(record)?;
                *bytes += value.value.len();
                values.push(value);
            }
            (_, record) => return Ok(Some(record)),
        }
        Ok(None)
    }

    async fn put(self, into: TenantStores<'_>, line: u64) -> Result<()> {
        let TenantStores { tenant, documents, events, live, key_values } = into;
        let put = match self {
            Self::Documents(collection, batch, _) => documents.restore(tenant, collection, batch).await,
            Self::Events(batch, _) => events.restore(tenant, batch).await,
            Self::Live(batch, _) => live.restore(tenant, batch).await,
            Self::Values(batch, _) => {
                let set = batch.iter().map(|new| key_values.set(tenant, &new.label, &new.key, new.value.clone()));
                try_join_all(set).await.map(|_| ())
            }
        };
        put.map_err(Error::store(format!("importing what stands before line {line}")))
    }
}

fn hot(first: HotRecord) -> Hot {
    let HotRecord { scenario_id, half_life_s, newest_ms, item_id, score } = first;
    Hot { scenario_id, half_life_s, newest_ms, items: [(item_id, score)].into() }
}

fn collection(kind: Kind) -> Collection {
    Collection::ALL.into_iter().find(|collection| Kind::of(*collection) == kind).unwrap_or(Collection::Items)
}
