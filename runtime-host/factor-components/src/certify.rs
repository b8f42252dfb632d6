//! Certification: requests of before are replayed through a version, each twice, under the
//! very limits that it will run under.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, SystemTime},
};

use funnelweb_admission::{Refused, Schema, World};
use funnelweb_bindings::{
    Recorded,
    dispatch::Allowance,
    parts::{allowed, allowed_of_user, narrow, part},
    stages::{rank::RankRequest, recall::RecallRequest, rerank::RerankRequest},
    types::{Candidates, ParamError, RequestContext, Requirements, Table},
};
use funnelweb_core::{limits, time};
use funnelweb_engine::bounded;
use serde_json::{Map, Value};
use wasmtime::component::Component;

pub use crate::certificate::{Certificate, Check, Effect, Source, Spread};
use crate::{
    Catalogue, OfRequest,
    calls::{Callee, within_manifest},
    catalogue::Remembered,
    effect::{diversity, overlap, rank_correlation},
    handles::Known,
    pick::Payer,
    record::{Version, columns},
    sandbox::{Fault, FaultKind, Given, Ran, Sandbox, Spent, Stage},
};

/// Requests that fail after which it is clear that it does not pass.
const ENOUGH: usize = 5;
/// How often a call is made that is late for no fault of its own.
const ATTEMPTS: usize = 5;
/// The column that tells what makes a slate diverse.
const CATEGORY: &str = "category";

/// What is certified.
pub struct Subject<'a> {
    /// Where it runs.
    pub sandbox: &'a Sandbox,
    /// The component.
    pub stage: &'a Stage,
    /// What is known of it.
    pub version: &'a Version,
    /// What it is given.
    pub params: &'a Map<String, Value>,
    /// Of a rerank rule.
    pub weight: f32,
    /// Of a recall channel.
    pub limit: u32,
    /// What the scenario lets it see.
    pub allowance: &'a Allowance,
    /// Of whose time its calls are; nobody's where there is no server.
    pub pays: Option<&'a Payer>,
}

/// What it is certified with.
pub struct Trial<'a> {
    /// Whose requests they are.
    pub scenario_id: &'a str,
    /// Where they are from.
    pub source: Source,
    /// The requests.
    pub requests: &'a [Arc<Recorded>],
    /// What a recall channel may read; what each request has, without.
    pub catalogue: Option<Arc<dyn Catalogue>>,
}

/// What a call gave, to the bit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// For a rerank rule and a recall channel, best first; for a ranker its order.
    pub handles: Vec<u64>,
    /// Bits of the scores, in the answer's own order.
    scores: Vec<u32>,
    /// By a rerank rule.
    pub removed: Vec<u64>,
}

impl Subject<'_> {
    fn callee(&self) -> Callee<'_> {
        Callee { sandbox: self.sandbox, stage: self.stage }
    }

    /// Replays all requests.
    pub async fn certify(&self, trial: &Trial<'_>) -> Certificate {
        let mut found = Found::default();
        if let Some(payer) = self.pays {
            payer.wait().await;
        }
        match self.needs().await {
            Ok(needs) => {
                for request in trial.requests {
                    if let Some(payer) = self.pays {
                        payer.wait().await;
                    }
                    self.replay(request, &needs, trial, &mut found).await;
                    if found.faults.len() >= ENOUGH {
                        break;
                    }
                }
            }
            Err(reason) => found.params = Some(reason),
        }
        let checks = found.checks(trial.requests.len());
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Certificate {
            passed: checks.iter().all(|check| check.passed),
            at: time::format_ms(u64::try_from(now.as_millis()).unwrap_or_default()),
            scenario_id: trial.scenario_id.to_owned(),
            params: self.params.clone(),
            requests: u32::try_from(trial.requests.len()).unwrap_or(u32::MAX),
            source: trial.source,
            checks,
            time_us: Spread::of(found.spent.iter().map(Spent::micros).collect()),
            fuel: Spread::of(found.spent.iter().map(|spent| spent.fuel).collect()),
            memory_bytes: found.spent.iter().map(|spent| spent.memory_bytes).max().unwrap_or_default(),
            effect: mean(&found.effects),
        }
    }

    /// What it asks for.
    ///
    /// # Errors
    /// Why it does not take the params, or does not say.
    pub async fn needs(&self) -> Result<Requirements, String> {
        let params = Value::Object(self.params.clone());
        let schema = self.version.params_schema.as_ref().map(Schema::new).transpose();
        let schema = schema.map_err(|refused: Refused| refused.to_string())?;
        if let Some((path, message)) = schema.and_then(|schema| schema.check(self.params).err()) {
            return Err(format!("params{path}: {message}"));
        }
        let params = params.to_string();
        let mut attempt = 1;
        let said = loop {
            let said = self.callee().check(Given::new(0, 0), self.took(), &params).await;
            if !was_kept_waiting(&said, attempt) {
                break said;
            }
            attempt += 1;
        };
        let refused = |error: ParamError| format!("params{}: {}", bounded(error.path), bounded(error.message));
        let needs = said.answer.map_err(|fault| fault.reason)?.map_err(refused)?;
        within_manifest(needs, &said.known, self.version).map_err(|error| error.message)
    }

    async fn replay(&self, request: &Arc<Recorded>, needs: &Requirements, trial: &Trial<'_>, found: &mut Found) {
        // What it reads of a catalogue that changes is the same both times.
        let catalogue = trial.catalogue.clone().map(|of| Arc::new(Remembered::new(of)) as Arc<dyn Catalogue>);
        let trial = &Trial { catalogue, ..*trial };
        let first = self.patiently(request, needs, trial).await;
        let again = self.patiently(request, needs, trial).await;
        if let (Ok(first), Ok(again)) = (&first.answer, &again.answer)
            && first != again
        {
            found.differing += 1;
        }
        for Ran { answer, spent, .. } in [first, again] {
            match answer {
                Ok(answer) => {
                    found.spent.push(spent);
                    found.effects.push(self.effect(request, &answer));
                }
                Err(fault) => found.faults.push(fault),
            }
        }
    }

    async fn patiently(&self, request: &Arc<Recorded>, needs: &Requirements, trial: &Trial<'_>) -> Ran<Answer> {
        let mut attempt = 1;
        loop {
            let ran = self.call(request, needs, trial).await;
            if !was_kept_waiting(&ran, attempt) {
                return ran;
            }
            attempt += 1;
        }
    }

    /// One call, as in a request.
    pub async fn call(&self, request: &Arc<Recorded>, needs: &Requirements, trial: &Trial<'_>) -> Ran<Answer> {
        let context = part(&request.context, needs.personal & self.allowance.personal);
        let may_read = allowed(&columns(&self.version.reads.columns), self.allowance);
        let own = || Arc::new(OfRequest::new(Arc::clone(request), may_read.clone()));
        let catalogue = trial.catalogue.clone().unwrap_or_else(|| own());
        let given = Given { catalogue: Some(catalogue), ..Given::new(context.now_ms, context.seed) };
        let params = Value::Object(self.params.clone()).to_string();
        let callee = self.callee();
        match self.version.world {
            World::Recall => {
                let request = RecallRequest { context, limit: self.limit, exclude: request.exclude.clone(), params };
                map(callee.recall(given, self.took(), request).await, |found| Answer {
                    scores: bits(&found.scores),
                    handles: found.handles,
                    removed: Vec::new(),
                })
            }
            World::Rank => {
                let mut request = self.rank_request(request, context, params);
                let ran = callee.rank(given, self.took(), &mut request).await;
                map(ran, |scores| Answer {
                    handles: order(&request.candidates, &scores),
                    scores: bits(&scores),
                    removed: Vec::new(),
                })
            }
            World::Rerank => {
                let mut request = RerankRequest {
                    context,
                    candidates: request.ranked.clone(),
                    rows: request.rows.clone(),
                    items: narrow(&request.items, &allowed(&needs.columns, self.allowance)),
                    weight: self.weight,
                    params,
                };
                map(callee.rerank(given, self.took(), &mut request).await, |found| Answer {
                    scores: bits(&found.scores),
                    handles: found.handles,
                    removed: found.removed,
                })
            }
            World::Aggregate => Ran {
                answer: Err(Fault { kind: FaultKind::Error, reason: "it takes no requests".to_owned() }),
                spent: Spent::default(),
                known: Known::default(),
            },
        }
    }

    /// What a ranker is given of a request: the columns that its manifest reads.
    fn rank_request(&self, request: &Recorded, context: RequestContext, params: String) -> RankRequest {
        let reads = &self.version.reads;
        RankRequest {
            context,
            candidates: request.candidates.clone(),
            items: narrow(&request.items, &allowed(&columns(&reads.columns), self.allowance)),
            user: narrow(&request.user, &allowed_of_user(&columns(&reads.user_columns), self.allowance)),
            item_features: Vec::new(),
            objective: String::new(),
            params,
        }
    }

    /// Who pays for a call.
    fn took(&self) -> impl FnOnce(Duration) {
        let payer = self.pays;
        move |busy| {
            if let Some(payer) = payer {
                payer.pay(busy);
            }
        }
    }

    fn effect(&self, request: &Recorded, answer: &Answer) -> Effect {
        let count = request.context.count as usize;
        let categories = Categories::of(request);
        let before = diversity(&categories.first(&request.slate, count));
        if self.version.world == World::Recall {
            let known = &request.candidates.handles;
            let shared = answer.handles.iter().filter(|handle| known.contains(handle)).count();
            let all = answer.handles.len().max(1) as f64;
            let after = diversity(&categories.first(&answer.handles, count));
            return Effect {
                rank_correlation: 1.0,
                overlap: shared as f64 / all,
                diversity_before: before,
                diversity_after: after,
            };
        }
        Effect {
            rank_correlation: rank_correlation(&request.ranked.handles, &answer.handles),
            overlap: overlap(&answer.handles, &request.slate, count),
            diversity_before: before,
            diversity_after: diversity(&categories.first(&answer.handles, count)),
        }
    }
}

/// Whether a call is to be made once more: it was late and had less than half of its time of
/// a processor, so others had it. One that waits is late each time.
pub(crate) fn was_kept_waiting<R>(ran: &Ran<R>, attempt: usize) -> bool {
    let is_late = matches!(&ran.answer, Err(fault) if fault.kind == FaultKind::Late);
    is_late && attempt < ATTEMPTS && ran.spent.busy < limits::COMPONENT_TIMEOUT / 2
}

/// What was found on the way.
#[derive(Default)]
struct Found {
    params: Option<String>,
    spent: Vec<Spent>,
    faults: Vec<Fault>,
    effects: Vec<Effect>,
    differing: usize,
}

impl Found {
    fn checks(&self, requests: usize) -> Vec<Check> {
        let check = |name: &str, detail: Option<String>| Check {
            check: name.to_owned(),
            passed: detail.is_none(),
            detail: detail.unwrap_or_default(),
        };
        let params = check("params", self.params.clone());
        if !params.passed {
            return vec![params];
        }
        let (broken, lost): (Vec<&Fault>, Vec<&Fault>) =
            self.faults.iter().partition(|fault| fault.kind == FaultKind::Contract);
        let unlike = format!("{} of {requests} requests have other answers when they are repeated", self.differing);
        let times = Spread::of(self.spent.iter().map(Spent::micros).collect());
        let most = u64::try_from(limits::COMPONENT_TIMEOUT.as_micros() / 2).unwrap_or(u64::MAX);
        let slow = format!(
            "99 of 100 calls take up to {} µs of a processor; {most} is the most here, half of the limit",
            times.p99
        );
        let none = requests == 0;
        vec![
            params,
            check("requests", none.then(|| "there are no requests to replay".to_owned())),
            check("answers", said(lost.iter().map(|fault| fault.reason.as_str()))),
            check("contract", said(broken.iter().map(|fault| fault.reason.as_str()))),
            check("deterministic", (self.differing > 0).then_some(unlike)),
            check("time", (times.p99 > most).then_some(slow)),
        ]
    }
}

/// The reasons, each once and how often.
pub(crate) fn said<'a>(reasons: impl Iterator<Item = &'a str>) -> Option<String> {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    reasons.for_each(|reason| *counts.entry(reason).or_default() += 1);
    let said: Vec<String> = counts.iter().map(|(reason, count)| format!("{count} × {reason}")).collect();
    (!said.is_empty()).then(|| said.join("; "))
}

fn bits(scores: &[f32]) -> Vec<u32> {
    scores.iter().map(|score| score.to_bits()).collect()
}

fn map<R, A>(ran: Ran<R>, to: impl FnOnce(R) -> A) -> Ran<A> {
    Ran { answer: ran.answer.map(to), spent: ran.spent, known: ran.known }
}

/// Best first, ties by handle, as slates are.
fn order(candidates: &Candidates, scores: &[f32]) -> Vec<u64> {
    let mut order: Vec<(f32, u64)> = scores.iter().copied().zip(candidates.handles.iter().copied()).collect();
    order.sort_unstable_by(|one, other| other.0.total_cmp(&one.0).then(one.1.cmp(&other.1)));
    order.into_iter().map(|(_, handle)| handle).collect()
}

fn mean(effects: &[Effect]) -> Option<Effect> {
    let count = effects.len() as f64;
    let mean = |of: fn(&Effect) -> f64| effects.iter().map(of).sum::<f64>() / count;
    (!effects.is_empty()).then(|| Effect {
        rank_correlation: mean(|effect| effect.rank_correlation),
        overlap: mean(|effect| effect.overlap),
        diversity_before: mean(|effect| effect.diversity_before),
        diversity_after: mean(|effect| effect.diversity_after),
    })
}

/// The category of each item of a request.
struct Categories(BTreeMap<u64, u32>);

impl Categories {
    fn of(request: &Recorded) -> Self {
        let Table { categorical_names: names, categorical, .. } = &request.items;
        let Some(at) = names.iter().position(|name| name == CATEGORY) else { return Self(BTreeMap::new()) };
        let rows = request.candidates.handles.iter().zip(categorical.chunks_exact(names.len()));
        Self(rows.filter_map(|(handle, row)| Some((*handle, *row.get(at)?))).collect())
    }

    fn first(&self, handles: &[u64], count: usize) -> Vec<u32> {
        handles.iter().take(count).filter_map(|handle| self.0.get(handle).copied()).collect()
    }
}

/// Makes a component that was compiled here and now ready.
///
/// # Errors
/// When it does not fit its world.
pub fn stage(sandbox: &Sandbox, world: World, component: &Component) -> Result<Stage, String> {
    sandbox.stage(world, component).map_err(|error| bounded(format!("{error:#}")))
}
