//! Reading the columns of a [`Table`](crate::types::Table) by name.

use crate::types::Table;

/// One column of numbers (numeric or timestamp), read row by row.
#[derive(Debug, Clone, Copy)]
pub struct Numeric<'a> {
    cells: &'a [f32],
    width: usize,
    at: usize,
}

impl Numeric<'_> {
    /// The value of a row; NaN when it is missing or the row does not exist.
    #[must_use]
    pub fn get(&self, row: usize) -> f32 {
        self.cells.get(row * self.width + self.at).copied().unwrap_or(f32::NAN)
    }
}

/// One column of categorical values.
#[derive(Debug, Clone, Copy)]
pub struct Categorical<'a> {
    cells: &'a [u32],
    width: usize,
    at: usize,
}

impl Categorical<'_> {
    /// The value of a row; 0 when it is missing.
    #[must_use]
    pub fn get(&self, row: usize) -> u32 {
        self.cells.get(row * self.width + self.at).copied().unwrap_or(0)
    }
}

/// One column of several categorical values per row.
#[derive(Debug, Clone, Copy)]
pub struct Multi<'a> {
    offsets: &'a [u32],
    values: &'a [u32],
    width: usize,
    at: usize,
}

impl<'a> Multi<'a> {
    /// The values of a row; empty when they are missing.
    #[must_use]
    pub fn get(&self, row: usize) -> &'a [u32] {
        let cell = row * self.width + self.at;
        match self.offsets.get(cell..cell + 2) {
            Some(&[from, to]) => self.values.get(from as usize..to as usize).unwrap_or_default(),
            _ => &[],
        }
    }
}

impl Table {
    /// The numeric or timestamp column of that name.
    #[must_use]
    pub fn numeric_column(&self, name: &str) -> Option<Numeric<'_>> {
        let at = self.numeric_names.iter().position(|other| other == name)?;
        Some(Numeric { cells: &self.numeric, width: self.numeric_names.len(), at })
    }

    /// The categorical column of that name.
    #[must_use]
    pub fn categorical_column(&self, name: &str) -> Option<Categorical<'_>> {
        let at = self.categorical_names.iter().position(|other| other == name)?;
        Some(Categorical { cells: &self.categorical, width: self.categorical_names.len(), at })
    }

    /// The multi-categorical column of that name.
    #[must_use]
    pub fn multi_column(&self, name: &str) -> Option<Multi<'_>> {
        let at = self.multi_names.iter().position(|other| other == name)?;
        Some(Multi { offsets: &self.multi_offsets, values: &self.multi_values, width: self.multi_names.len(), at })
    }

    /// The embedding of a row; None when there is none.
    #[must_use]
    pub fn embedding(&self, row: usize) -> Option<&[f32]> {
        let width = self.embedding_dim as usize;
        let values = self.embeddings.get(row * width..(row + 1) * width)?;
        values.first().is_some_and(|first| !first.is_nan()).then_some(values)
    }

    /// A table with no columns.
    #[must_use]
    pub fn empty(rows: u32) -> Self {
        Self {
            rows,
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
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_read_by_name_and_row() {
        let table = Table {
            numeric_names: vec!["a".into(), "b".into()],
            numeric: vec![1.0, 2.0, 3.0, 4.0],
            categorical_names: vec!["c".into()],
            categorical: vec![5, 0],
            multi_names: vec!["t".into()],
            multi_offsets: vec![0, 2, 2],
            multi_values: vec![8, 9],
            embedding_dim: 2,
            embeddings: vec![0.5, 0.5, f32::NAN, f32::NAN],
            ..Table::empty(2)
        };
        assert_eq!(table.numeric_column("b").unwrap().get(1), 4.0);
        assert!(table.numeric_column("b").unwrap().get(2).is_nan());
        assert!(table.numeric_column("x").is_none());
        assert_eq!(table.categorical_column("c").unwrap().get(0), 5);
        assert_eq!(table.multi_column("t").unwrap().get(0), [8, 9]);
        assert!(table.multi_column("t").unwrap().get(1).is_empty());
        assert!(table.multi_column("t").unwrap().get(9).is_empty());
        assert_eq!(table.embedding(0), Some(&[0.5, 0.5][..]));
        assert_eq!(table.embedding(1), None);
    }
}
