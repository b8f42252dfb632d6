//! Which columns to ask the documents for.

use funnelweb_guest::{features::FeaturesRequest, types::ColumnSpec};

use crate::derived;

/// The columns of the item features, then those that rules asked for and derived
/// features need, each (name, kind) once. Features come first: where one name is asked for both as a
/// number and as a timestamp, a reader by name finds the feature's.
#[must_use]
pub fn asked(request: &FeaturesRequest) -> Vec<ColumnSpec> {
    let features = request.item_features.iter().map(|feature| (&feature.name, feature.kind));
    let columns = request.columns.iter().map(|column| (&column.name, column.kind));
    let mut asked: Vec<ColumnSpec> = Vec::with_capacity(request.item_features.len() + request.columns.len());
    let derived = derived::needed(request);
    let derived = derived.iter().map(|column| (&column.name, column.kind));
    for (name, kind) in features.chain(columns).chain(derived) {
        if !asked.iter().any(|other| other.kind == kind && other.name == *name) {
            asked.push(ColumnSpec { name: name.clone(), kind });
        }
    }
    asked
}
