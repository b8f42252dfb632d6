//! What a user's preferences are learnt from: the category and tags of the items
//! that they acted on.

use serde::Deserialize;

use crate::limits;

/// An action moves the preference for the item's category by its weight.
const CATEGORY_SHARE: f32 = 1.0;
/// And for each of its tags by half of it: an item has one category and several
/// tags, each of which says less.
const TAG_SHARE: f32 = 0.5;

/// What an item says about those who like it. Anything that is not text is passed
/// over.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
pub struct Facts {
    #[serde(default)]
    metadata: Metadata,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
struct Metadata {
    #[serde(default)]
    category: Option<String>,
    #[serde(default)]
    tags: Option<Vec<String>>,
}

impl Facts {
    /// Of a stored item.
    #[must_use]
    pub fn of(body: &str) -> Self {
        // An item is checked when it is written.
        serde_json::from_str(body).unwrap_or_default()
    }

    /// What an action of this weight adds to the user's preferences: field
    /// (`category`, `tags`), value, how much.
    #[must_use]
    pub fn preferences(&self, weight: f32) -> Vec<(String, String, f32)> {
        let category = self.metadata.category.iter().map(|value| ("category", value, CATEGORY_SHARE));
        let tags = self.metadata.tags.iter().flatten().map(|value| ("tags", value, TAG_SHARE));
        // The host refuses others; a catalogue may have come another way than ours.
        let named = category.chain(tags).filter(|(_, value, _)| (1..=limits::TERM_BYTES).contains(&value.len()));
        named
            .take(1 + limits::ITEM_TAGS)
            .map(|(field, value, share)| (field.to_owned(), value.clone(), weight * share))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn category_and_tags_are_learnt_from() {
        let facts = Facts::of(r#"{"item_id":"i","metadata":{"category":"c","tags":["a",""],"n":1}}"#);
        let of = |field: &str, value: &str, amount| (field.to_owned(), value.to_owned(), amount);
        assert_eq!(facts.preferences(4.0), [of("category", "c", 4.0), of("tags", "a", 2.0)]);
    }

    #[test]
    fn what_an_item_does_not_say_is_passed_over() {
        assert_eq!(Facts::of("{}"), Facts::default());
        assert_eq!(Facts::of(r#"{"metadata":{"category":null,"tags":null}}"#), Facts::default());
    }
}
