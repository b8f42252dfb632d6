//! The body of a request, checked.

use funnelweb_core::{
    error::{ApiError, Code},
    id, limits,
};
use funnelweb_guest::types::{Attribute, Handle};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::{context, cursor};

/// The body of `POST /api/v1/recommend`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// Which funnel.
    pub scenario_id: String,
    /// How many items, 1 to [`limits::COUNT`]; 20 unless said otherwise.
    #[serde(default = "default_count")]
    pub count: u32,
    /// What the client knows of the situation: device, place, …
    #[serde(default)]
    pub context: Map<String, Value>,
    /// Items not to recommend, whatever else.
    #[serde(default)]
    pub exclude_items: Vec<String>,
    /// Whether items come with their `metadata`.
    #[serde(default)]
    pub return_metadata: bool,
    /// Of the page before, in a feed.
    #[serde(default)]
    pub cursor: Option<String>,
}

pub(crate) fn default_count() -> u32 {
    20
}

/// What the funnel takes from a request's body.
pub(crate) struct Checked {
    pub(crate) context: Vec<Attribute>,
    pub(crate) exclude: Vec<Handle>,
    /// What the feed served before, in order.
    pub(crate) feed: Vec<Handle>,
}

impl Request {
    /// Checks every field. The user's id is empty for a session.
    pub(crate) fn check(&self, user_id: &str) -> Result<Checked, ApiError> {
        let invalid = |field: String, message: String| ApiError::field(Code::InvalidField, field, message);
        id::check(&self.scenario_id).map_err(|error| invalid("scenario_id".to_owned(), error.to_string()))?;
        if !(1..=limits::COUNT).contains(&self.count) {
            return Err(invalid("count".to_owned(), format!("must be 1 to {}, got {}", limits::COUNT, self.count)));
        }
        if self.exclude_items.len() > limits::EXCLUDED_ITEMS {
            let message = format!("must be at most {} long, got {}", limits::EXCLUDED_ITEMS, self.exclude_items.len());
            return Err(invalid("exclude_items".to_owned(), message));
        }
        for (at, item) in self.exclude_items.iter().enumerate() {
            id::check(item).map_err(|error| invalid(format!("exclude_items[{at}]"), error.to_string()))?;
        }
        let feed = self.cursor.as_ref().map(|text| cursor::read((&self.scenario_id, user_id), text)).transpose()?;
        Ok(Checked {
            context: context::flatten(&self.context)?,
            feed: feed.unwrap_or_default(),
            exclude: self.exclude_items.iter().map(|item| id::handle(item)).collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(body: &str) -> (Code, Option<String>) {
        let error = match funnelweb_guest::http::json::object::<Request>(body.as_bytes()) {
            Ok(request) => request.check("ann").err().unwrap(),
            Err(error) => error,
        };
        (error.code, error.field)
    }

    #[test]
    fn every_field_has_its_rule() {
        let field = |name: &str| (Code::InvalidField, Some(name.to_owned()));
        assert_eq!(refused(r#"{"scenario_id":"a/b"}"#), field("scenario_id"));
        assert_eq!(refused(r#"{"scenario_id":1}"#), field("scenario_id"));
        assert_eq!(refused(r#"{"scenario_id":"s","count":0}"#), field("count"));
        assert_eq!(refused(r#"{"scenario_id":"s","count":201}"#), field("count"));
        assert_eq!(refused(r#"{"scenario_id":"s","count":-1}"#), field("count"));
        assert_eq!(refused(r#"{"scenario_id":"s","count":1.5}"#), field("count"));
        assert_eq!(refused(r#"{"scenario_id":"s","context":[]}"#), field("context"));
        assert_eq!(refused(r#"{"scenario_id":"s","exclude_items":["ok","not ok"]}"#), field("exclude_items[1]"));
        assert_eq!(refused(r#"{"scenario_id":"s","cursor":"next"}"#), field("cursor"));
        assert_eq!(refused(r#"{"scenario_id":"s","cursor":2}"#), field("cursor"));
        assert_eq!(refused(r#"{"scenario_id":"s","cuont":3}"#).0, Code::InvalidField);
        assert_eq!(refused("{").0, Code::InvalidJson);
        assert_eq!(refused("{}").0, Code::InvalidField);
    }

    #[test]
    fn every_limit_is_what_still_fits() {
        let fault = |count: u32, excluded: usize| {
            let body = serde_json::json!({"scenario_id": "s", "count": count, "exclude_items": vec!["i"; excluded]});
            let error = serde_json::from_value::<Request>(body).unwrap().check("ann").err()?;
            Some((error.field.unwrap_or_default(), error.message))
        };
        assert_eq!(fault(limits::COUNT, limits::EXCLUDED_ITEMS), None);
        let (field, message) = fault(limits::COUNT + 1, 0).unwrap();
        assert!(field == "count" && message.contains(&limits::COUNT.to_string()), "{field} {message}");
        let (field, message) = fault(1, limits::EXCLUDED_ITEMS + 1).unwrap();
        assert!(field == "exclude_items" && message.contains(&limits::EXCLUDED_ITEMS.to_string()), "{field} {message}");
    }

    #[test]
    fn defaults_are_the_documented_ones() {
        let request: Request = serde_json::from_str(r#"{"scenario_id":"s"}"#).unwrap();
        assert_eq!((request.count, request.return_metadata), (20, false));
        assert!(request.check("ann").unwrap().context.is_empty());
    }
}
