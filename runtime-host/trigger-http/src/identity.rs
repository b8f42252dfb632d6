//! Who a request is from: the gateway's headers, read once.

use funnelweb_core::{
    error::{ApiError, Code},
    id,
};
use funnelweb_manifest::UserHeader;
use http::{HeaderMap, header::AUTHORIZATION};

/// The header that names the tenant.
pub const TENANT: &str = "x-tenant-id";
/// The header that names the user.
pub const USER: &str = "x-user-id";
/// The header that names the request; echoed in the response.
pub const REQUEST: &str = "x-request-id";

/// The identity of a request, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// A valid id.
    pub tenant: String,
    /// A valid id, where the gateway names a user.
    pub user: Option<String>,
    /// A valid id.
    pub request: String,
}

/// Reads the gateway headers (design §5.1).
///
/// # Errors
/// `missing_header` or `invalid_header` for the first that is not right, with
/// its name as the field.
pub fn read(headers: &HeaderMap, user: UserHeader) -> Result<Identity, ApiError> {
    let tenant = required(headers, TENANT, "X-Tenant-Id")?;
    let request = required(headers, REQUEST, "X-Request-Id")?;
    let user = match user {
        UserHeader::Required => Some(required(headers, USER, "X-User-Id")?),
        UserHeader::Optional if headers.contains_key(USER) => Some(required(headers, USER, "X-User-Id")?),
        UserHeader::Optional => None,
    };
    let authorization = headers.get(AUTHORIZATION).ok_or_else(|| missing("Authorization"))?;
    let token = authorization.to_str().ok().and_then(|value| {
        let (scheme, token) = value.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
    });
    if token.is_none_or(str::is_empty) {
        return Err(invalid("Authorization", "must be `Bearer <token>`"));
    }
    Ok(Identity { tenant, user, request })
}

/// The request id to answer with, whatever else is wrong with the request.
#[must_use]
pub fn request_id(headers: &HeaderMap) -> Option<&str> {
    headers.get(REQUEST)?.to_str().ok().filter(|value| id::check(value).is_ok())
}

fn required(headers: &HeaderMap, name: &str, shown: &str) -> Result<String, ApiError> {
    let mut values = headers.get_all(name).iter();
    let value = values.next().ok_or_else(|| missing(shown))?;
    if values.next().is_some() {
        return Err(invalid(shown, "stands more than once"));
    }
    let value = value.to_str().map_err(|_| invalid(shown, "must be ASCII"))?;
    id::check(value).map_err(|error| invalid(shown, &error.to_string()))?;
    Ok(value.to_owned())
}

fn missing(name: &str) -> ApiError {
    ApiError::field(Code::MissingHeader, name, format!("the header {name} is required"))
}

fn invalid(name: &str, rule: &str) -> ApiError {
    ApiError::field(Code::InvalidHeader, name, format!("the header {name} {rule}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(list: &[(&'static str, &str)]) -> HeaderMap {
        list.iter().map(|(name, value)| (http::HeaderName::from_static(name), value.parse().unwrap())).collect()
    }

    const ALL: [(&str, &str); 4] = [(TENANT, "acme"), (USER, "ann"), (REQUEST, "r1"), ("authorization", "Bearer t")];

    #[test]
    fn all_headers_are_read() {
        let identity = read(&headers(&ALL), UserHeader::Required).unwrap();
        assert_eq!(
            (identity.tenant.as_str(), identity.user.as_deref(), identity.request.as_str()),
            ("acme", Some("ann"), "r1")
        );
    }

    #[test]
    fn a_missing_one_is_named() {
        for (at, name) in ["X-Tenant-Id", "X-User-Id", "X-Request-Id", "Authorization"].into_iter().enumerate() {
            let mut list = ALL.to_vec();
            list.remove(at);
            let error = read(&headers(&list), UserHeader::Required).unwrap_err();
            assert_eq!((error.code, error.field.as_deref()), (Code::MissingHeader, Some(name)));
        }
        assert_eq!(read(&headers(&[ALL[0], ALL[2], ALL[3]]), UserHeader::Optional).unwrap().user, None);
    }

    #[test]
    fn a_malformed_one_is_named() {
        for (name, value, shown) in [
            (TENANT, "a/b", "X-Tenant-Id"),
            (TENANT, "..", "X-Tenant-Id"),
            (USER, "", "X-User-Id"),
            (REQUEST, "a b", "X-Request-Id"),
            ("authorization", "Basic x", "Authorization"),
            ("authorization", "Bearer ", "Authorization"),
        ] {
            let list: Vec<_> = ALL.iter().map(|(key, old)| (*key, if *key == name { value } else { *old })).collect();
            let error = read(&headers(&list), UserHeader::Optional).unwrap_err();
            assert_eq!((error.code, error.field.as_deref()), (Code::InvalidHeader, Some(shown)), "{name}: {value}");
        }
        let mut twice = headers(&ALL);
        twice.append(TENANT, "other".parse().unwrap());
        assert_eq!(read(&twice, UserHeader::Optional).unwrap_err().code, Code::InvalidHeader);
    }
}
