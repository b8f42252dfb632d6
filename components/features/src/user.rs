//! The user's features as a table of one row.

use funnelweb_core::{id, time};
use funnelweb_guest::types::{ColumnKind, FeatureSpec, RequestContext, Table};

/// One row with a column for each user feature, read from the user's attribute
/// of that name: a number, the hash of the first value, the hashes of all values,
/// or the age in hours of a time. Missing where there is no such attribute or it
/// does not read as one. There is no user embedding among the attributes.
#[must_use]
pub fn table(features: &[FeatureSpec], context: &RequestContext) -> Table {
    let mut table = Table::empty(1);
    for feature in features {
        let attribute = context.user.attributes.iter().find(|attribute| attribute.name == feature.name);
        let values = attribute.map(|attribute| attribute.values.as_slice()).unwrap_or_default();
        let first = values.first().map(String::as_str);
        let name = feature.name.clone();
        match feature.kind {
            ColumnKind::Numeric => {
                table.numeric_names.push(name);
                table.numeric.push(first.and_then(number).unwrap_or(f32::NAN));
            }
            ColumnKind::Timestamp => {
                table.numeric_names.push(name);
                table.numeric.push(first.and_then(time::parse_ms).map_or(f32::NAN, |ms| age_h(ms, context.now_ms)));
            }
            ColumnKind::Categorical => {
                table.categorical_names.push(name);
                table.categorical.push(first.map_or(0, id::value_hash));
            }
            ColumnKind::MultiCategorical => {
                if table.multi_offsets.is_empty() {
                    table.multi_offsets.push(0);
                }
                table.multi_names.push(name);
                table.multi_values.extend(values.iter().map(|value| id::value_hash(value)));
                table.multi_offsets.push(u32::try_from(table.multi_values.len()).unwrap_or(u32::MAX));
            }
            ColumnKind::Embedding => {}
        }
    }
    table
}

fn number(text: &str) -> Option<f32> {
    match text {
        "true" => Some(1.0),
        "false" => Some(0.0),
        _ => text.parse().ok().filter(|number: &f32| number.is_finite()),
    }
}

fn age_h(ms: u64, now_ms: u64) -> f32 {
    ((now_ms as f64 - ms as f64) / 3_600_000.0) as f32
}
