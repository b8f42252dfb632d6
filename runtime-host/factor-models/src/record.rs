//! A version of a model as it stands in `model_configs` (design §3.1).

use funnelweb_core::{limits, time};
use funnelweb_factor_documents::store::{Document, Key};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// What is known of a version.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// Whose ranker it is.
    pub scenario_id: String,
    /// `rank`: there are no others.
    pub model_type: String,
    /// What `rank.model` of the scenario's config says.
    pub model_name: String,
    /// What `rank.version` may say.
    pub model_version: String,
    /// `blob:` and the name of its files.
    pub model_path: String,
    /// What it says of itself, and what was found out.
    pub config: Config,
    /// Of training: names and numbers.
    #[serde(default)]
    pub metrics: Map<String, Value>,
    /// Whether it is the one that ranks where no version is asked for. Derived from
    /// [`activation`](Self::activation) when it is read.
    #[serde(default)]
    pub status: Status,
    /// Grows with every activation of a version of this name; 0 before the first. The
    /// greatest is the active version's, so that one write switches.
    #[serde(default)]
    pub activation: u64,
    /// The version that was active before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<String>,
    /// When it was last activated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub activated_at: Option<String>,
    /// Set by the store.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_at: Option<String>,
    /// Set by the store.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub updated_at: Option<String>,
    /// Of the document that it was read from, so that nothing that was written since is
    /// written over or deleted.
    #[serde(skip)]
    pub document_version: u64,
}

/// What a model says of itself, and what was found out at its upload.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Config {
    /// `lightgbm`, `deepfm`, `wide_deep`.
    pub kind: String,
    /// What the score estimates.
    pub objective: String,
    /// The features it reads: full name and type.
    pub features: Vec<Feature>,
    /// Of those.
    pub schema_hash: String,
    /// Of the ONNX file.
    pub sha256: String,
    /// Of the ONNX file.
    pub bytes: u64,
    /// Operators of its graph.
    pub operators: u32,
    /// What the trial at the upload took.
    pub trial: Trial,
}

/// A feature that a model reads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Feature {
    /// `item:category`, `derived:category:affinity`.
    pub name: String,
    /// As in a scenario's config.
    #[serde(rename = "type")]
    pub kind: String,
}

/// What ranking random candidates took.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Trial {
    /// Candidates of a call.
    pub candidates: u32,
    /// The median of calls, in microseconds.
    pub p50_us: u32,
    /// Of a hundred calls the one but slowest, in microseconds.
    pub p99_us: u32,
    /// Linear memory of its instance.
    pub memory_bytes: u64,
}

/// Whether a version ranks where none is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// It may be asked for by its version.
    #[default]
    Ready,
    /// It does.
    Active,
}

impl Record {
    /// Reads what is stored; none when it is of another version of this program.
    #[must_use]
    pub fn read(document: &Document) -> Option<Self> {
        let record: Self = serde_json::from_str(&document.body).ok()?;
        Some(Self { document_version: document.version, ..record })
    }

    /// The record as it is stored.
    #[must_use]
    pub fn body(&self) -> String {
        // Strings, numbers and maps of them always have a text.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Where it is stored.
    #[must_use]
    pub fn key(&self) -> Key {
        key(&self.scenario_id, &self.model_name, &self.model_version)
    }

    /// The name of its files.
    #[must_use]
    pub fn file(&self) -> &str {
        self.model_path.strip_prefix("blob:").unwrap_or(&self.model_path)
    }

    /// When it was last activated, in milliseconds since 1970.
    #[must_use]
    pub fn activated_ms(&self) -> Option<u64> {
        self.activated_at.as_deref().and_then(time::parse_ms)
    }
}

/// Where a version is stored. Names and versions have no `:`.
#[must_use]
pub fn key(scenario_id: &str, name: &str, version: &str) -> Key {
    Key::new(scenario_id, format!("{name}:{version}"))
}

/// Whether a text can be a model's name or version: 1 to 63 of `A-Z a-z 0-9 _ . -`.
#[must_use]
pub fn is_name(text: &str) -> bool {
    (1..=limits::MODEL_NAME_BYTES).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-'))
}

/// Says of the records of a scenario which are active.
pub fn mark_active(records: &mut [Record]) {
    // Of two that were activated at the same moment, the one that comes first.
    let is_active = |at: usize, record: &Record| {
        let mut others = records.iter().enumerate().filter(|(_, other)| other.model_name == record.model_name);
        record.activation > 0
            && others.all(|(other_at, other)| {
                other.activation < record.activation || (other.activation == record.activation && at <= other_at)
            })
    };
    let active: Vec<bool> = records.iter().enumerate().map(|(at, record)| is_active(at, record)).collect();
    for (record, active) in records.iter_mut().zip(active) {
        record.status = if active { Status::Active } else { Status::Ready };
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn record(name: &str, version: &str, activation: u64) -> Record {
        Record {
            scenario_id: "feed".to_owned(),
            model_type: "rank".to_owned(),
            model_name: name.to_owned(),
            model_version: version.to_owned(),
            model_path: "blob:models/0".to_owned(),
            config: Config {
                kind: "deepfm".to_owned(),
                objective: "click_rate".to_owned(),
                features: vec![Feature { name: "item:price".to_owned(), kind: "numeric".to_owned() }],
                schema_hash: "0".to_owned(),
                sha256: "0".to_owned(),
                bytes: 1,
                operators: 1,
                trial: Trial { candidates: 300, p50_us: 1, p99_us: 2, memory_bytes: 3 },
            },
            metrics: Map::new(),
            status: Status::Ready,
            activation,
            previous: None,
            activated_at: None,
            created_at: None,
            updated_at: None,
            document_version: 0,
        }
    }

    #[test]
    fn the_last_activated_of_a_name_is_active() {
        let mut records = vec![record("a", "1", 1), record("a", "2", 3), record("a", "3", 0), record("b", "1", 2)];
        mark_active(&mut records);
        let status: Vec<_> = records.iter().map(|record| record.status).collect();
        assert_eq!(status, [Status::Ready, Status::Active, Status::Ready, Status::Active]);
        let mut never = vec![record("a", "1", 0)];
        mark_active(&mut never);
        assert_eq!(never[0].status, Status::Ready);
    }

    #[test]
    fn names_fit_into_an_id_two_at_a_time() {
        assert!(is_name("wide_deep") && is_name("v1.0-b") && is_name(&"x".repeat(63)));
        assert!(!is_name("") && !is_name("a:b") && !is_name("a/b") && !is_name("é") && !is_name(&"x".repeat(64)));
        let key = key("feed", &"x".repeat(63), &"y".repeat(63));
        assert_eq!(funnelweb_core::id::check(&key.id), Ok(()));
    }

    #[test]
    fn what_is_written_is_read() {
        let record = Record { document_version: 7, ..record("a", "1", 1) };
        let document = Document { key: record.key(), body: record.body(), version: 7 };
        assert_eq!(Record::read(&document), Some(record));
        assert_eq!(Record::read(&Document { body: "{}".to_owned(), ..document }), None);
    }
}
