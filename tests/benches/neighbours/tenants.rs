//! The tenants: what they have, and what A does beside asking.

use std::{collections::BTreeMap, time::Duration};

use funnelweb_corpus::{Case, World};
use funnelweb_import::{Client, Error, Retry};
use serde_json::{Value, json};

use crate::{common, http::Connection, server::Server};

pub const TOKEN: &str = "what-only-an-operator-knows";

/// They take turns at being A.
pub const VILLAINS: [&str; 4] = ["villain-0", "villain-1", "villain-2", "villain-3"];

const WORLDS: [World; 4] = [World::Recall, World::Rank, World::Rerank, World::Aggregate];

/// A tenant that uploads what is hostile.
pub struct Villain {
    pub tenant: &'static str,
    client: Client,
    /// Without a component of its own.
    plain: Value,
}

/// A component that was admitted and runs where a scenario names it.
pub struct Attack {
    component: String,
    /// The scenario that names it.
    pub config: Value,
    /// Whether the server takes that.
    pub is_taken: bool,
}

/// What a tenant's components did so far.
#[derive(Debug, Default)]
pub struct Taken {
    /// Calls by how they ended, and by why they were not made.
    pub calls: BTreeMap<String, u64>,
    /// Of processors.
    pub seconds: f64,
}

/// Gives a tenant the demo's scenario, items and behaviours.
pub fn prepare(server: &Server, tenant: &'static str, world: &funnelweb_demo::World) {
    let client = Client::new(&server.url(), tenant).unwrap();
    client.put_scenario(&common::scenario(world, false).to_string()).unwrap();
    let items = world.items().map(|item| item.to_line());
    let created = client.post_ndjson(&format!("/api/v1/items/{}", world.scenario_id()), items).unwrap().created;
    assert_eq!(created, u64::from(world.size().items));
    let events = client.post_ndjson("/api/v1/behaviors", world.events().map(|event| event.to_line())).unwrap();
    assert_eq!(events.failed, 0);
}

/// Waits until stream operators have taken all behaviours.
pub fn settle(server: &Server) {
    while metrics(server).contains("\nfunnelweb_stream_behind_seconds{") {
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn metrics(server: &Server) -> String {
    let (status, text) = Connection::open(server.address(), VILLAINS[0]).ask("GET", "/metrics", "operator", b"");
    assert_eq!(status, 200, "{text}");
    text
}

impl Villain {
    /// One that has all and a component of every world that behaves.
    pub fn new(server: &Server, tenant: &'static str, world: &funnelweb_demo::World) -> Self {
        prepare(server, tenant, world);
        let client = Client::new(&server.url(), tenant).unwrap().with_operator_token(TOKEN).unwrap();
        // What is refused is refused for good.
        let client = client.with_retry(Retry { attempts: 1, ..Retry::default() });
        let villain = Self { tenant, client, plain: common::scenario(world, false) };
        let cases = funnelweb_corpus::cases();
        for world in WORLDS {
            let sound = cases.iter().find(|case| case.name == sound(world)).unwrap();
            let attack = villain.take(sound).unwrap();
            assert!(attack.is_taken, "{}", sound.name);
            villain.rest(&attack, world);
        }
        villain
    }

    /// Uploads and activates one, and tries to have a scenario name it; None when it is not
    /// admitted.
    pub fn take(&self, case: &Case) -> Option<Attack> {
        let version: Value = match self.client.push_component(&case.upload) {
            Ok(version) => serde_json::from_str(&version).unwrap(),
            Err(Error::Refused { status: 422, .. }) => return None,
            Err(error) => panic!("{}: {error}", case.name),
        };
        let component = version["name"].as_str().unwrap().to_owned();
        match self.client.activate_component(&component, version["version"].as_str().unwrap(), true) {
            Ok(_) => {}
            // An operator that does not say what it declares follows no log.
            Err(Error::Refused { status: 409, .. }) if case.world == World::Aggregate => return None,
            Err(error) => panic!("{}: {error}", case.name),
        }
        let params = serde_json::from_str(&case.params).unwrap_or_else(|_| json!({}));
        let config = self.scenario(case.world, &component, &params);
        // No scenario names an operator.
        let is_taken = case.world == World::Aggregate || self.put(&config).is_ok();
        self.put(&self.plain).unwrap();
        Some(Attack { component, config, is_taken })
    }

    /// Has its scenario name a component that behaves, or its log followed by one.
    pub fn behave(&self, attack: &Attack, world: World) {
        if world == World::Aggregate {
            self.client.set_component_disabled(&attack.component, true).unwrap();
            self.client.set_component_disabled(sound(world), false).unwrap();
        } else {
            self.put(&self.scenario(world, sound(world), &json!({}))).unwrap();
        }
    }

    /// Has it name the hostile one, if that can be, or the log followed by it.
    pub fn misbehave(&self, attack: &Attack, world: World) {
        if world == World::Aggregate {
            self.client.set_component_disabled(sound(world), true).unwrap();
            self.client.set_component_disabled(&attack.component, false).unwrap();
        } else if attack.is_taken {
            self.put(&attack.config).unwrap();
        }
    }

    /// An operator takes what there is as soon as it is active: not yet.
    fn rest(&self, attack: &Attack, world: World) {
        if world == World::Aggregate {
            self.client.set_component_disabled(&attack.component, true).unwrap();
        }
    }

    /// Writes its scenario.
    pub fn put(&self, config: &Value) -> Result<(), Error> {
        self.client.put_scenario(&config.to_string())
    }

    /// Removes one: others have the same name.
    pub fn let_go(&self, server: &Server, attack: &Attack) {
        self.put(&self.plain).unwrap();
        if WORLDS.iter().any(|world| sound(*world) == attack.component) {
            return;
        }
        self.client.set_component_disabled(&attack.component, true).unwrap();
        let path = format!("/api/v1/components/{}", attack.component);
        let (status, said) = Connection::open(server.address(), self.tenant).ask("DELETE", &path, "operator", b"");
        assert_eq!(status, 204, "{path}: {said}");
    }

    /// A component of its own beside the product's stages, or in the ranker's place. It sees
    /// whatever there is.
    fn scenario(&self, world: World, component: &str, params: &Value) -> Value {
        let stage = format!("{}/{component}", self.tenant);
        let mut scenario = self.plain.clone();
        let config = &mut scenario["config"];
        config["components"] = json!({"user": ["id", "attributes", "preferences", "recent", "context"]});
        match world {
            World::Recall => {
                let channel = json!({"name": stage, "limit": 200, "params": params});
                config["recall"]["strategies"].as_array_mut().unwrap().push(channel);
            }
            World::Rank => config["rank"] = json!({"model": stage, "params": params}),
            World::Rerank | World::Aggregate => {
                config["rerank"]["rules"].as_array_mut().unwrap().push(json!({"name": stage, "params": params}));
            }
        }
        scenario
    }

    /// What its components did since the server's start.
    pub fn taken(&self, server: &Server) -> Taken {
        let mut taken = Taken::default();
        let own = format!("{{tenant=\"{}\"", self.tenant);
        for line in metrics(server).lines() {
            let Some((name, value)) = line.rsplit_once(' ') else { continue };
            let Some((name, labels)) = name.split_once(&own) else { continue };
            match name {
                "funnelweb_component_processor_seconds_total" => taken.seconds = value.parse().unwrap(),
                "funnelweb_component_calls_total" => {
                    let outcome = labels.split('"').nth(1).unwrap().to_owned();
                    taken.calls.insert(outcome, value.parse().unwrap());
                }
                _ => {}
            }
        }
        taken
    }
}

impl Taken {
    pub fn since(&self, before: &Self) -> Self {
        let more = |(outcome, count): (&String, &u64)| {
            let count = count - before.calls.get(outcome).copied().unwrap_or_default();
            (count > 0).then(|| (outcome.clone(), count))
        };
        Self { calls: self.calls.iter().filter_map(more).collect(), seconds: self.seconds - before.seconds }
    }
}

/// The name of the corpus's component that behaves.
fn sound(world: World) -> &'static str {
    match world {
        World::Recall => "plain-recall",
        World::Rank => "plain-rank",
        World::Rerank => "plain-rerank",
        World::Aggregate => "plain-aggregate",
    }
}
