//! What an uploaded model is put through before it may rank: random candidates, which
//! must all be given a score, in time.

use std::time::{Duration, Instant};

use funnelweb_bindings::{
    stages::{model::Loaded, rank::RankRequest},
    types::{Candidates, ColumnKind, FeatureSpec, RequestContext, Table, User},
};
use funnelweb_core::limits;

use crate::{Refusal, record::Trial, sandbox::Image};

/// Candidates of a call: as many as a scenario has about.
const CANDIDATES: u32 = 300;
/// Calls; together far over a thousand rows.
const CALLS: usize = 40;
/// What the slowest but one may take of a stage's time, on a machine that does nothing
/// else: there is little left of a request then.
const SLOWEST: Duration = Duration::from_millis(100);

/// Ranks random candidates.
///
/// # Errors
/// When a score is not finite or not there, or the model is too slow.
pub(crate) async fn run(image: &Image, loaded: &Loaded) -> Result<Trial, Refusal> {
    let mut times = Vec::with_capacity(CALLS);
    for call in 0..CALLS {
        let request = request(loaded, call as u64);
        let start = Instant::now();
        let answer = image.rank(&request).await.map_err(|failure| Refusal::invalid("onnx", failure.reason))?;
        // The first instance is made in the first call.
        if call > 0 {
            times.push(start.elapsed());
        }
        let scores = answer.map_err(|error| Refusal::invalid("onnx", error.message))?;
        if scores.len() != CANDIDATES as usize {
            let message = format!("gave {} scores for {CANDIDATES} rows", scores.len());
            return Err(Refusal::invalid("onnx", message));
        }
        if let Some((at, score)) = scores.iter().enumerate().find(|(_, score)| !score.is_finite()) {
            let row = call * CANDIDATES as usize + at;
            let message = format!("gives {score} for random row {row}; a score must be finite whatever comes");
            return Err(Refusal::invalid("onnx", message));
        }
    }
    times.sort_unstable();
    let at = |part: f64| times.get(((times.len() - 1) as f64 * part) as usize).copied().unwrap_or_default();
    let slowest = at(0.98);
    if slowest > SLOWEST {
        let message = format!(
            "takes {} ms for {CANDIDATES} candidates; {} ms is the most",
            slowest.as_millis(),
            SLOWEST.as_millis()
        );
        return Err(Refusal::invalid("onnx", message));
    }
    let micros = |time: Duration| u32::try_from(time.as_micros()).unwrap_or(u32::MAX);
    Ok(Trial {
        candidates: CANDIDATES,
        p50_us: micros(at(0.5)),
        p99_us: micros(slowest),
        memory_bytes: image.memory_bytes(),
    })
}

/// Numbers of all sizes, values that no vocabulary has and some that are missing.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        // xorshift64* (Vigna: An experimental exploration of Marsaglia's xorshift
        // generators, scrambled, 2016).
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    fn number(&mut self) -> f32 {
        let bits = self.next();
        match bits % 10 {
            0 => f32::NAN,
            1 => 0.0,
            2 => ((bits >> 20) % 100_000) as f32 * if bits & 16 == 0 { 100.0 } else { -100.0 },
            _ => ((bits >> 20) % 100_000) as f32 / 50_000.0 - 1.0,
        }
    }

    fn value(&mut self) -> u32 {
        let bits = self.next();
        if bits.is_multiple_of(10) { 0 } else { (bits >> 32) as u32 }
    }
}

fn request(loaded: &Loaded, seed: u64) -> RankRequest {
    let mut random = Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
    let features = |user: bool| {
        let wanted = loaded.features.iter().filter_map(move |feature| {
            let (source, name) = feature.name.split_once(':')?;
            let name = if source == "context" { feature.name.as_str() } else { name };
            (matches!(source, "user" | "context") == user).then(|| (name.to_owned(), feature.kind))
        });
        wanted.collect::<Vec<_>>()
    };
    let handles: Vec<u64> = (0..u64::from(CANDIDATES)).collect();
    let count = handles.len();
    RankRequest {
        context: RequestContext {
            scenario_id: String::new(),
            user: User {
                id: String::new(),
                attributes: Vec::new(),
                preferences: Vec::new(),
                recent: Vec::new(),
                recent_weights: Vec::new(),
            },
            context: Vec::new(),
            now_ms: 0,
            count: limits::COUNT,
            seed,
        },
        candidates: Candidates { handles, scores: vec![0.0; count], sources: vec![1; count] },
        items: table(CANDIDATES, features(false), &mut random),
        user: table(1, features(true), &mut random),
        item_features: Vec::<FeatureSpec>::new(),
        objective: String::new(),
        params: "{}".to_owned(),
    }
}

fn table(rows: u32, features: Vec<(String, ColumnKind)>, random: &mut Random) -> Table {
    let of = |kinds: &[ColumnKind]| -> Vec<String> {
        features.iter().filter(|(_, kind)| kinds.contains(kind)).map(|(name, _)| name.clone()).collect()
    };
    let numeric_names = of(&[ColumnKind::Numeric, ColumnKind::Timestamp]);
    let categorical_names = of(&[ColumnKind::Categorical]);
    let multi_names = of(&[ColumnKind::MultiCategorical]);
    let rows_of = |names: &[String]| rows as usize * names.len();
    let numeric = (0..rows_of(&numeric_names)).map(|_| random.number()).collect();
    let categorical = (0..rows_of(&categorical_names)).map(|_| random.value()).collect();
    let (mut multi_offsets, mut multi_values) = (Vec::new(), Vec::new());
    if !multi_names.is_empty() {
        multi_offsets.push(0);
        for _ in 0..rows_of(&multi_names) {
            for _ in 0..random.next() % 12 {
                multi_values.push(random.value().max(1));
            }
            multi_offsets.push(u32::try_from(multi_values.len()).unwrap_or(u32::MAX));
        }
    }
    Table {
        rows,
        numeric_names,
        numeric,
        categorical_names,
        categorical,
        multi_names,
        multi_offsets,
        multi_values,
        embedding_dim: 0,
        embeddings: Vec::new(),
    }
}
