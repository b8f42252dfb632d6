//! Which stream operators follow a tenant's log.

use std::{
    sync::Arc,
    time::{Instant, SystemTime},
};

use async_trait::async_trait;
use funnelweb_admission::World;
use funnelweb_core::limits;
use funnelweb_factor_events::store::Events;
use funnelweb_stream::{
    Grown, Windows,
    operator::{Event, Operator, event},
    own::{self, Own, OwnOperators},
    store::{ENDED, Place, StreamStore},
};
use funnelweb_tenant_store::{Error as StoreError, Tenant};

use crate::{
    Components, Fault, Missing, Refusal,
    certificate::{Certificate, Source},
    certify_operator,
    components::{STALE, certification::RECORDED},
    operator::OwnOperator,
    record::{Before, Declared, Follows, Head, Version},
    samples,
    serving::PREPARING,
};

/// Events that an operator is certified with, the newest of the scenario.
const EVENTS: usize = 500;

/// What operators follow, and where they keep what they aggregate.
#[derive(Clone)]
pub struct Logs {
    /// The tenants' logs.
    pub events: Arc<dyn Events>,
    /// Beside them.
    pub state: Arc<dyn StreamStore>,
    /// Who follows them.
    pub grown: Arc<Grown>,
}

/// What follows from a version's activation.
#[derive(Clone)]
pub(crate) struct Begins {
    pub(crate) declared: Declared,
    pub(crate) at: u64,
    pub(crate) now_ms: u64,
}

impl Begins {
    /// Has an operator go on, or begin anew when it cannot go on with what it kept: behind
    /// what it took before.
    pub(crate) fn follow(self, head: &mut Head) {
        let before = head.follows.take_if(|follows| follows.declared != self.declared);
        let after = before.map(|before| Before { since_ms: before.since_ms, begins: before.begins });
        let new = Follows { begins: self.at, since_ms: self.now_ms, after, declared: self.declared };
        head.follows.get_or_insert(new);
    }
}

impl Components {
    fn followed(&self) -> Result<&Logs, Refusal> {
        let none = "another program keeps the logs here: there are none that an operator could follow";
        self.logs.as_ref().ok_or_else(|| Refusal::NotCertified(none.to_owned()))
    }

    /// Where an operator begins that is activated now; nothing for any other component.
    pub(crate) async fn begins(&self, tenant: &Tenant, version: &Version) -> Result<Option<Begins>, Refusal> {
        if version.world != World::Aggregate {
            return Ok(None);
        }
        let logs = self.followed()?;
        let declared = self.declared(tenant, version).await?;
        let at = logs.events.last_offset(tenant).await?.saturating_add(1);
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let now_ms = u64::try_from(now.as_millis()).unwrap_or_default();
        Ok(Some(Begins { declared, at, now_ms }))
    }

    /// Has an operator take nothing any more.
    pub(crate) async fn end_operator(&self, tenant: &Tenant, head: &Head) -> Result<(), StoreError> {
        if let (Some(follows), Some(logs)) = (&head.follows, &self.logs) {
            logs.state.end_operator(tenant, &own::name(&head.name, follows.since_ms)).await?;
        }
        Ok(())
    }

    /// Where an operator begins: if it comes after another, where that one ended, which it
    /// does now if it has not. So nothing is taken twice or by none of them.
    async fn begin(&self, tenant: &Tenant, head: &Head, follows: &Follows) -> Result<u64, StoreError> {
        let (Some(before), Some(logs)) = (&follows.after, &self.logs) else { return Ok(follows.begins) };
        let name = own::name(&head.name, before.since_ms);
        let progress = logs.state.progress(&Place::main(tenant, &name)).await?;
        let ended =
            if progress.next == ENDED { progress.newest_ms } else { logs.state.end_operator(tenant, &name).await? };
        Ok(ended.max(before.begins))
    }

    /// Has an operator's turn come: what runs of a tenant's is another than before. Once more
    /// when whoever asked just before has forgotten it.
    pub(crate) fn wake(&self, tenant: &Tenant, head: &Head) {
        let Some(logs) = self.logs.as_ref().filter(|_| head.world == World::Aggregate) else { return };
        logs.grown.add(tenant);
        let (grown, tenant) = (Arc::clone(&logs.grown), tenant.clone());
        tokio::spawn(async move {
            tokio::time::sleep(STALE * 2).await;
            grown.add(&tenant);
        });
    }

    /// A version to be tried, unless it does not say what it declares.
    async fn tried(&self, tenant: &Tenant, version: &Version) -> Result<Result<OwnOperator, Fault>, Refusal> {
        let ready = self.ready_now(tenant, version).await?;
        let payer = self.payer(tenant);
        Ok(OwnOperator::tried(Arc::clone(&self.serving.sandbox), Arc::clone(&ready.stage), Some(payer)).await)
    }

    /// What a version declares, if that can be.
    async fn declared(&self, tenant: &Tenant, version: &Version) -> Result<Declared, Refusal> {
        let operator = self.tried(tenant, version).await?;
        let operator = operator.map_err(|fault| Refusal::NotCertified(format!("declare: {}", fault.reason)))?;
        Windows::new(operator.declaration()).map_err(|rule| Refusal::NotCertified(format!("declare: {rule}")))?;
        Ok(operator.declaration().clone().into())
    }

    /// Tries an operator out with events of a scenario.
    pub(crate) async fn try_operator(
        &self,
        tenant: &Tenant,
        version: &Version,
        scenario_id: &str,
    ) -> Result<Certificate, Refusal> {
        let logs = self.followed()?;
        let operator = match self.tried(tenant, version).await? {
            Ok(operator) => operator,
            Err(fault) => return Ok(certify_operator::undeclared(scenario_id, &fault)),
        };
        let last = logs.events.last_offset(tenant).await?;
        let from = last.saturating_sub(u64::from(limits::STREAM_EVENTS) - 1);
        let stored = logs.events.read(tenant, from, limits::STREAM_EVENTS).await?;
        let of_scenario: Vec<Event> =
            stored.iter().filter(|stored| stored.event.scenario_id == scenario_id).map(event).collect();
        let newest = of_scenario.get(of_scenario.len().saturating_sub(EVENTS)..).unwrap_or_default();
        Ok(if newest.len() < RECORDED {
            certify_operator::certify(&operator, scenario_id, Source::Samples, &samples::events()).await
        } else {
            certify_operator::certify(&operator, scenario_id, Source::Recorded, newest).await
        })
    }

    /// The components whose operators follow the tenant's log.
    async fn following(&self, tenant: &Tenant) -> Result<Arc<Vec<Head>>, StoreError> {
        if let Some((heads, _)) = self.following.get(tenant).filter(|(_, since)| since.elapsed() < STALE) {
            return Ok(heads);
        }
        let since = Instant::now();
        let (mut heads, _) = self.files.records(tenant).await?;
        heads.retain(|head| head.world == World::Aggregate && !head.disabled && head.active.is_some());
        let heads = Arc::new(heads);
        self.following.insert(tenant.clone(), (Arc::clone(&heads), since));
        Ok(heads)
    }
}

#[async_trait]
impl OwnOperators for Components {
    async fn of(&self, tenant: &Tenant) -> Result<Own, StoreError> {
        let mut own = Own::default();
        for head in self.following(tenant).await?.iter() {
            let Some((version, follows)) = head.active.as_deref().zip(head.follows.as_ref()) else { continue };
            match self.picked(tenant, &head.name, version).await {
                Ok(picked) => {
                    let begins = self.begin(tenant, head, follows).await?;
                    own.operators.push(Arc::new(OwnOperator::following(picked, follows, begins)));
                }
                Err(Missing::Store(error)) => return Err(error),
                Err(Missing::NotReady { reason, .. }) if reason == PREPARING => own.waits = true,
                Err(missing) => tracing::debug!(%tenant, %missing, "an operator does not follow the log"),
            }
        }
        Ok(own)
    }
}
