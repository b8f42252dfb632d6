//! What is stored of components, in the collection `components`: of each component one
//! document that says which of its versions runs, so that one write switches, and one of
//! each version.

use funnelweb_admission::{Admitted, Manifest, Reads, UserPart, World};
use funnelweb_bindings::types::{ColumnKind, ColumnSpec, Personal};
use funnelweb_core::time;
use funnelweb_factor_documents::store::{Document, Key};
use funnelweb_stream::operator::{Declaration, Field, Window};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::certificate::Certificate;

/// Versions that can be gone back to, one after the other.
const PREVIOUS: usize = 16;

/// Which versions of a component run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Head {
    /// Unique within the tenant.
    pub name: String,
    /// Of all its versions.
    pub world: World,
    /// Runs wherever a config names the component without a version.
    #[serde(default)]
    pub active: Option<String>,
    /// Those that were active before, the last one last.
    #[serde(default)]
    pub previous: Vec<String>,
    /// Runs instead for a part of the requests.
    #[serde(default)]
    pub canary: Option<Canary>,
    /// Whether none runs.
    #[serde(default)]
    pub disabled: bool,
    /// Of a stream operator that was activated once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub follows: Option<Follows>,
    /// Set by the store.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_at: Option<String>,
    /// Set by the store.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub updated_at: Option<String>,
    /// Of the document that it was read from.
    #[serde(skip)]
    pub document_version: u64,
}

/// How a stream operator follows its tenant's log. For as long as its versions declare the
/// same, each goes on with what those before it aggregated.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Follows {
    /// The offset of the first event that it takes.
    pub begins: u64,
    /// When it began, in milliseconds since 1970.
    pub since_ms: u64,
    /// The one before it, which declared something else: it begins where that ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Before>,
    /// What its versions declare.
    pub declared: Declared,
}

/// An operator that has ended, or is about to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Before {
    /// When it began, in milliseconds since 1970.
    pub since_ms: u64,
    /// The offset of the first event that it was to take.
    pub begins: u64,
}

/// What a stream operator declares.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Declared {
    /// Events that are equal in these are aggregated together.
    pub key: Vec<KeyField>,
    /// How long a window is.
    pub window_ms: u64,
    /// From one window's begin to the next one's.
    pub slide_ms: u64,
    /// How long after its end a window takes events.
    pub allowed_lateness_ms: u64,
}

/// What a key is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KeyField {
    /// The event's scenario.
    Scenario,
    /// Its user.
    User,
    /// Its item.
    Item,
    /// Its group of an experiment.
    Group,
}

impl From<Declaration> for Declared {
    fn from(declaration: Declaration) -> Self {
        let Declaration { key, window, allowed_lateness_ms } = declaration;
        let field = |field: Field| match field {
            Field::Scenario => KeyField::Scenario,
            Field::User => KeyField::User,
            Field::Item => KeyField::Item,
            Field::Group => KeyField::Group,
        };
        let key = key.into_iter().map(field).collect();
        Self { key, window_ms: window.size_ms, slide_ms: window.slide_ms, allowed_lateness_ms }
    }
}

impl From<Declared> for Declaration {
    fn from(declared: Declared) -> Self {
        let Declared { key, window_ms, slide_ms, allowed_lateness_ms } = declared;
        let field = |field: KeyField| match field {
            KeyField::Scenario => Field::Scenario,
            KeyField::User => Field::User,
            KeyField::Item => Field::Item,
            KeyField::Group => Field::Group,
        };
        let key = key.into_iter().map(field).collect();
        Self { key, window: Window { size_ms: window_ms, slide_ms }, allowed_lateness_ms }
    }
}

/// A version that runs for a part of the requests.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Canary {
    /// Which.
    pub version: String,
    /// Above 0, at most 100.
    pub percent: f64,
    /// How requests are chosen.
    pub of: ShareOf,
}

/// How requests are chosen for a canary.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ShareOf {
    /// A user is always among them or never.
    Users,
    /// Each for itself.
    Requests,
}

/// A version of a component.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Version {
    /// Of the component.
    pub name: String,
    /// Its own.
    pub version: String,
    /// What it is for.
    pub world: World,
    /// In a sentence.
    #[serde(default)]
    pub description: Option<String>,
    /// Of the file, which is named by it.
    pub sha256: String,
    /// Of the file.
    pub bytes: u64,
    /// What it is given.
    pub reads: Reads,
    /// The JSON Schema of its params.
    #[serde(default)]
    pub params_schema: Option<Value>,
    /// What was found at its admission.
    pub admission: Admission,
    /// Of the last certification.
    #[serde(default)]
    pub certificate: Option<Certificate>,
    /// Whether it passed a certification: one that it does not pass afterwards takes nothing
    /// that runs out of service.
    #[serde(default)]
    pub passed: bool,
    /// Whether an operator had it run without a certificate that it passed.
    #[serde(default)]
    pub overridden: bool,
    /// Set by the store.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_at: Option<String>,
    /// Set by the store.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub updated_at: Option<String>,
    /// Of the document that it was read from.
    #[serde(skip)]
    pub document_version: u64,
}

/// What was found at an upload's admission.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Admission {
    /// Components and core modules in it.
    pub modules: u64,
    /// Functions of all core modules.
    pub functions: u64,
    /// The interfaces that it imports.
    pub imports: Vec<String>,
    /// Linear memory that an instance begins with.
    pub memory_bytes: u64,
    /// What compiling it took.
    pub compile_ms: u64,
    /// What it was compiled to.
    pub machine_code_bytes: u64,
}

/// A document of the collection.
#[derive(Debug, Clone, PartialEq)]
pub enum Record {
    /// Of a component.
    Head(Box<Head>),
    /// Of a version.
    Version(Box<Version>),
}

impl Record {
    /// Reads what is stored; none when it is of another version of this program.
    #[must_use]
    pub fn read(document: &Document) -> Option<Self> {
        // Names have no `:`.
        if document.key.id.contains(':') {
            let version: Version = serde_json::from_str(&document.body).ok()?;
            return Some(Self::Version(Box::new(Version { document_version: document.version, ..version })));
        }
        let head: Head = serde_json::from_str(&document.body).ok()?;
        Some(Self::Head(Box::new(Head { document_version: document.version, ..head })))
    }
}

impl Head {
    /// Of a component that has no active version yet.
    #[must_use]
    pub fn new(name: &str, world: World) -> Self {
        Self {
            name: name.to_owned(),
            world,
            active: None,
            previous: Vec::new(),
            canary: None,
            disabled: false,
            follows: None,
            created_at: None,
            updated_at: None,
            document_version: 0,
        }
    }

    /// Where it is stored.
    #[must_use]
    pub fn key(&self) -> Key {
        Key::of_tenant(&self.name)
    }

    /// Has a version run, and remembers the one that did.
    pub fn activate(&mut self, version: &str) {
        if self.active.as_deref() == Some(version) {
            return;
        }
        if let Some(before) = self.active.replace(version.to_owned()) {
            self.previous.push(before);
            let surplus = self.previous.len().saturating_sub(PREVIOUS);
            self.previous.drain(..surplus);
        }
        // It is no trial any more.
        self.canary.take_if(|canary| canary.version == version);
    }

    /// Whether a version runs for somebody.
    #[must_use]
    pub fn runs(&self, version: &str) -> bool {
        self.active.as_deref() == Some(version) || self.canary.as_ref().is_some_and(|canary| canary.version == version)
    }
}

impl Version {
    /// Of an upload that was admitted.
    #[must_use]
    pub fn new(admitted: Admitted, sha256: String, bytes: u64) -> Self {
        let Admitted { inspected, compile_ms, machine_code_bytes } = admitted;
        let Manifest { name, version, world, description, reads, params, .. } = inspected.manifest;
        Self {
            name,
            version,
            world,
            description,
            sha256,
            bytes,
            reads,
            params_schema: params,
            admission: Admission {
                modules: inspected.counts.modules,
                functions: inspected.counts.functions,
                imports: inspected.imports,
                memory_bytes: inspected.memory_bytes,
                compile_ms,
                machine_code_bytes,
            },
            certificate: None,
            passed: false,
            overridden: false,
            created_at: None,
            updated_at: None,
            document_version: 0,
        }
    }

    /// Where it is stored.
    #[must_use]
    pub fn key(&self) -> Key {
        version_key(&self.name, &self.version)
    }

    /// Whether it may run: it passed, or an operator takes the blame.
    #[must_use]
    pub fn may_run(&self) -> bool {
        let has_passed = || self.certificate.as_ref().is_some_and(|certificate| certificate.passed);
        self.overridden || self.passed || has_passed()
    }

    /// When it was uploaded, in milliseconds since 1970.
    #[must_use]
    pub fn created_ms(&self) -> u64 {
        self.created_at.as_deref().and_then(time::parse_ms).unwrap_or_default()
    }
}

/// Where a version is stored.
#[must_use]
pub fn version_key(name: &str, version: &str) -> Key {
    Key::of_tenant(format!("{name}:{version}"))
}

/// The columns of a manifest, as stages ask for them.
#[must_use]
pub fn columns(columns: &[funnelweb_admission::Column]) -> Vec<ColumnSpec> {
    use funnelweb_admission::ColumnType;
    let kind = |kind| match kind {
        ColumnType::Numeric => ColumnKind::Numeric,
        ColumnType::Categorical => ColumnKind::Categorical,
        ColumnType::MultiCategorical => ColumnKind::MultiCategorical,
        ColumnType::Timestamp => ColumnKind::Timestamp,
        ColumnType::Embedding => ColumnKind::Embedding,
    };
    columns.iter().map(|column| ColumnSpec { name: column.name.clone(), kind: kind(column.kind) }).collect()
}

/// What a manifest reads of a user, as stages ask for it.
#[must_use]
pub fn personal(parts: &[UserPart]) -> Personal {
    let part = |part: &UserPart| match part {
        UserPart::Id => Personal::ID,
        UserPart::Attributes => Personal::ATTRIBUTES,
        UserPart::Preferences => Personal::PREFERENCES,
        UserPart::Recent => Personal::RECENT,
        UserPart::Context => Personal::SITUATION,
    };
    parts.iter().map(part).fold(Personal::empty(), |all, part| all | part)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn version(name: &str, version: &str) -> Version {
        Version {
            name: name.to_owned(),
            version: version.to_owned(),
            world: World::Rerank,
            description: None,
            sha256: format!("{name}{version}"),
            bytes: 1,
            reads: Reads::default(),
            params_schema: None,
            admission: Admission {
                modules: 1,
                functions: 1,
                imports: Vec::new(),
                memory_bytes: 1,
                compile_ms: 1,
                machine_code_bytes: 1,
            },
            certificate: None,
            passed: false,
            overridden: false,
            created_at: None,
            updated_at: None,
            document_version: 0,
        }
    }

    #[test]
    fn what_is_written_is_read() {
        let (head, version) = (Head::new("boost", World::Rank), version("boost", "1"));
        let document = |key, body| Document { key, body, version: 7 };
        let read = Record::read(&document(head.key(), serde_json::to_string(&head).unwrap()));
        assert_eq!(read, Some(Record::Head(Box::new(Head { document_version: 7, ..head.clone() }))));
        let read = Record::read(&document(version.key(), serde_json::to_string(&version).unwrap()));
        assert_eq!(read, Some(Record::Version(Box::new(Version { document_version: 7, ..version.clone() }))));
        assert_eq!(Record::read(&document(head.key(), "{}".to_owned())), None);
    }

    #[test]
    fn what_was_active_can_be_gone_back_to() {
        let mut head = Head::new("boost", World::Rank);
        head.canary = Some(Canary { version: "2".to_owned(), percent: 5.0, of: ShareOf::Users });
        for version in ["1", "2", "2", "3"] {
            head.activate(version);
        }
        assert_eq!((head.active.as_deref(), head.canary.clone()), (Some("3"), None));
        assert_eq!(head.previous, ["1", "2"]);
        assert!(head.runs("3") && !head.runs("2"));
        (0..100).for_each(|at| head.activate(&at.to_string()));
        assert_eq!(head.previous.len(), PREVIOUS);
    }

    #[test]
    fn names_fit_into_an_id_two_at_a_time() {
        let name = "x".repeat(funnelweb_core::limits::COMPONENT_NAME_BYTES);
        assert_eq!(funnelweb_core::id::check(&version_key(&name, &name).id), Ok(()));
    }
}
