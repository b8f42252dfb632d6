//! Params of `sync`: which sources there are, and how each is read.

use funnelweb_core::{limits, wording};
use funnelweb_import::{Kind, Mapping, OnDuplicate, PlainFormat, SHIPPED};
use funnelweb_jobs::work::ParamError;
use serde::Deserialize;
use serde_json::Value;
use serde_path_to_error::{Path, Segment};
use url::Url;
use xxhash_rust::xxh3::xxh3_64;

/// Params of `sync`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SyncParams {
    /// 1 to [`limits::SYNC_SOURCES`].
    pub(crate) sources: Vec<SourceParams>,
    /// Whether sources are imported that are as they were.
    #[serde(default)]
    pub(crate) force: bool,
}

/// One source.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SourceParams {
    /// The path of a file in the tenant's folder, or a URL.
    pub(crate) from: String,
    /// What it holds; with a mapping, that says so.
    pub(crate) kind: Option<Kind>,
    /// The name of a shipped mapping; without one, the columns are named as the API's
    /// fields.
    pub(crate) mapping: Option<String>,
    /// How it is written, without a mapping; by the end of its name unless said.
    pub(crate) format: Option<PlainFormat>,
    /// What becomes of an item that exists.
    #[serde(default)]
    pub(crate) on_duplicate: OnDuplicate,
}

/// A source, and how it is read.
#[derive(Debug, Clone)]
pub(crate) struct Source {
    pub(crate) from: String,
    pub(crate) mapping: Mapping,
    pub(crate) on_duplicate: OnDuplicate,
    /// Of all that: whether an earlier run did the same.
    pub(crate) read_as: String,
}

impl SyncParams {
    /// Reads params; what `from` may be is for others to say.
    pub(crate) fn parse(params: &Value) -> Result<(Vec<Source>, bool), ParamError> {
        if !params.is_object() {
            return Err((String::new(), "must be a JSON object".to_owned()));
        }
        let params: Self = serde_path_to_error::deserialize(params)
            .map_err(|error| (pointer(error.path()), wording::in_plain_words(&error.inner().to_string())))?;
        let count = params.sources.len();
        if !(1..=limits::SYNC_SOURCES).contains(&count) {
            let message = format!("must hold 1 to {} sources, got {count}", limits::SYNC_SOURCES);
            return Err(("/sources".to_owned(), message));
        }
        let sources =
            params.sources.into_iter().enumerate().map(|(at, source)| {
                source.read().map_err(|(name, message)| (format!("/sources/{at}/{name}"), message))
            });
        Ok((sources.collect::<Result<_, _>>()?, params.force))
    }
}

impl SourceParams {
    fn read(self) -> Result<Source, (&'static str, String)> {
        let bytes = self.from.len();
        if !(1..=limits::SYNC_FROM_BYTES).contains(&bytes) {
            return Err(("from", format!("must be 1 to {} bytes long, got {bytes}", limits::SYNC_FROM_BYTES)));
        }
        let mapping = self.mapping()?;
        if is_url(&self.from)
            && let Some(file) = mapping.further_files().next()
        {
            let message = format!("wants `{file}` beside the source, so it is for files only");
            return Err(("mapping", message));
        }
        let Self { from, on_duplicate, .. } = self;
        let read_as = format!("{:016x}", xxh3_64(format!("{from}\n{on_duplicate:?}\n{mapping:?}").as_bytes()));
        Ok(Source { from, mapping, on_duplicate, read_as })
    }

    fn mapping(&self) -> Result<Mapping, (&'static str, String)> {
        let Some(name) = &self.mapping else {
            let Some(kind) = self.kind else {
                return Err(("kind", "is required without a mapping: `items` or `behaviors`".to_owned()));
            };
            let format = self.format.unwrap_or_else(|| PlainFormat::of_name(&file_name(&self.from)));
            return Ok(Mapping::plain_as(kind, format));
        };
        if self.format.is_some() {
            return Err(("format", "is for sources without a mapping, which says it itself".to_owned()));
        }
        let mapping = Mapping::shipped(name).transpose().map_err(|error| ("mapping", error.to_string()))?;
        let mapping = mapping.ok_or_else(|| {
            let names: Vec<&str> = SHIPPED.iter().map(|(name, _)| *name).collect();
            ("mapping", format!("must be one that comes with the product: {}", names.join(", ")))
        })?;
        match self.kind {
            Some(kind) if kind != mapping.kind => Err(("kind", format!("is not what the mapping `{name}` reads"))),
            _ => Ok(mapping),
        }
    }
}

/// Whether a source is a URL, and not a file.
pub(crate) fn is_url(from: &str) -> bool {
    from.contains("://")
}

fn file_name(from: &str) -> String {
    let url = is_url(from).then(|| Url::parse(from).ok()).flatten();
    url.map_or_else(|| from.to_owned(), |url| url.path().to_owned())
}

/// A path as a JSON pointer (RFC 6901).
fn pointer(path: &Path) -> String {
    let segment = |segment: &Segment| match segment {
        Segment::Seq { index } => format!("/{index}"),
        Segment::Map { key } => format!("/{}", key.replace('~', "~0").replace('/', "~1")),
        Segment::Enum { variant } => format!("/{variant}"),
        Segment::Unknown => String::new(),
    };
    path.iter().map(segment).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn error(params: &Value) -> ParamError {
        SyncParams::parse(params).unwrap_err()
    }

    #[test]
    fn every_fault_names_its_field() {
        let one = |source: Value| json!({"sources": [{"from": "a.csv", "kind": "items"}, source]});
        for (expected, params) in [
            ("", json!([])),
            ("", json!({})),
            ("/sources", json!({"sources": {}})),
            ("/sources", json!({"sources": []})),
            ("/source", json!({"source": []})),
            ("/force", json!({"sources": [], "force": 1})),
            ("/sources/1", one(json!("a.csv"))),
            ("/sources/1", one(json!({"kind": "items"}))),
            ("/sources/1/from", one(json!({"from": "", "kind": "items"}))),
            ("/sources/1/from", one(json!({"from": 7, "kind": "items"}))),
            ("/sources/1/kind", one(json!({"from": "a.csv"}))),
            ("/sources/1/kind", one(json!({"from": "a.csv", "kind": "profiles"}))),
            ("/sources/1/kind", one(json!({"from": "a", "kind": "items", "mapping": "movielens-ratings"}))),
            ("/sources/1/mapping", one(json!({"from": "a", "mapping": "movielens"}))),
            ("/sources/1/mapping", one(json!({"from": "a", "mapping": "/etc/mapping.toml"}))),
            ("/sources/1/mapping", one(json!({"from": "https://a.example/b", "mapping": "goodbooks-10k-books"}))),
            ("/sources/1/format", one(json!({"from": "a", "kind": "items", "format": "xml"}))),
            ("/sources/1/format", one(json!({"from": "a", "mapping": "movielens-movies", "format": "csv"}))),
            ("/sources/1/on_duplicate", one(json!({"from": "a", "kind": "items", "on_duplicate": "keep"}))),
            ("/sources/1/a~1b", one(json!({"from": "a", "kind": "items", "a/b": 1}))),
        ] {
            let (pointer, message) = error(&params);
            assert_eq!(pointer, expected, "{params}: {message}");
        }
        let (_, message) = error(&one(json!({"from": "a", "mapping": "movielens"})));
        assert!(message.contains("movielens-ratings"), "{message}");
    }

    #[test]
    fn sources_and_their_names_have_limits() {
        let params = |sources: usize, bytes: usize| {
            let source = json!({"from": "a".repeat(bytes), "kind": "items"});
            SyncParams::parse(&json!({"sources": vec![source; sources]})).map(|(sources, _)| sources.len())
        };
        assert_eq!(params(limits::SYNC_SOURCES, limits::SYNC_FROM_BYTES), Ok(limits::SYNC_SOURCES));
        let (pointer, message) = params(limits::SYNC_SOURCES + 1, 1).unwrap_err();
        assert_eq!((pointer.as_str(), message.as_str()), ("/sources", "must hold 1 to 8 sources, got 9"));
        let (pointer, message) = params(1, limits::SYNC_FROM_BYTES + 1).unwrap_err();
        assert_eq!((pointer.as_str(), message.as_str()), ("/sources/0/from", "must be 1 to 768 bytes long, got 769"));
    }

    #[test]
    fn a_source_is_read_by_its_name_or_as_is_said() {
        let plain = |format| Mapping::plain_as(Kind::Items, format);
        let read = |source: Value| SyncParams::parse(&json!({"sources": [source]})).unwrap().0.remove(0);
        for (from, format) in [
            ("a.csv", PlainFormat::Csv),
            ("x/a.TSV.gz", PlainFormat::Tsv),
            ("a.jsonl", PlainFormat::Ndjson),
            ("https://a.example/b.ndjson?at=x.csv", PlainFormat::Ndjson),
        ] {
            assert_eq!(read(json!({"from": from, "kind": "items"})).mapping, plain(format), "{from}");
        }
        let said = read(json!({"from": "a.csv", "kind": "items", "format": "ndjson"}));
        assert_eq!(said.mapping, plain(PlainFormat::Ndjson));
        let other = read(json!({"from": "a.csv", "kind": "items"}));
        assert_ne!(said.read_as, other.read_as);
        assert_eq!(read(json!({"from": "a", "mapping": "movielens-ratings"})).mapping.kind, Kind::Behaviors);
    }
}
