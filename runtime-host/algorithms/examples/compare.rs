//! Trains and recommends as a specification says, for the comparison with other
//! libraries (`tests/comparison`).
//!
//! `compare FILE` reads interactions from FILE, a line each of user, item and
//! weight, and a specification from its standard input, a JSON object a line:
//!
//! ```json
//! {"model": "als", "top": 20, "threads": 2, "dimensions": 64, "regularisation": 0.003}
//! ```
//!
//! For each it writes a JSON object a line: seconds of training, and for every user
//! the best items without those of the file.
#![allow(clippy::print_stdout, reason = "it is what a program of this kind is for")]

use std::{
    collections::BTreeMap,
    error::Error,
    fs, io,
    time::{Duration, Instant},
};

use funnelweb_algorithms::{
    Interactions, Objective, Ranked,
    als::{self, Config},
    ease::{self, Ease},
    knn, recommend, rp3beta,
};
use rayon::prelude::*;
use serde_json::{Value, json};

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

fn main() -> Outcome<()> {
    let file = std::env::args().nth(1).ok_or("usage: compare FILE < SPECIFICATION")?;
    let interactions = read(&fs::read_to_string(file)?)?;
    for line in io::stdin().lines() {
        let specification: Value = serde_json::from_str(&line?)?;
        let (took, ranked) = run(&interactions, &Spec(&specification))?;
        let ids: Vec<Vec<u32>> = ranked.into_iter().map(|ranked| ranked.ids).collect();
        println!("{}", json!({ "fit_seconds": took.as_secs_f64(), "top": ids }));
    }
    Ok(())
}

fn read(text: &str) -> Outcome<Interactions> {
    let mut triples = Vec::new();
    for line in text.lines() {
        let mut fields = line.split_whitespace();
        let mut next = || fields.next().ok_or("a line needs three fields");
        triples.push((next()?.parse()?, next()?.parse()?, next()?.parse()?));
    }
    let count = |of: fn(&(u32, u32, f32)) -> u32| triples.iter().map(of).max().map_or(0, |last| last + 1);
    let (users, items) = (count(|triple| triple.0), count(|triple| triple.1));
    Ok(Interactions::from_triples(users, items, triples)?)
}

/// The fields of a specification, with defaults.
struct Spec<'a>(&'a Value);

impl Spec<'_> {
    fn number(&self, name: &str, default: f32) -> f32 {
        self.0.get(name).and_then(Value::as_f64).map_or(default, |value| value as f32)
    }

    fn count(&self, name: &str, default: usize) -> usize {
        self.0.get(name).and_then(Value::as_u64).map_or(default, |value| value as usize)
    }

    fn word(&self, name: &str) -> &str {
        self.0.get(name).and_then(Value::as_str).unwrap_or_default()
    }
}

fn run(interactions: &Interactions, spec: &Spec<'_>) -> Outcome<(Duration, Vec<Ranked>)> {
    let (top, threads) = (spec.count("top", 20), spec.count("threads", 0));
    let started = Instant::now();
    let users = (0..interactions.rows()).into_par_iter();
    match spec.word("model") {
        "als" => {
            let model = als::train(interactions, als_config(spec))?;
            let took = started.elapsed();
            let ranked = users.map(|user| {
                let seen = interactions.row(user).0;
                recommend::from_factors(model.users.row(user), model.items.values(), seen, top)
            });
            Ok((took, ranked.collect::<Result<_, _>>()?))
        }
        "user-knn" => {
            let neighbours = knn::users(interactions, &knn_config(spec))?;
            let took = started.elapsed();
            let ranked = users.map(|user| {
                let seen = interactions.row(user).0;
                recommend::from_similar_users(&neighbours, interactions, user, seen, top)
            });
            Ok((took, ranked.collect()))
        }
        model @ ("item-knn" | "rp3beta") => {
            let neighbours = match model {
                "item-knn" => knn::items(interactions, &knn_config(spec))?,
                _ => {
                    let (alpha, beta) = (spec.number("alpha", 1.0), spec.number("beta", 0.6));
                    let config = rp3beta::Config { alpha, beta, neighbours: spec.count("neighbours", 200), threads };
                    rp3beta::items(interactions, &config)?
                }
            };
            let neighbours = neighbours.normalised(spec.number("normalisation", 0.0))?;
            let took = started.elapsed();
            let ranked = users.map(|user| {
                let (ids, weights) = interactions.row(user);
                recommend::from_neighbours(&neighbours, ids, weights, ids, top)
            });
            Ok((took, ranked.collect::<Result<_, _>>()?))
        }
        "ease" => {
            let config = ease::Config {
                regularisation: spec.number("regularisation", 100.0),
                dropout: spec.number("dropout", 0.0),
                threads,
            };
            let ease = Ease::train(interactions, &config)?;
            let took = started.elapsed();
            let ranked = users.map(|user| {
                let (ids, weights) = interactions.row(user);
                ease.recommend(ids, weights, ids, top)
            });
            Ok((took, ranked.collect::<Result<_, _>>()?))
        }
        "fusion" => fuse(interactions, spec),
        other => Err(format!("there is no model {other:?}").into()),
    }
}

/// Reciprocal ranks (Cormack, Clarke and Büttcher, SIGIR 2009) of several models, as
/// a funnel merges its channels: Σ weight / (constant + rank) over the lists of 200.
fn fuse(interactions: &Interactions, spec: &Spec<'_>) -> Outcome<(Duration, Vec<Ranked>)> {
    let (mut took, constant) = (Duration::ZERO, spec.number("constant", 60.0));
    let mut sums = vec![BTreeMap::<u32, f32>::new(); interactions.rows() as usize];
    let list = |name: &str| spec.0.get(name).and_then(Value::as_array).ok_or("a fusion needs `of` and `weights`");
    for (part, weight) in list("of")?.iter().zip(list("weights")?) {
        let weight = weight.as_f64().ok_or("a weight is a number")? as f32;
        let mut part = part.clone();
        if let Some(fields) = part.as_object_mut() {
            fields.insert("top".to_owned(), json!(200));
            fields.insert("threads".to_owned(), json!(spec.count("threads", 0)));
        }
        let (of_part, ranked) = run(interactions, &Spec(&part))?;
        took += of_part;
        for (sums, ranked) in sums.iter_mut().zip(ranked) {
            for (rank, id) in (1_u16..).zip(ranked.ids) {
                *sums.entry(id).or_default() += weight / (constant + f32::from(rank));
            }
        }
    }
    let ranked = sums.into_iter().map(|sums| {
        let mut all: Vec<(u32, f32)> = sums.into_iter().collect();
        all.sort_by(|a, b| b.1.total_cmp(&a.1));
        let (ids, scores) = all.into_iter().take(spec.count("top", 20)).unzip();
        Ranked { ids, scores }
    });
    Ok((took, ranked.collect()))
}

fn als_config(spec: &Spec<'_>) -> Config {
    let (config, objective) = (Config::default(), Objective::default());
    Config {
        dimensions: spec.count("dimensions", config.dimensions),
        objective: Objective {
            unobserved_weight: spec.number("unobserved_weight", objective.unobserved_weight),
            regularisation: spec.number("regularisation", objective.regularisation),
            regularisation_exponent: spec.number("regularisation_exponent", objective.regularisation_exponent),
        },
        epochs: spec.count("epochs", config.epochs as usize) as u32,
        init_scale: spec.number("init_scale", config.init_scale),
        block: spec.count("block", config.block),
        seed: spec.count("seed", config.seed as usize) as u64,
        threads: spec.count("threads", 0),
    }
}

fn knn_config(spec: &Spec<'_>) -> knn::Config {
    let config = knn::Config::default();
    let weighting = match spec.word("weighting") {
        "tf-idf" => knn::Weighting::TfIdf,
        "bm25" => knn::Weighting::Bm25 { k1: spec.number("k1", 1.2), b: spec.number("b", 0.75) },
        _ => knn::Weighting::Cosine,
    };
    knn::Config {
        weighting,
        shrinkage: spec.number("shrinkage", config.shrinkage),
        neighbours: spec.count("neighbours", config.neighbours),
        threads: spec.count("threads", 0),
    }
}
