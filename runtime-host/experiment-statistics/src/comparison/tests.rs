use proptest::prelude::*;

use super::*;
use crate::Error;

fn estimate(value: f64, variance: f64) -> Estimate {
    Estimate::new(value, variance, 500).unwrap()
}

proptest! {
    #[test]
    fn a_lift_leaves_zero_when_the_difference_does(
        (t, c) in (0.01..5.0_f64, 0.5..5.0_f64), (var_t, var_c) in (1e-4..0.5_f64, 1e-4..0.5_f64), mixing in 1e-3..10.0_f64,
    ) {
        let comparison = Comparison::new(estimate(t, var_t), estimate(c, var_c)).unwrap();
        let alpha = Alpha::new(0.05).unwrap();
        let rule = Anytime::new(alpha, mixing).unwrap();
        for reading in [comparison.once(alpha).unwrap(), comparison.anytime(&rule, 1.0).unwrap()] {
            let Some(lift) = reading.lift else { continue };
            let point = comparison.lift().unwrap();
            prop_assert!(lift.low <= point && point <= lift.high);
            prop_assume!(reading.difference.low.abs().min(reading.difference.high.abs()) > 1e-9);
            prop_assert_eq!(lift.contains(0.0), reading.difference.contains(0.0));
        }
    }
}

#[test]
fn of_a_control_that_is_known_it_is_the_difference_over_it() {
    let comparison = Comparison::new(estimate(2.2, 0.01), estimate(2.0, 0.0)).unwrap();
    let reading = comparison.once(Alpha::new(0.1).unwrap()).unwrap();
    let lift = reading.lift.unwrap();
    assert!((lift.low - reading.difference.low / 2.0).abs() < 1e-12);
    assert!((lift.high - reading.difference.high / 2.0).abs() < 1e-12);
}

#[test]
fn a_control_that_may_be_zero_has_no_lift() {
    let alpha = Alpha::new(0.05).unwrap();
    for (value, variance) in [(0.1, 0.01), (0.0, 0.0), (-1.0, 1e-6)] {
        let comparison = Comparison::new(estimate(1.0, 0.01), estimate(value, variance)).unwrap();
        assert_eq!(comparison.once(alpha).unwrap().lift, None);
        assert_eq!(comparison.lift().is_some(), value > 0.0);
    }
}

#[test]
fn groups_that_are_all_alike_are_not_compared() {
    assert_eq!(Comparison::new(estimate(1.0, 0.0), estimate(2.0, 0.0)), Err(Error::NoVariance));
}

#[test]
fn extremes_give_numbers() {
    let alpha = Alpha::new(1e-300).unwrap();
    for (t, c) in [(1e50, 1e-50), (1e-50, 1e50), (4e49, 4e49), (1e-200, 1e-200), (0.0, 1.0)] {
        for variance in [1e-100, 1.0, 4e99] {
            let comparison = Comparison::new(estimate(t, variance), estimate(c, variance)).unwrap();
            let rule = Anytime::new(alpha, 1e-100).unwrap();
            for reading in [comparison.once(alpha).unwrap(), comparison.anytime(&rule, 1.0).unwrap()] {
                assert!(reading.difference.low <= reading.difference.high, "{reading:?}");
                assert!((0.0..=1.0).contains(&reading.p_value), "{reading:?}");
                assert!(reading.lift.is_none_or(|lift| lift.low <= lift.high), "{reading:?}");
            }
            assert!(comparison.lift().is_none_or(f64::is_finite));
        }
    }
}

#[test]
fn against_an_end_of_the_lift_nothing_is_left() {
    let comparison = Comparison::new(estimate(1.3, 0.02), estimate(2.0, 0.01)).unwrap();
    let alpha = Alpha::new(0.05).unwrap();
    let lift = comparison.lift().unwrap();
    assert!(comparison.against(lift).unwrap().difference().value().abs() < 1e-12);
    // Fieller's interval is of all lifts that are not refused; degrees of freedom differ a little.
    let interval = comparison.once(alpha).unwrap().lift.unwrap();
    for (end, is_low) in [(interval.low, true), (interval.high, false)] {
        let left = comparison.against(end).unwrap().once(alpha).unwrap().difference;
        let nearest = if is_low { left.low } else { left.high };
        assert!(nearest.abs() < 1e-3, "{end}: {left:?}");
    }
}
