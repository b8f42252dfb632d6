//! The rules of a config that need no stage.

use serde_json::{Map, Value};

use super::{Config, Rank, Recall, Rerank};
use crate::{
    cron::Cron,
    error::{ApiError, Code},
    limits,
};

impl Config {
    /// Checks every rule that needs no stage.
    ///
    /// # Errors
    /// The first that is broken, with its JSON path, which begins with `config`.
    pub fn check(&self) -> Result<(), ApiError> {
        self.features.check()?;
        self.features.check_channels(&self.recall.strategies)?;
        self.recall.check()?;
        self.exploration.check(&self.recall.strategies)?;
        self.rank.check()?;
        self.rerank.check()?;
        check_range("config.exposure.ttl_hours", self.exposure.ttl_hours, 0.01, 24.0 * 365.0)?;
        check_range("config.exposure.log_share", self.exposure.log_share, 0.0, 1.0)?;
        self.cache.check()?;
        for (action, weight) in &self.behaviors.weights {
            let path = format!("config.behaviors.weights.{action}");
            check_count(&path, action.len(), 1, limits::ACTION_TYPE_BYTES)?;
            check_range(&path, *weight, -1000.0, 1000.0)?;
        }
        check_range("config.behaviors.hot_half_life_hours", self.behaviors.hot_half_life_hours, 0.1, 24.0 * 365.0)?;
        check_range("config.behaviors.profile_half_life_days", self.behaviors.profile_half_life_days, 0.1, 3650.0)?;
        if let Some(fields) = &self.components.fields {
            check_count("config.components.fields", fields.len(), 0, limits::FEATURES)?;
            for (at, name) in fields.iter().enumerate() {
                check_count(&format!("config.components.fields[{at}]"), name.len(), 1, limits::NAME_BYTES)?;
            }
        }
        self.experiments.check()?;
        self.recording.check()?;
        self.shadowed()?;
        for (kind, job) in self.jobs.iter() {
            let path = format!("config.jobs.{}", kind.as_str());
            if let Some(schedule) = &job.schedule {
                let path = format!("{path}.schedule");
                check_count(&path, schedule.len(), 1, limits::NAME_BYTES)?;
                Cron::parse(schedule).map_err(|error| config(path, error.to_string()))?;
            }
            check_params(&path, &job.params)?;
        }
        Ok(())
    }
}

impl Recall {
    pub(super) fn check(&self) -> Result<(), ApiError> {
        check_count("config.recall.strategies", self.strategies.len(), 1, limits::RECALL_STRATEGIES)?;
        for (at, strategy) in self.strategies.iter().enumerate() {
            let path = format!("config.recall.strategies[{at}]");
            check_config_text(&format!("{path}.name"), &strategy.name)?;
            check_range(&format!("{path}.weight"), strategy.weight, 0.0, 1000.0)?;
            if !(1..=limits::RECALL_LIMIT).contains(&strategy.limit) {
                return Err(config(
                    format!("{path}.limit"),
                    format!("must be 1 to {}, got {}", limits::RECALL_LIMIT, strategy.limit),
                ));
            }
            check_params(&path, &strategy.params)?;
        }
        self.merge.check()
    }
}

impl Rank {
    pub(super) fn check(&self) -> Result<(), ApiError> {
        check_config_text("config.rank.model", &self.model)?;
        check_count("config.rank.version", self.version.len(), 0, limits::ID_BYTES)?;
        check_count("config.rank.objective", self.objective.len(), 0, limits::ID_BYTES)?;
        check_params("config.rank", &self.params)
    }
}

impl Rerank {
    pub(super) fn check(&self) -> Result<(), ApiError> {
        check_count("config.rerank.rules", self.rules.len(), 0, limits::RERANK_RULES)?;
        for (at, rule) in self.rules.iter().enumerate() {
            let path = format!("config.rerank.rules[{at}]");
            check_config_text(&format!("{path}.name"), &rule.name)?;
            check_range(&format!("{path}.weight"), rule.weight, 0.0, 1.0)?;
            check_params(&path, &rule.params)?;
        }
        Ok(())
    }
}

pub(crate) fn field(path: &str, error: impl ToString) -> ApiError {
    ApiError::field(Code::InvalidField, path, error.to_string())
}

pub(crate) fn config(path: impl Into<String>, message: impl Into<String>) -> ApiError {
    ApiError::field(Code::InvalidConfig, path, message)
}

pub(crate) fn check_text(path: &str, text: &str, least: usize, most: usize) -> Result<(), ApiError> {
    if (least..=most).contains(&text.len()) && !text.chars().any(char::is_control) {
        return Ok(());
    }
    Err(field(path, format!("must be {least} to {most} bytes without control characters, got {}", text.len())))
}

pub(super) fn check_config_text(path: &str, text: &str) -> Result<(), ApiError> {
    check_text(path, text, 1, limits::ID_BYTES).map_err(|error| config(path, error.message))
}

pub(super) fn check_count(path: &str, count: usize, least: usize, most: usize) -> Result<(), ApiError> {
    if (least..=most).contains(&count) {
        return Ok(());
    }
    Err(config(path, format!("must have a length of {least} to {most}, got {count}")))
}

pub(super) fn check_range(path: &str, value: f32, least: f32, most: f32) -> Result<(), ApiError> {
    // False for NaN too.
    if (least..=most).contains(&value) {
        return Ok(());
    }
    Err(config(path, format!("must be {least} to {most}, got {value}")))
}

pub(super) fn check_params(path: &str, params: &Map<String, Value>) -> Result<(), ApiError> {
    let bytes = serde_json::to_vec(params).map_or(usize::MAX, |json| json.len());
    if bytes <= limits::PARAMS_BYTES {
        return Ok(());
    }
    Err(config(
        format!("{path}.params"),
        format!("must be at most {} bytes of JSON, got {bytes}", limits::PARAMS_BYTES),
    ))
}
