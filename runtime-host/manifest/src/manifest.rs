//! A manifest as the host uses it: checked, with paths resolved.

use std::{
    collections::BTreeMap,
    fmt, fs,
    path::{Path, PathBuf},
};

use serde::Deserialize;
use toml::de::DeTable;

use crate::{
    AllowedHosts, Error, Template, Values, check,
    error::{KeyPath, Source},
    raw,
};

/// A whole application.
#[derive(Debug, Clone, PartialEq)]
pub struct Manifest {
    /// The folder the file stands in; paths in it were relative to this.
    pub root: PathBuf,
    /// `[application]`.
    pub application: Application,
    /// `[variables]`, by name.
    pub variables: BTreeMap<String, Variable>,
    /// `[[trigger.http]]`, as written.
    pub http: Vec<HttpTrigger>,
    /// `[component.<id>]` and the components written inside triggers, by id.
    pub components: BTreeMap<String, Component>,
}

/// Who the application is.
#[derive(Debug, Clone, PartialEq)]
pub struct Application {
    /// Never empty.
    pub name: String,
    /// Empty when not given.
    pub version: String,
    /// Empty when not given.
    pub description: String,
    /// Name and address of each author.
    pub authors: Vec<String>,
}

/// An application variable: it has a default, or a value must be provided.
#[derive(Clone, PartialEq)]
pub struct Variable {
    /// For people; empty when not given.
    pub description: String,
    /// None exactly when a value is required.
    pub default: Option<String>,
    /// Its value must not be shown.
    pub secret: bool,
}

impl fmt::Debug for Variable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let default = self.default.as_deref().map(|default| if self.secret { "…" } else { default });
        f.debug_struct("Variable").field("default", &default).field("secret", &self.secret).finish_non_exhaustive()
    }
}

/// Requests of a route go to a component.
#[derive(Debug, Clone, PartialEq)]
pub struct HttpTrigger {
    /// Unique; made from the component's id when the file has none.
    pub id: String,
    /// The component's id.
    pub component: String,
    /// Where requests come from.
    pub route: Route,
}

/// The paths a trigger answers.
#[derive(Debug, Clone, PartialEq)]
pub enum Route {
    /// `/a`, `/a/:b` or `/a/...`: see [`Router`](crate::Router).
    Path(String),
    /// `{ private = true }`: none from outside.
    Private,
}

/// One Wasm component and what it may reach.
#[derive(Debug, Clone, PartialEq)]
pub struct Component {
    /// Words joined by `-`; also its label in metrics and traces.
    pub id: String,
    /// Empty when not given.
    pub description: String,
    /// The component's file.
    pub source: PathBuf,
    /// How the file is made.
    pub build: Option<Build>,
    /// The labels of the key-value stores it may open.
    pub key_value_stores: Vec<String>,
    /// Its variables by name; resolve them with [`Component::resolve_variables`].
    pub variables: BTreeMap<String, Template>,
    /// Its environment.
    pub environment: BTreeMap<String, String>,
    /// Where it may connect to; resolve with [`Component::resolve_outbound_hosts`].
    pub allowed_outbound_hosts: Vec<Template>,
    /// Components that satisfy its imports on stock Spin, as written.
    pub dependencies: toml::Table,
    /// Whether those get the same permissions.
    pub dependencies_inherit_configuration: bool,
    /// `[component.<id>.tool.*]`, without `funnelweb`, as written.
    pub tool: toml::Table,
    /// `[component.<id>.tool.funnelweb]`.
    pub funnelweb: Funnelweb,
}

/// How a component's file is made.
#[derive(Debug, Clone, PartialEq)]
pub struct Build {
    /// Shell commands, run in order.
    pub commands: Vec<String>,
    /// Where they run.
    pub workdir: PathBuf,
    /// Patterns of the files it is made from, relative to `workdir`.
    pub watch: Vec<String>,
}

/// `[component.<id>.tool.funnelweb]`: what a component is in the funnel. Without
/// the table it is an endpoint without grants.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Funnelweb {
    /// What the component does.
    pub role: Role,
    /// What a scenario's config calls the stage; at least one for `recall`,
    /// `rank` and `rerank`, none for others. Unique within the role.
    #[serde(default)]
    pub names: Vec<String>,
    /// The Funnelweb interfaces it may import.
    #[serde(default)]
    pub grants: Vec<Grant>,
    /// Endpoints only: it answers without the gateway's headers.
    #[serde(default)]
    pub public: bool,
    /// Endpoints only: it reads long bodies, so the limits for imports apply.
    #[serde(default)]
    pub streaming: bool,
    /// Endpoints only: its requests can be recorded and run again. It has its clock and its
    /// stores by the recording then, so that it must be the same whenever those are.
    #[serde(default)]
    pub recorded: bool,
    /// Endpoints only: whether a request must name a user.
    #[serde(default)]
    pub user_header: UserHeader,
}

/// What a component does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Answers HTTP requests.
    #[default]
    Endpoint,
    /// Finds candidates.
    Recall,
    /// Makes the feature table; at most one component of an application.
    Features,
    /// Scores candidates.
    Rank,
    /// Scores candidates by a model that it is given before; at most one component of
    /// an application. Its names are those of models that configs may name before one
    /// is uploaded.
    Model,
    /// Reorders and removes candidates.
    Rerank,
    /// Aggregates behaviours in windows of time.
    Aggregate,
}

impl Role {
    /// The word for it in `spin.toml`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Endpoint => "endpoint",
            Self::Recall => "recall",
            Self::Features => "features",
            Self::Rank => "rank",
            Self::Model => "model",
            Self::Rerank => "rerank",
            Self::Aggregate => "aggregate",
        }
    }

    /// Whether scenario configs call stages of this role by name.
    #[must_use]
    pub fn is_named(self) -> bool {
        matches!(self, Self::Recall | Self::Rank | Self::Model | Self::Rerank)
    }

    /// The grants a component of this role can have: what its world imports.
    #[must_use]
    pub fn grants(self) -> &'static [Grant] {
        match self {
            Self::Endpoint => &[
                Grant::Documents,
                Grant::Live,
                Grant::Events,
                Grant::Vectors,
                Grant::Learned,
                Grant::Results,
                Grant::Jobs,
                Grant::Models,
                Grant::Components,
                Grant::Recordings,
                Grant::Dispatch,
            ],
            Self::Recall => &[Grant::Documents, Grant::Live, Grant::Vectors, Grant::Learned],
            Self::Features => &[Grant::Documents, Grant::Live],
            Self::Rank | Self::Model | Self::Rerank | Self::Aggregate => &[],
        }
    }
}

/// A Funnelweb interface that a component may be given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Grant {
    /// `funnelweb:capabilities/documents`.
    Documents,
    /// `funnelweb:capabilities/live`.
    Live,
    /// `funnelweb:capabilities/events`.
    Events,
    /// `funnelweb:capabilities/vectors`.
    Vectors,
    /// `funnelweb:capabilities/learned`.
    Learned,
    /// `funnelweb:capabilities/results`.
    Results,
    /// `funnelweb:capabilities/jobs`.
    Jobs,
    /// `funnelweb:capabilities/models`.
    Models,
    /// `funnelweb:capabilities/components`.
    Components,
    /// `funnelweb:capabilities/recordings`.
    Recordings,
    /// `funnelweb:pipeline/dispatch`.
    Dispatch,
}

impl Grant {
    /// Whether its answers are recorded with a request, and nothing is written when that is
    /// run again.
    #[must_use]
    pub fn is_taped(self) -> bool {
        matches!(self, Self::Documents | Self::Live | Self::Vectors | Self::Learned | Self::Results | Self::Dispatch)
    }

    /// The word for it in `spin.toml`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Documents => "documents",
            Self::Live => "live",
            Self::Events => "events",
            Self::Vectors => "vectors",
            Self::Learned => "learned",
            Self::Results => "results",
            Self::Jobs => "jobs",
            Self::Models => "models",
            Self::Components => "components",
            Self::Recordings => "recordings",
            Self::Dispatch => "dispatch",
        }
    }
}

/// Whether a request must name a user.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum UserHeader {
    /// It may.
    #[default]
    Optional,
    /// It must.
    Required,
}

impl Manifest {
    /// Reads and checks a manifest file.
    ///
    /// # Errors
    /// [`Error::Read`], or [`Error::Invalid`] for the first thing that is wrong.
    pub fn load(path: impl AsRef<Path>) -> Result<Self, Error> {
        let path = path.as_ref();
        let text = fs::read_to_string(path).map_err(|source| Error::Read { path: path.to_owned(), source })?;
        Self::parse(&text, path)
    }

    /// Checks the text of a manifest; `file` is named in errors, and its folder
    /// is where relative paths begin.
    ///
    /// # Errors
    /// [`Error::Invalid`] for the first thing that is wrong.
    pub fn parse(text: &str, file: impl AsRef<Path>) -> Result<Self, Error> {
        let source = Source { file: file.as_ref(), text };
        let document = DeTable::parse(text).map_err(|error| source.syntax(&error))?;
        check::version(document.get_ref()).map_err(|fault| fault.locate(&source, document.get_ref()))?;
        let deserializer = toml::Deserializer::parse(text).map_err(|error| source.syntax(&error))?;
        let raw: raw::Manifest =
            serde_path_to_error::deserialize(deserializer).map_err(|error| source.shape(&error, document.get_ref()))?;
        let root = source.file.parent().filter(|folder| *folder != "").unwrap_or(Path::new("."));
        check::manifest(raw, root, &KeyPath::default()).map_err(|fault| fault.locate(&source, document.get_ref()))
    }

    /// The value of every application variable: `provider`'s, or else its default.
    ///
    /// # Errors
    /// [`Error::NoValue`] for a required variable the provider does not have.
    pub fn resolve_variables(&self, provider: impl Fn(&str) -> Option<String>) -> Result<Values, Error> {
        let value = |(name, variable): (&String, &Variable)| {
            let value = provider(name).or_else(|| variable.default.clone());
            Ok((name.clone(), value.ok_or_else(|| Error::NoValue(name.clone()))?))
        };
        self.variables.iter().map(value).collect::<Result<BTreeMap<_, _>, _>>().map(Values::new)
    }

    /// The component that a scenario's config means by `name`.
    #[must_use]
    pub fn stage(&self, role: Role, name: &str) -> Option<&Component> {
        self.components.values().find(|component| {
            component.funnelweb.role == role && component.funnelweb.names.iter().any(|known| known == name)
        })
    }
}

impl Component {
    /// The component's variables with application variables filled in.
    ///
    /// # Errors
    /// [`Error::UnknownVariable`] when `values` are of another application.
    pub fn resolve_variables(&self, values: &Values) -> Result<BTreeMap<String, String>, Error> {
        self.variables.iter().map(|(name, template)| Ok((name.clone(), template.render(values)?))).collect()
    }

    /// Where the component may connect to, with application variables filled in.
    ///
    /// # Errors
    /// [`Error::OutboundHost`] when an entry is malformed once filled in.
    pub fn resolve_outbound_hosts(&self, values: &Values) -> Result<AllowedHosts, Error> {
        let entries = self.allowed_outbound_hosts.iter().map(|entry| entry.render(values));
        AllowedHosts::parse(entries.collect::<Result<Vec<_>, _>>()?)
            .map_err(|message| Error::OutboundHost { component: self.id.clone(), message })
    }
}
