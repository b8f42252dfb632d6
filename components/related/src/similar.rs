//! Lists by likeness, from the recall channels that know it.

use funnelweb_core::{
    behavior::Facts,
    error::{ApiError, Code},
    id, limits,
    scenario::Config,
};
use funnelweb_guest::{
    dispatch::{RecallCall, StageStatus},
    documents::Collection,
    profile,
    types::{Handle, Preference, RequestContext, User},
};

use crate::{
    answer::{Found, Source, offered},
    asked::Asked,
    sources::{Sources, document},
};

/// Who knows what is like an item, the best judge first: name and params of a recall
/// channel. Content is matched by category and tags with the weights that
/// preferences have already.
const JUDGES: [(Source, &str, &str); 4] = [
    (Source::ItemCf, "item_cf", "{}"),
    (Source::Embedding, "vector_search", r#"{"vectors": "embedding"}"#),
    (Source::Factors, "vector_search", r#"{"vectors": "factors"}"#),
    (Source::ContentBased, "content_based", r#"{"terms": 64, "tag_weight": 1}"#),
];

/// Items like this one: what the first judge says who has anything to say. The
/// channels are asked as if by a user who acted on this item and nothing else.
///
/// # Errors
/// `item_not_found`; `store_unavailable` when nobody had anything to say and somebody
/// did not answer; those of the store.
pub(crate) fn items(host: &impl Sources, scenario_id: &str, item_id: &str, asked: &Asked) -> Result<Found, ApiError> {
    let body = document(host, Collection::Items, scenario_id, item_id)?.ok_or_else(|| {
        ApiError::field(Code::ItemNotFound, "item_id", format!("no item `{item_id}` in `{scenario_id}`"))
    })?;
    let learnt = Facts::of(&body).preferences(1.0).into_iter();
    let user = User {
        id: String::new(),
        attributes: Vec::new(),
        preferences: profile::strongest(
            learnt.map(|(field, value, score)| Preference { field, value, score }).collect(),
        ),
        recent: vec![id::handle(item_id)],
        recent_weights: vec![1.0],
    };
    ask(host, &context(scenario_id, user, asked), &JUDGES, asked)
}

/// What the users most like this one acted on.
///
/// # Errors
/// As [`items`], but that a user of whom nothing is known gets nothing.
pub(crate) fn users_items(
    host: &impl Sources,
    scenario_id: &str,
    user_id: &str,
    config: &Config,
    asked: &Asked,
) -> Result<Found, ApiError> {
    let stored = document(host, Collection::UserProfiles, scenario_id, user_id)?;
    let user = profile::user(user_id, stored.as_deref(), &config.behaviors);
    ask(host, &context(scenario_id, user, asked), &[(Source::UserCf, "user_cf", "{}")], asked)
}

fn context(scenario_id: &str, user: User, asked: &Asked) -> RequestContext {
    RequestContext {
        scenario_id: scenario_id.to_owned(),
        user,
        context: Vec::new(),
        now_ms: asked.now_ms,
        count: asked.count,
        seed: asked.seed,
    }
}

fn ask(
    host: &impl Sources,
    context: &RequestContext,
    judges: &[(Source, &str, &str)],
    asked: &Asked,
) -> Result<Found, ApiError> {
    let mut failure = None;
    for (source, stage, params) in judges {
        // Twice as many, since some may be inactive.
        let limit = (2 * asked.count).min(limits::RECALL_LIMIT);
        let call = RecallCall { stage: (*stage).to_owned(), limit, params: (*params).to_owned() };
        let outcome = host.recall(context, &asked.exclude, call);
        if outcome.report.status != StageStatus::Ok {
            failure = Some(outcome.report);
            continue;
        }
        let items: Vec<(Handle, f32)> = outcome.handles.into_iter().zip(outcome.scores).collect();
        let items = offered(host, &context.scenario_id, items, asked)?;
        if !items.is_empty() {
            return Ok(Found { source: Some(*source), items });
        }
    }
    match failure {
        Some(report) => {
            let message = format!("`{}` did not answer: {}", report.stage, report.reason);
            Err(ApiError::new(Code::StoreUnavailable, message))
        }
        None => Ok(Found { source: None, items: Vec::new() }),
    }
}
