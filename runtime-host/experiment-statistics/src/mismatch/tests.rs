use super::*;

fn groups(users: &[u64], ratios: &[f64]) -> Vec<Group> {
    users.iter().zip(ratios).map(|(users, ratio)| Group { users: *users, ratio: *ratio }).collect()
}

/// What the product of Gamma functions says at once is what the predictive probabilities of one
/// user after another multiply to.
#[test]
fn a_bayes_factor_is_a_product_over_users() {
    let shares = [0.5, 0.3, 0.2];
    let (mut users, mut log) = ([0_u64; 3], 0.0);
    for at in 0..3000_u64 {
        let group = if at.is_multiple_of(3) { 2 } else { (at % 2) as usize };
        let predicted = (CONCENTRATION * shares[group] + users[group] as f64) / (CONCENTRATION + at as f64);
        log += (predicted / shares[group]).ln();
        users[group] += 1;
        let found = sequential(&groups(&users, &[5.0, 3.0, 2.0]), 1.0).unwrap();
        assert!((found.log_bayes_factor - log).abs() < 1e-9 * (1.0 + log.abs()), "{at}: {found:?} {log}");
    }
}

#[test]
fn a_mismatch_is_found_and_stays() {
    let found = sequential(&groups(&[5200, 4800], &[1.0, 1.0]), 1.0).unwrap();
    assert!(found.p_value < 0.05, "{found:?}");
    let later = sequential(&groups(&[10_000, 10_000], &[1.0, 1.0]), found.p_value).unwrap();
    assert_eq!(later.p_value, found.p_value);
    let none = sequential(&groups(&[0, 0], &[1.0, 1.0]), 1.0).unwrap();
    assert!(none.p_value == 1.0 && none.log_bayes_factor.abs() < 1e-12, "{none:?}");
}

/// The numbers that [`CONCENTRATION`] is documented with.
#[test]
fn mismatches_are_found_at_about_as_many_users_as_it_says() {
    let found = |users: f64, share: f64| {
        let first = (users * share) as u64;
        sequential(&groups(&[first, users as u64 - first], &[1.0, 1.0]), 1.0).unwrap().p_value <= 0.05
    };
    assert!(!found(5_700.0, 0.52) && found(5_900.0, 0.52));
    assert!(!found(107_000.0, 0.505) && found(109_000.0, 0.505));
}

#[test]
fn what_has_no_answer_has_an_error() {
    for few in [groups(&[10], &[1.0]), groups(&[], &[])] {
        assert!(matches!(chi_square(&few), Err(Error::Setting { .. })));
        assert!(matches!(sequential(&few, 1.0), Err(Error::Setting { .. })));
    }
    for ratio in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        assert!(matches!(chi_square(&groups(&[10, 10], &[1.0, ratio])), Err(Error::Setting { .. })));
        assert!(matches!(sequential(&groups(&[10, 10], &[1.0, ratio]), 1.0), Err(Error::Setting { .. })));
    }
    assert!(matches!(sequential(&groups(&[10, 10], &[1.0, 1.0]), f64::NAN), Err(Error::Setting { .. })));
    assert_eq!(chi_square(&groups(&[20, 20], &[9.0, 1.0])), Err(Error::TooFewUsers { found: 40, least: 50 }));
    let most = sequential(&groups(&[u64::MAX, 0], &[1e-6, 1e6]), 1.0).unwrap();
    assert_eq!(most.p_value, 0.0);
    assert!(most.log_bayes_factor.is_finite());
}
