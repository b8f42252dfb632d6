//! The C library's clients: their configuration, and what they report.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use rdkafka::{
    ClientConfig, ClientContext,
    config::{FromClientConfigAndContext, RDKafkaLogLevel},
    consumer::{BaseConsumer, Consumer, ConsumerContext},
    error::KafkaError,
    metadata::Metadata,
    types::RDKafkaErrorCode as Code,
};

use crate::{
    error::{Error, is_denial},
    settings::KafkaSettings,
};

/// How long a report explains what fails; the library repeats one every 30 seconds.
const FRESH: Duration = Duration::from_secs(60);
/// Reports that are fetched of a client that failed; it makes some for each broker.
const REPORTS: usize = 100;
/// The time of the first attempt to get an answer; each after that has twice as much.
const FIRST_ATTEMPT: Duration = Duration::from_millis(250);

/// What all clients are told.
pub(crate) fn config(settings: &KafkaSettings) -> ClientConfig {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", settings.bootstrap_servers.join(","))
        .set("client.id", "funnelweb")
        .set("socket.connection.setup.timeout.ms", settings.connect_timeout_ms.to_string())
        // Brokers that are back are to be found soon.
        .set("reconnect.backoff.ms", "50")
        .set("reconnect.backoff.max.ms", "1000")
        .set("allow.auto.create.topics", "false")
        .set_log_level(RDKafkaLogLevel::Warning);
    let protocol = match (&settings.tls, &settings.sasl) {
        (None, None) => "PLAINTEXT",
        (Some(_), None) => "SSL",
        (None, Some(_)) => "SASL_PLAINTEXT",
        (Some(_), Some(_)) => "SASL_SSL",
    };
    config.set("security.protocol", protocol);
    if let Some(tls) = &settings.tls {
        // `probe`: wherever operating systems have theirs.
        let authorities = tls.ca_file.as_ref().map_or("probe".into(), |file| file.to_string_lossy());
        config.set("ssl.ca.location", authorities);
        let own = [("ssl.certificate.location", &tls.certificate_file), ("ssl.key.location", &tls.key_file)];
        for (key, file) in own {
            if let Some(file) = file {
                config.set(key, file.to_string_lossy());
            }
        }
    }
    if let Some(sasl) = &settings.sasl {
        config
            .set("sasl.mechanisms", sasl.mechanism.name())
            .set("sasl.username", &sasl.username)
            .set("sasl.password", &sasl.password);
    }
    config
}

/// Makes a client; what it does not like of its configuration is what the settings' check
/// cannot see, such as a file that holds no certificate.
pub(crate) fn create<T, C>(config: &ClientConfig, context: C) -> Result<T, Error>
where
    T: FromClientConfigAndContext<C>,
    C: ClientContext,
{
    config.create_with_context(context).map_err(|error| Error::invalid("settings", error))
}

/// Why things do not work, as far as a client has said.
#[derive(Debug)]
pub(crate) struct Reports {
    /// What the client is for, in logs.
    role: &'static str,
    last: Mutex<Option<Report>>,
}

#[derive(Debug)]
struct Report {
    at: Instant,
    code: Code,
    reason: String,
}

impl Reports {
    pub(crate) fn of(role: &'static str) -> Arc<Self> {
        Arc::new(Self { role, last: Mutex::new(None) })
    }

    pub(crate) fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        let role = self.role;
        match level {
            // A broker that is down is said again with every attempt, and is an error of
            // ours when calls fail by it.
            RDKafkaLogLevel::Emerg
            | RDKafkaLogLevel::Alert
            | RDKafkaLogLevel::Critical
            | RDKafkaLogLevel::Error
            | RDKafkaLogLevel::Warning => tracing::warn!(role, facility, "kafka: {message}"),
            _ => tracing::debug!(role, facility, "kafka: {message}"),
        }
    }

    pub(crate) fn heard(&self, error: &KafkaError, reason: &str) {
        tracing::debug!(role = self.role, %error, "kafka: {reason}");
        let Some(code) = error.rdkafka_error_code() else { return };
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        // That all are down tells less than why the last one is.
        if code != Code::AllBrokersDown || last.is_none() {
            *last = Some(Report { at: Instant::now(), code, reason: reason.to_owned() });
        }
    }

    /// An error of a call, with what was heard meanwhile.
    pub(crate) fn error(&self, what: impl std::fmt::Display, error: &KafkaError) -> Error {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        match &*last {
            Some(report) if !explains(error) && report.at.elapsed() < FRESH => {
                // Who is not let in gets no answers: the call has only seen that.
                let code = if is_denial(report.code) { Some(report.code) } else { error.rdkafka_error_code() };
                Error::with_code(code, format!("{what}: {}", report.reason))
            }
            _ => Error::of(what, error),
        }
    }
}

/// Whether an error is more than that no broker has answered.
fn explains(error: &KafkaError) -> bool {
    let silence = [Code::AllBrokersDown, Code::BrokerTransportFailure, Code::MessageTimedOut];
    let timeouts = [Code::OperationTimedOut, Code::RequestTimedOut];
    error.rdkafka_error_code().is_none_or(|code| !silence.contains(&code) && !timeouts.contains(&code))
}

/// What a client without other duties is told.
pub(crate) struct Listener(pub(crate) Arc<Reports>);

impl ClientContext for Listener {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.0.log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.0.heard(&error, reason);
    }
}

impl ConsumerContext for Listener {}

/// Asks for what is known of a topic, or of all, and hears why when nobody answers. Who
/// is not let in is told at once. Blocks.
pub(crate) fn metadata(settings: &KafkaSettings, topic: Option<&str>, patience: Duration) -> Result<Metadata, Error> {
    let reports = Reports::of("metadata");
    let client: BaseConsumer<Listener> = create(&config(settings), Listener(Arc::clone(&reports)))?;
    let deadline = Instant::now() + patience;
    let mut attempt = FIRST_ATTEMPT;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let error = match client.fetch_metadata(topic, attempt.min(left)) {
            Ok(metadata) => return Ok(metadata),
            Err(error) => error,
        };
        // What it has to report waits to be fetched, one by one.
        (0..REPORTS).for_each(|_| drop(client.poll(Duration::ZERO)));
        let error = reports.error(settings.bootstrap_servers.join(","), &error);
        if matches!(error, Error::Denied(_)) || left <= attempt {
            return Err(error);
        }
        attempt *= 2;
    }
}
