//! A report as tables for a terminal.

use std::fmt::Write as _;

use super::{Report, RunReport};
use crate::{bootstrap::Estimate, metrics::Metric};

/// In the first table.
const ACCURACY: [Metric; 5] = [Metric::Recall, Metric::Ndcg, Metric::Map, Metric::Mrr, Metric::HitRate];
/// In the second.
const BEYOND: [Metric; 4] = [Metric::Fill, Metric::Novelty, Metric::Diversity, Metric::PopularityPercentile];

/// The tables.
pub(super) fn render(report: &Report) -> String {
    let mut out = String::new();
    let data = &report.data;
    // Writing into a string cannot fail.
    let _ = writeln!(out, "{}\n{}", report.title, report.split);
    let _ = writeln!(
        out,
        "{} users, {} items, {} events; {} learned from, {} folded in",
        data.users, data.items, data.events, data.learned, data.folded_in
    );
    let _ = writeln!(
        out,
        "{} users asked for, {} left out; {} items wanted, {} of them seen by nobody before",
        data.asked, data.left_out, data.wanted, data.wanted_unseen
    );
    let percent = report.bootstrap.level * 100.0;
    let _ = writeln!(out, "in brackets {percent} % intervals over users, {} resamples", report.bootstrap.resamples);
    for k in &report.cuts {
        out.push('\n');
        out.push_str(&table(&accuracy(report, *k)));
        out.push('\n');
        out.push_str(&table(&beyond(report, *k)));
    }
    if let Some(k) = report.cuts.last().filter(|_| !report.differences.is_empty()) {
        let _ = writeln!(out, "\nNDCG@{k}, user by user (* where the interval does not hold 0)");
        out.push_str(&table(&differences(report, *k)));
    }
    for run in &report.runs {
        for trouble in &run.trouble {
            let _ = writeln!(
                out,
                "\n{}: `{}` gave nothing in {} answers: {}",
                run.name, trouble.stage, trouble.answers, trouble.reason
            );
        }
    }
    out
}

fn accuracy(report: &Report, k: u32) -> Vec<Vec<String>> {
    rows(report, ACCURACY.iter().map(|metric| format!("{}@{k}", metric.title())), |run| {
        ACCURACY.iter().map(|metric| with_interval(run.measured(*metric, k))).collect()
    })
}

fn beyond(report: &Report, k: u32) -> Vec<Vec<String>> {
    let titles = BEYOND.iter().map(|metric| format!("{}@{k}", metric.title()));
    let spread = ["coverage", "Gini"].map(|title| format!("{title}@{k}"));
    let latency = ["p50, ms", "p99, ms"].map(str::to_owned);
    rows(report, titles.chain(spread).chain(latency), |run| {
        let plain = |value: Option<f64>| value.map_or_else(|| "–".to_owned(), |value| format!("{value:.3}"));
        let means = BEYOND.iter().map(|metric| plain(run.measured(*metric, k).map(|estimate| estimate.mean)));
        let spread = run.spreads.iter().find(|spread| spread.k == k);
        let spread = [spread.map(|spread| spread.coverage), spread.map(|spread| spread.gini)].map(plain);
        let time = |value: Option<f64>| value.map_or_else(|| "–".to_owned(), |value| format!("{value:.1}"));
        let latency = [run.latency.map(|latency| latency.p50_ms), run.latency.map(|latency| latency.p99_ms)].map(time);
        means.chain(spread).chain(latency).collect()
    })
}

fn differences(report: &Report, k: u32) -> Vec<Vec<String>> {
    let mut rows = vec![["", "against", "difference"].map(str::to_owned).to_vec()];
    for difference in report.differences.iter().filter(|of| of.metric == Metric::Ndcg && of.k == k) {
        let mark = if difference.sign() == 0 { "" } else { " *" };
        let Estimate { mean, low, high, .. } = difference.estimate;
        let value = format!("{mean:+.4} [{low:+.4}, {high:+.4}]{mark}");
        rows.push(vec![difference.of.clone(), difference.against.clone(), value]);
    }
    rows
}

fn rows(
    report: &Report,
    titles: impl Iterator<Item = String>,
    cells: impl Fn(&RunReport) -> Vec<String>,
) -> Vec<Vec<String>> {
    let head = std::iter::once(String::new()).chain(titles).collect();
    let rows = report.runs.iter().map(|run| std::iter::once(run.name.clone()).chain(cells(run)).collect());
    std::iter::once(head).chain(rows).collect()
}

pub(super) fn with_interval(estimate: Option<Estimate>) -> String {
    estimate
        .map_or_else(|| "–".to_owned(), |Estimate { mean, low, high, .. }| format!("{mean:.4} [{low:.4}, {high:.4}]"))
}

/// Rows with a head, the columns as wide as they must be.
fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |at: usize| rows.iter().filter_map(|row| row.get(at)).map(|cell| cell.chars().count()).max();
    let widths: Vec<usize> = (0..columns).map(|at| width(at).unwrap_or(0)).collect();
    let mut out = String::new();
    for row in rows {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        out.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        out.push('\n');
    }
    out
}
