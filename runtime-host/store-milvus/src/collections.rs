//! Collections: what is known of them, how they are made, read and waited for.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use funnelweb_factor_vectors::store::{Error, Metric, Tenant};
use prost::Message;
use quick_cache::sync::Cache;

use crate::{
    call::{Failure, Link},
    fields::{HANDLE, VECTOR, metric_of, pair, value},
    names,
    proto::{
        Answer, CollectionRequest, CollectionSchema, CreateCollectionRequest, CreateIndexRequest,
        DescribeCollectionResponse, DescribeIndexRequest, DescribeIndexResponse, FLOAT_VECTOR, FieldData, FieldSchema,
        GetLoadStateRequest, GetLoadStateResponse, GetVersionRequest, GetVersionResponse, INT64, LOADED,
        MutationResult, QueryRequest, QueryResults, SESSION, Status,
    },
    settings::MilvusSettings,
};

/// Shapes that are remembered, and for how long: another process may drop a space and
/// make it again.
const SHAPES: usize = 10_000;
const SHAPE_AGE: Duration = Duration::from_secs(60);
/// Between two questions whether something is done.
const PAUSE: Duration = Duration::from_millis(100);
/// A time from which on everything may be seen: no write is waited for.
const ANY_TIME: u64 = 1;

/// Vectors in a Milvus.
#[derive(Clone)]
pub struct MilvusVectors {
    pub(crate) shared: Arc<Shared>,
}

pub(crate) struct Shared {
    pub(crate) link: Link,
    pub(crate) settings: MilvusSettings,
    shapes: Cache<String, (Shape, Instant)>,
    /// When this process has last written to a collection, by the server's clock: what
    /// it reads is not older.
    written: Cache<String, u64>,
}

/// What the vectors of a collection have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shape {
    pub(crate) dimension: u32,
    pub(crate) metric: Metric,
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

    pub(crate) fn collection(&self, tenant: &Tenant, scenario_id: &str, space: &str) -> String {
        names::collection(&self.shared.settings.collection_prefix, tenant, scenario_id, space)
    }

    pub(crate) async fn about<A: Answer>(&self, method: &'static str, collection: &str) -> Result<A, Failure> {
        let answer = self.shared.link.call(method, CollectionRequest { collection_name: collection.to_owned() }).await;
        if matches!(answer, Err(Failure::NoCollection)) {
            self.forget(collection);
        }
        answer
    }

    pub(crate) fn forget(&self, collection: &str) {
        self.shared.shapes.remove(collection);
    }

    pub(crate) fn wrote(&self, collection: &str, result: &MutationResult) {
        self.shared.written.insert(collection.to_owned(), result.timestamp.max(ANY_TIME));
    }

    pub(crate) fn seen_from(&self, collection: &str) -> u64 {
        self.shared.written.get(collection).unwrap_or(ANY_TIME)
    }

    /// The shape of a collection; none when there is no such collection, or its making
    /// was interrupted.
    pub(crate) async fn shape(&self, collection: &str) -> Result<Option<Shape>, Failure> {
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
    pub(crate) async fn index(&self, collection: &str) -> Result<Option<String>, Failure> {
        let indexes = self.indexes(collection).await?.index_descriptions;
        let index = indexes.iter().find(|index| index.field_name == VECTOR).ok_or(Failure::NoIndex)?;
        Ok(value(&index.params, "metric_type").map(str::to_owned))
    }

    pub(crate) async fn indexes(&self, collection: &str) -> Result<DescribeIndexResponse, Failure> {
        let (collection_name, field_name) = (collection.to_owned(), VECTOR.to_owned());
        self.shared.link.call("DescribeIndex", DescribeIndexRequest { collection_name, field_name }).await
    }

    /// The same, as it is remembered.
    pub(crate) async fn known_shape(&self, collection: &str) -> Result<Option<Shape>, Failure> {
        match self.shared.shapes.get(collection) {
            Some((shape, read)) if read.elapsed() < SHAPE_AGE => Ok(Some(shape)),
            _ => self.shape(collection).await,
        }
    }

    /// Has the server keep the collection in memory, where it is searched.
    pub(crate) async fn load(&self, collection: &str) -> Result<(), Failure> {
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

    pub(crate) async fn pause(&self, start: Instant, what: &str) -> Result<(), Failure> {
        let most = self.shared.settings.settle_timeout();
        if start.elapsed() > most {
            return Err(Failure::Down(format!("milvus: not {what} in {} ms", most.as_millis())));
        }
        tokio::time::sleep(PAUSE).await;
        Ok(())
    }

    /// Reads from a collection, which is loaded first if it is not.
    pub(crate) async fn read<A, Q>(
        &self,
        method: &'static str,
        collection: &str,
        request: Q,
    ) -> Result<Option<A>, Failure>
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

    pub(crate) async fn rows(
        &self,
        collection: &str,
        expr: String,
        fields: &[&str],
    ) -> Result<Vec<FieldData>, Failure> {
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
    pub(crate) async fn make(&self, collection: &str, description: String, shape: Shape) -> Result<(), Failure> {
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
    pub(crate) async fn unless_there(&self, made: Result<Status, Failure>, collection: &str) -> Result<(), Failure> {
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
