//! Room for one more experiment among those that run.

use super::{BUCKETS, Design, Experiment, Running, interference};
use crate::{
    error::{ApiError, Code},
    limits,
    scenario::{Scenario, field},
};

impl Scenario {
    /// The running experiment of an id.
    #[must_use]
    pub fn experiment(&self, experiment_id: &str) -> Option<&Running> {
        self.experiments.iter().find(|running| running.experiment_id == experiment_id)
    }

    /// Has an experiment split from now on, or from its start. Those that came to their end
    /// are gone then.
    ///
    /// # Errors
    /// `too_many_experiments`, `experiments_interfere`, `layer_full`, or `invalid_field` for
    /// an end that has passed.
    pub fn begin(&mut self, experiment: &Experiment, now_ms: u64) -> Result<(), ApiError> {
        let (start_ms, end_ms) = experiment.times_ms()?;
        if end_ms.is_some_and(|end_ms| end_ms <= now_ms) {
            let end = experiment.end_time.as_deref().unwrap_or_default();
            return Err(field("end_time", format!("has passed: {end}")));
        }
        self.experiments.retain(|running| running.end_ms.is_none_or(|end_ms| now_ms < end_ms));
        if self.experiments.len() >= limits::EXPERIMENTS_RUNNING {
            let message = format!("at most {} experiments of a scenario run at once", limits::EXPERIMENTS_RUNNING);
            return Err(ApiError::new(Code::TooManyExperiments, message));
        }
        for other in self.experiments.iter().filter(|other| other.layer != experiment.layer) {
            if experiment.design == Design::Interleaving && other.control.is_some() {
                let message = format!(
                    "`{}` of the layer `{}` interleaves already, and a slate is drafted by two rankings; in one layer both can run, each with users of its own",
                    other.experiment_id, other.layer
                );
                return Err(ApiError::field(Code::ExperimentsInterfere, "layer", message));
            }
            if let Some((group, path)) = interference(&experiment.groups, &other.groups) {
                let message = format!(
                    "the experiment `{}` of the layer `{}` changes it too; in one layer both can run, each with users of its own",
                    other.experiment_id, other.layer
                );
                return Err(ApiError::field(Code::ExperimentsInterfere, format!("groups[{group}].{path}"), message));
            }
        }
        let buckets = self.room(&experiment.layer, experiment.traffic)?;
        self.experiments.push(Running {
            experiment_id: experiment.experiment_id.clone(),
            layer: experiment.layer.clone(),
            buckets,
            targeting: experiment.targeting.clone(),
            groups: experiment.groups.clone(),
            control: experiment.interleaved_control(),
            start_ms: start_ms.unwrap_or_default().max(now_ms),
            end_ms,
        });
        Ok(())
    }

    /// The first places of a layer that nobody has, as many as a share of it comes to.
    fn room(&self, layer: &str, traffic: f64) -> Result<Vec<(u32, u32)>, ApiError> {
        // Shares that add up to one fit: none is rounded up, but for what a double lacks.
        let wanted = ((traffic * f64::from(BUCKETS) + 1e-6).floor() as u32).max(1);
        let beside = self.experiments.iter().filter(|running| running.layer == layer);
        let mut taken: Vec<(u32, u32)> = beside.flat_map(|running| running.buckets.iter().copied()).collect();
        taken.sort_unstable();
        // What ends the last gap.
        taken.push((BUCKETS, BUCKETS));
        let (mut found, mut missing, mut from) = (Vec::new(), wanted, 0);
        for (begin, end) in taken {
            let to = begin.min(from + missing);
            if to > from {
                found.push((from, to));
                missing -= to - from;
            }
            from = from.max(end);
        }
        if missing == 0 {
            return Ok(found);
        }
        let free = f64::from(wanted - missing) / f64::from(BUCKETS);
        let message = format!("the layer `{layer}` has {free} of its users left, fewer than {traffic}");
        Err(ApiError::field(Code::LayerFull, "traffic", message))
    }
}
