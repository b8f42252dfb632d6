//! The one table of errors: code, HTTP status, meaning; and their JSON shape.

use serde::Serialize;

/// What went wrong, as a client sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Code {
    /// A gateway header is absent.
    MissingHeader,
    /// A gateway header is malformed.
    InvalidHeader,
    /// The body is not JSON (NDJSON, CSV); line and column stand in the message.
    InvalidJson,
    /// A query parameter is unknown or malformed.
    InvalidParameter,
    /// A field of the body or path has a wrong type, size or range, is absent,
    /// or is not known.
    InvalidField,
    /// The `Authorization` was refused.
    Unauthorized,
    /// Only an operator may do it.
    NotPermitted,
    /// No such route.
    RouteNotFound,
    /// The scenario does not exist.
    ScenarioNotFound,
    /// The item does not exist.
    ItemNotFound,
    /// The user has no profile here.
    ProfileNotFound,
    /// The run of a job does not exist.
    JobNotFound,
    /// The model, or this version of it, does not exist.
    ModelNotFound,
    /// The component, or this version of it, does not exist.
    ComponentNotFound,
    /// The experiment does not exist.
    ExperimentNotFound,
    /// Nothing is recorded of the request.
    RecordingNotFound,
    /// The route exists, not with this method.
    MethodNotAllowed,
    /// The document exists already.
    AlreadyExists,
    /// The document is not at the version that `If-Match` names.
    VersionConflict,
    /// The id's handle is taken by another id.
    IdCollision,
    /// The body is larger than the limit.
    BodyTooLarge,
    /// The content type is not one of those accepted.
    UnsupportedMediaType,
    /// A scenario's config names what does not exist, or breaks a rule.
    InvalidConfig,
    /// The scenario is not active.
    ScenarioInactive,
    /// A run of the job waits or is at work.
    JobActive,
    /// The version of the model is the one that ranks, or none was before it.
    ModelInUse,
    /// The scenario has as many versions of models as it may have.
    TooManyModels,
    /// A model breaks a rule, at its upload or when it is asked.
    InvalidModel,
    /// The model is being made ready, or could not be.
    ModelNotReady,
    /// A component breaks a rule of admission.
    ComponentNotAdmitted,
    /// The version of the component has no certificate that it passed.
    ComponentNotCertified,
    /// The version of the component is active or in a canary, or none was active before
    /// it.
    ComponentInUse,
    /// The tenant has as many components or versions of one as it may have.
    TooManyComponents,
    /// An experiment that was started, or stopped, cannot be changed so.
    ExperimentStatus,
    /// The layer has fewer users left than the experiment takes.
    LayerFull,
    /// The experiment changes what another changes for the same users.
    ExperimentsInterfere,
    /// As many experiments run in the scenario as may.
    TooManyExperiments,
    /// More requests than the host takes at once.
    Overloaded,
    /// A store did not answer.
    StoreUnavailable,
    /// The request took too long.
    Timeout,
    /// A fault of the product's own.
    Internal,
}

impl Code {
    /// Every code with its HTTP status and its meaning, for the documentation.
    pub const TABLE: [(Self, u16, &'static str); 41] = [
        (Self::MissingHeader, 400, "a gateway header is absent"),
        (Self::InvalidHeader, 400, "a gateway header is malformed"),
        (Self::InvalidJson, 400, "the body is not JSON; the message gives line and column"),
        (Self::InvalidParameter, 400, "a query parameter is unknown or malformed"),
        (Self::InvalidField, 400, "a field has a wrong type, size or range, is absent, or is not known"),
        (Self::Unauthorized, 401, "the authorization was refused"),
        (Self::NotPermitted, 403, "only an operator may do this; X-Operator-Token is absent or wrong"),
        (Self::RouteNotFound, 404, "no such route"),
        (Self::ScenarioNotFound, 404, "the scenario does not exist"),
        (Self::ItemNotFound, 404, "the item does not exist"),
        (Self::ProfileNotFound, 404, "the user has no profile in this scenario"),
        (Self::JobNotFound, 404, "the run of a job does not exist"),
        (Self::ModelNotFound, 404, "the model, or this version of it, does not exist"),
        (Self::ComponentNotFound, 404, "the component, or this version of it, does not exist"),
        (Self::ExperimentNotFound, 404, "the experiment does not exist"),
        (Self::RecordingNotFound, 404, "nothing is recorded of the request, or not any more"),
        (Self::MethodNotAllowed, 405, "the route exists, not with this method"),
        (Self::AlreadyExists, 409, "a document with this id exists"),
        (Self::VersionConflict, 412, "the document is not at the version that If-Match names"),
        (Self::IdCollision, 409, "the id has the same 64-bit handle as another; choose a different one"),
        (Self::BodyTooLarge, 413, "the body is larger than the limit"),
        (Self::UnsupportedMediaType, 415, "the content type is not accepted here"),
        (Self::InvalidConfig, 422, "the config names what does not exist or breaks a rule; field is its JSON path"),
        (Self::ScenarioInactive, 409, "the scenario is not active"),
        (Self::JobActive, 409, "a run of this job waits or is at work; Location is where it is"),
        (Self::ModelInUse, 409, "the version is active, or none was active before it"),
        (Self::TooManyModels, 409, "the scenario has as many versions of models as it may have; delete one"),
        (Self::InvalidModel, 422, "the model breaks a rule; field is where, in the manifest or the ONNX file"),
        (Self::ModelNotReady, 503, "the model is being made ready, or could not be; try again"),
        (
            Self::ComponentNotAdmitted,
            422,
            "the component breaks a rule of admission; rule is its name, help how to mend it",
        ),
        (Self::ComponentNotCertified, 409, "the version of the component has no certificate that it passed"),
        (Self::ComponentInUse, 409, "the version is active or in a canary, or none was active before it"),
        (Self::TooManyComponents, 409, "there are as many components, or versions of it, as there may be; delete one"),
        (Self::ExperimentStatus, 409, "the experiment was started, or stopped, and cannot be changed so"),
        (Self::LayerFull, 409, "the layer has fewer users left than the experiment takes; field is traffic"),
        (Self::ExperimentsInterfere, 409, "another experiment changes the same for the same users; field is what"),
        (Self::TooManyExperiments, 409, "as many experiments run in the scenario as may; stop one"),
        (Self::Overloaded, 503, "more requests than are taken at once; try again"),
        (Self::StoreUnavailable, 503, "a store did not answer; try again"),
        (Self::Timeout, 504, "the request took too long"),
        (Self::Internal, 500, "a fault of the server"),
    ];

    /// The HTTP status.
    #[must_use]
    pub fn status(self) -> u16 {
        Self::TABLE.iter().find(|(code, _, _)| *code == self).map_or(500, |(_, status, _)| *status)
    }
}

/// A rule that what was sent breaks, where rules have names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// Its name: `imports`.
    pub name: String,
    /// How to mend what was sent.
    pub help: String,
}

/// An error as a client reads it:
/// `{"error":{code,message,field?,rule?,help?,request_id}}`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ApiError {
    /// The entry of the table.
    pub code: Code,
    /// For a person: what is wrong and what the limit is.
    pub message: String,
    /// The header, parameter or JSON path (`config.recall.strategies[0].name`)
    /// that is wrong.
    pub field: Option<String>,
    /// The rule that is broken; None for what is no rule of a name.
    pub rule: Option<Rule>,
}

impl ApiError {
    /// An error without a field.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), field: None, rule: None }
    }

    /// An error about one field.
    pub fn field(code: Code, field: impl Into<String>, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), field: Some(field.into()), rule: None }
    }

    /// The same error as one of a rule.
    #[must_use]
    pub fn of_rule(self, name: impl Into<String>, help: impl Into<String>) -> Self {
        Self { rule: Some(Rule { name: name.into(), help: help.into() }), ..self }
    }

    /// The response body.
    #[must_use]
    pub fn body(&self, request_id: &str) -> Vec<u8> {
        #[derive(Serialize)]
        struct Envelope<'a> {
            error: Inner<'a>,
        }
        #[derive(Serialize)]
        struct Inner<'a> {
            code: Code,
            message: &'a str,
            #[serde(skip_serializing_if = "Option::is_none")]
            field: Option<&'a str>,
            #[serde(skip_serializing_if = "Option::is_none")]
            rule: Option<&'a str>,
            #[serde(skip_serializing_if = "Option::is_none")]
            help: Option<&'a str>,
            request_id: &'a str,
        }
        let rule = self.rule.as_ref();
        let inner = Inner {
            code: self.code,
            message: &self.message,
            field: self.field.as_deref(),
            rule: rule.map(|rule| rule.name.as_str()),
            help: rule.map(|rule| rule.help.as_str()),
            request_id,
        };
        // Strings and a unit variant: serialising cannot fail.
        serde_json::to_vec(&Envelope { error: inner }).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_in_the_table_once() {
        for (index, (code, status, _)) in Code::TABLE.iter().enumerate() {
            assert_eq!(Code::TABLE.iter().position(|(other, _, _)| other == code), Some(index));
            assert_eq!(code.status(), *status);
        }
    }

    #[test]
    fn the_body_is_the_documented_shape() {
        let error = ApiError::field(Code::InvalidField, "count", "must be 1 to 200, got 0");
        assert_eq!(
            String::from_utf8(error.body("req_1")).unwrap(),
            r#"{"error":{"code":"invalid_field","message":"must be 1 to 200, got 0","field":"count","request_id":"req_1"}}"#
        );
        let error = ApiError::new(Code::ComponentNotAdmitted, "imports a socket").of_rule("imports", "do without it");
        assert_eq!(
            String::from_utf8(error.body("req_1")).unwrap(),
            r#"{"error":{"code":"component_not_admitted","message":"imports a socket","rule":"imports","help":"do without it","request_id":"req_1"}}"#
        );
    }
}
