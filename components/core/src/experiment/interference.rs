//! Which experiments cannot run at once: those whose users may be the same, and that
//! change the same thing. What came of one of them could not be told from what came of the
//! other.

use serde_json::{Map, Value};

use super::Group;

/// The first field of the config that a group of one changes and one of the other too: the
/// place of the former group, and a path that begins with `config`.
#[must_use]
pub fn interference(one: &[Group], other: &[Group]) -> Option<(usize, String)> {
    one.iter().enumerate().find_map(|(at, group)| {
        let path = other.iter().find_map(|beside| common(&group.config, &beside.config, "config"));
        path.map(|path| (at, path))
    })
}

/// What one changes the other changes too when it is the same field, or a part of it.
fn common(one: &Map<String, Value>, other: &Map<String, Value>, path: &str) -> Option<String> {
    one.iter().find_map(|(name, change)| {
        let path = format!("{path}.{name}");
        match (change, other.get(name)?) {
            (Value::Object(one), Value::Object(other)) => common(one, other, &path),
            // Lists, values and what is taken out are one thing each.
            _ => Some(path),
        }
    })
}
