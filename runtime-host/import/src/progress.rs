//! How far a long work is, and the bar that shows it.

use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use crate::{Batch, Run};

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// Bytes of the source as it lies on disk (compressed, when it is).
    Bytes,
    /// Lines sent.
    Lines,
}

/// How far the work is. As JSON it is one line of `--json` output.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Progress<'a> {
    /// What is being done: a file's name, or `vlog items`.
    pub task: &'a str,
    /// Of what.
    pub unit: Unit,
    /// So many are done.
    pub done: u64,
    /// Of so many; 0 when it is not known.
    pub total: u64,
    /// Lines that the server has answered for.
    pub lines: u64,
    /// Of which so many were not taken.
    pub failed: u64,
}

impl<'a> Progress<'a> {
    pub(crate) fn of_lines(task: &'a str, batch: &Batch, total: u64) -> Self {
        Self { task, unit: Unit::Lines, done: batch.lines, total, lines: batch.lines, failed: batch.failed }
    }
}

/// A progress bar on standard error, with rate and time left; nothing at all when
/// that is no terminal.
///
/// ```
/// # use funnelweb_import::{Bar, Progress};
/// # fn work(progress: &mut dyn FnMut(&Progress<'_>)) {}
/// let mut bar = Bar::default();
/// work(&mut |progress| bar.show(progress));
/// ```
#[derive(Debug, Default)]
pub struct Bar {
    shown: Option<(String, ProgressBar)>,
}

impl Bar {
    /// Shows how far the work is; a new task begins a new bar.
    pub fn show(&mut self, progress: &Progress<'_>) {
        if self.shown.as_ref().is_some_and(|(task, _)| task != progress.task) {
            self.finish();
        }
        let (_, bar) = self.shown.get_or_insert_with(|| {
            let bar = ProgressBar::new(progress.total).with_style(style(progress));
            bar.set_prefix(progress.task.to_owned());
            (progress.task.to_owned(), bar)
        });
        if progress.failed > 0 {
            bar.set_message(format!("{} failed", progress.failed));
        }
        bar.set_position(progress.done);
    }

    /// Shows how far a run of a job is; another kind begins a new bar.
    pub fn show_run(&mut self, run: &Run) {
        let task = run.kind.as_str();
        if self.shown.as_ref().is_some_and(|(shown, _)| shown != task) {
            self.finish();
        }
        let (_, bar) = self.shown.get_or_insert_with(|| {
            let bar = ProgressBar::new(100).with_style(template(RUN));
            bar.set_prefix(task);
            (task.to_owned(), bar)
        });
        let what = if run.phase.is_empty() { run.state.as_str() } else { &run.phase };
        let left = run.eta_s.map(|seconds| format!(", {seconds} s left")).unwrap_or_default();
        bar.set_message(format!("{what}{left}"));
        bar.set_position(run.percent.round() as u64);
    }

    /// Leaves the bar as it stands; also done when it is dropped.
    pub fn finish(&mut self) {
        if let Some((_, bar)) = self.shown.take() {
            bar.abandon();
        }
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.finish();
    }
}

/// Of a run of a job.
const RUN: &str = "{prefix} {bar:30} {pos:>3} % {msg}";

fn style(progress: &Progress<'_>) -> ProgressStyle {
    template(match progress.unit {
        _ if progress.total == 0 => "{prefix} {human_pos} {per_sec} {msg}",
        Unit::Bytes => "{prefix} {bar:30} {bytes}/{total_bytes} {bytes_per_sec} {eta} left {msg}",
        Unit::Lines => "{prefix} {bar:30} {human_pos}/{human_len} {per_sec} {eta} left {msg}",
    })
}

fn template(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_templates_are_valid() {
        // A template that is not would silently fall back to the plain bar.
        for (template, total) in [(Unit::Bytes, 2), (Unit::Lines, 2), (Unit::Lines, 0)] {
            let mut bar = Bar::default();
            let progress = Progress { task: "t", unit: template, done: 1, total, lines: 1, failed: 1 };
            bar.show(&progress);
            bar.show(&Progress { task: "u", ..progress });
            assert_eq!(bar.shown.as_ref().map(|(task, _)| task.as_str()), Some("u"));
        }
        let run = serde_json::json!({"run_id": "r", "scenario_id": "s", "kind": "sync", "state": "running",
            "phase": "reading", "percent": 41.5, "eta_s": 7, "attempts": 1, "created_at": "x"});
        let mut bar = Bar::default();
        bar.show_run(&serde_json::from_value(run).unwrap());
        let (task, shown) = bar.shown.as_ref().unwrap();
        assert_eq!((task.as_str(), shown.position(), shown.message().as_str()), ("sync", 42, "reading, 7 s left"));
        assert!(ProgressStyle::with_template(RUN).is_ok());
        let line = serde_json::to_string(&Progress::of_lines("t", &Batch::default(), 3)).unwrap();
        assert_eq!(line, r#"{"task":"t","unit":"lines","done":0,"total":3,"lines":0,"failed":0}"#);
    }
}
