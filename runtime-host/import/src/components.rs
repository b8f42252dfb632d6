//! Components of a running server's tenant: to upload, certify, activate, try, roll back
//! and look at. What is answered is the API's own JSON, as it came.

use serde_json::{Map, Value, json};

use crate::{Client, Error, Result, client::check};

const PATH: &str = "/api/v1/components";

/// A version that runs for a part of the requests.
#[derive(Debug, Clone, Copy)]
pub struct Canary<'a> {
    /// Which.
    pub version: &'a str,
    /// Above 0, at most 100.
    pub percent: f64,
    /// `users` or `requests`.
    pub of: &'a str,
}

impl Client {
    /// Uploads a component: its version's document.
    ///
    /// # Errors
    /// When the server cannot be reached or refuses.
    pub fn push_component(&self, wasm: &[u8]) -> Result<String> {
        let answer = self.call("POST", PATH, "application/wasm", wasm, None)?;
        self.text(PATH, answer)
    }

    /// All components: `{"components": […]}`.
    ///
    /// # Errors
    /// As [`Client::push_component`].
    pub fn components(&self) -> Result<String> {
        self.told("GET", PATH, None)
    }

    /// Replays requests of a scenario through a version: its document.
    ///
    /// # Errors
    /// As [`Client::push_component`].
    pub fn certify_component(
        &self,
        name: &str,
        version: &str,
        scenario_id: &str,
        params: Option<&Map<String, Value>>,
    ) -> Result<String> {
        let body = match params {
            Some(params) => json!({"scenario_id": scenario_id, "params": params}),
            None => json!({"scenario_id": scenario_id}),
        };
        self.told("POST", &format!("{}/certify", of_version(name, version)?), Some(&body))
    }

    /// Has a version run: the component's document. `is_override`: whether or not it passed
    /// certification, for which there must be the operator's token.
    ///
    /// # Errors
    /// As [`Client::push_component`].
    pub fn activate_component(&self, name: &str, version: &str, is_override: bool) -> Result<String> {
        let body = json!({"override": is_override});
        self.told("POST", &format!("{}/activate", of_version(name, version)?), Some(&body))
    }

    /// Begins, changes or (none) ends a canary: the component's document.
    ///
    /// # Errors
    /// As [`Client::push_component`].
    pub fn set_component_canary(&self, name: &str, canary: Option<Canary<'_>>) -> Result<String> {
        let path = format!("{}/canary", of(name)?);
        match canary {
            Some(Canary { version, percent, of }) => {
                self.told("PUT", &path, Some(&json!({"version": version, "percent": percent, "of": of})))
            }
            None => self.told("DELETE", &path, None),
        }
    }

    /// Has the version run that did before: the component's document. Not repeated: a
    /// second time it goes back further.
    ///
    /// # Errors
    /// As [`Client::push_component`].
    pub fn roll_back_component(&self, name: &str) -> Result<String> {
        let path = format!("{}/rollback", of(name)?);
        let answer = self.call_once("POST", &path)?;
        self.text(&path, answer)
    }

    /// Has a component not run any more, or again: its document.
    ///
    /// # Errors
    /// As [`Client::push_component`].
    pub fn set_component_disabled(&self, name: &str, disabled: bool) -> Result<String> {
        let word = if disabled { "disable" } else { "enable" };
        self.told("POST", &format!("{}/{word}", of(name)?), None)
    }

    /// Deletes a version that does not run, or a disabled component. Not repeated: what is
    /// gone is not there a second time.
    ///
    /// # Errors
    /// As [`Client::push_component`].
    pub fn delete_component(&self, name: &str, version: Option<&str>) -> Result<()> {
        let path = version.map_or_else(|| of(name), |version| of_version(name, version))?;
        self.call_once("DELETE", &path).map(drop)
    }

    /// What a version printed.
    ///
    /// # Errors
    /// As [`Client::push_component`].
    pub fn component_logs(&self, name: &str, version: &str) -> Result<String> {
        self.told("GET", &format!("{}/logs", of_version(name, version)?), None)
    }

    /// What a version did.
    ///
    /// # Errors
    /// As [`Client::push_component`].
    pub fn component_usage(&self, name: &str, version: &str) -> Result<String> {
        self.told("GET", &format!("{}/usage", of_version(name, version)?), None)
    }

    fn told(&self, method: &str, path: &str, body: Option<&Value>) -> Result<String> {
        let body = body.map(Value::to_string).unwrap_or_default();
        let answer = self.call(method, path, "application/json", body.as_bytes(), None)?;
        self.text(path, answer)
    }

    fn text(&self, path: &str, answer: Vec<u8>) -> Result<String> {
        String::from_utf8(answer)
            .map_err(|error| Error::Answer { url: format!("{}{path}", self.base_url()), reason: error.to_string() })
    }
}

fn of(name: &str) -> Result<String> {
    check("component", name)?;
    Ok(format!("{PATH}/{name}"))
}

fn of_version(name: &str, version: &str) -> Result<String> {
    check("version", version)?;
    Ok(format!("{}/versions/{version}", of(name)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_leave_their_paths() {
        assert_eq!(of_version("boost", "1.0.0").unwrap(), "/api/v1/components/boost/versions/1.0.0");
        for (name, version) in [("..", "1"), ("a/b", "1"), ("boost", ".."), ("boost", "1/logs"), ("", "1")] {
            assert!(matches!(of_version(name, version), Err(Error::Identity { .. })), "{name} {version}");
        }
    }
}
