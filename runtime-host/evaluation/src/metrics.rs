//! How good slates are: a value per user and cut, so that intervals and paired
//! differences can be made of them.
//!
//! *L* is a slate's first *k* items, *W* what its user wanted, *g* what an item is
//! worth, and *r* a place in the slate, from 1. A place is a hit when its item is in
//! *W* and not further up.
//!
//! | metric | of one user | source |
//! |---|---|---|
//! | Recall | hits / \|W\| | |
//! | Precision | hits / k, of a shorter slate too | |
//! | hit rate | 1 when there is a hit | |
//! | NDCG | Σ over hits of 1 / log₂(r + 1), over the same sum for the first min(k, \|W\|) places | Järvelin and Kekäläinen, "Cumulated gain-based evaluation of IR techniques", TOIS 2002, with the discount of Burges et al., ICML 2005 |
//! | graded NDCG | the same with *g* in place of 1 (linear gains), over the best order of *W* | |
//! | MAP | Σ over hits of (hits up to r / r), over min(k, \|W\|) | Manning, Raghavan, Schütze, "Introduction to Information Retrieval", 8.4 |
//! | MRR | 1 / r of the first hit, else 0 | Voorhees, TREC-8 1999 |
//! | fill | \|L\| / k | |
//! | novelty | mean over *L* of −log₂ p(i), p the share of the users learned from who liked i (of an item nobody liked, as if one had) | Zhou et al., PNAS 2010 |
//! | diversity | mean over pairs of *L* of 1 − cosine of their features | Ziegler et al., WWW 2005 |
//! | popularity percentile | mean over *L* of the share of the catalogue that is liked by fewer, and half of that by as many | Jannach et al., UMUAI 2015 |
//! | average popularity | mean over *L* of the users who liked the item | Yin et al., VLDB 2012 |
//!
//! What is a mean over *L* has no value for a user without a slate, diversity none
//! where fewer than two items have features; those users are not in the mean. Of all
//! slates together [`Spread`] has the coverage and the Gini index.
//!
//! AUC is not among them: it compares the scores of all items, wanted or not, and a
//! slate ends after some. The hit rate and the MRR at growing cuts say the same of
//! the part that a user gets to see.

use serde::{Deserialize, Serialize};

use crate::{
    catalogue::Catalogue,
    error::{Error, Result, setting},
    limits,
    split::Asked,
};

/// What is measured of each user.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    /// What was found of what was wanted.
    Recall,
    /// What was wanted of what was shown.
    Precision,
    /// Recall with a discount by place, over the best there could be.
    Ndcg,
    /// The same with what each item is worth.
    GradedNdcg,
    /// Mean average precision.
    Map,
    /// Mean reciprocal rank.
    Mrr,
    /// Users with any hit.
    HitRate,
    /// How full slates are.
    Fill,
    /// Mean self-information, in bits.
    Novelty,
    /// Within a slate, 0 (all the same) to 1, or 2 for opposite vectors.
    Diversity,
    /// 0 (what nobody likes) to 1 (what everybody likes).
    PopularityPercentile,
    /// In users.
    AveragePopularity,
}

impl Metric {
    /// All, in the order of a report.
    pub const ALL: [Self; 12] = [
        Self::Recall,
        Self::Precision,
        Self::Ndcg,
        Self::GradedNdcg,
        Self::Map,
        Self::Mrr,
        Self::HitRate,
        Self::Fill,
        Self::Novelty,
        Self::Diversity,
        Self::PopularityPercentile,
        Self::AveragePopularity,
    ];

    /// Whether it says how well a slate fits its user: more is better, and every
    /// user has a value.
    #[must_use]
    pub fn is_accuracy(self) -> bool {
        matches!(
            self,
            Self::Recall | Self::Precision | Self::Ndcg | Self::GradedNdcg | Self::Map | Self::Mrr | Self::HitRate
        )
    }

    /// For people.
    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Self::Recall => "Recall",
            Self::Precision => "Precision",
            Self::Ndcg => "NDCG",
            Self::GradedNdcg => "graded NDCG",
            Self::Map => "MAP",
            Self::Mrr => "MRR",
            Self::HitRate => "hit rate",
            Self::Fill => "fill",
            Self::Novelty => "novelty",
            Self::Diversity => "diversity",
            Self::PopularityPercentile => "popularity percentile",
            Self::AveragePopularity => "average popularity",
        }
    }
}

/// The lengths at which slates are cut: ascending, each once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cuts(Vec<u32>);

impl Cuts {
    /// 1 to [`limits::CUTS`] lengths of 1 to [`funnelweb_core::limits::COUNT`].
    ///
    /// # Errors
    /// [`Error::Setting`] for others.
    pub fn new(cuts: &[u32]) -> Result<Self> {
        let mut cuts = cuts.to_vec();
        cuts.sort_unstable();
        cuts.dedup();
        if !(1..=limits::CUTS).contains(&cuts.len()) {
            return setting("the number of cuts (k)", format!("1 to {}", limits::CUTS), cuts.len());
        }
        let most = funnelweb_core::limits::COUNT;
        if let Some(cut) = cuts.iter().find(|cut| !(1..=most).contains(*cut)) {
            return setting("k", format!("1 to {most}"), cut);
        }
        Ok(Self(cuts))
    }

    /// Them.
    #[must_use]
    pub fn as_slice(&self) -> &[u32] {
        &self.0
    }

    /// The longest.
    #[must_use]
    pub fn longest(&self) -> u32 {
        self.0.last().copied().unwrap_or_default()
    }
}

/// One metric at one cut.
#[derive(Debug, Clone, PartialEq)]
pub struct Column {
    /// Which.
    pub metric: Metric,
    /// At which.
    pub k: u32,
    /// By user, in the order they are asked for; NaN for a user without a value.
    pub values: Vec<f32>,
}

/// All slates of one recommender together, at one cut.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Spread {
    /// The cut.
    pub k: u32,
    /// The share of the catalogue that is in any slate.
    pub coverage: f64,
    /// Of how often each item of the catalogue is shown: 0 when all are shown
    /// equally often, towards 1 when one item is all that is shown (Shani and
    /// Gunawardana, Recommender Systems Handbook 2011, 8.3.3.2).
    pub gini: f64,
}

/// What was measured of one recommender.
#[derive(Debug, Clone, PartialEq)]
pub struct Sheet {
    /// By metric and then cut.
    pub columns: Vec<Column>,
    /// By cut.
    pub spreads: Vec<Spread>,
}

/// Measures slates, one per user who was asked for, items by number and best
/// first. What is beyond the longest cut is passed over.
///
/// # Errors
/// [`Error::Slates`] when there are not as many as users.
pub fn measure(name: &str, asked: &[Asked], slates: &[Vec<u32>], catalogue: &Catalogue, cuts: &Cuts) -> Result<Sheet> {
    if slates.len() != asked.len() {
        return Err(Error::Slates { name: name.to_owned(), found: slates.len(), expected: asked.len() });
    }
    let keys = Metric::ALL.iter().flat_map(|metric| cuts.0.iter().map(|k| (*metric, *k)));
    let mut columns: Vec<Column> =
        keys.map(|(metric, k)| Column { metric, k, values: Vec::with_capacity(asked.len()) }).collect();
    let mut scratch = catalogue.scratch();
    let mut row = Vec::with_capacity(columns.len());
    for (asked, slate) in asked.iter().zip(slates) {
        let slate = slate.get(..cuts.longest() as usize).unwrap_or(slate);
        row.clear();
        for metrics in [accuracy(asked, slate, cuts), catalogue.of_slate(slate, cuts.as_slice(), &mut scratch)] {
            row.extend(metrics);
        }
        for (column, value) in columns.iter_mut().zip(&row) {
            column.values.push(*value as f32);
        }
    }
    let spreads = cuts.0.iter().map(|k| catalogue.spread(slates, *k)).collect();
    Ok(Sheet { columns, spreads })
}

/// The discount of a place, from 1.
fn discount(place: usize) -> f64 {
    1.0 / ((place + 1) as f64).log2()
}

/// The metrics up to `fill`, in the order of [`Metric::ALL`], each at every cut.
fn accuracy(asked: &Asked, slate: &[u32], cuts: &Cuts) -> Vec<f64> {
    let gains = gains(asked, slate);
    let mut best: Vec<f32> = asked.wanted.iter().map(|(_, gain)| *gain).collect();
    best.sort_unstable_by(|a, b| b.total_cmp(a));
    let wanted = asked.wanted.len() as f64;
    let mut by_cut = Vec::with_capacity(cuts.0.len());
    for k in cuts.0.iter().map(|k| *k as usize) {
        let (mut hits, mut dcg, mut graded, mut precisions, mut first) = (0.0, 0.0, 0.0, 0.0, None);
        for (place, gain) in (1..=k).zip(&gains) {
            let Some(gain) = gain else { continue };
            hits += 1.0;
            dcg += discount(place);
            graded += f64::from(*gain) * discount(place);
            precisions += hits / place as f64;
            first = first.or(Some(place));
        }
        let ideal = |gain: &dyn Fn(f32) -> f64| -> f64 {
            (1..=k).zip(&best).map(|(place, best)| gain(*best) * discount(place)).sum()
        };
        by_cut.push([
            hits / wanted,
            hits / k as f64,
            dcg / ideal(&|_| 1.0),
            graded / ideal(&f64::from),
            precisions / wanted.min(k as f64),
            first.map_or(0.0, |place| 1.0 / place as f64),
            f64::from(u8::from(first.is_some())),
            slate.len().min(k) as f64 / k as f64,
        ]);
    }
    by_metric(&by_cut)
}

/// By place, what its item is worth when it is a hit.
fn gains(asked: &Asked, slate: &[u32]) -> Vec<Option<f32>> {
    let mut hits: Vec<Option<f32>> = Vec::with_capacity(slate.len());
    let mut found: Vec<u32> = Vec::new();
    for item in slate {
        let gain = asked.wanted.iter().find(|(wanted, _)| wanted == item).map(|(_, gain)| *gain);
        let hit = gain.filter(|_| !found.contains(item));
        if hit.is_some() {
            found.push(*item);
        }
        hits.push(hit);
    }
    hits
}

/// Rows of metrics by cut as one row, by metric and then cut.
pub(crate) fn by_metric<const N: usize>(by_cut: &[[f64; N]]) -> Vec<f64> {
    (0..N).flat_map(|metric| by_cut.iter().filter_map(move |row| row.get(metric).copied())).collect()
}

#[cfg(test)]
mod tests;
