//! An experiment that is reported on, and what is kept with it.

use std::collections::HashMap;

use funnelweb_core::{
    experiment::{Design, Experiment, INTERLEAVED, Status, label},
    time,
};
use funnelweb_factor_documents::store::Document;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::counted::Reading;

/// What is kept with an experiment.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Kept {
    pub(super) at: String,
    /// For which it has run.
    pub(super) days: f64,
    pub(super) report: Value,
    /// When the first slate of it was shown.
    #[serde(default)]
    pub(super) first_ms: Option<u64>,
    /// See [`Made`](super::counted::Made).
    pub(super) looks: String,
    /// The same.
    #[serde(default)]
    pub(super) history: String,
}

/// An experiment that is reported on.
pub(super) struct Case {
    pub(super) document: Document,
    pub(super) experiment: Experiment,
    pub(super) reading: Reading,
    /// The first slate of it, as the last report knew it.
    pub(super) known_first_ms: Option<u64>,
    pub(super) started_ms: u64,
    pub(super) from_ms: u64,
    pub(super) ends_ms: Option<u64>,
}

impl Case {
    /// None of a draft, and of one whose last report was of all of it.
    pub(super) fn new(document: Document) -> Result<Option<Self>, String> {
        let unreadable = |error: serde_json::Error| error.to_string();
        let experiment: Experiment = serde_json::from_str(&document.body).map_err(unreadable)?;
        let ms = |text: &Option<String>| text.as_deref().and_then(time::parse_ms);
        let Some(started_ms) = ms(&experiment.started_at).filter(|_| experiment.status != Status::Draft) else {
            return Ok(None);
        };
        let ends_ms = [ms(&experiment.end_time), ms(&experiment.stopped_at)].into_iter().flatten().min();
        let kept: Option<Kept> = experiment.report.clone().and_then(|report| serde_json::from_value(report).ok());
        let is_done = |kept: &Kept| ends_ms.is_some_and(|end| time::parse_ms(&kept.at).is_some_and(|at| end <= at));
        if kept.as_ref().is_some_and(is_done) {
            return Ok(None);
        }
        let looks = kept.as_ref().map(|kept| kept.looks.as_str());
        let history = kept.as_ref().map(|kept| kept.history.as_str());
        Ok(Some(Self {
            reading: Reading::new(&experiment, looks, history)?,
            known_first_ms: kept.as_ref().and_then(|kept| kept.first_ms),
            started_ms,
            from_ms: started_ms.max(ms(&experiment.start_time).unwrap_or_default()),
            ends_ms,
            experiment,
            document,
        }))
    }

    pub(super) fn id(&self) -> &str {
        &self.experiment.experiment_id
    }

    /// Whether what happened then may be of it.
    pub(super) fn is_at(&self, ms: u64) -> bool {
        self.from_ms <= ms && self.ends_ms.is_none_or(|end| ms < end)
    }

    pub(super) fn has_ended(&self, now_ms: u64) -> bool {
        self.ends_ms.is_some_and(|end| end <= now_ms)
    }

    /// Its groups' places, by the label that slates have; those of an interleaving are of both.
    pub(super) fn places(&self) -> HashMap<String, usize> {
        if self.experiment.design == Design::Interleaving {
            return HashMap::from([(label(self.id(), INTERLEAVED), 0)]);
        }
        let groups = self.experiment.groups.iter().enumerate();
        groups.map(|(at, group)| (label(self.id(), &group.group_id), at)).collect()
    }
}
