//! The messages of Milvus's protocol that are used, with the fields that are used: the
//! numbers are those of `milvus.proto`, `schema.proto` and `common.proto` of
//! `milvus-io/milvus-proto`. Written by hand, as generating them takes a compiler of
//! protocols for a twentieth of what it makes. The database goes in a header.

#![allow(missing_docs, reason = "the names are the protocol's")]

use prost::{Message, Oneof};

/// What says in an answer whether the call succeeded.
pub(crate) trait Answer: Message + Default + 'static {
    fn status(&self) -> Option<&Status>;
}

macro_rules! answers {
    ($($answer:ty),* $(,)?) => {$(
        impl Answer for $answer {
            fn status(&self) -> Option<&Status> {
                self.status.as_ref()
            }
        }
    )*};
}

answers!(
    GetVersionResponse,
    DescribeCollectionResponse,
    ShowCollectionsResponse,
    GetLoadStateResponse,
    DescribeIndexResponse,
    MutationResult,
    SearchResults,
    QueryResults,
    FlushResponse,
);

impl Answer for Status {
    fn status(&self) -> Option<&Status> {
        Some(self)
    }
}

// --- common.proto ---

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Status {
    /// Of servers before 2.3.
    #[prost(int32, tag = "1")]
    pub error_code: i32,
    #[prost(string, tag = "2")]
    pub reason: String,
    #[prost(int32, tag = "3")]
    pub code: i32,
    #[prost(bool, tag = "4")]
    pub retriable: bool,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct KeyValuePair {
    #[prost(string, tag = "1")]
    pub key: String,
    #[prost(string, tag = "2")]
    pub value: String,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct PlaceholderGroup {
    #[prost(message, repeated, tag = "1")]
    pub placeholders: Vec<PlaceholderValue>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct PlaceholderValue {
    #[prost(string, tag = "1")]
    pub tag: String,
    /// `PlaceholderType`.
    #[prost(int32, tag = "2")]
    pub kind: i32,
    /// Little-endian `f32`s.
    #[prost(bytes = "vec", repeated, tag = "3")]
    pub values: Vec<Vec<u8>>,
}

/// `ConsistencyLevel.Session`.
pub(crate) const SESSION: i32 = 1;
/// `LoadState.LoadStateLoaded`.
pub(crate) const LOADED: i32 = 3;
/// `IndexState.Finished`.
pub(crate) const FINISHED: i32 = 3;
/// `DslType.BoolExprV1`.
pub(crate) const EXPRESSION: i32 = 1;

// --- schema.proto ---

/// `DataType.Int64`.
pub(crate) const INT64: i32 = 5;
/// `DataType.FloatVector`, and `PlaceholderType.FloatVector`.
pub(crate) const FLOAT_VECTOR: i32 = 101;

#[derive(Clone, PartialEq, Message)]
pub(crate) struct CollectionSchema {
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(string, tag = "2")]
    pub description: String,
    #[prost(message, repeated, tag = "4")]
    pub fields: Vec<FieldSchema>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct FieldSchema {
    #[prost(string, tag = "2")]
    pub name: String,
    #[prost(bool, tag = "3")]
    pub is_primary_key: bool,
    /// `DataType`.
    #[prost(int32, tag = "5")]
    pub data_type: i32,
    #[prost(message, repeated, tag = "6")]
    pub type_params: Vec<KeyValuePair>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct FieldData {
    /// `DataType`.
    #[prost(int32, tag = "1")]
    pub kind: i32,
    #[prost(string, tag = "2")]
    pub field_name: String,
    #[prost(oneof = "Field", tags = "3, 4")]
    pub field: Option<Field>,
}

#[derive(Clone, PartialEq, Oneof)]
pub(crate) enum Field {
    #[prost(message, tag = "3")]
    Scalars(ScalarField),
    #[prost(message, tag = "4")]
    Vectors(VectorField),
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct ScalarField {
    #[prost(message, optional, tag = "3")]
    pub long_data: Option<LongArray>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct VectorField {
    #[prost(int64, tag = "1")]
    pub dim: i64,
    #[prost(message, optional, tag = "2")]
    pub float_vector: Option<FloatArray>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct LongArray {
    #[prost(int64, repeated, tag = "1")]
    pub data: Vec<i64>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct FloatArray {
    #[prost(float, repeated, tag = "1")]
    pub data: Vec<f32>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Ids {
    #[prost(message, optional, tag = "1")]
    pub int_id: Option<LongArray>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct SearchResultData {
    #[prost(float, repeated, tag = "4")]
    pub scores: Vec<f32>,
    #[prost(message, optional, tag = "5")]
    pub ids: Option<Ids>,
}

// --- milvus.proto ---

#[derive(Clone, PartialEq, Message)]
pub(crate) struct GetVersionRequest {}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct GetVersionResponse {
    #[prost(message, optional, tag = "1")]
    pub status: Option<Status>,
    #[prost(string, tag = "2")]
    pub version: String,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct CreateCollectionRequest {
    #[prost(string, tag = "3")]
    pub collection_name: String,
    /// A [`CollectionSchema`].
    #[prost(bytes = "vec", tag = "4")]
    pub schema: Vec<u8>,
    #[prost(int32, tag = "6")]
    pub consistency_level: i32,
}

/// `DropCollectionRequest`, `DescribeCollectionRequest` and `LoadCollectionRequest`.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct CollectionRequest {
    #[prost(string, tag = "3")]
    pub collection_name: String,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct DescribeCollectionResponse {
    #[prost(message, optional, tag = "1")]
    pub status: Option<Status>,
    #[prost(message, optional, tag = "2")]
    pub schema: Option<CollectionSchema>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct ShowCollectionsRequest {}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct ShowCollectionsResponse {
    #[prost(message, optional, tag = "1")]
    pub status: Option<Status>,
    #[prost(string, repeated, tag = "2")]
    pub collection_names: Vec<String>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct GetLoadStateRequest {
    #[prost(string, tag = "2")]
    pub collection_name: String,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct GetLoadStateResponse {
    #[prost(message, optional, tag = "1")]
    pub status: Option<Status>,
    /// `LoadState`.
    #[prost(int32, tag = "2")]
    pub state: i32,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct CreateIndexRequest {
    #[prost(string, tag = "3")]
    pub collection_name: String,
    #[prost(string, tag = "4")]
    pub field_name: String,
    #[prost(message, repeated, tag = "5")]
    pub extra_params: Vec<KeyValuePair>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct DescribeIndexRequest {
    #[prost(string, tag = "3")]
    pub collection_name: String,
    #[prost(string, tag = "4")]
    pub field_name: String,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct DescribeIndexResponse {
    #[prost(message, optional, tag = "1")]
    pub status: Option<Status>,
    #[prost(message, repeated, tag = "2")]
    pub index_descriptions: Vec<IndexDescription>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct IndexDescription {
    #[prost(message, repeated, tag = "3")]
    pub params: Vec<KeyValuePair>,
    #[prost(string, tag = "4")]
    pub field_name: String,
    /// `IndexState`.
    #[prost(int32, tag = "7")]
    pub state: i32,
    #[prost(int64, tag = "9")]
    pub pending_index_rows: i64,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct UpsertRequest {
    #[prost(string, tag = "3")]
    pub collection_name: String,
    #[prost(message, repeated, tag = "5")]
    pub fields_data: Vec<FieldData>,
    #[prost(uint32, tag = "7")]
    pub num_rows: u32,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct DeleteRequest {
    #[prost(string, tag = "3")]
    pub collection_name: String,
    #[prost(string, tag = "5")]
    pub expr: String,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct MutationResult {
    #[prost(message, optional, tag = "1")]
    pub status: Option<Status>,
    #[prost(uint64, tag = "9")]
    pub timestamp: u64,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct SearchRequest {
    #[prost(string, tag = "3")]
    pub collection_name: String,
    #[prost(string, tag = "5")]
    pub dsl: String,
    /// A [`PlaceholderGroup`].
    #[prost(bytes = "vec", tag = "6")]
    pub placeholder_group: Vec<u8>,
    /// `DslType`.
    #[prost(int32, tag = "7")]
    pub dsl_type: i32,
    #[prost(message, repeated, tag = "9")]
    pub search_params: Vec<KeyValuePair>,
    #[prost(uint64, tag = "11")]
    pub guarantee_timestamp: u64,
    #[prost(int64, tag = "12")]
    pub nq: i64,
    #[prost(int32, tag = "14")]
    pub consistency_level: i32,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct SearchResults {
    #[prost(message, optional, tag = "1")]
    pub status: Option<Status>,
    #[prost(message, optional, tag = "2")]
    pub results: Option<SearchResultData>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct QueryRequest {
    #[prost(string, tag = "3")]
    pub collection_name: String,
    #[prost(string, tag = "4")]
    pub expr: String,
    #[prost(string, repeated, tag = "5")]
    pub output_fields: Vec<String>,
    #[prost(uint64, tag = "8")]
    pub guarantee_timestamp: u64,
    #[prost(int32, tag = "11")]
    pub consistency_level: i32,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct QueryResults {
    #[prost(message, optional, tag = "1")]
    pub status: Option<Status>,
    #[prost(message, repeated, tag = "2")]
    pub fields_data: Vec<FieldData>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct FlushRequest {
    #[prost(string, repeated, tag = "3")]
    pub collection_names: Vec<String>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct FlushResponse {
    #[prost(message, optional, tag = "1")]
    pub status: Option<Status>,
}
