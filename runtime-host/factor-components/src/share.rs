//! Which requests a canary takes.

use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::record::{Canary, ShareOf};

/// Whether a request is among those of a canary. Users without an id are taken by request.
pub(crate) fn takes(canary: &Canary, name: &str, user_id: &str, request_seed: u64) -> bool {
    // The salt is the component's: who is in one trial is in another by chance.
    let salt = xxh3_64_with_seed(name.as_bytes(), 0);
    let hash = match canary.of {
        ShareOf::Users if !user_id.is_empty() => xxh3_64_with_seed(user_id.as_bytes(), salt),
        ShareOf::Users | ShareOf::Requests => xxh3_64_with_seed(&request_seed.to_le_bytes(), salt),
    };
    // The high bits as a number below 100.
    (hash >> 11) as f64 / (1_u64 << 53) as f64 * 100.0 < canary.percent
}

#[cfg(test)]
mod tests {
    use super::*;

    fn canary(percent: f64, of: ShareOf) -> Canary {
        Canary { version: "2".to_owned(), percent, of }
    }

    #[test]
    fn shares_are_what_they_say() {
        for percent in [0.1, 5.0, 50.0, 100.0] {
            let canary = canary(percent, ShareOf::Requests);
            let taken = (0..100_000_u64).filter(|seed| takes(&canary, "boost", "ann", *seed)).count();
            assert!((taken as f64 / 1000.0 - percent).abs() < 0.5, "{taken} of {percent} %");
        }
    }

    #[test]
    fn a_user_stays_and_more_come_as_it_grows() {
        let users: Vec<String> = (0..2000).map(|at| format!("user-{at}")).collect();
        let taken = |percent: f64, seed: u64| -> Vec<bool> {
            users.iter().map(|user| takes(&canary(percent, ShareOf::Users), "boost", user, seed)).collect()
        };
        assert_eq!(taken(20.0, 1), taken(20.0, 2));
        assert!(taken(20.0, 1).iter().zip(taken(40.0, 1)).all(|(before, after)| !before || after));
        let other = |user: &String| takes(&canary(20.0, ShareOf::Users), "other", user, 1);
        let both = users.iter().zip(taken(20.0, 1)).filter(|(user, taken)| *taken && other(user)).count();
        assert!((40..=130).contains(&both), "{both} of 2000 in two trials of a fifth");
    }

    #[test]
    fn without_a_user_the_request_decides() {
        let canary = canary(50.0, ShareOf::Users);
        let taken = (0..1000_u64).filter(|seed| takes(&canary, "boost", "", *seed)).count();
        assert!((400..=600).contains(&taken), "{taken}");
    }
}
