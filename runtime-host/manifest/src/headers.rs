//! The headers in which Spin tells a component how its request was routed.

use std::{borrow::Cow, net::SocketAddr};

use crate::Match;

/// What a request says of itself, for [`spin_headers`].
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// `http` or `https`.
    pub scheme: &'a str,
    /// The `Host` header: host and port.
    pub host: &'a str,
    /// As on the request line.
    pub path_and_query: &'a str,
    /// The other end of the connection.
    pub client: SocketAddr,
}

/// The headers Spin adds to a request, as `spin_trigger_http::headers` computes
/// them. A header of the same name that the client sent is to be replaced.
///
/// | header | `/users/:id/...` asked for `/users/7/cart?x=1` |
/// |---|---|
/// | `spin-path-info` | `/cart` |
/// | `spin-full-url` | `http://127.0.0.1:3000/users/7/cart?x=1` |
/// | `spin-matched-route` | `/users/:id/...` |
/// | `spin-base-path` | `/` |
/// | `spin-raw-component-route` | `/users/:id/...` |
/// | `spin-component-route` | `/users/:id` |
/// | `spin-client-addr` | `127.0.0.1:40000` |
/// | `spin-path-match-id` | `7` |
#[must_use]
pub fn spin_headers<'a>(found: &Match<'a>, request: Request<'a>) -> Vec<(Cow<'static, str>, Cow<'a, str>)> {
    let Request { scheme, host, path_and_query, client } = request;
    let mut headers: Vec<(Cow<'static, str>, Cow<'a, str>)> = vec![
        ("spin-path-info".into(), found.trailing.unwrap_or_default().into()),
        ("spin-full-url".into(), format!("{scheme}://{host}{path_and_query}").into()),
        // Spin drops a route's trailing slash here, and here only.
        ("spin-matched-route".into(), found.route.strip_suffix('/').unwrap_or(found.route).into()),
        ("spin-base-path".into(), "/".into()),
        ("spin-raw-component-route".into(), found.route.into()),
        ("spin-component-route".into(), found.route.strip_suffix("/...").unwrap_or(found.route).into()),
        ("spin-client-addr".into(), client.to_string().into()),
    ];
    for (name, value) in &found.params {
        // Spin writes `_` as `-` in the names of headers.
        let name = name.to_ascii_lowercase().replace('_', "-");
        headers.push((format!("spin-path-match-{name}").into(), (*value).into()));
    }
    headers
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(found: &Match<'_>, path_and_query: &str) -> Vec<String> {
        let client = SocketAddr::from(([127, 0, 0, 1], 40000));
        let request = Request { scheme: "https", host: "api.example:3000", path_and_query, client };
        spin_headers(found, request).into_iter().map(|(name, value)| format!("{name}: {value}")).collect()
    }

    #[test]
    fn headers_are_those_of_spin() {
        let found = Match {
            component: "users",
            route: "/users/:user_Id/...",
            trailing: Some("/cart"),
            params: vec![("user_Id", "7%207")],
        };
        assert_eq!(
            headers(&found, "/users/7%207/cart?x=1&y"),
            [
                "spin-path-info: /cart",
                "spin-full-url: https://api.example:3000/users/7%207/cart?x=1&y",
                "spin-matched-route: /users/:user_Id/...",
                "spin-base-path: /",
                "spin-raw-component-route: /users/:user_Id/...",
                "spin-component-route: /users/:user_Id",
                "spin-client-addr: 127.0.0.1:40000",
                "spin-path-match-user-id: 7%207",
            ]
        );
    }

    #[test]
    fn the_root_and_the_catch_all() {
        let mut found = Match { component: "c", route: "/", trailing: None, params: vec![] };
        assert_eq!(
            headers(&found, "/")[2..6],
            ["spin-matched-route: ", "spin-base-path: /", "spin-raw-component-route: /", "spin-component-route: /",]
        );
        found.route = "/...";
        assert_eq!(
            headers(&found, "/")[2..6],
            [
                "spin-matched-route: /...",
                "spin-base-path: /",
                "spin-raw-component-route: /...",
                "spin-component-route: ",
            ]
        );
    }
}
