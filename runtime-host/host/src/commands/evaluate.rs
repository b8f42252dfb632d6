//! How good a scenario's funnel is: data are split, one part is learned from, and
//! the real funnel is asked for the other.

mod subject;

use std::{fs::File, io::Write as _, sync::Arc};

use anyhow::{Context as _, bail};
use funnelweb_core::{limits, scenario::Scenario};
use funnelweb_evaluation::{
    Catalogue, Material, baseline, bootstrap,
    metrics::Cuts,
    report::{Report, Run, RunKind, Subject},
    split::{Asked, Split},
};
use funnelweb_import::{Progress, Unit};
use serde_json::json;

use self::subject::Evaluated;
use super::{shower, variables};
use crate::{
    cli::Evaluate,
    evaluation::{Answers, FUNNEL, Question, Setup, Trial, Variant, ask, variants},
};

/// What is counted as progress.
type Show<'a> = &'a mut dyn FnMut(&Progress<'_>);

/// Evaluates, and writes the report.
pub async fn evaluate(args: &Evaluate) -> anyhow::Result<()> {
    let cuts = Cuts::new(&args.cuts)?;
    let bootstrap = bootstrap::Config { resamples: args.resamples, seed: args.seed, ..bootstrap::Config::default() };
    bootstrap.check()?;
    let html = args.html.as_ref().map(|path| File::create(path).with_context(|| format!("writing {}", path.display())));
    let html = html.transpose()?;
    let mut show = shower(args.json);
    let Evaluated { title, scenario, mut material, places } = subject::load(args).await?;
    let split = tokio::task::block_in_place(|| subject::split(args, &material, places))?;
    material.complete_items();
    let catalogue = Catalogue::new(&material.data, &split.train, material.features());
    let mut runs = vec![
        baseline_run("random", baseline::random(&material.data, &split, cuts.longest(), args.seed)),
        baseline_run(POPULARITY, baseline::popularity(&split, &catalogue, cuts.longest())),
    ];
    runs.extend(ask_variants(args, &scenario, &material, &split, &cuts, &mut show).await?);
    let subject = Subject {
        title: &title,
        split_title: &subject::describe(args),
        split: &split,
        users: material.data.users.len(),
        events: material.data.events.len(),
        catalogue: &catalogue,
        cuts: &cuts,
        bootstrap,
    };
    let pairs = pairs(&runs);
    let report = tokio::task::block_in_place(|| Report::new(&subject, runs, &pairs))?;
    if let Some(mut file) = html {
        file.write_all(report.html().as_bytes()).context("writing the page")?;
    }
    if args.json {
        println!("{}", json!({"report": report}));
    } else {
        print!("{}", report.text());
    }
    Ok(())
}

const POPULARITY: &str = "popularity";

fn baseline_run(name: &str, slates: Vec<Vec<u32>>) -> Run {
    Run { name: name.to_owned(), kind: RunKind::Baseline, slates, latency: None, trouble: Vec::new() }
}

/// The funnel against everything else, and every channel against popularity.
fn pairs(runs: &[Run]) -> Vec<(String, String)> {
    let others = runs.iter().filter(|run| run.name != FUNNEL);
    let funnel = others.clone().map(|run| (FUNNEL.to_owned(), run.name.clone()));
    let channels = others.filter(|run| run.kind == RunKind::Channel);
    funnel.chain(channels.map(|run| (run.name.clone(), POPULARITY.to_owned()))).collect()
}

/// Asks every variant of the scenario in an application of its own.
async fn ask_variants(
    args: &Evaluate,
    scenario: &Scenario,
    material: &Material,
    split: &Split,
    cuts: &Cuts,
    show: Show<'_>,
) -> anyhow::Result<Vec<Run>> {
    let setup = Setup {
        manifest: args.manifest.manifest.clone(),
        data_dir: args.data_dir.clone(),
        variables: variables(&args.variables)?,
        scenario_id: scenario.scenario_id.clone(),
    };
    let trial = Arc::new(Trial::start(setup).await?);
    let runs = ask_all(&trial, scenario, material, split, cuts, show).await;
    // No request is left that could hold it.
    if let Some(trial) = Arc::into_inner(trial) {
        trial.end().await;
    }
    runs
}

/// Loads what is learned from, and asks every variant.
async fn ask_all(
    trial: &Arc<Trial>,
    scenario: &Scenario,
    material: &Material,
    split: &Split,
    cuts: &Cuts,
    show: Show<'_>,
) -> anyhow::Result<Vec<Run>> {
    let variants = variants(scenario);
    // The funnel's own config is the last; what is learned is weighed by it.
    let Some(funnel) = variants.last() else { bail!("the scenario has no funnel") };
    trial.configure(&funnel.scenario).await?;
    load(trial, funnel, material, split, show).await?;
    let questions = Arc::new(questions(scenario, material, split, cuts)?);
    let mut runs = Vec::with_capacity(variants.len());
    for (at, variant) in variants.iter().enumerate() {
        trial.configure(&variant.scenario).await?;
        let task = format!("{} ({} of {})", variant.name, at + 1, variants.len());
        let answers = ask(trial, &questions, &mut |done| show(&progress(&task, done, questions.len()))).await?;
        let Answers { slates, latency, trouble } = answers;
        let slates = split.asked.iter().zip(&slates).map(|(asked, ids)| unknown(material, asked, ids)).collect();
        runs.push(Run { name: variant.name.clone(), kind: variant.kind, slates, latency, trouble });
    }
    Ok(runs)
}

/// Items and behaviours; those of held-out users when everything is learned.
async fn load(
    trial: &Trial,
    funnel: &Variant,
    material: &Material,
    split: &Split,
    show: Show<'_>,
) -> anyhow::Result<()> {
    let items: Vec<&str> = material.items.iter().map(|item| &**item).collect();
    trial.add_items(&items, &mut |done| show(&progress("items", done, items.len()))).await?;
    for (task, places) in [("behaviors", &split.train), ("histories", &split.history)] {
        if task == "histories" && funnel.learns() {
            trial.learn(&mut |kind, percent| show(&progress(kind.as_str(), percent, 100))).await?;
        }
        let lines: Vec<&str> = places.iter().filter_map(|&at| material.bodies.get(at)).map(|body| &**body).collect();
        trial.add_behaviors(&lines, &mut |done| show(&progress(task, done, lines.len()))).await?;
    }
    Ok(())
}

fn progress(task: &str, done: usize, total: usize) -> Progress<'_> {
    let (done, total) = (done as u64, total as u64);
    Progress { task, unit: Unit::Lines, done, total, lines: done, failed: 0 }
}

/// One for each user who is asked for: as many items as the longest cut, none that
/// the user knows. Of more known items than a request may exclude, more are asked
/// for.
fn questions(scenario: &Scenario, material: &Material, split: &Split, cuts: &Cuts) -> anyhow::Result<Vec<Question>> {
    let question = |asked: &Asked| {
        let names = asked.known.iter().map(|item| material.data.items.id(*item));
        let exclude: Vec<&str> = names.take(limits::EXCLUDED_ITEMS).collect();
        let more = u32::try_from(asked.known.len() - exclude.len()).unwrap_or(u32::MAX);
        let count = cuts.longest().saturating_add(more).min(limits::COUNT);
        Question::new(&scenario.scenario_id, material.data.users.id(asked.user), count, &exclude)
    };
    split.asked.iter().map(question).collect()
}

/// A slate's items by number, without what the user knows.
fn unknown(material: &Material, asked: &Asked, ids: &[String]) -> Vec<u32> {
    let numbers = ids.iter().filter_map(|id| material.data.items.get(id));
    numbers.filter(|item| asked.known.binary_search(item).is_err()).collect()
}
