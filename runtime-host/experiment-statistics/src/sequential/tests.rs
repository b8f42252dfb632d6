use proptest::prelude::*;

use super::*;

fn alpha(alpha: f64) -> Alpha {
    Alpha::new(alpha).unwrap()
}

fn rule() -> impl Strategy<Value = Anytime> {
    (1e-6..0.9_f64, -12.0..12.0_f64).prop_map(|(a, log)| Anytime::new(alpha(a), log.exp()).unwrap())
}

fn estimate() -> impl Strategy<Value = Estimate> {
    (-20.0..20.0_f64, -8.0..8.0_f64).prop_map(|(value, log)| Estimate::new(value, log.exp(), 1000).unwrap())
}

proptest! {
    #[test]
    fn p_value_and_interval_agree(rule in rule(), of in estimate()) {
        let p_value = rule.p_value(&of, 1.0).unwrap();
        prop_assume!((p_value / rule.alpha().get() - 1.0).abs() > 1e-9);
        prop_assert_eq!(p_value <= rule.alpha().get(), !rule.interval(&of).unwrap().contains(0.0));
    }

    #[test]
    fn it_is_wider_than_for_one_look_and_nearest_where_it_was_planned(rule in rule(), of in estimate(), by in 0.01..100.0_f64) {
        let planned = Anytime::for_variance(rule.alpha(), of.variance()).unwrap();
        let other = Anytime::new(rule.alpha(), planned.mixing() * by).unwrap();
        prop_assert!(planned.critical(&of) <= other.critical(&of) * (1.0 + 1e-12));
        prop_assert!((planned.critical(&of) / narrowest(rule.alpha()) - 1.0).abs() < 1e-9);
        prop_assert!(of.critical(rule.alpha()) < rule.critical(&of));
    }

    #[test]
    fn one_side_is_nearer_than_two(rule in rule(), of in estimate()) {
        prop_assume!(rule.alpha().get() <= 0.3);
        let (one, two) = (rule.one_sided(&of).unwrap(), rule.interval(&of).unwrap());
        prop_assert!(two.low < one.low && one.high < two.high && one.low < one.high);
    }
}

#[test]
fn a_p_value_never_grows() {
    let rule = Anytime::for_effect(alpha(0.05), Power::new(0.8).unwrap(), 0.1).unwrap();
    let looks = [0.5, 0.01, 0.3].map(|value| Estimate::new(value, 0.01, 1000).unwrap());
    let first = rule.p_value(&looks[0], 1.0).unwrap();
    assert_eq!(rule.p_value(&looks[1], first).unwrap(), first);
    assert!(first < rule.p_value(&looks[2], 1.0).unwrap());
    assert_eq!(rule.p_value(&looks[2], 0.0).unwrap(), 0.0);
}

#[test]
fn the_best_mixture_is_that_of_lambert() {
    // -W₋₁(-0.05² / e) - 1.
    assert!((best(alpha(0.05)) - 8.211_968_062_068).abs() < 1e-11);
    for a in [1e-300, 1e-9, 0.5, 0.999, 1.0 - f64::EPSILON] {
        let m = best(alpha(a));
        let off = m - m.ln_1p() + 2.0 * a.ln();
        assert!(off.abs() <= 1e-12 * m.max(1.0), "{a}: {m}");
    }
}

#[test]
fn what_has_no_answer_has_an_error() {
    for mixing in [0.0, -1.0, f64::NAN, f64::INFINITY, 1e101] {
        assert!(matches!(Anytime::new(alpha(0.05), mixing), Err(Error::Setting { .. })));
        assert!(matches!(Anytime::for_variance(alpha(0.05), mixing), Err(Error::Setting { .. })));
    }
    for effect in [0.0, f64::NAN, f64::INFINITY] {
        assert!(Anytime::for_effect(alpha(0.05), Power::new(0.8).unwrap(), effect).is_err());
    }
    let rule = Anytime::new(alpha(0.05), 1.0).unwrap();
    let few = Estimate::new(1.0, 1.0, 99).unwrap();
    assert_eq!(rule.interval(&few), Err(Error::TooFewUsers { found: 99, least: 100 }));
    assert_eq!(rule.one_sided(&few), Err(Error::TooFewUsers { found: 99, least: 100 }));
    let certain = Estimate::new(1.0, 0.0, 100).unwrap();
    assert_eq!(rule.p_value(&certain, 1.0), Err(Error::NoVariance));
    for previous in [-0.1, 1.1, f64::NAN] {
        assert!(matches!(rule.p_value(&few, previous), Err(Error::Setting { .. })));
    }
}

#[test]
fn extremes_give_numbers() {
    for mixing in [1e-100, 1.0, 1e100] {
        for variance in [1e-100, 1.0, 1e100] {
            for value in [-1e50, 0.0, 1e-50, 1e50] {
                for a in [1e-300, 0.05, 1.0 - f64::EPSILON] {
                    let rule = Anytime::new(alpha(a), mixing).unwrap();
                    let of = Estimate::new(value, variance, 100).unwrap();
                    let p_value = rule.p_value(&of, 1.0).unwrap();
                    assert!((0.0..=1.0).contains(&p_value), "{mixing} {variance} {value} {a}: {p_value}");
                    for ends in [rule.interval(&of).unwrap(), rule.one_sided(&of).unwrap()] {
                        assert!(ends.low <= ends.high, "{mixing} {variance} {value} {a}: {ends:?}");
                    }
                }
            }
        }
    }
}
