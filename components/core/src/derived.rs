//! Derived features: numbers computed for a user and an item, declared by name under
//! `config.features.derived_features`.

/// A derived feature's name, taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Derived<'a> {
    /// `F:affinity`: how much the user likes the item's values of the item feature
    /// F, -1 to 1.
    Affinity(&'a str),
    /// `F:overlap`: the part of the item's values of F that the user likes, 0 to 1.
    Overlap(&'a str),
    /// `F:recency`: 1 / (1 + place) of the user's newest item that has a value of F
    /// in common; 0 for none.
    Recency(&'a str),
    /// `embedding:similarity`: the cosine between the item's embedding and the mean
    /// of those of the user's recent items; 0 where there are none.
    Similarity,
    /// `recall:score`: the merged score of recall.
    RecallScore,
    /// `recall:C:score`: what channel C gave the item; missing when it did not offer it.
    ChannelScore(&'a str),
    /// `recall:C:rank`: 1 / (1 + place) among what channel C offered; missing when it
    /// did not offer it.
    ChannelRank(&'a str),
}

impl<'a> Derived<'a> {
    /// The forms that there are, for messages.
    pub const FORMS: &'static str =
        "F:affinity, F:overlap, F:recency, embedding:similarity, recall:score, recall:C:score, recall:C:rank";

    /// Takes a name apart; none for one that is of no form.
    #[must_use]
    pub fn parse(name: &'a str) -> Option<Self> {
        if let Some(rest) = name.strip_prefix("recall:") {
            return match rest.rsplit_once(':') {
                None => (rest == "score").then_some(Self::RecallScore),
                Some((channel, "score")) => Some(Self::ChannelScore(channel)),
                Some((channel, "rank")) => Some(Self::ChannelRank(channel)),
                Some(_) => None,
            };
        }
        match name.rsplit_once(':')? {
            ("embedding", "similarity") => Some(Self::Similarity),
            (feature, "affinity") => Some(Self::Affinity(feature)),
            (feature, "overlap") => Some(Self::Overlap(feature)),
            (feature, "recency") => Some(Self::Recency(feature)),
            _ => None,
        }
    }

    /// The item feature that it is about.
    #[must_use]
    pub fn item_feature(self) -> Option<&'a str> {
        match self {
            Self::Affinity(feature) | Self::Overlap(feature) | Self::Recency(feature) => Some(feature),
            Self::Similarity | Self::RecallScore | Self::ChannelScore(_) | Self::ChannelRank(_) => None,
        }
    }

    /// The recall channel that it is about.
    #[must_use]
    pub fn channel(self) -> Option<&'a str> {
        match self {
            Self::ChannelScore(channel) | Self::ChannelRank(channel) => Some(channel),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_taken_apart() {
        for (name, derived) in [
            ("tags:affinity", Some(Derived::Affinity("tags"))),
            ("a:b:overlap", Some(Derived::Overlap("a:b"))),
            ("category:recency", Some(Derived::Recency("category"))),
            ("embedding:similarity", Some(Derived::Similarity)),
            ("recall:score", Some(Derived::RecallScore)),
            ("recall:user_cf:score", Some(Derived::ChannelScore("user_cf"))),
            ("recall:acme/x@3:rank", Some(Derived::ChannelRank("acme/x@3"))),
            ("recall:user_cf", None),
            ("recall:user_cf:place", None),
            ("tags:similarity", None),
            ("tags", None),
            ("", None),
        ] {
            assert_eq!(Derived::parse(name), derived, "{name}");
        }
    }
}
