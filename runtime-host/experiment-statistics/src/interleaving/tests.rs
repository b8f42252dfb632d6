use super::*;

fn alpha() -> Alpha {
    Alpha::new(0.05).unwrap()
}

fn interleaved(users: &[(f64, f64)]) -> Interleaved {
    let mut interleaved = Interleaved::default();
    users.iter().for_each(|(treatment, control)| interleaved.add(*treatment, *control).unwrap());
    interleaved
}

#[test]
fn a_user_has_one_voice() {
    let test = interleaved(&[(9.0, 0.0), (2.0, 1.0), (0.0, 1.0), (3.0, 3.0)]).sign_test(alpha()).unwrap();
    assert_eq!((test.treatment, test.control, test.ties), (2, 1, 1));
    assert!((test.share - 2.0 / 3.0).abs() < 1e-15 && (test.preference() - 0.125).abs() < 1e-15);
    assert!((test.p_value - 1.0).abs() < 1e-12, "{test:?}");
}

#[test]
fn parts_are_merged() {
    let users = [(1.0, 0.0), (0.0, 2.0), (1.0, 1.0), (4.0, 1.0), (0.0, 0.0)];
    let mut parts = interleaved(&users[..2]);
    parts.merge(&interleaved(&users[2..]));
    let whole = interleaved(&users);
    assert_eq!(parts.sign_test(alpha()), whole.sign_test(alpha()));
    assert!((parts.credit().unwrap().value() - whole.credit().unwrap().value()).abs() < 1e-12);
}

#[test]
fn a_half_is_outside_when_the_p_value_is_at_most_alpha() {
    for users in 1..60_u64 {
        for treatment in 0..=users {
            let some = Interleaved { treatment, control: users - treatment, ..Interleaved::default() };
            let test = some.sign_test(alpha()).unwrap();
            assert_eq!(test.p_value <= 0.05, !test.interval.contains(0.5), "{test:?}");
            assert!(test.interval.contains(test.share), "{test:?}");
        }
    }
}

#[test]
fn a_half_is_outside_at_any_look_when_the_p_value_is_at_most_alpha() {
    let rule = Anytime::new(alpha(), 0.01).unwrap();
    for users in 1..60_u64 {
        for treatment in 0..=users {
            let some = Interleaved { treatment, control: users - treatment, ..Interleaved::default() };
            let (any, once) = (some.anytime(&rule, 1.0).unwrap(), some.sign_test(alpha()).unwrap());
            assert_eq!(any.p_value < 0.05, !any.interval.contains(0.5), "{any:?} {once:?}");
            assert!(any.interval.contains(once.share) && any.p_value > once.p_value - 1e-9, "{any:?} {once:?}");
        }
    }
    let few = Interleaved { treatment: 3, control: 2, ..Interleaved::default() };
    assert_eq!(few.anytime(&rule, 0.01).unwrap().p_value, 0.01, "it stays");
}

#[test]
fn what_no_share_varies_by_is_refused() {
    let one = interleaved(&[(1.0, 0.0)]);
    let rule = |mixing| Anytime::new(alpha(), mixing).unwrap();
    assert!(matches!(one.anytime(&rule(0.25), 1.0), Err(Error::Setting { .. })));
    assert!(one.anytime(&rule(0.2499), 1.0).is_ok());
    assert!(matches!(one.anytime(&rule(0.01), 2.0), Err(Error::Setting { .. })));
    let nobody = interleaved(&[(1.0, 1.0)]).anytime(&rule(0.01), 1.0);
    assert_eq!(nobody, Err(Error::TooFewUsers { found: 0, least: 1 }));
}

#[test]
fn what_has_no_answer_has_an_error() {
    let mut ties = interleaved(&[(1.0, 1.0), (0.0, 0.0)]);
    assert_eq!(ties.sign_test(alpha()), Err(Error::TooFewUsers { found: 0, least: 1 }));
    assert_eq!(ties.credit().unwrap().p_value(), Err(Error::NoVariance));
    for (treatment, control) in [(f64::NAN, 0.0), (0.0, f64::INFINITY), (1e50, -1e50)] {
        assert!(matches!(ties.add(treatment, control), Err(Error::Value(_))));
    }
    assert_eq!(ties, interleaved(&[(1.0, 1.0), (0.0, 0.0)]), "nothing was added");
    assert_eq!(Interleaved::default().credit(), Err(Error::TooFewUsers { found: 0, least: 2 }));
}
