//! A small blocking client of the product's API.
//!
//! Every call is repeated when the server is away or says that it is too busy
//! (429, 502, 503, 504), with growing pauses. That is safe for what is sent here:
//! scenarios are put, items replace themselves, behaviours are idempotent by their
//! event id, and of a job one run is open at a time.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use funnelweb_core::{id, limits};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{Error, Result};

/// Lines sent in one request, unless said otherwise: many batches, since the
/// server reads one while it writes the one before.
pub const CHUNK_LINES: usize = 8 * limits::INSERT_DOCUMENTS;
/// Bytes of them, for the same reason; of behaviours, half of what a body may hold.
pub const CHUNK_BYTES: usize = 16 * 1024 * 1024;
/// Bytes read of an answer.
const ANSWER_BYTES: u64 = 16 * 1024 * 1024;
/// Bytes of an unexpected answer that are shown.
const SHOWN_BYTES: usize = 300;

/// How often and how patiently a call is repeated.
#[derive(Debug, Clone, Copy)]
pub struct Retry {
    /// Calls in all, at least 1.
    pub attempts: u32,
    /// The first pause; each further one is twice as long.
    pub first_pause: Duration,
    /// The longest pause.
    pub longest_pause: Duration,
}

impl Default for Retry {
    /// Eight attempts over a quarter of a minute: a restart of the server.
    fn default() -> Self {
        Self { attempts: 8, first_pause: Duration::from_millis(200), longest_pause: Duration::from_secs(5) }
    }
}

impl Retry {
    fn pause(&self, failures: u32) -> Duration {
        let doubled = 2_u32.saturating_pow(failures.saturating_sub(1));
        self.first_pause.saturating_mul(doubled).min(self.longest_pause)
    }
}

/// One line that was not taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LineError {
    /// From 1; of the request in a server's answer, of the source in a report.
    pub line: u64,
    /// The code of the product's table of errors.
    pub code: String,
    /// The field that is wrong, when it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// For a person.
    pub message: String,
}

/// What became of many lines, items or behaviours.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Batch {
    /// Lines sent.
    pub lines: u64,
    /// Items that are new.
    pub created: u64,
    /// Items that took the place of an older version.
    pub replaced: u64,
    /// Items left as they were.
    pub skipped: u64,
    /// Behaviours taken.
    pub accepted: u64,
    /// Behaviours that were taken earlier.
    pub duplicates: u64,
    /// Lines that were not taken.
    pub failed: u64,
    /// The first of those, at most [`limits::IMPORT_ERRORS`].
    pub errors: Vec<LineError>,
    /// Whether there are more.
    pub errors_truncated: bool,
}

impl Batch {
    /// Adds a later batch; `source_line` turns its line numbers into those of the
    /// whole.
    pub fn add(&mut self, later: Self, source_line: impl Fn(u64) -> u64) {
        self.lines += later.lines;
        self.created += later.created;
        self.replaced += later.replaced;
        self.skipped += later.skipped;
        self.accepted += later.accepted;
        self.duplicates += later.duplicates;
        self.failed += later.failed;
        self.errors_truncated |= later.errors_truncated;
        for error in later.errors {
            let line = source_line(error.line);
            self.note(LineError { line, ..error });
        }
    }

    /// Lists an error, as long as there is room.
    pub(crate) fn note(&mut self, error: LineError) {
        if self.errors.len() < limits::IMPORT_ERRORS {
            self.errors.push(error);
        } else {
            self.errors_truncated = true;
        }
    }
}

/// A client for one tenant.
///
/// ```no_run
/// use funnelweb_import::Client;
///
/// let client = Client::new("http://127.0.0.1:3000", "demo")?;
/// let slate = client.recommend("user_0001", "vlog_main_feed", 10, &serde_json::json!({}))?;
/// # Ok::<(), funnelweb_import::Error>(())
/// ```
#[derive(Debug)]
pub struct Client {
    agent: ureq::Agent,
    base_url: String,
    tenant: String,
    user: Option<String>,
    token: String,
    operator_token: Option<String>,
    retry: Retry,
    requests: AtomicU64,
}

impl Client {
    /// A client that speaks to `base_url` (`http://host:port`) for a tenant.
    ///
    /// # Errors
    /// When either is not valid.
    pub fn new(base_url: &str, tenant: &str) -> Result<Self> {
        let trimmed = base_url.trim_end_matches('/');
        let host = trimmed.strip_prefix("http://").unwrap_or_default();
        if host.is_empty() || host.contains(|c: char| c.is_whitespace() || matches!(c, '/' | '?' | '#')) {
            return Err(Error::BaseUrl(base_url.to_owned()));
        }
        check("tenant", tenant)?;
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_connect(Some(Duration::from_secs(5)))
            .timeout_global(Some(Duration::from_secs(120)))
            .max_redirects(0)
            // The server is spoken to directly, whatever proxy the environment
            // names for the rest of the world.
            .proxy(None)
            .build();
        Ok(Self {
            agent: config.new_agent(),
            base_url: trimmed.to_owned(),
            tenant: tenant.to_owned(),
            user: None,
            token: "import".to_owned(),
            operator_token: None,
            retry: Retry::default(),
            requests: AtomicU64::new(0),
        })
    }

    /// Names the user on whose behalf the calls are made.
    ///
    /// # Errors
    /// When it is no id.
    pub fn with_user(mut self, user: &str) -> Result<Self> {
        check("user", user)?;
        self.user = Some(user.to_owned());
        Ok(self)
    }

    /// The bearer token of the calls.
    ///
    /// # Errors
    /// When it cannot stand in a header.
    pub fn with_token(mut self, token: &str) -> Result<Self> {
        self.token = in_a_header("token", token)?;
        Ok(self)
    }

    /// What an operator shows, for calls that only one may make.
    ///
    /// # Errors
    /// As [`Client::with_token`].
    pub fn with_operator_token(mut self, token: &str) -> Result<Self> {
        self.operator_token = Some(in_a_header("operator token", token)?);
        Ok(self)
    }

    /// How patiently calls are repeated.
    #[must_use]
    pub fn with_retry(mut self, retry: Retry) -> Self {
        self.retry = retry;
        self
    }

    /// Where it speaks to, without a slash at the end.
    #[must_use]
    pub fn base_url(&self) -> &str {
        &self.base_url
    }

    /// For whom.
    #[must_use]
    pub fn tenant(&self) -> &str {
        &self.tenant
    }

    /// Creates or replaces a scenario, given as the JSON of `POST
    /// /api/v1/scenarios`.
    ///
    /// # Errors
    /// When it has no id, or the server cannot be reached or refuses it.
    pub fn put_scenario(&self, json: &str) -> Result<()> {
        let scenario: Value = serde_json::from_str(json).map_err(|error| Error::Scenario(error.to_string()))?;
        let Some(scenario_id) = scenario.get("scenario_id").and_then(Value::as_str) else {
            return Err(Error::Scenario("`scenario_id` is missing".to_owned()));
        };
        check("scenario id", scenario_id)?;
        let path = format!("/api/v1/scenarios/{scenario_id}");
        self.call("PUT", &path, "application/json", json.as_bytes(), self.user.as_deref()).map(drop)
    }

    /// Sends lines of NDJSON (without line feeds), in requests of at most
    /// [`CHUNK_LINES`] lines and [`CHUNK_BYTES`], one after the other; `path` is
    /// `/api/v1/items/{scenario_id}` or `/api/v1/behaviors`. Of the lines, no more
    /// than one request's are in memory.
    ///
    /// # Errors
    /// When a request fails for good; what earlier ones carried stays.
    pub fn post_ndjson(&self, path: &str, lines: impl Iterator<Item = Vec<u8>>) -> Result<Batch> {
        self.post_ndjson_with(path, lines, &mut |_| ())
    }

    /// As [`Client::post_ndjson`], telling after each request what became of all
    /// lines so far.
    ///
    /// # Errors
    /// As there.
    pub fn post_ndjson_with(
        &self,
        path: &str,
        lines: impl Iterator<Item = Vec<u8>>,
        progress: &mut dyn FnMut(&Batch),
    ) -> Result<Batch> {
        let (most_lines, most_bytes) = chunk(path);
        let mut all = Batch::default();
        let mut body = Vec::new();
        let mut count = 0;
        let mut lines = lines.peekable();
        while let Some(line) = lines.next() {
            body.extend_from_slice(&line);
            body.push(b'\n');
            count += 1;
            let full = lines.peek().is_none_or(|next| body.len() + next.len() >= most_bytes);
            if count == most_lines || full {
                let before = all.lines;
                all.add(self.post_chunk(path, &body)?, |line| before + line);
                progress(&all);
                body.clear();
                count = 0;
            }
        }
        Ok(all)
    }

    /// Sends one request of NDJSON.
    ///
    /// # Errors
    /// When the server cannot be reached or refuses the request as a whole.
    pub fn post_chunk(&self, path: &str, body: &[u8]) -> Result<Batch> {
        let answer = self.call("POST", path, "application/x-ndjson", body, self.user.as_deref())?;
        self.read(path, &answer)
    }

    /// Asks for a slate: the whole answer, `items` and all.
    ///
    /// # Errors
    /// When the server cannot be reached or refuses.
    pub fn recommend(&self, user: &str, scenario_id: &str, count: u32, context: &Value) -> Result<Value> {
        const PATH: &str = "/api/v1/recommend";
        check("user", user)?;
        let body = serde_json::json!({"scenario_id": scenario_id, "count": count, "context": context}).to_string();
        let answer = self.call("POST", PATH, "application/json", body.as_bytes(), Some(user))?;
        self.read(PATH, &answer)
    }

    /// Runs a recorded request again, as it was or with changes (`config`, `with`); what the
    /// server answers.
    ///
    /// # Errors
    /// When the server cannot be reached or refuses.
    pub fn replay(&self, request_id: &str, changes: &Value) -> Result<Value> {
        check("request_id", request_id)?;
        let path = format!("/api/v1/recordings/{request_id}/replay");
        let answer = self.call("POST", &path, "application/json", changes.to_string().as_bytes(), None)?;
        self.read(&path, &answer)
    }

    pub(crate) fn read<T: serde::de::DeserializeOwned>(&self, path: &str, answer: &[u8]) -> Result<T> {
        serde_json::from_slice(answer)
            .map_err(|error| Error::Answer { url: format!("{}{path}", self.base_url), reason: error.to_string() })
    }

    pub(crate) fn call(
        &self,
        method: &str,
        path: &str,
        kind: &str,
        body: &[u8],
        user: Option<&str>,
    ) -> Result<Vec<u8>> {
        self.send(&Call { method, path, kind, body, user }, self.retry.attempts)
    }

    /// A call that is not repeated: done twice it is something else.
    pub(crate) fn call_once(&self, method: &str, path: &str) -> Result<Vec<u8>> {
        self.send(&Call { method, path, kind: "application/json", body: &[], user: None }, 1)
    }

    fn send(&self, call: &Call<'_>, attempts: u32) -> Result<Vec<u8>> {
        let url = format!("{}{}", self.base_url, call.path);
        let number = self.requests.fetch_add(1, Ordering::Relaxed);
        let mut failures = 0;
        loop {
            let mut request = ureq::http::Request::builder()
                .method(call.method)
                .uri(&url)
                .header("content-type", call.kind)
                .header("x-tenant-id", &self.tenant)
                .header("x-request-id", format!("import_{}_{number}", std::process::id()))
                .header("authorization", format!("Bearer {}", self.token));
            if let Some(user) = call.user {
                request = request.header("x-user-id", user);
            }
            if let Some(token) = &self.operator_token {
                request = request.header("x-operator-token", token);
            }
            let request = request
                .body(call.body)
                .map_err(|error| Error::Answer { url: url.clone(), reason: error.to_string() })?;
            let failure = match self.agent.run(request).and_then(answer) {
                Ok((status, answer)) if (200..300).contains(&status) => return Ok(answer),
                Ok((status, answer)) if !matches!(status, 429 | 502 | 503 | 504) => {
                    return Err(Error::Refused { url, status, message: refusal(&answer) });
                }
                Ok((status, answer)) => format!("status {status}: {}", refusal(&answer)),
                Err(error) => error.to_string(),
            };
            failures += 1;
            if failures >= attempts {
                return Err(Error::Unreachable { url, attempts: failures, reason: failure });
            }
            std::thread::sleep(self.retry.pause(failures));
        }
    }
}

/// One call of the API.
struct Call<'a> {
    method: &'a str,
    path: &'a str,
    /// The content type of the body.
    kind: &'a str,
    body: &'a [u8],
    user: Option<&'a str>,
}

fn in_a_header(what: &'static str, token: &str) -> Result<String> {
    if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        let reason = "it must be visible ascii".to_owned();
        return Err(Error::Identity { what, value: "…".to_owned(), reason });
    }
    Ok(token.to_owned())
}

/// Lines and bytes that one request to a path may carry.
pub(crate) fn chunk(path: &str) -> (usize, usize) {
    let to_behaviors = path.starts_with("/api/v1/behaviors");
    if to_behaviors { (limits::EVENTS, limits::BEHAVIORS_BODY_BYTES / 2) } else { (CHUNK_LINES, CHUNK_BYTES) }
}

fn answer(mut response: ureq::http::Response<ureq::Body>) -> Result<(u16, Vec<u8>), ureq::Error> {
    let status = response.status().as_u16();
    let body = response.body_mut().with_config().limit(ANSWER_BYTES).read_to_vec()?;
    Ok((status, body))
}

/// What an answer says of an error: `{"error":{code,message,field?,rule?,help?}}`, or
/// its beginning.
fn refusal(answer: &[u8]) -> String {
    #[derive(Deserialize)]
    struct Envelope {
        error: Inner,
    }
    #[derive(Deserialize)]
    struct Inner {
        code: String,
        message: String,
        field: Option<String>,
        rule: Option<String>,
        help: Option<String>,
    }
    let Ok(Envelope { error }) = serde_json::from_slice(answer) else {
        return String::from_utf8_lossy(answer.get(..SHOWN_BYTES).unwrap_or(answer)).into_owned();
    };
    let parts = [Some(error.code), error.field, error.rule, Some(error.message)];
    let said = parts.into_iter().flatten().collect::<Vec<_>>().join(": ");
    match error.help {
        Some(help) => format!("{said}\n  help: {help}"),
        None => said,
    }
}

pub(crate) fn check(what: &'static str, value: &str) -> Result<()> {
    id::check(value).map_err(|error| Error::Identity { what, value: value.to_owned(), reason: error.to_string() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest() {
        let retry = Retry::default();
        let pauses: Vec<u128> = (1..8).map(|failures| retry.pause(failures).as_millis()).collect();
        assert_eq!(pauses, [200, 400, 800, 1600, 3200, 5000, 5000]);
        assert_eq!(retry.pause(u32::MAX), retry.longest_pause);
    }

    #[test]
    fn what_cannot_be_sent_is_refused_before_it_is() {
        for url in ["", "127.0.0.1:3000", "https://example.org", "http://", "http://a b", "http://a/b?c"] {
            assert!(matches!(Client::new(url, "demo"), Err(Error::BaseUrl(_))), "{url}");
        }
        let client = || Client::new("http://127.0.0.1:3000/", "demo");
        assert_eq!(client().unwrap().base_url(), "http://127.0.0.1:3000");
        assert!(Client::new("http://127.0.0.1:3000", "a/b").is_err());
        assert!(client().unwrap().with_user("a\nb").is_err());
        assert!(client().unwrap().with_token("a\nb").is_err());
        assert!(client().unwrap().with_operator_token("").is_err());
        assert!(matches!(client().unwrap().put_scenario("{}"), Err(Error::Scenario(_))));
        assert!(client().unwrap().put_scenario(r#"{"scenario_id":"../x"}"#).is_err());
    }

    #[test]
    fn a_refusal_is_put_in_words() {
        let answer =
            br#"{"error":{"code":"invalid_config","message":"unknown","field":"config.rank","request_id":"r"}}"#;
        assert_eq!(refusal(answer), "invalid_config: config.rank: unknown");
        let answer = br#"{"error":{"code":"component_not_admitted","message":"it imports `a:b/c`","field":"component",
            "rule":"imports","help":"leave it out","request_id":"r"}}"#;
        let expected = "component_not_admitted: component: imports: it imports `a:b/c`\n  help: leave it out";
        assert_eq!(refusal(answer), expected);
        assert_eq!(refusal(br#"{"error":{"code":"internal","message":"a fault"}}"#), "internal: a fault");
        assert_eq!(refusal(b"<html>"), "<html>");
    }

    #[test]
    fn batches_add_up() {
        let error = |line| LineError { line, code: "c".to_owned(), field: None, message: "m".to_owned() };
        let mut all = Batch { lines: 10, created: 9, failed: 1, errors: vec![error(4)], ..Batch::default() };
        all.add(Batch { lines: 5, failed: 1, errors: vec![error(2)], ..Batch::default() }, |line| 10 + line);
        assert_eq!((all.lines, all.failed, all.errors[1].line), (15, 2, 12));
        for line in 0..2_000 {
            all.note(error(line));
        }
        assert_eq!((all.errors.len(), all.errors_truncated), (limits::IMPORT_ERRORS, true));
    }
}
