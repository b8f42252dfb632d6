//! What was measured, for people and for programs: one [`Report`], as a table for a
//! terminal, as JSON, and as one HTML file.
//!
//! The JSON is the struct as it stands here. Fields may be added; none is taken away
//! or changes its meaning without another [`FORMAT`].

mod chart;
mod html;
mod text;

use serde::{Deserialize, Serialize};

use crate::{
    bootstrap::{self, Bootstrap, Estimate},
    catalogue::Catalogue,
    error::{Error, Result},
    limits,
    metrics::{Cuts, Metric, Sheet, Spread, measure},
    split::Split,
};

/// The version of the report's JSON.
pub const FORMAT: u32 = 1;

/// A report.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// [`FORMAT`]
    pub format: u32,
    /// What was evaluated: a file or a scenario.
    pub title: String,
    /// How the data were split, in words.
    pub split: String,
    /// What there was.
    pub data: DataSummary,
    /// How intervals are made.
    pub bootstrap: bootstrap::Config,
    /// At which lengths slates were cut.
    pub cuts: Vec<u32>,
    /// Each recommender.
    pub runs: Vec<RunReport>,
    /// Paired differences of accuracy.
    pub differences: Vec<Difference>,
}

/// How large everything is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DataSummary {
    /// Users with any event.
    pub users: u32,
    /// Items that could be recommended.
    pub items: u32,
    /// Events of all parts.
    pub events: u64,
    /// Events that were learned from.
    pub learned: u64,
    /// Events of held-out users that were folded in.
    pub folded_in: u64,
    /// Users who were asked for.
    pub asked: u32,
    /// Users who have liked something and were not asked for.
    pub left_out: u32,
    /// Items wanted, over all users.
    pub wanted: u64,
    /// Of them, those that nobody liked in the part learned from: what is learned
    /// from behaviour alone cannot find them.
    pub wanted_unseen: u64,
}

/// What a recommender is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunKind {
    /// One that knows nothing of the user.
    Baseline,
    /// One recall channel by itself.
    Channel,
    /// A funnel.
    Funnel,
}

/// The slates of one recommender.
#[derive(Debug, Clone)]
pub struct Run {
    /// Unique in a report.
    pub name: String,
    /// Which kind.
    pub kind: RunKind,
    /// One for each user who was asked for; items by number, best first.
    pub slates: Vec<Vec<u32>>,
    /// How long answers took.
    pub latency: Option<Latency>,
    /// What did not work.
    pub trouble: Vec<Trouble>,
}

/// How long answers took, in milliseconds, with as many asked at once as were.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Latency {
    /// Half of them took less.
    pub p50_ms: f64,
    /// 99 % of them took less.
    pub p99_ms: f64,
}

/// A stage that gave no answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trouble {
    /// As the config names it.
    pub stage: String,
    /// Why.
    pub reason: String,
    /// In how many of the answers.
    pub answers: u64,
}

/// What was measured of one recommender.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunReport {
    /// Its name.
    pub name: String,
    /// Which kind.
    pub kind: RunKind,
    /// By metric and then cut; a metric that nobody has a value for is left out.
    pub metrics: Vec<Measured>,
    /// By cut.
    pub spreads: Vec<Spread>,
    /// How long answers took.
    pub latency: Option<Latency>,
    /// What did not work.
    pub trouble: Vec<Trouble>,
}

/// One metric at one cut.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    /// Which.
    pub metric: Metric,
    /// At which.
    pub k: u32,
    /// Its mean and interval.
    #[serde(flatten)]
    pub estimate: Estimate,
}

/// By how much one recommender exceeds another, user by user.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Difference {
    /// The one.
    pub of: String,
    /// The other.
    pub against: String,
    /// In what.
    pub metric: Metric,
    /// At which cut.
    pub k: u32,
    /// The mean difference and its interval; where that does not hold 0, one is
    /// better.
    #[serde(flatten)]
    pub estimate: Estimate,
}

impl Difference {
    /// 1 or −1 when the interval is on one side of 0, else 0.
    #[must_use]
    pub fn sign(&self) -> i8 {
        i8::from(self.estimate.low > 0.0) - i8::from(self.estimate.high < 0.0)
    }
}

/// What a report is made of, besides runs.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    /// What is evaluated.
    pub title: &'a str,
    /// How the data were split, in words.
    pub split_title: &'a str,
    /// How they were split.
    pub split: &'a Split,
    /// Users with any event.
    pub users: u32,
    /// Events of all parts.
    pub events: usize,
    /// The items.
    pub catalogue: &'a Catalogue,
    /// Where slates are cut.
    pub cuts: &'a Cuts,
    /// How intervals are made.
    pub bootstrap: bootstrap::Config,
}

impl Report {
    /// Measures runs; `pairs` names those whose differences are wanted, the one that
    /// should be better first. A pair with a name that no run has is passed over.
    ///
    /// # Errors
    /// [`Error::Runs`] and [`Error::Slates`], and those of [`Bootstrap::new`].
    pub fn new(subject: &Subject<'_>, runs: Vec<Run>, pairs: &[(String, String)]) -> Result<Self> {
        if runs.len() > limits::RUNS {
            return Err(Error::Runs(runs.len()));
        }
        let Subject { split, catalogue, cuts, .. } = *subject;
        let measured = runs.iter().map(|run| measure(&run.name, &split.asked, &run.slates, catalogue, cuts));
        let sheets: Vec<Sheet> = measured.collect::<Result<_>>()?;
        let columns = sheets.iter().flat_map(|sheet| &sheet.columns).map(|column| column.values.as_slice()).collect();
        let bootstrap = Bootstrap::new(columns, &subject.bootstrap)?;
        let names: Vec<String> = runs.iter().map(|run| run.name.clone()).collect();
        let differences = differences(&names, pairs, &sheets, &bootstrap);
        let mut at = 0..;
        let mut report = |(run, sheet): (Run, Sheet)| {
            let estimated = sheet.columns.iter().zip(&mut at).filter_map(|(column, at)| {
                Some(Measured { metric: column.metric, k: column.k, estimate: bootstrap.mean(at)? })
            });
            RunReport {
                metrics: estimated.collect(),
                name: run.name,
                kind: run.kind,
                spreads: sheet.spreads,
                latency: run.latency,
                trouble: run.trouble,
            }
        };
        let runs = runs.into_iter().zip(sheets.clone()).map(&mut report).collect();
        Ok(Self {
            format: FORMAT,
            title: subject.title.to_owned(),
            split: subject.split_title.to_owned(),
            data: summary(subject),
            bootstrap: subject.bootstrap,
            cuts: cuts.as_slice().to_vec(),
            runs,
            differences,
        })
    }

    /// A metric of a run at a cut.
    #[must_use]
    pub fn measured(&self, run: &str, metric: Metric, k: u32) -> Option<Estimate> {
        self.runs.iter().find(|other| other.name == run)?.measured(metric, k)
    }

    /// Tables for a terminal of at least 100 columns.
    #[must_use]
    pub fn text(&self) -> String {
        text::render(self)
    }

    /// One HTML file that needs no other, and no script.
    #[must_use]
    pub fn html(&self) -> String {
        html::render(self)
    }
}

impl RunReport {
    /// A metric at a cut.
    #[must_use]
    pub fn measured(&self, metric: Metric, k: u32) -> Option<Estimate> {
        let found = self.metrics.iter().find(|measured| measured.metric == metric && measured.k == k)?;
        Some(found.estimate)
    }
}

fn summary(subject: &Subject<'_>) -> DataSummary {
    let Subject { split, catalogue, .. } = *subject;
    let count = |length: usize| u32::try_from(length).unwrap_or(u32::MAX);
    let wanted = || split.asked.iter().flat_map(|asked| &asked.wanted);
    let is_unseen = |(item, _): &&(u32, f32)| catalogue.likers().get(*item as usize).is_none_or(|count| *count == 0);
    DataSummary {
        users: subject.users,
        items: count(catalogue.len()),
        events: subject.events as u64,
        learned: split.train.len() as u64,
        folded_in: split.history.len() as u64,
        asked: count(split.asked.len()),
        left_out: split.left_out,
        wanted: wanted().count() as u64,
        wanted_unseen: wanted().filter(is_unseen).count() as u64,
    }
}

fn differences(
    names: &[String],
    pairs: &[(String, String)],
    sheets: &[Sheet],
    bootstrap: &Bootstrap<'_>,
) -> Vec<Difference> {
    let width = sheets.first().map_or(0, |sheet| sheet.columns.len());
    let columns = || sheets.first().into_iter().flat_map(|sheet| &sheet.columns).enumerate();
    let mut all = Vec::new();
    for (of, against) in pairs {
        let place = |name: &String| names.iter().position(|other| other == name);
        let (Some(one), Some(other)) = (place(of), place(against)) else { continue };
        for (at, column) in columns().filter(|(_, column)| column.metric.is_accuracy()) {
            let estimate = bootstrap.difference(one * width + at, other * width + at);
            all.extend(estimate.map(|estimate| Difference {
                of: of.clone(),
                against: against.clone(),
                metric: column.metric,
                k: column.k,
                estimate,
            }));
        }
    }
    all
}

#[cfg(test)]
mod tests;
