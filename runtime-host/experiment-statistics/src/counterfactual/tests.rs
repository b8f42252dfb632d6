use super::*;

fn impression(reward: f64, logged: f64, target: f64) -> Impression {
    Impression { reward, logged, target }
}

fn of(clip: Option<f64>, users: &[Vec<Impression>]) -> Counterfactual {
    let mut counterfactual = Counterfactual::new(clip).unwrap();
    users.iter().for_each(|user| counterfactual.add(user.iter().copied()).unwrap());
    counterfactual
}

#[test]
fn the_same_ranker_comes_to_what_was_seen() {
    let users: Vec<Vec<Impression>> =
        (0..20).map(|user| (0..=user % 4).map(|at| impression(f64::from(at % 2), 0.3, 0.3)).collect()).collect();
    let same = of(Some(1.0), &users);
    let seen = users.iter().flatten().map(|seen| seen.reward).sum::<f64>() / users.concat().len() as f64;
    for estimate in [same.ips().unwrap(), same.snips().unwrap()] {
        assert!((estimate.value() - seen).abs() < 1e-12);
    }
    let weights = same.weights().unwrap();
    assert_eq!((weights.mean, weights.lost, weights.clipped), (1.0, 0.0, 0));
    assert!((weights.effective - users.concat().len() as f64).abs() < 1e-9);
}

#[test]
fn clipping_is_said() {
    let users = [vec![impression(1.0, 0.01, 0.5), impression(0.0, 0.5, 0.25)], vec![impression(0.0, 0.5, 0.5)]];
    let clipped = of(Some(10.0), &users);
    let weights = clipped.weights().unwrap();
    assert_eq!((weights.clip, weights.impressions, weights.clipped), (Some(10.0), 3, 1));
    assert!((weights.lost - 40.0 / 3.0).abs() < 1e-12 && (weights.mean - 11.5 / 3.0).abs() < 1e-12);
    let lost = of(None, &users).ips().unwrap().value() - clipped.ips().unwrap().value();
    assert!(lost > 0.0 && lost <= weights.lost);
    assert!(clipped.snips().unwrap().value() <= 1.0);
}

#[test]
fn what_has_no_answer_has_an_error() {
    for clip in [0.9, -1.0, f64::NAN, f64::INFINITY] {
        assert!(matches!(Counterfactual::new(Some(clip)), Err(Error::Setting { .. })));
    }
    let mut none = Counterfactual::new(None).unwrap();
    assert_eq!(none.weights(), None);
    assert_eq!(none.ips(), Err(Error::TooFewUsers { found: 0, least: 2 }));
    let fine = impression(1.0, 0.5, 0.5);
    for bad in [
        impression(1.0, 0.0, 0.5),
        impression(1.0, 1.1, 0.5),
        impression(1.0, f64::NAN, 0.5),
        impression(1.0, 0.5, -0.1),
        impression(1.0, 0.5, f64::NAN),
        impression(f64::NAN, 0.5, 0.5),
        impression(1.0, 1e-60, 0.5),
    ] {
        assert!(none.add([fine, bad]).is_err(), "{bad:?}");
    }
    assert_eq!(none, Counterfactual::new(None).unwrap(), "nothing was added");
    // The target shows nothing of what was shown.
    let unseen = of(None, &[vec![impression(1.0, 0.5, 0.0)], vec![impression(0.0, 0.5, 0.0)]]);
    assert_eq!(unseen.snips(), Err(Error::NoDenominator));
    assert_eq!(unseen.weights().unwrap().effective, 0.0);
    // Nobody saw anything.
    assert_eq!(of(None, &[vec![], vec![]]).ips(), Err(Error::NoDenominator));
}
