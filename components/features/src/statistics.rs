//! The reserved statistic names: numeric columns that come from the live
//! structures where an item's metadata has no such number.
//!
//! | name | value |
//! |---|---|
//! | `hot_score` | the item's heat (`live.hot-scores`) |
//! | `view_count`, `click_count`, `like_count`, `share_count`, `purchase_count`, `impression_count` | the counter of that name (`live.item-stats`) |
//! | `completion_rate` | smoothed `completion_rate_sum / completion_rate_count` |
//! | `ctr` | smoothed `click_count / impression_count` |
//!
//! A ratio of few events says little, so it is drawn towards a prior mean `m` as
//! if `n` events had been seen already (the mean of a beta distribution):
//! `(sum + m·n) / (count + n)`, clamped to 0..1. `completion_rate`: m = 0.5,
//! n = 5. `ctr`: m = 0.05, n = 20; clicks that came without a counted impression
//! count as impressions.

use funnelweb_guest::{
    errors::Error,
    types::{ColumnKind, ColumnSpec, Handle, RequestContext, StageError, Table},
};

use crate::Sources;

/// Where a reserved name's value comes from.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Statistic {
    Hot,
    Counter(&'static str),
    Ratio(&'static Ratio),
}

#[derive(Debug, PartialEq)]
struct Ratio {
    sum: &'static str,
    count: &'static str,
    prior_mean: f64,
    prior_events: f64,
}

const COMPLETION_RATE: Ratio =
    Ratio { sum: "completion_rate_sum", count: "completion_rate_count", prior_mean: 0.5, prior_events: 5.0 };
const CTR: Ratio = Ratio { sum: "click_count", count: "impression_count", prior_mean: 0.05, prior_events: 20.0 };

const RESERVED: [(&str, Statistic); 9] = [
    ("hot_score", Statistic::Hot),
    ("view_count", Statistic::Counter("view_count")),
    ("click_count", Statistic::Counter("click_count")),
    ("like_count", Statistic::Counter("like_count")),
    ("share_count", Statistic::Counter("share_count")),
    ("purchase_count", Statistic::Counter("purchase_count")),
    ("impression_count", Statistic::Counter("impression_count")),
    ("completion_rate", Statistic::Ratio(&COMPLETION_RATE)),
    ("ctr", Statistic::Ratio(&CTR)),
];

impl Statistic {
    fn named(name: &str) -> Option<Self> {
        RESERVED.iter().find(|(reserved, _)| *reserved == name).map(|(_, statistic)| *statistic)
    }

    fn fields(self) -> Vec<&'static str> {
        match self {
            Self::Hot => Vec::new(),
            Self::Counter(field) => vec![field],
            Self::Ratio(ratio) => vec![ratio.sum, ratio.count],
        }
    }
}

impl Ratio {
    fn smooth(&self, sum: f64, count: f64) -> f32 {
        let (sum, count) = (sum.max(0.0), count.max(0.0).max(sum));
        let ratio = (sum + self.prior_mean * self.prior_events) / (count + self.prior_events);
        if ratio.is_finite() { ratio.clamp(0.0, 1.0) as f32 } else { self.prior_mean as f32 }
    }
}

/// A numeric column of the table and the statistic that completes it.
struct Target {
    at: usize,
    statistic: Statistic,
}

/// Fills the missing cells of the reserved columns that were asked for; `kept`
/// are the handles of the table's rows. At most one call of `hot-scores` and one
/// of `item-stats`, for the rows that lack something.
///
/// # Errors
/// When a call is refused. When the store is unavailable the cells stay missing.
pub(crate) fn fill(
    table: &mut Table,
    asked: &[ColumnSpec],
    context: &RequestContext,
    kept: &[Handle],
    sources: &impl Sources,
) -> Result<(), StageError> {
    let mut hot = Vec::new();
    let mut counted = Vec::new();
    for column in asked.iter().filter(|column| column.kind == ColumnKind::Numeric) {
        let at = table.numeric_names.iter().position(|name| *name == column.name);
        if let (Some(statistic), Some(at)) = (Statistic::named(&column.name), at) {
            let targets = if statistic == Statistic::Hot { &mut hot } else { &mut counted };
            targets.push(Target { at, statistic });
        }
    }

    let (rows, handles) = lacking(table, kept, &hot);
    if !rows.is_empty()
        && let Some(heat) = available(sources.hot_scores(&context.scenario_id, &handles, context.now_ms))?
    {
        for (row, heat) in rows.iter().zip(heat) {
            complete(table, *row, &hot, |_| heat);
        }
    }

    let (rows, handles) = lacking(table, kept, &counted);
    let mut fields: Vec<String> = Vec::new();
    for field in counted.iter().flat_map(|target| target.statistic.fields()) {
        if !fields.iter().any(|other| other == field) {
            fields.push(field.to_owned());
        }
    }
    if !rows.is_empty()
        && let Some(counters) = available(sources.item_stats(&context.scenario_id, &handles, &fields))?
    {
        for (row, counters) in rows.iter().zip(counters.chunks_exact(fields.len())) {
            let of = |field: &str| {
                let at = fields.iter().position(|other| other == field);
                at.and_then(|at| counters.get(at)).copied().unwrap_or(0.0)
            };
            complete(table, *row, &counted, |statistic| match statistic {
                Statistic::Hot => f32::NAN,
                Statistic::Counter(field) => of(field) as f32,
                Statistic::Ratio(ratio) => ratio.smooth(of(ratio.sum), of(ratio.count)),
            });
        }
    }
    Ok(())
}

/// What a live call answered; None when the store is unavailable.
fn available<T>(answer: Result<T, Error>) -> Result<Option<T>, StageError> {
    match answer {
        Ok(answer) => Ok(Some(answer)),
        Err(Error::Unavailable(_)) => Ok(None),
        Err(error @ (Error::Invalid(_) | Error::Denied(_))) => Err(error.into()),
    }
}

/// The rows in which a target is missing, with their handles.
fn lacking(table: &Table, kept: &[Handle], targets: &[Target]) -> (Vec<usize>, Vec<Handle>) {
    let width = table.numeric_names.len();
    let lacks = |row: &usize| {
        targets.iter().any(|target| table.numeric.get(row * width + target.at).is_some_and(|cell| cell.is_nan()))
    };
    kept.iter().enumerate().filter(|(row, _)| lacks(row)).map(|(row, handle)| (row, *handle)).unzip()
}

/// Sets the targets of a row that are missing.
fn complete(table: &mut Table, row: usize, targets: &[Target], value: impl Fn(Statistic) -> f32) {
    let width = table.numeric_names.len();
    for target in targets {
        if let Some(cell) = table.numeric.get_mut(row * width + target.at)
            && cell.is_nan()
        {
            *cell = value(target.statistic);
        }
    }
}
