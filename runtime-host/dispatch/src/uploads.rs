//! Stages that are components of the tenant's own: `acme/boost`, and `acme/boost@1.2.0`.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use funnelweb_bindings::{
    dispatch::{CheckError, Role, StageStatus},
    types::{ParamError, Personal, RequestContext, Requirements},
};
use funnelweb_engine::bounded;
use funnelweb_factor_components::{FaultKind, Missing, NoAnswer, Picked, Who, World};
use funnelweb_recording::{Role as RecordedRole, Session, StageTape};

use crate::{call::Failure, runner::Runner};

/// What reports and metrics call all of them together.
pub(crate) const LABEL: &str = "uploaded";

/// A name in a config, taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Named<'a> {
    pub(crate) tenant: &'a str,
    pub(crate) name: &'a str,
    pub(crate) version: Option<&'a str>,
}

/// How long a request that is run again waits for a version to be made ready.
const READY_WITHIN: Duration = Duration::from_secs(2);
const READY_PAUSE: Duration = Duration::from_millis(50);

impl<'a> Named<'a> {
    /// Whatever the version.
    fn of(&self) -> String {
        format!("{}/{}", self.tenant, self.name)
    }

    /// The name in a config of the version that a request that is run again will run.
    pub(crate) fn ahead(&self, session: &Session, role: RecordedRole, stage: &str) -> Option<String> {
        let version = session.version_ahead(role, stage, &self.of(), self.version.unwrap_or_default())?;
        Some(format!("{}@{version}", self.of()))
    }

    /// None for the name of a stage that is built in: it has no `/`.
    pub(crate) fn parse(stage: &'a str) -> Option<Self> {
        let (tenant, name) = stage.split_once('/')?;
        let (name, version) = match name.split_once('@') {
            Some((name, version)) => (name, Some(version)),
            None => (name, None),
        };
        Some(Self { tenant, name, version })
    }
}

pub(crate) fn world(role: Role) -> World {
    match role {
        Role::Recall => World::Recall,
        Role::Rank => World::Rank,
        Role::Rerank => World::Rerank,
    }
}

impl From<NoAnswer> for Failure {
    fn from(none: NoAnswer) -> Self {
        match none {
            NoAnswer::Skipped(_, reason) => Self { status: StageStatus::Unavailable, reason },
            NoAnswer::Failed(fault) if fault.kind == FaultKind::Late => {
                Self { status: StageStatus::TimedOut, reason: fault.reason }
            }
            NoAnswer::Failed(fault) => Self::failed(fault.reason),
        }
    }
}

impl From<Missing> for Failure {
    fn from(missing: Missing) -> Self {
        let reason = bounded(missing.to_string());
        match missing {
            Missing::Store(_) => Self::failed(reason),
            _ => Self { status: StageStatus::Unavailable, reason },
        }
    }
}

impl Runner {
    /// The version that a request runs.
    pub(crate) async fn pick(
        &self,
        role: Role,
        named: Named<'_>,
        tape: &StageTape,
        context: &RequestContext,
    ) -> Result<Picked, Failure> {
        let Some(tenant) = self.tenant.as_ref().filter(|tenant| tenant.as_str() == named.tenant) else {
            return Err(Failure::unknown(&format!("{}/{}", named.tenant, named.name)));
        };
        let who = Who { user_id: &context.user.id, seed: context.seed };
        let pinned = tape.version(&named.of(), named.version.unwrap_or_default());
        let version = pinned.as_deref().or(named.version);
        let components = self.dispatcher.components();
        let pick = || components.pick(tenant, world(role), named.name, version, who);
        if !tape.is_again() {
            return Ok(pick().await?);
        }
        // Nobody waits for it, and it takes nothing from those that somebody waits for.
        let begun = Instant::now();
        loop {
            match pick().await {
                Err(Missing::NotReady { .. }) if begun.elapsed() < READY_WITHIN => {
                    tokio::time::sleep(READY_PAUSE).await
                }
                picked => return Ok(picked?.on_trial()),
            }
        }
    }

    /// What a picked version needs for these params.
    pub(crate) async fn needs(&self, role: Role, picked: &Picked, params: &str) -> Result<Requirements, Failure> {
        match self.check_picked(role, picked, params).await? {
            Ok(needs) => Ok(needs),
            Err(error) => Err(Failure::failed(crate::checks::describe(&error))),
        }
    }

    /// What all versions need that requests may run now, together.
    pub(crate) async fn check_upload(
        &self,
        role: Role,
        named: Named<'_>,
        params: &str,
    ) -> Result<Requirements, CheckError> {
        let Some(tenant) = self.tenant.as_ref().filter(|tenant| tenant.as_str() == named.tenant) else {
            return Err(CheckError::Unknown(self.dispatcher.names(role)));
        };
        let components = self.dispatcher.components();
        let invalid = |message: String| CheckError::Invalid(ParamError { path: String::new(), message });
        let versions = match components.running_versions(tenant, world(role), named.name, named.version).await {
            Ok(versions) => versions,
            Err(Missing::Store(error)) => return Err(CheckError::Unavailable(bounded(error.to_string()))),
            Err(missing @ Missing::NotReady { .. }) => {
                return Err(CheckError::Unavailable(bounded(missing.to_string())));
            }
            Err(Missing::NoComponent(_)) => return Err(CheckError::Unknown(self.names_with_own(role).await)),
            Err(missing) => return Err(invalid(bounded(missing.to_string()))),
        };
        let mut together = Requirements { columns: Vec::new(), items: Vec::new(), personal: Personal::empty() };
        for (at, picked) in versions.iter().enumerate() {
            let needs = match self.check_picked(role, picked, params).await {
                Ok(needs) => needs.map_err(CheckError::Invalid),
                Err(failure) => Err(invalid(failure.reason)),
            };
            match needs {
                Ok(needs) => add(&mut together, needs),
                // That of a canary is told where it runs: the active one has what it needs.
                Err(_) if at > 0 => {}
                Err(error) => return Err(error),
            }
        }
        Ok(together)
    }

    async fn check_picked(
        &self,
        role: Role,
        picked: &Picked,
        params: &str,
    ) -> Result<Result<Requirements, ParamError>, Failure> {
        // Whatever it is called, the same content answers the same.
        let key = (role as u8, picked.digest().to_owned(), params.to_owned());
        let checks = &self.dispatcher.checks;
        match checks.get(&key) {
            Some(Ok(needs)) => return Ok(Ok(needs)),
            Some(Err(CheckError::Invalid(error))) => return Ok(Err(error)),
            _ => {}
        }
        let answer = picked.check(params).await?;
        checks.keep(key, answer.clone().map_err(CheckError::Invalid));
        Ok(answer)
    }

    /// Every name that a scenario of the tenant may use.
    async fn names_with_own(&self, role: Role) -> Vec<String> {
        let mut names: BTreeSet<String> = self.dispatcher.names(role).into_iter().collect();
        if let Some(tenant) = &self.tenant
            && let Ok(all) = self.dispatcher.components().list(tenant).await
        {
            let own = all.into_iter().filter(|(head, _)| head.world == world(role));
            names.extend(own.map(|(head, _)| format!("{tenant}/{}", head.name)));
        }
        names.into_iter().collect()
    }
}

fn add(together: &mut Requirements, needs: Requirements) {
    for column in needs.columns {
        if !together.columns.iter().any(|known| known.name == column.name && known.kind == column.kind) {
            together.columns.push(column);
        }
    }
    together.items.extend(needs.items.into_iter().filter(|item| !together.items.contains(item)).collect::<Vec<_>>());
    together.personal |= needs.personal;
}

#[cfg(test)]
mod tests {
    use funnelweb_bindings::types::{ColumnKind, ColumnSpec};

    use super::*;

    #[test]
    fn own_components_have_their_tenant_in_their_name() {
        let named = |version| Some(Named { tenant: "acme", name: "boost", version });
        assert_eq!(Named::parse("acme/boost"), named(None));
        assert_eq!(Named::parse("acme/boost@1.2.0"), named(Some("1.2.0")));
        assert_eq!(Named::parse("boost"), None);
    }

    #[test]
    fn versions_that_run_side_by_side_need_what_each_needs() {
        let column = |name: &str| ColumnSpec { name: name.to_owned(), kind: ColumnKind::Numeric };
        let needs =
            |name: &str, item, personal| Requirements { columns: vec![column(name)], items: vec![item], personal };
        let mut together = needs("price", 1, Personal::ID);
        add(&mut together, needs("price", 1, Personal::RECENT));
        add(&mut together, needs("age", 2, Personal::RECENT));
        assert_eq!(together.columns.len(), 2);
        assert_eq!((together.items.as_slice(), together.personal), (&[1, 2][..], Personal::ID | Personal::RECENT));
    }
}
