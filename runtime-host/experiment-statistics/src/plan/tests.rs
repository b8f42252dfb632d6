use super::*;

fn plan(effect: f64, look: Look) -> Plan {
    Plan { effect, alpha: Alpha::new(0.05).unwrap(), power: Power::new(0.8).unwrap(), look }
}

fn side(variance_per_user: f64, share: f64) -> Side {
    Side { variance_per_user, share }
}

#[test]
fn the_rule_of_sixteen() {
    // 16 s² / δ² a group (van Belle), which rounds 15.7 up.
    let users = plan(0.1, Look::Once).users(side(1.0, 0.5), side(1.0, 0.5)).unwrap();
    assert_eq!((users.control, users.treatment), (1570, 1570));
    let anytime = plan(0.1, Look::Anytime).users(side(1.0, 0.5), side(1.0, 0.5)).unwrap();
    assert!((1.85..1.95).contains(&(anytime.control as f64 / 1570.0)), "{anytime:?}");
}

#[test]
fn groups_have_users_by_their_shares() {
    let users = plan(0.1, Look::Once).users(side(1.0, 0.8), side(1.0, 0.2)).unwrap();
    assert!(users.control.abs_diff(4 * users.treatment) <= 4, "{users:?}");
    // Of three groups, two are compared: the third takes nothing from them.
    let third = plan(0.1, Look::Once).users(side(1.0, 1.0 / 3.0), side(1.0, 1.0 / 3.0)).unwrap();
    assert_eq!((third.control, third.treatment), (1570, 1570));
}

#[test]
fn days_are_those_of_the_slower_group() {
    let needed = Users { control: 1000, treatment: 1000 };
    let have = |control, treatment| Users { control, treatment };
    assert_eq!(have(100, 100).days_left(&needed, 1.0), Some(9));
    assert_eq!(have(500, 100).days_left(&needed, 2.0), Some(18));
    assert_eq!(have(300, 2000).days_left(&needed, 3.0), Some(7));
    assert_eq!(have(300, 301).days_left(&needed, 3.0), Some(7));
    assert_eq!(have(1000, 1200).days_left(&needed, 3.0), Some(0));
    assert_eq!(have(0, 1200).days_left(&needed, 3.0), None);
    for days in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        assert_eq!(have(10, 10).days_left(&needed, days), None);
    }
}

#[test]
fn what_has_no_answer_has_an_error() {
    let even = side(1.0, 0.5);
    for effect in [0.0, f64::NAN, f64::INFINITY] {
        assert!(matches!(plan(effect, Look::Once).users(even, even), Err(Error::Setting { .. })));
    }
    for bad in [side(-1.0, 0.5), side(f64::NAN, 0.5), side(1.0, 0.0), side(1.0, 1.1), side(1.0, f64::NAN)] {
        assert!(matches!(plan(0.1, Look::Once).users(even, bad), Err(Error::Setting { .. })));
    }
    assert_eq!(plan(0.1, Look::Once).users(side(0.0, 0.5), side(0.0, 0.5)), Err(Error::NoVariance));
    assert_eq!(plan(1e-30, Look::Once).users(even, even), Err(Error::TooLarge));
    assert_eq!(plan(1e-300, Look::Once).users(even, even), Err(Error::TooLarge));
    assert_eq!(plan(1e9, Look::Once).users(even, even).unwrap().control, 2);
}
