//! What a stage promises, checked after every call: as many scores as
//! candidates, finite, only offered items, each once. The error says which
//! promise was broken.

use funnelweb_core::{handles::HandleSet, limits};

use crate::types::Table;

/// A ranker's scores: one per candidate, finite.
///
/// # Errors
/// The promise that was broken.
pub fn scores(scores: &[f32], candidates: usize) -> Result<(), String> {
    if scores.len() != candidates {
        return Err(format!("{} scores for {candidates} candidates", scores.len()));
    }
    match scores.iter().position(|score| !score.is_finite()) {
        Some(at) => Err(format!("score {at} is not finite")),
        None => Ok(()),
    }
}

/// A recall channel's answer: two lists of the same length, at most `limit`
/// long, scores finite, each handle once.
///
/// # Errors
/// The promise that was broken.
pub fn recalled(handles: &[u64], found: &[f32], limit: u32) -> Result<(), String> {
    if handles.len() > limit as usize {
        return Err(format!("{} candidates for a limit of {limit}", handles.len()));
    }
    scores(found, handles.len())?;
    let mut seen = HandleSet::with_capacity_and_hasher(handles.len(), Default::default());
    match handles.iter().position(|handle| !seen.insert(*handle)) {
        Some(at) => Err(format!("candidate {at} stands twice")),
        None => Ok(()),
    }
}

/// A rerank rule's answer: every offered candidate exactly once, kept or
/// removed, and a finite score for each that was kept.
///
/// # Errors
/// The promise that was broken.
pub fn reranked(offered: &[u64], kept: &[u64], found: &[f32], removed: &[u64]) -> Result<(), String> {
    scores(found, kept.len())?;
    partition(offered, kept, removed)
}

/// Every offered handle stands exactly once in `kept` or `removed`.
///
/// # Errors
/// The promise that was broken.
pub fn partition(offered: &[u64], kept: &[u64], removed: &[u64]) -> Result<(), String> {
    let mut left: HandleSet = offered.iter().copied().collect();
    if let Some(at) = kept.iter().chain(removed).position(|handle| !left.remove(handle)) {
        return Err(format!("answer {at} was not offered, or stands twice"));
    }
    if left.is_empty() { Ok(()) } else { Err(format!("{} candidates are lost", left.len())) }
}

/// A table is as large as it says, has no infinity, its cells lie inside, and it
/// has neither more columns nor longer names than fit the limits.
///
/// # Errors
/// The promise that was broken.
pub fn table(table: &Table) -> Result<(), String> {
    let names = || table.numeric_names.iter().chain(&table.categorical_names).chain(&table.multi_names);
    let within = |what: &str, got: usize, limit: usize| {
        if got <= limit { Ok(()) } else { Err(format!("{got} {what}, {limit} is the most")) }
    };
    within("columns", names().count(), limits::TABLE_COLUMNS)?;
    within("bytes in a column's name", names().map(String::len).max().unwrap_or_default(), limits::NAME_BYTES)?;
    within("values in an embedding", table.embedding_dim as usize, limits::EMBEDDING_VALUES)?;
    let rows = table.rows as usize;
    let sized = |what: &str, got: usize, columns: usize| {
        if got == rows * columns { Ok(()) } else { Err(format!("{got} {what} cells for {rows} rows of {columns}")) }
    };
    sized("numeric", table.numeric.len(), table.numeric_names.len())?;
    sized("categorical", table.categorical.len(), table.categorical_names.len())?;
    sized("embedding", table.embeddings.len(), table.embedding_dim as usize)?;
    if table.numeric.iter().chain(&table.embeddings).any(|value| value.is_infinite()) {
        return Err("a numeric cell is infinite".to_owned());
    }
    let offsets = &table.multi_offsets;
    let cells = rows * table.multi_names.len();
    let right_length = offsets.len() == cells + 1 || (cells == 0 && offsets.is_empty());
    let ascending = offsets.first().is_none_or(|first| *first == 0) && offsets.is_sorted();
    let end = offsets.last().map_or(0, |last| *last as usize);
    if !right_length || !ascending || end != table.multi_values.len() {
        return Err("the offsets of the multi-categorical cells do not fit".to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_are_complete_and_finite() {
        assert!(scores(&[1.0, -2.0], 2).is_ok());
        assert!(scores(&[1.0], 2).is_err());
        assert!(scores(&[1.0, f32::NAN], 2).is_err());
        assert!(scores(&[1.0, f32::INFINITY], 2).is_err());
    }

    #[test]
    fn recall_keeps_its_limit_and_repeats_nothing() {
        assert!(recalled(&[1, 2], &[0.5, 0.4], 2).is_ok());
        assert!(recalled(&[1, 2], &[0.5, 0.4], 1).is_err());
        assert!(recalled(&[1, 1], &[0.5, 0.4], 2).is_err());
        assert!(recalled(&[1, 2], &[0.5], 2).is_err());
    }

    #[test]
    fn rerank_is_a_partition() {
        assert!(reranked(&[1, 2, 3], &[3, 1], &[1.0, 0.0], &[2]).is_ok());
        assert!(reranked(&[1, 2, 3], &[3, 1], &[1.0, 0.0], &[]).is_err(), "lost");
        assert!(reranked(&[1, 2], &[1, 2, 9], &[1.0; 3], &[]).is_err(), "invented");
        assert!(reranked(&[1, 2], &[1, 1], &[1.0; 2], &[2]).is_err(), "twice");
        assert!(reranked(&[1, 2], &[1, 2], &[1.0; 2], &[2]).is_err(), "kept and removed");
    }

    #[test]
    fn tables_fit_their_names() {
        let good = Table {
            rows: 2,
            numeric_names: vec!["a".into()],
            numeric: vec![1.0, f32::NAN],
            categorical_names: vec![],
            categorical: vec![],
            multi_names: vec!["t".into()],
            multi_offsets: vec![0, 1, 1],
            multi_values: vec![7],
            embedding_dim: 0,
            embeddings: vec![],
        };
        assert_eq!(table(&good), Ok(()));
        assert!(table(&Table { rows: 3, ..good.clone() }).is_err());
        assert!(table(&Table { numeric: vec![1.0, f32::INFINITY], ..good.clone() }).is_err());
        assert!(table(&Table { multi_offsets: vec![0, 2, 1], ..good.clone() }).is_err());
        assert!(table(&Table { multi_values: vec![], ..good }).is_err());
    }

    /// A table of two rows in which nothing is missing.
    fn sized(numeric_names: Vec<String>, categorical: usize, multi: usize, embedding_dim: usize) -> Table {
        let names = |count: usize| (0..count).map(|at| at.to_string()).collect();
        Table {
            rows: 2,
            numeric: vec![1.0; 2 * numeric_names.len()],
            numeric_names,
            categorical_names: names(categorical),
            categorical: vec![0; 2 * categorical],
            multi_names: names(multi),
            multi_offsets: vec![0; 2 * multi + 1],
            multi_values: vec![],
            embedding_dim: u32::try_from(embedding_dim).unwrap(),
            embeddings: vec![1.0; 2 * embedding_dim],
        }
    }

    #[test]
    fn tables_have_so_many_columns() {
        let most = limits::TABLE_COLUMNS;
        let plain = |count: usize| (0..count).map(|at| at.to_string()).collect::<Vec<_>>();
        // Of one kind, or of all of them.
        assert_eq!(table(&sized(plain(most), 0, 0, 0)), Ok(()));
        assert_eq!(table(&sized(plain(most - 20), 10, 10, 0)), Ok(()));
        for (numeric, categorical, multi) in [(most + 1, 0, 0), (0, most + 1, 0), (0, 0, most + 1), (most - 19, 10, 10)]
        {
            let refused = table(&sized(plain(numeric), categorical, multi, 0)).unwrap_err();
            assert_eq!(refused, format!("{} columns, {most} is the most", most + 1));
        }
    }

    #[test]
    fn names_and_embeddings_are_so_long() {
        let named = |bytes: usize| table(&sized(vec!["x".repeat(bytes)], 0, 0, 0));
        assert_eq!(named(limits::NAME_BYTES), Ok(()));
        assert!(named(limits::NAME_BYTES + 1).unwrap_err().contains("bytes in a column's name"));
        let wide = |values: usize| table(&sized(vec![], 0, 0, values));
        assert_eq!(wide(limits::EMBEDDING_VALUES), Ok(()));
        assert!(wide(limits::EMBEDDING_VALUES + 1).unwrap_err().contains("values in an embedding"));
    }
}
