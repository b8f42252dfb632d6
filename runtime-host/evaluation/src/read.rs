//! Files and stores as [`Data`], with every behaviour and item kept as it is posted.

use std::{collections::HashMap, path::Path};

use funnelweb_core::{scenario::Behaviors, time};
use funnelweb_import::{Kind, Options};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::{
    Data, Features,
    error::{Error, Result},
};

/// What a recommender is given: behaviours and items in the words of the API, and
/// what of them is measured by.
#[derive(Debug, Default)]
pub struct Material {
    /// Users, items and events.
    pub data: Data,
    /// By event, the behaviour as it is posted.
    pub bodies: Vec<Box<str>>,
    /// Items as they are posted, each once.
    pub items: Vec<Box<str>>,
    /// By item's number, what it is like.
    likenesses: HashMap<u32, Likeness>,
}

/// What is compared of items.
#[derive(Debug, Default)]
struct Likeness {
    /// Where the item stands in [`Material::items`].
    at: usize,
    words: Vec<String>,
    embedding: Vec<f32>,
}

#[derive(Deserialize)]
struct Behavior {
    user_id: String,
    item_id: String,
    action_type: String,
    #[serde(default)]
    timestamp: Option<Box<RawValue>>,
}

#[derive(Deserialize)]
struct Item {
    item_id: String,
    #[serde(default)]
    metadata: Metadata,
    #[serde(default)]
    embedding: Option<Vec<f32>>,
}

#[derive(Default, Deserialize)]
struct Metadata {
    #[serde(default)]
    category: Option<String>,
    #[serde(default)]
    tags: Option<Vec<String>>,
}

impl Material {
    /// Adds a file of behaviours, each weighed as a scenario does; returns the places
    /// of its events. `mapping` is a shipped mapping's name or a file; without one the
    /// columns are named as the API's fields. Behaviours without a time happened in
    /// the order of the file, before all others.
    ///
    /// # Errors
    /// When the mapping is wrong or not for behaviours, the file cannot be read, or a
    /// line of it is wrong.
    pub fn add_behaviors(
        &mut self,
        path: &Path,
        mapping: Option<&str>,
        scenario_id: &str,
        behaviors: &Behaviors,
    ) -> Result<Vec<usize>> {
        let first = self.data.events.len();
        let options = options(path, mapping, scenario_id, Kind::Behaviors);
        lines(&options, &mut |line| self.add_behavior(line, behaviors))?;
        Ok((first..self.data.events.len()).collect())
    }

    /// Adds a file of items; of one that is there already, the last counts.
    ///
    /// # Errors
    /// As [`Material::add_behaviors`].
    pub fn add_items(&mut self, path: &Path, mapping: Option<&str>, scenario_id: &str) -> Result<()> {
        lines(&options(path, mapping, scenario_id, Kind::Items), &mut |line| self.add_item(line))
    }

    /// Adds a behaviour as it is posted or stored.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn add_behavior(&mut self, line: &str, behaviors: &Behaviors) -> Result<(), String> {
        let behavior: Behavior = serde_json::from_str(line).map_err(|error| error.to_string())?;
        let at_ms = match &behavior.timestamp {
            None => 0,
            Some(raw) => at_ms(raw).ok_or_else(|| format!("timestamp: {raw} is no time"))?,
        };
        self.data.push(&behavior.user_id, &behavior.item_id, at_ms, behaviors.weight(&behavior.action_type));
        self.bodies.push(line.into());
        Ok(())
    }

    /// Adds an item as it is posted or stored.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn add_item(&mut self, line: &str) -> Result<(), String> {
        let Item { item_id, metadata, embedding } = serde_json::from_str(line).map_err(|error| error.to_string())?;
        let tags = metadata.tags.unwrap_or_default().into_iter().map(|tag| format!("tag {tag}"));
        let category = metadata.category.map(|category| format!("category {category}"));
        let words = category.into_iter().chain(tags).collect();
        let number = self.data.items.number(&item_id);
        let at = self.likenesses.get(&number).map_or(self.items.len(), |known| known.at);
        match self.items.get_mut(at) {
            Some(known) => *known = line.into(),
            None => self.items.push(line.into()),
        }
        self.likenesses.insert(number, Likeness { at, words, embedding: embedding.unwrap_or_default() });
        Ok(())
    }

    /// Adds items that were acted on and that no file of items has.
    pub fn complete_items(&mut self) {
        for number in 0..self.data.items.len() {
            if !self.likenesses.contains_key(&number) {
                let item = serde_json::json!({"item_id": self.data.items.id(number)});
                self.likenesses.insert(number, Likeness { at: self.items.len(), ..Likeness::default() });
                self.items.push(item.to_string().into());
            }
        }
    }

    /// What items are compared by: their categories and tags, or, when no item has
    /// any, their embeddings.
    #[must_use]
    pub fn features(&self) -> Features {
        let count = self.data.items.len();
        let of = |number: u32| self.likenesses.get(&number);
        if self.likenesses.values().all(|likeness| likeness.words.is_empty()) {
            let vectors = (0..count).map(|number| of(number).map(|of| of.embedding.clone()).unwrap_or_default());
            return Features::vectors(&vectors.collect::<Vec<_>>());
        }
        let mut words: HashMap<&str, u32> = HashMap::new();
        let mut number_of = |word| {
            let next = u32::try_from(words.len()).unwrap_or(u32::MAX);
            *words.entry(word).or_insert(next)
        };
        let mut sets = Vec::with_capacity(count as usize);
        for number in 0..count {
            let words = of(number).map_or(&[][..], |of| of.words.as_slice());
            sets.push(words.iter().map(|word| number_of(word.as_str())).collect());
        }
        Features::sets(&sets)
    }
}

fn at_ms(raw: &RawValue) -> Option<u64> {
    match serde_json::from_str(raw.get()).ok()? {
        serde_json::Value::String(text) => time::parse_ms(&text),
        serde_json::Value::Number(number) => number.as_f64().and_then(time::from_number),
        _ => None,
    }
}

fn options(path: &Path, mapping: Option<&str>, scenario_id: &str, kind: Kind) -> Options {
    Options { mapping: mapping.map(str::to_owned), kind: Some(kind), ..Options::new(path, scenario_id) }
}

/// Reads a file; the first line that is wrong ends it.
fn lines(options: &Options, take: &mut dyn FnMut(&str) -> Result<(), String>) -> Result<()> {
    let mut fault = None;
    funnelweb_import::read(options, &mut |line, object| {
        if fault.is_some() {
            return;
        }
        let taken = match object {
            Ok(object) => {
                std::str::from_utf8(object).map_err(|error| error.to_string()).and_then(|text| take(text.trim_end()))
            }
            Err(error) => Err(match error.field {
                Some(field) => format!("{field}: {}", error.message),
                None => error.message,
            }),
        };
        fault = taken.err().map(|message| (line, message));
    })?;
    match fault {
        None => Ok(()),
        Some((line, message)) => Err(Error::Line { file: options.source.display().to_string(), line, message }),
    }
}

#[cfg(test)]
mod tests;
