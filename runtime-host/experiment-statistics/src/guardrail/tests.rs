use super::*;
use crate::{Alpha, Estimate, Power};

fn judge(better: Better, margin: f64, value: f64) -> Judgement {
    let rule = Anytime::for_effect(Alpha::new(0.05).unwrap(), Power::new(0.8).unwrap(), 0.5).unwrap();
    let [treatment, control] = [1.0 + value, 1.0].map(|value| Estimate::new(value, 0.005, 1000).unwrap());
    Guardrail::new(better, margin).unwrap().judge(&Comparison::new(treatment, control).unwrap(), &rule).unwrap()
}

#[test]
fn it_is_harm_when_all_of_it_is_beyond_the_margin() {
    for (value, verdict) in [(-0.9, Verdict::Harm), (-0.3, Verdict::Open), (0.3, Verdict::Safe)] {
        assert_eq!(judge(Better::More, 0.2, value).verdict, verdict, "{value}");
        assert_eq!(judge(Better::Less, 0.2, -value).verdict, verdict, "{value}");
    }
    assert_eq!(judge(Better::More, 0.0, -0.5).verdict, Verdict::Harm);
    assert_eq!(judge(Better::More, 1.0, -0.5).verdict, Verdict::Safe);
}

#[test]
fn both_directions_have_the_same_bounds() {
    let (more, less) = (judge(Better::More, 0.2, -0.3).bounds, judge(Better::Less, 0.2, 0.3).bounds);
    assert!((more.low + less.high).abs() < 1e-12 && (more.high + less.low).abs() < 1e-12);
}

#[test]
fn a_margin_is_a_number_from_zero() {
    for margin in [-0.1, f64::NAN, f64::INFINITY] {
        assert!(matches!(Guardrail::new(Better::More, margin), Err(Error::Setting { .. })));
    }
}
