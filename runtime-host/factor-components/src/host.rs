//! The WIT interface `components` over [`Components`]: conversions, limits, and the tenant,
//! which no call names.

use funnelweb_admission::check_size;
use funnelweb_bindings::{
    ComponentUpload,
    capabilities::{
        components::{self as wit, Host, HostUpload},
        errors,
    },
};
use funnelweb_tenant_store::{Tenant, host::bound};
use serde::Serialize;
use serde_json::{Map, Value, json};
use wasmtime::component::{HasData, Linker, Resource, ResourceTable};

use crate::{
    Components, Refusal,
    components::Place,
    record::{Canary, Head, ShareOf, Version},
};

/// Uploads that one instance has under way: it serves one request at a time.
const UPLOADS: usize = 1;

/// What one instance may do: have components of one tenant, or of none.
pub struct ComponentsCtx {
    own: Own,
    uploads: ResourceTable,
    /// Held while there is an upload.
    place: Option<Place>,
}

impl ComponentsCtx {
    /// Without a tenant every call is denied.
    #[must_use]
    pub fn new(components: Components, tenant: Option<Tenant>) -> Self {
        let mut uploads = ResourceTable::new();
        uploads.set_max_capacity(UPLOADS);
        Self { own: Own { components, tenant }, uploads, place: None }
    }

    /// The tenant, when there is room for the upload.
    fn has_place(&self) -> Result<&Tenant, wit::Refusal> {
        let tenant = self.own.tenant()?;
        if self.place.is_some() { Ok(tenant) } else { Err(busy()) }
    }

    fn take(&mut self, upload: &Resource<ComponentUpload>, bytes: &[u8]) -> wasmtime::Result<Result<(), wit::Refusal>> {
        if let Err(refusal) = self.has_place() {
            return Ok(Err(refusal));
        }
        let most = self.own.components.upload_bytes();
        let ComponentUpload(taken) = self.uploads.get_mut(upload)?;
        let bytes_then = taken.len() + bytes.len();
        // What is too large is known before it is there.
        if bytes_then > most
            && let Err(refused) = check_size(bytes_then, most)
        {
            return Ok(Err(refusal(refused.into())));
        }
        taken.extend_from_slice(bytes);
        Ok(Ok(()))
    }
}

/// The components of the tenant that an instance is bound to.
#[derive(Clone)]
struct Own {
    components: Components,
    tenant: Option<Tenant>,
}

impl Own {
    fn tenant(&self) -> Result<&Tenant, wit::Refusal> {
        bound(self.tenant.as_ref()).map_err(wit::Refusal::Store)
    }

    async fn certify(
        &self,
        name: &str,
        version: &str,
        scenario_id: &str,
        params: Option<String>,
    ) -> Result<String, wit::Refusal> {
        let tenant = self.tenant()?;
        let params = params.map(|params| read_params(&params)).transpose().map_err(refusal)?;
        let Some(_place) = self.components.place(tenant).await else { return Err(busy()) };
        let certified = self.components.certify(tenant, name, version, scenario_id, params).await;
        let (head, _) = self.components.get(tenant, name).await.map_err(refusal)?;
        certified.map(|version| self.version(tenant, Some(&head), version).to_string()).map_err(refusal)
    }

    async fn head(&self, tenant: &Tenant, name: &str) -> Result<String, wit::Refusal> {
        let (head, versions) = self.components.get(tenant, name).await.map_err(refusal)?;
        Ok(self.component(tenant, head, versions, true).to_string())
    }

    /// A component as a client sees it.
    fn component(&self, tenant: &Tenant, head: Head, versions: Vec<Version>, with_reports: bool) -> Value {
        let versions: Vec<Value> = versions
            .into_iter()
            .map(|version| {
                let mut version = self.version(tenant, Some(&head), version);
                if !with_reports && let Some(certificate) = version.get_mut("certificate").filter(|of| !of.is_null()) {
                    *certificate = json!({"passed": certificate["passed"], "at": certificate["at"]});
                }
                version
            })
            .collect();
        let Head { name, world, active, previous, canary, disabled, follows, created_at, updated_at, .. } = head;
        json!({
            "stage": format!("{tenant}/{name}"), "name": name, "world": world, "active": active,
            "previous": previous.last(), "canary": canary, "disabled": disabled, "follows": follows,
            "created_at": created_at, "updated_at": updated_at, "versions": versions,
        })
    }

    /// A version as a client sees it.
    fn version(&self, tenant: &Tenant, head: Option<&Head>, version: Version) -> Value {
        let (state, last_failure) = self.components.state(tenant, &version);
        let is_active = head.is_some_and(|head| head.active.as_ref() == Some(&version.version));
        let status = match head {
            Some(_) if is_active => "active",
            Some(head) if head.runs(&version.version) => "canary",
            _ => "ready",
        };
        // Texts, numbers and maps of them always are a value.
        let mut value = serde_json::to_value(version).unwrap_or_default();
        if let Some(members) = value.as_object_mut() {
            members.insert("status".to_owned(), status.into());
            members.insert("state".to_owned(), json!({"calls": state, "reason": last_failure}));
        }
        value
    }
}

struct HasComponents;

impl HasData for HasComponents {
    type Data<'a> = &'a mut ComponentsCtx;
}

/// Offers `funnelweb:capabilities/components` to components.
///
/// # Errors
/// When the interface is in the linker already.
pub fn add_to_linker<T: Send + 'static>(
    linker: &mut Linker<T>,
    ctx: fn(&mut T) -> &mut ComponentsCtx,
) -> wasmtime::Result<()> {
    wit::add_to_linker::<T, HasComponents>(linker, ctx)
}

impl HostUpload for ComponentsCtx {
    async fn new(&mut self) -> wasmtime::Result<Resource<ComponentUpload>> {
        // Before a byte of it is taken. Without a tenant, `finish` says so.
        if let Some(tenant) = &self.own.tenant {
            self.place = self.own.components.place(tenant).await;
        }
        Ok(self.uploads.push(ComponentUpload::default())?)
    }

    async fn write(
        &mut self,
        upload: Resource<ComponentUpload>,
        bytes: Vec<u8>,
    ) -> wasmtime::Result<Result<(), wit::Refusal>> {
        self.take(&upload, &bytes)
    }

    async fn finish(&mut self, upload: Resource<ComponentUpload>) -> wasmtime::Result<Result<String, wit::Refusal>> {
        let ComponentUpload(wasm) = std::mem::take(self.uploads.get_mut(&upload)?);
        let tenant = match self.has_place() {
            Ok(tenant) => tenant.clone(),
            Err(refusal) => return Ok(Err(refusal)),
        };
        let own = self.own.clone();
        let added = own.components.add(&tenant, wasm.into()).await;
        self.place = None;
        Ok(match added {
            Ok(version) => {
                let head = own.components.get(&tenant, &version.name).await.ok();
                let head = head.as_ref().map(|(head, _)| head);
                Ok(own.version(&tenant, head, version).to_string())
            }
            Err(refused) => Err(refusal(refused)),
        })
    }

    async fn drop(&mut self, upload: Resource<ComponentUpload>) -> wasmtime::Result<()> {
        self.uploads.delete(upload)?;
        self.place = None;
        Ok(())
    }
}

impl Host for ComponentsCtx {
    async fn list(&mut self) -> wasmtime::Result<Result<Vec<String>, errors::Error>> {
        Ok(self.own.clone().list().await)
    }

    async fn get(&mut self, name: String) -> wasmtime::Result<Result<String, wit::Refusal>> {
        Ok(self.own.clone().get(&name).await)
    }

    async fn certify(
        &mut self,
        name: String,
        version: String,
        scenario_id: String,
        params: Option<String>,
    ) -> wasmtime::Result<Result<String, wit::Refusal>> {
        Ok(self.own.clone().certify(&name, &version, &scenario_id, params).await)
    }

    async fn activate(
        &mut self,
        name: String,
        version: String,
        override_token: Option<String>,
    ) -> wasmtime::Result<Result<String, wit::Refusal>> {
        let own = self.own.clone();
        let change =
            async |tenant: &Tenant| own.components.activate(tenant, &name, &version, override_token.as_deref()).await;
        Ok(own.changed(&name, change).await)
    }

    async fn set_canary(
        &mut self,
        name: String,
        canary: Option<wit::Canary>,
    ) -> wasmtime::Result<Result<String, wit::Refusal>> {
        let canary = canary.map(|wit::Canary { version, percent, of }| Canary {
            version,
            percent,
            of: match of {
                wit::ShareOf::Users => ShareOf::Users,
                wit::ShareOf::Requests => ShareOf::Requests,
            },
        });
        let own = self.own.clone();
        let change = async |tenant: &Tenant| own.components.set_canary(tenant, &name, canary).await;
        Ok(own.changed(&name, change).await)
    }

    async fn roll_back(&mut self, name: String) -> wasmtime::Result<Result<String, wit::Refusal>> {
        let own = self.own.clone();
        Ok(own.changed(&name, async |tenant: &Tenant| own.components.roll_back(tenant, &name).await).await)
    }

    async fn set_disabled(&mut self, name: String, disabled: bool) -> wasmtime::Result<Result<String, wit::Refusal>> {
        let own = self.own.clone();
        let change = async |tenant: &Tenant| own.components.set_disabled(tenant, &name, disabled).await;
        Ok(own.changed(&name, change).await)
    }

    async fn delete(&mut self, name: String, version: Option<String>) -> wasmtime::Result<Result<(), wit::Refusal>> {
        let own = self.own.clone();
        Ok(match own.tenant() {
            Ok(tenant) => own.components.delete(tenant, &name, version.as_deref()).await.map_err(refusal),
            Err(refusal) => Err(refusal),
        })
    }

    async fn logs(&mut self, name: String, version: String) -> wasmtime::Result<Result<String, wit::Refusal>> {
        let own = self.own.clone();
        Ok(match own.tenant() {
            Ok(tenant) => own.components.logs(tenant, &name, &version).await.map_err(refusal),
            Err(refusal) => Err(refusal),
        })
    }

    async fn usage(&mut self, name: String, version: String) -> wasmtime::Result<Result<String, wit::Refusal>> {
        let own = self.own.clone();
        Ok(match own.tenant() {
            Ok(tenant) => {
                own.components.usage(tenant, &name, &version).await.map(|usage| text(&usage)).map_err(refusal)
            }
            Err(refusal) => Err(refusal),
        })
    }
}

impl Own {
    async fn list(&self) -> Result<Vec<String>, errors::Error> {
        let tenant = bound(self.tenant.as_ref())?;
        let all = self.components.list(tenant).await?;
        let shown = |(head, versions)| self.component(tenant, head, versions, false).to_string();
        Ok(all.into_iter().map(shown).collect())
    }

    async fn get(&self, name: &str) -> Result<String, wit::Refusal> {
        self.head(self.tenant()?, name).await
    }

    /// A change to which versions run: the component as it is then.
    async fn changed(
        &self,
        name: &str,
        change: impl AsyncFnOnce(&Tenant) -> Result<Head, Refusal>,
    ) -> Result<String, wit::Refusal> {
        let tenant = self.tenant()?;
        change(tenant).await.map_err(refusal)?;
        self.head(tenant, name).await
    }
}

fn text(of: &impl Serialize) -> String {
    serde_json::to_string(of).unwrap_or_default()
}

fn read_params(params: &str) -> Result<Map<String, Value>, Refusal> {
    use funnelweb_core::limits::PARAMS_BYTES;
    if params.len() > PARAMS_BYTES {
        return Err(Refusal::invalid("params", format!("must be at most {PARAMS_BYTES} bytes")));
    }
    serde_json::from_str(params).map_err(|error| Refusal::invalid("params", error.to_string()))
}

fn busy() -> wit::Refusal {
    wit::Refusal::Busy("other uploads or certifications are under way; try again later".to_owned())
}

fn refusal(refusal: Refusal) -> wit::Refusal {
    let text = refusal.to_string();
    match refusal {
        Refusal::Store(error) => wit::Refusal::Store(error.into()),
        Refusal::NoScenario(_) => wit::Refusal::NoScenario(text),
        Refusal::NoComponent(_) => wit::Refusal::NoComponent(text),
        Refusal::NoVersion { .. } => wit::Refusal::NoVersion(text),
        Refusal::Exists { .. } => wit::Refusal::Exists(text),
        Refusal::InUse(_) => wit::Refusal::InUse(text),
        Refusal::TooMany(_) => wit::Refusal::TooMany(text),
        Refusal::Busy(_) => wit::Refusal::Busy(text),
        Refusal::NotAdmitted(refused) => wit::Refusal::NotAdmitted(wit::BrokenRule {
            rule: refused.rule.to_string(),
            message: refused.message,
            help: refused.help,
        }),
        Refusal::NotCertified(_) => wit::Refusal::NotCertified(text),
        Refusal::NotPermitted(_) => wit::Refusal::NotPermitted(text),
        Refusal::Invalid { field, message } => wit::Refusal::Invalid((field, message)),
    }
}
