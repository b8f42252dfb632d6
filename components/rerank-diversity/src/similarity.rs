//! How alike two items are: the weighted mean of
//! - category equality: 1 when both have the same,
//! - tag Jaccard: |A ∩ B| / |A ∪ B|, 0 when either has none,
//! - cosine of the embeddings, 0 where it is below or either has none,
//!
//! over the parts that the request's table has. Everything that depends on one
//! item alone (sorting its tags, the norm of its embedding) is done once.

use funnelweb_guest::{places::Place, types::Table};

use crate::Params;

/// What is compared, by position in the pool.
#[derive(Debug)]
pub struct Features {
    /// 0 for none.
    categories: Vec<u32>,
    /// `tags[offsets[i]..offsets[i + 1]]`, ascending, each once.
    tags: Vec<u32>,
    offsets: Vec<usize>,
    /// A bit for each tag of an item, by its hash: two without a common bit have no
    /// common tag.
    tag_bits: Vec<u64>,
    /// Unit vectors, `dim` values each; zeros for none.
    embeddings: Vec<f32>,
    dim: usize,
    category_weight: f32,
    tags_weight: f32,
    embedding_weight: f32,
}

impl Features {
    /// Reads the features of a pool.
    #[must_use]
    pub fn of(pool: &[Place], items: &Table, params: &Params) -> Self {
        let category = items.categorical_column(&params.category_field);
        let many = items.multi_column(&params.tags_field);
        let dim = items.embedding_dim as usize;
        let mut features = Self {
            categories: Vec::with_capacity(pool.len()),
            tags: Vec::new(),
            offsets: vec![0],
            tag_bits: Vec::with_capacity(pool.len()),
            embeddings: Vec::with_capacity(pool.len() * dim),
            dim,
            category_weight: category.map_or(0.0, |_| params.category_weight),
            tags_weight: many.map_or(0.0, |_| params.tags_weight),
            embedding_weight: if dim == 0 { 0.0 } else { params.embedding_weight },
        };
        let total = features.category_weight + features.tags_weight + features.embedding_weight;
        if total > 0.0 {
            features.category_weight /= total;
            features.tags_weight /= total;
            features.embedding_weight /= total;
        }
        let mut sorted = Vec::new();
        for place in pool {
            features.categories.push(category.map_or(0, |column| column.get(place.row)));
            sorted.clear();
            sorted.extend_from_slice(many.map_or(&[], |column| column.get(place.row)));
            sorted.sort_unstable();
            sorted.dedup();
            features.tags.extend_from_slice(&sorted);
            features.offsets.push(features.tags.len());
            features.tag_bits.push(sorted.iter().fold(0, |bits, tag| bits | 1 << (tag % 64)));
            if features.embedding_weight > 0.0 {
                features.push_unit(items.embedding(place.row));
            }
        }
        features
    }

    fn push_unit(&mut self, embedding: Option<&[f32]>) {
        let values = embedding.unwrap_or_default();
        let norm = values.iter().map(|value| f64::from(*value).powi(2)).sum::<f64>().sqrt();
        if norm.is_finite() && norm > 0.0 {
            self.embeddings.extend(values.iter().map(|value| (f64::from(*value) / norm) as f32));
        } else {
            self.embeddings.extend(std::iter::repeat_n(0.0, self.dim));
        }
    }

    /// How alike two items of the pool are, 0 to 1.
    #[must_use]
    pub fn similarity(&self, one: usize, other: usize) -> f32 {
        let mut similarity = 0.0;
        if self.category_weight > 0.0 {
            let (one, other) = (self.category(one), self.category(other));
            if one == other && one != 0 {
                similarity += self.category_weight;
            }
        }
        if self.tags_weight > 0.0 && self.bits(one) & self.bits(other) != 0 {
            similarity += self.tags_weight * jaccard(self.tags(one), self.tags(other));
        }
        if self.embedding_weight > 0.0 {
            similarity += self.embedding_weight * dot(self.unit(one), self.unit(other)).clamp(0.0, 1.0);
        }
        similarity
    }

    fn category(&self, at: usize) -> u32 {
        self.categories.get(at).copied().unwrap_or(0)
    }

    fn tags(&self, at: usize) -> &[u32] {
        match self.offsets.get(at..at + 2) {
            Some(&[from, to]) => self.tags.get(from..to).unwrap_or_default(),
            _ => &[],
        }
    }

    fn bits(&self, at: usize) -> u64 {
        self.tag_bits.get(at).copied().unwrap_or(0)
    }

    fn unit(&self, at: usize) -> &[f32] {
        self.embeddings.get(at * self.dim..(at + 1) * self.dim).unwrap_or_default()
    }
}

/// |A ∩ B| / |A ∪ B| of ascending lists; 0 when either is empty.
fn jaccard(one: &[u32], other: &[u32]) -> f32 {
    let (mut at, mut beside, mut common) = (0, 0, 0);
    // Without branches on the comparison, which nothing can foretell.
    while let (Some(left), Some(right)) = (one.get(at), other.get(beside)) {
        common += usize::from(left == right);
        at += usize::from(left <= right);
        beside += usize::from(right <= left);
    }
    let union = one.len() + other.len() - common;
    if union == 0 { 0.0 } else { common as f32 / union as f32 }
}

/// In four sums, which the compiler can keep apart: additions of one sum wait
/// for each other.
fn dot(one: &[f32], other: &[f32]) -> f32 {
    let (ones, one_rest) = one.as_chunks::<4>();
    let (others, other_rest) = other.as_chunks::<4>();
    let mut sums = [0.0_f32; 4];
    for (one, other) in ones.iter().zip(others) {
        for ((sum, a), b) in sums.iter_mut().zip(one).zip(other) {
            *sum += a * b;
        }
    }
    let rest: f32 = one_rest.iter().zip(other_rest).map(|(a, b)| a * b).sum();
    sums.iter().sum::<f32>() + rest
}
