//! `/api/v1/components`: stages that a tenant's engineers wrote; to upload, certify on
//! recorded requests, activate, try on a part of the requests, roll back, and look at.

mod answer;
mod call;
mod upload;

use funnelweb_core::{error::ApiError, limits};
use funnelweb_guest::{
    components,
    http::{self as web, Body, Head, Outgoing, Reply},
};

use crate::{
    answer::{document, refused},
    call::Certification,
};

/// The component's entry.
#[cfg_attr(target_arch = "wasm32", spin_sdk::http_service)]
pub async fn handle(request: spin_sdk::http::Request) -> Outgoing {
    web::serve(request, route).await
}

async fn route(head: Head, body: Body) -> Result<Reply, ApiError> {
    let segments = head.segments();
    let ["api", "v1", "components", path @ ..] = segments.as_slice() else { return Err(web::no_route(&head)) };
    let Some(allow) = methods(path) else { return Err(web::no_route(&head)) };
    let method = head.method.as_str();
    if !allow.split(", ").any(|allowed| allowed == method) {
        return Ok(Reply::method_not_allowed(allow));
    }
    head.query(&[])?;
    match (path, method) {
        ([], "GET") => Ok(answer::list(&components::list()?)),
        ([], "POST") => upload::add(&head, body).await,
        ([name], "GET") => document(components::get(name)),
        ([name], "DELETE") => delete(name, None),
        ([name, "canary"], "PUT") => {
            let canary = call::canary(&body.json(&head, limits::BODY_BYTES).await?)?;
            document(components::set_canary(name, Some(&canary)))
        }
        ([name, "canary"], "DELETE") => document(components::set_canary(name, None)),
        ([name, "rollback"], "POST") => document(components::roll_back(name)),
        ([name, "disable"], "POST") => document(components::set_disabled(name, true)),
        ([name, "enable"], "POST") => document(components::set_disabled(name, false)),
        ([name, "versions", version], "GET") => answer::version(&components::get(name).map_err(refused)?, version),
        ([name, "versions", version], "DELETE") => delete(name, Some(version)),
        ([name, "versions", version, "certify"], "POST") => {
            let asked = Certification::read(&body.json(&head, limits::BODY_BYTES).await?)?;
            document(components::certify(name, version, &asked.scenario_id, asked.params.as_deref()))
        }
        ([name, "versions", version, "activate"], "POST") => {
            let token = call::override_by(&head, &body.bytes(limits::BODY_BYTES).await?)?;
            document(components::activate(name, version, token.as_deref()))
        }
        ([name, "versions", version, "logs"], "GET") => {
            Ok(answer::logs(components::logs(name, version).map_err(refused)?))
        }
        ([name, "versions", version, "usage"], "GET") => document(components::usage(name, version)),
        _ => Err(web::no_route(&head)),
    }
}

/// The methods that a path below `/api/v1/components` takes; None for one that is no
/// route.
fn methods(path: &[&str]) -> Option<&'static str> {
    match path {
        [] => Some("GET, POST"),
        [_] | [_, "versions", _] => Some("DELETE, GET"),
        [_, "canary"] => Some("DELETE, PUT"),
        [_, "rollback" | "disable" | "enable"] | [_, "versions", _, "certify" | "activate"] => Some("POST"),
        [_, "versions", _, "logs" | "usage"] => Some("GET"),
        _ => None,
    }
}

fn delete(name: &str, version: Option<&str>) -> Result<Reply, ApiError> {
    components::delete(name, version).map_err(refused)?;
    Ok(Reply::no_content())
}

#[cfg(test)]
mod tests {
    use std::task::{Context, Poll, Waker};

    use bytes::Bytes;
    use http_body_util::{BodyExt, Full};

    use super::*;

    /// What a request is answered that no capability is called for.
    fn answer(method: &str, uri: &str) -> Outgoing {
        sent(http::Request::builder().method(method).uri(uri), None)
    }

    /// The same of one that declares how long its body is.
    fn sent(request: http::request::Builder, declared: Option<u64>) -> Outgoing {
        let head = Head::new(request.body(()).unwrap().into_parts().0);
        let frames = Full::new(Bytes::new()).map_err(|never| match never {}).boxed_unsync();
        let mut answer = Box::pin(route(head, Body::new(frames, declared)));
        match answer.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(answer) => answer.unwrap_or_else(Reply::error).into_response("r1"),
            Poll::Pending => panic!("an empty body is there at once"),
        }
    }

    #[test]
    fn every_route_says_its_methods() {
        for (path, allow) in [
            ("", "GET, POST"),
            ("/boost", "DELETE, GET"),
            ("/boost/canary", "DELETE, PUT"),
            ("/boost/rollback", "POST"),
            ("/boost/disable", "POST"),
            ("/boost/enable", "POST"),
            ("/boost/versions/1.0.0", "DELETE, GET"),
            ("/boost/versions/1.0.0/certify", "POST"),
            ("/boost/versions/1.0.0/activate", "POST"),
            ("/boost/versions/1.0.0/logs", "GET"),
            ("/boost/versions/1.0.0/usage", "GET"),
        ] {
            let refused = answer("PATCH", &format!("/api/v1/components{path}"));
            assert_eq!(
                (refused.status().as_u16(), &refused.headers()["allow"]),
                (405, &allow.parse().unwrap()),
                "{path}"
            );
            for method in allow.split(", ") {
                let refused = answer(method, &format!("/api/v1/components{path}?x=1"));
                assert_eq!(refused.status(), 400, "{method} {path}");
            }
        }
    }

    #[test]
    fn what_is_no_component_is_refused_before_it_is_read() {
        let upload = |media: &str, bytes: usize| {
            let request = http::Request::post("/api/v1/components").header("content-type", media);
            sent(request, Some(bytes as u64)).status().as_u16()
        };
        for media in ["application/wasm", "application/octet-stream"] {
            assert_eq!(upload(media, limits::COMPONENT_BYTES_MOST + 1), 413, "{media}");
        }
        assert_eq!(upload("application/json", 2), 415);
        for asked in ["certify", "activate"] {
            let request = http::Request::post(format!("/api/v1/components/boost/versions/1.0.0/{asked}"));
            assert_eq!(sent(request, Some(limits::BODY_BYTES as u64 + 1)).status(), 413, "{asked}");
        }
    }

    #[test]
    fn other_paths_are_no_routes() {
        for path in ["/boost/versions", "/boost/version/1.0.0", "/boost/versions/1.0.0/run", "/boost/canary/x"] {
            assert_eq!(answer("GET", &format!("/api/v1/components{path}")).status(), 404, "{path}");
        }
        assert_eq!(answer("GET", "/api/v1/models").status(), 404);
    }
}
