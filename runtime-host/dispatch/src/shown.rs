//! The slate that is logged: rows of the feature table, under the full names of the
//! features that the scenario declares.

use funnelweb_bindings::{
    Funnel,
    dispatch::FeaturesCall,
    types::{ColumnKind, Table},
};
use funnelweb_core::scenario::FeatureKind;
use funnelweb_exposure_log::{Cell, Feature, Shown, Slate};

/// The features that a call declares, by their full names.
pub(crate) fn declared(call: &FeaturesCall) -> Vec<(String, ColumnKind)> {
    let of = |source: &'static str, specs: &[funnelweb_bindings::types::FeatureSpec]| -> Vec<_> {
        specs.iter().map(|spec| (format!("{source}:{}", spec.name), spec.kind)).collect()
    };
    let mut declared = of("item", &call.item_features);
    let derived = call.derived_features.iter().chain(&call.evidence.names);
    declared.extend(derived.map(|name| (format!("derived:{name}"), ColumnKind::Numeric)));
    declared.extend(of("user", &call.user_features));
    declared.extend(of("context", &call.context_features));
    declared
}

/// What these items were shown with, and for which groups of experiments; without features where
/// there are no rows, and none where there is no group then either.
pub(crate) fn slate(
    funnel: &Funnel,
    request_id: String,
    item_ids: Vec<String>,
    rows: &[u32],
    groups: Vec<String>,
) -> Option<Slate> {
    let Some(table) = funnel.table.as_ref().filter(|_| groups.is_empty() || !rows.is_empty()) else {
        return (!groups.is_empty()).then(|| Slate {
            request_id,
            user_id: funnel.context.user.id.clone(),
            scenario_id: funnel.context.scenario_id.clone(),
            shown_at_ms: funnel.context.now_ms,
            user_features: Vec::new(),
            user: Vec::new(),
            item_features: Vec::new(),
            items: item_ids.into_iter().map(|item_id| Shown { item_id, cells: Vec::new() }).collect(),
            groups,
        });
    };
    let items = columns(&funnel.declared, &table.items, |source| matches!(source, "item" | "derived"));
    let user = columns(&funnel.declared, &table.user, |source| matches!(source, "user" | "context"));
    let shown = item_ids.into_iter().zip(rows).filter(|(_, row)| **row < table.items.rows);
    Some(Slate {
        request_id,
        user_id: funnel.context.user.id.clone(),
        scenario_id: funnel.context.scenario_id.clone(),
        shown_at_ms: funnel.context.now_ms,
        user: cells(&user, &table.user, 0),
        items: shown
            .map(|(item_id, row)| Shown { item_id, cells: cells(&items, &table.items, *row as usize) })
            .collect(),
        user_features: user.into_iter().map(|(feature, _)| feature).collect(),
        item_features: items.into_iter().map(|(feature, _)| feature).collect(),
        groups,
    })
}

/// The declared features of some sources that a table has, and where.
fn columns(
    declared: &[(String, ColumnKind)],
    table: &Table,
    of_source: impl Fn(&str) -> bool,
) -> Vec<(Feature, usize)> {
    let column = |(full_name, kind): &(String, ColumnKind)| {
        let (source, name) = full_name.split_once(':').filter(|(source, _)| of_source(source))?;
        // The user's table has fields of the context under their full names.
        let name = if source == "context" { full_name } else { name };
        let (kind, names) = match kind {
            ColumnKind::Numeric => (FeatureKind::Numeric, &table.numeric_names),
            ColumnKind::Timestamp => (FeatureKind::Timestamp, &table.numeric_names),
            ColumnKind::Categorical => (FeatureKind::Categorical, &table.categorical_names),
            ColumnKind::MultiCategorical => (FeatureKind::MultiCategorical, &table.multi_names),
            ColumnKind::Embedding => return None,
        };
        let at = names.iter().position(|known| known == name)?;
        Some((Feature { name: full_name.clone(), kind }, at))
    };
    declared.iter().filter_map(column).collect()
}

fn cells(columns: &[(Feature, usize)], table: &Table, row: usize) -> Vec<Cell> {
    columns.iter().map(|(feature, at)| cell(feature.kind, table, row, *at).unwrap_or(Cell::Missing)).collect()
}

fn cell(kind: FeatureKind, table: &Table, row: usize, at: usize) -> Option<Cell> {
    match kind {
        FeatureKind::Numeric | FeatureKind::Timestamp => {
            let number = *table.numeric.get(row * table.numeric_names.len() + at)?;
            (!number.is_nan()).then_some(Cell::Number(number))
        }
        FeatureKind::Categorical => {
            let word = *table.categorical.get(row * table.categorical_names.len() + at)?;
            (word != 0).then_some(Cell::Word(word))
        }
        FeatureKind::MultiCategorical => {
            let cell = row * table.multi_names.len() + at;
            let (from, to) = (*table.multi_offsets.get(cell)?, *table.multi_offsets.get(cell + 1)?);
            Some(Cell::Words(table.multi_values.get(from as usize..to as usize)?.to_vec()))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use funnelweb_bindings::{
        dispatch::{Allowance, FeatureTable},
        parts::empty,
        types::{Personal, RequestContext, User},
    };

    use super::*;

    fn funnel() -> Funnel {
        let items = Table {
            rows: 2,
            numeric_names: vec!["price".into(), "needed_by_a_rule".into(), "tags:overlap".into()],
            numeric: vec![1.0, 9.0, f32::NAN, 2.0, 9.0, 0.5],
            categorical_names: vec!["category".into()],
            categorical: vec![7, 0],
            multi_names: vec!["tags".into()],
            multi_offsets: vec![0, 2, 2],
            multi_values: vec![3, 4],
            ..empty()
        };
        let user = Table {
            rows: 1,
            numeric_names: vec!["context:hour".into()],
            numeric: vec![13.0],
            categorical_names: vec!["city".into()],
            categorical: vec![5],
            ..empty()
        };
        let declared = [
            ("item:price", ColumnKind::Numeric),
            ("item:category", ColumnKind::Categorical),
            ("item:tags", ColumnKind::MultiCategorical),
            ("item:not_in_the_table", ColumnKind::Numeric),
            ("derived:tags:overlap", ColumnKind::Numeric),
            ("user:city", ColumnKind::Categorical),
            ("context:hour", ColumnKind::Numeric),
        ];
        let context = RequestContext {
            scenario_id: "s".to_owned(),
            user: User {
                id: "ann".to_owned(),
                attributes: Vec::new(),
                preferences: Vec::new(),
                recent: Vec::new(),
                recent_weights: Vec::new(),
            },
            context: Vec::new(),
            now_ms: 17,
            count: 2,
            seed: 0,
        };
        Funnel {
            context: Arc::new(context),
            table: Some(FeatureTable { items, user }),
            allowance: Allowance { personal: Personal::empty(), fields: None },
            recorded: None,
            declared: declared.map(|(name, kind)| (name.to_owned(), kind)).to_vec(),
        }
    }

    #[test]
    fn what_was_shown_is_logged_with_what_was_declared() {
        let ids = ["b", "a", "gone"].map(str::to_owned).to_vec();
        let slate = slate(&funnel(), "r".to_owned(), ids, &[1, 0, 2], Vec::new()).unwrap();
        assert_eq!((slate.user_id.as_str(), slate.scenario_id.as_str(), slate.shown_at_ms), ("ann", "s", 17));
        let names = |features: &[Feature]| features.iter().map(|of| of.name.clone()).collect::<Vec<_>>();
        let expected = ["item:price", "item:category", "item:tags", "derived:tags:overlap"];
        assert_eq!(names(&slate.item_features), expected);
        assert_eq!(names(&slate.user_features), ["user:city", "context:hour"]);
        assert_eq!(slate.user, [Cell::Word(5), Cell::Number(13.0)]);
        let cells: Vec<_> = slate.items.iter().map(|item| (item.item_id.as_str(), item.cells.clone())).collect();
        let of_b = vec![Cell::Number(2.0), Cell::Missing, Cell::Words(vec![]), Cell::Number(0.5)];
        let of_a = vec![Cell::Number(1.0), Cell::Word(7), Cell::Words(vec![3, 4]), Cell::Missing];
        assert_eq!(cells, [("b", of_b), ("a", of_a)]);
    }

    #[test]
    fn without_a_table_there_is_nothing_to_log() {
        let funnel = Funnel { table: None, ..funnel() };
        assert_eq!(slate(&funnel, "r".to_owned(), vec!["a".to_owned()], &[0], Vec::new()), None);
        let groups = vec!["exp:control".to_owned()];
        let shown = slate(&funnel, "r".to_owned(), Vec::new(), &[], groups.clone()).unwrap();
        assert_eq!((shown.groups, shown.items.len()), (groups, 0), "that nothing was shown is told");
    }
}
