//! A store of steps as a server is one: what it was asked, it does.

use std::{collections::BTreeMap, ops::Range, sync::Arc};

use async_trait::async_trait;
use funnelweb_factor_events::store::{Error, Position, Tenant};
use funnelweb_stream::store::{
    Counters, DeadLetter, Due, Pane, Panes, Place, Progress, Published, Seen, Step, StreamStore, Subject,
};

/// State whose calls go on when nobody waits for them any more, as a server goes on with
/// what it was asked: this server needs those of one process to be one after the other.
pub struct Finishing(pub Arc<dyn StreamStore>);

impl Finishing {
    async fn finish<T: Send + 'static, F: Future<Output = T> + Send + 'static>(
        &self,
        call: impl FnOnce(Arc<dyn StreamStore>) -> F,
    ) -> T {
        tokio::spawn(call(Arc::clone(&self.0))).await.unwrap()
    }
}

#[async_trait]
impl StreamStore for Finishing {
    async fn progress(&self, place: &Place) -> Result<Progress, Error> {
        let place = place.clone();
        self.finish(|store| async move { store.progress(&place).await }).await
    }
    async fn accumulators(&self, place: &Place, panes: Vec<Pane>) -> Result<Vec<Option<Vec<u8>>>, Error> {
        self.0.accumulators(place, panes).await
    }
    async fn first_pane(&self, main: &Place, from_ms: u64) -> Result<Option<u64>, Error> {
        self.0.first_pane(main, from_ms).await
    }
    async fn panes(
        &self,
        main: &Place,
        range: Range<u64>,
        after: Option<Vec<String>>,
    ) -> Result<(Vec<Panes>, bool), Error> {
        self.0.panes(main, range, after).await
    }
    async fn due(&self, main: &Place, size_ms: u64, fired_ms: u64) -> Result<Vec<(Due, Panes)>, Error> {
        self.0.due(main, size_ms, fired_ms).await
    }
    async fn commit(&self, place: &Place, before: Progress, step: Step) -> Result<bool, Error> {
        let place = place.clone();
        self.finish(|store| async move { store.commit(&place, before, step).await }).await
    }
    async fn positions(&self, tenant: &Tenant) -> Result<Vec<Position>, Error> {
        self.0.positions(tenant).await
    }
    async fn set_positions(&self, tenant: &Tenant, to: Result<Vec<Position>, u64>) -> Result<(), Error> {
        self.0.set_positions(tenant, to).await
    }
    async fn end_operator(&self, tenant: &Tenant, operator: &str) -> Result<u64, Error> {
        self.0.end_operator(tenant, operator).await
    }
    async fn published(&self, tenant: &Tenant, topic: &str, offset: u64, limit: u32) -> Result<Vec<Published>, Error> {
        self.0.published(tenant, topic, offset, limit).await
    }
    async fn dead_letters(&self, tenant: &Tenant, limit: u32) -> Result<Vec<(String, DeadLetter)>, Error> {
        self.0.dead_letters(tenant, limit).await
    }
    async fn counters(&self) -> Result<Vec<(Tenant, Arc<Counters>)>, Error> {
        self.0.counters().await
    }
    async fn tenants(&self) -> Result<Vec<Tenant>, Error> {
        self.0.tenants().await
    }
    fn is_shared(&self) -> bool {
        self.0.is_shared()
    }
    async fn lead(&self, tenant: &Tenant) -> Result<bool, Error> {
        let tenant = tenant.clone();
        self.finish(|store| async move { store.lead(&tenant).await }).await
    }
    async fn leave(&self, tenant: &Tenant, wake_ms: Option<u64>) -> Result<(), Error> {
        let tenant = tenant.clone();
        self.finish(|store| async move { store.leave(&tenant, wake_ms).await }).await
    }
    async fn abandoned(&self) -> Result<Vec<Tenant>, Error> {
        self.0.abandoned().await
    }
    async fn log_until(&self, tenant: &Tenant) -> Result<u64, Error> {
        self.0.log_until(tenant).await
    }
    async fn shards(&self, main: &Place) -> Result<BTreeMap<u32, Progress>, Error> {
        self.0.shards(main).await
    }
    async fn seen(&self, place: &Place) -> Result<Vec<Seen>, Error> {
        self.0.seen(place).await
    }
    async fn marks(&self, main: &Place, end_ms: u64, after: Option<Vec<String>>) -> Result<Vec<Due>, Error> {
        self.0.marks(main, end_ms, after).await
    }
    async fn fired(&self, main: &Place) -> Result<Progress, Error> {
        self.0.fired(main).await
    }
    async fn deleted(&self, tenant: &Tenant, of: Vec<Subject>) -> Result<BTreeMap<Subject, u64>, Error> {
        self.0.deleted(tenant, of).await
    }
}
