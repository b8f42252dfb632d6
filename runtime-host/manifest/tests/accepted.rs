//! A manifest with everything that is offered, and the application's own.

use std::{collections::BTreeMap, path::Path};

use funnelweb_manifest::{Component, Error, Grant, Manifest, Role, Route, Router, UserHeader};

const FULL: &str = r#"
spin_manifest_version = 2

[application]
name = "full"
version = "1.2.3"
description = "Everything at once"
authors = ["A <a@example.com>"]
[application.trigger.http]
base = "/"
[application.tool.other]
any = ["thing"]

[variables]
api_host = { default = "api.example.com", description = "where the API is" }
port = { default = "443" }
token = { required = true, secret = true }
mirror = { default = "" }

[[trigger.http]]
id = "front"
route = "/..."
component = { source = "front.wasm", description = "inline" }

[[trigger.http]]
route = { private = true }
component = "items"
executor = { type = "http" }

[[trigger.http]]
route = "/items/:id"
component = "items"
components = {}

[component.items]
source = "target/items.wasm"
description = "Items"
key_value_stores = ["default", "page-views", "page_views"]
allowed_outbound_hosts = ["https://{{ api_host }}:{{ port }}", "redis://cache", "https://{{ mirror }}"]
environment = { MODE = "fast" }
variables = { auth = "Bearer {{ token }}", plain = "text" }
files = []
ai_models = []
dependencies_inherit_configuration = true
[component.items.build]
command = ["make", "make check"]
workdir = "items"
watch = ["src/**/*.rs"]
[component.items.dependencies]
"funnelweb:pipeline/dispatch" = { component = "adapter", export = "x" }
"wasi:logging" = ">= 0.1.0"
[component.items.tool.funnelweb]
role = "endpoint"
grants = ["documents", "live", "events", "vectors", "learned", "results", "jobs", "models", "components", "recordings", "dispatch"]
streaming = true
user_header = "required"
[component.items.tool.other]
anything = { goes = 1 }

[component.adapter]
source = "adapter.wasm"
build.command = "make adapter"
tool.funnelweb = { role = "recall", names = ["a", "b2"], grants = ["live"] }
"#;

fn full() -> Result<Manifest, Error> {
    Manifest::parse(FULL, "/app/spin.toml")
}

fn own() -> Result<Manifest, Error> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../spin.toml");
    Manifest::load(file)
}

#[test]
fn components_are_read_whole() {
    let manifest = full().unwrap();
    assert_eq!((manifest.application.name.as_str(), manifest.application.version.as_str()), ("full", "1.2.3"));
    assert_eq!(manifest.components.keys().collect::<Vec<_>>(), ["adapter", "front-component", "items"]);
    let items = &manifest.components["items"];
    assert_eq!(items.source, Path::new("/app/target/items.wasm"));
    let build = items.build.as_ref().unwrap();
    assert_eq!((build.commands.len(), build.workdir.as_path()), (2, Path::new("/app/items")));
    assert_eq!(items.key_value_stores, ["default", "page-views", "page_views"]);
    assert_eq!(items.environment["MODE"], "fast");
    assert!(items.dependencies_inherit_configuration && items.dependencies.contains_key("wasi:logging"));
    assert_eq!(items.tool["other"]["anything"]["goes"].as_integer(), Some(1));
    assert!(!items.tool.contains_key("funnelweb"));
    assert_eq!(items.funnelweb.grants, Role::Endpoint.grants());
    assert!(items.funnelweb.streaming && !items.funnelweb.public);
    assert_eq!(items.funnelweb.user_header, UserHeader::Required);
    let adapter = &manifest.components["adapter"];
    assert_eq!(adapter.build.as_ref().unwrap().workdir, Path::new("/app"));
    assert_eq!(manifest.stage(Role::Recall, "b2"), Some(adapter));
    assert_eq!(manifest.stage(Role::Rank, "b2"), None);
}

#[test]
fn triggers_get_the_ids_that_spin_gives() {
    let manifest = full().unwrap();
    let ids: Vec<_> = manifest.http.iter().map(|trigger| (trigger.id.as_str(), trigger.component.as_str())).collect();
    assert_eq!(ids, [("front", "front-component"), ("items-http-trigger", "items"), ("http-trigger1", "items")]);
    assert_eq!(manifest.http[1].route, Route::Private);
    let router = Router::new(&manifest);
    assert_eq!(router.find("/items/7").map(|found| found.component), Some("items"));
    assert_eq!(router.find("/items").map(|found| found.component), Some("front-component"));
    assert_eq!(router.routes().count(), 2);
}

#[test]
fn variables_come_from_the_provider_and_then_from_defaults() {
    let manifest = full().unwrap();
    let missing = manifest.resolve_variables(|_| None).unwrap_err();
    assert_eq!(missing.to_string(), "variable `token` is required and has no value");

    let provided = BTreeMap::from([("token", "s3cret"), ("port", "8443"), ("not_declared", "x")]);
    let values = manifest.resolve_variables(|name| provided.get(name).map(ToString::to_string)).unwrap();
    assert_eq!(values.get("not_declared"), None);
    let items = &manifest.components["items"];
    let expected = BTreeMap::from([("auth", "Bearer s3cret"), ("plain", "text")]);
    let resolved = items.resolve_variables(&values).unwrap();
    assert!(resolved.iter().map(|(name, value)| (name.as_str(), value.as_str())).eq(expected));
    let shown = format!("{values:?}{:?}", manifest.variables);
    assert!(!shown.contains("s3cret"), "{shown}");

    let hosts = items.resolve_outbound_hosts(&values).unwrap();
    assert!(hosts.allows("https", "api.example.com", Some(8443)));
    assert!(!hosts.allows("https", "api.example.com", None));
    assert!(hosts.allows("redis", "cache", None));
}

#[test]
fn a_variable_can_spoil_a_destination() {
    let manifest = full().unwrap();
    let values = manifest.resolve_variables(|name| Some(if name == "port" { "x" } else { "v" }.to_owned())).unwrap();
    let error = manifest.components["items"].resolve_outbound_hosts(&values).unwrap_err();
    assert_eq!(
        error.to_string(),
        "component `items`: allowed_outbound_hosts: \"https://v:x\" is not a destination: \
         the port must be a number, a range `a..b`, or `*`"
    );
}

#[test]
fn every_component_of_the_application_is_in_its_folder() {
    let manifest = own().unwrap();
    for component in manifest.components.values() {
        let Component { id, source, build, .. } = component;
        assert!(manifest.root.join("components").join(id).join("Cargo.toml").is_file(), "components/{id}");
        let file = format!("target/wasm32-wasip2/guest/{}.wasm", id.replace('-', "_"));
        assert_eq!(*source, manifest.root.join(file));
        let command = format!("cargo build --profile guest --target wasm32-wasip2 -p {id}");
        assert_eq!(build.as_ref().unwrap().commands, [command]);
    }
}

#[test]
fn paths_of_the_application_lead_to_its_endpoints() {
    let manifest = own().unwrap();
    let router = Router::new(&manifest);
    let at = |path| router.find(path).map(|found| found.component);
    for (path, component) in [
        ("/api/v1/scenarios", "scenarios"),
        ("/api/v1/scenarios/feed", "scenarios"),
        ("/api/v1/items", "items"),
        ("/api/v1/items/feed/42", "items"),
        ("/api/v1/behaviors", "behaviors"),
        ("/api/v1/behaviors/batch", "behaviors"),
        ("/api/v1/profiles/feed/u1", "profiles"),
        ("/api/v1/users/u1", "profiles"),
        ("/api/v1/experiments/feed", "experiments"),
        ("/api/v1/experiments/feed/exp/start", "experiments"),
        ("/api/v1/jobs", "jobs"),
        ("/api/v1/jobs/run-1", "jobs"),
        ("/api/v1/recordings", "recordings"),
        ("/api/v1/recordings/r1/replay", "recordings"),
        ("/api/v1/scenarios/feed/shadow", "recordings"),
        ("/api/v1/scenarios/feed/other", "scenarios"),
        ("/api/v1/components", "components"),
        ("/api/v1/components/boost/versions/1.0.0", "components"),
        ("/api/v1/recommend", "recommend"),
        ("/api/v1/recommend/session", "recommend"),
        ("/api/v1/items/feed/42/similar", "related"),
        ("/api/v1/items/feed/42/other", "items"),
        ("/api/v1/profiles/feed/u1/similar-users/items", "related"),
        ("/api/v1/popular/feed", "related"),
        ("/api/v1/latest/feed", "related"),
        ("/openapi.json", "openapi"),
        ("/docs", "openapi"),
        ("/experiments", "openapi"),
    ] {
        assert_eq!(at(path), Some(component), "{path}");
    }
    for path in ["/", "/api/v1", "/api/v1/recommend/more", "/api/v2/items"] {
        assert_eq!(at(path), None, "{path}");
    }
}

#[test]
fn only_what_describes_the_api_is_public_and_only_endpoints_start_a_funnel() {
    for component in own().unwrap().components.values() {
        let settings = &component.funnelweb;
        assert_eq!(settings.public, component.id == "openapi");
        // A session is nobody's, so `recommend` itself asks for the header where it needs one.
        assert_eq!(settings.user_header, UserHeader::Optional);
        let dispatches = matches!(component.id.as_str(), "experiments" | "recommend" | "related" | "scenarios");
        assert_eq!(settings.grants.contains(&Grant::Dispatch), dispatches, "{}", component.id);
    }
}
