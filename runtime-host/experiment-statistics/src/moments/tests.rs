use proptest::prelude::*;

use super::*;

fn pair(users: &[(f64, f64)]) -> Pair {
    let mut pair = Pair::default();
    users.iter().for_each(|(x, y)| pair.add(*x, *y).unwrap());
    pair
}

fn merged(parts: &[Pair]) -> Pair {
    parts.iter().fold(Pair::default(), |mut sum, part| {
        sum.merge(part);
        sum
    })
}

/// Equal, but for rounding of values up to `size` in so many users.
fn assert_equal(one: &Pair, other: &Pair, size: f64) -> Result<(), TestCaseError> {
    prop_assert_eq!(one.users(), other.users());
    let near = |one: f64, other: f64, size: f64| (one - other).abs() <= 1e-12 * size;
    let squares = size * size * one.users() as f64;
    prop_assert!(near(one.x.mean, other.x.mean, size) && near(one.y.mean, other.y.mean, size));
    prop_assert!(near(one.x.squares, other.x.squares, squares) && near(one.y.squares, other.y.squares, squares));
    prop_assert!(near(one.products, other.products, squares));
    Ok(())
}

proptest! {
    #[test]
    fn parts_are_merged_in_any_order(
        parts in prop::collection::vec(prop::collection::vec((-1e3..1e3_f64, -1e3..1e3_f64), 0..20), 3),
    ) {
        let whole = pair(&parts.concat());
        let [one, two, three] = [0, 1, 2].map(|at| pair(&parts[at]));
        assert_equal(&merged(&[one, two, three]), &whole, 1e3)?;
        assert_equal(&merged(&[three, one, two]), &whole, 1e3)?;
        assert_equal(&merged(&[one, merged(&[two, three])]), &whole, 1e3)?;
        prop_assert_eq!(merged(&[one, Pair::default()]), one);
    }

    #[test]
    fn a_scale_scales(users in prop::collection::vec((0.0..50.0_f64, 1.0..50.0_f64), 2..40), by in 0.01..100.0_f64) {
        let scaled: Vec<(f64, f64)> = users.iter().map(|(x, y)| (x * by, *y)).collect();
        let (one, other) = (pair(&users).ratio().unwrap(), pair(&scaled).ratio().unwrap());
        prop_assert!((one.value() * by - other.value()).abs() <= 1e-10 * other.value());
        prop_assert!((one.variance() * by * by - other.variance()).abs() <= 1e-8 * other.variance() + 1e-12 * by * by);
    }
}

#[test]
fn a_large_mean_does_not_drown_a_small_spread() {
    let mut moments = Moments::default();
    (0..1000).for_each(|user| moments.add(1e9 + f64::from(user % 2)).unwrap());
    let mean = moments.mean().unwrap();
    assert!((mean.variance_per_user() - 0.25 * 1000.0 / 999.0).abs() < 1e-7, "{mean:?}");
}

#[test]
fn a_ratio_of_ones_is_a_mean() {
    let users: Vec<(f64, f64)> = (0..50).map(|user| (f64::from(user * user % 11), 1.0)).collect();
    let pair = pair(&users);
    let (ratio, mean) = (pair.ratio().unwrap(), pair.numerator().mean().unwrap());
    assert!((ratio.value() - mean.value()).abs() < 1e-12 && (ratio.variance() - mean.variance()).abs() < 1e-12);
}

#[test]
fn users_with_one_ratio_have_no_spread() {
    let users: Vec<(f64, f64)> = (1..50).map(|user| (0.1 * f64::from(user), f64::from(user))).collect();
    assert_eq!(pair(&users).ratio().unwrap().variance(), 0.0);
}

#[test]
fn what_has_no_answer_has_an_error() {
    let mut pair = Pair::default();
    assert_eq!(pair.ratio(), Err(Error::TooFewUsers { found: 0, least: 2 }));
    for (x, y) in [(f64::NAN, 1.0), (1.0, f64::NAN), (f64::INFINITY, 1.0), (1.0, -1e51)] {
        assert!(matches!(pair.add(x, y), Err(Error::Value(_))));
    }
    assert_eq!(pair, Pair::default(), "nothing was added");
    pair.add(1.0, 0.0).unwrap();
    assert_eq!(pair.numerator().mean(), Err(Error::TooFewUsers { found: 1, least: 2 }));
    pair.add(2.0, 0.0).unwrap();
    assert_eq!(pair.ratio(), Err(Error::NoDenominator));
    pair.add(0.0, 1e-300).unwrap();
    assert_eq!(pair.ratio(), Err(Error::TooLarge));
    let mut huge = Moments::default();
    [1e50, -1e50].into_iter().for_each(|x| huge.add(x).unwrap());
    assert!(huge.mean().is_ok_and(|mean| mean.value() == 0.0) || huge.mean() == Err(Error::TooLarge));
}
