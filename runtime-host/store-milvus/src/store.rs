//! The spaces, each in a collection of its own.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use funnelweb_factor_vectors::{
    check,
    store::{Error, Filter, Hits, Metric, Rows, Space, Tenant, Vectors},
};
use prost::Message;
use quick_cache::sync::Cache;

use crate::{
    call::{Failure, Link},
    names,
    proto::{
        Answer, CollectionRequest, CollectionSchema, CreateCollectionRequest, CreateIndexRequest, DeleteRequest,
        DescribeCollectionResponse, DescribeIndexRequest, DescribeIndexResponse, EXPRESSION, FINISHED, FLOAT_VECTOR,
        Field, FieldData, FieldSchema, FloatArray, FlushRequest, FlushResponse, GetLoadStateRequest,
        GetLoadStateResponse, GetVersionRequest, GetVersionResponse, INT64, KeyValuePair, LOADED, LongArray,
        MutationResult, PlaceholderGroup, PlaceholderValue, QueryRequest, QueryResults, SESSION, ScalarField,
        SearchRequest, SearchResults, ShowCollectionsRequest, ShowCollectionsResponse, Status, UpsertRequest,
        VectorField,
    },
    settings::MilvusSettings,
};

/// The primary key: a handle, as a signed number.
const HANDLE: &str = "handle";
const VECTOR: &str = "vector";
/// Shapes that are remembered, and for how long: another process may drop a space and
/// make it again.
const SHAPES: usize = 10_000;
const SHAPE_AGE: Duration = Duration::from_secs(60);
/// Values of one message to the server, which takes 64 MiB.
const MESSAGE_VALUES: usize = 512 * 1024;
/// Between two questions whether something is done.
const PAUSE: Duration = Duration::from_millis(100);
/// A time from which on everything may be seen: no write is waited for.
const ANY_TIME: u64 = 1;

/// Vectors in a Milvus.
#[derive(Clone)]
pub struct MilvusVectors {
    shared: Arc<Shared>,
}

struct Shared {
    link: Link,
    settings: MilvusSettings,
    shapes: Cache<String, (Shape, Instant)>,
    /// When this process has last written to a collection, by the server's clock: what
    /// it reads is not older.
    written: Cache<String, u64>,
}

/// What the vectors of a collection have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Shape {
    dimension: u32,
    metric: Metric,
}

impl MilvusVectors {
    /// Connects, and asks the server for its version.
    ///
    /// # Errors
    /// `invalid` when the settings are wrong; `unavailable` when the server does not
    /// answer or refuses.
    pub async fn connect(settings: MilvusSettings) -> Result<Self, Error> {
        let link = Link::new(&settings)?;
        let answer: GetVersionResponse = link.call("GetVersion", GetVersionRequest {}).await?;
        tracing::info!(version = answer.version, "connected to milvus");
        let (shapes, written) = (Cache::new(SHAPES), Cache::new(SHAPES));
        Ok(Self { shared: Arc::new(Shared { link, settings, shapes, written }) })
    }

    fn collection(&self, tenant: &Tenant, scenario_id: &str, space: &str) -> String {
        names::collection(&self.shared.settings.collection_prefix, tenant, scenario_id, space)
    }

    async fn about<A: Answer>(&self, method: &'static str, collection: &str) -> Result<A, Failure> {
        let answer = self.shared.link.call(method, CollectionRequest { collection_name: collection.to_owned() }).await;
        if matches!(answer, Err(Failure::NoCollection)) {
            self.forget(collection);
        }
        answer
    }

    fn forget(&self, collection: &str) {
        self.shared.shapes.remove(collection);
    }

    fn wrote(&self, collection: &str, result: &MutationResult) {
        self.shared.written.insert(collection.to_owned(), result.timestamp.max(ANY_TIME));
    }

    fn seen_from(&self, collection: &str) -> u64 {
        self.shared.written.get(collection).unwrap_or(ANY_TIME)
    }

    /// The shape of a collection; none when there is no such collection, or its making
    /// was interrupted.
    async fn shape(&self, collection: &str) -> Result<Option<Shape>, Failure> {
        let described: DescribeCollectionResponse = match self.about("DescribeCollection", collection).await {
            Err(Failure::NoCollection) => return Ok(None),
            described => described?,
        };
        let fields = described.schema.map(|schema| schema.fields).unwrap_or_default();
        let field = fields.iter().find(|field| field.name == VECTOR);
        let dimension = field.and_then(|field| value(&field.type_params, "dim")).and_then(|dim| dim.parse().ok());
        let metric = match self.index(collection).await {
            Err(Failure::NoIndex | Failure::NoCollection) => return Ok(None),
            index => index?.as_deref().and_then(metric_of),
        };
        let foreign = || Failure::Refused(format!("milvus: the collection {collection} is not one of ours"));
        let shape = dimension.zip(metric).map(|(dimension, metric)| Shape { dimension, metric }).ok_or_else(foreign)?;
        self.shared.shapes.insert(collection.to_owned(), (shape, Instant::now()));
        Ok(Some(shape))
    }

    /// The metric by which the vectors are indexed.
    async fn index(&self, collection: &str) -> Result<Option<String>, Failure> {
        let indexes = self.indexes(collection).await?.index_descriptions;
        let index = indexes.iter().find(|index| index.field_name == VECTOR).ok_or(Failure::NoIndex)?;
        Ok(value(&index.params, "metric_type").map(str::to_owned))
    }

    async fn indexes(&self, collection: &str) -> Result<DescribeIndexResponse, Failure> {
        let (collection_name, field_name) = (collection.to_owned(), VECTOR.to_owned());
        self.shared.link.call("DescribeIndex", DescribeIndexRequest { collection_name, field_name }).await
    }

    /// The same, as it is remembered.
    async fn known_shape(&self, collection: &str) -> Result<Option<Shape>, Failure> {
        match self.shared.shapes.get(collection) {
            Some((shape, read)) if read.elapsed() < SHAPE_AGE => Ok(Some(shape)),
            _ => self.shape(collection).await,
        }
    }

    /// Has the server keep the collection in memory, where it is searched.
    async fn load(&self, collection: &str) -> Result<(), Failure> {
        self.about::<Status>("LoadCollection", collection).await?;
        let start = Instant::now();
        loop {
            let asked = GetLoadStateRequest { collection_name: collection.to_owned() };
            let answer: GetLoadStateResponse = self.shared.link.call("GetLoadState", asked).await?;
            if answer.state == LOADED {
                return Ok(());
            }
            self.pause(start, "loaded").await?;
        }
    }

    async fn pause(&self, start: Instant, what: &str) -> Result<(), Failure> {
        let most = self.shared.settings.settle_timeout();
        if start.elapsed() > most {
            return Err(Failure::Down(format!("milvus: not {what} in {} ms", most.as_millis())));
        }
        tokio::time::sleep(PAUSE).await;
        Ok(())
    }

    /// Reads from a collection, which is loaded first if it is not.
    async fn read<A, Q>(&self, method: &'static str, collection: &str, request: Q) -> Result<Option<A>, Failure>
    where
        A: Answer,
        Q: Message + Clone + 'static,
    {
        let mut answer = self.shared.link.call(method, request.clone()).await;
        if matches!(answer, Err(Failure::NotLoaded)) {
            self.load(collection).await?;
            answer = self.shared.link.call(method, request).await;
        }
        match answer {
            Err(Failure::NoCollection) => {
                self.forget(collection);
                Ok(None)
            }
            answer => answer.map(Some),
        }
    }

    async fn rows(&self, collection: &str, expr: String, fields: &[&str]) -> Result<Vec<FieldData>, Failure> {
        let request = QueryRequest {
            collection_name: collection.to_owned(),
            expr,
            output_fields: fields.iter().map(|field| (*field).to_owned()).collect(),
            guarantee_timestamp: self.seen_from(collection),
            consistency_level: SESSION,
        };
        let answer: Option<QueryResults> = self.read("Query", collection, request).await?;
        Ok(answer.map(|answer| answer.fields_data).unwrap_or_default())
    }

    /// Makes what of a space is not there.
    async fn make(&self, collection: &str, description: String, shape: Shape) -> Result<(), Failure> {
        let field = |name: &str, data_type| FieldSchema {
            name: name.to_owned(),
            is_primary_key: data_type == INT64,
            data_type,
            type_params: if data_type == INT64 { vec![] } else { vec![pair("dim", shape.dimension)] },
        };
        let fields = vec![field(HANDLE, INT64), field(VECTOR, FLOAT_VECTOR)];
        let schema = CollectionSchema { name: collection.to_owned(), description, fields };
        let request = CreateCollectionRequest {
            collection_name: collection.to_owned(),
            schema: schema.encode_to_vec(),
            consistency_level: SESSION,
        };
        self.unless_there(self.shared.link.call("CreateCollection", request).await, collection).await?;
        let metric = match shape.metric {
            Metric::InnerProduct => "IP",
            Metric::Cosine => "COSINE",
        };
        let request = CreateIndexRequest {
            collection_name: collection.to_owned(),
            field_name: VECTOR.to_owned(),
            extra_params: vec![pair("index_type", "AUTOINDEX"), pair("metric_type", metric)],
        };
        self.unless_there(self.shared.link.call("CreateIndex", request).await, collection).await?;
        self.load(collection).await
    }

    /// It may have been made meanwhile, which servers refuse in many words.
    async fn unless_there(&self, made: Result<Status, Failure>, collection: &str) -> Result<(), Failure> {
        match made {
            Err(Failure::Refused(why)) => {
                match self.about::<DescribeCollectionResponse>("DescribeCollection", collection).await {
                    Ok(_) => Ok(()),
                    Err(_) => Err(Failure::Refused(why)),
                }
            }
            made => made.map(|_| ()),
        }
    }
}

#[async_trait]
impl Vectors for MilvusVectors {
    async fn describe(&self, tenant: &Tenant, scenario_id: &str, space: &str) -> Result<Option<Space>, Error> {
        check::names(scenario_id, space)?;
        let collection = self.collection(tenant, scenario_id, space);
        let Some(Shape { dimension, metric }) = self.shape(&collection).await? else { return Ok(None) };
        let counted = self.rows(&collection, String::new(), &["count(*)"]).await?;
        let vectors = counted.iter().find_map(|field| longs(field)?.first().copied());
        Ok(vectors.map(|vectors| Space { dimension, metric, vectors: vectors.cast_unsigned() }))
    }

    async fn get(&self, tenant: &Tenant, scenario_id: &str, space: &str, handles: Vec<u64>) -> Result<Rows, Error> {
        check::get(scenario_id, space, &handles)?;
        let mut rows = Rows::default();
        if handles.is_empty() {
            return Ok(rows);
        }
        let collection = self.collection(tenant, scenario_id, space);
        let fields = self.rows(&collection, one_of(&handles), &[HANDLE, VECTOR]).await?;
        let field = |name: &str| fields.iter().find(|field| field.field_name == name);
        let (Some(found), Some(vectors)) = (field(HANDLE).and_then(longs), field(VECTOR).and_then(vectors)) else {
            return Ok(rows);
        };
        let found: HashMap<u64, &[f32]> = found.iter().map(|handle| handle.cast_unsigned()).zip(vectors).collect();
        for (at, handle) in handles.iter().enumerate() {
            if let Some(vector) = found.get(handle) {
                rows.found.push(at as u32);
                rows.values.extend_from_slice(vector);
            }
        }
        Ok(rows)
    }

    async fn query(
        &self,
        tenant: &Tenant,
        scenario_id: &str,
        space: &str,
        vector: Vec<f32>,
        limit: u32,
        filter: Filter,
    ) -> Result<Hits, Error> {
        check::query(scenario_id, space, &vector, limit, &filter)?;
        let collection = self.collection(tenant, scenario_id, space);
        let Some(shape) = self.known_shape(&collection).await? else { return Ok(Hits::default()) };
        check::vector("vector", shape.dimension as usize, &vector)?;
        let dsl = match filter {
            Filter::All => String::new(),
            Filter::Except(handles) if handles.is_empty() => String::new(),
            Filter::Only(handles) if handles.is_empty() => return Ok(Hits::default()),
            Filter::Except(handles) => format!("not ({})", one_of(&handles)),
            Filter::Only(handles) => one_of(&handles),
        };
        let values = vec![vector.iter().flat_map(|value| value.to_le_bytes()).collect()];
        let asked = PlaceholderValue { tag: "$0".to_owned(), kind: FLOAT_VECTOR, values };
        let request = SearchRequest {
            collection_name: collection.clone(),
            dsl,
            placeholder_group: PlaceholderGroup { placeholders: vec![asked] }.encode_to_vec(),
            dsl_type: EXPRESSION,
            search_params: vec![pair("anns_field", VECTOR), pair("topk", limit), pair("params", "{}")],
            guarantee_timestamp: self.seen_from(&collection),
            nq: 1,
            consistency_level: SESSION,
        };
        let answer: Option<SearchResults> = self.read("Search", &collection, request).await?;
        let results = answer.and_then(|answer| answer.results).unwrap_or_default();
        let handles = results.ids.and_then(|ids| ids.int_id).unwrap_or_default().data;
        Ok(Hits { handles: handles.into_iter().map(i64::cast_unsigned).collect(), scores: results.scores })
    }

    async fn create(
        &self,
        tenant: &Tenant,
        scenario_id: &str,
        space: &str,
        dimension: u32,
        metric: Metric,
    ) -> Result<(), Error> {
        check::create(scenario_id, space, dimension)?;
        let collection = self.collection(tenant, scenario_id, space);
        let asked = Shape { dimension, metric };
        let mut there = self.shape(&collection).await?;
        if there.is_none() {
            self.make(&collection, format!("{tenant}/{scenario_id}/{space}"), asked).await?;
            there = self.shape(&collection).await?;
        }
        match there {
            Some(there) if there == asked => Ok(()),
            Some(there) => {
                let rule = format_args!(
                    "is there with {} values, {:?}, not {dimension} values, {metric:?}",
                    there.dimension, there.metric
                );
                Err(Error::invalid("space", rule))
            }
            None => Err(Error::Unavailable("milvus: the collection was dropped while it was made".to_owned())),
        }
    }

    async fn upsert(
        &self,
        tenant: &Tenant,
        scenario_id: &str,
        space: &str,
        handles: Vec<u64>,
        values: Vec<f32>,
    ) -> Result<(), Error> {
        check::change(scenario_id, space, &handles)?;
        let collection = self.collection(tenant, scenario_id, space);
        let absent = || Error::invalid("space", format_args!("there is no {space}"));
        let shape = self.known_shape(&collection).await?.ok_or_else(absent)?;
        let dimension = shape.dimension as usize;
        check::values(dimension, &handles, &values)?;
        // Of a handle that stands twice, the last counts; the server takes it once.
        let mut seen = HashSet::new();
        let mut rows: Vec<(u64, &[f32])> = handles.into_iter().zip(values.chunks_exact(dimension)).collect();
        rows.reverse();
        rows.retain(|(handle, _)| seen.insert(*handle));
        for rows in rows.chunks((MESSAGE_VALUES / dimension).max(1)) {
            let request = UpsertRequest {
                collection_name: collection.clone(),
                fields_data: fields(rows, shape),
                num_rows: rows.len() as u32,
            };
            match self.shared.link.call("Upsert", request).await {
                Err(Failure::NoCollection) => {
                    self.forget(&collection);
                    return Err(absent());
                }
                result => self.wrote(&collection, &result?),
            }
        }
        Ok(())
    }

    async fn delete(&self, tenant: &Tenant, scenario_id: &str, space: &str, handles: Vec<u64>) -> Result<(), Error> {
        check::change(scenario_id, space, &handles)?;
        if handles.is_empty() {
            return Ok(());
        }
        let collection = self.collection(tenant, scenario_id, space);
        let request = DeleteRequest { collection_name: collection.clone(), expr: one_of(&handles) };
        if let Some(result) = self.read("Delete", &collection, request).await? {
            self.wrote(&collection, &result);
        }
        Ok(())
    }

    async fn settle(&self, tenant: &Tenant, scenario_id: &str, space: &str) -> Result<(), Error> {
        check::names(scenario_id, space)?;
        let collection = self.collection(tenant, scenario_id, space);
        if self.shape(&collection).await?.is_none() {
            return Err(Error::invalid("space", format_args!("there is no {space}")));
        }
        let request = FlushRequest { collection_names: vec![collection.clone()] };
        let _: FlushResponse = self.shared.link.call("Flush", request).await?;
        let start = Instant::now();
        loop {
            let indexes = self.indexes(&collection).await?.index_descriptions;
            if indexes.iter().all(|index| index.state == FINISHED && index.pending_index_rows == 0) {
                return Ok(());
            }
            self.pause(start, "indexed").await?;
        }
    }

    async fn spaces(&self, tenant: &Tenant, scenario_id: &str) -> Result<Vec<String>, Error> {
        Error::check_id("scenario-id", scenario_id)?;
        let beginning = names::scenario(&self.shared.settings.collection_prefix, tenant, scenario_id);
        let all: ShowCollectionsResponse = self.shared.link.call("ShowCollections", ShowCollectionsRequest {}).await?;
        let mut spaces: Vec<String> =
            all.collection_names.iter().filter_map(|name| names::space(&beginning, name)).collect();
        spaces.sort_unstable();
        Ok(spaces)
    }

    async fn drop_space(&self, tenant: &Tenant, scenario_id: &str, space: &str) -> Result<(), Error> {
        check::names(scenario_id, space)?;
        let collection = self.collection(tenant, scenario_id, space);
        self.forget(&collection);
        match self.about::<Status>("DropCollection", &collection).await {
            Err(Failure::NoCollection) => Ok(()),
            dropped => Ok(dropped.map(|_| ())?),
        }
    }

    async fn drop_scenario(&self, tenant: &Tenant, scenario_id: &str) -> Result<(), Error> {
        for space in self.spaces(tenant, scenario_id).await? {
            self.drop_space(tenant, scenario_id, &space).await?;
        }
        Ok(())
    }
}

fn pair(key: &str, value: impl ToString) -> KeyValuePair {
    KeyValuePair { key: key.to_owned(), value: value.to_string() }
}

fn value<'a>(pairs: &'a [KeyValuePair], key: &str) -> Option<&'a str> {
    pairs.iter().find(|pair| pair.key == key).map(|pair| &*pair.value)
}

fn metric_of(name: &str) -> Option<Metric> {
    match name {
        "IP" => Some(Metric::InnerProduct),
        "COSINE" => Some(Metric::Cosine),
        _ => None,
    }
}

/// The expression that holds for these handles.
fn one_of(handles: &[u64]) -> String {
    let handles: Vec<String> = handles.iter().map(|handle| handle.cast_signed().to_string()).collect();
    format!("{HANDLE} in [{}]", handles.join(","))
}

fn fields(rows: &[(u64, &[f32])], shape: Shape) -> Vec<FieldData> {
    let handles = LongArray { data: rows.iter().map(|(handle, _)| handle.cast_signed()).collect() };
    let values = FloatArray { data: rows.iter().flat_map(|(_, vector)| *vector).copied().collect() };
    let vectors = VectorField { dim: i64::from(shape.dimension), float_vector: Some(values) };
    let field = |kind, name: &str, field| FieldData { kind, field_name: name.to_owned(), field: Some(field) };
    vec![
        field(INT64, HANDLE, Field::Scalars(ScalarField { long_data: Some(handles) })),
        field(FLOAT_VECTOR, VECTOR, Field::Vectors(vectors)),
    ]
}

fn longs(field: &FieldData) -> Option<&[i64]> {
    match &field.field {
        Some(Field::Scalars(ScalarField { long_data: Some(longs) })) => Some(&longs.data),
        _ => None,
    }
}

fn vectors(field: &FieldData) -> Option<std::slice::ChunksExact<'_, f32>> {
    match &field.field {
        Some(Field::Vectors(VectorField { dim: dim @ 1.., float_vector: Some(values) })) => {
            Some(values.data.chunks_exact(usize::try_from(*dim).ok()?))
        }
        _ => None,
    }
}
