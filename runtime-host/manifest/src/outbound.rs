//! Where a component may connect to: `allowed_outbound_hosts`, as Spin reads it.

use std::{net::IpAddr, ops::Range};

/// The destinations of one component. Everything else is denied.
///
/// An entry is `scheme://host[:port]`. The scheme is a word or `*`. The host is
/// a name, an address, a network as `10.0.0.0/8`, `*.example.com` for every name
/// below that one, `self` for the application's own routes, or `*`. The port is a
/// number, a range `8000..9000` without its end, or `*`; without one it is the
/// scheme's usual port.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct AllowedHosts {
    entries: Vec<Entry>,
}

#[derive(Debug, Clone, PartialEq)]
struct Entry {
    /// None for any.
    scheme: Option<String>,
    host: Host,
    /// None for any.
    ports: Option<Range<u32>>,
}

#[derive(Debug, Clone, PartialEq)]
enum Host {
    Any,
    Own,
    /// With its leading dot.
    Below(String),
    Name(String),
    Network(IpAddr, u32),
}

impl AllowedHosts {
    /// Parses entries without variables. Like Spin it passes over what is empty,
    /// or only a scheme, since a variable may have been left empty on purpose.
    pub(crate) fn parse(entries: impl IntoIterator<Item = String>) -> Result<Self, String> {
        let filled = entries.into_iter().filter(|text| !matches!(text.as_str(), "" | "http://" | "https://"));
        let entries = filled.map(|text| Entry::parse(&text)).collect::<Result<_, _>>()?;
        Ok(Self { entries })
    }

    /// Checks an entry as it stands in the file.
    pub(crate) fn check(text: &str) -> Result<(), String> {
        Entry::parse(text).map(|_| ())
    }

    /// Whether the component may connect to `host`, a name or an address (of
    /// version 6 with or without brackets), at `port` or the scheme's usual one.
    #[must_use]
    pub fn allows(&self, scheme: &str, host: &str, port: Option<u16>) -> bool {
        let Some(port) = port.or_else(|| usual_port(scheme)) else {
            return self
                .entries
                .iter()
                .any(|entry| entry.ports.is_none() && entry.allows_scheme(scheme) && entry.host.allows(host));
        };
        self.entries.iter().any(|entry| {
            let allows_port = entry.ports.as_ref().is_none_or(|ports| ports.contains(&u32::from(port)));
            allows_port && entry.allows_scheme(scheme) && entry.host.allows(host)
        })
    }

    /// Whether the component may send requests to the application's own routes.
    #[must_use]
    pub fn allows_self(&self, scheme: &str) -> bool {
        self.entries.iter().any(|entry| entry.allows_scheme(scheme) && matches!(entry.host, Host::Any | Host::Own))
    }
}

impl Entry {
    fn parse(text: &str) -> Result<Self, String> {
        let wrong = |rule: &str| format!("{text:?} is not a destination: {rule}");
        let Some((scheme, rest)) = text.trim().split_once("://") else {
            return Err(wrong("it must be `scheme://host[:port]`, each of which may be `*`"));
        };
        if scheme != "*" && (scheme.is_empty() || !scheme.chars().all(|c| c.is_ascii_alphabetic())) {
            return Err(wrong("the scheme must be letters, or `*`"));
        }
        let (host, port) = split_port(rest);
        let ports = match port.strip_suffix('/').unwrap_or(port) {
            "*" => None,
            "" => {
                let port = usual_port(scheme).ok_or_else(|| wrong("this scheme has no usual port, so name one"))?;
                Some(u32::from(port)..u32::from(port) + 1)
            }
            port if port.contains('/') => return Err(wrong("it must not have a path")),
            port => Some(ports(port).ok_or_else(|| wrong("the port must be a number, a range `a..b`, or `*`"))?),
        };
        let host = Host::parse(host).map_err(wrong)?;
        Ok(Self { scheme: (scheme != "*").then(|| scheme.to_ascii_lowercase()), host, ports })
    }

    fn allows_scheme(&self, scheme: &str) -> bool {
        self.scheme.as_ref().is_none_or(|allowed| allowed.eq_ignore_ascii_case(scheme))
    }
}

/// Splits at the last colon that is not inside an address of version 6.
fn split_port(text: &str) -> (&str, &str) {
    match text.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') && (!host.contains(':') || host.ends_with(']')) => (host, port),
        _ => (text, ""),
    }
}

fn ports(text: &str) -> Option<Range<u32>> {
    let number = |text: &str| text.parse::<u16>().ok().map(u32::from);
    match text.split_once("..") {
        Some((start, end)) => Some(number(start)?..number(end)?).filter(|ports| !ports.is_empty()),
        None => number(text).map(|port| port..port + 1),
    }
}

fn usual_port(scheme: &str) -> Option<u16> {
    match scheme.to_ascii_lowercase().as_str() {
        "http" => Some(80),
        "https" => Some(443),
        "mqtt" => Some(1883),
        "mysql" => Some(3306),
        "postgres" => Some(5432),
        "redis" | "rediss" => Some(6379),
        _ => None,
    }
}

/// The address that `text` is, with or without brackets.
fn address(text: &str) -> Option<IpAddr> {
    let inner = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    inner.parse().ok()
}

/// An address as bits, and how many of them there are.
fn bits(address: IpAddr) -> (u128, u32) {
    match address {
        IpAddr::V4(address) => (u128::from(address.to_bits()), 32),
        IpAddr::V6(address) => (address.to_bits(), 128),
    }
}

impl Host {
    fn parse(text: &str) -> Result<Self, &'static str> {
        let text = text.trim();
        match text {
            "*" => return Ok(Self::Any),
            "self" | "self.alt" => return Ok(Self::Own),
            _ => {}
        }
        if let Some((network, length)) = text.split_once('/')
            && let Some(network) = address(network)
            && !length.is_empty()
        {
            let length = length.parse().ok().filter(|length| *length <= bits(network).1);
            return Ok(Self::Network(network, length.ok_or("the network's length is not one")?));
        }
        let text = text.strip_suffix('/').unwrap_or(text);
        if text.contains('/') {
            return Err("it must not have a path");
        }
        if let Some(address) = address(text) {
            return Ok(Self::Network(address, bits(address).1));
        }
        let (name, below) = match text.strip_prefix("*.") {
            Some(name) => (name, true),
            None => (text, false),
        };
        if name.contains('*') {
            return Err("`*` stands for a whole host, or for names below one as in `*.example.com`");
        }
        if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.')) {
            return Err("the host must be a name in ASCII, an address or a network");
        }
        let name = name.to_ascii_lowercase();
        Ok(if below { Self::Below(format!(".{name}")) } else { Self::Name(name) })
    }

    fn allows(&self, host: &str) -> bool {
        match (self, address(host)) {
            (Self::Any, _) => true,
            (Self::Network(network, length), Some(address)) => {
                let ((network, width), (address, address_width)) = (bits(*network), bits(address));
                // A shift by the whole width compares nothing, as `/0` means.
                let shift = width - length;
                width == address_width && network.checked_shr(shift) == address.checked_shr(shift)
            }
            (Self::Name(name), None) => host.eq_ignore_ascii_case(name),
            (Self::Below(suffix), None) => host.to_ascii_lowercase().ends_with(suffix.as_str()),
            (Self::Own | Self::Name(_) | Self::Below(_) | Self::Network(..), _) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allows(entry: &str, scheme: &str, host: &str, port: impl Into<Option<u16>>) -> bool {
        AllowedHosts::parse([entry.to_owned()]).unwrap().allows(scheme, host, port.into())
    }

    #[test]
    fn nothing_is_allowed_by_default() {
        assert!(!AllowedHosts::default().allows("https", "example.com", None));
        assert!(!AllowedHosts::default().allows_self("http"));
    }

    #[test]
    fn schemes_and_ports() {
        let entry = "https://Example.com";
        assert!(allows(entry, "https", "example.com", None));
        assert!(allows(entry, "HTTPS", "EXAMPLE.com", 443));
        assert!(!allows(entry, "https", "example.com", 444));
        assert!(!allows(entry, "http", "example.com", None));
        assert!(!allows(entry, "http", "example.com", 443));
        assert!(allows("https://example.com/", "https", "example.com", None));
        assert!(allows("https://example.com:8080/", "https", "example.com", 8080));
        assert!(!allows("https://example.com:8080", "https", "example.com", None));
        assert!(allows("http://example.com:*", "http", "example.com", 1));
        assert!(allows("http://example.com:8000..9000", "http", "example.com", 8999));
        assert!(!allows("http://example.com:8000..9000", "http", "example.com", 9000));
        assert!(allows("*://example.com:80", "http", "example.com", None));
        assert!(allows("*://example.com:*", "gopher", "example.com", None));
        assert!(!allows("*://example.com:80", "gopher", "example.com", None));
        assert!(allows("redis://cache", "redis", "cache", 6379));
        assert!(allows("rediss://cache", "rediss", "cache", 6379));
        assert!(!allows("rediss://cache", "redis", "cache", 6379));
    }

    #[test]
    fn hosts() {
        assert!(allows("https://*", "https", "anything.example", None));
        assert!(allows("https://*.example.com", "https", "a.b.EXAMPLE.com", None));
        assert!(!allows("https://*.example.com", "https", "example.com", None));
        assert!(!allows("https://*.example.com", "https", "badexample.com", None));
        assert!(!allows("https://example.com", "https", "example.com.evil.org", None));
        assert!(!allows("https://example.com", "https", "a.example.com", None));
        assert!(allows("http://127.0.0.1", "http", "127.0.0.1", None));
        assert!(!allows("http://127.0.0.1", "http", "127.1", None));
        assert!(allows("http://[::1]:8080", "http", "::1", 8080));
        assert!(allows("http://[::1]", "http", "[0:0::1]", None));
    }

    #[test]
    fn networks() {
        assert!(allows("http://10.0.0.0/8:*", "http", "10.255.0.1", 81));
        assert!(!allows("http://10.0.0.0/8", "http", "11.0.0.1", None));
        assert!(!allows("http://10.0.0.0/8", "http", "10.example.com", None));
        assert!(!allows("http://0.0.0.0/0", "http", "::1", None));
        assert!(allows("http://0.0.0.0/0", "http", "9.9.9.9", None));
        assert!(allows("http://[::]/0", "http", "2001:db8::1", None));
    }

    #[test]
    fn own_routes() {
        let hosts = |entry: &str| AllowedHosts::parse([entry.to_owned()]).unwrap();
        assert!(hosts("http://self").allows_self("http"));
        assert!(!hosts("http://self").allows_self("https"));
        assert!(!hosts("http://self").allows("http", "self", None));
        assert!(hosts("*://*:*").allows_self("http"));
        assert!(!hosts("http://example.com").allows_self("http"));
    }

    #[test]
    fn entries_left_empty_by_a_variable_allow_nothing() {
        let hosts = AllowedHosts::parse(["", "http://", "https://"].map(str::to_owned)).unwrap();
        assert_eq!(hosts, AllowedHosts::default());
    }

    #[test]
    fn malformed_entries() {
        for (entry, rule) in [
            ("", "it must be `scheme://host[:port]`, each of which may be `*`"),
            ("*", "it must be `scheme://host[:port]`, each of which may be `*`"),
            ("example.com", "it must be `scheme://host[:port]`, each of which may be `*`"),
            ("://example.com", "the scheme must be letters, or `*`"),
            ("h2c://example.com:1", "the scheme must be letters, or `*`"),
            ("*://example.com", "this scheme has no usual port, so name one"),
            ("https://example.com:0x50", "the port must be a number, a range `a..b`, or `*`"),
            ("https://example.com:65536", "the port must be a number, a range `a..b`, or `*`"),
            ("https://example.com:9..8", "the port must be a number, a range `a..b`, or `*`"),
            ("https://example.com/path", "it must not have a path"),
            ("https://example.com:443/path", "it must not have a path"),
            ("https://a.*.com", "`*` stands for a whole host, or for names below one as in `*.example.com`"),
            ("https://*.*.com", "`*` stands for a whole host, or for names below one as in `*.example.com`"),
            ("https://", "the host must be a name in ASCII, an address or a network"),
            ("https://ex\u{e4}mple.com", "the host must be a name in ASCII, an address or a network"),
            ("https://user@example.com", "the host must be a name in ASCII, an address or a network"),
            ("https://10.0.0.0/33", "the network's length is not one"),
        ] {
            assert_eq!(Entry::parse(entry).unwrap_err(), format!("{entry:?} is not a destination: {rule}"));
        }
    }
}
