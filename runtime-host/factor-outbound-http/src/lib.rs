//! Outgoing HTTP: `wasi:http/client`, to the hosts that a component's
//! `allowed_outbound_hosts` names and to no other.

use std::{sync::Arc, time::Duration};

use funnelweb_core::limits;
use funnelweb_manifest::AllowedHosts;
use http_body_util::BodyExt;
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody, WasiHttpHooks};

/// The outgoing requests of one component.
#[derive(Clone)]
pub struct OutboundHttp {
    allowed: Arc<AllowedHosts>,
}

impl OutboundHttp {
    /// To these hosts.
    #[must_use]
    pub fn new(allowed: Arc<AllowedHosts>) -> Self {
        Self { allowed }
    }

    fn allows(&self, uri: &http::Uri) -> bool {
        let (Some(scheme), Some(host)) = (uri.scheme_str(), uri.host()) else { return false };
        self.allowed.allows(scheme, host, uri.port_u16())
    }
}

type Io = Box<dyn Future<Output = Result<(), Error>> + Send>;

impl WasiHttpHooks for OutboundHttp {
    fn send_request(
        &mut self,
        request: http::Request<WasiBody>,
        options: Option<RequestOptions>,
        _processed: Io,
    ) -> Box<dyn Future<Output = Result<(http::Response<WasiBody>, Io), Error>> + Send> {
        if !self.allows(request.uri()) {
            tracing::warn!(uri = %request.uri(), "outgoing request refused: not among allowed_outbound_hosts");
            return Box::new(async { Err(Error::HttpRequestDenied) });
        }
        let asked = options.unwrap_or_default();
        let options = RequestOptions {
            connect_timeout: bounded(asked.connect_timeout),
            first_byte_timeout: bounded(asked.first_byte_timeout),
            between_bytes_timeout: bounded(asked.between_bytes_timeout),
        };
        Box::new(async move {
            let (response, io) = wasmtime_wasi_http::default_send_request(request, Some(options)).await?;
            Ok((response.map(BodyExt::boxed_unsync), Box::new(io) as Io))
        })
    }
}

/// A time that a component asks for, bounded.
fn bounded(asked: Option<Duration>) -> Option<Duration> {
    Some(asked.map_or(limits::OUTBOUND_TIMEOUT, |asked| asked.min(limits::OUTBOUND_TIMEOUT)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_component_waits_longer_than_the_limit() {
        let second = Duration::from_secs(1);
        for (asked, given) in [
            (None, limits::OUTBOUND_TIMEOUT),
            (Some(second), second),
            (Some(limits::OUTBOUND_TIMEOUT), limits::OUTBOUND_TIMEOUT),
            (Some(limits::OUTBOUND_TIMEOUT + second), limits::OUTBOUND_TIMEOUT),
            (Some(Duration::MAX), limits::OUTBOUND_TIMEOUT),
        ] {
            assert_eq!(bounded(asked), Some(given), "{asked:?}");
        }
    }
}
