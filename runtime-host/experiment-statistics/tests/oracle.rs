//! The numbers of SciPy, statsmodels and mpmath: see `oracle.py` beside this file.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test: what is not as expected fails it")]

use funnelweb_experiment_statistics::{
    Alpha, Anytime, Comparison, Counterfactual, Estimate, Impression, Interleaved, Interval, Look, Pair, Plan, Power,
    Side, holm,
    mismatch::{self, Group},
};
use serde_json::Value;

fn oracle(name: &str) -> Value {
    let mut all: Value = serde_json::from_str(include_str!("oracle.json")).unwrap();
    all[name].take()
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap()
}

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(number).collect()
}

fn close(found: f64, expected: &Value) {
    let expected = number(expected);
    assert!((found - expected).abs() <= 1e-10 * expected.abs(), "{found:e}, not {expected:e}");
}

fn close_ends(found: Interval, expected: &Value) {
    // Relative to its width: an end may be next to zero.
    let scale = (number(&expected[1]) - number(&expected[0])).abs();
    for (found, expected) in [(found.low, &expected[0]), (found.high, &expected[1])] {
        assert!((found - number(expected)).abs() <= 1e-10 * scale, "{found:e}, not {expected}");
    }
}

fn close_estimate(found: &Estimate, expected: &Value) {
    close(found.value(), &expected[0]);
    close(found.variance(), &expected[1]);
}

fn alpha(value: &Value) -> Alpha {
    Alpha::new(number(value)).unwrap()
}

#[test]
fn groups_are_compared() {
    let oracle = oracle("comparison");
    let group = |name: &str| {
        let mut pair = Pair::default();
        let users = numbers(&oracle[name]["clicks"]).into_iter().zip(numbers(&oracle[name]["impressions"]));
        users.for_each(|(clicks, impressions)| pair.add(clicks, impressions).unwrap());
        pair
    };
    let (treatment, control) = (group("treatment"), group("control"));
    let means = (treatment.numerator().mean().unwrap(), control.numerator().mean().unwrap());
    let ratios = (treatment.ratio().unwrap(), control.ratio().unwrap());
    for (name, (treatment, control)) in [("mean", means), ("ratio", ratios)] {
        let expected = &oracle[name];
        close_estimate(&treatment, &expected["treatment"]);
        close_estimate(&control, &expected["control"]);
        let comparison = Comparison::new(treatment, control).unwrap();
        close(comparison.difference().value(), &expected["difference"]);
        let reading = comparison.once(Alpha::new(0.05).unwrap()).unwrap();
        close_ends(reading.difference, &expected["interval"]);
        close_ends(reading.lift.unwrap(), &expected["lift"]);
        close(reading.p_value, &expected["p_value"]);
    }
}

#[test]
fn mixtures_are_integrated() {
    for case in oracle("anytime").as_array().unwrap() {
        let rule = Anytime::new(alpha(&case["alpha"]), number(&case["mixing"])).unwrap();
        let of = Estimate::new(number(&case["value"]), number(&case["variance"]), 1000).unwrap();
        close(rule.p_value(&of, 1.0).unwrap(), &case["p_value"]);
        close_ends(rule.interval(&of).unwrap(), &case["interval"]);
        close_ends(rule.one_sided(&of).unwrap(), &case["one_sided"]);
    }
}

#[test]
fn it_is_the_asymptotic_confidence_sequence() {
    for case in oracle("confidence_sequence").as_array().unwrap() {
        let [users, spread, rho, level, half] = numbers(case).try_into().unwrap();
        // ρ is of values that were divided by their spread.
        let rule = Anytime::new(Alpha::new(level).unwrap(), rho * rho * spread * spread).unwrap();
        let of = Estimate::new(0.0, spread * spread / users, users as u64).unwrap();
        close(rule.interval(&of).unwrap().high, &half.into());
    }
}

#[test]
fn mismatches_are_told() {
    for case in oracle("mismatch").as_array().unwrap() {
        let users = case["users"].as_array().unwrap().iter().map(|users| users.as_u64().unwrap());
        let groups: Vec<Group> =
            users.zip(numbers(&case["ratios"])).map(|(users, ratio)| Group { users, ratio }).collect();
        let test = mismatch::chi_square(&groups).unwrap();
        close(test.statistic, &case["statistic"]);
        close(test.p_value, &case["p_value"]);
        let sequential = mismatch::sequential(&groups, 1.0).unwrap();
        close(sequential.log_bayes_factor, &case["log_bayes_factor"]);
        assert_eq!(sequential.p_value, (-sequential.log_bayes_factor).exp().min(1.0));
    }
}

#[test]
fn plans_have_as_many_users() {
    for case in oracle("plan").as_array().unwrap() {
        let share = number(&case["treatment_share"]);
        let side = |share| Side { variance_per_user: number(&case["variance"]), share };
        let power = Power::new(number(&case["power"])).unwrap();
        for (look, name) in [(Look::Once, "once"), (Look::Anytime, "anytime")] {
            let plan = Plan { effect: number(&case["effect"]), alpha: alpha(&case["alpha"]), power, look };
            let users = plan.users(side(1.0 - share), side(share)).unwrap();
            assert_eq!(serde_json::json!([users.control, users.treatment]), case[name], "{case}");
        }
        let rule = Anytime::for_effect(alpha(&case["alpha"]), power, number(&case["effect"])).unwrap();
        close(rule.mixing(), &case["mixing"]);
    }
}

#[test]
fn p_values_are_corrected() {
    let [found, expected] = [0, 1].map(|at| numbers(&oracle("holm")[at]));
    for (found, expected) in holm(&found).unwrap().into_iter().zip(expected) {
        close(found, &expected.into());
    }
}

#[test]
fn interleaved_users_are_tested() {
    let alpha = Alpha::new(0.05).unwrap();
    for case in oracle("signs").as_array().unwrap() {
        let mut interleaved = Interleaved::default();
        let mut add = |name: &str, treatment, control| {
            (0..case[name].as_u64().unwrap()).for_each(|_| interleaved.add(treatment, control).unwrap());
        };
        add("treatment", 1.0, 0.0);
        add("control", 0.0, 1.0);
        let test = interleaved.sign_test(alpha).unwrap();
        close(test.p_value, &case["p_value"]);
        close_ends(test.interval, &case["interval"]);
    }
    for case in oracle("preferences").as_array().unwrap() {
        let mut interleaved = Interleaved::default();
        let count = |name: &str| case[name].as_u64().unwrap();
        (0..count("treatment")).for_each(|_| interleaved.add(1.0, 0.0).unwrap());
        (0..count("control")).for_each(|_| interleaved.add(0.0, 1.0).unwrap());
        let rule = Anytime::new(Alpha::new(number(&case["alpha"])).unwrap(), number(&case["mixing"])).unwrap();
        let found = interleaved.anytime(&rule, 1.0).unwrap();
        close(found.p_value, &case["p_value"]);
        close_ends(found.interval, &case["interval"]);
    }
    let case = oracle("credits");
    let mut interleaved = Interleaved::default();
    let users = numbers(&case["treatment"]).into_iter().zip(numbers(&case["control"]));
    users.for_each(|(treatment, control)| interleaved.add(treatment, control).unwrap());
    let credit = interleaved.credit().unwrap();
    close(credit.value(), &case["value"]);
    close(credit.p_value().unwrap(), &case["p_value"]);
    close_ends(credit.interval(alpha).unwrap(), &case["interval"]);
}

#[test]
fn other_rankers_are_estimated() {
    for case in oracle("counterfactual").as_array().unwrap() {
        let rows: Vec<[f64; 4]> = serde_json::from_value(case["impressions"].clone()).unwrap();
        let mut counterfactual = Counterfactual::new(case["clip"].as_f64()).unwrap();
        for user in rows.chunk_by(|one, other| one[0] == other[0]) {
            let impressions = user.iter().map(|[_, reward, logged, target]| Impression {
                reward: *reward,
                logged: *logged,
                target: *target,
            });
            counterfactual.add(impressions).unwrap();
        }
        close_estimate(&counterfactual.ips().unwrap(), &case["ips"]);
        close_estimate(&counterfactual.snips().unwrap(), &case["snips"]);
        let weights = counterfactual.weights().unwrap();
        assert_eq!(Some(weights.clipped), case["clipped"].as_u64());
        close(weights.mean, &case["mean"]);
        close(weights.lost, &case["lost"]);
        close(weights.effective, &case["effective"]);
    }
}
