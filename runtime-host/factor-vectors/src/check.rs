//! What the calls of every backend of [`Vectors`](crate::store::Vectors) must be,
//! before the store is asked. The errors name the argument and the rule.

use funnelweb_core::limits;
use funnelweb_vector_index as index;

use crate::store::{Error, Filter};

/// What names a space: `[A-Za-z0-9_.@:-]`, 1 to [`limits::SPACE_NAME_BYTES`] long, and
/// neither `.` nor `..`.
///
/// # Errors
/// `invalid`.
pub fn names(scenario_id: &str, space: &str) -> Result<(), Error> {
    Error::check_id("scenario-id", scenario_id)?;
    Error::check_count("space", space.len(), 1, limits::SPACE_NAME_BYTES)?;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_.@:-".contains(&byte);
    if !space.bytes().all(plain) || matches!(space, "." | "..") {
        let rule = format_args!("may hold letters, digits and `_ . @ : -`, and not be `.` or `..`, got {space:?}");
        return Err(Error::invalid("space", rule));
    }
    Ok(())
}

/// `get`.
///
/// # Errors
/// `invalid`.
pub fn get(scenario_id: &str, space: &str, handles: &[u64]) -> Result<(), Error> {
    names(scenario_id, space)?;
    Error::check_count("handles", handles.len(), 0, limits::VECTOR_HANDLES)
}

/// `query`, except for the dimension, see [`vector`].
///
/// # Errors
/// `invalid`.
pub fn query(scenario_id: &str, space: &str, vector: &[f32], limit: u32, filter: &Filter) -> Result<(), Error> {
    names(scenario_id, space)?;
    if !(1..=limits::VECTOR_HITS).contains(&(limit as usize)) {
        return Err(Error::invalid("limit", format_args!("must be 1 to {}, got {limit}", limits::VECTOR_HITS)));
    }
    if let Filter::Except(handles) | Filter::Only(handles) = filter {
        Error::check_count("filter", handles.len(), 0, limits::VECTOR_FILTER)?;
    }
    Error::check_count("vector", vector.len(), 1, limits::EMBEDDING_VALUES)?;
    self::vector("vector", vector.len(), vector)
}

/// `create`.
///
/// # Errors
/// `invalid`.
pub fn create(scenario_id: &str, space: &str, dimension: u32) -> Result<(), Error> {
    names(scenario_id, space)?;
    if !(1..=limits::EMBEDDING_VALUES).contains(&(dimension as usize)) {
        let rule = format_args!("must be 1 to {}, got {dimension}", limits::EMBEDDING_VALUES);
        return Err(Error::invalid("dimension", rule));
    }
    Ok(())
}

/// `upsert` and, without values, `delete`.
///
/// # Errors
/// `invalid`.
pub fn change(scenario_id: &str, space: &str, handles: &[u64]) -> Result<(), Error> {
    names(scenario_id, space)?;
    Error::check_count("handles", handles.len(), 0, limits::VECTOR_BATCH)
}

/// The values of an `upsert` to a space of this dimension.
///
/// # Errors
/// `invalid`.
pub fn values(dimension: usize, handles: &[u64], values: &[f32]) -> Result<(), Error> {
    let expected = handles.len() * dimension;
    if values.len() != expected {
        let rule = format_args!("must be {expected} long (handles * dimension), got {}", values.len());
        return Err(Error::invalid("values", rule));
    }
    let mut rows = handles.iter().zip(values.chunks_exact(dimension.max(1)));
    rows.try_for_each(|(handle, row)| vector(format_args!("values of {handle:#018x}"), dimension, row))
}

/// A vector that is to be kept in, or compared with those of, a space of this
/// dimension: of that length, finite, not zero, and neither so short nor so long that
/// products with it vanish or overflow.
///
/// # Errors
/// `invalid` about the argument `name`.
pub fn vector(name: impl std::fmt::Display, dimension: usize, vector: &[f32]) -> Result<(), Error> {
    let invalid = |rule: &dyn std::fmt::Display| Error::invalid(&name, rule);
    // Vectors are the same for every metric.
    let space = index::Space::new(dimension, index::Metric::Cosine).map_err(|rule| invalid(&rule))?;
    space.check(vector).map(|_| ()).map_err(|rule| invalid(&rule))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_safe_in_a_path() {
        let longest = "x".repeat(limits::SPACE_NAME_BYTES);
        for name in ["embedding", "factors-items@17", "a.b:c_D-1", "...", &longest] {
            assert_eq!(names("feed", name), Ok(()), "{name}");
        }
        for name in ["", ".", "..", "a/b", "a b", "ä", "a\\b", "a\0", &format!("{longest}x")] {
            assert!(names("feed", name).unwrap_err().to_string().starts_with("space: "), "{name}");
        }
        assert!(names("a/b", "embedding").unwrap_err().to_string().starts_with("scenario-id: "));
    }
}
