//! What is to be other than it was.

use std::collections::BTreeMap;

use funnelweb_bindings::capabilities::{documents, errors};
use funnelweb_core::{
    error::ApiError,
    experiment::{merge, overlaid},
};
use funnelweb_recording::{Recording, host::Refusal};
use serde::Deserialize;
use serde_json::{Map, Value};

/// Changes of a request that is run again.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Changed {
    /// A merge patch (RFC 7386) of the scenario's config as it was.
    pub(super) config: Map<String, Value>,
    /// By component (`acme/boost`) or model (`deepfm`), which version runs.
    pub(super) versions: BTreeMap<String, String>,
}

impl Changed {
    /// From `{"config": {…}, "with": ["acme/boost@1.2.0", …]}`.
    pub(super) fn read(text: &str) -> Result<Self, Refusal> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Text {
            #[serde(default)]
            config: Map<String, Value>,
            #[serde(default)]
            with: Vec<String>,
        }
        let Text { config, with } =
            serde_json::from_str(text).map_err(|error| invalid("changes", error.to_string()))?;
        let mut versions = BTreeMap::new();
        for (at, one) in with.iter().enumerate() {
            let path = format!("with[{at}]");
            let named = one.rsplit_once('@').filter(|(name, version)| !name.is_empty() && !version.is_empty());
            let Some((name, version)) = named else {
                return Err(invalid(
                    path,
                    format!(
                        "must be a component or model and its version, `acme/boost@1.2.0` or `deepfm@v2`, got `{one}`"
                    ),
                ));
            };
            if versions.insert(name.to_owned(), version.to_owned()).is_some() {
                return Err(invalid(path, format!("`{name}` stands here twice")));
            }
        }
        Ok(Self { config, versions })
    }

    /// A merge patch of a config, as text.
    pub(super) fn of_config(text: &str) -> Result<Self, Refusal> {
        let config = serde_json::from_str(text).map_err(|error| invalid("config", error.to_string()))?;
        Ok(Self { config, versions: BTreeMap::new() })
    }

    /// That a version was to run of what was not asked.
    pub(super) fn unused(&self, name: &str) -> Refusal {
        let at = self.versions.keys().position(|known| known == name).unwrap_or_default();
        invalid(
            format!("with[{at}]"),
            format!(
                "nothing of `{name}` ran: neither a component of the tenant's, whose names begin with the tenant's, nor the model that ranks"
            ),
        )
    }

    pub(super) fn is_nothing(&self) -> bool {
        self.config.is_empty() && self.versions.is_empty()
    }

    /// The recording as if its scenario had been so, checked as a whole. Whether its stages
    /// take their params they say when they run.
    pub(super) fn patched(&self, recording: &Recording) -> Result<Recording, Refusal> {
        let mut patched = recording.clone();
        if self.config.is_empty() {
            return Ok(patched);
        }
        let scenario = patched.calls.iter_mut().filter(|call| call.name == "documents.get").find_map(|call| {
            let answer: Result<Option<documents::Document>, errors::Error> = call.answer()?;
            let document = answer.ok()??;
            let body: Value = serde_json::from_str(&document.body).ok()?;
            (body.get("scenario_id")? == recording.scenario_id.as_str() && body.get("config").is_some())
                .then_some((call, document, body))
        });
        let Some((call, mut document, mut body)) = scenario else {
            return Err(invalid("config", "the request did not come so far as to read its scenario"));
        };
        if let Some(config) = body.get_mut("config") {
            // What is tried beside it is not run again.
            if let Value::Object(fields) = config {
                fields.remove("shadow");
            }
            overlaid(config, &[&self.config]).map_err(refused)?;
            merge(config, &Value::Object(self.config.clone()));
        }
        document.body = body.to_string();
        let answer: Result<Option<documents::Document>, errors::Error> = Ok(Some(document));
        call.set_answer(&answer);
        Ok(patched)
    }
}

fn refused(error: ApiError) -> Refusal {
    Refusal::Invalid((error.field.unwrap_or_default(), error.message))
}

fn invalid(path: impl Into<String>, message: impl Into<String>) -> Refusal {
    Refusal::Invalid((path.into(), message.into()))
}

#[cfg(test)]
mod tests {
    use funnelweb_recording::{Changes, Keep, Session, StageTape, Tape};

    use super::*;

    fn path(changed: Result<impl std::fmt::Debug, Refusal>) -> String {
        match changed {
            Err(Refusal::Invalid((path, _))) => path,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn versions_are_named_with_what_they_are_of() {
        let read = |with: &str| Changed::read(&format!(r#"{{"with":[{with}]}}"#));
        let changed = read(r#""acme/boost@1.2.0","deepfm@v2""#).unwrap();
        let versions: Vec<_> = changed.versions.into_iter().collect();
        let named = |name: &str, version: &str| (name.to_owned(), version.to_owned());
        assert_eq!(versions, [named("acme/boost", "1.2.0"), named("deepfm", "v2")]);
        assert_eq!(path(read(r#""a@1","boost""#)), "with[1]");
        assert_eq!(path(read(r#""@1""#)), "with[0]");
        assert_eq!(path(read(r#""a@1","a@2""#)), "with[1]");
        assert!(Changed::read("{}").unwrap().is_nothing());
    }

    /// A request that read its scenario and a profile.
    async fn recording() -> Recording {
        let journal = funnelweb_recording::Journal::default();
        let session = Session::record(1);
        journal.turn_to(Some(std::sync::Arc::clone(&session)));
        let tape = Tape::of(&journal);
        let scenario = r#"{"scenario_id":"s","scenario_type":"t","config":{"recall":{"strategies":[{"name":"latest"}]},"shadow":{"config":{}}}}"#;
        for (id, body) in [("ann", "{}"), ("s", scenario)] {
            let key = documents::Key { scenario_id: "s".to_owned(), id: id.to_owned() };
            let found = documents::Document { key, body: body.to_owned(), version: 1 };
            let found: Result<Option<documents::Document>, errors::Error> = Ok(Some(found));
            let _ = tape.cue("documents.get", &id).play(async { found }).await;
        }
        drop(StageTape::begin(Some(&session), funnelweb_recording::Role::Recall, "latest"));
        session.keep("s", Keep::Always, 60, None);
        let asked = funnelweb_recording::Asked {
            request_id: "r".to_owned(),
            user_id: "ann".to_owned(),
            method: "POST".to_owned(),
            path: "/".to_owned(),
            content_type: String::new(),
            body: Vec::new(),
        };
        session.finish("recommend", "00", asked, 200, Vec::new()).unwrap().recording()
    }

    #[tokio::test]
    async fn the_scenario_that_was_read_is_another() {
        let changed = Changed::of_config(r#"{"rank":{"model":"deepfm"}}"#).unwrap();
        let patched = changed.patched(&recording().await).unwrap();
        let session = Session::again(std::sync::Arc::new(patched), Changes { is_changed: true, ..Changes::default() });
        let journal = funnelweb_recording::Journal::default();
        journal.turn_to(Some(session));
        let none: Result<Option<documents::Document>, errors::Error> = Ok(None);
        let read = Tape::of(&journal).cue("documents.get", &"s").play(async { none }).await.unwrap().unwrap();
        let body: Value = serde_json::from_str(&read.body).unwrap();
        assert_eq!(body["config"]["rank"]["model"], "deepfm");
        assert_eq!(body["config"]["recall"]["strategies"][0]["name"], "latest");
        assert!(body["config"].get("shadow").is_none());
    }

    #[tokio::test]
    async fn a_config_that_breaks_a_rule_is_refused() {
        let changed = |text: &str| Changed::of_config(text).unwrap();
        let recording = recording().await;
        let none = changed(r#"{"recall":{"strategies":[]}}"#).patched(&recording);
        assert_eq!(path(none), "config.recall.strategies");
        assert_eq!(path(changed(r#"{"ranks":{}}"#).patched(&recording)), "config.ranks");
        let unread = Recording { calls: Vec::new(), ..recording };
        assert_eq!(path(changed(r#"{"rank":{"model":"deepfm"}}"#).patched(&unread)), "config");
    }
}
