//! Comparing an export with what stores hold.

use std::path::Path;

use serde::Serialize;

use crate::{
    error::{Error, Result},
    export::{Parts, walk},
    format::Kind,
    progress::{Progress, Show},
    reader::Records,
    records::Record,
    stores::TenantStores,
    sums::{Sum, Sums},
};

/// How much longer than now what users were shown must count for to be compared:
/// more than it takes to read it all, or it would expire meanwhile.
const AHEAD_MS: u64 = 60_000;

/// One kind, on both sides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Compared {
    /// The kind.
    pub kind: Kind,
    /// In the file; of what users were shown, what does not expire soon.
    pub file: Sum,
    /// In the stores; likewise.
    pub stores: Sum,
}

/// Reads everything that the stores hold of the tenant, and the file once more.
pub(crate) async fn compare(
    file: &Path,
    stores: TenantStores<'_>,
    total: u64,
    clock: &dyn Fn() -> u64,
    progress: &mut Show<'_>,
) -> Result<Vec<Compared>> {
    let mut rest = Sums::default();
    let mut done = 0;
    let mut show = |done: u64| progress(&Progress { task: "verify", done, total: Some(total) });
    walk(stores, Parts { live: false, rest: true }, &mut |record| {
        done += 1;
        show(done);
        add(&mut rest, file, record)
    })
    .await?;
    let mut ahead_ms = AHEAD_MS;
    let (live, alive_ms) = loop {
        let alive_ms = clock() + ahead_ms;
        let mut live = Sums::default();
        walk(stores, Parts { live: true, rest: false }, &mut |record| {
            record.alive(alive_ms).map_or(Ok(()), |record| {
                show(done + live.count());
                add(&mut live, file, record)
            })
        })
        .await?;
        if clock() < alive_ms {
            break (live, alive_ms);
        }
        // It took longer than was thought.
        ahead_ms *= 4;
    };
    let mut records = Records::open(file)?;
    let mut written = Sums::default();
    while let Some(record) = records.next()? {
        if let Some(record) = record.alive(alive_ms) {
            add(&mut written, file, record)?;
        }
    }
    let stores = |kind| if rest.of(kind) == Sum::default() { live.of(kind) } else { rest.of(kind) };
    Ok(Kind::RECORDS.map(|kind| Compared { kind, file: written.of(kind), stores: stores(kind) }).into())
}

fn add(sums: &mut Sums, file: &Path, record: Record) -> Result<()> {
    let text = record.text().map_err(std::io::Error::from).map_err(Error::file(file))?;
    sums.add(record.kind(), &text);
    Ok(())
}
