//! The features of an export: the union of those of all its slates.

use std::collections::{BTreeMap, HashMap};

use funnelweb_core::scenario::FeatureKind;
use funnelweb_exposure_log::{Cell, Feature, Slate};

/// Features by name, each with the kind that it had last.
#[derive(Debug, Default)]
pub(crate) struct Columns {
    newest: BTreeMap<String, Newest>,
}

/// The kind of a feature, and when it was of it.
#[derive(Debug, Clone, Copy)]
struct Newest {
    kind: FeatureKind,
    shown_at_ms: u64,
}

/// Where a slate has the cells of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// Nowhere.
    Absent,
    /// Nor these, which are of a kind that the feature has no more.
    OldKind,
    /// In `user`.
    User(usize),
    /// In the `cells` of each item.
    Item(usize),
}

impl Columns {
    pub(crate) fn add(&mut self, slate: &Slate) {
        let shown_at_ms = slate.shown_at_ms;
        for Feature { name, kind } in slate.user_features.iter().chain(&slate.item_features) {
            let now = Newest { kind: *kind, shown_at_ms };
            match self.newest.get_mut(name) {
                Some(newest) if shown_at_ms >= newest.shown_at_ms => *newest = now,
                Some(_) => {}
                None => drop(self.newest.insert(name.clone(), now)),
            }
        }
    }

    /// In the order of their columns.
    pub(crate) fn iter(&self) -> impl ExactSizeIterator<Item = (&str, FeatureKind)> {
        self.newest.iter().map(|(name, newest)| (name.as_str(), newest.kind))
    }

    /// Where a slate has each of them.
    pub(crate) fn places(&self, slate: &Slate) -> Vec<Place> {
        let user = slate.user_features.iter().zip((0..).map(Place::User));
        let item = slate.item_features.iter().zip((0..).map(Place::Item));
        let given: HashMap<&str, (FeatureKind, Place)> =
            user.chain(item).map(|(feature, place)| (feature.name.as_str(), (feature.kind, place))).collect();
        let place = |(name, kind)| match given.get(name) {
            None => Place::Absent,
            Some((given, _)) if *given != kind => Place::OldKind,
            Some((_, place)) => *place,
        };
        self.iter().map(place).collect()
    }
}

impl Place {
    /// The cell of an item of the slate, if it has one.
    pub(crate) fn cell<'a>(self, slate: &'a Slate, item: &'a [Cell]) -> Option<&'a Cell> {
        match self {
            Self::Absent | Self::OldKind => None,
            Self::User(at) => slate.user.get(at),
            Self::Item(at) => item.get(at),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::slate;

    #[test]
    fn columns_are_those_of_all_slates_with_their_newest_kinds() {
        let (old, new) = (slate("r1", "ann", 1, &["tea"]), slate("r2", "ann", 2, &["tea"]));
        let feature = |name: &str, kind| Feature { name: name.to_owned(), kind };
        let old = Slate {
            item_features: vec![
                feature("item:price", FeatureKind::Categorical),
                feature("item:gone", FeatureKind::Numeric),
            ],
            ..old
        };
        for order in [[&old, &new], [&new, &old]] {
            let mut columns = Columns::default();
            order.iter().for_each(|slate| columns.add(slate));
            let kinds: Vec<_> = columns.iter().map(|(name, kind)| format!("{name} {}", kind.as_str())).collect();
            let expected = [
                "item:category categorical",
                "item:gone numeric",
                "item:price numeric",
                "item:tags multi_categorical",
                "user:age numeric",
            ];
            assert_eq!(kinds, expected);
            let places = [Place::Absent, Place::Item(1), Place::OldKind, Place::Absent, Place::User(0)];
            assert_eq!(columns.places(&old), places);
            let places = [Place::Item(1), Place::Absent, Place::Item(0), Place::Item(2), Place::User(0)];
            assert_eq!(columns.places(&new), places);
        }
    }

    #[test]
    fn what_a_slate_lacks_is_missing() {
        let slate = slate("r1", "ann", 1, &["tea"]);
        let cells = &slate.items[0].cells;
        assert_eq!(Place::Item(0).cell(&slate, cells), Some(&cells[0]));
        assert_eq!(Place::User(0).cell(&slate, cells), Some(&slate.user[0]));
        for place in [Place::Item(3), Place::User(1), Place::Absent, Place::OldKind] {
            assert_eq!(place.cell(&slate, cells), None);
        }
    }
}
