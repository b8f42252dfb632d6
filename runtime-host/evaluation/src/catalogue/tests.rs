use super::*;

/// Four users like item 0, two item 1, one item 2, nobody item 3.
fn catalogue(features: Features) -> Catalogue {
    let mut data = Data::default();
    for (user, item) in [(0, 0), (1, 0), (2, 0), (3, 0), (0, 1), (1, 1), (0, 2)] {
        data.push(&format!("u{user}"), &format!("i{item}"), 0, 1.0);
    }
    data.push("u0", "i0", 1, 2.0);
    data.push("u3", "i2", 1, -1.0);
    data.push("u9", "i2", 1, 0.0);
    data.items.number("i3");
    let train: Vec<usize> = (0..data.events.len()).collect();
    Catalogue::new(&data, &train, features)
}

#[test]
fn popularity_is_by_users_who_like() {
    let catalogue = catalogue(Features::default());
    assert_eq!(catalogue.likers(), [4, 2, 1, 0]);
    assert_eq!(catalogue.information, [0.0, 1.0, 2.0, 2.0]);
    assert_eq!(catalogue.percentiles, [0.875, 0.625, 0.375, 0.125]);
    assert_eq!(percentiles(&[1, 1, 1, 5]), [0.375, 0.375, 0.375, 0.875]);
    let row = catalogue.of_slate(&[0, 2], &[1, 2, 5], &mut catalogue.scratch());
    let expected = [0.0, 1.0, 1.0, f64::NAN, f64::NAN, f64::NAN, 0.875, 0.625, 0.625, 4.0, 2.5, 2.5];
    let same = |(a, b): (&f64, &f64)| a.is_nan() && b.is_nan() || (a - b).abs() < 1e-12;
    assert!(row.len() == expected.len() && row.iter().zip(&expected).all(same), "{row:?}");
}

#[test]
fn coverage_and_gini_by_hand() {
    let catalogue = catalogue(Features::default());
    let spread = |slates: &[Vec<u32>]| {
        let spread = catalogue.spread(slates, 2);
        (spread.coverage, (spread.gini * 1e9).round() / 1e9)
    };
    assert_eq!(spread(&[vec![0, 1], vec![2, 3]]), (1.0, 0.0));
    // One item of four takes all: (n − 1) / n.
    assert_eq!(spread(&[vec![1], vec![1]]), (0.25, 0.75));
    // 0, 0, 1, 3: (2 · (3 · 1 + 4 · 3) / 4 − 5) / 4
    assert_eq!(spread(&[vec![0, 1, 2], vec![0], vec![0]]), (0.5, 0.625));
    assert_eq!(spread(&[vec![], vec![]]), (0.0, 0.0));
}

#[test]
fn diversity_is_one_less_the_mean_cosine() {
    let sets = Features::sets(&[vec![1, 2], vec![2, 3, 3], vec![], vec![4]]);
    let vectors = Features::vectors(&[vec![1.0, 0.0], vec![2.0, 2.0], vec![], vec![-3.0, 0.0]]);
    let bad = Features::vectors(&[vec![f32::NAN, 1.0], vec![0.0, 0.0], vec![f32::MAX], vec![1.0]]);
    let root = 0.5_f64.sqrt();
    for (features, slate, expected) in [
        (&sets, &[0, 1][..], 0.5),
        (&sets, &[0, 2, 1, 3], 1.0 - 0.5 / 3.0),
        (&sets, &[0, 0], 0.0),
        (&vectors, &[0, 1, 3], 1.0 - (root - root - 1.0) / 3.0),
        (&vectors, &[0, 3], 2.0),
        (&vectors, &[2, 3], f64::NAN),
        (&vectors, &[77, 3], f64::NAN),
        (&bad, &[0, 1, 3], f64::NAN),
    ] {
        let catalogue = catalogue(features.clone());
        let mut scratch = catalogue.scratch();
        for _ in 0..2 {
            let found = catalogue.diversity(slate, &[10], &mut scratch)[0];
            assert!(found.is_nan() && expected.is_nan() || (found - expected).abs() < 1e-6, "{found} {expected}");
        }
    }
}

#[test]
fn diversity_is_that_of_pairs() {
    let mut state = 1_u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 40) as f32 / (1_u32 << 23) as f32 - 1.0
    };
    let vectors: Vec<Vec<f32>> = (0..4).map(|_| (0..5).map(|_| next()).collect()).collect();
    let cosine = |a: &[f32], b: &[f32]| {
        let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
        dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
    };
    let pairs = [(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)];
    let expected = 1.0 - pairs.iter().map(|(a, b)| cosine(&vectors[*a], &vectors[*b])).sum::<f64>() / 6.0;
    let catalogue = catalogue(Features::vectors(&vectors));
    let found = catalogue.diversity(&[0, 1, 2, 3], &[4], &mut catalogue.scratch())[0];
    assert!((found - expected).abs() < 1e-6, "{found} {expected}");
}
