//! Conditions on an item's fields.

use funnelweb_core::id;
use funnelweb_guest::{
    params,
    table::{Multi, Numeric},
    types::{ColumnKind, ParamError, Table},
};
use serde::Deserialize;

/// The most values of one `in`.
const IN_VALUES: usize = 100;

/// A `where`: one field and one operator.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Condition {
    /// A field of the item's metadata.
    pub field: String,
    /// The field has this value.
    pub equals: Option<Scalar>,
    /// The field has one of these, all strings and booleans or all numbers; 1 to
    /// 100.
    #[serde(rename = "in")]
    pub any_of: Option<Vec<Scalar>>,
    /// The number is greater.
    pub above: Option<f32>,
    /// The number is less.
    pub below: Option<f32>,
    /// Whether the item lacks the field.
    pub missing: Option<bool>,
}

/// A value of a condition.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(untagged, expecting = "must be a string, a number or a boolean")]
pub enum Scalar {
    /// `true`, `false`
    Boolean(bool),
    /// Compared as `f32`, as items are.
    Number(f32),
    /// Compared as a whole.
    Text(String),
}

impl Scalar {
    /// How it stands in a categorical column; None for a number.
    fn hash(&self) -> Option<u32> {
        match self {
            Self::Boolean(true) => Some(id::value_hash("true")),
            Self::Boolean(false) => Some(id::value_hash("false")),
            Self::Text(text) => Some(id::value_hash(text)),
            Self::Number(_) => None,
        }
    }

    fn number(&self) -> Option<f32> {
        if let Self::Number(number) = self { Some(*number) } else { None }
    }
}

/// A condition's operator, ready to be tried.
#[derive(Debug)]
enum Test {
    Values(Vec<u32>),
    Numbers(Vec<f32>),
    Above(f32),
    Below(f32),
    Missing(bool),
}

impl Condition {
    /// Checks the field's name, and that there is one operator with values of one
    /// kind; `path` is that of the condition.
    ///
    /// # Errors
    /// With the JSON pointer of what does not fit.
    pub fn check(&self, path: &str) -> Result<(), ParamError> {
        params::check_field(&format!("{path}/field"), &self.field)?;
        let operators = [
            self.equals.is_some(),
            self.any_of.is_some(),
            self.above.is_some(),
            self.below.is_some(),
            self.missing.is_some(),
        ];
        let given = operators.into_iter().filter(|given| *given).count();
        if given != 1 {
            let message = format!("must have one of `equals`, `in`, `above`, `below`, `missing`, got {given} of them");
            return Err(params::refuse(path, message));
        }
        if let Some(values) = &self.any_of {
            params::check_range(&format!("{path}/in"), values.len(), 1..=IN_VALUES)?;
        }
        let numbers =
            [("equals", self.equals.as_ref().and_then(Scalar::number)), ("above", self.above), ("below", self.below)];
        for (name, number) in numbers {
            if number.is_some_and(|number| !number.is_finite()) {
                return Err(params::refuse(format!("{path}/{name}"), "must be a number that an f32 holds"));
            }
        }
        if self.test().is_none() {
            return Err(params::refuse(format!("{path}/in"), "must be all numbers, or all strings and booleans"));
        }
        Ok(())
    }

    /// The kind of column it reads.
    #[must_use]
    pub fn kind(&self) -> ColumnKind {
        match self.test() {
            Some(Test::Numbers(_) | Test::Above(_) | Test::Below(_)) => ColumnKind::Numeric,
            Some(Test::Values(_) | Test::Missing(_)) | None => ColumnKind::MultiCategorical,
        }
    }

    /// The operator; None when there is none, or values of both kinds.
    fn test(&self) -> Option<Test> {
        let scalars = self.equals.as_ref().map(std::slice::from_ref).or(self.any_of.as_deref());
        if let Some(scalars) = scalars {
            let values: Option<Vec<u32>> = scalars.iter().map(Scalar::hash).collect();
            let numbers = || scalars.iter().map(Scalar::number).collect::<Option<Vec<f32>>>();
            return values.map(Test::Values).or_else(|| numbers().map(Test::Numbers));
        }
        let number = self.above.map(Test::Above).or(self.below.map(Test::Below));
        number.or(self.missing.map(Test::Missing))
    }

    /// The condition over a table's rows.
    #[must_use]
    pub fn over<'a>(&self, items: &'a Table) -> Matcher<'a> {
        Matcher {
            test: self.test(),
            numbers: items.numeric_column(&self.field),
            values: items.multi_column(&self.field),
        }
    }
}

/// A condition with the columns it reads.
#[derive(Debug)]
pub struct Matcher<'a> {
    test: Option<Test>,
    numbers: Option<Numeric<'a>>,
    values: Option<Multi<'a>>,
}

impl Matcher<'_> {
    /// Whether the item of a row matches.
    #[must_use]
    pub fn matches(&self, row: usize) -> bool {
        let values = self.values.map_or(&[][..], |column| column.get(row));
        // NaN, for a missing number, compares as false.
        let number = self.numbers.map_or(f32::NAN, |column| column.get(row));
        match &self.test {
            Some(Test::Values(wanted)) => values.iter().any(|value| wanted.contains(value)),
            Some(Test::Numbers(wanted)) => wanted.contains(&number),
            Some(Test::Above(least)) => number > *least,
            Some(Test::Below(most)) => number < *most,
            Some(Test::Missing(missing)) => values.is_empty() == *missing,
            None => false,
        }
    }
}
