//! Two tenants that use the same ids never see each other: random operations of
//! both, each checked against a model of that tenant alone.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::atomic::{AtomicU32, Ordering},
};

use proptest::{prelude::*, test_runner::Config};
use serde_json::{Value, json};

use crate::{
    fixtures::{FEED, all_pages, ndjson, scenario, settle, strings},
    harness::{Call, Client, Reply, shared},
};

const ITEMS: u8 = 6;
const USERS: u8 = 3;
const EVENTS: u8 = 12;

/// Something that a tenant does.
#[derive(Debug, Clone)]
enum Operation {
    Scenario,
    DeleteScenario,
    PutItem(u8),
    ImportItems(Vec<u8>),
    HideItem(u8),
    DeleteItem(u8),
    Act { event: u8, user: u8, item: u8 },
    PutProfile(u8),
    DeleteProfile(u8),
    DeleteUser(u8),
    Recommend(u8),
}

fn operation() -> impl Strategy<Value = Operation> {
    let (item, user) = (0..ITEMS, 0..USERS);
    prop_oneof![
        2 => Just(Operation::Scenario),
        1 => Just(Operation::DeleteScenario),
        6 => item.clone().prop_map(Operation::PutItem),
        3 => prop::collection::vec(item.clone(), 1..5).prop_map(Operation::ImportItems),
        2 => item.clone().prop_map(Operation::HideItem),
        2 => item.clone().prop_map(Operation::DeleteItem),
        8 => (0..EVENTS, user.clone(), item).prop_map(|(event, user, item)| Operation::Act { event, user, item }),
        1 => user.clone().prop_map(Operation::PutProfile),
        1 => user.clone().prop_map(Operation::DeleteProfile),
        1 => user.clone().prop_map(Operation::DeleteUser),
        4 => user.prop_map(Operation::Recommend),
    ]
}

/// A tenant and what it should have.
struct Tenant {
    client: Client,
    mark: &'static str,
    other_mark: &'static str,
    scenario: bool,
    /// Active or not, by id.
    items: BTreeMap<String, bool>,
    /// By id, the user and the item.
    events: BTreeMap<String, (String, String)>,
    profiles: BTreeSet<String>,
}

impl Tenant {
    fn new(name: &str, mark: &'static str, other_mark: &'static str) -> Self {
        let client = shared().tenant(name);
        Self {
            client,
            mark,
            other_mark,
            scenario: false,
            items: BTreeMap::new(),
            events: BTreeMap::new(),
            profiles: BTreeSet::new(),
        }
    }

    /// Sends, and looks for the other's mark in whatever comes back.
    fn send(&self, call: Call<'_>, when_there: u16) -> Result<Reply, TestCaseError> {
        let shown = format!("{call:?}");
        let reply = call.send();
        let status = if self.scenario { when_there } else { 404 };
        prop_assert_eq!(reply.status, status, "{}: {}", shown, reply.text());
        prop_assert!(!reply.text().contains(self.other_mark), "{shown} shows the other's: {}", reply.text());
        Ok(reply)
    }

    fn item(&self, id: &str) -> Value {
        json!({"item_id": id, "metadata": {
            "title": format!("{} {id}", self.mark), "category": format!("{} category", self.mark), "tags": [self.mark]
        }})
    }

    fn run(&mut self, operation: &Operation) -> Result<(), TestCaseError> {
        let item_id = |item: &u8| format!("item{item}");
        let user_id = |user: &u8| format!("user{user}");
        let client = self.client.clone();
        match operation {
            Operation::Scenario => {
                let mut body = scenario(FEED);
                body["name"] = json!(self.mark);
                client.put("/api/v1/scenarios/feed", &body).send().assert_status(&[200, 201]);
                self.scenario = true;
            }
            Operation::DeleteScenario => {
                self.send(client.delete("/api/v1/scenarios/feed"), 204)?;
                self.scenario = false;
                self.items.clear();
                self.events.clear();
                self.profiles.clear();
            }
            Operation::PutItem(item) => {
                let id = item_id(item);
                let status = if self.items.contains_key(&id) { 200 } else { 201 };
                self.send(client.put(&format!("/api/v1/items/feed/{id}"), &self.item(&id)), status)?;
                if self.scenario {
                    self.items.insert(id, true);
                }
            }
            Operation::ImportItems(items) => {
                let lines: Vec<Value> = items.iter().map(|item| self.item(&item_id(item))).collect();
                let call = client.call("POST", "/api/v1/items/feed").body("application/x-ndjson", ndjson(&lines));
                let report = self.send(call, 200)?.json();
                if self.scenario {
                    let ids: BTreeSet<String> = items.iter().map(item_id).collect();
                    let new = ids.iter().filter(|id| !self.items.contains_key(*id)).count();
                    prop_assert_eq!(report["created"].as_u64(), Some(new as u64));
                    self.items.extend(ids.into_iter().map(|id| (id, true)));
                }
            }
            Operation::HideItem(item) => {
                let id = item_id(item);
                let status = if self.items.contains_key(&id) { 200 } else { 404 };
                self.send(client.patch(&format!("/api/v1/items/feed/{id}"), &json!({"status": "inactive"})), status)?;
                if let Some(active) = self.items.get_mut(&id) {
                    *active = false;
                }
            }
            Operation::DeleteItem(item) => {
                let id = item_id(item);
                let status = if self.items.remove(&id).is_some() { 204 } else { 404 };
                self.send(client.delete(&format!("/api/v1/items/feed/{id}")), status)?;
            }
            Operation::Act { event, user, item } => {
                let (id, user, item) = (format!("event{event}"), user_id(user), item_id(item));
                let body = json!({"event_id": id, "scenario_id": FEED, "item_id": item, "action_type": "like",
                                  "context": {"of": self.mark}});
                let report = self.send(client.post("/api/v1/behaviors", &body).user(&user), 202)?.json();
                settle(&client);
                if self.scenario {
                    let new = !self.events.contains_key(&id);
                    prop_assert_eq!(report["accepted"].as_u64(), Some(u64::from(new)));
                    if new {
                        if self.items.contains_key(&item) {
                            self.profiles.insert(user.clone());
                        }
                        self.events.insert(id, (user, item));
                    }
                }
            }
            Operation::PutProfile(user) => {
                let user = user_id(user);
                let status = if self.profiles.contains(&user) { 200 } else { 201 };
                let body = json!({"features": {"of": self.mark}});
                self.send(client.put(&format!("/api/v1/profiles/feed/{user}"), &body), status)?;
                if self.scenario {
                    self.profiles.insert(user);
                }
            }
            Operation::DeleteProfile(user) => {
                let user = user_id(user);
                let status = if self.profiles.remove(&user) { 204 } else { 404 };
                self.send(client.delete(&format!("/api/v1/profiles/feed/{user}")), status)?;
            }
            Operation::DeleteUser(user) => {
                let user = user_id(user);
                client.delete(&format!("/api/v1/users/{user}")).expect(200);
                self.profiles.remove(&user);
                self.events.retain(|_, (of, _)| *of != user);
            }
            Operation::Recommend(user) => {
                let body = json!({"scenario_id": FEED, "count": 200, "return_metadata": true});
                let call = client.post("/api/v1/recommend?explain=true", &body).user(&user_id(user));
                let reply = self.send(call, 200)?.json();
                if self.scenario {
                    let found: BTreeSet<String> = strings(&reply["items"], "item_id").into_iter().collect();
                    let active = self.items.iter().filter(|(_, active)| **active).map(|(id, _)| id.clone());
                    prop_assert_eq!(found, active.collect::<BTreeSet<_>>());
                }
            }
        }
        Ok(())
    }

    /// Everything that can be read is what the model says.
    fn check(&self) -> Result<(), TestCaseError> {
        let scenarios = self.client.get("/api/v1/scenarios").expect(200);
        prop_assert!(!scenarios.text().contains(self.other_mark));
        prop_assert_eq!(scenarios.json()["scenarios"].as_array().unwrap().len(), usize::from(self.scenario));
        let mut events = BTreeSet::new();
        for user in 0..USERS {
            let user = format!("user{user}");
            let history = self.client.get(&format!("/api/v1/behaviors?user_id={user}")).expect(200);
            prop_assert!(!history.text().contains(self.other_mark));
            events.extend(strings(&history.json()["events"], "event_id"));
            let status = if self.profiles.contains(&user) { 200 } else { 404 };
            self.send(self.client.get(&format!("/api/v1/profiles/feed/{user}")), status)?;
        }
        prop_assert_eq!(events, self.events.keys().cloned().collect::<BTreeSet<_>>());
        if !self.scenario {
            self.send(self.client.get("/api/v1/items/feed"), 200)?;
            return Ok(());
        }
        let items = all_pages(&self.client, "/api/v1/items/feed?limit=4", "items");
        prop_assert!(!Value::Array(items.clone()).to_string().contains(self.other_mark));
        let status = |item: &Value| (item["item_id"].as_str().unwrap().to_owned(), item["status"] == "active");
        prop_assert_eq!(items.iter().map(status).collect::<BTreeMap<_, _>>(), self.items.clone());
        Ok(())
    }
}

proptest! {
    #![proptest_config(Config { cases: 32, max_shrink_iters: 200, failure_persistence: None, ..Config::default() })]

    #[test]
    fn tenants_never_see_each_other(operations in prop::collection::vec((any::<bool>(), operation()), 1..60)) {
        static CASE: AtomicU32 = AtomicU32::new(0);
        let case = CASE.fetch_add(1, Ordering::Relaxed);
        // Names of which one begins like the other, and differs in case only.
        let mut tenants = [
            Tenant::new(&format!("iso-{case}"), "apricot", "BLUEBERRY"),
            Tenant::new(&format!("ISO-{case}"), "BLUEBERRY", "apricot"),
        ];
        for tenant in &mut tenants {
            tenant.run(&Operation::Scenario)?;
        }
        for (which, operation) in &operations {
            tenants[usize::from(*which)].run(operation)?;
        }
        for tenant in &tenants {
            tenant.check()?;
        }
    }
}
