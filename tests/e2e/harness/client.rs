//! Calls in the name of a tenant, with all the headers that a gateway sets.

use super::*;

/// Calls one server in the name of one tenant.
#[derive(Debug, Clone)]
pub struct Client {
    agent: ureq::Agent,
    url: String,
    tenant: String,
}

impl Client {
    /// A client for the server at `url`.
    pub fn new(url: &str, tenant: &str) -> Self {
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .allow_non_standard_methods(true)
            .max_redirects(0)
            .timeout_global(Some(Duration::from_secs(120)))
            .build();
        Self { agent: config.into(), url: url.to_owned(), tenant: tenant.to_owned() }
    }

    /// The tenant.
    pub fn name(&self) -> &str {
        &self.tenant
    }

    /// A request with the gateway's headers (user `ann`) and without a body.
    pub fn call(&self, method: &str, path: &str) -> Call<'_> {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let request_id = format!("r{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        let headers = [
            ("x-tenant-id", self.tenant.as_str()),
            ("x-user-id", "ann"),
            ("x-request-id", &request_id),
            ("authorization", "Bearer test"),
        ];
        Call {
            client: self,
            method: method.to_owned(),
            path: path.to_owned(),
            headers: headers.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
            body: None,
        }
    }

    /// `GET`
    pub fn get(&self, path: &str) -> Call<'_> {
        self.call("GET", path)
    }

    /// `DELETE`
    pub fn delete(&self, path: &str) -> Call<'_> {
        self.call("DELETE", path)
    }

    /// `POST` with a JSON body.
    pub fn post(&self, path: &str, body: &Value) -> Call<'_> {
        self.call("POST", path).json(body)
    }

    /// `PUT` with a JSON body.
    pub fn put(&self, path: &str, body: &Value) -> Call<'_> {
        self.call("PUT", path).json(body)
    }

    /// `PATCH` with a JSON body.
    pub fn patch(&self, path: &str, body: &Value) -> Call<'_> {
        self.call("PATCH", path).json(body)
    }
}

/// A request that is being put together.
#[derive(Clone)]
pub struct Call<'a> {
    client: &'a Client,
    method: String,
    path: String,
    headers: Vec<(String, String)>,
    body: Option<Vec<u8>>,
}

impl fmt::Debug for Call<'_> {
    /// The request, a long body cut.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let body = self.body.as_deref().unwrap_or_default();
        let body = String::from_utf8_lossy(&body[..body.len().min(400)]);
        write!(f, "{} {} {:?} {body}", self.method, self.path, self.headers)
    }
}

impl Call<'_> {
    /// Sets a header in place of any of that name.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self = self.without(name);
        self.headers.push((name.to_ascii_lowercase(), value.to_owned()));
        self
    }

    /// Leaves a header out.
    pub fn without(mut self, name: &str) -> Self {
        self.headers.retain(|(other, _)| !other.eq_ignore_ascii_case(name));
        self
    }

    /// In the name of this user.
    pub fn user(self, user: &str) -> Self {
        self.header("x-user-id", user)
    }

    /// With a JSON body.
    pub fn json(self, body: &Value) -> Self {
        self.body("application/json", body.to_string())
    }

    /// With any body.
    pub fn body(mut self, kind: &str, body: impl Into<Vec<u8>>) -> Self {
        self.body = Some(body.into());
        self.header("content-type", kind)
    }

    /// Sends it; `Err` when no response came.
    pub fn try_send(self) -> Result<Reply, ureq::Error> {
        let response = match &self.body {
            Some(body) => self.client.agent.run(self.request().body(body.as_slice()).unwrap()),
            None => self.client.agent.run(self.request().body(()).unwrap()),
        };
        self.reply(response?)
    }

    fn request(&self) -> http::request::Builder {
        let mut request =
            http::Request::builder().method(self.method.as_str()).uri(format!("{}{}", self.client.url, self.path));
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        request
    }

    fn reply(&self, response: http::Response<ureq::Body>) -> Result<Reply, ureq::Error> {
        let (parts, mut body) = response.into_parts();
        let body = body.with_config().limit(256 << 20).read_to_vec()?;
        Ok(Reply {
            call: format!("{} {}", self.method, self.path),
            status: parts.status.as_u16(),
            headers: parts.headers,
            body,
        })
    }

    /// Sends it.
    pub fn send(self) -> Reply {
        let call = format!("{} {}", self.method, self.path);
        self.try_send().unwrap_or_else(|error| panic!("{call}: {error}"))
    }

    /// Sends it with a body of unknown length (chunked).
    pub fn stream(self, kind: &str, body: impl Read + Send + 'static) -> Reply {
        let call = self.header("content-type", kind);
        let request = call.request().body(ureq::SendBody::from_owned_reader(body)).unwrap();
        let response = call.client.agent.run(request).unwrap_or_else(|error| panic!("{}: {error}", call.path));
        call.reply(response).unwrap()
    }

    /// Sends it, and panics unless the response has this status.
    pub fn expect(self, status: u16) -> Reply {
        let reply = self.send();
        assert_eq!(reply.status, status, "{}: {}", reply.call, reply.text());
        reply
    }
}

/// A whole response.
#[derive(Debug, Clone)]
pub struct Reply {
    call: String,
    /// The status code.
    pub status: u16,
    /// All headers.
    pub headers: http::HeaderMap,
    /// The body.
    pub body: Vec<u8>,
}

impl Reply {
    /// A header's value; empty when it is absent.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Panics unless the status is one of these.
    pub fn assert_status(&self, statuses: &[u16]) {
        assert!(statuses.contains(&self.status), "{}: {}: {}", self.call, self.status, self.text());
    }

    /// The code of an error; empty for anything else.
    pub fn json_code(&self) -> String {
        let body: Value = serde_json::from_slice(&self.body).unwrap_or_default();
        body["error"]["code"].as_str().unwrap_or_default().to_owned()
    }

    /// The body as JSON; `null` when it is empty.
    pub fn json(&self) -> Value {
        if self.body.is_empty() {
            return Value::Null;
        }
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{}: {error}: {}", self.call, self.text()))
    }
}
