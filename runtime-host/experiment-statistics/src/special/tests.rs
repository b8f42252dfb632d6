use serde_json::Value;

use super::*;

/// Cases of arguments and, last, what SciPy or mpmath makes of them.
fn cases<const N: usize>(name: &str) -> Vec<[f64; N]> {
    let oracle: Value = serde_json::from_str(include_str!("../../tests/oracle.json")).unwrap();
    let rows: Vec<Vec<f64>> = serde_json::from_value(oracle["distributions"][name].clone()).unwrap();
    rows.into_iter().map(|row| row.try_into().unwrap()).collect()
}

fn close(found: f64, expected: f64, case: &[f64]) {
    assert!((found - expected).abs() <= 1e-10 * expected.abs(), "{case:?}: {found:e}, not {expected:e}");
}

#[test]
fn distributions_are_those_of_scipy() {
    cases("normal_above").iter().for_each(|case @ [z, above]| close(normal_above(*z), *above, case));
    cases("normal_quantile_above").iter().for_each(|case @ [above, z]| close(normal_quantile_above(*above), *z, case));
    cases("student_beyond").iter().for_each(|case @ [t, degrees, p]| close(student_beyond(*t, *degrees), *p, case));
    cases("student_quantile_beyond")
        .iter()
        .for_each(|case @ [p, degrees, t]| close(student_quantile_beyond(*p, *degrees), *t, case));
    cases("chi_square_above").iter().for_each(|case @ [x, degrees, p]| close(chi_square_above(*x, *degrees), *p, case));
    cases("beta_below").iter().for_each(|case @ [x, a, b, p]| close(beta_below(*x, 1.0 - x, *a, *b), *p, case));
    cases("beta_quantile").iter().for_each(|case @ [p, a, b, x]| close(beta_quantile(*p, *a, *b), *x, case));
    cases("entropy_excess").iter().for_each(|case @ [x, excess]| close(entropy_excess(*x), *excess, case));
    for case @ [z, error] in cases("stirling_error") {
        assert!((stirling_error(z) - error).abs() < 1e-14, "{case:?}");
    }
}

#[test]
fn extremes_are_no_trouble() {
    for degrees in [1.0, 30.0, 1e6, 1e12] {
        assert_eq!(student_beyond(0.0, degrees), 1.0);
        assert!((0.0..1e-40).contains(&student_beyond(1e100, degrees)) || degrees < 2.0);
        assert!(student_quantile_beyond(1e-300, degrees) >= student_quantile_beyond(0.9, degrees));
    }
    assert!((student_beyond(1.96, 1e12) - 2.0 * normal_above(1.96)).abs() < 1e-11);
    assert_eq!((chi_square_above(0.0, 3.0), chi_square_above(1e9, 3.0)), (1.0, 0.0));
    assert_eq!((beta_below(0.0, 1.0, 2.0, 3.0), beta_below(1.0, 0.0, 2.0, 3.0)), (0.0, 1.0));
    assert_eq!(entropy_excess(-1.0), 1.0);
    assert!(normal_quantile_above(f64::MIN_POSITIVE) < 39.0);
}
