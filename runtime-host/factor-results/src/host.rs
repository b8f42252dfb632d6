//! The WIT interface `results` over [`Results`]: conversions, claims, and the tenant, which no
//! call names.

use funnelweb_bindings::{
    ResultClaim,
    capabilities::{
        errors,
        results::{self as wit, Host, HostClaim},
    },
};
use funnelweb_recording::Tape;
use funnelweb_tenant_store::{Tenant, host::bound};
use wasmtime::component::{HasData, Linker, Resource, ResourceTable};

use crate::{Claim, Found, Kept, Results, store::Key};

/// Claims that one instance may have: it serves one request at a time.
const CLAIMS: usize = 16;

/// What one instance may do: the results of one tenant, or of none.
pub struct ResultsCtx {
    results: Results,
    tenant: Option<Tenant>,
    tape: Tape,
    /// They end with the instance, whatever becomes of it. None when it was given away.
    claims: ResourceTable,
}

impl ResultsCtx {
    /// Without a tenant every call is denied.
    #[must_use]
    pub fn new(results: Results, tenant: Option<Tenant>) -> Self {
        let mut claims = ResourceTable::new();
        claims.set_max_capacity(CLAIMS);
        Self { results, tenant, tape: Tape::default(), claims }
    }

    /// Has its answers pass through `tape`.
    #[must_use]
    pub fn taped(self, tape: Tape) -> Self {
        Self { tape, ..self }
    }

    /// The results, and whose.
    fn own(&self) -> Result<(&Results, &Tenant), errors::Error> {
        Ok((&self.results, bound(self.tenant.as_ref())?))
    }

    fn push(&mut self, claim: Option<Claim>) -> wasmtime::Result<Resource<ResultClaim>> {
        let held = self.claims.push(claim)?;
        Ok(Resource::new_own(held.rep()))
    }

    /// What a look came to, where the request was answered before; with a change there is
    /// nothing that was kept.
    async fn look_again(&mut self, key: &wit::Key) -> wasmtime::Result<Result<Looked, errors::Error>> {
        let none: Result<(wit::Found, bool), errors::Error> = Ok((wit::Found::Unavailable, false));
        let found = match self.tape.is_changed() {
            true => none,
            false => self.tape.cue(LOOK, key).act(none.clone(), async { none }).await,
        };
        Ok(match found {
            // What was claimed was kept then.
            Ok((found, is_claimed)) => Ok((found, is_claimed.then(|| self.push(None)).transpose()?)),
            Err(error) => Err(error),
        })
    }
}

const LOOK: &str = "results.look";

/// What a look comes to, and the claim to it.
type Looked = (wit::Found, Option<Resource<ResultClaim>>);

struct HasResults;

impl HasData for HasResults {
    type Data<'a> = &'a mut ResultsCtx;
}

/// Offers `funnelweb:capabilities/results` to components.
///
/// # Errors
/// When the interface is in the linker already.
pub fn add_to_linker<T: Send + 'static>(
    linker: &mut Linker<T>,
    ctx: fn(&mut T) -> &mut ResultsCtx,
) -> wasmtime::Result<()> {
    wit::add_to_linker::<T, HasResults>(linker, ctx)
}

impl From<wit::Key> for Key {
    fn from(key: wit::Key) -> Self {
        Self { scenario_id: key.scenario_id, user_id: key.user_id, hash: key.hash }
    }
}

impl From<Kept> for wit::Kept {
    fn from(kept: Kept) -> Self {
        Self { value: (*kept.value).to_owned(), fresh_s: kept.fresh_s, collapsed: kept.collapsed }
    }
}

impl Host for ResultsCtx {
    async fn look(&mut self, key: wit::Key) -> wasmtime::Result<Result<Looked, errors::Error>> {
        if self.tape.is_again() {
            return self.look_again(&key).await;
        }
        let cue = self.tape.cue(LOOK, &key);
        let found = match self.own() {
            Ok((results, tenant)) => results.look(tenant, &key.into()).await.map_err(Into::into),
            Err(error) => Err(error),
        };
        let found = match found {
            Ok(found) => found,
            Err(error) => {
                let failed: Result<(wit::Found, bool), errors::Error> = Err(error);
                return Ok(cue.play(async { failed }).await.map(|(found, _)| (found, None)));
            }
        };
        let (found, claim) = match found {
            Found::Fresh(kept) => (wit::Found::Fresh(kept.into()), None),
            Found::Stale(kept, claim) => (wit::Found::Stale(kept.into()), claim),
            Found::Absent(claim) => (wit::Found::Absent, Some(claim)),
            Found::Taken => (wit::Found::Taken, None),
            Found::Unavailable => (wit::Found::Unavailable, None),
        };
        let claim = claim.map(|claim| self.push(Some(claim))).transpose()?;
        let looked: Result<(wit::Found, bool), errors::Error> = Ok((found, claim.is_some()));
        Ok(cue.play(async { looked }).await.map(|(found, _)| (found, claim)))
    }

    async fn keep(
        &mut self,
        key: wit::Key,
        value: String,
        fresh_s: u32,
        stale_s: u32,
    ) -> wasmtime::Result<Result<bool, errors::Error>> {
        let cue = self.tape.cue("results.keep", &(&key, &value, fresh_s, stale_s));
        let own = self.own();
        let keep = async {
            let (results, tenant) = own?;
            results.keep(tenant, &key.into(), value, fresh_s, stale_s).await.map_err(Into::into)
        };
        Ok(cue.act(Ok(false), keep).await)
    }

    async fn forget(&mut self, key: wit::Key) -> wasmtime::Result<Result<(), errors::Error>> {
        let cue = self.tape.cue("results.forget", &key);
        let own = self.own();
        let forget = async {
            let (results, tenant) = own?;
            results.forget(tenant, &key.into()).await.map_err(Into::into)
        };
        Ok(cue.act(Ok(()), forget).await)
    }
}

impl HostClaim for ResultsCtx {
    async fn revalidate(&mut self, claim: Resource<ResultClaim>, request: String) -> wasmtime::Result<()> {
        let held = self.claims.get_mut(&Resource::<Option<Claim>>::new_borrow(claim.rep()))?;
        if let Some(claim) = held.take() {
            self.results.revalidate(claim, request);
        }
        Ok(())
    }

    async fn drop(&mut self, claim: Resource<ResultClaim>) -> wasmtime::Result<()> {
        self.claims.delete(Resource::<Option<Claim>>::new_own(claim.rep()))?;
        Ok(())
    }
}
