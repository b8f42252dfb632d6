//! The work `embeddings`.

use std::{sync::Arc, time::Instant};

use funnelweb_algorithms::{
    Interactions,
    als::{Checkpoint, Config, Factors as Vectors, Trainer},
    fold_in::gramian,
};
use funnelweb_factor_learned::{Factors, Handles, names};
use serde::Serialize;
use serde_json::Value;
use tokio::sync::mpsc;

use crate::{
    blobs::check_bytes,
    checkpoint::{Kept, fingerprint},
    context::{Context, Error, Target, blocking, note},
    follow::{Follow, Phase},
    log::{Behaved, Most, Reading},
    own_vectors::{Own, reconcile},
    params::EmbeddingsParams,
};

/// Brings the space `embedding` in step with the items' own vectors; trains vectors of
/// items and of users, and writes them with what folding in needs.
///
/// A training that was interrupted is taken up where it was kept, when behaviours and
/// params are those it began with.
///
/// Of what came of it: `version`, `events`, `interactions`, `users`, `items`,
/// `dimensions`, `resumed_at` (epochs that were done already), `bytes`, `served`;
/// `own`: items with vectors of their own (`items`), those that do not fit the others
/// (`unfit`), and how many were `written` and `removed`; and `note` when there was
/// nothing to learn from.
///
/// # Errors
/// See [`Error`].
pub async fn embeddings(
    context: &Context,
    target: &Target,
    params: &EmbeddingsParams,
    follow: Arc<dyn Follow>,
) -> Result<Value, Error> {
    let name = names::factors(&target.scenario_id);
    context.check_version(target, &name).await?;
    let behaviors = context.behaviors(target).await?;
    let phase = Phase::begin(&follow, "vectors of items' own", 0.0, 0.1);
    let own = phase.unless_cancelled(reconcile(context, target, &phase)).await?;
    let phase = Phase::begin(&follow, "reading behaviours", 0.1, 0.3);
    let read = async |end| {
        let half_life_days = params.half_life_days;
        let reading = Reading { events: &*context.events, target, behaviors: &behaviors, half_life_days, end };
        phase.unless_cancelled(reading.read(Most::default(), &phase)).await
    };
    let (behaved, kept) = match context.kept(target).await? {
        Some(kept) => {
            let behaved = read(Some(kept.end)).await?;
            match fingerprint(&behaved, params) == kept.fingerprint {
                true => (behaved, Some(kept.at)),
                // Behaviours were deleted, or mean something else now.
                false => (read(None).await?, None),
            }
        }
        None => (read(None).await?, None),
    };
    let resumed_at = kept.as_ref().map_or(0, |kept| kept.epoch);
    let (events, interactions) = (behaved.events, behaved.entries.len());
    let training = Training { context, target, params, follow: &follow };
    let factors = training.train(behaved, kept).await?;
    let phase = Phase::begin(&follow, "writing", 0.9, 1.0);
    phase.go_on(0.0)?;
    let (users, items) = (factors.users.len(), factors.items.len());
    let file = blocking(move || Ok(factors.encode()?)).await?;
    let bytes = file.len();
    context.put(target, &name, file).await?;
    context.drop_kept(target).await?;
    let outcome = Outcome {
        version: target.version,
        events,
        interactions,
        users,
        items,
        dimensions: params.dimensions,
        resumed_at,
        bytes,
        served: context.serve(target).await,
        own,
        note: note(interactions),
    };
    Ok(serde_json::to_value(outcome).unwrap_or_default())
}

#[derive(Serialize)]
struct Outcome {
    version: u64,
    events: u64,
    interactions: usize,
    users: usize,
    items: usize,
    dimensions: usize,
    resumed_at: u32,
    bytes: usize,
    served: bool,
    own: Own,
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<&'static str>,
}

struct Training<'a> {
    context: &'a Context,
    target: &'a Target,
    params: &'a EmbeddingsParams,
    follow: &'a Arc<dyn Follow>,
}

impl Training<'_> {
    async fn train(&self, behaved: Behaved, from: Option<Checkpoint>) -> Result<Factors, Error> {
        let params = self.params;
        check_bytes(Factors::file_bytes(behaved.items.len(), behaved.users.len(), params.dimensions))?;
        if behaved.entries.is_empty() {
            return empty(params);
        }
        let phase = Phase::begin(self.follow, "training", 0.3, 0.9);
        let (fingerprint, end) = (fingerprint(&behaved, params), behaved.end);
        let (keep, mut kept) = mpsc::channel(1);
        let every = self.context.checkpoint_every;
        let learning = Learning { params: params.clone(), phase: phase.clone(), every, keep };
        let learning = tokio::task::spawn_blocking(move || learning.learn(behaved, from));
        let learned = async {
            while let Some(at) = kept.recv().await {
                self.context.keep(self.target, &Kept { end, fingerprint, at }).await;
            }
            learning.await.map_err(|error| Error::Data(format!("the work was abandoned: {error}")))?
        };
        phase.unless_cancelled(learned).await
    }
}

/// What there is without behaviours.
fn empty(params: &EmbeddingsParams) -> Result<Factors, Error> {
    let nothing = Vectors::new(params.dimensions, Vec::new())?;
    factors(params, Behaved::default(), (nothing.clone(), nothing), 1.0)
}

struct Learning {
    params: EmbeddingsParams,
    phase: Phase,
    every: std::time::Duration,
    /// Takes where the training stands.
    keep: mpsc::Sender<Checkpoint>,
}

impl Learning {
    fn learn(self, behaved: Behaved, from: Option<Checkpoint>) -> Result<Factors, Error> {
        let Self { params, phase, every, keep } = &self;
        let &EmbeddingsParams { dimensions, epochs, seed, threads, .. } = params;
        let objective = params.objective();
        let interactions: Interactions = behaved.interactions()?;
        let config = Config { dimensions, objective, epochs, seed, threads, ..Config::default() };
        let mean_weight = interactions.mean_weight();
        let mut trainer = Trainer::new(&interactions, config)?;
        drop(interactions);
        if let Some(from) = from {
            trainer.resume(&from)?;
        }
        let mut kept = Instant::now();
        while trainer.epoch() < epochs {
            let done = trainer.epoch() as f32;
            trainer.step_watched(&|part| phase.watch((done + part) / epochs as f32))?;
            if trainer.epoch() < epochs && kept.elapsed() >= *every {
                // While one is written the training goes on without the next.
                let _ = keep.try_send(trainer.checkpoint());
                kept = Instant::now();
            }
        }
        let model = trainer.into_model();
        factors(params, behaved, (model.items, model.users), mean_weight)
    }
}

fn factors(
    params: &EmbeddingsParams,
    behaved: Behaved,
    (items, users): (Vectors, Vectors),
    mean_weight: f32,
) -> Result<Factors, Error> {
    Ok(Factors {
        dimension: params.dimensions as u32,
        unobserved_weight: params.unobserved_weight,
        regularisation: params.regularisation,
        regularisation_exponent: params.regularisation_exponent,
        mean_weight,
        gramian: gramian(items.values(), params.dimensions)?,
        items: Handles::new(behaved.items)?,
        users: Handles::new(behaved.users)?,
        item_values: items.values().to_vec(),
        user_values: users.values().to_vec(),
    })
}
