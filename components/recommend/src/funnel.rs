//! The funnel itself.

use std::{cell::LazyCell, rc::Rc};

use funnelweb_core::{
    error::{ApiError, Code},
    experiment, id,
    scenario::{Config, Exploration},
};
use funnelweb_guest::{
    dispatch::{FeaturesCall, RankCall, RecallOutcome, Role},
    documents::Key,
    handles::HandleSet,
    profile,
    types::{Attribute, Candidates, ColumnSpec, Handle, NumericColumns, RequestContext, User},
};

use crate::{
    Request,
    answer::Answer,
    cache::{self, Again, Looked},
    capabilities::{Capabilities, Stages},
    draft::Drafted,
    evidence,
    explain::Trace,
    exploration,
    interleaving::Contest,
    merge::merge,
    plan::{Chosen, Plan, Plans},
    recording::{pass_over, record},
    request::Checked,
    session::{self, SessionRequest},
    slate::{Assigned, Item, Rest, ids, remember, respond, slate},
    subject::Asking,
};

/// What a request is beside what its body says.
#[derive(Debug, Clone, Copy)]
pub struct Call<'a> {
    /// Echoed in the response.
    pub request_id: &'a str,
    /// Who the slate is for; empty for a session.
    pub user_id: &'a str,
    /// Whether the response tells what every stage did.
    pub explain: bool,
    /// Whether it is for those who ask next: what is kept is not looked for, nobody is shown
    /// anything, and nothing is logged.
    pub revalidates: bool,
    /// The request's clock.
    pub now_ms: u64,
    /// The request's seed.
    pub seed: u64,
    /// The body as it was sent.
    pub body: &'a [u8],
}

impl<'a> Call<'a> {
    /// A request of a user's at no time, without a body.
    #[must_use]
    pub fn of(request_id: &'a str, user_id: &'a str) -> Self {
        Self { request_id, user_id, explain: false, revalidates: false, now_ms: 0, seed: 0, body: b"" }
    }
}

/// Recommends to a user.
///
/// # Errors
/// A field of the request that is wrong, a scenario that does not exist or is
/// not active, a store that does not answer. Never a stage's failure.
pub fn recommend(host: &impl Capabilities, call: &Call<'_>, request: &Request) -> Result<Answer, ApiError> {
    let asked = request.check(call.user_id)?;
    let plans = Plans::load(host, &request.scenario_id)?;
    record(host, call, &request.scenario_id, plans.config());
    let profile = load_profile(host, &request.scenario_id, call.user_id)?;
    let user = LazyCell::new(|| profile::user(call.user_id, profile.text(), &plans.config().behaviors));
    let chosen = plans.choose(&Asking::user(call.user_id, &user, &asked.context), call.now_ms);
    let absent = match cache::look(host, call, request, (&plans, &chosen), profile.version)? {
        Looked::Again(again) => return again_shown(host, call, request, &chosen, again),
        Looked::Absent(absent) => absent,
    };
    let plan = &chosen.plan;
    let exclude = shown_before(host, call.user_id, request, &plan.config, &asked)?;
    let context = request_context(call, request, User::clone(&user), asked.context);
    let stages = host.stages(&context, &plan.allowance);
    let run = run(host, &stages, call, request, &chosen, &context, &exclude)?;
    if !call.revalidates {
        remember(host, call.user_id, request, &plan.config, &ids(&run.items))?;
        log(&stages, call, &chosen, &run);
    }
    let rest = respond(host, call, request, &chosen, &asked.feed, run)?;
    absent.answer(host, call, &request.scenario_id, &text(&rest)?, rest.is_poor(request.cursor.is_some()))
}

/// Recommends to whoever did what the request lists. `call.user_id` is empty.
///
/// # Errors
/// As [`recommend`].
pub fn recommend_to_session(
    host: &impl Capabilities,
    call: &Call<'_>,
    request: SessionRequest,
) -> Result<Answer, ApiError> {
    let (request, done) = request.check(call.now_ms)?;
    let asked = request.check(call.user_id)?;
    let plans = Plans::load(host, &request.scenario_id)?;
    record(host, call, &request.scenario_id, plans.config());
    let user = session::user(host, &request.scenario_id, &done, &plans.config().behaviors)?;
    let chosen = plans.choose(&Asking::session(&&user, &asked.context), call.now_ms);
    let absent = match cache::look(host, call, &request, (&plans, &chosen), 0)? {
        Looked::Again(again) => return again_shown(host, call, &request, &chosen, again),
        Looked::Absent(absent) => absent,
    };
    let plan = &chosen.plan;
    let exclude = Exclusions::new(&asked, Vec::new());
    let context = request_context(call, &request, user, asked.context);
    let stages = host.stages(&context, &plan.allowance);
    // It is nobody's: what they do next cannot be told to be theirs, so nothing is logged.
    let run = run(host, &stages, call, &request, &chosen, &context, &exclude)?;
    if !call.revalidates {
        remember(host, call.user_id, &request, &plan.config, &ids(&run.items))?;
    }
    let rest = respond(host, call, &request, &chosen, &asked.feed, run)?;
    absent.answer(host, call, &request.scenario_id, &text(&rest)?, rest.is_poor(request.cursor.is_some()))
}

/// What was answered before, shown once more: all that is noted of it but its features.
fn again_shown(
    host: &impl Capabilities,
    call: &Call<'_>,
    request: &Request,
    chosen: &Chosen,
    again: Again,
) -> Result<Answer, ApiError> {
    remember(host, call.user_id, request, &chosen.plan.config, &again.item_ids)?;
    let groups = groups(&chosen.assigned);
    if !(groups.is_empty() || call.user_id.is_empty()) {
        let user = profile::user(call.user_id, None, &chosen.plan.config.behaviors);
        let stages = host.stages(&request_context(call, request, user, Vec::new()), &chosen.plan.allowance);
        stages.shown(call.request_id, &again.item_ids, &[], &groups, None);
    }
    Ok(Answer::new(call, &request.scenario_id, &again.rest, again.cache))
}

fn text(rest: &Rest) -> Result<String, ApiError> {
    let unwritten = |error| ApiError::new(Code::Internal, format!("the response does not serialise: {error}"));
    serde_json::to_string(rest).map_err(unwritten)
}

/// What the user would be recommended by this plan, outside of experiments; it is neither
/// noted nor answered.
pub(crate) fn offline(
    host: &impl Capabilities,
    call: &Call<'_>,
    request: &Request,
    plan: Rc<Plan>,
) -> Result<(Vec<Item>, Trace), ApiError> {
    let asked = request.check(call.user_id)?;
    pass_over(host, &request.scenario_id);
    let chosen = Chosen { plan: Rc::clone(&plan), assigned: Vec::new(), held_out: false, fault: None, rival: None };
    let profile = load_profile(host, &request.scenario_id, call.user_id)?;
    let user = profile::user(call.user_id, profile.text(), &plan.config.behaviors);
    let exclude = shown_before(host, call.user_id, request, &plan.config, &asked)?;
    let context = request_context(call, request, user, asked.context);
    let Run { items, trace, .. } =
        run(host, &host.stages(&context, &plan.allowance), call, request, &chosen, &context, &exclude)?;
    Ok((items, trace))
}

/// What a run of the funnel came to.
pub(crate) struct Run {
    pub(crate) items: Vec<Item>,
    /// The items of the feature table, row by row; none where two rankings have one each.
    rows: Vec<Handle>,
    /// What two rankings drafted the slate of, if they did.
    pub(crate) drafted: Option<Drafted>,
    pub(crate) trace: Trace,
}

/// The order of the design, §2.3, a line a step.
fn run(
    host: &impl Capabilities,
    stages: &impl Stages,
    call: &Call<'_>,
    request: &Request,
    chosen: &Chosen,
    context: &RequestContext,
    exclude: &Exclusions,
) -> Result<Run, ApiError> {
    let plan = &*chosen.plan;
    let mut needs = Needs::of(host, plan, exclude);
    let mut trace = Trace::new(call.explain);
    if let Some(fault) = &chosen.fault {
        trace.without_experiments(fault);
    }
    let contest = Contest::of(host, chosen, exclude, &mut needs, &mut trace);
    let found = find(stages, &exclude.all, plan, &needs, &mut trace);
    // Before the plan's own ranking: the last one is what is recorded of the request.
    let rival = contest.as_ref().map(|contest| contest.rival(host, stages, exclude, context, &found));
    let own = order(stages, found.candidates.clone(), plan, &mut trace);
    let drafted = contest.as_ref().zip(rival);
    let drafted = drafted.and_then(|(contest, rival)| contest.draft(&own, rival, &found, call, &mut trace));
    let ranked = drafted.as_ref().map_or(own, |drafted| drafted.candidates.clone());
    let (ranked, explored) = explore(&found.recalled, ranked, plan, context, &mut trace);
    let plan_of = |handle| match (&contest, &drafted) {
        (Some(contest), Some(drafted)) => contest.plan_of(drafted, handle, plan),
        _ => plan,
    };
    let items = slate(host, request, |handle| &plan_of(handle).config, &ranked, &explored)?;
    let has_table = drafted.is_none() || contest.is_some_and(|contest| contest.shares_table());
    let rows = found.candidates.ok().filter(|_| has_table).map(|candidates| candidates.handles);
    Ok(Run { items, rows: rows.unwrap_or_default(), drafted, trace })
}

/// What there is to rank.
pub(crate) struct Found {
    pub(crate) recalled: Vec<RecallOutcome>,
    /// Those in the feature table, in its order; all of them, as an error, when there is none.
    pub(crate) candidates: Result<Candidates, Candidates>,
}

/// Recalls candidates and has their features extracted.
pub(crate) fn find(stages: &impl Stages, exclude: &[Handle], plan: &Plan, needs: &Needs, trace: &mut Trace) -> Found {
    let recalled = recall(stages, exclude, plan, trace);
    let candidates = combine(&recalled, exclude, plan, needs, trace);
    let evidence = evidence::of(&plan.evidence, &recalled, &candidates);
    Found { candidates: extract(stages, candidates, evidence, plan, needs, trace), recalled }
}

/// Ranks and reranks. Without features nothing can be ranked: the order of recall stands.
pub(crate) fn order(
    stages: &impl Stages,
    candidates: Result<Candidates, Candidates>,
    plan: &Plan,
    trace: &mut Trace,
) -> Candidates {
    match candidates {
        Ok(candidates) => {
            let (ranked, places) = rank(stages, candidates, plan, trace);
            rerank(stages, ranked, &places, plan, trace)
        }
        Err(candidates) => candidates,
    }
}

/// What the ranker and the rerank rules need of the feature table and of recall.
#[derive(Default)]
pub(crate) struct Needs {
    pub(crate) columns: Vec<ColumnSpec>,
    pub(crate) pinned: Vec<Handle>,
}

impl Needs {
    pub(crate) fn of(host: &impl Capabilities, plan: &Plan, exclude: &Exclusions) -> Self {
        let mut needs = Self::default();
        let rules = plan.rerank.iter().map(|rule| (Role::Rerank, &rule.stage, &rule.params));
        for (role, name, params) in
            std::iter::once((Role::Rank, &plan.config.rank.model, &plan.rank_params)).chain(rules)
        {
            // A stage that cannot be used is reported when it is called.
            if let Ok(requirements) = host.check(role, name, params) {
                needs.add(requirements.columns);
                needs.pinned.extend(requirements.items.into_iter().filter(|item| !exclude.feed.contains(item)));
            }
        }
        needs
    }

    /// Adds columns, each once.
    pub(crate) fn add(&mut self, columns: Vec<ColumnSpec>) {
        for column in columns {
            if !self.columns.iter().any(|known| known.name == column.name && known.kind == column.kind) {
                self.columns.push(column);
            }
        }
    }
}

/// What is stored of a user.
struct Profile {
    /// 0 when there is none.
    version: u64,
    body: Option<String>,
}

impl Profile {
    fn text(&self) -> Option<&str> {
        self.body.as_deref()
    }
}

fn load_profile(host: &impl Capabilities, scenario_id: &str, user_id: &str) -> Result<Profile, ApiError> {
    let found = host.profile(&Key { scenario_id: scenario_id.to_owned(), id: user_id.to_owned() })?;
    let (version, body) = found.unzip();
    Ok(Profile { version: version.unwrap_or_default(), body })
}

/// What must not be recommended.
pub(crate) struct Exclusions {
    pub(crate) all: Vec<Handle>,
    /// Of these, what the feed served before: no rule brings it back.
    feed: HandleSet,
}

impl Exclusions {
    /// What the request says, what its feed served, and `more`.
    fn new(asked: &Checked, more: Vec<Handle>) -> Self {
        let all = asked.exclude.iter().chain(&asked.feed).copied().chain(more).collect();
        Self { all, feed: asked.feed.iter().copied().collect() }
    }
}

/// What must not be recommended: what the request says, and what the user was
/// shown lately.
fn shown_before(
    host: &impl Capabilities,
    user_id: &str,
    request: &Request,
    config: &Config,
    asked: &Checked,
) -> Result<Exclusions, ApiError> {
    let shown = if config.exposure.enabled { host.exposed(&request.scenario_id, user_id)? } else { Vec::new() };
    Ok(Exclusions::new(asked, shown))
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

/// Logs the slate with its features, if there are any; and for experiments, whatever share is
/// logged, since what comes of it is to be told.
fn log(stages: &impl Stages, call: &Call<'_>, chosen: &Chosen, run: &Run) {
    let groups = groups(&chosen.experiments(run));
    let draft = |items: &[&Item]| run.drafted.as_ref().map(|drafted| drafted.of(items));
    let has_features = run.drafted.is_none() || !run.rows.is_empty();
    if !(chosen.plan.config.exposure.logs(call.seed) && has_features) {
        if !groups.is_empty() {
            // What was shown, and not with which features.
            let items: Vec<&Item> = run.items.iter().collect();
            stages.shown(call.request_id, &ids(&run.items), &[], &groups, draft(&items).as_ref());
        }
        return;
    }
    let row = |item: &'_ Item| {
        let handle = id::handle(&item.item_id);
        u32::try_from(run.rows.iter().position(|row| *row == handle)?).ok()
    };
    let (items, rows): (Vec<&Item>, Vec<u32>) = run.items.iter().filter_map(|item| Some((item, row(item)?))).unzip();
    if !(items.is_empty() && groups.is_empty()) {
        let ids: Vec<String> = items.iter().map(|item| item.item_id.clone()).collect();
        stages.shown(call.request_id, &ids, &rows, &groups, draft(&items).as_ref());
    }
}

/// The groups of experiments, as they are logged.
fn groups(assigned: &[Assigned]) -> Vec<String> {
    assigned.iter().map(|of| experiment::label(&of.experiment_id, &of.group_id)).collect()
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
