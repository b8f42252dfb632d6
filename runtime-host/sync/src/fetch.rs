//! A document of the web, into a file: one GET, to an address that was looked at
//! first, and to no other.

use std::{
    fs::File,
    io::Write as _,
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
    time::Duration,
};

use bytes::Bytes;
use funnelweb_core::limits;
use funnelweb_jobs::work::Failure;
use http_body_util::{BodyExt as _, Empty};
use hyper::{
    Request, Response, StatusCode,
    body::{Body as _, Incoming},
    client::conn::http1,
    header,
};
use hyper_util::rt::TokioIo;
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, ServerName, pem::PemObject as _},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, lookup_host},
    task::JoinHandle,
    time::timeout,
};
use tokio_rustls::TlsConnector;
use url::{Position, Url};
use xxhash_rust::xxh3::Xxh3;

use crate::{
    address::is_public,
    known::{Validators, digest},
    urls::{self, Location},
};

/// Time to find a host, and to connect to one of its addresses.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// What is asked for.
pub(crate) struct Wanted<'a> {
    pub(crate) location: &'a Location,
    /// Of what is known.
    pub(crate) known: Option<&'a Validators>,
    /// As it is sent.
    pub(crate) most_bytes: u64,
}

/// What came back.
pub(crate) enum Fetched {
    /// It is as it was.
    Unchanged,
    /// All of it.
    Document(Document),
}

/// A whole document.
pub(crate) struct Document {
    /// Without a name: it is gone when it is closed.
    pub(crate) file: File,
    pub(crate) bytes: u64,
    pub(crate) hash: String,
    pub(crate) validators: Validators,
}

/// Fetches documents.
pub(crate) struct Fetcher {
    /// Where documents are kept while they are read.
    folder: PathBuf,
    ca_file: Option<PathBuf>,
    tls: OnceLock<Arc<ClientConfig>>,
}

impl Fetcher {
    pub(crate) fn new(folder: PathBuf, ca_file: Option<PathBuf>) -> Self {
        Self { folder, ca_file, tls: OnceLock::new() }
    }

    /// Fetches a document; `progress` is told its bytes so far, and of how many.
    pub(crate) async fn fetch(
        &self,
        wanted: Wanted<'_>,
        progress: &mut (dyn FnMut(u64, Option<u64>) + Send),
    ) -> Result<Fetched, Failure> {
        let url = &wanted.location.url;
        let connection = self.connect(wanted.location).await?;
        let (response, _connection) = ask(connection, url, wanted.known).await?;
        match response.status() {
            StatusCode::OK => {}
            StatusCode::NOT_MODIFIED if wanted.known.is_some() => return Ok(Fetched::Unchanged),
            status => return Err(refused(status)),
        }
        let validators = Validators::of(response.headers());
        if wanted.known.is_some_and(|known| known.is_same(&validators)) {
            return Ok(Fetched::Unchanged);
        }
        self.receive(response, validators, wanted.most_bytes, progress).await.map(Fetched::Document)
    }

    async fn connect(&self, location: &Location) -> Result<Box<dyn Duplex>, Failure> {
        let url = &location.url;
        let tcp = open(&addresses(location).await?).await?;
        if url.scheme() != "https" {
            return Ok(Box::new(tcp));
        }
        let host = url.host_str().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
        let name = ServerName::try_from(host.to_owned()).map_err(|error| Failure::Permanent(error.to_string()))?;
        let connecting = TlsConnector::from(self.tls()?).connect(name, tcp);
        let tls = in_time(CONNECT_TIMEOUT, "no TLS connection", connecting).await?;
        Ok(Box::new(tls.map_err(|error| Failure::Transient(format!("TLS: {error}")))?))
    }

    fn tls(&self) -> Result<Arc<ClientConfig>, Failure> {
        if let Some(config) = self.tls.get() {
            return Ok(Arc::clone(config));
        }
        let config = tls(self.ca_file.as_deref()).map_err(Failure::Permanent)?;
        Ok(Arc::clone(self.tls.get_or_init(|| Arc::new(config))))
    }

    async fn receive(
        &self,
        response: Response<Incoming>,
        validators: Validators,
        most_bytes: u64,
        progress: &mut (dyn FnMut(u64, Option<u64>) + Send),
    ) -> Result<Document, Failure> {
        let kept = |error: std::io::Error| Failure::Transient(format!("a document cannot be kept: {error}"));
        let too_long = || Failure::Permanent(format!("has over {most_bytes} bytes"));
        let mut body = response.into_body();
        let total = body.size_hint().exact();
        if total.is_some_and(|total| total > most_bytes) {
            return Err(too_long());
        }
        let mut file = tempfile::tempfile_in(&self.folder).map_err(kept)?;
        let (mut bytes, mut hash) = (0_u64, Xxh3::new());
        while let Some(frame) = in_time(limits::OUTBOUND_TIMEOUT, "nothing came", body.frame()).await? {
            let frame = frame.map_err(|error| Failure::Transient(format!("broke off after {bytes} bytes: {error}")))?;
            let Ok(data) = frame.into_data() else { continue };
            bytes += data.len() as u64;
            if bytes > most_bytes {
                return Err(too_long());
            }
            hash.update(&data);
            file.write_all(&data).map_err(kept)?;
            progress(bytes, total);
        }
        Ok(Document { file, bytes, hash: digest(&hash), validators })
    }
}

/// A stream in the clear or not.
trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Duplex for S {}

/// A connection that ends when nobody needs it any more.
struct Connection(JoinHandle<()>);

impl Drop for Connection {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn ask(
    connection: Box<dyn Duplex>,
    url: &Url,
    known: Option<&Validators>,
) -> Result<(Response<Incoming>, Connection), Failure> {
    let broken = |error: hyper::Error| Failure::Transient(format!("no answer: {error}"));
    let (mut sender, connection) = http1::handshake(TokioIo::new(connection)).await.map_err(broken)?;
    let connection = Connection(tokio::spawn(async move {
        // What becomes of it, whoever waits for the answer learns.
        let _ = connection.await;
    }));
    let mut request = Request::get(&url[Position::BeforePath..Position::AfterQuery])
        .header(header::HOST, &url[Position::BeforeHost..Position::AfterPort])
        .header(header::USER_AGENT, concat!("funnelweb/", env!("CARGO_PKG_VERSION")))
        .header(header::ACCEPT, "*/*")
        .header(header::ACCEPT_ENCODING, "identity");
    for (name, value) in known.into_iter().flat_map(Validators::conditions) {
        request = request.header(name, value);
    }
    let request = request.body(Empty::<Bytes>::new()).map_err(|error| Failure::Permanent(error.to_string()))?;
    let response = in_time(limits::OUTBOUND_TIMEOUT, "no answer", sender.send_request(request)).await?;
    Ok((response.map_err(broken)?, connection))
}

/// Where the host is; none that it may not be.
async fn addresses(location: &Location) -> Result<Vec<SocketAddr>, Failure> {
    let url = &location.url;
    let port = url.port_or_known_default().unwrap_or_default();
    let host = url.host_str().unwrap_or_default();
    let found: Vec<SocketAddr> = match urls::address(url) {
        Some(address) => vec![(address, port).into()],
        None => {
            let found = in_time(CONNECT_TIMEOUT, "the host was not found", lookup_host((host, port))).await?;
            found.map_err(|error| Failure::Transient(format!("the host {host} was not found: {error}")))?.collect()
        }
    };
    let may_be = |address: IpAddr| location.anywhere || is_public(address);
    let allowed: Vec<SocketAddr> = found.iter().copied().filter(|address| may_be(address.ip())).collect();
    if allowed.is_empty() {
        let message = match found.is_empty() {
            true => return Err(Failure::Transient(format!("the host {host} has no address"))),
            false => format!("the host {host} is not of the public internet, and the operator does not name it"),
        };
        return Err(Failure::Permanent(message));
    }
    Ok(allowed)
}

/// To the first that takes it.
async fn open(addresses: &[SocketAddr]) -> Result<TcpStream, Failure> {
    let mut last = Failure::Transient("there is no address".to_owned());
    for address in addresses {
        match in_time(CONNECT_TIMEOUT, "no connection", TcpStream::connect(address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => last = Failure::Transient(format!("no connection: {error}")),
            Err(failure) => last = failure,
        }
    }
    Err(last)
}

async fn in_time<T>(limit: Duration, what: &str, answer: impl Future<Output = T>) -> Result<T, Failure> {
    timeout(limit, answer).await.map_err(|_| Failure::Transient(format!("{what} within {} s", limit.as_secs())))
}

fn refused(status: StatusCode) -> Failure {
    let passes = matches!(status, StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY | StatusCode::TOO_MANY_REQUESTS);
    if status.is_redirection() && status != StatusCode::NOT_MODIFIED {
        return Failure::Permanent(format!("answered {status}; a redirect is not followed"));
    }
    let message = format!("answered {status}");
    if passes || status.is_server_error() { Failure::Transient(message) } else { Failure::Permanent(message) }
}

/// Trusts whom the file says, or the operating system.
fn tls(ca_file: Option<&Path>) -> Result<ClientConfig, String> {
    let mut roots = RootCertStore::empty();
    match ca_file {
        None => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
        Some(file) => {
            let wrong = |error: &dyn std::fmt::Display| format!("sync.tls_ca_file: {}: {error}", file.display());
            for certificate in CertificateDer::pem_file_iter(file).map_err(|error| wrong(&error))? {
                let certificate = certificate.map_err(|error| wrong(&error))?;
                roots.add(certificate).map_err(|error| wrong(&error))?;
            }
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    Ok(builder.map_err(|error| error.to_string())?.with_root_certificates(roots).with_no_client_auth())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn location(url: &str, anywhere: bool) -> Location {
        Location { url: url.parse().unwrap(), anywhere }
    }

    #[tokio::test]
    async fn a_host_that_is_not_spelled_out_must_be_of_the_public_internet() {
        for url in ["https://127.0.0.1/", "https://169.254.169.254/x", "https://[::1]/", "https://localhost/"] {
            let refused = addresses(&location(url, false)).await;
            assert!(
                matches!(&refused, Err(Failure::Permanent(error)) if error.contains("not of the public internet")),
                "{url}: {refused:?}"
            );
            assert!(!addresses(&location(url, true)).await.unwrap().is_empty() || url.contains("localhost"), "{url}");
        }
        let public = addresses(&location("https://1.1.1.1/", false)).await.unwrap();
        assert_eq!(public, ["1.1.1.1:443".parse().unwrap()]);
    }

    #[test]
    fn what_may_pass_is_told_from_what_will_not() {
        for (status, passes) in [
            (500, true),
            (502, true),
            (503, true),
            (429, true),
            (408, true),
            (404, false),
            (403, false),
            (410, false),
            (301, false),
            (302, false),
            (304, false),
            (204, false),
        ] {
            let failure = refused(StatusCode::from_u16(status).unwrap());
            assert_eq!(matches!(failure, Failure::Transient(_)), passes, "{status}: {failure}");
        }
    }

    #[test]
    fn certificates_that_are_none_are_named() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n").unwrap();
        assert!(tls(Some(file.path())).unwrap_err().starts_with("sync.tls_ca_file: "));
        assert!(tls(Some(Path::new("/none.pem"))).unwrap_err().starts_with("sync.tls_ca_file: /none.pem"));
    }
}
