//! The user's and the context's features as a table of one row.

use std::borrow::Cow;

use funnelweb_core::{id, time};
use funnelweb_guest::types::{Attribute, ColumnKind, FeatureSpec, RequestContext, Table};

/// The name of a context feature's column.
#[must_use]
pub fn context_name(feature: &str) -> String {
    format!("context:{feature}")
}

/// One row with a column for each user feature and, under [`context_name`], for each
/// context feature, read from the attribute of its name: a number, the hash of the
/// first value, the hashes of all values, or the age in hours of a time. Missing
/// where there is no such attribute or it does not read as one. There is no embedding
/// among attributes.
#[must_use]
pub fn table(user: &[FeatureSpec], situation: &[FeatureSpec], context: &RequestContext) -> Table {
    let mut table = Table::empty(1);
    for feature in user {
        let values = values(&context.user.attributes, &feature.name).map(Cow::Borrowed);
        push(&mut table, feature.name.clone(), feature.kind, &values.unwrap_or_default(), context.now_ms);
    }
    for feature in situation {
        let given = values(&context.context, &feature.name).map(Cow::Borrowed);
        let values = given.or_else(|| of_clock(&feature.name, context).map(|value| Cow::Owned(vec![value])));
        push(&mut table, context_name(&feature.name), feature.kind, &values.unwrap_or_default(), context.now_ms);
    }
    table
}

fn push(table: &mut Table, name: String, kind: ColumnKind, values: &[String], now_ms: u64) {
    let first = values.first().map(String::as_str);
    match kind {
        ColumnKind::Numeric => {
            table.numeric_names.push(name);
            table.numeric.push(first.and_then(number).unwrap_or(f32::NAN));
        }
        ColumnKind::Timestamp => {
            table.numeric_names.push(name);
            table.numeric.push(first.and_then(time::parse_ms).map_or(f32::NAN, |ms| age_h(ms, now_ms)));
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

fn values<'a>(attributes: &'a [Attribute], name: &str) -> Option<&'a [String]> {
    attributes.iter().find(|attribute| attribute.name == name).map(|attribute| attribute.values.as_slice())
}

/// `hour` (0 to 23) and `weekday` (0 for Monday to 6) of the request's time: in UTC,
/// moved by `utc_offset_minutes` of the context where it has one (at most a day).
fn of_clock(name: &str, context: &RequestContext) -> Option<String> {
    const DAY_MINUTES: i64 = 24 * 60;
    let offset = values(&context.context, "utc_offset_minutes").and_then(|values| values.first()?.parse::<f64>().ok());
    // As a cast does: NaN is 0.
    let offset = offset.map_or(0, |minutes| minutes.clamp(-1440.0, 1440.0) as i64);
    let minutes = i64::try_from(context.now_ms / 60_000).ok()? + offset;
    match name {
        "hour" => Some((minutes.rem_euclid(DAY_MINUTES) / 60).to_string()),
        // 1970 began on a Thursday.
        "weekday" => Some((minutes.div_euclid(DAY_MINUTES) + 3).rem_euclid(7).to_string()),
        _ => None,
    }
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
