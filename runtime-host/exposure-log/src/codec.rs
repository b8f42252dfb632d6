//! A slate as bytes: a byte that says how, then its fields, deflated. Most of it are
//! names of features and words that the items share.

use std::io::{Read, Write};

use bincode::{Decode, Encode};
use flate2::{Compression, read::DeflateDecoder, write::DeflateEncoder};
use funnelweb_core::{limits, scenario::FeatureKind};
use funnelweb_tenant_store::Error;

use crate::{Cell, Draft, Feature, Shown, Slate};

/// With [`Made`] behind the rest.
const VERSION: u8 = 3;
/// With the groups of experiments behind the rest.
const WITH_GROUPS: u8 = 2;
/// Without.
const WITHOUT_GROUPS: u8 = 1;
/// Kinds by their number here, which never changes.
const KINDS: [FeatureKind; 4] =
    [FeatureKind::Numeric, FeatureKind::Categorical, FeatureKind::MultiCategorical, FeatureKind::Timestamp];

/// What is not in columns of its own.
#[derive(Encode, Decode)]
struct Body {
    request_id: String,
    user_features: Vec<(String, u8)>,
    user: Vec<Cell>,
    item_features: Vec<(String, u8)>,
    items: Vec<Shown>,
}

/// What it was made for, and what that took.
#[derive(Default, Encode, Decode)]
struct Made {
    groups: Vec<String>,
    elapsed_us: u32,
    cost_us: u32,
    drafted: Vec<Draft>,
}

/// Whose slate it is, and where and when it was shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Its scenario.
    pub scenario_id: String,
    /// Its user.
    pub user_id: String,
    /// In milliseconds since 1970.
    pub shown_at_ms: u64,
}

/// A slate's place and the rest of it.
///
/// # Errors
/// `invalid` when it has more bytes than a logged slate may have.
pub fn encode(slate: Slate) -> Result<(Place, Vec<u8>), Error> {
    let Slate {
        request_id,
        user_id,
        scenario_id,
        shown_at_ms,
        user_features,
        user,
        item_features,
        items,
        groups,
        elapsed_us,
        cost_us,
        drafted,
    } = slate;
    let made = Made { groups, elapsed_us, cost_us, drafted };
    let body = Body {
        request_id,
        user_features: numbered(user_features),
        user,
        item_features: numbered(item_features),
        items,
    };
    let failed = |error: &dyn std::fmt::Display| Error::Unavailable(format!("a slate cannot be written: {error}"));
    let plain = bincode::encode_to_vec((&body, &made), bincode::config::standard()).map_err(|error| failed(&error))?;
    if plain.len() > limits::LOGGED_SLATE_BYTES {
        let rule = format!("must be at most {} bytes, got {}", limits::LOGGED_SLATE_BYTES, plain.len());
        return Err(Error::invalid("slate", rule));
    }
    let mut deflate = DeflateEncoder::new(vec![VERSION], Compression::fast());
    let bytes = deflate.write_all(&plain).and_then(|()| deflate.finish()).map_err(|error| failed(&error))?;
    Ok((Place { scenario_id, user_id, shown_at_ms }, bytes))
}

/// The slate of a place; none when it cannot be read.
#[must_use]
pub fn decode(place: Place, bytes: &[u8]) -> Option<Slate> {
    let (version, rest) = bytes.split_first()?;
    let mut plain = Vec::new();
    DeflateDecoder::new(rest).take(limits::LOGGED_SLATE_BYTES as u64).read_to_end(&mut plain).ok()?;
    let config = bincode::config::standard().with_limit::<{ 4 * limits::LOGGED_SLATE_BYTES }>();
    let (body, made): (Body, Made) = match *version {
        VERSION => bincode::decode_from_slice(&plain, config).ok()?.0,
        WITH_GROUPS => {
            let (body, groups) = bincode::decode_from_slice(&plain, config).ok()?.0;
            (body, Made { groups, ..Made::default() })
        }
        WITHOUT_GROUPS => (bincode::decode_from_slice(&plain, config).ok()?.0, Made::default()),
        _ => return None,
    };
    Some(Slate {
        request_id: body.request_id,
        user_id: place.user_id,
        scenario_id: place.scenario_id,
        shown_at_ms: place.shown_at_ms,
        user_features: named(body.user_features)?,
        user: body.user,
        item_features: named(body.item_features)?,
        items: body.items,
        groups: made.groups,
        elapsed_us: made.elapsed_us,
        cost_us: made.cost_us,
        drafted: made.drafted,
    })
}

fn numbered(features: Vec<Feature>) -> Vec<(String, u8)> {
    let number = |kind| KINDS.iter().zip(0..).find(|(known, _)| **known == kind).map_or(u8::MAX, |(_, number)| number);
    features.into_iter().map(|feature| (feature.name, number(feature.kind))).collect()
}

fn named(features: Vec<(String, u8)>) -> Option<Vec<Feature>> {
    let named = |(name, number): (String, u8)| Some(Feature { name, kind: *KINDS.get(usize::from(number))? });
    features.into_iter().map(named).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conformance::slate;

    #[test]
    fn what_is_encoded_is_read_as_it_was() {
        let slate = slate("s", "ann", 7);
        let (place, bytes) = encode(slate.clone()).unwrap();
        assert_eq!((place.scenario_id.as_str(), place.user_id.as_str(), place.shown_at_ms), ("s", "ann", 7));
        assert_eq!(decode(place, &bytes), Some(slate));
    }

    #[test]
    fn what_was_written_by_earlier_versions_is_read() {
        let whole = slate("s", "ann", 7);
        let body = || Body {
            request_id: whole.request_id.clone(),
            user_features: numbered(whole.user_features.clone()),
            user: whole.user.clone(),
            item_features: numbered(whole.item_features.clone()),
            items: whole.items.clone(),
        };
        let config = bincode::config::standard();
        let with_groups = bincode::encode_to_vec((body(), &whole.groups), config).unwrap();
        let without = bincode::encode_to_vec(body(), config).unwrap();
        let bare = Slate { elapsed_us: 0, cost_us: 0, drafted: Vec::new(), ..whole.clone() };
        let bare_of_none = Slate { groups: Vec::new(), ..bare.clone() };
        for (version, plain, expected) in [(WITH_GROUPS, with_groups, bare), (WITHOUT_GROUPS, without, bare_of_none)] {
            let mut deflate = DeflateEncoder::new(vec![version], Compression::fast());
            deflate.write_all(&plain).unwrap();
            let place = Place { scenario_id: "s".to_owned(), user_id: "ann".to_owned(), shown_at_ms: 7 };
            assert_eq!(decode(place, &deflate.finish().unwrap()), Some(expected), "{version}");
        }
    }

    #[test]
    fn what_is_damaged_is_not_read() {
        let (_, bytes) = encode(slate("s", "ann", 7)).unwrap();
        let place = || Place { scenario_id: "s".to_owned(), user_id: "ann".to_owned(), shown_at_ms: 7 };
        assert_eq!(decode(place(), &[]), None);
        assert_eq!(decode(place(), &bytes[..bytes.len() / 2]), None);
        let mut later = bytes.clone();
        later[0] = VERSION + 1;
        assert_eq!(decode(place(), &later), None);
    }

    #[test]
    fn a_slate_that_could_not_be_read_is_not_written() {
        let with = |bytes: usize| Slate { request_id: "x".repeat(bytes), ..slate("s", "ann", 7) };
        let large = with(limits::LOGGED_SLATE_BYTES - 1000);
        let (place, bytes) = encode(large.clone()).unwrap();
        assert_eq!(decode(place, &bytes), Some(large));
        let refused = encode(with(limits::LOGGED_SLATE_BYTES)).unwrap_err().to_string();
        assert!(refused.contains(&limits::LOGGED_SLATE_BYTES.to_string()), "{refused}");
    }
}
