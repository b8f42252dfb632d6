//! Giving a stage the columns it asked for and no others.

use funnelweb_bindings::types::{ColumnKind, ColumnSpec, Table};

/// The part of a table that `asked` names. A column that the table does not
/// have is left out: the stage treats it as missing.
pub(crate) fn narrow(table: &Table, asked: &[ColumnSpec]) -> Table {
    let wants =
        |name: &String, kinds: &[ColumnKind]| asked.iter().any(|spec| spec.name == *name && kinds.contains(&spec.kind));
    let numeric = positions(&table.numeric_names, |name| wants(name, &[ColumnKind::Numeric, ColumnKind::Timestamp]));
    let categorical = positions(&table.categorical_names, |name| wants(name, &[ColumnKind::Categorical]));
    let multi = positions(&table.multi_names, |name| wants(name, &[ColumnKind::MultiCategorical]));
    let embedding = asked.iter().any(|spec| spec.kind == ColumnKind::Embedding);
    let (multi_offsets, multi_values) = cells(table, &multi);
    Table {
        rows: table.rows,
        numeric: columns(&table.numeric, table.numeric_names.len(), &numeric),
        numeric_names: names(&table.numeric_names, &numeric),
        categorical: columns(&table.categorical, table.categorical_names.len(), &categorical),
        categorical_names: names(&table.categorical_names, &categorical),
        multi_names: names(&table.multi_names, &multi),
        multi_offsets,
        multi_values,
        embedding_dim: if embedding { table.embedding_dim } else { 0 },
        embeddings: if embedding { table.embeddings.clone() } else { Vec::new() },
    }
}

/// A table of nothing.
pub(crate) fn empty() -> Table {
    Table {
        rows: 0,
        numeric_names: Vec::new(),
        numeric: Vec::new(),
        categorical_names: Vec::new(),
        categorical: Vec::new(),
        multi_names: Vec::new(),
        multi_offsets: Vec::new(),
        multi_values: Vec::new(),
        embedding_dim: 0,
        embeddings: Vec::new(),
    }
}

/// The table, with an empty one in its place.
pub(crate) fn take(table: &mut Table) -> Table {
    std::mem::replace(table, empty())
}

fn positions(names: &[String], wanted: impl Fn(&String) -> bool) -> Vec<usize> {
    names.iter().enumerate().filter(|(_, name)| wanted(name)).map(|(at, _)| at).collect()
}

fn names(names: &[String], at: &[usize]) -> Vec<String> {
    at.iter().filter_map(|at| names.get(*at).cloned()).collect()
}

fn columns<T: Copy>(cells: &[T], width: usize, at: &[usize]) -> Vec<T> {
    if at.is_empty() {
        return Vec::new();
    }
    cells.chunks_exact(width).flat_map(|row| at.iter().filter_map(|at| row.get(*at).copied())).collect()
}

fn cells(table: &Table, at: &[usize]) -> (Vec<u32>, Vec<u32>) {
    if at.is_empty() {
        return (Vec::new(), Vec::new());
    }
    let width = table.multi_names.len();
    let (mut offsets, mut values) = (vec![0], Vec::new());
    for row in 0..table.rows as usize {
        for column in at {
            let cell = row * width + column;
            if let Some([from, to]) = table.multi_offsets.get(cell..cell + 2) {
                values.extend_from_slice(table.multi_values.get(*from as usize..*to as usize).unwrap_or_default());
            }
            offsets.push(u32::try_from(values.len()).unwrap_or(u32::MAX));
        }
    }
    (offsets, values)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(name: &str, kind: ColumnKind) -> ColumnSpec {
        ColumnSpec { name: name.to_owned(), kind }
    }

    #[test]
    fn only_what_was_asked_for_is_left() {
        let table = Table {
            rows: 2,
            numeric_names: vec!["a".into(), "b".into()],
            numeric: vec![1.0, 2.0, 3.0, 4.0],
            categorical_names: vec!["c".into()],
            categorical: vec![5, 6],
            multi_names: vec!["s".into(), "t".into()],
            multi_offsets: vec![0, 1, 3, 3, 4],
            multi_values: vec![10, 20, 21, 30],
            embedding_dim: 1,
            embeddings: vec![0.1, 0.2],
        };
        let asked =
            [spec("b", ColumnKind::Numeric), spec("t", ColumnKind::MultiCategorical), spec("c", ColumnKind::Numeric)];
        let narrowed = narrow(&table, &asked);
        assert_eq!(narrowed.numeric, [2.0, 4.0]);
        assert!(narrowed.categorical.is_empty() && narrowed.categorical_names.is_empty(), "asked with another kind");
        assert_eq!((narrowed.multi_offsets, narrowed.multi_values), (vec![0, 2, 3], vec![20, 21, 30]));
        assert_eq!(narrowed.embedding_dim, 0);
        assert_eq!(narrow(&table, &[spec("x", ColumnKind::Embedding)]).embeddings, [0.1, 0.2]);
    }
}
