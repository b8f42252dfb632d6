//! The shape of the file, as Spin defines it (`spin_manifest::schema::v2`).
//! Every table refuses keys it does not know. What Spin has and this host does
//! not offer is read into [`Unoffered`], so that it is refused with its own
//! message when it is not empty.

use std::{collections::BTreeMap, fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, MapAccess, SeqAccess, Visitor, value::MapAccessDeserializer},
};

use crate::Funnelweb;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Manifest {
    #[serde(rename = "spin_manifest_version")]
    _version: IgnoredAny,
    pub application: Application,
    #[serde(default)]
    pub variables: BTreeMap<String, Variable>,
    pub trigger: Triggers,
    #[serde(default)]
    pub component: BTreeMap<String, Component>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Application {
    pub name: String,
    #[serde(default)]
    pub version: String,
    #[serde(default)]
    pub description: String,
    #[serde(default)]
    pub authors: Vec<String>,
    #[serde(default)]
    pub targets: Unoffered,
    #[serde(default)]
    pub trigger: ApplicationTriggers,
    #[serde(default, rename = "tool")]
    _tool: BTreeMap<String, toml::Table>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ApplicationTriggers {
    #[serde(default)]
    pub http: ApplicationHttp,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ApplicationHttp {
    pub base: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Variable {
    #[serde(default)]
    pub description: String,
    #[serde(default)]
    pub required: bool,
    pub default: Option<String>,
    #[serde(default)]
    pub secret: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Triggers {
    #[serde(default)]
    pub http: Vec<HttpTrigger>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct HttpTrigger {
    #[serde(default)]
    pub id: String,
    pub route: TextOr<PrivateRoute>,
    pub component: Option<TextOr<Box<Component>>>,
    pub executor: Option<Executor>,
    #[serde(default)]
    pub static_response: Unoffered,
    #[serde(default)]
    pub components: Unoffered,
    #[serde(default)]
    pub dependencies: Unoffered,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PrivateRoute {
    pub private: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Executor {
    #[serde(rename = "type")]
    pub kind: String,
    #[serde(default)]
    pub argv: Unoffered,
    #[serde(default)]
    pub entrypoint: Unoffered,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Component {
    pub source: TextOr<RemoteSource>,
    #[serde(default)]
    pub description: String,
    #[serde(default)]
    pub variables: BTreeMap<String, String>,
    #[serde(default)]
    pub environment: BTreeMap<String, String>,
    #[serde(default)]
    pub files: Unoffered,
    #[serde(default)]
    pub exclude_files: Unoffered,
    #[serde(default)]
    pub allowed_http_hosts: Unoffered,
    #[serde(default)]
    pub allowed_outbound_hosts: Vec<String>,
    #[serde(default)]
    pub key_value_stores: Vec<String>,
    #[serde(default)]
    pub sqlite_databases: Unoffered,
    #[serde(default)]
    pub ai_models: Unoffered,
    #[serde(default)]
    pub targets: Unoffered,
    pub build: Option<Build>,
    #[serde(default)]
    pub tool: Tools,
    #[serde(default)]
    pub dependencies_inherit_configuration: bool,
    #[serde(default)]
    pub dependencies: toml::Table,
    #[serde(default)]
    pub profile: Unoffered,
}

/// A source that would have to be downloaded.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RemoteSource {
    #[serde(rename = "url")]
    _url: Option<String>,
    #[serde(rename = "digest")]
    _digest: Option<String>,
    #[serde(rename = "registry")]
    _registry: Option<String>,
    #[serde(rename = "package")]
    _package: Option<String>,
    #[serde(rename = "version")]
    _version: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Build {
    pub command: OneOrMany,
    pub workdir: Option<String>,
    #[serde(default)]
    pub watch: Vec<String>,
}

/// Something of Spin's that this host does not offer: fine as long as it is empty.
#[derive(Default)]
pub(crate) struct Unoffered {
    pub used: bool,
}

impl<'de> Deserialize<'de> for Unoffered {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let used = match toml::Value::deserialize(deserializer)? {
            toml::Value::Array(entries) => !entries.is_empty(),
            toml::Value::Table(entries) => !entries.is_empty(),
            toml::Value::String(text) => !text.is_empty(),
            _ => true,
        };
        Ok(Self { used })
    }
}

/// Text, or a table. Unlike serde's untagged enums this keeps a fault's place
/// and says which key it is about.
pub(crate) enum TextOr<T> {
    Text(String),
    Table(T),
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for TextOr<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextOrTable<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for TextOrTable<T> {
            type Value = TextOr<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string or a table")
            }

            fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
                Ok(TextOr::Text(text.to_owned()))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map)).map(TextOr::Table)
            }
        }

        deserializer.deserialize_any(TextOrTable(PhantomData))
    }
}

/// A string, or an array of them.
pub(crate) struct OneOrMany(pub Vec<String>);

impl<'de> Deserialize<'de> for OneOrMany {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct StringOrArray;

        impl<'de> Visitor<'de> for StringOrArray {
            type Value = OneOrMany;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string or an array of strings")
            }

            fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
                Ok(OneOrMany(vec![text.to_owned()]))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> Result<Self::Value, A::Error> {
                let mut texts = Vec::new();
                while let Some(text) = array.next_element()? {
                    texts.push(text);
                }
                Ok(OneOrMany(texts))
            }
        }

        deserializer.deserialize_any(StringOrArray)
    }
}

/// `[component.<id>.tool]`: ours, and the tables of other tools as they are.
#[derive(Default)]
pub(crate) struct Tools {
    pub funnelweb: Option<Funnelweb>,
    pub others: toml::Table,
}

impl<'de> Deserialize<'de> for Tools {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Tables;

        impl<'de> Visitor<'de> for Tables {
            type Value = Tools;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a table for each tool")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut tools = Tools::default();
                while let Some(name) = map.next_key::<String>()? {
                    if name == "funnelweb" {
                        tools.funnelweb = Some(map.next_value()?);
                    } else {
                        tools.others.insert(name, toml::Value::Table(map.next_value()?));
                    }
                }
                Ok(tools)
            }
        }

        deserializer.deserialize_map(Tables)
    }
}
