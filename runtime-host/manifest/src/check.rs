//! What the file's shape cannot say: names, references, what is not offered,
//! and what would be ambiguous.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use toml::de::{DeTable, DeValue};

use crate::{
    Application, Build, Component, Funnelweb, HttpTrigger, Manifest, Role, Route, Template, Variable,
    error::{Fault, KeyPath},
    id,
    outbound::AllowedHosts,
    raw,
    router::Pattern,
};

/// Refuses other versions of the format before their keys are called unknown.
pub(crate) fn version(document: &DeTable<'_>) -> Result<(), Fault> {
    let key = "spin_manifest_version";
    match document.get(key).map(|value| value.get_ref()) {
        Some(DeValue::Integer(version)) if version.as_str() == "2" => Ok(()),
        Some(_) => Err(KeyPath::default().key(key).fault("must be 2: no other version is read")),
        None => Err(KeyPath::default().fault(format!("missing key `{key}`, which must be 2"))),
    }
}

/// Turns the file's shape into a manifest.
pub(crate) fn manifest(raw: raw::Manifest, root: &Path, at: &KeyPath) -> Result<Manifest, Fault> {
    let application = application(raw.application, &at.key("application"))?;
    let variables = variables(raw.variables, &at.key("variables"))?;
    let context = Context { root, variables: &variables };

    let mut components = BTreeMap::new();
    for (id, raw) in raw.component {
        let at = at.key("component").key(&id);
        id::kebab(&id).map_err(|rule| at.fault(rule))?;
        let component = context.component(id.clone(), raw, &at)?;
        components.insert(id, component);
    }
    let http = context.triggers(raw.trigger.http, &mut components, &at.key("trigger").key("http"))?;
    stages(&components, &at.key("component"))?;
    Ok(Manifest { root: root.to_owned(), application, variables, http, components })
}

fn application(raw: raw::Application, at: &KeyPath) -> Result<Application, Fault> {
    if raw.name.is_empty() {
        return Err(at.key("name").fault("must not be empty"));
    }
    refuse(&raw.targets, at, "targets", "target environments are not supported")?;
    if raw.trigger.http.base.is_some_and(|base| base != "/") {
        return Err(at.key("trigger").key("http").key("base").fault("only \"/\" is supported"));
    }
    let raw::Application { name, version, description, authors, .. } = raw;
    Ok(Application { name, version, description, authors })
}

fn variables(raw: BTreeMap<String, raw::Variable>, at: &KeyPath) -> Result<BTreeMap<String, Variable>, Fault> {
    let mut variables = BTreeMap::new();
    for (name, raw) in raw {
        let at = at.key(&name);
        id::lower_snake(&name).map_err(|rule| at.fault(rule))?;
        if raw.required == raw.default.is_some() {
            return Err(at.fault("must have either `required = true` or a `default`"));
        }
        let raw::Variable { description, default, secret, .. } = raw;
        variables.insert(name, Variable { description, default, secret });
    }
    Ok(variables)
}

fn refuse(unoffered: &raw::Unoffered, at: &KeyPath, key: &str, message: &str) -> Result<(), Fault> {
    if unoffered.used { Err(at.key(key).fault(message)) } else { Ok(()) }
}

/// What components and triggers are checked against.
struct Context<'a> {
    root: &'a Path,
    variables: &'a BTreeMap<String, Variable>,
}

impl Context<'_> {
    fn component(&self, id: String, raw: raw::Component, at: &KeyPath) -> Result<Component, Fault> {
        for (unoffered, key, message) in [
            (&raw.files, "files", "files are not supported: a component has no file system"),
            (&raw.exclude_files, "exclude_files", "files are not supported: a component has no file system"),
            (&raw.allowed_http_hosts, "allowed_http_hosts", "was replaced by `allowed_outbound_hosts`"),
            (&raw.sqlite_databases, "sqlite_databases", "SQLite databases are not supported"),
            (&raw.ai_models, "ai_models", "AI models are not supported"),
            (&raw.targets, "targets", "target environments are not supported"),
            (&raw.profile, "profile", "build profiles are not supported"),
        ] {
            refuse(unoffered, at, key, message)?;
        }
        let raw::TextOr::Text(source) = raw.source else {
            return Err(at.key("source").fault("must be the path of a local file: components are not downloaded"));
        };
        if source.is_empty() {
            return Err(at.key("source").fault("must not be empty"));
        }
        for (index, label) in raw.key_value_stores.iter().enumerate() {
            let label_is_valid = id::kebab(label).is_ok() || id::lower_snake(&label.to_ascii_lowercase()).is_ok();
            if !label_is_valid {
                let at = at.key("key_value_stores").index(index);
                return Err(at.fault("a store's label is words joined by `-` or by `_`"));
            }
        }
        let funnelweb = raw.tool.funnelweb.unwrap_or_default();
        check_funnelweb(&funnelweb, &at.key("tool").key("funnelweb"))?;
        Ok(Component {
            id,
            description: raw.description,
            source: self.root.join(source),
            build: raw.build.map(|build| self.build(build, &at.key("build"))).transpose()?,
            key_value_stores: raw.key_value_stores,
            variables: self.component_variables(raw.variables, &at.key("variables"))?,
            environment: raw.environment,
            allowed_outbound_hosts: self.outbound_hosts(&raw.allowed_outbound_hosts, at)?,
            dependencies: raw.dependencies,
            dependencies_inherit_configuration: raw.dependencies_inherit_configuration,
            tool: raw.tool.others,
            funnelweb,
        })
    }

    fn build(&self, raw: raw::Build, at: &KeyPath) -> Result<Build, Fault> {
        let raw::OneOrMany(commands) = raw.command;
        if commands.is_empty() || commands.iter().any(|command| command.trim().is_empty()) {
            return Err(at.key("command").fault("must not be empty"));
        }
        let workdir = raw.workdir.map_or_else(|| self.root.to_owned(), |workdir| self.root.join(workdir));
        Ok(Build { commands, workdir, watch: raw.watch })
    }

    fn component_variables(
        &self,
        raw: BTreeMap<String, String>,
        at: &KeyPath,
    ) -> Result<BTreeMap<String, Template>, Fault> {
        let mut variables = BTreeMap::new();
        for (name, text) in raw {
            let at = at.key(&name);
            id::lower_snake(&name).map_err(|rule| at.fault(rule))?;
            variables.insert(name, self.template(&text, &at)?);
        }
        Ok(variables)
    }

    fn outbound_hosts(&self, raw: &[String], component: &KeyPath) -> Result<Vec<Template>, Fault> {
        let mut hosts = Vec::with_capacity(raw.len());
        for (index, text) in raw.iter().enumerate() {
            let at = component.key("allowed_outbound_hosts").index(index);
            let template = self.template(text, &at)?;
            // One with variables is checked when they have values.
            if template.variables().next().is_none() {
                AllowedHosts::check(text).map_err(|message| at.fault(message))?;
            }
            hosts.push(template);
        }
        Ok(hosts)
    }

    fn template(&self, text: &str, at: &KeyPath) -> Result<Template, Fault> {
        let template = Template::parse(text).map_err(|message| at.fault(message))?;
        if let Some(unknown) = template.variables().find(|name| !self.variables.contains_key(*name)) {
            return Err(at.fault(format!("unknown variable `{unknown}`")));
        }
        Ok(template)
    }

    fn triggers(
        &self,
        raw: Vec<raw::HttpTrigger>,
        components: &mut BTreeMap<String, Component>,
        at: &KeyPath,
    ) -> Result<Vec<HttpTrigger>, Fault> {
        let mut ids = BTreeSet::new();
        for (index, trigger) in raw.iter().enumerate() {
            if !trigger.id.is_empty() && !ids.insert(trigger.id.clone()) {
                return Err(at.index(index).key("id").fault(format!("two triggers have the id `{}`", trigger.id)));
            }
        }
        let mut triggers = Vec::with_capacity(raw.len());
        let mut routes = BTreeMap::new();
        for (index, trigger) in raw.into_iter().enumerate() {
            let at = at.index(index);
            unoffered_in_trigger(&trigger, &at)?;
            let route = route(trigger.route, &at.key("route"))?;
            let Some(component) = trigger.component else {
                return Err(at.fault("missing key `component`"));
            };
            let id = if trigger.id.is_empty() { free_trigger_id(&component, &mut ids) } else { trigger.id };
            let at_component = at.key("component");
            let component = match component {
                raw::TextOr::Text(component) => component,
                raw::TextOr::Table(raw) => {
                    let inline_id = free_component_id(&id, components);
                    let component = self.component(inline_id.clone(), *raw, &at_component)?;
                    components.insert(inline_id.clone(), component);
                    inline_id
                }
            };
            let Some(target) = components.get(&component) else {
                return Err(at_component.fault(format!("there is no component `{component}`")));
            };
            if target.funnelweb.role != Role::Endpoint {
                let role = target.funnelweb.role.as_str();
                return Err(at_component.fault(format!("`{component}` is a {role} stage, which answers no requests")));
            }
            if let Route::Path(path) = &route {
                let pattern = Pattern::parse(path).map_err(|message| at.key("route").fault(message))?;
                if let Some(other) = routes.insert(pattern.shape(), component.clone()) {
                    let message = format!("the route {path:?} leads to `{other}` already");
                    return Err(at.key("route").fault(message));
                }
            }
            triggers.push(HttpTrigger { id, component, route });
        }
        Ok(triggers)
    }
}

fn unoffered_in_trigger(trigger: &raw::HttpTrigger, at: &KeyPath) -> Result<(), Fault> {
    refuse(&trigger.static_response, at, "static_response", "static responses are not supported")?;
    refuse(&trigger.components, at, "components", "additional components of a trigger are not supported")?;
    refuse(&trigger.dependencies, at, "dependencies", "trigger dependencies (middleware) are not supported")?;
    let Some(executor) = &trigger.executor else { return Ok(()) };
    let at = at.key("executor");
    if !matches!(executor.kind.as_str(), "http" | "spin") {
        let message = format!("executor {:?} is not supported, only \"http\"", executor.kind);
        return Err(at.key("type").fault(message));
    }
    refuse(&executor.argv, &at, "argv", "is of the executor \"wagi\", which is not supported")?;
    refuse(&executor.entrypoint, &at, "entrypoint", "is of the executor \"wagi\", which is not supported")
}

fn route(raw: raw::TextOr<raw::PrivateRoute>, at: &KeyPath) -> Result<Route, Fault> {
    match raw {
        raw::TextOr::Text(path) => Ok(Route::Path(path)),
        raw::TextOr::Table(raw::PrivateRoute { private: true }) => Ok(Route::Private),
        raw::TextOr::Table(_) => Err(at.key("private").fault("must be true, or the route a path")),
    }
}

/// An id for a trigger that has none, made as Spin makes it.
fn free_trigger_id(component: &raw::TextOr<Box<raw::Component>>, taken: &mut BTreeSet<String>) -> String {
    let natural = match component {
        raw::TextOr::Text(component) => Some(format!("{component}-http-trigger")),
        raw::TextOr::Table(_) => None,
    };
    let mut candidates = natural.into_iter().chain((1_u64..).map(|count| format!("http-trigger{count}")));
    // The candidates never end, so one is free.
    let id = candidates.find(|id| !taken.contains(id)).unwrap_or_default();
    taken.insert(id.clone());
    id
}

/// An id for a component written inside a trigger, made as Spin makes it.
fn free_component_id(trigger: &str, taken: &BTreeMap<String, Component>) -> String {
    let natural = Some(format!("{trigger}-component")).filter(|natural| id::kebab(natural).is_ok());
    let mut candidates = natural.into_iter().chain((1_u64..).map(|count| format!("inline-component{count}")));
    // The candidates never end, so one is free.
    candidates.find(|id| !taken.contains_key(id)).unwrap_or_default()
}

fn check_funnelweb(settings: &Funnelweb, at: &KeyPath) -> Result<(), Fault> {
    let role = settings.role.as_str();
    if settings.role.is_named() == settings.names.is_empty() {
        let rule = if settings.role.is_named() { "needs at least one name" } else { "has no names" };
        return Err(at.key("names").fault(format!("a component of the role \"{role}\" {rule}")));
    }
    let mut names = BTreeSet::new();
    for (index, name) in settings.names.iter().enumerate() {
        let at = at.key("names").index(index);
        id::lower_snake(name).map_err(|rule| at.fault(rule))?;
        if !names.insert(name) {
            return Err(at.fault(format!("`{name}` stands here twice")));
        }
    }
    let mut grants = BTreeSet::new();
    for (index, grant) in settings.grants.iter().enumerate() {
        let at = at.key("grants").index(index);
        let word = grant.as_str();
        if !settings.role.grants().contains(grant) {
            return Err(at.fault(format!("a component of the role \"{role}\" cannot have `{word}`")));
        }
        if !grants.insert(grant) {
            return Err(at.fault(format!("`{word}` stands here twice")));
        }
    }
    let endpoint_keys = [
        ("public", settings.public),
        ("streaming", settings.streaming),
        ("recorded", settings.recorded),
        ("user_header", settings.user_header != crate::UserHeader::Optional),
    ];
    match endpoint_keys.into_iter().find(|(_, used)| *used && settings.role != Role::Endpoint) {
        Some((key, _)) => Err(at.key(key).fault("is for endpoints only")),
        None if settings.recorded && settings.public => {
            Err(at.key("recorded").fault("what a public endpoint is asked is nobody's, so it cannot be recorded"))
        }
        None if settings.recorded && settings.grants.iter().any(|grant| !grant.is_taped()) => {
            let taped = "documents, live, vectors, learned, results and dispatch";
            Err(at.key("recorded").fault(format!("can be run again only with the grants {taped}")))
        }
        None if settings.public && settings.user_header == crate::UserHeader::Required => {
            Err(at.key("user_header").fault("a public endpoint gets no gateway headers, so it cannot require one"))
        }
        None => Ok(()),
    }
}

/// One component for a role and name, and one for the features.
fn stages(components: &BTreeMap<String, Component>, at: &KeyPath) -> Result<(), Fault> {
    let mut claimed = BTreeMap::new();
    let mut features = None;
    for component in components.values() {
        let at = at.key(&component.id).key("tool").key("funnelweb");
        let role = component.funnelweb.role;
        if role == Role::Features
            && let Some(other) = features.replace(&component.id)
        {
            return Err(at.key("role").fault(format!("`{other}` has the role \"features\" already; there is one")));
        }
        for (index, name) in component.funnelweb.names.iter().enumerate() {
            if let Some(other) = claimed.insert((role, name), &component.id) {
                let role = role.as_str();
                let message = format!("the {role} stage `{name}` is `{other}` already");
                return Err(at.key("names").index(index).fault(message));
            }
        }
    }
    Ok(())
}
