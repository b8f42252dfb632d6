//! Rows as the protocol has them: field by field.

use funnelweb_factor_vectors::store::Metric;

use crate::{
    collections::Shape,
    proto::{FLOAT_VECTOR, Field, FieldData, FloatArray, INT64, KeyValuePair, LongArray, ScalarField, VectorField},
};

/// The primary key: a handle, as a signed number.
pub(crate) const HANDLE: &str = "handle";
pub(crate) const VECTOR: &str = "vector";

pub(crate) fn pair(key: &str, value: impl ToString) -> KeyValuePair {
    KeyValuePair { key: key.to_owned(), value: value.to_string() }
}

pub(crate) fn value<'a>(pairs: &'a [KeyValuePair], key: &str) -> Option<&'a str> {
    pairs.iter().find(|pair| pair.key == key).map(|pair| &*pair.value)
}

pub(crate) fn metric_of(name: &str) -> Option<Metric> {
    match name {
        "IP" => Some(Metric::InnerProduct),
        "COSINE" => Some(Metric::Cosine),
        _ => None,
    }
}

/// The expression that holds for these handles.
pub(crate) fn one_of(handles: &[u64]) -> String {
    let handles: Vec<String> = handles.iter().map(|handle| handle.cast_signed().to_string()).collect();
    format!("{HANDLE} in [{}]", handles.join(","))
}

pub(crate) fn fields(rows: &[(u64, &[f32])], shape: Shape) -> Vec<FieldData> {
    let handles = LongArray { data: rows.iter().map(|(handle, _)| handle.cast_signed()).collect() };
    let values = FloatArray { data: rows.iter().flat_map(|(_, vector)| *vector).copied().collect() };
    let vectors = VectorField { dim: i64::from(shape.dimension), float_vector: Some(values) };
    let field = |kind, name: &str, field| FieldData { kind, field_name: name.to_owned(), field: Some(field) };
    vec![
        field(INT64, HANDLE, Field::Scalars(ScalarField { long_data: Some(handles) })),
        field(FLOAT_VECTOR, VECTOR, Field::Vectors(vectors)),
    ]
}

pub(crate) fn longs(field: &FieldData) -> Option<&[i64]> {
    match &field.field {
        Some(Field::Scalars(ScalarField { long_data: Some(longs) })) => Some(&longs.data),
        _ => None,
    }
}

pub(crate) fn vectors(field: &FieldData) -> Option<std::slice::ChunksExact<'_, f32>> {
    match &field.field {
        Some(Field::Vectors(VectorField { dim: dim @ 1.., float_vector: Some(values) })) => {
            Some(values.data.chunks_exact(usize::try_from(*dim).ok()?))
        }
        _ => None,
    }
}
