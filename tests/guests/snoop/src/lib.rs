//! A recall channel that looks at what is not its own, as its params say, and
//! fails with what it saw:
//!
//! ```json
//! {"run": {"item": ["feed", "i1"]}}
//! {"run": "nothing", "check": {"item": ["feed", "i1"]}}
//! ```

use funnelweb_guest::{
    documents::{self, Collection, Key, Query, Range, Sort},
    live,
    recall::{Guest, RecallRequest, Recalled},
    types::{ParamError, Requirements, StageError, StageErrorCode},
};
use serde::Deserialize;

/// The component.
pub struct Stage;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Params {
    run: Look,
    #[serde(default)]
    check: Look,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Look {
    #[default]
    Nothing,
    /// At an item: its scenario and id.
    Item(String, String),
    /// At what a user was shown: scenario and user.
    Exposed(String, String),
    /// At all items, with a limit.
    Items(u32),
    /// At this many items by key.
    Many(usize),
    /// At an item again and again.
    Hammer,
}

impl Look {
    fn run(self) -> Result<(), String> {
        let key = |scenario_id: &str, id: &str| Key { scenario_id: scenario_id.to_owned(), id: id.to_owned() };
        let get = |scenario: &str, id: &str| documents::get(Collection::Items, &key(scenario, id));
        Err(match self {
            Self::Nothing => return Ok(()),
            Self::Item(scenario, id) => match get(&scenario, &id) {
                Ok(found) => format!("saw {}", found.map_or_else(|| "nothing".to_owned(), |document| document.body)),
                Err(error) => format!("{error:?}"),
            },
            Self::Exposed(scenario, user) => {
                format!("{:?}", live::exposed(&scenario, &user).map(|handles| handles.len()))
            }
            Self::Items(limit) => {
                let range = Range { from_ms: None, to_ms: None };
                let (scenario_id, status, category, tag, cursor) = (None, None, None, None, None);
                let query =
                    Query { scenario_id, status, category, tag, created: range, sort: Sort::Newest, cursor, limit };
                match documents::find(Collection::Items, &query) {
                    Ok(page) => format!("saw {} items", page.documents.len()),
                    Err(error) => format!("{error:?}"),
                }
            }
            Self::Many(count) => {
                let keys = vec![key("feed", "i1"); count];
                format!("{:?}", documents::get_many(Collection::Items, &keys).map(|found| found.len()))
            }
            Self::Hammer => loop {
                let _ = get("feed", "i1");
            },
        })
    }
}

fn parse(params: &str) -> Result<Params, ParamError> {
    serde_json::from_str(params).map_err(|error| ParamError { path: String::new(), message: error.to_string() })
}

impl Guest for Stage {
    fn check(params: String) -> Result<Requirements, ParamError> {
        let look = parse(&params)?.check;
        look.run().map_err(|message| ParamError { path: "/check".to_owned(), message })?;
        Ok(Requirements::columns([]))
    }

    fn recall(request: RecallRequest) -> Result<Recalled, StageError> {
        let failed = |message| StageError { code: StageErrorCode::Internal, message };
        let params = parse(&request.params).map_err(|error| failed(error.message))?;
        params.run.run().map_err(failed)?;
        Ok(Recalled { handles: Vec::new(), scores: Vec::new() })
    }
}

funnelweb_guest::export_recall!(Stage);
