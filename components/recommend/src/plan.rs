//! A scenario's config as the calls it makes of the stages: what depends on the
//! config alone, made once for as long as the config stays as it is; and the same as
//! experiments change it.

use std::{cell::RefCell, iter, rc::Rc, thread::LocalKey};

use funnelweb_core::{
    error::{ApiError, Code},
    experiment::{Group, INTERLEAVED, Part, Subject, overlaid},
    id,
    scenario::{Config, Feature, FeatureKind, Scenario, Status},
};
use funnelweb_guest::{
    dispatch::{Allowance, Named, RecallCall, RerankCall, Role},
    documents::{Collection, Key},
    http::json,
    params::personal,
    types::{ColumnKind, FeatureSpec},
};
use serde::Deserialize;
use serde_json::{Map, Value, value::RawValue};

use crate::{capabilities::Capabilities, evidence, funnel::Run, slate::Assigned};

/// Scenarios, and configs of requests, that an instance keeps; the oldest goes first.
const KEPT: usize = 8;
/// Plans of a scenario that an instance keeps: of that many combinations of groups.
const KEPT_COMBINATIONS: usize = 32;

thread_local! {
    /// By the text of the scenario, so that a plan can never be an old one.
    static SCENARIOS: RefCell<Vec<(String, Rc<Plans>)>> = const { RefCell::new(Vec::new()) };
    /// By the text of the config.
    static PLANS: RefCell<Vec<(String, Rc<Plan>)>> = const { RefCell::new(Vec::new()) };
}

/// An active scenario, with the experiments in it.
pub(crate) struct Plans {
    scenario: Scenario,
    /// Of the text of the scenario.
    digest: u128,
    /// As it is without experiments.
    plan: Rc<Plan>,
    /// The config's own text, where there are experiments to change it.
    config: Value,
    /// By the groups that have a config of their own.
    combinations: RefCell<Vec<Combination>>,
}

/// Groups, and the plan that their configs make, or why they make none.
type Combination = (Vec<Place>, Result<Rc<Plan>, String>);

/// A group: the place of its experiment, and its own.
type Place = (usize, usize);

/// What one request goes by.
pub(crate) struct Chosen {
    pub(crate) plan: Rc<Plan>,
    /// The groups that the user is in.
    pub(crate) assigned: Vec<Assigned>,
    /// Whether the user is in none since it is held out of all.
    pub(crate) held_out: bool,
    /// Why the groups' configs do not count, if they do not.
    pub(crate) fault: Option<String>,
    /// What the plan's ranking is interleaved with, if it is.
    pub(crate) rival: Option<Rival>,
}

impl Chosen {
    /// What the slate is made by: the plan, and that whose ranking is drafted as well.
    pub(crate) fn plans(&self) -> impl Iterator<Item = &Plan> {
        let rival = self.rival.as_ref().and_then(|rival| rival.plan.as_deref().ok());
        iter::once(&*self.plan).chain(rival)
    }

    /// The groups that a slate was made for.
    pub(crate) fn experiments(&self, run: &Run) -> Vec<Assigned> {
        let drafted = run.drafted.as_ref().map(|drafted| drafted.experiment_id.clone());
        let interleaved = drafted.map(|experiment_id| Assigned { experiment_id, group_id: INTERLEAVED.to_owned() });
        self.assigned.iter().cloned().chain(interleaved).collect()
    }
}

/// The treatment of an interleaving, whose control is the plan.
pub(crate) struct Rival {
    pub(crate) experiment_id: String,
    /// Or why it makes none.
    pub(crate) plan: Result<Rc<Plan>, String>,
}

/// What a config comes to.
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
    /// The stages that other components, or models, may stand behind from one moment to the
    /// next.
    pub(crate) varying: Vec<Named>,
    /// What components of the tenant's own may see.
    pub(crate) allowance: Allowance,
}

impl Plans {
    /// A scenario as it is stored now.
    ///
    /// # Errors
    /// When it does not exist or is not active, or the store does not answer.
    pub(crate) fn load(host: &impl Capabilities, scenario_id: &str) -> Result<Rc<Self>, ApiError> {
        let key = Key { scenario_id: scenario_id.to_owned(), id: scenario_id.to_owned() };
        let body = host.document(Collection::Scenarios, &key)?.ok_or_else(|| {
            ApiError::field(Code::ScenarioNotFound, "scenario_id", format!("no scenario `{scenario_id}`"))
        })?;
        if let Some(plans) = kept(&SCENARIOS, &body) {
            return Ok(plans);
        }
        // It was checked when it was written.
        let unreadable = |error| ApiError::new(Code::Internal, format!("the stored scenario does not read: {error}"));
        let scenario: Scenario = serde_json::from_str(&body).map_err(unreadable)?;
        if scenario.status != Status::Active {
            let message = format!("the scenario `{scenario_id}` is inactive");
            return Err(ApiError::field(Code::ScenarioInactive, "scenario_id", message));
        }
        let config = if scenario.experiments.is_empty() {
            Value::Null
        } else {
            serde_json::from_str::<Document>(&body).map_err(unreadable)?.config
        };
        let plan = Rc::new(Plan::of(scenario.config.clone()));
        let digest = id::digest(body.as_bytes());
        Ok(keep(&SCENARIOS, body, Self { scenario, digest, plan, config, combinations: RefCell::default() }))
    }

    /// What its text is told from others by.
    pub(crate) fn digest(&self) -> u128 {
        self.digest
    }

    /// The config without experiments.
    pub(crate) fn config(&self) -> &Config {
        &self.plan.config
    }

    /// What a request of this user goes by.
    pub(crate) fn choose(&self, subject: &impl Subject, now_ms: u64) -> Chosen {
        let parts = self.scenario.assign(subject, now_ms);
        // The groups, those of controls among them.
        let (mut places, mut assigned, mut interleaved) = (Vec::new(), Vec::new(), None);
        for (experiment, part) in parts {
            match part {
                Part::Of(group) => {
                    assigned.extend(self.assigned((experiment, group)));
                    places.push((experiment, group));
                }
                Part::Both(control, treatment) => {
                    interleaved = Some(((experiment, control), (experiment, treatment)));
                    places.push((experiment, control));
                }
            }
        }
        let held_out = self.scenario.holds_out(subject.unit());
        let plan = match self.combined(&places) {
            Ok(plan) => plan,
            Err(fault) => {
                let plan = Rc::clone(&self.plan);
                return Chosen { plan, assigned: Vec::new(), held_out, fault: Some(fault), rival: None };
            }
        };
        let rival = interleaved.and_then(|(control, treatment)| {
            let against = |place: &Place| if *place == control { treatment } else { *place };
            let plan = self.combined(&places.iter().map(against).collect::<Vec<_>>());
            Some(Rival { experiment_id: self.assigned(treatment)?.experiment_id, plan })
        });
        Chosen { plan, assigned, held_out, fault: None, rival }
    }

    fn assigned(&self, place: Place) -> Option<Assigned> {
        let experiment_id = self.scenario.experiments.get(place.0)?.experiment_id.clone();
        Some(Assigned { experiment_id, group_id: self.group(place)?.group_id.clone() })
    }

    fn group(&self, (experiment, group): Place) -> Option<&Group> {
        self.scenario.experiments.get(experiment)?.groups.get(group)
    }

    /// The plan of these groups. That it keeps every rule was checked when the experiments
    /// were started and when the scenario was changed, for each two of them.
    fn combined(&self, places: &[Place]) -> Result<Rc<Plan>, String> {
        let changes = |place: &Place| self.group(*place).is_some_and(|group| !group.config.is_empty());
        let places: Vec<Place> = places.iter().copied().filter(changes).collect();
        if places.is_empty() {
            return Ok(Rc::clone(&self.plan));
        }
        if let Some((_, known)) = self.combinations.borrow().iter().find(|(of, _)| *of == places) {
            return known.clone();
        }
        let overlays: Vec<_> = places.iter().filter_map(|place| Some(&self.group(*place)?.config)).collect();
        let plan = match overlaid(&self.config, &overlays) {
            Ok(config) => Ok(Rc::new(Plan::of(config))),
            Err(error) => Err(format!("{}: {}", error.field.unwrap_or_default(), error.message)),
        };
        let mut combinations = self.combinations.borrow_mut();
        combinations.truncate(KEPT_COMBINATIONS - 1);
        combinations.insert(0, (places, plan.clone()));
        plan
    }
}

/// Of a scenario's document, what groups' configs are laid over.
#[derive(Deserialize)]
struct Document {
    config: Value,
}

impl Plan {
    /// The plan of a config that a request brings along.
    ///
    /// # Errors
    /// `invalid_field` or `invalid_config` with the path, which begins with `config`.
    pub(crate) fn read(config: &RawValue) -> Result<Rc<Self>, ApiError> {
        if let Some(plan) = kept(&PLANS, config.get()) {
            return Ok(plan);
        }
        let read: Config = json::part("config", config)?;
        read.check()?;
        Ok(keep(&PLANS, config.get().to_owned(), Self::of(read)))
    }

    /// Whether it ranks what another one does: the same candidates with the same features.
    pub(crate) fn finds_as(&self, other: &Self) -> bool {
        self.config.recall == other.config.recall && self.config.features == other.config.features
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
            varying: varying(&config),
            allowance: Allowance {
                personal: personal(&config.components.user),
                fields: config.components.fields.clone(),
            },
            config,
        }
    }
}

fn varying(config: &Config) -> Vec<Named> {
    let named = |role, stage: &str, version: &str| Named { role, stage: stage.to_owned(), version: version.to_owned() };
    let recall = config.recall.strategies.iter().map(|strategy| named(Role::Recall, &strategy.name, ""));
    let rules = config.rerank.rules.iter().map(|rule| named(Role::Rerank, &rule.name, ""));
    // A tenant's own components have its name before theirs.
    let own = recall.chain(rules).filter(|stage| stage.stage.contains('/'));
    own.chain([named(Role::Rank, &config.rank.model, &config.rank.version)]).collect()
}

/// What an instance keeps, the newest first.
type Kept<T> = LocalKey<RefCell<Vec<(String, Rc<T>)>>>;

fn kept<T>(among: &'static Kept<T>, text: &str) -> Option<Rc<T>> {
    among.with_borrow(|all| all.iter().find(|(of, _)| of == text).map(|(_, it)| Rc::clone(it)))
}

fn keep<T>(among: &'static Kept<T>, text: String, it: T) -> Rc<T> {
    let it = Rc::new(it);
    among.with_borrow_mut(|all| {
        all.truncate(KEPT - 1);
        all.insert(0, (text, Rc::clone(&it)));
    });
    it
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
