//! The connection: made once, checked at start, shared by every backend.

use std::sync::{Arc, OnceLock, Weak};

use bson::{Document, doc, oid::ObjectId};
use funnelweb_core::id;
use funnelweb_factor_documents::backend::HandleOf;
use funnelweb_tenant_store::{Breaker, Clock, Error, Tenant};
use mongodb::{
    Client, Collection, Database,
    options::{
        Acknowledgment, ClientOptions, DatabaseOptions, ReadConcern, SelectionCriteria, Tls, TlsOptions, WriteConcern,
    },
};
use xxhash_rust::xxh3::xxh3_128;

use crate::{
    cache::Caches,
    call::Failure,
    documents::refresh::{self, Refresher},
    indexes,
    locks::{Locks, STRIPES},
    settings::MongoSettings,
    streams::MongoStreams,
};

/// The collection of our own bookkeeping: one small document per tenant,
/// scenario or lease, found by its `_id`, a text.
pub(crate) const STATE: &str = "fw_state";

/// A document takes 16 MB.
const STEP_BYTES: usize = 4 * 1024 * 1024;

/// What a server can do; found out when it is connected to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Abilities {
    /// Name and version.
    pub server: String,
    /// Several documents written as one: replica sets and sharded clusters.
    pub transactions: bool,
    /// Whether it deletes what is too old by itself.
    pub ttl_indexes: bool,
    /// Whether it tests and changes a document in one step. Where it does not,
    /// only one process may write.
    pub atomic_updates: bool,
    /// Whether it finds by indexes. Where it does not, a filter that is an `_id` and
    /// nothing else costs least.
    pub indexed_queries: bool,
    /// Whether it takes arrays in arrays.
    pub nested_arrays: bool,
}

/// What a store takes from its surroundings; another one is given in tests.
#[derive(Clone)]
pub struct Environment {
    /// Tells the time in milliseconds since 1970.
    pub clock: Clock,
    /// From ids to handles.
    pub handle_of: HandleOf,
    /// Has the store do without something that the server can.
    pub adjust: fn(&mut Abilities),
    /// Locks of one kind, over all keys. With one, whoever takes a second of a kind
    /// waits for itself, as it may with many.
    pub lock_stripes: usize,
    /// Bytes of an operator's step that one document takes.
    pub step_bytes: usize,
}

impl Default for Environment {
    fn default() -> Self {
        let system = || u64::try_from(bson::DateTime::now().timestamp_millis()).unwrap_or(0);
        Self {
            clock: Arc::new(system),
            handle_of: id::handle,
            adjust: |_| {},
            lock_stripes: STRIPES,
            step_bytes: STEP_BYTES,
        }
    }
}

/// A connected database.
pub struct MongoStore {
    pub(crate) client: Client,
    database: Database,
    pub(crate) abilities: Abilities,
    pub(crate) settings: MongoSettings,
    pub(crate) environment: Environment,
    pub(crate) breaker: Breaker,
    pub(crate) locks: Locks,
    pub(crate) caches: Caches,
    pub(crate) refresher: Refresher,
    /// Who is told when a user or a scenario is deleted.
    pub(crate) streams: OnceLock<Weak<MongoStreams>>,
}

impl MongoStore {
    /// Connects, finds out what the server can do, and creates the indexes.
    ///
    /// # Errors
    /// `invalid` when the settings are wrong; `unavailable` when the server does
    /// not answer or refuses.
    pub async fn connect(settings: MongoSettings) -> Result<Arc<Self>, Error> {
        Self::connect_with(settings, Environment::default()).await
    }

    /// [`MongoStore::connect`] with another clock or function of handles.
    ///
    /// # Errors
    /// As there.
    pub async fn connect_with(settings: MongoSettings, environment: Environment) -> Result<Arc<Self>, Error> {
        let client = client(&settings).await?;
        let admin = client.database("admin");
        let ask = async |command: &str| {
            let answer = tokio::time::timeout(settings.operation_timeout(), admin.run_command(doc! { command: 1 }));
            match answer.await {
                Ok(Ok(answer)) => Ok(answer),
                Ok(Err(error)) => Err(cannot_connect(&settings, error)),
                Err(_) => Err(cannot_connect(&settings, "no answer in time")),
            }
        };
        // The second tells more than that somebody is there: a wrong password is
        // noticed by the first command that needs a right.
        let (hello, build) = (ask("hello").await?, ask("buildInfo").await?);
        let mut abilities = Abilities::of(&hello, &build);
        (environment.adjust)(&mut abilities);
        let replicated = is_replicated(&hello);
        let options = DatabaseOptions::builder()
            // What was read cannot be rolled back.
            .write_concern(durable())
            .read_concern(replicated.then(ReadConcern::majority))
            .selection_criteria(SelectionCriteria::ReadPreference(mongodb::options::ReadPreference::Primary))
            .build();
        let database = client.database_with_options(&settings.database, options);
        let (refresher, old) = Refresher::new();
        let store = Self {
            client,
            database,
            abilities,
            settings,
            locks: Locks::new(environment.lock_stripes),
            environment,
            breaker: Breaker::of("mongodb"),
            caches: Caches::new(),
            refresher,
            streams: OnceLock::new(),
        };
        indexes::create(&store).await?;
        tracing::info!(server = store.abilities.server, database = store.settings.database, "connected");
        let store = Arc::new(store);
        // It ends with the store.
        tokio::spawn(refresh::run(Arc::downgrade(&store), old));
        Ok(store)
    }

    /// What the server can do.
    #[must_use]
    pub fn abilities(&self) -> &Abilities {
        &self.abilities
    }

    pub(crate) fn collection(&self, name: &str) -> Collection<Document> {
        self.database.collection(name)
    }

    pub(crate) fn database(&self) -> &Database {
        &self.database
    }

    pub(crate) fn now_ms(&self) -> u64 {
        (self.environment.clock)()
    }

    pub(crate) fn handle(&self, id: &str) -> u64 {
        (self.environment.handle_of)(id)
    }
}

/// What was acknowledged survives the loss of any one server.
pub(crate) fn durable() -> WriteConcern {
    WriteConcern::builder().w(Acknowledgment::Majority).journal(true).build()
}

/// An `_id` that follows from what is unique: whoever knows the key knows it, and
/// writing it a second time is a duplicate. Made of 96 bits of a hash.
pub(crate) fn object_id(tenant: &Tenant, parts: &[&[u8]]) -> ObjectId {
    let mut bytes = tenant.as_str().as_bytes().to_vec();
    for part in parts {
        // No id has a NUL in it.
        bytes.push(0);
        bytes.extend_from_slice(part);
    }
    let mut short = [0; 12];
    short.iter_mut().zip(xxh3_128(&bytes).to_be_bytes()).for_each(|(to, from)| *to = from);
    ObjectId::from_bytes(short)
}

fn cannot_connect(settings: &MongoSettings, error: impl std::fmt::Display) -> Error {
    // Without the password: only what follows it.
    let host = settings.url.rsplit('@').next().unwrap_or_default().trim_start_matches("mongodb://");
    Error::Unavailable(format!("mongodb at {host}: {error}"))
}

async fn client(settings: &MongoSettings) -> Result<Client, Error> {
    let invalid = |error: mongodb::error::Error| Error::invalid("url", error);
    if settings.url.starts_with("mongodb+srv://") {
        return Err(Error::invalid("url", "`mongodb+srv://` is not supported, give the hosts as `mongodb://`"));
    }
    if settings.database.is_empty() || settings.database.contains(['/', '\\', '.', ' ', '"', '$', '\0']) {
        return Err(Error::invalid("database", format_args!("`{}` is no name of a database", settings.database)));
    }
    if settings.pool_max == 0 || settings.pool_min > settings.pool_max {
        return Err(Error::invalid("pool_max", "must be at least 1 and at least pool_min"));
    }
    if settings.operation_timeout_ms == 0 || settings.connect_timeout_ms == 0 {
        return Err(Error::invalid("operation_timeout_ms, connect_timeout_ms", "must be at least 1"));
    }
    let mut options = ClientOptions::parse(&settings.url).await.map_err(invalid)?;
    options.app_name.get_or_insert_with(|| "funnelweb".to_owned());
    options.max_pool_size = Some(settings.pool_max);
    options.min_pool_size = Some(settings.pool_min);
    options.connect_timeout = Some(settings.connect_timeout());
    options.server_selection_timeout = Some(settings.connect_timeout().min(settings.operation_timeout()));
    // Reads are tried again here, where the deadline is known; writes by the
    // driver, which numbers them so that the server can tell.
    options.retry_reads = Some(false);
    options.retry_writes = Some(true);
    if let Some(tls) = &settings.tls {
        let mut with = TlsOptions::default();
        with.ca_file_path.clone_from(&tls.ca_file);
        with.cert_key_file_path.clone_from(&tls.certificate_key_file);
        with.allow_invalid_certificates = tls.allow_invalid_certificates.then_some(true);
        options.tls = Some(Tls::Enabled(with));
    }
    Client::with_options(options).map_err(invalid)
}

/// A replica set, or the router of a sharded cluster.
fn is_replicated(hello: &Document) -> bool {
    hello.contains_key("setName") || hello.get_str("msg").is_ok_and(|msg| msg == "isdbgrid")
}

impl Abilities {
    fn of(hello: &Document, build: &Document) -> Self {
        let version = build.get_str("version").unwrap_or("of an unknown version");
        // FerretDB 1 reads, tests and writes in separate steps. It reads whole
        // collections and tests them itself, unless the filter is an `_id` and
        // nothing else, which it leaves to its database.
        if let Ok(ferretdb) = build.get_str("ferretdbVersion") {
            return Self {
                server: format!("FerretDB {ferretdb}"),
                transactions: false,
                ttl_indexes: false,
                atomic_updates: false,
                indexed_queries: false,
                nested_arrays: false,
            };
        }
        let sessions = hello.contains_key("logicalSessionTimeoutMinutes");
        Self {
            server: format!("MongoDB {version}"),
            transactions: sessions && is_replicated(hello),
            ttl_indexes: true,
            atomic_updates: true,
            indexed_queries: true,
            nested_arrays: true,
        }
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Down(message) => Self::Unavailable(message),
            Failure::Refused(what, error) => Self::Unavailable(format!("mongodb: {what}: {error}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn abilities_are_told_apart() {
        let build = doc! { "version": "7.0.14" };
        let single = doc! { "logicalSessionTimeoutMinutes": 30 };
        let set = doc! { "logicalSessionTimeoutMinutes": 30, "setName": "rs0" };
        let router = doc! { "logicalSessionTimeoutMinutes": 30, "msg": "isdbgrid" };
        assert!(!Abilities::of(&single, &build).transactions);
        assert!(Abilities::of(&set, &build).transactions && Abilities::of(&router, &build).transactions);
        let ferretdb = Abilities::of(&set, &doc! { "version": "7.0.42", "ferretdbVersion": "v1.24.0" });
        assert_eq!((ferretdb.server.as_str(), ferretdb.atomic_updates), ("FerretDB v1.24.0", false));
    }

    #[tokio::test]
    async fn wrong_settings_are_named() {
        let wrong = async |change: fn(&mut MongoSettings)| {
            let mut settings = MongoSettings::new("mongodb://127.0.0.1:1", "funnelweb");
            change(&mut settings);
            match MongoStore::connect(settings).await {
                Err(error) => error.to_string(),
                Ok(_) => unreachable!("nobody listens there"),
            }
        };
        assert!(wrong(|settings| settings.url = "http://x".to_owned()).await.starts_with("url: "));
        assert!(wrong(|settings| settings.url = "mongodb+srv://x".to_owned()).await.starts_with("url: "));
        assert!(wrong(|settings| settings.database = "a.b".to_owned()).await.starts_with("database: "));
        assert!(wrong(|settings| settings.pool_max = 0).await.starts_with("pool_max: "));
        let down = wrong(|settings| settings.url = "mongodb://u:secret@127.0.0.1:1/".to_owned()).await;
        assert!(down.starts_with("mongodb at 127.0.0.1:1/: ") && !down.contains("secret"), "{down}");
    }
}
