//! One request at work: what is noted of it, or told to it again.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
    time::Instant,
};

use funnelweb_core::limits;
use funnelweb_tenant_store::lock;
use serde::de::DeserializeOwned;

use crate::{Answer, Asked, Call, Outcome, Reason, Recording, Role, Stage, Status, codec};

/// The request that an endpoint instance works on: requests come one after the other.
#[derive(Clone, Default)]
pub struct Journal(Arc<Mutex<Option<Arc<Session>>>>);

impl Journal {
    /// From now on it works on this one.
    pub fn turn_to(&self, session: Option<Arc<Session>>) {
        *lock(&self.0) = session;
    }

    /// The one that it works on.
    #[must_use]
    pub fn session(&self) -> Option<Arc<Session>> {
        lock(&self.0).clone()
    }
}

/// A request that is recorded, or run again.
pub struct Session {
    mode: Mode,
    /// The request's clock.
    now_ms: u64,
    begun: Instant,
    noted: Mutex<Noted>,
}

enum Mode {
    Record,
    Again(Arc<Recording>, Changes),
}

/// What is changed where a request is run again. Without any it is to be the same.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes {
    /// By the name of a component (`acme/boost`) or model (`deepfm`), which version runs.
    pub versions: BTreeMap<String, String>,
    /// Whether the recorded scenario was changed.
    pub is_changed: bool,
}

/// Whether a request is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// It is not.
    Never,
    /// It is when a stage of it fails, or it does.
    IfDegraded,
    /// It is.
    Always,
}

#[derive(Default)]
struct Noted {
    /// The endpoint's, and one of each stage call.
    scopes: Vec<Scope>,
    scenario_id: String,
    /// What was said of keeping it, and for how many seconds; nothing yet.
    keep: Option<(Keep, u32)>,
    /// A config to try on it, off its path.
    shadow: Option<String>,
    /// What was other than it was, where it is run again.
    differences: Vec<String>,
    /// Of the versions that are changed those of which one ran.
    used: BTreeSet<String>,
    /// Whether a stage could not run as it did for what is so at the moment.
    is_hindered: bool,
    /// Whether more was asked than is noted: then it cannot be run again.
    is_cut: bool,
}

/// What one component asked.
#[derive(Default)]
struct Scope {
    /// None for the endpoint.
    stage: Option<(Role, String, u16)>,
    calls: Vec<Call>,
    /// Of the recorded calls those that were told again.
    told: Vec<bool>,
    outcome: Outcome,
    /// XXH3 of what a stage answered; none before it ended.
    output: Option<u64>,
}

/// A request that is to be kept, before it is bytes.
pub struct Draft {
    noted: Noted,
    at_ms: u64,
    ttl_s: u32,
    reason: Reason,
    component: String,
    digest: String,
    asked: Asked,
    answer: Answer,
}

impl Session {
    /// The scope of the endpoint itself.
    pub(crate) const ENDPOINT: usize = 0;

    /// One that is noted; `now_ms` is the request's clock.
    #[must_use]
    pub fn record(now_ms: u64) -> Arc<Self> {
        Arc::new(Self::new(Mode::Record, now_ms))
    }

    /// One that is told what was recorded.
    #[must_use]
    pub fn again(recording: Arc<Recording>, changes: Changes) -> Arc<Self> {
        let now_ms = recording.at_ms;
        let session = Self::new(Mode::Again(recording, changes), now_ms);
        if let Mode::Again(recording, _) = &session.mode
            && let Some(endpoint) = lock(&session.noted).scopes.first_mut()
        {
            endpoint.told = vec![false; recording.calls.len()];
        }
        Arc::new(session)
    }

    fn new(mode: Mode, now_ms: u64) -> Self {
        let noted = Noted { scopes: vec![Scope::default()], ..Noted::default() };
        Self { mode, now_ms, begun: Instant::now(), noted: Mutex::new(noted) }
    }

    /// The request's clock, in milliseconds since 1970.
    #[must_use]
    pub fn now_ms(&self) -> u64 {
        self.now_ms
    }

    /// Whether it is a request that was answered before.
    #[must_use]
    pub fn is_again(&self) -> bool {
        matches!(self.mode, Mode::Again(..))
    }

    /// Whether it is to come to the same as before.
    pub(crate) fn is_exact(&self) -> bool {
        matches!(&self.mode, Mode::Again(_, changes) if !changes.is_changed && changes.versions.is_empty())
    }

    /// The version that a change has run of this component or model.
    pub(crate) fn changed_version(&self, name: &str) -> Option<String> {
        let Mode::Again(_, changes) = &self.mode else { return None };
        let version = changes.versions.get(name)?;
        lock(&self.noted).used.insert(name.to_owned());
        Some(version.clone())
    }

    /// The version that has to run of a stage: where the same is to come of it, that of the
    /// `recorded` one, whatever the config asks for.
    pub(crate) fn version_of(&self, name: &str, asked: &str, recorded: Option<Stage>) -> Option<String> {
        let ran = || recorded.map(|stage| stage.outcome.version).filter(|version| !version.is_empty());
        let is_asked = !self.is_exact() && !asked.is_empty();
        self.changed_version(name).or_else(|| ran().filter(|_| !is_asked))
    }

    /// The version that a stage of this role and name will run of the component `name` the
    /// first time, where that is known.
    #[must_use]
    pub fn version_ahead(&self, role: Role, stage: &str, name: &str, asked: &str) -> Option<String> {
        let Mode::Again(recording, _) = &self.mode else { return None };
        let is_it = |of: &&Stage| of.role == role && of.name == stage && of.nth == 0;
        self.version_of(name, asked, recording.stages.iter().find(is_it).cloned())
    }

    /// The names of changed versions of which none ran.
    #[must_use]
    pub fn unused(&self) -> Vec<String> {
        let Mode::Again(_, changes) = &self.mode else { return Vec::new() };
        let noted = lock(&self.noted);
        changes.versions.keys().filter(|name| !noted.used.contains(*name)).cloned().collect()
    }

    /// Whether a stage that answered then was late or not there now: tried again, it may be as
    /// it was.
    #[must_use]
    pub fn is_hindered(&self) -> bool {
        lock(&self.noted).is_hindered
    }

    pub(crate) fn hinder(&self) {
        lock(&self.noted).is_hindered = true;
    }

    /// Says which scenario it is for, whether it is kept and for how many seconds, and what
    /// config is to be tried on it afterwards. What is known not to be kept is forgotten.
    pub fn keep(&self, scenario_id: &str, keep: Keep, ttl_s: u32, shadow: Option<String>) {
        let mut noted = lock(&self.noted);
        scenario_id.clone_into(&mut noted.scenario_id);
        noted.keep = Some((keep, ttl_s));
        noted.shadow = shadow;
        if !self.is_again() && noted.is_dropped() {
            noted.scopes.iter_mut().for_each(|scope| scope.calls.clear());
        }
    }

    /// Whether what is asked and answered is of use to anybody.
    pub(crate) fn is_wanted(&self) -> bool {
        self.is_again() || !lock(&self.noted).is_dropped()
    }

    pub(crate) fn note(&self, scope: usize, name: &'static str, asked: u64, answer: Option<Vec<u8>>) {
        let mut noted = lock(&self.noted);
        let Some(scope) = noted.scopes.get_mut(scope) else { return };
        match answer {
            Some(answer) if scope.calls.len() < limits::RECORDED_CALLS => {
                scope.calls.push(Call { name: name.to_owned(), asked, answer });
            }
            _ => noted.is_cut = true,
        }
    }

    /// What was answered to the same question before, the first time that was not told yet.
    pub(crate) fn recall<R: DeserializeOwned>(&self, scope: usize, name: &str, asked: u64) -> Option<R> {
        let Mode::Again(recording, _) = &self.mode else { return None };
        let mut noted = lock(&self.noted);
        let of = noted.scopes.get_mut(scope)?;
        let calls = of.recorded(recording);
        let is_same = |call: &Call| call.asked == asked && call.name == name;
        let fresh = calls.iter().zip(&of.told).position(|(call, told)| !told && is_same(call));
        // Asked more often than it was: as it was last.
        let known = fresh.or_else(|| calls.iter().rposition(is_same));
        let answer = known.and_then(|at| {
            let answer = calls.get(at).and_then(|call| codec::value(&call.answer));
            if let Some(told) = of.told.get_mut(at) {
                *told = true;
            }
            answer
        });
        if answer.is_none() && self.is_exact() {
            let difference = format!("{} asked `{name}` for what it had not asked then", of.title());
            noted.differs(difference);
        }
        answer
    }

    /// Begins a stage call; its scope.
    pub(crate) fn begin(&self, role: Role, name: &str) -> usize {
        let mut noted = lock(&self.noted);
        let is_same = |scope: &&Scope| scope.stage.as_ref().is_some_and(|(of, known, _)| *of == role && known == name);
        let nth = u16::try_from(noted.scopes.iter().filter(is_same).count()).unwrap_or(u16::MAX);
        let mut scope = Scope { stage: Some((role, name.to_owned(), nth)), ..Scope::default() };
        if let Mode::Again(recording, _) = &self.mode {
            scope.told = vec![false; scope.recorded(recording).len()];
        }
        noted.scopes.push(scope);
        noted.scopes.len() - 1
    }

    /// How the same stage call ended that was recorded.
    pub(crate) fn recorded_stage(&self, scope: usize) -> Option<Stage> {
        let Mode::Again(recording, _) = &self.mode else { return None };
        let noted = lock(&self.noted);
        noted.scopes.get(scope)?.recorded_stage(recording).cloned()
    }

    /// Notes how a stage call ended.
    pub(crate) fn end(&self, scope: usize, outcome: Outcome, output: u64) {
        let mut noted = lock(&self.noted);
        if let Some(scope) = noted.scopes.get_mut(scope) {
            (scope.outcome, scope.output) = (outcome, Some(output));
        }
    }

    pub(crate) fn differs(&self, scope: usize, what: &str) {
        let mut noted = lock(&self.noted);
        let title = noted.scopes.get(scope).map(Scope::title).unwrap_or_default();
        noted.differs(format!("{title} {what}"));
    }

    /// What was other than it was recorded, in the order in which it was found: which stage,
    /// and in what. Nothing where something was changed on purpose.
    #[must_use]
    pub fn differences(&self) -> Vec<String> {
        lock(&self.noted).differences.clone()
    }

    /// Ends it with its answer: what is to be kept of it, if it is, and the config to try on it.
    pub fn finish(&self, component: &str, digest: &str, asked: Asked, status: u16, body: Vec<u8>) -> Option<Draft> {
        if self.is_again() {
            return None;
        }
        let elapsed_us = u32::try_from(self.begun.elapsed().as_micros()).unwrap_or(u32::MAX);
        let noted = std::mem::take(&mut *lock(&self.noted));
        // One that failed before it could say is kept as one that did.
        let (keep, ttl_s) = noted.keep.unwrap_or((Keep::IfDegraded, limits::RECORDING_TTL_S));
        if noted.is_cut {
            return None;
        }
        let is_degraded = noted.scopes.iter().any(|scope| scope.outcome.status.is_failure());
        let reason = match keep {
            Keep::Always | Keep::IfDegraded if status >= 500 => Reason::Failed,
            Keep::Always | Keep::IfDegraded if is_degraded => Reason::Degraded,
            Keep::Always => Reason::Sample,
            _ if noted.shadow.is_some() => Reason::Sample,
            Keep::Never | Keep::IfDegraded => return None,
        };
        let answer = Answer { status, body, elapsed_us };
        let (component, digest) = (component.to_owned(), digest.to_owned());
        Some(Draft { noted, at_ms: self.now_ms, ttl_s, reason, component, digest, asked, answer })
    }
}

impl Status {
    /// Whether a request with such a stage is degraded: what is not there yet is no news.
    fn is_failure(self) -> bool {
        matches!(self, Self::Failed | Self::TimedOut)
    }

    /// Whether it may be otherwise the next time.
    pub(crate) fn is_of_the_moment(self) -> bool {
        matches!(self, Self::Unavailable | Self::TimedOut)
    }
}

impl Noted {
    /// Whether nothing more needs to be noted.
    fn is_dropped(&self) -> bool {
        matches!(self.keep, Some((Keep::Never, _))) && self.shadow.is_none()
    }

    fn differs(&mut self, what: String) {
        if self.differences.len() < limits::REPLAY_DIFFERENCES {
            self.differences.push(what);
        }
    }
}

impl Scope {
    fn title(&self) -> String {
        match &self.stage {
            None => "the endpoint".to_owned(),
            Some((role, name, 0)) => format!("{} `{name}`", role.as_str()),
            Some((role, name, nth)) => format!("{} `{name}` (call {})", role.as_str(), u32::from(*nth) + 1),
        }
    }

    fn recorded_stage<'a>(&self, recording: &'a Recording) -> Option<&'a Stage> {
        let (role, name, nth) = self.stage.as_ref()?;
        recording.stages.iter().find(|stage| stage.role == *role && stage.nth == *nth && stage.name == *name)
    }

    /// What the same component asked then.
    fn recorded<'a>(&self, recording: &'a Recording) -> &'a [Call] {
        match &self.stage {
            None => &recording.calls,
            Some(_) => self.recorded_stage(recording).map_or(&[], |stage| &stage.calls),
        }
    }
}

impl Draft {
    /// Whether it is kept for itself, and not only to try a config on.
    #[must_use]
    pub fn is_kept(&self) -> bool {
        match self.noted.keep {
            Some((Keep::Always, _)) => true,
            Some((Keep::Never, _)) => false,
            Some((Keep::IfDegraded, _)) | None => self.reason != Reason::Sample,
        }
    }

    /// Why it is kept.
    #[must_use]
    pub fn reason(&self) -> Reason {
        self.reason
    }

    /// About how many bytes it holds.
    pub(crate) fn bytes(&self) -> usize {
        let calls = self.noted.scopes.iter().flat_map(|scope| &scope.calls);
        let of_call = |call: &Call| size_of::<Call>() + call.name.len() + call.answer.len();
        self.asked.body.len() + self.answer.body.len() + calls.map(of_call).sum::<usize>()
    }

    /// The config to try on it.
    #[must_use]
    pub fn shadow(&self) -> Option<&str> {
        self.noted.shadow.as_deref()
    }

    /// The recording.
    #[must_use]
    pub fn recording(self) -> Recording {
        let Self { noted, at_ms, ttl_s, reason, component, digest, asked, answer } = self;
        let mut scopes = noted.scopes.into_iter();
        let endpoint = scopes.next().map(|scope| scope.calls).unwrap_or_default();
        let stage = |scope: Scope| {
            let (role, name, nth) = scope.stage?;
            // The request was over before it was.
            let endless =
                || Outcome { status: Status::TimedOut, reason: "it did not end".to_owned(), ..Outcome::default() };
            let outcome = if scope.output.is_some() { scope.outcome } else { endless() };
            Some(Stage { role, name, nth, outcome, calls: scope.calls, output: scope.output.unwrap_or_default() })
        };
        Recording {
            scenario_id: noted.scenario_id,
            at_ms,
            expires_ms: at_ms + u64::from(ttl_s) * 1000,
            reason,
            asked,
            answer,
            component,
            digest,
            calls: endpoint,
            stages: scopes.filter_map(stage).collect(),
        }
    }
}

#[cfg(test)]
mod tests;
