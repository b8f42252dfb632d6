//! Giving a stage what it asked for and nothing else.

use crate::{
    dispatch::Allowance,
    types::{ColumnKind, ColumnSpec, Personal, RequestContext, Table, User},
};

/// Begins the names of columns of the request's context; those of the profile have no such
/// begin.
const OF_CONTEXT: &str = "context:";

/// The part of a table that `asked` names. A column that the table does not
/// have is left out: the stage treats it as missing.
#[must_use]
pub fn narrow(table: &Table, asked: &[ColumnSpec]) -> Table {
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

/// The columns of items that a component asks for and the scenario lets it see.
#[must_use]
pub fn allowed(asked: &[ColumnSpec], allowance: &Allowance) -> Vec<ColumnSpec> {
    let may = |column: &&ColumnSpec| allowance.fields.as_ref().is_none_or(|fields| fields.contains(&column.name));
    asked.iter().filter(may).cloned().collect()
}

/// The same of the user's row: what stands in the profile is the user's `attributes`, what
/// stands in the request its `context`.
#[must_use]
pub fn allowed_of_user(asked: &[ColumnSpec], allowance: &Allowance) -> Vec<ColumnSpec> {
    let part = |name: &str| if name.starts_with(OF_CONTEXT) { Personal::SITUATION } else { Personal::ATTRIBUTES };
    let may = |column: &&ColumnSpec| allowance.personal.contains(part(&column.name));
    asked.iter().filter(may).cloned().collect()
}

/// A table of nothing.
#[must_use]
pub fn empty() -> Table {
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
pub fn take(table: &mut Table) -> Table {
    std::mem::replace(table, empty())
}

/// The part of a context that a stage asked for.
#[must_use]
pub fn part(context: &RequestContext, personal: Personal) -> RequestContext {
    fn given<T: Clone>(asked: bool, list: &[T]) -> Vec<T> {
        if asked { list.to_vec() } else { Vec::new() }
    }
    let user = &context.user;
    RequestContext {
        scenario_id: context.scenario_id.clone(),
        user: User {
            id: if personal.contains(Personal::ID) { user.id.clone() } else { String::new() },
            attributes: given(personal.contains(Personal::ATTRIBUTES), &user.attributes),
            preferences: given(personal.contains(Personal::PREFERENCES), &user.preferences),
            recent: given(personal.contains(Personal::RECENT), &user.recent),
            recent_weights: given(personal.contains(Personal::RECENT), &user.recent_weights),
        },
        context: given(personal.contains(Personal::SITUATION), &context.context),
        now_ms: context.now_ms,
        count: context.count,
        seed: context.seed,
    }
}

impl Table {
    /// The names of its columns; that of embeddings is not among them.
    #[must_use]
    pub fn columns(&self) -> Vec<&str> {
        let names = self.numeric_names.iter().chain(&self.categorical_names).chain(&self.multi_names);
        names.map(String::as_str).collect()
    }

    /// These rows of it, in this order.
    #[must_use]
    pub fn rows(&self, rows: &[usize]) -> Self {
        fn of<T: Copy>(cells: &[T], width: usize, rows: &[usize]) -> Vec<T> {
            rows.iter().flat_map(|row| cells.get(row * width..(row + 1) * width).unwrap_or_default()).copied().collect()
        }
        let mut table = Self {
            rows: u32::try_from(rows.len()).unwrap_or(u32::MAX),
            numeric_names: self.numeric_names.clone(),
            numeric: of(&self.numeric, self.numeric_names.len(), rows),
            categorical_names: self.categorical_names.clone(),
            categorical: of(&self.categorical, self.categorical_names.len(), rows),
            embedding_dim: self.embedding_dim,
            embeddings: of(&self.embeddings, self.embedding_dim as usize, rows),
            ..empty()
        };
        let rows: Vec<Option<usize>> = rows.iter().map(|row| Some(*row)).collect();
        table.join_multi(self, &rows);
        table
    }

    /// Adds the columns of another table, whose row `i` is of row `found[i]` of this one;
    /// they are missing in the others.
    pub fn join(&mut self, other: &Self, found: &[u32]) {
        let rows = self.rows as usize;
        let mut row_of: Vec<Option<usize>> = vec![None; rows];
        for (row, at) in found.iter().enumerate() {
            if let Some(of) = row_of.get_mut(*at as usize) {
                *of = Some(row);
            }
        }
        let widths = (self.numeric_names.len(), other.numeric_names.len());
        self.numeric = joined(&self.numeric, &other.numeric, widths, &row_of, f32::NAN);
        self.numeric_names.extend(other.numeric_names.iter().cloned());
        let widths = (self.categorical_names.len(), other.categorical_names.len());
        self.categorical = joined(&self.categorical, &other.categorical, widths, &row_of, 0);
        self.categorical_names.extend(other.categorical_names.iter().cloned());
        self.join_multi(other, &row_of);
        if self.embedding_dim == 0 && other.embedding_dim > 0 {
            let dim = other.embedding_dim as usize;
            self.embeddings = joined(&[], &other.embeddings, (0, dim), &row_of, f32::NAN);
            self.embedding_dim = other.embedding_dim;
        }
    }

    fn join_multi(&mut self, other: &Self, row_of: &[Option<usize>]) {
        if other.multi_names.is_empty() {
            return;
        }
        let (mut offsets, mut values) = (vec![0], Vec::new());
        let mut add = |table: &Self, row: Option<usize>| {
            let width = table.multi_names.len();
            for column in 0..width {
                let cell = row.map(|row| row * width + column);
                if let Some([from, to]) = cell.and_then(|cell| table.multi_offsets.get(cell..cell + 2)) {
                    values.extend_from_slice(table.multi_values.get(*from as usize..*to as usize).unwrap_or_default());
                }
                offsets.push(u32::try_from(values.len()).unwrap_or(u32::MAX));
            }
        };
        for (row, of) in row_of.iter().enumerate() {
            add(self, Some(row));
            add(other, *of);
        }
        (self.multi_offsets, self.multi_values) = (offsets, values);
        self.multi_names.extend(other.multi_names.iter().cloned());
    }
}

/// The cells of two tables side by side, row by row.
fn joined<T: Copy>(
    one: &[T],
    other: &[T],
    (width, other_width): (usize, usize),
    row_of: &[Option<usize>],
    missing: T,
) -> Vec<T> {
    let mut cells = Vec::with_capacity(row_of.len() * (width + other_width));
    for (row, of) in row_of.iter().enumerate() {
        cells.extend_from_slice(one.get(row * width..(row + 1) * width).unwrap_or_default());
        match of.and_then(|of| other.get(of * other_width..(of + 1) * other_width)) {
            Some(found) => cells.extend_from_slice(found),
            None => cells.extend(std::iter::repeat_n(missing, other_width)),
        }
    }
    cells
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
    fn a_scenario_says_what_may_be_seen() {
        let asked = ["price", "cost"].map(|name| spec(name, ColumnKind::Numeric));
        let all = Allowance { personal: Personal::empty(), fields: None };
        assert_eq!(allowed(&asked, &all).len(), 2);
        let some = Allowance { fields: Some(vec!["price".to_owned()]), ..all };
        assert!(matches!(allowed(&asked, &some).as_slice(), [column] if column.name == "price"));
        let of_user = ["age", "context:hour"].map(|name| spec(name, ColumnKind::Numeric));
        let names = |personal| {
            let allowance = Allowance { personal, fields: None };
            allowed_of_user(&of_user, &allowance).into_iter().map(|column| column.name).collect::<Vec<_>>()
        };
        assert!(names(Personal::PREFERENCES | Personal::ID).is_empty());
        assert_eq!(names(Personal::ATTRIBUTES), ["age"]);
        assert_eq!(names(Personal::SITUATION), ["context:hour"]);
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

    #[test]
    fn columns_of_another_table_are_added_where_they_are_known() {
        let mut table = Table {
            rows: 2,
            numeric_names: vec!["a".into()],
            numeric: vec![1.0, 2.0],
            multi_names: vec!["s".into()],
            multi_offsets: vec![0, 1, 1],
            multi_values: vec![7],
            ..empty()
        };
        let other = Table {
            rows: 1,
            numeric_names: vec!["b".into(), "c".into()],
            numeric: vec![3.0, 4.0],
            categorical_names: vec!["d".into()],
            categorical: vec![5],
            multi_names: vec!["t".into()],
            multi_offsets: vec![0, 2],
            multi_values: vec![8, 9],
            embedding_dim: 1,
            embeddings: vec![0.5],
        };
        table.join(&other, &[1]);
        assert_eq!(table.columns(), ["a", "b", "c", "d", "s", "t"]);
        assert!(matches!(table.numeric.as_slice(), [1.0, x, y, 2.0, 3.0, 4.0] if x.is_nan() && y.is_nan()));
        assert_eq!(table.categorical, [0, 5]);
        assert_eq!(
            (table.multi_offsets.as_slice(), table.multi_values.as_slice()),
            (&[0, 1, 1, 1, 3][..], &[7, 8, 9][..])
        );
        assert!(table.embeddings[0].is_nan() && table.embeddings[1] == 0.5);
        assert_eq!(crate::contract::table(&table), Ok(()));
    }
}
