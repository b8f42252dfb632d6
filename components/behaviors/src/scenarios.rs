//! The behaviour settings of the scenarios that a request names, each read once.

use std::collections::HashMap;

use funnelweb_core::{error::ApiError, scenario::Behaviors};
use funnelweb_guest::http::store;
use serde::Deserialize;

/// Scenarios remembered; a stream that names more begins anew.
const REMEMBERED: usize = 256;

/// The settings by scenario; none for one that does not exist.
#[derive(Debug, Default)]
pub(crate) struct Scenarios(HashMap<String, Option<Behaviors>>);

/// The one part of a scenario that is read here.
#[derive(Deserialize)]
struct Document {
    config: Config,
}

#[derive(Deserialize)]
struct Config {
    #[serde(default)]
    behaviors: Behaviors,
}

impl Scenarios {
    /// The settings of a scenario, which must exist; it is read through `read`
    /// unless it is known.
    pub(crate) fn get(
        &mut self,
        scenario_id: &str,
        read: impl FnOnce(&str) -> Result<Option<String>, ApiError>,
    ) -> Result<&Behaviors, ApiError> {
        if !self.0.contains_key(scenario_id) {
            let body = read(scenario_id)?;
            if self.0.len() >= REMEMBERED {
                self.0.clear();
            }
            // A scenario is checked when it is written.
            let behaviors = body.map(|body| {
                serde_json::from_str::<Document>(&body)
                    .map_or_else(|_| Behaviors::default(), |document| document.config.behaviors)
            });
            self.0.insert(scenario_id.to_owned(), behaviors);
        }
        self.0.get(scenario_id).and_then(Option::as_ref).ok_or_else(|| store::no_scenario(scenario_id))
    }
}

#[cfg(test)]
mod tests {
    use funnelweb_core::error::Code;

    use super::*;

    #[test]
    fn a_scenario_is_read_once() {
        let mut scenarios = Scenarios::default();
        let body = r#"{"scenario_id":"s1","config":{"recall":{"strategies":[]},"behaviors":{"weights":{"view":9}}}}"#;
        assert_eq!(scenarios.get("s1", |_| Ok(Some(body.to_owned()))).unwrap().weight("view"), 9.0);
        assert_eq!(scenarios.get("s1", |_| panic!("it is known")).unwrap().weight("view"), 9.0);
        let error = scenarios.get("s2", |_| Ok(None)).unwrap_err();
        assert_eq!((error.code, error.field.as_deref()), (Code::ScenarioNotFound, Some("scenario_id")));
        assert!(scenarios.get("s2", |_| panic!("it is known not to be")).is_err());
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut scenarios = Scenarios::default();
        for at in 0..3 * REMEMBERED {
            let _ = scenarios.get(&format!("s{at}"), |_| Ok(None));
        }
        assert!(scenarios.0.len() <= REMEMBERED);
    }
}
