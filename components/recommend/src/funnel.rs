//! The funnel itself.

use std::rc::Rc;

use funnelweb_core::{
    error::ApiError,
    experiment, id,
    scenario::{Config, Exploration},
};
use funnelweb_guest::{
    dispatch::{FeaturesCall, RankCall, RecallOutcome, Role},
    documents::{Collection, Key},
    handles::HandleSet,
    profile,
    types::{Attribute, Candidates, ColumnSpec, Handle, NumericColumns, RequestContext, User},
};

use crate::{
    Request,
    capabilities::{Capabilities, Stages},
    evidence,
    explain::Trace,
    exploration,
    merge::merge,
    plan::{Chosen, Plan, Plans},
    recording::{pass_over, record},
    session::{self, SessionRequest},
    slate::{Item, Response, remember, respond, slate},
    subject::Asking,
};

/// What a request is beside its body.
pub struct Call<'a> {
    /// Echoed in the response.
    pub request_id: &'a str,
    /// Who the slate is for; empty for a session.
    pub user_id: &'a str,
    /// Whether the response tells what every stage did.
    pub explain: bool,
    /// The request's clock.
    pub now_ms: u64,
    /// The request's seed.
    pub seed: u64,
}

/// Recommends to a user.
///
/// # Errors
/// A field of the request that is wrong, a scenario that does not exist or is
/// not active, a store that does not answer. Never a stage's failure.
pub fn recommend(host: &impl Capabilities, call: &Call<'_>, request: &Request) -> Result<Response, ApiError> {
    let asked = request.check()?;
    let plans = Plans::load(host, &request.scenario_id)?;
    record(host, call, &request.scenario_id, plans.config());
    let user = load_user(host, &request.scenario_id, call.user_id, plans.config())?;
    let chosen = plans.choose(&Asking::user(&user, &asked.context), call.now_ms);
    let plan = &chosen.plan;
    let exclude = shown_before(host, call.user_id, request, &plan.config, asked.exclude)?;
    let context = request_context(call, request, user, asked.context);
    let stages = host.stages(&context, &plan.allowance);
    let Run { items, rows, trace } = run(host, &stages, call, request, &chosen, &context, &exclude)?;
    remember(host, call.user_id, request, &plan.config, &items)?;
    log(&stages, call, &chosen, &items, &rows);
    respond(host, call, request, &chosen, items, trace)
}

/// Recommends to whoever did what the request lists. `call.user_id` is empty.
///
/// # Errors
/// As [`recommend`].
pub fn recommend_to_session(
    host: &impl Capabilities,
    call: &Call<'_>,
    request: SessionRequest,
) -> Result<Response, ApiError> {
    let (request, done) = request.check(call.now_ms)?;
    let asked = request.check()?;
    let plans = Plans::load(host, &request.scenario_id)?;
    record(host, call, &request.scenario_id, plans.config());
    let user = session::user(host, &request.scenario_id, &done, &plans.config().behaviors)?;
    let chosen = plans.choose(&Asking::session(&user, &asked.context), call.now_ms);
    let plan = &chosen.plan;
    let context = request_context(call, &request, user, asked.context);
    let stages = host.stages(&context, &plan.allowance);
    // It is nobody's: what they do next cannot be told to be theirs, so nothing is logged.
    let Run { items, trace, .. } = run(host, &stages, call, &request, &chosen, &context, &asked.exclude)?;
    remember(host, call.user_id, &request, &plan.config, &items)?;
    respond(host, call, &request, &chosen, items, trace)
}

/// What the user would be recommended by this plan, outside of experiments; it is neither
/// noted nor answered.
pub(crate) fn offline(
    host: &impl Capabilities,
    call: &Call<'_>,
    request: &Request,
    plan: Rc<Plan>,
) -> Result<(Vec<Item>, Trace), ApiError> {
    let asked = request.check()?;
    pass_over(host, &request.scenario_id);
    let chosen = Chosen { plan: Rc::clone(&plan), assigned: Vec::new(), held_out: false, fault: None };
    let user = load_user(host, &request.scenario_id, call.user_id, &plan.config)?;
    let exclude = shown_before(host, call.user_id, request, &plan.config, asked.exclude)?;
    let context = request_context(call, request, user, asked.context);
    let Run { items, trace, .. } =
        run(host, &host.stages(&context, &plan.allowance), call, request, &chosen, &context, &exclude)?;
    Ok((items, trace))
}

/// What a run of the funnel came to.
struct Run {
    items: Vec<Item>,
    /// The items of the feature table, row by row.
    rows: Vec<Handle>,
    trace: Trace,
}

/// The order of the design, §2.3, a line a step.
fn run(
    host: &impl Capabilities,
    stages: &impl Stages,
    call: &Call<'_>,
    request: &Request,
    chosen: &Chosen,
    context: &RequestContext,
    exclude: &[Handle],
) -> Result<Run, ApiError> {
    let plan = &*chosen.plan;
    let needs = needs(host, plan);
    let mut trace = Trace::new(call.explain);
    if let Some(fault) = &chosen.fault {
        trace.without_experiments(fault);
    }
    let recalled = recall(stages, exclude, plan, &mut trace);
    let candidates = combine(&recalled, exclude, plan, &needs, &mut trace);
    let evidence = evidence::of(&plan.evidence, &recalled, &candidates);
    let (ranked, rows) = match extract(stages, candidates, evidence, plan, &needs, &mut trace) {
        Ok(candidates) => {
            let rows = candidates.handles.clone();
            let (ranked, places) = rank(stages, candidates, plan, &mut trace);
            (rerank(stages, ranked, &places, plan, &mut trace), rows)
        }
        // Without features nothing can be ranked: the order of recall stands.
        Err(candidates) => (candidates, Vec::new()),
    };
    let (ranked, explored) = explore(&recalled, ranked, plan, context, &mut trace);
    let items = slate(host, request, &plan.config, &ranked, &explored)?;
    Ok(Run { items, rows, trace })
}

/// What the ranker and the rerank rules need of the feature table and of recall.
#[derive(Default)]
struct Needs {
    columns: Vec<ColumnSpec>,
    pinned: Vec<Handle>,
}

fn load_user(host: &impl Capabilities, scenario_id: &str, user_id: &str, config: &Config) -> Result<User, ApiError> {
    let key = Key { scenario_id: scenario_id.to_owned(), id: user_id.to_owned() };
    let document = host.document(Collection::UserProfiles, &key)?;
    Ok(profile::user(user_id, document.as_deref(), &config.behaviors))
}

/// What must not be recommended: what the request says, and what the user was
/// shown lately.
fn shown_before(
    host: &impl Capabilities,
    user_id: &str,
    request: &Request,
    config: &Config,
    mut exclude: Vec<Handle>,
) -> Result<Vec<Handle>, ApiError> {
    if config.exposure.enabled {
        exclude.extend(host.exposed(&request.scenario_id, user_id)?);
    }
    Ok(exclude)
}

fn request_context(call: &Call<'_>, request: &Request, user: User, context: Vec<Attribute>) -> RequestContext {
    RequestContext {
        scenario_id: request.scenario_id.clone(),
        user,
        context,
        now_ms: call.now_ms,
        count: request.count,
        seed: call.seed,
    }
}

fn needs(host: &impl Capabilities, plan: &Plan) -> Needs {
    let mut needs = Needs::default();
    let rules = plan.rerank.iter().map(|rule| (Role::Rerank, &rule.stage, &rule.params));
    for (role, name, params) in std::iter::once((Role::Rank, &plan.config.rank.model, &plan.rank_params)).chain(rules) {
        // A stage that cannot be used is reported when it is called.
        if let Ok(requirements) = host.check(role, name, params) {
            for column in requirements.columns {
                if !needs.columns.iter().any(|known| known.name == column.name && known.kind == column.kind) {
                    needs.columns.push(column);
                }
            }
            needs.pinned.extend(requirements.items);
        }
    }
    needs
}

fn recall(stages: &impl Stages, exclude: &[Handle], plan: &Plan, trace: &mut Trace) -> Vec<RecallOutcome> {
    let outcomes = stages.recall(exclude, &plan.recall);
    trace.recalled(&outcomes);
    outcomes
}

fn combine(
    outcomes: &[RecallOutcome],
    exclude: &[Handle],
    plan: &Plan,
    needs: &Needs,
    trace: &mut Trace,
) -> Candidates {
    let exclude: HandleSet = exclude.iter().copied().collect();
    let candidates = merge(outcomes, &plan.weights, &plan.config.recall.merge, &exclude, &needs.pinned);
    trace.merged(&candidates);
    candidates
}

/// The candidates that are in the feature table, in its order; all of them, as
/// an error, when there is no table.
fn extract(
    stages: &impl Stages,
    candidates: Candidates,
    evidence: NumericColumns,
    plan: &Plan,
    needs: &Needs,
    trace: &mut Trace,
) -> Result<Candidates, Candidates> {
    let call = FeaturesCall {
        candidates,
        item_features: plan.item_features.clone(),
        user_features: plan.user_features.clone(),
        context_features: plan.context_features.clone(),
        derived_features: plan.derived_features.clone(),
        evidence,
        columns: needs.columns.clone(),
    };
    let outcome = stages.features(&call);
    trace.report(outcome.report);
    let Some(removed) = outcome.removed else { return Err(call.candidates) };
    let kept = without(call.candidates, &removed);
    trace.extracted(&kept, removed, || stages.table());
    Ok(kept)
}

/// The candidates best first by the ranker's scores, and the row of each.
fn rank(stages: &impl Stages, candidates: Candidates, plan: &Plan, trace: &mut Trace) -> (Candidates, Vec<u32>) {
    let ranker = &plan.config.rank;
    let call = RankCall {
        stage: ranker.model.clone(),
        version: ranker.version.clone(),
        objective: ranker.objective.clone(),
        params: plan.rank_params.clone(),
        candidates,
        item_features: plan.item_features.clone(),
    };
    let outcome = stages.rank(&call);
    for report in outcome.reports {
        trace.report(report);
    }
    let (ranked, rows) = best_first(&call.candidates, &outcome.scores);
    trace.ranked(&ranked);
    (ranked, rows)
}

fn rerank(stages: &impl Stages, ranked: Candidates, rows: &[u32], plan: &Plan, trace: &mut Trace) -> Candidates {
    if plan.rerank.is_empty() {
        return ranked;
    }
    let outcome = stages.rerank(&ranked, rows, &plan.rerank, trace.wanted());
    trace.reranked(outcome.reports, outcome.steps);
    outcome.candidates
}

/// Logs the slate with its features, if there are any; and for the groups of experiments,
/// whatever share is logged, since what comes of it is to be told.
fn log(stages: &impl Stages, call: &Call<'_>, chosen: &Chosen, items: &[Item], rows: &[Handle]) {
    let groups: Vec<String> =
        chosen.assigned.iter().map(|of| experiment::label(&of.experiment_id, &of.group_id)).collect();
    if !chosen.plan.config.exposure.logs(call.seed) {
        if !groups.is_empty() {
            // What was shown, and not with which features.
            let ids: Vec<String> = items.iter().map(|item| item.item_id.clone()).collect();
            stages.shown(call.request_id, &ids, &[], &groups);
        }
        return;
    }
    let row = |item: &Item| {
        let handle = id::handle(&item.item_id);
        let row = rows.iter().position(|row| *row == handle)?;
        Some((item.item_id.clone(), u32::try_from(row).ok()?))
    };
    let (ids, rows): (Vec<String>, Vec<u32>) = items.iter().filter_map(row).unzip();
    if !(ids.is_empty() && groups.is_empty()) {
        stages.shown(call.request_id, &ids, &rows, &groups);
    }
}

/// Gives places to what is explored; see [`exploration`].
fn explore(
    recalled: &[RecallOutcome],
    ranked: Candidates,
    plan: &Plan,
    context: &RequestContext,
    trace: &mut Trace,
) -> (Candidates, HandleSet) {
    let channels = recalled.iter().filter(|outcome| outcome.report.stage == Exploration::CHANNEL);
    let offered: Vec<Handle> = channels.flat_map(|outcome| outcome.handles.iter().copied()).collect();
    let (ranked, explored) = exploration::explore(ranked, &offered, &plan.config.exploration, context);
    trace.explored(&ranked, &explored);
    (ranked, explored)
}

/// Best first by these scores, ties by handle; and where each stood before.
fn best_first(candidates: &Candidates, scores: &[f32]) -> (Candidates, Vec<u32>) {
    let mut order: Vec<(f32, Handle, u32, u32)> = Vec::with_capacity(scores.len());
    for (row, ((score, handle), sources)) in scores.iter().zip(&candidates.handles).zip(&candidates.sources).enumerate()
    {
        order.push((*score, *handle, *sources, u32::try_from(row).unwrap_or(u32::MAX)));
    }
    order.sort_unstable_by(|one, other| other.0.total_cmp(&one.0).then(one.1.cmp(&other.1)));
    let ranked = Candidates {
        handles: order.iter().map(|entry| entry.1).collect(),
        scores: order.iter().map(|entry| entry.0).collect(),
        sources: order.iter().map(|entry| entry.2).collect(),
    };
    (ranked, order.iter().map(|entry| entry.3).collect())
}

fn without(candidates: Candidates, removed: &[Handle]) -> Candidates {
    if removed.is_empty() {
        return candidates;
    }
    let removed: HandleSet = removed.iter().copied().collect();
    let mut kept = Candidates { handles: Vec::new(), scores: Vec::new(), sources: Vec::new() };
    for ((handle, score), sources) in candidates.handles.into_iter().zip(candidates.scores).zip(candidates.sources) {
        if !removed.contains(&handle) {
            kept.handles.push(handle);
            kept.scores.push(score);
            kept.sources.push(sources);
        }
    }
    kept
}
