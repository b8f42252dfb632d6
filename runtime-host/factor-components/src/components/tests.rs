use std::fs;

use funnelweb_bindings::{Recorded, dispatch::Allowance, types::Personal};
use funnelweb_blob_store::FileBlobs;
use funnelweb_factor_documents::SqliteDocuments;
use funnelweb_factor_events::SqliteEvents;
use funnelweb_factor_learned::LearnedModels;
use funnelweb_factor_live::SqliteLive;
use funnelweb_factor_vectors::EmbeddedVectors;
use funnelweb_stream::{
    SqliteStreams,
    operator::Failure,
    own::OwnOperators,
    store::{Place, Progress, Step},
};
use funnelweb_tenant_store::TenantStores;
use serde_json::Map;

use super::*;
use crate::{
    NoAnswer,
    certificate::Source,
    certify::{self, Subject, Trial},
    memory::InMemory,
    operator::STEP_EVENTS,
    operators::Begins,
    record::{Before, Declared, Follows, ShareOf, tests::version},
    recorder::tests::request,
    sandbox::{Fault, FaultKind, Ran},
    serving::Ready,
    usage::Skip,
};

/// Stores, and a tenant with components.
struct Setup {
    folder: tempfile::TempDir,
    engines: Engines,
    components: Components,
    acme: Tenant,
}

impl Setup {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let engines = Engines::new().unwrap();
        let files = Arc::new(TenantStores::new(folder.path()).unwrap());
        let documents = Arc::new(SqliteDocuments::new(Arc::clone(&files)).unwrap());
        let live = Arc::new(SqliteLive::new(Arc::clone(&files)).unwrap());
        let events = SqliteEvents::new(Arc::clone(&files), &documents, &live).unwrap();
        let state = Arc::new(SqliteStreams::new(files, &events).unwrap());
        let logs = Some(Logs { events: Arc::new(events), state, grown: Arc::default() });
        let blobs = Arc::new(FileBlobs::new(folder.path()).unwrap());
        let learned = Arc::new(LearnedModels::new(blobs.clone(), Arc::new(EmbeddedVectors::new(folder.path()))));
        let sources = Sources { documents: documents.clone(), live, learned };
        let parts = Parts {
            files: Arc::new(ComponentFiles::new(documents, blobs)),
            sources,
            recorder: Arc::default(),
            cache: Arc::new(ComponentCache::new(folder.path().join("components")).unwrap()),
            compiler: Compiler::new("/bin/false", [""; 0]),
            logs,
        };
        let components = Components::new(&engines, parts, Settings::default()).unwrap();
        Self { folder, engines, components, acme: Tenant::new("acme").unwrap() }
    }

    /// A case of the corpus, as if it had been admitted.
    async fn with(&self, case: &str) -> String {
        let found = funnelweb_corpus::cases().into_iter().find(|of| of.name == case).unwrap();
        let (wasm, is_operator) = (found.upload, found.world == funnelweb_corpus::World::Aggregate);
        let world = if is_operator { World::Aggregate } else { World::Rerank };
        let sha256 = sha256(&wasm);
        let code = self.engines.tenants().precompile_component(&wasm).unwrap();
        let file = self.components.serving.file(&sha256);
        fs::write(file, code).unwrap();
        let stored = Version { sha256, world, overridden: true, ..version(case, "1") };
        let mut head = Head::new(case, world);
        if !is_operator {
            head.activate("1");
        }
        let new = vec![document(stored.key(), &stored), document(head.key(), &head)];
        let documents = &self.components.files.documents;
        documents.insert_many(&self.acme, Collection::Components, new, false).await.unwrap();
        case.to_owned()
    }

    async fn pick(&self, name: &str) -> Picked {
        let who = Who { user_id: "ann", seed: 7 };
        self.components.pick(&self.acme, World::Rerank, name, None, who).await.unwrap()
    }

    /// One call, without what keeps a tenant from making too many.
    async fn run(&self, case: &str) -> Ran<certify::Answer> {
        let name = self.with(case).await;
        let picked = self.pick(&name).await;
        let version = picked.version().clone();
        let params = Map::new();
        let subject = Subject {
            sandbox: &self.components.serving.sandbox,
            stage: &picked.ready.stage,
            version: &version,
            params: &params,
            weight: 1.0,
            limit: 100,
            allowance: &everything(),
            pays: None,
        };
        let needs = subject.needs().await.unwrap();
        let trial = Trial { scenario_id: "feed", source: Source::Samples, requests: &[], catalogue: None };
        subject.call(&Arc::new(request("feed", "ann", 300)), &needs, &trial).await
    }
}

/// A scenario that lets components see all of it.
fn everything() -> Allowance {
    Allowance { personal: Personal::all(), fields: None }
}

fn rerank() -> funnelweb_bindings::stages::rerank::RerankRequest {
    let Recorded { context, ranked, rows, items, .. } = request("feed", "ann", 300);
    funnelweb_bindings::stages::rerank::RerankRequest {
        context,
        candidates: ranked,
        rows,
        items,
        weight: 1.0,
        params: "{}".to_owned(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_has_so_much_fuel_memory_and_room() {
    let setup = Setup::new();
    for (case, kind, most) in [
        ("loop-plain", FaultKind::Fuel, limits::COMPONENT_FUEL),
        ("memory-grow", FaultKind::Memory, limits::COMPONENT_MEMORY_BYTES as u64),
        ("table-grow", FaultKind::Memory, limits::COMPONENT_TABLE_ELEMENTS as u64),
        ("answer-much", FaultKind::Answer, limits::COMPONENT_ANSWER_BYTES as u64),
        ("leak-pollables", FaultKind::Trap, limits::COMPONENT_HANDLES as u64),
    ] {
        let Ran { answer, spent, .. } = setup.run(case).await;
        let fault = answer.unwrap_err();
        assert!(fault.kind == kind || fault.kind == FaultKind::Late, "{case} within {most}: {fault:?} {spent:?}");
        assert!(spent.memory_bytes <= limits::COMPONENT_MEMORY_BYTES as u64, "{case}: {spent:?}");
        assert!(spent.busy < limits::COMPONENT_TIMEOUT * 4, "{case}: {spent:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_call_takes_the_same_fuel() {
    let setup = Setup::new();
    let first = setup.run("plain-rerank").await;
    let picked = setup.pick("plain-rerank").await;
    let mut request = rerank();
    let whole = request.candidates.handles.clone();
    let answer = picked.rerank(&mut request).await.unwrap();
    assert_eq!((answer.handles, request.candidates.handles), (whole.clone(), whole), "handles are whole again");
    assert!(first.spent.fuel > 300, "{:?}", first.spent);
    let usage = serde_json::to_value(setup.components.usage(&setup.acme, "plain-rerank", "1").await.unwrap()).unwrap();
    assert_eq!((&usage["calls"], &usage["ok"]), (&1.into(), &1.into()), "{usage}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_has_so_many_calls_and_so_much_time() {
    let setup = Setup::new();
    let name = setup.with("plain-rerank").await;
    let picked = setup.pick(&name).await;
    let places = &picked.of_tenant.places;
    assert_eq!(places.available_permits(), limits::TENANT_COMPONENT_CALLS);
    let held = places.acquire_many(limits::TENANT_COMPONENT_CALLS as u32).await.unwrap();
    let skipped = picked.rerank(&mut rerank()).await.unwrap_err();
    assert!(matches!(skipped, NoAnswer::Skipped(Skip::Busy, _)), "{skipped:?}");
    drop(held);
    assert!(picked.rerank(&mut rerank()).await.is_ok());
    let burst = limits::TENANT_COMPONENT_TIME * limits::TENANT_COMPONENT_BURST;
    picked.of_tenant.budget.spend(burst * 2, Instant::now());
    let skipped = picked.rerank(&mut rerank()).await.unwrap_err();
    assert!(matches!(skipped, NoAnswer::Skipped(Skip::Budget, _)), "{skipped:?}");
    assert_eq!(places.available_permits(), limits::TENANT_COMPONENT_CALLS);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_fails_again_and_again_rests_and_is_probed() {
    let setup = Setup::new();
    let name = setup.with("trap-unreachable").await;
    let picked = setup.pick(&name).await;
    for _ in 0..limits::COMPONENT_FAILURES {
        let failed = picked.rerank(&mut rerank()).await.unwrap_err();
        assert!(matches!(failed, NoAnswer::Failed(Fault { kind: FaultKind::Trap, .. })), "{failed:?}");
    }
    let skipped = picked.rerank(&mut rerank()).await.unwrap_err();
    assert!(matches!(skipped, NoAnswer::Skipped(Skip::Resting, _)), "{skipped:?}");
    assert!(limits::COMPONENT_REST < limits::COMPONENT_REST_MOST);
    assert_eq!(setup.components.state(&setup.acme, picked.version()).0, "resting");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_is_made_ready_once_and_let_go_of() {
    let setup = Setup::new();
    let name = setup.with("plain-rerank").await;
    setup.pick(&name).await;
    let serving = &setup.components.serving;
    assert_eq!(serving.ready(), 1);
    serving.let_go(limits::COMPONENT_IDLE);
    assert_eq!(serving.ready(), 1);
    serving.let_go(Duration::ZERO);
    assert_eq!(serving.ready(), 0);
    for at in 0..limits::COMPONENTS_READY * 2 {
        serving.fail(&at.to_string(), String::new());
    }
    assert!(serving.ready() <= limits::COMPONENTS_READY, "{}", serving.ready());
}

/// What of a component's code is in this process's memory.
fn bytes_in_memory(ready: &Ready) -> u64 {
    let image = ready.mapped.component().image_range();
    let (from, to) = (image.start.addr(), image.end.addr());
    let mut within = false;
    let mut bytes = 0;
    for line in fs::read_to_string("/proc/self/smaps").unwrap().lines() {
        let range = line.split_once(' ').and_then(|(range, _)| range.split_once('-'));
        if let Some((begin, _)) = range.filter(|(begin, _)| usize::from_str_radix(begin, 16).is_ok()) {
            within = (from..to).contains(&usize::from_str_radix(begin, 16).unwrap());
        } else if let Some(rss) = line.strip_prefix("Rss:").filter(|_| within) {
            bytes += rss.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024;
        }
    }
    bytes
}

#[tokio::test(flavor = "multi_thread")]
async fn code_that_is_let_go_of_runs_as_before() {
    let setup = Setup::new();
    let name = setup.with("plain-rerank").await;
    let picked = setup.pick(&name).await;
    let first = picked.rerank(&mut rerank()).await.unwrap();
    for _ in 0..3 {
        assert!(bytes_in_memory(&picked.ready) > 0);
        picked.ready.mapped.let_go();
        assert_eq!(bytes_in_memory(&picked.ready), 0);
        let again = picked.rerank(&mut rerank()).await.unwrap();
        assert_eq!((again.handles, again.scores), (first.handles.clone(), first.scores.clone()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn so_much_code_is_in_memory() {
    let setup = Setup::new();
    let mut all = Vec::new();
    for case in ["plain-rerank", "plain-composed", "answer-tag"] {
        let name = setup.with(case).await;
        all.push(setup.pick(&name).await);
    }
    let most = all.iter().map(|picked| picked.ready.mapped.bytes()).max().unwrap();
    assert!(most < limits::COMPONENTS_CODE_BYTES / 2);
    // Room for the largest of them, and not for all.
    let in_memory = InMemory::new(most);
    for round in 0..3 {
        for picked in &all {
            let _ = picked.rerank(&mut rerank()).await;
            assert!(bytes_in_memory(&picked.ready) > 0, "{round}");
            in_memory.called(&picked.version().sha256, &picked.ready);
        }
        let there: u64 = all.iter().map(|picked| bytes_in_memory(&picked.ready)).sum();
        assert!(there <= most.next_multiple_of(4096) && in_memory.count() < all.len(), "{there} of {most}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn code_of_what_is_ready_again_counts_once() {
    let setup = Setup::new();
    let name = setup.with("plain-rerank").await;
    let serving = &setup.components.serving;
    let bytes = setup.pick(&name).await.ready.mapped.bytes();
    for _ in 0..5 {
        serving.let_go(Duration::ZERO);
        setup.pick(&name).await;
        assert_eq!((serving.in_memory.bytes(), serving.in_memory.count()), (bytes, 1));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn compiled_ones_take_so_much_of_the_disk() {
    let setup = Setup::new();
    let folder = setup.folder.path().join("components");
    for at in 0..3 {
        // They have a size and no content.
        let file = fs::File::create(folder.join(format!("tenants-{at}"))).unwrap();
        file.set_len(limits::COMPONENTS_COMPILED_BYTES / 2 - 1).unwrap();
    }
    setup.components.serving.trim_disk();
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn uploads_wait_for_each_other() {
    let setup = Setup::new();
    let soon = async |tenant: &Tenant| {
        tokio::time::timeout(Duration::from_millis(20), setup.components.place(tenant)).await.ok().flatten()
    };
    let tenants: Vec<Tenant> =
        (0..=limits::COMPONENT_UPLOADS).map(|at| Tenant::new(&format!("t{at}")).unwrap()).collect();
    let first = soon(&tenants[0]).await.unwrap();
    assert!(soon(&tenants[0]).await.is_none(), "a tenant has one at a time");
    let mut held = Vec::new();
    for tenant in &tenants[1..limits::COMPONENT_UPLOADS] {
        held.push(soon(tenant).await.unwrap());
    }
    assert!(soon(&tenants[limits::COMPONENT_UPLOADS]).await.is_none());
    drop(first);
    assert!(soon(&tenants[limits::COMPONENT_UPLOADS]).await.is_some());
}

#[test]
fn a_tenant_has_so_many_components_and_versions() {
    let heads: Vec<Head> = (0..limits::COMPONENTS).map(|at| Head::new(&format!("c{at}"), World::Rerank)).collect();
    assert!(check_room(&heads[1..], &[], &version("new", "1")).is_ok());
    assert!(matches!(check_room(&heads, &[], &version("new", "1")), Err(Refusal::TooMany(_))));
    let versions: Vec<Version> = (0..limits::COMPONENT_VERSIONS).map(|at| version("c0", &format!("v{at}"))).collect();
    assert!(check_room(&heads, &versions[1..], &version("c0", "new")).is_ok());
    assert!(matches!(check_room(&heads, &versions, &version("c0", "new")), Err(Refusal::TooMany(_))));
    let ranker = Version { world: World::Rank, ..version("c0", "new") };
    assert!(
        matches!(check_room(&heads, &[], &ranker), Err(Refusal::Invalid { field, .. }) if field == "manifest.world")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_large_is_not_looked_at() {
    let setup = Setup::new();
    let wasm = vec![0; limits::COMPONENT_BYTES + 1];
    let refused = setup.components.add(&setup.acme, wasm.into()).await.unwrap_err();
    assert!(matches!(&refused, Refusal::NotAdmitted(refused) if refused.rule == Rule::Size), "{refused:?}");
    // The program that compiles is not there.
    let refused = setup.components.add(&setup.acme, vec![0; limits::COMPONENT_BYTES].into()).await.unwrap_err();
    assert!(matches!(refused, Refusal::Store(StoreError::Unavailable(_))), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_runs_what_is_one_write() {
    let setup = Setup::new();
    let name = setup.with("plain-rerank").await;
    let (components, acme) = (&setup.components, &setup.acme);
    let refused = components.activate(acme, &name, "2", None).await;
    assert_eq!(refused, Err(Refusal::no_version(&name, "2")));
    let second = Version { version: "2".to_owned(), ..components.get(acme, &name).await.unwrap().1[0].clone() };
    let stored = Version { overridden: false, ..second };
    let new = vec![document(stored.key(), &stored)];
    components.files.documents.insert_many(acme, Collection::Components, new, false).await.unwrap();
    assert!(matches!(components.activate(acme, &name, "2", None).await, Err(Refusal::NotCertified(_))));
    assert!(matches!(components.activate(acme, &name, "2", Some("guess")).await, Err(Refusal::NotPermitted(_))));
    let pinned = components.pick(acme, World::Rerank, &name, Some("2"), Who { user_id: "", seed: 1 }).await.err();
    assert!(matches!(pinned, Some(Missing::NotCertified { .. })), "{pinned:?}");
    components.change_version(acme, &name, "2", |stored| stored.overridden = true).await.unwrap();
    let canary = |percent| Canary { version: "2".to_owned(), percent, of: ShareOf::Users };
    assert!(components.set_canary(acme, &name, Some(canary(100.5))).await.is_err());
    components.set_canary(acme, &name, Some(canary(100.0))).await.unwrap();
    assert_eq!(setup.pick(&name).await.version().version, "2");
    components.set_canary(acme, &name, None).await.unwrap();
    assert_eq!(setup.pick(&name).await.version().version, "1");
    components.activate(acme, &name, "2", None).await.unwrap();
    assert_eq!(components.roll_back(acme, &name).await.unwrap().active.as_deref(), Some("1"));
    assert!(matches!(components.roll_back(acme, &name).await, Err(Refusal::InUse(_))));
    let other = components.pick(acme, World::Rank, &name, None, Who { user_id: "", seed: 1 }).await.err();
    assert!(matches!(other, Some(Missing::World { .. })), "{other:?}");
    assert!(matches!(components.delete(acme, &name, None).await, Err(Refusal::InUse(_))));
    components.set_disabled(acme, &name, true).await.unwrap();
    components.delete(acme, &name, None).await.unwrap();
    assert_eq!(components.list(acme).await.unwrap(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_follows_from_its_activation_on() {
    let setup = Setup::new();
    let (components, acme) = (&setup.components, &setup.acme);
    let name = setup.with("plain-aggregate").await;
    assert!(components.of(acme).await.unwrap().operators.is_empty());
    let follows = components.activate(acme, &name, "1", None).await.unwrap().follows.unwrap();
    assert_eq!((follows.begins, follows.declared.window_ms, follows.declared.slide_ms), (1, 60_000, 60_000));
    let operator = components.of(acme).await.unwrap().operators.pop().unwrap();
    assert_eq!((operator.begins(), operator.declaration().key.len()), (1, 0));
    assert_eq!(operator.aggregate(&[]).await, Ok(Vec::new()));
    let usage = serde_json::to_value(components.usage(acme, &name, "1").await.unwrap()).unwrap();
    assert_eq!((&usage["calls"], &usage["ok"]), (&1.into(), &1.into()), "{usage}");

    // It pays from a purse of its own.
    let of_tenant = components.of_tenant(acme);
    let all = limits::TENANT_COMPONENT_TIME * limits::TENANT_COMPONENT_BURST * 2;
    of_tenant.budget.spend(all, Instant::now());
    assert!(operator.aggregate(&[]).await.is_ok());
    of_tenant.operators.spend(all, Instant::now());
    assert!(matches!(operator.aggregate(&[]).await, Err(Failure::Host(_))));

    // Another version that declares the same goes on where this one is.
    let canary = Canary { version: "1".to_owned(), percent: 5.0, of: ShareOf::Users };
    let refused = components.set_canary(acme, &name, Some(canary)).await;
    assert!(matches!(&refused, Err(Refusal::Invalid { field, .. }) if field == "version"), "{refused:?}");
    let again = components.activate(acme, &name, "1", None).await.unwrap().follows.unwrap();
    assert_eq!(again, follows);
    components.set_disabled(acme, &name, true).await.unwrap();
    assert!(components.of(acme).await.unwrap().operators.is_empty());
    components.delete(acme, &name, None).await.unwrap();
    let place = Place::main(acme, operator.name());
    let ended = components.logs.as_ref().unwrap().state.progress(&place).await.unwrap();
    assert_eq!(ended.next, funnelweb_stream::store::ENDED);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_that_declares_something_else_begins_anew() {
    let of = |window_ms| Declared { key: Vec::new(), window_ms, slide_ms: window_ms, allowed_lateness_ms: 0 };
    let mut head = Head::new("tally", World::Aggregate);
    let begins = |window_ms, at, now_ms| Begins { declared: of(window_ms), at, now_ms };
    begins(1000, 5, 10).follow(&mut head);
    begins(1000, 8, 20).follow(&mut head);
    assert_eq!(head.follows, Some(Follows { begins: 5, since_ms: 10, after: None, declared: of(1000) }));
    begins(2000, 9, 30).follow(&mut head);
    let after = Some(Before { since_ms: 10, begins: 5 });
    assert_eq!(head.follows, Some(Follows { begins: 9, since_ms: 30, after, declared: of(2000) }));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_that_begins_anew_takes_what_the_one_before_it_did_not() {
    let setup = Setup::new();
    let (components, acme) = (&setup.components, &setup.acme);
    let name = setup.with("plain-aggregate").await;
    let first = components.activate(acme, &name, "1", None).await.unwrap().follows.unwrap();
    // It was of another declaration, and took events up to 6 while this one was activated.
    let state = &components.logs.as_ref().unwrap().state;
    let main = Place::main(acme, &funnelweb_stream::own::name(&name, first.since_ms));
    let before = state.progress(&main).await.unwrap();
    let progress = Progress { next: 7, ..before.clone() };
    assert!(state.commit(&main, before.clone(), Step { progress, ..Step::default() }).await.unwrap());
    let anew = |head: &mut Head| {
        let after = Some(Before { since_ms: first.since_ms, begins: first.begins });
        let declared = first.declared.clone();
        head.follows = Some(Follows { begins: 3, since_ms: first.since_ms + 1, after, declared });
        Ok(())
    };
    components.change_head(acme, &name, anew).await.unwrap();
    for _ in 0..2 {
        let operator = components.of(acme).await.unwrap().operators.pop().unwrap();
        assert_eq!((operator.begins(), operator.step_events()), (7, STEP_EVENTS));
    }
    let late = Progress { next: 7, ..before };
    assert!(!state.commit(&main, late.clone(), Step { progress: late, ..Step::default() }).await.unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operators_certificate_says_what_was_found() {
    let setup = Setup::new();
    for (case, failed) in [("plain-aggregate", ""), ("loop-aggregate", "answers")] {
        let name = setup.with(case).await;
        let stored = setup.components.stored(&setup.acme, &name, "1").await.unwrap();
        let certificate = setup.components.try_operator(&setup.acme, &stored, "feed").await.unwrap();
        assert_eq!(certificate.passed, failed.is_empty(), "{case}: {certificate:?}");
        let failure = certificate.checks.iter().find(|check| !check.passed).map(|check| check.check.as_str());
        assert_eq!(failure.unwrap_or_default(), failed, "{case}: {certificate:?}");
        assert_eq!((certificate.source, certificate.requests), (Source::Samples, 500), "there are no events yet");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_says_what_was_found() {
    let setup = Setup::new();
    let requests: Vec<Arc<Recorded>> = (0..10).map(|at| Arc::new(request("feed", &format!("u{at}"), 100))).collect();
    for (case, passed, failed) in [
        ("plain-rerank", true, ""),
        ("loop-plain", false, "answers"),
        ("contract-invented", false, "contract"),
        ("contract-nan", false, "contract"),
        ("check-columns", false, "params"),
    ] {
        let name = setup.with(case).await;
        let picked = setup.pick(&name).await;
        let (stored, params) = (picked.version().clone(), Map::new());
        let subject = Subject {
            sandbox: &setup.components.serving.sandbox,
            stage: &picked.ready.stage,
            version: &stored,
            params: &params,
            weight: 1.0,
            limit: 100,
            allowance: &everything(),
            pays: None,
        };
        let trial = Trial { scenario_id: "feed", source: Source::Recorded, requests: &requests, catalogue: None };
        let certificate = subject.certify(&trial).await;
        assert_eq!(certificate.passed, passed, "{case}: {certificate:?}");
        let failures: Vec<&str> =
            certificate.checks.iter().filter(|check| !check.passed).map(|check| check.check.as_str()).collect();
        assert_eq!(failures.first().copied().unwrap_or_default(), failed, "{case}: {certificate:?}");
        if passed {
            let effect = certificate.effect.unwrap();
            assert_eq!((effect.rank_correlation, effect.overlap), (1.0, 1.0), "it keeps the list");
            assert!(effect.diversity_before > 0.0 && effect.diversity_before == effect.diversity_after);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_are_paid_for_until_nothing_is_left() {
    let mut setup = Setup::new();
    let settings = Settings { tenant_time: Duration::from_millis(1), ..Settings::default() };
    setup.components.settings = Arc::new(settings);
    let name = setup.with("plain-rerank").await;
    let picked = setup.pick(&name).await;
    let mut answered = 0;
    let skipped = loop {
        match picked.rerank(&mut rerank()).await {
            Ok(_) => answered += 1,
            Err(none) => break none,
        }
        assert!(answered < 10_000, "nobody pays");
    };
    assert!(matches!(skipped, NoAnswer::Skipped(Skip::Budget, _)), "{skipped:?}");
    assert!(answered > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn so_many_calls_are_at_work_over_all_tenants() {
    let setup = Setup::new();
    let name = setup.with("plain-rerank").await;
    let picked = setup.pick(&name).await;
    let most = u32::try_from(limits::COMPONENT_CALLS).unwrap();
    let others = setup.components.serving.calls.acquire_many(most - 1).await.unwrap();
    assert!(picked.rerank(&mut rerank()).await.is_ok());
    let last = setup.components.serving.calls.acquire().await.unwrap();
    for _ in 0..=limits::COMPONENT_FAILURES {
        let skipped = picked.rerank(&mut rerank()).await.unwrap_err();
        assert!(matches!(skipped, NoAnswer::Skipped(Skip::Busy, _)), "{skipped:?}");
    }
    drop((others, last));
    assert!(picked.rerank(&mut rerank()).await.is_ok(), "that others were at work is no failure of its own");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certification_is_paid_for_and_waits_for_its_time() {
    let mut setup = Setup::new();
    let settings = Settings { tenant_time: Duration::from_millis(1), ..Settings::default() };
    setup.components.settings = Arc::new(settings);
    let name = setup.with("plain-rerank").await;
    let picked = setup.pick(&name).await;
    let payer = setup.components.payer(&setup.acme);
    let (stored, params) = (picked.version().clone(), Map::new());
    let subject = Subject {
        sandbox: &setup.components.serving.sandbox,
        stage: &picked.ready.stage,
        version: &stored,
        params: &params,
        weight: 1.0,
        limit: 100,
        allowance: &everything(),
        pays: Some(&payer),
    };
    let requests: Vec<Arc<Recorded>> = (0..10).map(|at| Arc::new(request("feed", &format!("u{at}"), 100))).collect();
    let trial = Trial { scenario_id: "feed", source: Source::Recorded, requests: &requests, catalogue: None };
    // As much as may be saved up, and a little.
    payer.pay(Duration::from_millis(7));
    let begin = Instant::now();
    assert!(subject.certify(&trial).await.passed);
    // What is owed comes back with a millisecond a second.
    assert!(begin.elapsed() > Duration::from_secs(1), "{:?}", begin.elapsed());
}
