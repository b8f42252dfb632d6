//! A scenario's config as the calls it makes of the stages: what depends on the
//! config alone, made once for as long as the config stays as it is.

use std::{cell::RefCell, rc::Rc};

use funnelweb_core::{
    error::{ApiError, Code},
    scenario::{Config, Feature, FeatureKind, Scenario, Status},
};
use funnelweb_guest::{
    dispatch::{Allowance, RecallCall, RerankCall},
    documents::{Collection, Key},
    http::json,
    params::personal,
    types::{ColumnKind, FeatureSpec},
};
use serde_json::{Map, Value, value::RawValue};

use crate::{capabilities::Capabilities, evidence};

/// Plans that an instance keeps; the oldest goes first.
const KEPT: usize = 8;

thread_local! {
    /// By the text of the scenario or config, so that a plan can never be an old one.
    static PLANS: RefCell<Vec<(String, Rc<Plan>)>> = const { RefCell::new(Vec::new()) };
}

/// An active scenario.
pub(crate) struct Plan {
    pub(crate) config: Config,
    pub(crate) recall: Vec<RecallCall>,
    /// Of the recall channels.
    pub(crate) weights: Vec<f32>,
    pub(crate) item_features: Vec<FeatureSpec>,
    pub(crate) user_features: Vec<FeatureSpec>,
    pub(crate) context_features: Vec<FeatureSpec>,
    /// Those that the feature stage computes.
    pub(crate) derived_features: Vec<String>,
    /// Those that recall channels know.
    pub(crate) evidence: Vec<String>,
    pub(crate) rank_params: String,
    pub(crate) rerank: Vec<RerankCall>,
    /// What components of the tenant's own may see.
    pub(crate) allowance: Allowance,
}

impl Plan {
    /// The plan of a scenario as it is stored now.
    ///
    /// # Errors
    /// When it does not exist or is not active, or the store does not answer.
    pub(crate) fn load(host: &impl Capabilities, scenario_id: &str) -> Result<Rc<Self>, ApiError> {
        let key = Key { scenario_id: scenario_id.to_owned(), id: scenario_id.to_owned() };
        let body = host.document(Collection::Scenarios, &key)?.ok_or_else(|| {
            ApiError::field(Code::ScenarioNotFound, "scenario_id", format!("no scenario `{scenario_id}`"))
        })?;
        if let Some(plan) = kept(&body) {
            return Ok(plan);
        }
        // It was checked when it was written.
        let scenario: Scenario = serde_json::from_str(&body)
            .map_err(|error| ApiError::new(Code::Internal, format!("the stored scenario does not read: {error}")))?;
        if scenario.status != Status::Active {
            let message = format!("the scenario `{scenario_id}` is inactive");
            return Err(ApiError::field(Code::ScenarioInactive, "scenario_id", message));
        }
        Ok(keep(body, Self::of(scenario.config)))
    }

    /// The plan of a config that a request brings along. No text is both a config and a
    /// scenario.
    ///
    /// # Errors
    /// `invalid_field` or `invalid_config` with the path, which begins with `config`.
    pub(crate) fn read(config: &RawValue) -> Result<Rc<Self>, ApiError> {
        if let Some(plan) = kept(config.get()) {
            return Ok(plan);
        }
        let read: Config = json::part("config", config)?;
        read.check()?;
        Ok(keep(config.get().to_owned(), Self::of(read)))
    }

    fn of(config: Config) -> Self {
        let strategies = &config.recall.strategies;
        let channel = |strategy: &funnelweb_core::scenario::Strategy| RecallCall {
            stage: strategy.name.clone(),
            limit: strategy.limit,
            params: text(&strategy.params),
        };
        let rule = |rule: &funnelweb_core::scenario::Rule| RerankCall {
            stage: rule.name.clone(),
            weight: rule.weight,
            params: text(&rule.params),
        };
        let (evidence, derived_features) =
            config.features.derived_features.iter().cloned().partition(|name| evidence::is_known(name));
        Self {
            recall: strategies.iter().map(channel).collect(),
            weights: strategies.iter().map(|strategy| strategy.weight).collect(),
            item_features: specs(&config.features.item_features),
            user_features: specs(&config.features.user_features),
            context_features: specs(&config.features.context_features),
            derived_features,
            evidence,
            rank_params: text(&config.rank.params),
            rerank: config.rerank.rules.iter().map(rule).collect(),
            allowance: Allowance {
                personal: personal(&config.components.user),
                fields: config.components.fields.clone(),
            },
            config,
        }
    }
}

fn kept(text: &str) -> Option<Rc<Plan>> {
    PLANS.with_borrow(|plans| plans.iter().find(|(of, _)| of == text).map(|(_, plan)| Rc::clone(plan)))
}

fn keep(text: String, plan: Plan) -> Rc<Plan> {
    let plan = Rc::new(plan);
    PLANS.with_borrow_mut(|plans| {
        plans.truncate(KEPT - 1);
        plans.insert(0, (text, Rc::clone(&plan)));
    });
    plan
}

fn specs(features: &[Feature]) -> Vec<FeatureSpec> {
    let kind = |kind| match kind {
        FeatureKind::Numeric => ColumnKind::Numeric,
        FeatureKind::Categorical => ColumnKind::Categorical,
        FeatureKind::MultiCategorical => ColumnKind::MultiCategorical,
        FeatureKind::Timestamp => ColumnKind::Timestamp,
    };
    let spec = |feature: &Feature| FeatureSpec {
        name: feature.name.clone(),
        kind: kind(feature.kind),
        weight: feature.weight,
    };
    features.iter().map(spec).collect()
}

/// Params as stages take them: JSON text.
fn text(params: &Map<String, Value>) -> String {
    if params.is_empty() {
        return "{}".to_owned();
    }
    // A map of JSON values always has a text.
    serde_json::to_string(params).unwrap_or_default()
}
