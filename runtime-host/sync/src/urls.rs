//! The URLs that an operator allows, and whether one is among them.

use std::net::IpAddr;

use url::{Host, Url};

/// Stands for the tenant's id in the path of an entry.
const TENANT: &str = "{tenant}";
/// Bytes that a server may take for a `/` once it has decoded them.
const HIDDEN_SEPARATORS: [&str; 2] = ["%2f", "%5c"];

/// One entry of `sync.urls`: every URL of this scheme, host and port whose path is
/// this one or lies below it.
///
/// `*.example.com` is every name below that one. Whoever owns such a name says which
/// machine it is, so one that is not of the public internet is refused; a host that is
/// spelled out may be anywhere. A segment `{tenant}` of the path is the tenant's id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AllowedUrl {
    scheme: String,
    host: Name,
    port: Option<u16>,
    path: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Name {
    Is(String),
    /// With its leading dot.
    Below(String),
}

/// A URL that is allowed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Location {
    pub(crate) url: Url,
    /// Whether its host may be of the machine or its network.
    pub(crate) anywhere: bool,
}

impl AllowedUrl {
    /// Reads an entry.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        // A brace cannot stand in a URL.
        let url = parse(&text.replace(TENANT, "TENANT"))?;
        if url.query().is_some() {
            return Err("must have no query".to_owned());
        }
        let host = url.host_str().unwrap_or_default();
        let host = match host.strip_prefix('*') {
            Some(below) if below.starts_with('.') && !below.contains('*') => Name::Below(below.to_owned()),
            None if !host.contains('*') => Name::Is(host.to_owned()),
            _ => return Err("a `*` may only be the whole first label of the host".to_owned()),
        };
        let after = text.split_once("://").map_or("", |(_, after)| after);
        let written = after.split('/').skip(1).filter(|segment| !segment.is_empty());
        let path: Vec<String> = written.map(str::to_owned).collect();
        let plain: Vec<String> = path.iter().map(|segment| segment.replace(TENANT, "TENANT")).collect();
        let rest = after.split('/').next().is_some_and(|authority| authority.contains('{'));
        if rest || path.iter().any(|segment| segment.contains('{') && segment != TENANT) {
            return Err(format!("`{TENANT}` may only be a whole segment of the path"));
        }
        // What is written must be what is meant, `..` and escapes included.
        if segments(&url) != plain {
            return Err("must have a path as it is sent, without `.`, `..` and empty segments".to_owned());
        }
        Ok(Self { scheme: url.scheme().to_owned(), host, port: url.port_or_known_default(), path })
    }

    /// Whether a URL is one of these; of any tenant if none is named.
    fn allows(&self, url: &Url, tenant: Option<&str>) -> bool {
        let path = segments(url);
        let within = path.len() >= self.path.len()
            && self.path.iter().zip(&path).all(|(allowed, segment)| match tenant {
                _ if allowed != TENANT => allowed == segment,
                Some(tenant) => tenant == segment,
                None => true,
            });
        let host = match (&self.host, url.host()) {
            (Name::Is(name), Some(_)) => url.host_str() == Some(name),
            (Name::Below(suffix), Some(Host::Domain(host))) => {
                host.strip_suffix(suffix.as_str()).is_some_and(|label| !label.is_empty())
            }
            _ => false,
        };
        within && host && self.scheme == url.scheme() && self.port == url.port_or_known_default()
    }
}

/// Reads the URL of a source, which must be among those that are allowed; of any
/// tenant if none is named.
pub(crate) fn locate(text: &str, allowed: &[AllowedUrl], tenant: Option<&str>) -> Result<Location, String> {
    let url = parse(text)?;
    let found: Vec<&AllowedUrl> = allowed.iter().filter(|allowed| allowed.allows(&url, tenant)).collect();
    if found.is_empty() {
        return Err("is not among the URLs that the operator of this server allows".to_owned());
    }
    Ok(Location { anywhere: found.iter().any(|found| matches!(found.host, Name::Is(_))), url })
}

/// The address of a host that is one.
pub(crate) fn address(url: &Url) -> Option<IpAddr> {
    match url.host()? {
        Host::Domain(_) => None,
        Host::Ipv4(address) => Some(address.into()),
        Host::Ipv6(address) => Some(address.into()),
    }
}

fn parse(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|error| format!("is no URL: {error}"))?;
    if !matches!(url.scheme(), "https" | "http") {
        return Err("must begin with https:// or http://".to_owned());
    }
    if !url.username().is_empty() || url.password().is_some() || text.contains('@') && url.path().is_empty() {
        return Err("must hold no credentials".to_owned());
    }
    if url.fragment().is_some() {
        return Err("must have no fragment".to_owned());
    }
    let path = url.path().to_ascii_lowercase();
    if HIDDEN_SEPARATORS.iter().any(|separator| path.contains(separator)) {
        return Err("must have no encoded slash in its path".to_owned());
    }
    Ok(url)
}

/// Those of the path, without an empty one at its end.
fn segments(url: &Url) -> Vec<String> {
    let mut segments: Vec<String> = url.path_segments().into_iter().flatten().map(str::to_owned).collect();
    if segments.last().is_some_and(String::is_empty) {
        segments.pop();
    }
    segments
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(entries: &[&str]) -> Vec<AllowedUrl> {
        entries
            .iter()
            .map(|entry| AllowedUrl::parse(entry).unwrap_or_else(|error| panic!("{entry}: {error}")))
            .collect()
    }

    #[test]
    fn a_url_is_an_entry_or_lies_below_it() {
        let entries = allowed(&["https://a.example/data", "http://b.example:8080", "https://[2001:db8::1]/x"]);
        for url in [
            "https://a.example/data",
            "https://A.example:443/data/",
            "https://a.example/data/items.csv?day=1&x=/../y",
            "https://a.example/other/../data/x",
            "http://b.example:8080/",
            "http://b.example:8080/anything",
            "https://[2001:db8:0::1]/x/y",
        ] {
            assert!(locate(url, &entries, None).is_ok(), "{url}");
        }
        for url in [
            "http://a.example/data/x",
            "https://a.example/",
            "https://a.example/database",
            "https://a.example/data/../secret",
            "https://a.example/data/%2e%2e/secret",
            "https://a.example:8443/data",
            "https://b.example:8080/",
            "http://b.example/",
            "https://x.a.example/data",
            "https://a.example.evil/data",
            "https://2001/x",
        ] {
            let error = locate(url, &entries, None).unwrap_err();
            assert!(error.starts_with("is not among the URLs"), "{url}: {error}");
        }
    }

    #[test]
    fn what_is_no_source_at_all_is_said() {
        let entries = allowed(&["https://a.example"]);
        for (url, message) in [
            ("https://", "is no URL"),
            ("ftp://a.example/x", "must begin with"),
            ("file:///etc/passwd", "must begin with"),
            ("https://user@a.example/x", "must hold no credentials"),
            ("https://user:pw@a.example/x", "must hold no credentials"),
            ("https://a.example/x#y", "must have no fragment"),
            ("https://a.example/x/..%2Fy", "must have no encoded slash"),
            ("https://a.example/x%5cy", "must have no encoded slash"),
        ] {
            let error = locate(url, &entries, None).unwrap_err();
            assert!(error.starts_with(message), "{url}: {error}");
        }
    }

    #[test]
    fn a_tenant_s_segment_is_that_tenant_s_alone() {
        let entries = allowed(&["https://a.example/{tenant}/exports"]);
        let of = |url: &str, tenant| locate(url, &entries, tenant).is_ok();
        assert!(of("https://a.example/acme/exports/items.csv", Some("acme")));
        assert!(!of("https://a.example/acme/exports/items.csv", Some("other")));
        assert!(!of("https://a.example/acme/../other/exports/items.csv", Some("acme")));
        assert!(!of("https://a.example/acme/items.csv", Some("acme")));
        assert!(of("https://a.example/acme/exports/items.csv", None), "when a scenario is checked");
    }

    #[test]
    fn only_a_host_that_is_spelled_out_may_be_anywhere() {
        let entries = allowed(&["https://*.example.com/x", "http://10.0.0.5:9000"]);
        let anywhere = |url: &str| locate(url, &entries, None).map(|found| found.anywhere);
        assert_eq!(anywhere("https://a.b.example.com/x/y"), Ok(false));
        assert_eq!(anywhere("http://10.0.0.5:9000/y"), Ok(true));
        assert_eq!(anywhere("http://0xa.5:9000/y"), Ok(true), "another spelling of the same");
        for url in ["https://example.com/x", "https://.example.com/x", "https://example.com.evil/x"] {
            assert!(anywhere(url).is_err(), "{url}");
        }
    }

    #[test]
    fn an_entry_that_is_wrong_is_refused() {
        for (entry, message) in [
            ("a.example", "is no URL"),
            ("ftp://a.example", "must begin with"),
            ("https://u:p@a.example", "must hold no credentials"),
            ("https://a.example/?x", "must have no query"),
            ("https://a*.example", "a `*` may only be"),
            ("https://*", "a `*` may only be"),
            ("https://*.*.example", "a `*` may only be"),
            ("https://{tenant}.example/", "`{tenant}` may only be"),
            ("https://a.example/x-{tenant}", "`{tenant}` may only be"),
            ("https://a.example/{user}/", "`{tenant}` may only be"),
            ("https://a.example/a/../b", "must have a path as it is sent"),
            ("https://a.example/a b", "must have a path as it is sent"),
            ("https://a.example/a%2fb", "must have no encoded slash"),
        ] {
            let error = AllowedUrl::parse(entry).unwrap_err();
            assert!(error.starts_with(message), "{entry}: {error}");
        }
    }
}
