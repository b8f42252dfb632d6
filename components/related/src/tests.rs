//! Every list over a host whose stores and channels are written down.

use std::cell::RefCell;

use funnelweb_core::{error::Code, id, limits};
use funnelweb_guest::{
    dispatch::{RecallCall, RecallOutcome, StageReport, StageStatus},
    documents::{Collection, ItemTable, Key, Term},
    http::Head,
    live::Scored,
    types::{ColumnSpec, Handle, RequestContext, Table},
};
use serde_json::{Value, json};

use super::*;

/// Name, a part of the params, and the items, or why there is no answer.
type Channel = (&'static str, &'static str, Result<Vec<&'static str>, &'static str>);

#[derive(Default)]
struct Host {
    documents: Vec<(Collection, String, Value)>,
    channels: Vec<Channel>,
    hot: Vec<(&'static str, f32)>,
    /// What channels were asked, and as whom.
    asked: RefCell<Vec<(String, RequestContext, Vec<Handle>)>>,
}

/// The scenario `s` with items `a` to `f`, of the categories `x` and `y` in turn, of
/// which `c` is inactive.
fn host() -> Host {
    let scenario =
        json!({"scenario_id": "s", "scenario_type": "t", "config": {"recall": {"strategies": [{"name": "latest"}]}}});
    let mut documents = vec![(Collection::Scenarios, "s".to_owned(), scenario)];
    for (at, item) in ["a", "b", "c", "d", "e", "f"].into_iter().enumerate() {
        let body = json!({"metadata": {"category": (["x", "y"][at % 2]), "tags": ["t"]},
                          "status": if item == "c" { "inactive" } else { "active" }});
        documents.push((Collection::Items, item.to_owned(), body));
    }
    Host { documents, ..Host::default() }
}

impl Host {
    fn items(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.documents.iter().filter(|(of, ..)| *of == Collection::Items).map(|(_, id, body)| (id.as_str(), body))
    }

    fn item(&self, handle: Handle) -> Option<(&str, &Value)> {
        self.items().find(|(item, _)| id::handle(item) == handle)
    }
}

impl Sources for Host {
    fn documents(&self, collection: Collection, keys: &[Key]) -> Result<Vec<Option<String>>, ApiError> {
        let find = |key: &Key| self.documents.iter().find(|(of, id, _)| *of == collection && *id == key.id);
        Ok(keys.iter().map(|key| find(key).map(|(_, _, body)| body.to_string())).collect())
    }

    fn recall(&self, context: &RequestContext, exclude: &[Handle], call: RecallCall) -> RecallOutcome {
        self.asked.borrow_mut().push((format!("{} {}", call.stage, call.limit), context.clone(), exclude.to_vec()));
        let answer = self.channels.iter().find(|(name, params, _)| *name == call.stage && call.params.contains(params));
        let answer = answer.map_or(Ok(vec![]), |(_, _, answer)| answer.clone());
        let report = StageReport {
            stage: call.stage,
            component: String::new(),
            version: String::new(),
            digest: String::new(),
            status: if answer.is_ok() { StageStatus::Ok } else { StageStatus::TimedOut },
            reason: answer.clone().err().unwrap_or_default().to_owned(),
            elapsed_us: 0,
            candidates_in: 0,
            candidates_out: 0,
        };
        let handles: Vec<Handle> = answer.unwrap_or_default().into_iter().map(id::handle).collect();
        let scores = (1..).take(handles.len()).map(|rank| 1.0 / rank as f32).collect();
        RecallOutcome { report, handles, scores }
    }

    fn hot_top(&self, _: &str, limit: u32, exclude: &[Handle], _: u64) -> Result<Scored, ApiError> {
        let hot = self.hot.iter().map(|(item, heat)| (id::handle(item), *heat));
        let (handles, scores) = hot.filter(|(handle, _)| !exclude.contains(handle)).take(limit as usize).unzip();
        Ok(Scored { handles, scores })
    }

    fn newest(&self, _: &str, term: Option<Term>, limit: u32) -> Result<Vec<Handle>, ApiError> {
        let fits = |body: &Value| term.as_ref().is_none_or(|term| body["metadata"][&term.field] == term.value.as_str());
        let items = self.items().filter(|(_, body)| body["status"] == "active" && fits(body));
        Ok(items.map(|(item, _)| id::handle(item)).take(limit as usize).collect())
    }

    fn columns(&self, _: &str, handles: &[Handle], columns: &[ColumnSpec], _: u64) -> Result<ItemTable, ApiError> {
        assert!(handles.len() <= limits::CANDIDATES);
        let active = |handle: Handle| self.item(handle).filter(|(_, body)| body["status"] == "active");
        let rows = handles.iter().enumerate().filter_map(|(at, handle)| Some((at as u32, active(*handle)?.1)));
        let (found, bodies): (Vec<u32>, Vec<&Value>) = rows.unzip();
        let mut table = Table::empty(found.len() as u32);
        for column in columns {
            let hash = |body: &&Value| id::value_hash(body["metadata"][&column.name].as_str().unwrap());
            table = table.with_categorical(&column.name, &bodies.iter().map(hash).collect::<Vec<_>>());
        }
        Ok(ItemTable { found, table })
    }

    fn item_ids(&self, _: &str, handles: &[Handle]) -> Result<Vec<Option<String>>, ApiError> {
        Ok(handles.iter().map(|handle| self.item(*handle).map(|(item, _)| item.to_owned())).collect())
    }
}

fn get(host: &Host, path: &str) -> Result<Value, ApiError> {
    let request = http::Request::get(format!("/api/v1/{path}")).header("x-request-id", "r").body(()).unwrap();
    let head = Head::new(request.into_parts().0);
    let segments = head.segments();
    answer(host, &head, &List::of(&segments).unwrap()).map(|response| serde_json::to_value(response).unwrap())
}

/// The source and the ids.
fn ids(host: &Host, path: &str) -> (Option<String>, Vec<String>) {
    let response = get(host, path).unwrap();
    assert_eq!((&response["request_id"], &response["scenario_id"]), (&json!("r"), &json!("s")));
    let items = response["items"].as_array().unwrap();
    let ranks: Vec<_> = items.iter().map(|item| item["rank"].as_u64().unwrap()).collect();
    assert_eq!(ranks, (1..=items.len() as u64).collect::<Vec<_>>());
    let ids = items.iter().map(|item| item["item_id"].as_str().unwrap().to_owned()).collect();
    (response.get("source").map(|source| source.as_str().unwrap().to_owned()), ids)
}

fn is(found: (Option<String>, Vec<String>), source: &str, items: &[&str]) {
    assert_eq!(
        (found.0.as_deref(), found.1.iter().map(String::as_str).collect::<Vec<_>>()),
        (Some(source), items.to_vec())
    );
}

#[test]
fn the_first_who_knows_says_what_is_similar() {
    let path = "items/s/a/similar?count=2";
    let content = ("content_based", "", Ok(vec!["e", "d"]));
    let factors = ("vector_search", "factors", Ok(vec!["f"]));
    let embedding = ("vector_search", "embedding", Ok(vec!["d", "b", "e"]));
    let neighbours = ("item_cf", "", Ok(vec!["b", "c", "d", "e"]));
    let of = |channels: &[_]| ids(&Host { channels: channels.to_vec(), ..host() }, path);
    is(of(std::slice::from_ref(&content)), "content_based", &["e", "d"]);
    is(of(&[content.clone(), factors.clone()]), "factors", &["f"]);
    is(of(&[content.clone(), factors.clone(), embedding.clone()]), "embedding", &["d", "b"]);
    // Inactive items are left out; one whose neighbours all are has none.
    is(of(&[content.clone(), neighbours]), "item_cf", &["b", "d"]);
    is(of(&[content, ("item_cf", "", Ok(vec!["c"]))]), "content_based", &["e", "d"]);
    assert_eq!(of(&[]), (None, vec![]));
}

#[test]
fn channels_are_asked_as_one_who_acted_on_the_item() {
    let host = Host { channels: vec![("item_cf", "", Ok(vec!["b", "d"]))], ..host() };
    is(ids(&host, "items/s/a/similar?exclude_items=b&count=150"), "item_cf", &["d"]);
    let asked = host.asked.take();
    let [(call, context, exclude)] = asked.as_slice() else { panic!("one call: {asked:?}") };
    assert_eq!((call.as_str(), exclude.as_slice()), ("item_cf 300", &[id::handle("b")][..]));
    assert_eq!((context.user.recent.as_slice(), context.user.id.as_str()), (&[id::handle("a")][..], ""));
    let learnt: Vec<_> = context.user.preferences.iter().map(|one| (one.value.as_str(), one.score)).collect();
    assert_eq!(learnt, [("x", 1.0), ("t", 0.5)]);
}

#[test]
fn what_does_not_answer_is_an_error_only_when_nothing_is_known() {
    let down = ("item_cf", "", Err("late"));
    let path = "items/s/a/similar";
    let of = |channels: Vec<_>| get(&Host { channels, ..host() }, path);
    let error = of(vec![down.clone()]).unwrap_err();
    assert_eq!(error.code, Code::StoreUnavailable);
    assert!(error.message.contains("`item_cf` did not answer: late"), "{}", error.message);
    assert_eq!(of(vec![down, ("content_based", "", Ok(vec!["b"]))]).unwrap()["source"], "content_based");
}

#[test]
fn similar_users_pick_for_a_user() {
    let mut host = Host { channels: vec![("user_cf", "", Ok(vec!["b", "d"]))], ..host() };
    let profile = json!({"recent_items": [{"item_id": "a", "action_type": "click"}]});
    host.documents.push((Collection::UserProfiles, "ann".to_owned(), profile));
    is(ids(&host, "profiles/s/ann/similar-users/items?count=1"), "user_cf", &["b"]);
    // One without a profile may have neighbours all the same.
    is(ids(&host, "profiles/s/bob/similar-users/items"), "user_cf", &["b", "d"]);
    let asked: Vec<_> =
        host.asked.take().into_iter().map(|(_, context, _)| (context.user.id, context.user.recent)).collect();
    assert_eq!(asked, [("ann".to_owned(), vec![id::handle("a")]), ("bob".to_owned(), vec![])]);
}

#[test]
fn popular_is_what_is_hot() {
    let host = Host { hot: vec![("c", 9.0), ("b", 8.0), ("a", 4.0), ("gone", 3.0), ("e", 2.0), ("d", -1.0)], ..host() };
    is(ids(&host, "popular/s"), "hot_items", &["b", "a", "e"]);
    is(ids(&host, "popular/s?category=x&count=1"), "hot_items", &["a"]);
    is(ids(&host, "popular/s?exclude_items=b,e"), "hot_items", &["a"]);
    assert_eq!(ids(&host, "popular/s?category=z"), (None, vec![]));
    let scores: Vec<_> = get(&host, "popular/s").unwrap()["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| item["score"].as_f64().unwrap())
        .collect();
    assert!(scores.is_sorted_by(|one, other| one > other) && scores[0] <= 1.0 && scores[2] > 0.0, "{scores:?}");
}

#[test]
fn latest_is_what_is_new() {
    is(ids(&host(), "latest/s?count=3"), "latest", &["a", "b", "d"]);
    is(ids(&host(), "latest/s?category=y&exclude_items=b"), "latest", &["d", "f"]);
    let response = get(&host(), "latest/s?count=2&return_metadata=true").unwrap();
    assert_eq!(
        response["items"][0],
        json!({"item_id": "a", "rank": 1, "score": 1.0, "metadata": {"category": "x", "tags": ["t"]}})
    );
    assert_eq!(response["items"][1]["score"], 0.5);
}

#[test]
fn every_fault_has_its_code() {
    let mut host = host();
    let mut inactive = host.documents[0].2.clone();
    inactive["status"] = json!("inactive");
    host.documents.push((Collection::Scenarios, "off".to_owned(), inactive));
    let refused = |path: &str| {
        let error = get(&host, path).unwrap_err();
        (error.code, error.field.unwrap_or_default())
    };
    let fault = |code, field: &str| (code, field.to_owned());
    for list in ["popular/{}", "latest/{}", "items/{}/a/similar", "profiles/{}/ann/similar-users/items"] {
        let of = |scenario: &str| refused(&list.replace("{}", scenario));
        assert_eq!(of("a%2Fb"), fault(Code::InvalidField, "scenario_id"), "{list}");
        assert_eq!(of("nowhere"), fault(Code::ScenarioNotFound, "scenario_id"), "{list}");
        assert_eq!(of("off"), fault(Code::ScenarioInactive, "scenario_id"), "{list}");
        assert_eq!(refused(&format!("{}?limit=1", list.replace("{}", "s"))), fault(Code::InvalidParameter, "limit"));
    }
    assert_eq!(refused("items/s/a%20b/similar"), fault(Code::InvalidField, "item_id"));
    assert_eq!(refused("items/s/gone/similar"), fault(Code::ItemNotFound, "item_id"));
    assert_eq!(refused("items/s/a/similar?category=x"), fault(Code::InvalidParameter, "category"));
    assert_eq!(refused("profiles/s/a%20b/similar-users/items"), fault(Code::InvalidField, "user_id"));
}

#[test]
fn routes_take_get_and_nothing_else() {
    let status = |method: &str, path: &str| {
        let request = http::Request::builder().method(method).uri(path).body(()).unwrap();
        route(&Head::new(request.into_parts().0)).unwrap_or_else(Reply::error).into_response("r").status().as_u16()
    };
    assert_eq!(status("POST", "/api/v1/popular/s"), 405);
    assert_eq!(status("DELETE", "/api/v1/items/s/a/similar"), 405);
    assert_eq!(status("GET", "/api/v1/popular"), 404);
    assert_eq!(status("GET", "/api/v1/profiles/s/u/similar-users"), 404);
}
