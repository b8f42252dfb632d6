use super::*;

#[test]
fn zero_is_outside_of_the_interval_when_the_p_value_is_at_most_alpha() {
    let alpha = Alpha::new(0.03).unwrap();
    for at in 0..4000 {
        let estimate = Estimate::new(f64::from(at) / 1000.0, 1.0, 12).unwrap();
        let outside = !estimate.interval(alpha).unwrap().contains(0.0);
        assert_eq!(estimate.p_value().unwrap() <= 0.03, outside, "{at}");
    }
}

#[test]
fn a_difference_has_the_degrees_of_what_varies() {
    let (sure, unsure) = (Estimate::new(1.0, 0.0, 1000).unwrap(), Estimate::new(3.0, 0.5, 10).unwrap());
    let difference = unsure.minus(&sure).unwrap();
    assert_eq!((difference.value(), difference.variance(), difference.users()), (2.0, 0.5, 10));
    assert_eq!(difference.degrees, 9.0);
    let alike = unsure.minus(&unsure).unwrap();
    assert_eq!((alike.value(), alike.variance(), alike.degrees), (0.0, 1.0, 18.0));
}

#[test]
fn what_has_no_answer_has_an_error() {
    assert_eq!(Estimate::new(0.0, 1.0, 1), Err(Error::TooFewUsers { found: 1, least: 2 }));
    for (value, variance) in [(f64::NAN, 1.0), (1e51, 1.0), (0.0, f64::NAN), (0.0, f64::INFINITY), (0.0, 1e101)] {
        assert_eq!(Estimate::new(value, variance, 9), Err(Error::TooLarge));
    }
    assert!(matches!(Estimate::new(0.0, -1.0, 9), Err(Error::Setting { .. })));
    let certain = Estimate::new(1.0, 1e-200, 9).unwrap();
    assert_eq!(certain.variance(), 0.0);
    assert_eq!(certain.p_value(), Err(Error::NoVariance));
    assert_eq!(certain.interval(Alpha::new(0.5).unwrap()), Err(Error::NoVariance));
    assert_eq!(
        Estimate::new(1e50, 0.0, 9).unwrap().minus(&Estimate::new(-1e50, 0.0, 9).unwrap()),
        Err(Error::TooLarge)
    );
    for alpha in [0.0, 1.0, -1.0, f64::NAN, f64::INFINITY] {
        assert!(matches!(Alpha::new(alpha), Err(Error::Setting { .. })));
        assert!(matches!(crate::Power::new(alpha), Err(Error::Setting { .. })));
    }
}
