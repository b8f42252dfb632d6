use proptest::prelude::*;

use super::*;

fn config(resamples: u32) -> Config {
    Config { resamples, ..Config::default() }
}

fn column(users: usize, seed: u64, value: impl Fn(f64) -> f64) -> Vec<f32> {
    let mut random = Xoshiro256PlusPlus::seed_from_u64(seed);
    (0..users).map(|_| value((random.next_u64() >> 11) as f64 / (1_u64 << 53) as f64) as f32).collect()
}

#[test]
fn the_normal_distribution_is_inverted() {
    for (share, z) in [(0.5, 0.0), (0.975, 1.959_963_985), (0.025, -1.959_963_985), (0.001, -3.090_232_306)] {
        assert!((normal_quantile(share) - z).abs() < 1e-8, "{share}");
        assert!((normal(z) - share).abs() < 1e-9, "{z}");
    }
}

#[test]
fn a_skewed_case_is_what_scipy_says() {
    let case: serde_json::Value = serde_json::from_str(include_str!("../metrics/expected.json")).unwrap();
    let values: Vec<f32> = serde_json::from_value(case["bca"]["values"].clone()).unwrap();
    let [low, high]: [f64; 2] = serde_json::from_value(case["bca"]["interval"].clone()).unwrap();
    let found = Bootstrap::new(vec![&values], &config(10_000)).unwrap().mean(0).unwrap();
    let width = high - low;
    assert!((found.low - low).abs() < 0.03 * width && (found.high - high).abs() < 0.03 * width, "{found:?}");
    assert!(found.high - found.mean > 1.5 * (found.mean - found.low), "it leans to where the tail is");
}

#[test]
fn of_many_users_it_is_the_normal_interval() {
    let values = column(4000, 3, |x| x);
    let found = Bootstrap::new(vec![&values], &config(4000)).unwrap().mean(0).unwrap();
    let half = 1.96 * (1.0_f64 / 12.0 / 4000.0).sqrt();
    for end in [found.mean - found.low, found.high - found.mean] {
        assert!((end / half - 1.0).abs() < 0.06, "{found:?} {half}");
    }
    assert_eq!(found.users, 4000);
}

#[test]
fn intervals_hold_the_truth_as_often_as_they_say() {
    let holds = (0..300).filter(|seed| {
        let values = column(60, 1000 + seed, |x| if x < 0.3 { 1.0 } else { 0.0 });
        let config = Config { resamples: 300, level: 0.9, seed: *seed };
        let found = Bootstrap::new(vec![&values], &config).unwrap().mean(0).unwrap();
        (found.low..=found.high).contains(&0.3)
    });
    let share = holds.count() as f64 / 300.0;
    assert!((0.84..=0.95).contains(&share), "{share}");
}

#[test]
fn a_paired_difference_is_narrower_than_its_parts() {
    let one = column(500, 5, |x| x);
    let better: Vec<f32> =
        one.iter().zip(column(500, 6, |x| x)).map(|(one, noise)| one + 0.02 + 0.02 * noise).collect();
    let bootstrap = Bootstrap::new(vec![&better, &one], &config(1000)).unwrap();
    let (a, b) = (bootstrap.mean(0).unwrap(), bootstrap.mean(1).unwrap());
    assert!(a.low < b.high, "apart they cannot be told from each other");
    let difference = bootstrap.difference(0, 1).unwrap();
    assert!(difference.low > 0.025 && difference.high < 0.035, "{difference:?}");
    let reverse = bootstrap.difference(1, 0).unwrap();
    assert!((reverse.mean + difference.mean).abs() < 1e-12 && reverse.high < 0.0);
}

#[test]
fn users_without_a_value_are_not_in_the_mean() {
    let mut values = column(90, 8, |x| x);
    let all = Bootstrap::new(vec![&values], &config(500)).unwrap().mean(0).unwrap();
    values.extend([f32::NAN; 10]);
    let other = vec![0.0; 100];
    let nobody = vec![f32::NAN; 100];
    let bootstrap = Bootstrap::new(vec![&values, &other, &nobody], &config(500)).unwrap();
    let found = bootstrap.mean(0).unwrap();
    assert!((found.mean - all.mean).abs() < 1e-12 && found.users == 90);
    assert!((found.high - all.high).abs() < 0.02, "{found:?} {all:?}");
    assert_eq!(bootstrap.difference(0, 1), None);
    assert_eq!(bootstrap.mean(2), None);
    assert_eq!(bootstrap.mean(3), None);
    let level = bootstrap.mean(1).unwrap();
    assert_eq!((level.mean, level.low, level.high), (0.0, 0.0, 0.0));
}

#[test]
fn what_cannot_be_drawn_from_is_refused() {
    let fault = |columns: Vec<&[f32]>, config: Config| Bootstrap::new(columns, &config).err().unwrap().to_string();
    assert_eq!(fault(vec![&[1.0]], config(99)), "resamples must be 100 to 10000, not 99");
    assert_eq!(fault(vec![&[1.0]], config(10_001)), "resamples must be 100 to 10000, not 10001");
    assert!((*limits::RESAMPLES.start(), *limits::RESAMPLES.end()) == (100, 10_000));
    for level in [0.4, 0.9999, f64::NAN] {
        let fault = fault(vec![&[1.0]], Config { level, ..Config::default() });
        assert!(fault.starts_with("the level of an interval must be 0.5 to 0.999"), "{fault}");
    }
    assert_eq!(fault(vec![], config(100)), "no test user: there is nothing to draw from");
    assert_eq!(fault(vec![&[1.0, 2.0], &[1.0]], config(100)), "column 1 has 1 values, not 2");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    /// Whatever the values, the interval is in order and within them, and the same
    /// seed gives the same.
    #[test]
    fn an_interval_is_in_order(values in prop::collection::vec(-1.0_f32..1.0, 1..40), seed: u64) {
        let config = Config { resamples: 200, level: 0.95, seed };
        let found = Bootstrap::new(vec![&values], &config).unwrap().mean(0).unwrap();
        let (least, most) = values.iter().fold((f32::MAX, f32::MIN), |(a, b), x| (a.min(*x), b.max(*x)));
        prop_assert!(f64::from(least) - 1e-6 <= found.low && found.low <= found.mean);
        prop_assert!(found.mean <= found.high && found.high <= f64::from(most) + 1e-6);
        prop_assert_eq!(Bootstrap::new(vec![&values], &config).unwrap().mean(0).unwrap(), found);
    }
}
