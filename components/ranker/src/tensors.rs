//! From tables to the cells of the graph's inputs, column by column: names are
//! looked up once a request, and nothing is allocated for a row.

use std::ops::Range;

use funnelweb_guest::{
    table::{Categorical, Multi, Numeric},
    types::Table,
};

use crate::{
    manifest::{Column, Encoding, Input, Source},
    vocabulary::Vocabulary,
};

/// A cell of an input: `float32` or `int64`.
pub trait Cell: Copy {
    /// Of a number.
    fn number(value: f32) -> Self;
    /// Of a place in a vocabulary.
    fn place(place: u32) -> Self;
}

impl Cell for f32 {
    fn number(value: f32) -> Self {
        value
    }

    fn place(place: u32) -> Self {
        place as Self
    }
}

impl Cell for i64 {
    fn number(value: f32) -> Self {
        value as Self
    }

    fn place(place: u32) -> Self {
        Self::from(place)
    }
}

/// An input whose columns were looked up in the tables of a request.
pub struct Bound<'a> {
    width: usize,
    columns: Vec<BoundColumn<'a>>,
}

struct BoundColumn<'a> {
    values: Values<'a>,
    /// All rows read the one row of the user.
    shared: bool,
}

/// A column's values, and what makes cells of them. One that its table lacks has
/// none: all are missing.
enum Values<'a> {
    Numbers { column: Option<Numeric<'a>>, missing: f32 },
    Place { column: Option<Categorical<'a>>, vocabulary: &'a Vocabulary },
    Places { column: Option<Multi<'a>>, vocabulary: &'a Vocabulary, length: usize },
}

impl<'a> Bound<'a> {
    /// Looks the columns of an input up.
    #[must_use]
    pub fn new(input: &'a Input, items: &'a Table, user: &'a Table) -> Self {
        Self { width: input.width, columns: input.columns.iter().map(|column| bind(column, items, user)).collect() }
    }

    /// Writes the cells of these rows to the beginning of `cells`, row after row.
    pub fn fill<T: Cell>(&self, rows: Range<usize>, cells: &mut [T]) {
        let mut at = 0;
        for column in &self.columns {
            let wide = column.values.width();
            let mut places = cells.chunks_exact_mut(self.width).filter_map(|row| row.get_mut(at..at + wide));
            if column.shared {
                if let Some(first) = places.next() {
                    column.values.write(0, first);
                    let first = &*first;
                    places.take(rows.len().saturating_sub(1)).for_each(|row| row.copy_from_slice(first));
                }
            } else {
                column.values.write_rows(rows.clone(), places);
            }
            at += wide;
        }
    }
}

fn bind<'a>(column: &'a Column, items: &'a Table, user: &'a Table) -> BoundColumn<'a> {
    let shared = matches!(column.source, Source::User | Source::Context);
    let (table, name) = (if shared { user } else { items }, &column.name);
    let values = match &column.encoding {
        Encoding::Number { missing } => Values::Numbers { column: table.numeric_column(name), missing: *missing },
        Encoding::Place(vocabulary) => Values::Place { column: table.categorical_column(name), vocabulary },
        Encoding::Places { vocabulary, length } => {
            Values::Places { column: table.multi_column(name), vocabulary, length: *length }
        }
    };
    BoundColumn { values, shared }
}

impl Values<'_> {
    /// Cells of a row.
    fn width(&self) -> usize {
        match self {
            Self::Numbers { .. } | Self::Place { .. } => 1,
            Self::Places { length, .. } => *length,
        }
    }

    fn write<T: Cell>(&self, row: usize, cells: &mut [T]) {
        self.write_rows(row..row + 1, std::iter::once(cells));
    }

    /// The kind of column is looked at once, not once a row.
    fn write_rows<'c, T: Cell + 'c>(&self, rows: Range<usize>, places: impl Iterator<Item = &'c mut [T]>) {
        match self {
            Self::Numbers { column, missing } => {
                for (row, cells) in rows.zip(places) {
                    let value = column.map_or(f32::NAN, |column| column.get(row));
                    cells.fill(T::number(if value.is_nan() { *missing } else { value }));
                }
            }
            Self::Place { column, vocabulary } => {
                for (row, cells) in rows.zip(places) {
                    cells.fill(T::place(vocabulary.place(column.map_or(0, |column| column.get(row)))));
                }
            }
            Self::Places { column, vocabulary, .. } => {
                for (row, cells) in rows.zip(places) {
                    let hashes = column.map_or(&[][..], |column| column.get(row));
                    let known = hashes.iter().map(|hash| vocabulary.place(*hash)).filter(|place| *place != 0);
                    let all = known.chain(std::iter::repeat(0));
                    cells.iter_mut().zip(all).for_each(|(cell, place)| *cell = T::place(place));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::Element;

    fn column(source: Source, name: &str, encoding: Encoding) -> Column {
        Column { source, name: name.to_owned(), encoding }
    }

    fn input(columns: Vec<Column>) -> Input {
        let width = columns.iter().map(|column| column.encoding.width()).sum();
        Input { tensor: "x".to_owned(), element: Element::Float32, columns, width }
    }

    fn vocabulary() -> Vocabulary {
        Vocabulary::new(&[11, 22, 33])
    }

    #[test]
    fn columns_become_cells_row_by_row() {
        let input = input(vec![
            column(Source::Item, "n", Encoding::Number { missing: -1.0 }),
            column(Source::Item, "c", Encoding::Place(vocabulary())),
            column(Source::Item, "m", Encoding::Places { vocabulary: vocabulary(), length: 2 }),
            column(Source::User, "age", Encoding::Number { missing: 0.0 }),
        ]);
        let items = Table::empty(3)
            .with_numeric("n", &[1.5, f32::NAN, 2.5])
            .with_categorical("c", &[22, 99, 0])
            .with_multi("m", &[vec![99, 33, 11, 22], vec![], vec![11]]);
        let user = Table::empty(1).with_numeric("age", &[30.0]);
        let bound = Bound::new(&input, &items, &user);
        let mut cells = [7.0_f32; 15];
        bound.fill(0..2, &mut cells[..10]);
        assert_eq!(cells, [1.5, 2.0, 3.0, 1.0, 30.0, -1.0, 0.0, 0.0, 0.0, 30.0, 7.0, 7.0, 7.0, 7.0, 7.0]);
        bound.fill(2..3, &mut cells);
        assert_eq!(cells[..5], [2.5, 0.0, 1.0, 0.0, 30.0]);
    }

    #[test]
    fn a_column_that_is_not_there_is_missing() {
        let input = input(vec![
            column(Source::Derived, "category:affinity", Encoding::Number { missing: f32::NAN }),
            column(Source::Context, "context:hour", Encoding::Number { missing: 3.0 }),
            column(Source::User, "c", Encoding::Place(vocabulary())),
            column(Source::Item, "m", Encoding::Places { vocabulary: vocabulary(), length: 1 }),
        ]);
        let mut cells = [7.0_f32; 4];
        Bound::new(&input, &Table::empty(1), &Table::empty(1)).fill(0..1, &mut cells);
        assert!(cells[0].is_nan());
        assert_eq!(cells[1..], [3.0, 0.0, 0.0]);
    }

    #[test]
    fn an_integer_input_has_places() {
        let input = input(vec![column(Source::Item, "c", Encoding::Place(vocabulary()))]);
        let items = Table::empty(2).with_categorical("c", &[33, 5]);
        let mut cells = [-1_i64; 2];
        Bound::new(&input, &items, &Table::empty(1)).fill(0..2, &mut cells);
        assert_eq!(cells, [3, 0]);
    }
}
