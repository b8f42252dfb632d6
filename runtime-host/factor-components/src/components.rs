//! The components of all tenants.

pub(crate) mod certification;

use std::{
    convert::Infallible,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use funnelweb_admission::{Compiler, Refused, Rule, World, check_size};
use funnelweb_core::{limits, scenario::Scenario};
use funnelweb_engine::{ComponentCache, Engines, sha256};
use funnelweb_factor_documents::store::{Collection, InsertOutcome, Key, NewDocument, Precondition, WriteError};
use funnelweb_tenant_store::{Error as StoreError, Tenant};
use quick_cache::sync::Cache;
use serde::Serialize;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::{
    Logs, Recorder, Refusal,
    catalogue::Sources,
    files::ComponentFiles,
    pick::{Missing, OfTenant, Payer, Picked, Who},
    record::{Canary, Head, Version},
    sandbox::Sandbox,
    serving::{Ready, Serving},
    share,
    usage::AtWork,
};

/// Tenants whose shares are remembered. One that is forgotten begins with a new one; there
/// are far fewer at work at once.
const TENANTS: usize = 16_384;
/// Components and versions that are remembered.
const KNOWN: usize = 65_536;
/// How long what another process changed may be unknown here.
pub(crate) const STALE: Duration = Duration::from_secs(1);
/// How long an upload waits for those before it.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often a document that somebody else changed is changed again.
const ATTEMPTS: usize = 5;

/// What an operator says of components.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Bytes of an upload.
    pub upload_bytes: usize,
    /// Time of a processor that one tenant's components may take a second.
    pub tenant_time: Duration,
    /// Who says it may have a version run that did not pass; nobody, without.
    pub operator_token: Option<String>,
}

impl Default for Settings {
    fn default() -> Self {
        Self { upload_bytes: limits::COMPONENT_BYTES, tenant_time: limits::TENANT_COMPONENT_TIME, operator_token: None }
    }
}

/// What components are made of.
pub struct Parts {
    /// Files and documents.
    pub files: Arc<ComponentFiles>,
    /// What recall channels read.
    pub sources: Sources,
    /// Requests to certify with.
    pub recorder: Arc<Recorder>,
    /// Where compiled ones are kept.
    pub cache: Arc<ComponentCache>,
    /// What admits and compiles.
    pub compiler: Compiler,
    /// What stream operators follow; none where another program keeps the logs.
    pub logs: Option<Logs>,
}

/// The components whose operators follow a tenant's log, and since when that is known.
type Following = Cache<Tenant, (Arc<Vec<Head>>, Instant)>;
type Remembered<T> = Cache<(Tenant, String), (Option<Arc<T>>, Instant)>;

/// Everything about tenants' components.
#[derive(Clone)]
pub struct Components {
    settings: Arc<Settings>,
    pub(crate) files: Arc<ComponentFiles>,
    sources: Sources,
    recorder: Arc<Recorder>,
    pub(crate) logs: Option<Logs>,
    pub(crate) serving: Arc<Serving>,
    heads: Arc<Remembered<Head>>,
    versions: Arc<Remembered<Version>>,
    /// Those whose operators follow the log.
    pub(crate) following: Arc<Following>,
    at_work: Arc<Cache<(Tenant, String), Arc<AtWork>>>,
    of_tenants: Arc<Cache<Tenant, Arc<OfTenant>>>,
    /// Uploads and certifications of all tenants together.
    uploads: Arc<Semaphore>,
    /// A tenant has one of them at a time.
    turns: Arc<Cache<Tenant, Arc<Semaphore>>>,
}

/// Room for one upload or certification; it is given back when this goes.
pub struct Place {
    _held: Vec<OwnedSemaphorePermit>,
}

impl Components {
    /// Over these parts.
    ///
    /// # Errors
    /// When what components import cannot be offered.
    pub fn new(engines: &Engines, parts: Parts, settings: Settings) -> wasmtime::Result<Self> {
        let Parts { files, sources, recorder, cache, compiler, logs } = parts;
        let sandbox = Sandbox::new(engines.tenants())?;
        Ok(Self {
            settings: Arc::new(settings),
            serving: Serving::new(sandbox, Arc::clone(&files), cache, compiler),
            files,
            sources,
            recorder,
            logs,
            following: Arc::new(Cache::new(TENANTS)),
            heads: Arc::new(Cache::new(KNOWN)),
            versions: Arc::new(Cache::new(KNOWN)),
            at_work: Arc::new(Cache::new(limits::COMPONENTS_READY)),
            of_tenants: Arc::new(Cache::new(TENANTS)),
            uploads: Arc::new(Semaphore::new(limits::COMPONENT_UPLOADS)),
            turns: Arc::new(Cache::new(TENANTS)),
        })
    }

    /// The requests that are recorded.
    #[must_use]
    pub fn recorder(&self) -> &Arc<Recorder> {
        &self.recorder
    }

    /// Bytes of an upload at most.
    #[must_use]
    pub fn upload_bytes(&self) -> usize {
        self.settings.upload_bytes
    }

    /// How many components are ready to run in this process.
    #[must_use]
    pub fn ready(&self) -> usize {
        self.serving.ready()
    }

    /// Waits until the tenant has no other upload or certification, and there is room for one
    /// more; not for long.
    pub async fn place(&self, tenant: &Tenant) -> Option<Place> {
        let waits = async {
            let own = || Ok::<_, Infallible>(Arc::new(Semaphore::new(1)));
            let Ok(own) = self.turns.get_or_insert_with(tenant, own);
            let mut held = Vec::with_capacity(2);
            for semaphore in [own, Arc::clone(&self.uploads)] {
                // They are never closed.
                held.extend(semaphore.acquire_owned().await.ok());
            }
            Place { _held: held }
        };
        tokio::time::timeout(PATIENCE, waits).await.ok()
    }

    /// Takes an upload. The same content again is the version that is there.
    ///
    /// # Errors
    /// The first rule that it breaks.
    pub async fn add(&self, tenant: &Tenant, wasm: Bytes) -> Result<Version, Refusal> {
        check_size(wasm.len(), self.settings.upload_bytes)?;
        let sha256 = sha256(&wasm);
        let admitted = self.serving.admit(&sha256, &wasm).await?;
        let version = Version::new(admitted, sha256, wasm.len() as u64);
        let fits = match self.serving.compiled(&version) {
            Ok(Some(ready)) => self.serving.sandbox.fits(&ready.stage).await,
            Ok(None) => Ok(()),
            Err(reason) => Err(reason),
        };
        if let Err(reason) = fits {
            self.serving.forget(&version.sha256);
            let help = "build it for the world as it is in the WIT package `funnelweb:tenant@0.1.0`, with fewer globals, \
                        tables and memories";
            return Err(Refused { rule: Rule::Compile, message: reason, help: help.to_owned() }.into());
        }
        let (heads, versions) = self.files.records(tenant).await?;
        if let Some(same) = there_already(&versions, &version)? {
            // Its file may have been lost, or its head by a deletion that was cut off.
            self.files.put(tenant, &version.sha256, wasm).await?;
            if !heads.iter().any(|head| head.name == version.name) {
                let head = Head::new(&version.name, version.world);
                let new = vec![document(head.key(), &head)];
                self.files.documents.insert_many(tenant, Collection::Components, new, false).await?;
                self.forget(tenant, &version.name, None);
            }
            return Ok(same.clone());
        }
        check_room(&heads, &versions, &version)?;
        let head = Head::new(&version.name, version.world);
        let held = self.files.hold().await;
        self.files.put(tenant, &version.sha256, wasm).await?;
        let new = vec![document(version.key(), &version), document(head.key(), &head)];
        let outcomes = self.files.documents.insert_many(tenant, Collection::Components, new, false).await?;
        drop(held);
        self.forget(tenant, &version.name, Some(&version.version));
        let written = self.stored(tenant, &version.name, &version.version).await?;
        // Somebody else may have uploaded one of the name at the same moment.
        if outcomes.first() != Some(&InsertOutcome::Created) && written.sha256 != version.sha256 {
            return Err(Refusal::Exists { name: version.name, version: version.version });
        }
        Ok(written)
    }

    /// All components, by name, and their versions, the newest first.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn list(&self, tenant: &Tenant) -> Result<Vec<(Head, Vec<Version>)>, StoreError> {
        let (mut heads, versions) = self.files.records(tenant).await?;
        heads.sort_by(|one, other| one.name.cmp(&other.name));
        let of = |head: &Head| versions.iter().filter(|version| version.name == head.name).cloned().collect();
        Ok(heads.into_iter().map(|head| (head.clone(), of(&head))).collect())
    }

    /// A component and its versions, the newest first.
    ///
    /// # Errors
    /// When there is none.
    pub async fn get(&self, tenant: &Tenant, name: &str) -> Result<(Head, Vec<Version>), Refusal> {
        let all = self.list(tenant).await?;
        all.into_iter().find(|(head, _)| head.name == name).ok_or_else(|| Refusal::NoComponent(name.to_owned()))
    }

    /// Has a version run wherever a config names the component without a version. Requests
    /// under way end with the one they began with. A stream operator takes what comes from now
    /// on; one that declares what the version before it did goes on where that one is.
    ///
    /// # Errors
    /// When there is none, or it has not passed and no operator says so.
    pub async fn activate(
        &self,
        tenant: &Tenant,
        name: &str,
        version: &str,
        override_token: Option<&str>,
    ) -> Result<Head, Refusal> {
        self.allow(tenant, name, version, override_token).await?;
        let stored = self.stored(tenant, name, version).await?;
        let begins = self.begins(tenant, &stored).await?;
        // Before any request asks for it.
        self.ready_soon(tenant, &stored).await?;
        self.change_head(tenant, name, |head| {
            head.activate(version);
            if let Some(begins) = begins.clone() {
                begins.follow(head);
            }
            Ok(())
        })
        .await
    }

    /// Lets a version run that passed, or that an operator lets run.
    async fn allow(
        &self,
        tenant: &Tenant,
        name: &str,
        version: &str,
        override_token: Option<&str>,
    ) -> Result<(), Refusal> {
        let stored = self.stored(tenant, name, version).await?;
        match (override_token, &self.settings.operator_token) {
            _ if stored.may_run() => Ok(()),
            (None, _) => Err(Refusal::NotCertified(match &stored.certificate {
                None => format!("version `{version}` of `{name}` is not certified yet"),
                Some(certificate) => {
                    let failed = certificate.checks.iter().filter(|check| !check.passed);
                    let failed: Vec<String> =
                        failed.map(|check| format!("{}: {}", check.check, check.detail)).collect();
                    format!("version `{version}` of `{name}` did not pass certification: {}", failed.join("; "))
                }
            })),
            (Some(given), Some(token)) if same(given, token) => {
                tracing::warn!(%tenant, component = name, version, "an operator overrides certification");
                self.change_version(tenant, name, version, |stored| stored.overridden = true).await.map(|_| ())
            }
            (Some(_), _) => Err(Refusal::NotPermitted("only an operator may override certification".to_owned())),
        }
    }

    /// Begins, changes or ends a canary.
    ///
    /// # Errors
    /// When there is no such version, it has not passed, or none is active beside it.
    pub async fn set_canary(&self, tenant: &Tenant, name: &str, canary: Option<Canary>) -> Result<Head, Refusal> {
        if let Some(Canary { version, percent, .. }) = &canary {
            if !(*percent > 0.0 && *percent <= 100.0) {
                return Err(Refusal::invalid("percent", format!("must be above 0 and at most 100, got {percent}")));
            }
            let stored = self.stored(tenant, name, version).await?;
            if stored.world == World::Aggregate {
                let message = "there are no requests that a stream operator could have a part of: activate the version";
                return Err(Refusal::invalid("version", message.to_owned()));
            }
            self.allow(tenant, name, version, None).await?;
            self.ready_soon(tenant, &stored).await?;
        }
        self.change_head(tenant, name, |head| {
            if let Some(canary) = &canary {
                if head.active.is_none() {
                    return Err(Refusal::InUse(format!(
                        "no version of `{name}` is active that others would run: activate this one"
                    )));
                }
                if head.active.as_deref() == Some(&canary.version) {
                    return Err(Refusal::InUse(format!("version `{}` of `{name}` is active already", canary.version)));
                }
            }
            head.canary.clone_from(&canary);
            Ok(())
        })
        .await
    }

    /// Has the version run that did before the active one, and ends a canary.
    ///
    /// # Errors
    /// When none did.
    pub async fn roll_back(&self, tenant: &Tenant, name: &str) -> Result<Head, Refusal> {
        let (_, versions) = self.files.records(tenant).await?;
        let head = self.files.head(tenant, name).await?.ok_or_else(|| Refusal::NoComponent(name.to_owned()))?;
        let find = |version: &String| versions.iter().find(|other| other.name == name && other.version == *version);
        // Those that were deleted meanwhile are passed over.
        let Some(before) = head.previous.iter().rev().find_map(find) else {
            return Err(Refusal::InUse(format!("no version of `{name}` was active before")));
        };
        let begins = self.begins(tenant, before).await?;
        self.ready_soon(tenant, before).await?;
        self.change_head(tenant, name, |head| {
            let Some(at) = head.previous.iter().rposition(|version| *version == before.version) else {
                return Err(contended());
            };
            head.previous.truncate(at);
            head.active = Some(before.version.clone());
            head.canary = None;
            if let Some(begins) = begins.clone() {
                begins.follow(head);
            }
            Ok(())
        })
        .await
    }

    /// Has none of its versions run, or again.
    ///
    /// # Errors
    /// When there is no such component.
    pub async fn set_disabled(&self, tenant: &Tenant, name: &str, disabled: bool) -> Result<Head, Refusal> {
        self.change_head(tenant, name, |head| {
            head.disabled = disabled;
            Ok(())
        })
        .await
    }

    /// Deletes a version that does not run, or a component of which none does.
    ///
    /// # Errors
    /// When there is none, or it runs.
    pub async fn delete(&self, tenant: &Tenant, name: &str, version: Option<&str>) -> Result<(), Refusal> {
        let (head, versions) = self.get(tenant, name).await?;
        let of: Vec<&Version> =
            versions.iter().filter(|other| version.is_none_or(|version| version == other.version)).collect();
        if let Some(version) = version.filter(|_| of.is_empty()) {
            return Err(Refusal::no_version(name, version));
        }
        if let Some(runs) =
            of.iter().find(|version| head.runs(&version.version)).filter(|_| !head.disabled || version.is_some())
        {
            let message = format!(
                "version `{}` of `{name}` is active or in a canary: disable the component, or activate another version first",
                runs.version
            );
            return Err(Refusal::InUse(message));
        }
        if version.is_none() {
            let as_read = Precondition::Version(head.document_version);
            self.files.documents.delete(tenant, Collection::Components, head.key(), as_read).await.map_err(conflict)?;
        }
        for version in of {
            let any = Precondition::None;
            self.files.documents.delete(tenant, Collection::Components, version.key(), any).await.map_err(conflict)?;
            self.forget(tenant, name, Some(&version.version));
            self.at_work.remove(&(tenant.clone(), at_work_key(name, &version.version)));
        }
        self.forget(tenant, name, None);
        if version.is_none() {
            // Last: of what is left then nobody asks it any more.
            self.end_operator(tenant, &head).await?;
        }
        Ok(self.files.sweep(tenant).await?)
    }

    /// What a version printed lately in this process.
    ///
    /// # Errors
    /// When there is none.
    pub async fn logs(&self, tenant: &Tenant, name: &str, version: &str) -> Result<String, Refusal> {
        self.stored(tenant, name, version).await?;
        Ok(self.known_work(tenant, name, version).printed())
    }

    /// What a version did in this process.
    ///
    /// # Errors
    /// When there is none.
    pub async fn usage(&self, tenant: &Tenant, name: &str, version: &str) -> Result<impl Serialize, Refusal> {
        self.stored(tenant, name, version).await?;
        Ok(self.known_work(tenant, name, version).usage())
    }

    /// Whether a version is called in this process, and why it was not the last time.
    pub(crate) fn state(&self, tenant: &Tenant, version: &Version) -> (&'static str, Option<String>) {
        match self.at_work.get(&(tenant.clone(), at_work_key(&version.name, &version.version))) {
            Some(at_work) => (at_work.state(), at_work.last_fault()),
            None => ("at_work", None),
        }
    }

    /// The version that a request runs of a component, which a config names with a version
    /// or without.
    ///
    /// # Errors
    /// Why it runs none.
    pub async fn pick(
        &self,
        tenant: &Tenant,
        world: World,
        name: &str,
        version: Option<&str>,
        who: Who<'_>,
    ) -> Result<Picked, Missing> {
        let head = self.running(tenant, world, name).await?;
        let version = chosen(&head, name, version, who)?;
        self.picked(tenant, name, version).await
    }

    /// Which version that is; whether it is ready is not asked.
    ///
    /// # Errors
    /// Why it runs none.
    pub async fn choice(
        &self,
        tenant: &Tenant,
        world: World,
        name: &str,
        version: Option<&str>,
        who: Who<'_>,
    ) -> Result<Arc<Version>, Missing> {
        let head = self.running(tenant, world, name).await?;
        let version = chosen(&head, name, version, who)?;
        let known = self.known_version(tenant, name, version).await?;
        known.ok_or_else(|| Missing::NoVersion { name: name.to_owned(), version: version.to_owned() })
    }

    /// Every version that requests may run of a component now: the active one first, then
    /// that of a canary; or the one that a config names.
    ///
    /// # Errors
    /// Why there is none.
    pub async fn running_versions(
        &self,
        tenant: &Tenant,
        world: World,
        name: &str,
        version: Option<&str>,
    ) -> Result<Vec<Picked>, Missing> {
        let head = self.running(tenant, world, name).await?;
        let canary = head.canary.as_ref().map(|canary| canary.version.as_str());
        let names: Vec<&str> = match version {
            Some(version) => vec![version],
            None => head.active.as_deref().into_iter().chain(canary).collect(),
        };
        if names.is_empty() {
            return Err(Missing::NoneActive(name.to_owned()));
        }
        let mut picked = Vec::with_capacity(names.len());
        for version in names {
            match self.picked(tenant, name, version).await {
                Ok(found) => picked.push(found),
                // A canary that cannot run takes nothing from the active one.
                Err(_) if !picked.is_empty() => {}
                Err(missing) => return Err(missing),
            }
        }
        Ok(picked)
    }

    async fn running(&self, tenant: &Tenant, world: World, name: &str) -> Result<Arc<Head>, Missing> {
        let head = self.known_head(tenant, name).await?.ok_or_else(|| Missing::NoComponent(name.to_owned()))?;
        if head.world != world {
            return Err(Missing::World { name: name.to_owned(), world: head.world.as_str() });
        }
        if head.disabled { Err(Missing::Disabled(name.to_owned())) } else { Ok(head) }
    }

    pub(crate) async fn picked(&self, tenant: &Tenant, name: &str, version: &str) -> Result<Picked, Missing> {
        let of = || (name.to_owned(), version.to_owned());
        let Some(known) = self.known_version(tenant, name, version).await? else {
            let (name, version) = of();
            return Err(Missing::NoVersion { name, version });
        };
        if !known.may_run() {
            let (name, version) = of();
            return Err(Missing::NotCertified { name, version });
        }
        let ready = self.serving.get(tenant, &known).await;
        let ready = ready.map_err(|reason| Missing::NotReady { name: name.to_owned(), reason })?;
        Ok(Picked {
            tenant: tenant.clone(),
            version: known,
            ready,
            at_work: self.at_work(tenant, name, version),
            of_tenant: self.of_tenant(tenant),
            serving: Arc::clone(&self.serving),
            sources: self.sources.clone(),
            is_on_trial: false,
        })
    }

    /// Who pays for a certification.
    pub(crate) fn payer(&self, tenant: &Tenant) -> Payer {
        Payer { tenant: tenant.clone(), of_tenant: self.of_tenant(tenant) }
    }

    fn of_tenant(&self, tenant: &Tenant) -> Arc<OfTenant> {
        let new = || Ok::<_, Infallible>(Arc::new(OfTenant::new(self.settings.tenant_time)));
        let Ok(of_tenant) = self.of_tenants.get_or_insert_with(tenant, new);
        of_tenant
    }

    fn at_work(&self, tenant: &Tenant, name: &str, version: &str) -> Arc<AtWork> {
        let new = || Ok::<_, Infallible>(Arc::new(AtWork::new()));
        let Ok(at_work) = self.at_work.get_or_insert_with(&(tenant.clone(), at_work_key(name, version)), new);
        at_work
    }

    /// The same of one that nobody called: it takes no other's place.
    fn known_work(&self, tenant: &Tenant, name: &str, version: &str) -> Arc<AtWork> {
        self.at_work.get(&(tenant.clone(), at_work_key(name, version))).unwrap_or_else(|| Arc::new(AtWork::new()))
    }

    /// A version that is compiled, here and now if need be.
    pub(crate) async fn ready_now(&self, tenant: &Tenant, version: &Version) -> Result<Arc<Ready>, Refusal> {
        self.ready_within(tenant, version, limits::COMPONENT_COMPILE_TIMEOUT).await
    }

    /// The same within the time of a request: one that takes longer is to be asked for again.
    async fn ready_soon(&self, tenant: &Tenant, version: &Version) -> Result<(), Refusal> {
        self.ready_within(tenant, version, limits::REQUEST_TIMEOUT / 2).await.map(|_| ())
    }

    async fn ready_within(&self, tenant: &Tenant, version: &Version, most: Duration) -> Result<Arc<Ready>, Refusal> {
        let begin = Instant::now();
        loop {
            match self.serving.get(tenant, version).await {
                Ok(ready) => return Ok(ready),
                Err(reason) if begin.elapsed() > most => {
                    return Err(StoreError::Unavailable(reason).into());
                }
                Err(reason) if reason != crate::serving::PREPARING => {
                    return Err(StoreError::Unavailable(reason).into());
                }
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
    }

    async fn known_head(&self, tenant: &Tenant, name: &str) -> Result<Option<Arc<Head>>, StoreError> {
        let of = (tenant.clone(), name.to_owned());
        if let Some((head, _)) = self.heads.get(&of).filter(|(_, since)| since.elapsed() < STALE) {
            return Ok(head);
        }
        let since = Instant::now();
        let head = self.files.head(tenant, name).await?.map(Arc::new);
        self.heads.insert(of, (head.clone(), since));
        Ok(head)
    }

    async fn known_version(
        &self,
        tenant: &Tenant,
        name: &str,
        version: &str,
    ) -> Result<Option<Arc<Version>>, StoreError> {
        let of = (tenant.clone(), at_work_key(name, version));
        if let Some((version, _)) = self.versions.get(&of).filter(|(_, since)| since.elapsed() < STALE) {
            return Ok(version);
        }
        let since = Instant::now();
        let found = self.files.version(tenant, name, version).await?.map(Arc::new);
        self.versions.insert(of, (found.clone(), since));
        Ok(found)
    }

    fn forget(&self, tenant: &Tenant, name: &str, version: Option<&str>) {
        self.heads.remove(&(tenant.clone(), name.to_owned()));
        self.following.remove(tenant);
        if let Some(version) = version {
            self.versions.remove(&(tenant.clone(), at_work_key(name, version)));
        }
    }

    async fn stored(&self, tenant: &Tenant, name: &str, version: &str) -> Result<Version, Refusal> {
        match self.files.version(tenant, name, version).await? {
            Some(version) => Ok(version),
            None if self.files.head(tenant, name).await?.is_none() => Err(Refusal::NoComponent(name.to_owned())),
            None => Err(Refusal::no_version(name, version)),
        }
    }

    /// Changes which versions run, in one write over what was read.
    async fn change_head(
        &self,
        tenant: &Tenant,
        name: &str,
        change: impl Fn(&mut Head) -> Result<(), Refusal>,
    ) -> Result<Head, Refusal> {
        for _ in 0..ATTEMPTS {
            let head = self.files.head(tenant, name).await?;
            let mut head = head.ok_or_else(|| Refusal::NoComponent(name.to_owned()))?;
            change(&mut head)?;
            if self.replace(tenant, head.key(), &head, head.document_version).await? {
                self.forget(tenant, name, None);
                self.wake(tenant, &head);
                let written = self.files.head(tenant, name).await?;
                return written.ok_or_else(|| Refusal::NoComponent(name.to_owned()));
            }
        }
        Err(contended())
    }

    async fn change_version(
        &self,
        tenant: &Tenant,
        name: &str,
        version: &str,
        change: impl Fn(&mut Version),
    ) -> Result<Version, Refusal> {
        for _ in 0..ATTEMPTS {
            let mut stored = self.stored(tenant, name, version).await?;
            change(&mut stored);
            if self.replace(tenant, stored.key(), &stored, stored.document_version).await? {
                self.forget(tenant, name, Some(version));
                return self.stored(tenant, name, version).await;
            }
        }
        Err(contended())
    }

    /// Whether it was written: not when somebody else wrote it meanwhile.
    async fn replace(&self, tenant: &Tenant, key: Key, to: &impl Serialize, as_read: u64) -> Result<bool, Refusal> {
        let when = Precondition::Version(as_read);
        let body = document(key.clone(), to).body;
        match self.files.documents.replace(tenant, Collection::Components, key, body, when).await {
            Ok(_) => Ok(true),
            Err(WriteError::Conflict(_)) => Ok(false),
            Err(error) => Err(conflict(error)),
        }
    }

    async fn scenario(&self, tenant: &Tenant, scenario_id: &str) -> Result<Scenario, Refusal> {
        let missing = || Refusal::NoScenario(scenario_id.to_owned());
        funnelweb_core::id::check(scenario_id).map_err(|rule| Refusal::invalid("scenario_id", rule.to_string()))?;
        let key = Key::new(scenario_id, scenario_id);
        let found = self.files.documents.get(tenant, Collection::Scenarios, key).await?.ok_or_else(missing)?;
        let unreadable = |error: serde_json::Error| StoreError::Unavailable(format!("the stored scenario: {error}"));
        Ok(serde_json::from_str(&found.body).map_err(unreadable)?)
    }
}

/// The version of a component that a request runs.
fn chosen<'a>(head: &'a Head, name: &str, version: Option<&'a str>, who: Who<'_>) -> Result<&'a str, Missing> {
    match (version, &head.canary, &head.active) {
        (Some(version), ..) => Ok(version),
        (None, Some(canary), _) if share::takes(canary, name, who.user_id, who.seed) => Ok(&canary.version),
        (None, _, Some(active)) => Ok(active),
        (None, _, None) => Err(Missing::NoneActive(name.to_owned())),
    }
}

fn at_work_key(name: &str, version: &str) -> String {
    format!("{name}:{version}")
}

fn document(key: Key, of: &impl Serialize) -> NewDocument {
    // Texts, numbers and maps of them always have a text.
    NewDocument { key, body: serde_json::to_string(of).unwrap_or_default() }
}

fn conflict(error: WriteError) -> Refusal {
    match error {
        WriteError::Store(error) => error.into(),
        WriteError::Conflict(_) | WriteError::Collision => contended(),
    }
}

fn contended() -> Refusal {
    Refusal::InUse("somebody else changes it at this moment; try again".to_owned())
}

fn there_already<'a>(versions: &'a [Version], new: &Version) -> Result<Option<&'a Version>, Refusal> {
    match versions.iter().find(|other| other.name == new.name && other.version == new.version) {
        Some(other) if other.sha256 != new.sha256 => {
            Err(Refusal::Exists { name: new.name.clone(), version: new.version.clone() })
        }
        found => Ok(found),
    }
}

/// Whether the tenant may have one more.
fn check_room(heads: &[Head], versions: &[Version], new: &Version) -> Result<(), Refusal> {
    match heads.iter().find(|head| head.name == new.name) {
        Some(head) if head.world != new.world => {
            let message =
                format!("the component `{}` is for {}: give this one another name", new.name, head.world.as_str());
            return Err(Refusal::invalid("manifest.world", message));
        }
        None if heads.len() >= limits::COMPONENTS => {
            let message = format!("the tenant has {} components, as many as it may have: delete one", heads.len());
            return Err(Refusal::TooMany(message));
        }
        _ => {}
    }
    let count = versions.iter().filter(|version| version.name == new.name).count();
    if count >= limits::COMPONENT_VERSIONS {
        let message = format!("`{}` has {count} versions, as many as it may have: delete one", new.name);
        return Err(Refusal::TooMany(message));
    }
    Ok(())
}

/// Compares secrets in a time that says nothing of where they differ.
fn same(given: &str, token: &str) -> bool {
    let differs = given.bytes().zip(token.bytes()).fold(0, |differs, (one, other)| differs | (one ^ other));
    given.len() == token.len() && differs == 0
}

#[cfg(test)]
mod tests;
