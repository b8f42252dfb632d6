//! The export: slates, behaviours, slates again.

use std::{
    collections::{HashMap, hash_map::Entry},
    path::Path,
};

use funnelweb_core::id;
use funnelweb_exposure_log::{Slate, store::ExposureLog};
use funnelweb_factor_events::store::{Event, Events};
use funnelweb_tenant_store::Tenant;
use serde::Deserialize;
use serde_json::Value;

use crate::{
    columns::{Columns, Place},
    error::{Error, Result},
    join::{Behavior, Exposure, Join, Joined, Labels},
    limits,
    options::{Actions, Options},
    report::{PartReport, Report},
    split::{Moment, Part, Split},
    table::{self, Row, Table},
};

/// Whose log is exported.
#[derive(Clone, Copy)]
pub struct Sources<'a> {
    /// The tenant.
    pub tenant: &'a Tenant,
    /// What was shown.
    pub exposures: &'a dyn ExposureLog,
    /// What users did.
    pub events: &'a dyn Events,
}

/// How far an export is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress<'a> {
    /// What is being read or written: `slates`, `behaviors`, `rows`.
    pub task: &'a str,
    /// So many are done.
    pub done: u64,
    /// Of so many, when it is known.
    pub total: Option<u64>,
}

/// Where progress goes. It is called after every page.
pub type Show<'a> = dyn FnMut(&Progress<'_>) + 'a;

/// Writes the training log of a scenario to the file `to`. It is written beside `to` and
/// renamed at the end.
///
/// # Errors
/// When an option breaks a rule, nothing is logged or left, a store fails, or the file
/// is there or cannot be written.
pub async fn export(
    from: Sources<'_>,
    options: &Options,
    to: &Path,
    now_ms: u64,
    progress: &mut Show<'_>,
) -> Result<Report> {
    options.check()?;
    table::check_target(to, options.force)?;
    let mut report = Report::default();
    let Shown { mut requests, exposures, columns } = read_slates(from, options, &mut report, progress).await?;
    if report.slates == 0 {
        return Err(Error::NoExposures(options.scenario_id.clone()));
    }
    let (joined, newest_ms) = read_behaviors(from, options, exposures, &mut report, progress).await?;
    if !options.unfinished {
        // Behaviours may come in batches: of what is newer than all of them nobody knows.
        let known_ms = newest_ms.min(now_ms);
        requests.retain(|_, shown| finished(shown, options.window_ms, known_ms, &mut report));
    }
    let moments = requests.iter().map(|(&request, shown)| Moment { shown_at_ms: shown.at_ms, request });
    let split = Split::by_time(moments.collect(), options.shares);
    let mut table = Table::create(to, options, &columns, now_ms)?;
    let mut rows = Rows { options, requests, joined, split, columns: &columns, report: &mut report };
    rows.write(from, &mut table, progress).await?;
    if report.rows == 0 {
        return Err(Error::NothingLeft(Box::new(report)));
    }
    table.finish()?;
    Ok(report)
}

/// What the first reading of the slates gives.
#[derive(Default)]
struct Shown {
    /// Slates to be written, by the handle of their request.
    requests: HashMap<u64, Request>,
    exposures: Vec<Exposure>,
    columns: Columns,
}

#[derive(Debug, Clone, Copy)]
struct Request {
    at_ms: u64,
    items: u64,
}

async fn read_slates(
    from: Sources<'_>,
    options: &Options,
    report: &mut Report,
    progress: &mut Show<'_>,
) -> Result<Shown> {
    let mut shown = Shown::default();
    let mut pages = Slates::new(from, &options.scenario_id);
    while let Some(page) = pages.next().await? {
        for slate in &page {
            shown.add(slate, options, report);
        }
        progress(&Progress { task: "slates", done: report.slates, total: None });
    }
    report.features = shown.columns.iter().len() as u64;
    Ok(shown)
}

impl Shown {
    fn add(&mut self, slate: &Slate, options: &Options, report: &mut Report) {
        let (request, at_ms, items) = (id::handle(&slate.request_id), slate.shown_at_ms, slate.items.len() as u64);
        if slate.is_bare() {
            // There is nothing to learn from, but what was done with it is of no slate before.
            self.exposures.extend(exposures(slate, request).filter(|_| !slate.user_id.is_empty()));
            return;
        }
        report.slates += 1;
        report.items += items;
        if slate.user_id.is_empty() {
            report.left_out.sessions += items;
            return;
        }
        if !options.is_within(at_ms) {
            report.left_out.outside += items;
            if options.is_beyond(at_ms) {
                self.exposures.extend(exposures(slate, request));
            }
            return;
        }
        // Also of one that is left out: what was done with it is of no slate before.
        self.exposures.extend(exposures(slate, request));
        match self.requests.entry(request) {
            Entry::Occupied(_) => report.left_out.repeated += items,
            Entry::Vacant(entry) => {
                entry.insert(Request { at_ms, items });
                self.columns.add(slate);
            }
        }
    }
}

fn exposures(slate: &Slate, request: u64) -> impl Iterator<Item = Exposure> {
    slate.items.iter().map(move |item| Exposure::new(&slate.user_id, &item.item_id, slate.shown_at_ms, request))
}

/// Whether all behaviours of it are known; if not, it is counted.
fn finished(shown: &Request, window_ms: u64, known_ms: u64, report: &mut Report) -> bool {
    let finished = shown.at_ms.saturating_add(window_ms) <= known_ms;
    if !finished {
        report.left_out.unfinished += shown.items;
    }
    finished
}

/// Attributes the behaviours of the scenario; the time of the newest goes with them.
async fn read_behaviors(
    from: Sources<'_>,
    options: &Options,
    exposures: Vec<Exposure>,
    report: &mut Report,
    progress: &mut Show<'_>,
) -> Result<(Joined, u64)> {
    let mut join = Join::new(exposures, options.window_ms);
    let (mut offset, mut newest_ms) = (0, 0);
    loop {
        let page = from.events.read(from.tenant, offset, limits::PAGE_BEHAVIORS).await;
        let page = page.map_err(Error::store("behaviours"))?;
        let Some(last) = page.last() else { break };
        offset = last.offset + 1;
        for event in page.iter().map(|stored| &stored.event).filter(|event| event.scenario_id == options.scenario_id) {
            newest_ms = newest_ms.max(event.timestamp_ms);
            report.behaviors.read += 1;
            report.behaviors.attributed += u64::from(join.add(&behavior(event, &options.actions)));
        }
        progress(&Progress { task: "behaviors", done: report.behaviors.read, total: None });
    }
    Ok((join.finish(), newest_ms))
}

fn behavior<'a>(event: &'a Event, actions: &Actions) -> Behavior<'a> {
    #[derive(Default, Deserialize)]
    struct Body {
        extra: Extra,
    }
    #[derive(Default, Deserialize)]
    struct Extra {
        watch_duration: Option<f32>,
        request_id: Option<Value>,
    }
    // The log holds what was checked on its way in; another body says nothing.
    let body: Body = serde_json::from_str(&event.body).unwrap_or_default();
    let request = body.extra.request_id.as_ref().and_then(Value::as_str).map(id::handle);
    let watched_s = body.extra.watch_duration.filter(|seconds| seconds.is_finite() && *seconds > 0.0);
    Behavior {
        user_id: &event.user_id,
        item_id: &event.item_id,
        at_ms: event.timestamp_ms,
        click: actions.is_click(&event.action_type),
        conversion: actions.is_conversion(&event.action_type),
        watched_s: watched_s.unwrap_or_default(),
        request,
    }
}

/// What the second reading of the slates needs.
struct Rows<'a> {
    options: &'a Options,
    /// Those that are not written yet.
    requests: HashMap<u64, Request>,
    joined: Joined,
    split: Split,
    columns: &'a Columns,
    report: &'a mut Report,
}

impl Rows<'_> {
    async fn write(&mut self, from: Sources<'_>, table: &mut Table<'_>, progress: &mut Show<'_>) -> Result<()> {
        let mut pages = Slates::new(from, &self.options.scenario_id);
        let mut done = 0;
        while let Some(page) = pages.next().await? {
            for slate in &page {
                self.write_slate(slate, table)?;
            }
            done += page.len() as u64;
            progress(&Progress { task: "rows", done, total: Some(self.report.slates) });
        }
        Ok(())
    }

    /// Slates that came meanwhile are not among the requests.
    fn write_slate(&mut self, slate: &Slate, table: &mut Table<'_>) -> Result<()> {
        let request = id::handle(&slate.request_id);
        if self.requests.get(&request).is_none_or(|shown| shown.at_ms != slate.shown_at_ms) || slate.user_id.is_empty()
        {
            return Ok(());
        }
        self.requests.remove(&request);
        let part = self.split.part(Moment { shown_at_ms: slate.shown_at_ms, request });
        let end_ms = self.split.end_ms(part);
        let labels: Vec<Labels> =
            exposures(slate, request).map(|exposure| self.joined.labels(&exposure, end_ms)).collect();
        let kept = if self.options.only_seen { seen(&labels) } else { labels.len() };
        let places = self.columns.places(slate);
        let old_kinds = places.iter().filter(|place| **place == Place::OldKind).count();
        for (position, (item, &labels)) in slate.items.iter().zip(&labels).take(kept).enumerate() {
            table.add(&Row { slate, position, item, part, labels, places: &places })?;
        }
        self.report.count(part, labels.get(..kept).unwrap_or_default());
        self.report.left_out.unseen += (labels.len() - kept) as u64;
        self.report.old_kind_cells += (kept * old_kinds) as u64;
        Ok(())
    }
}

/// So many of a slate's items were seen: those down to the last with a behaviour.
fn seen(labels: &[Labels]) -> usize {
    labels.iter().rposition(|labels| labels.seen).map_or(0, |last| last + 1)
}

impl Report {
    fn count(&mut self, part: Part, labels: &[Labels]) {
        let count = |of: fn(&Labels) -> bool| labels.iter().filter(|labels| of(labels)).count() as u64;
        let rows = labels.len() as u64;
        self.rows += rows;
        self.behaviors.cut += labels.iter().map(|labels| labels.cut).sum::<u64>();
        let PartReport { requests, rows: part_rows, clicks, conversions, watched } = match part {
            Part::Train => &mut self.train,
            Part::Valid => &mut self.valid,
            Part::Test => &mut self.test,
        };
        *requests += u64::from(rows > 0);
        *part_rows += rows;
        *clicks += count(|labels| labels.click);
        *conversions += count(|labels| labels.conversion);
        *watched += count(|labels| labels.watch_time > 0.0);
    }
}

/// The slates of a scenario, page by page.
struct Slates<'a> {
    from: Sources<'a>,
    scenario_id: &'a str,
    after: Option<u64>,
    is_done: bool,
}

impl<'a> Slates<'a> {
    fn new(from: Sources<'a>, scenario_id: &'a str) -> Self {
        Self { from, scenario_id, after: None, is_done: false }
    }

    async fn next(&mut self) -> Result<Option<Vec<Slate>>> {
        if self.is_done {
            return Ok(None);
        }
        let Sources { tenant, exposures, .. } = self.from;
        let page = exposures.read(tenant, self.scenario_id, self.after, limits::PAGE_SLATES).await;
        let page = page.map_err(Error::store("slates"))?;
        (self.after, self.is_done) = (page.next, page.next.is_none());
        Ok(Some(page.slates))
    }
}
