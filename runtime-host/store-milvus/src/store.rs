//! The capability: each space is a collection.

use std::{
    collections::{HashMap, HashSet},
    time::Instant,
};

use async_trait::async_trait;
use funnelweb_factor_vectors::{
    check,
    store::{Error, Filter, Hits, Metric, Rows, Space, Tenant, Vectors},
};
use prost::Message as _;

use crate::{
    call::Failure,
    collections::{MilvusVectors, Shape},
    fields::{HANDLE, VECTOR, fields, longs, one_of, pair, vectors},
    names,
    proto::{
        DeleteRequest, EXPRESSION, FINISHED, FLOAT_VECTOR, FlushRequest, FlushResponse, PlaceholderGroup,
        PlaceholderValue, SESSION, SearchRequest, SearchResults, ShowCollectionsRequest, ShowCollectionsResponse,
        Status, UpsertRequest,
    },
};

/// Values of one message to the server, which takes 64 MiB.
const MESSAGE_VALUES: usize = 512 * 1024;

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
