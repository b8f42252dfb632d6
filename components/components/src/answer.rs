//! What a client is told of components, and why something is not done.

use funnelweb_core::error::{ApiError, Code};
use funnelweb_guest::{components::Refusal, http::Reply};
use http::{StatusCode, header};
use serde::Deserialize;
use serde_json::value::RawValue;

/// What a version is called, as its document says it.
#[derive(Deserialize)]
struct Named {
    name: String,
    version: String,
}

/// A document that the capability made.
pub(crate) fn document(made: Result<String, Refusal>) -> Result<Reply, ApiError> {
    Ok(Reply::json_text(StatusCode::OK, made.map_err(refused)?))
}

/// Components.
pub(crate) fn list(documents: &[String]) -> Reply {
    Reply::page("components", documents.iter().map(String::as_str), None)
}

/// A version that was taken, and where it is.
pub(crate) fn added(document: String) -> Result<Reply, ApiError> {
    let Named { name, version } = read(&document)?;
    let location = format!("/api/v1/components/{name}/versions/{version}");
    Ok(Reply::json_text(StatusCode::CREATED, document).header(header::LOCATION, &location))
}

/// One version of a component.
pub(crate) fn version(component: &str, version: &str) -> Result<Reply, ApiError> {
    #[derive(Deserialize)]
    struct Component<'a> {
        name: String,
        #[serde(borrow)]
        versions: Vec<&'a RawValue>,
    }
    let Component { name, versions } = read(component)?;
    for document in versions {
        if read::<Named>(document.get())?.version == version {
            return Ok(Reply::json_text(StatusCode::OK, document.get().to_owned()));
        }
    }
    Err(refused(Refusal::NoVersion(format!("no version `{version}` of the component `{name}`"))))
}

/// What a version printed.
pub(crate) fn logs(text: String) -> Reply {
    Reply::bytes(StatusCode::OK, "text/plain; charset=utf-8", text)
}

fn read<'a, T: Deserialize<'a>>(document: &'a str) -> Result<T, ApiError> {
    serde_json::from_str(document)
        .map_err(|error| ApiError::new(Code::Internal, format!("the stored component does not read: {error}")))
}

/// Why something is not done.
pub(crate) fn refused(refusal: Refusal) -> ApiError {
    match refusal {
        Refusal::Store(error) => error.into(),
        Refusal::NoScenario(message) => ApiError::field(Code::ScenarioNotFound, "scenario_id", message),
        Refusal::NoComponent(message) => ApiError::field(Code::ComponentNotFound, "name", message),
        Refusal::NoVersion(message) => ApiError::field(Code::ComponentNotFound, "version", message),
        Refusal::Exists(message) => ApiError::field(Code::AlreadyExists, "version", message),
        Refusal::InUse(message) => ApiError::field(Code::ComponentInUse, "version", message),
        Refusal::TooMany(message) => ApiError::new(Code::TooManyComponents, message),
        Refusal::Busy(message) => ApiError::new(Code::Overloaded, message),
        Refusal::NotAdmitted(broken) => {
            ApiError::field(Code::ComponentNotAdmitted, "component", broken.message).of_rule(broken.rule, broken.help)
        }
        Refusal::NotCertified(message) => ApiError::field(Code::ComponentNotCertified, "version", message),
        Refusal::NotPermitted(message) => ApiError::new(Code::NotPermitted, message),
        Refusal::Invalid((field, message)) => ApiError::field(Code::InvalidField, field, message),
    }
}

#[cfg(test)]
mod tests {
    use funnelweb_guest::{components::BrokenRule, errors::Error};

    use super::*;

    const COMPONENT: &str = r#"{"name":"boost","active":null,"versions":[
        {"name":"boost","version":"1.1.0","bytes":2},{"name":"boost","version":"1.0.0","bytes":1.50}]}"#;

    #[test]
    fn a_version_is_answered_as_it_is_kept() {
        let answer = version(COMPONENT, "1.0.0").unwrap();
        assert!(format!("{answer:?}").contains(r#"\"bytes\":1.50}"#), "{answer:?}");
        let missing = version(COMPONENT, "2.0.0").unwrap_err();
        assert_eq!((missing.code, missing.field.as_deref()), (Code::ComponentNotFound, Some("version")));
        assert_eq!(missing.message, "no version `2.0.0` of the component `boost`");
        assert_eq!(version("{", "1.0.0").unwrap_err().code, Code::Internal);
    }

    #[test]
    fn what_is_added_says_where_it_is() {
        let answer = added(r#"{"name":"boost","version":"1.0.0"}"#.to_owned()).unwrap().into_response("r1");
        assert_eq!(answer.status(), 201);
        assert_eq!(answer.headers()["location"], "/api/v1/components/boost/versions/1.0.0");
        assert_eq!(logs(String::new()).into_response("r1").headers()["content-type"], "text/plain; charset=utf-8");
    }

    #[test]
    fn refusals_have_their_codes() {
        let text = || "why".to_owned();
        for (refusal, code, status, field) in [
            (Refusal::Store(Error::Unavailable(text())), Code::StoreUnavailable, 503, None),
            (Refusal::NoScenario(text()), Code::ScenarioNotFound, 404, Some("scenario_id")),
            (Refusal::NoComponent(text()), Code::ComponentNotFound, 404, Some("name")),
            (Refusal::NoVersion(text()), Code::ComponentNotFound, 404, Some("version")),
            (Refusal::Exists(text()), Code::AlreadyExists, 409, Some("version")),
            (Refusal::InUse(text()), Code::ComponentInUse, 409, Some("version")),
            (Refusal::TooMany(text()), Code::TooManyComponents, 409, None),
            (Refusal::Busy(text()), Code::Overloaded, 503, None),
            (Refusal::NotCertified(text()), Code::ComponentNotCertified, 409, Some("version")),
            (Refusal::NotPermitted(text()), Code::NotPermitted, 403, None),
            (Refusal::Invalid(("params".to_owned(), text())), Code::InvalidField, 400, Some("params")),
        ] {
            let error = refused(refusal);
            assert_eq!((error.code, error.code.status(), error.field.as_deref()), (code, status, field));
            assert_eq!((error.message.as_str(), error.rule), ("why", None));
        }
    }

    #[test]
    fn a_broken_rule_is_named_and_helped() {
        let broken =
            BrokenRule { rule: "imports".to_owned(), message: "a socket".to_owned(), help: "do without".to_owned() };
        let error = refused(Refusal::NotAdmitted(broken));
        let expected =
            ApiError::field(Code::ComponentNotAdmitted, "component", "a socket").of_rule("imports", "do without");
        assert_eq!((error.code.status(), error), (422, expected));
    }
}
