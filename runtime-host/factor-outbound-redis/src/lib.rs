//! Outgoing Redis: `spin:redis@3.0.0`, to the servers that a component's
//! `allowed_outbound_hosts` names (`redis://cache`, `rediss://*.example.com:6380`) and
//! to no other.
//!
//! A connection belongs to the instance that opened it, and so to one tenant; it ends
//! with the instance. [`funnelweb_store_redis::outbound`] makes the calls, [`host`]
//! binds the WIT to them.

pub mod host;

use std::sync::Arc;

use funnelweb_manifest::AllowedHosts;
pub use funnelweb_store_redis::outbound::Outbound;
use funnelweb_store_redis::outbound::{Connection, Error, address};

/// The outgoing connections of one component.
#[derive(Clone)]
pub struct OutboundRedis {
    connections: Outbound,
    allowed: Arc<AllowedHosts>,
}

impl OutboundRedis {
    /// To these hosts, within what `connections` of all components may be.
    #[must_use]
    pub fn new(connections: Outbound, allowed: Arc<AllowedHosts>) -> Self {
        Self { connections, allowed }
    }

    /// Whether the component may connect to what `text` names.
    ///
    /// # Errors
    /// [`Error::InvalidAddress`] when it may not, or `text` is no address: the WIT
    /// has no other word for it.
    fn check(&self, text: &str) -> Result<(), Error> {
        let server = address(text)?;
        let scheme = if server.tls { "rediss" } else { "redis" };
        if self.allowed.allows(scheme, &server.host, Some(server.port)) {
            return Ok(());
        }
        // An address may hold a password, so it is not shown whole.
        tracing::warn!(
            scheme,
            host = server.host,
            port = server.port,
            "Redis refused: not among allowed_outbound_hosts"
        );
        Err(Error::InvalidAddress)
    }

    async fn open(&self, text: &str) -> Result<Connection, Error> {
        self.check(text)?;
        self.connections.open(text).await
    }
}

#[cfg(test)]
mod tests {
    use funnelweb_manifest::Manifest;

    use super::*;

    /// A component whose manifest allows this, with `cache.example` for `{{ host }}`.
    fn allowing(hosts: &str) -> OutboundRedis {
        let text = format!(
            "spin_manifest_version = 2\n[application]\nname = \"a\"\n[variables]\nhost = {{ default = \"cache.example\" }}\n\
             [trigger]\n[component.c]\nsource = \"c.wasm\"\nallowed_outbound_hosts = {hosts}\n"
        );
        let manifest = Manifest::parse(&text, "spin.toml").unwrap();
        let values = manifest.resolve_variables(|_| None).unwrap();
        let allowed = manifest.components["c"].resolve_outbound_hosts(&values).unwrap();
        OutboundRedis::new(Outbound::new(), Arc::new(allowed))
    }

    #[test]
    fn a_component_reaches_what_its_manifest_names() {
        let some = allowing(r#"["redis://{{ host }}", "rediss://*.example:7000", "redis://[::1]:8000..8002"]"#);
        for address in [
            "redis://cache.example",
            "redis://CACHE.example:6379/3",
            "redis://ann:secret@cache.example",
            "rediss://any.example:7000",
            "redis://[::1]:8001",
            "redis://[0:0::1]:8001",
        ] {
            assert_eq!(some.check(address), Ok(()), "{address}");
        }
        for address in [
            "redis://cache.example:6380",
            "rediss://cache.example",
            "rediss://example:7000",
            "redis://any.example:7000",
            "redis://[::1]:8002",
            "redis://[::2]:8001",
            "redis://cache.example@evil.example",
            "redis://cache.example.evil.org",
            "redis://evil.example/cache.example",
            "redis://evil.example?cache.example",
            "redis://evil.example#cache.example",
            "redis://127.0.0.1",
            "http://cache.example:6379",
            "unix:///run/redis.sock",
            "rediss://any.example:7000/#insecure",
            "",
        ] {
            assert_eq!(some.check(address), Err(Error::InvalidAddress), "{address}");
        }
    }

    #[test]
    fn a_component_that_may_reach_nothing_or_web_servers_reaches_no_redis() {
        for hosts in ["[]", r#"["https://*", "http://{{ host }}:6379"]"#] {
            assert_eq!(allowing(hosts).check("redis://cache.example"), Err(Error::InvalidAddress), "{hosts}");
        }
        assert_eq!(allowing(r#"["*://*:*"]"#).check("redis://cache.example"), Ok(()));
    }
}
