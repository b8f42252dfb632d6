//! A report as one HTML file.

use std::fmt::Write as _;

use super::{
    Report, RunKind, RunReport,
    chart::{Bar, bars, short},
    text::with_interval,
};
use crate::{bootstrap::Estimate, metrics::Metric};

const STYLE: &str = include_str!("style.css");

/// The page.
pub(super) fn render(report: &Report) -> String {
    let mut out = String::new();
    let title = escape(&report.title);
    let _ = write!(
        out,
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <title>{title}</title><style>{STYLE}</style></head><body><main><h1>{title}</h1>\n"
    );
    head(&mut out, report);
    for k in report.cuts.iter().rev() {
        let _ = writeln!(out, "<h2>At {k}</h2><div class=\"charts\">");
        charts(&mut out, report, *k);
        out.push_str("</div>\n");
        numbers(&mut out, report, *k);
    }
    differences(&mut out, report);
    trouble(&mut out, report);
    out.push_str("</main></body></html>\n");
    out
}

fn head(out: &mut String, report: &Report) {
    let data = &report.data;
    let _ = writeln!(out, "<p>{}</p><dl>", escape(&report.split));
    for (name, value) in [
        ("users", u64::from(data.users)),
        ("items", u64::from(data.items)),
        ("events", data.events),
        ("learned from", data.learned),
        ("folded in", data.folded_in),
        ("users asked for", u64::from(data.asked)),
        ("users left out", u64::from(data.left_out)),
        ("items wanted", data.wanted),
        ("of them seen by nobody before", data.wanted_unseen),
    ] {
        let _ = write!(out, "<div><dt>{name}</dt><dd>{value}</dd></div>");
    }
    let _ = writeln!(
        out,
        "</dl><p>Bars are means over users, lines across their ends intervals of {} % (BCa bootstrap, {} resamples). \
         <span class=\"key baseline\">baseline</span> <span class=\"key channel\">channel</span> \
         <span class=\"key funnel\">funnel</span></p>",
        report.bootstrap.level * 100.0,
        report.bootstrap.resamples
    );
}

fn charts(out: &mut String, report: &Report, k: u32) {
    for metric in Metric::ALL {
        let all = report
            .runs
            .iter()
            .filter_map(|run| run.measured(metric, k).map(|estimate| Bar::of(&run.name, class(run.kind), estimate)));
        let all: Vec<Bar<'_>> = all.collect();
        if !all.is_empty() {
            chart(out, &format!("{}@{k}", metric.title()), about(metric), &all);
        }
    }
    let spread = |value: fn(&super::Spread) -> f64| -> Vec<Bar<'_>> {
        let bar = |run: &'_ RunReport| run.spreads.iter().find(|spread| spread.k == k).map(value);
        let bars = report
            .runs
            .iter()
            .filter_map(|run| Some(Bar { label: &run.name, class: class(run.kind), value: bar(run)?, interval: None }));
        bars.collect()
    };
    let coverage = "share of the catalogue that anybody is shown";
    chart(out, &format!("coverage@{k}"), coverage, &spread(|spread| spread.coverage));
    let gini = "0: all items equally often, 1: one item only";
    chart(out, &format!("Gini@{k}"), gini, &spread(|spread| spread.gini));
}

fn chart(out: &mut String, title: &str, about: &str, all: &[Bar<'_>]) {
    let title_text = escape(title);
    let _ = writeln!(
        out,
        "<figure><figcaption><b>{title_text}</b> {}</figcaption>{}</figure>",
        escape(about),
        bars(title, all)
    );
}

fn about(metric: Metric) -> &'static str {
    match metric {
        Metric::Recall => "of what was wanted, what was shown",
        Metric::Precision => "of what was shown, what was wanted",
        Metric::Ndcg => "recall that counts first places more",
        Metric::GradedNdcg => "the same, by what each action weighs",
        Metric::Map => "precision at each hit",
        Metric::Mrr => "1 / place of the first hit",
        Metric::HitRate => "users with any hit",
        Metric::Fill => "how full slates are",
        Metric::Novelty => "bits; more for what few like",
        Metric::Diversity => "how much items of a slate differ",
        Metric::PopularityPercentile => "1: only what everybody likes",
        Metric::AveragePopularity => "users who like a shown item",
    }
}

fn numbers(out: &mut String, report: &Report, k: u32) {
    let titles = Metric::ALL.iter().map(|metric| format!("<th>{}</th>", metric.title())).collect::<String>();
    let _ = write!(
        out,
        "<details><summary>All numbers at {k}</summary><div class=\"wide\"><table><tr><th></th>{titles}\
         <th>coverage</th><th>Gini</th><th>p50, ms</th><th>p99, ms</th></tr>"
    );
    for run in &report.runs {
        let _ = write!(out, "<tr><th>{}</th>", escape(&run.name));
        for metric in Metric::ALL {
            let _ = write!(out, "<td>{}</td>", with_interval(run.measured(metric, k)));
        }
        let spread = run.spreads.iter().find(|spread| spread.k == k);
        let (spreads, latency) =
            (spread.map(|of| (of.coverage, of.gini)), run.latency.map(|of| (of.p50_ms, of.p99_ms)));
        for value in [spreads, latency].into_iter().flat_map(|pair| [pair.map(|pair| pair.0), pair.map(|pair| pair.1)])
        {
            let _ = write!(out, "<td>{}</td>", value.map_or_else(|| "–".to_owned(), short));
        }
        out.push_str("</tr>");
    }
    out.push_str("</table></div></details>\n");
}

fn differences(out: &mut String, report: &Report) {
    if report.differences.is_empty() {
        return;
    }
    out.push_str(
        "<h2>Differences, user by user</h2><p>By how much the first exceeds the second; in bold where the interval \
         does not hold 0.</p><div class=\"wide\"><table><tr><th></th><th>against</th>",
    );
    let Some(first) = report.differences.first() else { return };
    let columns = || report.differences.iter().take_while(|of| (&of.of, &of.against) == (&first.of, &first.against));
    for column in columns() {
        let _ = write!(out, "<th>{}@{}</th>", column.metric.title(), column.k);
    }
    out.push_str("</tr>");
    for pair in report.differences.chunk_by(|a, b| (&a.of, &a.against) == (&b.of, &b.against)) {
        let Some(first) = pair.first() else { continue };
        let _ = write!(out, "<tr><th>{}</th><th>{}</th>", escape(&first.of), escape(&first.against));
        for difference in pair {
            let class = ["worse", "", "better"].get((difference.sign() + 1) as usize).copied().unwrap_or_default();
            let Estimate { mean, low, high, .. } = difference.estimate;
            let _ = write!(out, "<td class=\"{class}\">{mean:+.4} [{low:+.4}, {high:+.4}]</td>");
        }
        out.push_str("</tr>");
    }
    out.push_str("</table></div>\n");
}

fn trouble(out: &mut String, report: &Report) {
    let all = || report.runs.iter().flat_map(|run| run.trouble.iter().map(move |trouble| (run, trouble)));
    if all().next().is_none() {
        return;
    }
    out.push_str("<h2>What did not work</h2><table><tr><th></th><th>stage</th><th>answers</th><th>reason</th></tr>");
    for (run, trouble) in all() {
        let _ = write!(
            out,
            "<tr><th>{}</th><td>{}</td><td>{}</td><td>{}</td></tr>",
            escape(&run.name),
            escape(&trouble.stage),
            trouble.answers,
            escape(&trouble.reason)
        );
    }
    out.push_str("</table>\n");
}

fn class(kind: RunKind) -> &'static str {
    match kind {
        RunKind::Baseline => "baseline",
        RunKind::Channel => "channel",
        RunKind::Funnel => "funnel",
    }
}

/// Text within HTML, in and outside of attributes.
pub(super) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            other => out.push(other),
        }
    }
    out
}
