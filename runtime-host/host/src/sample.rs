//! A request that was made up to try a component on, with what is expected of the answer:
//! a JSON file in the folder `samples` of a component's project.
//!
//! ```json
//! {"context": {"scenario_id": "feed", "now_ms": 1767225600000, "count": 10, "seed": 7,
//!              "user": {"id": "ann", "attributes": {"age": 30}, "recent": ["i9"],
//!                       "preferences": [{"field": "category", "value": "music", "score": 1}]},
//!              "context": {"device_type": "mobile"}},
//!  "candidates": [{"id": "i1", "score": 0.9, "fields": {"category": "news"}},
//!                 {"id": "i2", "score": 0.8, "fields": {"category": "music"}}],
//!  "params": {"boost": 0.5}, "weight": 1,
//!  "expect": {"order": ["i2", "i1"], "removed": []}}
//! ```
//!
//! `scenario_id`, `now_ms` and `candidates` must be there. For a recall channel candidates
//! are the catalogue, the first the newest and `score` its heat; `limit` (100) and `exclude`
//! (ids) may stand beside them. A candidate's `fields` are those of
//! an item's `metadata`, with `created_at` (now, without it), `updated_at` and `embedding`
//! among them; columns that the feature stage computes (`category:affinity`) are given under
//! their names, but for `recall:score`, which is the candidate's score unless it is given.
//! Columns are those that the component's manifest reads.

use std::{collections::HashMap, fs, path::Path, sync::Arc};

use anyhow::{Context as _, anyhow, bail};
use funnelweb_admission::{Column, ColumnType, Reads};
use funnelweb_bindings::{
    Recorded,
    types::{Attribute, Candidates, Preference, RequestContext, Table, User},
};
use funnelweb_core::{id, row::ItemRow, scenario, time};
use funnelweb_factor_documents::{
    backend::Plan,
    store::{ColumnKind, ColumnSpec},
};
use serde::Deserialize;
use serde_json::{Map, Value, json};

/// Items that are asked for unless a sample says how many.
const COUNT: u32 = 20;
/// Items that a recall channel may return unless a sample says how many.
const LIMIT: u32 = 100;
/// How much a recent item of a sample's user counts.
const RECENT_WEIGHT: f32 = 1.0;
/// The column of the scores that candidates came with.
const RECALL_SCORE: &str = "recall:score";

/// A sample, as the component is given it.
#[derive(Debug)]
pub struct Sample {
    /// The request.
    pub context: RequestContext,
    /// Best first. For a recall channel the items that there are, the hottest first.
    pub candidates: Candidates,
    /// What the store would have of each of them.
    pub rows: Vec<Option<Arc<ItemRow>>>,
    /// The columns of items that it reads, a row per candidate.
    pub items: Table,
    /// One row: the columns of the user that it reads.
    pub user: Table,
    /// A JSON object.
    pub params: String,
    /// The rule's.
    pub weight: f32,
    /// Of a recall channel.
    pub limit: u32,
    exclude: Vec<u64>,
    /// As they are written.
    newest: Vec<u64>,
    expect: Expect,
    /// The ids of what handles stand for.
    ids: HashMap<u64, String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    context: WrittenContext,
    candidates: Vec<Candidate>,
    #[serde(default = "limit")]
    limit: u32,
    #[serde(default)]
    exclude: Vec<String>,
    #[serde(default)]
    params: Map<String, Value>,
    #[serde(default = "one")]
    weight: f32,
    #[serde(default)]
    expect: Expect,
}

fn limit() -> u32 {
    LIMIT
}

fn one() -> f32 {
    1.0
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenContext {
    scenario_id: String,
    now_ms: u64,
    #[serde(default = "count")]
    count: u32,
    #[serde(default)]
    seed: u64,
    #[serde(default)]
    user: WrittenUser,
    #[serde(default)]
    context: Map<String, Value>,
}

fn count() -> u32 {
    COUNT
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct WrittenUser {
    id: String,
    attributes: Map<String, Value>,
    preferences: Vec<WrittenPreference>,
    recent: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenPreference {
    field: String,
    value: String,
    score: f32,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Candidate {
    id: String,
    score: f32,
    #[serde(default)]
    fields: Map<String, Value>,
}

/// What is expected; what is not said may be anything.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Expect {
    /// All ids of the answer, best first.
    order: Option<Vec<String>>,
    /// All that are removed, in any order.
    removed: Option<Vec<String>>,
}

impl Sample {
    /// The request that it stands for.
    #[must_use]
    pub fn recorded(&self) -> Recorded {
        Recorded {
            context: self.context.clone(),
            exclude: self.exclude.clone(),
            candidates: self.candidates.clone(),
            items: self.items.clone(),
            user: self.user.clone(),
            ranked: self.candidates.clone(),
            rows: (0..self.items.rows).collect(),
            slate: self.newest.clone(),
        }
    }

    /// The samples of a project's folder, by their files' names.
    ///
    /// # Errors
    /// When there is none, or one does not read.
    pub fn all(folder: &Path, reads: &Reads) -> anyhow::Result<Vec<(String, Self)>> {
        texts(folder)?
            .into_iter()
            .map(|(name, text)| {
                let sample = Self::parse(&text, reads).with_context(|| format!("{}/{name}.json", folder.display()))?;
                Ok((name, sample))
            })
            .collect()
    }

    /// A sample from its text, for a component that reads this.
    ///
    /// # Errors
    /// What is wrong, with its JSON path.
    pub fn parse(text: &str, reads: &Reads) -> anyhow::Result<Self> {
        let written: Written = scenario::parse_json(text.as_bytes()).map_err(|error| match error.field {
            Some(field) => anyhow!("{field}: {}", error.message),
            None => anyhow!(error.message),
        })?;
        let Written { context, mut candidates, limit, exclude, params, weight, expect } = written;
        let newest = candidates.iter().map(|candidate| id::handle(&candidate.id)).collect();
        // As they come in a request.
        candidates.sort_by(|one, other| other.score.total_cmp(&one.score));
        let mut ids = HashMap::new();
        for (at, Candidate { id, .. }) in candidates.iter().enumerate() {
            id::check(id).with_context(|| format!("candidates: the id `{id}`"))?;
            if ids.insert(id::handle(id), id.clone()).is_some() {
                bail!("candidates[{at}]: `{id}` stands there twice");
            }
        }
        for id in expect.order.iter().chain(&expect.removed).flatten() {
            if !ids.contains_key(&id::handle(id)) {
                bail!("expect: `{id}` is none of the candidates");
            }
        }
        let given = context.given()?;
        let rows: Vec<_> = candidates.iter().map(|candidate| Some(Arc::new(row(candidate, given.now_ms)))).collect();
        Ok(Self {
            items: columns("reads.columns", &reads.columns, &rows, given.now_ms)?,
            rows,
            user: user(&reads.user_columns, &given)?,
            context: given,
            candidates: Candidates {
                handles: candidates.iter().map(|candidate| id::handle(&candidate.id)).collect(),
                scores: candidates.iter().map(|candidate| candidate.score).collect(),
                sources: vec![1; candidates.len()],
            },
            params: Value::Object(params).to_string(),
            weight,
            limit,
            exclude: exclude.iter().map(|id| id::handle(id)).collect(),
            newest,
            expect,
            ids,
        })
    }

    /// Compares an answer with what is expected: handles best first, and those removed.
    ///
    /// # Errors
    /// What is different, in words.
    pub fn compare(&self, order: &[u64], removed: &[u64]) -> Result<(), String> {
        let mut differences = Vec::new();
        if let Some(expected) = &self.expect.order {
            differences.extend(self.other_order(expected, order));
        }
        if let Some(expected) = &self.expect.removed {
            let (mut expected, mut removed) = (expected.clone(), self.names(removed));
            expected.sort_unstable();
            removed.sort_unstable();
            if expected != removed {
                differences.push(format!("it removed {}, and not {}", listed(&removed), listed(&expected)));
            }
        }
        if differences.is_empty() { Ok(()) } else { Err(differences.join("; ")) }
    }

    fn other_order(&self, expected: &[String], order: &[u64]) -> Option<String> {
        let order = self.names(order);
        let differs = |(at, (expected, found)): (usize, (&String, &String))| {
            (expected != found).then(|| format!("in place {} is {found}, and not {expected}", at + 1))
        };
        let first = expected.iter().zip(&order).enumerate().find_map(differs);
        let first = first.or_else(|| {
            let (expected, found) = (expected.len(), order.len());
            (expected != found).then(|| format!("there are {found} items, and not {expected}"))
        })?;
        Some(format!("{first}: it answered {}, and not {}", listed(&order), listed(expected)))
    }

    fn names(&self, handles: &[u64]) -> Vec<String> {
        let name = |handle: &u64| self.ids.get(handle).cloned().unwrap_or_else(|| format!("the handle {handle}"));
        handles.iter().map(name).collect()
    }
}

/// What is written in the samples of a folder, by their files' names.
///
/// # Errors
/// When there is none, or one cannot be read.
pub(crate) fn texts(folder: &Path) -> anyhow::Result<Vec<(String, String)>> {
    let entries = fs::read_dir(folder).with_context(|| format!("reading {}", folder.display()))?;
    let mut texts = Vec::new();
    for entry in entries {
        let path = entry.with_context(|| format!("reading {}", folder.display()))?.path();
        if path.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let text = fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
        texts.push((name, text));
    }
    if texts.is_empty() {
        bail!("{}: there is no sample (a file *.json)", folder.display());
    }
    texts.sort();
    Ok(texts)
}

fn listed(names: &[String]) -> String {
    if names.is_empty() { "nothing".to_owned() } else { names.join(", ") }
}

impl WrittenContext {
    /// All of it, as stages are given a context.
    fn given(self) -> anyhow::Result<RequestContext> {
        let WrittenUser { id, attributes: of_user, preferences, recent } = self.user;
        let preferences = preferences.into_iter().map(|WrittenPreference { field, value, score }| {
            let fits = score != 0.0 && score.abs() <= 1.0;
            fits.then_some(Preference { field, value, score }).context("must have a score from -1 to 1, and not 0")
        });
        Ok(RequestContext {
            scenario_id: self.scenario_id,
            user: User {
                id,
                attributes: attributes("context.user.attributes", &of_user)?,
                preferences: preferences.collect::<anyhow::Result<_>>().context("context.user.preferences")?,
                recent_weights: vec![RECENT_WEIGHT; recent.len()],
                recent: recent.iter().map(|id| id::handle(id)).collect(),
            },
            context: attributes("context.context", &self.context)?,
            now_ms: self.now_ms,
            count: self.count,
            seed: self.seed,
        })
    }
}

/// The fields of an object, those of objects in it with dots.
fn attributes(path: &str, fields: &Map<String, Value>) -> anyhow::Result<Vec<Attribute>> {
    let mut attributes = Vec::new();
    let mut open: Vec<(String, &Value)> = fields.iter().rev().map(|(name, value)| (name.clone(), value)).collect();
    while let Some((name, value)) = open.pop() {
        let values = match value {
            Value::Null => continue,
            Value::Object(inner) => {
                open.extend(inner.iter().rev().map(|(inner, value)| (format!("{name}.{inner}"), value)));
                continue;
            }
            Value::Array(values) => values.iter().map(text).collect::<Option<Vec<String>>>(),
            scalar => text(scalar).map(|text| vec![text]),
        };
        let values = values.with_context(|| format!("{path}.{name}: an array here holds no arrays or objects"))?;
        attributes.push(Attribute { name, values });
    }
    Ok(attributes)
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(_) | Value::Bool(_) => Some(value.to_string()),
        _ => None,
    }
}

/// A table as the store makes it of items.
fn columns(path: &str, columns: &[Column], rows: &[Option<Arc<ItemRow>>], now_ms: u64) -> anyhow::Result<Table> {
    let plan = Plan::new(columns.iter().map(spec).collect()).with_context(|| path.to_owned())?;
    Ok(plan.fill(rows, now_ms).table.into())
}

fn row(candidate: &Candidate, now_ms: u64) -> ItemRow {
    let mut metadata = candidate.fields.clone();
    let mut own = |name: &str| metadata.remove(name).unwrap_or_default();
    let (created, updated, embedding) = (own("created_at"), own("updated_at"), own("embedding"));
    metadata.entry(RECALL_SCORE).or_insert_with(|| candidate.score.into());
    let document = json!({"item_id": candidate.id, "status": "active", "metadata": metadata, "embedding": embedding});
    let created_ms = time_ms(&created).unwrap_or(now_ms);
    let updated_ms = time_ms(&updated).unwrap_or(created_ms);
    ItemRow { created_ms, updated_ms, ..ItemRow::from_document(&document) }
}

fn time_ms(value: &Value) -> Option<u64> {
    value.as_str().and_then(time::parse_ms).or_else(|| value.as_f64().and_then(time::from_number))
}

fn spec(column: &Column) -> ColumnSpec {
    let kind = match column.kind {
        ColumnType::Numeric => ColumnKind::Numeric,
        ColumnType::Categorical => ColumnKind::Categorical,
        ColumnType::MultiCategorical => ColumnKind::MultiCategorical,
        ColumnType::Timestamp => ColumnKind::Timestamp,
        ColumnType::Embedding => ColumnKind::Embedding,
    };
    ColumnSpec { name: column.name.clone(), kind }
}

/// The row of a user's columns: attributes under their names, those of the context as
/// `context:hour`.
fn user(read: &[Column], context: &RequestContext) -> anyhow::Result<Table> {
    let hours = [("hour", 3_600_000, 24, 0), ("weekday", 86_400_000, 7, 3)];
    let of_clock = hours.map(|(name, unit_ms, modulus, from)| (name, (local_ms(context) / unit_ms + from) % modulus));
    let mut fields: Map<String, Value> =
        of_clock.into_iter().map(|(name, number)| (format!("context:{name}"), number.into())).collect();
    fields.extend(context.user.attributes.iter().map(|attribute| (attribute.name.clone(), cell(&attribute.values))));
    let situation = context.context.iter();
    fields.extend(situation.map(|attribute| (format!("context:{}", attribute.name), cell(&attribute.values))));
    let row = ItemRow::from_document(&json!({"status": "active", "metadata": fields}));
    // There is no embedding among attributes.
    let read: Vec<Column> = read.iter().filter(|column| column.kind != ColumnType::Embedding).cloned().collect();
    columns("reads.user_columns", &read, &[Some(Arc::new(row))], context.now_ms)
}

/// The request's time where the user is, as far as the context says that.
fn local_ms(context: &RequestContext) -> u64 {
    let offset = context.context.iter().find(|attribute| attribute.name == "utc_offset_minutes");
    let minutes = offset.and_then(|attribute| attribute.values.first()?.parse::<f64>().ok());
    // As a cast does: NaN is 0.
    let minutes = minutes.map_or(0, |minutes| minutes.clamp(-1440.0, 1440.0) as i64);
    context.now_ms.saturating_add_signed(minutes * 60_000)
}

/// Values of an attribute as the field of an item that they would be; a number is one
/// again.
fn cell(values: &[String]) -> Value {
    match values {
        [text] => match serde_json::from_str(text) {
            Ok(Value::Bool(value)) => value.into(),
            Ok(Value::Number(number)) if number.to_string() == *text => number.into(),
            _ => text.as_str().into(),
        },
        several => several.into(),
    }
}

#[cfg(test)]
mod tests {
    use funnelweb_admission::Manifest;

    use super::*;

    const NOW_MS: u64 = 1_767_225_600_000;

    fn reads(reads: &Value) -> Reads {
        let manifest = json!({"name": "boost", "version": "1.0.0", "world": "rank", "reads": reads});
        Manifest::parse(&manifest.to_string()).unwrap().reads
    }

    fn sample(more: &Value, reading: &Value) -> anyhow::Result<Sample> {
        let mut sample = json!({
            "context": {"scenario_id": "feed", "now_ms": NOW_MS},
            "candidates": [{"id": "i1", "score": 0.5}, {"id": "i2", "score": 0.75}]
        });
        sample.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        Sample::parse(&sample.to_string(), &reads(reading))
    }

    #[test]
    fn fields_become_the_columns_that_are_read() {
        let fields = json!({
            "category": "music", "tags": ["a", "b"], "price": 2.5, "publish_time": "2025-12-31T22:00:00Z",
            "author": {"name": "Ann"}, "category:affinity": 0.5, "embedding": [0.5, -1], "other": 1
        });
        let candidates = json!([{"id": "i1", "score": 0.5, "fields": fields}, {"id": "i2", "score": 0.75}]);
        let sample = sample(
            &json!({"candidates": candidates}),
            &json!({"columns": [
                {"name": "price", "type": "numeric"}, {"name": "category", "type": "categorical"},
                {"name": "author.name", "type": "categorical"}, {"name": "tags", "type": "multi_categorical"},
                {"name": "publish_time", "type": "timestamp"}, {"name": "created_at", "type": "timestamp"},
                {"name": "category:affinity", "type": "numeric"}, {"name": "recall:score", "type": "numeric"},
                {"name": "embedding", "type": "embedding"}
            ]}),
        )
        .unwrap();
        // The best first.
        assert_eq!(sample.candidates.handles, [id::handle("i2"), id::handle("i1")]);
        assert_eq!((&*sample.candidates.scores, &*sample.candidates.sources), (&[0.75, 0.5][..], &[1, 1][..]));
        let items = &sample.items;
        let names = ["price", "publish_time", "created_at", "category:affinity", "recall:score"];
        assert_eq!((items.rows, &*items.numeric_names), (2, &names.map(str::to_owned)[..]));
        let (first, second) = items.numeric.split_at(5);
        assert!(first[0].is_nan() && first[1].is_nan() && first[3].is_nan());
        assert_eq!((&first[2..3], &first[4..], second), (&[0.0][..], &[0.75][..], &[2.5, 2.0, 0.0, 0.5, 0.5][..]));
        assert_eq!(items.categorical, [0, 0, id::value_hash("music"), id::value_hash("Ann")]);
        assert_eq!((&*items.multi_offsets, items.multi_values.len()), (&[0, 0, 2][..], 2));
        assert_eq!((items.embedding_dim, &items.embeddings[2..]), (2, &[0.5, -1.0][..]));
        let ids: Vec<&str> = sample.rows.iter().flatten().map(|row| row.id.as_str()).collect();
        assert_eq!(ids, ["i2", "i1"]);
    }

    #[test]
    fn a_user_is_told_of_and_is_a_row_of_columns() {
        let context = json!({
            "scenario_id": "feed", "now_ms": NOW_MS, "count": 5, "seed": 7,
            "user": {"id": "ann", "attributes": {"age": 30, "plans": ["x", true]}, "recent": ["i1"],
                     "preferences": [{"field": "category", "value": "music", "score": -0.5}]},
            "context": {"geo": {"city": "Oslo"}, "utc_offset_minutes": -60}
        });
        let reads = json!({"user_columns": [
            {"name": "age", "type": "numeric"}, {"name": "plans", "type": "multi_categorical"},
            {"name": "context:geo.city", "type": "categorical"}, {"name": "context:hour", "type": "numeric"},
            {"name": "context:weekday", "type": "numeric"}, {"name": "height", "type": "numeric"}
        ]});
        let Sample { context, user: row, .. } = sample(&json!({"context": context}), &reads).unwrap();
        assert_eq!((context.count, context.seed, context.user.id.as_str()), (5, 7, "ann"));
        let pairs = |attributes: &[Attribute]| -> Vec<String> {
            attributes.iter().map(|attribute| format!("{}={}", attribute.name, attribute.values.join("+"))).collect()
        };
        assert_eq!(pairs(&context.user.attributes), ["age=30", "plans=x+true"]);
        assert_eq!(pairs(&context.context), ["geo.city=Oslo", "utc_offset_minutes=-60"]);
        assert_eq!((&*context.user.recent, &*context.user.recent_weights), (&[id::handle("i1")][..], &[1.0][..]));
        assert_eq!(context.user.preferences[0].score, -0.5);

        // An hour before 2026 began, on a Wednesday.
        assert_eq!(row.numeric_names, ["age", "context:hour", "context:weekday", "height"]);
        assert_eq!(row.numeric[..3], [30.0, 23.0, 2.0]);
        assert!(row.numeric[3].is_nan());
        assert_eq!(row.categorical, [id::value_hash("Oslo")]);
        assert_eq!(row.multi_values, [id::value_hash("x"), id::value_hash("true")]);
    }

    #[test]
    fn what_is_wrong_is_named() {
        let fault = |more: &Value| format!("{:#}", sample(more, &json!({})).unwrap_err());
        let context = |name: &str, value: Value| {
            let mut context = json!({"scenario_id": "feed", "now_ms": NOW_MS});
            context[name] = value;
            json!({"context": context})
        };
        let twice = json!({"candidates": [{"id": "i1", "score": 1}, {"id": "i1", "score": 0}]});
        for (more, expected) in [
            (json!({"candidate": []}), "candidate: "),
            (json!({"candidates": [{"id": "i1"}]}), "missing field `score`"),
            (json!({"candidates": [{"id": "a/b", "score": 1}]}), "candidates: the id `a/b`: "),
            (json!({"candidates": [{"id": "i1", "score": 1e39}]}), "candidates[0].score: number out of range"),
            (twice, "candidates[1]: `i1` stands there twice"),
            (json!({"expect": {"order": ["i1", "i3"]}}), "expect: `i3` is none of the candidates"),
            (context("user", json!({"attributes": {"a": [[1]]}})), "context.user.attributes.a: "),
            (context("context", json!({"a": {"b": [{}]}})), "context.context.a.b: "),
            (
                context("user", json!({"preferences": [{"field": "category", "value": "x", "score": 2}]})),
                "context.user.preferences: must have a score",
            ),
        ] {
            let fault = fault(&more);
            assert!(fault.contains(expected), "{fault}");
        }
    }

    #[test]
    fn an_answer_is_compared_in_words() {
        let expect = |expect: Value| sample(&json!({"expect": expect}), &json!({})).unwrap();
        let handles = |ids: &[&str]| -> Vec<u64> { ids.iter().map(|id| id::handle(id)).collect() };
        let compare = |sample: &Sample, order: &[&str], removed: &[&str]| {
            sample.compare(&handles(order), &handles(removed)).err().unwrap_or_default()
        };
        let anything = expect(json!({}));
        assert_eq!(compare(&anything, &["i1"], &["i2"]), "");
        let order = expect(json!({"order": ["i2", "i1"], "removed": []}));
        assert_eq!(compare(&order, &["i2", "i1"], &[]), "");
        assert_eq!(
            compare(&order, &["i1", "i2"], &[]),
            "in place 1 is i1, and not i2: it answered i1, i2, and not i2, i1"
        );
        assert_eq!(
            compare(&order, &["i2"], &["i1"]),
            "there are 1 items, and not 2: it answered i2, and not i2, i1; it removed i1, and not nothing"
        );
        let unknown = compare(&order, &["i2", "x"], &[]);
        assert!(unknown.starts_with(&format!("in place 2 is the handle {}, and not i1", id::handle("x"))), "{unknown}");
        let removed = expect(json!({"removed": ["i2", "i1"]}));
        assert_eq!(compare(&removed, &[], &["i1", "i2"]), "");
    }

    #[test]
    fn samples_of_a_folder_come_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let all = || Sample::all(folder.path(), &Reads::default());
        assert!(all().unwrap_err().to_string().contains("no sample"));
        let text = json!({"context": {"scenario_id": "feed", "now_ms": 1}, "candidates": []}).to_string();
        for name in ["b.json", "a.json", "README.md"] {
            fs::write(folder.path().join(name), &text).unwrap();
        }
        let names: Vec<String> = all().unwrap().into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["a", "b"]);
        fs::write(folder.path().join("c.json"), "{").unwrap();
        assert!(format!("{:#}", all().unwrap_err()).contains("c.json"));
    }
}
