//! Writing an export.

use std::{
    fs::File,
    io::{self, BufWriter, Write},
    path::Path,
};

use flate2::{Compression, write::GzEncoder};
use funnelweb_core::{limits, time};
use funnelweb_factor_documents::store::Collection;
use futures::TryStreamExt as _;
use serde::Serialize;
use serde_json::value::RawValue;
use tempfile::NamedTempFile;

use crate::{
    error::{Error, Result},
    format::{FORMAT, Header, Kind, Line, VERSION},
    progress::{Progress, Show},
    records::Record,
    stores::TenantStores,
    sums::{self, Sums},
};

/// What was exported.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Exported {
    /// Whose data.
    pub tenant: String,
    /// Counts and checksums.
    pub kinds: Sums,
}

/// Writes everything that the tenant has to the file `to`, gzip when its name ends
/// in `.gz`. It is written beside `to` and renamed at the end.
///
/// What is written to the stores meanwhile may be in it or not, and a behaviour
/// without what it changed: of stores that are in use an export is no moment.
///
/// # Errors
/// When a store fails, behaviours are on their way, or the file cannot be written.
pub async fn export(from: TenantStores<'_>, to: &Path, now_ms: u64, progress: &mut Show<'_>) -> Result<Exported> {
    from.events.settle(from.tenant).await.map_err(Error::store("completing behaviours"))?;
    let header = Header {
        format: FORMAT.to_owned(),
        version: VERSION,
        tenant: from.tenant.to_string(),
        exported_at: time::format_ms(now_ms),
        product: env!("CARGO_PKG_VERSION").to_owned(),
        version_floor: from.documents.version_floor(from.tenant).await.map_err(Error::store("reading documents"))?,
        last_offset: from.events.last_offset(from.tenant).await.map_err(Error::store("reading behaviours"))?,
        positions: from.events.positions(from.tenant).await.map_err(Error::store("reading how far operators are"))?,
    };
    let mut writer = Writer::create(to)?;
    writer.line(Kind::Header, &serde_json::to_string(&header).map_err(io::Error::from).map_err(Error::file(to))?)?;
    let mut kinds = Sums::default();
    walk(from, Parts::ALL, &mut |record| {
        let text = record.text().map_err(io::Error::from).map_err(Error::file(to))?;
        kinds.add(record.kind(), &text);
        progress(&Progress { task: "export", done: kinds.count(), total: None });
        writer.line(record.kind(), &text)
    })
    .await?;
    writer.line(Kind::End, &serde_json::to_string(&kinds).map_err(io::Error::from).map_err(Error::file(to))?)?;
    writer.finish()?;
    Ok(Exported { tenant: header.tenant, kinds })
}

/// Which parts of a tenant are walked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Parts {
    /// Hot lists, exposures and counters.
    pub(crate) live: bool,
    /// Everything else.
    pub(crate) rest: bool,
}

impl Parts {
    pub(crate) const ALL: Self = Self { live: true, rest: true };
}

/// Gives every record, in the order of a file.
pub(crate) async fn walk(
    from: TenantStores<'_>,
    parts: Parts,
    each: &mut dyn FnMut(Record) -> Result<()>,
) -> Result<()> {
    let unreadable = |kind: Kind| {
        move |error: serde_json::Error| Error::Store {
            doing: format!("reading {kind}"),
            error: funnelweb_tenant_store::Error::Unavailable(error.to_string()),
        }
    };
    if parts.rest {
        for collection in Collection::ALL {
            let kind = Kind::of(collection);
            let mut pages = from.documents.walk(from.tenant, collection);
            while let Some(page) = pages.try_next().await.map_err(Error::store(format!("reading {kind}")))? {
                for document in page {
                    each(Record::of_document(kind, document).map_err(unreadable(kind))?)?;
                }
            }
        }
        let mut next = 0;
        loop {
            let page = from.events.read(from.tenant, next, limits::HISTORY_EVENTS).await;
            let page = page.map_err(Error::store("reading behaviours"))?;
            let Some(last) = page.last() else { break };
            next = last.offset + 1;
            for event in page {
                each(Record::of_event(event).map_err(unreadable(Kind::Interactions))?)?;
            }
        }
    }
    if parts.live {
        let mut pages = from.live.walk(from.tenant);
        while let Some(page) = pages.try_next().await.map_err(Error::store("reading live structures"))? {
            page.into_iter().flat_map(Record::of_whole).try_for_each(&mut *each)?;
        }
    }
    if parts.rest {
        let mut pages = from.key_values.walk(from.tenant);
        while let Some(page) = pages.try_next().await.map_err(Error::store("reading key-values"))? {
            page.into_iter().map(Record::of_value).try_for_each(&mut *each)?;
        }
    }
    Ok(())
}

/// A file beside the one that it becomes.
struct Writer<'a> {
    to: &'a Path,
    lines: Lines,
}

enum Lines {
    Plain(BufWriter<NamedTempFile>),
    Gzip(GzEncoder<BufWriter<NamedTempFile>>),
}

impl Writer<'_> {
    fn create(to: &Path) -> Result<Writer<'_>> {
        let file = tempfile::Builder::new().prefix(".export-").tempfile_in(folder(to)).map_err(Error::file(to))?;
        let file = BufWriter::with_capacity(1 << 20, file);
        let lines = match to.extension().is_some_and(|end| end == "gz") {
            true => Lines::Gzip(GzEncoder::new(file, Compression::default())),
            false => Lines::Plain(file),
        };
        Ok(Writer { to, lines })
    }

    fn line(&mut self, kind: Kind, record: &str) -> Result<()> {
        let line = line(kind, record).map_err(Error::file(self.to))?;
        let written = match &mut self.lines {
            Lines::Plain(file) => file.write_all(&line),
            Lines::Gzip(file) => file.write_all(&line),
        };
        written.map_err(Error::file(self.to))
    }

    /// Puts it in its place, on the disk.
    fn finish(self) -> Result<()> {
        let finished = || {
            let file = match self.lines {
                Lines::Plain(file) => file,
                Lines::Gzip(file) => file.finish()?,
            };
            let file = file.into_inner().map_err(io::IntoInnerError::into_error)?;
            file.as_file().sync_all()?;
            file.persist(self.to).map_err(|error| error.error)?;
            File::open(folder(self.to))?.sync_all()
        };
        finished().map_err(Error::file(self.to))
    }
}

/// The line of a record.
fn line(kind: Kind, record: &str) -> io::Result<Vec<u8>> {
    let record = serde_json::from_str::<&RawValue>(record)?;
    let (kind, sum) = (kind.to_string(), sums::of_line(record.get()));
    let mut line = serde_json::to_vec(&Line { kind: kind.into(), sum: sum.into(), record })?;
    line.push(b'\n');
    Ok(line)
}

/// The folder that a file is in.
pub(crate) fn folder(file: &Path) -> &Path {
    file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_was_not_finished_is_not_there() {
        let place = tempfile::tempdir().unwrap();
        let to = place.path().join("a.ndjson.gz");
        let mut writer = Writer::create(&to).unwrap();
        writer.line(Kind::Header, "{}").unwrap();
        drop(writer);
        assert_eq!(place.path().read_dir().unwrap().count(), 0);
        let mut writer = Writer::create(&to).unwrap();
        writer.line(Kind::Header, "{}").unwrap();
        writer.finish().unwrap();
        assert!(std::fs::read(&to).unwrap().starts_with(&[0x1f, 0x8b]));
        assert_eq!(folder(Path::new("a.ndjson")), Path::new("."));
    }
}
