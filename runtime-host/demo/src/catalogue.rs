//! Items as the API takes them.

use std::collections::BTreeMap;

use funnelweb_core::time;
use serde::Serialize;
use serde_json::{Value, json};

use crate::{
    EMBEDDING_VALUES, Kind, World,
    draw::{Draws, Purpose, rounded, sigmoid},
    truth::Latent,
    words::{
        BRANDS, CATEGORIES, CITIES, FIRST_NAMES, LANGUAGES, LAST_NAMES, NEWS_ENDINGS, SOURCES, TAGS, VIDEO_ENDINGS,
    },
};

/// Fields in the order of their names, whatever order `serde_json` is built to keep.
pub type Fields = BTreeMap<String, Value>;

/// An item, as a line of `POST /api/v1/items/{scenario_id}`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Item {
    /// `vlog_000123`.
    pub item_id: String,
    /// Title, category, tags and what else the world has.
    pub metadata: Fields,
    /// What a content model would say of it: a unit vector of
    /// [`EMBEDDING_VALUES`], close for items of one category and closer for those
    /// that share tags.
    pub embedding: Vec<f64>,
    /// RFC 3339; the publish time.
    pub created_at: String,
}

impl Item {
    /// One line of NDJSON, without its line feed.
    #[must_use]
    pub fn to_line(&self) -> Vec<u8> {
        // Strings, finite numbers and maps with string keys: serialising cannot fail.
        serde_json::to_vec(self).unwrap_or_default()
    }
}

/// A direction in embedding space for every category (first) and for every tag of
/// every category.
pub(crate) fn directions(seed: u64) -> Vec<[f64; EMBEDDING_VALUES]> {
    let mut draws = Draws::new(seed, Purpose::Embedding, 0);
    (0..CATEGORIES * (1 + TAGS)).map(|_| std::array::from_fn(|_| draws.normal())).collect()
}

impl World {
    /// One item of the catalogue.
    #[must_use]
    pub fn item(&self, item: u32) -> Item {
        let (latent, mut draws) = self.latent(item);
        let published = time::format_ms(latent.published_ms);
        let mut metadata = match self.kind {
            Kind::Vlog => self.video(&latent, &mut draws),
            Kind::News => self.article(&latent, &mut draws),
            Kind::Ecommerce => self.product(&latent, &mut draws),
        };
        metadata.insert("publish_time".to_owned(), Value::from(published.clone()));
        Item {
            item_id: self.item_id(item),
            metadata,
            embedding: self.embedding(&latent, &mut draws),
            created_at: published,
        }
    }

    fn video(&self, latent: &Latent, draws: &mut Draws) -> Fields {
        let (category, tags, thing) = self.subject(latent, draws);
        let title = format!("{thing} {}", draws.pick(&VIDEO_ENDINGS));
        // Some 60 creators, each at home in one category.
        let creator = latent.category as u32 * 5 + draws.below(5);
        let name = |list: &[&'static str], at: u32| list.get(at as usize % list.len()).copied().unwrap_or_default();
        let author = format!("{} {}", name(&FIRST_NAMES, creator * 7), name(&LAST_NAMES, creator * 5 + creator / 16));
        let completion = sigmoid(0.2 + 0.6 * latent.quality + 0.5 * draws.normal());
        fields(json!({
            "title": title,
            "category": category,
            "tags": tags,
            "duration": latent.duration_s() as u32,
            "completion_rate": rounded(completion, 100.0),
            "author": author,
            "hd": draws.chance(0.7),
            "language": draws.pick(&LANGUAGES),
        }))
    }

    fn article(&self, latent: &Latent, draws: &mut Draws) -> Fields {
        let (category, tags, thing) = self.subject(latent, draws);
        let city = CITIES.get(latent.city as usize).copied().unwrap_or_default();
        let hot = 100.0 * sigmoid(0.8 * latent.quality + 0.5 * draws.normal());
        fields(json!({
            "title": format!("{city}: {thing} {}", draws.pick(&NEWS_ENDINGS)),
            "category": category,
            "tags": tags,
            "location": city,
            "source": draws.pick(&SOURCES),
            "hot_score": rounded(hot, 10.0),
            "words": latent.words() as u32,
        }))
    }

    fn product(&self, latent: &Latent, draws: &mut Draws) -> Fields {
        let (category, tags, thing) = self.subject(latent, draws);
        let brand = BRANDS.get((latent.category * 5 + draws.below(6) as usize) % BRANDS.len());
        let brand = brand.copied().unwrap_or_default();
        let trait_word = tags.first().copied().unwrap_or_default();
        let rating = (3.9 + 0.45 * latent.quality + 0.2 * draws.normal()).clamp(1.0, 5.0);
        let discount = if draws.chance(0.25) { 5 * (1 + draws.below(8)) } else { 0 };
        let stock = if draws.chance(0.03) { 0 } else { 1 + draws.below(400) };
        fields(json!({
            "title": format!("{brand} {trait_word} {thing}"),
            "category": category,
            "tags": tags,
            "brand": brand,
            "price": latent.price(),
            "discount_percent": discount,
            "rating": rounded(rating, 10.0),
            "stock": stock,
        }))
    }

    /// Category, tags, and what the title is about.
    fn subject(&self, latent: &Latent, draws: &mut Draws) -> (&'static str, Vec<&'static str>, &'static str) {
        let Some(category) = self.kind.traits().categories.get(latent.category) else {
            return Default::default();
        };
        let tags = latent.tags.iter().filter_map(|tag| category.tags.get(*tag).copied()).collect();
        (category.name, tags, draws.pick(&category.things))
    }

    fn embedding(&self, latent: &Latent, draws: &mut Draws) -> Vec<f64> {
        let mut sum: [f64; EMBEDDING_VALUES] = std::array::from_fn(|_| 0.3 * draws.normal());
        let category = std::iter::once((latent.category, 1.0));
        let tags = latent.tags.iter().map(|tag| (CATEGORIES + latent.category * TAGS + tag, 0.7));
        for (at, weight) in category.chain(tags) {
            for (value, direction) in sum.iter_mut().zip(self.directions.get(at).into_iter().flatten()) {
                *value += weight * direction;
            }
        }
        let length = sum.iter().map(|value| value * value).sum::<f64>().sqrt().max(f64::MIN_POSITIVE);
        sum.iter().map(|value| rounded(value / length, 1000.0)).collect()
    }
}

/// The fields of an object, by name.
pub(crate) fn fields(value: Value) -> Fields {
    if let Value::Object(fields) = value { fields.into_iter().collect() } else { Fields::new() }
}
