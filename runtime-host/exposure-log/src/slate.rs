//! One slate as it was shown.

use bincode::{Decode, Encode};
use funnelweb_core::scenario::FeatureKind;

/// One slate, with the cells of its features at that moment.
#[derive(Debug, Clone, PartialEq)]
pub struct Slate {
    /// Of the request that it answered.
    pub request_id: String,
    /// Empty for a session, which is nobody's.
    pub user_id: String,
    /// Its scenario.
    pub scenario_id: String,
    /// The request's clock, in milliseconds since 1970.
    pub shown_at_ms: u64,
    /// Features that are the same for all items: `user:` and `context:`.
    pub user_features: Vec<Feature>,
    /// A cell for each of `user_features`.
    pub user: Vec<Cell>,
    /// Features that each item has its own of: `item:` and `derived:`.
    pub item_features: Vec<Feature>,
    /// In the order of their places.
    pub items: Vec<Shown>,
    /// The groups of experiments that it was made for, each `experiment:group`.
    pub groups: Vec<String>,
    /// From the funnel's beginning to what is shown, in microseconds; 0 of one that was logged
    /// before this was measured.
    pub elapsed_us: u32,
    /// The time that stages had for it, summed over all their calls, in microseconds: what it
    /// cost in the sandbox. Channels run at once, so it may be more than `elapsed_us`.
    pub cost_us: u32,
    /// Who placed which item, for each interleaving that it was made for.
    pub drafted: Vec<Draft>,
}

/// Whose choice each place of a slate was.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Draft {
    /// The `experiment_id` of the interleaving.
    pub experiment: String,
    /// By place: 0 no one's, 1 the control's, 2 the treatment's.
    pub teams: Vec<u8>,
}

/// A feature by its full name: `item:category`, `derived:category:affinity`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Feature {
    /// Its source and its name there.
    pub name: String,
    /// How it is a column.
    pub kind: FeatureKind,
}

/// One item of a slate.
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
pub struct Shown {
    /// Its id.
    pub item_id: String,
    /// A cell for each of the slate's `item_features`.
    pub cells: Vec<Cell>,
}

/// One value of one feature. Words are hashes, as in the feature table.
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
pub enum Cell {
    /// There is none.
    Missing,
    /// A number, or an age in hours.
    Number(f32),
    /// A word.
    Word(u32),
    /// Any number of words.
    Words(Vec<u32>),
}

impl Slate {
    /// Whether it tells only what was shown for groups of experiments, and no features.
    #[must_use]
    pub fn is_bare(&self) -> bool {
        !self.groups.is_empty() && self.user_features.is_empty() && self.item_features.is_empty()
    }

    /// Bytes that it takes in memory, roughly.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let names = self.user_features.iter().chain(&self.item_features).map(|feature| feature.name.len() + 32);
        let items = self.items.iter().map(|item| item.item_id.len() + 48 + cells(&item.cells));
        let groups = self.groups.iter().map(|group| group.len() + 24).sum::<usize>();
        let drafted = self.drafted.iter().map(|draft| draft.experiment.len() + draft.teams.len() + 48);
        size_of::<Self>()
            + groups
            + drafted.sum::<usize>()
            + self.request_id.len()
            + cells(&self.user)
            + names.sum::<usize>()
            + items.sum::<usize>()
    }
}

fn cells(cells: &[Cell]) -> usize {
    let words = |cell: &Cell| if let Cell::Words(words) = cell { 4 * words.len() } else { 0 };
    size_of_val(cells) + cells.iter().map(words).sum::<usize>()
}
