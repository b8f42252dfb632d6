//! The slate that is logged: rows of the feature table, under the full names of the
//! features that the scenario declares.

use funnelweb_bindings::{
    Funnel,
    dispatch::{Draft, FeaturesCall, Team},
    types::{ColumnKind, Table},
};
use funnelweb_core::{id, scenario::FeatureKind};
use funnelweb_exposure_log::{self as log, Cell, Feature, Shown, Slate};

/// What a component tells of a slate.
pub(crate) struct Told {
    pub(crate) request_id: String,
    pub(crate) item_ids: Vec<String>,
    /// Of the feature table, one per item; none to log no features.
    pub(crate) rows: Vec<u32>,
    /// Those of experiments.
    pub(crate) groups: Vec<String>,
    pub(crate) drafted: Option<Draft>,
}

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
pub(crate) fn slate(funnel: &Funnel, told: Told) -> Option<Slate> {
    // A slate that was measured is not one of before.
    let elapsed_us = u32::try_from(funnel.began.elapsed().as_micros()).unwrap_or(u32::MAX).max(1);
    let Told { request_id, item_ids, rows, groups, drafted } = told;
    let mut teams = drafted.and_then(|draft| teams(draft, item_ids.len()));
    let drafts = |teams: Option<log::Draft>| teams.into_iter().collect();
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
            elapsed_us,
            cost_us: funnel.cost_us,
            drafted: drafts(teams),
        });
    };
    let items = columns(&funnel.declared, &table.items, |source| matches!(source, "item" | "derived"));
    let user = columns(&funnel.declared, &table.user, |source| matches!(source, "user" | "context"));
    let is_known = |row: Option<&u32>| row.is_some_and(|row| *row < table.items.rows);
    if let Some(draft) = &mut teams {
        let mut known = (0..item_ids.len()).map(|at| is_known(rows.get(at)));
        draft.teams.retain(|_| known.next().unwrap_or_default());
    }
    let shown = item_ids.into_iter().zip(&rows).filter(|(_, row)| is_known(Some(row)));
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
        elapsed_us,
        cost_us: funnel.cost_us,
        drafted: drafts(teams),
    })
}

/// A draft as it is logged; none that is not of so many places, or of what can be no experiment:
/// it is a component's word.
fn teams(draft: Draft, places: usize) -> Option<log::Draft> {
    let Draft { experiment, teams } = draft;
    if teams.len() != places || id::check(&experiment).is_err() {
        tracing::warn!(teams = teams.len(), places, "a draft that is of no slate is not logged");
        return None;
    }
    let number = |team: Team| match team {
        Team::Nobody => 0,
        Team::Control => 1,
        Team::Treatment => 2,
    };
    Some(log::Draft { experiment, teams: teams.into_iter().map(number).collect() })
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
    use std::{
        sync::Arc,
        time::{Duration, Instant},
    };

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
            began: Instant::now() - Duration::from_millis(20),
            cost_us: 4200,
            declared: declared.map(|(name, kind)| (name.to_owned(), kind)).to_vec(),
        }
    }

    fn told(item_ids: Vec<String>, rows: &[u32], groups: &[&str]) -> Told {
        let groups = groups.iter().map(|group| (*group).to_owned()).collect();
        Told { request_id: "r".to_owned(), item_ids, rows: rows.to_vec(), groups, drafted: None }
    }

    #[test]
    fn what_was_shown_is_logged_with_what_was_declared() {
        let ids = ["b", "a", "gone"].map(str::to_owned).to_vec();
        let slate = slate(&funnel(), told(ids, &[1, 0, 2], &[])).unwrap();
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
        assert!((20_000..10_000_000).contains(&slate.elapsed_us), "{}", slate.elapsed_us);
        assert_eq!(slate.cost_us, 4200);
    }

    #[test]
    fn without_a_table_there_is_nothing_to_log() {
        let funnel = Funnel { table: None, ..funnel() };
        assert_eq!(slate(&funnel, told(vec!["a".to_owned()], &[0], &[])), None);
        let shown = slate(&funnel, told(Vec::new(), &[], &["exp:control"])).unwrap();
        assert_eq!((shown.groups, shown.items.len()), (vec!["exp:control".to_owned()], 0), "nothing was shown");
        assert_eq!((shown.elapsed_us >= 20_000, shown.cost_us), (true, 4200), "and what it took");
    }

    #[test]
    fn who_drafted_the_places_is_logged_with_them() {
        let ids = || ["b", "a", "gone"].map(str::to_owned).to_vec();
        let draft =
            |experiment: &str, teams: &[Team]| Draft { experiment: experiment.to_owned(), teams: teams.to_vec() };
        let all = [Team::Treatment, Team::Nobody, Team::Control];
        let drafted = |rows: &[u32], draft: Draft| {
            let told = Told { drafted: Some(draft), ..told(ids(), rows, &["exp:interleaved"]) };
            let slate = slate(&funnel(), told).unwrap();
            (slate.items.len(), slate.drafted.into_iter().map(|draft| draft.teams).next())
        };
        assert_eq!(drafted(&[], draft("exp", &all)), (3, Some(vec![2, 0, 1])));
        assert_eq!(drafted(&[1, 2, 0], draft("exp", &all)), (2, Some(vec![2, 1])), "one has no row");
        assert_eq!(drafted(&[1, 0], draft("exp", &all)), (2, Some(vec![2, 0])));
        assert_eq!(drafted(&[1, 0, 2], draft("exp", &all[..2])), (2, None));
        assert_eq!(drafted(&[], draft("exp", &[])), (3, None));
        assert_eq!(drafted(&[], draft("no id", &all)), (3, None));
    }
}
