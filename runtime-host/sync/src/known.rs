//! What a source was like when it was imported last, so that one that is as it was is
//! passed over.

use std::{
    fs::File,
    io::{self, Read as _},
    path::Path,
    time::{Duration, SystemTime},
};

use funnelweb_import::{Files, Mapping};
use funnelweb_jobs::work::Failure;
use hyper::header::{self, HeaderMap, HeaderName};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use xxhash_rust::xxh3::Xxh3;

use crate::folder::unreadable;

/// Bytes of an ETag or a time that is remembered; longer ones are not.
const VALIDATOR_BYTES: usize = 128;
/// A file that was written so shortly before it was looked at may be written again
/// without its time changing: its time says nothing.
const SETTLED: Duration = Duration::from_secs(2);
/// Bytes read at once.
const BLOCK_BYTES: usize = 1024 * 1024;

/// A version of a source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Version {
    /// Which source, and how it was read.
    pub(crate) read_as: String,
    /// As it is, packed or not; a file's tables included.
    pub(crate) bytes: u64,
    /// XXH3 of that.
    pub(crate) hash: String,
    /// Of files: XXH3 of their lengths and times of change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) stamp: Option<String>,
    /// Of documents.
    #[serde(flatten)]
    pub(crate) validators: Validators,
}

impl Version {
    /// Whether both are the same content, read in the same way.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        (&self.read_as, self.bytes, &self.hash) == (&other.read_as, other.bytes, &other.hash)
    }

    /// The last version of a source among outcomes, the last first.
    pub(crate) fn last(outcomes: &[Value], read_as: &str) -> Option<Self> {
        let sources = outcomes.iter().filter_map(|outcome| outcome.get("sources")?.as_array()).flatten();
        let mut versions = sources.filter_map(|source| source.get("version"));
        versions.find_map(|version| Self::deserialize(version).ok().filter(|version| version.read_as == read_as))
    }
}

/// What a server says of a document's version.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Validators {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    etag: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    last_modified: Option<String>,
}

impl Validators {
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let text = |name: HeaderName| {
            let text = headers.get(name)?.to_str().ok()?;
            (!text.is_empty() && text.len() <= VALIDATOR_BYTES).then(|| text.to_owned())
        };
        Self { etag: text(header::ETAG), last_modified: text(header::LAST_MODIFIED) }
    }

    /// The headers that ask for another version only.
    pub(crate) fn conditions(&self) -> impl Iterator<Item = (HeaderName, &str)> {
        let etag = self.etag.as_deref().map(|etag| (header::IF_NONE_MATCH, etag));
        etag.into_iter().chain(self.last_modified.as_deref().map(|time| (header::IF_MODIFIED_SINCE, time)))
    }

    /// Whether the ETags say that it is the same version. A time says less.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        self.etag.is_some() && self.etag == other.etag
    }
}

/// A source's file, and the tables of its mapping.
pub(crate) struct Look {
    files: Vec<File>,
    pub(crate) bytes: u64,
    pub(crate) stamp: Option<String>,
}

impl Look {
    /// Opens them. A table that is missing is the importer's to complain of.
    pub(crate) fn at(folder: &dyn Files, source: &Path, mapping: &Mapping) -> io::Result<Self> {
        let mut files = vec![folder.open(source)?];
        let beside = source.parent().unwrap_or(Path::new(""));
        for table in mapping.further_files() {
            let open = |name: &str| folder.open(&beside.join(name));
            files.extend(open(table).or_else(|_| open(&format!("{table}.gz"))));
        }
        let (mut bytes, mut settled, mut stamp) = (0, true, Xxh3::new());
        for file in &files {
            let metadata = file.metadata()?;
            let modified = metadata.modified()?;
            let since = |from: SystemTime| modified.duration_since(from).unwrap_or_default();
            settled &= modified.elapsed().is_ok_and(|age| age >= SETTLED);
            bytes += metadata.len();
            stamp.update(&metadata.len().to_le_bytes());
            stamp.update(&since(SystemTime::UNIX_EPOCH).as_nanos().to_le_bytes());
        }
        Ok(Self { files, bytes, stamp: settled.then(|| digest(&stamp)) })
    }

    /// Reads all of it; `go_on` is asked now and then.
    pub(crate) fn hash(&mut self, mut go_on: impl FnMut() -> Result<(), Failure>) -> Result<String, Failure> {
        let (mut hash, mut block) = (Xxh3::new(), vec![0; BLOCK_BYTES]);
        for file in &mut self.files {
            loop {
                go_on()?;
                let read = file.read(&mut block).map_err(unreadable)?;
                let Some(bytes) = block.get(..read).filter(|bytes| !bytes.is_empty()) else { break };
                hash.update(bytes);
            }
        }
        Ok(digest(&hash))
    }
}

pub(crate) fn digest(hash: &Xxh3) -> String {
    format!("{:032x}", hash.digest128())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use funnelweb_import::{AnyFiles, Kind, PlainFormat};
    use serde_json::json;

    use super::*;

    #[test]
    fn a_file_is_known_by_its_content_and_once_it_has_settled_by_its_time() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.csv");
        let mapping = Mapping::plain_as(Kind::Items, PlainFormat::Csv);
        let look = |text: &str, age_s: u64| {
            fs::write(&path, text).unwrap();
            let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000 - age_s);
            let time = if age_s == 0 { SystemTime::now() } else { time };
            File::options().write(true).open(&path).unwrap().set_modified(time).unwrap();
            let mut look = Look::at(&AnyFiles, &path, &mapping).unwrap();
            let hash = look.hash(|| Ok(())).unwrap();
            (look.stamp, look.bytes, hash)
        };
        let first = look("one", 50);
        assert!(first.0.is_some());
        assert_eq!(look("one", 50), first);
        let (stamp, _, hash) = look("one", 40);
        assert_ne!(stamp, first.0);
        assert_eq!(hash, first.2);
        assert_ne!(look("two", 50).2, first.2);
        assert_eq!(look("two", 0).0, None, "it may be written again within the same moment");
    }

    #[test]
    fn the_tables_of_a_mapping_belong_to_its_source() {
        let folder = tempfile::tempdir().unwrap();
        let mapping = Mapping::shipped("goodbooks-10k-books").unwrap().unwrap();
        let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
        let hash = || {
            let mut look = Look::at(&AnyFiles, &folder.path().join("books.csv"), &mapping).unwrap();
            look.hash(|| Ok(())).unwrap()
        };
        write("books.csv", "b");
        let alone = hash();
        write("tags.csv.gz", "t");
        let with = hash();
        write("tags.csv.gz", "u");
        assert!(alone != with && with != hash());
    }

    #[test]
    fn the_last_version_of_the_same_source_counts() {
        let outcome = |read_as: &str, bytes: u64| {
            let version = json!({"read_as": read_as, "bytes": bytes, "hash": "h", "etag": "\"e\""});
            json!({"sources": [{"from": "x", "state": "failed"}, {"from": "y", "version": version}]})
        };
        let outcomes = [outcome("a", 1), json!({}), outcome("b", 2), outcome("a", 3)];
        let last = |read_as: &str| Version::last(&outcomes, read_as).map(|version| version.bytes);
        assert_eq!((last("a"), last("b"), last("c")), (Some(1), Some(2), None));
    }

    #[test]
    fn a_version_is_asked_for_by_what_the_server_said() {
        let mut headers = HeaderMap::new();
        headers.insert(header::ETAG, "W/\"7\"".parse().unwrap());
        headers.insert(header::LAST_MODIFIED, "Sat, 28 Nov 2026 15:00:00 GMT".parse().unwrap());
        let validators = Validators::of(&headers);
        let conditions: Vec<_> = validators.conditions().collect();
        assert_eq!(conditions[0], (header::IF_NONE_MATCH, "W/\"7\""));
        assert_eq!(conditions[1], (header::IF_MODIFIED_SINCE, "Sat, 28 Nov 2026 15:00:00 GMT"));
        assert!(validators.is_same(&validators) && !Validators::default().is_same(&Validators::default()));
        headers.insert(header::ETAG, format!("\"{}\"", "x".repeat(VALIDATOR_BYTES)).parse().unwrap());
        assert!(!Validators::of(&headers).is_same(&validators));
    }
}
