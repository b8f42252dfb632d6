//! `funnelweb component test`: what was built, over the samples of its project.

use std::{fs, path::Path, sync::Arc, time::Duration};

use anyhow::{Context as _, anyhow, bail};
use flate2::read::GzDecoder;
use funnelweb_admission::{Compiler, Error, World};
use funnelweb_bindings::{Recorded, dispatch::Allowance, types::Personal};
use funnelweb_core::{limits, scenario::Scenario};
use funnelweb_engine::{ComponentCache, Engines};
use funnelweb_factor_components::{
    OwnOperator, Sandbox,
    certify::{self, Certificate, Source, Subject, Trial},
    certify_operator,
    record::Version,
    samples,
    sandbox::{Ran, Spent, Stage},
};
use serde::Serialize;
use serde_json::{Map, Value};

use super::{
    project::{Project, refused},
    upload::Upload,
};
use crate::{app::ADMIT, cli::component::Test, sample::Sample, sample_events::EventSample};

/// What the component is called while it is tested.
const TESTED: &str = "tested";

/// What came of it.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    /// Whether a server takes it, for its size.
    pub(super) upload: Upload,
    /// By name.
    pub(super) samples: Vec<Outcome>,
    /// What certification would say of it with requests of the demo, or events.
    pub(super) certificate: Certificate,
}

/// What came of a sample.
#[derive(Debug, Serialize)]
pub(super) struct Outcome {
    pub(super) sample: String,
    /// What is other than expected, or breaks the contract.
    pub(super) failure: Option<String>,
    /// Of a processor.
    pub(super) time_us: u64,
    /// About one an instruction.
    pub(super) fuel: u64,
    /// What it printed.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) printed: String,
}

/// Tests and reports; what fails is a failure.
pub(super) fn run(args: &Test) -> anyhow::Result<()> {
    let most = limits::COMPONENT_BYTES_MOST;
    if !(1..=most).contains(&args.upload_bytes) {
        bail!("--upload-bytes: must be 1 to {most}, got {}", args.upload_bytes);
    }
    let scenario = args.scenario.as_deref().map(read).transpose()?;
    let requests = args.requests.as_deref().map_or_else(|| Ok(samples::requests()), recorded)?;
    let report = test(&args.project.folder, args.upload_bytes, scenario.as_ref(), &requests)?;
    if args.json {
        println!("{}", serde_json::to_string(&report)?);
    } else {
        print!("{}", shown(&report));
    }
    let failed = report.samples.iter().filter(|outcome| outcome.failure.is_some()).count();
    if failed > 0 {
        bail!("{failed} of {} samples failed", report.samples.len());
    }
    if !report.certificate.passed {
        bail!("it would not be certified");
    }
    if report.upload.refusal().is_some() {
        bail!("a server would refuse it for its size");
    }
    Ok(())
}

fn read(path: &Path) -> anyhow::Result<Scenario> {
    let text = fs::read(path).with_context(|| format!("reading {}", path.display()))?;
    Scenario::parse(&text).with_context(|| path.display().to_string())
}

/// Requests that `record` wrote.
fn recorded(path: &Path) -> anyhow::Result<Vec<Arc<Recorded>>> {
    let file = fs::File::open(path).with_context(|| path.display().to_string())?;
    let requests = Recorded::read(GzDecoder::new(file)).with_context(|| path.display().to_string())?;
    Ok(requests.into_iter().map(Arc::new).collect())
}

/// Runs what was built over each sample of its project, admitted and limited as by a server
/// that takes uploads of so many bytes. One that is larger runs, too: that is the server's to
/// say, and no fault in what it does.
fn test(
    folder: &Path,
    upload_bytes: usize,
    scenario: Option<&Scenario>,
    requests: &[Arc<Recorded>],
) -> anyhow::Result<Report> {
    let project = Project::load(folder)?;
    let wasm = project.component()?;
    let upload = Upload::of(wasm.len(), upload_bytes);
    let (folder, is_operator) = (folder.join("samples"), project.manifest.world == World::Aggregate);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    if is_operator {
        let samples = EventSample::all(&folder)?;
        return runtime.block_on(async {
            let (samples, certificate) = Tested::admit(&wasm).await?.operate(&samples).await?;
            Ok(Report { upload, samples, certificate })
        });
    }
    let samples = Sample::all(&folder, &project.manifest.reads)?;
    runtime.block_on(async {
        let tested = Tested::admit(&wasm).await?;
        let mut outcomes = Vec::with_capacity(samples.len());
        let mut params = None;
        for (name, sample) in &samples {
            let given = given(sample, &tested.version, scenario)?;
            outcomes.push(tested.run(name, sample, &given).await);
            params.get_or_insert(given);
        }
        let certificate = tested.certify(&params.unwrap_or_default(), requests).await;
        Ok(Report { upload, samples: outcomes, certificate })
    })
}

/// A component that is ready to be called.
struct Tested {
    sandbox: Arc<Sandbox>,
    stage: Arc<Stage>,
    version: Version,
    /// Everything: what a sample leaves out is not there.
    allowance: Allowance,
    /// Holds its machine code.
    _folder: tempfile::TempDir,
    /// Ticks for its deadlines.
    _engines: Engines,
}

impl Tested {
    async fn admit(wasm: &[u8]) -> anyhow::Result<Self> {
        let engines = Engines::new()?;
        let folder = tempfile::tempdir()?;
        let cache = ComponentCache::new(folder.path())?;
        let compiler = Compiler::new(std::env::current_exe()?, [ADMIT]);
        let admitted =
            compiler.admit(wasm, &cache.file(engines.tenants(), TESTED)).await.map_err(|error| match error {
                Error::Refused(broken) => refused(broken),
                Error::Fault(reason) => anyhow!(reason),
            })?;
        let component = cache.known(engines.tenants(), TESTED).context("what was compiled is not there")?;
        let version = Version::new(admitted, String::new(), wasm.len() as u64);
        let sandbox = Sandbox::new(engines.tenants()).map_err(|error| anyhow!("{error:#}"))?;
        let stage = certify::stage(&sandbox, version.world, &component).map_err(|reason| anyhow!(reason))?;
        let (sandbox, stage) = (Arc::new(sandbox), Arc::new(stage));
        let allowance = Allowance { personal: Personal::all(), fields: None };
        Ok(Self { sandbox, stage, version, allowance, _folder: folder, _engines: engines })
    }

    fn subject<'a>(&'a self, params: &'a Map<String, Value>, weight: f32, limit: u32) -> Subject<'a> {
        Subject {
            sandbox: &self.sandbox,
            stage: &self.stage,
            version: &self.version,
            params,
            weight,
            limit,
            allowance: &self.allowance,
            pays: None,
        }
    }

    async fn run(&self, name: &str, sample: &Sample, params: &Map<String, Value>) -> Outcome {
        let failed = |reason: String| Outcome {
            sample: name.to_owned(),
            failure: Some(reason),
            time_us: 0,
            fuel: 0,
            printed: String::new(),
        };
        let subject = self.subject(params, sample.weight, sample.limit);
        let needs = match subject.needs().await {
            Ok(needs) => needs,
            Err(reason) => return failed(reason),
        };
        let trial = trial(&[]);
        let Ran { answer, spent, .. } = subject.call(&Arc::new(sample.recorded()), &needs, &trial).await;
        let failure = match answer {
            Ok(answer) => sample.compare(&answer.handles, &answer.removed).err(),
            Err(fault) => Some(fault.reason),
        };
        let time_us = u64::try_from(spent.busy.as_micros()).unwrap_or(u64::MAX);
        Outcome { failure, time_us, fuel: spent.fuel, printed: spent.printed, ..failed(String::new()) }
    }

    /// What comes of a stream operator.
    async fn operate(&self, samples: &[(String, EventSample)]) -> anyhow::Result<(Vec<Outcome>, Certificate)> {
        let operator = OwnOperator::tried(Arc::clone(&self.sandbox), Arc::clone(&self.stage), None).await;
        let operator = operator.map_err(|fault| anyhow!("declare: {}", fault.reason))?;
        let mut outcomes = Vec::with_capacity(samples.len());
        for (name, sample) in samples {
            let before = operator.spent().len();
            let failure = sample.run(&operator).await.err();
            let spent: Vec<Spent> = operator.spent().split_off(before);
            let busy: Duration = spent.iter().map(|spent| spent.busy).sum();
            outcomes.push(Outcome {
                sample: name.clone(),
                failure,
                time_us: u64::try_from(busy.as_micros()).unwrap_or(u64::MAX),
                fuel: spent.iter().map(|spent| spent.fuel).sum(),
                printed: spent.iter().map(|spent| spent.printed.as_str()).collect(),
            });
        }
        let certificate = certify_operator::certify(&operator, "", Source::Samples, &samples::events()).await;
        Ok((outcomes, certificate))
    }

    async fn certify(&self, params: &Map<String, Value>, requests: &[Arc<Recorded>]) -> Certificate {
        self.subject(params, 1.0, limits::RECALL_LIMIT).certify(&trial(requests)).await
    }
}

fn trial(requests: &[Arc<Recorded>]) -> Trial<'_> {
    Trial { scenario_id: "", source: Source::Samples, requests, catalogue: None }
}

/// The params of a sample, or those that a scenario gives the component.
fn given(sample: &Sample, version: &Version, scenario: Option<&Scenario>) -> anyhow::Result<Map<String, Value>> {
    let own: Map<String, Value> = serde_json::from_str(&sample.params)?;
    let Some(scenario) = scenario.filter(|_| own.is_empty()) else { return Ok(own) };
    let is_it =
        |name: &str| name.split_once('/').is_some_and(|(_, name)| name.split('@').next() == Some(&version.name));
    let config = &scenario.config;
    let recall = config.recall.strategies.iter().find(|of| is_it(&of.name)).map(|of| &of.params);
    let rerank = config.rerank.rules.iter().find(|of| is_it(&of.name)).map(|of| &of.params);
    let rank = is_it(&config.rank.model).then_some(&config.rank.params);
    Ok(recall.or(rank).or(rerank).cloned().unwrap_or_default())
}

fn shown(report: &Report) -> String {
    let line = |outcome: &Outcome| {
        let Outcome { sample, failure, time_us, fuel, printed } = outcome;
        let printed: String = printed.lines().map(|line| format!("  | {line}\n")).collect();
        match failure {
            None => format!("{sample}: ok, {time_us} µs, {fuel} fuel\n{printed}"),
            Some(failure) => format!("{sample}: FAILED: {failure}\n{printed}"),
        }
    };
    let mut text: String = report.samples.iter().map(line).collect();
    let Certificate { requests, time_us, fuel, memory_bytes, checks, .. } = &report.certificate;
    // A stream operator is given those.
    let of = if checks.iter().any(|check| check.check == "events") { "events" } else { "recorded requests" };
    text.push_str(&format!(
        "{requests} {of}: p50 {} µs, p99 {} µs, p99 {} fuel, {} KiB of memory\n",
        time_us.p50,
        time_us.p99,
        fuel.p99,
        memory_bytes / 1024
    ));
    for check in checks.iter().filter(|check| !check.passed) {
        text.push_str(&format!("  {}: FAILED: {}\n", check.check, check.detail));
    }
    if let Some(refusal) = report.upload.refusal() {
        text.push_str(&format!("size: FAILED: {refusal}\n"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_failed_is_shown() {
        let outcome = |sample: &str, failure: Option<&str>| Outcome {
            sample: sample.to_owned(),
            failure: failure.map(str::to_owned),
            time_us: 7,
            fuel: 9,
            printed: if failure.is_some() { "hm".to_owned() } else { String::new() },
        };
        let samples = vec![outcome("a", None), outcome("b", Some("it removed i1"))];
        let check = |name: &str, passed| certify::Check {
            check: name.to_owned(),
            passed,
            detail: if passed { String::new() } else { "too slow".to_owned() },
        };
        let certificate = Certificate {
            passed: false,
            at: String::new(),
            scenario_id: String::new(),
            params: Map::new(),
            requests: 3,
            source: Source::Samples,
            checks: vec![check("events", true), check("time", false)],
            time_us: certify::Spread { p50: 1, p99: 2, max: 2 },
            fuel: certify::Spread { p50: 3, p99: 4, max: 4 },
            memory_bytes: 2048,
            effect: None,
        };
        let mut report = Report { upload: Upload::of(1, 2), samples, certificate };
        let expected = "a: ok, 7 µs, 9 fuel\nb: FAILED: it removed i1\n  | hm\n\
             3 events: p50 1 µs, p99 2 µs, p99 4 fuel, 2 KiB of memory\n  time: FAILED: too slow\n";
        assert_eq!(shown(&report), expected);
        report.upload = Upload::of(3, 2);
        let said = shown(&report);
        let size = said.strip_prefix(expected).unwrap();
        assert!(size.starts_with("size: FAILED: it has 3 bytes; 2 is the most"), "{size}");
    }
}
