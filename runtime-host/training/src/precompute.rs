//! The work `precompute`.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use async_trait::async_trait;
use funnelweb_core::scenario::Offline;
use funnelweb_factor_documents::store::{Collection, Key};
use funnelweb_factor_learned::{Gathered, Slates, names, store::Slate};
use funnelweb_tenant_store::Error as StoreError;
use futures::{StreamExt as _, stream};
use serde::Serialize;
use serde_json::Value;

use crate::{
    active::{self, User},
    context::{Context, Error, Target, blocking},
    follow::{Follow, Phase},
    params::PrecomputeParams,
};

/// How often a slate is asked for that could not be made in full.
const TRIES: u32 = 3;
/// Before it is asked for again.
const PAUSE: Duration = Duration::from_millis(500);
/// A run fails when more than one in so many slates could not be made in full…
const ONE_IN: usize = 10;
/// …as soon as it has asked for so many.
const JUDGED_FROM: usize = 20;
const DAY_MS: f64 = 86_400_000.0;

/// Who makes slates.
#[async_trait]
pub trait Funnel: Send + Sync + 'static {
    /// How many it may have at work at once, at least 1.
    fn at_once(&self) -> usize;

    /// Makes one.
    ///
    /// # Errors
    /// [`Error::Store`] with `unavailable` when it may be had later, and others when not.
    async fn slate(&self, ask: &Ask<'_>) -> Result<Made, Error>;
}

/// What is asked of a [`Funnel`].
#[derive(Debug, Clone, Copy)]
pub struct Ask<'a> {
    /// Whose, and for which scenario.
    pub target: &'a Target,
    /// For whom.
    pub user_id: &'a str,
    /// How many items.
    pub count: u32,
    /// By which config, as JSON.
    pub config: &'a str,
}

/// What a [`Funnel`] makes.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Made {
    /// Handles, best first.
    pub handles: Vec<u64>,
    /// As long; finite, not rising.
    pub scores: Vec<f32>,
    /// The stage that did not do its part, and why.
    pub failed: Option<String>,
}

/// Makes slates for users who were there lately, those who were there last first, and
/// writes them, by handle.
///
/// The config is the scenario's own, with the parts that `params.funnel` puts in its
/// place, without exploration and without the channel that offers these slates. A slate
/// that cannot be made in full, tried some times, is left as it was before this run; when
/// more than one in ten cannot, the run fails. A user without a profile is passed over.
///
/// Of what came of it: `version`, `users` (who were there), `slates` (that are stored),
/// `items` (different ones in all of them), `empty` (the funnel had nothing), `unknown`
/// (no profile), `kept` (left as they were, or without one), `bytes`, `served`; and
/// `note` when nobody was there.
///
/// # Errors
/// See [`Error`].
pub async fn precompute(
    context: &Context,
    target: &Target,
    params: &PrecomputeParams,
    funnel: Arc<dyn Funnel>,
    follow: Arc<dyn Follow>,
) -> Result<Value, Error> {
    let name = names::slates(&target.scenario_id);
    context.check_version(target, &name).await?;
    let config = config(context, target, params).await?;
    let phase = Phase::begin(&follow, "reading behaviours", 0.0, 0.1);
    let since_ms = now_ms().saturating_sub((params.active_days * DAY_MS) as u64);
    let users = active::users(context, target, since_ms, params.max_users, &phase);
    let users = phase.unless_cancelled(users).await?;
    let phase = Phase::begin(&follow, "making slates", 0.1, 0.98);
    let making = Making { context, target, count: params.count, config, funnel: &*funnel };
    let (slates, outcome) = phase.unless_cancelled(making.all(users, &phase)).await?;
    let phase = Phase::begin(&follow, "writing", 0.98, 1.0);
    phase.go_on(0.0)?;
    let file = blocking(move || Ok(slates.encode())).await?;
    let bytes = file.len();
    context.put(target, &name, file).await?;
    let served = context.serve(target).await;
    let outcome = Outcome { version: target.version, bytes, served, ..outcome };
    Ok(serde_json::to_value(outcome).unwrap_or_default())
}

/// The offline funnel's config, as JSON.
async fn config(context: &Context, target: &Target, params: &PrecomputeParams) -> Result<String, Error> {
    let config = params.funnel.clone().over(context.config(target).await?).ok_or_else(|| {
        let own = Offline::CHANNEL;
        Error::Data(format!(
            "no recall strategy is left without `{own}` and `explore`: name others in params.funnel.recall"
        ))
    })?;
    serde_json::to_string(&config).map_err(|error| Error::Data(error.to_string()))
}

#[derive(Default, Serialize)]
struct Outcome {
    version: u64,
    users: usize,
    slates: usize,
    items: usize,
    empty: usize,
    unknown: usize,
    kept: usize,
    bytes: usize,
    served: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<&'static str>,
}

struct Making<'a> {
    context: &'a Context,
    target: &'a Target,
    count: u32,
    config: String,
    funnel: &'a dyn Funnel,
}

/// What became of one user.
enum Became {
    Slate(Slate),
    /// They have no profile.
    Unknown,
    /// It could not be made in full.
    Failed(Error),
}

impl Making<'_> {
    /// For users by handle, some at once.
    async fn all(&self, users: Vec<User>, phase: &Phase) -> Result<(Slates, Outcome), Error> {
        let all = users.len();
        let mut gathered = Gathered::with_capacity(all, self.count as usize);
        let mut outcome = Outcome { users: all, ..Outcome::default() };
        if all == 0 {
            outcome.note = Some("nobody was there");
        }
        let made = stream::iter(users).map(|user| async move {
            let became = self.one(&user.id).await;
            (user, became)
        });
        let mut made = std::pin::pin!(made.buffered(self.funnel.at_once().max(1)));
        let (mut asked, mut last) = (0, None);
        while let Some((user, became)) = made.next().await {
            phase.go_on(asked as f32 / all as f32)?;
            asked += 1;
            let slate = match became? {
                Became::Slate(slate) => Some(slate),
                Became::Unknown => {
                    outcome.unknown += 1;
                    None
                }
                Became::Failed(error) => {
                    outcome.kept += 1;
                    last = Some(error);
                    self.before(&user).await?
                }
            };
            match slate {
                Some(slate) if slate.handles.is_empty() => outcome.empty += 1,
                Some(slate) => {
                    outcome.slates += 1;
                    gathered.push(user.handle, &slate);
                }
                None => {}
            }
            let known = asked - outcome.unknown;
            if asked >= JUDGED_FROM.min(all) && outcome.kept * ONE_IN > known {
                return Err(too_many(outcome.kept, known, last));
            }
        }
        let slates = blocking(move || Ok(gathered.finish()?)).await?;
        outcome.items = slates.items();
        Ok((slates, outcome))
    }

    async fn one(&self, user_id: &str) -> Result<Became, Error> {
        let Self { context, target, count, config, funnel } = self;
        let key = Key::new(&target.scenario_id, user_id);
        let ask = Ask { target, user_id, count: *count, config };
        let mut left = TRIES;
        loop {
            // Before anything is read of the user: whoever is created later is another.
            let made_ms = now_ms();
            if context.documents.get(&target.tenant, Collection::UserProfiles, key.clone()).await?.is_none() {
                return Ok(Became::Unknown);
            }
            left -= 1;
            let failed = match funnel.slate(&ask).await {
                Ok(Made { handles, scores, failed: None }) => {
                    return Ok(Became::Slate(Slate { made_ms, handles, scores }));
                }
                Ok(Made { failed: Some(reason), .. }) => Error::Data(reason),
                Err(error @ Error::Store(StoreError::Unavailable(_))) => error,
                Err(error) => return Err(error),
            };
            if left == 0 {
                return Ok(Became::Failed(failed));
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// The slate that the user has from an earlier run.
    async fn before(&self, user: &User) -> Result<Option<Slate>, Error> {
        let Target { tenant, scenario_id, .. } = self.target;
        Ok(self.context.learned.precomputed(tenant, scenario_id, user.handle).await?)
    }
}

/// That a run fails, which is to be tried again if it is for a store.
fn too_many(failed: usize, asked: usize, last: Option<Error>) -> Error {
    let reason = last.as_ref().map(Error::to_string).unwrap_or_default();
    let message = format!("{failed} of {asked} slates could not be made in full, the last: {reason}");
    match last {
        Some(Error::Store(StoreError::Unavailable(_))) => Error::Store(StoreError::Unavailable(message)),
        _ => Error::Data(message),
    }
}

fn now_ms() -> u64 {
    let now = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
    u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
}
