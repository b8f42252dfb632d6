//! A stage that does harm. One component stands for all: it exports every role,
//! and its params say what it does (as the feature stage, which has none, the
//! request's `context`):
//!
//! ```json
//! {"attack": "loop"}
//! {"attack": "none", "check": "loop"}
//! ```
//!
//! With `none` it behaves: as a recall channel it finds nothing, as a ranker it
//! keeps the scores, as a rule it keeps the list, as the feature stage it has no
//! column.
#![allow(clippy::panic, clippy::print_stdout, reason = "its purpose")]

use std::sync::{Mutex, PoisonError};

mod attack;

use attack::{Attack, Params, table};
use funnelweb_guest::{
    aggregate::{self, Aggregated, Batch, Change, Declaration, Event, Field, Metric, Output, Window},
    features::{self, FeatureTable, FeaturesRequest},
    model::{self, LoadError, LoadRule, Loaded},
    rank::{self, RankRequest},
    recall::{self, RecallRequest, Recalled},
    rerank::{self, RerankRequest, Reranked},
    types::{ParamError, Requirements, StageError},
};

/// The component.
pub struct Stage;

impl recall::Guest for Stage {
    fn check(params: String) -> Result<Requirements, ParamError> {
        attack::check(&params)
    }

    fn recall(request: RecallRequest) -> Result<Recalled, StageError> {
        let params = Params::parse(&request.params);
        params.run()?;
        let attack = params.attack;
        // It knows no item, so all that it offers is made up.
        let count = if attack == Attack::None { 0 } else { u64::from(request.limit) };
        let (mut handles, mut scores) = ((1..=count).collect(), vec![1.0; count as usize]);
        attack.spoil(&mut handles, &mut scores);
        Ok(Recalled { handles, scores })
    }
}

impl features::Guest for Stage {
    fn extract(request: FeaturesRequest) -> Result<FeatureTable, StageError> {
        let params = Params::of_context(&request.context.context);
        params.run()?;
        let attack = params.attack;
        let handles = request.candidates.handles;
        let removed = match attack {
            Attack::Invent => vec![handles.first().map_or(0, |handle| handle ^ 1)],
            // It has a row nevertheless.
            Attack::KeepRemoved => handles.iter().take(1).copied().collect(),
            _ => Vec::new(),
        };
        let rows = if attack == Attack::Lose { handles.len().saturating_sub(1) } else { handles.len() };
        Ok(FeatureTable { items: table(attack, rows), user: table(Attack::None, 1), removed })
    }
}

impl rank::Guest for Stage {
    fn check(params: String) -> Result<Requirements, ParamError> {
        attack::check(&params)
    }

    fn rank(request: RankRequest) -> Result<Vec<f32>, StageError> {
        let model = MODEL.lock().unwrap_or_else(PoisonError::into_inner);
        let attack = match model.as_ref() {
            // An upload is tried out for none.
            Some(_) if request.context.scenario_id.is_empty() => Attack::None,
            Some(params) => params.begin_ranking()?,
            None => {
                let params = Params::parse(&request.params);
                params.run()?;
                params.attack
            }
        };
        let mut scores = request.candidates.scores;
        attack.spoil(&mut Vec::new(), &mut scores);
        Ok(scores)
    }
}

/// The params that it was given as a model.
static MODEL: Mutex<Option<Params>> = Mutex::new(None);

/// What it does when it is given a model stands in the manifest; so does what it does when
/// it then ranks for a scenario, since models have no params.
impl model::Guest for Stage {
    fn load(manifest: String, _: Vec<u8>) -> Result<Loaded, LoadError> {
        let params = Params::parse(&manifest);
        params.run().map_err(|error| LoadError { rule: LoadRule::Onnx, message: error.message })?;
        *MODEL.lock().unwrap_or_else(PoisonError::into_inner) = Some(params);
        Ok(Loaded {
            name: "harm".to_owned(),
            version: "v1".to_owned(),
            kind: "lightgbm".to_owned(),
            objective: "harm".to_owned(),
            features: Vec::new(),
            schema_hash: String::new(),
            operators: 0,
            parameter_bytes: 0,
            metrics: "{}".to_owned(),
        })
    }
}

impl rerank::Guest for Stage {
    fn check(params: String) -> Result<Requirements, ParamError> {
        attack::check(&params)
    }

    fn rerank(request: RerankRequest) -> Result<Reranked, StageError> {
        let params = Params::parse(&request.params);
        params.run()?;
        let attack = params.attack;
        let (mut handles, mut scores) = (request.candidates.handles, request.candidates.scores);
        attack.spoil(&mut handles, &mut scores);
        // What it keeps it also removes.
        let removed = if attack == Attack::KeepRemoved { handles.clone() } else { Vec::new() };
        Ok(Reranked { handles, scores, removed })
    }
}

/// More than the answers to one call may have.
const ANSWER_BYTES: usize = 40 * 1024 * 1024;

/// As an operator it counts events, unless one is about an item `attack:…`; `attack:answer`
/// is an accumulator that is far too large.
impl aggregate::Guest for Stage {
    fn declare() -> Declaration {
        Declaration {
            key: vec![Field::Scenario],
            window: Window { size_ms: 60_000, slide_ms: 60_000 },
            allowed_lateness_ms: 0,
        }
    }

    fn aggregate(batches: Vec<Batch>) -> Result<Vec<Vec<u8>>, String> {
        let one = |batch: &Batch| {
            let attacks = batch.events.iter().filter_map(|event: &Event| event.item_id.strip_prefix("attack:"));
            for attack in attacks {
                if attack == "answer" {
                    return Ok(vec![0; ANSWER_BYTES]);
                }
                Params::parse(&format!("{{\"attack\":\"{attack}\"}}")).run().map_err(|error| error.message)?;
            }
            Ok((batch.events.len() as u64).to_le_bytes().to_vec())
        };
        batches.iter().map(one).collect()
    }

    fn merge(parts: Vec<Vec<Vec<u8>>>) -> Result<Vec<Vec<u8>>, String> {
        let sum = |parts: &Vec<Vec<u8>>| parts.iter().map(|part| counted(part)).sum::<u64>();
        Ok(parts.iter().map(|parts| sum(parts).to_le_bytes().to_vec()).collect())
    }

    fn changes(panes: Vec<Aggregated>) -> Result<Vec<Vec<Change>>, String> {
        let one = |pane: &Aggregated| {
            let amount = counted(&pane.accumulator) as f64;
            vec![Change::Metric(Metric { name: "hostile_total".to_owned(), labels: Vec::new(), amount })]
        };
        Ok(panes.iter().map(one).collect())
    }

    fn summary(windows: Vec<Aggregated>) -> Result<Vec<Vec<Output>>, String> {
        Ok(windows.iter().map(|_| Vec::new()).collect())
    }
}

fn counted(accumulator: &[u8]) -> u64 {
    accumulator.try_into().map_or(0, u64::from_le_bytes)
}

funnelweb_guest::export_recall!(Stage);
funnelweb_guest::export_features!(Stage);
funnelweb_guest::export_model!(Stage);
funnelweb_guest::export_rerank!(Stage);
funnelweb_guest::export_aggregate!(Stage);
